/* splice_dial.c - how a splice begins; see splice.h.
 *
 * A dial belongs to a request that still is HTTP's, or to a splice that is
 * held; exactly one of `r` and `held` is set.
 */
#include "host/http/splice_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/http/dial.h"
#include "host/http/handshake.h"
#include "host/sys/clock.h"
#include "host/sys/mem.h"

struct cc_dial {
    struct cc_req *r;
    struct cc_splice *held;
    struct cc_splice_opts o; /* of its texts only id and who are looked at, inside the call */
    struct cc_backend *backend;
    struct cc_sock *sock;
    struct cc_timer *timer;
    uv_loop_t *loop;
    char id[CC_SPLICE_ID], who[CC_SPLICE_WHO];
    char *request;
    size_t request_len;
    char key[24];
    struct cc_head_scan scan;
    char *in;
    size_t in_len;
};

static void dial_end(struct cc_dial *d)
{
    cc_timer_stop(d->timer);
    cc_backend_cancel(d->backend);
    cc_sock_close(d->sock);
    if (d->r)
        cc_req_unwait(d->r);
    if (d->held)
        d->held->dial = NULL;
    free(d->request);
    free(d->in);
    free(d);
}

void cc_splice_cancel(struct cc_dial *d) { dial_end(d); }

static void dial_fail(struct cc_dial *d, int code, const char *what)
{
    void (*fn)(void *, int, const struct cc_err *) = d->o.on_open;
    void *arg = d->o.arg;
    struct cc_err err;

    cc_err_set(&err, code, "%s", what);
    dial_end(d);
    fn(arg, code, &err);
}

void cc_splice_dial_lost(struct cc_dial *d) { dial_fail(d, CC_E_IO, "the client has gone"); }

static void on_dial_time(void *arg)
{
    struct cc_dial *d = arg;

    d->timer = NULL;
    dial_fail(d, CC_E_TIMEOUT, "the machine did not answer in time");
}

static void on_client_lost(void *arg, struct cc_req *r, int status)
{
    (void)r, (void)status;
    dial_fail(arg, CC_E_IO, "the client has gone");
}

/* ---------------------------------------------------------------- the answer */

/* A request of its own: the 101 is passed on. NULL: he has gone, and the request with him. */
static struct cc_splice *taken(struct cc_dial *d, const char *head, size_t head_len, char **rest, size_t *n)
{
    struct cc_splice *s;

    d->o.id = d->id;
    d->o.who = d->who;
    s = cc_splice_new(d->loop, &d->o);
    cc_splice_take(s, d->r, head, head_len, rest, n);
    d->r = NULL;
    return s;
}

/* Then what either side has said already. Who was not there yet when those of a server were told that it goes is told now. */
static void join(struct cc_dial *d, struct cc_splice *s, char *rest, size_t rest_len, size_t used)
{
    void (*fn)(void *, int, const struct cc_err *) = d->o.on_open;
    void *arg = d->o.arg;
    bool late = s->up.server->draining;
    size_t early = d->in_len - used;
    char *in = d->in;
    struct cc_sock *sock = d->sock;

    d->in = NULL;
    d->sock = NULL;
    d->held = NULL;
    s->dial = NULL;
    dial_end(d);
    cc_splice_join(s, sock);
    if (late)
        cc_splice_leave(s, 1001, "the server is going away");
    else if ((!early || cc_splice_from_backend(s, in + used, early)) && rest_len)
        cc_splice_from_client(s, rest, rest_len);
    fn(arg, 0, NULL);
    free(in);
    free(rest);
}

static void join_held(struct cc_dial *d, size_t used)
{
    struct cc_splice *s = d->held;
    char *kept = s->kept;
    size_t n = s->n_kept;

    s->kept = NULL;
    s->n_kept = 0;
    if (s->owner)
        *s->owner = NULL;
    s->owner = NULL;
    join(d, s, kept, n, used);
}

static void join_request(struct cc_dial *d, struct cc_text protocol, size_t used)
{
    char accept[29], *rest;
    struct cc_hdr h[3] = { { { "Upgrade", 7 }, { "websocket", 9 } },
                           { { "Sec-WebSocket-Accept", 20 }, { accept, 28 } } };
    struct cc_splice *s;
    const char *head;
    size_t n;
    int rc;

    cc_ws_accept(d->key, sizeof(d->key), accept);
    if (protocol.p)
        h[2] = (struct cc_hdr){ { "Sec-WebSocket-Protocol", 22 }, protocol };
    rc = cc_reply_head(d->r, 101, h, protocol.p ? 3 : 2, FRAMING_NONE, 0, &head);
    if (rc < 0) {
        dial_fail(d, CC_E_INTERNAL, "the answer cannot be passed on");
        return;
    }
    s = taken(d, head, (size_t)rc, &rest, &n);
    join(d, s, rest, n, used);
}

static void answered(struct cc_dial *d, size_t n)
{
    struct cc_text protocol;
    char what[80];
    int status;

    if (!cc_dial_answer(d->in, n, d->key, sizeof(d->key), &protocol, &status)) {
        snprintf(what, sizeof(what), "the machine refused the connection (status %d)", status);
        dial_fail(d, CC_E_DENIED, what);
    } else if (cc_sock_queued(d->sock) > 0) { /* who is told of it once it has gone would be another */
        dial_fail(d, CC_E_UNAVAILABLE, "the machine answered before it was asked");
    } else if (d->held) {
        join_held(d, n);
    } else {
        join_request(d, protocol, n);
    }
}

static void on_answer(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct cc_dial *d = stream->data;
    int len;

    if (n < 0) {
        dial_fail(d, CC_E_UNAVAILABLE, "the machine closed the connection");
        return;
    }
    if (n == 0)
        return;
    d->in = cc_xrealloc(d->in, d->in_len + (size_t)n);
    memcpy(d->in + d->in_len, buf->base, (size_t)n);
    d->in_len += (size_t)n;
    len = cc_head_scan(&d->scan, d->in, d->in_len, CC_HEAD_BYTES);
    if (len < 0) {
        dial_fail(d, CC_E_UNAVAILABLE, "the machine's answer is malformed");
    } else if (len > 0) {
        cc_sock_read_stop(d->sock); /* uv would keep the old callback */
        answered(d, (size_t)len);
    }
}

static void on_request_sent(void *owner, int status)
{
    if (status < 0)
        dial_fail(owner, CC_E_UNAVAILABLE, "the machine closed the connection");
}

static void on_up(void *arg, struct cc_sock *s, char *early, size_t n, const struct cc_err *err)
{
    struct cc_dial *d = arg;
    uv_buf_t buf = uv_buf_init(d->request, (unsigned)d->request_len);

    d->backend = NULL;
    if (!s) {
        dial_fail(d, err->code, err->message);
        return;
    }
    d->sock = s;
    d->in = early; /* of a tunnel: a server that speaks first is none of WebSockets, and its words are no head */
    d->in_len = n;
    s->handle.data = d;
    if (cc_sock_send(s, &buf, 1, on_request_sent) < 0)
        dial_fail(d, CC_E_UNAVAILABLE, "the machine closed the connection");
    else
        cc_sock_read_start(s, cc_sock_alloc, on_answer);
}

/* ---------------------------------------------------------------- the beginning */

static int vet(struct cc_req *r, char accept[29], struct cc_err *err)
{
    int rc = cc_ws_vet(r, accept);

    if (!r->conn)
        return cc_err_set(err, CC_E_IO, "the client has gone");
    if (r->server->draining)
        return cc_err_set(err, CC_E_UNAVAILABLE, "the server is going away");
    if (rc < 0)
        return cc_err_set(err, rc, "%s",
                          rc == CC_E_UNSUPPORTED ? "only WebSocket version 13 is spoken here"
                                                 : "a WebSocket upgrade is expected here");
    return 0;
}

static struct cc_dial *dial(uv_loop_t *loop, struct cc_req *r, const struct cc_splice_opts *o, struct cc_text kept,
                            struct cc_err *err)
{
    struct cc_dial_ask ask = { .path = o->path,
                               .host = o->host,
                               .headers = o->headers,
                               .n_headers = o->n_headers,
                               .upgrade = true,
                               .kept = kept };
    struct cc_dial *d = cc_xcalloc(1, sizeof(*d));
    int rc;

    d->request = cc_xmalloc(CC_REPLY_HEAD_MAX);
    rc = cc_dial_request(r, &ask, d->request, CC_REPLY_HEAD_MAX);
    if (rc < 0) {
        cc_err_set(err, rc, "the request for the machine cannot be built");
        dial_end(d);
        return NULL;
    }
    d->request_len = (size_t)rc;
    d->o = *o;
    strncpy(d->id, o->id ? o->id : "", sizeof(d->id) - 1);
    strncpy(d->who, o->who ? o->who : "", sizeof(d->who) - 1);
    d->scan.kind = CC_HEAD_RESPONSE;
    d->loop = loop;
    d->backend = cc_backend_dial(loop, &o->at, o->dial_ms, on_up, d, err);
    if (!d->backend) {
        dial_end(d);
        return NULL;
    }
    d->timer = cc_timer_start(loop, o->dial_ms ? o->dial_ms : 5000, on_dial_time, d);
    return d;
}

struct cc_dial *cc_splice_dial(struct cc_req *r, const struct cc_splice_opts *o, struct cc_err *err)
{
    struct cc_text key;
    struct cc_dial *d;
    char accept[29];

    if (vet(r, accept, err) < 0)
        return NULL;
    d = dial(r->server->loop, r, o, (struct cc_text){ NULL, 0 }, err);
    if (!d)
        return NULL;
    key = cc_req_header(r, "sec-websocket-key", 17);
    memcpy(d->key, key.p, sizeof(d->key));
    d->r = r;
    r->wait = on_client_lost;
    r->wait_arg = d;
    r->wait_gone = true;
    return d;
}

/* ---------------------------------------------------------------- held ones */

/* What the machine is to be told of him later. */
static void keep_lines(struct cc_splice *s, struct cc_req *r)
{
    struct cc_text key = cc_req_header(r, "sec-websocket-key", 17);
    char *lines = cc_xmalloc(CC_REPLY_HEAD_MAX);
    int n = cc_dial_kept(r, lines, CC_REPLY_HEAD_MAX);

    s->lines = cc_xrealloc(lines, n > 0 ? (size_t)n : 1);
    s->n_lines = n > 0 ? (size_t)n : 0;
    memcpy(s->key, key.p, sizeof(s->key));
}

int cc_splice_hold(struct cc_req *r, const struct cc_splice_opts *o, const char *protocol, struct cc_splice **owner,
                   struct cc_err *err)
{
    char accept[29], *rest;
    struct cc_hdr h[3] = { { { "Upgrade", 7 }, { "websocket", 9 } },
                           { { "Sec-WebSocket-Accept", 20 }, { accept, 28 } } };
    bool chosen = protocol && cc_ws_offers(r, protocol);
    struct cc_splice *s;
    const char *head;
    size_t n;
    int rc;

    if ((rc = vet(r, accept, err)) < 0)
        return rc;
    if (chosen)
        h[2] = (struct cc_hdr){ { "Sec-WebSocket-Protocol", 22 }, { protocol, strlen(protocol) } };
    rc = cc_reply_head(r, 101, h, chosen ? 3 : 2, FRAMING_NONE, 0, &head);
    if (rc < 0)
        return cc_err_set(err, rc, "the answer cannot be built");
    s = cc_splice_new(r->server->loop, o);
    keep_lines(s, r);
    s->owner = owner;
    *owner = s;
    cc_splice_take(s, r, head, (size_t)rc, &rest, &n);
    if (n)
        cc_splice_from_client(s, rest, n);
    free(rest);
    return 0;
}

struct cc_dial *cc_splice_connect(struct cc_splice *s, const struct cc_splice_opts *o, struct cc_err *err)
{
    struct cc_dial *d = dial(s->loop, NULL, o, (struct cc_text){ s->lines, s->n_lines }, err);

    if (!d)
        return NULL;
    memcpy(d->key, s->key, sizeof(d->key));
    d->held = s;
    s->dial = d;
    return d;
}
