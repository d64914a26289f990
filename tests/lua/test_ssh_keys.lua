-- SSH keys: what ssh-keygen makes is read as it reads it, and everything else is refused with its reason.
local t = require "t"
local crypto = require "crypto"
local ssh_keys = require "ssh_keys"
local sys = require "sys"

local dir = t.tmpdir()

-- -> the public line, the fingerprint that ssh-keygen tells
local function made(...)
  local file = ("%s/%s"):format(dir, crypto.token(4))
  local command = { "ssh-keygen", "-q", "-N", "", "-f", file, timeout = 60 }
  for _, word in ipairs { ... } do command[#command + 1] = word end
  local r = assert(sys.run(command))
  t.eq(r.exit, 0, r.stderr)
  local told = assert(sys.run { "ssh-keygen", "-lf", file .. ".pub", timeout = 60 })
  return assert(t.fs.read(file .. ".pub", 65536)), told.stdout:match("SHA256:%S+"), file
end

t.test("keys of ssh-keygen are read, with its fingerprints", function()
  for _, want in ipairs { { "ed25519", 256 }, { "rsa", 4096 } } do
    local line, print = made("-t", want[1], "-b", tostring(want[2]), "-C", "Änn@box 1")
    local key = assert(ssh_keys.parse(line))
    t.eq(key.fingerprint, print)
    t.eq(key.type, "ssh-" .. want[1])
    t.eq(key.bits, want[2])
    t.eq(key.comment, "Änn@box 1")
    t.eq(key.text, line:match("^(.-)%s*$"))
  end
end)

local ed = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" .. ("A"):rep(43)

t.test("white space around and between is folded, a comment may be absent", function()
  t.eq(assert(ssh_keys.parse("  " .. ed .. "  \n")).text, ed)
  t.eq(assert(ssh_keys.parse(ed .. "   me  ")).text, ed .. " me")
end)

local function str(s)
  local n = #s
  return string.char(math.floor(n / 2 ^ 24), math.floor(n / 2 ^ 16) % 256, math.floor(n / 256) % 256, n % 256) .. s
end

local function line(kind, blob) return kind .. " " .. crypto.base64(blob) end
local e3, odd = str("\1\0\1"), function(bytes) return str("\0" .. ("\255"):rep(bytes)) end

t.test("what is no such key is refused with its reason", function()
  local _, _, file = made("-t", "ed25519")
  local cases = {
    { "", "a key expected" }, { "nonsense", "type base64 comment" }, { "ssh-ed25519 ", "type base64 comment" },
    { ed .. "\n" .. ed, "one line" }, { ed .. " a\tb", "control" }, { 'command="x" ' .. ed, "options before" },
    { 'no-pty,from="1.2.3.4" ' .. ed, "options before" },
    { ed .. " \255", "UTF%-8" }, { ed .. " " .. ("x"):rep(257), "256 bytes" },
    { made("-t", "rsa", "-b", "2048"), "4096 bits and more are accepted; this one has 2048" },
    { made("-t", "rsa", "-b", "3072"), "this one has 3072" },
    { made("-t", "ecdsa"), "ECDSA" },
    { "ssh-dss AAAA", "DSA" }, { "sk-ssh-ed25519@openssh.com AAAA", "security tokens" },
    { "ssh-ed25519-cert-v01@openssh.com AAAA", "certificates" }, { assert(t.fs.read(file, 65536)), "private key" },
    { "ssh-foo AAAA", "not known" }, { "ssh-ed25519 !!!!", "not base64" }, { "ssh-ed25519 AAAA=", "not base64" },
    { line("ssh-ed25519", str("ssh-rsa") .. e3 .. odd(512)), "another type inside" },
    { line("ssh-ed25519", str("ssh-ed25519") .. str(("x"):rep(31))), "32 bytes" },
    { line("ssh-ed25519", str("ssh-ed25519") .. str(("x"):rep(32)) .. "x"), "32 bytes" },
    { line("ssh-ed25519", str("ssh-ed25519") .. "\255\255\255\255x"), "32 bytes" },
    { line("ssh-ed25519", "x"), "another type inside" }, { line("ssh-rsa", str("ssh-rsa")), "two numbers" },
    { line("ssh-rsa", str("ssh-rsa") .. e3 .. odd(512) .. str("")), "two numbers" },
    { line("ssh-rsa", str("ssh-rsa") .. str("") .. odd(512)), "none of an RSA key" },
    { line("ssh-rsa", str("ssh-rsa") .. str("\4") .. odd(512)), "none of an RSA key" },
    { line("ssh-rsa", str("ssh-rsa") .. str("\1") .. odd(512)), "none of an RSA key" },
    { line("ssh-rsa", str("ssh-rsa") .. str("\255") .. odd(512)), "none of an RSA key" },
    { line("ssh-rsa", str("ssh-rsa") .. e3 .. str("\0\0" .. ("\255"):rep(512))), "none of an RSA key" },
    { line("ssh-rsa", str("ssh-rsa") .. e3 .. str("\0" .. ("\254"):rep(512))), "none of an RSA key" },
    { line("ssh-rsa", str("ssh-rsa") .. e3 .. odd(3000)), "at most 16384 bits" }, { ("x"):rep(16385), "at most" },
  }
  for i, case in ipairs(cases) do
    local key, err = ssh_keys.parse(case[1])
    t.eq(key, nil, i)
    t.match(err.message, case[2])
    t.eq(err.field, "key")
  end
end)

-- Bug: a key whose name is its comment had it cut within a character, which no record takes.
t.test("a long comment becomes a name of whole characters", function()
  local json, store, users = require "json", require "store", require "accounts.users"
  assert(store.open { dir = t.tmpdir(), serve = true })
  local ann = assert(store.update(function(tx) return users.create(tx, { email = "ann@example.org" }) end))
  local bare = made("-t", "ed25519", "-C", "c"):gsub(" c%s*$", "")
  local text = assert(users.add_key({ user = ann.id }, ann.id, { key = bare .. " x" .. ("\195\164"):rep(60) }))
  t.eq(json.decode(text).name, "x" .. ("\195\164"):rep(49))
end)

return t.done()
