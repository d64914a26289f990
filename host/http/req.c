/* req.c - what a handler can ask of a request and do with it; see req.h. */
#include "host/http/req.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "host/http/conn.h"
#include "host/http/text.h"
#include "host/sys/err.h"
#include "host/sys/mem.h"
#include "host/sys/random.h"

#define DISCARD_MAX 65536       /* an unread body up to this is swallowed for keep-alive */
#define WRITE_HIGH (256 * 1024) /* queued bytes from which a writer must wait */

/* ---------------------------------------------------------------- reading */

const char *cc_req_method(const struct cc_req *r) { return llhttp_method_name((llhttp_method_t)r->h.method); }

struct cc_text cc_req_path_raw(const struct cc_req *r)
{
    return (struct cc_text){ r->head + r->h.target, r->h.path_len };
}

/* The escapes were vetted with the head, but whether they make UTF-8 was not: what does not is
 * given as it came, and matches no route. */
struct cc_text cc_req_path(struct cc_req *r)
{
    struct cc_text raw = cc_req_path_raw(r);
    int n;

    if (!r->h.escaped)
        return raw;
    if (!r->path) {
        r->path = cc_xmalloc(raw.n);
        n = cc_path_decode(raw.p, raw.n, r->path);
        if (n < 0)
            memcpy(r->path, raw.p, raw.n);
        r->path_len = n < 0 ? (uint32_t)raw.n : (uint32_t)n;
    }
    return (struct cc_text){ r->path, r->path_len };
}

struct cc_text cc_req_query(const struct cc_req *r)
{
    if (!r->h.query)
        return (struct cc_text){ NULL, 0 };
    return (struct cc_text){ r->head + r->h.query, r->h.query_len };
}

struct cc_text cc_req_header(const struct cc_req *r, const char *name, size_t len)
{
    const struct cc_field *f = cc_head_find(&r->h, r->head, name, len);

    if (!f)
        return (struct cc_text){ NULL, 0 };
    return (struct cc_text){ r->head + f->value, f->value_len };
}

bool cc_req_header_at(const struct cc_req *r, unsigned i, struct cc_text *name, struct cc_text *value)
{
    const struct cc_field *f = &r->h.fields[i];

    if (i >= r->h.count)
        return false;
    *name = (struct cc_text){ r->head + f->name, f->name_len };
    *value = (struct cc_text){ r->head + f->value, f->value_len };
    return true;
}

int cc_req_minor(const struct cc_req *r) { return r->h.minor; }
struct cc_context *cc_req_context(struct cc_req *r) { return &r->context; }
struct cc_span **cc_req_span(struct cc_req *r) { return &r->span; }
void cc_req_mark(struct cc_req *r, unsigned mark) { r->mark = mark; }
bool cc_req_gone(const struct cc_req *r) { return !r->conn || r->conn->eof; }
bool cc_req_wants_upgrade(const struct cc_req *r) { return r->h.upgrade; }
bool cc_req_started(const struct cc_req *r) { return r->started; }
struct cc_server *cc_req_server(const struct cc_req *r) { return r->server; }

static bool peer_of(struct cc_conn *c, struct cc_addr *a)
{
    struct sockaddr_storage ss;
    int len = sizeof(ss);

    if (!c->peer_known && uv_tcp_getpeername(&c->sock->tcp, (struct sockaddr *)&ss, &len) == 0) {
        cc_addr_from(&c->peer, (struct sockaddr *)&ss);
        c->peer_known = true;
    }
    *a = c->peer;
    return c->peer_known;
}

static bool trusted(const struct cc_server *s, const struct cc_addr *a)
{
    unsigned i;

    for (i = 0; i < s->o.n_trusted; i++)
        if (cc_cidr_holds(&s->trusted[i], a))
            return true;
    return false;
}

/* Goes one X-Forwarded-For line from right to left as long as those named are trusted. Returns
 * true when the walk has ended. */
static bool walk_forwarded(const struct cc_server *s, const char *p, size_t n, struct cc_addr *client)
{
    while (n > 0) {
        const char *comma = memrchr(p, ',', n);
        const char *from = comma ? comma + 1 : p, *to = p + n;
        struct cc_addr a;

        while (from < to && (*from == ' ' || *from == '\t'))
            from++;
        while (to > from && (to[-1] == ' ' || to[-1] == '\t'))
            to--;
        if (!cc_addr_parse(&a, from, (size_t)(to - from)))
            return true;
        *client = a;
        if (!trusted(s, &a))
            return true;
        n = comma ? (size_t)(comma - p) : 0;
    }
    return false;
}

static bool forwarded(struct cc_req *r, struct cc_addr *client)
{
    bool any = false;
    unsigned i;

    for (i = r->h.count; i-- > 0;) {
        const struct cc_field *f = &r->h.fields[i];

        if (!cc_word_is(r->head + f->name, f->name_len, "x-forwarded-for"))
            continue;
        any = true;
        if (walk_forwarded(r->server, r->head + f->value, f->value_len, client))
            break;
    }
    return any;
}

/* Whether the peer itself is one of our proxies. */
static bool from_proxy(struct cc_req *r, struct cc_addr *a, bool *known)
{
    memset(a, 0, sizeof(*a));
    *known = !r->conn->is_unix && peer_of(r->conn, a);
    return r->conn->is_unix ? r->server->o.trust_unix : *known && trusted(r->server, a);
}

bool cc_req_secure(struct cc_req *r)
{
    struct cc_text proto = cc_req_header(r, "x-forwarded-proto", 17);
    struct cc_addr a;
    bool known;

    if (!r->conn || !r->conn->sock)
        return false;
    if (cc_sock_layer(r->conn->sock))
        return true;
    return proto.n == 5 && strncasecmp(proto.p, "https", 5) == 0 && from_proxy(r, &a, &known);
}

const char *cc_req_remote(struct cc_req *r)
{
    struct cc_addr a;
    bool known;

    if (r->remote[0])
        return r->remote;
    if (!r->conn || !r->conn->sock)
        return "unknown";
    if (from_proxy(r, &a, &known)) {
        struct cc_addr none = { { 0 } };

        forwarded(r, &a);
        known = known || memcmp(&a, &none, sizeof(a)) != 0;
    }
    if (known)
        cc_addr_text(&a, r->remote);
    else
        snprintf(r->remote, sizeof(r->remote), "%s", r->conn->is_unix ? "unix" : "unknown");
    return r->remote;
}

static bool sane_id(const char *p, size_t n)
{
    size_t i;

    for (i = 0; i < n; i++)
        if (!((p[i] >= '0' && p[i] <= '9') || ((p[i] | 32) >= 'a' && (p[i] | 32) <= 'z') || p[i] == '.' ||
              p[i] == '_' || p[i] == '-'))
            return false;
    return n > 0 && n <= CC_REQUEST_ID_MAX;
}

/* Eight random bytes; the kernel is asked for 32 ids at once. */
static void random_id(char out[16])
{
    static const char hex[] = "0123456789abcdef";
    static unsigned char pool[256];
    static unsigned left;
    unsigned i;

    if (left == 0) {
        cc_random(pool, sizeof(pool));
        left = sizeof(pool);
    }
    for (i = 0; i < 8; i++) {
        unsigned char b = pool[--left];

        out[2 * i] = hex[b >> 4];
        out[2 * i + 1] = hex[b & 15];
    }
}

const char *cc_req_id(struct cc_req *r)
{
    struct cc_text t;

    char *id = r->context.request;

    if (r->id_len)
        return id;
    t = cc_req_header(r, "x-request-id", 12);
    if (t.p && sane_id(t.p, t.n)) {
        memcpy(id, t.p, t.n);
        r->id_len = (uint8_t)t.n;
    } else {
        random_id(id);
        r->id_len = 16;
    }
    id[r->id_len] = 0;
    return id;
}

/* ---------------------------------------------------------------- the reply */

static bool bodiless(int status) { return status == 204 || status == 304 || status < 200; }

/* Whether the connection can live on, told in the head: not when the client asked so, when we
 * drain, or when an unknown lot of body is still to come. */
static void decide_close(struct cc_req *r)
{
    if (!r->h.keep_alive || r->server->draining || r->conn->ends || (r->conn->eof && !cc_conn_waiting(r->conn)))
        r->close = true;
    if (r->body.done)
        return;
    if (r->h.chunked || (r->h.expect && !r->continued) || (uint64_t)r->h.length - r->body.got > DISCARD_MAX)
        r->close = true;
}

static void discard(void *arg, const char *data, size_t n) { (void)arg, (void)data, (void)n; }

static void ended(struct cc_req *r, int rc)
{
    struct cc_conn *c = r->conn;

    r->wait = r->body_wait = NULL;
    r->body.sink = discard;
    if (rc >= 0) {
        cc_conn_replied(c, rc);
        return;
    }
    c->req = NULL;
    cc_req_put(r);
    cc_conn_close(c);
}

int cc_req_reply(struct cc_req *r, int status, const struct cc_hdr *h, unsigned n, const char *body, size_t len)
{
    enum cc_framing framing = bodiless(status) ? FRAMING_NONE : FRAMING_LENGTH;
    const char *head;
    uv_buf_t bufs[2];
    int rc;

    if (!r->conn) {
        cc_req_put(r);
        return 0;
    }
    decide_close(r);
    rc = cc_reply_head(r, status, h, n, framing, len, &head);
    if (rc < 0)
        return rc;
    bufs[0] = uv_buf_init((char *)head, (unsigned)rc);
    bufs[1] = uv_buf_init((char *)body, (unsigned)len);
    ended(r, cc_conn_send(r->conn, bufs, len && framing == FRAMING_LENGTH && r->h.method != HTTP_HEAD ? 2 : 1));
    return 0;
}

void cc_req_reply_error(struct cc_req *r, int status, const char *code, const char *message)
{
    static const struct cc_hdr json = { { "Content-Type", 12 }, { "application/json; charset=utf-8", 31 } };
    char body[512];
    size_t n = 0, i;

    /* both are our own words, but a quote in one must not break the text */
    n += (size_t)snprintf(body, 300, "{\"error\":\"");
    for (i = 0; message[i] && n < 400; i++)
        body[n++] = message[i] == '"' || message[i] == '\\' || (unsigned char)message[i] < ' ' ? ' ' : message[i];
    n += (size_t)snprintf(body + n, sizeof(body) - n, "\",\"code\":\"%.40s\"}", code);
    cc_req_reply(r, status, &json, 1, body, n);
}

static int start(struct cc_req *r, int status, const struct cc_hdr *h, unsigned n, bool sized, uint64_t length)
{
    enum cc_framing framing;
    const char *head;
    uv_buf_t buf;
    int rc;

    if (!r->conn)
        return CC_E_IO;
    decide_close(r);
    r->sized = sized && !bodiless(status);
    r->left = length;
    r->chunked = !bodiless(status) && !sized && r->h.minor == 1;
    r->silent = bodiless(status) || r->h.method == HTTP_HEAD;
    if (!bodiless(status) && !sized && r->h.minor == 0)
        r->close = true;
    framing = bodiless(status) ? FRAMING_NONE
              : r->sized       ? FRAMING_LENGTH
              : r->chunked     ? FRAMING_CHUNKED
                               : FRAMING_CLOSE;
    rc = cc_reply_head(r, status, h, n, framing, length, &head);
    if (rc < 0)
        return rc;
    r->started = true;
    buf = uv_buf_init((char *)head, (unsigned)rc);
    rc = cc_conn_send(r->conn, &buf, 1);
    if (rc == 1)
        cc_conn_wait(r->conn, DUE_WRITE);
    return rc < 0 ? CC_E_IO : 0;
}

int cc_req_start(struct cc_req *r, int status, const struct cc_hdr *h, unsigned n)
{
    return start(r, status, h, n, false, 0);
}

int cc_req_start_sized(struct cc_req *r, int status, const struct cc_hdr *h, unsigned n, uint64_t length)
{
    return start(r, status, h, n, true, length);
}

int cc_req_write(struct cc_req *r, const char *data, size_t len, cc_req_wait_fn fn, void *arg)
{
    char size[20];
    uv_buf_t bufs[3];
    int rc;

    if (!r->conn)
        return CC_E_IO;
    if (r->silent || len == 0)
        return 0;
    if (r->sized && len > r->left)
        return CC_E_INVALID;
    r->left -= r->sized ? len : 0;
    bufs[0] = uv_buf_init(size, (unsigned)snprintf(size, sizeof(size), "%zx\r\n", len));
    bufs[1] = uv_buf_init((char *)data, (unsigned)len);
    bufs[2] = uv_buf_init("\r\n", 2);
    rc = r->chunked ? cc_conn_send(r->conn, bufs, 3) : cc_conn_send(r->conn, bufs + 1, 1);
    if (rc < 0)
        return CC_E_IO;
    if (rc == 1 && r->conn->due_kind != DUE_WRITE)
        cc_conn_wait(r->conn, DUE_WRITE);
    if (rc == 0 || cc_sock_queued(r->conn->sock) < WRITE_HIGH)
        return 0;
    r->wait = fn;
    r->wait_arg = arg;
    return 1;
}

void cc_req_finish(struct cc_req *r)
{
    uv_buf_t buf = uv_buf_init("0\r\n\r\n", 5);
    int rc;

    if (!r->conn) {
        cc_req_put(r);
        return;
    }
    if (r->sized && !r->silent && r->left > 0) { /* less than was promised: only the end of the connection says so */
        cc_req_abort(r);
        return;
    }
    if (r->chunked && !r->silent)
        rc = cc_conn_send(r->conn, &buf, 1);
    else
        rc = 0;
    if (rc == 0 && cc_sock_queued(r->conn->sock) > 0)
        rc = 1;
    ended(r, rc);
}

void cc_req_abort(struct cc_req *r)
{
    struct cc_conn *c = r->conn;

    if (c)
        c->req = NULL;
    cc_req_put(r);
    if (c)
        cc_conn_close(c);
}
