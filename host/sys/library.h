/* library.h - a shared library that is loaded when it is needed, not at start.
 *
 * What only one part of the program needs would cost every start its memory
 * and time.  The functions are called through a struct of pointers that keep
 * their own types.
 */
#ifndef CC_LIBRARY_H
#define CC_LIBRARY_H

#include <stddef.h>

struct cc_err;

struct cc_symbol {
    const char *name;
    size_t at; /* of its pointer, in the struct */
};

/* Fills the pointers in `into`. 0; "unsupported" where there is no such library, or it lacks one of them. Never unloaded.
 * [loop] */
int cc_library_load(const char *file, const struct cc_symbol *symbols, size_t n, void *into, struct cc_err *err);

#endif
