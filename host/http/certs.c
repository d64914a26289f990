/* certs.c - see certs.h.
 *
 * A signature made and verified at load time is the check that key and
 * certificate belong together.  It has a second use: mbedTLS 2.28 keeps a
 * table in an EC key at its first signature, and that must not happen in two
 * threads at once.
 */
#include "host/http/certs.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <mbedtls/ecp.h>
#include <mbedtls/error.h>
#include <mbedtls/oid.h>
#include <mbedtls/pem.h>
#include <mbedtls/pk.h>
#include <mbedtls/platform_util.h>
#include <mbedtls/ssl.h>
#include <mbedtls/ssl_ticket.h>
#include <mbedtls/version.h>
#include <mbedtls/x509_crt.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>
#if MBEDTLS_VERSION_MAJOR >= 3
#include <psa/crypto.h>
#endif

#include "host/sys/err.h"
#include "host/sys/mem.h"
#include "host/sys/random.h"

#define FILE_MAX (1 << 20)
#define NAMES_MAX 256
#define TICKET_SECONDS 3600
#define RSA_BITS 2048

struct pair {
    mbedtls_x509_crt crt; /* and its chain */
    mbedtls_pk_context key;
    char **names; /* lower case; "*.x" for a wildcard */
    unsigned n_names;
};

struct cc_certs {
    mbedtls_ssl_config conf;
    mbedtls_ssl_ticket_context tickets;
    unsigned refs, n;
    struct pair pairs[];
};

/* ChaCha20 is first because it is a third faster than AES-GCM in mbedTLS 2.28. */
static const int ciphers[] = { MBEDTLS_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
                               MBEDTLS_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
                               MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
                               MBEDTLS_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
                               MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
                               MBEDTLS_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
                               0 };
static const char *protocols[] = { "http/1.1", NULL };

static int on_random(void *arg, unsigned char *out, size_t n)
{
    (void)arg;
    cc_random(out, n);
    return 0;
}

/* ---------------------------------------------------------------- reading */

/* The whole file with a NUL behind it, as the parsers want it. */
static unsigned char *slurp(const char *path, size_t *len, struct cc_err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not hold us */
    unsigned char *p = NULL;
    struct stat st;
    ssize_t n = 0;

    if (fd < 0 || fstat(fd, &st) != 0) {
        cc_err_sys(err, errno, "%s cannot be read", path);
    } else if (!S_ISREG(st.st_mode) || st.st_size > FILE_MAX) {
        cc_err_set(err, CC_E_INVALID, "%s is no file of at most 1 MiB", path);
    } else {
        p = cc_xmalloc((size_t)st.st_size + 1);
        for (*len = 0; *len < (size_t)st.st_size; *len += (size_t)n)
            if ((n = read(fd, p + *len, (size_t)st.st_size - *len)) <= 0)
                break;
        p[*len] = 0;
    }
    if (fd >= 0)
        close(fd);
    if (p && n < 0) {
        cc_err_sys(err, EIO, "%s cannot be read", path);
        free(p);
        p = NULL;
    }
    return p;
}

static int bad(struct cc_err *err, const char *path, const char *what, int rc)
{
    char text[120] = "";

    if (rc == 0)
        return cc_err_set(err, CC_E_INVALID, "%s: %s", path, what);
    mbedtls_strerror(rc, text, sizeof(text));
    return cc_err_set(err, CC_E_INVALID, "%s: %s (%s)", path, what, text);
}

static int read_cert(struct pair *p, const char *path, struct cc_err *err)
{
    size_t len;
    unsigned char *text = slurp(path, &len, err);
    int rc;

    if (!text)
        return CC_E_INVALID;
    if (!strstr((char *)text, "-----BEGIN CERTIFICATE-----")) {
        free(text);
        return bad(err, path, "holds no certificate", 0);
    }
    rc = mbedtls_x509_crt_parse(&p->crt, text, len + 1);
    free(text);
    if (rc > 0)
        return bad(err, path, "one of its certificates cannot be read", 0);
    return rc < 0 ? bad(err, path, "its certificate cannot be read", rc) : 0;
}

static int parse_key(mbedtls_pk_context *key, const unsigned char *text, size_t len)
{
#if MBEDTLS_VERSION_MAJOR >= 3
    return mbedtls_pk_parse_key(key, text, len, NULL, 0, on_random, NULL);
#else
    return mbedtls_pk_parse_key(key, text, len, NULL, 0);
#endif
}

static int read_key(struct pair *p, const char *path, struct cc_err *err)
{
    size_t len;
    unsigned char *text = slurp(path, &len, err);
    bool any;
    int rc;

    if (!text)
        return CC_E_INVALID;
    any = strstr((char *)text, "PRIVATE KEY-----") != NULL;
    rc = any ? parse_key(&p->key, text, len + 1) : 0;
    mbedtls_platform_zeroize(text, len);
    free(text);
    if (!any)
        return bad(err, path, "holds no private key", 0);
    if (rc == MBEDTLS_ERR_PK_PASSWORD_REQUIRED || rc == MBEDTLS_ERR_PEM_PASSWORD_REQUIRED)
        return bad(err, path, "the key is encrypted; one without a passphrase is needed", 0);
    return rc < 0 ? bad(err, path, "its private key cannot be read", rc) : 0;
}

/* ---------------------------------------------------------------- checking */

static int sign(mbedtls_pk_context *key, const unsigned char hash[32], unsigned char *sig, size_t *len)
{
#if MBEDTLS_VERSION_MAJOR >= 3
    return mbedtls_pk_sign(key, MBEDTLS_MD_SHA256, hash, 32, sig, MBEDTLS_PK_SIGNATURE_MAX_SIZE, len, on_random, NULL);
#else
    return mbedtls_pk_sign(key, MBEDTLS_MD_SHA256, hash, 32, sig, len, on_random, NULL);
#endif
}

static int check_pair(struct pair *p, const struct cc_cert_files *f, struct cc_err *err)
{
    unsigned char hash[32], sig[MBEDTLS_PK_SIGNATURE_MAX_SIZE];
    bool rsa = mbedtls_pk_can_do(&p->key, MBEDTLS_PK_RSA);
    size_t len;
    int rc;

    if (!rsa && !mbedtls_pk_can_do(&p->key, MBEDTLS_PK_ECDSA))
        return bad(err, f->key, "the key is neither RSA nor ECDSA", 0);
    if (rsa && mbedtls_pk_get_bitlen(&p->key) < RSA_BITS)
        return bad(err, f->key, "an RSA key needs 2048 bits", 0);
    cc_random(hash, sizeof(hash));
    rc = sign(&p->key, hash, sig, &len);
    if (rc != 0)
        return bad(err, f->key, "the key cannot sign", rc);
    if (mbedtls_pk_verify(&p->crt.pk, MBEDTLS_MD_SHA256, hash, sizeof(hash), sig, len) != 0)
        return cc_err_set(err, CC_E_INVALID, "the key in %s does not belong to the certificate in %s", f->key, f->cert);
    if (mbedtls_x509_crt_check_key_usage(&p->crt, MBEDTLS_X509_KU_DIGITAL_SIGNATURE) != 0 ||
        mbedtls_x509_crt_check_extended_key_usage(&p->crt, MBEDTLS_OID_SERVER_AUTH,
                                                  MBEDTLS_OID_SIZE(MBEDTLS_OID_SERVER_AUTH)) != 0)
        return bad(err, f->cert, "the certificate is not meant for a TLS server (its key usage)", 0);
    return 0;
}

const char *cc_certs_doubt(const struct cc_certs *c, unsigned i)
{
    const mbedtls_x509_crt *crt = &c->pairs[i].crt;

    assert(i < c->n);
    if (mbedtls_x509_time_is_past(&crt->valid_to))
        return "the certificate has expired";
    return mbedtls_x509_time_is_future(&crt->valid_from) ? "the certificate is not valid yet" : NULL;
}

/* ---------------------------------------------------------------- names */

static void add_name(struct pair *p, const unsigned char *s, size_t n)
{
    char *name;
    size_t i;

    if (n == 0 || n > 255 || memchr(s, 0, n) || p->n_names == NAMES_MAX)
        return;
    name = cc_xmalloc(n + 1);
    for (i = 0; i < n; i++)
        name[i] = (char)(s[i] >= 'A' && s[i] <= 'Z' ? s[i] + 32 : s[i]);
    name[n] = 0;
    p->names = cc_xrealloc(p->names, (p->n_names + 1) * sizeof(*p->names));
    p->names[p->n_names++] = name;
}

/* The DNS names; where there is none, the common name. */
static void collect_names(struct pair *p)
{
    const mbedtls_x509_sequence *san;
    const mbedtls_x509_name *part;

    for (san = &p->crt.subject_alt_names; san; san = san->next)
        if (san->buf.p && (san->buf.tag & 0x1f) == 2)
            add_name(p, san->buf.p, san->buf.len);
    for (part = &p->crt.subject; part && p->n_names == 0; part = part->next)
        if (part->oid.p && MBEDTLS_OID_CMP(MBEDTLS_OID_AT_CN, &part->oid) == 0)
            add_name(p, part->val.p, part->val.len);
}

static bool has_name(const struct pair *p, const char *name, size_t n)
{
    unsigned i;

    for (i = 0; i < p->n_names; i++)
        if (strlen(p->names[i]) == n && strncasecmp(p->names[i], name, n) == 0)
            return true;
    return false;
}

/* "*.x" stands for exactly one label before ".x". */
static bool has_wildcard(const struct pair *p, const char *name, size_t n)
{
    const char *dot = memchr(name, '.', n);
    unsigned i;

    for (i = 0; dot && dot > name && i < p->n_names; i++) {
        const char *w = p->names[i];
        size_t rest = n - (size_t)(dot - name);

        if (w[0] == '*' && strlen(w) == rest + 1 && strncasecmp(w + 1, dot, rest) == 0)
            return true;
    }
    return false;
}

bool cc_certs_bear(const struct cc_certs *c, const char *name)
{
    size_t n = strlen(name);
    unsigned i;

    for (i = 0; i < c->n; i++)
        if (has_name(&c->pairs[i], name, n) || has_wildcard(&c->pairs[i], name, n))
            return true;
    return false;
}

/* All that bear the name are offered, and the client's ciphers decide between RSA and ECDSA. No
 * match is no error: the default is shown.  [worker] */
static int on_name(void *arg, mbedtls_ssl_context *ssl, const unsigned char *name, size_t len)
{
    struct cc_certs *c = arg;
    bool found = false;
    unsigned i, wild;

    for (wild = 0; wild < 2 && !found; wild++)
        for (i = 0; i < c->n; i++) {
            struct pair *p = &c->pairs[i];

            if (!(wild ? has_wildcard : has_name)(p, (const char *)name, len))
                continue;
            found = true;
            if (mbedtls_ssl_set_hs_own_cert(ssl, &p->crt, &p->key) != 0)
                return -1;
        }
    return 0;
}

/* ---------------------------------------------------------------- the configuration */

static void set_algorithms(mbedtls_ssl_config *conf)
{
#if MBEDTLS_VERSION_MAJOR >= 3
    static const uint16_t groups[] = { MBEDTLS_SSL_IANA_TLS_GROUP_X25519, MBEDTLS_SSL_IANA_TLS_GROUP_SECP256R1,
                                       MBEDTLS_SSL_IANA_TLS_GROUP_SECP384R1, MBEDTLS_SSL_IANA_TLS_GROUP_NONE };
    static const uint16_t algorithms[] = { MBEDTLS_TLS1_3_SIG_ECDSA_SECP256R1_SHA256,
                                           MBEDTLS_TLS1_3_SIG_ECDSA_SECP384R1_SHA384,
                                           MBEDTLS_TLS1_3_SIG_ECDSA_SECP521R1_SHA512,
                                           MBEDTLS_TLS1_3_SIG_RSA_PKCS1_SHA256,
                                           MBEDTLS_TLS1_3_SIG_RSA_PKCS1_SHA384,
                                           MBEDTLS_TLS1_3_SIG_RSA_PKCS1_SHA512,
                                           MBEDTLS_TLS1_3_SIG_NONE };

    mbedtls_ssl_conf_groups(conf, groups);
    mbedtls_ssl_conf_sig_algs(conf, algorithms);
#else
    static const mbedtls_ecp_group_id curves[] = { MBEDTLS_ECP_DP_CURVE25519, MBEDTLS_ECP_DP_SECP256R1,
                                                   MBEDTLS_ECP_DP_SECP384R1, MBEDTLS_ECP_DP_NONE };
    static const int hashes[] = { MBEDTLS_MD_SHA256, MBEDTLS_MD_SHA384, MBEDTLS_MD_SHA512, MBEDTLS_MD_NONE };

    mbedtls_ssl_conf_curves(conf, curves);
    mbedtls_ssl_conf_sig_hashes(conf, hashes);
#endif
}

static int configure(struct cc_certs *c)
{
    mbedtls_ssl_config *conf = &c->conf;
    const struct pair *first = &c->pairs[0];
    unsigned i;
    int rc = mbedtls_ssl_config_defaults(conf, MBEDTLS_SSL_IS_SERVER, MBEDTLS_SSL_TRANSPORT_STREAM,
                                         MBEDTLS_SSL_PRESET_DEFAULT);

    if (rc == 0)
        rc = mbedtls_ssl_ticket_setup(&c->tickets, on_random, NULL, MBEDTLS_CIPHER_AES_256_GCM, TICKET_SECONDS);
    if (rc == 0)
        rc = mbedtls_ssl_conf_alpn_protocols(conf, protocols);
    if (rc != 0)
        return rc;
    mbedtls_ssl_conf_rng(conf, on_random, NULL);
    mbedtls_ssl_conf_min_version(conf, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
    mbedtls_ssl_conf_max_version(conf, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
    mbedtls_ssl_conf_ciphersuites(conf, ciphers);
    set_algorithms(conf);
    mbedtls_ssl_conf_renegotiation(conf, MBEDTLS_SSL_RENEGOTIATION_DISABLED);
    mbedtls_ssl_conf_session_tickets_cb(conf, mbedtls_ssl_ticket_write, mbedtls_ssl_ticket_parse, &c->tickets);
    mbedtls_ssl_conf_sni(conf, on_name, c);
    for (i = 0; i < c->n && rc == 0; i++) { /* the default, and what bears its name with another kind of key */
        struct pair *p = &c->pairs[i];

        if (i == 0 || (first->n_names && has_name(p, first->names[0], strlen(first->names[0])) &&
                       mbedtls_pk_get_type(&p->key) != mbedtls_pk_get_type(&first->key)))
            rc = mbedtls_ssl_conf_own_cert(conf, &p->crt, &p->key);
    }
    return rc;
}

const struct mbedtls_ssl_config *cc_certs_config(const struct cc_certs *c) { return &c->conf; }

/* ---------------------------------------------------------------- life */

static struct cc_certs *certs_new(unsigned n)
{
    struct cc_certs *c = cc_xcalloc(1, sizeof(*c) + n * sizeof(c->pairs[0]));
    unsigned i;

    c->refs = 1;
    c->n = n;
    mbedtls_ssl_config_init(&c->conf);
    mbedtls_ssl_ticket_init(&c->tickets);
    for (i = 0; i < n; i++) {
        mbedtls_x509_crt_init(&c->pairs[i].crt);
        mbedtls_pk_init(&c->pairs[i].key);
    }
    return c;
}

static int load_pair(struct pair *p, const struct cc_cert_files *f, struct cc_err *err)
{
    int rc = read_cert(p, f->cert, err);

    if (rc == 0)
        rc = read_key(p, f->key, err);
    if (rc == 0)
        rc = check_pair(p, f, err);
    if (rc == 0)
        collect_names(p);
    return rc;
}

struct cc_certs *cc_certs_load(const struct cc_cert_files *files, unsigned n, struct cc_err *err)
{
    struct cc_certs *c;
    unsigned i;
    int rc = 0;

    assert(n >= 1 && n <= CC_CERTS_MAX);
    c = certs_new(n);
#if MBEDTLS_VERSION_MAJOR >= 3
    rc = psa_crypto_init() == PSA_SUCCESS ? 0 : cc_err_set(err, CC_E_INTERNAL, "TLS cannot be set up (PSA)");
#endif
    for (i = 0; i < n && rc == 0; i++)
        rc = load_pair(&c->pairs[i], &files[i], err);
    if (rc == 0 && (rc = configure(c)) != 0)
        cc_err_set(err, CC_E_INTERNAL, "TLS cannot be set up (error -0x%x)", -rc);
    if (rc != 0) {
        cc_certs_unref(c);
        return NULL;
    }
    return c;
}

struct cc_certs *cc_certs_ref(struct cc_certs *c)
{
    c->refs++;
    return c;
}

void cc_certs_unref(struct cc_certs *c)
{
    unsigned i, k;

    if (!c || --c->refs)
        return;
    mbedtls_ssl_config_free(&c->conf);
    mbedtls_ssl_ticket_free(&c->tickets);
    for (i = 0; i < c->n; i++) {
        mbedtls_x509_crt_free(&c->pairs[i].crt);
        mbedtls_pk_free(&c->pairs[i].key);
        for (k = 0; k < c->pairs[i].n_names; k++)
            free(c->pairs[i].names[k]);
        free(c->pairs[i].names);
    }
    free(c);
}
