/* seal.c - see seal.h. */
#include "host/sys/seal.h"

#include "host/sys/random.h"

#include <mbedtls/gcm.h>
#include <mbedtls/platform_util.h>

enum { VERSION = 1, NONCE = 12, TAG = 16 };

void cc_wipe(void *p, size_t n) { mbedtls_platform_zeroize(p, n); }

static int with_key(mbedtls_gcm_context *gcm, const unsigned char *key)
{
    mbedtls_gcm_init(gcm);
    return mbedtls_gcm_setkey(gcm, MBEDTLS_CIPHER_ID_AES, key, CC_SEAL_KEY * 8);
}

int cc_seal(const unsigned char key[CC_SEAL_KEY], const void *text, size_t len, const void *context, size_t context_len,
            unsigned char *box, struct cc_err *err)
{
    mbedtls_gcm_context gcm;
    unsigned char *nonce = box + 1, *out = nonce + NONCE;
    int rc;

    box[0] = VERSION;
    cc_random(nonce, NONCE);
    rc = with_key(&gcm, key);
    if (rc == 0)
        rc = mbedtls_gcm_crypt_and_tag(&gcm, MBEDTLS_GCM_ENCRYPT, len, nonce, NONCE, context, context_len, text, out,
                                       TAG, out + len);
    mbedtls_gcm_free(&gcm);
    return rc ? cc_err_set(err, CC_E_INTERNAL, "the secret could not be sealed") : 0;
}

int cc_unseal(const unsigned char key[CC_SEAL_KEY], const unsigned char *box, size_t len, const void *context,
              size_t context_len, unsigned char *text, struct cc_err *err)
{
    mbedtls_gcm_context gcm;
    size_t n;
    int rc;

    if (len < CC_SEAL_EXTRA || box[0] != VERSION)
        return cc_err_set(err, CC_E_INVALID, "this is no sealed secret");
    n = len - CC_SEAL_EXTRA;
    rc = with_key(&gcm, key);
    if (rc == 0)
        rc = mbedtls_gcm_auth_decrypt(&gcm, n, box + 1, NONCE, context, context_len, box + len - TAG, TAG,
                                      box + 1 + NONCE, text);
    mbedtls_gcm_free(&gcm);
    if (rc == 0)
        return 0;
    cc_wipe(text, n);
    return cc_err_set(err, CC_E_DENIED, "the secret cannot be opened: another key, or it was changed");
}
