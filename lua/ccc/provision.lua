-- ccc provision: an account's machine, paid for by the hour, usable over ssh when the command ends with 0. Otherwise the
-- reason is told and what was made is taken away again.

local args = require "ccc.args"
local fs = require "fs"
local mail = require "mail"
local say = require "ccc.say"
local script = require "script"
local ssh_keys = require "ssh_keys"
local time = require "time"

local M = {}

local DEFAULT_HOURS, DEFAULT_TYPE, DEFAULT_LOCATION = "24", "cpx21", "fsn1"
local KEY_FILE_MAX, MAX_KEYS = 1024 * 1024, 64
local WAIT_SECONDS = 3600 -- every status has a deadline of its own, which comes first

M.help = [[
Usage: ccc provision <email> <ssh-pubkey> [hours] [server-type]
       ccc provision <email> --ssh-key KEY|FILE [--hours N] [--type TYPE] [--location LOCATION]

Arguments:
  email        User's email address
  ssh-pubkey   User's SSH public key (ed25519 or RSA), or a file with such keys
  hours        Hours until expiration (default: 24)
  server-type  Hetzner server type (default: cpx21)
                 cpx11 - 2 vCPU, 2GB RAM
                 cpx21 - 3 vCPU, 4GB RAM
                 cpx31 - 4 vCPU, 8GB RAM

Options:
  --ssh-key KEY|FILE  a key, or a file with keys; may be given several times
  --hours N           as above: a whole number from 1 to 87600
  --type TYPE         as above
  --location LOCATION where (default: fsn1)
]] .. args.common_help

-- ---- what is asked for

local function bad_key(err)
  say.fail("Invalid SSH key format. Must be ed25519 or RSA.\n  " .. say.plain(err.message))
end

local function add_key(keys, line)
  local key, err = ssh_keys.parse(line)
  if not key then bad_key(err) end
  for _, other in ipairs(keys) do
    if other == key.text then return end
  end
  if #keys == MAX_KEYS then say.fail(("At most %d SSH keys can be given."):format(MAX_KEYS)) end
  keys[#keys + 1] = key.text
end

-- A key as it stands, or a file of them: a line each, empty ones and those with # left out.
local function add_keys(keys, text)
  local there = #text < 4096 and not text:find("[%c ]") and fs.stat(text)
  if not there and text:find("^[./~][^ ]*$") then bad_key { message = "there is no file " .. text } end
  if not there then return add_key(keys, text) end
  local content, err = fs.read(text, KEY_FILE_MAX)
  if not content then say.fail(("%s: %s"):format(say.plain(text), err.message)) end
  local before = #keys
  if content:find("PRIVATE KEY", 1, true) then return add_key(keys, content) end
  for line in content:gmatch("[^\r\n]+") do
    if line:find("%S") and not line:match("^%s*#") then add_key(keys, line) end
  end
  if #keys == before then bad_key { message = say.plain(text) .. " holds no key" } end
end

local function only_one(name, word, option)
  if word and option then say.fail(("%s: given twice, as '%s' and --%s"):format(name, say.plain(word), name)) end
  return option or word
end

-- With --ssh-key the words behind the address are hours and type, unless a key leads them.
local function wishes(options, words)
  local rest = { unpack(words, 2) }
  local texts = options["ssh-key"] or {}
  if rest[1] and (#texts == 0 or rest[1]:match("^ssh%-")) then table.insert(texts, 1, table.remove(rest, 1)) end
  if #texts == 0 or #rest > 2 then
    io.stderr:write(M.help)
    script.quit(1)
  end
  local email, why = mail.address(words[1])
  if not email then say.fail(("Invalid email address '%s': %s."):format(say.plain(words[1]), why)) end
  local keys = {}
  for _, text in ipairs(texts) do add_keys(keys, text) end
  return {
    email = email, keys = keys, hours = args.hours(only_one("hours", rest[1], options.hours) or DEFAULT_HOURS),
    type = only_one("type", rest[2], options.type) or DEFAULT_TYPE, location = options.location or DEFAULT_LOCATION,
  }
end

local function check_type(at, name)
  local names, other = {}, {}
  for _, t in ipairs(say.must(at:types())) do
    if t.name == name then return end
    table.insert(t.prepaid and names or other, t.name)
  end
  say.fail(("Unknown server type '%s'. Must be one of %s."):format(say.plain(name),
    table.concat(#names > 0 and names or other, ", ")))
end

-- ---- waiting

-- What the machine is when nothing more is under way for it, or when enough(record). -> record
local function wait(at, rec, operation, enough)
  local begun = time.mono()
  while rec.status == "STARTING" and not (enough and enough(rec)) and time.mono() - begun < WAIT_SECONDS * 1000 do
    script.progress("  %.0f s", (time.mono() - begun) / 1000)
    at:await(operation, enough and 1 or 30)
    rec = say.must(at:get(rec.id))
  end
  script.end_progress()
  return rec
end

local function has_address(rec) return type(rec.ssh) == "table" and rec.ssh.host ~= nil end

-- Why it is of no use over ssh, or nil.
local function fault(rec)
  if rec.status == "STARTING" then return "it is still being made" end
  if rec.status ~= "RUNNING" then return type(rec.error) == "string" and rec.error or "the machine is " .. rec.status end
  local ssh = type(rec.ssh) == "table" and rec.ssh or {}
  if ssh.why then return "no ssh: " .. ssh.why end
  if not ssh.host then return "no ssh: its provider says no address" end
end

-- Nothing is left that costs; where that cannot be had, it is said.
local function take_back(at, rec, why)
  local gone, err = at:delete(rec.id)
  local left = not gone and err.message or gone.status == "ERROR" and tostring(gone.error)
  if left then
    say.fail(("Provisioning failed: %s\n  Instance %s is still there (%s); delete it with: ccc deprovision %s"):format(
      say.plain(why), rec.short, say.plain(left), rec.short))
  end
  say.fail(("Provisioning failed: %s\n  Instance %s was removed."):format(say.plain(why), rec.short))
end

local function expiry_text(entry, hours) return entry.expiresAt or ("%d hours after it is ready"):format(hours) end

function M.run(argv)
  local options, words, where = args.read(argv, {
    usage = M.help, words = { 1, 4 },
    options = { ["ssh-key"] = "many", hours = "text", type = "text", location = "text" },
  })
  local wish = wishes(options, words)
  local at = where { may_be_new = true }
  check_type(at, wish.type)
  local account = say.must(at:account(wish.email))
  say.stage("Provisioning Claude Code Cloud instance...")
  local rec, operation = at:create {
    user_id = account.id, type = wish.type, location = wish.location, hours = wish.hours, ssh_keys = wish.keys,
  }
  if not rec then say.fail(say.plain(operation.message)) end
  local entry = say.entry(rec, wish.email)
  say.stage("  Instance ID: %s", entry.instanceId)
  say.stage("  Server type: %s", entry.serverType)
  say.stage("  Expires: %s", expiry_text(entry, wish.hours))
  say.stage("Creating %s server...", rec.provider == "hetzner" and "Hetzner" or rec.provider)
  rec = wait(at, rec, operation, has_address)
  if has_address(rec) then
    say.stage("Server IP: %s", rec.ssh.host)
    say.stage("Waiting for SSH...") -- a machine is RUNNING when it answers
    rec = wait(at, rec, operation)
  end
  local why = fault(rec)
  if why then take_back(at, rec, why) end
  entry = say.entry(rec, wish.email)
  if say.as_json then return say.json(entry) end
  say.line("\nInstance provisioned successfully!\n==================================")
  say.line("Instance ID: %s", entry.instanceId)
  say.line("SSH command: %s", entry.sshCommand)
  if entry.hostKeyFingerprint then say.line("Host key:    %s", entry.hostKeyFingerprint) end
  say.line("Expires:     %s", expiry_text(entry, wish.hours))
end

return M
