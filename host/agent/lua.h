/* lua.h - the agent's Lua: lua/agent/main.lua decides what a route does that is not C's (main.c).
 *
 * The host's scheduler, bindings and router, linked in as far as they need no
 * other library (modules.c); the state is made at start.  Thread: loop.
 */
#ifndef CC_AGENT_LUA_H
#define CC_AGENT_LUA_H

#include "host/agent/agent.h"

#include <lua.h>

/* False: it has been logged why the agent's Lua would not start. */
bool agent_lua_open(struct agent *a);

/* Runs main.lua's handler in a task of its own. [ends] r */
void agent_lua_request(struct cc_req *r);

/* Of the user's files. [any thread] */
const char *agent_root(void);

/* The one that there is. [loop] */
struct agent *agent_self(void);

/* Module "machine": what the agent was told of its machine: {root = folder of the user's files,
 * clone_seconds =, saved = text or nil (agent.h)}. */
int luaopen_agent_machine(lua_State *L);

/* Module "lease": bind_lease.c */
int luaopen_agent_lease(lua_State *L);

/* Module "update": update.c */
int luaopen_agent_update(lua_State *L);

/* Module "service": service.c */
int luaopen_agent_service(lua_State *L);

#endif
