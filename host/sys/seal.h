/* seal.h - secrets at rest: AES-256-GCM under a key of 32 bytes.
 *
 * A box is a version byte (1), 12 random nonce bytes, the ciphertext and a
 * tag of 16.  `context` is authenticated with it and not stored: a box made for
 * one place does not open in another.  Random nonces are safe for 2^32 boxes
 * under one key.  [any thread]
 */
#ifndef CC_SEAL_H
#define CC_SEAL_H

#include "host/sys/err.h"

#include <stddef.h>

enum { CC_SEAL_KEY = 32, CC_SEAL_EXTRA = 1 + 12 + 16 };

/* Writes len + CC_SEAL_EXTRA bytes to `box`. 0 or CC_E_INTERNAL. */
int cc_seal(const unsigned char key[CC_SEAL_KEY], const void *text, size_t len, const void *context, size_t context_len,
            unsigned char *box, struct cc_err *err);

/* Writes len - CC_SEAL_EXTRA bytes to `text`; on failure they are wiped. 0, CC_E_INVALID (no box), or CC_E_DENIED (another
 * key, another context, or it was changed). */
int cc_unseal(const unsigned char key[CC_SEAL_KEY], const unsigned char *box, size_t len, const void *context,
              size_t context_len, unsigned char *text, struct cc_err *err);

/* Overwrites what must not stay in memory. */
void cc_wipe(void *p, size_t n);

#endif
