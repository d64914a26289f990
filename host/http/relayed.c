/* relayed.c - see relayed.h. */
#include "host/http/relayed.h"

#include "host/observe/metrics.h"

static struct cc_series *series(const char *direction)
{
    static const struct cc_metric_def def = { .kind = CC_COUNTER,
                                              .name = "cchost_proxy_bytes",
                                              .unit = "bytes",
                                              .help = "Bytes passed on between clients and machines.",
                                              .labels = { "direction" } };

    return cc_metric_series(cc_metric_family(&def), &direction);
}

void cc_relayed_from_client(size_t n)
{
    static struct cc_series *s;

    if (!s)
        s = series("to_machine");
    cc_metric_add(s, (double)n);
}

void cc_relayed_from_backend(size_t n)
{
    static struct cc_series *s;

    if (!s)
        s = series("from_machine");
    cc_metric_add(s, (double)n);
}
