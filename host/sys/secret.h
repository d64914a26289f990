/* secret.h - does somebody know a secret of which only the SHA-256 is here? [any thread] */
#ifndef CC_SECRET_H
#define CC_SECRET_H

#include <stdbool.h>
#include <stddef.h>

enum { CC_SECRET_KEY = 64 }; /* hexadecimal digits of a key: the SHA-256 of a secret */

bool cc_secret_key_ok(const char *key); /* 64 of them, in lower case */

/* Takes as long whatever the two differ in. `key` as above. */
bool cc_secret_fits(const char *key, const char *text, size_t n);

#endif
