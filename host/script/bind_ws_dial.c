/* bind_ws_dial.c - module "http": the client's end of a WebSocket; what it then can do is bind_ws.c's.
 *
 *   ws | nil, err = http.websocket{url=, unix=path, headers=, subprotocol=, timeout=seconds, ca=file,
 *                                  max_message=, ping=seconds}   [yields]
 *       the client's end. err.status and err.body (at most 16 KiB) when the server answered something else
 */
#include "host/http/ws_dial.h"
#include "host/script/vm.h"
#include "host/script/ws.h"

#include <string.h>

static int push_refusal(lua_State *L, const struct cc_ws_answer *answer, const struct cc_err *err)
{
    cc_push_err(L, err);
    if (answer) {
        lua_pushinteger(L, answer->status);
        lua_setfield(L, -2, "status");
        lua_pushlstring(L, answer->body, answer->body_len);
        lua_setfield(L, -2, "body");
    }
    return 2;
}

static void on_dialled(void *arg, struct cc_ws *ws, const struct cc_ws_answer *answer, const struct cc_err *err)
{
    struct cc_lua_ws *s = arg;
    struct cc_task *t = s->reader;
    lua_State *co = cc_task_stack(t);

    s->dial = NULL;
    s->reader = NULL;
    if (!ws) {
        cc_task_wake(t, push_refusal(co, answer, err));
        cc_lua_ws_release(co, s);
        return;
    }
    s->ws = ws;
    cc_lua_ws_list(s);
    lua_rawgeti(co, LUA_REGISTRYINDEX, s->self);
    cc_task_wake(t, 1);
    cc_lua_ws_release(co, s);
    cc_ws_resume(ws); /* a message that is there already waits for recv */
}

static void cancel_dial(void *op)
{
    struct cc_lua_ws *s = op;
    struct cc_task *t = s->reader;

    cc_ws_dial_cancel(s->dial);
    s->dial = NULL;
    s->reader = NULL;
    cc_lua_ws_release(cc_task_stack(t), s);
}

/* A field of the table at 1; it stays on the stack, which anchors a string. */
static const char *opt_text(lua_State *L, const char *name)
{
    size_t len;
    const char *s;

    lua_getfield(L, 1, name);
    if (!lua_isnil(L, -1) && lua_type(L, -1) != LUA_TSTRING)
        luaL_error(L, "http.websocket: %s must be a string", name);
    s = lua_tolstring(L, -1, &len);
    if (s && strlen(s) != len)
        luaL_error(L, "http.websocket: %s holds a NUL", name);
    return s;
}

static lua_Number opt_seconds(lua_State *L, const char *name)
{
    lua_Number v;

    lua_getfield(L, 1, name);
    v = lua_tonumber(L, -1);
    if ((!lua_isnil(L, -1) && !lua_isnumber(L, -1)) || v < 0 || v > (1 << 30))
        luaL_error(L, "http.websocket: %s must be a number that is not negative", name);
    lua_pop(L, 1);
    return v;
}

int cc_lua_http_websocket(lua_State *L)
{
    struct cc_hdr headers[CC_LUA_HEADERS];
    struct cc_ws_dial_opts o = { .events = &cc_lua_ws_events, .headers = headers, .done = on_dialled };
    struct cc_task *t;
    struct cc_err err;
    struct cc_lua_ws *s;

    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    o.url = opt_text(L, "url");
    if (!o.url)
        return luaL_error(L, "http.websocket: url must be given");
    o.unix_path = opt_text(L, "unix");
    o.ca_file = opt_text(L, "ca");
    o.protocol = opt_text(L, "subprotocol");
    o.timeout_ms = (uint32_t)(opt_seconds(L, "timeout") * 1000);
    o.ws.ping_ms = (uint32_t)(opt_seconds(L, "ping") * 1000);
    o.ws.max_message = (size_t)opt_seconds(L, "max_message");
    lua_getfield(L, 1, "headers");
    o.n_headers = cc_lua_headers(L, lua_gettop(L), headers);
    t = cc_task_need(L, "http.websocket");
    s = cc_lua_ws_new(L);
    o.arg = s;
    s->dial = cc_ws_dial(cc_vm_loop(L), cc_vm_pool(L), &o, &err);
    if (!s->dial)
        return cc_push_err(L, &err);
    s->reader = t;
    cc_lua_ws_hold(L, lua_gettop(L), s);
    cc_task_park(t, cancel_dial, s);
    return lua_yield(L, 0);
}
