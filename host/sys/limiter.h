/* limiter.h - how often a caller may: token buckets in memory that never grows.
 *
 * A bucket holds what its caller owes, and pays it off by per_minute tokens a
 * minute; a caller may owe `burst` tokens.  All is counted in 1/60000 of a
 * token, of which a millisecond brings exactly per_minute: nothing is ever
 * rounded, so over any time no more than burst + per_minute a minute is
 * given, and no less.  A key has one bucket: asked with another burst, its
 * debt keeps its share of the whole (half full stays half full), so no change
 * of a rate forgives a debt or locks out for longer than the new rate would.
 *
 * The memory is fixed: sets of sixteen, chosen by a hash under a random key.
 * When a stranger comes to a set in which all owe, the bucket that will be
 * paid off soonest is given up: its caller is forgiven.  A caller at his limit
 * is last in that row, so no number of strangers has him forgiven; others do
 * who are at their limits, too, from about half as many as there are slots,
 * and with more than there are slots nobody is remembered for long.  Time is
 * cc_mono_ms(), so a virtual clock drives it.  Thread: one at a time.
 */
#ifndef CC_LIMITER_H
#define CC_LIMITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CC_LIMIT_SLOTS = 65536, CC_LIMIT_SLOTS_MAX = 1 << 24, CC_LIMIT_MOST = 1000000 };

struct cc_limiter;

struct cc_limit {
    bool ok;
    uint32_t remaining; /* whole tokens that could be taken now */
    uint32_t reset_s;   /* until nothing is owed, rounded up */
    uint32_t retry_s;   /* until the same call is granted, rounded up; 0 when it was */
};

struct cc_limiter_stats {
    size_t slots;     /* rounded up to whole sets */
    size_t used;      /* that owe something now */
    uint64_t evicted; /* given up while they owed */
};

/* slots 1..CC_LIMIT_SLOTS_MAX, 32 bytes each. */
struct cc_limiter *cc_limiter_new(size_t slots);
void cc_limiter_free(struct cc_limiter *l); /* NULL is fine */

/* Takes `cost` tokens, all or none. per_minute and burst: 1..CC_LIMIT_MOST. A cost above burst counts as burst, as it
 * could never be had; cost 0 only looks. */
struct cc_limit cc_limiter_take(struct cc_limiter *l, const void *key, size_t len, uint32_t per_minute, uint32_t burst,
                                uint32_t cost);

/* Looks at every slot: for a metric, not for each request. */
void cc_limiter_stats(const struct cc_limiter *l, struct cc_limiter_stats *out);

#endif
