/* mem.h - allocation that cannot fail.
 *
 * Out of memory ends the process: there is no sensible way on from a failed
 * 40-byte malloc in a server.  So a size that a peer chose must be capped
 * before it gets here.  [any thread]
 */
#ifndef CC_MEM_H
#define CC_MEM_H

#include <stddef.h>

void *cc_xmalloc(size_t n) __attribute__((malloc, returns_nonnull, alloc_size(1)));
void *cc_xcalloc(size_t n, size_t size) __attribute__((malloc, returns_nonnull, alloc_size(1, 2)));
void *cc_xrealloc(void *p, size_t n) __attribute__((returns_nonnull, alloc_size(2)));
char *cc_xstrdup(const char *s) __attribute__((malloc, returns_nonnull));
char *cc_xstrndup(const char *s, size_t n) __attribute__((malloc, returns_nonnull));
char *cc_xasprintf(const char *fmt, ...) __attribute__((malloc, returns_nonnull, format(printf, 1, 2)));

#endif
