/* dial.h - the heads of what is passed on to a machine: the request that we send, the answer to an upgrade.
 *
 * Pure functions over bytes, apart from splice.c and pass.c so that they can be fuzzed
 * and read alone.
 */
#ifndef CC_HTTP_DIAL_H
#define CC_HTTP_DIAL_H

#include "host/http/conn.h"

struct cc_dial_ask {
    const char *path;             /* the target to ask for; NULL: the client's path, without its query */
    const char *host;             /* NULL: localhost */
    const struct cc_hdr *headers; /* in the place of the client's of these names */
    unsigned n_headers;
    bool upgrade;        /* GET, as a WebSocket; else the client's method and a body */
    int64_t length;      /* of that body, -1: it comes in chunks */
    struct cc_text kept; /* what cc_dial_kept made of a request that is no more; p NULL: r has it */
};

/* Builds the request head for the backend into out. Length, or CC_E_INVALID / CC_E_LIMIT. r may be NULL when `kept` is there. */
int cc_dial_request(struct cc_req *r, const struct cc_dial_ask *ask, char *out, size_t cap);

/* The client's header lines that may be passed on with an upgrade, alone. Length or CC_E_LIMIT. */
int cc_dial_kept(struct cc_req *r, char *out, size_t cap);

/* Whether the head is the 101 that belongs to the key; `protocol` is what it chose (p NULL: none). */
bool cc_dial_answer(const char *head, size_t n, const char *key, size_t key_len, struct cc_text *protocol, int *status);

#endif
