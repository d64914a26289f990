/* pass.h - an HTTP request passed on to a machine, and its answer passed back.
 *
 * Two halves, with a decision of the caller's between them: cc_pass_start
 * sends the request, built anew (dial.h), and then the client's body as the
 * backend takes it; the head of the answer is vetted like a client's and
 * handed over; cc_pass_answer sends what the caller makes of it, and then the
 * backend's body as the client takes it.  Each way one shared buffer is read
 * and what a short write left is copied once and stops the reading, so that
 * no size of a body is a size in memory.  An answer that comes before the
 * body's end ends the body.  A socket serves one request.
 * Ownership: lives until `done`, or cc_pass_cancel.
 * Thread: loop thread only.
 */
#ifndef CC_HTTP_PASS_H
#define CC_HTTP_PASS_H

#include "host/http/backend.h"
#include "host/http/head.h"

struct cc_pass;

struct cc_pass_opts {
    struct cc_backend_at at;
    const char *path; /* target; NULL: the client's path, without its query */
    const char *host; /* NULL: localhost */
    const struct cc_hdr *headers;
    unsigned n_headers;
    const char *id, *who; /* as of a splice: by these it can be ended */
    uint64_t body_max;    /* 0: the server's own bound */
    uint32_t dial_ms;     /* 0: 5 s */
    uint32_t idle_ms;     /* the backend may neither take nor give for so long (framing is nothing given); 0: 60 s */
    uint32_t head_ms;     /* from the first byte of an answer's head to its last; 0: 10 s */
    /* The answer's head is there (h, and its bytes at p: good until cc_pass_answer) or, with err, it failed and the request
     * wants its reply. Never inside cc_pass_start. */
    void (*on_head)(void *arg, const struct cc_head *h, const char *p, const struct cc_err *err);
    /* After cc_pass_answer: the request has ended, err NULL when all was passed on. */
    void (*on_done)(void *arg, const struct cc_err *err);
    void *arg;
};

/* NULL: err says why; nothing began. */
struct cc_pass *cc_pass_start(struct cc_req *r, const struct cc_pass_opts *o, struct cc_err *err);

/* 0: on_done will be called, never inside. CC_E_*: the headers cannot be sent; the pass has ended, the request wants its reply. */
int cc_pass_answer(struct cc_pass *p, int status, const struct cc_hdr *h, unsigned n);

void cc_pass_cancel(struct cc_pass *p); /* nothing is called; the request lives on */

/* Ends those of that id, or those whose `who` begins so. Returns how many. */
unsigned cc_pass_close_id(const char *id);
unsigned cc_pass_close_who(const char *prefix);

#endif
