/* fuzz_ws.c - WebSocket frames, whole and in pieces.
 * links: host/http/ws_frame.c host/http/text.c
 */
#include "host/http/text.h"
#include "host/http/ws_frame.h"

#include <stdlib.h>
#include <string.h>

#define CHECK(x)                                                                                                       \
    do                                                                                                                 \
        if (!(x))                                                                                                      \
            __builtin_trap();                                                                                          \
    while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static uint64_t follow_by(struct cc_ws_follow *f, const uint8_t *p, size_t n, size_t step)
{
    uint64_t typed = 0;
    size_t at;

    for (at = 0; at < n; at += step)
        typed += cc_ws_follow_feed(f, p + at, n - at < step ? n - at : step);
    return typed;
}

static bool utf8_by(const uint8_t *p, size_t n, size_t step)
{
    struct cc_utf8 u = { 0, 0, 0 };
    size_t at;

    for (at = 0; at < n; at += step)
        if (!cc_utf8_feed(&u, p + at, n - at < step ? n - at : step))
            return false;
    return cc_utf8_ended(&u);
}

/* A header that was read, written again, is the same bytes. */
static void check_header(const uint8_t *data, size_t n)
{
    struct cc_ws_head h = { 0 };
    struct cc_ws_frame f;
    uint8_t out[14];
    bool done;
    int used = cc_ws_head_feed(&h, data, n, &f, &done);

    if (used < 0 || !done)
        return;
    CHECK((size_t)used <= n && used <= 14);
    CHECK(cc_ws_head_put(out, f.op, f.fin, f.len, f.masked ? f.key : NULL) == (size_t)used);
    CHECK(memcmp(out, data, (size_t)used) == 0);
}

static void check_mask(const uint8_t *data, size_t n)
{
    uint8_t *p = malloc(n + 1);
    size_t cut = n / 3;

    memcpy(p, data, n);
    cc_ws_mask(p, n, (const uint8_t *)"abcd", 7);
    cc_ws_mask(p, cut, (const uint8_t *)"abcd", 7);
    cc_ws_mask(p + cut, n - cut, (const uint8_t *)"abcd", 7 + cut);
    CHECK(memcmp(p, data, n) == 0);
    free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct cc_ws_follow a, b;

    memset(&a, 0, sizeof(a));
    memset(&b, 0, sizeof(b));
    CHECK(follow_by(&a, data, n, n ? n : 1) == follow_by(&b, data, n, 1));
    CHECK(a.left == b.left && a.lost == b.lost && a.closed == b.closed && a.input == b.input);
    CHECK(utf8_by(data, n, n ? n : 1) == utf8_by(data, n, 1));
    check_header(data, n);
    check_mask(data, n);
    return 0;
}
