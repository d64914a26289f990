/* client.h - HTTP requests to the world, by libcurl's multi interface on the loop.
 *
 * libcurl is loaded at the first use: a host that never calls out does not pay
 * its 8 MiB.  At most 20 transfers begin per turn of the loop, the rest waits
 * its turn.  No redirects, http and https only, certificates verified.
 * Ownership: a fetch copies all it was given and lives until its `done` has
 * returned or it is cancelled.  Thread: loop thread only.
 */
#ifndef CC_HTTP_CLIENT_H
#define CC_HTTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "host/http/egress.h"
#include "host/http/req.h"
#include "host/sys/err.h"

struct cc_fetch;

struct cc_fetch_answer {
    int status;
    const char *head; /* the final answer's header lines as they came, CRLF between */
    size_t head_len;
    const char *body;
    size_t body_len;
};

struct cc_fetch_opts {
    const char *method; /* NULL: GET, or POST when there is a body */
    const char *url;
    const char *unix_path; /* dial this socket instead of the URL's host */
    const char *ca_file;   /* trust these authorities instead of the system's */
    const struct cc_hdr *headers;
    unsigned n_headers;
    const char *body; /* NULL: none */
    size_t body_len;
    uint32_t timeout_ms;            /* for all of it; 0: 30 s */
    uint32_t connect_ms;            /* 0: 10 s */
    size_t max_body;                /* of the answer; 0: 8 MiB */
    bool cut;                       /* of a longer one that much is enough, and the transfer ends there */
    const struct cc_egress *egress; /* where it may lead, directly, without the environment's proxy; NULL: anywhere */
    /* answer NULL: err says why. Never inside cc_fetch_start. */
    void (*done)(void *arg, const struct cc_fetch_answer *answer, const struct cc_err *err);
    void *arg;
};

/* NULL: err says why (no libcurl, a header that cannot be sent). */
struct cc_fetch *cc_fetch_start(uv_loop_t *loop, const struct cc_fetch_opts *o, struct cc_err *err);
void cc_fetch_cancel(struct cc_fetch *f); /* done is not called */

/* Fails what is under way, lets idle connections go. The next cc_fetch_start begins anew. */
void cc_client_close(void);

#endif
