-- The few pages that the server itself shows a person: plain HTML without scripts, under a policy that allows none.
--
-- page.answer(status, title, html, {form_to = origin}) -> status, body, headers    html: made with page.escape
-- page.escape(text)

local crypto = require "crypto"
local json = require "json"

local M = {}

local entities = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;" }

function M.escape(text) return (json.text(text):gsub("[&<>\"']", entities)) end

local style = [[
body{font:16px/1.5 system-ui,sans-serif;margin:15vh auto;max-width:26rem;padding:0 1rem;color:#1b1f24;background:#fff}
h1{font-size:1.4rem}
button{font:inherit;padding:.6rem 1.2rem;border:0;border-radius:.4rem;background:#0b57d0;color:#fff;cursor:pointer}
button:focus-visible{outline:3px solid #80b0ff}
@media(prefers-color-scheme:dark){body{color:#e6e6e6;background:#16181b}}]]

-- `form_to`: another origin that a form's answer may lead to (browsers hold redirects of forms to the policy, too).
function M.answer(status, title, html, options)
  local nonce = crypto.token(16)
  local body = ([[<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>%s</title><style nonce="%s">%s</style></head>
<body><main><h1>%s</h1>
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
