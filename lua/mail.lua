-- Mails: what an address is, how a message is built (RFC 5322, 2045, 2047), and handing it in.
--
--   mail.address(text) -> address in lower case | nil, why
--   mail.message{from =, to =, subject =, text =, id =, at = unix ms} -> RFC 5322 text with CRLF
--   mail.deliver(smtp, {to =, subject =, text =}) -> true | nil, err      [yields]
--       smtp: {host =, port =, username =, password =, from =, tls = "starttls" | "tls" | "none", ca = file, timeout = seconds}
--       from: an address, or "Name <address>"

local crypto = require "crypto"
local smtp = require "smtp"
local time = require "time"

local M = {}

-- ---- addresses

local ATOM = "^[%w!#$%%&'*+/=?^_`{|}~-]+$"

local function domain_fault(domain)
  if domain == "" then return "a domain behind the @ expected" end
  if #domain > 253 then return "a domain of at most 253 characters expected" end
  if domain:find("..", 1, true) or domain:match("^%.") or domain:match("%.$") then return "the domain has an empty part" end
  local labels = 0
  for label in domain:gmatch("[^.]+") do
    labels = labels + 1
    if #label > 63 or not label:match("^%w[%w-]*$") or label:match("%-$") then
      return "the domain's parts must be letters, digits and hyphens"
    end
  end
  if labels < 2 and domain ~= "localhost" then return "a domain with a dot expected" end
end

local function local_fault(part)
  if part == "" then return "something before the @ expected" end
  if #part > 64 then return "at most 64 characters before the @ expected" end
  if part:match("^%.") or part:match("%.$") or part:find("..", 1, true) then return "a dot before the @ has nothing beside it" end
  for atom in part:gmatch("[^.]+") do
    if not atom:match(ATOM) then return "before the @ there are characters that an address has not" end
  end
end

-- The whole is lower-cased, the part before the @ too: no mail service of today tells people apart by case, and two accounts
-- for one person would.
function M.address(text)
  text = text:match("^%s*(.-)%s*$")
  if #text > 254 then return nil, "at most 254 characters expected" end
  if text:find("[\128-\255]") then return nil, "letters beyond ASCII are not supported in an address" end
  local name, domain = text:match("^([^@]*)@([^@]*)$")
  if not name then return nil, "an address like name@example.org expected" end
  local why = local_fault(name) or domain_fault(domain)
  if why then return nil, why end
  return text:lower()
end

-- ---- messages

-- Text of a header: as it is when it is ASCII, else as encoded words of whole characters.
local function header_text(text)
  assert(not text:find("[%c]"), "a header's text without control characters expected")
  if not text:find("[\128-\255]") then return text end
  local words, word = {}, ""
  for char in text:gmatch("[%z\1-\127\194-\244][\128-\191]*") do
    if #word + #char > 45 then words[#words + 1], word = word, "" end
    word = word .. char
  end
  words[#words + 1] = word
  for i, w in ipairs(words) do words[i] = "=?utf-8?B?" .. crypto.base64(w) .. "?=" end
  return table.concat(words, "\r\n ")
end

-- Quoted-printable (RFC 2045, 6.7): lines of at most 76 characters; "." and "F" at a line's begin need nothing, the
-- transport doubles dots itself.
local function quoted_printable(text)
  local out = {}
  for line in (text:gsub("\r\n", "\n"):gsub("\n?$", "\n")):gmatch("(.-)\n") do
    local safe = line:gsub("[^\32-\60\62-\126]", function(c) return ("=%02X"):format(c:byte()) end)
    safe = safe:gsub(" $", "=20")
    local soft = ""
    while #safe > 76 do
      local cut = 75
      if safe:sub(cut, cut) == "=" then cut = cut - 1 elseif safe:sub(cut - 1, cut - 1) == "=" then cut = cut - 2 end
      soft, safe = soft .. safe:sub(1, cut) .. "=\r\n", safe:sub(cut + 1)
    end
    out[#out + 1] = soft .. safe
  end
  return table.concat(out, "\r\n") .. "\r\n"
end

local days = { "Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed" }
local months = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" }

local function date(ms)
  local y, mo, d, clock = time.rfc3339(ms):match("^(%d+)-(%d+)-(%d+)T(%d+:%d+:%d+)")
  return ("%s, %d %s %s %s +0000"):format(days[math.floor(ms / 86400000) % 7 + 1], tonumber(d), months[tonumber(mo)], y, clock)
end

-- -> the address in "Name <address>" or "address", what stands before it
local function split(from)
  local name, address = from:match("^(.-)%s*<([^<>]+)>$")
  return assert(M.address(address or from)), name ~= "" and name or nil
end

function M.message(m)
  local from, name = split(m.from)
  local lines = {
    "Date: " .. date(m.at),
    "From: " .. (name and header_text(name) .. " <" .. from .. ">" or from),
    "To: " .. assert(M.address(m.to)),
    "Subject: " .. header_text(m.subject),
    "Message-ID: <" .. m.id .. "@" .. from:match("@(.+)$") .. ">",
    "MIME-Version: 1.0",
    "Content-Type: text/plain; charset=utf-8",
    "Content-Transfer-Encoding: quoted-printable",
    "Auto-Submitted: auto-generated",
    "",
    quoted_printable(m.text),
  }
  return table.concat(lines, "\r\n")
end

function M.deliver(server, m)
  local host = server.host:find(":", 1, true) and "[" .. server.host .. "]" or server.host
  return smtp.send {
    url = ("%s://%s:%d"):format(server.tls == "tls" and "smtps" or "smtp", host, server.port),
    starttls = server.tls == "starttls", username = server.username, password = server.password, ca = server.ca,
    timeout = server.timeout or 30, from = (split(server.from)), to = m.to,
    message = M.message {
      from = server.from, to = m.to, subject = m.subject, text = m.text, id = crypto.token(16), at = time.now(),
    },
  }
end

return M
