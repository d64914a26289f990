/* tls.h - TLS on the connections of one server, as a layer of their sockets (sock.h).
 *
 * HTTP, WebSockets and the proxy above it are the same as without.  The
 * arithmetic of a handshake (some 3 ms) runs on threads of its own, each step
 * when a whole record is there; what follows is encrypted and decrypted on
 * the loop, at most 64 KiB at a time.  A connection that has not begun its
 * handshake costs about 1 KiB, an open one about 40 KiB, which are mbedTLS's
 * two buffers.  Time is the owner's business: a server's head deadline counts
 * from accept, so it covers the handshake.
 * Ownership: lives until its server has ended it and its last connection has
 * gone.  Thread: loop thread only.
 */
#ifndef CC_HTTP_TLS_H
#define CC_HTTP_TLS_H

#include <stdint.h>
#include <uv.h>

struct cc_certs;
struct cc_layers;
struct cc_tls;

/* The caller's reference to certs becomes its own. */
struct cc_tls *cc_tls_new(uv_loop_t *loop, struct cc_certs *certs);

/* What cc_server_opts takes: the server ends it. */
struct cc_layers *cc_tls_layers(struct cc_tls *t);

/* Handshakes from now on use certs; connections keep what they began with. Takes the reference. */
void cc_tls_swap(struct cc_tls *t, struct cc_certs *certs);

struct cc_tls_stats {
    uint64_t handshakes; /* done */
    uint64_t failed;     /* not TLS, nothing in common, broken off; why is logged at level debug */
    uint64_t truncated;  /* open connections whose peer ended without saying so in TLS */
    unsigned waiting;    /* steps of handshakes that are queued or computed */
};
void cc_tls_stats(const struct cc_tls *t, struct cc_tls_stats *out);

#endif
