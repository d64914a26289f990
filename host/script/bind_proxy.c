/* bind_proxy.c - module "http": passing an upgrade through to a machine.
 *
 *   true | nil, err = req:proxy{unix= | host=, port=, path=, headers=, id=, who=, screen=}   [yields]
 *       true: the 101 was passed on, the connection is C's and the request has ended
 *   n = http.close_streams(id, code, reason)
 *   n = http.close_streams_of(prefix, code, reason)    those whose `who` begins so
 *   { {id=, opened=, typed_at=, from_client=, from_machine=, typed=}, ... } = http.streams()
 *   {[id] = how many} = http.stream_counts()
 *   {[id] = unix ms} = http.typed()         those whose user typed since it was last asked, and when last
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/http/splice.h"
#include "host/http/ws_frame.h"
#include "host/script/http.h"
#include "host/script/vm.h"
#include "host/sys/clock.h"
#include "host/sys/mem.h"

enum { TYPED_MAX = 65536 };

static void cancel_dial(void *op)
{
    struct cc_lua_req *q = op;

    q->waiter = NULL;
    cc_splice_cancel(q->op);
    q->op = NULL;
}

static void on_open(void *arg, int status, const struct cc_err *err)
{
    struct cc_lua_req *q = arg;
    struct cc_task *t = q->waiter;
    lua_State *L = cc_task_stack(t);

    q->waiter = NULL;
    q->op = NULL;
    if (status < 0) {
        cc_task_wake(t, cc_push_err(L, err));
        return;
    }
    q->r = NULL;
    lua_pushboolean(L, 1);
    cc_task_wake(t, 1);
}

static const char *opt_string(lua_State *L, const char *name)
{
    const char *s;

    lua_getfield(L, 2, name); /* stays on the stack, which anchors it */
    s = lua_tostring(L, -1);
    if (!s && !lua_isnil(L, -1))
        luaL_error(L, "req:proxy: %s must be a string", name);
    return s;
}

int cc_lua_req_proxy(lua_State *L)
{
    struct cc_lua_req *q = cc_lua_req_at(L);
    struct cc_hdr headers[CC_LUA_HEADERS];
    struct cc_splice_opts o = { .headers = headers, .on_open = on_open, .arg = q };
    struct cc_task *t;
    struct cc_err err;

    luaL_checktype(L, 2, LUA_TTABLE);
    t = cc_task_need(L, "req:proxy");
    lua_settop(L, 2);
    o.unix_path = opt_string(L, "unix");
    o.host = opt_string(L, "host");
    o.path = opt_string(L, "path");
    o.id = opt_string(L, "id");
    o.who = opt_string(L, "who");
    lua_getfield(L, 2, "screen");
    o.screen = lua_toboolean(L, -1);
    lua_getfield(L, 2, "port");
    o.port = (int)lua_tointeger(L, -1);
    lua_getfield(L, 2, "headers");
    o.n_headers = cc_lua_headers(L, lua_gettop(L), headers);
    luaL_argcheck(L, o.unix_path || (o.host && o.port > 0 && o.port < 65536), 2, "unix, or host and port, expected");
    if (!q)
        return cc_lua_fail(L, CC_E_IO, "the request has ended");
    if (q->waiter)
        return luaL_error(L, "req:proxy: another task waits for this request");
    q->op = cc_splice_dial(q->r, &o, &err);
    if (!q->op)
        return cc_push_err(L, &err);
    q->waiter = t;
    cc_task_park(t, cancel_dial, q);
    return lua_yield(L, 0);
}

static int close_streams(lua_State *L, unsigned (*close)(const char *what, int code, const char *reason))
{
    const char *what = luaL_checkstring(L, 1);
    lua_Integer code = luaL_optinteger(L, 2, 1001);
    const char *reason = luaL_optstring(L, 3, "");

    luaL_argcheck(L, *what, 1, "a text that is not empty expected");
    luaL_argcheck(L, cc_ws_code_ok((int)code), 2, "a close code expected");
    lua_pushinteger(L, close(what, (int)code, reason));
    return 1;
}

int cc_lua_close_streams(lua_State *L) { return close_streams(L, cc_splice_close_id); }
int cc_lua_close_streams_of(lua_State *L) { return close_streams(L, cc_splice_close_who); }

int cc_lua_stream_counts(lua_State *L)
{
    unsigned n = cc_splice_list(NULL, 0), i;
    struct cc_splice_stats *all = lua_newuserdata(L, (n ? n : 1) * sizeof(*all));

    n = cc_splice_list(all, n);
    lua_createtable(L, 0, (int)n);
    for (i = 0; i < n; i++) {
        lua_getfield(L, -1, all[i].id);
        lua_pushinteger(L, lua_tointeger(L, -1) + 1);
        lua_setfield(L, -3, all[i].id);
        lua_pop(L, 1);
    }
    return 1;
}

/* Who typed since it was last asked: an entry for each change of hands, the last of an id counts. */
static struct typed {
    struct {
        char id[CC_SPLICE_ID];
        int64_t at;
    } * list;
    unsigned n, room;
    bool followed;
} typed;

static void on_typed(void *arg, const char *id, uint64_t bytes)
{
    (void)arg;
    (void)bytes;
    if (typed.n > 0 && strcmp(typed.list[typed.n - 1].id, id) == 0) {
        typed.list[typed.n - 1].at = cc_wall_ms();
        return;
    }
    if (typed.n == TYPED_MAX) /* nobody asks: the oldest half goes */
        memmove(typed.list, typed.list + TYPED_MAX / 2, (typed.n = TYPED_MAX / 2) * sizeof(*typed.list));
    if (typed.n == typed.room) {
        typed.room = typed.room ? typed.room * 2 : 64;
        typed.list = cc_xrealloc(typed.list, typed.room * sizeof(*typed.list));
    }
    snprintf(typed.list[typed.n].id, CC_SPLICE_ID, "%s", id);
    typed.list[typed.n++].at = cc_wall_ms();
}

static void typed_close(void *arg)
{
    (void)arg;
    cc_splice_on_input(NULL, NULL);
    free(typed.list);
    typed = (struct typed){ 0 };
}

int cc_lua_typed(lua_State *L)
{
    unsigned i;

    if (!typed.followed) {
        typed.followed = true;
        cc_splice_on_input(on_typed, NULL);
        cc_vm_at_close(L, typed_close, NULL);
    }
    lua_createtable(L, 0, (int)typed.n);
    for (i = 0; i < typed.n; i++) {
        lua_pushnumber(L, (lua_Number)typed.list[i].at);
        lua_setfield(L, -2, typed.list[i].id);
    }
    typed.n = 0;
    return 1;
}

static void set_number(lua_State *L, const char *name, lua_Number v)
{
    lua_pushnumber(L, v);
    lua_setfield(L, -2, name);
}

int cc_lua_streams(lua_State *L)
{
    unsigned n = cc_splice_list(NULL, 0), i;
    struct cc_splice_stats *all = lua_newuserdata(L, (n ? n : 1) * sizeof(*all));

    n = cc_splice_list(all, n);
    lua_createtable(L, (int)n, 0);
    for (i = 0; i < n; i++) {
        lua_createtable(L, 0, 6);
        lua_pushstring(L, all[i].id);
        lua_setfield(L, -2, "id");
        set_number(L, "opened", (lua_Number)all[i].opened_ms / 1000);
        if (all[i].typed_ms)
            set_number(L, "typed_at", (lua_Number)all[i].typed_ms / 1000);
        set_number(L, "from_client", (lua_Number)all[i].from_client);
        set_number(L, "from_machine", (lua_Number)all[i].from_backend);
        set_number(L, "typed", (lua_Number)all[i].typed);
        lua_rawseti(L, -2, (int)i + 1);
    }
    return 1;
}
