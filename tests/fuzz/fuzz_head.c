/* fuzz_head.c - heads and bodies of requests, whole and in pieces.
 *
 * What is found must not depend on how the bytes were cut: the same verdict, the same fields, the
 * same content, whether they come at once, in two pieces, or one by one.
 * links: host/http/head.c host/http/body.c host/http/text.c llhttp
 */
#include "host/http/body.h"
#include "host/http/text.h"

#include <stdlib.h>
#include <string.h>

#define CHECK(x)                                                                                                       \
    do                                                                                                                 \
        if (!(x))                                                                                                      \
            __builtin_trap();                                                                                          \
    while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

struct content {
    char *p;
    size_t n;
};

static void take(void *arg, const char *p, size_t n)
{
    struct content *c = arg;

    memcpy(c->p + c->n, p, n);
    c->n += n;
}

static int scan_by(const char *p, size_t n, size_t step)
{
    struct cc_head_scan s = { .kind = CC_HEAD_REQUEST };
    size_t have = 0;
    int rc = 0;

    while (rc == 0 && have < n) {
        have = have + step < n ? have + step : n;
        rc = cc_head_scan(&s, p, have, CC_HEAD_BYTES);
    }
    return rc;
}

/* Content of the body, or -1; *used is where the message ends, 0 when it does not. */
static int body_by(const llhttp_t *parser, const char *p, size_t n, size_t step, struct content *c, size_t *used)
{
    struct cc_body b = { .parser = *parser, .sink = take, .arg = c };
    size_t at = 0, have = 0;

    *used = 0;
    while (!b.done && have < n) {
        ssize_t took;

        have = have + step < n ? have + step : n;
        took = cc_body_feed(&b, p + at, have - at);
        if (took < 0)
            return -1;
        at += (size_t)took;
    }
    CHECK(b.got == c->n);
    *used = b.done ? at : 0;
    return 0;
}

static void check_head(const struct cc_head *h, const char *p, size_t n)
{
    static char path[65536];
    int decoded = cc_path_decode(p + h->target, h->path_len, path);
    unsigned i;

    CHECK(decoded < 0 || !memchr(path, 0, (size_t)decoded));
    CHECK(h->target + h->path_len <= n && h->path_len > 0);
    CHECK(p[h->target] == '/' || h->path_len == 1);
    CHECK((size_t)h->query + h->query_len <= n);
    for (i = 0; i < h->count; i++) {
        CHECK((size_t)h->fields[i].name + h->fields[i].name_len <= n && h->fields[i].name_len > 0);
        CHECK((size_t)h->fields[i].value + h->fields[i].value_len <= n);
        CHECK(cc_is_field_value(p + h->fields[i].value, h->fields[i].value_len));
    }
    CHECK(!(h->chunked && h->length >= 0));
    CHECK(h->minor == 0 || cc_head_find(h, p, "host", 4));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct cc_head h;
    char *p = malloc(n + 1);
    struct content a = { malloc(n + 1), 0 }, b = { malloc(n + 1), 0 };
    llhttp_t parser;
    size_t used_a, used_b;
    int len;

    memcpy(p, data, n);
    len = scan_by(p, n, n ? n : 1);
    CHECK(len == scan_by(p, n, 1) || len < 0); /* at once, a later line's fault may be seen first */
    if (len > 0 && cc_head_parse(&h, &parser, p, (size_t)len) == 0) {
        check_head(&h, p, (size_t)len);
        if (cc_head_has_body(&h)) {
            int whole = body_by(&parser, p + len, n - (size_t)len, n + 1, &a, &used_a);
            int cut = body_by(&parser, p + len, n - (size_t)len, 1, &b, &used_b);

            CHECK(whole == cut);
            if (whole == 0)
                CHECK(used_a == used_b && a.n == b.n && memcmp(a.p, b.p, a.n) == 0);
        }
    }
    free(a.p);
    free(b.p);
    free(p);
    return 0;
}
