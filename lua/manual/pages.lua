-- The manual: each page is made from what the program itself reads, so that none can tell of yesterday.
--
--   pages.names -> {"cchost.1", ...}      pages.make(name) -> roff | nil

local config = require "config"
local kinds = require "policy.kinds"
local describe = require "policy.describe"
local roff = require "manual.roff"
local sys = require "sys"
local words = require "manual.words"

local M = { names = { "cchost.1", "ccc.1", "claude-cloud.1", "cchost.lua.5", "cchost-policies.7" } }

local makers = {}

local function see(...)
  return roff.section("see also") .. ".BR " .. table.concat({ ... }, ",\n.BR ") .. "\n"
end

local EXIT = "0: it went well. 1: it failed, and a sentence on standard error says why. 2: the command line was not understood."

makers["cchost.1"] = function()
  local out = { roff.head("cchost", 1, "a control plane for cloud development machines"), roff.section("synopsis") }
  local lines = { "cchost serve [--SETTING=VALUE ...]", "cchost COMMAND [...]", "cchost SCRIPT.lua [ARGUMENT ...]" }
  out[#out + 1] = roff.verbatim(table.concat(lines, "\n"))
  out[#out + 1] = roff.section("description")
  out[#out + 1] = roff.paragraph("cchost makes machines for people to work on, by several providers, and looks after them: who "
    .. "may have which, what they cost, when they stop. serve is the server; the other commands work on its "
    .. "store, beside it or without it.")
  out[#out + 1] = roff.paragraph("Settings come from the command line (--listen-addr=...) over the environment (LISTEN_ADDR) "
    .. "over cchost.lua in the current folder. As a service they are in /etc/cchost/cchost.lua, and commands are called "
    .. "there, as the user cchost.")
  out[#out + 1] = roff.section("commands")
  for _, c in ipairs(words.commands()) do
    local own = c.help:match("^(.-)\nsettings:\n") or c.help
    out[#out + 1] = roff.subsection("cchost " .. c.name) .. roff.paragraph(c.does:gsub("^%l", string.upper) .. ".")
    out[#out + 1] = c.name == "ccc" and ".PP\nSee\n.BR ccc (1).\n" or roff.help(own)
  end
  out[#out + 1] = roff.section("signals") .. roff.item("TERM, INT", "The server ends, when the requests that run have ended.")
    .. roff.item("HUP", "It loads its certificates anew, and opens LOG_FILE anew.")
    .. roff.item("USR2", "It gives its place to the program's file as it is now, dropping nobody (cchost upgrade).")
  out[#out + 1] = roff.section("exit status") .. roff.paragraph(EXIT)
  out[#out + 1] = roff.section("files") .. roff.item("/etc/cchost/cchost.lua", "The service's settings.")
    .. roff.item("/etc/cchost/policies", "Policies that were edited; the shipped ones for what is not there.")
    .. roff.item("/usr/share/cchost", "The shipped policies and examples, to read.")
    .. roff.item("/var/lib/cchost", "All that must survive; api_key in it is the operator's key.")
  return table.concat(out) .. see("ccc (1)", "claude\\-cloud (1)", "cchost.lua (5)", "cchost\\-policies (7)")
end

makers["ccc.1"] = function()
  local out = { roff.head("ccc", 1, "machines by the hour, for operators"), roff.section("synopsis"),
    roff.verbatim("ccc COMMAND [...]\ncchost ccc COMMAND [...]"), roff.section("description"),
    roff.paragraph("ccc works at the server that CCHOST_URL names, else on the store in DATA_DIR."), roff.section("commands") }
  for _, c in ipairs(words.ccc()) do out[#out + 1] = roff.subsection("ccc " .. c.name) .. roff.help(c.help) end
  out[#out + 1] = roff.section("exit status") .. roff.paragraph("0, and 1 for every error, wrong usage included.")
  return table.concat(out) .. see("cchost (1)")
end

makers["claude-cloud.1"] = function()
  local script = sys.carried("claude-cloud.sh")
  local usage = script:match("cat <<EOF\n(usage:.-)\nEOF"):gsub("%$default_url", "http://localhost:8080")
  local head = roff.head("claude-cloud", 1, "signs you in to a cchost server and connects you to your machine")
  return head .. roff.section("synopsis") .. roff.help(usage:match("^(usage:[^\n]+)")) .. roff.section("description")
    .. roff.paragraph("One script for POSIX sh that needs curl. A server gives it away: curl -fsS URL/install.sh | sh.")
    .. roff.section("commands") .. roff.help(usage:match("^usage:[^\n]+\n\n(.*)$")) .. see("cchost (1)")
end

makers["cchost.lua.5"] = function()
  local out = { roff.head("cchost.lua", 5, "settings of cchost"), roff.section("synopsis"),
    roff.verbatim('return {\n  LISTEN_ADDR = "127.0.0.1:8080",\n  DATA_DIR = "/var/lib/cchost",\n}'), roff.section("description"),
    roff.paragraph("A file in Lua that returns a table of values: texts in quotes, numbers, true and false, tables. There are no "
      .. "variables and no functions. cchost reads it from the current folder, or from the place that CCHOST_CONFIG names. Each "
      .. "setting can be given as a variable of the environment of the same name, which is stronger, and on the command line "
      .. "(--listen-addr=...), which is strongest. cchost config shows those in force, and where each comes from."),
    roff.section("settings") }
  for _, d in ipairs(config.declared) do
    local kind = d.kind == "enum" and table.concat(d.one_of, ", ") or d.kind
    local default = d.default ~= nil and d.default ~= "" and "; " .. tostring(d.default) .. " when absent" or ""
    out[#out + 1] = roff.item(("%s (%s%s%s)"):format(d.name, kind, d.secret and ", secret" or "", default),
      d.doc .. (d.unit and d.kind ~= "duration" and "; " .. d.unit or "") .. (d.later and "; not used yet" or "") .. ".")
  end
  return table.concat(out) .. see("cchost (1)")
end

makers["cchost-policies.7"] = function()
  local out = { roff.head("cchost-policies", 7, "what cchost decides by, in Lua"), roff.section("description"),
    roff.paragraph("Policies are Lua files that operators edit, in the folder POLICIES_DIR; the shipped ones stand in for those "
      .. "that are not there. Each gives functions that are told plain data and answer with plain data: no clock, no files, no "
      .. "chance. A server takes what is saved there when it compiles and its tests pass (cchost policy status says)."),
    roff.section("functions") }
  describe.each(function(name, fn_name, spec)
    out[#out + 1] = roff.subsection(("%s.lua: %s(input)"):format(name, fn_name))
      .. roff.paragraph("Gives " .. describe.results(spec) .. ".")
    for _, f in ipairs(describe.fields(spec)) do out[#out + 1] = roff.item(("%s (%s)"):format(f.name, f.is), f.doc) end
  end)
  assert(#kinds.list > 0)
  return table.concat(out) .. see("cchost (1)")
end

function M.make(name) return makers[name] and makers[name]() or nil end

return M
