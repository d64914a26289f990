/* tls.c - see tls.h.
 *
 * A connection collects the client's first record (FRESH), has a step of its
 * handshake computed on a thread (AT_WORK), waits for the next whole record
 * (SHAKING), and is OPEN or BROKEN in the end.  mbedTLS is given memory, never
 * a socket: what it writes always fits, so a write of its is never repeated.
 * While AT_WORK the thread alone touches the context and both buffers.
 * What the owner sends is encrypted in slices as the kernel takes them, so
 * at most one slice of ciphertext waits; the rest waits as plain bytes.
 */
#include "host/http/tls.h"

#include <assert.h>
#include <mbedtls/error.h>
#include <mbedtls/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "host/http/addr.h"
#include "host/http/certs.h"
#include "host/http/sock.h"
#include "host/observe/log.h"
#include "host/sys/mem.h"
#include "host/sys/pool.h"

#define RECORD 16384
#define RECORD_MAX (RECORD + 2048) /* with what a cipher adds */
#define RECORD_HEAD 5
#define SLICE (4 * RECORD)
#define FIRST_READ 4096
#define WAITING_MAX 2048 /* steps of handshakes in the queue: some seconds of work */

enum phase { FRESH, AT_WORK, SHAKING, OPEN, BROKEN };

struct cc_tls {
    struct cc_layers layers; /* first: begin() and end() cast */
    struct cc_certs *certs;
    struct cc_pool *pool;
    uv_loop_t *loop;
    struct cc_tls_stats stats;
    unsigned refs; /* the server, connections */
};

/* Plain bytes that wait to be encrypted. */
struct rest {
    struct rest *next;
    size_t off, len;
    char data[];
};

/* Ciphertext that the kernel did not take at once. */
struct flight {
    uv_write_t write;
    struct conn *c;
    size_t len, plain; /* plain: how many of the owner's bytes it carries */
    char data[];
};

struct bytes {
    char *p;
    size_t off, len, cap;
};

struct conn {
    struct cc_layer layer; /* first: the socket's pointer */
    struct cc_sock *sock;  /* NULL: closed */
    struct cc_tls *tls;
    struct cc_certs *certs; /* since the first record */
    mbedtls_ssl_context ssl;
    struct cc_job job;
    struct bytes in; /* ciphertext that waits */
    size_t whole;    /* of it, in whole records: what a handshake may see */
    struct bytes out;
    const char *from; /* ciphertext under way, from the socket's read */
    size_t from_len;
    uv_alloc_cb alloc;
    uv_read_cb read;
    cc_sent_fn sent;
    struct rest *rests, **rests_end;
    size_t resting;
    struct flight *flight; /* the one with the owner's bytes */
    unsigned flights, refs;
    int result, end; /* of the handshake's step; what the owner will read in the end, 0: nothing yet */
    uint8_t phase;
    bool set_up, alerted, reading, under_reads, pumping, posted, said_end, shut, told;
};

static char cipher[SLICE];                /* what was read from a socket */
static unsigned char sealed[SLICE + 8192]; /* what is to be written to one; flushed before anything else is sealed */
static size_t sealed_len;

/* ---------------------------------------------------------------- life */

static void tls_unref(struct cc_tls *t)
{
    if (--t->refs)
        return;
    cc_certs_unref(t->certs);
    cc_pool_close(t->pool);
    free(t);
}

static void unref(struct conn *c)
{
    struct rest *r;

    if (--c->refs)
        return;
    mbedtls_ssl_free(&c->ssl);
    cc_certs_unref(c->certs);
    tls_unref(c->tls);
    while ((r = c->rests)) {
        c->rests = r->next;
        free(r);
    }
    free(c->in.p);
    free(c->out.p);
    free(c);
}

static struct conn *conn_of(const struct cc_sock *s) { return (struct conn *)s->layer; }

static void append(struct bytes *b, const void *p, size_t n)
{
    if (b->off && b->off == b->len)
        b->off = b->len = 0;
    if (b->cap - b->len < n) {
        b->cap = b->len + n;
        b->p = cc_xrealloc(b->p, b->cap);
    }
    memcpy(b->p + b->len, p, n);
    b->len += n;
}

static void clear(struct bytes *b)
{
    free(b->p);
    *b = (struct bytes){ NULL, 0, 0, 0 };
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
    struct conn *c = arg;
    bool stored = c->phase == AT_WORK || c->in.off < c->in.len;
    size_t have = c->phase == AT_WORK ? c->whole : stored ? c->in.len - c->in.off : c->from_len;
    int rc = take(stored ? c->in.p + c->in.off : c->from, have, out, n);

    if (rc < 0)
        return rc;
    if (!stored) {
        c->from += rc;
        c->from_len -= (size_t)rc;
        return rc;
    }
    c->in.off += (size_t)rc;
    if (c->phase == AT_WORK)
        c->whole -= (size_t)rc;
    return rc;
}

/* [worker] */
static int on_send(void *arg, const unsigned char *p, size_t n)
{
    struct conn *c = arg;

    if (c->phase == AT_WORK) {
        c->alerted = n > 0 && p[0] == MBEDTLS_SSL_MSG_ALERT;
        append(&c->out, p, n);
        return (int)n;
    }
    if (n > sizeof(sealed) - sealed_len)
        return MBEDTLS_ERR_SSL_INTERNAL_ERROR;
    memcpy(sealed + sealed_len, p, n);
    sealed_len += n;
    return (int)n;
}

/* ---------------------------------------------------------------- out */

static int push(struct conn *c);
static void finish_out(struct conn *c);

/* A new owner may have come meanwhile: his `sent` is the one to be called. */
static void tell_sent(struct conn *c, int status)
{
    if (c->sock && c->sock->handle.data && c->sent)
        c->sent(c->sock->handle.data, status);
}

static bool all_gone(const struct conn *c) { return !c->rests && !c->flight; }

static void on_flown(uv_write_t *w, int status)
{
    struct flight *f = (struct flight *)w;
    struct conn *c = f->c;
    bool owners = f == c->flight;

    c->flights--;
    if (owners)
        c->flight = NULL;
    free(f);
    if (status == 0 && c->sock && c->phase == OPEN && (owners || c->rests)) {
        status = push(c);
        if (status < 0 || all_gone(c))
            tell_sent(c, status);
    } else if (status < 0) {
        tell_sent(c, status);
    }
    if (c->sock)
        finish_out(c);
    unref(c);
}

/* Sends ciphertext that carries `plain` bytes of the owner's. */
static int fly(struct conn *c, const void *p, size_t n, size_t plain)
{
    uv_buf_t buf = uv_buf_init((char *)p, (unsigned)n);
    struct flight *f;
    int rc = uv_try_write(&c->sock->stream, &buf, 1);

    if (rc == UV_EAGAIN)
        rc = 0;
    if (rc < 0 || (size_t)rc == n)
        return rc < 0 ? rc : 0;
    f = cc_xmalloc(sizeof(*f) + n - (size_t)rc);
    f->c = c;
    f->len = n - (size_t)rc;
    f->plain = (plain * f->len + n - 1) / n;
    memcpy(f->data, (const char *)p + rc, f->len);
    buf = uv_buf_init(f->data, (unsigned)f->len);
    rc = uv_write(&f->write, &c->sock->stream, &buf, 1, on_flown);
    if (rc < 0) {
        free(f);
        return rc;
    }
    if (f->plain)
        c->flight = f;
    c->flights++;
    c->refs++;
    return 0;
}

static int flush(struct conn *c, size_t plain)
{
    size_t n = sealed_len;

    sealed_len = 0;
    return n ? fly(c, sealed, n, plain) : 0;
}

static void skip(uv_buf_t *bufs, unsigned n, size_t gone)
{
    unsigned i;

    for (i = 0; i < n && gone; i++) {
        size_t k = gone < bufs[i].len ? gone : bufs[i].len;

        bufs[i].base += k;
        bufs[i].len -= k;
        gone -= k;
    }
}

/* The next record's bytes: where they lie when they lie together, else gathered. */
static const char *next_record(const uv_buf_t *bufs, unsigned n, size_t *len)
{
    static char gather[RECORD];
    unsigned i = 0;

    while (i < n && bufs[i].len == 0)
        i++;
    *len = 0;
    if (i == n)
        return gather;
    if (i + 1 == n || bufs[i].len >= RECORD) {
        *len = bufs[i].len < RECORD ? bufs[i].len : RECORD;
        return bufs[i].base;
    }
    for (; i < n && *len < RECORD; i++) {
        size_t k = bufs[i].len < RECORD - *len ? bufs[i].len : RECORD - *len;

        memcpy(gather + *len, bufs[i].base, k);
        *len += k;
    }
    return gather;
}

/* Encrypts and sends from the front of bufs, until they are empty or the kernel takes no more. */
static int send_from(struct conn *c, uv_buf_t *bufs, unsigned n)
{
    int rc = 0;

    while (rc == 0 && !c->flight) {
        size_t plain = 0, len;
        const char *p;

        while (plain < SLICE) {
            p = next_record(bufs, n, &len);
            if (len == 0)
                break;
            rc = mbedtls_ssl_write(&c->ssl, (const unsigned char *)p, len);
            if (rc <= 0) {
                sealed_len = 0;
                return UV_EPROTO;
            }
            skip(bufs, n, (size_t)rc);
            plain += (size_t)rc;
        }
        if (plain == 0)
            return 0;
        rc = flush(c, plain);
    }
    return rc;
}

/* The owner's bytes that wait, as far as they go now. */
static int push(struct conn *c)
{
    while (c->rests && !c->flight) {
        uv_buf_t bufs[8];
        struct rest *r = c->rests;
        unsigned i, n = 0;
        int rc;

        for (; r && n < 8; r = r->next)
            bufs[n++] = uv_buf_init(r->data + r->off, (unsigned)(r->len - r->off));
        rc = send_from(c, bufs, n);
        if (rc < 0)
            return rc;
        for (i = 0; i < n; i++) {
            r = c->rests;
            c->resting -= r->len - r->off - bufs[i].len;
            r->off = r->len - bufs[i].len;
            if (r->off < r->len)
                break;
            c->rests = r->next;
            free(r);
        }
        if (!c->rests)
            c->rests_end = &c->rests;
    }
    return 0;
}

static void keep_rest(struct conn *c, const uv_buf_t *bufs, unsigned n)
{
    struct rest *r;
    size_t len = 0;
    unsigned i;

    for (i = 0; i < n; i++)
        len += bufs[i].len;
    if (len == 0)
        return;
    r = cc_xmalloc(sizeof(*r) + len);
    r->next = NULL;
    r->off = r->len = 0;
    for (i = 0; i < n; i++) {
        memcpy(r->data + r->len, bufs[i].base, bufs[i].len);
        r->len += bufs[i].len;
    }
    *c->rests_end = r;
    c->rests_end = &r->next;
    c->resting += len;
}

static int on_owner_send(struct cc_sock *s, const uv_buf_t *bufs, unsigned n, cc_sent_fn sent)
{
    struct conn *c = conn_of(s);
    uv_buf_t left[8];
    int rc = 0;

    if (c->phase == BROKEN || c->shut)
        return UV_EPIPE;
    memcpy(left, bufs, n * sizeof(*bufs));
    if (c->phase == OPEN && all_gone(c))
        rc = send_from(c, left, n);
    if (rc < 0)
        return rc;
    keep_rest(c, left, n);
    if (all_gone(c))
        return 0;
    c->sent = sent;
    return 1;
}

/* Exact to the byte when all has gone, and it never runs back: a server judges slow readers by it. */
static size_t on_queued(const struct cc_sock *s)
{
    const struct conn *c = conn_of(s);
    const struct flight *f = c->flight;
    size_t left = uv_stream_get_write_queue_size(&s->stream);

    if (!f)
        return c->resting;
    left = left < f->len ? left : f->len;
    return c->resting + (f->plain * left + f->len - 1) / f->len;
}

/* Tells the peer that no more will come, once. Nothing is told in the middle of a handshake. */
static void say_end(struct conn *c)
{
    if (c->phase != OPEN || c->said_end)
        return;
    c->said_end = true;
    if (mbedtls_ssl_close_notify(&c->ssl) == 0)
        flush(c, 0); /* a failure shows in reading */
    sealed_len = 0;
}

static void finish_out(struct conn *c)
{
    if (!c->shut || c->said_end || !all_gone(c) || c->phase == AT_WORK || c->phase == SHAKING)
        return;
    say_end(c);
    c->said_end = true;
    cc_sock_shutdown_under(c->sock);
}

static void on_owner_shutdown(struct cc_sock *s)
{
    struct conn *c = conn_of(s);

    c->shut = true;
    finish_out(c);
}

/* ---------------------------------------------------------------- in */

static void pump(struct conn *c);
static void advance(struct conn *c);

static void on_alloc(uv_handle_t *h, size_t hint, uv_buf_t *buf)
{
    struct conn *c = conn_of((struct cc_sock *)h);

    (void)hint;
    *buf = uv_buf_init(cipher, c->phase == OPEN ? sizeof(cipher) : FIRST_READ);
}

/* Why it ended, for who looks for it: what strangers send is no error of ours. */
static void note(struct conn *c, const char *what, int rc)
{
    struct cc_log_field f[3];
    struct sockaddr_storage ss;
    struct cc_addr a;
    char peer[46] = "gone", text[120] = "";
    int len = sizeof(ss);

    if (!cc_log_on(CC_LOG_DEBUG))
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

static void under_read(struct conn *c, bool want);

static void on_under_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);

static void under_read(struct conn *c, bool want)
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
static void tell_end(struct conn *c)
{
    uv_buf_t none = uv_buf_init(NULL, 0);

    if (!c->sock || !c->reading || !c->end || c->told)
        return;
    c->told = true;
    c->read(&c->sock->stream, c->end, &none);
}

static void break_off(struct conn *c, const char *why, int rc)
{
    c->tls->stats.failed++;
    note(c, why, rc);
    c->phase = BROKEN;
    c->end = UV_EPROTO;
    under_read(c, false);
    tell_end(c);
}

static void on_posted(void *arg)
{
    struct conn *c = arg;

    c->posted = false;
    if (c->sock)
        pump(c);
    unref(c);
}

/* Like a read that uv delivers, it comes in a later turn. */
static void post(struct conn *c)
{
    if (c->posted)
        return;
    c->posted = true;
    c->refs++;
    cc_sock_later(c->tls->loop, on_posted, c);
}

/* Decrypts into buf what there is. Returns how much; what ends the connection goes to c->end. */
static size_t fill(struct conn *c, const uv_buf_t *buf)
{
    size_t got = 0;
    int rc = 1;

    while (got < buf->len) {
        rc = mbedtls_ssl_read(&c->ssl, (unsigned char *)buf->base + got, buf->len - got);
        if (rc > 0)
            got += (size_t)rc;
        else
            break;
        if (sealed_len)
            break;
    }
    if (rc == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY) {
        c->end = UV_EOF;
    } else if (rc <= 0 && rc != MBEDTLS_ERR_SSL_WANT_READ) {
        c->end = UV_EPROTO;
        note(c, "a record is not good", rc);
    } else if (sealed_len) { /* only a refusal to negotiate anew makes it speak while it reads */
        c->end = UV_EPROTO;
        note(c, "asked to negotiate anew", 0);
    }
    flush(c, 0); /* an alert */
    return got;
}

/* Decrypts for the owner as long as he reads. He may stop, close, or hand the socket on inside his
 * callback; it is never called from inside itself. */
static void pump(struct conn *c)
{
    if (c->pumping)
        return;
    c->pumping = true;
    c->refs++;
    while (c->sock && c->reading && c->phase == OPEN && !c->end) {
        uv_buf_t buf;
        size_t got;

        c->alloc(&c->sock->handle, SLICE, &buf);
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
    if (c->sock && c->phase == OPEN)
        under_read(c, c->reading && !c->end);
    tell_end(c);
    unref(c);
}

static void on_under_end(struct conn *c, int status)
{
    under_read(c, false);
    if (c->phase != OPEN) {
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
    struct conn *c = conn_of((struct cc_sock *)stream);

    if (n < 0) {
        on_under_end(c, (int)n);
    } else if (n > 0 && c->phase == OPEN) {
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
    struct conn *c = conn_of(s);

    c->alloc = alloc;
    c->read = read;
    c->reading = true;
    if (c->pumping || c->told)
        return;
    if (c->phase == FRESH || c->phase == SHAKING)
        under_read(c, true);
    else if (c->phase != AT_WORK) /* mbedTLS may hold the rest of a record, `in` more of them */
        post(c);
}

/* A handshake goes on for all that; its deadline is the owner's. */
static void on_owner_read_stop(struct cc_sock *s)
{
    struct conn *c = conn_of(s);

    c->reading = false;
    if (c->phase == OPEN)
        under_read(c, false);
}

/* ---------------------------------------------------------------- the handshake */

/* [worker] */
static void work(struct cc_job *job)
{
    struct conn *c = (struct conn *)((char *)job - offsetof(struct conn, job));

    c->result = 0;
    if (!c->set_up) {
        c->result = mbedtls_ssl_setup(&c->ssl, cc_certs_config(c->certs));
        mbedtls_ssl_set_bio(&c->ssl, c, on_send, on_recv, NULL);
        c->set_up = true;
    }
    if (c->result == 0)
        c->result = mbedtls_ssl_handshake(&c->ssl);
    if (c->result != 0 && c->result != MBEDTLS_ERR_SSL_WANT_READ &&
        c->result != MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE && !c->alerted) /* it does not always say why */
        mbedtls_ssl_send_alert_message(&c->ssl, MBEDTLS_SSL_ALERT_LEVEL_FATAL, MBEDTLS_SSL_ALERT_MSG_HANDSHAKE_FAILURE);
}

static void opened(struct conn *c)
{
    bool waited = c->rests != NULL;
    int rc;

    c->phase = OPEN;
    c->tls->stats.handshakes++;
    rc = push(c);
    if (waited && (rc < 0 || all_gone(c)))
        tell_sent(c, rc);
    if (c->sock)
        finish_out(c);
    if (c->sock && c->reading)
        pump(c);
}

static void on_done(struct cc_job *job)
{
    struct conn *c = (struct conn *)((char *)job - offsetof(struct conn, job));

    c->tls->stats.waiting--;
    c->phase = SHAKING;
    if (c->sock && c->out.len)
        fly(c, c->out.p, c->out.len, 0); /* a failure shows in reading */
    clear(&c->out);
    if (!c->sock)
        ;
    else if (c->result == 0)
        opened(c);
    else if (c->result == MBEDTLS_ERR_SSL_WANT_READ)
        advance(c);
    else
        break_off(c, "no handshake", c->result);
    unref(c);
}

static void start_work(struct conn *c)
{
    under_read(c, false);
    if (!c->certs)
        c->certs = cc_certs_ref(c->tls->certs);
    c->phase = AT_WORK;
    c->job = (struct cc_job){ .work = work, .done = on_done };
    c->refs++;
    c->tls->stats.waiting++;
    cc_pool_submit(c->tls->pool, &c->job);
}

/* Somebody who speaks HTTP is told in his own words. */
static void not_tls(struct conn *c, char first)
{
    static const char words[] = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 31\r\n"
                                "Connection: close\r\n\r\nthis port speaks TLS (https://)";

    if (first >= 'A' && first <= 'Z')
        fly(c, words, sizeof(words) - 1, 0);
    break_off(c, "not TLS", 0);
}

/* Counts the whole records. False: what comes next is none. */
static bool count_whole(struct conn *c)
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

static void advance(struct conn *c)
{
    if (c->phase == FRESH && c->in.len && c->in.p[0] != 0x16)
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
    struct conn *c = conn_of(s);

    if (!reset && all_gone(c) && c->flights == 0)
        say_end(c);
    c->sock = NULL;
    if (c->phase == AT_WORK)
        cc_pool_cancel(&c->job);
    unref(c);
}

static const struct cc_layer_ops ops = { on_owner_read_start, on_owner_read_stop, on_owner_send,
                                         on_queued,           on_owner_shutdown,  on_owner_close };

static void on_begin(struct cc_layers *l, struct cc_sock *s)
{
    struct cc_tls *t = (struct cc_tls *)l;
    struct conn *c = cc_xcalloc(1, sizeof(*c));

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
