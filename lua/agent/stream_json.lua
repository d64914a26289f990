-- What Claude Code says with --output-format stream-json, and what a chat's clients are told of it. Pure: lines in, tables out.
--
--   stream_json.object(line) -> table or nil    what is no JSON object, as anything that a hook or a runtime prints between, is
--                                               passed over
--   local m = stream_json.mapper()          one for each process
--   m:take(object) -> {message...}, answer  messages for clients, and what is to be written to the process, if anything
--   m:left_out() -> {message...}            for a line that was longer than is read
--   m.session                               the id to resume with: of the newest that told one, or nil
--
-- Messages are {type = "text", content =}, {type = "tool_use", tool =, input =, id =}, {type = "tool_result", tool =, output =,
-- id =, is_error = true or nil}, and once a turn {type = "done", content =} or {type = "error", content =, code =}.
-- code: "auth" when Claude is not signed in, "interrupted", "limit" (turns, money), "resume" (no such session), or "failed".
--
-- Text comes once: with --include-partial-messages as it grows, and of the whole that follows only what was not told yet. What
-- a subagent says to itself (parent_tool_use_id) is no answer; the tools that it uses are told.
--
-- stream_json.user(content) and .interrupt(id) are lines to write to it.

local json = require "json"

local M = {}

local TOOLS = 1000 -- uses whose results are still expected

-- ---- lines

-- JavaScript cuts text between the halves of a character, and writes half ones; JSON has none.
local function mended(line)
  local out, at = {}, 1
  while true do
    local start, stop, escaped = line:find("\\(.)", at)
    if not start then break end
    if escaped == "u" then
      local first, second = line:match("^\\u([dD][89abAB]%x%x)", start), line:match("^\\u[dD][c-fC-F]%x%x", start + 6)
      if first and second then
        stop = start + 11
      elseif line:find("^\\u[dD][89a-fA-F]%x%x", start) then
        out[#out + 1] = line:sub(at, start - 1) .. "\\ufffd"
        at, stop = start + 6, start + 5
      end
    end
    out[#out + 1] = line:sub(at, stop)
    at = stop + 1
  end
  out[#out + 1] = line:sub(at)
  return table.concat(out)
end

function M.object(line)
  if line:byte() ~= 123 then return nil end -- "{"
  local value = json.decode(line)
  if value == nil then value = json.decode(mended(line)) end
  return type(value) == "table" and not json.is_array(value) and value or nil
end

-- ---- messages

local Mapper = {}
Mapper.__index = Mapper

function M.mapper() return setmetatable({ tools = {}, order = {}, told = {} }, Mapper) end

local function str(v) return type(v) == "string" and v or nil end
local function tab(v) return type(v) == "table" and v ~= json.null and v or {} end

-- The blocks of a message, one text counting as one of them.
local function blocks(object_)
  local content = tab(object_.message).content
  if str(content) then return { { type = "text", text = content } } end
  return tab(content)
end

local function of_subagent(o) return str(o.parent_tool_use_id) ~= nil end

function Mapper:remember(id, name)
  if not self.tools[id] then self.order[#self.order + 1] = id end
  self.tools[id] = name
  if #self.order > TOOLS then self.tools[table.remove(self.order, 1)] = nil end
end

-- What of a whole text was not told yet, as it grew.
function Mapper:rest(text)
  local grown = table.remove(self.told, 1)
  if grown and text:sub(1, #grown) == grown then return text:sub(#grown + 1) end
  return text
end

local take = {}

function take.assistant(self, o, out)
  if str(o.error) == "authentication_failed" then self.auth = true end
  for _, b in ipairs(blocks(o)) do
    if b.type == "text" and str(b.text) and not of_subagent(o) then
      local text = self:rest(b.text)
      if text ~= "" then out[#out + 1] = { type = "text", content = text } end
    elseif b.type == "tool_use" and str(b.id) and str(b.name) then
      self:remember(b.id, b.name)
      out[#out + 1] = { type = "tool_use", tool = b.name, input = tab(b.input), id = b.id }
    end
  end
end

local function output(content)
  if str(content) then return content end
  local parts = {}
  for _, b in ipairs(tab(content)) do parts[#parts + 1] = str(tab(b).text) or ("[%s]"):format(str(tab(b).type) or "?") end
  return table.concat(parts, "\n")
end

-- Results of tools come inside messages "of the user"; which tool it was, its use has said.
function take.user(self, o, out)
  for _, b in ipairs(blocks(o)) do
    if b.type == "tool_result" and str(b.tool_use_id) then
      out[#out + 1] = {
        type = "tool_result", tool = self.tools[b.tool_use_id] or "", output = output(b.content), id = b.tool_use_id,
        is_error = b.is_error == true or nil,
      }
    end
  end
end

function take.stream_event(self, o, out)
  local e = tab(o.event)
  if of_subagent(o) then return end
  if e.type == "content_block_start" and tab(e.content_block).type == "text" then
    self.told[#self.told + 1] = ""
  elseif e.type == "content_block_delta" and tab(e.delta).type == "text_delta" and str(e.delta.text) and self.told[1] then
    self.told[#self.told] = self.told[#self.told] .. e.delta.text
    if e.delta.text ~= "" then out[#out + 1] = { type = "text", content = e.delta.text } end
  end
end

local limits = {
  error_max_turns = "it took as many steps as one turn may have; say \"go on\" to continue",
  error_max_budget_usd = "it cost as much as one turn may",
}

local function first_error(o)
  local e = tab(o.errors)[1]
  return str(e) or str(tab(e).message)
end

-- Claude Code tells that it is not signed in by a text of its own; there is no code for it in all versions.
local function is_auth(text)
  for _, words in ipairs { "/login", "Invalid API key", "OAuth token" } do
    if text:find(words, 1, true) then return true end
  end
end

local function failure(self, o)
  local text = first_error(o) or str(o.result) or ""
  if text == "" then text = limits[o.subtype] or ("Claude Code reports: " .. (str(o.subtype) or "a failure")) end
  local code = limits[o.subtype] and "limit" or "failed"
  if self.auth or is_auth(text) then
    code = "auth"
  elseif text:find("No conversation found", 1, true) then
    code = "resume"
  elseif self.interrupted then
    code = "interrupted"
  end
  return { type = "error", content = text, code = code }
end

function take.result(self, o, out)
  local failed = o.is_error == true or (str(o.subtype) or ""):find "^error"
  out[#out + 1] = failed and failure(self, o) or { type = "done", content = str(o.result) or "" }
  self.told, self.auth, self.interrupted = {}, nil, nil
end

-- Whoever asks and gets no answer waits for ever; nothing that can be asked is offered here.
local function refusal(o)
  return json.encode {
    type = "control_response",
    response = { subtype = "error", request_id = str(o.request_id) or "", error = "there is nobody here who could answer this" },
  } .. "\n"
end

function Mapper:take(o)
  local out = {}
  if o.type == "control_request" then return out, refusal(o) end
  local fn = type(o.type) == "string" and take[o.type]
  if fn then fn(self, o, out) end
  if str(o.session_id) and o.session_id ~= "" and not of_subagent(o) then self.session = o.session_id end
  return out
end

function Mapper.left_out() return { { type = "text", content = "\n[something of more than 1 MiB was left out here]\n" } } end

-- ---- what is written to it

function M.user(content)
  return json.encode { type = "user", message = { role = "user", content = content }, parent_tool_use_id = json.null } .. "\n"
end

function M.interrupt(id)
  return json.encode { type = "control_request", request_id = id, request = { subtype = "interrupt" } } .. "\n"
end

return M
