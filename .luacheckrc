-- What luacheck (make check) expects of our Lua: LuaJIT, no globals of our own, 120 columns.
std = "luajit"
max_line_length = 130
ignore = { "212/self" }
exclude_files = { "build" }
files["lua/meta/policies.lua"] = { ignore = { "1..", "21.", "241", "631" } } -- made by cchost policy describe --meta
files["lua/meta"] = { ignore = { "241", "211", "212" } } -- declarations for editors have no bodies
files["policies"] = { read_globals = { "clock", "duration", "use", "machine", "housekeeping" } } -- the fence's own
files["examples/policies"] = { read_globals = { "clock", "duration", "use" } }
