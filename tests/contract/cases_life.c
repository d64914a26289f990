/* cases_life.c - to be made, stopped, started, ended, and found. */
#include "tests/contract/contract.h"

static void test_lifecycle_is_idempotent(void **state)
{
    struct fix *f = *state;
    struct cc_machine_spec s = a_box(1);
    int64_t started;

    assert_int_equal(state_of(f, &s), CC_M_GONE);
    create(f, &s);
    assert_int_equal(f->res.machine.state, CC_M_RUNNING);
    assert_string_equal(f->res.machine.id, s.id);
    started = f->res.machine.started_at;
    assert_true(started > 0);
    create(f, &s);
    assert_int_equal(f->res.machine.started_at, started);
    OK(f, .op = CC_OP_START, .id = pid_of(&s));
    assert_int_equal(f->res.machine.started_at, started);
    OK(f, .op = CC_OP_STOP, .id = pid_of(&s));
    OK(f, .op = CC_OP_STOP, .id = pid_of(&s));
    assert_int_equal(state_of(f, &s), CC_M_STOPPED);
    assert_int_equal(f->res.machine.started_at, 0);
    create(f, &s);
    assert_int_equal(f->res.machine.state, CC_M_STOPPED);
    OK(f, .op = CC_OP_START, .id = pid_of(&s));
    assert_int_equal(f->res.machine.state, CC_M_RUNNING);
    destroy(f, &s);
    destroy(f, &s);
    assert_int_equal(state_of(f, &s), CC_M_GONE);
}

static void test_what_is_not_there(void **state)
{
    struct fix *f = *state;
    const char *const words[] = { "true" };
    struct cc_exec_spec e = { .cmd = { words, 1 } };
    const char *id = "cc-00000000dead";

    assert_int_equal(DO(f, .op = CC_OP_START, .id = id), CC_E_NOT_FOUND);
    assert_int_equal(DO(f, .op = CC_OP_STOP, .id = id), CC_E_NOT_FOUND);
    assert_int_equal(DO(f, .op = CC_OP_STATUS, .id = id), CC_E_NOT_FOUND);
    assert_int_equal(DO(f, .op = CC_OP_ACTIVITY, .id = id), CC_E_NOT_FOUND);
    assert_int_equal(DO(f, .op = CC_OP_EXEC, .id = id, .exec = &e), CC_E_NOT_FOUND);
    OK(f, .op = CC_OP_DESTROY, .id = id);
    assert_int_equal(DO(f, .op = CC_OP_STATUS, .id = "../../etc"), CC_E_INVALID);
    assert_int_equal(DO(f, .op = CC_OP_DESTROY, .id = "cc-../../../etc1"), CC_E_INVALID);
    assert_int_equal(DO(f, .op = CC_OP_STOP, .id = ""), CC_E_INVALID);
}

static void test_a_bad_description_is_refused(void **state)
{
    struct fix *f = *state;
    struct cc_mount_spec bad = { "v", "/a/../b" }, worse = { "../v", "/data" };
    struct cc_machine_spec s = a_box(2);

    s.short_id = "XYZ";
    assert_int_equal(DO(f, .op = CC_OP_CREATE, .machine = &s), CC_E_INVALID);
    s = a_box(2);
    s.volumes = &bad;
    s.n_volumes = 1;
    assert_int_equal(DO(f, .op = CC_OP_CREATE, .machine = &s), CC_E_INVALID);
    s.volumes = &worse;
    assert_int_equal(DO(f, .op = CC_OP_CREATE, .machine = &s), CC_E_INVALID);
    s = a_box(2);
    s.image = "missing";
    assert_int_equal(DO(f, .op = CC_OP_CREATE, .machine = &s), CC_E_NOT_FOUND);
    assert_int_equal(state_of(f, &s), CC_M_GONE);
}

static void test_another_machine_of_that_name(void **state)
{
    struct fix *f = *state;
    struct cc_machine_spec s = a_box(3), t = s;

    create(f, &s);
    t.id = "somebody-else";
    assert_int_equal(DO(f, .op = CC_OP_CREATE, .machine = &t), CC_E_EXISTS);
    assert_int_equal(state_of(f, &s), CC_M_RUNNING);
    destroy(f, &s);
}

static void test_list_shows_all(void **state)
{
    struct fix *f = *state;
    struct cc_machine_spec a = a_box(4), b = a_box(5);

    create(f, &a);
    create(f, &b);
    OK(f, .op = CC_OP_STOP, .id = pid_of(&b));
    OK(f, .op = CC_OP_LIST);
    assert_int_equal(f->res.machines.n, 2);
    assert_int_equal(f->res.machines.v[0].state + f->res.machines.v[1].state, CC_M_RUNNING + CC_M_STOPPED);
    destroy(f, &a);
    destroy(f, &b);
    OK(f, .op = CC_OP_LIST);
    assert_int_equal(f->res.machines.n, 0);
}

/* The host goes and comes back: what it made is still there, and ours alone. */
static void test_machines_outlive_the_host(void **state)
{
    struct fix *f = *state;
    struct cc_machine_spec a = a_box(11), b = a_box(12);

    create(f, &a);
    create(f, &b);
    OK(f, .op = CC_OP_STOP, .id = pid_of(&b));
    fix_again(f);
    NEEDS("a provider that outlives this process", strcmp(told.driver, "mock") != 0);
    OK(f, .op = CC_OP_LIST);
    assert_int_equal(f->res.machines.n, 2);
    assert_int_equal(state_of(f, &a), CC_M_RUNNING);
    assert_int_equal(state_of(f, &b), CC_M_STOPPED);
    OK(f, .op = CC_OP_START, .id = pid_of(&b));
    OK(f, .op = CC_OP_STOP, .id = pid_of(&a));
    destroy(f, &a);
    destroy(f, &b);
}

static void test_what_was_halted_behind_our_back_reads_stopped(void **state)
{
    struct fix *f = *state;
    struct cc_machine_spec s = a_box(13);

    NEEDS("@halt", told.halt);
    create(f, &s);
    behind(f, told.halt, &s);
    while (state_of(f, &s) == CC_M_RUNNING)
        usleep(10000);
    assert_int_equal(state_of(f, &s), CC_M_STOPPED);
    OK(f, .op = CC_OP_STOP, .id = pid_of(&s));
    OK(f, .op = CC_OP_START, .id = pid_of(&s));
    assert_int_equal(f->res.machine.state, CC_M_RUNNING);
    destroy(f, &s);
}

static void test_what_was_removed_behind_our_back_is_not_found(void **state)
{
    struct fix *f = *state;
    struct cc_machine_spec s = a_box(14);

    NEEDS("@remove", told.remove);
    create(f, &s);
    behind(f, told.remove, &s);
    while (state_of(f, &s) == CC_M_RUNNING)
        usleep(10000);
    assert_int_equal(state_of(f, &s), CC_M_GONE);
    assert_int_equal(DO(f, .op = CC_OP_START, .id = pid_of(&s)), CC_E_NOT_FOUND);
    create(f, &s);
    assert_int_equal(f->res.machine.state, CC_M_RUNNING);
    destroy(f, &s);
}

static void test_a_provider_that_is_down_is_unavailable(void **state)
{
    struct fix *f = *state, *down;
    struct cc_machine_spec s = a_box(15);
    struct cc_pair other[17];
    char name[64];
    const char *value;
    size_t i, n = 0;

    NEEDS("@down", told.down && (value = strchr(told.down, '=')));
    snprintf(name, sizeof(name), "%.*s", (int)(value - told.down), told.down);
    for (i = 0; i < told.n; i++)
        if (strcmp(told.settings[i].key, name) != 0)
            other[n++] = told.settings[i];
    other[n++] = (struct cc_pair){ name, value + 1 };
    down = fix_new_set(told.driver, other, n);
    assert_int_equal(fix_do(down, (struct cc_provider_req){ .op = CC_OP_CREATE, .machine = &s }), CC_E_UNAVAILABLE);
    assert_true(down->res.err.retryable);
    assert_int_equal(fix_do(down, (struct cc_provider_req){ .op = CC_OP_LIST }), CC_E_UNAVAILABLE);
    assert_int_equal(fix_do(down, (struct cc_provider_req){ .op = CC_OP_DESTROY, .id = pid_of(&s) }), CC_E_UNAVAILABLE);
    fix_free(down);
    assert_int_equal(state_of(f, &s), CC_M_GONE);
}

static void test_a_failed_create_leaves_nothing(void **state)
{
    struct fix *f = *state;
    struct cc_machine_spec s = a_box(16);
    struct cc_mount_spec m = { "not-there", "/data" };

    s.volumes = &m;
    s.n_volumes = 1;
    NEEDS("volumes", caps(f)->volumes);
    assert_int_equal(DO(f, .op = CC_OP_CREATE, .machine = &s), CC_E_NOT_FOUND);
    assert_int_equal(state_of(f, &s), CC_M_GONE);
    OK(f, .op = CC_OP_LIST);
    assert_int_equal(f->res.machines.n, 0);
    OK(f, .op = CC_OP_VOLUME_LIST);
    assert_int_equal(f->res.volumes.n, 0);
}

const struct CMUnitTest cases_life[] = {
    CASE(test_lifecycle_is_idempotent),
    CASE(test_what_is_not_there),
    CASE(test_a_bad_description_is_refused),
    CASE(test_another_machine_of_that_name),
    CASE(test_list_shows_all),
    CASE(test_machines_outlive_the_host),
    CASE(test_what_was_halted_behind_our_back_reads_stopped),
    CASE(test_what_was_removed_behind_our_back_is_not_found),
    CASE(test_a_provider_that_is_down_is_unavailable),
    CASE(test_a_failed_create_leaves_nothing),
};
const size_t n_cases_life = sizeof(cases_life) / sizeof(*cases_life);
