/* context.c - see context.h. */
#include "host/sys/context.h"

#include "host/sys/random.h"

#include <stdio.h>
#include <string.h>

static _Thread_local const struct cc_context *now;
static double sampled_ratio;
static bool heed_theirs = true;

const struct cc_context *cc_context_enter(const struct cc_context *c)
{
    const struct cc_context *before = now;

    now = c;
    return before;
}

const struct cc_context *cc_context_now(void) { return now; }

void cc_hex(char *out, const unsigned char *p, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    size_t i;

    for (i = 0; i < n; i++) {
        out[2 * i] = digits[p[i] >> 4];
        out[2 * i + 1] = digits[p[i] & 15];
    }
    out[2 * n] = 0;
}

/* Small letters only, as W3C has it. */
static bool unhex(unsigned char *out, const char *p, size_t n)
{
    size_t i;

    for (i = 0; i < 2 * n; i++) {
        int v = p[i] >= '0' && p[i] <= '9' ? p[i] - '0' : p[i] >= 'a' && p[i] <= 'f' ? p[i] - 'a' + 10 : -1;

        if (v < 0)
            return false;
        out[i / 2] = (unsigned char)(i % 2 ? out[i / 2] | v : v << 4);
    }
    return true;
}

static bool zeros(const unsigned char *p, size_t n)
{
    while (n > 0 && p[n - 1] == 0)
        n--;
    return n == 0;
}

/* A version newer than 00 may say more behind a further "-"; ff is none. */
static bool parse(struct cc_context *c, const char *p, size_t n)
{
    unsigned char version;

    if (n < CC_TRACEPARENT_LEN || p[2] != '-' || p[35] != '-' || p[52] != '-' || !unhex(&version, p, 1))
        return false;
    if (version == 0xff || (n > CC_TRACEPARENT_LEN && (version == 0 || p[CC_TRACEPARENT_LEN] != '-')))
        return false;
    return unhex(c->trace, p + 3, 16) && unhex(c->parent, p + 36, 8) && unhex(&c->flags, p + 53, 1) &&
           !zeros(c->trace, 16) && !zeros(c->parent, 8);
}

void cc_context_sampler(double ratio, bool heed)
{
    sampled_ratio = ratio;
    heed_theirs = heed;
}

/* By the part of the trace's id that W3C wants random, so that all who go by the same ratio choose the same traces. */
static uint8_t chosen(const unsigned char trace[16])
{
    uint64_t v = 0;
    int i;

    for (i = 9; i < 16; i++)
        v = v << 8 | trace[i];
    return (double)v < sampled_ratio * 72057594037927936.0; /* 2^56 */
}

void cc_context_detached(struct cc_context *c, const char *traceparent, size_t n, const unsigned char id[16])
{
    if (n == 0 || !parse(c, traceparent, n)) {
        memcpy(c->trace, id, sizeof(c->trace));
        memset(c->parent, 0, sizeof(c->parent));
        c->flags = chosen(c->trace);
    }
    memcpy(c->span, id + 8, sizeof(c->span));
    c->flags &= 1;
    c->traced = true;
}

void cc_context_trace(struct cc_context *c, const char *traceparent, size_t n)
{
    bool theirs = traceparent && parse(c, traceparent, n);

    if (!theirs) {
        cc_random(c->trace, sizeof(c->trace));
        memset(c->parent, 0, sizeof(c->parent));
    }
    cc_random(c->span, sizeof(c->span));
    c->flags = theirs && heed_theirs ? c->flags & 1 : chosen(c->trace);
    c->traced = true;
}

void cc_context_traceparent(const struct cc_context *c, char out[CC_TRACEPARENT_LEN + 1])
{
    char trace[33], span[17];

    cc_hex(trace, c->trace, 16);
    cc_hex(span, c->span, 8);
    snprintf(out, CC_TRACEPARENT_LEN + 1, "00-%s-%s-%02x", trace, span, c->flags);
}
