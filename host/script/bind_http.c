/* bind_http.c - module "http": servers.
 *
 *   server | nil, err = http.serve{host=, port=, unix=, mode=, fds=, handler=, headers=, trusted=, limits=, tls=}
 *       host an address, "localhost" or "" for all; fds: instead of all that, sockets that listen already, by their
 *       descriptors, which are the server's from here on; headers: into every reply that does not set them;
 *       trusted: address ranges, or "unix", whose X-Forwarded-For counts;
 *       limits: head, headers, body, connections, body_rate, head_seconds, idle_seconds, rate_seconds, linger_seconds
 *       access_log: true: each request is told of in the log (bind_http_access.c)
 *       tls: {{cert = path, key = path}, ...}, the first is the default; what comes by TCP must speak it (bind_tls.c)
 *   server:addr() -> host, port   server:stats() -> table   server:close()
 *   true | nil, err = server:drain(seconds, gently)             [yields] gently: who idles may ask once more
 *   fds | nil, err = server:copy_fds()      descriptors of its listeners, for a process that listens on; sys.close is for them
 *   server:leave_files()                    another listens on: the files of its unix sockets stay
 *
 * Each request runs handler(req) in a task of its own (bind_http_req.c).
 */
#include "host/script/http.h"

#include <stdlib.h>
#include <string.h>

#include "host/http/certs.h"
#include "host/http/client.h"
#include "host/http/server.h"
#include "host/http/tls.h"
#include "host/observe/log.h"
#include "host/script/modules.h"
#include "host/script/vm.h"
#include "host/sys/mem.h"

#define SERVER_META "cchost.http.server"
enum { LISTENERS_MAX = 16 };

struct server {
    struct cc_server *s; /* NULL: closed */
    struct cc_tls *tls;  /* the server's; NULL: plain, or closed */
    lua_State *L;
    int handler, self; /* registry refs: the function; our userdata while we serve */
    struct cc_task *drainer;
    bool access; /* its requests are told of in the log */
    struct server *next;
};

struct module {
    lua_State *L;
    struct server *servers;
};

static struct module *the_module; /* one VM a process, like the scheduler's */

static void on_request(void *arg, struct cc_req *r)
{
    struct server *s = arg;

    cc_lua_req_run(s->L, s->handler, r);
}

static void on_ended(void *arg, struct cc_req *r, const struct cc_req_end *end)
{
    const struct server *s = arg;

    cc_lua_access_told(s->access, r, end);
}

static struct server *server_at(lua_State *L) { return *(struct server **)luaL_checkudata(L, 1, SERVER_META); }

static void server_close(struct server *s)
{
    struct server **at = &the_module->servers;

    if (!s->s)
        return;
    cc_server_close(s->s);
    s->s = NULL;
    s->tls = NULL;
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

static int l_tls_reload(lua_State *L) { return cc_lua_tls_reload(L, &server_at(L)->tls); }

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
    struct cc_tls_stats tls = { 0 };

    if (s->s)
        cc_server_stats(s->s, &st);
    if (s->tls)
        cc_tls_stats(s->tls, &tls);
    lua_createtable(L, 0, 13);
    set_number(L, "connections", st.connections);
    set_number(L, "upgraded", st.upgraded);
    set_number(L, "running", st.running);
    set_number(L, "accepted", (lua_Number)st.accepted);
    set_number(L, "requests", (lua_Number)st.requests);
    set_number(L, "refused", (lua_Number)st.refused);
    set_number(L, "turned_away", (lua_Number)st.turned_away);
    set_number(L, "given_up", (lua_Number)st.given_up);
    set_number(L, "timed_out", (lua_Number)st.timed_out);
    set_number(L, "handshakes", (lua_Number)tls.handshakes);
    set_number(L, "handshakes_failed", (lua_Number)tls.failed);
    set_number(L, "handshakes_waiting", tls.waiting);
    set_number(L, "truncated", (lua_Number)tls.truncated);
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
    cc_server_drain(s->s, (uint64_t)(seconds * 1000), lua_toboolean(L, 3), on_drained, s);
    cc_task_park(t, cancel_drain, s);
    return lua_yield(L, 0);
}

static int l_copy_fds(lua_State *L)
{
    struct server *s = server_at(L);
    struct cc_err err;
    int fd[LISTENERS_MAX], n, i;

    if (!s->s)
        return cc_lua_fail(L, CC_E_STATE, "the server is closed");
    if ((n = cc_server_copy_fds(s->s, fd, LISTENERS_MAX, &err)) < 0)
        return cc_push_err(L, &err);
    lua_createtable(L, n, 0);
    for (i = 0; i < n; i++) {
        lua_pushinteger(L, fd[i]);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

static int l_leave_files(lua_State *L)
{
    struct server *s = server_at(L);

    if (s->s)
        cc_server_leave_files(s->s);
    return 0;
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

/* The list of descriptors on the stack's top. */
static int listen_on_fds(lua_State *L, struct cc_server *s, struct cc_err *err)
{
    int i, n = (int)lua_objlen(L, -1), rc = 0;

    for (i = 1; i <= n && rc == 0; i++) {
        lua_rawgeti(L, -1, i);
        rc = cc_server_listen_fd(s, (int)lua_tointeger(L, -1), err);
        lua_pop(L, 1);
    }
    return rc;
}

static int start_listening(lua_State *L, struct cc_server *s, struct cc_err *err)
{
    const char *host, *path;
    int port, mode, rc = 0;

    lua_getfield(L, 1, "fds");
    if (lua_istable(L, -1))
        return listen_on_fds(L, s, err);
    lua_pop(L, 1);
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
    lua_getfield(L, 1, "fds");
    if (lua_istable(L, -1) ? lua_objlen(L, -1) == 0 || lua_objlen(L, -1) > LISTENERS_MAX : !lua_isnil(L, -1))
        luaL_error(L, "http.serve: fds must be a list of up to %d descriptors", LISTENERS_MAX);
    if (lua_isnil(L, -1) && !lua_isnumber(L, -3) && !lua_isstring(L, -2))
        luaL_error(L, "http.serve: port, unix or fds must be given");
    lua_pop(L, 1);
    if (lua_isnumber(L, -2) && (lua_tonumber(L, -2) < 0 || lua_tonumber(L, -2) > 65535))
        luaL_error(L, "http.serve: port must be 0..65535");
    lua_settop(L, 1);
}

/* NULL where none is wanted; *failed where it cannot be had. */
static struct cc_tls *make_tls(lua_State *L, bool *failed, struct cc_err *err)
{
    struct cc_cert_files files[CC_CERTS_MAX];
    struct cc_certs *certs;
    unsigned n;

    *failed = false;
    lua_getfield(L, 1, "tls");
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        return NULL;
    }
    n = cc_lua_cert_files(L, lua_gettop(L), files);
    certs = cc_certs_load(files, n, err); /* the table on the stack keeps the paths */
    lua_pop(L, 1);
    *failed = !certs;
    return certs ? cc_tls_new(cc_vm_loop(L), certs) : NULL;
}

static int l_serve(lua_State *L)
{
    struct cc_server_opts o = {
        .limits = CC_HTTP_LIMITS, .request_ids = true, .handler = on_request, .ended = on_ended
    };
    struct cc_cidr trusted[TRUSTED_MAX];
    struct cc_hdr headers[CC_LUA_HEADERS];
    struct server *s;
    struct cc_tls *tls;
    struct cc_err err;
    bool failed;

    check_serve(L);
    read_limits(L, &o.limits);
    read_trusted(L, &o, trusted);
    read_headers(L, &o, headers);
    *(struct server **)lua_newuserdata(L, sizeof(s)) = s = cc_xcalloc(1, sizeof(*s));
    luaL_getmetatable(L, SERVER_META);
    lua_setmetatable(L, -2);
    tls = make_tls(L, &failed, &err);
    if (failed)
        return cc_push_err(L, &err);
    o.layers = tls ? cc_tls_layers(tls) : NULL;
    lua_getfield(L, 1, "handler");
    s->handler = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pushvalue(L, -1);
    s->self = luaL_ref(L, LUA_REGISTRYINDEX);
    s->L = the_module->L;
    lua_getfield(L, 1, "access_log");
    s->access = lua_toboolean(L, -1);
    lua_pop(L, 1);
    o.arg = s;
    s->tls = tls;
    s->s = cc_server_new(cc_vm_loop(L), &o);
    s->next = the_module->servers;
    the_module->servers = s;
    if (start_listening(L, s->s, &err) < 0) {
        server_close(s);
        return cc_push_err(L, &err);
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, s->self);
    return 1;
}

/* ---------------------------------------------------------------- tables */

static void close_module(void *arg)
{
    struct module *m = arg;
    while (m->servers)
        server_close(m->servers);
    cc_client_close();
    cc_lua_req_close();
    cc_lua_access_close();
}

static const luaL_Reg server_methods[] = { { "addr", l_addr },         { "stats", l_stats },
                                           { "drain", l_drain },       { "tls_reload", l_tls_reload },
                                           { "copy_fds", l_copy_fds }, { "leave_files", l_leave_files },
                                           { "close", l_close },       { NULL, NULL } };

static const luaL_Reg http_lib[] = { { "serve", l_serve },
                                     { "route", cc_lua_http_route },
                                     { "request", cc_lua_http_request },
                                     { "websocket", cc_lua_http_websocket },
                                     { "close_streams", cc_lua_close_streams },
                                     { "close_streams_of", cc_lua_close_streams_of },
                                     { "streams", cc_lua_streams },
                                     { "stream_counts", cc_lua_stream_counts },
                                     { "typed", cc_lua_typed },
                                     { "tls_check", cc_lua_tls_check },
                                     { NULL, NULL } };

int luaopen_cc_http(lua_State *L)
{
    static const luaL_Reg more[] = { { "of", cc_lua_req_of },     { "proxy", cc_lua_req_proxy },
                                     { "hold", cc_lua_req_hold }, { "forward", cc_lua_req_forward },
                                     { "give", cc_lua_req_give }, { NULL, NULL } };
    struct module *m = cc_xcalloc(1, sizeof(*m));

    m->L = cc_vm_main(L);
    the_module = m;
    cc_lua_req_open(L, more);
    cc_lua_meta(L, SERVER_META, server_methods);
    lua_pushcfunction(L, l_server_gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    cc_lua_ws_open(L);
    cc_lua_held_open(L);
    cc_vm_at_close(L, close_module, m);
    lua_newtable(L);
    luaL_register(L, NULL, http_lib);
    return 1;
}
