/* bind_pass.c - module "http": a request passed on to a machine, and its answer passed back.
 *
 *   {status=, headers={{name, value}, ...}, length= | nil} | nil, err
 *       = req:forward{unix= | host=, port=, tunnel=, secret=, path=, authority=, headers=, id=, who=, body_max=, timeout=,
 *                     idle=, head=}
 *       [yields]   the request goes to the machine, with its body, and the head of what is answered comes here. On failure, and
 *       also instead of what follows, the request wants its reply
 *   true | nil, err = req:give(status, headers)   [yields]   sends this head and the machine's body. The request has ended
 *
 * headers of req:give is a list as above, so that names may come twice; what concerns the connection is left out.
 */
#include <stdlib.h>
#include <string.h>

#include "host/http/pass.h"
#include "host/http/text.h"
#include "host/script/http.h"
#include "host/script/vm.h"

static void unpass(struct cc_lua_req *q)
{
    cc_pass_cancel(q->pass);
    q->pass = NULL;
}

static void cancel_pass(void *op)
{
    struct cc_lua_req *q = op;

    q->waiter = NULL;
    unpass(q);
}

static struct cc_task *woken(struct cc_lua_req *q)
{
    struct cc_task *t = q->waiter;

    q->waiter = NULL;
    return t;
}

static bool of_the_connection(const char *p, size_t n)
{
    static const char *const names[] = {
        "connection", "keep-alive", "proxy-connection",   "transfer-encoding", "upgrade", "content-length", "te",
        "trailer",    "date",       "proxy-authenticate", "http2-settings"
    };
    size_t i;

    for (i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (cc_word_is(p, n, names[i]))
            return true;
    return false;
}

static void push_headers(lua_State *L, const struct cc_head *h, const char *p)
{
    const struct cc_field *named = cc_head_find(h, p, "connection", 10);
    unsigned i, k = 0;

    lua_createtable(L, h->count, 0);
    for (i = 0; i < h->count; i++) {
        const struct cc_field *f = &h->fields[i];
        char lower[64];
        size_t j;

        if (f->name_len >= sizeof(lower) || of_the_connection(p + f->name, f->name_len))
            continue;
        for (j = 0; j < f->name_len; j++)
            lower[j] = (char)(p[f->name + j] >= 'A' && p[f->name + j] <= 'Z' ? p[f->name + j] + 32 : p[f->name + j]);
        lower[j] = 0;
        if (named && cc_list_has(p + named->value, named->value_len, lower))
            continue;
        lua_createtable(L, 2, 0);
        lua_pushlstring(L, p + f->name, f->name_len);
        lua_rawseti(L, -2, 1);
        lua_pushlstring(L, p + f->value, f->value_len);
        lua_rawseti(L, -2, 2);
        lua_rawseti(L, -2, (int)++k);
    }
}

static void on_head(void *arg, const struct cc_head *h, const char *p, const struct cc_err *err)
{
    struct cc_lua_req *q = arg;
    struct cc_task *t = woken(q);
    lua_State *L = cc_task_stack(t);

    if (err) {
        q->pass = NULL;
        cc_task_wake(t, cc_push_err(L, err));
        return;
    }
    lua_createtable(L, 0, 3);
    lua_pushinteger(L, h->status);
    lua_setfield(L, -2, "status");
    push_headers(L, h, p);
    lua_setfield(L, -2, "headers");
    if (h->length >= 0) {
        lua_pushnumber(L, (lua_Number)h->length);
        lua_setfield(L, -2, "length");
    }
    cc_task_wake(t, 1);
}

static void on_done(void *arg, const struct cc_err *err)
{
    struct cc_lua_req *q = arg;
    struct cc_task *t = woken(q);
    lua_State *L = cc_task_stack(t);

    q->pass = NULL;
    q->r = NULL;
    if (err) {
        cc_task_wake(t, cc_push_err(L, err));
        return;
    }
    lua_pushboolean(L, 1);
    cc_task_wake(t, 1);
}

int cc_lua_req_forward(lua_State *L)
{
    struct cc_lua_req *q = cc_lua_req_at(L);
    struct cc_hdr headers[CC_LUA_HEADERS];
    struct cc_pass_opts o = { .headers = headers, .on_head = on_head, .on_done = on_done, .arg = q };
    struct cc_task *t = cc_task_need(L, "req:forward");
    struct cc_err err;

    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    cc_lua_backend_at(L, &o.at);
    o.path = cc_lua_opt_string(L, "path");
    o.host = cc_lua_opt_string(L, "authority");
    o.id = cc_lua_opt_string(L, "id");
    o.who = cc_lua_opt_string(L, "who");
    o.dial_ms = cc_lua_opt_ms(L, "timeout");
    o.idle_ms = cc_lua_opt_ms(L, "idle");
    o.head_ms = cc_lua_opt_ms(L, "head");
    lua_getfield(L, 2, "body_max");
    o.body_max = (uint64_t)luaL_optnumber(L, -1, 0);
    lua_getfield(L, 2, "headers");
    o.n_headers = cc_lua_headers(L, lua_gettop(L), headers);
    if (!q)
        return cc_lua_fail(L, CC_E_IO, "the request has ended");
    if (q->waiter || q->pass)
        return luaL_error(L, "req:forward: something else is under way for this request");
    q->pass = cc_pass_start(q->r, &o, &err);
    if (!q->pass)
        return cc_push_err(L, &err);
    q->unpass = unpass;
    q->waiter = t;
    cc_task_park(t, cancel_pass, q);
    return lua_yield(L, 0);
}

/* As many as a machine may say, and what is added to them. */
enum { GIVEN_MAX = CC_HEAD_FIELDS + 8 };

/* A list of pairs; the strings stay anchored in it. */
static unsigned read_pairs(lua_State *L, int idx, struct cc_hdr *h)
{
    unsigned n = (unsigned)lua_objlen(L, idx), i;

    luaL_argcheck(L, n <= GIVEN_MAX, idx, "too many headers");
    for (i = 0; i < n; i++) {
        lua_rawgeti(L, idx, (int)i + 1);
        luaL_argcheck(L, lua_istable(L, -1), idx, "a list of pairs expected");
        lua_rawgeti(L, -1, 1);
        lua_rawgeti(L, -2, 2);
        luaL_argcheck(L, lua_type(L, -2) == LUA_TSTRING && lua_type(L, -1) == LUA_TSTRING, idx,
                      "a list of pairs expected");
        h[i].name.p = lua_tolstring(L, -2, &h[i].name.n);
        h[i].value.p = lua_tolstring(L, -1, &h[i].value.n);
        lua_pop(L, 3);
    }
    return n;
}

int cc_lua_req_give(lua_State *L)
{
    struct cc_lua_req *q = cc_lua_req_at(L);
    struct cc_hdr headers[GIVEN_MAX];
    struct cc_task *t = cc_task_need(L, "req:give");
    lua_Integer status = luaL_checkinteger(L, 2);
    unsigned n;
    int rc;

    luaL_argcheck(L, status >= 200 && status <= 599, 2, "200..599 expected");
    luaL_checktype(L, 3, LUA_TTABLE);
    n = read_pairs(L, 3, headers);
    if (!q)
        return cc_lua_fail(L, CC_E_IO, "the request has ended");
    if (!q->pass || q->waiter)
        return luaL_error(L, "req:give: req:forward comes first");
    rc = cc_pass_answer(q->pass, (int)status, headers, n);
    if (rc < 0) {
        q->pass = NULL;
        return cc_lua_fail(L, rc, "the machine's answer cannot be passed on");
    }
    q->waiter = t;
    cc_task_park(t, cancel_pass, q);
    return lua_yield(L, 0);
}
