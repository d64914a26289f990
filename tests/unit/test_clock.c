/* Time: virtual timers fire in order of their time, and only when time is moved. */
#include "host/sys/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

static char order[16];
static int64_t fired_at[16];
static size_t count;

static void note(void *arg)
{
    fired_at[count] = cc_wall_ms();
    order[count++] = *(const char *)arg;
}

static void chain(void *arg)
{
    note(arg);
    cc_timer_start(NULL, 5, note, "z"); /* falls due within the same advance */
}

static void test_real_timer_fires_once_and_not_early(void **state)
{
    uv_loop_t loop;
    uint64_t start = cc_mono_ms();

    (void)state;
    count = 0;
    uv_loop_init(&loop);
    cc_timer_start(&loop, 10, note, "a");
    cc_timer_stop(cc_timer_start(&loop, 1, note, "b"));
    cc_timer_stop(NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(count, 1);
    assert_true(cc_mono_ms() - start >= 9); /* the loop counts whole milliseconds */
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void test_virtual_timers_fire_in_order(void **state)
{
    struct cc_timer *dropped;

    (void)state;
    count = 0;
    cc_clock_virtual(1000000);
    cc_timer_start(NULL, 30, note, "c");
    cc_timer_start(NULL, 10, chain, "a");
    cc_timer_start(NULL, 30, note, "d");
    dropped = cc_timer_start(NULL, 20, note, "x");
    cc_timer_stop(dropped);
    assert_int_equal(cc_clock_next(), 10);
    cc_clock_advance(9);
    assert_int_equal(count, 0);
    cc_clock_advance(100);
    assert_memory_equal(order, "azcd", 4);
    assert_int_equal(count, 4);
    assert_int_equal(fired_at[0], 1000010);
    assert_int_equal(fired_at[1], 1000015);
    assert_int_equal(fired_at[3], 1000030);
    assert_int_equal(cc_wall_ms(), 1000109);
    assert_int_equal(cc_clock_next(), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_real_timer_fires_once_and_not_early),
        cmocka_unit_test(test_virtual_timers_fire_in_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
