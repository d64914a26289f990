/* mem.c - see mem.h. */
#include "host/sys/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *checked(void *p)
{
    if (!p) {
        fputs("cchost: out of memory\n", stderr);
        abort();
    }
    return p;
}

void *cc_xmalloc(size_t n) { return checked(malloc(n ? n : 1)); }
void *cc_xcalloc(size_t n, size_t size) { return checked(calloc(n ? n : 1, size ? size : 1)); }
void *cc_xrealloc(void *p, size_t n) { return checked(realloc(p, n ? n : 1)); }
char *cc_xstrdup(const char *s) { return checked(strdup(s)); }
char *cc_xstrndup(const char *s, size_t n) { return checked(strndup(s, n)); }

char *cc_xasprintf(const char *fmt, ...)
{
    va_list ap;
    char *s = NULL;
    int n;

    va_start(ap, fmt);
    n = vasprintf(&s, fmt, ap);
    va_end(ap);
    return checked(n < 0 ? NULL : s);
}
