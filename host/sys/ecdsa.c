/* ecdsa.c - see ecdsa.h. */
#include "host/sys/ecdsa.h"

#include "host/sys/err.h"
#include "host/sys/random.h"

#include <mbedtls/ecdsa.h>
#include <mbedtls/md.h>
#include <mbedtls/platform_util.h>

/* What every verb works with; all of it is wiped at the end. */
struct work {
    mbedtls_ecp_group grp;
    mbedtls_ecp_point q;
    mbedtls_mpi d, r, s;
    unsigned char hash[32];
};

static int chance(void *ctx, unsigned char *out, size_t n)
{
    (void)ctx;
    cc_random(out, n);
    return 0;
}

static int work_init(struct work *w)
{
    mbedtls_ecp_group_init(&w->grp);
    mbedtls_ecp_point_init(&w->q);
    mbedtls_mpi_init(&w->d);
    mbedtls_mpi_init(&w->r);
    mbedtls_mpi_init(&w->s);
    return mbedtls_ecp_group_load(&w->grp, MBEDTLS_ECP_DP_SECP256R1);
}

static void work_fini(struct work *w)
{
    mbedtls_mpi_free(&w->s);
    mbedtls_mpi_free(&w->r);
    mbedtls_mpi_free(&w->d);
    mbedtls_ecp_point_free(&w->q);
    mbedtls_ecp_group_free(&w->grp);
    mbedtls_platform_zeroize(w->hash, sizeof(w->hash));
}

static int hash(struct work *w, const void *text, size_t len)
{
    return mbedtls_md(mbedtls_md_info_from_type(MBEDTLS_MD_SHA256), text, len, w->hash);
}

static int read_key(struct work *w, const unsigned char *key)
{
    int rc = mbedtls_mpi_read_binary(&w->d, key, CC_ECDSA_KEY);

    return rc ? rc : mbedtls_ecp_check_privkey(&w->grp, &w->d);
}

int cc_ecdsa_keygen(unsigned char key[CC_ECDSA_KEY])
{
    struct work w;
    int rc = work_init(&w);

    if (rc == 0)
        rc = mbedtls_ecp_gen_privkey(&w.grp, &w.d, chance, NULL);
    if (rc == 0)
        rc = mbedtls_mpi_write_binary(&w.d, key, CC_ECDSA_KEY);
    work_fini(&w);
    return rc ? CC_E_INTERNAL : 0;
}

int cc_ecdsa_public(const unsigned char key[CC_ECDSA_KEY], unsigned char pub[CC_ECDSA_PUBLIC])
{
    struct work w;
    unsigned char point[1 + CC_ECDSA_PUBLIC];
    size_t n, i;
    int rc = work_init(&w);

    if (rc == 0)
        rc = read_key(&w, key);
    if (rc == 0)
        rc = mbedtls_ecp_mul(&w.grp, &w.q, &w.d, &w.grp.G, chance, NULL);
    if (rc == 0)
        rc = mbedtls_ecp_point_write_binary(&w.grp, &w.q, MBEDTLS_ECP_PF_UNCOMPRESSED, &n, point, sizeof(point));
    for (i = 0; rc == 0 && i < CC_ECDSA_PUBLIC; i++)
        pub[i] = point[1 + i];
    work_fini(&w);
    return rc ? CC_E_INVALID : 0;
}

int cc_ecdsa_sign(const unsigned char key[CC_ECDSA_KEY], const void *text, size_t len,
                  unsigned char sig[CC_ECDSA_SIGNATURE])
{
    struct work w;
    int invalid, rc = work_init(&w);

    invalid = rc == 0 && read_key(&w, key) != 0;
    if (rc == 0 && !invalid)
        rc = hash(&w, text, len);
    if (rc == 0 && !invalid)
        rc = mbedtls_ecdsa_sign_det_ext(&w.grp, &w.r, &w.s, &w.d, w.hash, sizeof(w.hash), MBEDTLS_MD_SHA256, chance,
                                        NULL);
    if (rc == 0 && !invalid)
        rc = mbedtls_mpi_write_binary(&w.r, sig, 32);
    if (rc == 0 && !invalid)
        rc = mbedtls_mpi_write_binary(&w.s, sig + 32, 32);
    work_fini(&w);
    return invalid ? CC_E_INVALID : rc ? CC_E_INTERNAL : 0;
}

int cc_ecdsa_verify(const unsigned char pub[CC_ECDSA_PUBLIC], const void *text, size_t len,
                    const unsigned char sig[CC_ECDSA_SIGNATURE])
{
    struct work w;
    unsigned char point[1 + CC_ECDSA_PUBLIC] = { 4 }; /* uncompressed */
    int rc = work_init(&w), invalid;
    size_t i;

    for (i = 0; i < CC_ECDSA_PUBLIC; i++)
        point[1 + i] = pub[i];
    invalid = rc != 0 || mbedtls_ecp_point_read_binary(&w.grp, &w.q, point, sizeof(point)) != 0 ||
              mbedtls_ecp_check_pubkey(&w.grp, &w.q) != 0;
    if (!invalid)
        rc = hash(&w, text, len);
    if (!invalid && rc == 0)
        rc = mbedtls_mpi_read_binary(&w.r, sig, 32);
    if (!invalid && rc == 0)
        rc = mbedtls_mpi_read_binary(&w.s, sig + 32, 32);
    if (!invalid && rc == 0)
        rc = mbedtls_ecdsa_verify(&w.grp, w.hash, sizeof(w.hash), &w.q, &w.r, &w.s);
    work_fini(&w);
    return invalid ? CC_E_INVALID : rc ? CC_E_DENIED : 0;
}
