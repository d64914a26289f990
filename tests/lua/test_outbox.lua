-- Mail that waits to be sent, with a mail server that is told what to answer.
local moved = require "moved"
moved.begin(1700000000000)

local t = require "t"
local errors = require "errors"
local log = require "log"
local mailer = require "accounts.mailer"
local outbox = require "outbox"
local store = require "store"
local time = require "time"

moved.open {}
log.setup { level = "error" }

local on, sent, answer = true, {}, nil
function mailer.configured() return on end
function mailer.send(message)
  sent[message.subject] = (sent[message.subject] or 0) + 1
  return answer(message)
end
local function takes() return true end
local function not_now() return errors.fail("unavailable", "not now", { retryable = true }) end

local function put(subject)
  assert(store.update(function(tx)
    outbox.put(tx, { to = "ann@example.org", subject = subject, text = "hello" })
    return true
  end))
end

local function waits() return #store.list("outbox", {}) end

function t.turn()
  moved.rest()
  time.advance(500)
end
local function look()
  for _ = 1, 8 do t.turn() end
end

answer = takes
outbox.serve()

t.test("a mail is sent once, and tried again with pauses", function()
  answer = not_now
  put "first"
  look()
  t.eq(sent.first, 1)
  answer = takes
  t.wait_until(function() return waits() == 0 end, "it is sent")
  t.eq(sent.first, 2)
end)

-- Bug: whatever raised while the outbox was looked through ended it, and no mail was sent until a restart.
t.test("one mail that raises keeps no other back, nor those of later", function()
  answer = function(m)
    if m.subject == "raises" then error("a fault") end
    return true
  end
  put "raises"
  put "other"
  t.wait_until(function() return sent.other == 1 end, "the other is sent")
  put "later"
  t.wait_until(function() return sent.later == 1 end, "and one of later")
  t.ok(sent.raises < 5, "it is tried with pauses, too")
  answer = takes
  t.wait_until(function() return waits() == 0 end, "all are sent")
end)

-- Bug: only the first hundred were looked at, so a hundred to a server that was away kept all others back.
t.test("a hundred that have to wait keep no other back", function()
  answer = function(m)
    if m.subject == "away" then return not_now() end
    return true
  end
  for _ = 1, 130 do put "away" end
  for i = 1, 20 do put("through " .. i) end
  t.wait_until(function() return waits() == 130 end, "those that can be sent are")
  answer = takes
  t.wait_until(function() return waits() == 0 end, "all are sent")
end)

-- Bug: with a store that could not be written (a full disk) a mail was sent anew at each look, once a second.
t.test("a mail that is sent is not sent again while the store cannot be written", function()
  local update = store.update
  put "once"
  answer = function()
    function store.update() return errors.fail("full", "the disk is full") end -- luacheck: ignore 122
    return true
  end
  look()
  t.eq(sent.once, 1)
  look()
  t.eq(sent.once, 1)
  store.update = update -- luacheck: ignore 122
  t.wait_until(function() return waits() == 0 end, "it is forgotten")
  t.eq(sent.once, 1)
end)

-- Bug: without a mail server what an earlier process had left raised, and stayed for ever.
t.test("what is left of a time with a mail server goes when it is of no use any more", function()
  answer = not_now
  put "left"
  on = false
  look()
  t.eq(sent.left, nil)
  time.advance(25 * 3600000)
  t.wait_until(function() return waits() == 0 end, "it is gone")
  on = true
end)

moved.finish()
return t.done()
