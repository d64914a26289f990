/* arena.c - blocks in a list; a big wish gets a block of its own. */
#include "providers/arena.h"

#include "host/sys/mem.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_BYTES = 2048 };

struct cc_arena_block {
    struct cc_arena_block *next;
    size_t used, size;
    alignas(max_align_t) char bytes[];
};

void *cc_arena_alloc(struct cc_arena *a, size_t n)
{
    struct cc_arena_block *b = a->head;
    void *p;

    n = (n + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
    if (!b || b->size - b->used < n) {
        size_t size = n > BLOCK_BYTES ? n : BLOCK_BYTES;

        b = cc_xcalloc(1, sizeof(*b) + size);
        b->size = size;
        b->next = a->head;
        a->head = b;
    }
    p = b->bytes + b->used;
    b->used += n;
    return p;
}

char *cc_arena_strndup(struct cc_arena *a, const char *s, size_t n)
{
    char *p = cc_arena_alloc(a, n + 1);

    memcpy(p, s, n);
    return p;
}

char *cc_arena_strdup(struct cc_arena *a, const char *s) { return s ? cc_arena_strndup(a, s, strlen(s)) : NULL; }

char *cc_arena_printf(struct cc_arena *a, const char *fmt, ...)
{
    va_list ap;
    int n;
    char *p;

    va_start(ap, fmt);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    p = cc_arena_alloc(a, n < 0 ? 1 : (size_t)n + 1);
    va_start(ap, fmt);
    if (n >= 0)
        vsnprintf(p, (size_t)n + 1, fmt, ap);
    va_end(ap);
    return p;
}

void cc_arena_free(struct cc_arena *a)
{
    struct cc_arena_block *b, *next;

    for (b = a->head; b; b = next) {
        next = b->next;
        free(b);
    }
    a->head = NULL;
}
