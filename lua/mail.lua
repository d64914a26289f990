-- Mail: addresses, messages, and their way to a mail server (host/script/bind_smtp.c).
--
--   mail.address(text [, { dotless = true }]) -> normalised | nil, why
--   mail.mailbox(text [, ...]) -> { address =, name = | nil } | nil, why      "Name <address>", or an address alone
--   mail.build{ from =, from_name =, to =, subject =, text =, html =, date = ms, id = } -> message, message_id | nil, err
--       text and html (optional, the alternative) are UTF-8; date is now unless given; id, the part of Message-ID before
--       the "@", is random unless given: a mail that may be sent twice should have one of its own
--   mail.send{ host =, port =, tls =, ca =, username =, password =, name =, timeout =, from =, to =, message = | what
--       build takes } -> true | nil, err      [yields]
--       err.code "timeout", "unavailable", "denied", "invalid"; err.retryable tells whether another try makes sense
--
-- What comes from people (subject, names, addresses) cannot add a header: control characters are refused, not removed.
-- Bodies are quoted-printable, so that no server on the way has a reason to change a byte.

local crypto = require "crypto"
local errors = require "errors"
local smtp = require "smtp"
local time = require "time"
local utf8 = require "utf8"

local M = {}

local MAX_ADDRESS, MAX_LOCAL, MAX_LABEL = 254, 64, 63
local MAX_SUBJECT, MAX_BODY = 500, 1024 * 1024

-- ---- addresses

local function local_fault(part)
  if part == "" then return "nothing stands before the @" end
  if #part > MAX_LOCAL then return ("more than %d characters stand before the @"):format(MAX_LOCAL) end
  if part:find("[^%w!#$%%&'*+/=?^_`{|}~.-]") then return "a character before the @ is not one of a plain address" end
  if part:find("^%.") or part:find("%.$") or part:find("..", 1, true) then return "a dot before the @ is out of place" end
end

local function domain_fault(domain, dotless)
  if domain == "" then return "nothing stands behind the @" end
  for label in (domain .. "."):gmatch("([^.]*)%.") do
    if label == "" then return "a dot behind the @ is out of place" end
    if #label > MAX_LABEL then return ("a part of the domain has more than %d characters"):format(MAX_LABEL) end
    if label:find("[^%w-]") or label:find("^%-") or label:find("%-$") then
      return "the domain must be of letters, digits, hyphens and dots"
    end
  end
  if not domain:find("%.") and domain ~= "localhost" and not dotless then return "the domain has no dot" end
  if domain:match("[^.]+$"):match("^%d+$") then return "the domain cannot be a number" end
end

-- All of it in lower case, also what stands before the @: that is the server's own affair by RFC 5321, but none in use
-- tells Ann@ from ann@, and we must not make two accounts of one mailbox, or let a second person sign in to the first.
function M.address(text, o)
  if type(text) ~= "string" then return nil, "an e-mail address expected" end
  text = text:match("^%s*(.-)%s*$")
  if text == "" then return nil, "an e-mail address expected" end
  if text:find("[\128-\255]") then return nil, "only ASCII characters are accepted in e-mail addresses" end
  if text:find("[%z\1-\32\127]") then return nil, "an e-mail address has no spaces or control characters" end
  if #text > MAX_ADDRESS then return nil, ("an e-mail address has at most %d characters"):format(MAX_ADDRESS) end
  local before, behind = text:match("^([^@]*)@([^@]*)$")
  if not before then return nil, "an e-mail address has one @" end
  local why = local_fault(before) or domain_fault(behind, o and o.dotless)
  if why then return nil, why end
  return text:lower()
end

local function text_fault(text, what)
  if not utf8.valid(text) then return what .. " is not valid UTF-8" end
  if text:find("[%z\1-\31\127]") or text:find("\194[\128-\159]") then
    return what .. " holds a line end or a control character"
  end
end

function M.mailbox(text, o)
  if type(text) ~= "string" then return nil, "an e-mail address expected" end
  local name, inner = text:match("^%s*(.-)%s*<([^<>]*)>%s*$")
  local address, why = M.address(inner or text, o)
  if not address then return nil, why end
  if not name or name == "" then return { address = address } end
  name = name:match('^"(.*)"$') or name
  why = text_fault(name, "the name") or (name:find('["\\<>]') and "the name holds a quote, a backslash or a bracket")
  if why then return nil, why end
  return { address = address, name = name }
end

-- ---- headers

-- RFC 2047: words of whole characters, each at most 75 bytes long with all that belongs to it.
local function encoded(text)
  local words = {}
  while text ~= "" do
    local part = utf8.cut(text, 42)
    words[#words + 1] = "=?UTF-8?B?" .. crypto.base64(part) .. "?="
    text = text:sub(#part + 1)
  end
  return table.concat(words, "\r\n ")
end

local function plain(text) return not text:find("[\128-\255]") and not text:find("=?", 1, true) end

-- Lines of at most 76 bytes where spaces allow it; unfolded it is the same text again.
local function folded(name, value)
  local lines, line = {}, name .. ":"
  for word in value:gmatch(" *[^ ]+") do
    word = line == name .. ":" and " " .. word or word
    if #line + #word > 76 and line ~= name .. ":" then
      lines[#lines + 1] = line
      line = word
    else
      line = line .. word
    end
  end
  lines[#lines + 1] = line
  return table.concat(lines, "\r\n")
end

local function unstructured(name, text)
  if plain(text) then return folded(name, text) end
  return name .. ": " .. encoded(text)
end

local function mailbox_text(address, name)
  if not name or name == "" then return address end
  if not plain(name) then return encoded(name) .. "\r\n <" .. address .. ">" end
  return ('"%s" <%s>'):format(name:gsub('[\\"]', "\\%0"), address)
end

local days = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" }
local months = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" }

local function date_text(ms)
  local d = os.date("!*t", math.floor(ms / 1000))
  return ("%s, %d %s %d %02d:%02d:%02d +0000"):format(days[d.wday], d.day, months[d.month], d.year, d.hour, d.min, d.sec)
end

-- ---- bodies

local function code(c) return ("=%02X"):format(c:byte()) end

-- One line, RFC 2045 section 6.7: at most 76 characters, no space at an end, no escape cut in two.
local function quoted_line(line)
  line = line:gsub("[^\t\32-\60\62-\126]", code):gsub("[ \t]$", code)
  if #line <= 76 then return line end
  local parts = {}
  while #line > 76 do
    local n = 75
    if line:sub(n, n) == "=" then n = n - 1 elseif line:sub(n - 1, n - 1) == "=" then n = n - 2 end
    parts[#parts + 1] = line:sub(1, n) .. "="
    line = line:sub(n + 1)
  end
  parts[#parts + 1] = line
  return table.concat(parts, "\r\n")
end

-- Whatever the line ends were, CRLF they become.
local function quoted(text)
  local lines = {}
  text = text:gsub("\r\n?", "\n")
  if text:sub(-1) ~= "\n" then text = text .. "\n" end
  for line in text:gmatch("([^\n]*)\n") do lines[#lines + 1] = quoted_line(line) end
  return table.concat(lines, "\r\n") .. "\r\n"
end

local function part(kind, text)
  return ("Content-Type: %s; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n%s"):format(kind, quoted(text))
end

local function body(o)
  if not o.html then return part("text/plain", o.text) end
  local boundary = "=_" .. crypto.token(16) -- "=_" stands in no quoted-printable text
  return table.concat {
    'Content-Type: multipart/alternative;\r\n boundary="', boundary, '"\r\n\r\n',
    "--", boundary, "\r\n", part("text/plain", o.text),
    "\r\n--", boundary, "\r\n", part("text/html", o.html), -- the line end before a boundary is the boundary's
    "\r\n--", boundary, "--\r\n",
  }
end

local function body_fault(text, what)
  if type(text) ~= "string" then return what .. " is missing" end
  if #text > MAX_BODY then return ("%s has more than %d bytes"):format(what, MAX_BODY) end
  if text:find("%z") then return what .. " holds a NUL" end
  if not utf8.valid(text) then return what .. " is not valid UTF-8" end
end

local function fault(o)
  if type(o.subject) ~= "string" then return "the subject is missing" end
  if #o.subject > MAX_SUBJECT then return ("the subject has more than %d bytes"):format(MAX_SUBJECT) end
  return text_fault(o.subject, "the subject") or o.from_name and text_fault(o.from_name, "the sender's name")
    or o.id and (o.id == "" or o.id:find("[^%w._-]")) and "the message's id must be of letters, digits, '.', '_' and '-'"
    or body_fault(o.text, "the text") or o.html and body_fault(o.html, "the HTML")
end

-- -> from, to | nil, err
local function envelope(o)
  local from, why = M.address(o.from, { dotless = true })
  if not from then return errors.fail("invalid", "from: " .. why) end
  local to
  to, why = M.address(o.to, { dotless = true })
  if not to then return errors.fail("invalid", "to: " .. why) end
  return from, to
end

function M.build(o)
  local from, to = envelope(o)
  if not from then return nil, to end
  local why = fault(o)
  if why then return errors.fail("invalid", why) end
  local id = ("<%s@%s>"):format(o.id or crypto.token(16), from:match("@(.*)"))
  return table.concat({
    "From: " .. mailbox_text(from, o.from_name),
    "To: " .. to,
    unstructured("Subject", o.subject:match("^%s*(.-)%s*$")),
    "Date: " .. date_text(o.date or time.now()),
    "Message-ID: " .. id,
    "Auto-Submitted: auto-generated", -- RFC 3834: holiday notices do not answer it
    "MIME-Version: 1.0",
    body(o),
  }, "\r\n"), id
end

function M.send(o)
  local from, to = envelope(o)
  if not from then return nil, to end
  local message, err = o.message
  if not message then message, err = M.build(o) end
  if not message then return nil, err end
  return smtp.send {
    host = o.host, port = o.port, tls = o.tls, ca = o.ca, username = o.username, password = o.password,
    timeout = o.timeout, name = o.name or from:match("@(.*)"), from = from, to = to, message = message,
  }
end

return M
