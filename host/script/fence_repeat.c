/* fence_repeat.c - one function of a fence again and again: at other times (sweep), with other values (vary).
 *
 * The input is copied in once, which is what most of a call costs; an untouched copy beside it shows whether the
 * function changes what it is given.
 */
#include "host/script/fence_internal.h"

#include <assert.h>
#include <math.h>
#include <string.h>
#include <uv.h>

static bool same(lua_State *L, int a, int b, int depth);

static bool same_table(lua_State *L, int a, int b, int depth)
{
    int n = 0, m = 0;

    luaL_checkstack(L, 4, "too deep");
    for (lua_pushnil(L); lua_next(L, a); n++) {
        int top = lua_gettop(L);
        bool is;

        lua_pushvalue(L, top - 1);
        lua_rawget(L, b);
        is = same(L, top, top + 1, depth + 1);
        lua_settop(L, top - 1);
        if (!is) {
            lua_pop(L, 1);
            return false;
        }
    }
    for (lua_pushnil(L); lua_next(L, b); m++)
        lua_pop(L, 1);
    return n == m;
}

static bool same(lua_State *L, int a, int b, int depth)
{
    if (lua_istable(L, a) && lua_istable(L, b))
        return depth < CC_FENCE_DEPTH && same_table(L, a, b, depth);
    return lua_rawequal(L, a, b);
}

static void set_tied(lua_State *L, const struct cc_fence_job *j, int input, int names, double now)
{
    int i;

    if (!j->tied)
        return;
    for (i = 1;; i++) {
        lua_rawgeti(L, names, i);
        if (lua_isnil(L, -1))
            break;
        lua_pushnumber(L, now - j->behind);
        lua_rawset(L, input);
    }
    lua_pop(L, 1);
}

/* Stack: 1 the quiet verdict, 2 the tied names, 3 the input, 4 an untouched copy of it (or nil), then scratch. */
static int sweep_body(lua_State *L, struct cc_fence_job *j)
{
    bool fresh = j->done != 0; /* the function changes its input */
    int64_t k;

    j->done = 0;
    lua_settop(L, 0);
    luaL_checkstack(L, CC_FENCE_RESULTS + 16, "sweep");
    lua_pushstring(L, j->quiet);
    if (j->tied)
        cc_fence_copy_in(L, j, j->tied);
    else
        lua_pushnil(L);
    cc_fence_copy_in(L, j, j->first);
    cc_fence_copy_in(L, j, j->first);
    for (k = 0; k < j->times; k++) {
        double now = j->from + (double)k * j->step;

        cc_box_begin(&j->f->box, j->f->box.limits.cpu_ms);
        if (fresh) {
            cc_fence_copy_in(L, j, j->first);
            lua_replace(L, 3);
        }
        set_tied(L, j, 3, 2, now);
        cc_fence_push_function(L, j);
        lua_pushvalue(L, 3);
        lua_pushnumber(L, now);
        j->done = k;
        lua_call(L, 2, CC_FENCE_RESULTS);
        if (!lua_rawequal(L, 5, 1))
            break;
        lua_settop(L, 4);
    }
    j->done = k;
    if (!fresh) {
        set_tied(L, j, 4, 2, j->from + (double)(k < j->times ? k : k - 1) * j->step);
        if (j->times > 0 && !same(L, 3, 4, 0)) {
            j->done = -1;
            return 0;
        }
    }
    return k < j->times ? lua_gettop(L) - 4 : 0;
}

int cc_fence_sweep(struct cc_fence *f, int function, lua_State *outer, int input, int tied, double behind,
                   const char *quiet, double from, double step, int64_t n, int64_t *done, char *message, size_t size)
{
    struct cc_fence_job j = { .f = f,
                              .body = sweep_body,
                              .outer = outer,
                              .function = function,
                              .first = input,
                              .tied = tied,
                              .behind = behind,
                              .quiet = quiet,
                              .from = from,
                              .step = step,
                              .times = n };
    int rc;

    assert(function > 0 && function <= f->n_functions);
    rc = cc_fence_run(f, &j, message, size);
    if (rc == CC_OK && j.done < 0) {
        j.done = 1;
        rc = cc_fence_run(f, &j, message, size);
    }
    *done = j.done < 0 ? 0 : j.done;
    if (rc == CC_OK)
        rc = cc_fence_carry_out(f, outer, false, message, size);
    cc_fence_tidy(f);
    return rc;
}

/* ---- calling again and again, with other values */

/* Sets the values of call k in the table at `input`. Stack: 2 the names. */
static void set_values(lua_State *L, struct cc_fence_job *j, int input, int64_t k)
{
    int n = (int)lua_objlen(L, 2), i;

    for (i = 1; i <= n; i++) {
        int at = (int)(k * n + i);
        bool gone = false;

        lua_rawgeti(L, 2, i);
        if (j->absent) {
            lua_rawgeti(j->outer, j->absent, at);
            gone = lua_toboolean(j->outer, -1);
            lua_pop(j->outer, 1);
        }
        if (gone) {
            lua_pushnil(L);
        } else {
            lua_rawgeti(j->outer, j->values, at);
            cc_fence_copy_in(L, j, lua_gettop(j->outer));
            lua_pop(j->outer, 1);
        }
        lua_rawset(L, input);
    }
}

/* Whether the results from `first` on the stack are as the list at 1 has them. */
static bool is_quiet(lua_State *L, int first)
{
    int i;

    for (i = 1; i <= 3; i++) {
        bool alike;

        lua_rawgeti(L, 1, i);
        alike = same(L, first + i - 1, lua_gettop(L), 0);
        if (!alike && i > 1)
            alike = lua_type(L, -1) == LUA_TSTRING && lua_type(L, first + i - 1) == LUA_TSTRING &&
                    lua_objlen(L, first + i - 1) > 0;
        lua_pop(L, 1);
        if (!alike)
            return false;
    }
    return true;
}

/* Stack: 1 the quiet results, 2 the names, 3 the input, 4 an untouched copy of it, then scratch. */
static int vary_body(lua_State *L, struct cc_fence_job *j)
{
    bool fresh = j->done != 0; /* the function changes its input */
    uint64_t ends = uv_hrtime() + CC_FENCE_VARY_MS * 1000000ull;
    int64_t k, times = j->times;

    j->done = 0;
    lua_settop(L, 0);
    luaL_checkstack(L, CC_FENCE_RESULTS + 16, "vary");
    luaL_checkstack(j->outer, 16, "vary");
    cc_fence_copy_in(L, j, j->quiet_index);
    cc_fence_copy_in(L, j, j->names);
    cc_fence_copy_in(L, j, j->first);
    cc_fence_copy_in(L, j, j->first);
    for (k = 0; k < times; k++) {
        cc_box_begin(&j->f->box, j->f->box.limits.cpu_ms);
        j->done = k;
        if (fresh) {
            cc_fence_copy_in(L, j, j->first);
            lua_replace(L, 3);
        }
        set_values(L, j, 3, k);
        cc_fence_push_function(L, j);
        lua_pushvalue(L, 3);
        if (isnan(j->from))
            lua_pushnil(L);
        else
            lua_pushnumber(L, j->from);
        lua_call(L, 2, CC_FENCE_RESULTS);
        if (!is_quiet(L, 5))
            break;
        lua_settop(L, 4);
        if (uv_hrtime() > ends)
            times = k + 1;
    }
    j->done = k;
    if (!fresh && j->times > 0) {
        set_values(L, j, 4, k < times ? k : k - 1);
        if (!same(L, 3, 4, 0)) {
            j->done = -1;
            return 0;
        }
    }
    return k < times ? lua_gettop(L) - 4 : 0;
}

int cc_fence_vary(struct cc_fence *f, int function, lua_State *outer, int input, double now, int quiet, int names,
                  int values, int absent, int64_t *done, char *message, size_t size)
{
    struct cc_fence_job j = { .f = f,
                              .body = vary_body,
                              .outer = outer,
                              .function = function,
                              .first = input,
                              .from = now,
                              .quiet_index = quiet,
                              .names = names,
                              .values = values,
                              .absent = absent };
    size_t n = lua_objlen(outer, names);
    int rc, top = lua_gettop(outer);

    assert(function > 0 && function <= f->n_functions);
    j.times = n ? (int64_t)(lua_objlen(outer, values) / n) : 0;
    rc = cc_fence_run(f, &j, message, size);
    if (rc == CC_OK && j.done < 0) {
        j.done = 1;
        rc = cc_fence_run(f, &j, message, size);
    }
    *done = j.done < 0 ? 0 : j.done;
    lua_settop(outer, top);
    if (rc == CC_OK)
        rc = cc_fence_carry_out(f, outer, false, message, size);
    cc_fence_tidy(f);
    return rc;
}
