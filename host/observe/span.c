/* span.c - see span.h: slots, and who has them.
 *
 * Which are free, finished and taken is kept beside them, as lists by their numbers; a file says it by each slot's state. */
#include "host/observe/span.h"

#include "host/observe/metrics.h"
#include "host/observe/span_slot.h"
#include "host/sys/clock.h"
#include "host/sys/err.h"
#include "host/sys/mem.h"
#include "host/sys/random.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool cc_spans_on;

struct list {
    uint16_t first, last; /* numbers of slots from 1; 0: none */
    unsigned n;
};

static struct {
    struct cc_span_head *head; /* NULL: none are recorded */
    struct cc_span *slot;      /* slot[1] is the first; slot[0] has the head */
    char *path;
    uint16_t next[CC_SPANS + 1];
    struct list idle, done, taken;
    unsigned untouched; /* slots from here on have never been used: their pages are not there yet */
    unsigned open;
    uint64_t sent, refused, dropped;
    struct cc_series *count[3]; /* sent, refused, dropped */
    unsigned when;
    void (*fn)(void *arg);
    void *arg;
} all;

/* ---------------------------------------------------------------- lists */

static void put(struct list *l, unsigned i)
{
    all.next[i] = 0;
    if (l->last)
        all.next[l->last] = (uint16_t)i;
    else
        l->first = (uint16_t)i;
    l->last = (uint16_t)i;
    l->n++;
}

static unsigned get(struct list *l)
{
    unsigned i = l->first;

    if (!i)
        return 0;
    l->first = all.next[i];
    if (!l->first)
        l->last = 0;
    l->n--;
    return i;
}

/* The one that was last in use, so that few pages are. */
static void put_idle(unsigned i)
{
    all.slot[i].state = CC_SLOT_FREE;
    all.next[i] = all.idle.first;
    all.idle.first = (uint16_t)i;
    if (!all.idle.last)
        all.idle.last = (uint16_t)i;
    all.idle.n++;
}

static void drop(unsigned n)
{
    all.dropped += n;
    cc_metric_add(all.count[2], n);
}

static struct cc_span *slot(void)
{
    unsigned i = get(&all.idle);

    if (!i && all.untouched <= CC_SPANS)
        i = all.untouched++;
    if (i)
        return &all.slot[i];
    drop(1);
    return NULL;
}

static void wake(void)
{
    void (*fn)(void *arg) = all.fn;

    if (!fn || all.done.n < all.when)
        return;
    all.fn = NULL;
    fn(all.arg);
}

/* ---------------------------------------------------------------- one span */

static struct cc_span *begin(const struct cc_context *c, enum cc_span_kind kind)
{
    struct cc_span *s = slot();

    if (!s)
        return NULL;
    memset(s, 0, offsetof(struct cc_span, name));
    s->message[0] = 0;
    s->kind = (uint8_t)kind;
    memcpy(s->trace, c->trace, sizeof(s->trace));
    s->start_ns = all.head->last_ns = cc_wall_ns();
    s->began_ns = cc_mono_ns();
    s->state = CC_SLOT_OPEN;
    all.open++;
    return s;
}

static bool recorded(const struct cc_context *c) { return cc_spans_on && c && c->traced && (c->flags & 1); }

struct cc_span *cc_span_make(const struct cc_context *c, enum cc_span_kind kind, const char *what, const char *name)
{
    struct cc_span *s = recorded(c) ? begin(c, kind) : NULL;

    if (!s)
        return NULL;
    cc_random(s->id, sizeof(s->id));
    memcpy(s->parent, c->span, sizeof(s->parent));
    cc_span_name(s, what, name);
    cc_span_whose(s, c);
    return s;
}

struct cc_span *cc_span_of(const struct cc_context *c, enum cc_span_kind kind, const char *what, const char *name)
{
    struct cc_span *s = recorded(c) ? begin(c, kind) : NULL;

    if (!s)
        return NULL;
    memcpy(s->id, c->span, sizeof(s->id));
    memcpy(s->parent, c->parent, sizeof(s->parent));
    cc_span_name(s, what, name);
    return s;
}

void cc_span_name(struct cc_span *s, const char *what, const char *name)
{
    if (s)
        snprintf(s->name, sizeof(s->name), "%s%s%s", what, name ? " " : "", name ? name : "");
}

/* How much of a text of n bytes can be kept in `room`, not parting a character. */
static size_t fitting(const char *p, size_t n, size_t room)
{
    if (n <= room)
        return n;
    while (room > 0 && ((unsigned char)p[room] & 0xc0) == 0x80)
        room--;
    return room;
}

enum { TEXT_MAX = 256, LEAST = 16 };

static void field(struct cc_span *s, int type, const char *key, const char *value, size_t n)
{
    size_t keys = strlen(key), room = CC_SLOT_DATA - s->used;
    unsigned char *p = s->data + s->used;

    if (keys > 255 || room < CC_FIELD_HEAD + keys + (n < LEAST ? n : LEAST)) {
        s->cut = (uint8_t)(s->cut + (s->cut < 255));
        return;
    }
    n = fitting(value, n, room - CC_FIELD_HEAD - keys);
    p[0] = (unsigned char)type;
    p[1] = (unsigned char)keys;
    p[2] = (unsigned char)(n >> 8);
    p[3] = (unsigned char)n;
    memcpy(p + CC_FIELD_HEAD, key, keys); /* NOLINT(bugprone-not-null-terminated-result): its length stands before it */
    memcpy(p + CC_FIELD_HEAD + keys, value, n);
    s->used += (uint32_t)(CC_FIELD_HEAD + keys + n);
}

void cc_span_text(struct cc_span *s, const char *key, const char *value, size_t n)
{
    if (s)
        field(s, CC_FIELD_TEXT, key, value, fitting(value, n, TEXT_MAX));
}

void cc_span_number(struct cc_span *s, const char *key, int64_t value)
{
    if (s)
        field(s, CC_FIELD_NUMBER, key, (const char *)&value, sizeof(value));
}

void cc_span_truth(struct cc_span *s, const char *key, bool value)
{
    if (s)
        field(s, CC_FIELD_TRUTH, key, value ? "true" : "false", value ? 4 : 5);
}

static void whose(struct cc_span *s, unsigned bit, const char *key, const char *value)
{
    if (!value[0] || (s->whose & bit))
        return;
    s->whose = (uint8_t)(s->whose | bit);
    field(s, CC_FIELD_TEXT, key, value, strlen(value));
}

void cc_span_whose(struct cc_span *s, const struct cc_context *c)
{
    if (!s)
        return;
    whose(s, 1, "user_id", c->user);
    whose(s, 2, "instance_id", c->machine);
    whose(s, 4, "plan", c->plan);
}

void cc_span_fail(struct cc_span *s, const char *message)
{
    if (!s || s->failed)
        return;
    s->failed = 1;
    snprintf(s->message, sizeof(s->message), "%.*s", (int)fitting(message, strlen(message), sizeof(s->message) - 1),
             message);
}

void cc_span_raised(struct cc_span *s, const char *traceback)
{
    size_t n = strcspn(traceback, "\n");
    char line[236];

    if (!s || s->failed)
        return;
    snprintf(line, sizeof(line), "%.*s", (int)n, traceback);
    cc_span_fail(s, line);
    field(s, CC_FIELD_TRACEBACK, "exception.stacktrace", traceback, strlen(traceback));
}

void cc_span_times(struct cc_span *s, int64_t start_ms, int64_t end_ms)
{
    if (!s)
        return;
    s->start_ns = start_ms * 1000000;
    s->took_ns = end_ms > start_ms ? (uint64_t)(end_ms - start_ms) * 1000000 : 0;
    s->began_ns = 0;
}

void cc_span_id(const struct cc_span *s, unsigned char out[8]) { memcpy(out, s->id, sizeof(s->id)); }

void cc_span_end(struct cc_span *s)
{
    if (!s)
        return;
    if (s->began_ns)
        s->took_ns = cc_mono_ns() - s->began_ns;
    s->state = CC_SLOT_DONE;
    all.head->last_ns = cc_wall_ns();
    all.open--;
    put(&all.done, (unsigned)(s - all.slot));
    wake();
}

struct cc_span *cc_span_note(const struct cc_context *c, const char *what)
{
    struct cc_span *s = recorded(c) ? slot() : NULL;

    if (!s)
        return NULL;
    memset(s, 0, offsetof(struct cc_span, name));
    s->message[0] = 0;
    s->kind = CC_SPAN_INTERNAL;
    memcpy(s->id, c->span, sizeof(s->id));
    cc_span_name(s, what, NULL);
    s->state = CC_SLOT_NOTE;
    return s;
}

void cc_span_forget(struct cc_span *s)
{
    if (s)
        put_idle((unsigned)(s - all.slot));
}

struct cc_span *cc_span_find(const struct cc_context *c)
{
    unsigned i;

    if (!recorded(c))
        return NULL;
    for (i = 1; i < all.untouched; i++)
        if (all.slot[i].state == CC_SLOT_OPEN && memcmp(all.slot[i].id, c->span, sizeof(c->span)) == 0)
            return &all.slot[i];
    return NULL;
}

/* ---------------------------------------------------------------- the file */

static void begin_figures(void)
{
    static const struct cc_metric_def def = { .kind = CC_COUNTER,
                                              .name = "cchost_spans",
                                              .help = "Spans of traces: sent, refused by the collector, dropped.",
                                              .labels = { "how" } };
    static const char *const how[] = { "sent", "refused", "dropped" };
    int i;

    for (i = 0; i < 3; i++)
        all.count[i] = cc_metric_series(cc_metric_family(&def), (const char *const[]){ how[i], NULL });
}

int cc_spans_open(const char *path, struct cc_err *err)
{
    int rc;

    if (all.head)
        return cc_err_set(err, CC_E_STATE, "spans are recorded already");
    rc = cc_span_file_make(path, &all.head, err);
    if (rc)
        return rc;
    all.slot = (struct cc_span *)(void *)all.head;
    all.path = cc_xstrdup(path);
    all.untouched = 1;
    all.idle = all.done = all.taken = (struct list){ 0 };
    begin_figures();
    cc_spans_on = true;
    return CC_OK;
}

/* Spans that are open keep their places: the memory stays, as long as the process does. */
void cc_spans_close(void)
{
    if (!cc_spans_on)
        return;
    cc_spans_on = false;
    if (all.done.n == 0 && all.taken.n == 0)
        unlink(all.path);
    free(all.path);
    all.path = NULL;
}

static void adopt_one(const struct cc_span *of, int64_t last_ns)
{
    struct cc_span *s = slot();

    if (!s)
        return;
    *s = *of;
    if (s->state == CC_SLOT_OPEN) {
        cc_span_fail(s, "cut off: the process ended");
        s->took_ns = last_ns > s->start_ns ? (uint64_t)(last_ns - s->start_ns) : 0;
    }
    s->began_ns = 0;
    s->state = CC_SLOT_DONE;
    put(&all.done, (unsigned)(s - all.slot));
}

int cc_spans_adopt(const char *path, cc_noted_fn noted, void *arg, struct cc_err *err)
{
    int rc;

    if (!cc_spans_on)
        return cc_err_set(err, CC_E_STATE, "no spans are recorded");
    rc = cc_span_file_read(path, adopt_one, noted, arg, err);
    wake();
    return rc;
}

/* ---------------------------------------------------------------- sending */

char *cc_spans_take(unsigned most, unsigned *n, size_t *len)
{
    struct cc_span_out o = { 0 };
    unsigned i;

    while (all.taken.n < most && (i = get(&all.done)))
        put(&all.taken, i);
    for (i = all.taken.first; i; i = all.next[i])
        cc_span_write(&o, &all.slot[i]);
    *n = all.taken.n;
    *len = o.n;
    return o.p;
}

void cc_spans_sent(unsigned refused, bool lost)
{
    unsigned i, n = all.taken.n;

    while ((i = get(&all.taken)))
        put_idle(i);
    if (lost) {
        drop(n);
        return;
    }
    if (refused > n)
        refused = n;
    all.sent += n - refused;
    all.refused += refused;
    cc_metric_add(all.count[0], n - refused);
    cc_metric_add(all.count[1], refused);
}

void cc_spans_when(unsigned n, void (*fn)(void *arg), void *arg)
{
    all.when = n;
    all.fn = fn;
    all.arg = arg;
}

void cc_spans_stats(struct cc_span_stats *out)
{
    *out = (struct cc_span_stats){ all.open, all.done.n, all.taken.n, all.sent, all.refused, all.dropped };
}
