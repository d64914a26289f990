/* reach.h - a connected stream socket to a unix path or to the host of a URL.
 *
 * Names, both families, the environment's proxy and TLS are libcurl's
 * (CURLOPT_CONNECT_ONLY, on a pool); a unix path is dialled on the loop and
 * needs no libcurl.  https comes through a tunnel (tunnel.h), so the result is
 * always a plain cc_sock.
 * Ownership: a cc_reach lives until its `done` has returned or it is cancelled.
 * Thread: loop thread only.
 */
#ifndef CC_HTTP_REACH_H
#define CC_HTTP_REACH_H

#include <stdint.h>
#include <uv.h>

#include "host/http/sock.h"
#include "host/sys/err.h"
#include "host/sys/pool.h"

struct cc_reach;

struct cc_reach_opts {
    const char *url;       /* http or https; its path does not matter */
    const char *unix_path; /* this socket instead */
    const char *ca_file;   /* trust these authorities instead of the system's */
    uint32_t timeout_ms;
    /* s NULL: err says why. Else s is the caller's, with no owner and not read. Never inside cc_reach_start. */
    void (*done)(void *arg, struct cc_sock *s, const struct cc_err *err);
    void *arg;
};

/* NULL: err says why. */
struct cc_reach *cc_reach_start(uv_loop_t *loop, struct cc_pool *pool, const struct cc_reach_opts *o,
                                struct cc_err *err);
void cc_reach_cancel(struct cc_reach *r); /* done is not called */

#endif
