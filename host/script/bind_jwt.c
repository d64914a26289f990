/* bind_jwt.c - module "jwt" (the rules are in host/sys/jwt.h).
 *
 *   v = jwt.new{ {secret=, kid=}, ..., cache=4096 }     the first key signs, all verify
 *   user_id, purpose, jti, email | nil, err = v:verify(token)    strings; "" for an absent claim
 *   user_id, purpose, jti | nil, err = v:bearer(header)          the same of an Authorization header "Bearer TOKEN"
 *   bool  = v:signed(token)                             head and signature are good; nothing is said of the claims
 *   token = v:sign(claims)                              claims: a table; exp in unix seconds is the caller's
 */
#include "host/script/json.h"
#include "host/script/task.h"
#include "host/sys/clock.h"
#include "host/sys/jwt.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <strings.h>

#define JWT_META "cchost.jwt"

int luaopen_cc_jwt(lua_State *L);

static struct cc_jwt *to_jwt(lua_State *L) { return *(struct cc_jwt **)luaL_checkudata(L, 1, JWT_META); }

static void check_keys(lua_State *L)
{
    size_t i, n, len;

    luaL_checktype(L, 1, LUA_TTABLE);
    n = lua_objlen(L, 1);
    luaL_argcheck(L, n > 0, 1, "at least one key expected");
    for (i = 1; i <= n; i++) {
        lua_rawgeti(L, 1, (int)i);
        luaL_argcheck(L, lua_istable(L, -1), 1, "keys: tables expected");
        lua_getfield(L, -1, "secret");
        luaL_argcheck(L, lua_tolstring(L, -1, &len) && len >= 16, 1, "secret: at least 16 bytes expected");
        lua_pop(L, 2);
    }
}

static int l_new(lua_State *L)
{
    struct cc_jwt **ud;
    size_t i, n, len, cache;
    const char *secret;

    check_keys(L);
    lua_getfield(L, 1, "cache");
    cache = lua_isnumber(L, -1) ? (size_t)lua_tonumber(L, -1) : 4096;
    luaL_argcheck(L, cache <= 1 << 20, 1, "cache: at most 1048576 expected");
    ud = lua_newuserdata(L, sizeof(*ud));
    *ud = cc_jwt_new(cache);
    luaL_getmetatable(L, JWT_META);
    lua_setmetatable(L, -2);
    for (i = 1, n = lua_objlen(L, 1); i <= n; i++) {
        lua_rawgeti(L, 1, (int)i);
        lua_getfield(L, -1, "secret");
        lua_getfield(L, -2, "kid");
        secret = lua_tolstring(L, -2, &len);
        cc_jwt_add_key(*ud, lua_tostring(L, -1), secret, len);
        lua_pop(L, 3);
    }
    return 1;
}

static int l_verify(lua_State *L)
{
    struct cc_jwt *j = to_jwt(L);
    const struct cc_jwt_claims *c;
    struct cc_err err;
    size_t len;
    const char *token = luaL_checklstring(L, 2, &len);

    if (cc_jwt_verify(j, token, len, cc_wall_ms() / 1000, &c, &err) != 0)
        return cc_push_err(L, &err);
    lua_pushstring(L, c->user_id);
    lua_pushstring(L, c->purpose);
    lua_pushstring(L, c->jti);
    lua_pushstring(L, c->email);
    return 4;
}

/* The read path: no Lua string is made of the token. */
static int l_bearer(lua_State *L)
{
    static const char scheme[] = "Bearer ";
    const size_t skip = sizeof(scheme) - 1;
    struct cc_jwt *j = to_jwt(L);
    const struct cc_jwt_claims *c;
    struct cc_err err;
    size_t len;
    const char *text = luaL_checklstring(L, 2, &len);

    if (len <= skip || strncasecmp(text, scheme, skip) != 0) {
        cc_err_set(&err, CC_E_DENIED, "invalid token");
        return cc_push_err(L, &err);
    }
    if (cc_jwt_verify(j, text + skip, len - skip, cc_wall_ms() / 1000, &c, &err) != 0)
        return cc_push_err(L, &err);
    lua_pushstring(L, c->user_id);
    lua_pushstring(L, c->purpose);
    lua_pushstring(L, c->jti);
    return 3;
}

static int l_signed(lua_State *L)
{
    size_t len;
    const char *token = luaL_checklstring(L, 2, &len);

    lua_pushboolean(L, cc_jwt_signed(to_jwt(L), token, len));
    return 1;
}

static int l_sign(lua_State *L)
{
    struct cc_jwt *j = to_jwt(L);
    struct cc_err err = { .message = "" };
    size_t len;
    char *text, *token;

    luaL_checktype(L, 2, LUA_TTABLE);
    if (!(text = cc_json_text(L, 2, &len, &err)))
        return luaL_error(L, "sign: %s", err.message);
    token = cc_jwt_sign(j, text, len);
    free(text);
    lua_pushstring(L, token);
    free(token);
    return 1;
}

static int l_gc(lua_State *L)
{
    cc_jwt_free(to_jwt(L));
    return 0;
}

static const luaL_Reg methods[] = { { "verify", l_verify }, { "bearer", l_bearer }, { "signed", l_signed },
                                    { "sign", l_sign },     { "__gc", l_gc },       { NULL, NULL } };

int luaopen_cc_jwt(lua_State *L)
{
    luaL_newmetatable(L, JWT_META);
    luaL_register(L, NULL, methods);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_newtable(L);
    lua_pushcfunction(L, l_new);
    lua_setfield(L, -2, "new");
    return 1;
}
