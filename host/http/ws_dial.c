/* ws_dial.c - see ws_dial.h.
 *
 * States: reaching (reach is set), asking (sock is set, nothing has come), reading the head, reading
 * the body of a refusal. One deadline over all of them, one way out: end().
 */
#include "host/http/ws_dial.h"

#include <mbedtls/base64.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "host/http/conn.h"
#include "host/http/dial.h"
#include "host/http/reach.h"
#include "host/http/text.h"
#include "host/sys/clock.h"
#include "host/sys/mem.h"
#include "host/sys/random.h"

enum { REQUEST_MAX = 32 * 1024, REFUSAL_MAX = 16 * 1024 };

struct cc_ws_dial {
    uv_loop_t *loop;
    struct cc_reach *reach;
    struct cc_sock *sock;
    struct cc_timer *timer;
    char *request, *protocol;
    size_t request_len;
    char key[25];
    struct cc_head_scan scan;
    char *in;
    size_t in_len, head_len, want; /* want: of a refusal, head and body */
    int status;
    struct cc_ws_opts ws;
    struct cc_ws_events events;
    void (*done)(void *arg, struct cc_ws *ws, const struct cc_ws_answer *answer, const struct cc_err *err);
    void *arg;
};

/* ---------------------------------------------------------------- ends */

static void end(struct cc_ws_dial *d)
{
    if (d->reach)
        cc_reach_cancel(d->reach);
    cc_timer_stop(d->timer);
    cc_sock_close(d->sock);
    free(d->request);
    free(d->protocol);
    free(d->in);
    free(d);
}

static void fail(struct cc_ws_dial *d, const struct cc_ws_answer *answer, const struct cc_err *err)
{
    d->done(d->arg, NULL, answer, err);
    end(d);
}

static void fail_with(struct cc_ws_dial *d, int code, const char *text)
{
    struct cc_err err;

    cc_err_set(&err, code, "%s", text);
    fail(d, NULL, &err);
}

static int code_of(int status)
{
    switch (status) {
    case 401:
    case 403:
        return CC_E_DENIED;
    case 404:
        return CC_E_NOT_FOUND;
    case 409:
        return CC_E_STATE;
    case 429:
        return CC_E_LIMIT;
    default:
        return status >= 500 ? CC_E_UNAVAILABLE : CC_E_INVALID;
    }
}

static void refuse(struct cc_ws_dial *d)
{
    struct cc_ws_answer a = { d->status, d->in + d->head_len, d->in_len - d->head_len };
    struct cc_err err;

    if (a.body_len > d->want - d->head_len)
        a.body_len = d->want - d->head_len;
    cc_err_set(&err, code_of(d->status), "the server answered %d instead of opening a WebSocket", d->status);
    fail(d, &a, &err);
}

static void on_time(void *arg)
{
    struct cc_ws_dial *d = arg;

    d->timer = NULL;
    if (d->want)
        refuse(d); /* with what there is of its body */
    else
        fail_with(d, CC_E_TIMEOUT, "the server did not answer in time");
}

/* ---------------------------------------------------------------- the answer */

static bool protocol_ok(const struct cc_ws_dial *d, struct cc_text chosen)
{
    if (!d->protocol)
        return chosen.p == NULL;
    return chosen.p && chosen.n == strlen(d->protocol) && memcmp(chosen.p, d->protocol, chosen.n) == 0;
}

static void open_it(struct cc_ws_dial *d)
{
    size_t rest_len = d->in_len - d->head_len;
    char *rest = NULL;
    struct cc_ws *ws;

    if (rest_len) {
        rest = cc_xmalloc(rest_len);
        memcpy(rest, d->in + d->head_len, rest_len);
    }
    cc_sock_read_stop(d->sock); /* uv would keep the old callback */
    ws = cc_ws_adopt(d->loop, d->sock, rest, rest_len, &d->ws, &d->events, d->arg);
    d->sock = NULL;
    d->done(d->arg, ws, NULL, NULL);
    end(d);
}

/* The head is whole. */
static void answered(struct cc_ws_dial *d)
{
    struct cc_text protocol = { NULL, 0 };
    struct cc_head h = { 0 };

    if (cc_dial_answer(d->in, d->head_len, d->key, 24, &protocol, &d->status)) {
        if (cc_sock_queued(d->sock) > 0)
            fail_with(d, CC_E_UNAVAILABLE, "the server answered before it was asked");
        else if (protocol_ok(d, protocol))
            open_it(d);
        else
            fail_with(d, CC_E_UNSUPPORTED, "the server does not speak the subprotocol");
        return;
    }
    if (d->status < 200 || cc_head_parse_response(&h, d->in, d->head_len) != 0) {
        fail_with(d, CC_E_UNAVAILABLE, "the server's answer is no proper WebSocket upgrade");
        return;
    }
    d->want = d->head_len;
    if (!h.chunked && h.length > 0)
        d->want += h.length < REFUSAL_MAX ? (size_t)h.length : REFUSAL_MAX;
    if (d->in_len >= d->want)
        refuse(d);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct cc_ws_dial *d = stream->data;
    int len;

    if (n < 0 && d->want) {
        refuse(d);
        return;
    }
    if (n < 0) {
        fail_with(d, CC_E_UNAVAILABLE, "the server closed the connection");
        return;
    }
    d->in = cc_xrealloc(d->in, d->in_len + (size_t)n + 1);
    memcpy(d->in + d->in_len, buf->base, (size_t)n);
    d->in_len += (size_t)n;
    if (d->want) {
        if (d->in_len >= d->want)
            refuse(d);
        return;
    }
    len = cc_head_scan(&d->scan, d->in, d->in_len, CC_HEAD_BYTES);
    if (len < 0) {
        fail_with(d, CC_E_UNAVAILABLE, "the server's answer is malformed");
    } else if (len > 0) {
        d->head_len = (size_t)len;
        answered(d);
    }
}

static void on_sent(void *owner, int status)
{
    if (status < 0)
        fail_with(owner, CC_E_UNAVAILABLE, "the server closed the connection");
}

static void on_reached(void *arg, struct cc_sock *s, const struct cc_err *err)
{
    struct cc_ws_dial *d = arg;
    uv_buf_t buf = uv_buf_init(d->request, (unsigned)d->request_len);

    d->reach = NULL;
    if (!s) {
        fail(d, NULL, err);
        return;
    }
    d->sock = s;
    s->handle.data = d;
    if (cc_sock_send(s, &buf, 1, on_sent) < 0)
        fail_with(d, CC_E_UNAVAILABLE, "the server closed the connection");
    else
        cc_sock_read_start(s, cc_sock_alloc, on_read);
}

/* ---------------------------------------------------------------- the request */

struct target {
    bool tls;
    struct cc_text authority, path; /* path: with the query; may be empty or begin with '?' */
};

static bool split_url(const char *url, struct target *t)
{
    static const struct {
        const char *name;
        bool tls;
    } schemes[] = { { "ws://", false }, { "http://", false }, { "wss://", true }, { "https://", true } };
    const char *p = NULL;
    size_t i;

    for (i = 0; url[i]; i++)
        if ((unsigned char)url[i] <= ' ' || (unsigned char)url[i] >= 0x7f || url[i] == '#' || url[i] == '\\')
            return false;
    for (i = 0; i < sizeof(schemes) / sizeof(*schemes) && !p; i++) {
        if (strncasecmp(url, schemes[i].name, strlen(schemes[i].name)) == 0) {
            p = url + strlen(schemes[i].name);
            t->tls = schemes[i].tls;
        }
    }
    if (!p)
        return false;
    t->authority = (struct cc_text){ p, strcspn(p, "/?") };
    t->path = (struct cc_text){ p + t->authority.n, strlen(p + t->authority.n) };
    return t->authority.n > 0 && !memchr(p, '@', t->authority.n);
}

/* Headers that are ours to say. */
static bool is_ours(struct cc_text name)
{
    static const char *const ours[] = { "host", "connection", "upgrade", "content-length", "transfer-encoding" };
    size_t i;

    for (i = 0; i < sizeof(ours) / sizeof(*ours); i++)
        if (cc_word_is(name.p, name.n, ours[i]))
            return true;
    return name.n >= 14 && strncasecmp(name.p, "sec-websocket-", 14) == 0;
}

static int check(const struct cc_ws_dial_opts *o, struct target *t, struct cc_err *err)
{
    unsigned i;

    if (!split_url(o->url, t))
        return cc_err_set(err, CC_E_INVALID, "no URL of a WebSocket: %.100s", o->url);
    if (o->protocol && !cc_is_token(o->protocol, strlen(o->protocol)))
        return cc_err_set(err, CC_E_INVALID, "the subprotocol's name cannot be sent");
    for (i = 0; i < o->n_headers; i++) {
        const struct cc_hdr *h = &o->headers[i];

        if (!cc_is_token(h->name.p, h->name.n) || !cc_is_field_value(h->value.p, h->value.n) || is_ours(h->name))
            return cc_err_set(err, CC_E_INVALID, "a header's name or value cannot be sent");
    }
    return 0;
}

static void make_key(char key[25])
{
    unsigned char raw[16];
    size_t n;

    cc_random(raw, sizeof(raw));
    mbedtls_base64_encode((unsigned char *)key, 25, &n, raw, sizeof(raw));
}

/* False: too long. */
static bool make_request(struct cc_ws_dial *d, const struct cc_ws_dial_opts *o, const struct target *t)
{
    char *p = d->request = cc_xmalloc(REQUEST_MAX);
    size_t left = REQUEST_MAX;
    unsigned i;
    int n;

    n = snprintf(p, left,
                 "GET %s%.*s HTTP/1.1\r\nHost: %.*s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                 "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\nUser-Agent: cchost\r\n",
                 t->path.n && t->path.p[0] == '/' ? "" : "/", (int)t->path.n, t->path.p, (int)t->authority.n,
                 t->authority.p, d->key);
    for (i = 0; n >= 0 && (size_t)n < left && i <= o->n_headers + 1; i++) {
        p += n;
        left -= (size_t)n;
        if (i < o->n_headers)
            n = snprintf(p, left, "%.*s: %.*s\r\n", (int)o->headers[i].name.n, o->headers[i].name.p,
                         (int)o->headers[i].value.n, o->headers[i].value.p);
        else if (i == o->n_headers)
            n = d->protocol ? snprintf(p, left, "Sec-WebSocket-Protocol: %s\r\n", d->protocol) : 0;
        else
            n = snprintf(p, left, "\r\n");
    }
    d->request_len = (size_t)(p - d->request) + (size_t)n;
    return n >= 0 && (size_t)n < left;
}

static int reach(struct cc_ws_dial *d, struct cc_pool *pool, const struct cc_ws_dial_opts *o, const struct target *t,
                 uint32_t ms, struct cc_err *err)
{
    struct cc_reach_opts ro = {
        .unix_path = o->unix_path, .ca_file = o->ca_file, .timeout_ms = ms, .done = on_reached, .arg = d
    };
    char *url = cc_xasprintf("http%s://%.*s/", t->tls ? "s" : "", (int)t->authority.n, t->authority.p);

    ro.url = url;
    d->reach = cc_reach_start(d->loop, pool, &ro, err);
    free(url);
    return d->reach ? 0 : -1;
}

struct cc_ws_dial *cc_ws_dial(uv_loop_t *loop, struct cc_pool *pool, const struct cc_ws_dial_opts *o,
                              struct cc_err *err)
{
    uint32_t ms = o->timeout_ms ? o->timeout_ms : 10000;
    struct target t = { 0 };
    struct cc_ws_dial *d;

    if (check(o, &t, err) < 0)
        return NULL;
    d = cc_xcalloc(1, sizeof(*d));
    d->loop = loop;
    d->ws = o->ws;
    d->events = *o->events;
    d->done = o->done;
    d->arg = o->arg;
    d->protocol = o->protocol ? cc_xstrdup(o->protocol) : NULL;
    d->scan.kind = CC_HEAD_RESPONSE;
    make_key(d->key);
    if (!make_request(d, o, &t)) {
        cc_err_set(err, CC_E_LIMIT, "the request is too long");
        end(d);
        return NULL;
    }
    if (reach(d, pool, o, &t, ms, err) < 0) {
        end(d);
        return NULL;
    }
    d->timer = cc_timer_start(loop, ms, on_time, d);
    return d;
}

void cc_ws_dial_cancel(struct cc_ws_dial *d) { end(d); }
