/* reply.c - the heads of replies.
 *
 * Built in one buffer of the process and written in the same turn.  What the
 * caller names is checked here, so that no value of his can end a line.
 */
#include "host/http/conn.h"

#include <stdio.h>
#include <string.h>

#include "host/http/text.h"
#include "host/sys/err.h"

static char head[CC_REPLY_HEAD_MAX];

struct out {
    char *p, *end;
};

static void put(struct out *o, const char *p, size_t n)
{
    if ((size_t)(o->end - o->p) < n) {
        o->p = o->end;
        return;
    }
    memcpy(o->p, p, n);
    o->p += n;
}

#define PUT(o, literal) put(o, "" literal, sizeof(literal) - 1)

static void put_number(struct out *o, uint64_t v)
{
    char digits[20], *p = digits + sizeof(digits);

    do
        *--p = (char)('0' + v % 10);
    while ((v /= 10));
    put(o, p, (size_t)(digits + sizeof(digits) - p));
}

/* By status; what has none is sent without: the reason is optional, the space before it is not. */
static const char *const reasons[] = {
    [101] = "Switching Protocols",
    [200] = "OK",
    [201] = "Created",
    [202] = "Accepted",
    [204] = "No Content",
    [206] = "Partial Content",
    [301] = "Moved Permanently",
    [302] = "Found",
    [303] = "See Other",
    [304] = "Not Modified",
    [307] = "Temporary Redirect",
    [308] = "Permanent Redirect",
    [400] = "Bad Request",
    [401] = "Unauthorized",
    [402] = "Payment Required",
    [403] = "Forbidden",
    [404] = "Not Found",
    [405] = "Method Not Allowed",
    [406] = "Not Acceptable",
    [408] = "Request Timeout",
    [409] = "Conflict",
    [410] = "Gone",
    [411] = "Length Required",
    [412] = "Precondition Failed",
    [413] = "Content Too Large",
    [414] = "URI Too Long",
    [415] = "Unsupported Media Type",
    [416] = "Range Not Satisfiable",
    [417] = "Expectation Failed",
    [422] = "Unprocessable Content",
    [426] = "Upgrade Required",
    [428] = "Precondition Required",
    [429] = "Too Many Requests",
    [431] = "Request Header Fields Too Large",
    [500] = "Internal Server Error",
    [501] = "Not Implemented",
    [502] = "Bad Gateway",
    [503] = "Service Unavailable",
    [504] = "Gateway Timeout",
    [505] = "HTTP Version Not Supported",
    [507] = "Insufficient Storage",
};

static const char *reason(int status)
{
    const char *name = NULL;

    if (status >= 0 && (size_t)status < sizeof(reasons) / sizeof(reasons[0]))
        name = reasons[status];
    return name ? name : "";
}

static void put_status(struct out *o, int status)
{
    const char *name = reason(status);

    PUT(o, "HTTP/1.1 ");
    put_number(o, (uint64_t)status);
    PUT(o, " ");
    put(o, name, strlen(name));
    PUT(o, "\r\n");
}

/* Framing and connection are the server's own business. */
static bool ours(struct cc_text name)
{
    switch (name.n) {
    case 4:
        return cc_word_is(name.p, 4, "date");
    case 10:
        return cc_word_is(name.p, 10, "connection");
    case 14:
        return cc_word_is(name.p, 14, "content-length");
    case 17:
        return cc_word_is(name.p, 17, "transfer-encoding");
    default:
        return false;
    }
}

static bool same_name(struct cc_text a, struct cc_text b) { return a.n == b.n && strncasecmp(a.p, b.p, a.n) == 0; }

/* Bit i of the result: the caller's headers replace the server's i-th default. */
static int put_headers(struct out *o, const struct cc_server *s, const struct cc_hdr *h, unsigned n, unsigned *replaced)
{
    unsigned i, k;

    for (i = 0; i < n; i++) {
        if (!cc_is_token(h[i].name.p, h[i].name.n) || ours(h[i].name) || !cc_is_field_value(h[i].value.p, h[i].value.n))
            return CC_E_INVALID;
        for (k = 0; k < s->o.n_headers; k++)
            if (same_name(h[i].name, s->defaults[k].name))
                *replaced |= 1u << k;
        put(o, h[i].name.p, h[i].name.n);
        PUT(o, ": ");
        put(o, h[i].value.p, h[i].value.n);
        PUT(o, "\r\n");
    }
    return 0;
}

static void put_defaults(struct out *o, const struct cc_server *s, unsigned replaced)
{
    unsigned k;

    if (!replaced) {
        put(o, s->default_bytes, s->default_len);
        return;
    }
    for (k = 0; k < s->o.n_headers; k++)
        if (!(replaced & 1u << k))
            put(o, s->defaults[k].line.p, s->defaults[k].line.n);
}

static void put_framing(struct out *o, enum cc_framing framing, size_t len)
{
    if (framing == FRAMING_CHUNKED) {
        PUT(o, "Transfer-Encoding: chunked\r\n");
    } else if (framing == FRAMING_LENGTH) {
        PUT(o, "Content-Length: ");
        put_number(o, len);
        PUT(o, "\r\n");
    }
}

int cc_reply_head(struct cc_req *r, int status, const struct cc_hdr *h, unsigned n, enum cc_framing framing, size_t len,
                  const char **out)
{
    struct cc_server *s = r->server;
    struct out o = { head, head + sizeof(head) };
    unsigned replaced = 0;

    if (status < 100 || status > 599)
        return CC_E_INVALID;
    put_status(&o, status);
    put(&o, s->date, s->date_len);
    if (put_headers(&o, s, h, n, &replaced) < 0)
        return CC_E_INVALID;
    put_defaults(&o, s, replaced);
    if (s->o.request_ids) {
        const char *id = cc_req_id(r);

        PUT(&o, "X-Request-Id: ");
        put(&o, id, r->id_len);
        PUT(&o, "\r\n");
    }
    put_framing(&o, framing, len);
    if (status == 101)
        PUT(&o, "Connection: Upgrade\r\n");
    else if (r->close)
        PUT(&o, "Connection: close\r\n");
    else if (r->h.minor == 0)
        PUT(&o, "Connection: keep-alive\r\n");
    PUT(&o, "\r\n");
    if (o.p == o.end)
        return CC_E_LIMIT;
    *out = head;
    r->status = status;
    return (int)(o.p - head);
}

static const char *word_for(int status, const char **sentence)
{
    switch (status) {
    case 408:
        *sentence = "the request took too long";
        return "timeout";
    case 413:
        *sentence = "the body is too long";
        return "limit";
    case 414:
        *sentence = "the request line is too long";
        return "limit";
    case 417:
        *sentence = "no such expectation can be met";
        return "unsupported";
    case 431:
        *sentence = "the head of the request is too long";
        return "limit";
    case 501:
        *sentence = "no such method or transfer encoding here";
        return "unsupported";
    case 503:
        *sentence = "too many connections";
        return "unavailable";
    case 505:
        *sentence = "only HTTP/1.0 and HTTP/1.1 are spoken here";
        return "unsupported";
    default:
        *sentence = "malformed request";
        return "invalid";
    }
}

struct cc_text cc_reply_refusal(struct cc_server *s, int status)
{
    struct out o = { head, head + sizeof(head) };
    const char *sentence, *word = word_for(status, &sentence);
    char body[160];
    int n = snprintf(body, sizeof(body), "{\"error\":\"%s\",\"code\":\"%s\"}", sentence, word);

    put_status(&o, status);
    put(&o, s->date, s->date_len);
    PUT(&o, "Content-Type: application/json; charset=utf-8\r\n");
    put_defaults(&o, s, 0);
    if (status == 503)
        PUT(&o, "Retry-After: 1\r\n");
    put_framing(&o, FRAMING_LENGTH, (size_t)n);
    PUT(&o, "Connection: close\r\n\r\n");
    put(&o, body, (size_t)n);
    return (struct cc_text){ head, (size_t)(o.p - head) };
}
