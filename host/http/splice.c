/* splice.c - see splice.h.
 *
 * Two structs for two lives: cc_dial while the client's request still is
 * HTTP's, `splice` afterwards.  A splice ends in drop(); before that it may be
 * leaving: no more is read from the backend, the client has our last words,
 * and a timer bounds how long it may take to go.
 */
#include "host/http/splice.h"

#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "host/http/dial.h"
#include "host/http/handshake.h"
#include "host/http/ws_frame.h"
#include "host/sys/clock.h"
#include "host/sys/mem.h"
#include "host/sys/unix_at.h"

#define LEAVE_MS 3000
#define STALL_MS 60000 /* a machine that takes no byte for so long is stuck */

struct splice {
    struct cc_upgrade up; /* first: stop() casts */
    struct cc_link all;
    struct cc_sock *client, *backend;
    struct cc_timer *timer; /* while one side has ended, or the backend takes nothing */
    uv_loop_t *loop;
    struct cc_ws_follow in, out; /* from the client, to the client */
    bool client_ended, leaving;
    struct cc_splice_stats stats;
    char who[CC_SPLICE_WHO];
};

struct cc_dial {
    struct cc_req *r;
    struct cc_sock *sock;
    struct cc_timer *timer;
    uv_loop_t *loop;
    void (*on_open)(void *arg, int status, const struct cc_err *err);
    void *arg;
    char id[CC_SPLICE_ID], who[CC_SPLICE_WHO];
    bool screen;
    char *request;
    size_t request_len;
    char key[24];
    uv_connect_t connect;
    struct cc_head_scan scan;
    char *in;
    size_t in_len;
    bool connecting, over;
};

static struct cc_link all = { &all, &all };
static void (*input_fn)(void *arg, const char *id, uint64_t bytes);
static void *input_arg;

void cc_splice_on_input(void (*fn)(void *arg, const char *id, uint64_t bytes), void *arg)
{
    input_fn = fn;
    input_arg = arg;
}

/* ---------------------------------------------------------------- moving bytes */

static void drop(struct splice *s)
{
    cc_timer_stop(s->timer);
    cc_sock_close(s->client);
    cc_sock_close(s->backend);
    cc_link_out(&s->all);
    cc_upgrade_end(&s->up);
    free(s);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);

static void on_leave_time(void *arg)
{
    struct splice *s = arg;

    s->timer = NULL;
    drop(s);
}

static void on_last_sent(void *owner, int status)
{
    if (status < 0)
        drop(owner);
}

/* The backend is done with; the client is told, if there is a gap between frames to tell it in,
 * and gets a moment to answer. */
static void leave(struct splice *s, int code, const char *reason)
{
    uint8_t frame[14 + 125];
    size_t head, len;
    uv_buf_t buf;

    if (s->leaving)
        return;
    s->leaving = true;
    cc_sock_close(s->backend);
    s->backend = NULL;
    if (cc_ws_follow_between(&s->out) && !s->out.closed) {
        len = cc_ws_close_put(frame + 2, code, reason, strlen(reason));
        head = cc_ws_head_put(frame, CC_WS_CLOSE, true, len, NULL);
        buf = uv_buf_init((char *)frame, (unsigned)(head + len));
        cc_sock_send(s->client, &buf, 1, on_last_sent); /* a failure shows in reading */
    }
    cc_sock_shutdown(s->client);
    cc_sock_read_start(s->client, cc_sock_alloc, on_read);
    cc_timer_stop(s->timer);
    s->timer = cc_timer_start(s->loop, LEAVE_MS, on_leave_time, s);
}

static void on_client_sent(void *owner, int status)
{
    struct splice *s = owner;

    if (status < 0)
        drop(s);
    else if (!s->leaving && cc_sock_queued(s->client) == 0)
        cc_sock_read_start(s->backend, cc_sock_alloc, on_read);
}

static void on_stall_time(void *arg)
{
    struct splice *s = arg;

    s->timer = NULL;
    leave(s, 1011, "the machine takes no input");
}

static void on_backend_sent(void *owner, int status)
{
    struct splice *s = owner;

    if (status < 0) {
        leave(s, 1011, "the machine went away");
        return;
    }
    if (s->client_ended || cc_sock_queued(s->backend) > 0)
        return;
    cc_timer_stop(s->timer);
    s->timer = NULL;
    cc_sock_read_start(s->client, cc_sock_alloc, on_read);
}

static void note_input(struct splice *s, uint64_t typed)
{
    if (!typed)
        return;
    s->stats.typed += typed;
    s->stats.typed_ms = cc_wall_ms();
    if (input_fn)
        input_fn(input_arg, s->stats.id, typed);
}

static void from_client(struct splice *s, char *p, size_t n)
{
    uv_buf_t buf = uv_buf_init(p, (unsigned)n);
    int rc;

    s->stats.from_client += n;
    note_input(s, cc_ws_follow_feed(&s->in, p, n));
    rc = cc_sock_send(s->backend, &buf, 1, on_backend_sent);
    if (rc < 0) {
        leave(s, 1011, "the machine went away");
    } else if (rc == 1) { /* not reading, we would not learn that the client has gone */
        cc_sock_read_stop(s->client);
        cc_timer_stop(s->timer);
        s->timer = cc_timer_start(s->loop, STALL_MS, on_stall_time, s);
    }
}

/* False when the splice is no more. */
static bool from_backend(struct splice *s, char *p, size_t n)
{
    uv_buf_t buf = uv_buf_init(p, (unsigned)n);
    int rc;

    s->stats.from_backend += n;
    cc_ws_follow_feed(&s->out, p, n);
    rc = cc_sock_send(s->client, &buf, 1, on_client_sent);
    if (rc == 1)
        cc_sock_read_stop(s->backend);
    if (rc < 0)
        drop(s);
    return rc >= 0;
}

/* The client half-closed, or closed (which looks the same): the backend hears of it and has a
 * moment to finish what it has to say. */
static void on_client_end(struct splice *s, bool clean)
{
    if (!clean || s->leaving || s->client_ended) {
        drop(s);
        return;
    }
    s->client_ended = true;
    cc_sock_read_stop(s->client);
    cc_sock_shutdown(s->backend);
    s->timer = cc_timer_start(s->loop, LEAVE_MS, on_leave_time, s);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct splice *s = stream->data;
    bool client = stream == &s->client->stream;

    if (n < 0 && client)
        on_client_end(s, n == UV_EOF);
    else if (n < 0)
        leave(s, 1011, "the machine went away");
    else if (n > 0 && client && !s->leaving)
        from_client(s, buf->base, (size_t)n);
    else if (n > 0 && !client)
        from_backend(s, buf->base, (size_t)n);
}

static void stop(struct cc_upgrade *up, bool now)
{
    if (now)
        drop((struct splice *)up);
    else
        leave((struct splice *)up, 1001, "the server is going away");
}

static unsigned close_those(bool (*is)(const struct splice *s, const char *what), const char *what, int code,
                            const char *reason)
{
    struct cc_link *at = all.next, *next;
    unsigned n = 0;

    for (; at != &all; at = next) {
        struct splice *s = (struct splice *)((char *)at - offsetof(struct splice, all));

        next = at->next;
        if (s->leaving || !is(s, what))
            continue;
        n++;
        leave(s, code, reason);
    }
    return n;
}

static bool is_of_id(const struct splice *s, const char *id) { return strcmp(s->stats.id, id) == 0; }
static bool is_of_who(const struct splice *s, const char *prefix)
{
    return strncmp(s->who, prefix, strlen(prefix)) == 0;
}

unsigned cc_splice_close_id(const char *id, int code, const char *reason)
{
    return close_those(is_of_id, id, code, reason);
}

unsigned cc_splice_close_who(const char *prefix, int code, const char *reason)
{
    return close_those(is_of_who, prefix, code, reason);
}

unsigned cc_splice_list(struct cc_splice_stats *out, unsigned max)
{
    struct cc_link *at;
    unsigned n = 0;

    for (at = all.next; at != &all; at = at->next, n++)
        if (n < max)
            out[n] = ((struct splice *)((char *)at - offsetof(struct splice, all)))->stats;
    return n;
}

/* ---------------------------------------------------------------- dialling */

static void dial_free(struct cc_dial *d)
{
    cc_timer_stop(d->timer);
    free(d->request);
    free(d->in);
    free(d);
}

/* uv keeps the connect request until its callback: then the struct may go. */
static void dial_end(struct cc_dial *d)
{
    cc_timer_stop(d->timer);
    d->timer = NULL;
    if (d->r)
        cc_req_unwait(d->r);
    d->r = NULL;
    d->over = true;
    cc_sock_close(d->sock);
    d->sock = NULL;
    if (!d->connecting)
        dial_free(d);
}

void cc_splice_cancel(struct cc_dial *d) { dial_end(d); }

static void dial_fail(struct cc_dial *d, int code, const char *what, int sys)
{
    void (*fn)(void *, int, const struct cc_err *) = d->on_open;
    void *arg = d->arg;
    struct cc_err err;

    if (sys)
        cc_err_set(&err, code, "%s: %s", what, uv_strerror(sys));
    else
        cc_err_set(&err, code, "%s", what);
    dial_end(d);
    fn(arg, code, &err);
}

static void on_dial_time(void *arg)
{
    struct cc_dial *d = arg;

    d->timer = NULL;
    dial_fail(d, CC_E_TIMEOUT, "the machine did not answer in time", 0);
}

static void on_client_lost(void *arg, struct cc_req *r, int status)
{
    (void)r, (void)status;
    dial_fail(arg, CC_E_IO, "the client has gone", 0);
}

static struct splice *splice_new(struct cc_dial *d)
{
    struct splice *s = cc_xcalloc(1, sizeof(*s));

    s->loop = d->loop;
    s->up.stop = stop;
    s->backend = d->sock;
    s->backend->handle.data = s;
    cc_sock_read_stop(s->backend); /* uv would keep the old callback */
    memcpy(s->stats.id, d->id, sizeof(d->id));
    memcpy(s->who, d->who, sizeof(d->who));
    s->in.screen = d->screen;
    s->stats.opened_ms = cc_wall_ms();
    cc_link_in(&all, &s->all);
    d->sock = NULL;
    return s;
}

/* Passes the 101 on, then what either side has said already. */
static void join(struct cc_dial *d, const char *head, size_t head_len, size_t used)
{
    void (*fn)(void *, int, const struct cc_err *) = d->on_open;
    void *arg = d->arg;
    struct splice *s = splice_new(d);
    size_t rest_len, early = d->in_len - used;
    char *rest, *in = d->in;
    uv_buf_t buf = uv_buf_init((char *)head, (unsigned)head_len);

    s->client = cc_req_take(d->r, &s->up, &rest, &rest_len);
    s->client->handle.data = s;
    if (s->client->handle.type == UV_TCP)
        uv_tcp_keepalive(&s->client->tcp, 1, 60);     /* no deadline ends an idle terminal: this finds dead ones */
    cc_sock_send(s->client, &buf, 1, on_client_sent); /* a failure shows in reading */
    cc_sock_read_start(s->client, cc_sock_alloc, on_read);
    cc_sock_read_start(s->backend, cc_sock_alloc, on_read);
    d->r = NULL;
    d->in = NULL;
    dial_end(d);
    if ((!early || from_backend(s, in + used, early)) && rest_len)
        from_client(s, rest, rest_len);
    fn(arg, 0, NULL);
    free(in);
    free(rest);
}

static void answered(struct cc_dial *d, size_t n)
{
    char accept[29];
    struct cc_hdr h[3] = { { { "Upgrade", 7 }, { "websocket", 9 } },
                           { { "Sec-WebSocket-Accept", 20 }, { accept, 28 } } };
    struct cc_text protocol;
    const char *head;
    char what[80];
    int status, rc;

    if (!cc_dial_answer(d->in, n, d->key, sizeof(d->key), &protocol, &status)) {
        snprintf(what, sizeof(what), "the machine refused the connection (status %d)", status);
        dial_fail(d, CC_E_UNAVAILABLE, what, 0);
        return;
    }
    cc_ws_accept(d->key, sizeof(d->key), accept);
    if (protocol.p)
        h[2] = (struct cc_hdr){ { "Sec-WebSocket-Protocol", 22 }, protocol };
    rc = cc_reply_head(d->r, 101, h, protocol.p ? 3 : 2, FRAMING_NONE, 0, &head);
    if (rc < 0)
        dial_fail(d, CC_E_INTERNAL, "the answer cannot be passed on", 0);
    else
        join(d, head, (size_t)rc, n);
}

static void on_answer(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct cc_dial *d = stream->data;
    int len;

    if (n < 0) {
        dial_fail(d, CC_E_UNAVAILABLE, "the machine closed the connection", 0);
        return;
    }
    if (n == 0)
        return;
    d->in = cc_xrealloc(d->in, d->in_len + (size_t)n);
    memcpy(d->in + d->in_len, buf->base, (size_t)n);
    d->in_len += (size_t)n;
    len = cc_head_scan(&d->scan, d->in, d->in_len, CC_HEAD_BYTES);
    if (len < 0)
        dial_fail(d, CC_E_UNAVAILABLE, "the machine's answer is malformed", 0);
    else if (len > 0)
        answered(d, (size_t)len);
}

static void on_request_sent(void *owner, int status)
{
    if (status < 0)
        dial_fail(owner, CC_E_UNAVAILABLE, "the machine closed the connection", 0);
}

static void on_connect(uv_connect_t *req, int status)
{
    struct cc_dial *d = req->data;
    uv_buf_t buf = uv_buf_init(d->request, (unsigned)d->request_len);

    d->connecting = false;
    if (d->over) {
        dial_free(d);
        return;
    }
    if (status == 0)
        status = cc_sock_send(d->sock, &buf, 1, on_request_sent);
    if (status < 0) {
        dial_fail(d, CC_E_UNAVAILABLE, "cannot reach the machine", status);
        return;
    }
    cc_sock_read_start(d->sock, cc_sock_alloc, on_answer);
}

static int connect_to(struct cc_dial *d, const struct cc_splice_opts *o)
{
    struct sockaddr_storage ss;
    struct sockaddr_un un;

    d->connect.data = d;
    d->connecting = true;
    if (o->unix_path) {
        int at = cc_unix_at(o->unix_path, &un);

        if (at < 0)
            return at;
        uv_pipe_connect(&d->connect, &d->sock->pipe, un.sun_path, on_connect);
        close(at);
        return 0;
    }
    if (uv_ip4_addr(o->host, o->port, (struct sockaddr_in *)&ss) != 0 &&
        uv_ip6_addr(o->host, o->port, (struct sockaddr_in6 *)&ss) != 0)
        return UV_EINVAL;
    uv_tcp_nodelay(&d->sock->tcp, 1);
    return uv_tcp_connect(&d->connect, &d->sock->tcp, (struct sockaddr *)&ss, on_connect);
}

static int vet(struct cc_req *r, struct cc_err *err)
{
    char accept[29];
    int rc = cc_ws_vet(r, accept);

    if (!r->conn)
        return cc_err_set(err, CC_E_IO, "the client has gone");
    if (rc < 0)
        return cc_err_set(err, rc, "%s",
                          rc == CC_E_UNSUPPORTED ? "only WebSocket version 13 is spoken here"
                                                 : "a WebSocket upgrade is expected here");
    return 0;
}

struct cc_dial *cc_splice_dial(struct cc_req *r, const struct cc_splice_opts *o, struct cc_err *err)
{
    struct cc_text key;
    struct cc_dial *d;
    int rc;

    if (vet(r, err) < 0)
        return NULL;
    d = cc_xcalloc(1, sizeof(*d));
    d->request = cc_xmalloc(CC_REPLY_HEAD_MAX);
    rc = cc_dial_request(r, o, d->request, CC_REPLY_HEAD_MAX);
    if (rc < 0) {
        cc_err_set(err, rc, "the request for the machine cannot be built");
        dial_free(d);
        return NULL;
    }
    d->request_len = (size_t)rc;
    key = cc_req_header(r, "sec-websocket-key", 17);
    memcpy(d->key, key.p, sizeof(d->key));
    strncpy(d->id, o->id ? o->id : "", sizeof(d->id) - 1);
    strncpy(d->who, o->who ? o->who : "", sizeof(d->who) - 1);
    d->screen = o->screen;
    d->on_open = o->on_open;
    d->arg = o->arg;
    d->scan.kind = CC_HEAD_RESPONSE;
    d->loop = r->server->loop;
    d->sock = cc_sock_new(d->loop, o->unix_path != NULL, d);
    rc = connect_to(d, o);
    if (rc < 0) {
        d->connecting = false;
        cc_err_set(err, CC_E_UNAVAILABLE, "cannot reach the machine: %s", uv_strerror(rc));
        dial_end(d);
        return NULL;
    }
    d->r = r;
    r->wait = on_client_lost;
    r->wait_arg = d;
    r->waits_body = false;
    r->wait_gone = true;
    d->timer = cc_timer_start(d->loop, o->dial_ms ? o->dial_ms : 5000, on_dial_time, d);
    return d;
}
