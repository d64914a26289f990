/* dial.c - see dial.h. */
#include "host/http/dial.h"

#include <stdio.h>
#include <string.h>

#include "host/http/handshake.h"
#include "host/http/text.h"
#include "host/sys/err.h"

/* What stays with us: framing, the connection's own, who the client is and how he proved it, and
 * what we set ourselves. */
static const char *const kept_back[] = {
    "host",
    "connection",
    "upgrade",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "content-length",
    "expect",
    "proxy-authorization",
    "proxy-authenticate",
    "proxy-connection",
    "cookie",
    "authorization",
    "x-api-key",
    "origin",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-prefix",
    "x-real-ip",
    "http2-settings",
};
static const char *const of_upgrades[] = { "content-type", "sec-websocket-extensions", "sec-websocket-accept" };

static bool listed(const char *const *list, size_t n, const char *lower)
{
    size_t i;

    for (i = 0; i < n; i++)
        if (strcmp(lower, list[i]) == 0)
            return true;
    return false;
}

static bool is_ours(const struct cc_dial_ask *ask, struct cc_text name)
{
    unsigned i;

    for (i = 0; i < ask->n_headers; i++)
        if (ask->headers[i].name.n == name.n && strncasecmp(ask->headers[i].name.p, name.p, name.n) == 0)
            return true;
    return false;
}

static bool passes(struct cc_req *r, const struct cc_dial_ask *ask, struct cc_text name)
{
    struct cc_text named = cc_req_header(r, "connection", 10);
    char lower[64];
    size_t i;

    if (name.n >= sizeof(lower))
        return false;
    for (i = 0; i < name.n; i++)
        lower[i] = (char)(name.p[i] >= 'A' && name.p[i] <= 'Z' ? name.p[i] + 32 : name.p[i]);
    lower[name.n] = 0;
    if (listed(kept_back, sizeof(kept_back) / sizeof(*kept_back), lower) ||
        (ask->upgrade && listed(of_upgrades, sizeof(of_upgrades) / sizeof(*of_upgrades), lower)))
        return false;
    return !is_ours(ask, name) && !cc_list_has(named.p ? named.p : "", named.n, lower);
}

struct out {
    char *p;
    size_t left;
    bool full;
};

static void put(struct out *o, const char *p, size_t n)
{
    if (n > o->left) {
        o->full = true;
        return;
    }
    memcpy(o->p, p, n);
    o->p += n;
    o->left -= n;
}

static void put_text(struct out *o, const char *p) { put(o, p, strlen(p)); }

static void put_line(struct out *o, struct cc_text name, struct cc_text value)
{
    put(o, name.p, name.n);
    put(o, ": ", 2);
    put(o, value.p, value.n);
    put(o, "\r\n", 2);
}

static bool target_ok(const char *p)
{
    size_t i;

    for (i = 0; p[i]; i++)
        if ((unsigned char)p[i] <= ' ' || (unsigned char)p[i] >= 0x7f || p[i] == '#')
            return false;
    return p[0] == '/';
}

static int put_target(struct out *o, struct cc_req *r, const struct cc_dial_ask *ask)
{
    struct cc_text path;

    if (ask->path) {
        if (!target_ok(ask->path))
            return CC_E_INVALID;
        put_text(o, ask->path);
        return 0;
    }
    path = cc_req_path_raw(r);
    put(o, path.p, path.n);
    return 0;
}

static void put_framing(struct out *o, const struct cc_dial_ask *ask, const char *method)
{
    char line[64];

    if (ask->upgrade) {
        put_text(o, "Connection: Upgrade\r\nUpgrade: websocket\r\n");
        return;
    }
    put_text(o, "Connection: close\r\n"); /* one request, one socket: nothing of one client's meets another's */
    if (ask->length < 0) {
        put_text(o, "Transfer-Encoding: chunked\r\n");
    } else if (ask->length > 0 || (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)) {
        snprintf(line, sizeof(line), "Content-Length: %lld\r\n", (long long)ask->length);
        put_text(o, line);
    }
}

static void put_kept(struct out *o, struct cc_req *r, const struct cc_dial_ask *ask)
{
    struct cc_text name, value;
    unsigned i;

    for (i = 0; cc_req_header_at(r, i, &name, &value); i++)
        if (passes(r, ask, name))
            put_line(o, name, value);
}

/* They were kept before it was known what we would say ourselves. */
static void put_lines(struct out *o, const struct cc_dial_ask *ask)
{
    const char *p = ask->kept.p, *end = p + ask->kept.n;

    while (p < end) {
        const char *next = (const char *)memchr(p, '\n', (size_t)(end - p)) + 1;
        const char *colon = memchr(p, ':', (size_t)(next - p));

        if (!is_ours(ask, (struct cc_text){ p, (size_t)(colon - p) }))
            put(o, p, (size_t)(next - p));
        p = next;
    }
}

int cc_dial_kept(struct cc_req *r, char *out, size_t cap)
{
    struct out o = { out, cap, false };
    struct cc_dial_ask ask = { .upgrade = true };

    put_kept(&o, r, &ask);
    return o.full ? CC_E_LIMIT : (int)(o.p - out);
}

int cc_dial_request(struct cc_req *r, const struct cc_dial_ask *ask, char *out, size_t cap)
{
    const char *method = ask->upgrade ? "GET" : cc_req_method(r);
    struct out o = { out, cap, false };
    unsigned i;

    put_text(&o, method);
    put(&o, " ", 1);
    if (put_target(&o, r, ask) < 0)
        return CC_E_INVALID;
    put_text(&o, " HTTP/1.1\r\nHost: ");
    put_text(&o, ask->host ? ask->host : "localhost");
    put(&o, "\r\n", 2);
    put_framing(&o, ask, method);
    if (ask->kept.p)
        put_lines(&o, ask);
    else
        put_kept(&o, r, ask);
    for (i = 0; i < ask->n_headers; i++) {
        const struct cc_hdr *h = &ask->headers[i];

        if (!cc_is_token(h->name.p, h->name.n) || !cc_is_field_value(h->value.p, h->value.n))
            return CC_E_INVALID;
        put_line(&o, h->name, h->value);
    }
    put(&o, "\r\n", 2);
    return o.full ? CC_E_LIMIT : (int)(o.p - out);
}

bool cc_dial_answer(const char *head, size_t n, const char *key, size_t key_len, struct cc_text *protocol, int *status)
{
    struct cc_head h = { 0 };
    const struct cc_field *f;
    char accept[29];

    *status = 0;
    if (cc_head_parse_response(&h, head, n) != 0)
        return false;
    *status = h.status;
    if (h.status != 101 || h.chunked || h.length > 0 || !cc_ws_accept(key, key_len, accept))
        return false;
    f = cc_head_find(&h, head, "upgrade", 7);
    if (!f || !cc_list_has(head + f->value, f->value_len, "websocket"))
        return false;
    f = cc_head_find(&h, head, "connection", 10);
    if (!f || !cc_list_has(head + f->value, f->value_len, "upgrade"))
        return false;
    f = cc_head_find(&h, head, "sec-websocket-accept", 20);
    if (!f || f->value_len != 28 || memcmp(head + f->value, accept, 28) != 0)
        return false;
    if (cc_head_find(&h, head, "sec-websocket-extensions", 24))
        return false; /* none was offered */
    f = cc_head_find(&h, head, "sec-websocket-protocol", 22);
    *protocol = f ? (struct cc_text){ head + f->value, f->value_len } : (struct cc_text){ NULL, 0 };
    return true;
}
