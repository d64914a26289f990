-- What of a terminal's query goes on to the agent, which alone keeps sessions (docs/terminal.md): the names that it knows.
--
--   terminal.to(query text, {session =, view = true} or nil) -> as agent.relay has it | nil, err
--       the second: what is so whatever the query says
--   terminal.name_ok(name)

local errors = require "errors"
local query = require "query"

local M = {}

function M.name_ok(name) return #name <= 64 and name:match("^[%w_][%w._-]*$") ~= nil end

local function number(text) return #text <= 15 and text:match("^%d+$") ~= nil end

local known = {
  { "session", M.name_ok, "1 to 64 letters, digits, '.', '_' or '-', no '.' or '-' first" },
  { "client", function(v) return #v <= 64 and v:match("^[%w._-]+$") ~= nil end, "1 to 64 letters, digits, '.', '_' or '-'" },
  { "from", number, "a number" }, { "typed", number, "a number" }, { "since", number, "a number" },
  { "keep", number, "seconds" },
  { "view", function(text) return text == "1" end, "1" },
  { "resize", function(text) return text == "owner" or text == "smallest" end, "owner or smallest" },
}

-- ttyd's protocol, in which '0' begins output.
local function output(text) return "0" .. text end

function M.to(text, fixed)
  local asked, kept = query.all(text), {}
  if fixed then asked = { session = fixed.session, view = fixed.view and "1", from = asked.from, since = asked.since } end
  for _, one in ipairs(known) do
    local name, ok, expected = one[1], one[2], one[3]
    local value = asked[name]
    if value and not ok(value) then
      return errors.fail("invalid", ("%s: %s expected"):format(name, expected), { field = name })
    end
    if value then kept[#kept + 1] = name .. "=" .. value end
  end
  if not asked.session and kept[1] then return errors.fail("invalid", "session: a name expected", { field = "session" }) end
  return {
    path = "/ws" .. (kept[1] and "?" .. table.concat(kept, "&") or ""), kind = asked.view and "view" or "terminal",
    protocol = "tty", say = output,
  }
end

return M
