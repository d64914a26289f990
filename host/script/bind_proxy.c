/* bind_proxy.c - module "http": passing an upgrade through to a machine.
 *
 *   true | nil, err = req:proxy{unix= | host=, port=, tunnel=, secret=, path=, authority=, headers=, id=, who=, kind=, timeout=,
 *                               ping=}   [yields]
 *       true: the 101 was passed on, the connection is C's and the request has ended
 *   held | nil, err = req:hold{protocol=, id=, who=, kind=, ping=}   the 101 is sent before there is a machine
 *   held:say(bytes)   held:gone()   held:close(code, reason)
 *   true | nil, err = held:proxy{as req:proxy}   [yields]   true: it is C's; else it is held still, unless held:gone()
 *   n = http.close_streams(id, code, reason)   also ends requests that are passed on (bind_pass.c)
 *   n = http.close_streams_of(prefix, code, reason)    those whose `who` begins so
 *   { {id=, opened=, typed_at=, from_client=, from_machine=, typed=}, ... } = http.streams()
 *   {[id] = how many} = http.stream_counts()   but for those who only look on (kind "view")
 *   {[id] = unix ms} = http.typed()         those whose user typed since it was last asked, and when last
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/http/pass.h"
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

const char *cc_lua_opt_string(lua_State *L, const char *name)
{
    const char *s;

    lua_getfield(L, 2, name); /* stays on the stack, which anchors it */
    s = lua_tostring(L, -1);
    if (!s && !lua_isnil(L, -1))
        luaL_error(L, "%s must be a string", name);
    return s;
}

uint32_t cc_lua_opt_ms(lua_State *L, const char *name)
{
    lua_Number seconds;

    lua_getfield(L, 2, name);
    seconds = luaL_optnumber(L, -1, 0);
    if (!(seconds >= 0 && seconds <= 86400))
        luaL_error(L, "%s must be a number of seconds", name);
    lua_pop(L, 1);
    return (uint32_t)(seconds * 1000);
}

void cc_lua_backend_at(lua_State *L, struct cc_backend_at *at)
{
    at->unix_path = cc_lua_opt_string(L, "unix");
    at->host = cc_lua_opt_string(L, "host");
    at->tunnel = cc_lua_opt_string(L, "tunnel");
    at->secret.p = cc_lua_opt_string(L, "secret");
    at->secret.n = at->secret.p ? strlen(at->secret.p) : 0;
    lua_getfield(L, 2, "port");
    at->port = (int)lua_tointeger(L, -1);
    luaL_argcheck(L, at->unix_path || (at->host && at->port > 0 && at->port < 65536), 2,
                  "unix, or host and port, expected");
}

static int opt_kind(lua_State *L)
{
    static const char *const words[] = { "terminal", "screen", "chat", "other", "view", NULL };

    lua_getfield(L, 2, "kind");
    return luaL_checkoption(L, -1, "terminal", words); /* in the order of enum cc_ws_kind */
}

/* The table at index 2, but for the way there; what it names stays on the stack. */
static void read_opts(lua_State *L, struct cc_splice_opts *o, struct cc_hdr *headers)
{
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    o->path = cc_lua_opt_string(L, "path");
    o->host = cc_lua_opt_string(L, "authority");
    o->id = cc_lua_opt_string(L, "id");
    o->who = cc_lua_opt_string(L, "who");
    o->kind = opt_kind(L);
    o->dial_ms = cc_lua_opt_ms(L, "timeout");
    o->ping_ms = cc_lua_opt_ms(L, "ping");
    o->headers = headers;
    lua_getfield(L, 2, "headers");
    o->n_headers = cc_lua_headers(L, lua_gettop(L), headers);
}

int cc_lua_req_proxy(lua_State *L)
{
    struct cc_lua_req *q = cc_lua_req_at(L);
    struct cc_hdr headers[CC_LUA_HEADERS];
    struct cc_splice_opts o = { .on_open = on_open, .arg = q };
    struct cc_task *t;
    struct cc_err err;

    t = cc_task_need(L, "req:proxy");
    read_opts(L, &o, headers);
    cc_lua_backend_at(L, &o.at);
    if (!q)
        return cc_lua_fail(L, CC_E_IO, "the request has ended");
    if (q->waiter)
        return luaL_error(L, "req:proxy: another task waits for this request");
    if (q->pass) /* the machine's answer is not wanted */
        q->unpass(q);
    q->op = cc_splice_dial(q->r, &o, &err);
    if (!q->op)
        return cc_push_err(L, &err);
    q->waiter = t;
    cc_task_park(t, cancel_dial, q);
    return lua_yield(L, 0);
}

/* ---------------------------------------------------------------- held ones */

#define HELD_META "cchost.http.held"

struct held {
    struct cc_splice *s; /* NULL: no more */
    struct cc_task *waiter;
    struct cc_dial *dial;
    int self; /* a registry reference while it dials */
};

int cc_lua_req_hold(lua_State *L)
{
    struct cc_lua_req *q = cc_lua_req_at(L);
    struct cc_hdr headers[CC_LUA_HEADERS];
    struct cc_splice_opts o = { 0 };
    const char *protocol;
    struct held *h;
    struct cc_err err;

    read_opts(L, &o, headers);
    protocol = cc_lua_opt_string(L, "protocol");
    if (!q)
        return cc_lua_fail(L, CC_E_IO, "the request has ended");
    if (q->waiter || q->pass)
        return luaL_error(L, "req:hold: something else is under way for this request");
    h = lua_newuserdata(L, sizeof(*h));
    *h = (struct held){ .self = LUA_NOREF };
    luaL_getmetatable(L, HELD_META);
    lua_setmetatable(L, -2);
    if (cc_splice_hold(q->r, &o, protocol, &h->s, &err) < 0)
        return cc_push_err(L, &err);
    q->r = NULL;
    return 1;
}

static int l_held_say(lua_State *L)
{
    struct held *h = luaL_checkudata(L, 1, HELD_META);
    size_t n;
    const char *p = luaL_checklstring(L, 2, &n);

    lua_pushboolean(L, h->s && cc_splice_say(h->s, p, n));
    return 1;
}

static int l_held_gone(lua_State *L)
{
    struct held *h = luaL_checkudata(L, 1, HELD_META);

    lua_pushboolean(L, !h->s);
    return 1;
}

static int l_held_close(lua_State *L)
{
    struct held *h = luaL_checkudata(L, 1, HELD_META);
    lua_Integer code = luaL_optinteger(L, 2, 1011);
    const char *reason = luaL_optstring(L, 3, "");

    luaL_argcheck(L, cc_ws_code_ok((int)code), 2, "a close code expected");
    if (h->s)
        cc_splice_leave(h->s, (int)code, reason);
    return 0;
}

static int l_held_gc(lua_State *L)
{
    struct held *h = luaL_checkudata(L, 1, HELD_META);

    if (h->s)
        cc_splice_leave(h->s, 1011, "nobody waits for the machine any more");
    return 0;
}

static void held_dialled(struct held *h, lua_State *L)
{
    h->waiter = NULL;
    h->dial = NULL;
    luaL_unref(L, LUA_REGISTRYINDEX, h->self);
    h->self = LUA_NOREF;
}

static void held_cancel(void *op)
{
    struct held *h = op;
    struct cc_dial *d = h->dial;

    held_dialled(h, cc_task_stack(h->waiter));
    cc_splice_cancel(d);
}

static void on_held_open(void *arg, int status, const struct cc_err *err)
{
    struct held *h = arg;
    struct cc_task *t = h->waiter;
    lua_State *L = cc_task_stack(t);

    held_dialled(h, L);
    if (status < 0) {
        cc_task_wake(t, cc_push_err(L, err));
        return;
    }
    lua_pushboolean(L, 1);
    cc_task_wake(t, 1);
}

static int l_held_proxy(lua_State *L)
{
    struct held *h = luaL_checkudata(L, 1, HELD_META);
    struct cc_hdr headers[CC_LUA_HEADERS];
    struct cc_splice_opts o = { .on_open = on_held_open, .arg = h };
    struct cc_task *t = cc_task_need(L, "held:proxy");
    struct cc_err err;

    read_opts(L, &o, headers);
    cc_lua_backend_at(L, &o.at);
    if (h->waiter)
        return luaL_error(L, "held:proxy: it is dialling already");
    if (!h->s)
        return cc_lua_fail(L, CC_E_IO, "the client has gone");
    h->dial = cc_splice_connect(h->s, &o, &err);
    if (!h->dial)
        return cc_push_err(L, &err);
    lua_pushvalue(L, 1);
    h->self = luaL_ref(L, LUA_REGISTRYINDEX);
    h->waiter = t;
    cc_task_park(t, held_cancel, h);
    return lua_yield(L, 0);
}

void cc_lua_held_open(lua_State *L)
{
    static const luaL_Reg methods[] = { { "say", l_held_say },
                                        { "gone", l_held_gone },
                                        { "close", l_held_close },
                                        { "proxy", l_held_proxy },
                                        { NULL, NULL } };

    cc_lua_meta(L, HELD_META, methods);
    lua_pushcfunction(L, l_held_gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
}

/* ---------------------------------------------------------------- what is open */

static int close_streams(lua_State *L, unsigned (*close)(const char *what, int code, const char *reason),
                         unsigned (*close_pass)(const char *what))
{
    const char *what = luaL_checkstring(L, 1);
    lua_Integer code = luaL_optinteger(L, 2, 1001);
    const char *reason = luaL_optstring(L, 3, "");

    luaL_argcheck(L, *what, 1, "a text that is not empty expected");
    luaL_argcheck(L, cc_ws_code_ok((int)code), 2, "a close code expected");
    lua_pushinteger(L, (lua_Integer)close(what, (int)code, reason) + close_pass(what));
    return 1;
}

int cc_lua_close_streams(lua_State *L) { return close_streams(L, cc_splice_close_id, cc_pass_close_id); }
int cc_lua_close_streams_of(lua_State *L) { return close_streams(L, cc_splice_close_who, cc_pass_close_who); }

int cc_lua_stream_counts(lua_State *L)
{
    unsigned n = cc_splice_list(NULL, 0), i;
    struct cc_splice_stats *all = lua_newuserdata(L, (n ? n : 1) * sizeof(*all));

    n = cc_splice_list(all, n);
    lua_createtable(L, 0, (int)n);
    for (i = 0; i < n; i++) {
        if (all[i].kind == CC_WS_VIEW)
            continue;
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
