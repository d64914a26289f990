-- Text as roff, with the macros of man(7).
--
--   roff.text(s) -> s, safe anywhere in a line of roff
--   roff.head(name, section, says), roff.section(title), roff.paragraph(text), roff.item(term, text), roff.verbatim(text)
--   roff.help(text) -> a command's help: its paragraphs, its lists of "  --option   what it does", its literal lines

local M = {}

-- A backslash is an escape, "-" would be a hyphen, "." and "'" in the first column are requests.
function M.text(s)
  local lines = s:gsub("\\", "\\e"):gsub("%-", "\\-"):gsub("\n([.'])", "\n\\&%1"):gsub("^([.'])", "\\&%1")
  return (lines:gsub("~", "\\(ti"):gsub("%^", "\\(ha"):gsub("`", "\\(ga"))
end

function M.head(name, section, says)
  local version = "cchost " .. require("cli").version
  return ('.TH "%s" "%s" "" "%s" "cchost"\n.nh\n.ad l\n.SH NAME\n%s \\- %s\n')
    :format(M.text(name), section, version, M.text(name), M.text(says))
end

function M.section(title) return ".SH " .. M.text(title):upper() .. "\n" end
function M.subsection(title) return '.SS "' .. M.text(title):gsub('"', '""') .. '"\n' end
function M.paragraph(text) return ".PP\n" .. M.text(text) .. "\n" end
function M.item(term, text) return ".TP\n\\fB" .. M.text(term) .. "\\fP\n" .. M.text(text) .. "\n" end
function M.verbatim(text) return ".PP\n.nf\n" .. M.text(text) .. "\n.fi\n" end

local function blocks_of(text)
  local out = {}
  for block in (text .. "\n\n"):gmatch("(.-)\n%s*\n") do
    if block ~= "" then out[#out + 1] = block:gsub("^\n+", "") end
  end
  return out
end

-- Lines like "  term   what it is", whose text may go on below it. -> roff | nil, where it is none
local function list(block)
  local items, column = {}, nil
  for line in block:gmatch("[^\n]+") do
    local lead, term, gap, text = line:match("^(%s+)(%S.-)(%s%s+)(%S.*)$")
    local indent = #line:match("^%s*")
    if term and (not column or indent < column) then
      column = column or #lead + #term + #gap
      items[#items + 1] = { term, text }
    elseif #items > 0 and column and indent >= math.min(column, 6) then
      items[#items][2] = items[#items][2] .. "\n" .. line:match("^%s*(.*)$")
    else
      return nil
    end
  end
  for i, it in ipairs(items) do items[i] = M.item(it[1], it[2]) end
  return #items > 0 and table.concat(items) or nil
end

-- A line above a list that is no part of it ("Options:").
local function headed(block)
  local first, rest = block:match("^(%S[^\n]*)\n(%s.*)$")
  local made = first and list(rest)
  return made and M.paragraph(first) .. made or nil
end

function M.help(text)
  local out = {}
  for _, block in ipairs(blocks_of(text)) do
    local lines = "\n" .. block
    if block:match("^[uU]sage:") then
      out[#out + 1] = M.verbatim((lines:gsub("\n[uU]sage: ", "\n"):gsub("\n       ", "\n"):sub(2)))
    else
      out[#out + 1] = list(block) or headed(block) or lines:find("\n%s") and M.verbatim(block) or M.paragraph(block)
    end
  end
  return table.concat(out)
end

return M
