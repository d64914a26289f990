-- What Claude Code says, in its stream-json, and what a chat makes of it.
local t = require "t"
package.path = "lua/?.lua;" .. package.path -- the agent's Lua is carried by the agent alone
local json = require "json"
local stream_json = require "agent.stream_json"

local function line(o) return json.encode(o) .. "\n" end

-- All messages that a process's output makes.
local function said(text)
  local m, out, answers = stream_json.mapper(), {}, {}
  for l in text:gmatch "([^\n]*)\n" do
    local o = stream_json.object(l)
    local messages, answer = {}, nil
    if o then messages, answer = m:take(o) end
    for _, message in ipairs(messages) do out[#out + 1] = message end
    answers[#answers + 1] = answer
  end
  return out, m, answers
end

local function same(got, want)
  t.eq(#got, #want, "messages")
  for i, w in ipairs(want) do
    for k, v in pairs(w) do
      local as = type(v) == "table" and json.encode or function(x) return x end
      t.eq(as(got[i][k]), as(v), i .. "." .. k)
    end
    for k in pairs(got[i]) do t.ok(w[k] ~= nil, ("%d: %s is too much"):format(i, k)) end
  end
end

local sid = "0b6f2f5e-7d4b-4a0e-9a0f-3f1c9f8f2a11"
local function assistant(blocks, more)
  local o = { type = "assistant", message = { role = "assistant", content = json.array(blocks) }, session_id = sid }
  for k, v in pairs(more or {}) do o[k] = v end
  return line(o)
end
local function text(s) return { type = "text", text = s } end
local function tool(id, name, input) return { type = "tool_use", id = id, name = name, input = input } end
local function result(more)
  local o = { type = "result", subtype = "success", is_error = false, session_id = sid, result = "ready", num_turns = 2 }
  for k, v in pairs(more or {}) do o[k] = v end
  return line(o)
end
local function tool_result(id, content, is_error)
  local block = { type = "tool_result", tool_use_id = id, content = content, is_error = is_error }
  return line { type = "user", message = { role = "user", content = json.array { block } }, session_id = sid }
end

local turn = line { type = "system", subtype = "init", session_id = sid, cwd = "/x", tools = json.array { "Read" } }
  .. assistant { { type = "thinking", thinking = "hm" }, text "I look." }
  .. assistant { tool("t1", "Read", { file_path = "/x/ä" }) }
  .. tool_result("t1", "one\ntwo")
  .. assistant { text "It has two lines." } .. result()

local expected = {
  { type = "text", content = "I look." }, { type = "tool_use", tool = "Read", input = { file_path = "/x/ä" }, id = "t1" },
  { type = "tool_result", tool = "Read", output = "one\ntwo", id = "t1" }, { type = "text", content = "It has two lines." },
  { type = "done", content = "ready" },
}

t.test("a turn: text, a tool and its result by its name, the end, and the session to resume", function()
  local out, m = said(turn)
  same(out, expected)
  t.eq(m.session, sid)
end)

t.test("what is no JSON object, and what is not known, is passed over", function()
  local noise = { "Debugger listening\n", "\n", "[1,2]\n", "{not json}\n", "{\"a\":1}\n", "null\n", "{\n", ' {"type":"result"}\n',
    line { type = "rate_limit_event" }, line { type = "transcript_mirror", session_id = "" }, line { type = 7 },
    line { type = "assistant" }, line { type = "assistant", message = json.null },
    line { type = "user", message = { content = 5 } },
    line { type = "assistant", message = { content = json.array { { type = "text" }, { type = "tool_use", id = 5 } } } },
    line { type = "stream_event" }, line { type = "stream_event", event = { type = "content_block_delta" } },
    line { type = "system", subtype = "hook_started" }, line { type = "conversation_reset" } }
  local whole = {}
  for l in turn:gmatch "[^\n]+" do whole[#whole + 1] = table.concat(noise) .. l .. "\n" end
  local out, m = said(table.concat(whole))
  same(out, expected)
  t.eq(m.session, sid)
end)

local function event(e, more)
  local o = { type = "stream_event", event = e, session_id = sid }
  for k, v in pairs(more or {}) do o[k] = v end
  return line(o)
end
local function delta(s, more)
  return event({ type = "content_block_delta", index = 0, delta = { type = "text_delta", text = s } }, more)
end
local begin = event { type = "content_block_start", index = 0, content_block = { type = "text", text = "" } }

t.test("text that grows is told as it grows, and not again when it is whole", function()
  same(said(begin .. delta "Hel" .. delta "lo" .. event { type = "content_block_stop", index = 0 }
    .. assistant { text "Hello" } .. assistant { tool("t", "Bash", { command = "ls" }) } .. begin .. delta "Now"
    .. assistant { text "Now." } .. assistant { text "And more." } .. result { result = "" }), {
    { type = "text", content = "Hel" }, { type = "text", content = "lo" },
    { type = "tool_use", tool = "Bash", input = { command = "ls" }, id = "t" },
    { type = "text", content = "Now" }, { type = "text", content = "." }, { type = "text", content = "And more." },
    { type = "done", content = "" },
  })
  same(said(begin .. delta "abandoned" .. assistant { text "another" } .. result()), {
    { type = "text", content = "abandoned" }, { type = "text", content = "another" }, { type = "done", content = "ready" },
  })
  local json_delta = event { type = "content_block_delta", index = 1, delta = { type = "input_json_delta", partial_json = "{" } }
  same(said(json_delta .. delta "nowhere"), {})
end)

t.test("a subagent's talk is no answer, its tools are told", function()
  local inside = { parent_tool_use_id = "t0", session_id = "another" }
  local out, m = said(assistant { tool("t0", "Task", { prompt = "p" }) } .. begin .. delta("x", inside)
    .. assistant({ text "to myself" }, inside) .. assistant({ tool("t1", "Grep", { pattern = "a" }) }, inside)
    .. tool_result("t1", "found") .. tool_result("t0", json.array { text "all", text "done" }))
  same(out, {
    { type = "tool_use", tool = "Task", input = { prompt = "p" }, id = "t0" },
    { type = "tool_use", tool = "Grep", input = { pattern = "a" }, id = "t1" },
    { type = "tool_result", tool = "Grep", output = "found", id = "t1" },
    { type = "tool_result", tool = "Task", output = "all\ndone", id = "t0" },
  })
  t.eq(m.session, sid)
end)

t.test("results: of a tool that nobody used, of pictures, of failures", function()
  same(said(tool_result("none", json.array { { type = "image", source = { type = "base64" } }, text "x" })
    .. assistant { tool("t", "Bash", {}) } .. tool_result("t", "exit 1", true) .. tool_result("t", json.null)), {
    { type = "tool_result", tool = "", output = "[image]\nx", id = "none" },
    { type = "tool_use", tool = "Bash", input = {}, id = "t" },
    { type = "tool_result", tool = "Bash", output = "exit 1", id = "t", is_error = true },
    { type = "tool_result", tool = "Bash", output = "", id = "t" },
  })
end)

t.test("how a turn fails, by its code", function()
  for _, case in ipairs {
    { { is_error = true, result = "Invalid API key · Please run /login" }, "auth", "Invalid API key" },
    { { subtype = "error_max_turns", result = json.null }, "limit", "as many steps" },
    { { subtype = "error_during_execution", is_error = true, result = json.null,
        errors = json.array { "No conversation found with session ID: x" } }, "resume", "No conversation" },
    { { subtype = "error_during_execution", result = json.null }, "failed", "error_during_execution" },
    { { is_error = true, result = "overloaded" }, "failed", "overloaded" },
    { { is_error = true, subtype = json.null, result = json.null, errors = json.array { { message = "inner" } } },
      "failed", "inner" },
  } do
    local out = said(result(case[1]))
    t.eq(#out, 1)
    t.eq(out[1].type, "error")
    t.eq(out[1].code, case[2])
    t.match(out[1].content, case[3])
  end
  local out = said(assistant({ text "Credit is low" }, { error = "authentication_failed" }) .. result { is_error = true })
  t.eq(out[2].code, "auth")
  local m = stream_json.mapper()
  m.interrupted = true
  t.eq(m:take(json.decode(result { subtype = "error_during_execution" }))[1].code, "interrupted")
  t.eq(m:take(json.decode(result { subtype = "error_during_execution" }))[1].code, "failed")
end)

t.test("half characters, as JavaScript writes them, become the mark of a missing one", function()
  local mark = "\239\191\189"
  for _, case in ipairs {
    { [[a\ud83db]], "a" .. mark .. "b" }, { [[\uDE00]], mark }, { [[\ud83d\ud83d\ude00]], mark .. "\240\159\152\128" },
    { [[x\\ud83d \ud83d]], "x\\ud83d " .. mark }, { [[\ud83d\n\u00e4]], mark .. "\n\195\164" },
  } do
    local o = stream_json.object('{"type":"x","text":"' .. case[1] .. '"}')
    t.ok(o, case[1])
    t.eq(o.text, case[2])
  end
  t.eq(stream_json.object [[{"text":"\ud8"}]], nil)
end)

t.test("as many tools as one likes", function()
  local m = stream_json.mapper()
  for i = 1, 5000 do m:take(stream_json.object(assistant { tool("t" .. i, "Read", {}) })) end
  t.eq(#m.order, 1000)
  t.eq(m:take(stream_json.object(tool_result("t5000", "x")))[1].tool, "Read")
  t.eq(m:take(stream_json.object(tool_result("t1", "x")))[1].tool, "")
end)

t.test("who asks us something is answered", function()
  local out, _, answers = said(line { type = "control_request", request_id = "r1", request = { subtype = "can_use_tool" } })
  t.eq(#out, 0)
  local answer = json.decode(answers[1])
  t.eq(answer.response.request_id, "r1")
  t.eq(answer.response.subtype, "error")
end)

t.test("what is written to it is one line, whatever it holds", function()
  local o = json.decode(stream_json.user 'a "b"\n{"type":"x"}\n')
  t.eq(o.message.content, 'a "b"\n{"type":"x"}\n')
  t.eq(select(2, stream_json.user("a\nb"):gsub("\n", "")), 1)
  t.eq(json.decode(stream_json.interrupt "i").request.subtype, "interrupt")
end)

return t.done()
