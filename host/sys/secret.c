/* secret.c - see secret.h. The secret is random and long: what is compared needs no salt and no slowness. */
#include "host/sys/secret.h"

#include <mbedtls/platform_util.h>
#include <mbedtls/sha256.h>
#include <mbedtls/version.h>
#include <string.h>

#if MBEDTLS_VERSION_NUMBER < 0x03000000
#define mbedtls_sha256 mbedtls_sha256_ret
#endif

bool cc_secret_key_ok(const char *key)
{
    return key && strlen(key) == CC_SECRET_KEY && strspn(key, "0123456789abcdef") == CC_SECRET_KEY;
}

bool cc_secret_fits(const char *key, const char *text, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    unsigned char hash[32], differs = 0;
    size_t i;

    if (mbedtls_sha256((const unsigned char *)text, n, hash, 0) != 0)
        return false;
    for (i = 0; i < sizeof(hash); i++) {
        differs |= (unsigned char)(digits[hash[i] >> 4] ^ key[2 * i]);
        differs |= (unsigned char)(digits[hash[i] & 15] ^ key[2 * i + 1]);
    }
    mbedtls_platform_zeroize(hash, sizeof(hash));
    return differs == 0;
}
