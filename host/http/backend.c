/* backend.c - see backend.h. */
#include "host/http/backend.h"

#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "host/http/head.h"
#include "host/http/text.h"
#include "host/sys/clock.h"
#include "host/sys/mem.h"
#include "host/sys/unix_at.h"

struct cc_backend {
    uv_loop_t *loop;
    struct cc_sock *sock;
    struct cc_timer *timer;
    uv_connect_t connect;
    cc_backend_fn done;
    void *arg;
    char *ask; /* the tunnel's request, or NULL */
    size_t ask_len;
    char *in;
    size_t in_len;
    struct cc_head_scan scan;
    bool connecting, over;
};

static void backend_free(struct cc_backend *b)
{
    free(b->ask);
    free(b->in);
    free(b);
}

/* uv keeps the connect request until its callback: then the struct may go. */
static void end(struct cc_backend *b)
{
    cc_timer_stop(b->timer);
    b->timer = NULL;
    b->over = true;
    cc_sock_close(b->sock);
    b->sock = NULL;
    if (!b->connecting)
        backend_free(b);
}

void cc_backend_cancel(struct cc_backend *b)
{
    if (b)
        end(b);
}

static void fail(struct cc_backend *b, int code, const char *what, int sys)
{
    cc_backend_fn done = b->done;
    void *arg = b->arg;
    struct cc_err err;

    if (sys)
        cc_err_set(&err, code, "%s: %s", what, uv_strerror(sys));
    else
        cc_err_set(&err, code, "%s", what);
    end(b);
    done(arg, NULL, NULL, 0, &err);
}

static void succeed(struct cc_backend *b, size_t used)
{
    struct cc_sock *s = b->sock;
    size_t n = b->in_len - used;
    char *early = NULL;

    if (n) {
        early = cc_xmalloc(n);
        memcpy(early, b->in + used, n);
    }
    cc_sock_read_stop(s);
    s->handle.data = NULL;
    b->sock = NULL;
    {
        cc_backend_fn done = b->done;
        void *arg = b->arg;

        end(b);
        done(arg, s, early, n, NULL);
    }
}

static void on_time(void *arg)
{
    struct cc_backend *b = arg;

    b->timer = NULL;
    fail(b, CC_E_TIMEOUT, "the machine did not answer in time", 0);
}

/* ---------------------------------------------------------------- the tunnel */

static void answered(struct cc_backend *b, size_t n)
{
    struct cc_head h = { 0 };
    const struct cc_field *f;

    if (cc_head_parse_response(&h, b->in, n) != 0) {
        fail(b, CC_E_UNAVAILABLE, "the machine's answer is malformed", 0);
        return;
    }
    f = cc_head_find(&h, b->in, "upgrade", 7);
    if (h.status == 101 && f && cc_list_has(b->in + f->value, f->value_len, "tcp"))
        succeed(b, n);
    else if (h.status == 502)
        fail(b, CC_E_NOT_FOUND, "nothing answers at this port of the machine", 0);
    else
        fail(b, CC_E_UNAVAILABLE, "the machine's agent refused the way to the port", 0);
}

static void on_answer(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct cc_backend *b = stream->data;
    int len;

    if (n < 0) {
        fail(b, CC_E_UNAVAILABLE, "the machine closed the connection", 0);
        return;
    }
    if (n == 0)
        return;
    b->in = cc_xrealloc(b->in, b->in_len + (size_t)n); /* one read at most beyond a head's bound */
    memcpy(b->in + b->in_len, buf->base, (size_t)n);
    b->in_len += (size_t)n;
    len = cc_head_scan(&b->scan, b->in, b->in_len, CC_HEAD_BYTES);
    if (len < 0)
        fail(b, CC_E_UNAVAILABLE, "the machine's answer is malformed", 0);
    else if (len > 0)
        answered(b, (size_t)len);
}

static void on_ask_sent(void *owner, int status)
{
    if (owner && status < 0)
        fail(owner, CC_E_UNAVAILABLE, "the machine closed the connection", 0);
}

static void ask(struct cc_backend *b)
{
    uv_buf_t buf = uv_buf_init(b->ask, (unsigned)b->ask_len);
    int rc = cc_sock_send(b->sock, &buf, 1, on_ask_sent);

    if (rc < 0)
        fail(b, CC_E_UNAVAILABLE, "cannot reach the machine", rc);
    else
        cc_sock_read_start(b->sock, cc_sock_alloc, on_answer);
}

static int build_ask(struct cc_backend *b, const struct cc_backend_at *at)
{
    size_t room = strlen(at->tunnel) + at->secret.n + 160;
    const char *p;

    for (p = at->tunnel; *p; p++)
        if ((unsigned char)*p <= ' ' || (unsigned char)*p >= 0x7f)
            return CC_E_INVALID;
    if (at->secret.p && !cc_is_field_value(at->secret.p, at->secret.n))
        return CC_E_INVALID;
    b->ask = cc_xmalloc(room);
    b->ask_len = (size_t)snprintf(
        b->ask, room, "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n%s%.*s%s\r\n",
        at->tunnel, at->secret.p ? "Authorization: " : "", (int)at->secret.n, at->secret.p ? at->secret.p : "",
        at->secret.p ? "\r\n" : "");
    return 0;
}

/* ---------------------------------------------------------------- connecting */

static void on_connect(uv_connect_t *req, int status)
{
    struct cc_backend *b = req->data;

    b->connecting = false;
    if (b->over)
        backend_free(b);
    else if (status < 0)
        fail(b, CC_E_UNAVAILABLE, "cannot reach the machine", status);
    else if (b->ask)
        ask(b);
    else
        succeed(b, 0);
}

static int connect_to(struct cc_backend *b, const struct cc_backend_at *at)
{
    struct sockaddr_storage ss;
    struct sockaddr_un un;

    b->connect.data = b;
    b->connecting = true;
    if (at->unix_path) {
        int dir = cc_unix_at(at->unix_path, &un);

        if (dir < 0)
            return dir;
        uv_pipe_connect(&b->connect, &b->sock->pipe, un.sun_path, on_connect);
        close(dir);
        return 0;
    }
    if (uv_ip4_addr(at->host, at->port, (struct sockaddr_in *)&ss) != 0 &&
        uv_ip6_addr(at->host, at->port, (struct sockaddr_in6 *)&ss) != 0)
        return UV_EINVAL;
    uv_tcp_nodelay(&b->sock->tcp, 1);
    return uv_tcp_connect(&b->connect, &b->sock->tcp, (struct sockaddr *)&ss, on_connect);
}

struct cc_backend *cc_backend_dial(uv_loop_t *loop, const struct cc_backend_at *at, uint32_t ms, cc_backend_fn done,
                                   void *arg, struct cc_err *err)
{
    struct cc_backend *b = cc_xcalloc(1, sizeof(*b));
    int rc = at->tunnel ? build_ask(b, at) : 0;

    if (rc < 0) {
        cc_err_set(err, rc, "the request for the machine cannot be built");
        backend_free(b);
        return NULL;
    }
    b->loop = loop;
    b->done = done;
    b->arg = arg;
    b->scan.kind = CC_HEAD_RESPONSE;
    b->sock = cc_sock_new(loop, at->unix_path != NULL, b);
    rc = connect_to(b, at);
    if (rc < 0) {
        b->connecting = false;
        cc_err_set(err, CC_E_UNAVAILABLE, "cannot reach the machine: %s", uv_strerror(rc));
        end(b);
        return NULL;
    }
    b->timer = cc_timer_start(loop, ms ? ms : 5000, on_time, b);
    return b;
}
