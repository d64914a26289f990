/* tls_conn.h - what tls.c (handshakes, reading) and tls_send.c share: one connection.
 *
 * A connection collects the client's first record (FRESH), has a step of its
 * handshake computed on a thread (AT_WORK), waits for the next whole record
 * (SHAKING), and is OPEN or BROKEN in the end.  While AT_WORK the thread alone
 * touches the context and both buffers.
 */
#ifndef CC_HTTP_TLS_CONN_H
#define CC_HTTP_TLS_CONN_H

#include <mbedtls/ssl.h>
#include <stdbool.h>
#include <stddef.h>

#include "host/http/sock.h"
#include "host/sys/pool.h"

#define CC_TLS_RECORD 16384
#define CC_TLS_SLICE (4 * CC_TLS_RECORD)

enum cc_tls_phase { TLS_FRESH, TLS_AT_WORK, TLS_SHAKING, TLS_OPEN, TLS_BROKEN };

struct cc_tls_bytes {
    char *p;
    size_t off, len, cap;
};

struct cc_tls_rest;
struct cc_tls_flight;

struct cc_tls_conn {
    struct cc_layer layer; /* first: the socket's pointer */
    struct cc_sock *sock;  /* NULL: closed */
    struct cc_tls *tls;
    struct cc_certs *certs; /* since the first record */
    mbedtls_ssl_context ssl;
    struct cc_job job;
    int result; /* of the handshake's step; the thread's, like the next two */
    bool set_up, alerted;
    struct cc_tls_bytes in; /* ciphertext that waits */
    size_t whole;           /* of it, in whole records: what a handshake may see */
    struct cc_tls_bytes out;
    const char *from; /* ciphertext under way, from the socket's read */
    size_t from_len;
    uv_alloc_cb alloc;
    uv_read_cb read;
    cc_sent_fn sent;
    struct cc_tls_rest *rests, **rests_end;
    size_t resting;
    struct cc_tls_flight *flight; /* the one with the owner's bytes */
    unsigned flights, refs;
    int end; /* what the owner will read in the end; 0: nothing yet */
    uint8_t phase;
    bool reading, under_reads, pumping, posted, said_end, shut, told;
};

static inline struct cc_tls_conn *cc_tls_conn_of(const struct cc_sock *s) { return (struct cc_tls_conn *)s->layer; }

/* tls.c */
void cc_tls_conn_unref(struct cc_tls_conn *c);

/* tls_send.c: the verbs of the layer */
int cc_tls_send(struct cc_sock *s, const uv_buf_t *bufs, unsigned n, cc_sent_fn sent);
size_t cc_tls_queued(const struct cc_sock *s);
void cc_tls_shutdown(struct cc_sock *s);

/* Keeps what mbedTLS has sealed until cc_tls_flush sends it, with how many bytes of the owner's are
 * in it. One buffer of the process: flushed before another connection is touched. */
bool cc_tls_seal(const void *p, size_t n);
bool cc_tls_sealed(void);
int cc_tls_flush(struct cc_tls_conn *c, size_t plain);

/* Sends bytes as they are. 0, also when some of them wait, or a negative UV_E*. */
int cc_tls_fly(struct cc_tls_conn *c, const void *p, size_t n, size_t plain);

/* The handshake is done: what the owner has sent meanwhile goes. */
void cc_tls_send_waiting(struct cc_tls_conn *c);
/* Tells the peer that no more will come, once, where nothing is under way. */
void cc_tls_say_end(struct cc_tls_conn *c);
bool cc_tls_all_gone(const struct cc_tls_conn *c);
void cc_tls_drop_waiting(struct cc_tls_conn *c);

#endif
