-- Addresses that belong to one alone: pools of networks and of hosts, taken and given back in the caller's update, so that an
-- address and whoever has it are written in one commit, and no two ever have the same.
--
--   addresses.take(tx, pool, key) -> address | nil, err       the lowest that is free; the one that the key has already, if so
--   addresses.give_back(tx, pool, key) -> address or nil      what it had
--   addresses.of(tx, pool, key) -> address or nil
--       pool: {name =, network = "10.64.0.0/10", size = 24 [, first = 0, last =]}: parts of that network of so many bits, the
--       nth of which are given out; size 32: single hosts, which are written with the network's own bits: "10.64.0.2/24"
--   addresses.network("10.1.2.3/24") -> "10.1.2.0/24"
--   addresses.parse("10.1.2.3/24") -> its 32 bits as a number, 24     nil: it is none
--   addresses.dotted(n) -> "10.1.2.3"
--   addresses.overlap(a, b) -> whether two networks have an address in common
--
-- Records: "address" (id: pool/key) {n, address}; "address_pool" (id: its name) {taken = a digit for every four parts, hex,
-- lowest bit first}: 16 KiB for 65,536 parts, all that a pool may have. Every taking writes it, so that two that come at once
-- are one after the other.

local bit = require "bit"
local errors = require "errors"

local M = {}

local MOST = 65536

-- ---- networks

local function parse(text)
  local a, b, c, d, bits = text:match("^(%d+)%.(%d+)%.(%d+)%.(%d+)/(%d+)$")
  a, b, c, d, bits = tonumber(a), tonumber(b), tonumber(c), tonumber(d), tonumber(bits)
  if not bits or a > 255 or b > 255 or c > 255 or d > 255 or bits > 32 then return nil end
  return ((a * 256 + b) * 256 + c) * 256 + d, bits
end

M.parse = parse

function M.dotted(n) return ("%d.%d.%d.%d"):format(n / 16777216 % 256, n / 65536 % 256, n / 256 % 256, n % 256) end

local function format(n, bits) return ("%s/%d"):format(M.dotted(n), bits) end

local function base_of(n, bits) return n - n % 2 ^ (32 - bits) end

function M.network(text)
  local n, bits = parse(text)
  return n and format(base_of(n, bits), bits) or nil
end

function M.overlap(a, b)
  local n, n_bits = parse(a)
  local m, m_bits = parse(b)
  local bits = math.min(n_bits, m_bits)
  return base_of(n, bits) == base_of(m, bits)
end

-- ---- the bits of a pool

-- The lowest free part from `first` on.
local function lowest_free(taken, first)
  local at = taken:find("[^f]", math.floor(first / 4) + 1) or math.max(#taken, math.floor(first / 4)) + 1
  while true do
    local digit = tonumber(taken:sub(at, at), 16) or 0
    for i = 0, 3 do
      local n = (at - 1) * 4 + i
      if n >= first and bit.band(digit, bit.lshift(1, i)) == 0 then return n end
    end
    at = taken:find("[^f]", at + 1) or #taken + 1
  end
end

local function with(taken, n, on)
  local at, mask = math.floor(n / 4) + 1, bit.lshift(1, n % 4)
  if #taken < at then taken = taken .. ("0"):rep(at - #taken) end
  local digit = tonumber(taken:sub(at, at), 16)
  digit = on and bit.bor(digit, mask) or bit.band(digit, bit.bnot(mask))
  return ((taken:sub(1, at - 1) .. ("%x"):format(digit) .. taken:sub(at + 1)):gsub("0+$", ""))
end

-- ---- taking

local function address_of(pool, n)
  local base, bits = parse(pool.network)
  return format(base_of(base, bits) + n * 2 ^ (32 - pool.size), pool.size == 32 and bits or pool.size)
end

local function last_of(pool)
  local _, bits = parse(pool.network)
  return math.min(pool.last or math.huge, 2 ^ (pool.size - bits) - 1, MOST - 1)
end

local function id_of(pool, key) return pool.name .. "/" .. key end

function M.of(tx, pool, key)
  local rec = tx:get("address", id_of(pool, key))
  return rec and rec.address or nil
end

function M.take(tx, pool, key)
  local has = M.of(tx, pool, key)
  if has then return has end
  local head = tx:get("address_pool", pool.name) or { taken = "" }
  local n = lowest_free(head.taken, pool.first or 0)
  if n > last_of(pool) then
    return errors.fail("unavailable", ("all addresses of %s (%s) are taken"):format(pool.name, pool.network))
  end
  local address = address_of(pool, n)
  tx:put("address_pool", pool.name, { taken = with(head.taken, n, true) })
  tx:put("address", id_of(pool, key), { n = n, address = address })
  return address
end

function M.give_back(tx, pool, key)
  local rec = tx:get("address", id_of(pool, key))
  if not rec then return nil end
  local taken = with(tx:get("address_pool", pool.name).taken, rec.n, false)
  if taken == "" then tx:del("address_pool", pool.name) else tx:put("address_pool", pool.name, { taken = taken }) end
  tx:del("address", id_of(pool, key))
  return rec.address
end

-- Whether nobody has any of a pool.
function M.is_empty(tx, pool) return tx:get("address_pool", pool.name) == nil end

return M
