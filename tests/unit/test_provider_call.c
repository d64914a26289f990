/* Calls to a provider whose driver does not keep its promises. */
#include "tests/lib/provider_loop.h"

static _Atomic int hung;

static int h_open(const struct cc_pairs *s, void **self, struct cc_err *err)
{
    (void)s, (void)err;
    *self = &hung;
    return 0;
}

static void h_close(void *self) { (void)self; }

static int h_stop(void *self, struct cc_provider_ctx *x, const char *id)
{
    struct timespec nap = { 0, 2000000 };

    (void)self, (void)x, (void)id;
    hung = 1;
    while (hung == 1) /* deaf to deadline and cancel */
        nanosleep(&nap, NULL);
    return 0;
}

static int h_destroy(void *self, struct cc_provider_ctx *x, const char *id, bool purge)
{
    (void)self, (void)x, (void)id, (void)purge;
    return 0;
}

static void test_a_driver_that_hangs_is_given_up(void **state)
{
    static const struct cc_driver hanger = { .name = "hanger",
                                             .threads = 2,
                                             .default_timeout_ms = 5,
                                             .open = h_open,
                                             .close = h_close,
                                             .stop = h_stop,
                                             .destroy = h_destroy };
    struct cc_provider_req stop = { .op = CC_OP_STOP, .id = "x" },
                           drop = { .op = CC_OP_DESTROY, .id = "x", .timeout_ms = 5000 };
    struct cc_pairs none = { NULL, 0 };
    struct cc_provider_stats st;
    struct wait w = { 0 }, v = { 0 };
    struct cc_provider *p;
    uv_loop_t loop;

    (void)state;
    uv_loop_init(&loop);
    p = cc_provider_open_driver(&loop, &hanger, &none, NULL);
    assert_non_null(p);
    do { /* on a busy host its time may be over before a thread takes it: then it is not begun at all */
        w.calls = 0;
        cc_provider_call(p, &stop, on_done, &w);
        run_until(&loop, &w.calls);
        assert_int_equal(w.code, CC_E_TIMEOUT);
        cc_provider_stats(p, &st);
    } while (st.abandoned == 0);
    assert_int_equal(st.abandoned, 1);
    assert_int_equal(st.pool.busy, 1);
    cc_provider_call(p, &drop, on_done, &v); /* its other thread still serves */
    run_until(&loop, &v.calls);
    assert_int_equal(v.code, 0);
    hung = 2;
    close_dry(&loop, p);
    assert_int_equal(w.calls, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_a_driver_that_hangs_is_given_up) };

    return cmocka_run_group_tests_name("provider calls", tests, NULL, NULL);
}
