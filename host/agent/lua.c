/* lua.c - see lua.h. */
#include "host/agent/lua.h"

#include "host/observe/log.h"
#include "host/script/http.h"
#include "host/script/vm.h"

static struct {
    lua_State *L;
    struct agent *agent;
    int handler; /* what agent.main answers: function(req) */
} lua;

static int l_open(lua_State *L)
{
    static const luaL_Reg none[] = { { NULL, NULL } };

    cc_lua_req_open(L, none);
    cc_lua_ws_open(L);
    lua_getglobal(L, "require");
    lua_pushliteral(L, "agent.main");
    lua_call(L, 1, 1);
    luaL_checktype(L, -1, LUA_TFUNCTION);
    lua.handler = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

bool agent_lua_open(struct agent *a)
{
    lua.agent = a;
    lua.L = cc_vm_new(a->loop);
    lua_pushcfunction(lua.L, l_open);
    if (lua_pcall(lua.L, 0, 0, 0) == 0)
        return true;
    cc_log(CC_LOG_ERROR, "agent", "%s", lua_tostring(lua.L, -1));
    return false;
}

void agent_lua_request(struct cc_req *r) { cc_lua_req_run(lua.L, lua.handler, r); }

struct agent *agent_self(void) { return lua.agent; }

const char *agent_root(void) { return lua.agent->root; }

int luaopen_agent_machine(lua_State *L)
{
    lua_createtable(L, 0, 3);
    lua_pushstring(L, lua.agent->root);
    lua_setfield(L, -2, "root");
    lua_pushinteger(L, lua.agent->clone_seconds);
    lua_setfield(L, -2, "clone_seconds");
    lua_pushstring(L, lua.agent->saved);
    lua_setfield(L, -2, "saved");
    return 1;
}
