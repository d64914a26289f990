/* modules.h - every C module that require finds, by name. One line a module. */
#ifndef CC_MODULES_H
#define CC_MODULES_H

#include <lauxlib.h>
#include <lua.h>

int luaopen_cc_task(lua_State *L);
int luaopen_cc_json(lua_State *L);
int luaopen_cc_time(lua_State *L);
int luaopen_cc_sys(lua_State *L);
int luaopen_cc_tty(lua_State *L);
int luaopen_cc_fs(lua_State *L);
int luaopen_cc_log(lua_State *L);
int luaopen_cc_metrics(lua_State *L);
int luaopen_cc_trace(lua_State *L);
int luaopen_cc_crypto(lua_State *L);
int luaopen_cc_jwt(lua_State *L);
int luaopen_cc_limiter(lua_State *L);
int luaopen_cc_smtp(lua_State *L);
int luaopen_cc_store(lua_State *L);
int luaopen_cc_http(lua_State *L);
int luaopen_cc_process(lua_State *L);
int luaopen_cc_service(lua_State *L);
int luaopen_cc_edit(lua_State *L);
int luaopen_cc_provider(lua_State *L);
int luaopen_cc_network(lua_State *L);
int luaopen_cc_fence(lua_State *L);
int luaopen_cc_watch(lua_State *L);

extern const luaL_Reg cc_modules[];

#endif
