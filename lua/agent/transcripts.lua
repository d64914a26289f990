-- What Claude Code has kept of its sessions: ~/.claude/projects/FOLDER/SESSION.jsonl, one JSON object a line.
--
-- transcripts.folder(cwd) -> the name of the folder for sessions that work in `cwd`
-- transcripts.list(home, cwd) -> {{id =, title =, updatedAt =}...} | nil, err     [yields] the newest 20, newest first
--
-- The title is a summary that Claude Code wrote, else what the user said first. Only the beginning of a file is read: it may
-- have any size, and hold anything.

local fs = require "fs"
local json = require "json"
local stream_json = require "agent.stream_json"
local time = require "time"
local utf8 = require "utf8"

local M = {}

local MOST, HEAD, TITLE = 20, 262144, 100

function M.folder(cwd) return (cwd:gsub("[^%w]", "-")) end

local function tab(v) return type(v) == "table" and v ~= json.null and v or {} end

local function text_of(content)
  if type(content) == "string" then return content end
  for _, block in ipairs(tab(content)) do
    if tab(block).type == "text" and type(block.text) == "string" then return block.text end
  end
end

-- What a line says for a title; one of the user's own words, and whether it is a summary.
local function title_in(o)
  if o.type == "summary" and type(o.summary) == "string" then return o.summary, true end
  if o.type ~= "user" or o.isMeta == true or o.isSidechain == true then return nil end
  local text = text_of(tab(o.message).content)
  if text and not text:find "^%s*<" then return text end -- a command's marks and output are no words
end

local function tidy(text)
  return utf8.cut(text:gsub("%c+", " "):gsub("^ +", ""):gsub(" +$", ""), TITLE)
end

-- The title that the beginning of a transcript gives it, or nil.
function M.title(head)
  local first
  for line in head:gmatch "[^\n]+" do
    local o = stream_json.object(line)
    local title, summary = nil, nil
    if o then title, summary = title_in(o) end
    if title and title:find "%S" then
      if summary then return tidy(title) end
      first = first or title
    end
  end
  return first and tidy(first) or nil
end

local function files(dir)
  local names, err = fs.list(dir)
  if not names then return err.code == "not_found" and {} or nil, err end
  local out = {}
  for _, name in ipairs(names) do
    local id = name:match "^(%w[%w-]*)%.jsonl$"
    local info = id and not id:find "^agent%-" and fs.stat(dir .. "/" .. name)
    if info and info.type == "file" then out[#out + 1] = { id = id, path = dir .. "/" .. name, at = info.mtime } end
  end
  table.sort(out, function(a, b) return a.at > b.at or a.at == b.at and a.id < b.id end)
  return out
end

function M.list(home, cwd)
  local found, err = files(home .. "/.claude/projects/" .. M.folder(cwd))
  if not found then return nil, err end
  local out = json.array {}
  for _, f in ipairs(found) do
    local head = fs.head(f.path, HEAD)
    local title = head and M.title(head)
    if title then out[#out + 1] = { id = f.id, title = title, updatedAt = time.rfc3339(math.floor(f.at)) } end
    if #out == MOST then break end
  end
  return out
end

return M
