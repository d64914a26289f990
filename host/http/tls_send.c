/* tls_send.c - what the owner of a TLS connection sends; see tls_conn.h.
 *
 * mbedTLS writes into memory that always has room, so a write of its is never
 * repeated.  What is sent is encrypted in slices as the kernel takes them: at
 * most one slice of ciphertext waits, the rest waits as plain bytes.
 */
#include <stdlib.h>
#include <string.h>

#include "host/http/tls_conn.h"
#include "host/sys/mem.h"

/* Plain bytes that wait to be encrypted. */
struct cc_tls_rest {
    struct cc_tls_rest *next;
    size_t off, len;
    char data[];
};

/* Ciphertext that the kernel did not take at once. */
struct cc_tls_flight {
    uv_write_t write;
    struct cc_tls_conn *c;
    size_t len, plain; /* plain: how many of the owner's bytes it carries */
    char data[];
};

/* What is to be written to a socket; flushed before anything else is sealed. */
static unsigned char sealed[CC_TLS_SLICE + 8192];
static size_t sealed_len;

static int push(struct cc_tls_conn *c);
static void finish(struct cc_tls_conn *c);

/* A new owner may have come meanwhile: his `sent` is the one to be called. */
static void tell_sent(struct cc_tls_conn *c, int status)
{
    if (c->sock && c->sock->handle.data && c->sent)
        c->sent(c->sock->handle.data, status);
}

bool cc_tls_all_gone(const struct cc_tls_conn *c) { return !c->rests && !c->flight; }

static void on_flown(uv_write_t *w, int status)
{
    struct cc_tls_flight *f = (struct cc_tls_flight *)w;
    struct cc_tls_conn *c = f->c;
    bool owners = f == c->flight;

    c->flights--;
    if (owners)
        c->flight = NULL;
    free(f);
    if (status == 0 && c->sock && c->phase == TLS_OPEN && (owners || c->rests)) {
        status = push(c);
        if (status < 0 || cc_tls_all_gone(c))
            tell_sent(c, status);
    } else if (status < 0) {
        tell_sent(c, status);
    }
    if (c->sock)
        finish(c);
    cc_tls_conn_unref(c);
}

/* Sends ciphertext that carries `plain` bytes of the owner's. */
int cc_tls_fly(struct cc_tls_conn *c, const void *p, size_t n, size_t plain)
{
    uv_buf_t buf = uv_buf_init((char *)p, (unsigned)n);
    struct cc_tls_flight *f;
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

bool cc_tls_seal(const void *p, size_t n)
{
    if (n > sizeof(sealed) - sealed_len)
        return false;
    memcpy(sealed + sealed_len, p, n);
    sealed_len += n;
    return true;
}

bool cc_tls_sealed(void) { return sealed_len > 0; }

int cc_tls_flush(struct cc_tls_conn *c, size_t plain)
{
    size_t n = sealed_len;

    sealed_len = 0;
    return n ? cc_tls_fly(c, sealed, n, plain) : 0;
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
    static char gather[CC_TLS_RECORD];
    unsigned i = 0;

    while (i < n && bufs[i].len == 0)
        i++;
    *len = 0;
    if (i == n)
        return gather;
    if (i + 1 == n || bufs[i].len >= CC_TLS_RECORD) {
        *len = bufs[i].len < CC_TLS_RECORD ? bufs[i].len : CC_TLS_RECORD;
        return bufs[i].base;
    }
    for (; i < n && *len < CC_TLS_RECORD; i++) {
        size_t k = bufs[i].len < CC_TLS_RECORD - *len ? bufs[i].len : CC_TLS_RECORD - *len;

        memcpy(gather + *len, bufs[i].base, k);
        *len += k;
    }
    return gather;
}

/* Encrypts and sends from the front of bufs, until they are empty or the kernel takes no more. */
static int send_from(struct cc_tls_conn *c, uv_buf_t *bufs, unsigned n)
{
    int rc = 0;

    while (rc == 0 && !c->flight) {
        size_t plain = 0, len;
        const char *p;

        while (plain < CC_TLS_SLICE) {
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
        rc = cc_tls_flush(c, plain);
    }
    return rc;
}

/* The owner's bytes that wait, as far as they go now. */
static int push(struct cc_tls_conn *c)
{
    while (c->rests && !c->flight) {
        uv_buf_t bufs[8];
        struct cc_tls_rest *r = c->rests;
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

static void keep_rest(struct cc_tls_conn *c, const uv_buf_t *bufs, unsigned n)
{
    struct cc_tls_rest *r;
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

int cc_tls_send(struct cc_sock *s, const uv_buf_t *bufs, unsigned n, cc_sent_fn sent)
{
    struct cc_tls_conn *c = cc_tls_conn_of(s);
    uv_buf_t left[8];
    int rc = 0;

    if (c->phase == TLS_BROKEN || c->shut)
        return UV_EPIPE;
    memcpy(left, bufs, n * sizeof(*bufs));
    if (c->phase == TLS_OPEN && cc_tls_all_gone(c))
        rc = send_from(c, left, n);
    if (rc < 0)
        return rc;
    keep_rest(c, left, n);
    if (cc_tls_all_gone(c))
        return 0;
    c->sent = sent;
    return 1;
}

/* Exact to the byte when all has gone, and it never runs back: a server judges slow readers by it. */
size_t cc_tls_queued(const struct cc_sock *s)
{
    const struct cc_tls_conn *c = cc_tls_conn_of(s);
    const struct cc_tls_flight *f = c->flight;
    size_t left = uv_stream_get_write_queue_size(&s->stream);

    if (!f)
        return c->resting;
    left = left < f->len ? left : f->len;
    return c->resting + (f->plain * left + f->len - 1) / f->len;
}

/* Tells the peer that no more will come, once. Nothing is told in the middle of a handshake. */
void cc_tls_say_end(struct cc_tls_conn *c)
{
    if (c->phase != TLS_OPEN || c->said_end)
        return;
    c->said_end = true;
    if (mbedtls_ssl_close_notify(&c->ssl) == 0)
        cc_tls_flush(c, 0); /* a failure shows in reading */
    sealed_len = 0;
}

static void finish(struct cc_tls_conn *c)
{
    if (!c->shut || c->said_end || !cc_tls_all_gone(c) || c->phase == TLS_AT_WORK || c->phase == TLS_SHAKING)
        return;
    cc_tls_say_end(c);
    c->said_end = true;
    cc_sock_shutdown_under(c->sock);
}

void cc_tls_shutdown(struct cc_sock *s)
{
    struct cc_tls_conn *c = cc_tls_conn_of(s);

    c->shut = true;
    finish(c);
}

void cc_tls_send_waiting(struct cc_tls_conn *c)
{
    bool waited = c->rests != NULL;
    int rc = push(c);

    if (waited && (rc < 0 || cc_tls_all_gone(c)))
        tell_sent(c, rc);
    if (c->sock)
        finish(c);
}

void cc_tls_drop_waiting(struct cc_tls_conn *c)
{
    struct cc_tls_rest *r;

    while ((r = c->rests)) {
        c->rests = r->next;
        free(r);
    }
}
