-- Says the secret of a machine's agent, from the store of a server that has ended, and whether it is sealed there.
--
--   cchost tests/e2e/secret.lua FOLDER ID      prints "SECRET", or "none"

local store = require "store"
local vault = require "vault"

local dir, id = ...
assert(store.open { dir = dir })
vault.setup(assert(require("keys").master { DATA_DIR = dir }))
local text, err = vault.get("agent/" .. id)
print(text or err.code == "not_found" and "none" or tostring(err))
store.close()
