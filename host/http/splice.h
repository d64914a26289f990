/* splice.h - passing a WebSocket through to a machine.
 *
 * Dials the backend, sends it a request built anew (nothing of the client's
 * that authenticates him, nothing hop-by-hop, no extensions), vets its
 * answer, and from then on moves bytes both ways with one shared buffer: a
 * short write is copied once and stops the reading on that side until it has
 * gone, so one connection holds at most CC_SOCK_BUFFER bytes each way, and an
 * idle one two sockets and one struct.  Payloads are not read; frame headers
 * are followed so that typing can be told from pings, and so that a close
 * frame of ours goes only between two frames.
 * Thread: loop thread only.
 */
#ifndef CC_HTTP_SPLICE_H
#define CC_HTTP_SPLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/http/backend.h"
#include "host/http/req.h"
#include "host/sys/err.h"

#define CC_SPLICE_ID 40
#define CC_SPLICE_WHO 96

struct cc_splice_stats {
    char id[CC_SPLICE_ID];
    int64_t opened_ms; /* cc_wall_ms() */
    int64_t typed_ms;  /* of the last typed input; 0: never */
    uint64_t from_client, from_backend, typed;
    int kind; /* enum cc_ws_kind */
};

struct cc_splice_opts {
    struct cc_backend_at at;
    const char *path; /* the target to ask for; NULL: the client's path, without its query */
    const char *host; /* NULL: localhost */
    const struct cc_hdr *headers;
    unsigned n_headers;
    const char *id;   /* for the list; cut at CC_SPLICE_ID - 1 */
    const char *who;  /* whose it is and by which credential, to end it by; cut at CC_SPLICE_WHO - 1 */
    int kind;         /* enum cc_ws_kind: what of it is somebody's input */
    uint32_t dial_ms; /* to connect and be answered; 0: 5 s */
    uint32_t ping_ms; /* both sides are pinged so often, and a dead one is noticed; 0: never */
    /* 0: the 101 was passed on and r is gone; else nothing was sent and r lives on. Not called
     * inside cc_splice_dial, nor after cc_splice_cancel. */
    void (*on_open)(void *arg, int status, const struct cc_err *err);
    void *arg;
};

struct cc_dial;

/* Starts dialling for r, an upgrade request. NULL: err says why not (nothing began). */
struct cc_dial *cc_splice_dial(struct cc_req *r, const struct cc_splice_opts *o, struct cc_err *err);
void cc_splice_cancel(struct cc_dial *d);

/* Accepts r's upgrade before there is anything to pass it on to; r is gone when this returns 0. Of the client's input 64 KiB
 * wait. `protocol`: chosen, when the client offers it (NULL: none). *owner is set, and NULL again once it is not the holder's
 * any more: ended, or leaving. CC_E_*: err says why, r lives on. */
struct cc_splice;
int cc_splice_hold(struct cc_req *r, const struct cc_splice_opts *o, const char *protocol, struct cc_splice **owner,
                   struct cc_err *err);
/* A binary message of ours. False: it cannot be sent. */
bool cc_splice_say(struct cc_splice *s, const char *p, size_t n);
/* As cc_splice_dial, for a held one: on_open with 0 once it is joined; else it is held still, unless it went. */
struct cc_dial *cc_splice_connect(struct cc_splice *s, const struct cc_splice_opts *o, struct cc_err *err);
/* Our last words, and its end. */
void cc_splice_leave(struct cc_splice *s, int code, const char *reason);

/* Called with each piece of typed input (bytes), for any splice. NULL: nobody. */
void cc_splice_on_input(void (*fn)(void *arg, const char *id, uint64_t bytes), void *arg);

/* Ends those of that id, or those whose `who` begins so, with a close frame where one fits. Returns how many. */
unsigned cc_splice_close_id(const char *id, int code, const char *reason);
unsigned cc_splice_close_who(const char *prefix, int code, const char *reason);

/* Fills at most max entries; returns how many splices there are. */
unsigned cc_splice_list(struct cc_splice_stats *out, unsigned max);

#endif
