/* sock.c - see sock.h. */
#include "host/http/sock.h"

#include <assert.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "host/sys/mem.h"

struct rest {
    uv_write_t write;
    cc_sent_fn sent;
    char data[];
};

static char buffer[CC_SOCK_BUFFER];

char *cc_sock_buffer(void) { return buffer; }

void cc_sock_alloc(uv_handle_t *h, size_t hint, uv_buf_t *buf)
{
    (void)h, (void)hint;
    *buf = uv_buf_init(buffer, sizeof(buffer));
}

struct cc_sock *cc_sock_new(uv_loop_t *loop, bool is_unix, void *owner)
{
    struct cc_sock *s = cc_xmalloc(sizeof(*s));

    if (is_unix) {
        uv_pipe_init(loop, &s->pipe, 0);
    } else {
        uv_tcp_init(loop, &s->tcp);
        s->layer = NULL;
    }
    s->handle.data = owner;
    return s;
}

static void on_closed(uv_handle_t *h) { free(h); }

static void end_layer(struct cc_sock *s, bool reset)
{
    struct cc_layer *l = cc_sock_layer(s);

    if (!l)
        return;
    l->ops->close(s, reset);
    s->layer = NULL;
}

void cc_sock_close(struct cc_sock *s)
{
    if (!s)
        return;
    end_layer(s, false);
    s->handle.data = NULL;
    uv_close(&s->handle, on_closed);
}

void cc_sock_reset(struct cc_sock *s)
{
    end_layer(s, true);
    s->handle.data = NULL;
    if (s->handle.type != UV_TCP || uv_tcp_close_reset(&s->tcp, on_closed) != 0)
        uv_close(&s->handle, on_closed);
}

struct later {
    uv_idle_t idle; /* never started: its close is the event */
    void (*fn)(void *arg);
    void *arg;
};

static void on_later(uv_handle_t *h)
{
    struct later *l = (struct later *)h;

    l->fn(l->arg);
    free(l);
}

void cc_sock_later(uv_loop_t *loop, void (*fn)(void *arg), void *arg)
{
    struct later *l = cc_xmalloc(sizeof(*l));

    l->fn = fn;
    l->arg = arg;
    uv_idle_init(loop, &l->idle);
    uv_close((uv_handle_t *)&l->idle, on_later);
}

static void on_shutdown(uv_shutdown_t *req, int status)
{
    (void)status;
    free(req);
}

void cc_sock_shutdown_under(struct cc_sock *s)
{
    uv_shutdown_t *req = cc_xmalloc(sizeof(*req));

    if (uv_shutdown(req, &s->stream, on_shutdown) != 0)
        free(req);
}

void cc_sock_shutdown(struct cc_sock *s)
{
    struct cc_layer *l = cc_sock_layer(s);

    if (l)
        l->ops->shutdown(s);
    else
        cc_sock_shutdown_under(s);
}

static void on_written(uv_write_t *write, int status)
{
    struct rest *rest = (struct rest *)write;
    void *owner = write->handle->data;
    cc_sent_fn sent = rest->sent;

    free(rest);
    if (owner)
        sent(owner, status);
}

static int queue_rest(struct cc_sock *s, const uv_buf_t *bufs, unsigned n, size_t gone, size_t total, cc_sent_fn sent)
{
    struct rest *rest = cc_xmalloc(sizeof(*rest) + total - gone);
    size_t at = 0;
    uv_buf_t buf;
    unsigned i;
    int rc;

    for (i = 0; i < n; i++) {
        size_t skip = gone < bufs[i].len ? gone : bufs[i].len;

        memcpy(rest->data + at, bufs[i].base + skip, bufs[i].len - skip);
        at += bufs[i].len - skip;
        gone -= skip;
    }
    rest->sent = sent;
    buf = uv_buf_init(rest->data, (unsigned)at);
    rc = uv_write(&rest->write, &s->stream, &buf, 1, on_written);
    if (rc < 0)
        free(rest);
    return rc < 0 ? rc : 1;
}

int cc_sock_send(struct cc_sock *s, const uv_buf_t *bufs, unsigned n, cc_sent_fn sent)
{
    struct cc_layer *l = cc_sock_layer(s);
    size_t total = 0;
    unsigned i;
    int rc;

    assert(n <= 8);
    if (l)
        return l->ops->send(s, bufs, n, sent);
    for (i = 0; i < n; i++)
        total += bufs[i].len;
    rc = uv_try_write(&s->stream, bufs, n);
    if (rc == UV_EAGAIN)
        rc = 0;
    if (rc < 0 || (size_t)rc == total)
        return rc < 0 ? rc : 0;
    return queue_rest(s, bufs, n, (size_t)rc, total, sent);
}

size_t cc_sock_untaken(const struct cc_sock *s)
{
    uv_os_fd_t fd;
    int held = 0;

    if (uv_fileno(&s->handle, &fd) != 0 || ioctl(fd, SIOCOUTQ, &held) != 0)
        held = 0;
    return cc_sock_queued(s) + (size_t)held;
}
