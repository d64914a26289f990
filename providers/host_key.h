/* host_key.h - what an ssh server, or we at one, are known by: a key that is made here, without a process of its own.
 *
 * ECDSA on P-256: the private one as PEM, which OpenSSH reads, the public one as
 * a line of authorized_keys with its line end.  [any thread]
 */
#ifndef CC_HOST_KEY_H
#define CC_HOST_KEY_H

#include "providers/arena.h"

enum { CC_HOST_KEY_MAX = 1024 };

int cc_host_key_make(char private_key[CC_HOST_KEY_MAX], char public_key[CC_HOST_KEY_MAX]); /* 0 or -1 */

/* Of any public key, as its line: "SHA256:...", and as older programs have it: "0a:1b:..."; NULL: that is none. */
const char *cc_host_key_fingerprint(struct cc_arena *a, const char *public_key);
const char *cc_host_key_md5(struct cc_arena *a, const char *public_key);

#endif
