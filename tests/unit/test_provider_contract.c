/* The same cases for every driver: what provider.h promises. Local runs as root and as an ordinary user. */
#include "test_provider.h"

static int mock_setup(void **state)
{
    *state = fix_new("mock");
    return 0;
}
static int local_setup(void **state)
{
    *state = fix_new("local");
    return 0;
}

static int teardown(void **state) { return fix_end(*state); }

#define DO(f, ...) fix_do((f), (struct cc_provider_req){ __VA_ARGS__ })
#define OK(f, ...) fix_ok((f), (struct cc_provider_req){ __VA_ARGS__ })

static void test_lifecycle_is_idempotent(void **state)
{
    struct fix *f = *state;
    struct cc_machine_spec s = a_machine(1);
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
    struct cc_machine_spec s = a_machine(2);

    s.short_id = "XYZ";
    assert_int_equal(DO(f, .op = CC_OP_CREATE, .machine = &s), CC_E_INVALID);
    s = a_machine(2);
    s.volumes = &bad;
    s.n_volumes = 1;
    assert_int_equal(DO(f, .op = CC_OP_CREATE, .machine = &s), CC_E_INVALID);
    s.volumes = &worse;
    assert_int_equal(DO(f, .op = CC_OP_CREATE, .machine = &s), CC_E_INVALID);
    s = a_machine(2);
    s.image = "missing";
    assert_int_equal(DO(f, .op = CC_OP_CREATE, .machine = &s), CC_E_NOT_FOUND);
    assert_int_equal(state_of(f, &s), CC_M_GONE);
}

static void test_another_machine_of_that_name(void **state)
{
    struct fix *f = *state;
    struct cc_machine_spec s = a_machine(3), t = s;

    create(f, &s);
    t.id = "somebody-else";
    assert_int_equal(DO(f, .op = CC_OP_CREATE, .machine = &t), CC_E_EXISTS);
    assert_int_equal(state_of(f, &s), CC_M_RUNNING);
    destroy(f, &s);
}

static void test_list_shows_all(void **state)
{
    struct fix *f = *state;
    struct cc_machine_spec a = a_machine(4), b = a_machine(5);

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

static void test_volumes(void **state)
{
    struct fix *f = *state;
    struct cc_volume_spec v = { .id = "data-1", .size_gib = 3 };
    struct cc_mount_spec m = { "data-1", "/data" };
    struct cc_machine_spec s = a_machine(6);

    s.volumes = &m;
    s.n_volumes = 1;
    assert_int_equal(DO(f, .op = CC_OP_CREATE, .machine = &s), CC_E_NOT_FOUND);
    OK(f, .op = CC_OP_VOLUME_CREATE, .volume = &v);
    OK(f, .op = CC_OP_VOLUME_CREATE, .volume = &v);
    assert_int_equal(f->res.volume.size_gib, 3);
    OK(f, .op = CC_OP_VOLUME_LIST);
    assert_int_equal(f->res.volumes.n, 1);
    create(f, &s);
    destroy(f, &s);
    OK(f, .op = CC_OP_VOLUME_LIST);
    assert_int_equal(f->res.volumes.n, 1);
    OK(f, .op = CC_OP_VOLUME_DELETE, .id = "data-1");
    OK(f, .op = CC_OP_VOLUME_DELETE, .id = "data-1");
    assert_int_equal(DO(f, .op = CC_OP_VOLUME_DELETE, .id = "../x"), CC_E_INVALID);
}

static int attach(struct fix *f, const char *id, const char *volume, const char *path)
{
    struct cc_mount_spec m = { volume, path };

    return DO(f, .op = CC_OP_ATTACH, .id = id, .mount = &m);
}

static int detach(struct fix *f, const char *id, const char *volume)
{
    struct cc_mount_spec m = { .id = volume };

    return DO(f, .op = CC_OP_DETACH, .id = id, .mount = &m);
}

static void test_attach_and_detach(void **state)
{
    struct fix *f = *state;
    struct cc_volume_spec one = { .id = "one" }, two = { .id = "two" };
    struct cc_machine_spec s = a_machine(60);
    const char *id = pid_of(&s);

    OK(f, .op = CC_OP_VOLUME_CREATE, .volume = &one);
    OK(f, .op = CC_OP_VOLUME_CREATE, .volume = &two);
    create(f, &s);
    assert_int_equal(attach(f, id, "one", "/data"), CC_E_STATE);
    assert_int_equal(detach(f, id, "one"), 0); /* it was never there */
    OK(f, .op = CC_OP_STOP, .id = id);
    assert_int_equal(attach(f, id, "one", "/data"), 0);
    assert_int_equal(attach(f, id, "one", "/data"), 0);
    assert_int_equal(attach(f, id, "one", "/other"), CC_E_CONFLICT);
    assert_int_equal(attach(f, id, "two", "/data"), CC_E_CONFLICT);
    assert_int_equal(attach(f, id, "three", "/three"), CC_E_NOT_FOUND);
    OK(f, .op = CC_OP_START, .id = id);
    assert_int_equal(attach(f, id, "one", "/data"), 0); /* nothing to do: it may run */
    assert_int_equal(detach(f, id, "one"), CC_E_STATE);
    OK(f, .op = CC_OP_STOP, .id = id);
    assert_int_equal(detach(f, id, "one"), 0);
    assert_int_equal(detach(f, id, "one"), 0);
    assert_int_equal(attach(f, id, "two", "/data"), 0);
    destroy(f, &s);
    OK(f, .op = CC_OP_VOLUME_DELETE, .id = "one");
    OK(f, .op = CC_OP_VOLUME_DELETE, .id = "two");
}

/* The mock took one more: it counted on a volume of its own, which it never makes. */
static void test_a_machine_takes_16_volumes_and_no_more(void **state)
{
    struct fix *f = *state;
    struct cc_machine_spec s = a_machine(10);
    char id[16], path[16];
    int i;

    create(f, &s);
    OK(f, .op = CC_OP_STOP, .id = pid_of(&s));
    for (i = 0; i <= CC_MOUNTS_MAX; i++) {
        struct cc_volume_spec v = { .id = id };

        snprintf(id, sizeof(id), "many-%d", i);
        snprintf(path, sizeof(path), "/many/%d", i);
        OK(f, .op = CC_OP_VOLUME_CREATE, .volume = &v);
        assert_int_equal(attach(f, pid_of(&s), id, path), i < CC_MOUNTS_MAX ? 0 : CC_E_LIMIT);
    }
    destroy(f, &s);
    for (i = 0; i <= CC_MOUNTS_MAX; i++) {
        snprintf(id, sizeof(id), "many-%d", i);
        OK(f, .op = CC_OP_VOLUME_DELETE, .id = id);
    }
}

static void test_a_volume_in_use_is_not_attached_again(void **state)
{
    struct fix *f = *state;
    struct cc_volume_spec v = { .id = "one" };
    struct cc_mount_spec m = { "one", "/data" };
    struct cc_machine_spec a = a_machine(61), b = a_machine(62);

    OK(f, .op = CC_OP_VOLUME_CREATE, .volume = &v);
    a.volumes = &m;
    a.n_volumes = 1;
    create(f, &a);
    create(f, &b);
    OK(f, .op = CC_OP_STOP, .id = pid_of(&b));
    assert_int_equal(attach(f, pid_of(&b), "one", "/data"), CC_E_CONFLICT);
    assert_int_equal(DO(f, .op = CC_OP_VOLUME_DELETE, .id = "one"), CC_E_CONFLICT);
    OK(f, .op = CC_OP_STOP, .id = pid_of(&a));
    assert_int_equal(attach(f, pid_of(&b), "one", "/data"), 0);
    OK(f, .op = CC_OP_START, .id = pid_of(&b));
    assert_int_equal(DO(f, .op = CC_OP_START, .id = pid_of(&a)), CC_E_CONFLICT);
    destroy(f, &a);
    destroy(f, &b);
    OK(f, .op = CC_OP_VOLUME_DELETE, .id = "one");
}

static void test_a_bad_attach_is_refused(void **state)
{
    struct fix *f = *state;
    const char *gone = "cc-00000000dead";

    assert_int_equal(attach(f, gone, "one", "/data"), CC_E_NOT_FOUND);
    assert_int_equal(detach(f, gone, "one"), CC_E_NOT_FOUND);
    assert_int_equal(attach(f, "../../etc", "one", "/data"), CC_E_INVALID);
    assert_int_equal(attach(f, gone, "../v", "/data"), CC_E_INVALID);
    assert_int_equal(attach(f, gone, "one", "/a/../b"), CC_E_INVALID);
    assert_int_equal(attach(f, gone, "one", NULL), CC_E_INVALID);
    assert_int_equal(detach(f, gone, ""), CC_E_INVALID);
}

static void test_exec_and_activity_need_a_running_machine(void **state)
{
    struct fix *f = *state;
    const char *const words[] = { "true" };
    struct cc_exec_spec e = { .cmd = { words, 1 } };
    struct cc_machine_spec s = a_machine(7);

    create(f, &s);
    OK(f, .op = CC_OP_EXEC, .id = pid_of(&s), .exec = &e);
    assert_int_equal(f->res.exec.exit, 0);
    OK(f, .op = CC_OP_ACTIVITY, .id = pid_of(&s));
    assert_int_equal(f->res.activity.clients, 0);
    OK(f, .op = CC_OP_STOP, .id = pid_of(&s));
    assert_int_equal(DO(f, .op = CC_OP_EXEC, .id = pid_of(&s), .exec = &e), CC_E_STATE);
    assert_int_equal(DO(f, .op = CC_OP_ACTIVITY, .id = pid_of(&s)), CC_E_STATE);
    destroy(f, &s);
}

/* Where it is reached, or why it is not: and the same after a stop and a start. */
static void test_who_gives_keys_hears_of_ssh(void **state)
{
    const char *const keys[] = {
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHxbq6JLXbQOyaUAG2QU5fUugEgSMPf6QEiNX8miEDgK a@b"
    };
    const char *const bad[] = { "ssh-ed25519 AAAA\nssh-ed25519 BBBB" };
    struct fix *f = *state;
    struct cc_machine_spec s = a_machine(41), none = a_machine(42);
    struct cc_ssh is;

    create(f, &none);
    assert_true(!f->res.machine.ssh.host && !f->res.machine.ssh.why);
    destroy(f, &none);
    s.ssh_keys = (struct cc_strs){ bad, 1 };
    assert_int_equal(DO(f, .op = CC_OP_CREATE, .machine = &s), CC_E_INVALID);
    s.ssh_keys = (struct cc_strs){ keys, 1 };
    create(f, &s);
    is = f->res.machine.ssh;
    assert_true(!is.host != !is.why);
    assert_true(is.why || (is.port > 0 && strcmp(is.user, "claude") == 0));
    OK(f, .op = CC_OP_STOP, .id = pid_of(&s));
    OK(f, .op = CC_OP_START, .id = pid_of(&s));
    assert_string_equal(f->res.machine.ssh.why ? f->res.machine.ssh.why : f->res.machine.ssh.host,
                        is.why ? is.why : is.host);
    assert_int_equal(f->res.machine.ssh.port, is.port);
    destroy(f, &s);
}

static void test_unknown_settings_are_refused(void **state)
{
    struct fix *f = *state;
    struct cc_pair v[] = { { "dir", f->dir }, { "colour", "blue" } };
    struct cc_pairs p = { v, 2 };
    struct cc_err err = { .message = "" };
    void *self;

    if (strcmp(f->driver->name, "mock") == 0)
        p = (struct cc_pairs){ v + 1, 1 };
    assert_int_equal(f->driver->open(&p, &self, &err), CC_E_INVALID);
    assert_non_null(strstr(err.message, "colour"));
}

/* ---------------------------------------------------------------- through the loop */

struct wait {
    int calls;
    int code;
    char message[256];
};

static void on_done(void *arg, const struct cc_provider_res *res)
{
    struct wait *w = arg;

    w->calls++;
    w->code = res->code;
    memcpy(w->message, res->err.message, sizeof(w->message));
}

static void run_until(uv_loop_t *loop, const int *calls)
{
    while (!*calls)
        uv_run(loop, UV_RUN_ONCE);
}

static struct cc_provider *open_on(uv_loop_t *loop, struct fix *f)
{
    struct cc_pair v[] = { { "dir", f->dir }, { "threads", "4" } };
    struct cc_pairs p = { v, 2 };
    struct cc_err err = { .message = "" };
    struct cc_provider *prov;

    if (strcmp(f->driver->name, "mock") == 0)
        p = (struct cc_pairs){ v + 1, 1 };
    assert_int_equal(uv_loop_init(loop), 0);
    if (!(prov = cc_provider_open(loop, f->driver->name, &p, &err)))
        fail_msg("%s", err.message);
    return prov;
}

static void close_dry(uv_loop_t *loop, struct cc_provider *p)
{
    cc_provider_close(p);
    uv_run(loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(loop), 0);
}

static void test_calls_on_the_loop(void **state)
{
    struct fix *f = *state;
    struct cc_machine_spec s = a_machine(8);
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

        s[i] = a_machine(20 + (unsigned)i);
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
    struct cc_machine_spec s = a_machine(9);
    struct cc_provider_req make = { .op = CC_OP_CREATE, .machine = &s };
    struct wait w = { 0 };
    uv_loop_t loop;
    struct cc_provider *p = open_on(&loop, f);

    cc_provider_cancel(cc_provider_call(p, &make, on_done, &w));
    close_dry(&loop, p);
    assert_int_equal(w.calls, 0);
    destroy(f, &s);
}

/* ---------------------------------------------------------------- a driver that hangs */

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
    cc_provider_call(p, &stop, on_done, &w);
    run_until(&loop, &w.calls);
    assert_int_equal(w.code, CC_E_TIMEOUT);
    cc_provider_stats(p, &st);
    assert_int_equal(st.abandoned, 1);
    assert_int_equal(st.pool.busy, 1);
    cc_provider_call(p, &drop, on_done, &v); /* its other thread still serves */
    run_until(&loop, &v.calls);
    assert_int_equal(v.code, 0);
    hung = 2;
    close_dry(&loop, p);
    assert_int_equal(w.calls, 1);
}

#define CASES(setup)                                                                                                   \
    cmocka_unit_test_setup_teardown(test_lifecycle_is_idempotent, setup, teardown),                                    \
        cmocka_unit_test_setup_teardown(test_what_is_not_there, setup, teardown),                                      \
        cmocka_unit_test_setup_teardown(test_a_bad_description_is_refused, setup, teardown),                           \
        cmocka_unit_test_setup_teardown(test_another_machine_of_that_name, setup, teardown),                           \
        cmocka_unit_test_setup_teardown(test_list_shows_all, setup, teardown),                                         \
        cmocka_unit_test_setup_teardown(test_volumes, setup, teardown),                                                \
        cmocka_unit_test_setup_teardown(test_attach_and_detach, setup, teardown),                                      \
        cmocka_unit_test_setup_teardown(test_a_machine_takes_16_volumes_and_no_more, setup, teardown),                 \
        cmocka_unit_test_setup_teardown(test_a_volume_in_use_is_not_attached_again, setup, teardown),                  \
        cmocka_unit_test_setup_teardown(test_a_bad_attach_is_refused, setup, teardown),                                \
        cmocka_unit_test_setup_teardown(test_exec_and_activity_need_a_running_machine, setup, teardown),               \
        cmocka_unit_test_setup_teardown(test_who_gives_keys_hears_of_ssh, setup, teardown),                            \
        cmocka_unit_test_setup_teardown(test_unknown_settings_are_refused, setup, teardown),                           \
        cmocka_unit_test_setup_teardown(test_calls_on_the_loop, setup, teardown),                                      \
        cmocka_unit_test_setup_teardown(test_closing_ends_what_waits, setup, teardown),                                \
        cmocka_unit_test_setup_teardown(test_who_gave_up_hears_nothing, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest mock[] = { CASES(mock_setup), cmocka_unit_test(test_a_driver_that_hangs_is_given_up) };
    const struct CMUnitTest local[] = { CASES(local_setup) };
    int failed = 0;

    if (argc < 2)
        failed += cmocka_run_group_tests_name("mock", mock, NULL, NULL);
    failed += cmocka_run_group_tests_name(argc < 2 ? "local" : "local as an ordinary user", local, NULL, NULL);
    if (argc < 2 && geteuid() == 0)
        failed += again_as_user(argv[0]);
    return failed;
}
