-- Programs that are spoken to while they run.
local t = require "t"
local http = require "http"
local process = require "process"
local sys = require "sys"
local task = require "task"

local function spawn(args)
  local p, err = process.spawn(args)
  t.eq(err, nil)
  return p
end

local function gone(pid) return function() return not sys.kill(pid, 0) end end

t.test("lines come as they are said, and what is written is read", function()
  local p = spawn { "cat" }
  for i = 1, 3 do
    t.eq(p:write("line " .. i .. "\n"), true)
    t.eq(p:line(10), "line " .. i)
  end
  p:write("no end")
  p:close_input()
  t.eq(p:line(10), "no end")
  local line, err = p:line(10)
  t.eq(line, nil); t.eq(err.code, "closed")
  t.eq(p:wait(10), 0)
  local ok, why = p:write("more")
  t.eq(ok, nil); t.eq(why.code, "io")
end)

t.test("exit codes, signals, folder and environment", function()
  local env = { A = "1", PATH = sys.env("PATH") }
  local p = spawn { "sh", "-c", "pwd; echo $A-$HOME; echo bad >&2; exit 7", dir = "/usr", env = env }
  t.eq(p:line(10), "/usr")
  t.eq(p:line(10), "1-")
  t.eq(p:wait(10), 7)
  t.wait_until(function() return p:errors() == "bad\n" end, "what it said on stderr")
  p = spawn { "sleep", "100" }
  p:kill("TERM")
  t.eq(p:wait(10), 128 + 15)
end)

t.test("a child has nothing of what libraries opened: its three streams, and what it is given", function()
  local server = assert(http.serve { host = "127.0.0.1", port = 0, handler = function(req) req:reply(200, "") end })
  local _, port = server:addr()
  t.eq(http.request({ url = ("http://127.0.0.1:%d/"):format(port) }).status, 200) -- libcurl keeps the connection
  local p = spawn { "sh", "-c", "i=0; while [ $i -lt 300 ]; do [ ! -e /proc/$$/fd/$i ] || echo $i; i=$((i+1)); done; echo end" }
  local got = {}
  repeat got[#got + 1] = p:line(10) until got[#got] == "end"
  t.eq(table.concat(got, " "), "0 1 2 end")
  t.eq(p:wait(10), 0)
  server:close()
end)

t.test("no such program is a value", function()
  local p, err = process.spawn { "/no/such/program" }
  t.eq(p, nil); t.eq(err.code, "not_found")
end)

t.test("stderr in its output, and lines that end with a return", function()
  local p = spawn { "sh", "-c", [[printf '10%%\r20%%\r' >&2; printf 'done\n']], stderr = "out", returns = true }
  t.eq(p:line(10), "10%"); t.eq(p:line(10), "20%"); t.eq(p:line(10), "done")
  t.eq(p:wait(10), 0)
end)

t.test("a line that is too long is left out, and told", function()
  local p = spawn { "sh", "-c", "echo a; head -c 300000 /dev/zero | tr '\\0' x; echo; echo b", line_max = 100000 }
  t.eq(p:line(10), "a")
  local line, err = p:line(10)
  t.eq(line, nil); t.eq(err.code, "limit")
  t.eq(p:line(10), "b")
end)

t.test("a slow reader slows it, and gets everything", function()
  local p = spawn { "sh", "-c", "i=0; while [ $i -lt 40000 ]; do echo line-$i; i=$((i+1)); done; echo end >&2" }
  task.sleep(0.05)
  for i = 0, 39999 do
    local line = p:line(10)
    if line ~= "line-" .. i then t.eq(line, "line-" .. i) end
  end
  t.eq(p:wait(10), 0)
end)

t.test("waits have a time, and can be cancelled", function()
  local p = spawn { "cat" }
  local line, err = p:line(0.01)
  t.eq(line, nil); t.eq(err.code, "timeout")
  local exit, late = p:wait(0.01)
  t.eq(exit, nil); t.eq(late.code, "timeout")
  local h = task.spawn(function() return p:line() end)
  task.sleep(0)
  h:cancel("enough")
  line, err = h:join()
  t.eq(line, nil); t.eq(err.code, "cancelled")
  p:write("still there\n")
  t.eq(p:line(10), "still there")
  p:kill()
  t.eq(p:wait(10), 128 + 9)
end)

t.test("a kill takes its children along", function()
  local p = spawn { "sh", "-c", "sleep 1000 & echo $!; wait" }
  local child = tonumber(p:line(10))
  p:kill()
  t.eq(p:wait(10), 128 + 9)
  t.wait_until(gone(child), "the child's end")
end)

t.test("one that nobody holds any more is killed", function()
  local pid
  do
    local p = spawn { "sleep", "1000" }
    pid = p:pid()
    p = nil -- luacheck: ignore 311
  end
  t.wait_until(function() collectgarbage() return not sys.kill(pid, 0) end, "its end")
end)

t.test("who takes our place can have all the sockets that we may be given, and the lock", function()
  local argv = { "sh", "-c", "test -e /proc/self/fd/19", fds = {} }
  for i = 1, 17 do argv.fds[i] = 2 end
  t.eq(assert(process.spawn(argv)):wait(10), 0)
end)

return t.done()
