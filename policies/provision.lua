-- How a new machine comes to be: steps, in order. Each is recorded before it acts, tried again after a passing failure, gone
-- on with after a crash, and undone in reverse when the whole cannot be done.
--
-- run(x) -> result | nil, err       x = {machine = {id, short, name, owner, type, image, provider, location, network, labels,
-- undo(x) -> true | nil, err        plan, volumes}, attempt, results = {[step] = what it gave}}
-- Both must bear being done twice. err = {code =, message =, retryable =}; what a host function returns is one.

return {
  kind = "workflow", name = "provision", version = 1,
  steps = {
    { name = "volumes", needs = "volumes", run = function() return machine.make_volumes() end,
      no_undo = "volumes outlive machines" },
    { name = "create", run = function() return machine.create() end, undo = function() return machine.destroy() end },
  },
}
