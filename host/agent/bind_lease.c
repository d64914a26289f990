/* bind_lease.c - module "lease": busy leases that the agent itself holds (lease.c).
 *
 *   true | false = lease.hold(id, reason, seconds)   held again it is renewed; false: too many are held
 *   lease.release(id)
 */
#include "host/agent/agent.h"
#include "host/agent/lua.h"

#include "host/sys/lease.h"

#include <lauxlib.h>

static int l_hold(lua_State *L)
{
    size_t id_len, reason_len;
    const char *id = luaL_checklstring(L, 1, &id_len), *reason = luaL_checklstring(L, 2, &reason_len);
    lua_Number seconds = luaL_checknumber(L, 3);

    luaL_argcheck(L, cc_lease_id_ok(id, id_len), 1, "no name of a lease");
    luaL_argcheck(L, cc_lease_reason_ok(reason, reason_len), 2, "no reason of a lease");
    luaL_argcheck(L, seconds >= 1 && seconds <= CC_LEASE_TTL_MAX, 3, "1 to 86400 seconds expected");
    lua_pushboolean(L, agent_lease_hold(id, reason, (unsigned)seconds));
    return 1;
}

static int l_release(lua_State *L)
{
    agent_lease_release(luaL_checkstring(L, 1));
    return 0;
}

static const luaL_Reg lease_lib[] = { { "hold", l_hold }, { "release", l_release }, { NULL, NULL } };

int luaopen_agent_lease(lua_State *L)
{
    lua_newtable(L);
    luaL_register(L, NULL, lease_lib);
    return 1;
}
