/* bind_http.c - module "http": the server and its requests (see docs in lua/meta/http.lua).
 *
 *   server | nil, err = http.serve{host=, port=, unix=, mode=, handler=, headers=, trusted=, limits=}
 *   server:addr() -> host, port   server:stats() -> table   server:close()
 *   true | nil, err = server:drain(seconds)                     [yields]
 *
 * Each request runs handler(req) in a task of its own.  A handler that ends
 * without a reply answers 500, one that raises is logged with its traceback.
 */
#include "host/script/http.h"

#include <stdlib.h>
#include <string.h>

#include "host/http/client.h"
#include "host/http/server.h"
#include "host/observe/log.h"
#include "host/script/modules.h"
#include "host/script/vm.h"
#include "host/sys/mem.h"

#define SERVER_META "cchost.http.server"
#define REQ_META "cchost.http.request"

struct server {
    struct cc_server *s;        /* NULL: closed */
    lua_State *L;
    int handler, self;          /* registry refs: the function; our userdata while we serve */
    struct cc_task *drainer;
    struct server *next;
};

struct module {
    lua_State *L;
    int req_meta_ref;
    const void *req_meta;       /* its address: a cheap check */
    struct cc_lua_req *spare;
    struct server *servers;
};

static struct module *the_module;   /* one VM a process, like the scheduler's */

/* ---------------------------------------------------------------- requests */

struct box { struct cc_lua_req *q; uint32_t gen; };

struct cc_lua_req *cc_lua_req_at(lua_State *L)
{
    struct box *box = lua_touserdata(L, 1);

    if (!box || !lua_getmetatable(L, 1) || lua_topointer(L, -1) != the_module->req_meta) {
        luaL_argerror(L, 1, "a request expected");
        return NULL;
    }
    lua_pop(L, 1);
    return box->q->gen == box->gen && box->q->r ? box->q : NULL;
}

static struct cc_lua_req *slot_get(struct cc_req *r)
{
    struct cc_lua_req *q = the_module->spare;

    if (q)
        the_module->spare = q->next;
    else
        q = cc_xcalloc(1, sizeof(*q));
    q->r = r;
    return q;
}

static void slot_put(struct cc_lua_req *q)
{
    q->gen++;
    q->r = NULL;
    q->next = the_module->spare;
    the_module->spare = q;
}

static void on_handler_end(void *arg, bool ok, lua_State *co, int n, const char *error)
{
    struct cc_lua_req *q = arg;

    (void)co, (void)n;
    if (q->waiter)
        cc_task_cancel(q->waiter, "the request's handler has ended");
    if (!ok)
        cc_log(CC_LOG_ERROR, "http", "request %s: %s", q->r ? cc_req_id(q->r) : "(answered)", error);
    else if (q->r)
        cc_log(CC_LOG_ERROR, "http", "request %s: its handler ended without a reply", cc_req_id(q->r));
    if (q->r && cc_req_started(q->r))
        cc_req_abort(q->r);
    else if (q->r)
        cc_req_reply_error(q->r, 500, "internal", "internal error");
    slot_put(q);
}

static void on_request(void *arg, struct cc_req *r)
{
    struct server *s = arg;
    lua_State *L = s->L;
    struct cc_lua_req *q = slot_get(r);
    struct box *box;

    lua_rawgeti(L, LUA_REGISTRYINDEX, s->handler);
    box = lua_newuserdata(L, sizeof(*box));
    box->q = q;
    box->gen = q->gen;
    lua_rawgeti(L, LUA_REGISTRYINDEX, the_module->req_meta_ref);
    lua_setmetatable(L, -2);
    cc_task_spawn(L, 1, on_handler_end, q);
}

static int push_text(lua_State *L, struct cc_text t)
{
    if (t.p)
        lua_pushlstring(L, t.p, t.n);
    else
        lua_pushnil(L);
    return 1;
}

static int l_method(lua_State *L)
{
    struct cc_lua_req *q = cc_lua_req_at(L);

    lua_pushstring(L, q ? cc_req_method(q->r) : NULL);
    return 1;
}

static int l_path(lua_State *L)
{
    struct cc_lua_req *q = cc_lua_req_at(L);

    return push_text(L, q ? cc_req_path(q->r) : (struct cc_text){ NULL, 0 });
}

static int l_query(lua_State *L)
{
    struct cc_lua_req *q = cc_lua_req_at(L);

    return push_text(L, q ? cc_req_query(q->r) : (struct cc_text){ NULL, 0 });
}

static int l_header(lua_State *L)
{
    struct cc_lua_req *q = cc_lua_req_at(L);
    char lower[64];
    size_t i, n;
    const char *name = luaL_checklstring(L, 2, &n);

    if (!q || n > sizeof(lower))
        return push_text(L, (struct cc_text){ NULL, 0 });
    for (i = 0; i < n; i++)
        lower[i] = (char)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] + 32 : name[i]);
    if (n == sizeof(lower))
        return push_text(L, (struct cc_text){ NULL, 0 });
    lower[n] = 0;
    return push_text(L, cc_req_header(q->r, lower, n));
}

/* req:headers() -> { name in lower case = value }; of two with one name the first */
static int l_headers(lua_State *L)
{
    struct cc_lua_req *q = cc_lua_req_at(L);
    struct cc_text name, value;
    char lower[256];
    unsigned i;
    size_t k;

    lua_settop(L, 1);
    lua_newtable(L);
    for (i = 0; q && cc_req_header_at(q->r, i, &name, &value); i++) {
        if (name.n > sizeof(lower))
            continue;
        for (k = 0; k < name.n; k++)
            lower[k] = (char)(name.p[k] >= 'A' && name.p[k] <= 'Z' ? name.p[k] + 32 : name.p[k]);
        lua_pushlstring(L, lower, name.n);
        lua_pushvalue(L, -1);
        lua_rawget(L, 2);
        if (lua_isnil(L, -1)) {
            lua_pop(L, 1);
            lua_pushlstring(L, value.p, value.n);
            lua_rawset(L, 2);
        } else {
            lua_pop(L, 2);
        }
    }
    return 1;
}

static int l_remote(lua_State *L)
{
    struct cc_lua_req *q = cc_lua_req_at(L);

    lua_pushstring(L, q ? cc_req_remote(q->r) : NULL);
    return 1;
}

static int l_id(lua_State *L)
{
    struct cc_lua_req *q = cc_lua_req_at(L);

    lua_pushstring(L, q ? cc_req_id(q->r) : NULL);
    return 1;
}

static int l_version(lua_State *L)
{
    struct cc_lua_req *q = cc_lua_req_at(L);

    lua_pushstring(L, !q ? NULL : cc_req_minor(q->r) ? "1.1" : "1.0");
    return 1;
}

static int l_gone(lua_State *L)
{
    struct cc_lua_req *q = cc_lua_req_at(L);

    lua_pushboolean(L, !q || cc_req_gone(q->r));
    return 1;
}

static int l_wants_upgrade(lua_State *L)
{
    struct cc_lua_req *q = cc_lua_req_at(L);

    lua_pushboolean(L, q && cc_req_wants_upgrade(q->r));
    return 1;
}

int cc_lua_fail(lua_State *L, int code, const char *what)
{
    struct cc_err err;

    cc_err_set(&err, code, "%s", what);
    return cc_push_err(L, &err);
}

static int fail_body(lua_State *L, int code)
{
    switch (code) {
    case CC_E_LIMIT: return cc_lua_fail(L, code, "the body is too long");
    case CC_E_TIMEOUT: return cc_lua_fail(L, code, "the body came too slowly");
    case CC_E_INVALID: return cc_lua_fail(L, code, "the body is badly framed");
    default: return cc_lua_fail(L, code, "the client has gone");
    }
}

static void cancel_wait(void *op)
{
    struct cc_lua_req *q = op;

    q->waiter = NULL;
    if (q->r)
        cc_req_unwait(q->r);
}

static lua_State *waiter_stack(struct cc_lua_req *q, struct cc_task **t)
{
    *t = q->waiter;
    q->waiter = NULL;
    return cc_task_stack(*t);
}

static void on_body(void *arg, struct cc_req *r, int status)
{
    struct cc_task *t;
    lua_State *L = waiter_stack(arg, &t);

    cc_task_wake(t, status ? fail_body(L, status) : push_text(L, cc_req_body_text(r)));
}

static int wait_for(lua_State *L, struct cc_lua_req *q, struct cc_task *t)
{
    q->waiter = t;
    cc_task_park(t, cancel_wait, q);
    return lua_yield(L, 0);
}

static struct cc_task *need_free(lua_State *L, struct cc_lua_req *q, const char *name)
{
    struct cc_task *t = cc_task_need(L, name);

    if (q->waiter)
        luaL_error(L, "%s: another task waits for this request", name);
    return t;
}

static int l_body(lua_State *L)
{
    struct cc_lua_req *q = cc_lua_req_at(L);
    lua_Number max = luaL_optnumber(L, 2, 0);
    struct cc_task *t;
    int rc;

    luaL_argcheck(L, max >= 0 && max <= 1e12, 2, "a number of bytes expected");
    if (!q)
        return fail_body(L, CC_E_IO);
    t = need_free(L, q, "req:body");
    rc = cc_req_body(q->r, (size_t)max, on_body, q);
    if (rc == 0)
        return push_text(L, cc_req_body_text(q->r));
    return rc < 0 ? fail_body(L, rc) : wait_for(L, q, t);
}

static unsigned add_header(lua_State *L, struct cc_hdr *h, unsigned n)
{
    if (lua_type(L, -2) != LUA_TSTRING && lua_type(L, -2) != LUA_TNUMBER)
        luaL_error(L, "a header's name must be a string");
    if (lua_type(L, -1) != LUA_TSTRING)
        luaL_error(L, "header values must be strings");
    if (n >= CC_LUA_HEADERS)
        luaL_error(L, "at most %d headers", CC_LUA_HEADERS);
    h->value.p = lua_tolstring(L, -1, &h->value.n);
    return n + 1;
}

unsigned cc_lua_headers(lua_State *L, int idx, struct cc_hdr *h)
{
    unsigned n = 0;
    struct cc_text name;

    if (lua_isnoneornil(L, idx))
        return 0;
    luaL_checktype(L, idx, LUA_TTABLE);
    for (lua_pushnil(L); lua_next(L, idx); lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING)
            luaL_error(L, "a header's name must be a string");
        name.p = lua_tolstring(L, -2, &name.n);
        if (!lua_istable(L, -1)) {
            n = add_header(L, &h[n < CC_LUA_HEADERS ? n : 0], n);
            h[n - 1].name = name;
            continue;
        }
        for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
            n = add_header(L, &h[n < CC_LUA_HEADERS ? n : 0], n);
            h[n - 1].name = name;
        }
    }
    return n;
}

/* Used between two Lua calls only; on the stack it would be cleared for every reply. */
static struct cc_hdr header_room[CC_LUA_HEADERS];

static bool names_type(const struct cc_hdr *h, unsigned n)
{
    unsigned i;

    for (i = 0; i < n; i++)
        if (h[i].name.n == 12 && strncasecmp(h[i].name.p, "content-type", 12) == 0)
            return true;
    return false;
}

/* Status, and the headers at `idx` with a content type when there is a body. */
static unsigned reply_headers(lua_State *L, int idx, struct cc_hdr *h, bool body)
{
    unsigned n = cc_lua_headers(L, idx, h);

    if (body && !names_type(h, n) && n < CC_LUA_HEADERS)
        h[n++] = (struct cc_hdr){ { "Content-Type", 12 }, { "application/json; charset=utf-8", 31 } };
    return n;
}

static int check_status(lua_State *L)
{
    lua_Integer status = luaL_checkinteger(L, 2);

    luaL_argcheck(L, status >= 200 && status <= 599, 2, "200..599 expected");
    return (int)status;
}

static int bad_headers(lua_State *L, int rc)
{
    return luaL_error(L, rc == CC_E_LIMIT ? "the headers are too long"
                                          : "a header's name or value cannot be sent");
}

/* true | false when the request has been answered already = req:reply(status, body, headers) */
static int l_reply(lua_State *L)
{
    struct cc_lua_req *q = cc_lua_req_at(L);
    int status = check_status(L), rc;
    size_t len = 0;
    const char *body = luaL_optlstring(L, 3, NULL, &len);
    struct cc_hdr *h = header_room;
    unsigned n = reply_headers(L, 4, h, body != NULL);

    if (q && cc_req_started(q->r))
        return luaL_error(L, "req:reply: the reply has begun");
    if (q) {
        if (q->waiter)
            return luaL_error(L, "req:reply: another task waits for this request");
        rc = cc_req_reply(q->r, status, h, n, body, len);
        if (rc < 0)
            return bad_headers(L, rc);
        q->r = NULL;
    }
    lua_pushboolean(L, q != NULL);
    return 1;
}

static int l_start(lua_State *L)
{
    struct cc_lua_req *q = cc_lua_req_at(L);
    int status = check_status(L), rc;
    struct cc_hdr *h = header_room;
    unsigned n = reply_headers(L, 3, h, true);

    if (!q)
        return fail_body(L, CC_E_IO);
    if (cc_req_started(q->r))
        return luaL_error(L, "req:start: the reply has begun");
    rc = cc_req_start(q->r, status, h, n);
    if (rc == CC_E_INVALID || rc == CC_E_LIMIT)
        return bad_headers(L, rc);
    if (rc < 0)
        return fail_body(L, rc);
    lua_pushboolean(L, 1);
    return 1;
}

static void on_room(void *arg, struct cc_req *r, int status)
{
    struct cc_task *t;
    lua_State *L = waiter_stack(arg, &t);

    (void)r;
    lua_pushboolean(L, 1);
    cc_task_wake(t, status ? fail_body(L, status) : 1);
}

static int l_write(lua_State *L)
{
    struct cc_lua_req *q = cc_lua_req_at(L);
    size_t len;
    const char *data = luaL_checklstring(L, 2, &len);
    struct cc_task *t;
    int rc;

    if (!q)
        return fail_body(L, CC_E_IO);
    t = need_free(L, q, "req:write");
    if (!cc_req_started(q->r))
        return luaL_error(L, "req:write: req:start comes first");
    rc = cc_req_write(q->r, data, len, on_room, q);
    if (rc < 0)
        return fail_body(L, rc);
    if (rc == 1)
        return wait_for(L, q, t);
    lua_pushboolean(L, 1);
    return 1;
}

static int l_finish(lua_State *L)
{
    struct cc_lua_req *q = cc_lua_req_at(L);

    if (!q)
        return 0;
    if (!cc_req_started(q->r))
        return luaL_error(L, "req:finish: req:start comes first");
    if (q->waiter)
        return luaL_error(L, "req:finish: another task waits for this request");
    cc_req_finish(q->r);
    q->r = NULL;
    return 0;
}

/* ---------------------------------------------------------------- servers */

static struct server *server_at(lua_State *L)
{
    return *(struct server **)luaL_checkudata(L, 1, SERVER_META);
}

static void server_close(struct server *s)
{
    struct server **at = &the_module->servers;

    if (!s->s)
        return;
    cc_server_close(s->s);
    s->s = NULL;
    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    if (s->drainer) {
        struct cc_task *t = s->drainer;

        s->drainer = NULL;
        cc_task_wake(t, cc_lua_fail(cc_task_stack(t), CC_E_CANCELLED, "the server was closed"));
    }
    luaL_unref(s->L, LUA_REGISTRYINDEX, s->handler);
    luaL_unref(s->L, LUA_REGISTRYINDEX, s->self);
}

static int l_close(lua_State *L)
{
    server_close(server_at(L));
    return 0;
}

/* Only a closed server is ever collected: an open one anchors itself. */
static int l_server_gc(lua_State *L)
{
    free(server_at(L));
    return 0;
}

static int l_addr(lua_State *L)
{
    struct server *s = server_at(L);
    char host[46];
    int port;

    if (!s->s || !cc_server_addr(s->s, host, &port))
        return 0;
    lua_pushstring(L, host);
    lua_pushinteger(L, port);
    return 2;
}

static void set_number(lua_State *L, const char *name, lua_Number v)
{
    lua_pushnumber(L, v);
    lua_setfield(L, -2, name);
}

static int l_stats(lua_State *L)
{
    struct server *s = server_at(L);
    struct cc_server_stats st = { 0 };

    if (s->s)
        cc_server_stats(s->s, &st);
    lua_createtable(L, 0, 8);
    set_number(L, "connections", st.connections);
    set_number(L, "upgraded", st.upgraded);
    set_number(L, "running", st.running);
    set_number(L, "accepted", (lua_Number)st.accepted);
    set_number(L, "requests", (lua_Number)st.requests);
    set_number(L, "refused", (lua_Number)st.refused);
    set_number(L, "turned_away", (lua_Number)st.turned_away);
    set_number(L, "timed_out", (lua_Number)st.timed_out);
    return 1;
}

static void on_drained(void *arg, bool clean)
{
    struct server *s = arg;
    struct cc_task *t = s->drainer;

    s->drainer = NULL;
    if (!t)
        return;
    if (!clean) {
        cc_task_wake(t, cc_lua_fail(cc_task_stack(t), CC_E_TIMEOUT, "requests were still running and were cut"));
        return;
    }
    lua_pushboolean(cc_task_stack(t), 1);
    cc_task_wake(t, 1);
}

static void cancel_drain(void *op) { ((struct server *)op)->drainer = NULL; }

static int l_drain(lua_State *L)
{
    struct server *s = server_at(L);
    lua_Number seconds = luaL_optnumber(L, 2, 30);
    struct cc_task *t = cc_task_need(L, "server:drain");

    luaL_argcheck(L, seconds >= 0 && seconds <= 86400, 2, "0..86400 expected");
    if (!s->s)
        return cc_lua_fail(L, CC_E_STATE, "the server is closed");
    if (s->drainer)
        return cc_lua_fail(L, CC_E_STATE, "another task drains this server");
    s->drainer = t;
    cc_server_drain(s->s, (uint64_t)(seconds * 1000), on_drained, s);
    cc_task_park(t, cancel_drain, s);
    return lua_yield(L, 0);
}

/* ---------------------------------------------------------------- http.serve */

static lua_Number opt_limit(lua_State *L, const char *name, lua_Number def, lua_Number most)
{
    lua_Number v = def;

    lua_getfield(L, -1, name);
    if (!lua_isnil(L, -1)) {
        v = lua_tonumber(L, -1);
        if (!lua_isnumber(L, -1) || v < 0 || v > most)
            luaL_error(L, "http.serve: limits.%s must be a number of at most %d", name, (int)most);
    }
    lua_pop(L, 1);
    return v;
}

static uint32_t opt_ms(lua_State *L, const char *name, uint32_t def)
{
    return (uint32_t)(opt_limit(L, name, def / 1000.0, 86400) * 1000);
}

static void read_limits(lua_State *L, struct cc_http_limits *l)
{
    lua_getfield(L, 1, "limits");
    if (!lua_isnil(L, -1)) {
        if (!lua_istable(L, -1))
            luaL_error(L, "http.serve: limits must be a table");
        l->head_bytes = (uint32_t)opt_limit(L, "head", l->head_bytes, 65535);
        l->headers = (uint32_t)opt_limit(L, "headers", l->headers, 100);
        l->body_bytes = (size_t)opt_limit(L, "body", (lua_Number)l->body_bytes, 2147483647);
        l->connections = (uint32_t)opt_limit(L, "connections", l->connections, 1000000);
        l->body_rate = (uint32_t)opt_limit(L, "body_rate", l->body_rate, 1 << 30);
        l->head_ms = opt_ms(L, "head_seconds", l->head_ms);
        l->idle_ms = opt_ms(L, "idle_seconds", l->idle_ms);
        l->rate_ms = opt_ms(L, "rate_seconds", l->rate_ms);
        l->linger_ms = opt_ms(L, "linger_seconds", l->linger_ms);
    }
    lua_pop(L, 1);
}

#define TRUSTED_MAX 64

static void read_trusted(lua_State *L, struct cc_server_opts *o, struct cc_cidr *list)
{
    int i;

    lua_getfield(L, 1, "trusted");
    for (i = 1; lua_istable(L, -1); i++) {
        size_t n;
        const char *p;

        lua_rawgeti(L, -1, i);
        p = lua_tolstring(L, -1, &n);
        if (!p) {
            lua_pop(L, 1);
            break;
        }
        if (strcmp(p, "unix") == 0)
            o->trust_unix = true;
        else if (o->n_trusted >= TRUSTED_MAX || !cc_cidr_parse(&list[o->n_trusted++], p, n))
            luaL_error(L, "http.serve: \"%s\" is no address range", p);
        lua_pop(L, 1);
    }
    o->trusted = list;
    lua_pop(L, 1);
}

/* Leaves the headers table on the stack, which anchors the strings. */
static void read_headers(lua_State *L, struct cc_server_opts *o, struct cc_hdr *h)
{
    unsigned i;

    lua_getfield(L, 1, "headers");
    o->headers = h;
    o->n_headers = cc_lua_headers(L, lua_gettop(L), h);
    if (o->n_headers > 16)
        luaL_error(L, "http.serve: at most 16 default headers");
    for (i = 0; i < o->n_headers; i++)
        if (memchr(h[i].value.p, '\n', h[i].value.n) || memchr(h[i].value.p, '\r', h[i].value.n))
            luaL_error(L, "http.serve: a default header's value cannot be sent");
}

static int start_listening(lua_State *L, struct cc_server *s, struct cc_err *err)
{
    const char *host, *path;
    int port, mode, rc = 0;

    lua_getfield(L, 1, "unix");
    lua_getfield(L, 1, "mode");
    lua_getfield(L, 1, "host");
    lua_getfield(L, 1, "port");
    path = lua_tostring(L, -4);
    mode = lua_isnil(L, -3) ? 0600 : (int)lua_tointeger(L, -3);
    host = lua_tostring(L, -2);
    port = (int)lua_tointeger(L, -1);
    if (path)
        rc = cc_server_listen_unix(s, path, mode, err);
    if (rc == 0 && (host || !lua_isnil(L, -1)))
        rc = cc_server_listen(s, host ? host : "127.0.0.1", port, err);
    lua_pop(L, 4);
    return rc;
}

static void check_serve(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_getfield(L, 1, "handler");
    if (!lua_isfunction(L, -1))
        luaL_error(L, "http.serve: handler must be a function");
    lua_getfield(L, 1, "port");
    lua_getfield(L, 1, "unix");
    if (!lua_isnumber(L, -2) && !lua_isstring(L, -1))
        luaL_error(L, "http.serve: port or unix must be given");
    if (lua_isnumber(L, -2) && (lua_tonumber(L, -2) < 0 || lua_tonumber(L, -2) > 65535))
        luaL_error(L, "http.serve: port must be 0..65535");
    lua_settop(L, 1);
}

static int l_serve(lua_State *L)
{
    struct cc_server_opts o = { .limits = CC_HTTP_LIMITS, .request_ids = true, .handler = on_request };
    struct cc_cidr trusted[TRUSTED_MAX];
    struct cc_hdr headers[CC_LUA_HEADERS];
    struct server *s;
    struct cc_err err;

    check_serve(L);
    read_limits(L, &o.limits);
    read_trusted(L, &o, trusted);
    read_headers(L, &o, headers);
    *(struct server **)lua_newuserdata(L, sizeof(s)) = s = cc_xcalloc(1, sizeof(*s));
    luaL_getmetatable(L, SERVER_META);
    lua_setmetatable(L, -2);
    lua_getfield(L, 1, "handler");
    s->handler = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pushvalue(L, -1);
    s->self = luaL_ref(L, LUA_REGISTRYINDEX);
    s->L = the_module->L;
    o.arg = s;
    s->s = cc_server_new(cc_vm_loop(L), &o);
    s->next = the_module->servers;
    the_module->servers = s;
    if (start_listening(L, s->s, &err) < 0) {
        server_close(s);
        return cc_push_err(L, &err);
    }
    return 1;
}

/* ---------------------------------------------------------------- tables */

static void close_module(void *arg)
{
    struct module *m = arg;
    struct cc_lua_req *q;

    while (m->servers)
        server_close(m->servers);
    cc_client_close();
    while ((q = m->spare)) {
        m->spare = q->next;
        free(q);
    }
}

static const luaL_Reg req_methods[] = {
    { "method", l_method },
    { "path", l_path },
    { "query", l_query },
    { "header", l_header },
    { "headers", l_headers },
    { "remote", l_remote },
    { "id", l_id },
    { "version", l_version },
    { "gone", l_gone },
    { "wants_upgrade", l_wants_upgrade },
    { "body", l_body },
    { "reply", l_reply },
    { "start", l_start },
    { "write", l_write },
    { "finish", l_finish },
    { "proxy", cc_lua_req_proxy },
    { "websocket", cc_lua_req_websocket },
    { NULL, NULL }
};

static const luaL_Reg server_methods[] = {
    { "addr", l_addr },
    { "stats", l_stats },
    { "drain", l_drain },
    { "close", l_close },
    { NULL, NULL }
};

static const luaL_Reg http_lib[] = {
    { "serve", l_serve },
    { "request", cc_lua_http_request },
    { "close_streams", cc_lua_close_streams },
    { "streams", cc_lua_streams },
    { NULL, NULL }
};

static void make_meta(lua_State *L, const char *name, const luaL_Reg *methods)
{
    luaL_newmetatable(L, name);
    lua_newtable(L);
    luaL_register(L, NULL, methods);
    lua_setfield(L, -2, "__index");
    lua_pushliteral(L, "locked");
    lua_setfield(L, -2, "__metatable");
}

int luaopen_cc_http(lua_State *L)
{
    struct module *m = cc_xcalloc(1, sizeof(*m));

    m->L = cc_vm_main(L);
    the_module = m;
    make_meta(L, REQ_META, req_methods);
    m->req_meta = lua_topointer(L, -1);
    m->req_meta_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    make_meta(L, SERVER_META, server_methods);
    lua_pushcfunction(L, l_server_gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    cc_lua_ws_open(L);
    cc_vm_at_close(L, close_module, m);
    lua_newtable(L);
    luaL_register(L, NULL, http_lib);
    return 1;
}
