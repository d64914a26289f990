/* ws_dial.h - opens a WebSocket as its client.
 *
 * Reaches the server (reach.h), asks for the upgrade with a random key, checks
 * the answer to it; what it gives is the client's end of ws.h.  No redirects.
 * A server that answers otherwise is heard to the end of its (short) body.
 * Ownership: a cc_ws_dial copies all it was given and lives until its `done`
 * has returned or it is cancelled.  Thread: loop thread only.
 */
#ifndef CC_HTTP_WS_DIAL_H
#define CC_HTTP_WS_DIAL_H

#include "host/http/ws.h"
#include "host/sys/err.h"
#include "host/sys/pool.h"

struct cc_ws_dial;

/* An HTTP answer that was no upgrade. */
struct cc_ws_answer {
    int status;
    const char *body; /* at most 16 KiB of it */
    size_t body_len;
};

struct cc_ws_dial_opts {
    const char *url;       /* ws, wss, http or https://HOST[:PORT][/PATH][?QUERY] */
    const char *unix_path; /* dial this socket instead of the URL's host */
    const char *ca_file;   /* trust these authorities instead of the system's */
    const char *protocol;  /* offered, and then demanded; NULL: none */
    const struct cc_hdr *headers;
    unsigned n_headers;
    uint32_t timeout_ms;  /* until it is open; 0: 10 s */
    struct cc_ws_opts ws; /* its protocol is not used */
    const struct cc_ws_events *events;
    /* ws NULL: err says why, and what the server answered when it answered (NULL: it did not). Nothing is read until
     * cc_ws_resume. Never inside cc_ws_dial. */
    void (*done)(void *arg, struct cc_ws *ws, const struct cc_ws_answer *answer, const struct cc_err *err);
    void *arg; /* of done and of the events */
};

/* NULL: err says why (a URL or a header that cannot be, no libcurl). */
struct cc_ws_dial *cc_ws_dial(uv_loop_t *loop, struct cc_pool *pool, const struct cc_ws_dial_opts *o,
                              struct cc_err *err);
void cc_ws_dial_cancel(struct cc_ws_dial *d); /* done is not called */

#endif
