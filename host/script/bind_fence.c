/* bind_fence.c - module "fence": states for policies (what they may do is in host/script/fence.h).
 *
 *   f = fence.new{ memory=, allocated=, steps=, cpu_ms=, load_ms= }        bytes, bytes, instructions, ms, ms
 *   f:pin{ "text", ... }                    strings that are often handed over; the first 256 count
 *   true | nil, err = f:load(name, source [, host])   err.code "invalid" or "limit", its message "FILE:LINE: why";
 *       host: names of functions that suspend a task, as in {"instances.get"}
 *   n | nil = f:find(name, field)           a function of that source: what call wants
 *   value | nil, err = f:value(name, field) plain data of that source; functions in it are left out
 *   true, ... | nil, err = f:call(n, ...)   its results, 8 at most, behind true
 *   true, trace, ... | nil, err, trace = f:trace(n, ...)     trace = {lines = {...}, last = line, reads = {names} or nil: all}
 *   k, ... | nil, err, k = f:sweep(n, input, quiet, from, step, times [, tied [, behind]])
 *       calls n(input, now) until its first result is not `quiet`; k: how many were, then the results of the one that was not.
 *       tied: names of fields that are `now` at each call, or `behind` seconds before
 *   k, ... | nil, err, k = f:vary(n, input, now, quiet, names, values [, absent])
 *       calls n with other values of the fields in `names`, as many of `values` for each call as there are names (absent[i]
 *       true: no such field, whatever values[i] is), until the results are not as in the list `quiet` (fence.h), or 2 ms are
 *       over: then k alone comes back, less than there were
 *   task | nil, err = f:begin(n)            for code that waits
 *   called, ... | nil, err = f:resume(task, ...)      called true: the name of a host function and its arguments follow, and
 *       its answer is what the next resume hands over; false: the results, and the task is over. Over it is after an error, too
 *   f:finish(task)                          gives up one that waits
 *   true | false = f:spent()                after "limit" nothing runs in it any more
 *   {memory=, calls=, errors=} = f:stats()
 *   f:close()                               at once, and not when it is collected
 *   true | false, left = fence.match(text, pattern, steps)      text:match(pattern) ~= nil, in at most so many steps; left: of
 *       them. nil, why: it takes more, or the pattern is malformed
 *   nil | why = fence.pattern_fault(pattern)                    why it cannot be one
 */
#include "host/script/fence.h"

#include "host/script/modules.h"
#include "host/script/pattern.h"
#include "host/script/task.h"

#include <lauxlib.h>
#include <math.h>
#include <string.h>

#define FENCE_META "cchost.fence"
enum { TEXT = 1024, HOST_MAX = 64 };

static struct cc_fence *to_fence(lua_State *L)
{
    struct cc_fence **ud = luaL_checkudata(L, 1, FENCE_META);

    if (!*ud)
        luaL_error(L, "the fence is closed");
    return *ud;
}

static double opt(lua_State *L, const char *name, double least, double most)
{
    double v;

    lua_getfield(L, 1, name);
    v = lua_isnil(L, -1) ? 0 : lua_tonumber(L, -1);
    if (v != 0 && !(v >= least && v <= most))
        luaL_error(L, "fence.new: %s: a number from %f to %f expected", name, least, most);
    lua_pop(L, 1);
    return v;
}

static int l_new(lua_State *L)
{
    struct cc_fence_limits l;
    struct cc_fence **ud;

    luaL_checktype(L, 1, LUA_TTABLE);
    l.memory = (size_t)opt(L, "memory", 1 << 20, 1e9);
    l.allocated = (size_t)opt(L, "allocated", 1 << 20, 1e12);
    l.steps = (uint64_t)opt(L, "steps", 1000, 1e12);
    l.cpu_ms = (uint32_t)opt(L, "cpu_ms", 1, 3600000);
    l.load_ms = (uint32_t)opt(L, "load_ms", 1, 3600000);
    ud = lua_newuserdata(L, sizeof(*ud));
    *ud = NULL;
    luaL_getmetatable(L, FENCE_META);
    lua_setmetatable(L, -2);
    lua_newtable(L);
    lua_setfenv(L, -2); /* anchors what is pinned */
    *ud = cc_fence_new(&l);
    return 1;
}

static int l_close(lua_State *L)
{
    struct cc_fence **ud = luaL_checkudata(L, 1, FENCE_META);

    cc_fence_free(*ud);
    *ud = NULL;
    return 0;
}

static int l_pin(lua_State *L)
{
    struct cc_fence *f = to_fence(L);
    int i;

    luaL_checktype(L, 2, LUA_TTABLE);
    lua_getfenv(L, 1);
    for (i = 1;; i++) {
        lua_rawgeti(L, 2, i);
        if (lua_isnil(L, -1))
            return 0;
        luaL_argcheck(L, lua_type(L, -1) == LUA_TSTRING, 2, "a list of strings expected");
        cc_fence_pin(f, L, lua_gettop(L));
        lua_pushboolean(L, 1);
        lua_rawset(L, 3);
    }
}

static int l_load(lua_State *L)
{
    struct cc_fence *f = to_fence(L);
    const char *name = luaL_checkstring(L, 2);
    size_t len;
    const char *source = luaL_checklstring(L, 3, &len);
    const char *host[HOST_MAX + 1];
    int i = 0;
    struct cc_err err;

    if (!lua_isnoneornil(L, 4)) {
        luaL_checktype(L, 4, LUA_TTABLE);
        luaL_argcheck(L, lua_objlen(L, 4) <= HOST_MAX, 4, "at most 64 names expected");
        for (; i < (int)lua_objlen(L, 4); i++) {
            lua_rawgeti(L, 4, i + 1);
            host[i] = lua_tostring(L, -1); /* the table anchors it */
            luaL_argcheck(L, host[i], 4, "a list of names expected");
            lua_pop(L, 1);
        }
    }
    host[i] = NULL;
    if (cc_fence_load(f, name, source, len, host, &err) != CC_OK)
        return cc_push_err(L, &err);
    lua_pushboolean(L, 1);
    return 1;
}

static int l_find(lua_State *L)
{
    int n = cc_fence_function(to_fence(L), luaL_checkstring(L, 2), luaL_checkstring(L, 3));

    if (n == 0)
        return 0;
    lua_pushinteger(L, n);
    return 1;
}

static int l_value(lua_State *L)
{
    struct cc_err err;

    if (cc_fence_value(to_fence(L), luaL_checkstring(L, 2), luaL_checkstring(L, 3), L, &err) != CC_OK)
        return cc_push_err(L, &err);
    return 1;
}

static int push_fault(lua_State *L, int rc, const char *text)
{
    struct cc_err err;

    cc_err_set(&err, rc, "%s", text);
    return cc_push_err(L, &err);
}

static int check_function(lua_State *L)
{
    lua_Integer n = luaL_checkinteger(L, 2);

    luaL_argcheck(L, n > 0, 2, "a function that f:find gave expected");
    return (int)n;
}

static int l_call(lua_State *L)
{
    struct cc_fence *f = to_fence(L);
    int function = check_function(L), n = lua_gettop(L) - 2, rc;
    char text[TEXT];

    luaL_checkstack(L, CC_FENCE_RESULTS + 8, "fence:call");
    lua_pushboolean(L, 1);
    rc = cc_fence_call(f, function, L, 3, n, text, sizeof(text));
    return rc < 0 ? push_fault(L, rc, text) : rc + 1;
}

static void push_trace(lua_State *L, const struct cc_fence_trace *t)
{
    int i;

    lua_createtable(L, 0, 3);
    if (!t->all_read) {
        lua_createtable(L, t->n_reads, 0);
        for (i = 0; i < t->n_reads; i++) {
            lua_pushstring(L, t->reads[i]);
            lua_rawseti(L, -2, i + 1);
        }
        lua_setfield(L, -2, "reads");
    }
    lua_createtable(L, t->n_lines, 0);
    for (i = 0; i < t->n_lines; i++) {
        lua_pushinteger(L, t->lines[i]);
        lua_rawseti(L, -2, i + 1);
    }
    lua_setfield(L, -2, "lines");
    lua_pushinteger(L, t->last);
    lua_setfield(L, -2, "last");
}

static int l_trace(lua_State *L)
{
    struct cc_fence *f = to_fence(L);
    int function = check_function(L), n = lua_gettop(L) - 2, rc;
    struct cc_fence_trace t;
    char text[TEXT];

    luaL_checkstack(L, CC_FENCE_RESULTS + 8, "fence:trace");
    lua_pushboolean(L, 1);
    rc = cc_fence_call_traced(f, function, L, 3, n, &t, text, sizeof(text));
    if (rc < 0) {
        push_fault(L, rc, text);
        push_trace(L, &t);
        return 3;
    }
    push_trace(L, &t);
    lua_insert(L, -rc - 1);
    return rc + 2;
}

static int l_sweep(lua_State *L)
{
    struct cc_fence *f = to_fence(L);
    int function = check_function(L), rc, tied = 0;
    const char *quiet = luaL_checkstring(L, 4);
    double from = luaL_checknumber(L, 5), step = luaL_checknumber(L, 6), times = luaL_checknumber(L, 7);
    double behind = luaL_optnumber(L, 9, 0);
    char text[TEXT];
    int64_t done;

    luaL_checktype(L, 3, LUA_TTABLE);
    luaL_argcheck(L, times >= 0 && times <= 1e12, 7, "0..10^12 expected");
    if (!lua_isnoneornil(L, 8)) {
        luaL_checktype(L, 8, LUA_TTABLE);
        tied = 8;
    }
    luaL_checkstack(L, CC_FENCE_RESULTS + 8, "fence:sweep");
    lua_settop(L, 8);
    lua_pushnil(L); /* the place of k */
    rc = cc_fence_sweep(f, function, L, 3, tied, behind, quiet, from, step, (int64_t)times, &done, text, sizeof(text));
    if (rc < 0) {
        push_fault(L, rc, text);
        lua_pushnumber(L, (lua_Number)done);
        return 3;
    }
    lua_pushnumber(L, (lua_Number)done);
    lua_replace(L, -rc - 2);
    return rc + 1;
}

static int l_vary(lua_State *L)
{
    struct cc_fence *f = to_fence(L);
    int function = check_function(L), rc, absent = 0;
    double now = lua_isnil(L, 4) ? NAN : luaL_checknumber(L, 4);
    char text[TEXT];
    int64_t done;

    luaL_checktype(L, 3, LUA_TTABLE);
    luaL_checktype(L, 5, LUA_TTABLE);
    luaL_checktype(L, 6, LUA_TTABLE);
    luaL_checktype(L, 7, LUA_TTABLE);
    if (!lua_isnoneornil(L, 8)) {
        luaL_checktype(L, 8, LUA_TTABLE);
        absent = 8;
    }
    luaL_checkstack(L, CC_FENCE_RESULTS + 24, "fence:vary");
    lua_pushnil(L); /* the place of k */
    rc = cc_fence_vary(f, function, L, 3, now, 5, 6, 7, absent, &done, text, sizeof(text));
    if (rc < 0) {
        push_fault(L, rc, text);
        lua_pushnumber(L, (lua_Number)done);
        return 3;
    }
    lua_pushnumber(L, (lua_Number)done);
    lua_replace(L, -rc - 2);
    return rc + 1;
}

static int l_begin(lua_State *L)
{
    char text[TEXT];
    int task = cc_fence_begin(to_fence(L), check_function(L), text, sizeof(text));

    if (task < 0)
        return push_fault(L, task, text);
    lua_pushinteger(L, task);
    return 1;
}

static int check_task(lua_State *L)
{
    lua_Integer task = luaL_checkinteger(L, 2);

    luaL_argcheck(L, task >= 0 && task < CC_FENCE_TASKS, 2, "a task that f:begin gave expected");
    return (int)task;
}

static int l_resume(lua_State *L)
{
    struct cc_fence *f = to_fence(L);
    int task = check_task(L), n = lua_gettop(L) - 2, rc;
    char text[TEXT];
    bool called;

    luaL_argcheck(L, cc_fence_waits(f, task), 2, "a task that is not over expected");
    luaL_checkstack(L, CC_FENCE_RESULTS + 8, "fence:resume");
    lua_pushnil(L);
    rc = cc_fence_resume(f, task, L, 3, n, &called, text, sizeof(text));
    if (rc < 0)
        return push_fault(L, rc, text);
    lua_pushboolean(L, called);
    lua_replace(L, -rc - 2);
    return rc + 1;
}

static int l_finish(lua_State *L)
{
    cc_fence_end(to_fence(L), check_task(L));
    return 0;
}

static int l_spent(lua_State *L)
{
    lua_pushboolean(L, cc_fence_spent(to_fence(L)));
    return 1;
}

static int l_stats(lua_State *L)
{
    struct cc_fence_stats s;

    cc_fence_stats(to_fence(L), &s);
    lua_createtable(L, 0, 3);
    lua_pushnumber(L, (lua_Number)s.memory);
    lua_setfield(L, -2, "memory");
    lua_pushnumber(L, (lua_Number)s.calls);
    lua_setfield(L, -2, "calls");
    lua_pushnumber(L, (lua_Number)s.errors);
    lua_setfield(L, -2, "errors");
    return 1;
}

static const luaL_Reg methods[] = {
    { "pin", l_pin },     { "load", l_load },     { "find", l_find },     { "value", l_value },
    { "call", l_call },   { "trace", l_trace },   { "sweep", l_sweep },   { "vary", l_vary },
    { "begin", l_begin }, { "resume", l_resume }, { "finish", l_finish }, { "spent", l_spent },
    { "stats", l_stats }, { "close", l_close },   { "__gc", l_close },    { NULL, NULL },
};

/* ---- patterns alone */

static int l_match(lua_State *L)
{
    size_t len, pattern_len;
    const char *s = luaL_checklstring(L, 1, &len), *p = luaL_checklstring(L, 2, &pattern_len), *at = s;
    bool anchored = pattern_len > 0 && *p == '^', fits;
    struct cc_pattern m = { .text = s, .text_end = s + len, .pattern_end = p + pattern_len };

    m.steps = (uint64_t)luaL_checknumber(L, 3);
    do
        fits = cc_pattern_match(&m, at, p + anchored) != NULL;
    while (!fits && !m.error && !anchored && at++ < m.text_end);
    if (m.error) {
        lua_pushnil(L);
        lua_pushstring(L, m.error);
        return 2;
    }
    lua_pushboolean(L, fits);
    lua_pushnumber(L, (lua_Number)m.steps);
    return 2;
}

static int l_pattern_fault(lua_State *L)
{
    size_t len;
    const char *p = luaL_checklstring(L, 1, &len);

    lua_pushstring(L, cc_pattern_fault(p, p + len)); /* NULL: nil */
    return 1;
}

static const luaL_Reg fence_lib[] = {
    { "new", l_new },
    { "match", l_match },
    { "pattern_fault", l_pattern_fault },
    { NULL, NULL },
};

int luaopen_cc_fence(lua_State *L)
{
    luaL_newmetatable(L, FENCE_META);
    luaL_register(L, NULL, methods);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_newtable(L);
    luaL_register(L, NULL, fence_lib);
    return 1;
}
