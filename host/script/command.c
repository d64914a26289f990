/* command.c - see command.h. */
#include "host/script/command.h"

#include "host/sys/mem.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

void cc_command_check(lua_State *L)
{
    size_t i, n;

    luaL_checktype(L, 1, LUA_TTABLE);
    n = lua_objlen(L, 1);
    luaL_argcheck(L, n > 0, 1, "an argument vector expected");
    for (i = 1; i <= n; i++) {
        lua_rawgeti(L, 1, (int)i);
        luaL_argcheck(L, lua_type(L, -1) == LUA_TSTRING && strlen(lua_tostring(L, -1)) == lua_objlen(L, -1), 1,
                      "arguments must be strings without NUL");
        lua_pop(L, 1);
    }
    lua_getfield(L, 1, "env");
    if (!lua_isnil(L, -1))
        luaL_checktype(L, -1, LUA_TTABLE);
    if (lua_istable(L, -1))
        for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1))
            luaL_argcheck(L, lua_type(L, -2) == LUA_TSTRING && lua_type(L, -1) == LUA_TSTRING, 1,
                          "env: strings expected");
    lua_pop(L, 1);
}

char **cc_command_argv(lua_State *L)
{
    size_t i, n = lua_objlen(L, 1);
    char **v = cc_xcalloc(n + 1, sizeof(*v));

    for (i = 0; i < n; i++) {
        lua_rawgeti(L, 1, (int)i + 1);
        v[i] = cc_xstrdup(lua_tostring(L, -1));
        lua_pop(L, 1);
    }
    return v;
}

char **cc_command_env(lua_State *L)
{
    char **v = NULL;
    size_t n = 0;

    lua_getfield(L, 1, "env");
    if (lua_istable(L, -1)) {
        v = cc_xcalloc(1, sizeof(*v));
        for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
            v = cc_xrealloc(v, (n + 2) * sizeof(*v));
            v[n++] = cc_xasprintf("%s=%s", lua_tostring(L, -2), lua_tostring(L, -1));
            v[n] = NULL;
        }
    }
    lua_pop(L, 1);
    return v;
}

void cc_command_free(char **strings)
{
    size_t i;

    for (i = 0; strings && strings[i]; i++)
        free(strings[i]);
    free(strings);
}
