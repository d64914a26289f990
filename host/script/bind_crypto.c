/* bind_crypto.c - module "crypto", over mbedTLS and the kernel's random numbers.
 *
 *   bytes = crypto.random(n)            1..4096 unpredictable bytes
 *   text  = crypto.token(n)             n random bytes as 2n hex digits
 *   text  = crypto.uuid()               version 4
 *   bytes = crypto.sha256(text)         32 bytes
 *   bytes = crypto.hmac_sha256(key, text)
 *   text  = crypto.hex(bytes)
 *   bool  = crypto.equal(a, b)          in a time that tells nothing of where they differ
 *   text  = crypto.base64(bytes)        standard alphabet, padded
 *   bytes = crypto.unbase64(text)       nil: not exactly what base64 gives
 *   box   = crypto.seal(key, text, context)              AES-256-GCM, a key of 32 bytes (host/sys/seal.h)
 *   text | nil, err = crypto.unseal(key, box, context)   err.code "denied", "invalid"
 *   key   = crypto.ecdsa_keygen()       ECDSA P-256 over SHA-256 (host/sys/ecdsa.h): 32 bytes
 *   x, y  = crypto.ecdsa_public(key)    32 bytes each; nil: no key
 *   sig   = crypto.ecdsa_sign(key, text)         64 bytes
 *   bool  = crypto.ecdsa_verify(x, y, text, sig)  false also for what is no point, or no signature by its length
 */
#include "host/script/task.h"
#include "host/sys/ecdsa.h"
#include "host/sys/err.h"
#include "host/sys/random.h"
#include "host/sys/seal.h"

#include <lauxlib.h>
#include <mbedtls/base64.h>
#include <mbedtls/constant_time.h>
#include <mbedtls/md.h>
#include <string.h>

int luaopen_cc_crypto(lua_State *L);

static const char digits[] = "0123456789abcdef";

static void push_hex(lua_State *L, const unsigned char *p, size_t n)
{
    luaL_Buffer b;
    size_t i;

    luaL_buffinit(L, &b);
    for (i = 0; i < n; i++) {
        luaL_addchar(&b, digits[p[i] >> 4]);
        luaL_addchar(&b, digits[p[i] & 15]);
    }
    luaL_pushresult(&b);
}

static size_t check_count(lua_State *L)
{
    lua_Integer n = luaL_checkinteger(L, 1);

    luaL_argcheck(L, n >= 1 && n <= 4096, 1, "1..4096 bytes expected");
    return (size_t)n;
}

static int l_random(lua_State *L)
{
    unsigned char buf[4096];
    size_t n = check_count(L);

    cc_random(buf, n);
    lua_pushlstring(L, (char *)buf, n);
    return 1;
}

static int l_token(lua_State *L)
{
    unsigned char buf[4096];
    size_t n = check_count(L);

    cc_random(buf, n);
    push_hex(L, buf, n);
    return 1;
}

static int l_uuid(lua_State *L)
{
    char text[37];

    cc_uuid(text);
    lua_pushlstring(L, text, 36);
    return 1;
}

static int l_sha256(lua_State *L)
{
    unsigned char out[32];
    size_t n;
    const char *s = luaL_checklstring(L, 1, &n);

    if (mbedtls_md(mbedtls_md_info_from_type(MBEDTLS_MD_SHA256), (const unsigned char *)s, n, out) != 0)
        return luaL_error(L, "crypto.sha256 failed");
    lua_pushlstring(L, (char *)out, sizeof(out));
    return 1;
}

static int l_hmac_sha256(lua_State *L)
{
    unsigned char out[32];
    size_t klen, n;
    const char *k = luaL_checklstring(L, 1, &klen), *s = luaL_checklstring(L, 2, &n);

    if (mbedtls_md_hmac(mbedtls_md_info_from_type(MBEDTLS_MD_SHA256), (const unsigned char *)k, klen,
                        (const unsigned char *)s, n, out) != 0)
        return luaL_error(L, "crypto.hmac_sha256 failed");
    lua_pushlstring(L, (char *)out, sizeof(out));
    return 1;
}

static int l_hex(lua_State *L)
{
    size_t n;
    const char *s = luaL_checklstring(L, 1, &n);

    push_hex(L, (const unsigned char *)s, n);
    return 1;
}

static int l_equal(lua_State *L)
{
    size_t na, nb;
    const char *a = luaL_checklstring(L, 1, &na), *b = luaL_checklstring(L, 2, &nb);
    /* the length of a secret is no secret; its bytes are compared even when it differs */
    int diff = mbedtls_ct_memcmp(a, na == nb ? b : a, na);

    lua_pushboolean(L, na == nb && diff == 0);
    return 1;
}

/* ---- base64, strict: what is decoded must be what its bytes encode to */

static int l_base64(lua_State *L)
{
    size_t n, out;
    const char *s = luaL_checklstring(L, 1, &n);
    unsigned char *buf;

    luaL_argcheck(L, n <= 1 << 24, 1, "at most 16 MiB expected");
    buf = lua_newuserdata(L, n / 3 * 4 + 8);
    if (mbedtls_base64_encode(buf, n / 3 * 4 + 8, &out, (const unsigned char *)s, n) != 0)
        return luaL_error(L, "crypto.base64 failed");
    lua_pushlstring(L, (char *)buf, out);
    return 1;
}

static int l_unbase64(lua_State *L)
{
    size_t n, len, back;
    const char *s = luaL_checklstring(L, 1, &n);
    unsigned char *bytes, *again;

    if (n % 4 != 0 || n > 1 << 24)
        return 0;
    bytes = lua_newuserdata(L, n + 1);
    again = lua_newuserdata(L, n + 8);
    if (mbedtls_base64_decode(bytes, n + 1, &len, (const unsigned char *)s, n) != 0 ||
        mbedtls_base64_encode(again, n + 8, &back, bytes, len) != 0 || back != n || memcmp(again, s, n) != 0)
        return 0;
    lua_pushlstring(L, (char *)bytes, len);
    return 1;
}

/* ---- sealing */

static const unsigned char *check_key(lua_State *L)
{
    size_t n;
    const char *key = luaL_checklstring(L, 1, &n);

    luaL_argcheck(L, n == CC_SEAL_KEY, 1, "a key of 32 bytes expected");
    return (const unsigned char *)key;
}

static int l_seal(lua_State *L)
{
    const unsigned char *key = check_key(L);
    size_t n, cn;
    const char *text = luaL_checklstring(L, 2, &n), *context = luaL_checklstring(L, 3, &cn);
    struct cc_err err;
    unsigned char *box;

    luaL_argcheck(L, n <= 1 << 20, 2, "at most 1 MiB expected");
    box = lua_newuserdata(L, n + CC_SEAL_EXTRA);
    if (cc_seal(key, text, n, context, cn, box, &err) != 0)
        return luaL_error(L, "crypto.seal: %s", err.message);
    lua_pushlstring(L, (char *)box, n + CC_SEAL_EXTRA);
    return 1;
}

static int l_unseal(lua_State *L)
{
    const unsigned char *key = check_key(L);
    size_t n, cn, room;
    const char *box = luaL_checklstring(L, 2, &n), *context = luaL_checklstring(L, 3, &cn);
    struct cc_err err;
    unsigned char *text;

    room = n > CC_SEAL_EXTRA ? n - CC_SEAL_EXTRA : 1;
    text = lua_newuserdata(L, room);
    if (cc_unseal(key, (const unsigned char *)box, n, context, cn, text, &err) != 0)
        return cc_push_err(L, &err);
    lua_pushlstring(L, (char *)text, n - CC_SEAL_EXTRA);
    cc_wipe(text, room);
    return 1;
}

/* ---- signing */

static int l_ecdsa_keygen(lua_State *L)
{
    unsigned char key[CC_ECDSA_KEY];

    if (cc_ecdsa_keygen(key) != 0)
        return luaL_error(L, "crypto.ecdsa_keygen failed");
    lua_pushlstring(L, (char *)key, sizeof(key));
    cc_wipe(key, sizeof(key));
    return 1;
}

static int l_ecdsa_public(lua_State *L)
{
    unsigned char pub[CC_ECDSA_PUBLIC];

    if (cc_ecdsa_public(check_key(L), pub) != 0)
        return 0;
    lua_pushlstring(L, (char *)pub, 32);
    lua_pushlstring(L, (char *)pub + 32, 32);
    return 2;
}

static int l_ecdsa_sign(lua_State *L)
{
    const unsigned char *key = check_key(L);
    unsigned char sig[CC_ECDSA_SIGNATURE];
    size_t n;
    const char *text = luaL_checklstring(L, 2, &n);

    if (cc_ecdsa_sign(key, text, n, sig) != 0)
        return luaL_error(L, "crypto.ecdsa_sign: no key of P-256");
    lua_pushlstring(L, (char *)sig, sizeof(sig));
    return 1;
}

static int l_ecdsa_verify(lua_State *L)
{
    unsigned char pub[CC_ECDSA_PUBLIC];
    size_t nx, ny, n, ns;
    const char *x = luaL_checklstring(L, 1, &nx), *y = luaL_checklstring(L, 2, &ny),
               *text = luaL_checklstring(L, 3, &n);
    const char *sig = luaL_checklstring(L, 4, &ns);
    int ok = nx == 32 && ny == 32 && ns == CC_ECDSA_SIGNATURE;

    if (ok) {
        memcpy(pub, x, 32);
        memcpy(pub + 32, y, 32);
        ok = cc_ecdsa_verify(pub, text, n, (const unsigned char *)sig) == 0;
    }
    lua_pushboolean(L, ok);
    return 1;
}

static const luaL_Reg crypto_lib[] = { { "random", l_random },
                                       { "token", l_token },
                                       { "uuid", l_uuid },
                                       { "sha256", l_sha256 },
                                       { "hmac_sha256", l_hmac_sha256 },
                                       { "hex", l_hex },
                                       { "equal", l_equal },
                                       { "base64", l_base64 },
                                       { "unbase64", l_unbase64 },
                                       { "seal", l_seal },
                                       { "unseal", l_unseal },
                                       { "ecdsa_keygen", l_ecdsa_keygen },
                                       { "ecdsa_public", l_ecdsa_public },
                                       { "ecdsa_sign", l_ecdsa_sign },
                                       { "ecdsa_verify", l_ecdsa_verify },
                                       { NULL, NULL } };

int luaopen_cc_crypto(lua_State *L)
{
    lua_newtable(L);
    luaL_register(L, NULL, crypto_lib);
    return 1;
}
