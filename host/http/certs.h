/* certs.h - the certificates that a server shows, with their keys, and how TLS is spoken with them.
 *
 * Made whole from PEM files or not at all, and never changed afterwards: a
 * new certificate is a new cc_certs, the old one lives until the last
 * connection that began with it has ended.  TLS 1.2 only, ECDHE with AEAD
 * ciphers only; tickets are sealed under keys of this object's own, which
 * change every hour and die with it, so a session is never resumed under
 * another set of certificates.
 * Thread: cc_certs_load anywhere; handshakes of several threads may use one
 * at a time; references are counted by the loop's thread.
 */
#ifndef CC_HTTP_CERTS_H
#define CC_HTTP_CERTS_H

#include <stdbool.h>

struct cc_err;
struct cc_certs;
struct mbedtls_ssl_config;

/* The certificate's file holds the chain, the server's own first. */
struct cc_cert_files {
    const char *cert, *key;
};
#define CC_CERTS_MAX 64

/* Reads and checks them: that each key signs what its certificate proves is tried. The first
 * is shown to who asks for no name or an unknown one. NULL: err names the file and what is
 * wrong with it. One reference is the caller's.  [any thread] [blocks] */
struct cc_certs *cc_certs_load(const struct cc_cert_files *files, unsigned n, struct cc_err *err);

struct cc_certs *cc_certs_ref(struct cc_certs *c);
void cc_certs_unref(struct cc_certs *c); /* NULL is fine */

/* What is only doubtful about the pair of this number (expired, not valid yet), or NULL. */
const char *cc_certs_doubt(const struct cc_certs *c, unsigned i);

/* Whether one of them bears the DNS name, whatever its case. */
bool cc_certs_bear(const struct cc_certs *c, const char *name);

const struct mbedtls_ssl_config *cc_certs_config(const struct cc_certs *c);

#endif
