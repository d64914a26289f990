/* backend.h - a connected socket to what a request is passed on to: a machine, or a port of one.
 *
 * A unix socket or an address is dialled.  With a `tunnel` the server there is
 * asked to become a pipe to something else (`Upgrade: tcp`, the agent's
 * /ports/N), and what it answers is vetted; from its 101 on the socket is as
 * good as one to the thing itself.
 * Ownership: lives until `done` has been called or it is cancelled.
 * Thread: loop thread only.
 */
#ifndef CC_HTTP_BACKEND_H
#define CC_HTTP_BACKEND_H

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "host/http/req.h"
#include "host/http/sock.h"
#include "host/sys/err.h"

struct cc_backend_at {
    const char *unix_path; /* its last part is no link (host/sys/unix_at.h); or host (an address) and port */
    const char *host;
    int port;
    const char *tunnel;    /* the target to ask for a pipe, or NULL */
    struct cc_text secret; /* Authorization of that request; p NULL: none */
};

struct cc_backend;

/* s NULL: err says why; CC_E_NOT_FOUND: what the tunnel was to lead to is not there. Else s is the caller's, with no owner and
 * not read; `early` (free it, may be NULL) came behind the tunnel's answer. Never inside cc_backend_dial. */
typedef void (*cc_backend_fn)(void *arg, struct cc_sock *s, char *early, size_t n, const struct cc_err *err);

/* NULL: err says why. */
struct cc_backend *cc_backend_dial(uv_loop_t *loop, const struct cc_backend_at *at, uint32_t ms, cc_backend_fn done,
                                   void *arg, struct cc_err *err);
void cc_backend_cancel(struct cc_backend *b); /* done is not called; NULL is fine */

#endif
