/* test_limiter.c - token buckets on a virtual clock: exact in the long run, bounded whatever comes. */
#include "host/sys/clock.h"
#include "host/sys/limiter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static struct cc_limiter_state st;

static bool take(struct cc_limiter *l, const char *key, uint32_t per_minute, uint32_t burst)
{
    return cc_limiter_take(l, key, strlen(key), per_minute, burst, 1, &st);
}

static void a_burst_then_the_rate(void **state)
{
    struct cc_limiter *l = cc_limiter_new(64);
    int i;

    (void)state;
    for (i = 4; i >= 0; i--) {
        assert_true(take(l, "a", 5, 5));
        assert_int_equal(st.remaining, i);
    }
    assert_false(take(l, "a", 5, 5));
    assert_int_equal(st.retry_ms, 12000);
    assert_int_equal(st.reset_ms, 60000);
    assert_true(take(l, "b", 5, 5)); /* another's is another's */
    cc_clock_advance(11999);
    assert_false(take(l, "a", 5, 5));
    assert_int_equal(st.retry_ms, 1);
    cc_clock_advance(1);
    assert_true(take(l, "a", 5, 5));
    assert_false(take(l, "a", 5, 5));
    cc_limiter_free(l);
}

/* Rates that do not divide a minute: over two hours of trying every 37 ms exactly burst + rate * minutes are given. */
static void exact_over_hours(void **state)
{
    static const uint32_t rates[] = { 1, 7, 60, 61, 999 };
    size_t r;

    (void)state;
    for (r = 0; r < sizeof(rates) / sizeof(*rates); r++) {
        struct cc_limiter *l = cc_limiter_new(8);
        uint64_t given = 0, ms, hours = 2 * 3600000ull;

        for (ms = 0; ms < hours; ms += 37) {
            given += take(l, "k", rates[r], 3);
            cc_clock_advance(37);
        }
        assert_in_range(given, 3 + rates[r] * 120ull - 1, 3 + rates[r] * 120ull);
        cc_limiter_free(l);
    }
}

static void a_cost_above_the_burst_is_never_given(void **state)
{
    struct cc_limiter *l = cc_limiter_new(8);

    (void)state;
    assert_false(cc_limiter_take(l, "k", 1, 60, 10, 11, &st));
    assert_true(st.retry_ms == UINT64_MAX);
    assert_true(cc_limiter_take(l, "k", 1, 60, 10, 10, &st));
    assert_true(cc_limiter_take(l, "k", 1, 60, 10, 0, &st));
    cc_limiter_free(l);
}

static void a_bucket_that_became_smaller(void **state)
{
    struct cc_limiter *l = cc_limiter_new(8);
    int i;

    (void)state;
    for (i = 0; i < 100; i++)
        assert_true(take(l, "k", 60, 100));
    assert_false(take(l, "k", 60, 5));
    assert_int_equal(st.retry_ms, 1000);
    cc_limiter_free(l);
}

/* A million addresses in 65,536 slots; one caller in debt asks beside them and must not get more than his due by it. */
static void a_million_callers(void **state)
{
    struct cc_limiter *l = cc_limiter_new(65536);
    struct cc_limiter_stats stats;
    unsigned given = 0, i;
    char key[32];

    (void)state;
    for (i = 0; i < 1000000; i++) {
        snprintf(key, sizeof(key), "10.%u.%u.%u", i >> 16, i >> 8 & 255, i & 255);
        assert_true(take(l, key, 60, 60));
        if (i % 100 == 0)
            given += take(l, "debtor", 5, 5);
    }
    cc_limiter_stats(l, &stats);
    assert_int_equal(stats.slots, 65536);
    assert_true(stats.used <= stats.slots);
    assert_true(stats.evicted > 0);
    assert_int_equal(given, 5);
    cc_limiter_free(l);
}

static int virtual_time(void **state)
{
    (void)state;
    cc_clock_virtual(1700000000000);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_burst_then_the_rate),
        cmocka_unit_test(exact_over_hours),
        cmocka_unit_test(a_cost_above_the_burst_is_never_given),
        cmocka_unit_test(a_bucket_that_became_smaller),
        cmocka_unit_test(a_million_callers),
    };

    return cmocka_run_group_tests_name("limiter", tests, virtual_time, NULL);
}
