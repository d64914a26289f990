/* ring.c - see ring.h.
 *
 * While all still fits the byte `at` lies at data[at]; from then on at
 * data[at % size]. So growing moves nothing.
 */
#include "host/sys/ring.h"

#include "host/sys/mem.h"
#include "host/sys/vt.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS = 256, PLACES = STEPS + 2, GROW = 16384 };

struct place {
    uint64_t at;
    uint32_t modes;
};

struct cc_ring {
    char *data;
    size_t size, room; /* room: of `data` now */
    uint64_t end;
    uint64_t floor; /* what was before was never here */
    struct cc_vt vt;
    struct place places[PLACES]; /* a ring, too; the beginning of all is the first */
    unsigned first, n;
    uint64_t noted; /* the last of them */
};

struct cc_ring *cc_ring_new(size_t size)
{
    struct cc_ring *r = cc_xcalloc(1, sizeof(*r));

    assert(size >= CC_RING_MIN);
    r->size = size;
    r->n = 1;
    return r;
}

void cc_ring_free(struct cc_ring *r)
{
    if (r)
        free(r->data);
    free(r);
}

uint64_t cc_ring_begin(const struct cc_ring *r)
{
    return r->end > r->size && r->end - r->size > r->floor ? r->end - r->size : r->floor;
}

uint64_t cc_ring_end(const struct cc_ring *r) { return r->end; }

static void grow(struct cc_ring *r, size_t n)
{
    uint64_t need = r->end + n;

    if (r->room == r->size)
        return;
    while (r->room < r->size && r->room < need)
        r->room = r->room == 0 ? GROW : r->room * 2;
    if (r->room > r->size)
        r->room = r->size;
    r->data = cc_xrealloc(r->data, r->room);
}

static void store(struct cc_ring *r, const char *p, size_t n)
{
    size_t skip = n > r->size ? n - r->size : 0, at, first;

    grow(r, n);
    assert(r->room > 0);
    at = (size_t)((r->end + skip) % r->room);
    n -= skip;
    first = n < r->room - at ? n : r->room - at;
    memcpy(r->data + at, p + skip, first);
    memcpy(r->data, p + skip + first, n - first);
    r->end += skip + n;
}

static void note(struct cc_ring *r, uint64_t at)
{
    struct place *to;

    if (r->n == PLACES) {
        r->first = (r->first + 1) % PLACES;
        r->n--;
    }
    to = &r->places[(r->first + r->n++) % PLACES];
    to->at = r->noted = at;
    to->modes = r->vt.modes;
}

/* Best behind the end of a line; where none ends for long, between any two characters. */
static void follow(struct cc_ring *r, const char *p, size_t n)
{
    uint64_t step = r->size / STEPS, at = r->end;
    size_t i;

    for (i = 0; i < n; i++) {
        cc_vt_byte(&r->vt, (uint8_t)p[i]);
        at++;
        if (at - r->noted >= step && cc_vt_between(&r->vt) && (p[i] == '\n' || at - r->noted >= 4 * step))
            note(r, at);
    }
}

void cc_ring_add(struct cc_ring *r, const void *data, size_t n)
{
    if (n == 0)
        return;
    follow(r, data, n);
    store(r, data, n);
    while (r->n > 0 && r->places[r->first].at < cc_ring_begin(r)) {
        r->first = (r->first + 1) % PLACES;
        r->n--;
    }
}

void cc_ring_load(struct cc_ring *r, uint64_t begin, uint64_t safe, const char *modes, const void *data, size_t n)
{
    size_t before = (size_t)(safe - begin);

    assert(r->end == 0 && begin <= safe && safe - begin <= n);
    r->end = r->floor = begin;
    r->n = 0;
    for (; *modes; modes++)
        cc_vt_byte(&r->vt, (uint8_t)*modes);
    if (before)
        store(r, data, before);
    note(r, safe);
    cc_ring_add(r, (const char *)data + before, n - before);
}

size_t cc_ring_copy(const struct cc_ring *r, uint64_t at, void *out, size_t max)
{
    size_t n = r->end - at < max ? (size_t)(r->end - at) : max, from, first;

    assert(at >= cc_ring_begin(r) && at <= r->end);
    if (n == 0)
        return 0;
    from = (size_t)(at % r->room);
    first = n < r->room - from ? n : r->room - from;
    memcpy(out, r->data + from, first);
    memcpy((char *)out + first, r->data, n - first);
    return n;
}

uint64_t cc_ring_safe(const struct cc_ring *r, uint32_t *modes)
{
    const struct place *p = &r->places[r->first];

    *modes = r->n ? p->modes : r->vt.modes;
    return r->n ? p->at : r->end;
}
