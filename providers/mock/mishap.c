/* mishap.c - what goes wrong with a call, and how long its answer takes.
 *
 * First what was counted, then what chance says.  Chance is a function, not
 * a sequence: of the seed, the life (how many processes have opened the state
 * file), the operation, the machine and the number of that machine's call.
 * So calls that run side by side do not change each other's luck, and a run
 * that failed can be repeated.
 */
#include "providers/mock/mock.h"

#include "host/sys/mem.h"

#include <stdlib.h>
#include <string.h>

struct cc_mock_tries {
    struct cc_mock_tries *next;
    uint64_t key; /* its hash; a collision makes two machines share their numbers */
    uint32_t n[CC_MOCK_OPS];
};

static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t cc_mock_draw(uint64_t seed, uint64_t a, uint64_t b)
{
    return mix(mix(mix(seed + 0x9e3779b97f4a7c15u) + a + 0x9e3779b97f4a7c15u) + b + 0x9e3779b97f4a7c15u);
}

static uint64_t hash(const char *s)
{
    uint64_t h = 14695981039346656037u;

    for (; *s; s++)
        h = (h ^ (unsigned char)*s) * 1099511628211u;
    return h;
}

/* The number of this call among those of its operation on `key`. */
static uint32_t try_number(struct cc_mock *m, enum cc_provider_op op, uint64_t key)
{
    struct cc_mock_tries **at = &m->tries[key % CC_MOCK_BUCKETS], *t;

    for (t = *at; t && t->key != key; t = t->next)
        ;
    if (!t) {
        t = cc_xcalloc(1, sizeof(*t));
        t->key = key;
        t->next = *at;
        *at = t;
    }
    return t->n[op]++;
}

static bool needs_chance(const struct cc_mock_whim *w)
{
    int k;

    for (k = 0; k < CC_MISHAP_COUNT; k++)
        if (w->chance[k] > 0 || w->count[k])
            return true;
    return w->latency_max_ms > w->latency_ms;
}

static enum cc_mishap choose(struct cc_mock_whim *w, uint64_t draw)
{
    double u = (double)(draw >> 11) / 9007199254740992.0; /* 2^53: 0 <= u < 1 */
    int k;

    for (k = 0; k < CC_MISHAP_COUNT; k++)
        if (w->count[k]) {
            w->count[k]--;
            return (enum cc_mishap)k;
        }
    for (k = 0; k < CC_MISHAP_COUNT; k++)
        if ((u -= w->chance[k]) < 0)
            return (enum cc_mishap)k;
    return CC_MISHAP_NONE;
}

enum cc_mishap cc_mock_mishap(struct cc_mock *m, enum cc_provider_op op, const char *key, uint64_t *latency_ms,
                              enum cc_half *half)
{
    struct cc_mock_whim *w = &m->whim[op];
    uint64_t h, here;

    *latency_ms = w->latency_ms;
    *half = CC_HALF_NO;
    if (!needs_chance(w))
        return CC_MISHAP_NONE;
    h = hash(key);
    here = cc_mock_draw(m->seed, m->life * CC_MOCK_OPS + op, h + try_number(m, op, h));
    if (w->latency_max_ms > w->latency_ms)
        *latency_ms += cc_mock_draw(here, 1, 0) % (w->latency_max_ms - w->latency_ms + 1);
    *half = cc_mock_draw(here, 2, 0) & 1 ? CC_HALF_ERROR : CC_HALF_STARTING;
    return choose(w, cc_mock_draw(here, 3, 0));
}

void cc_mock_forget_tries(struct cc_mock *m)
{
    struct cc_mock_tries *t, *next;
    int b;

    for (b = 0; b < CC_MOCK_BUCKETS; b++) {
        for (t = m->tries[b]; t; t = next) {
            next = t->next;
            free(t);
        }
        m->tries[b] = NULL;
    }
}
