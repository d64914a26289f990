/* arena.h - memory that lives as long as one call and goes all at once.
 *
 * What a driver answers (ids, lists, output) is allocated here, so nobody
 * frees strings one by one.  Owned by one thread at a time, no lock.
 */
#ifndef CC_ARENA_H
#define CC_ARENA_H

#include <stddef.h>

struct cc_arena {
    struct cc_arena_block *head;
}; /* {0} is an empty one */

void *cc_arena_alloc(struct cc_arena *a, size_t n) __attribute__((malloc, returns_nonnull)); /* zeroed, aligned */
char *cc_arena_strdup(struct cc_arena *a, const char *s);                                    /* NULL gives NULL */
char *cc_arena_strndup(struct cc_arena *a, const char *s, size_t n) __attribute__((returns_nonnull));
char *cc_arena_printf(struct cc_arena *a, const char *fmt, ...) __attribute__((returns_nonnull, format(printf, 2, 3)));
void cc_arena_free(struct cc_arena *a); /* and empty again */

#endif
