/* metrics_internal.h - what metrics.c and metrics_text.c share: the registry itself. */
#ifndef CC_METRICS_INTERNAL_H
#define CC_METRICS_INTERNAL_H

#include "host/observe/metrics.h"

#include <stdatomic.h>
#include <stdint.h>

/* Doubles are kept as their bits, so that they can be read while another thread adds. */
struct cc_series {
    struct cc_series *next;
    struct cc_family *family;
    char *labels; /* `name="value",...`, escaped already; "" without any */
    _Atomic uint64_t value;
    _Atomic uint64_t count[]; /* of a histogram: of each bucket alone, the last without bound */
};

struct cc_family {
    struct cc_family *next; /* by name */
    struct cc_metric_def def;
    char *label_names[CC_LABELS_MAX];
    double buckets[CC_BUCKETS_MAX];
    unsigned n_labels, n_series;
    struct cc_series *series, **series_end, *other;
};

struct cc_family *cc_metrics_first(void);
double cc_metric_double(uint64_t bits);

#endif
