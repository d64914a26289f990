/* The figures: sums of buckets, the bound on series, what labels may hold, and two threads that add at once. */
#include "host/observe/metrics.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static char *text(bool open)
{
    size_t n;
    char *t = cc_metrics_text(open, &n);

    assert_int_equal(strlen(t), n);
    return t;
}

static void holds(const char *what)
{
    char *t = text(true);

    if (!strstr(t, what))
        fail_msg("no %s in\n%s", what, t);
    free(t);
}

static int teardown(void **state)
{
    (void)state;
    cc_metrics_clear();
    return 0;
}

static void test_buckets_become_sums(void **state)
{
    static const double bounds[] = { 1, 2, 4 };
    const struct cc_metric_def def = {
        .kind = CC_HISTOGRAM, .name = "h_seconds", .unit = "seconds", .help = "x\ny", .buckets = bounds, .n_buckets = 3
    };
    struct cc_series *s = cc_metric_series(cc_metric_family(&def), NULL);

    (void)state;
    cc_metric_observe(s, 1); /* a bound is within */
    cc_metric_observe(s, 1.5);
    cc_metric_observe(s, 4.5);
    cc_metric_observe(s, 1e9);
    holds("# HELP h_seconds x\\ny\n# TYPE h_seconds histogram\n# UNIT h_seconds seconds\n");
    holds("h_seconds_bucket{le=\"1\"} 1\nh_seconds_bucket{le=\"2\"} 2\nh_seconds_bucket{le=\"4\"} 2\n"
          "h_seconds_bucket{le=\"+Inf\"} 4\nh_seconds_count 4\nh_seconds_sum 1000000007\n# EOF\n");
    assert_true(cc_metric_value(s) > 3 && cc_metric_value(s) < 5);
}

static void test_what_is_beyond_the_bound_is_other(void **state)
{
    const struct cc_metric_def def = {
        .kind = CC_COUNTER, .name = "c", .help = "x", .labels = { "a", "b" }, .most = 3
    };
    struct cc_family *f = cc_metric_family(&def);
    char value[16];
    const char *values[] = { value, "same" };
    char *t, *at;
    int i, n = 0;

    (void)state;
    for (i = 0; i < 1000; i++) {
        snprintf(value, sizeof(value), "v%d", i);
        cc_metric_add(cc_metric_series(f, values), 1);
    }
    holds("c_total{a=\"v2\",b=\"same\"} 1\nc_total{a=\"other\",b=\"other\"} 997\n");
    t = text(true);
    for (at = t; (at = strstr(at, "c_total{")); at++)
        n++;
    assert_int_equal(n, 4);
    free(t);
    assert_ptr_equal(f, cc_metric_family(&def));
}

static void test_a_label_cannot_end_its_line(void **state)
{
    const struct cc_metric_def def = { .kind = CC_GAUGE, .name = "g", .help = "x", .labels = { "a" } };
    struct cc_family *f = cc_metric_family(&def);
    const char *hostile = "\"} 1\ng{a=\"b\\", *euros;
    char many[400] = "";
    int i;

    (void)state;
    for (i = 0; i < 100; i++)
        strcat(many, "€");
    euros = many;
    cc_metric_set(cc_metric_series(f, &hostile), 0.5);
    holds("\ng{a=\"\\\"} 1\\ng{a=\\\"b\\\\\"} 0.5\n");
    cc_metric_set(cc_metric_series(f, &euros), 2);
    holds("€\"} 2\n"); /* cut between two characters */
    cc_metric_zero(f);
    holds("€\"} 0\n");
}

static void test_the_older_format_names_counters_by_their_end(void **state)
{
    const struct cc_metric_def def = { .kind = CC_COUNTER, .name = "c_bytes", .unit = "bytes", .help = "x" };
    char *t;

    (void)state;
    cc_metric_add(cc_metric_series(cc_metric_family(&def), NULL), 3);
    t = text(false);
    assert_string_equal(
        t, "# HELP c_bytes_total x\n# TYPE c_bytes_total counter\n# UNIT c_bytes_total bytes\nc_bytes_total 3\n");
    free(t);
    holds("# TYPE c_bytes counter\n# UNIT c_bytes bytes\nc_bytes_total 3\n# EOF\n");
}

enum { TIMES = 200000 };

static void *add(void *arg)
{
    struct cc_series **s = arg;
    int i;

    for (i = 0; i < TIMES; i++) {
        cc_metric_add_any(s[0], 1);
        cc_metric_observe_any(s[1], 0.002);
    }
    return NULL;
}

static void test_threads_lose_nothing(void **state)
{
    const struct cc_metric_def counter = { .kind = CC_COUNTER, .name = "c", .help = "x" };
    const struct cc_metric_def histogram = { .kind = CC_HISTOGRAM, .name = "h", .help = "x" };
    struct cc_series *s[] = { cc_metric_series(cc_metric_family(&counter), NULL),
                              cc_metric_series(cc_metric_family(&histogram), NULL) };
    pthread_t t[3];
    size_t i;

    (void)state;
    for (i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&t[i], NULL, add, s), 0);
    for (i = 0; i < 3; i++)
        pthread_join(t[i], NULL);
    assert_int_equal(cc_metric_value(s[0]), 3 * TIMES);
    assert_int_equal(cc_metric_value(s[1]), 3 * TIMES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_buckets_become_sums, teardown),
        cmocka_unit_test_teardown(test_what_is_beyond_the_bound_is_other, teardown),
        cmocka_unit_test_teardown(test_a_label_cannot_end_its_line, teardown),
        cmocka_unit_test_teardown(test_the_older_format_names_counters_by_their_end, teardown),
        cmocka_unit_test_teardown(test_threads_lose_nothing, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
