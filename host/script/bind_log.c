/* bind_log.c - module "log".
 *
 *   log.debug|info|warn|error(module, message, {key = value, ...})
 *   log.setup{level = "info", json = false, levels = {module = level}}     what there was of modules' own levels is over
 *   log.start{file = path or nil, buffer = bytes} -> true | nil, err   lines go out by a thread from here on (log.h)
 *   log.reopen()
 *   log.level(module, level) -> true | nil, err     level nil: none of its own; module nil: of all that have none
 *   log.levels() -> least, {module = level}
 *   log.stats() -> {lines =, dropped =, waiting = bytes}
 * Fields are written in sorted order; a value that is not a string, number or boolean by tostring, an error as
 * "code: message", also one that has been plain data (from a policy, out of the store). For whom it was is said by the task
 * (task.carry).
 */
#include "host/observe/log.h"
#include "host/script/task.h"
#include "host/sys/err.h"

#include <lauxlib.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int luaopen_cc_log(lua_State *L);

enum { FIELDS_MAX = 24 };

static int by_key(const void *a, const void *b)
{
    return strcmp(((const struct cc_log_field *)a)->key, ((const struct cc_log_field *)b)->key);
}

/* A number as JSON has it: 15 digits and more where it is whole. Not finite: its name, in quotes. */
static void push_number(lua_State *L, struct cc_log_field *f)
{
    char text[32];
    double v = lua_tonumber(L, -1);

    f->bare = isfinite(v);
    snprintf(text, sizeof(text), v == floor(v) && fabs(v) < 1e15 ? "%.0f" : "%.14g", v);
    lua_pop(L, 1);
    lua_pushstring(L, text);
}

/* Puts "code: message" in the place of the table on top, if it has both. */
static bool push_error(lua_State *L)
{
    const char *code, *message;

    lua_getfield(L, -1, "code");
    lua_getfield(L, -2, "message");
    code = lua_tostring(L, -2);
    message = lua_tostring(L, -1);
    if (code && message)
        lua_pushfstring(L, "%s: %s", code, message);
    else
        lua_pushnil(L);
    lua_replace(L, -3);
    lua_pop(L, 1);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        return false;
    }
    lua_replace(L, -2);
    return true;
}

/* Puts a text in the place of the value on top. */
static void push_text(lua_State *L)
{
    bool own = luaL_getmetafield(L, -1, "__tostring") != 0;

    if (own)
        lua_pop(L, 1);
    else if (lua_istable(L, -1) && push_error(L))
        return;
    lua_getglobal(L, "tostring");
    lua_insert(L, -2);
    lua_call(L, 1, 1);
}

static bool is_ours(const char *key)
{
    return strcmp(key, "time") == 0 || strcmp(key, "level") == 0 || strcmp(key, "module") == 0 ||
           strcmp(key, "msg") == 0;
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
        f[n].bare = lua_type(L, -1) == LUA_TBOOLEAN;
        if (lua_type(L, -1) == LUA_TNUMBER) {
            push_number(L, &f[n]);
        } else if (lua_type(L, -1) != LUA_TSTRING) {
            push_text(L);
        }
        f[n].key = lua_tostring(L, -2);
        if (is_ours(f[n].key))
            luaL_error(L, "log: a field cannot be named \"%s\"", f[n].key);
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

    if (!cc_log_on(level, module))
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

static const char *const names[] = { "debug", "info", "warn", "error", "off", NULL };

static int set_level(lua_State *L, const char *module, int level)
{
    struct cc_err err;
    int rc = cc_log_set(module, level);

    if (rc == 0) {
        lua_pushboolean(L, 1);
        return 1;
    }
    cc_err_set(&err, rc, rc == CC_E_LIMIT ? "levels of so many modules cannot be kept" : "no module can be called so");
    return cc_push_err(L, &err);
}

static int l_level(lua_State *L)
{
    const char *module = luaL_optstring(L, 1, NULL);
    int level = lua_isnoneornil(L, 2) ? -1 : luaL_checkoption(L, 2, NULL, names);

    if (module)
        return set_level(L, module, level);
    luaL_argcheck(L, level >= 0, 2, "a level expected");
    cc_log_set_least((enum cc_log_level)level);
    lua_pushboolean(L, 1);
    return 1;
}

static int l_levels(lua_State *L)
{
    enum cc_log_level level;
    const char *module;
    unsigned i;

    lua_pushstring(L, cc_log_level_word(cc_log_least()));
    lua_newtable(L);
    for (i = 0; (module = cc_log_module(i, &level)); i++) {
        lua_pushstring(L, cc_log_level_word(level));
        lua_setfield(L, -2, module);
    }
    return 2;
}

static void set_levels(lua_State *L, int idx)
{
    enum cc_log_level old;
    const char *module;

    while ((module = cc_log_module(0, &old)))
        cc_log_set(module, -1);
    if (!lua_istable(L, idx))
        return;
    lua_pushnil(L);
    while (lua_next(L, idx)) {
        luaL_argcheck(L, lua_type(L, -2) == LUA_TSTRING && lua_type(L, -1) == LUA_TSTRING, 1,
                      "levels: modules' names expected");
        if (cc_log_set(lua_tostring(L, -2), cc_log_level_of(lua_tostring(L, -1))) != 0)
            luaL_argerror(L, 1, "levels: at most 64 modules expected, with names of at most 31 characters");
        lua_pop(L, 1);
    }
}

static int l_setup(lua_State *L)
{
    int level;

    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    lua_getfield(L, 1, "level");
    level = luaL_checkoption(L, -1, "info", names);
    lua_getfield(L, 1, "json");
    cc_log_init((enum cc_log_level)level, lua_toboolean(L, -1));
    lua_getfield(L, 1, "levels");
    set_levels(L, lua_gettop(L));
    return 0;
}

static int l_start(lua_State *L)
{
    struct cc_err err;
    lua_Number buffer;

    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    lua_getfield(L, 1, "file");
    lua_getfield(L, 1, "buffer");
    buffer = luaL_optnumber(L, -1, 1 << 20);
    luaL_argcheck(L, buffer >= 65536 && buffer <= 1 << 30, 1, "buffer: 64 KiB to 1 GiB expected");
    if (cc_log_start(luaL_optstring(L, 2, NULL), (size_t)buffer, &err) != 0)
        return cc_push_err(L, &err);
    lua_pushboolean(L, 1);
    return 1;
}

static int l_reopen(lua_State *L)
{
    (void)L;
    cc_log_reopen();
    return 0;
}

static int l_stats(lua_State *L)
{
    struct cc_log_stats st;

    cc_log_stats(&st);
    lua_createtable(L, 0, 3);
    lua_pushnumber(L, (lua_Number)st.lines);
    lua_setfield(L, -2, "lines");
    lua_pushnumber(L, (lua_Number)st.dropped);
    lua_setfield(L, -2, "dropped");
    lua_pushnumber(L, (lua_Number)st.waiting);
    lua_setfield(L, -2, "waiting");
    return 1;
}

static const luaL_Reg log_lib[] = { { "debug", l_debug },   { "info", l_info },   { "warn", l_warn },
                                    { "error", l_error },   { "setup", l_setup }, { "start", l_start },
                                    { "reopen", l_reopen }, { "level", l_level }, { "levels", l_levels },
                                    { "stats", l_stats },   { NULL, NULL } };

int luaopen_cc_log(lua_State *L)
{
    lua_newtable(L);
    luaL_register(L, NULL, log_lib);
    return 1;
}
