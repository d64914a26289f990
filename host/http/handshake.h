/* handshake.h - what makes a request a WebSocket upgrade (RFC 6455, 4.2.1). */
#ifndef CC_HTTP_HANDSHAKE_H
#define CC_HTTP_HANDSHAKE_H

#include <stdbool.h>
#include <stddef.h>

struct cc_req;

/* Sec-WebSocket-Accept of a key: 28 characters and a NUL. False: not a proper key. */
bool cc_ws_accept(const char *key, size_t len, char out[29]);

/* 0 and the answer to its key; CC_E_INVALID: not a proper upgrade; CC_E_UNSUPPORTED: a version other than 13. */
int cc_ws_vet(struct cc_req *r, char accept[29]);

/* Whether the client offers the subprotocol (case counts), in any of its header lines. */
bool cc_ws_offers(struct cc_req *r, const char *protocol);

#endif
