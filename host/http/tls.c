/* tls.c - see tls.h; here: a server's TLS, handshakes, and what the owner of a connection reads.
 *
 * mbedTLS is given memory, never a socket.  A handshake sees whole records
 * only and so never stops in the middle of one; an open connection is read as
 * long as its owner reads, and what he leaves waits here, at most one read.
 */
#include "host/http/tls.h"

#include <assert.h>
#include <mbedtls/error.h>
#include <stdlib.h>
#include <string.h>

#include "host/http/addr.h"
#include "host/http/certs.h"
#include "host/http/tls_conn.h"
#include "host/observe/log.h"
#include "host/sys/mem.h"

#define RECORD_MAX (CC_TLS_RECORD + 2048) /* with what a cipher adds */
#define RECORD_HEAD 5
#define FIRST_READ 4096
#define WAITING_MAX 2048 /* steps of handshakes in the queue: some seconds of work */

struct cc_tls {
    struct cc_layers layers; /* first: begin() and end() cast */
    struct cc_certs *certs;
    struct cc_pool *pool;
    uv_loop_t *loop;
    struct cc_tls_stats stats;
    unsigned refs; /* the server, connections */
};

static char cipher[CC_TLS_SLICE]; /* what was read from a socket */

/* ---------------------------------------------------------------- life */

static void tls_unref(struct cc_tls *t)
{
    if (--t->refs)
        return;
    cc_certs_unref(t->certs);
    cc_pool_close(t->pool);
    free(t);
}

void cc_tls_conn_unref(struct cc_tls_conn *c)
{
    if (--c->refs) /* NOLINT(clang-analyzer-unix.Malloc): whoever stands on it holds one of them */
        return;
    mbedtls_ssl_free(&c->ssl);
    cc_certs_unref(c->certs);
    tls_unref(c->tls);
    cc_tls_drop_waiting(c);
    free(c->in.p);
    free(c->out.p);
    free(c);
}

/* What has been taken goes: else a handshake in which a record is always under way would keep all that ever came. */
static void append(struct cc_tls_bytes *b, const void *p, size_t n)
{
    if (b->off) {
        memmove(b->p, b->p + b->off, b->len - b->off);
        b->len -= b->off;
        b->off = 0;
    }
    if (b->cap - b->len < n) {
        b->cap = b->len + n;
        b->p = cc_xrealloc(b->p, b->cap);
    }
    memcpy(b->p + b->len, p, n);
    b->len += n;
}

static void clear(struct cc_tls_bytes *b)
{
    free(b->p);
    *b = (struct cc_tls_bytes){ NULL, 0, 0, 0 };
}

/* ---------------------------------------------------------------- what mbedTLS reads and writes */

static int take(const char *p, size_t have, unsigned char *out, size_t n)
{
    if (have == 0)
        return MBEDTLS_ERR_SSL_WANT_READ;
    n = n < have ? n : have;
    memcpy(out, p, n);
    return (int)n;
}

/* A handshake sees whole records only, so that `in` always begins with one.  [worker] */
static int on_recv(void *arg, unsigned char *out, size_t n)
{
    struct cc_tls_conn *c = arg;
    bool stored = c->phase == TLS_AT_WORK || c->in.off < c->in.len;
    size_t have = c->phase == TLS_AT_WORK ? c->whole : stored ? c->in.len - c->in.off : c->from_len;
    int rc = take(stored ? c->in.p + c->in.off : c->from, have, out, n);

    if (rc < 0)
        return rc;
    if (!stored) {
        c->from += rc;
        c->from_len -= (size_t)rc;
        return rc;
    }
    c->in.off += (size_t)rc;
    if (c->phase == TLS_AT_WORK)
        c->whole -= (size_t)rc;
    return rc;
}

/* [worker] */
static int on_send(void *arg, const unsigned char *p, size_t n)
{
    struct cc_tls_conn *c = arg;

    if (c->phase == TLS_AT_WORK) {
        c->alerted = n > 0 && p[0] == MBEDTLS_SSL_MSG_ALERT;
        append(&c->out, p, n);
        return (int)n;
    }
    return cc_tls_seal(p, n) ? (int)n : MBEDTLS_ERR_SSL_INTERNAL_ERROR;
}

/* ---------------------------------------------------------------- in */

static void pump(struct cc_tls_conn *c);
static void advance(struct cc_tls_conn *c);

static void on_alloc(uv_handle_t *h, size_t hint, uv_buf_t *buf)
{
    struct cc_tls_conn *c = cc_tls_conn_of((struct cc_sock *)h);

    (void)hint;
    *buf = uv_buf_init(cipher, c->phase == TLS_OPEN ? sizeof(cipher) : FIRST_READ);
}

/* Why it ended, for who looks for it: what strangers send is no error of ours. */
static void note(struct cc_tls_conn *c, const char *what, int rc)
{
    struct cc_log_field f[3];
    struct sockaddr_storage ss;
    struct cc_addr a;
    char peer[46] = "gone", text[120] = "";
    int len = sizeof(ss);

    if (!cc_log_on(CC_LOG_DEBUG, "tls"))
        return;
    if (uv_tcp_getpeername(&c->sock->tcp, (struct sockaddr *)&ss, &len) == 0) {
        cc_addr_from(&a, (struct sockaddr *)&ss);
        cc_addr_text(&a, peer);
    }
    if (rc)
        mbedtls_strerror(rc, text, sizeof(text));
    f[0] = (struct cc_log_field){ "why", what, strlen(what), false };
    f[1] = (struct cc_log_field){ "peer", peer, strlen(peer), false };
    f[2] = (struct cc_log_field){ "detail", text, strlen(text), false };
    cc_log_fields(CC_LOG_DEBUG, "tls", "connection ended", f, rc ? 3 : 2);
}

static void on_under_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);

static void under_read(struct cc_tls_conn *c, bool want)
{
    if (want == c->under_reads || !c->sock)
        return;
    c->under_reads = want;
    if (want)
        uv_read_start(&c->sock->stream, on_alloc, on_under_read);
    else
        uv_read_stop(&c->sock->stream);
}

/* The owner reads it when he has read all that came before. */
static void tell_end(struct cc_tls_conn *c)
{
    uv_buf_t none = uv_buf_init(NULL, 0);

    if (!c->sock || !c->reading || !c->end || c->told)
        return;
    c->told = true;
    c->read(&c->sock->stream, c->end, &none);
}

static void break_off(struct cc_tls_conn *c, const char *why, int rc)
{
    c->tls->stats.failed++;
    note(c, why, rc);
    c->phase = TLS_BROKEN;
    c->end = UV_EPROTO;
    under_read(c, false);
    tell_end(c);
}

static void on_posted(void *arg)
{
    struct cc_tls_conn *c = arg;

    c->posted = false;
    if (c->sock)
        pump(c);
    cc_tls_conn_unref(c);
}

/* Like a read that uv delivers, it comes in a later turn. */
static void post(struct cc_tls_conn *c)
{
    if (c->posted)
        return;
    c->posted = true;
    c->refs++;
    cc_sock_later(c->tls->loop, on_posted, c);
}

/* Decrypts into buf what there is. Returns how much; what ends the connection goes to c->end. */
static size_t fill(struct cc_tls_conn *c, const uv_buf_t *buf)
{
    size_t got = 0;
    int rc = 1;

    while (got < buf->len) {
        rc = mbedtls_ssl_read(&c->ssl, (unsigned char *)buf->base + got, buf->len - got);
        if (rc > 0)
            got += (size_t)rc;
        else
            break;
        if (cc_tls_sealed())
            break;
    }
    if (rc == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY) {
        c->end = UV_EOF;
    } else if (rc <= 0 && rc != MBEDTLS_ERR_SSL_WANT_READ) {
        c->end = UV_EPROTO;
        note(c, "a record is not good", rc);
    } else if (cc_tls_sealed()) { /* only a refusal to negotiate anew makes it speak while it reads */
        c->end = UV_EPROTO;
        note(c, "asked to negotiate anew", 0);
    }
    cc_tls_flush(c, 0); /* an alert */
    return got;
}

/* Decrypts for the owner as long as he reads. He may stop, close, or hand the socket on inside his
 * callback; it is never called from inside itself. */
static void pump(struct cc_tls_conn *c)
{
    if (c->pumping)
        return;
    c->pumping = true;
    c->refs++;
    while (c->sock && c->reading && c->phase == TLS_OPEN && !c->end) {
        uv_buf_t buf;
        size_t got;

        c->alloc(&c->sock->handle, CC_TLS_SLICE, &buf);
        got = fill(c, &buf);
        if (got == 0)
            break;
        c->read(&c->sock->stream, (ssize_t)got, &buf);
    }
    c->pumping = false;
    if (c->from_len)
        append(&c->in, c->from, c->from_len);
    c->from_len = 0;
    if (c->in.off == c->in.len)
        clear(&c->in);
    if (c->sock && c->phase == TLS_OPEN)
        under_read(c, c->reading && !c->end);
    tell_end(c);
    cc_tls_conn_unref(c);
}

static void on_under_end(struct cc_tls_conn *c, int status)
{
    under_read(c, false);
    if (c->phase != TLS_OPEN) {
        break_off(c, "the client went away in the handshake", 0);
        return;
    }
    if (status == UV_EOF) {
        c->tls->stats.truncated++;
        note(c, "the peer did not end TLS before the connection", 0);
    }
    c->end = status == UV_EOF ? UV_ECONNRESET : status;
    tell_end(c);
}

static void on_under_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct cc_tls_conn *c = cc_tls_conn_of((struct cc_sock *)stream);

    if (n < 0) {
        on_under_end(c, (int)n);
    } else if (n > 0 && c->phase == TLS_OPEN) {
        c->from = buf->base;
        c->from_len = (size_t)n;
        pump(c);
    } else if (n > 0) {
        append(&c->in, buf->base, (size_t)n);
        advance(c);
    }
}

static void on_owner_read_start(struct cc_sock *s, uv_alloc_cb alloc, uv_read_cb read)
{
    struct cc_tls_conn *c = cc_tls_conn_of(s);

    c->alloc = alloc;
    c->read = read;
    c->reading = true;
    c->told = false; /* an end is told to whoever begins to read, as a plain socket does: it may have a new owner */
    if (c->pumping)
        return;
    if (c->phase == TLS_FRESH || c->phase == TLS_SHAKING)
        under_read(c, true);
    else if (c->phase != TLS_AT_WORK) /* mbedTLS may hold the rest of a record, `in` more of them */
        post(c);
}

/* A handshake goes on for all that; its deadline is the owner's. */
static void on_owner_read_stop(struct cc_sock *s)
{
    struct cc_tls_conn *c = cc_tls_conn_of(s);

    c->reading = false;
    if (c->phase == TLS_OPEN)
        under_read(c, false);
}

/* ---------------------------------------------------------------- the handshake */

/* [worker] */
static void work(struct cc_job *job)
{
    struct cc_tls_conn *c = (struct cc_tls_conn *)((char *)job - offsetof(struct cc_tls_conn, job));

    c->result = 0;
    if (!c->set_up) {
        c->result = mbedtls_ssl_setup(&c->ssl, cc_certs_config(c->certs));
        mbedtls_ssl_set_bio(&c->ssl, c, on_send, on_recv, NULL);
        c->set_up = true;
    }
    if (c->result == 0)
        c->result = mbedtls_ssl_handshake(&c->ssl);
    if (c->result != 0 && c->result != MBEDTLS_ERR_SSL_WANT_READ && c->result != MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE &&
        !c->alerted) /* it does not always say why */
        mbedtls_ssl_send_alert_message(&c->ssl, MBEDTLS_SSL_ALERT_LEVEL_FATAL, MBEDTLS_SSL_ALERT_MSG_HANDSHAKE_FAILURE);
}

static void opened(struct cc_tls_conn *c)
{
    c->phase = TLS_OPEN;
    c->tls->stats.handshakes++;
    cc_tls_send_waiting(c);
    if (c->sock && c->reading)
        pump(c);
}

static void on_done(struct cc_job *job)
{
    struct cc_tls_conn *c = (struct cc_tls_conn *)((char *)job - offsetof(struct cc_tls_conn, job));

    c->tls->stats.waiting--;
    c->phase = TLS_SHAKING;
    if (c->sock && c->out.len)
        cc_tls_fly(c, c->out.p, c->out.len, 0); /* a failure shows in reading */
    clear(&c->out);
    if (!c->sock)
        ;
    else if (c->result == 0)
        opened(c);
    else if (c->result == MBEDTLS_ERR_SSL_WANT_READ)
        advance(c);
    else
        break_off(c, "no handshake", c->result);
    cc_tls_conn_unref(c);
}

static void start_work(struct cc_tls_conn *c)
{
    under_read(c, false);
    if (!c->certs)
        c->certs = cc_certs_ref(c->tls->certs);
    c->phase = TLS_AT_WORK;
    c->job = (struct cc_job){ .work = work, .done = on_done };
    c->result = MBEDTLS_ERR_SSL_ALLOC_FAILED; /* until the work says otherwise: there may be no thread for it */
    c->refs++;
    c->tls->stats.waiting++;
    cc_pool_submit(c->tls->pool, &c->job);
}

/* Somebody who speaks HTTP is told in his own words. */
static void not_tls(struct cc_tls_conn *c, char first)
{
    static const char words[] = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 31\r\n"
                                "Connection: close\r\n\r\nthis port speaks TLS (https://)";

    if (first >= 'A' && first <= 'Z')
        cc_tls_fly(c, words, sizeof(words) - 1, 0);
    break_off(c, "not TLS", 0);
}

/* Counts the whole records. False: what comes next is none. */
static bool count_whole(struct cc_tls_conn *c)
{
    for (;;) {
        const unsigned char *p = (unsigned char *)c->in.p + c->in.off + c->whole;
        size_t have = c->in.len - c->in.off - c->whole, len;

        if (have > 1 && p[1] != 3)
            return false;
        if (have < RECORD_HEAD)
            return true;
        len = (size_t)p[3] << 8 | p[4];
        if (len > RECORD_MAX)
            return false;
        if (have < RECORD_HEAD + len)
            return true;
        c->whole += RECORD_HEAD + len;
    }
}

static void advance(struct cc_tls_conn *c)
{
    if (c->phase == TLS_FRESH && c->in.len && c->in.p[0] != 0x16)
        not_tls(c, c->in.p[0]);
    else if (!count_whole(c))
        break_off(c, "not TLS", 0);
    else if (c->whole == 0)
        under_read(c, true);
    else if (c->tls->stats.waiting >= WAITING_MAX)
        break_off(c, "too many handshakes at once", 0);
    else
        start_work(c);
}

/* ---------------------------------------------------------------- a connection */

static void on_owner_close(struct cc_sock *s, bool reset)
{
    struct cc_tls_conn *c = cc_tls_conn_of(s);

    if (!reset && cc_tls_all_gone(c) && c->flights == 0)
        cc_tls_say_end(c);
    c->sock = NULL;
    if (c->phase == TLS_AT_WORK)
        cc_pool_cancel(&c->job);
    cc_tls_conn_unref(c);
}

static const struct cc_layer_ops ops = { on_owner_read_start, on_owner_read_stop, cc_tls_send,
                                         cc_tls_queued,       cc_tls_shutdown,    on_owner_close };

static void on_begin(struct cc_layers *l, struct cc_sock *s)
{
    struct cc_tls *t = (struct cc_tls *)l;
    struct cc_tls_conn *c = cc_xcalloc(1, sizeof(*c));

    assert(s->handle.type == UV_TCP);
    c->layer.ops = &ops;
    c->sock = s;
    c->tls = t;
    c->rests_end = &c->rests;
    c->refs = 1;
    mbedtls_ssl_init(&c->ssl);
    t->refs++;
    s->layer = &c->layer;
}

/* ---------------------------------------------------------------- a server's TLS */

static void on_end(struct cc_layers *l) { tls_unref((struct cc_tls *)l); }

struct cc_tls *cc_tls_new(uv_loop_t *loop, struct cc_certs *certs)
{
    struct cc_tls *t = cc_xcalloc(1, sizeof(*t));
    unsigned cores = uv_available_parallelism();

    t->layers = (struct cc_layers){ on_begin, on_end };
    t->certs = certs;
    t->loop = loop;
    t->pool = cc_pool_new(loop, "tls", cores < 2 ? 1 : cores > 8 ? 8 : cores);
    t->refs = 1;
    return t;
}

struct cc_layers *cc_tls_layers(struct cc_tls *t) { return &t->layers; }

void cc_tls_swap(struct cc_tls *t, struct cc_certs *certs)
{
    cc_certs_unref(t->certs);
    t->certs = certs;
}

void cc_tls_stats(const struct cc_tls *t, struct cc_tls_stats *out) { *out = t->stats; }
