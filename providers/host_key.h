/* host_key.h - keys of ssh: what a server proves itself by, and what this host logs in with. [any thread] */
#ifndef CC_PROVIDERS_HOST_KEY_H
#define CC_PROVIDERS_HOST_KEY_H

#include "providers/arena.h"

enum { CC_HOST_KEY_MAX = 1024 };

/* A fresh one: PEM, and one line "ecdsa-sha2-nistp256 AAAA...". 0 or -1. */
int cc_host_key_make(char private_key[CC_HOST_KEY_MAX], char public_key[CC_HOST_KEY_MAX]);
const char *cc_host_key_fingerprint(struct cc_arena *a, const char *public_key); /* "SHA256:..." or NULL */

#endif
