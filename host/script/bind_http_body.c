/* bind_http_body.c - module "http": a request's body as it comes.
 *
 *   chunk | nil [, err] = req:read([max_bytes])   [yields] the next bytes; nil alone at the end; err as of req:body.
 *       max_bytes is of the whole body, as the first call says. Not together with req:body
 *
 * HIGH bytes wait here at most, then nothing more is read from the socket.
 */
#include "host/script/http.h"

#include <stdlib.h>
#include <string.h>

#include "host/sys/mem.h"

enum { HIGH = 262144 };

struct cc_lua_body {
    char *data;
    size_t len, cap;
    bool waits; /* q->waiter is in req:read */
    bool ended;
    int status;
};

void cc_lua_body_free(struct cc_lua_req *q)
{
    if (q->body)
        free(q->body->data);
    free(q->body);
    q->body = NULL;
}

/* What req:read answers now; 0: nothing yet. The bytes are Lua's before more of them come. */
static int push_next(lua_State *L, struct cc_lua_req *q)
{
    struct cc_lua_body *b = q->body;

    if (b->len > 0) {
        lua_pushlstring(L, b->data, b->len);
        b->len = 0;
        if (q->r && !b->ended)
            cc_req_body_pause(q->r, false);
        return 1;
    }
    if (!b->ended)
        return 0;
    if (b->status)
        return cc_lua_fail_body(L, b->status);
    lua_pushnil(L);
    return 1;
}

static void tell(struct cc_lua_req *q)
{
    struct cc_task *t = q->waiter;

    if (!q->body->waits)
        return;
    q->body->waits = false;
    q->waiter = NULL;
    cc_task_wake(t, push_next(cc_task_stack(t), q));
}

static void on_bytes(void *arg, const char *data, size_t n)
{
    struct cc_lua_req *q = arg;
    struct cc_lua_body *b = q->body;

    if (b->len + n > b->cap) {
        b->cap = b->len + n > 2 * b->cap ? b->len + n : 2 * b->cap;
        b->data = cc_xrealloc(b->data, b->cap);
    }
    memcpy(b->data + b->len, data, n);
    b->len += n;
    if (b->waits)
        tell(q);
    else if (b->len >= HIGH)
        cc_req_body_pause(q->r, true);
}

static void on_end(void *arg, struct cc_req *r, int status)
{
    struct cc_lua_req *q = arg;

    (void)r;
    q->body->ended = true;
    q->body->status = status;
    tell(q);
}

static void cancel_read(void *op)
{
    struct cc_lua_req *q = op;

    q->waiter = NULL;
    q->body->waits = false;
}

int cc_lua_req_read(lua_State *L)
{
    struct cc_lua_req *q = cc_lua_req_at(L);
    lua_Number max = luaL_optnumber(L, 2, 0);
    struct cc_task *t = cc_task_need(L, "req:read");
    int rc, n;

    luaL_argcheck(L, max >= 0 && max <= 1e15, 2, "a number of bytes expected");
    if (!q)
        return cc_lua_fail_body(L, CC_E_IO);
    if (q->waiter)
        return luaL_error(L, "req:read: another task waits for this request");
    if (!q->body) {
        q->body = cc_xcalloc(1, sizeof(*q->body));
        rc = cc_req_body_to(q->r, (size_t)max, on_bytes, on_end, q);
        q->body->ended = rc <= 0;
        q->body->status = rc < 0 ? rc : 0;
    }
    if ((n = push_next(L, q)))
        return n;
    q->body->waits = true;
    q->waiter = t;
    cc_task_park(t, cancel_read, q);
    return lua_yield(L, 0);
}
