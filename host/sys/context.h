/* context.h - for whom something is done: the ids that a log line and a span carry.
 *
 * A request's context begins with the request; its task carries it, a task that this one starts inherits a copy, and so does
 * a job that goes to a pool's thread.  What runs on a thread finds it by cc_context_now(), which the scheduler and the pools
 * keep: it is a view of what the running task carries, never set by anybody else.
 * Ownership: plain data, copied whole.  [any thread]
 */
#ifndef CC_CONTEXT_H
#define CC_CONTEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CC_REQUEST_ID_MAX = 64, CC_CARRIED_MAX = 39 };

struct cc_context {
    bool traced;                         /* the four that follow are set */
    uint8_t flags;                       /* of W3C's traceparent; bit 0: sampled */
    unsigned char trace[16], span[8];    /* the trace, and what of it this is */
    unsigned char parent[8];             /* the span that it is a child of; zeros: it is a root */
    char request[CC_REQUEST_ID_MAX + 1]; /* texts: "" where there is none */
    char user[CC_CARRIED_MAX + 1];
    char machine[CC_CARRIED_MAX + 1];
    char plan[CC_CARRIED_MAX + 1]; /* of the machine, or of who asks; for spans alone */
};

/* Which traces are recorded, bit 0 of their flags: of those that begin here a part of `ratio` (0..1), chosen by their ids; of
 * those that begin elsewhere what their traceparent says, unless `heed` is false: then they are chosen like ours.  Until it
 * is called: none that begins here. */
void cc_context_sampler(double ratio, bool heed);

/* Begins a span: within the trace that a valid `traceparent` names (p may be NULL), else in one of its own. */
void cc_context_trace(struct cc_context *c, const char *traceparent, size_t n);

/* What goes on by itself, long after its request: from here on `id`, a random UUID, says which span this is, a child of the
 * one that `traceparent` names; without one (n 0) a trace of its own, whose id it is, too. */
void cc_context_detached(struct cc_context *c, const char *traceparent, size_t n, const unsigned char id[16]);

/* "00-<32 hex>-<16 hex>-<2 hex>", for what is sent on. */
enum { CC_TRACEPARENT_LEN = 55 };
void cc_context_traceparent(const struct cc_context *c, char out[CC_TRACEPARENT_LEN + 1]);

void cc_hex(char *out, const unsigned char *p, size_t n); /* 2n digits and a NUL */

/* What this thread does from here on is for `c` (NULL: for nobody). Returns what was before. */
const struct cc_context *cc_context_enter(const struct cc_context *c);
const struct cc_context *cc_context_now(void); /* NULL: for nobody in particular */

#endif
