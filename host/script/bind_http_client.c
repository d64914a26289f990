/* bind_http_client.c - module "http": requests to the world.
 *
 *   answer | nil, err = http.request{url=, method=, headers=, body=, timeout=seconds,
 *                                    connect_timeout=seconds, unix=path, max_body=bytes, cut=bool, ca=file,
 *                                    public={range...}, traced=}   [yields]
 *       traced: whom we ask is ours, and is told of which trace this is part (traceparent)
 *       answer = {status=, headers={name in lower case = value}, body=}
 *   Of headers with one name the values are joined by ", ". err.code: "timeout", "unavailable",
 *   "limit", "invalid", "denied" (the certificate), "io", "cancelled".
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/http/client.h"
#include "host/observe/span.h"
#include "host/script/http.h"
#include "host/script/vm.h"
#include "host/sys/mem.h"

struct op {
    struct cc_task *task;
    struct cc_fetch *fetch;
    struct cc_span *span;
};

static void cancel(void *arg)
{
    struct op *op = arg;

    cc_fetch_cancel(op->fetch);
    cc_span_fail(op->span, "cancelled");
    cc_span_end(op->span);
    free(op);
}

/* "Name: value" onto the table on top. */
static void push_line(lua_State *L, const char *p, const char *end)
{
    const char *colon = memchr(p, ':', (size_t)(end - p)), *value;
    luaL_Buffer b;

    if (!colon || colon == p)
        return;
    value = colon + 1;
    while (value < end && (*value == ' ' || *value == '\t'))
        value++;
    while (end > value && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\r' || end[-1] == '\n'))
        end--;
    luaL_buffinit(L, &b);
    for (; p < colon; p++)
        luaL_addchar(&b, (char)(*p >= 'A' && *p <= 'Z' ? *p + 32 : *p));
    luaL_pushresult(&b);
    lua_pushvalue(L, -1);
    lua_rawget(L, -3);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        lua_pushlstring(L, value, (size_t)(end - value));
    } else {
        lua_pushliteral(L, ", ");
        lua_pushlstring(L, value, (size_t)(end - value));
        lua_concat(L, 3);
    }
    lua_rawset(L, -3);
}

static void push_headers(lua_State *L, const char *p, size_t n)
{
    const char *end = p + n;

    lua_newtable(L);
    while (p < end) {
        const char *lf = memchr(p, '\n', (size_t)(end - p));
        const char *stop = lf ? lf + 1 : end;

        push_line(L, p, stop);
        p = stop;
    }
}

/* ---------------------------------------------------------------- its span */

/* Host and port of a URL, and nothing else of it: its path may hold a secret. */
static void put_address(struct cc_span *s, const char *url)
{
    const char *from = strstr(url, "://"), *at, *end, *colon;

    if (!from)
        return;
    from += 3;
    end = from + strcspn(from, "/?#");
    at = memrchr(from, '@', (size_t)(end - from));
    if (at)
        from = at + 1;
    colon = memrchr(from, ':', (size_t)(end - from));
    if (colon && memchr(colon, ']', (size_t)(end - colon)))
        colon = NULL;
    cc_span_text(s, "server.address", from, (size_t)((colon ? colon : end) - from));
    if (colon)
        cc_span_number(s, "server.port", strtol(colon + 1, NULL, 10));
}

static struct cc_span *begin_span(const struct cc_fetch_opts *o)
{
    const char *method = o->method ? o->method : o->body ? "POST" : "GET";
    struct cc_span *s = cc_span_begin(CC_SPAN_CLIENT, method, NULL);

    if (!s)
        return NULL;
    cc_span_text(s, "http.request.method", method, strlen(method));
    if (o->unix_path)
        cc_span_text(s, "network.transport", "unix", 4);
    else
        put_address(s, o->url);
    return s;
}

static void end_span(struct cc_span *s, const struct cc_fetch_answer *a, const struct cc_err *err)
{
    char status[12];

    if (!s)
        return;
    if (!a) {
        cc_span_text(s, "error.type", cc_err_word(err->code), strlen(cc_err_word(err->code)));
        cc_span_fail(s, err->message);
    } else {
        cc_span_number(s, "http.response.status_code", a->status);
        if (a->status >= 400) {
            cc_span_text(s, "error.type", status, (size_t)snprintf(status, sizeof(status), "%d", (int)a->status));
            cc_span_fail(s, status);
        }
    }
    cc_span_end(s);
}

/* The header for who is asked: which trace it is, and which span of it asks. */
static void tell_trace(lua_State *L, struct cc_fetch_opts *o, struct cc_hdr *headers, struct cc_span *s,
                       char text[CC_TRACEPARENT_LEN + 1])
{
    const struct cc_context *now = cc_context_now();
    struct cc_context c;
    bool wanted;

    lua_getfield(L, 1, "traced");
    wanted = lua_toboolean(L, -1);
    lua_pop(L, 1);
    if (!wanted || !now || !now->traced || o->n_headers == CC_LUA_HEADERS)
        return;
    c = *now;
    if (s)
        cc_span_id(s, c.span);
    cc_context_traceparent(&c, text);
    headers[o->n_headers++] = (struct cc_hdr){ { "traceparent", 11 }, { text, CC_TRACEPARENT_LEN } };
}

/* ---------------------------------------------------------------- requests */

static void on_done(void *arg, const struct cc_fetch_answer *a, const struct cc_err *err)
{
    struct op *op = arg;
    struct cc_task *t = op->task;
    lua_State *L = cc_task_stack(t);

    end_span(op->span, a, err);
    free(op);
    if (!a) {
        cc_task_wake(t, cc_push_err(L, err));
        return;
    }
    lua_createtable(L, 0, 3);
    lua_pushinteger(L, a->status);
    lua_setfield(L, -2, "status");
    push_headers(L, a->head, a->head_len);
    lua_setfield(L, -2, "headers");
    lua_pushlstring(L, a->body, a->body_len);
    lua_setfield(L, -2, "body");
    cc_task_wake(t, 1);
}

static const char *opt_string(lua_State *L, const char *name, size_t *len)
{
    const char *s;

    lua_getfield(L, 1, name); /* stays on the stack, which anchors it */
    if (!lua_isnil(L, -1) && lua_type(L, -1) != LUA_TSTRING)
        luaL_error(L, "http.request: %s must be a string", name);
    s = lua_tolstring(L, -1, len);
    return s;
}

static lua_Number opt_number(lua_State *L, const char *name, lua_Number most)
{
    lua_Number v;

    lua_getfield(L, 1, name);
    if (!lua_isnil(L, -1) && !lua_isnumber(L, -1))
        luaL_error(L, "http.request: %s must be a number", name);
    v = lua_tonumber(L, -1);
    if (v < 0 || v > most)
        luaL_error(L, "http.request: %s is out of range", name);
    lua_pop(L, 1);
    return v;
}

static void check_text(lua_State *L, const char *what, const char *s, size_t len)
{
    if (s && strlen(s) != len)
        luaL_error(L, "http.request: %s holds a NUL", what);
}

/* `public`: a list of ranges. */
static const struct cc_egress *opt_egress(lua_State *L, struct cc_egress *e)
{
    size_t i, n, len;

    lua_getfield(L, 1, "public");
    if (lua_isnil(L, -1))
        return NULL;
    luaL_argcheck(L, lua_istable(L, -1), 1, "public: a list expected");
    n = lua_objlen(L, -1);
    luaL_argcheck(L, n <= CC_EGRESS_MAX, 1, "public: too many ranges");
    for (i = 0; i < n; i++) {
        const char *p;

        lua_rawgeti(L, -1, (int)i + 1);
        p = lua_tolstring(L, -1, &len);
        if (!p || !cc_cidr_parse(&e->allowed[i], p, len))
            luaL_error(L, "http.request: public: address ranges expected");
        lua_pop(L, 1);
    }
    e->n = n;
    return e;
}

static void read_options(lua_State *L, struct cc_fetch_opts *o, struct cc_egress *egress, struct cc_hdr *headers)
{
    size_t len;

    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    o->url = opt_string(L, "url", &len);
    if (!o->url)
        luaL_error(L, "http.request: url must be given");
    check_text(L, "url", o->url, len);
    o->method = opt_string(L, "method", &len);
    check_text(L, "method", o->method, len);
    o->unix_path = opt_string(L, "unix", &len);
    o->ca_file = opt_string(L, "ca", &len);
    o->body = opt_string(L, "body", &o->body_len);
    o->timeout_ms = (uint32_t)(opt_number(L, "timeout", 86400) * 1000);
    o->connect_ms = (uint32_t)(opt_number(L, "connect_timeout", 86400) * 1000);
    o->max_body = (size_t)opt_number(L, "max_body", 1 << 30);
    lua_getfield(L, 1, "cut");
    o->cut = lua_toboolean(L, -1);
    lua_pop(L, 1);
    o->egress = opt_egress(L, egress);
    lua_getfield(L, 1, "headers");
    o->n_headers = cc_lua_headers(L, lua_gettop(L), headers);
    o->headers = headers;
}

int cc_lua_http_request(lua_State *L)
{
    struct cc_fetch_opts o = { .done = on_done };
    struct cc_hdr headers[CC_LUA_HEADERS];
    char text[CC_TRACEPARENT_LEN + 1];
    struct cc_egress egress;
    struct cc_task *t;
    struct cc_err err;
    struct op *op;

    read_options(L, &o, &egress, headers);
    t = cc_task_need(L, "http.request");
    op = cc_xcalloc(1, sizeof(*op));
    op->task = t;
    op->span = cc_spans_on ? begin_span(&o) : NULL;
    tell_trace(L, &o, headers, op->span, text);
    o.arg = op;
    op->fetch = cc_fetch_start(cc_vm_loop(L), &o, &err);
    if (!op->fetch) {
        end_span(op->span, NULL, &err);
        free(op);
        return cc_push_err(L, &err);
    }
    cc_task_park(t, cancel, op);
    return lua_yield(L, 0);
}
