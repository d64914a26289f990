/* host_key.c - what an ssh server proves itself by: an ECDSA key on P-256.
 *
 * mbedTLS 2.28 knows no ed25519, and ssh-keygen would be a process, and
 * refuses a host whose uid has no name.  sshd reads the private key as PEM.
 */
#include "providers/host_key.h"

#include "host/sys/random.h"

#include <mbedtls/base64.h>
#include <mbedtls/md.h>
#include <mbedtls/pk.h>
#include <stdio.h>
#include <string.h>

#ifndef MBEDTLS_PRIVATE /* 2.28 */
#define MBEDTLS_PRIVATE(member) member
#endif

#define TYPE "ecdsa-sha2-nistp256"

static int chance(void *arg, unsigned char *out, size_t n)
{
    (void)arg;
    cc_random(out, n);
    return 0;
}

/* A string of ssh's wire format (RFC 4251, 5). Its length. */
static size_t put(unsigned char *out, const void *s, size_t n)
{
    out[0] = out[1] = 0;
    out[2] = (unsigned char)(n >> 8);
    out[3] = (unsigned char)n;
    memcpy(out + 4, s, n);
    return 4 + n;
}

/* RFC 5656, 3.1: the type, the curve, the point. */
static int public_text(const mbedtls_ecp_keypair *k, char out[CC_HOST_KEY_MAX])
{
    unsigned char blob[256], point[65], text[400];
    size_t n = put(blob, TYPE, strlen(TYPE)), len;

    n += put(blob + n, "nistp256", 8);
    if (mbedtls_ecp_point_write_binary(&k->MBEDTLS_PRIVATE(grp), &k->MBEDTLS_PRIVATE(Q), MBEDTLS_ECP_PF_UNCOMPRESSED,
                                       &len, point, sizeof(point)) != 0)
        return -1;
    n += put(blob + n, point, len);
    if (mbedtls_base64_encode(text, sizeof(text), &len, blob, n) != 0)
        return -1;
    return snprintf(out, CC_HOST_KEY_MAX, TYPE " %s\n", (char *)text) < CC_HOST_KEY_MAX ? 0 : -1;
}

int cc_host_key_make(char private_key[CC_HOST_KEY_MAX], char public_key[CC_HOST_KEY_MAX])
{
    mbedtls_pk_context k;
    int r;

    mbedtls_pk_init(&k);
    r = mbedtls_pk_setup(&k, mbedtls_pk_info_from_type(MBEDTLS_PK_ECKEY));
    if (r == 0)
        r = mbedtls_ecp_gen_key(MBEDTLS_ECP_DP_SECP256R1, mbedtls_pk_ec(k), chance, NULL);
    if (r == 0)
        r = mbedtls_pk_write_key_pem(&k, (unsigned char *)private_key, CC_HOST_KEY_MAX);
    if (r == 0)
        r = public_text(mbedtls_pk_ec(k), public_key);
    mbedtls_pk_free(&k);
    return r == 0 ? 0 : -1;
}

/* What stands in base64 behind the type; its length, 0: nothing does. */
static size_t blob_of(const char *public_key, unsigned char *blob, size_t room)
{
    const char *text = strchr(public_key, ' ');
    size_t n;

    if (!text || mbedtls_base64_decode(blob, room, &n, (const unsigned char *)text + 1, strcspn(text + 1, " \n")) != 0)
        return 0;
    return n;
}

const char *cc_host_key_fingerprint(struct cc_arena *a, const char *public_key)
{
    unsigned char blob[CC_HOST_KEY_MAX], sum[32], out[64];
    size_t n = blob_of(public_key, blob, sizeof(blob)), len;

    if (n == 0 || mbedtls_md(mbedtls_md_info_from_type(MBEDTLS_MD_SHA256), blob, n, sum) != 0 ||
        mbedtls_base64_encode(out, sizeof(out), &len, sum, sizeof(sum)) != 0)
        return NULL;
    return cc_arena_printf(a, "SHA256:%.*s", (int)strcspn((char *)out, "="), (char *)out);
}

const char *cc_host_key_md5(struct cc_arena *a, const char *public_key)
{
    unsigned char blob[CC_HOST_KEY_MAX], sum[16];
    size_t n = blob_of(public_key, blob, sizeof(blob)), i;
    char *out = cc_arena_alloc(a, 3 * sizeof(sum));

    if (n == 0 || mbedtls_md(mbedtls_md_info_from_type(MBEDTLS_MD_MD5), blob, n, sum) != 0)
        return NULL;
    for (i = 0; i < sizeof(sum); i++)
        sprintf(out + 3 * i, i + 1 < sizeof(sum) ? "%02x:" : "%02x", sum[i]);
    return out;
}
