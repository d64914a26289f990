/* limiter.h - token buckets for any number of callers in a fixed amount of memory.
 *
 * A bucket remembers what is missing in it, in units of a token's 60,000th
 * part, so that refilling at N tokens a minute is exact to the millisecond
 * whatever N is.  The table is set-associative over a keyed hash: a million
 * callers share its slots.  When the slots of a set are all in use, the bucket
 * that would be full again soonest is given up: a caller in debt keeps it
 * longest, and one who is forgotten gains at most what he was about to get.
 * Thread: one at a time.
 */
#ifndef CC_LIMITER_H
#define CC_LIMITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CC_LIMITER_RATE_MAX = 1000000 }; /* tokens a minute, and in a bucket */

struct cc_limiter;

struct cc_limiter_state {
    uint32_t remaining; /* whole tokens */
    uint64_t reset_ms;  /* until the bucket is full */
    uint64_t retry_ms;  /* until what was refused would be given; 0 when it was given */
};

struct cc_limiter_stats {
    size_t slots, used;
    uint64_t evicted; /* buckets given up before they were full */
};

/* slots: rounded up to a power of two, 8 at least; 32 bytes each, touched only when used. */
struct cc_limiter *cc_limiter_new(size_t slots);
void cc_limiter_free(struct cc_limiter *l);

/* Takes `cost` tokens from the bucket of `key`, which holds `burst` and gains `per_minute`. False: nothing was taken.
 * 1 <= per_minute, burst <= CC_LIMITER_RATE_MAX; a cost above burst is never given (retry_ms is then UINT64_MAX). */
bool cc_limiter_take(struct cc_limiter *l, const void *key, size_t len, uint32_t per_minute, uint32_t burst,
                     uint32_t cost, struct cc_limiter_state *out);

void cc_limiter_stats(const struct cc_limiter *l, struct cc_limiter_stats *out);

#endif
