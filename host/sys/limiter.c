/* limiter.c - see limiter.h.
 *
 * A slot's debt is as of its `at`, and is paid off when somebody looks.  The hash is SHA-256 of a block of random bytes
 * and the key, from a state that has hashed the block already: one round for keys up to 55 bytes.  A slot knows its
 * caller by 64 bits of it: two callers of one bucket are as likely as guessing them.
 */
#include "host/sys/limiter.h"

#include "host/sys/clock.h"
#include "host/sys/mem.h"
#include "host/sys/random.h"

#include <mbedtls/platform_util.h>
#include <mbedtls/sha256.h>
#include <mbedtls/version.h>
#include <stdlib.h>
#include <string.h>

#if MBEDTLS_VERSION_MAJOR < 3
#define mbedtls_sha256_starts mbedtls_sha256_starts_ret
#define mbedtls_sha256_update mbedtls_sha256_update_ret
#define mbedtls_sha256_finish mbedtls_sha256_finish_ret
#endif

enum { WAYS = 16, BLOCK = 64, TOKEN = 60000 };

struct slot {
    uint64_t tag; /* 0: never used */
    uint64_t debt, at;
    uint32_t rate, burst; /* of the last call */
};

struct cc_limiter {
    struct slot *slots;
    size_t sets;
    uint64_t evicted;
    mbedtls_sha256_context keyed;
};

struct cc_limiter *cc_limiter_new(size_t slots)
{
    struct cc_limiter *l = cc_xcalloc(1, sizeof(*l));
    unsigned char block[BLOCK];

    l->sets = (slots + WAYS - 1) / WAYS;
    l->slots = cc_xcalloc(l->sets * WAYS, sizeof(*l->slots));
    cc_random(block, sizeof(block));
    mbedtls_sha256_init(&l->keyed);
    mbedtls_sha256_starts(&l->keyed, 0);
    mbedtls_sha256_update(&l->keyed, block, sizeof(block));
    mbedtls_platform_zeroize(block, sizeof(block));
    return l;
}

void cc_limiter_free(struct cc_limiter *l)
{
    if (!l)
        return;
    mbedtls_sha256_free(&l->keyed);
    free(l->slots);
    free(l);
}

static struct slot *set_of(const struct cc_limiter *l, const void *key, size_t len, uint64_t *tag)
{
    mbedtls_sha256_context c;
    unsigned char sum[32];
    uint64_t where;

    mbedtls_sha256_init(&c);
    mbedtls_sha256_clone(&c, &l->keyed);
    mbedtls_sha256_update(&c, key, len);
    mbedtls_sha256_finish(&c, sum);
    mbedtls_sha256_free(&c);
    memcpy(tag, sum, 8);
    memcpy(&where, sum + 8, 8);
    if (*tag == 0)
        *tag = 1;
    return &l->slots[where % l->sets * WAYS];
}

static uint64_t owed(const struct slot *s, uint64_t now)
{
    uint64_t ms = now > s->at ? now - s->at : 0;

    if (s->debt == 0 || ms > s->debt / s->rate) /* else the product is at most the debt, and cannot overflow */
        return 0;
    return s->debt - ms * s->rate;
}

static uint64_t up(uint64_t a, uint64_t b) { return (a + b - 1) / b; }

static struct slot *find(struct slot *set, uint64_t tag)
{
    struct slot *s;

    for (s = set; s < set + WAYS; s++)
        if (s->tag == tag)
            return s;
    return NULL;
}

/* The slot that is paid off soonest: for most, one that owes nothing. */
static struct slot *give_up(struct cc_limiter *l, struct slot *set, uint64_t now)
{
    struct slot *s, *least = NULL;
    uint64_t ms, least_ms = UINT64_MAX;

    for (s = set; s < set + WAYS; s++) {
        ms = s->tag ? up(owed(s, now), s->rate) : 0;
        if (ms < least_ms) {
            least = s;
            least_ms = ms;
        }
        if (ms == 0)
            break;
    }
    if (least_ms > 0)
        l->evicted++;
    return least;
}

static struct cc_limit verdict(bool ok, uint64_t debt, uint64_t whole, uint32_t rate, uint64_t want)
{
    struct cc_limit v = { .ok = ok };

    v.remaining = (uint32_t)((whole - debt) / TOKEN);
    v.reset_s = (uint32_t)up(debt, (uint64_t)rate * 1000);
    v.retry_s = ok ? 0 : (uint32_t)up(debt + want - whole, (uint64_t)rate * 1000);
    return v;
}

struct cc_limit cc_limiter_take(struct cc_limiter *l, const void *key, size_t len, uint32_t per_minute, uint32_t burst,
                                uint32_t cost)
{
    uint64_t now = cc_mono_ms(), whole = (uint64_t)burst * TOKEN, debt = 0, want, tag;
    struct slot *set = set_of(l, key, len, &tag), *s = find(set, tag);
    bool ok;

    want = (uint64_t)(cost < burst ? cost : burst) * TOKEN;
    if (s) {
        debt = owed(s, now);
        if (s->burst != burst)
            debt = up(debt * burst, s->burst);
    } else if (cost == 0) {
        return verdict(true, 0, whole, per_minute, 0);
    } else {
        s = give_up(l, set, now);
    }
    ok = debt + want <= whole;
    if (ok)
        debt += want;
    *s = (struct slot){ tag, debt, now, per_minute, burst };
    return verdict(ok, debt, whole, per_minute, want);
}

void cc_limiter_stats(const struct cc_limiter *l, struct cc_limiter_stats *out)
{
    uint64_t now = cc_mono_ms();
    size_t i, n = l->sets * WAYS;

    *out = (struct cc_limiter_stats){ .slots = n, .evicted = l->evicted };
    for (i = 0; i < n; i++)
        out->used += owed(&l->slots[i], now) > 0;
}
