/* fence_trace.c - a call of a fence with the lines that ran, and what it looked at.
 *
 * The first argument is an empty table in the place of the input, whose metatable notes what is asked for and hands it out
 * of the input. The library (pairs) and the copying of results open it.
 */
#include "host/script/fence_internal.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static void note_read(struct cc_fence_trace *t, const char *name)
{
    int i;

    for (i = 0; i < t->n_reads; i++)
        if (strcmp(t->reads[i], name) == 0)
            return;
    if (t->n_reads == CC_FENCE_READS || strlen(name) >= CC_FENCE_READ_NAME)
        t->all_read = true;
    else
        snprintf(t->reads[t->n_reads++], CC_FENCE_READ_NAME, "%s", name);
}

/* Upvalues of both: the fence, the input. */
static int l_watched_index(lua_State *L)
{
    struct cc_fence *f = lua_touserdata(L, lua_upvalueindex(1));

    if (f->trace && lua_type(L, 2) == LUA_TSTRING)
        note_read(f->trace, lua_tostring(L, 2));
    lua_settop(L, 2);
    lua_rawget(L, lua_upvalueindex(2));
    return 1;
}

static int l_watched_newindex(lua_State *L)
{
    lua_settop(L, 3);
    luaL_argcheck(L, !lua_isnil(L, 2), 2, "index is nil");
    lua_rawset(L, lua_upvalueindex(2));
    return 0;
}

/* The table on top is replaced by one that is watched. */
static void watch_table(lua_State *L, struct cc_fence *f)
{
    int input = lua_gettop(L);

    lua_newtable(L);
    lua_createtable(L, 0, 3);
    lua_pushlightuserdata(L, f);
    lua_pushvalue(L, input);
    lua_pushcclosure(L, l_watched_index, 2);
    lua_setfield(L, -2, "__index");
    lua_pushlightuserdata(L, f);
    lua_pushvalue(L, input);
    lua_pushcclosure(L, l_watched_newindex, 2);
    lua_setfield(L, -2, "__newindex");
    lua_pushlightuserdata(L, f);
    lua_rawseti(L, -2, 1);
    lua_pushvalue(L, input);
    lua_rawseti(L, -2, 2);
    lua_setmetatable(L, -2);
    lua_replace(L, input);
}

/* A list has a metatable, too, with nothing in it. */
bool cc_fence_is_watched(lua_State *L, int index)
{
    bool is;

    if (!lua_getmetatable(L, index))
        return false;
    lua_rawgeti(L, -1, 1);
    is = lua_touserdata(L, -1) != NULL;
    lua_pop(L, 2);
    return is;
}

void cc_fence_open_watched(lua_State *L, int index)
{
    struct cc_fence *f;

    if (!cc_fence_is_watched(L, index)) {
        lua_pushvalue(L, index);
        return;
    }
    lua_getmetatable(L, index);
    lua_rawgeti(L, -1, 1);
    f = lua_touserdata(L, -1);
    if (f->trace)
        f->trace->all_read = true;
    lua_rawgeti(L, -2, 2);
    lua_replace(L, -3);
    lua_pop(L, 1);
}

static const char trace_key = 't';

static void on_line(lua_State *L, lua_Debug *ar)
{
    struct cc_fence_job *j;
    struct cc_fence_trace *t;
    int i;

    if (ar->event == LUA_HOOKCOUNT) {
        cc_box_on_count(L, ar);
        return;
    }
    lua_pushlightuserdata(L, (void *)&trace_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    j = lua_touserdata(L, -1);
    lua_pop(L, 1);
    lua_getinfo(L, "S", ar);
    if (strcmp(ar->short_src, j->name) != 0)
        return;
    t = j->trace;
    t->last = ar->currentline;
    for (i = 0; i < t->n_lines; i++)
        if (t->lines[i] == ar->currentline)
            return;
    if (t->n_lines < (int)(sizeof(t->lines) / sizeof(t->lines[0])))
        t->lines[t->n_lines++] = ar->currentline;
}

static int traced_body(lua_State *L, struct cc_fence_job *j)
{
    lua_Debug ar;
    char name[LUA_IDSIZE];
    int n;

    cc_fence_push_function(L, j);
    lua_getinfo(L, ">S", &ar);
    snprintf(name, sizeof(name), "%s", ar.short_src);
    j->name = name;
    lua_pushlightuserdata(L, (void *)&trace_key);
    lua_pushlightuserdata(L, j);
    lua_rawset(L, LUA_REGISTRYINDEX);
    luaL_checkstack(L, j->n + 16, "too many arguments");
    cc_fence_push_function(L, j);
    for (n = 0; n < j->n; n++) {
        cc_fence_copy_in(L, j, j->first + n);
        if (n == 0 && lua_istable(L, -1))
            watch_table(L, j->f);
    }
    lua_sethook(L, on_line, LUA_MASKCOUNT | LUA_MASKLINE, CC_BOX_HOOK);
    lua_call(L, j->n, LUA_MULTRET);
    return lua_gettop(L);
}

int cc_fence_call_traced(struct cc_fence *f, int function, lua_State *outer, int first, int n,
                         struct cc_fence_trace *trace, char *message, size_t size)
{
    struct cc_fence_job j = {
        .f = f, .body = traced_body, .outer = outer, .function = function, .first = first, .n = n, .trace = trace
    };
    int rc;

    assert(function > 0 && function <= f->n_functions);
    memset(trace, 0, sizeof(*trace));
    cc_box_begin(&f->box, f->box.limits.cpu_ms);
    f->trace = trace;
    rc = cc_fence_run(f, &j, message, size);
    if (!f->box.over)
        lua_sethook(f->L, cc_box_on_count, LUA_MASKCOUNT, CC_BOX_HOOK);
    if (rc == CC_OK)
        rc = cc_fence_carry_out(f, outer, false, message, size);
    f->trace = NULL;
    cc_fence_tidy(f);
    return rc;
}
