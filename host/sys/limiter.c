/* limiter.c - see limiter.h. */
#include "host/sys/limiter.h"

#include "host/sys/clock.h"
#include "host/sys/mem.h"
#include "host/sys/random.h"

#include <assert.h>
#include <mbedtls/md.h>
#include <stdlib.h>
#include <string.h>

enum { WAYS = 8, TOKEN = 60000, KEY = 32 };

struct bucket {
    uint64_t tag;     /* of the key; 0: never used */
    uint64_t at_ms;   /* when `missing` was true */
    uint64_t missing; /* from full, in 60,000ths of a token */
    uint32_t per_minute;
};

struct cc_limiter {
    struct bucket *buckets;
    size_t sets; /* a power of two */
    uint64_t evicted;
    unsigned char key[KEY];
};

struct cc_limiter *cc_limiter_new(size_t slots)
{
    struct cc_limiter *l = cc_xcalloc(1, sizeof(*l));

    l->sets = 1;
    while (l->sets * WAYS < slots)
        l->sets *= 2;
    l->buckets = cc_xcalloc(l->sets * WAYS, sizeof(*l->buckets));
    cc_random(l->key, sizeof(l->key));
    return l;
}

void cc_limiter_free(struct cc_limiter *l)
{
    if (!l)
        return;
    free(l->buckets);
    free(l);
}

/* Who chooses keys cannot choose where they fall. */
static void locate(const struct cc_limiter *l, const void *key, size_t len, size_t *set, uint64_t *tag)
{
    unsigned char mac[32];
    uint64_t a, b;
    int rc = mbedtls_md_hmac(mbedtls_md_info_from_type(MBEDTLS_MD_SHA256), l->key, KEY, key, len, mac);

    assert(rc == 0);
    memcpy(&a, mac, sizeof(a));
    memcpy(&b, mac + 8, sizeof(b));
    *set = (size_t)a & (l->sets - 1);
    *tag = b ? b : 1;
}

/* What is missing by now. */
static uint64_t missing_at(const struct bucket *b, uint64_t now)
{
    uint64_t gained = (now - b->at_ms) * b->per_minute; /* below 2^63 for 200,000 years at the highest rate */

    return gained >= b->missing ? 0 : b->missing - gained;
}

static uint64_t full_in(const struct bucket *b, uint64_t now)
{
    return b->per_minute ? (missing_at(b, now) + b->per_minute - 1) / b->per_minute : 0;
}

/* The key's own bucket, else the one that is missed least: unused, full, or full soonest. */
static struct bucket *find(struct cc_limiter *l, const void *key, size_t len, uint64_t now)
{
    struct bucket *b, *best = NULL;
    size_t set, i;
    uint64_t tag;

    locate(l, key, len, &set, &tag);
    for (i = 0; i < WAYS; i++) {
        b = &l->buckets[set * WAYS + i];
        if (b->tag == tag)
            return b;
        if (!best || full_in(b, now) < full_in(best, now))
            best = b;
    }
    if (full_in(best, now) > 0)
        l->evicted++;
    *best = (struct bucket){ .tag = tag, .at_ms = now };
    return best;
}

bool cc_limiter_take(struct cc_limiter *l, const void *key, size_t len, uint32_t per_minute, uint32_t burst,
                     uint32_t cost, struct cc_limiter_state *out)
{
    uint64_t now = cc_mono_ms(), full = (uint64_t)burst * TOKEN, wanted = (uint64_t)cost * TOKEN;
    struct bucket *b = find(l, key, len, now);
    bool given;

    assert(per_minute >= 1 && per_minute <= CC_LIMITER_RATE_MAX && burst >= 1 && burst <= CC_LIMITER_RATE_MAX);
    b->missing = missing_at(b, now);
    if (b->missing > full) /* the bucket has become smaller */
        b->missing = full;
    b->at_ms = now;
    b->per_minute = per_minute;
    given = full - b->missing >= wanted;
    if (given)
        b->missing += wanted;
    out->remaining = (uint32_t)((full - b->missing) / TOKEN);
    out->reset_ms = full_in(b, now);
    out->retry_ms = 0;
    if (!given)
        out->retry_ms = wanted > full ? UINT64_MAX : (b->missing + wanted - full + per_minute - 1) / per_minute;
    return given;
}

void cc_limiter_stats(const struct cc_limiter *l, struct cc_limiter_stats *out)
{
    uint64_t now = cc_mono_ms();
    size_t i;

    *out = (struct cc_limiter_stats){ .slots = l->sets * WAYS, .evicted = l->evicted };
    for (i = 0; i < out->slots; i++)
        if (l->buckets[i].tag && missing_at(&l->buckets[i], now) > 0)
            out->used++;
}
