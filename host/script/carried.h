/* carried.h - files inside the binary (see carry.sh). Constant, [any thread]. */
#ifndef CC_CARRIED_H
#define CC_CARRIED_H

#include <stddef.h>
#include <string.h>

struct cc_carried {
    const char *name; /* "lua:a.b" or a program's file name; NULL ends the table */
    const char *data; /* a NUL follows the last byte */
    size_t len;
};
extern const struct cc_carried cc_carried[];

/* The entry of that name, or NULL. */
static inline const struct cc_carried *cc_carried_find(const char *name)
{
    const struct cc_carried *c;

    for (c = cc_carried; c->name; c++)
        if (strcmp(c->name, name) == 0)
            return c;
    return NULL;
}

#endif
