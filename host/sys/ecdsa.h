/* ecdsa.h - ECDSA on P-256 over SHA-256 (ES256): who made a receipt.
 *
 * A private key is its scalar, 32 bytes; a public one x then y; a signature r then s: all big endian, as JOSE has them
 * (RFC 7518, 3.4). Signing draws its nonce from key and text (RFC 6979) and no chance but for blinding.  [any thread]
 */
#ifndef CC_ECDSA_H
#define CC_ECDSA_H

#include <stddef.h>

enum { CC_ECDSA_KEY = 32, CC_ECDSA_PUBLIC = 64, CC_ECDSA_SIGNATURE = 64 };

/* 0 or CC_E_INTERNAL. */
int cc_ecdsa_keygen(unsigned char key[CC_ECDSA_KEY]);

/* 0, or CC_E_INVALID: no key of this curve. */
int cc_ecdsa_public(const unsigned char key[CC_ECDSA_KEY], unsigned char pub[CC_ECDSA_PUBLIC]);

/* 0, CC_E_INVALID or CC_E_INTERNAL. */
int cc_ecdsa_sign(const unsigned char key[CC_ECDSA_KEY], const void *text, size_t len,
                  unsigned char sig[CC_ECDSA_SIGNATURE]);

/* 0, CC_E_INVALID (no point of this curve), or CC_E_DENIED. */
int cc_ecdsa_verify(const unsigned char pub[CC_ECDSA_PUBLIC], const void *text, size_t len,
                    const unsigned char sig[CC_ECDSA_SIGNATURE]);

#endif
