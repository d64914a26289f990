/* ring.h - the last bytes that a terminal was sent, each with its number.
 *
 * The first byte ever has the number 0. Memory grows with what is kept, to
 * `size`, and then the oldest goes. Beside it are kept places where a reader
 * who has seen nothing before can begin (vt.h), the first of them after each
 * 1/256 of the size. Thread: any, one at a time.
 */
#ifndef CC_SYS_RING_H
#define CC_SYS_RING_H

#include <stddef.h>
#include <stdint.h>

#define CC_RING_MIN 4096

struct cc_ring;

struct cc_ring *cc_ring_new(size_t size); /* at least CC_RING_MIN */
void cc_ring_free(struct cc_ring *r);     /* NULL is fine */

void cc_ring_add(struct cc_ring *r, const void *data, size_t n);

/* Into one that is new: what was copied out of another from its `begin` on, with the oldest place there where one can begin,
 * and what brings a terminal into the modes there (cc_vt_modes): no form of ours, so that another version can read it. */
void cc_ring_load(struct cc_ring *r, uint64_t begin, uint64_t safe, const char *modes, const void *data, size_t n);

uint64_t cc_ring_begin(const struct cc_ring *r); /* the oldest that is kept */
uint64_t cc_ring_end(const struct cc_ring *r);   /* the next */

/* Copies what is kept from `at` on, begin <= at <= end, at most max. Returns how many. */
size_t cc_ring_copy(const struct cc_ring *r, uint64_t at, void *out, size_t max);

/* The oldest place where one can begin, and the modes there (vt.h); the end when there is none. */
uint64_t cc_ring_safe(const struct cc_ring *r, uint32_t *modes);

#endif
