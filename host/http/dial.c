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
    "content-type",
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
    "x-real-ip",
    "http2-settings",
    "sec-websocket-extensions",
    "sec-websocket-accept",
};

static bool passes(struct cc_req *r, const struct cc_splice_opts *o, struct cc_text name)
{
    struct cc_text listed = cc_req_header(r, "connection", 10);
    char lower[64];
    size_t i;

    if (name.n >= sizeof(lower))
        return false;
    for (i = 0; i < name.n; i++)
        lower[i] = (char)(name.p[i] >= 'A' && name.p[i] <= 'Z' ? name.p[i] + 32 : name.p[i]);
    lower[name.n] = 0;
    for (i = 0; i < sizeof(kept_back) / sizeof(*kept_back); i++)
        if (strcmp(lower, kept_back[i]) == 0)
            return false;
    for (i = 0; i < o->n_headers; i++)
        if (o->headers[i].name.n == name.n && strncasecmp(o->headers[i].name.p, lower, name.n) == 0)
            return false;
    return !cc_list_has(listed.p ? listed.p : "", listed.n, lower);
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

static void put_line(struct out *o, struct cc_text name, struct cc_text value)
{
    put(o, name.p, name.n);
    put(o, ": ", 2);
    put(o, value.p, value.n);
    put(o, "\r\n", 2);
}

static void put_host(struct out *o, const struct cc_splice_opts *opts)
{
    char text[80] = "localhost";

    if (!opts->unix_path)
        snprintf(text, sizeof(text), strchr(opts->host, ':') ? "[%.46s]:%d" : "%.46s:%d", opts->host, opts->port);
    put_line(o, (struct cc_text){ "Host", 4 }, (struct cc_text){ text, strlen(text) });
}

static bool target_ok(const char *p)
{
    size_t i;

    for (i = 0; p[i]; i++)
        if ((unsigned char)p[i] <= ' ' || (unsigned char)p[i] >= 0x7f || p[i] == '#')
            return false;
    return p[0] == '/';
}

int cc_dial_request(struct cc_req *r, const struct cc_splice_opts *opts, char *out, size_t cap)
{
    struct out o = { out, cap, false };
    struct cc_text path = cc_req_path_raw(r), name, value;
    unsigned i;

    if (opts->path) {
        if (!target_ok(opts->path))
            return CC_E_INVALID;
        path = (struct cc_text){ opts->path, strlen(opts->path) };
    }
    put(&o, "GET ", 4);
    put(&o, path.p, path.n);
    put(&o, " HTTP/1.1\r\n", 11);
    put_host(&o, opts);
    put(&o, "Connection: Upgrade\r\nUpgrade: websocket\r\n", 41);
    for (i = 0; cc_req_header_at(r, i, &name, &value); i++)
        if (passes(r, opts, name))
            put_line(&o, name, value);
    for (i = 0; i < opts->n_headers; i++) {
        name = opts->headers[i].name;
        value = opts->headers[i].value;
        if (!cc_is_token(name.p, name.n) || !cc_is_field_value(value.p, value.n))
            return CC_E_INVALID;
        put_line(&o, name, value);
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
