-- cchost upgrade: the server that runs gives its place to the program as it is now, or to another.

local command = require "command"
local service = require "service"
local store = require "store"
local task = require "task"
local time = require "time"
local wishes = require "upgrade_wish"

local M = {}

local USAGE = "cchost upgrade [PROGRAM] [--wait=SECONDS] [--json]"

M.help = [[
usage: ]] .. USAGE .. [[


Starts PROGRAM (else the program's file as it is now, which a package may have replaced) beside the server that works on
DATA_DIR, and hands everything to it: sockets, the store, work that is under way. Requests end where they began, terminals
and streams come again, nothing is dropped. One that fails to become ready is given up, and the old one serves on.

  --wait=SECONDS   how long to wait for it to be over (180)
  --json           the record of it, as JSON

Who asks while another upgrade is under way waits for that first.
It must be called as the user whose server it is. Exit codes: 0 it serves, 1 the old one serves on.
]]

-- -> the record of it | nil: it is not over, or there is nobody any more who could
local function waited(settings, id, seconds)
  local ends, look = time.mono() + seconds * 1000, time.mono() + 1000
  repeat
    local now = store.get("server", "upgrade")
    if now and now.last and now.last.id == id then return now.last end -- the next one is under way already
    if now and now.id == id and (now.state == "done" or now.state == "abandoned") then return now end
    if time.mono() > look then
      if not wishes.serves(settings) then return nil end
      look = time.mono() + 1000
    end
  until time.mono() > ends or not task.sleep(0.05)
end

function M.run(args)
  local options, words, settings = command.read(args, {
    usage = USAGE, words = { 0, 1 }, options = { wait = "count", json = "flag" },
  })
  local seconds = options.wait or 180
  local program = words[1]
  if program and program:find("/", 1, true) then program = service.absolute(program) end
  command.open(settings)
  local began = time.mono()
  local asked, err = wishes.ask(settings, program, seconds)
  if not asked then command.fail("%s", err.message) end
  local is = waited(settings, asked.id, seconds - (time.mono() - began) / 1000)
  wishes.drop(settings, asked)
  if not is and not wishes.serves(settings) then
    command.fail("the server (pid %d) has ended meanwhile, and none serves", asked.pid)
  elseif not is then
    command.fail("the server (pid %d) has not said within %d s what became of it; its log tells", asked.pid, seconds)
  end
  if options.json then command.out("%s", require("json").encode(is)) end
  if is.state == "abandoned" then command.fail("given up, the server of before serves on: %s", is.error) end
  if not options.json then
    command.out("pid %d (%s) serves in the place of pid %d (%s)", is.to.pid, is.to.version, is.from.pid, is.from.version)
  end
  return 0
end

return M
