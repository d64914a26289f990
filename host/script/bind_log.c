/* bind_log.c - module "log".
 *
 *   log.debug|info|warn|error(module, message, {key = value, ...})
 *   log.setup{level = "info", json = false}
 * Fields are written in sorted order; a value that is not a string, number or boolean by tostring.
 */
#include "host/observe/log.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

int luaopen_cc_log(lua_State *L);

enum { FIELDS_MAX = 24 };

static int by_key(const void *a, const void *b)
{
    return strcmp(((const struct cc_log_field *)a)->key, ((const struct cc_log_field *)b)->key);
}

/* The values stay on the stack while `f` points at them. */
static size_t collect(lua_State *L, int idx, struct cc_log_field *f)
{
    size_t n = 0;

    luaL_checkstack(L, FIELDS_MAX * 2 + 8, "log");
    lua_pushnil(L);
    while (n < FIELDS_MAX && lua_next(L, idx)) {
        if (lua_type(L, -2) != LUA_TSTRING) {
            lua_pop(L, 1);
            continue;
        }
        f[n].bare = lua_type(L, -1) == LUA_TNUMBER || lua_type(L, -1) == LUA_TBOOLEAN;
        if (lua_type(L, -1) != LUA_TSTRING) {
            lua_getglobal(L, "tostring");
            lua_insert(L, -2);
            lua_call(L, 1, 1);
        }
        f[n].key = lua_tostring(L, -2);
        f[n].value = lua_tolstring(L, -1, &f[n].len);
        n++;
        lua_pushvalue(L, -2); /* the key again, for next; key and value stay below */
    }
    qsort(f, n, sizeof(*f), by_key);
    return n;
}

static int write_log(lua_State *L, enum cc_log_level level)
{
    struct cc_log_field f[FIELDS_MAX];
    const char *module = luaL_checkstring(L, 1), *msg = luaL_checkstring(L, 2);
    size_t n = 0;

    if (!cc_log_on(level))
        return 0;
    if (!lua_isnoneornil(L, 3)) {
        luaL_checktype(L, 3, LUA_TTABLE);
        n = collect(L, 3, f);
    }
    cc_log_fields(level, module, msg, f, n);
    return 0;
}

static int l_debug(lua_State *L) { return write_log(L, CC_LOG_DEBUG); }
static int l_info(lua_State *L) { return write_log(L, CC_LOG_INFO); }
static int l_warn(lua_State *L) { return write_log(L, CC_LOG_WARN); }
static int l_error(lua_State *L) { return write_log(L, CC_LOG_ERROR); }

static int l_setup(lua_State *L)
{
    static const char *const names[] = { "debug", "info", "warn", "error", NULL };
    int level;

    luaL_checktype(L, 1, LUA_TTABLE);
    lua_getfield(L, 1, "level");
    level = luaL_checkoption(L, -1, "info", names);
    lua_getfield(L, 1, "json");
    cc_log_init((enum cc_log_level)level, lua_toboolean(L, -1));
    return 0;
}

static const luaL_Reg log_lib[] = { { "debug", l_debug }, { "info", l_info },   { "warn", l_warn },
                                    { "error", l_error }, { "setup", l_setup }, { NULL, NULL } };

int luaopen_cc_log(lua_State *L)
{
    lua_newtable(L);
    luaL_register(L, NULL, log_lib);
    return 1;
}
