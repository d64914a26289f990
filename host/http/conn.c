/* conn.c - the life of a connection.
 *
 * run() is the only place that consumes bytes, and it never nests: whoever
 * ends a request from inside the handler only changes the state, and the loop
 * in run() goes on with the next request.  A connection that dies is GONE and
 * freed at the end of the loop's turn, so whoever is up the stack may look.
 */
#include "host/http/conn.h"

#include <stdlib.h>
#include <string.h>

#include "host/sys/clock.h"
#include "host/sys/err.h"
#include "host/sys/mem.h"

#define WAITING_MAX 16384 /* bytes taken in beyond the request under way */
#define IDLE_READ 32768

static void run(struct cc_conn *c, const char *p, size_t n);

/* ---------------------------------------------------------------- time */

static uint64_t moved(const struct cc_conn *c)
{
    if (c->due_kind == DUE_BODY)
        return c->req ? c->req->body.got : 0;
    return c->handed - cc_sock_queued(c->sock);
}

void cc_conn_wait(struct cc_conn *c, enum cc_due kind)
{
    struct cc_server *s = c->server;

    if (c->state == CONN_GONE)
        return;
    cc_link_out(&c->link);
    c->due_kind = (uint8_t)kind;
    if (kind == DUE_BODY || kind == DUE_WRITE)
        c->mark = moved(c);
    c->due = s->now + s->due_ms[kind] + s->sweep_ms;
    cc_link_in(&s->due[kind], &c->link);
}

void cc_conn_wait_else(struct cc_conn *c, enum cc_due kind)
{
    if (c->state != CONN_GONE && (c->due_kind != DUE_WRITE || cc_sock_queued(c->sock) == 0))
        cc_conn_wait(c, kind);
}

static bool body_wanted(const struct cc_conn *c)
{
    const struct cc_req *r = c->req;

    return r && r->mode != BODY_UNASKED && !r->body.done && !r->paused && !r->failed;
}

static bool fast_enough(const struct cc_conn *c)
{
    const struct cc_http_limits *l = &c->server->o.limits;

    return moved(c) - c->mark >= (uint64_t)l->body_rate * l->rate_ms / 1000;
}

/* ---------------------------------------------------------------- ends */

static void conn_free(void *arg)
{
    struct cc_conn *c = arg;
    struct cc_server *s = c->server;

    free(c->in);
    free(c);
    cc_server_unref(s);
}

void cc_conn_leave(struct cc_conn *c)
{
    cc_link_out(&c->link);
    c->state = CONN_GONE;
    c->server->n_conns--;
    c->n = 0;
    c->req = NULL;
    c->sock = NULL;
    cc_sock_later(c->server->loop, conn_free, c);
}

static void drop(struct cc_conn *c, void (*end)(struct cc_sock *))
{
    struct cc_server *s = c->server;
    struct cc_req *r = c->req;

    if (c->state == CONN_GONE)
        return;
    if (r) /* as long as it can be said whose it was */
        cc_req_tell(r);
    end(c->sock);
    cc_conn_leave(c);
    if (r && r->over)
        cc_req_put(r);
    else if (r)
        cc_req_lost(r);
    cc_server_touch(s);
}

void cc_conn_close(struct cc_conn *c) { drop(c, cc_sock_close); }

/* The peer is to read what we said, so we end our side and swallow what still comes: closing
 * with bytes unread would send a reset that overtakes the reply. */
static void linger(struct cc_conn *c)
{
    if (c->eof && cc_sock_queued(c->sock) == 0) {
        cc_conn_close(c);
        return;
    }
    c->state = CONN_LINGER;
    c->n = 0;
    cc_sock_shutdown(c->sock);
    cc_conn_wait(c, DUE_LINGER);
}

static void refuse(struct cc_conn *c, int status)
{
    struct cc_text t = cc_reply_refusal(c->server, status);
    uv_buf_t buf = uv_buf_init((char *)t.p, (unsigned)t.n);

    c->server->stats.refused++;
    if (cc_conn_send(c, &buf, 1) < 0)
        cc_conn_close(c);
    else
        linger(c);
}

/* The request is over and its reply has gone: the next one, or the end. */
static void next(struct cc_conn *c)
{
    if (c->ends) {
        linger(c);
    } else if (c->req) {
        c->state = CONN_BUSY; /* the rest of its body is to be discarded first */
        cc_conn_wait(c, DUE_BODY);
    } else {
        c->state = CONN_IDLE;
        cc_conn_wait(c, DUE_IDLE);
    }
    cc_conn_kick(c);
}

void cc_conn_replied(struct cc_conn *c, int queued)
{
    struct cc_req *r = c->req;

    cc_req_tell(r);
    c->ends = c->ends || r->close;
    if (c->ends || r->body.done) {
        c->req = NULL;
        cc_req_put(r);
    } else {
        r->over = true;
        r->mode = BODY_DISCARD;
        r->paused = false;
    }
    if (queued) {
        c->state = CONN_REPLY;
        cc_conn_wait(c, DUE_WRITE);
        cc_conn_kick(c);
    } else {
        next(c);
    }
}

void cc_conn_sent(void *owner, int status)
{
    struct cc_conn *c = owner;

    if (status < 0) {
        cc_conn_close(c);
        return;
    }
    if (cc_sock_queued(c->sock) > 0)
        return;
    if (c->state == CONN_REPLY) {
        next(c);
    } else if (c->state == CONN_LINGER && c->eof) {
        cc_conn_close(c);
    } else if (c->state == CONN_BUSY && c->req) {
        cc_conn_wait(c, body_wanted(c) ? DUE_BODY : DUE_NEVER);
        cc_req_done_waiting(c->req, 0);
    }
}

int cc_conn_send(struct cc_conn *c, const uv_buf_t *bufs, unsigned n)
{
    unsigned i;

    for (i = 0; i < n; i++)
        c->handed += bufs[i].len;
    return cc_sock_send(c->sock, bufs, n, cc_conn_sent);
}

void cc_conn_expire(struct cc_conn *c)
{
    switch (c->due_kind) {
    case DUE_BODY:
    case DUE_WRITE:
        if (fast_enough(c)) {
            cc_conn_wait(c, c->due_kind);
            return;
        }
        c->server->stats.timed_out++;
        if (c->due_kind == DUE_WRITE)
            drop(c, cc_sock_reset);
        else if (c->req && !c->req->over)
            cc_req_fail(c->req, CC_E_TIMEOUT);
        else
            cc_conn_close(c);
        return;
    case DUE_HEAD:
        c->server->stats.timed_out++;
        if (c->state == CONN_HEAD)
            refuse(c, 408);
        else
            cc_conn_close(c);
        return;
    default:
        cc_conn_close(c);
    }
}

/* ---------------------------------------------------------------- bytes in */

static void begin(struct cc_conn *c, size_t len)
{
    struct cc_server *s = c->server;
    struct cc_req *r = cc_req_get(s);
    int status = cc_head_parse(&r->h, &r->body.parser, c->p, len);

    if (status == 0 && r->h.count > s->o.limits.headers)
        status = 431;
    if (status) {
        cc_req_put(r);
        refuse(c, status);
        return;
    }
    r->head = len <= sizeof(r->small) ? r->small : cc_xmalloc(len);
    r->head_len = (uint32_t)len;
    memcpy(r->head, c->p, len);
    r->body.done = !cc_head_has_body(&r->h);
    r->conn = c;
    c->p += len;
    c->n -= len;
    c->req = r;
    c->scan = (struct cc_head_scan){ .kind = CC_HEAD_REQUEST };
    c->skipped_crlf = false;
    c->state = CONN_BUSY;
    cc_conn_wait(c, DUE_NEVER);
    s->stats.requests++;
    r->began_ns = cc_mono_ns();
    r->handed = c->handed;
    s->o.handler(s->o.arg, r);
}

static bool step_head(struct cc_conn *c)
{
    int len;

    if (c->scan.seen == 0 && !c->skipped_crlf && c->p[0] == '\r' && (c->n == 1 || c->p[1] == '\n')) {
        if (c->n == 1)
            return false;
        c->skipped_crlf = true; /* RFC 9112 2.2: one empty line before a request */
        c->p += 2;
        c->n -= 2;
        return c->n > 0;
    }
    len = cc_head_scan(&c->scan, c->p, c->n, c->server->o.limits.head_bytes);
    if (len < 0) {
        refuse(c, -len);
        return false;
    }
    if (len == 0) {
        c->state = CONN_HEAD;
        if (c->due_kind != DUE_HEAD)
            cc_conn_wait(c, DUE_HEAD);
        return false;
    }
    begin(c, (size_t)len);
    return c->n > 0;
}

static bool step_body(struct cc_conn *c)
{
    struct cc_req *r = c->req;
    ssize_t used;

    if (!body_wanted(c))
        return false;
    used = cc_body_feed(&r->body, c->p, c->n);
    if (used < 0) {
        c->n = 0;
        c->ends = true;
        if (r->over)
            cc_conn_close(c);
        else
            cc_req_fail(r, CC_E_INVALID);
        return false;
    }
    c->p += used;
    c->n -= (size_t)used;
    if (r->failed) {
        cc_req_fail(r, r->failed);
    } else if (r->body.done && r->over) {
        c->req = NULL;
        cc_req_put(r);
        next(c);
    } else if (r->body.done) {
        cc_conn_wait_else(c, DUE_NEVER);
        cc_req_done_body(r, 0);
    }
    return used > 0 && c->n > 0;
}

static bool step(struct cc_conn *c)
{
    switch (c->state) {
    case CONN_IDLE:
    case CONN_HEAD:
        return step_head(c);
    case CONN_BUSY:
        return step_body(c);
    case CONN_LINGER:
        c->n = 0;
        return false;
    default:
        return false;
    }
}

static void append(struct cc_conn *c, const char *p, size_t n)
{
    if (c->in && c->in_off) {
        memmove(c->in, c->in + c->in_off, c->in_len - c->in_off);
        c->in_len -= c->in_off;
        c->in_off = 0;
    }
    if (!c->in || c->in_cap - c->in_len < n) {
        c->in_cap = (uint32_t)(c->in_len + n < 512 ? 512 : c->in_len + n);
        c->in = cc_xrealloc(c->in, c->in_cap);
    }
    memcpy(c->in + c->in_len, p, n);
    c->in_len += (uint32_t)n;
}

/* What run() left over stays in `in`. */
static void stash(struct cc_conn *c)
{
    if (c->n == 0) {
        free(c->in);
        c->in = NULL;
        c->in_off = c->in_len = c->in_cap = 0;
    } else if (c->in) {
        c->in_off = (uint32_t)(c->p - c->in);
    } else {
        append(c, c->p, c->n);
    }
    c->p = NULL;
    c->n = 0;
}

static void on_alloc(uv_handle_t *h, size_t hint, uv_buf_t *buf)
{
    struct cc_conn *c = h->data;

    cc_sock_alloc(h, hint, buf);
    if (c->state == CONN_LINGER || body_wanted(c))
        return;
    if (c->state == CONN_IDLE || c->state == CONN_HEAD)
        buf->len = IDLE_READ;
    else
        buf->len = WAITING_MAX - cc_conn_waiting(c);
}

static void on_eof(struct cc_conn *c)
{
    c->eof = true;
    switch (c->state) {
    case CONN_HEAD:
        refuse(c, 400);
        return;
    case CONN_BUSY:
        if (c->req->over)
            cc_conn_close(c);
        else if (c->req->mode != BODY_UNASKED && !c->req->body.done)
            cc_req_fail(c->req, CC_E_IO);
        else if (c->req->wait_gone)
            cc_req_done_waiting(c->req, CC_E_IO);
        return;
    case CONN_REPLY:
        return; /* run() comes back here when it has gone */
    case CONN_LINGER:
        if (cc_sock_queued(c->sock) == 0)
            cc_conn_close(c);
        return;
    default:
        cc_conn_close(c);
    }
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct cc_conn *c = stream->data;

    if (n == UV_EOF) {
        cc_sock_read_stop(c->sock);
        c->reading = false;
        on_eof(c);
    } else if (n < 0) {
        cc_conn_close(c);
    } else if (n > 0 && cc_conn_waiting(c)) {
        append(c, buf->base, (size_t)n);
        run(c, c->in + c->in_off, cc_conn_waiting(c));
    } else if (n > 0) {
        run(c, buf->base, (size_t)n);
    }
}

/* Reads as long as there is a use for the bytes or room for a few; this also is how we learn
 * that the client has gone. Of a body that failed nothing is used any more. */
static void pace(struct cc_conn *c)
{
    bool want = !c->eof;

    if (c->state == CONN_BUSY && c->req && c->req->mode != BODY_UNASKED && !c->req->body.done && !c->req->failed)
        want = want && !c->req->paused;
    else if (c->state == CONN_BUSY || c->state == CONN_REPLY)
        want = want && cc_conn_waiting(c) < WAITING_MAX;
    if (want == c->reading)
        return;
    c->reading = want;
    if (want)
        cc_sock_read_start(c->sock, on_alloc, on_read);
    else
        cc_sock_read_stop(c->sock);
}

static void run(struct cc_conn *c, const char *p, size_t n)
{
    c->p = p;
    c->n = n;
    c->running = true;
    while (c->n > 0 && step(c))
        ;
    c->running = false;
    if (c->state == CONN_GONE)
        return;
    stash(c);
    if (c->eof && (c->state == CONN_IDLE || c->state == CONN_HEAD))
        on_eof(c);
    else
        pace(c);
}

void cc_conn_kick(struct cc_conn *c)
{
    if (c->running || c->state == CONN_GONE)
        return;
    run(c, c->in ? c->in + c->in_off : NULL, cc_conn_waiting(c));
}

/* ---------------------------------------------------------------- begin */

enum { ROOM_MS = 2000 };

/* At the bound: of those who wait for a request of theirs to begin or to be whole, the one that has waited longest goes,
 * if that is longer than anybody needs who means it. So whoever fills the bound with silence loses to whoever asks. */
static bool make_room(struct cc_server *s)
{
    static const enum cc_due kinds[] = { DUE_IDLE, DUE_HEAD };
    size_t i;

    for (i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
        struct cc_link *list = &s->due[kinds[i]];
        struct cc_conn *oldest = (struct cc_conn *)list->next;

        if (cc_link_alone(list) || s->now + s->due_ms[kinds[i]] + s->sweep_ms < oldest->due + ROOM_MS)
            continue;
        s->stats.given_up++;
        cc_conn_close(oldest);
        return true;
    }
    return false;
}

void cc_conn_open(struct cc_server *s, uv_stream_t *listener, bool is_unix)
{
    struct cc_conn *c = cc_xcalloc(1, sizeof(*c));
    uint32_t max = s->o.limits.connections;
    unsigned have = s->n_conns + s->n_upgrades;

    if (have >= max && make_room(s))
        have--;

    c->server = s;
    c->is_unix = is_unix;
    c->sock = cc_sock_new(s->loop, is_unix, c);
    if (uv_accept(listener, &c->sock->stream) != 0 || have > max + max / 8 + 64) {
        cc_sock_close(c->sock);
        free(c);
        return;
    }
    cc_server_ref(s);
    cc_server_watch(s);
    s->n_conns++;
    s->stats.accepted++;
    cc_link_init(&c->link);
    if (!is_unix)
        uv_tcp_nodelay(&c->sock->tcp, 1);
    if (!is_unix && s->o.layers)
        s->o.layers->begin(s->o.layers, c->sock);
    c->reading = true;
    cc_sock_read_start(c->sock, on_alloc, on_read);
    cc_conn_wait(c, DUE_HEAD);
    if (have >= max) {
        s->stats.turned_away++;
        refuse(c, 503);
    }
}
