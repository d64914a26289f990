-- cchost at: machines as they were, from the log.

local command = require "command"
local history = require "history"
local ids = require "ids"
local json = require "json"
local time = require "time"
local when = require "when"

local M = {}

local USAGE = "cchost at TIME instances [--json] | cchost at TIME instance ID"

M.help = "usage: " .. USAGE:gsub(" | ", "\n       ") .. [[


Answers from the log. TIME is like 2026-11-20T12:00:00Z, 2026-11-20, "2h ago" or unix seconds.

  instances     one line per machine that was alive then: id, status, provider, type, owner, name; also of those that
                are deleted today. Every machine's log is looked into, so this takes some five seconds for 100,000.
  instance ID   one machine whole, as JSON. ID is its id, or what its short form or its name was then.
  --json        one JSON object a line
]]

-- Calls fn with every machine that was alive at `ms`.
local function each(ms, fn)
  local after
  repeat
    local page = command.must(history.instances(ms, after, 500))
    for _, record in ipairs(page.records) do fn(record) end
    after = page.after
  until not after
end

-- By its name or short form of that time: whoever had it then.
local function find(ms, key)
  local found = {}
  each(ms, function(record)
    if record.name == key or record.short == key then found[#found + 1] = record end
  end)
  if #found == 0 then command.fail("there was no machine %s at %s", key, time.rfc3339(ms)) end
  if #found > 1 then command.fail("%d machines were called %s then; say which by its id", #found, key) end
  return found[1]
end

local function one(ms, key)
  if ids.is_uuid(key) then return command.must(history.instance(key:lower(), ms)) end
  return find(ms, key)
end

function M.run(argv)
  local _, words, settings = command.read(argv, { usage = USAGE, words = { 2, 3 } })
  local ms, err = when.parse(words[1], time.now())
  if not ms then command.usage("%s", err.message) end
  if not (words[2] == "instances" and not words[3] or words[2] == "instance" and words[3]) then
    command.usage("usage: %s", USAGE)
  end
  command.open(settings)
  if words[3] then return command.out("%s", json.encode(one(ms, words[3]))) end
  each(ms, function(record) command.machine(record) end)
end

return M
