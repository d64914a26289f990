---@meta crypto
-- luacheck: ignore 212 241
-- What `require "crypto"` gives (host/script/bind_crypto.c; docs/scripts.md). [yields] marks what waits.

---@class crypto
local crypto = {}

---@param n integer             1..4096
---@return string bytes
function crypto.random(n) end
---@param n integer             bytes, as 2n hex digits
---@return string
function crypto.token(n) end
---@return string
function crypto.uuid() end
---@param text string
---@return string bytes         32
function crypto.sha256(text) end
---@param key string
---@param text string
---@return string bytes         32
function crypto.hmac_sha256(key, text) end
---@param bytes string
---@return string
function crypto.hex(bytes) end
---@param bytes string
---@return string
function crypto.base64(bytes) end
---@param text string
---@return string|nil bytes     nil: not exactly what base64 gives
function crypto.unbase64(text) end
---In a time that tells nothing of where they differ.
---@param a string
---@param b string
---@return boolean
function crypto.equal(a, b) end
---AES-256-GCM.
---@param key string            32 bytes
---@param text string
---@param context string        that unseal must be given, too
---@return string box
function crypto.seal(key, text, context) end
---@param key string
---@param box string
---@param context string
---@return string|nil text, cchost.error|nil err   denied, invalid
function crypto.unseal(key, box, context) end
---ECDSA P-256 over SHA-256.
---@return string key           32 bytes
function crypto.ecdsa_keygen() end
---@param key string
---@return string|nil x, string|nil y   32 bytes each
function crypto.ecdsa_public(key) end
---@param key string
---@param text string
---@return string signature     64 bytes
function crypto.ecdsa_sign(key, text) end
---@param x string
---@param y string
---@param text string
---@param signature string
---@return boolean
function crypto.ecdsa_verify(x, y, text, signature) end

return crypto
