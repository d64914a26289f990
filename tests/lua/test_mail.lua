-- Addresses and messages; that they arrive is shown in tests/mail.
local t = require "t"
local mail = require "mail"
local smtp = require "smtp"
local task = require "task"
local time = require "time"

time.virtual(1795196520123) -- Fri, 20 Nov 2026 17:42:00 UTC

t.test("addresses that are such, all in lower case", function()
  for text, want in pairs {
    ["ann@example.org"] = "ann@example.org", ["  Ann.B+tag@Example.ORG \n"] = "ann.b+tag@example.org",
    ["!#$%&'*+-/=?^_`{|}~@a.b"] = "!#$%&'*+-/=?^_`{|}~@a.b", ["a@localhost"] = "a@localhost", ["1@1.example"] = "1@1.example",
    [("l"):rep(64) .. "@" .. ("d"):rep(63) .. ".example"] = ("l"):rep(64) .. "@" .. ("d"):rep(63) .. ".example",
    ["a@xn--bcher-kva.example"] = "a@xn--bcher-kva.example", ["a@a-b.c"] = "a@a-b.c",
  } do t.eq(mail.address(text), want, text) end
  t.eq(mail.address("root@mailhost", { dotless = true }), "root@mailhost")
  local long = "a@" .. ("d"):rep(60) .. "." .. ("d"):rep(60) .. "." .. ("d"):rep(60) .. "." .. ("d"):rep(60) .. ".example"
  t.eq(#long, 253)
  t.ok(mail.address("a" .. long))
  t.match(select(2, mail.address("aa" .. long)), "254")
end)

t.test("addresses that are none, and why", function()
  for text, why in pairs {
    [""] = "expected", [" "] = "expected", ["ann"] = "one @", ["a@b@c.d"] = "one @", ["@c.d"] = "before the @",
    ["a@"] = "behind the @", ["a b@c.d"] = "spaces", ["a@c.d\r\nBcc: x@y.z"] = "control", ["a\0@c.d"] = "control",
    ["a@c.d\t,b@c.d"] = "control", [".a@c.d"] = "dot before", ["a.@c.d"] = "dot before", ["a..b@c.d"] = "dot before",
    ['"a"@c.d'] = "plain", ["a(b)@c.d"] = "plain", ["a,b@c.d"] = "plain", ["<a@c.d>"] = "plain", ["a\\@c.d"] = "plain",
    [("l"):rep(65) .. "@c.d"] = "64", ["a@.c.d"] = "dot behind", ["a@c..d"] = "dot behind", ["a@c.d."] = "dot behind",
    ["a@-c.d"] = "letters", ["a@c-.d"] = "letters", ["a@c_d.e"] = "letters", ["a@[127.0.0.1]"] = "letters",
    ["a@1.2.3.4"] = "number", ["a@mailhost"] = "no dot", ["ä@c.d"] = "ASCII", ["a@bücher.example"] = "ASCII",
    ["a@\239\188\131.d"] = "ASCII", ["a@" .. ("d"):rep(64) .. ".e"] = "63",
  } do
    local got, said = mail.address(text)
    t.eq(got, nil, text)
    t.match(said, why)
  end
  t.eq(mail.address(nil), nil); t.eq(mail.address(7), nil)
end)

t.test("mailboxes", function()
  for text, want in pairs {
    ["a@b.c"] = { "a@b.c" }, ["<A@b.c>"] = { "a@b.c" }, ["cchost <a@b.c>"] = { "a@b.c", "cchost" },
    ['"The, Host" <a@b.c>'] = { "a@b.c", "The, Host" }, ["Jörg <a@b.c> "] = { "a@b.c", "Jörg" },
  } do
    local m = assert(mail.mailbox(text))
    t.eq(m.address, want[1]); t.eq(m.name, want[2])
  end
  for _, bad in ipairs { "", "a <b>", "a\r\nb <a@b.c>", "a\0 <a@b.c>", "<a@b.c> x", "a <a@b.c> <d@e.f>",
    "\255 <a@b.c>", 'a"b <a@b.c>' } do
    t.eq(mail.mailbox(bad), nil, bad)
  end
end)

local function build(o)
  local all = { from = "noreply@cchost.example", to = "bob@example.org", subject = "Hi", text = "Hello" }
  for k, v in pairs(o) do all[k] = v end
  return mail.build(all)
end

t.test("a plain message, to the byte", function()
  local message, id = build { id = "op-1", text = "one\n.two\r\nthree = é" }
  t.eq(id, "<op-1@cchost.example>")
  t.eq(message, table.concat({
    "From: noreply@cchost.example", "To: bob@example.org", "Subject: Hi", "Date: Fri, 20 Nov 2026 17:42:00 +0000",
    "Message-ID: <op-1@cchost.example>", "Auto-Submitted: auto-generated", "MIME-Version: 1.0",
    "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: quoted-printable", "",
    "one", ".two", "three =3D =C3=A9", "",
  }, "\r\n"))
  t.match(build { date = 0 }, "\r\nDate: Thu, 1 Jan 1970 00:00:00 %+0000\r\n")
  t.ok(select(2, build {}) ~= select(2, build {}))
end)

t.test("nobody's text becomes a header", function()
  for name, o in pairs {
    ["subject CRLF"] = { subject = "a\r\nBcc: x@y.z" }, ["subject LF"] = { subject = "a\nb" },
    ["subject CR"] = { subject = "a\rb" },
    ["subject NUL"] = { subject = "a\0b" }, ["subject C1"] = { subject = "a\194\133b" },
    ["subject not UTF-8"] = { subject = "\255" },
    ["subject long"] = { subject = ("x"):rep(501) }, ["subject missing"] = { subject = false },
    ["to CRLF"] = { to = "a@b.c\r\nBcc: x@y.z" }, ["to two"] = { to = "a@b.c, d@e.f" }, ["to name"] = { to = "A <a@b.c>" },
    ["from CRLF"] = { from = "a@b.c\r\nX: y" }, ["name CRLF"] = { from_name = "a\r\nX: y" }, ["name NUL"] = { from_name = "a\0" },
    ["id"] = { id = "a>\r\nX: y" }, ["id empty"] = { id = "" }, ["text NUL"] = { text = "a\0" },
    ["text not UTF-8"] = { text = "\255" },
    ["html NUL"] = { html = "a\0" }, ["text missing"] = { text = false }, ["text long"] = { text = ("x"):rep(2 ^ 20 + 1) },
  } do
    local message, err = build(o)
    t.eq(message, nil, name)
    t.eq(err.code, "invalid", name); t.eq(err.retryable, false, name)
  end
end)

t.test("headers are folded and encoded, bodies have no line that is too long", function()
  for _, o in ipairs {
    { subject = ("word "):rep(99) }, { subject = ("ü"):rep(250) }, { subject = "=?utf-8?q?x?=" }, { from_name = ("Ü"):rep(60) },
    { text = ("x"):rep(5000) .. "\n" .. ("= "):rep(500) .. "\n" .. ("€"):rep(500), html = ("<p>ü</p>"):rep(500) },
  } do
    local message = assert(build(o))
    for line in message:gmatch("(.-)\r\n") do
      t.ok(#line <= 78, line)
      t.ok(not line:find("[^\t -~]"), line)
    end
    t.ok(not message:gsub("\r\n", ""):find("[\r\n]"))
  end
  t.match(build { subject = "=?utf-8?q?x?=" }, "\r\nSubject: =%?UTF%-8%?B%?")
  t.match(build { subject = ("word "):rep(30) }, "\r\nSubject: word word[ word]*\r\n word")
  t.match(build { from_name = 'A "B" \\' }, '^From: "A \\"B\\" \\\\" <noreply@cchost.example>\r\n')
end)

t.test("what the host would have to send and cannot is a fault of the program", function()
  local o = { host = "localhost", port = 1, from = "a@b.c", to = "d@e.f", message = "x\r\n" }
  local function with(k, v)
    local all = {}
    for name, value in pairs(o) do all[name] = value end
    all[k] = v
    return function() smtp.send(all) end
  end
  for _, case in ipairs {
    { "host", "a/b" }, { "host", "" }, { "host", "a\r\nb" }, { "port", 0 }, { "port", 65536 }, { "port", 0 / 0 },
    { "tls", "maybe" },
    { "name", "a b" }, { "from", "a@b.c>" }, { "to", "a@b.c\r\nDATA" }, { "to", "" }, { "username", "u" }, { "password", "p" },
    { "ca", "a\0b" }, { "timeout", 0 }, { "timeout", 0 / 0 }, { "message", "" }, { "message", "x" }, { "message", "x\n" },
    { "message", "x\ry\r\n" }, { "message", "x\0\r\n" }, { "message", ("x"):rep(999) .. "\r\n" }, { "message", "a\r\n.\n.\r\n" },
  } do t.raises(with(case[1], case[2]), "smtp.send: ") end
  for _, name in ipairs { "host", "from", "to", "message" } do
    t.raises(function()
      local all = {}
      for k, v in pairs(o) do if k ~= name then all[k] = v end end
      smtp.send(all)
    end, "must be given")
  end
end)

t.test("an address that is none is told before anything is sent, and what waits can be given up", function()
  local _, err = mail.send { host = "localhost", port = 1, from = "a@b.c", to = "nobody", subject = "x", text = "x" }
  t.eq(err.code, "invalid"); t.match(err.message, "^to: ")
  local sender = task.spawn(function()
    return mail.send { host = "127.0.0.1", port = 1, tls = "none", from = "a@b.c", to = "d@e.f", subject = "x", text = "x" }
  end)
  local ok
  ok, err = sender:join()
  t.eq(ok, nil); t.eq(err.code, "unavailable"); t.eq(err.retryable, true)
end)

return t.done()
