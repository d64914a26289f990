/* head.c - vetting, then llhttp.
 *
 * cc_head_scan answers for lines and bytes, llhttp for grammar, vet() below for
 * what the fields mean together.  Each can refuse; none repairs anything.
 */
#include "host/http/head.h"

#include <string.h>

#include "host/http/body.h"
#include "host/http/text.h"

#if LLHTTP_STRICT_MODE != 1
#error "llhttp must be compiled strict"
#endif

/* ---------------------------------------------------------------- lines */

/* Path and query: visible ASCII without what no client sends bare and no two servers read alike. */
static int vet_target(const char *p, size_t n)
{
    size_t i;

    if (n == 0 || (p[0] != '/' && !(n == 1 && p[0] == '*')))
        return 400;
    for (i = 0; i < n; i++) {
        unsigned char c = (unsigned char)p[i];

        if (c <= ' ' || c >= 0x7f || c == '#' || c == '"' || c == '<' || c == '>' || c == '\\')
            return 400;
    }
    return cc_escapes_ok(p, n) ? 0 : 400;
}

static int vet_version(const char *p, size_t n)
{
    if (n != 8 || memcmp(p, "HTTP/", 5) != 0 || p[6] != '.' || p[5] < '0' || p[5] > '9' || p[7] < '0' || p[7] > '9')
        return 400;
    return p[5] == '1' && p[7] <= '1' ? 0 : 505;
}

static int vet_request_line(const char *p, size_t n)
{
    const char *end = p + n, *target, *version;
    int status;

    target = memchr(p, ' ', n);
    if (!target || !cc_is_token(p, (size_t)(target - p)))
        return 400;
    target++;
    version = memchr(target, ' ', (size_t)(end - target));
    if (!version)
        return 400;
    status = vet_version(version + 1, (size_t)(end - version - 1));
    if (status)
        return status;
    return vet_target(target, (size_t)(version - target));
}

/* "HTTP/1.1 101 Switching Protocols"; the reason may be empty. */
static int vet_status_line(const char *p, size_t n)
{
    if (n < 12 || vet_version(p, 8) || p[8] != ' ' || (n > 12 && p[12] != ' '))
        return 502;
    if (p[9] < '1' || p[9] > '5' || p[10] < '0' || p[10] > '9' || p[11] < '0' || p[11] > '9')
        return 502;
    return cc_is_field_value(p + 12, n - 12) ? 0 : 502;
}

static int vet_field_line(const char *p, size_t n)
{
    const char *colon = memchr(p, ':', n);

    /* a folded line begins with a blank, which is no tchar: refused here too */
    if (!colon || !cc_is_token(p, (size_t)(colon - p)))
        return 400;
    colon++;
    return cc_is_field_value(colon, (size_t)(p + n - colon)) ? 0 : 400;
}

static int vet_line(struct cc_head_scan *s, const char *p, size_t n, bool first)
{
    if (first && s->kind == CC_HEAD_REQUEST)
        return vet_request_line(p, n);
    if (first && s->kind == CC_HEAD_RESPONSE)
        return vet_status_line(p, n);
    if (s->lines == CC_HEAD_FIELDS)
        return 431;
    s->lines++;
    return vet_field_line(p, n);
}

/* What is wrong already with a line that has not ended: binary where text should be (a TLS
 * hello, say), or no end in sight. */
static int vet_partial(const struct cc_head_scan *s, const char *p, size_t n, size_t max)
{
    bool first = s->line == 0 && s->kind == CC_HEAD_REQUEST;

    if (n >= max)
        return first && n - s->line > max / 2 ? 414 : 431;
    if (first && n > 0 && !cc_is_tchar((unsigned char)p[0]))
        return 400;
    if (memchr(p + s->seen, 0, n - s->seen))
        return 400;
    return 0;
}

int cc_head_scan(struct cc_head_scan *s, const char *p, size_t n, size_t max)
{
    size_t limit = n < max ? n : max;

    for (;;) {
        const char *lf = memchr(p + s->seen, '\n', limit - s->seen);
        size_t len;
        int status;

        if (!lf) {
            status = vet_partial(s, p, limit, max);
            s->seen = (uint16_t)limit;
            return -status;
        }
        len = (size_t)(lf - p) - s->line;
        if (len == 0 || lf[-1] != '\r')
            return -400;
        len--;
        if (len == 0 && (s->line > 0 || s->kind == CC_HEAD_TRAILER))
            return (int)(lf - p + 1);
        if (memchr(p + s->line, '\r', len))
            return -400;
        status = vet_line(s, p + s->line, len, s->line == 0 && s->kind != CC_HEAD_TRAILER);
        if (status)
            return -status;
        s->line = s->seen = (uint16_t)(lf - p + 1);
    }
}

/* ---------------------------------------------------------------- llhttp */

/* During the head parser->data is this; afterwards a struct cc_body. */
struct head_run {
    struct cc_head *h;
    const char *base;
    bool whole;
};

static int on_url(llhttp_t *parser, const char *at, size_t n)
{
    struct head_run *run = parser->data;
    const char *mark = memchr(at, '?', n);

    run->h->target = (uint16_t)(at - run->base);
    run->h->path_len = (uint16_t)(mark ? (size_t)(mark - at) : n);
    if (mark) {
        run->h->query = (uint16_t)(mark + 1 - run->base);
        run->h->query_len = (uint16_t)(at + n - mark - 1);
    }
    run->h->escaped = memchr(at, '%', run->h->path_len) != NULL;
    return 0;
}

static int on_field(llhttp_t *parser, const char *at, size_t n)
{
    struct head_run *run = parser->data;
    struct cc_field *f = &run->h->fields[run->h->count];

    if (run->h->count == CC_HEAD_FIELDS)
        return -1;
    run->h->count++;
    *f = (struct cc_field){ (uint16_t)(at - run->base), (uint16_t)n, 0, 0 };
    return 0;
}

static int on_value(llhttp_t *parser, const char *at, size_t n)
{
    struct head_run *run = parser->data;
    struct cc_field *f;

    if (run->h->count == 0)
        return -1;
    f = &run->h->fields[run->h->count - 1];
    if (f->value)
        return -1;
    while (n > 0 && (at[n - 1] == ' ' || at[n - 1] == '\t'))
        n--;
    f->value = (uint16_t)(at - run->base);
    f->value_len = (uint16_t)n;
    return 0;
}

static int on_head(llhttp_t *parser)
{
    struct head_run *run = parser->data;

    run->h->method = parser->method;
    run->h->minor = parser->http_minor;
    run->h->status = parser->status_code;
    run->h->keep_alive = llhttp_should_keep_alive(parser);
    run->whole = true;
    return 0;
}

static const llhttp_settings_t request_settings = {
    .on_url = on_url,
    .on_header_field = on_field,
    .on_header_value = on_value,
    .on_headers_complete = on_head,
    .on_body = cc_body_on_data,
    .on_chunk_extension_name = cc_body_on_extension,
    .on_chunk_header = cc_body_on_chunk,
    .on_message_complete = cc_body_on_end,
};

static const llhttp_settings_t response_settings = {
    .on_header_field = on_field,
    .on_header_value = on_value,
    .on_headers_complete = on_head,
};

/* ---------------------------------------------------------------- meaning */

static bool host_char(unsigned char c)
{
    return (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') || c == '.' || c == '-' || c == '_' ||
           c == '~';
}

static bool host_ok(const char *p, size_t n)
{
    size_t i = 0, port;

    if (n > 0 && p[0] == '[') {
        while (++i < n && (cc_is_tchar((unsigned char)p[i]) || p[i] == ':') && p[i] != '%')
            ;
        if (i < 3 || i == n || p[i] != ']')
            return false;
        i++;
    } else {
        while (i < n && host_char((unsigned char)p[i]))
            i++;
        if (i == 0)
            return false;
    }
    if (i == n)
        return true;
    if (p[i] != ':')
        return false;
    port = ++i;
    while (i < n && p[i] >= '0' && p[i] <= '9')
        i++;
    return i == n && n - port >= 1 && n - port <= 5;
}

static int64_t length_of(const char *p, size_t n)
{
    int64_t v = 0;
    size_t i;

    if (n == 0 || n > 15)
        return -1;
    for (i = 0; i < n; i++) {
        if (p[i] < '0' || p[i] > '9')
            return -1;
        v = v * 10 + (p[i] - '0');
    }
    return v;
}

static int encoding_status(const char *p, size_t n)
{
    if (cc_word_is(p, n, "chunked"))
        return 0;
    for (; n >= 7; p++, n--)
        if (cc_word_is(p, 7, "chunked"))
            return 400;
    return 501;
}

/* Fields that say something about the message itself or about who asks: one at most. */
enum {
    H_HOST = 1,
    H_LENGTH = 2,
    H_ENCODING = 4,
    H_EXPECT = 8,
    H_UPGRADE = 16,
    H_AUTH = 32,
    H_TYPE = 64,
    H_KEY = 128,
    H_WS_KEY = 256,
    H_WS_VERSION = 512
};

static unsigned field_bit(const char *p, size_t n)
{
    switch (n) {
    case 4:
        return cc_word_is(p, n, "host") ? H_HOST : 0;
    case 6:
        return cc_word_is(p, n, "expect") ? H_EXPECT : 0;
    case 7:
        return cc_word_is(p, n, "upgrade") ? H_UPGRADE : 0;
    case 9:
        return cc_word_is(p, n, "x-api-key") ? H_KEY : 0;
    case 12:
        return cc_word_is(p, n, "content-type") ? H_TYPE : 0;
    case 13:
        return cc_word_is(p, n, "authorization") ? H_AUTH : 0;
    case 14:
        return cc_word_is(p, n, "content-length") ? H_LENGTH : 0;
    case 17:
        if (cc_word_is(p, n, "transfer-encoding"))
            return H_ENCODING;
        return cc_word_is(p, n, "sec-websocket-key") ? H_WS_KEY : 0;
    case 21:
        return cc_word_is(p, n, "sec-websocket-version") ? H_WS_VERSION : 0;
    default:
        return 0;
    }
}

static int vet_field(struct cc_head *h, unsigned bit, const char *v, size_t n)
{
    switch (bit) {
    case H_HOST:
        return host_ok(v, n) ? 0 : 400;
    case H_LENGTH:
        h->length = length_of(v, n);
        return h->length < 0 ? 400 : 0;
    case H_ENCODING:
        h->chunked = true;
        return h->minor == 0 ? 400 : encoding_status(v, n);
    case H_EXPECT:
        h->expect = h->minor == 1;
        return h->minor == 0 || cc_word_is(v, n, "100-continue") ? 0 : 417;
    default:
        return 0;
    }
}

static int vet(struct cc_head *h, const char *p, unsigned *seen)
{
    unsigned i;

    h->length = -1;
    for (i = 0; i < h->count; i++) {
        const struct cc_field *f = &h->fields[i];
        unsigned bit = field_bit(p + f->name, f->name_len);
        int status;

        if (!bit)
            continue;
        if (*seen & bit)
            return 400;
        *seen |= bit;
        status = vet_field(h, bit, p + f->value, f->value_len);
        if (status)
            return status;
    }
    return h->chunked && h->length >= 0 ? 400 : 0;
}

static int vet_method(const char *p)
{
    static const char *const known[] = { "GET ", "HEAD ", "POST ", "PUT ", "PATCH ", "DELETE ", "OPTIONS " };
    size_t i;

    for (i = 0; i < sizeof(known) / sizeof(*known); i++)
        if (strncmp(p, known[i], strlen(known[i])) == 0)
            return 0;
    return 501;
}

static int vet_request(struct cc_head *h, const char *p)
{
    unsigned seen = 0;
    int status = vet(h, p, &seen);

    if (status)
        return status;
    if (h->minor == 1 && !(seen & H_HOST))
        return 400;
    if (p[h->target] == '*' && h->method != HTTP_OPTIONS)
        return 400;
    if ((h->method == HTTP_GET || h->method == HTTP_HEAD) && cc_head_has_body(h))
        return 400;
    return 0;
}

int cc_head_parse(struct cc_head *h, llhttp_t *parser, const char *p, size_t n)
{
    struct head_run run = { h, p, false };
    llhttp_errno_t rc;
    int status = vet_method(p);

    if (status)
        return status;
    memset(h, 0, offsetof(struct cc_head, fields));
    llhttp_init(parser, HTTP_REQUEST, &request_settings);
    parser->data = &run; /* cppcheck-suppress autoVariables */
    rc = llhttp_execute(parser, p, n);
    parser->data = NULL;
    if ((rc != HPE_OK && rc != HPE_PAUSED && rc != HPE_PAUSED_UPGRADE) || !run.whole)
        return 400;
    status = vet_request(h, p);
    h->upgrade = parser->upgrade && !cc_head_has_body(h);
    return status;
}

int cc_head_parse_response(struct cc_head *h, const char *p, size_t n)
{
    struct head_run run = { h, p, false };
    unsigned seen = 0;
    llhttp_t parser;
    llhttp_errno_t rc;

    memset(h, 0, offsetof(struct cc_head, fields));
    llhttp_init(&parser, HTTP_RESPONSE, &response_settings);
    parser.data = &run;
    rc = llhttp_execute(&parser, p, n);
    if ((rc != HPE_OK && rc != HPE_PAUSED_UPGRADE) || !run.whole)
        return 502;
    return vet(h, p, &seen) ? 502 : 0;
}

const struct cc_field *cc_head_find(const struct cc_head *h, const char *p, const char *name, size_t len)
{
    unsigned i;

    for (i = 0; i < h->count; i++)
        if (h->fields[i].name_len == len && cc_word_is(p + h->fields[i].name, len, name))
            return &h->fields[i];
    return NULL;
}
