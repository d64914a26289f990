/* metrics_text.c - the figures as text.
 *
 * The two formats differ in little: OpenMetrics calls a counter's family by its name without _total, says units, and ends
 * with "# EOF".  Buckets are kept each alone and become sums here.
 */
#include "host/observe/metrics_internal.h"

#include "host/sys/mem.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct out {
    char *p;
    size_t n, room;
    bool open;
};

static void put(struct out *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void put(struct out *o, const char *fmt, ...)
{
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(o->p + o->n, o->room - o->n, fmt, ap);
    va_end(ap);
    if ((size_t)n >= o->room - o->n) {
        o->room = o->room * 2 + (size_t)n;
        o->p = cc_xrealloc(o->p, o->room);
        va_start(ap, fmt);
        n = vsnprintf(o->p + o->n, o->room - o->n, fmt, ap);
        va_end(ap);
    }
    o->n += (size_t)n;
}

static void put_number(struct out *o, double v)
{
    if (v == floor(v) && fabs(v) < 1e15)
        put(o, " %.0f\n", v);
    else
        put(o, " %.15g\n", v);
}

/* Newlines and backslashes are the only ones that the formats know of. */
static void put_help(struct out *o, const char *help)
{
    for (; *help; help++)
        put(o, *help == '\n' ? "\\n" : *help == '\\' ? "\\\\" : "%c", *help);
}

static void put_head(struct out *o, const struct cc_family *f)
{
    static const char *const kinds[] = { "counter", "gauge", "histogram" };
    const char *name = f->def.name, *end = f->def.kind == CC_COUNTER && !o->open ? "_total" : "";

    put(o, "# HELP %s%s ", name, end);
    put_help(o, f->def.help);
    put(o, "\n# TYPE %s%s %s\n", name, end, kinds[f->def.kind]);
    if (f->def.unit)
        put(o, "# UNIT %s%s %s\n", name, end, f->def.unit);
}

static void put_histogram(struct out *o, const struct cc_family *f, const struct cc_series *s)
{
    const char *comma = s->labels[0] ? "," : "", *open = s->labels[0] ? "{" : "", *close = s->labels[0] ? "}" : "";
    uint64_t sum = 0;
    unsigned i;

    for (i = 0; i <= f->def.n_buckets; i++) {
        sum += atomic_load_explicit(&s->count[i], memory_order_relaxed);
        put(o, "%s_bucket{%s%sle=\"", f->def.name, s->labels, comma);
        if (i < f->def.n_buckets)
            put(o, "%.10g\"} %" PRIu64 "\n", f->buckets[i], sum);
        else
            put(o, "+Inf\"} %" PRIu64 "\n", sum);
    }
    put(o, "%s_count%s%s%s %" PRIu64 "\n", f->def.name, open, s->labels, close, sum);
    put(o, "%s_sum%s%s%s", f->def.name, open, s->labels, close);
    put_number(o, cc_metric_double(atomic_load_explicit(&s->value, memory_order_relaxed)));
}

static void put_family(struct out *o, const struct cc_family *f)
{
    const struct cc_series *s;

    if (!f->series)
        return;
    put_head(o, f);
    for (s = f->series; s; s = s->next) {
        if (f->def.kind == CC_HISTOGRAM) {
            put_histogram(o, f, s);
            continue;
        }
        put(o, "%s%s", f->def.name, f->def.kind == CC_COUNTER ? "_total" : "");
        if (s->labels[0])
            put(o, "{%s}", s->labels);
        put_number(o, cc_metric_double(atomic_load_explicit(&s->value, memory_order_relaxed)));
    }
}

char *cc_metrics_text(bool open_metrics, size_t *len)
{
    struct out o = { cc_xmalloc(65536), 0, 65536, open_metrics };
    const struct cc_family *f;

    for (f = cc_metrics_first(); f; f = f->next)
        put_family(&o, f);
    if (open_metrics)
        put(&o, "# EOF\n");
    *len = o.n;
    return o.p;
}
