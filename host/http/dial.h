/* dial.h - the heads of a proxied upgrade: the request that we send, the answer that we take.
 *
 * Pure functions over bytes, apart from splice.c so that they can be fuzzed
 * and read alone.
 */
#ifndef CC_HTTP_DIAL_H
#define CC_HTTP_DIAL_H

#include "host/http/conn.h"
#include "host/http/splice.h"

/* Builds the request head for the backend into out. Length, or CC_E_INVALID / CC_E_LIMIT. */
int cc_dial_request(struct cc_req *r, const struct cc_splice_opts *o, char *out, size_t cap);

/* Whether the head is the 101 that belongs to the key; `protocol` is what it chose (p NULL: none). */
bool cc_dial_answer(const char *head, size_t n, const char *key, size_t key_len, struct cc_text *protocol, int *status);

#endif
