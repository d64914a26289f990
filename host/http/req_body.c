/* req_body.c - the body of a request, for the handler that asks for it; see req.h. */
#include "host/http/conn.h"
#include "host/sys/err.h"
#include "host/sys/mem.h"

#include <string.h>

/* ---------------------------------------------------------------- waiting */

void cc_req_done_waiting(struct cc_req *r, int status)
{
    cc_req_wait_fn fn = r->wait;
    void *arg = r->wait_arg;

    if (r->asking || !fn)
        return;
    r->wait = NULL;
    fn(arg, r, status);
}

void cc_req_done_body(struct cc_req *r, int status)
{
    cc_req_wait_fn fn = r->body_wait;
    void *arg = r->body_arg;

    if (r->asking || !fn)
        return;
    r->body_wait = NULL;
    fn(arg, r, status);
}

void cc_req_unwait(struct cc_req *r)
{
    r->wait = NULL;
    r->wait_gone = false;
}

void cc_req_unwait_body(struct cc_req *r) { r->body_wait = NULL; }

void cc_req_fail(struct cc_req *r, int status)
{
    r->failed = status;
    r->close = true;
    if (r->conn && r->conn->due_kind == DUE_BODY)
        cc_conn_wait(r->conn, DUE_NEVER);
    cc_req_done_body(r, status);
}

/* Who is told may end the request: of two who wait the second is not looked up behind the first. */
void cc_req_lost(struct cc_req *r)
{
    cc_req_wait_fn body_fn = r->body_wait, fn = r->wait;
    void *body_arg = r->body_arg, *arg = r->wait_arg;

    r->conn = NULL;
    if (!r->body.done && !r->failed)
        r->failed = CC_E_IO;
    if (r->asking)
        return;
    r->body_wait = r->wait = NULL;
    if (body_fn)
        body_fn(body_arg, r, CC_E_IO);
    if (fn)
        fn(arg, r, CC_E_IO);
}

/* ---------------------------------------------------------------- the body */

static bool body_exceeds(struct cc_req *r)
{
    if (r->body.got <= r->max)
        return false;
    r->failed = CC_E_LIMIT;
    return true;
}

static void collect(void *arg, const char *data, size_t n)
{
    struct cc_req *r = arg;

    if (r->failed || body_exceeds(r))
        return;
    if (r->cap - r->len < n) {
        size_t cap = r->cap ? r->cap * 2 : 4096;

        if (r->h.length > 0 && r->h.length <= 65536)
            cap = (size_t)r->h.length;
        while (cap < r->len + n)
            cap *= 2;
        r->data = cc_xrealloc(r->data, cap);
        r->cap = cap;
    }
    memcpy(r->data + r->len, data, n);
    r->len += n;
}

static void pass_on(void *arg, const char *data, size_t n)
{
    struct cc_req *r = arg;

    if (!r->failed && !body_exceeds(r))
        r->sink(r->body_arg, data, n);
}

static void say_continue(struct cc_req *r)
{
    static char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
    struct cc_conn *c = r->conn;
    uv_buf_t buf = uv_buf_init(text, sizeof(text) - 1);

    if (!r->h.expect || r->continued)
        return;
    r->continued = true;
    if (!cc_conn_waiting(c))
        cc_conn_send(c, &buf, 1); /* a failure will show in reading */
}

static int body_start(struct cc_req *r, size_t max, enum cc_body_mode mode, cc_req_wait_fn fn, void *arg)
{
    if (max == 0)
        max = r->server->o.limits.body_bytes;
    if (!r->failed && !r->conn)
        r->failed = CC_E_IO;
    if (!r->failed && r->h.length > 0 && (uint64_t)r->h.length > max)
        r->failed = CC_E_LIMIT;
    if (r->failed) {
        r->close = true;
        return r->failed;
    }
    r->max = max;
    r->mode = (uint8_t)mode;
    r->body_wait = fn;
    r->body_arg = arg;
    r->body.sink = mode == BODY_COLLECT ? collect : pass_on;
    r->body.arg = r;
    say_continue(r);
    cc_conn_wait_else(r->conn, DUE_BODY);
    r->asking = true;
    cc_conn_kick(r->conn);
    r->asking = false;
    if (!r->body.done && !r->failed && cc_req_gone(r)) {
        r->failed = CC_E_IO;
        r->close = true;
    }
    if (!r->body.done && !r->failed)
        return 1;
    r->body_wait = NULL;
    return r->failed;
}

int cc_req_body(struct cc_req *r, size_t max, cc_req_wait_fn fn, void *arg)
{
    if (r->body.done && !r->failed)
        return 0;
    return body_start(r, max, BODY_COLLECT, fn, arg);
}

struct cc_text cc_req_body_text(const struct cc_req *r) { return (struct cc_text){ r->data ? r->data : "", r->len }; }

int cc_req_body_to(struct cc_req *r, size_t max, cc_req_sink_fn sink, cc_req_wait_fn fn, void *arg)
{
    if (r->body.done)
        return 0;
    r->sink = sink;
    return body_start(r, max, BODY_STREAM, fn, arg);
}

void cc_req_body_pause(struct cc_req *r, bool stop)
{
    if (r->paused == stop || !r->conn)
        return;
    r->paused = stop;
    cc_conn_wait_else(r->conn, stop ? DUE_NEVER : DUE_BODY);
    cc_conn_kick(r->conn);
}
