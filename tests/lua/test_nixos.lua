-- The hash of a NixOS configuration, and which images are too many (lua/nixos.lua).
local t = require "t"
local fs = require "fs"
local nixos = require "nixos"
local sys = require "sys"

local function flake()
  local d = t.tmpdir()
  assert(fs.mkdir(d .. "/hosts/a"))
  assert(fs.write(d .. "/flake.nix", "{ }"))
  assert(fs.write(d .. "/hosts/a/default.nix", "{ ... }: { }"))
  return d
end

local function hash(d, name) return assert(nixos.hash(d .. "#" .. (name or "a"))) end

t.test("the hash is of every file, its name and the system's, and of nothing else", function()
  local d, other = flake(), flake()
  local was = hash(d)
  t.match(was, "^%x+$"); t.eq(#was, 40)
  t.eq(hash(other), was, "where it is does not matter")
  t.ok(hash(d, "b") ~= was, "the system's name")
  assert(sys.run { "touch", "-d", "2001-01-01", d .. "/flake.nix" })
  assert(sys.run { "ln", "-s", "/nix/store/x", d .. "/result" })
  assert(fs.mkdir(d .. "/.git"))
  assert(fs.write(d .. "/.git/HEAD", "x"))
  t.eq(hash(d), was, "times, what a build has linked, and git's own")
  assert(fs.write(d .. "/hosts/a/default.nix", "{ ... }: { } "))
  local changed = hash(d)
  t.ok(changed ~= was, "a byte")
  assert(fs.rename(d .. "/hosts/a/default.nix", d .. "/hosts/a/other.nix"))
  t.ok(hash(d) ~= changed, "a name")
end)

t.test("a byte that moves from one file to the next is another hash", function()
  local a, b = t.tmpdir(), t.tmpdir()
  assert(fs.write(a .. "/a", "xy")); assert(fs.write(a .. "/b", "z"))
  assert(fs.write(b .. "/a", "x")); assert(fs.write(b .. "/b", "yz"))
  t.ok(hash(a) ~= hash(b))
end)

t.test("what has no hash is an error", function()
  for flake_text, code in pairs { ["/nowhere/at/all#a"] = "not_found", ["/tmp"] = "invalid", ["#a"] = "invalid" } do
    local h, err = nixos.hash(flake_text)
    t.eq(h, nil, flake_text); t.eq(err.code, code, flake_text)
  end
  t.eq(nixos.hash(t.tmpdir() .. "#a"), nil, "an empty folder")
  t.ok(hash("github:us/machines/1234") ~= hash("github:us/machines/1235"), "a flake elsewhere is its address")
end)

t.test("the newest of each architecture stay, and the one that is current, and nothing of other builds", function()
  local function image(id, day, h, state, arch)
    local created = ("2026-11-%02dT00:00:00Z"):format(day)
    return { id = id, created = created, hash = h, state = state or "available", arch = arch or "x86" }
  end
  local list = {
    image("1", 1, "a"), image("2", 2, "b"), image("3", 3, "c"), image("4", 1, "d", nil, "arm"), image("5", 2, "e", nil, "arm"),
    image("cchost-image-f", 9, "f", "building"), image("cchost-image-a", 9, "a", "building"), image("6", 8, "g", "creating"),
  }
  local function ids(keep)
    local out = {}
    for _, i in ipairs(nixos.superfluous(list, "a", keep)) do out[#out + 1] = i.id end
    table.sort(out)
    return table.concat(out, " ")
  end
  t.eq(ids(1), "2 4 6 cchost-image-f")
  t.eq(ids(2), "6 cchost-image-f")
  t.eq(ids(0), "2 3 4 5 6 cchost-image-f")
end)

return t.done()
