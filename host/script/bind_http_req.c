/* bind_http_req.c - module "http": the request that a handler gets.
 *
 *   req:method() req:path() req:raw_path() req:query() req:header(name, ...) req:headers() req:remote() req:secure() req:id() req:version()
 *   req:gone() req:wants_upgrade()
 *   body | nil, err = req:body([max_bytes])      [yields] err.code "limit", "timeout", "invalid", "io"
 *   true | false = req:reply(status, body, headers)   false: it has been answered already
 *   chunk | nil, err = req:read([max_bytes])     [yields] the body as it comes (bind_http_body.c)
 *   req:proxy, req:hold: bind_proxy.c; req:forward, req:give: bind_pass.c
 *   req:start(status, headers [, length])   true | nil, err = req:write(chunk) [yields]   req:finish()
 *
 * After the reply every method returns nil or does nothing.  A handler that
 * ends without one answers 500; one that raises is logged with its traceback.
 */
#include "host/script/http.h"

#include <stdlib.h>
#include <string.h>

#include "host/observe/log.h"
#include "host/observe/span.h"
#include "host/script/vm.h"
#include "host/sys/mem.h"

#define REQ_META "cchost.http.request"

static struct {
    int meta_ref;
    const void *meta; /* the metatable's address: a cheap check */
    struct cc_lua_req *spare;
} reqs; /* one VM a process, like the scheduler's */

struct box {
    struct cc_lua_req *q;
    uint32_t gen;
};

struct cc_lua_req *cc_lua_req_at(lua_State *L)
{
    struct box *box = lua_touserdata(L, 1);

    if (!box || !lua_getmetatable(L, 1) || lua_topointer(L, -1) != reqs.meta) {
        luaL_argerror(L, 1, "a request expected");
        return NULL;
    }
    lua_pop(L, 1);
    return box->q->gen == box->gen && box->q->r ? box->q : NULL;
}

static struct cc_lua_req *slot_get(struct cc_req *r)
{
    struct cc_lua_req *q = reqs.spare;

    if (q)
        reqs.spare = q->next;
    else
        q = cc_xcalloc(1, sizeof(*q));
    q->r = r;
    return q;
}

static void slot_put(struct cc_lua_req *q)
{
    q->gen++;
    q->r = NULL;
    cc_lua_body_free(q);
    q->next = reqs.spare;
    reqs.spare = q;
}

static void on_handler_end(void *arg, bool ok, lua_State *co, int n, const char *error)
{
    struct cc_lua_req *q = arg;

    (void)co, (void)n;
    if (q->waiter)
        cc_task_cancel(q->waiter, "the request's handler has ended");
    if (q->pass)
        q->unpass(q);
    if (!ok && q->r && *cc_req_span(q->r))
        cc_span_raised(*cc_req_span(q->r), error);
    if (!ok)
        cc_log_raised("http", q->r ? "a request's handler raised" : "a handler raised after its reply", error);
    else if (q->r)
        cc_log(CC_LOG_ERROR, "http", "a request's handler ended without a reply");
    if (q->r && cc_req_started(q->r))
        cc_req_abort(q->r);
    else if (q->r)
        cc_req_reply_error(q->r, 500, "internal", "internal error");
    slot_put(q);
}

/* What is known of it from the beginning; the rest when it is over (bind_http_access.c). */
static void begin_span(struct cc_req *r)
{
    bool secure = cc_req_secure(r);
    struct cc_span *s = cc_span_of(cc_req_context(r), CC_SPAN_SERVER, cc_req_method(r), NULL);

    cc_span_text(s, "url.scheme", secure ? "https" : "http", secure ? 5 : 4);
    *cc_req_span(r) = s;
}

/* The request's ids begin here: the handler's task carries them. */
static const struct cc_context *begin_context(struct cc_req *r)
{
    struct cc_context *c = cc_req_context(r);
    struct cc_text parent = cc_req_header(r, "traceparent", 11);

    cc_req_id(r);
    if (cc_req_wants_upgrade(r)) /* its connection is gone when the access log asks */
        cc_req_remote(r);
    cc_context_trace(c, parent.p, parent.n);
    if (cc_spans_on)
        begin_span(r);
    return c;
}

void cc_lua_req_run(lua_State *L, int handler, struct cc_req *r)
{
    struct cc_lua_req *q = slot_get(r);
    const struct cc_context *before = cc_context_enter(begin_context(r));
    struct box *box;

    lua_rawgeti(L, LUA_REGISTRYINDEX, handler);
    box = lua_newuserdata(L, sizeof(*box));
    box->q = q;
    box->gen = q->gen;
    lua_rawgeti(L, LUA_REGISTRYINDEX, reqs.meta_ref);
    lua_setmetatable(L, -2);
    cc_task_spawn(L, 1, on_handler_end, q);
    cc_context_enter(before);
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

static int l_raw_path(lua_State *L)
{
    struct cc_lua_req *q = cc_lua_req_at(L);

    return push_text(L, q ? cc_req_path_raw(q->r) : (struct cc_text){ NULL, 0 });
}

static int l_query(lua_State *L)
{
    struct cc_lua_req *q = cc_lua_req_at(L);

    return push_text(L, q ? cc_req_query(q->r) : (struct cc_text){ NULL, 0 });
}

static int push_header(lua_State *L, struct cc_lua_req *q, int arg)
{
    char lower[64];
    size_t i, n;
    const char *name = luaL_checklstring(L, arg, &n);

    if (!q || n >= sizeof(lower))
        return push_text(L, (struct cc_text){ NULL, 0 });
    for (i = 0; i < n; i++)
        lower[i] = (char)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] + 32 : name[i]);
    lower[n] = 0;
    return push_text(L, cc_req_header(q->r, lower, n));
}

/* req:header(name, ...) -> the first value of each, or nil. One call for several: each call from Lua costs a trace. */
static int l_header(lua_State *L)
{
    struct cc_lua_req *q = cc_lua_req_at(L);
    int i, names = lua_gettop(L);

    luaL_argcheck(L, names >= 2 && names <= 9, 2, "one to eight names expected");
    for (i = 2; i <= names; i++)
        push_header(L, q, i);
    return names - 1;
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

static int l_secure(lua_State *L)
{
    struct cc_lua_req *q = cc_lua_req_at(L);

    lua_pushboolean(L, q && cc_req_secure(q->r));
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

int cc_lua_fail_body(lua_State *L, int code)
{
    switch (code) {
    case CC_E_LIMIT:
        return cc_lua_fail(L, code, "the body is too long");
    case CC_E_TIMEOUT:
        return cc_lua_fail(L, code, "the body came too slowly");
    case CC_E_INVALID:
        return cc_lua_fail(L, code, "the body is badly framed");
    default:
        return cc_lua_fail(L, code, "the client has gone");
    }
}

static void cancel_wait(void *op)
{
    struct cc_lua_req *q = op;

    q->waiter = NULL;
    if (q->r)
        cc_req_unwait(q->r);
}

static void cancel_body(void *op)
{
    struct cc_lua_req *q = op;

    q->waiter = NULL;
    if (q->r)
        cc_req_unwait_body(q->r);
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

    cc_task_wake(t, status ? cc_lua_fail_body(L, status) : push_text(L, cc_req_body_text(r)));
}

static int wait_for(lua_State *L, struct cc_lua_req *q, struct cc_task *t, cc_cancel_fn cancel)
{
    q->waiter = t;
    cc_task_park(t, cancel, q);
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
        return cc_lua_fail_body(L, CC_E_IO);
    t = need_free(L, q, "req:body");
    rc = cc_req_body(q->r, (size_t)max, on_body, q);
    if (rc == 0)
        return push_text(L, cc_req_body_text(q->r));
    return rc < 0 ? cc_lua_fail_body(L, rc) : wait_for(L, q, t, cancel_body);
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
    return luaL_error(L, rc == CC_E_LIMIT ? "the headers are too long" : "a header's name or value cannot be sent");
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
        if (q->pass) /* the machine's answer is not wanted */
            q->unpass(q);
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
    lua_Number length = luaL_optnumber(L, 4, -1);
    struct cc_hdr *h = header_room;
    unsigned n = reply_headers(L, 3, h, true);

    if (!q)
        return cc_lua_fail_body(L, CC_E_IO);
    if (cc_req_started(q->r))
        return luaL_error(L, "req:start: the reply has begun");
    luaL_argcheck(L, length <= 9e15, 4, "a number of bytes expected");
    if (q->pass && q->waiter)
        return luaL_error(L, "req:start: another task waits for this request");
    if (q->pass) /* the machine's answer is not wanted */
        q->unpass(q);
    rc = length < 0 ? cc_req_start(q->r, status, h, n) : cc_req_start_sized(q->r, status, h, n, (uint64_t)length);
    if (rc == CC_E_INVALID || rc == CC_E_LIMIT)
        return bad_headers(L, rc);
    if (rc < 0)
        return cc_lua_fail_body(L, rc);
    lua_pushboolean(L, 1);
    return 1;
}

static void on_room(void *arg, struct cc_req *r, int status)
{
    struct cc_task *t;
    lua_State *L = waiter_stack(arg, &t);

    (void)r;
    lua_pushboolean(L, 1);
    cc_task_wake(t, status ? cc_lua_fail_body(L, status) : 1);
}

static int l_write(lua_State *L)
{
    struct cc_lua_req *q = cc_lua_req_at(L);
    size_t len;
    const char *data = luaL_checklstring(L, 2, &len);
    struct cc_task *t;
    int rc;

    if (!q)
        return cc_lua_fail_body(L, CC_E_IO);
    t = need_free(L, q, "req:write");
    if (!cc_req_started(q->r))
        return luaL_error(L, "req:write: req:start comes first");
    rc = cc_req_write(q->r, data, len, on_room, q);
    if (rc == CC_E_INVALID)
        return luaL_error(L, "req:write: more than the length that req:start said");
    if (rc < 0)
        return cc_lua_fail_body(L, rc);
    if (rc == 1)
        return wait_for(L, q, t, cancel_wait);
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

static const luaL_Reg req_methods[] = { { "method", l_method },
                                        { "path", l_path },
                                        { "raw_path", l_raw_path },
                                        { "query", l_query },
                                        { "header", l_header },
                                        { "headers", l_headers },
                                        { "remote", l_remote },
                                        { "secure", l_secure },
                                        { "id", l_id },
                                        { "version", l_version },
                                        { "gone", l_gone },
                                        { "wants_upgrade", l_wants_upgrade },
                                        { "body", l_body },
                                        { "read", cc_lua_req_read },
                                        { "reply", l_reply },
                                        { "start", l_start },
                                        { "write", l_write },
                                        { "finish", l_finish },
                                        { "websocket", cc_lua_req_websocket },
                                        { NULL, NULL } };

void cc_lua_meta(lua_State *L, const char *name, const luaL_Reg *methods)
{
    luaL_newmetatable(L, name);
    lua_newtable(L);
    luaL_register(L, NULL, methods);
    lua_setfield(L, -2, "__index");
    lua_pushliteral(L, "locked");
    lua_setfield(L, -2, "__metatable");
}

void cc_lua_req_open(lua_State *L, const luaL_Reg *more)
{
    cc_lua_meta(L, REQ_META, req_methods);
    lua_getfield(L, -1, "__index");
    luaL_register(L, NULL, more);
    lua_pop(L, 1);
    reqs.meta = lua_topointer(L, -1);
    reqs.meta_ref = luaL_ref(L, LUA_REGISTRYINDEX);
}

void cc_lua_req_close(void)
{
    struct cc_lua_req *q;

    while ((q = reqs.spare)) {
        reqs.spare = q->next;
        free(q);
    }
}
