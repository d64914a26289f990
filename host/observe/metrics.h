/* metrics.h - counters, gauges and histograms of the process, and their text.
 *
 * A family is one name with its help and its labels; a series is one combination of the labels' values.  Both are made once
 * and never go, so that who counts keeps the pointer and adds to plain memory.  A family has at most so many series: what is
 * beyond is counted in one whose labels all say "other", so that no input of anybody's can make more.  What a label holds is
 * a word out of a few (a route, a provider, a verdict), never an id.
 * Thread: the loop's, but for what is marked [any thread]; a series is added to either by the loop or by other threads.
 */
#ifndef CC_METRICS_H
#define CC_METRICS_H

#include <stdbool.h>
#include <stddef.h>

enum cc_metric_kind { CC_COUNTER, CC_GAUGE, CC_HISTOGRAM };
enum { CC_LABELS_MAX = 4, CC_BUCKETS_MAX = 24 };

struct cc_metric_def {
    enum cc_metric_kind kind;
    const char *name; /* without _total; ends with the unit, where there is one */
    const char *unit; /* "seconds", "bytes"; NULL: none */
    const char *help;
    const char *labels[CC_LABELS_MAX + 1]; /* ends with NULL */
    const double *buckets;                 /* of a histogram: upper bounds, ascending; NULL: those for seconds */
    unsigned n_buckets;
    unsigned most; /* series; 0: 200 */
};

struct cc_family;
struct cc_series;

/* The family of that name, made when there is none; what is pointed to is copied. Asserts that two who name it mean the same
 * kind and labels. [any thread] */
struct cc_family *cc_metric_family(const struct cc_metric_def *def);
unsigned cc_metric_labels(const struct cc_family *f); /* how many */
enum cc_metric_kind cc_metric_kind(const struct cc_family *f);
/* values: one for each label. Never NULL. [any thread] */
struct cc_series *cc_metric_series(struct cc_family *f, const char *const *values);

void cc_metric_add(struct cc_series *s, double n);         /* of a counter or gauge */
void cc_metric_set(struct cc_series *s, double v);         /* of what is read elsewhere */
void cc_metric_observe(struct cc_series *s, double v);     /* of a histogram */
void cc_metric_add_any(struct cc_series *s, double n);     /* [any thread] */
void cc_metric_observe_any(struct cc_series *s, double v); /* [any thread] */
double cc_metric_value(const struct cc_series *s);         /* of a histogram: how many */
void cc_metric_zero(struct cc_family *f);                  /* all its series, before they are set anew */

/* All of it, as Prometheus reads it: OpenMetrics 1.0, or the text format 0.0.4. The caller frees it. */
char *cc_metrics_text(bool open_metrics, size_t *len);

/* For who looks for leaks: forgets all families. No pointer to a series is good any more. */
void cc_metrics_clear(void);

#endif
