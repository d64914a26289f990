/* span.h - what was done for a request, as spans of its trace, until they are sent.
 *
 * A span has a slot from its beginning until it was sent; there are CC_SPANS of them, and what finds none free is dropped and
 * counted: nobody ever waits for them, and they take no more memory than that.  The slots are a file mapped into memory, so
 * that a process that is killed loses none: the next one adopts what it had finished, and what it was at ends as cut off.
 *
 * Spans are for contexts (host/sys/context.h) whose trace is recorded, bit 0 of its flags; all else, and everything until
 * cc_spans_open, costs one branch.  What a span says: its user, machine and plan, by its context; attributes by its maker,
 * of which none may be a secret, a path or a query; and how it failed.
 * The text is OTLP's JSON.  Thread: the loop's.
 */
#ifndef CC_SPAN_H
#define CC_SPAN_H

#include "host/sys/context.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum cc_span_kind { CC_SPAN_INTERNAL = 1, CC_SPAN_SERVER = 2, CC_SPAN_CLIENT = 3 }; /* as OTLP numbers them */
enum { CC_SPANS = 4096, CC_SPAN_NAME_MAX = 79 };

struct cc_span;
struct cc_err;

/* From here on spans are recorded, in a new file of that name, which is locked as long as the process lives. Or a CC_E*. */
int cc_spans_open(const char *path, struct cc_err *err);
/* Takes over the spans in the file of a process that has died, and removes it; one that is of no use is removed, too.
 * `noted` is called with what it had noted. How many, or a CC_E*: CC_E_EXISTS: it lives. It reads the whole file. */
typedef void (*cc_noted_fn)(void *arg, const char *what);
int cc_spans_adopt(const char *path, cc_noted_fn noted, void *arg, struct cc_err *err);
void cc_spans_close(void); /* no more is recorded; the file goes when there is nothing in it */

extern bool cc_spans_on;

/* A span in c's trace (c may be NULL): a child of what c is at. Its name is "WHAT NAME", or WHAT alone; few words, never an id.
 * NULL: it is not recorded, and every function below takes that. */
struct cc_span *cc_span_make(const struct cc_context *c, enum cc_span_kind kind, const char *what, const char *name);
/* The span that c itself is. */
struct cc_span *cc_span_of(const struct cc_context *c, enum cc_span_kind kind, const char *what, const char *name);

static inline struct cc_span *cc_span_begin(enum cc_span_kind kind, const char *what, const char *name)
{
    return cc_spans_on ? cc_span_make(cc_context_now(), kind, what, name) : NULL;
}

void cc_span_name(struct cc_span *s, const char *what, const char *name);
void cc_span_text(struct cc_span *s, const char *key, const char *value, size_t n); /* what is too long is cut */
void cc_span_number(struct cc_span *s, const char *key, int64_t value);
void cc_span_truth(struct cc_span *s, const char *key, bool value);
void cc_span_whose(struct cc_span *s,
                   const struct cc_context *c);                /* user, machine and plan, where they are not said yet */
void cc_span_fail(struct cc_span *s, const char *message);     /* its status; the first one counts */
void cc_span_raised(struct cc_span *s, const char *traceback); /* likewise, and the event "exception" */
void cc_span_times(struct cc_span *s, int64_t start_ms, int64_t end_ms); /* of what was over before it was told of */
void cc_span_id(const struct cc_span *s, unsigned char out[8]);
void cc_span_end(struct cc_span *s); /* s is nobody's from here on */

/* A note that the span that c is has an end somewhere else: a process that dies leaves it to the next, but not beside that span.
 * NULL: nothing is recorded. */
struct cc_span *cc_span_note(const struct cc_context *c, const char *what);
void cc_span_forget(struct cc_span *s);

/* The open span that c is, or NULL: for who comes by rarely, as it looks at all. */
struct cc_span *cc_span_find(const struct cc_context *c);

/* ---- sending */

/* Up to `most` finished ones as text, without brackets around them; the same again until cc_spans_sent. *n: how many; the
 * caller frees it. */
char *cc_spans_take(unsigned most, unsigned *n, size_t *len);
/* What was taken is over: `refused` of them were not wanted, `lost` given up. */
void cc_spans_sent(unsigned refused, bool lost);
/* Calls fn once, when the next one ends and `n` are finished; fn NULL: no more. */
void cc_spans_when(unsigned n, void (*fn)(void *arg), void *arg);

struct cc_span_stats {
    unsigned open, finished, taken;
    uint64_t sent, refused, dropped; /* dropped: no slot, or given up */
};
void cc_spans_stats(struct cc_span_stats *out);

#endif
