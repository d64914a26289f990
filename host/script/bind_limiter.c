/* bind_limiter.c - module "limiter" (what it promises is in host/sys/limiter.h).
 *
 *   l = limiter.new{ slots = 65536 }
 *   ok, remaining, reset_seconds, retry_after_seconds = l:take(key, per_minute, burst [, cost = 1])
 *       key: any string; ok false: nothing was taken; cost 0 only looks
 *   {slots=, used=, evicted=} = l:stats()      looks at every slot
 *   key = limiter.address_key(text)
 *       of a client's address (req:remote()): "203.0.113.7" also when it is mapped into IPv6, "2001:db8:0:7::/64", no
 *       port; "unix" for nil, "" and "unix", "unknown" for what is no address: all those share one bucket
 *   bool = limiter.is_network(text)
 *       an address or a network that http.serve takes as `trusted`: "10.0.0.0/8", no bit set behind the prefix
 */
#include "host/http/addr.h"
#include "host/sys/limiter.h"

#include <lauxlib.h>
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
    lua_Number slots = CC_LIMIT_SLOTS;

    luaL_checktype(L, 1, LUA_TTABLE);
    lua_getfield(L, 1, "slots");
    if (!lua_isnil(L, -1))
        slots = lua_tonumber(L, -1);
    luaL_argcheck(L, slots >= 1 && slots <= CC_LIMIT_SLOTS_MAX, 1, "slots: 1..16777216 expected");
    ud = lua_newuserdata(L, sizeof(*ud));
    *ud = cc_limiter_new((size_t)slots);
    luaL_getmetatable(L, LIMITER_META);
    lua_setmetatable(L, -2);
    return 1;
}

static uint32_t check_count(lua_State *L, int arg, lua_Number least)
{
    lua_Number n = luaL_checknumber(L, arg);

    luaL_argcheck(L, n >= least && n <= CC_LIMIT_MOST && n == (lua_Number)(uint32_t)n, arg,
                  least > 0 ? "an integer of 1..1000000 expected" : "an integer of 0..1000000 expected");
    return (uint32_t)n;
}

static int l_take(lua_State *L)
{
    struct cc_limiter *l = to_limiter(L);
    struct cc_limit v;
    size_t len;
    const char *key = luaL_checklstring(L, 2, &len);
    uint32_t rate = check_count(L, 3, 1), burst = check_count(L, 4, 1);

    v = cc_limiter_take(l, key, len, rate, burst, lua_isnoneornil(L, 5) ? 1 : check_count(L, 5, 0));
    lua_pushboolean(L, v.ok);
    lua_pushnumber(L, v.remaining);
    lua_pushnumber(L, v.reset_s);
    lua_pushnumber(L, v.retry_s);
    return 4;
}

static int l_stats(lua_State *L)
{
    struct cc_limiter_stats s;

    cc_limiter_stats(to_limiter(L), &s);
    lua_createtable(L, 0, 3);
    lua_pushnumber(L, (lua_Number)s.slots);
    lua_setfield(L, -2, "slots");
    lua_pushnumber(L, (lua_Number)s.used);
    lua_setfield(L, -2, "used");
    lua_pushnumber(L, (lua_Number)s.evicted);
    lua_setfield(L, -2, "evicted");
    return 1;
}

static int l_address_key(lua_State *L)
{
    char key[CC_ADDR_CALLER];
    struct cc_addr a;
    size_t len;
    const char *text = luaL_optlstring(L, 1, "", &len);

    if (len == 0 || strcmp(text, "unix") == 0)
        lua_pushliteral(L, "unix");
    else if (!cc_addr_parse(&a, text, len))
        lua_pushliteral(L, "unknown");
    else
        lua_pushlstring(L, key, cc_addr_caller(&a, key));
    return 1;
}

static int l_is_network(lua_State *L)
{
    struct cc_cidr c;
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);

    lua_pushboolean(L, cc_cidr_parse(&c, text, len));
    return 1;
}

static int l_gc(lua_State *L)
{
    cc_limiter_free(to_limiter(L));
    return 0;
}

static const luaL_Reg methods[] = { { "take", l_take }, { "stats", l_stats }, { "__gc", l_gc }, { NULL, NULL } };
static const luaL_Reg limiter_lib[] = {
    { "new", l_new }, { "address_key", l_address_key }, { "is_network", l_is_network }, { NULL, NULL }
};

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
