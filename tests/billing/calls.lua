-- Calls lua/stripe.lua: cchost tests/billing/calls.lua FILE, the settings from the environment as serve has them.
-- FILE is JSON: {calls = [[verb, argument, ...], ...], setup = what stripe.setup takes besides, at_once = true}. The verb
-- "verify" is signature.verify, whose body is in base64. Prints a JSON line for each: {value =, more =} or {code, message, ...}.

local config = require "config"
local crypto = require "crypto"
local fs = require "fs"
local json = require "json"
local log = require "log"
local setup = require "setup"
local signature = require "stripe.signature"
local stripe = require "stripe"
local sys = require "sys"
local task = require "task"

local o = json.decode(assert(fs.read((...))))
local settings = assert(config.load {})
log.setup { level = settings.LOG_LEVEL }
assert(setup.use(settings))
if o.setup then
  for name, from in pairs { key = "SECRET_KEY", url = "API_URL", version = "API_VERSION", usage = "USAGE" } do
    o.setup[name] = o.setup[name] or settings["STRIPE_" .. from]
  end
  stripe.setup(o.setup)
end

local function verify(header, body, ...)
  return signature.verify(header ~= json.null and header or nil, crypto.unbase64(body), ...)
end

local function line(call)
  local fn = call[1] == "verify" and verify or stripe[call[1]]
  local value, err = fn(unpack(call, 2))
  if value == nil or value == false then return type(err) == "table" and err or { message = err } end
  return { value = value, more = err }
end

local tasks = {}
for i, call in ipairs(o.calls) do
  tasks[i] = task.spawn(line, call)
  if not o.at_once then tasks[i]:join() end
end
for _, t in ipairs(tasks) do sys.stdout(json.encode(assert(t:join())) .. "\n") end
