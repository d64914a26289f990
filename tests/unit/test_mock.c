/* The mock on a virtual clock: scripted latency, faults, lost answers, late lists, and a world in a file. */
#include "test_provider.h"

struct wait {
    int calls;
    struct cc_err err;
    int code;
    size_t listed;
    enum cc_machine_state state;
};

struct world {
    uv_loop_t loop;
    struct cc_provider *p;
    struct wait w;
};

static void on_done(void *arg, const struct cc_provider_res *res)
{
    struct wait *w = arg;

    w->calls++;
    w->code = res->code;
    w->err = res->err;
    w->listed = res->machines.n;
    w->state = res->machine.state;
}

static struct world *open_world(const struct cc_pair *v, size_t n)
{
    struct world *o = calloc(1, sizeof(*o));
    struct cc_pairs s = { v, n };
    struct cc_err err = { .message = "" };

    uv_loop_init(&o->loop);
    if (!(o->p = cc_provider_open(&o->loop, "mock", &s, &err)))
        fail_msg("%s", err.message);
    return o;
}

static void close_world(struct world *o)
{
    cc_provider_close(o->p);
    uv_run(&o->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&o->loop), 0);
    free(o);
}

static void begin(struct world *o, struct cc_provider_req req)
{
    o->w.calls = 0;
    cc_provider_call(o->p, &req, on_done, &o->w);
    assert_int_equal(o->w.calls, 0);
}

static int finish(struct world *o, uint64_t ms)
{
    cc_clock_advance(ms);
    uv_run(&o->loop, UV_RUN_NOWAIT);
    return o->w.calls ? o->w.code : 1;
}

static void test_latency_is_on_the_clock(void **state)
{
    const struct cc_pair v[] = { { "create.latency_ms", "250" }, { "latency_ms", "10" } };
    struct world *o = open_world(v, 2);
    struct cc_machine_spec s = a_machine(1);

    (void)state;
    begin(o, (struct cc_provider_req){ .op = CC_OP_CREATE, .machine = &s });
    assert_int_equal(finish(o, 249), 1);
    assert_int_equal(finish(o, 1), 0);
    begin(o, (struct cc_provider_req){ .op = CC_OP_STATUS, .id = pid_of(&s) });
    assert_int_equal(finish(o, 9), 1);
    assert_int_equal(finish(o, 1), 0);
    close_world(o);
}

static void test_failures_before_and_after_the_effect(void **state)
{
    const struct cc_pair v[] = { { "create.fail", "2" },
                                 { "create.code", "limit" },
                                 { "create.retry_after_ms", "1500" },
                                 { "stop.fail", "1" },
                                 { "stop.after", "true" } };
    struct world *o = open_world(v, 5);
    struct cc_machine_spec s = a_machine(2);
    int i;

    (void)state;
    for (i = 0; i < 2; i++) {
        begin(o, (struct cc_provider_req){ .op = CC_OP_CREATE, .machine = &s });
        assert_int_equal(finish(o, 1), CC_E_LIMIT);
        assert_true(o->w.err.retryable);
        assert_int_equal(o->w.err.retry_after_ms, 1500);
        begin(o, (struct cc_provider_req){ .op = CC_OP_STATUS, .id = pid_of(&s) });
        assert_int_equal(finish(o, 1), CC_E_NOT_FOUND);
    }
    begin(o, (struct cc_provider_req){ .op = CC_OP_CREATE, .machine = &s });
    assert_int_equal(finish(o, 1), 0);
    begin(o, (struct cc_provider_req){ .op = CC_OP_STOP, .id = pid_of(&s) });
    assert_int_equal(finish(o, 1), CC_E_UNAVAILABLE);
    begin(o, (struct cc_provider_req){ .op = CC_OP_STATUS, .id = pid_of(&s) });
    assert_int_equal(finish(o, 1), 0);
    assert_int_equal(o->w.state, CC_M_STOPPED);
    close_world(o);
}

static void test_a_lost_answer_meets_the_deadline(void **state)
{
    const struct cc_pair v[] = { { "create.lose", "1" } };
    struct world *o = open_world(v, 1);
    struct cc_machine_spec s = a_machine(3);

    (void)state;
    begin(o, (struct cc_provider_req){ .op = CC_OP_CREATE, .machine = &s, .timeout_ms = 7000 });
    assert_int_equal(finish(o, 6999), 1);
    assert_int_equal(finish(o, 1), CC_E_TIMEOUT);
    begin(o, (struct cc_provider_req){ .op = CC_OP_CREATE, .machine = &s }); /* it had happened: found */
    assert_int_equal(finish(o, 1), 0);
    begin(o, (struct cc_provider_req){ .op = CC_OP_LIST });
    assert_int_equal(finish(o, 1), 0);
    assert_int_equal(o->w.listed, 1);
    close_world(o);
}

static void test_boot_time_and_a_late_list(void **state)
{
    const struct cc_pair v[] = { { "boot_ms", "3000" }, { "list.lag_ms", "5000" } };
    struct world *o = open_world(v, 2);
    struct cc_machine_spec s = a_machine(4);

    (void)state;
    begin(o, (struct cc_provider_req){ .op = CC_OP_CREATE, .machine = &s });
    assert_int_equal(finish(o, 0), 0);
    assert_int_equal(o->w.state, CC_M_STARTING);
    begin(o, (struct cc_provider_req){ .op = CC_OP_LIST });
    assert_int_equal(finish(o, 3000), 0);
    assert_int_equal(o->w.listed, 0);
    begin(o, (struct cc_provider_req){ .op = CC_OP_STATUS, .id = pid_of(&s) });
    assert_int_equal(finish(o, 2000), 0);
    assert_int_equal(o->w.state, CC_M_RUNNING);
    begin(o, (struct cc_provider_req){ .op = CC_OP_DESTROY, .id = pid_of(&s) });
    assert_int_equal(finish(o, 1), 0);
    begin(o, (struct cc_provider_req){ .op = CC_OP_LIST });
    assert_int_equal(finish(o, 1), 0);
    assert_int_equal(o->w.listed, 1);
    cc_clock_advance(5000);
    begin(o, (struct cc_provider_req){ .op = CC_OP_LIST });
    assert_int_equal(finish(o, 1), 0);
    assert_int_equal(o->w.listed, 0);
    close_world(o);
}

static void test_the_world_outlives_the_process(void **state)
{
    char path[] = "/tmp/cc-mock-XXXXXX";
    const struct cc_pair v[] = { { "state", path } };
    struct cc_machine_spec s = a_machine(5);
    struct cc_volume_spec vol = { .id = "v1", .size_gib = 4 };
    struct world *o;

    (void)state;
    close(mkstemp(path));
    unlink(path);
    o = open_world(v, 1);
    begin(o, (struct cc_provider_req){ .op = CC_OP_CREATE, .machine = &s });
    assert_int_equal(finish(o, 1), 0);
    begin(o, (struct cc_provider_req){ .op = CC_OP_VOLUME_CREATE, .volume = &vol });
    assert_int_equal(finish(o, 1), 0);
    close_world(o);
    o = open_world(v, 1);
    begin(o, (struct cc_provider_req){ .op = CC_OP_STATUS, .id = pid_of(&s) });
    assert_int_equal(finish(o, 1), 0);
    assert_int_equal(o->w.state, CC_M_RUNNING);
    close_world(o);
    unlink(path);
}

static void test_closing_with_answers_held(void **state)
{
    const struct cc_pair v[] = { { "latency_ms", "1000" } };
    struct world *o = open_world(v, 1);
    struct cc_machine_spec s = a_machine(6);
    struct cc_provider_wait *gone;
    struct cc_provider_req req = { .op = CC_OP_CREATE, .machine = &s };
    struct wait other = { 0 };

    (void)state;
    gone = cc_provider_call(o->p, &req, on_done, &other);
    begin(o, req);
    cc_provider_cancel(gone);
    close_world(o);
    assert_int_equal(other.calls, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_latency_is_on_the_clock),
        cmocka_unit_test(test_failures_before_and_after_the_effect),
        cmocka_unit_test(test_a_lost_answer_meets_the_deadline),
        cmocka_unit_test(test_boot_time_and_a_late_list),
        cmocka_unit_test(test_the_world_outlives_the_process),
        cmocka_unit_test(test_closing_with_answers_held),
    };

    cc_clock_virtual(1700000000000);
    return cmocka_run_group_tests_name("mock", tests, NULL, NULL);
}
