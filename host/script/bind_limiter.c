/* bind_limiter.c - module "limiter" (the rules are in host/sys/limiter.h).
 *
 *   l = limiter.new{slots = 65536}
 *   ok, remaining, reset, retry_after = l:take(key, per_minute, burst [, cost])    seconds with fractions; retry_after
 *                                                is 0 when ok, and infinite when cost is above burst
 *   {slots=, used=, evicted=} = l:stats()
 *   key = limiter.address_key(text)     by what a client's address is limited: v4 whole, v6 by its /64, other text as it is
 */
#include "host/http/addr.h"
#include "host/sys/limiter.h"

#include <lauxlib.h>
#include <math.h>
#include <string.h>

#define LIMITER_META "cchost.limiter"

int luaopen_cc_limiter(lua_State *L);

static struct cc_limiter *to_limiter(lua_State *L)
{
    return *(struct cc_limiter **)luaL_checkudata(L, 1, LIMITER_META);
}

static int l_new(lua_State *L)
{
    struct cc_limiter **ud;
    lua_Number slots;

    luaL_checktype(L, 1, LUA_TTABLE);
    lua_getfield(L, 1, "slots");
    slots = luaL_optnumber(L, -1, 65536);
    luaL_argcheck(L, slots >= 1 && slots <= 1 << 24, 1, "slots: 1 to 16777216 expected");
    ud = lua_newuserdata(L, sizeof(*ud));
    *ud = cc_limiter_new((size_t)slots);
    luaL_getmetatable(L, LIMITER_META);
    lua_setmetatable(L, -2);
    return 1;
}

static uint32_t check_tokens(lua_State *L, int arg, lua_Number least)
{
    lua_Number n = luaL_checknumber(L, arg);

    luaL_argcheck(L, n >= least && n <= CC_LIMITER_RATE_MAX && n == floor(n), arg,
                  "a whole number up to 1000000 expected");
    return (uint32_t)n;
}

static int l_take(lua_State *L)
{
    struct cc_limiter *l = to_limiter(L);
    struct cc_limiter_state state;
    size_t len;
    const char *key = luaL_checklstring(L, 2, &len);
    uint32_t per_minute = check_tokens(L, 3, 1), burst = check_tokens(L, 4, 1);
    uint32_t cost = lua_isnoneornil(L, 5) ? 1 : check_tokens(L, 5, 0);

    lua_pushboolean(L, cc_limiter_take(l, key, len, per_minute, burst, cost, &state));
    lua_pushnumber(L, state.remaining);
    lua_pushnumber(L, (lua_Number)state.reset_ms / 1000);
    lua_pushnumber(L, state.retry_ms == UINT64_MAX ? HUGE_VAL : (lua_Number)state.retry_ms / 1000);
    return 4;
}

static int l_stats(lua_State *L)
{
    struct cc_limiter_stats st;

    cc_limiter_stats(to_limiter(L), &st);
    lua_createtable(L, 0, 3);
    lua_pushnumber(L, (lua_Number)st.slots);
    lua_setfield(L, -2, "slots");
    lua_pushnumber(L, (lua_Number)st.used);
    lua_setfield(L, -2, "used");
    lua_pushnumber(L, (lua_Number)st.evicted);
    lua_setfield(L, -2, "evicted");
    return 1;
}

static int l_address_key(lua_State *L)
{
    static const uint8_t v4[12] = { [10] = 0xff, [11] = 0xff };
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    struct cc_addr a;
    char out[46 + 4];

    if (!cc_addr_parse(&a, text, len)) {
        lua_pushvalue(L, 1);
        return 1;
    }
    if (memcmp(a.b, v4, sizeof(v4)) != 0) {
        memset(a.b + 8, 0, 8);
        strcpy(out + cc_addr_text(&a, out), "/64");
    } else {
        cc_addr_text(&a, out);
    }
    lua_pushstring(L, out);
    return 1;
}

static int l_gc(lua_State *L)
{
    cc_limiter_free(to_limiter(L));
    return 0;
}

static const luaL_Reg methods[] = { { "take", l_take }, { "stats", l_stats }, { "__gc", l_gc }, { NULL, NULL } };
static const luaL_Reg limiter_lib[] = { { "new", l_new }, { "address_key", l_address_key }, { NULL, NULL } };

int luaopen_cc_limiter(lua_State *L)
{
    luaL_newmetatable(L, LIMITER_META);
    luaL_register(L, NULL, methods);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_newtable(L);
    luaL_register(L, NULL, limiter_lib);
    return 1;
}
