-- The URLs that events may be sent to: https, and http to loopback in development, or to anywhere that a setting says. Whether
-- the address behind the name may be reached is asked when it is connected to (http.request's `public`).
--
--   url.fault(text, settings) -> what is wrong with it, or nil     settings: {http = bool, development = bool}
--   url.host(text) -> the host of one without fault, which says no secret that its path or query may hold

local M = {}

local function authority(text)
  local scheme, rest = text:match("^(https?)://([^/?]+)")
  if not scheme then return nil end
  local host, port = rest:match("^(%[[%x:.]+%])(.*)$")
  if not host then host, port = rest:match("^(%w[%w.-]*)(.*)$") end
  if not host then return nil end
  local n = port == "" and 1 or tonumber(port:match("^:(%d+)$"))
  return n and n >= 1 and n <= 65535 and scheme or nil, host
end

local function is_loopback(host) return host == "localhost" or host == "[::1]" or host:match("^127%.%d+%.%d+%.%d+$") ~= nil end

function M.fault(text, settings)
  if text:find("[%c%s\127-\255\"<>\\^`{|}]") then return "letters, digits and signs of a URL expected, others percent-encoded" end
  if text:find("#", 1, true) then return "no part behind '#' expected" end
  if text:match("^%a+://[^/?]*@") then return "no name and password expected in it; the signature says who sends" end
  local scheme, host = authority(text)
  if not scheme then return "a URL like https://example.org/path expected" end
  if scheme == "http" and not settings.http and not (settings.development and is_loopback(host)) then
    return "https expected: events are not sent where others can read them"
  end
end

function M.host(text) return select(2, authority(text)) end

return M
