/* fence_lib.c - what fenced code may use.
 *
 * An allow-list. Missing on purpose: whatever can swallow an error (pcall,
 * xpcall, coroutines), make code (load, loadstring), change what others see
 * (setmetatable, getfenv, rawset...), or answer differently the next time
 * (os, io, math.random, next, addresses). pairs goes in the order of the
 * keys: the table's own differs from process to process.
 */
#include "host/script/fence_internal.h"

#include <lualib.h>
#include <math.h>
#include <string.h>

enum { SORT_MAX = 10000 };

/* ---- table, charged by the entries that are moved */

static int charged_call(lua_State *L, uint64_t work)
{
    cc_box_charge(L, work);
    cc_box_enter(L);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
    cc_box_leave(L);
    return lua_gettop(L);
}

static int l_move(lua_State *L) /* insert, remove */
{
    luaL_checktype(L, 1, LUA_TTABLE);
    return charged_call(L, lua_gettop(L) > 1 ? lua_objlen(L, 1) / 4 : 0);
}

static int l_concat(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    return charged_call(L, lua_objlen(L, 1));
}

static int l_sort(lua_State *L)
{
    double n;

    luaL_checktype(L, 1, LUA_TTABLE);
    n = (double)lua_objlen(L, 1);
    if (n > SORT_MAX)
        return luaL_error(L, "table.sort: more than %d entries", SORT_MAX);
    return charged_call(L, (uint64_t)(n * (n > 1 ? log2(n) : 1)));
}

static int l_maxn(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    return charged_call(L, lua_objlen(L, 1));
}

static int l_unpack(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    return charged_call(L, lua_objlen(L, 1) / 4);
}

static void wrap(lua_State *L, const char *name, lua_CFunction f)
{
    lua_getfield(L, -1, name);
    lua_pushcclosure(L, f, 1);
    lua_setfield(L, -2, name);
}

/* ---- pairs: a Lua function, so that what it does counts */

static const char pairs_source[] =
    "local next, sort, type, error, open = ...\n"
    "local function before(a, b)\n"
    "  local x, y = type(a), type(b)\n"
    "  if x ~= y then return x == 'number' end\n"
    "  return a < b\n"
    "end\n"
    "return function(t)\n"
    "  if type(t) ~= 'table' then error('pairs: table expected, got ' .. type(t), 2) end\n"
    "  if next(t) == nil then t = open(t) end\n"
    "  local keys, n, i = {}, 0, 0\n"
    "  for k in next, t do\n"
    "    local kind = type(k)\n"
    "    if kind ~= 'string' and kind ~= 'number' then error('pairs: the keys have no order (a ' .. kind .. ')', 2) "
    "end\n"
    "    n = n + 1\n"
    "    keys[n] = k\n"
    "  end\n"
    "  sort(keys, before)\n"
    "  return function()\n"
    "    i = i + 1\n"
    "    local k = keys[i]\n"
    "    if k ~= nil then return k, t[k] end\n"
    "  end\n"
    "end\n";

static int l_open_watched(lua_State *L)
{
    cc_fence_open_watched(L, 1);
    return 1;
}

/* ---- json: what tells an empty list, and null, from nothing. json.list's upvalue: the metatable of lists */

static int l_list(lua_State *L)
{
    if (lua_isnoneornil(L, 1)) {
        lua_settop(L, 0);
        lua_newtable(L);
    }
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    if (!cc_fence_is_watched(L, 1)) {
        lua_pushvalue(L, lua_upvalueindex(1));
        lua_setmetatable(L, 1);
    }
    return 1;
}

static void make_json(lua_State *L, int list_meta)
{
    lua_newtable(L);
    lua_pushvalue(L, list_meta);
    lua_pushcclosure(L, l_list, 1);
    lua_setfield(L, -2, "list");
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "null");
    lua_setglobal(L, "json");
}

/* ---- words: times as people read them. UTC; the date is a word of its own, for what is not about today.
 * day() counts from 0000-03-01, so that the leap day is a year's last. */

static const char words_source[] = "local floor, format, type, error = ...\n"
                                   "local function number(v, name)\n"
                                   "  if type(v) ~= 'number' or v ~= v or v < -1e15 or v > 1e15 then error(name .. ': "
                                   "seconds expected, not ' .. type(v), 3) end\n"
                                   "  return floor(v)\n"
                                   "end\n"
                                   "local function clock(t)\n"
                                   "  t = number(t, 'clock')\n"
                                   "  return format('%02d:%02d UTC', floor(t / 3600) % 24, floor(t / 60) % 60)\n"
                                   "end\n"
                                   "local function day(t)\n"
                                   "  local n = floor(number(t, 'day') / 86400) + 719468\n"
                                   "  local era = floor(n / 146097)\n"
                                   "  n = n - era * 146097\n"
                                   "  local leap = floor(n / 1460) - floor(n / 36524) + floor(n / 146096)\n"
                                   "  local y = floor((n - leap) / 365)\n"
                                   "  n = n - (365 * y + floor(y / 4) - floor(y / 100))\n"
                                   "  local m = floor((5 * n + 2) / 153)\n"
                                   "  local d = n - floor((153 * m + 2) / 5) + 1\n"
                                   "  m = m < 10 and m + 3 or m - 9\n"
                                   "  return format('%04d-%02d-%02d', y + era * 400 + (m < 3 and 1 or 0), m, d)\n"
                                   "end\n"
                                   "local duration\n"
                                   "function duration(s)\n"
                                   "  s = number(s, 'duration')\n"
                                   "  if s < 0 then return '-' .. duration(-s) end\n"
                                   "  if s < 60 then return format('%d s', s) end\n"
                                   "  if s < 3600 then return format('%d min', floor(s / 60)) end\n"
                                   "  local h, m = floor(s / 3600), floor(s / 60) % 60\n"
                                   "  if m > 0 then return format('%d h %d min', h, m) end\n"
                                   "  return format('%d h', h)\n"
                                   "end\n"
                                   "return clock, day, duration\n";

static void make_words(lua_State *L)
{
    if (luaL_loadbufferx(L, words_source, sizeof(words_source) - 1, "=words", "t") != 0)
        lua_error(L);
    lua_getglobal(L, "math");
    lua_getfield(L, -1, "floor");
    lua_remove(L, -2);
    lua_getglobal(L, "string");
    lua_getfield(L, -1, "format");
    lua_remove(L, -2);
    lua_getglobal(L, "type");
    lua_getglobal(L, "error");
    lua_call(L, 4, 3);
    lua_setglobal(L, "duration");
    lua_setglobal(L, "day");
    lua_setglobal(L, "clock");
}

static void make_pairs(lua_State *L)
{
    if (luaL_loadbufferx(L, pairs_source, sizeof(pairs_source) - 1, "=pairs", "t") != 0)
        lua_error(L);
    lua_getglobal(L, "next");
    lua_getglobal(L, "table");
    lua_getfield(L, -1, "sort");
    lua_remove(L, -2);
    lua_getglobal(L, "type");
    lua_getglobal(L, "error");
    lua_pushcfunction(L, l_open_watched);
    lua_call(L, 5, 1);
    lua_setglobal(L, "pairs");
}

static void remove_fields(lua_State *L, const char *library, const char *const *names)
{
    lua_getglobal(L, library);
    for (; *names; names++) {
        lua_pushnil(L);
        lua_setfield(L, -2, *names);
    }
    lua_pop(L, 1);
}

void cc_fence_open_libs(lua_State *L, int list_meta)
{
    static const luaL_Reg libs[] = {
        { "", luaopen_base },
        { LUA_STRLIBNAME, luaopen_string },
        { LUA_TABLIBNAME, luaopen_table },
        { LUA_MATHLIBNAME, luaopen_math },
        { LUA_BITLIBNAME, luaopen_bit },
        { NULL, NULL },
    };
    static const char *const no_chance[] = { "random", "randomseed", NULL };
    static const char *const no_foreach[] = { "foreach", "foreachi", "getn", "setn", "new", "clear", "move", NULL };
    const luaL_Reg *r;

    for (r = libs; r->func; r++) {
        lua_pushcfunction(L, r->func);
        lua_pushstring(L, r->name);
        lua_call(L, 1, 0);
    }
    remove_fields(L, "math", no_chance);
    remove_fields(L, "table", no_foreach);
    lua_getglobal(L, "string");
    cc_fence_bound_strings(L);
    lua_pop(L, 1);
    make_json(L, list_meta);
    make_words(L);
    make_pairs(L); /* with the library's own sort */
    lua_getglobal(L, "table");
    wrap(L, "insert", l_move);
    wrap(L, "remove", l_move);
    wrap(L, "concat", l_concat);
    wrap(L, "sort", l_sort);
    wrap(L, "maxn", l_maxn);
    lua_pop(L, 1);
    lua_getglobal(L, "unpack");
    lua_pushcclosure(L, l_unpack, 1);
    lua_setglobal(L, "unpack");
    lua_pushcfunction(L, cc_fence_tostring);
    lua_setglobal(L, "tostring");
}

/* ---- the environment of one source: copies of its own, so that what it breaks is its own */

static int l_undefined(lua_State *L) { return luaL_error(L, "undefined name '%s'", lua_tostring(L, 2)); }

static int l_no_global(lua_State *L)
{
    return luaL_error(L, "assignment to the global '%s'; use local", lua_tostring(L, 2));
}

static void copy_library(lua_State *L, const char *name)
{
    lua_newtable(L);
    lua_getglobal(L, name);
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_settable(L, -5);
    }
    lua_pop(L, 1);
    lua_setfield(L, -2, name);
}

/* A host function: its name and its arguments leave the task. Upvalue: the name. */
static int l_host(lua_State *L)
{
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    if (lua_pushthread(L))
        return luaL_error(L, "%s: it would have to wait, and nothing can wait here", lua_tostring(L, 1));
    lua_pop(L, 1);
    return lua_yield(L, lua_gettop(L));
}

/* env[a][b] = function for "a.b", env[a] for "a" */
static void add_host(lua_State *L, const char *name)
{
    const char *dot = strchr(name, '.');

    lua_pushvalue(L, -1);
    if (dot) {
        lua_pushlstring(L, name, (size_t)(dot - name));
        lua_pushvalue(L, -1);
        lua_rawget(L, -3);
        if (!lua_istable(L, -1)) {
            lua_pop(L, 1);
            lua_newtable(L);
            lua_pushvalue(L, -2);
            lua_pushvalue(L, -2);
            lua_rawset(L, -5);
        }
        lua_replace(L, -3);
        lua_pop(L, 1);
    }
    lua_pushstring(L, dot ? dot + 1 : name);
    lua_pushstring(L, name);
    lua_pushcclosure(L, l_host, 1);
    lua_rawset(L, -3);
    lua_pop(L, 1);
}

void cc_fence_push_env(lua_State *L, const char *const *host)
{
    static const char *const functions[] = {
        "assert", "clock",    "day",      "duration", "error",  "ipairs", "pairs",
        "select", "tonumber", "tostring", "type",     "unpack", "use",    NULL,
    };
    static const char *const libraries[] = { "string", "table", "math", "bit", "json", NULL };
    int i;

    lua_newtable(L);
    for (i = 0; functions[i]; i++) {
        lua_getglobal(L, functions[i]);
        lua_setfield(L, -2, functions[i]);
    }
    for (i = 0; libraries[i]; i++)
        copy_library(L, libraries[i]);
    for (; host && *host; host++)
        add_host(L, *host);
    lua_createtable(L, 0, 2);
    lua_pushcfunction(L, l_undefined);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, l_no_global);
    lua_setfield(L, -2, "__newindex");
    lua_setmetatable(L, -2);
}
