/* bind_ws.c - module "http": a WebSocket as two verbs that wait.
 *
 *   ws | nil, err = req:websocket{protocol=, max_message=, ping=seconds}
 *       the request has ended either way: a refused one was answered 400, 426 or 503
 *   data, kind | nil, err = ws:recv()        [yields] kind "text" or "binary"; err.code "closed"
 *                                            with close_code and reason
 *   true | nil, err = ws:send(data, kind)    [yields] while the peer reads slowly; kind "text" (default)
 *   ws:close(code, reason)
 *
 * One message is kept here; while it waits for recv, nothing is read from
 * the socket: a slow handler slows its peer.  A task that waits anchors the
 * userdata: a yielded C function's own arguments are no anchor in LuaJIT.
 */
#include <stdlib.h>
#include <string.h>

#include "host/http/ws.h"
#include "host/script/ws.h"
#include "host/script/vm.h"
#include "host/sys/mem.h"

#define WS_META "cchost.http.websocket"

static struct cc_lua_ws *clients;

void cc_lua_ws_list(struct cc_lua_ws *s)
{
    s->listed = true;
    s->next = clients;
    clients = s;
}

static void unlist(struct cc_lua_ws *s)
{
    struct cc_lua_ws **at = &clients;

    if (!s->listed)
        return;
    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    s->listed = false;
}

void cc_lua_ws_hold(lua_State *L, int idx, struct cc_lua_ws *s)
{
    if (s->holds++)
        return;
    lua_pushvalue(L, idx);
    s->self = luaL_ref(L, LUA_REGISTRYINDEX);
}

void cc_lua_ws_release(lua_State *L, struct cc_lua_ws *s)
{
    if (--s->holds == 0)
        luaL_unref(L, LUA_REGISTRYINDEX, s->self);
}

static int push_closed(lua_State *L, const struct cc_lua_ws *s)
{
    struct cc_err err;

    cc_err_set(&err, CC_E_IO, "the WebSocket is closed (%d%s%s)", s->code, s->reason[0] ? ": " : "", s->reason);
    cc_push_err(L, &err);
    lua_pushliteral(L, "closed");
    lua_setfield(L, -2, "code");
    lua_pushinteger(L, s->code);
    lua_setfield(L, -2, "close_code");
    lua_pushstring(L, s->reason);
    lua_setfield(L, -2, "reason");
    return 2;
}

static int push_message(lua_State *L, const char *data, size_t len, int kind)
{
    lua_pushlstring(L, data, len);
    lua_pushstring(L, kind == CC_WS_TEXT ? "text" : "binary");
    return 2;
}

static void on_message(void *arg, int kind, char *data, size_t len)
{
    struct cc_lua_ws *s = arg;
    struct cc_task *t = s->reader;

    if (t) {
        s->reader = NULL;
        cc_task_wake(t, push_message(cc_task_stack(t), data, len, kind));
        cc_lua_ws_release(cc_task_stack(t), s);
        return;
    }
    cc_ws_pause(s->ws); /* until recv has taken it */
    s->data = cc_xmalloc(len);
    memcpy(s->data, data, len);
    s->len = len;
    s->kind = kind;
}

static void on_close(void *arg, int code, const char *reason, size_t len)
{
    struct cc_lua_ws *s = arg;
    struct cc_task *reader = s->reader, *writer = s->writer;

    s->ws = NULL;
    unlist(s);
    s->code = code;
    if (len >= sizeof(s->reason))
        len = sizeof(s->reason) - 1;
    memcpy(s->reason, reason, len);
    s->reason[len] = 0;
    s->reader = s->writer = NULL;
    if (reader) {
        cc_task_wake(reader, push_closed(cc_task_stack(reader), s));
        cc_lua_ws_release(cc_task_stack(reader), s);
    }
    if (writer) {
        cc_task_wake(writer, push_closed(cc_task_stack(writer), s));
        cc_lua_ws_release(cc_task_stack(writer), s);
    }
}

static void on_drain(void *arg)
{
    struct cc_lua_ws *s = arg;
    struct cc_task *t = s->writer;
    int rc;

    if (!t)
        return;
    rc = cc_ws_send(s->ws, s->out_kind, s->out, s->out_len);
    if (rc == CC_E_FULL)
        return;
    free(s->out);
    s->out = NULL;
    if (rc < 0)
        return; /* on_close will tell */
    s->writer = NULL;
    lua_pushboolean(cc_task_stack(t), 1);
    cc_task_wake(t, 1);
    cc_lua_ws_release(cc_task_stack(t), s);
}

static struct cc_lua_ws *socket_at(lua_State *L) { return luaL_checkudata(L, 1, WS_META); }

static void cancel_recv(void *op)
{
    struct cc_lua_ws *s = op;
    struct cc_task *t = s->reader;

    s->reader = NULL;
    cc_lua_ws_release(cc_task_stack(t), s);
}

static void cancel_send(void *op)
{
    struct cc_lua_ws *s = op;
    struct cc_task *t = s->writer;

    s->writer = NULL;
    free(s->out);
    s->out = NULL;
    cc_lua_ws_release(cc_task_stack(t), s);
}

static int l_recv(lua_State *L)
{
    struct cc_lua_ws *s = socket_at(L);
    struct cc_task *t = cc_task_need(L, "ws:recv");

    if (s->reader)
        return luaL_error(L, "ws:recv: another task waits for this WebSocket");
    if (s->data) {
        push_message(L, s->data, s->len, s->kind);
        free(s->data);
        s->data = NULL;
        if (s->ws)
            cc_ws_resume(s->ws); /* may bring the next one at once */
        return 2;
    }
    if (!s->ws)
        return push_closed(L, s);
    s->reader = t;
    cc_lua_ws_hold(L, 1, s);
    cc_task_park(t, cancel_recv, s);
    return lua_yield(L, 0);
}

static int l_send(lua_State *L)
{
    static const char *const kinds[] = { "text", "binary", NULL };
    struct cc_lua_ws *s = socket_at(L);
    size_t len;
    const char *data = luaL_checklstring(L, 2, &len);
    int kind = luaL_checkoption(L, 3, "text", kinds) ? CC_WS_BINARY : CC_WS_TEXT;
    struct cc_task *t = cc_task_need(L, "ws:send");
    int rc = CC_E_IO;

    if (s->writer)
        return luaL_error(L, "ws:send: another task sends on this WebSocket");
    if (s->ws)
        rc = cc_ws_send(s->ws, kind, data, len);
    if (rc >= 0) {
        lua_pushboolean(L, 1);
        return 1;
    }
    if (rc != CC_E_FULL || !s->ws)
        return s->code ? push_closed(L, s) : cc_lua_fail(L, CC_E_IO, "the WebSocket is closing");
    s->out = cc_xmalloc(len);
    memcpy(s->out, data, len);
    s->out_len = len;
    s->out_kind = kind;
    s->writer = t;
    cc_lua_ws_hold(L, 1, s);
    cc_task_park(t, cancel_send, s);
    return lua_yield(L, 0);
}

static int l_close(lua_State *L)
{
    struct cc_lua_ws *s = socket_at(L);
    lua_Integer code = luaL_optinteger(L, 2, 1000);
    const char *reason = luaL_optstring(L, 3, "");

    luaL_argcheck(L, cc_ws_code_ok((int)code), 2, "a close code expected");
    if (s->ws)
        cc_ws_close(s->ws, (int)code, reason);
    return 0;
}

/* A WebSocket that nobody holds any more is closed: as going away, since nobody will read it. */
static int l_gc(lua_State *L)
{
    struct cc_lua_ws *s = socket_at(L);

    unlist(s);
    if (s->ws)
        cc_ws_drop(s->ws);
    free(s->data);
    free(s->out);
    return 0;
}

const struct cc_ws_events cc_lua_ws_events = { on_message, on_close, on_drain };

struct cc_lua_ws *cc_lua_ws_new(lua_State *L)
{
    struct cc_lua_ws *s = lua_newuserdata(L, sizeof(*s));

    memset(s, 0, sizeof(*s));
    luaL_getmetatable(L, WS_META);
    lua_setmetatable(L, -2);
    return s;
}

int cc_lua_req_websocket(lua_State *L)
{
    struct cc_lua_req *q = cc_lua_req_at(L);
    struct cc_ws_opts o = { 0 };
    struct cc_lua_ws *s;
    struct cc_req *r;
    int rc;

    lua_settop(L, 2);
    if (lua_isnil(L, 2)) {
        lua_newtable(L);
        lua_replace(L, 2);
    }
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_getfield(L, 2, "max_message");
    lua_getfield(L, 2, "ping");
    lua_getfield(L, 2, "protocol");
    o.max_message = (size_t)lua_tonumber(L, 3);
    o.ping_ms = (uint32_t)(lua_tonumber(L, 4) * 1000);
    o.protocol = lua_tostring(L, 5);
    if (!q)
        return cc_lua_fail(L, CC_E_IO, "the request has ended");
    if (q->waiter || cc_req_started(q->r))
        return luaL_error(L, "req:websocket: the request is in use");
    if (q->pass) /* the machine's answer is not wanted */
        q->unpass(q);
    s = cc_lua_ws_new(L);
    r = q->r;
    rc = cc_ws_open(r, &o, &cc_lua_ws_events, s, &s->ws);
    q->r = NULL;
    if (rc == 0) {
        cc_ws_resume(s->ws);
        return 1;
    }
    cc_ws_refuse(r, rc);
    return cc_lua_fail(L, rc, "not a WebSocket upgrade that can be served");
}

/* The program ends: nobody will read what they still say. */
static void close_clients(void *arg)
{
    (void)arg;
    while (clients) {
        struct cc_lua_ws *s = clients;

        unlist(s);
        cc_ws_drop(s->ws);
        s->ws = NULL;
    }
}

static const luaL_Reg methods[] = { { "recv", l_recv }, { "send", l_send }, { "close", l_close }, { NULL, NULL } };

void cc_lua_ws_open(lua_State *L)
{
    cc_lua_meta(L, WS_META, methods);
    lua_pushcfunction(L, l_gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    cc_vm_at_close(L, close_clients, NULL);
}
