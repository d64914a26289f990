/* jwt.h - HS256 tokens (RFC 7515, 7519), checked and made.
 *
 * One algorithm, named exactly "HS256": what the token says of itself is
 * never obeyed.  The signature is checked before the content is looked at,
 * in constant time.  base64url without padding and without stray bits;
 * duplicate members, `crit`, and an `exp`, `iat` or `nbf` that is no integer
 * are refused; there is no leeway on exp, and an iat or nbf more than 60 s
 * ahead is refused.  Tokens that were found good are kept in a bounded cache
 * by their exact bytes; only the signature and the parsing are saved by it:
 * times are checked at every look.  Thread: one at a time.
 */
#ifndef CC_JWT_H
#define CC_JWT_H

#include "host/sys/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CC_JWT_TOKEN_MAX = 2048, CC_JWT_CLAIM_MAX = 255 };

struct cc_jwt_claims {
    char user_id[CC_JWT_CLAIM_MAX + 1]; /* an integer claim is given as its digits */
    char email[CC_JWT_CLAIM_MAX + 1];
    char purpose[CC_JWT_CLAIM_MAX + 1];
    char jti[CC_JWT_CLAIM_MAX + 1];
    int64_t exp, iat, nbf; /* unix seconds; 0 when absent (exp never is) */
};

struct cc_jwt;

/* cache: tokens remembered, 0 for none. */
struct cc_jwt *cc_jwt_new(size_t cache);
void cc_jwt_free(struct cc_jwt *j);

/* Adds a secret. The first added signs; all verify. `kid` may be NULL: then it is tried for tokens without one, too.
 * A token that names a kid is checked with that key only. */
void cc_jwt_add_key(struct cc_jwt *j, const char *kid, const void *secret, size_t len);

/* 0 and the claims (valid until the next call), or CC_E_DENIED with "invalid token". `now` in unix seconds. */
int cc_jwt_verify(struct cc_jwt *j, const char *token, size_t len, int64_t now, const struct cc_jwt_claims **out,
                  struct cc_err *err);

/* Whether head and signature are good, whatever the content is: no claims are read, no time is looked at. */
bool cc_jwt_signed(struct cc_jwt *j, const char *token, size_t len);

/* Signs a JSON text of claims with the first key. Freed by the caller. */
char *cc_jwt_sign(struct cc_jwt *j, const char *claims, size_t len);

#endif
