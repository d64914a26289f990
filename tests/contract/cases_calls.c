/* cases_calls.c - through the loop: answers, cancel, deadlines. */
#include "tests/contract/contract.h"
#include "tests/lib/provider_loop.h"

static void test_unknown_settings_are_refused(void **state)
{
    struct fix *f = *state;
    struct cc_pair v[] = { { "dir", f->dir }, { "colour", "blue" } };
    struct cc_pairs p = { v, 2 };
    struct cc_err err = { .message = "" };
    void *self;

    if (!has_dir(f->driver))
        p = (struct cc_pairs){ v + 1, 1 };
    assert_int_equal(f->driver->open(&p, &self, &err), CC_E_INVALID);
    assert_non_null(strstr(err.message, "colour"));
}

/* ---------------------------------------------------------------- through the loop */

static struct cc_provider *open_on(uv_loop_t *loop, struct fix *f)
{
    struct cc_pair v[18] = { { "dir", f->dir }, { "threads", "4" } };
    struct cc_pairs p = { v, 2 + f->n_extra };
    struct cc_err err = { .message = "" };
    struct cc_provider *prov;

    memcpy(v + 2, f->extra, f->n_extra * sizeof(*v));
    if (!has_dir(f->driver))
        p = (struct cc_pairs){ v + 1, 1 + f->n_extra };
    assert_int_equal(uv_loop_init(loop), 0);
    if (!(prov = cc_provider_open(loop, f->driver->name, &p, &err)))
        fail_msg("%s", err.message);
    return prov;
}

static void test_calls_on_the_loop(void **state)
{
    struct fix *f = *state;
    struct cc_machine_spec s = a_box(8);
    struct cc_provider_req make = { .op = CC_OP_CREATE, .machine = &s },
                           drop = { .op = CC_OP_DESTROY, .id = pid_of(&s), .purge = true };
    struct cc_provider_stats st;
    struct wait w = { 0 };
    uv_loop_t loop;
    struct cc_provider *p = open_on(&loop, f);

    cc_provider_call(p, &make, on_done, &w);
    assert_int_equal(w.calls, 0);
    run_until(&loop, &w.calls);
    assert_int_equal(w.code, 0);
    w.calls = 0;
    cc_provider_call(p, &drop, on_done, &w);
    run_until(&loop, &w.calls);
    assert_int_equal(w.code, 0);
    cc_provider_stats(p, &st);
    assert_int_equal(st.calls, 2);
    assert_int_equal(st.waiting, 0);
    close_dry(&loop, p);
    assert_int_equal(w.calls, 1);
}

static void test_closing_ends_what_waits(void **state)
{
    struct fix *f = *state;
    struct cc_machine_spec s[20];
    struct wait w = { 0 };
    uv_loop_t loop;
    struct cc_provider *p = open_on(&loop, f);
    int i;

    for (i = 0; i < 20; i++) {
        struct cc_provider_req make = { .op = CC_OP_CREATE };

        s[i] = a_box(20 + (unsigned)i);
        make.machine = &s[i];
        cc_provider_call(p, &make, on_done, &w);
    }
    close_dry(&loop, p);
    assert_int_equal(w.calls, 20);
    assert_int_equal(w.code, CC_E_CANCELLED);
    for (i = 0; i < 20; i++) /* some were made: cancelled means that nobody knows */
        destroy(f, &s[i]);
}

static void test_who_gave_up_hears_nothing(void **state)
{
    struct fix *f = *state;
    struct cc_machine_spec s = a_box(9);
    struct cc_provider_req make = { .op = CC_OP_CREATE, .machine = &s };
    struct wait w = { 0 };
    uv_loop_t loop;
    struct cc_provider *p = open_on(&loop, f);

    cc_provider_cancel(cc_provider_call(p, &make, on_done, &w));
    close_dry(&loop, p);
    assert_int_equal(w.calls, 0);
    destroy(f, &s);
}

/* Cut off at any moment, a create is made again or ended, and nothing of it is left. */
static void test_a_create_that_was_cancelled_or_late_is_cleared_up(void **state)
{
    static const uint64_t after_ms[] = { 0, 1, 3, 10, 30, 100, 300 };
    struct fix *f = *state;
    struct cc_machine_spec s = a_box(10);
    size_t i;

    for (i = 0; i < sizeof(after_ms) / sizeof(*after_ms); i++) {
        int code = DO(f, .op = CC_OP_CREATE, .machine = &s, .timeout_ms = after_ms[i] + 1);

        assert_true(code == 0 || code == CC_E_TIMEOUT);
        if (i % 2)
            create(f, &s);
        destroy(f, &s);
        assert_int_equal(state_of(f, &s), CC_M_GONE);
    }
    f->call.cancelled = true;
    if (!(f->driver->flags & CC_DRIVER_INLINE)) /* which waits nowhere */
        assert_int_equal(DO(f, .op = CC_OP_LIST), CC_E_CANCELLED);
    f->call.cancelled = false;
}

/* Where it says that a type may be had, it can be had. */
static void test_a_machine_can_be_had_where_it_is_said(void **state)
{
    struct fix *f = *state;
    struct cc_machine_spec s = a_box(11);
    int r;

    if (!f->driver->places)
        assert_int_equal(DO(f, .op = CC_OP_PLACES, .id = "cpx11"), CC_E_UNSUPPORTED);
    NEEDS("places", f->driver->places);
    r = DO(f, .op = CC_OP_PLACES, .id = "cpx11");
    if (r == CC_E_UNSUPPORTED)
        NEEDS("places, and was told of none", false);
    assert_int_equal(r, 0);
    assert_true(f->res.places.n > 0);
    s.type = "cpx11";
    s.location = strcpy((char[64]){ "" }, f->res.places.v[f->res.places.n - 1]);
    assert_true(*s.location != 0);
    create(f, &s);
    destroy(f, &s);
}

const struct CMUnitTest cases_calls[] = {
    CASE(test_unknown_settings_are_refused),
    CASE(test_calls_on_the_loop),
    CASE(test_closing_ends_what_waits),
    CASE(test_who_gave_up_hears_nothing),
    CASE(test_a_create_that_was_cancelled_or_late_is_cleared_up),
    CASE(test_a_machine_can_be_had_where_it_is_said),
};
const size_t n_cases_calls = sizeof(cases_calls) / sizeof(*cases_calls);
