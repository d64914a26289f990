-- The few pages that the server itself shows a person: plain HTML without scripts, under a policy that allows none.
--
-- page.answer(status, title, html, {form_to = origin}) -> status, body, headers    html: made with page.escape
-- page.escape(text)

local crypto = require "crypto"
local json = require "json"

local M = {}

local entities = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;" }

function M.escape(text) return (json.text(text):gsub("[&<>\"']", entities)) end

-- As the dashboard looks (web/src/style/tokens.css), in few words.
local style = [[
:root{color-scheme:light dark;--ground:#f7f7f5;--raised:#fff;--line:#dcdcd6;--text:#1c1e1d;--accent:#14605a;--on:#fff}
@media(prefers-color-scheme:dark){:root{--ground:#121413;--raised:#1a1d1b;
--line:#2d312f;--text:#e7e9e7;--accent:#6fd3c3;--on:#06231f}}
body{font:15px/1.5 Inter,system-ui,sans-serif;margin:0;color:var(--text);background:var(--ground)}
header{padding:14px 20px;font-weight:680;background:var(--raised);border-bottom:1px solid var(--line)}
main{max-width:400px;margin:10vh auto 0;padding:0 20px}
h1{font-size:1.6rem;line-height:1.2;letter-spacing:-.015em;margin:0}
a{color:var(--accent)}header a{color:var(--text);text-decoration:none}
button{font:inherit;font-weight:550;min-height:40px;padding:0 18px;
border:0;border-radius:6px;background:var(--accent);color:var(--on);cursor:pointer}
main>p::first-letter{text-transform:uppercase}
:focus-visible{outline:2px solid var(--accent);outline-offset:2px}]]

-- `form_to`: another origin that a form's answer may lead to (browsers hold redirects of forms to the policy, too).
function M.answer(status, title, html, options)
  local nonce = crypto.token(16)
  local body = ([[<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>%s</title><style nonce="%s">%s</style></head>
<body><header><a href="/">cchost</a></header><main><h1>%s</h1>
%s
</main></body></html>
]]):format(M.escape(title), nonce, style, M.escape(title), html)
  local forms = "'self'" .. (options and options.form_to and " " .. options.form_to or "")
  return status, body, {
    ["Content-Type"] = "text/html; charset=utf-8", ["Cache-Control"] = "no-store", ["Referrer-Policy"] = "same-origin",
    ["Content-Security-Policy"] =
      ("default-src 'none'; style-src 'nonce-%s'; form-action %s; base-uri 'none'; frame-ancestors 'none'"):format(nonce, forms),
  }
end

return M
