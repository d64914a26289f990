/* metrics.c - see metrics.h. The text is metrics_text.c's. */
#include "host/observe/metrics_internal.h"

#include "host/sys/mem.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 200 };

static const double seconds[] = { .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60 };

static struct cc_family *families;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of the lists, not of the numbers */

struct cc_family *cc_metrics_first(void) { return families; }
unsigned cc_metric_labels(const struct cc_family *f) { return f->n_labels; }
enum cc_metric_kind cc_metric_kind(const struct cc_family *f) { return f->def.kind; }

/* ---------------------------------------------------------------- families and series */

static struct cc_family *family_new(const struct cc_metric_def *def)
{
    struct cc_family *f = cc_xcalloc(1, sizeof(*f));
    const double *buckets = def->buckets ? def->buckets : seconds;
    unsigned n = def->buckets ? def->n_buckets : sizeof(seconds) / sizeof(*seconds);

    assert(n <= CC_BUCKETS_MAX);
    f->def = *def;
    f->def.name = cc_xstrdup(def->name);
    f->def.unit = def->unit ? cc_xstrdup(def->unit) : NULL;
    f->def.help = cc_xstrdup(def->help);
    f->def.most = def->most ? def->most : MOST;
    f->def.n_buckets = def->kind == CC_HISTOGRAM ? n : 0;
    memcpy(f->buckets, buckets, n * sizeof(*buckets));
    f->def.buckets = f->buckets;
    while (def->labels[f->n_labels]) {
        f->label_names[f->n_labels] = cc_xstrdup(def->labels[f->n_labels]);
        f->n_labels++;
    }
    f->series_end = &f->series;
    return f;
}

struct cc_family *cc_metric_family(const struct cc_metric_def *def)
{
    struct cc_family **at, *f;
    unsigned i;

    pthread_mutex_lock(&lock);
    for (at = &families; *at && strcmp((*at)->def.name, def->name) < 0; at = &(*at)->next)
        ;
    if (!*at || strcmp((*at)->def.name, def->name) != 0) {
        f = family_new(def);
        f->next = *at;
        *at = f;
    }
    f = *at;
    assert(f->def.kind == def->kind);
    for (i = 0; i < f->n_labels; i++)
        assert(def->labels[i] && strcmp(def->labels[i], f->label_names[i]) == 0);
    assert(!def->labels[f->n_labels]);
    pthread_mutex_unlock(&lock);
    return f;
}

/* Of a value at most so much is kept. */
enum { VALUE_MAX = 96 };

static char *put_value(char *p, const char *v)
{
    const char *end = v + strnlen(v, VALUE_MAX);

    while (end > v && ((unsigned char)*end & 0xc0) == 0x80) /* whole characters */
        end--;
    for (; v < end; v++) {
        if (*v == '"' || *v == '\\' || *v == '\n')
            *p++ = '\\';
        *p++ = *v == '\n' ? 'n' : *v;
    }
    return p;
}

static char *labels_of(const struct cc_family *f, const char *const *values)
{
    size_t room = 1;
    unsigned i;
    char *text, *p;

    for (i = 0; i < f->n_labels; i++)
        room += strlen(f->label_names[i]) + 2 * VALUE_MAX + 4;
    text = p = cc_xmalloc(room);
    for (i = 0; i < f->n_labels; i++) {
        if (i)
            *p++ = ',';
        p = stpcpy(p, f->label_names[i]);
        *p++ = '=';
        *p++ = '"';
        p = put_value(p, values[i]);
        *p++ = '"';
    }
    *p = 0;
    return text;
}

static struct cc_series *series_new(struct cc_family *f, char *labels)
{
    struct cc_series *s = cc_xcalloc(1, sizeof(*s) + (f->def.n_buckets + 1) * sizeof(s->count[0]));

    s->family = f;
    s->labels = labels;
    *f->series_end = s;
    f->series_end = &s->next;
    f->n_series++;
    return s;
}

static struct cc_series *find(struct cc_family *f, const char *labels)
{
    struct cc_series *s;

    for (s = f->series; s; s = s->next)
        if (strcmp(s->labels, labels) == 0)
            return s;
    return NULL;
}

static struct cc_series *other_of(struct cc_family *f)
{
    const char *values[CC_LABELS_MAX] = { "other", "other", "other", "other" };

    if (!f->other)
        f->other = series_new(f, labels_of(f, values));
    return f->other;
}

struct cc_series *cc_metric_series(struct cc_family *f, const char *const *values)
{
    char *labels = labels_of(f, values);
    struct cc_series *s;

    pthread_mutex_lock(&lock);
    s = find(f, labels);
    if (!s && f->n_series < f->def.most) {
        s = series_new(f, labels);
        labels = NULL;
    } else if (!s) {
        s = other_of(f);
    }
    pthread_mutex_unlock(&lock);
    free(labels);
    return s;
}

/* ---------------------------------------------------------------- numbers */

double cc_metric_double(uint64_t bits)
{
    double v;

    memcpy(&v, &bits, sizeof(v));
    return v;
}

static uint64_t bits_of(double v)
{
    uint64_t bits;

    memcpy(&bits, &v, sizeof(bits));
    return bits;
}

static void add(_Atomic uint64_t *at, double n, bool shared)
{
    uint64_t old = atomic_load_explicit(at, memory_order_relaxed);

    if (!shared) {
        atomic_store_explicit(at, bits_of(cc_metric_double(old) + n), memory_order_relaxed);
        return;
    }
    while (!atomic_compare_exchange_weak_explicit(at, &old, bits_of(cc_metric_double(old) + n), memory_order_relaxed,
                                                  memory_order_relaxed))
        ;
}

static void observe(struct cc_series *s, double v, bool shared)
{
    const struct cc_family *f = s->family;
    _Atomic uint64_t *at;
    unsigned i = 0;

    while (i < f->def.n_buckets && v > f->buckets[i])
        i++;
    at = &s->count[i];
    if (shared)
        atomic_fetch_add_explicit(at, 1, memory_order_relaxed);
    else
        atomic_store_explicit(at, atomic_load_explicit(at, memory_order_relaxed) + 1, memory_order_relaxed);
    add(&s->value, v, shared);
}

void cc_metric_add(struct cc_series *s, double n) { add(&s->value, n, false); }
void cc_metric_add_any(struct cc_series *s, double n) { add(&s->value, n, true); }
void cc_metric_set(struct cc_series *s, double v)
{
    atomic_store_explicit(&s->value, bits_of(v), memory_order_relaxed);
}
void cc_metric_observe(struct cc_series *s, double v) { observe(s, v, false); }
void cc_metric_observe_any(struct cc_series *s, double v) { observe(s, v, true); }

double cc_metric_value(const struct cc_series *s)
{
    uint64_t n = 0;
    unsigned i;

    if (s->family->def.kind != CC_HISTOGRAM)
        return cc_metric_double(atomic_load_explicit(&s->value, memory_order_relaxed));
    for (i = 0; i <= s->family->def.n_buckets; i++)
        n += atomic_load_explicit(&s->count[i], memory_order_relaxed);
    return (double)n;
}

void cc_metric_zero(struct cc_family *f)
{
    struct cc_series *s;

    for (s = f->series; s; s = s->next)
        cc_metric_set(s, 0);
}

void cc_metrics_clear(void)
{
    struct cc_family *f;
    struct cc_series *s;
    unsigned i;

    while ((f = families)) {
        families = f->next;
        while ((s = f->series)) {
            f->series = s->next;
            free(s->labels);
            free(s);
        }
        for (i = 0; i < f->n_labels; i++)
            free(f->label_names[i]);
        free((char *)f->def.name);
        free((char *)f->def.unit);
        free((char *)f->def.help);
        free(f);
    }
}
