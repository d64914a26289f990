/* The mock on a virtual clock: scripted latency, faults, lost answers, late lists, chance from a seed, and a world in a
 * file that kills and other processes leave whole. */
#include "providers/mock/mock.h"
#include "tests/lib/provider.h"

#include <jansson.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>

struct wait {
    int calls;
    struct cc_err err;
    int code;
    size_t listed;
    enum cc_machine_state state;
    char first[64]; /* id of the first one listed */
    double load;
    size_t leases;
    char reason[64]; /* of the first lease */
    bool turn;
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
    w->load = res->activity.load;
    w->leases = res->activity.n_leases;
    w->turn = res->activity.turn;
    snprintf(w->reason, sizeof(w->reason), "%s", w->leases ? res->activity.leases[0].reason : "");
    snprintf(w->first, sizeof(w->first), "%s", res->machines.n ? res->machines.v[0].provider_id : "");
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

/* One call on a machine, waited for on the virtual clock; -1 while it has no answer within a minute. */
static int call_on(struct world *o, enum cc_provider_op op, const struct cc_machine_spec *s)
{
    struct cc_provider_req req = { .op = op, .id = pid_of(s), .timeout_ms = 1000 };

    if (op == CC_OP_CREATE)
        req.machine = s;
    begin(o, req);
    return finish(o, 1000) == 1 ? -1 : o->w.code;
}

static size_t listed(struct world *o)
{
    begin(o, (struct cc_provider_req){ .op = CC_OP_LIST });
    assert_int_equal(finish(o, 1), 0);
    return o->w.listed;
}

/* ---------------------------------------------------------------- chance */

/* What 40 machines meet at their creates, as a text of digits. */
static void luck(const char *seed, int first, char out[41])
{
    const struct cc_pair v[] = { { "seed", seed }, { "chance.fail", "0.3" }, { "chance.lose", "0.2" } };
    struct world *o = open_world(v, 3);
    int i;

    for (i = 0; i < 40; i++) {
        int n = (first + i) % 40;
        struct cc_machine_spec s = a_machine((unsigned)n);

        out[n] = (char)('0' - call_on(o, CC_OP_CREATE, &s));
    }
    out[40] = 0;
    close_world(o);
}

static void test_chance_comes_from_the_seed_and_the_machine(void **state)
{
    char a[41], b[41], c[41];

    (void)state;
    luck("7", 0, a);
    luck("7", 13, b); /* in another order */
    luck("8", 0, c);
    assert_string_equal(a, b);
    assert_string_not_equal(a, c);
    assert_non_null(strchr(a, '0'));                    /* done */
    assert_non_null(strchr(a, '0' - CC_E_UNAVAILABLE)); /* failed */
    assert_non_null(strchr(a, '0' - CC_E_TIMEOUT));     /* lost */
}

static void test_chances_come_as_often_as_told(void **state)
{
    const struct cc_pair v[] = { { "status.chance.fail", "0.25" }, { "status.code", "limit" } };
    struct world *o = open_world(v, 2);
    struct cc_machine_spec s = a_machine(7);
    int i, failed = 0;

    (void)state;
    assert_int_equal(call_on(o, CC_OP_CREATE, &s), 0);
    for (i = 0; i < 2000; i++)
        failed += call_on(o, CC_OP_STATUS, &s) == CC_E_LIMIT;
    assert_in_range(failed, 400, 600); /* 500, give or take five deviations */
    close_world(o);
}

static void test_latency_between_two_bounds(void **state)
{
    const struct cc_pair v[] = { { "latency_ms", "100" }, { "latency_max_ms", "300" } };
    struct world *o = open_world(v, 2);
    uint64_t least = 1000, most = 0, ms;
    int i;

    (void)state;
    for (i = 0; i < 100; i++) {
        begin(o, (struct cc_provider_req){ .op = CC_OP_LIST });
        for (ms = 0; finish(o, 1) == 1; ms++)
            ;
        least = ms < least ? ms : least;
        most = ms > most ? ms : most;
    }
    assert_in_range(least, 99, 120);
    assert_in_range(most, 280, 300);
    close_world(o);
}

static void test_settings_that_cannot_be_are_refused(void **state)
{
    static const struct cc_pair bad[][2] = { { { "create.chance.fail", "1.5" }, { "seed", "1" } },
                                             { { "create.chance.fail", "0.6" }, { "create.chance.lose", "0.6" } },
                                             { { "destroy.half", "1" }, { "seed", "1" } },
                                             { { "half", "1" }, { "seed", "1" } },
                                             { { "latency_ms", "10" }, { "latency_max_ms", "5" } },
                                             { { "stop.chance.burn", "0.1" }, { "seed", "1" } },
                                             { { "stop.code", "oops" }, { "seed", "1" } },
                                             { { "attach_live", "yes" }, { "seed", "1" } },
                                             { { "seed", "-1" }, { "orphans", "1" } },
                                             { { "stopp.fail", "1" }, { "seed", "1" } },
                                             { { "activity.load", "much" }, { "seed", "1" } },
                                             { { "activity.turn", "1" }, { "seed", "1" } },
                                             { { "activity.leases", "{}" }, { "seed", "1" } },
                                             { { "stop.load", "1" }, { "seed", "1" } } };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct cc_pairs s = { bad[i], 2 };
        struct cc_err err = { .message = "" };
        void *self;

        if (cc_driver_find("mock")->open(&s, &self, &err) != CC_E_INVALID)
            fail_msg("%s = %s was accepted", bad[i][0].key, bad[i][0].value);
        assert_non_null(strstr(err.message, "mock"));
    }
}

/* 2^32 of them were none. */
static void test_a_count_beyond_32_bits_is_refused(void **state)
{
    static const char *const keys[] = { "fail", "create.half", "retry_after_ms", "latency_ms", "late_ms" };
    struct cc_err err = { .message = "" };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
        struct cc_pair v = { keys[i], "4294967296" };
        struct cc_pairs s = { &v, 1 };
        void *self;

        assert_int_equal(cc_driver_find("mock")->open(&s, &self, &err), CC_E_INVALID);
        assert_non_null(strstr(err.message, "at most"));
    }
}

/* ---------------------------------------------------------------- mishaps */

static void test_a_destroy_that_is_answered_429(void **state)
{
    const struct cc_pair v[] = { { "destroy.fail", "1" },
                                 { "destroy.code", "limit" },
                                 { "destroy.retry_after_ms", "2500" } };
    struct world *o = open_world(v, 3);
    struct cc_machine_spec s = a_machine(8);

    (void)state;
    assert_int_equal(call_on(o, CC_OP_CREATE, &s), 0);
    assert_int_equal(call_on(o, CC_OP_DESTROY, &s), CC_E_LIMIT);
    assert_int_equal(o->w.err.retry_after_ms, 2500);
    assert_int_equal(call_on(o, CC_OP_STATUS, &s), 0);
    assert_int_equal(call_on(o, CC_OP_DESTROY, &s), 0);
    assert_int_equal(call_on(o, CC_OP_STATUS, &s), CC_E_NOT_FOUND);
    close_world(o);
}

static void test_a_half_made_machine(void **state)
{
    const struct cc_pair v[] = { { "create.half", "21" } };
    struct world *o = open_world(v, 1);
    bool error = false, starting = false;
    struct cc_machine_spec s;
    unsigned i;

    (void)state;
    for (i = 0; i < 20; i++) {
        s = a_machine(i);
        assert_int_equal(call_on(o, CC_OP_CREATE, &s), CC_E_UNAVAILABLE);
        assert_int_equal(call_on(o, CC_OP_STATUS, &s), 0);
        error |= o->w.state == CC_M_ERROR;
        starting |= o->w.state == CC_M_STARTING;
    }
    assert_true(error && starting);
    assert_int_equal(listed(o), 20);
    assert_int_equal(call_on(o, CC_OP_CREATE, &s), CC_E_UNAVAILABLE); /* the last of the 21 */
    assert_int_equal(call_on(o, CC_OP_CREATE, &s), 0);                /* completes it */
    assert_int_equal(o->w.state, CC_M_RUNNING);
    s = a_machine(0);
    assert_int_equal(call_on(o, CC_OP_DESTROY, &s), 0);
    s = a_machine(1);
    assert_int_equal(call_on(o, CC_OP_START, &s), 0);
    assert_int_equal(o->w.state, CC_M_RUNNING);
    assert_int_equal(listed(o), 19);
    close_world(o);
}

static void test_an_effect_after_its_caller_has_given_up(void **state)
{
    const struct cc_pair v[] = {
        { "create.late", "1" }, { "stop.late", "1" }, { "destroy.late", "1" }, { "late_ms", "500" }
    };
    struct world *o = open_world(v, 4);
    struct cc_machine_spec s = a_machine(9);

    (void)state;
    assert_int_equal(call_on(o, CC_OP_CREATE, &s), CC_E_TIMEOUT);
    assert_int_equal(listed(o), 0);
    cc_clock_advance(500);
    assert_int_equal(listed(o), 1);
    assert_int_equal(call_on(o, CC_OP_STOP, &s), CC_E_TIMEOUT);
    assert_int_equal(call_on(o, CC_OP_STATUS, &s), 0);
    assert_int_equal(o->w.state, CC_M_RUNNING);
    assert_int_equal(call_on(o, CC_OP_STATUS, &s), 0); /* the one before took a second of the clock */
    assert_int_equal(o->w.state, CC_M_STOPPED);
    assert_int_equal(call_on(o, CC_OP_DESTROY, &s), CC_E_TIMEOUT);
    assert_int_equal(listed(o), 1);
    cc_clock_advance(500);
    assert_int_equal(listed(o), 0);
    close_world(o);
}

/* Those that had been asked for first came first: one that was due later held up the others. */
static void test_late_effects_come_when_they_are_due(void **state)
{
    const struct cc_pair v[] = { { "stop.late", "1" }, { "destroy.late", "1" } };
    struct world *o = open_world(v, 2);
    struct cc_machine_spec a = a_machine(18), b = a_machine(19);

    (void)state;
    assert_int_equal(call_on(o, CC_OP_CREATE, &a), 0);
    assert_int_equal(call_on(o, CC_OP_CREATE, &b), 0);
    begin(o, (struct cc_provider_req){ .op = CC_OP_STOP, .id = pid_of(&a), .timeout_ms = 30000 });
    begin(o, (struct cc_provider_req){ .op = CC_OP_DESTROY, .id = pid_of(&b), .timeout_ms = 1000 });
    assert_int_equal(finish(o, 1001), CC_E_TIMEOUT);
    assert_int_equal(listed(o), 1);
    assert_int_equal(call_on(o, CC_OP_STATUS, &a), 0);
    assert_int_equal(o->w.state, CC_M_RUNNING);
    cc_clock_advance(30000);
    assert_int_equal(call_on(o, CC_OP_STATUS, &a), 0);
    assert_int_equal(o->w.state, CC_M_STOPPED);
    close_world(o);
}

static void make_volume(struct world *o, const char *id)
{
    struct cc_volume_spec volume = { .id = id };

    begin(o, (struct cc_provider_req){ .op = CC_OP_VOLUME_CREATE, .volume = &volume });
    assert_int_equal(finish(o, 1), 0);
}

/* Two machines ran with one volume. */
static void test_a_late_start_needs_its_volumes(void **state)
{
    const struct cc_pair v[] = { { "start.late", "1" }, { "late_ms", "500" } };
    struct world *o = open_world(v, 2);
    struct cc_machine_spec a = a_machine(20), b = a_machine(21);
    struct cc_mount_spec mount = { "v1", "/data" };

    (void)state;
    make_volume(o, "v1");
    a.volumes = b.volumes = &mount;
    a.n_volumes = b.n_volumes = 1;
    assert_int_equal(call_on(o, CC_OP_CREATE, &a), 0);
    assert_int_equal(call_on(o, CC_OP_STOP, &a), 0);
    assert_int_equal(call_on(o, CC_OP_START, &a), CC_E_TIMEOUT);
    assert_int_equal(call_on(o, CC_OP_CREATE, &b), 0); /* before the start of the other comes */
    cc_clock_advance(500);
    assert_int_equal(call_on(o, CC_OP_STATUS, &a), 0);
    assert_int_equal(o->w.state, CC_M_STOPPED);
    assert_int_equal(call_on(o, CC_OP_STATUS, &b), 0);
    assert_int_equal(o->w.state, CC_M_RUNNING);
    close_world(o);
}

static void test_a_late_create_needs_its_volumes(void **state)
{
    const struct cc_pair v[] = { { "create.late", "1" }, { "late_ms", "500" }, { "list.lag_ms", "400" } };
    struct world *o = open_world(v, 3);
    struct cc_machine_spec a = a_machine(22), b = a_machine(23);
    struct cc_mount_spec mount = { "v1", "/data" };

    (void)state;
    make_volume(o, "v1");
    a.volumes = b.volumes = &mount;
    a.n_volumes = b.n_volumes = 1;
    assert_int_equal(call_on(o, CC_OP_CREATE, &a), CC_E_TIMEOUT);
    assert_int_equal(call_on(o, CC_OP_CREATE, &b), 0);
    cc_clock_advance(500);
    assert_int_equal(listed(o), 1); /* nor does the late list show it for a while */
    assert_int_equal(call_on(o, CC_OP_STATUS, &a), CC_E_NOT_FOUND);
    close_world(o);
}

/* With a late list they stayed in memory for as long as the process lived. */
static void test_the_dead_are_freed_once_no_list_shows_them(void **state)
{
    struct fix *f = fix_new_with("mock", (struct cc_pair){ "list.lag_ms", "500" });
    const struct cc_mock *m = f->self;
    unsigned i, n = 0;

    (void)state;
    for (i = 0; i < 40; i++) {
        struct cc_machine_spec s = a_machine(i);

        create(f, &s);
        destroy(f, &s);
    }
    cc_clock_advance(500);
    fix_ok(f, (struct cc_provider_req){ .op = CC_OP_LIST });
    for (i = 0; i < CC_MOCK_BUCKETS; i++)
        n += m->machines[i] != NULL;
    assert_int_equal(n, 0);
    fix_end(f);
}

/* It promised nothing, and ran when the machine was gone. */
static void test_a_late_create_of_what_is_there(void **state)
{
    const struct cc_pair v[] = { { "create.late", "2" } };
    struct world *o = open_world(v, 1);
    struct cc_machine_spec s = a_machine(16);

    (void)state;
    assert_int_equal(call_on(o, CC_OP_CREATE, &s), CC_E_TIMEOUT);
    cc_clock_advance(1);
    assert_int_equal(listed(o), 1);
    assert_int_equal(call_on(o, CC_OP_CREATE, &s), CC_E_TIMEOUT);
    assert_int_equal(call_on(o, CC_OP_DESTROY, &s), 0);
    cc_clock_advance(1000);
    assert_int_equal(listed(o), 0);
    close_world(o);
}

static void test_orphans_are_there_until_they_are_destroyed(void **state)
{
    char path[] = "/tmp/cc-mock-XXXXXX";
    const struct cc_pair v[] = { { "orphans", "3" }, { "state", path } };
    struct cc_provider_req drop = { .op = CC_OP_DESTROY };
    struct world *o;
    char id[64];

    (void)state;
    close(mkstemp(path));
    o = open_world(v, 2);
    assert_int_equal(listed(o), 3);
    strcpy(id, o->w.first);
    drop.id = id;
    begin(o, drop);
    assert_int_equal(finish(o, 1), 0);
    assert_int_equal(listed(o), 2);
    close_world(o);
    o = open_world(v, 2);
    assert_int_equal(listed(o), 2);
    assert_string_not_equal(o->w.first, id);
    close_world(o);
    unlink(path);
}

/* ---------------------------------------------------------------- the world in a file */

static void test_the_world_outlives_the_process(void **state)
{
    char path[] = "/tmp/cc-mock-XXXXXX";
    const struct cc_pair v[] = { { "state", path }, { "stop.late", "1" } };
    struct cc_machine_spec s = a_machine(5), t = a_machine(6);
    struct cc_volume_spec vol = { .id = "v1", .size_gib = 4 };
    struct cc_mount_spec mount = { "v1", "/data" };
    struct world *o;

    (void)state;
    close(mkstemp(path));
    unlink(path);
    o = open_world(v, 2);
    begin(o, (struct cc_provider_req){ .op = CC_OP_VOLUME_CREATE, .volume = &vol });
    assert_int_equal(finish(o, 1), 0);
    s.volumes = &mount;
    s.n_volumes = 1;
    assert_int_equal(call_on(o, CC_OP_CREATE, &s), 0);
    assert_int_equal(call_on(o, CC_OP_CREATE, &t), 0);
    begin(o, (struct cc_provider_req){ .op = CC_OP_STOP, .id = pid_of(&t), .timeout_ms = 1000 });
    close_world(o); /* the late stop is on its way */
    o = open_world(v, 1);
    assert_int_equal(call_on(o, CC_OP_STATUS, &s), 0);
    assert_int_equal(o->w.state, CC_M_RUNNING);
    begin(o, (struct cc_provider_req){ .op = CC_OP_VOLUME_DELETE, .id = "v1" });
    assert_int_equal(finish(o, 1), CC_E_CONFLICT);
    assert_int_equal(call_on(o, CC_OP_STATUS, &t), 0);
    assert_int_equal(o->w.state, CC_M_STOPPED);
    close_world(o);
    unlink(path);
}

/* The text of its second volume's id was compared with after it had been freed. */
static void test_a_machine_of_several_volumes_is_read_again(void **state)
{
    char path[] = "/tmp/cc-mock-XXXXXX";
    const struct cc_pair v[] = { { "state", path } };
    struct cc_mount_spec mounts[] = { { "v1", "/1" }, { "v2", "/2" }, { "v3", "/3" } };
    struct cc_machine_spec s = a_machine(15);
    struct world *o;
    size_t i;

    (void)state;
    close(mkstemp(path));
    o = open_world(v, 1);
    for (i = 0; i < 3; i++) {
        struct cc_volume_spec vol = { .id = mounts[i].id };

        begin(o, (struct cc_provider_req){ .op = CC_OP_VOLUME_CREATE, .volume = &vol });
        assert_int_equal(finish(o, 1), 0);
    }
    s.volumes = mounts;
    s.n_volumes = 3;
    assert_int_equal(call_on(o, CC_OP_CREATE, &s), 0);
    assert_int_equal(call_on(o, CC_OP_STOP, &s), 0); /* a second line of it in the journal */
    close_world(o);
    o = open_world(v, 1);
    begin(o, (struct cc_provider_req){ .op = CC_OP_DETACH, .id = pid_of(&s), .mount = &mounts[1] });
    assert_int_equal(finish(o, 1), 0);
    begin(o, (struct cc_provider_req){ .op = CC_OP_ATTACH, .id = pid_of(&s), .mount = &mounts[2] });
    assert_int_equal(finish(o, 1), 0);
    close_world(o);
    unlink(path);
}

/* With a late list, all that had ever been destroyed seemed to be so at the opening. */
static void test_dead_machines_are_not_listed_by_the_next_process(void **state)
{
    char path[] = "/tmp/cc-mock-XXXXXX";
    const struct cc_pair v[] = { { "state", path }, { "list.lag_ms", "500" } };
    struct cc_machine_spec s = a_machine(17);
    struct world *o;

    (void)state;
    close(mkstemp(path));
    o = open_world(v, 2);
    assert_int_equal(call_on(o, CC_OP_CREATE, &s), 0);
    assert_int_equal(call_on(o, CC_OP_DESTROY, &s), 0);
    close_world(o);
    cc_clock_advance(1000);
    o = open_world(v, 2);
    assert_int_equal(listed(o), 0);
    close_world(o);
    unlink(path);
}

static void test_two_processes_share_a_world(void **state)
{
    char path[] = "/tmp/cc-mock-XXXXXX";
    const struct cc_pair v[] = { { "state", path } };
    struct cc_machine_spec s = a_machine(10), t = a_machine(11);
    struct world *a, *b;
    struct stat st;
    int i;

    (void)state;
    close(mkstemp(path));
    a = open_world(v, 1);
    b = open_world(v, 1);
    assert_int_equal(call_on(a, CC_OP_CREATE, &s), 0);
    assert_int_equal(call_on(b, CC_OP_STATUS, &s), 0);
    assert_int_equal(call_on(b, CC_OP_STOP, &s), 0);
    assert_int_equal(call_on(a, CC_OP_STATUS, &s), 0);
    assert_int_equal(a->w.state, CC_M_STOPPED);
    for (i = 0; i < 1500; i++) { /* the file is rewritten on the way: the other must follow it */
        assert_int_equal(call_on(i & 1 ? a : b, CC_OP_START, &s), 0);
        assert_int_equal(call_on(i & 1 ? b : a, CC_OP_STOP, &s), 0);
    }
    assert_int_equal(stat(path, &st), 0);
    assert_true(st.st_size < 1100 * 500);
    assert_int_equal(call_on(a, CC_OP_CREATE, &t), 0);
    assert_int_equal(listed(b), 2);
    close_world(a);
    close_world(b);
    unlink(path);
}

static int say(struct world *o, const struct cc_machine_spec *s, const char *json)
{
    const char *const words[] = { "mock-activity", json };
    struct cc_exec_spec e = { .cmd = { words, 2 } };

    begin(o, (struct cc_provider_req){ .op = CC_OP_EXEC, .id = pid_of(s), .exec = &e });
    return finish(o, 1);
}

static void test_what_the_agents_say_is_scripted(void **state)
{
    char path[] = "/tmp/cc-mock-XXXXXX";
    const struct cc_pair v[] = {
        { "state", path },
        { "activity.load", "0.5" },
        { "activity.turn", "true" },
        { "activity.latency_ms", "1" }, /* of the operation */
        { "activity.leases", "[{\"id\":\"a\",\"reason\":\"of all\",\"until_ms\":1800000000000}]" },
    };
    struct cc_machine_spec s = a_machine(60), t = a_machine(61);
    struct world *a, *b;

    (void)state;
    close(mkstemp(path));
    a = open_world(v, 5);
    b = open_world(v, 1);
    assert_int_equal(call_on(a, CC_OP_CREATE, &s), 0);
    assert_int_equal(call_on(a, CC_OP_CREATE, &t), 0);
    assert_int_equal(call_on(a, CC_OP_ACTIVITY, &s), 0);
    assert_true(a->w.load == 0.5 && a->w.turn && a->w.leases == 1);
    assert_string_equal(a->w.reason, "of all");
    /* another process says it of one machine */
    assert_int_equal(say(b, &s, "{\"load\":2,\"leases\":[],\"foreground\":5}"), 0);
    assert_int_equal(call_on(a, CC_OP_ACTIVITY, &s), 0);
    assert_true(a->w.load == 2 && a->w.turn && a->w.leases == 0);
    assert_int_equal(call_on(a, CC_OP_ACTIVITY, &t), 0);
    assert_true(a->w.load == 0.5 && a->w.leases == 1);
    assert_int_equal(say(a, &s, "[]"), CC_E_INVALID);
    close_world(b);
    b = open_world(v, 1); /* it outlives the process */
    assert_int_equal(call_on(b, CC_OP_ACTIVITY, &s), 0);
    assert_true(b->w.load == 2 && !b->w.turn);
    assert_int_equal(call_on(b, CC_OP_STOP, &s), 0);
    assert_int_equal(say(b, &s, "{}"), CC_E_STATE);
    assert_int_equal(call_on(b, CC_OP_START, &s), 0); /* and ends with the run */
    assert_int_equal(call_on(a, CC_OP_ACTIVITY, &s), 0);
    assert_true(a->w.load == 0.5 && a->w.leases == 1);
    close_world(a);
    close_world(b);
    unlink(path);
}

/* With a late list, the dead counted as worth keeping: the journal was never rewritten. */
static void test_a_journal_of_the_dead_is_rewritten(void **state)
{
    char path[] = "/tmp/cc-mock-XXXXXX";
    const struct cc_pair v[] = { { "state", path }, { "list.lag_ms", "10" } };
    struct world *o;
    struct stat st;
    unsigned i;

    (void)state;
    close(mkstemp(path));
    o = open_world(v, 2);
    for (i = 0; i < 3000; i++) {
        struct cc_machine_spec s = a_machine(1000 + i);

        assert_int_equal(call_on(o, CC_OP_CREATE, &s), 0);
        assert_int_equal(call_on(o, CC_OP_DESTROY, &s), 0);
    }
    assert_int_equal(stat(path, &st), 0);
    assert_true(st.st_size < 1100 * 500);
    close_world(o);
    unlink(path);
}

/* The loop stood still for as long as another process had the file. */
static void test_a_file_that_another_keeps_locked_is_unavailable(void **state)
{
    char path[] = "/tmp/cc-mock-XXXXXX";
    const struct cc_pair v[] = { { "state", path }, { "create.fail", "1" }, { "create.code", "limit" } };
    struct cc_machine_spec s = a_machine(24);
    int fd = mkstemp(path);
    struct world *o = open_world(v, 3);
    uint64_t start;

    (void)state;
    assert_int_equal(flock(fd, LOCK_EX), 0);
    start = cc_mono_ns();
    assert_int_equal(call_on(o, CC_OP_CREATE, &s), CC_E_UNAVAILABLE);
    assert_in_range(cc_mono_ns() - start, CC_MOCK_WAIT_MS * 1000000ull, 1000000000);
    assert_true(o->w.err.retryable);
    assert_non_null(strstr(o->w.err.message, "locked"));
    assert_int_equal(flock(fd, LOCK_UN), 0);
    assert_int_equal(call_on(o, CC_OP_CREATE, &s), CC_E_LIMIT); /* the call before did not count */
    assert_int_equal(call_on(o, CC_OP_CREATE, &s), 0);
    close_world(o);
    close(fd);
    unlink(path);
}

/* It was told as whatever had failed last, or as "Success". */
static void test_a_short_write_is_told_as_one(void **state)
{
    char path[] = "/tmp/cc-mock-XXXXXX";
    const struct cc_pair v[] = { { "state", path } };
    struct cc_machine_spec s = a_machine(25);
    struct rlimit was, tight;
    struct world *o;
    struct stat st;

    (void)state;
    close(mkstemp(path));
    o = open_world(v, 1);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
    tight = (struct rlimit){ (rlim_t)st.st_size + 20, was.rlim_max };
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
    assert_int_equal(call_on(o, CC_OP_CREATE, &s), CC_E_FULL);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
    signal(SIGXFSZ, SIG_DFL);
    assert_non_null(strstr(o->w.err.message, "only 20 of"));
    assert_int_equal(listed(o), 0);
    assert_int_equal(call_on(o, CC_OP_CREATE, &s), 0);
    assert_int_equal(listed(o), 1);
    close_world(o);
    unlink(path);
}

static void test_a_state_that_is_no_journal_is_refused(void **state)
{
    char path[] = "/tmp/cc-mock-XXXXXX";
    const struct cc_pair v[] = { { "state", path } };
    struct cc_pairs s = { v, 1 };
    struct cc_err err = { .message = "" };
    void *self;
    int fd;

    (void)state;
    fd = mkstemp(path);
    assert_int_equal(write(fd, "hello\n", 6), 6);
    close(fd);
    assert_int_equal(cc_driver_find("mock")->open(&s, &self, &err), CC_E_CORRUPT);
    unlink(path);
}

/* ---------------------------------------------------------------- kills */

struct paths {
    char state[64], ledger[64];
};

static struct paths *temp_paths(void)
{
    static struct paths p;
    char dir[] = "/tmp/cc-mock-XXXXXX";

    assert_non_null(mkdtemp(dir));
    snprintf(p.state, sizeof(p.state), "%s/state", dir);
    snprintf(p.ledger, sizeof(p.ledger), "%s/ledger", dir);
    return &p;
}

static void drop_paths(struct paths *p)
{
    unlink(p->state);
    unlink(p->ledger);
    *strrchr(p->state, '/') = 0;
    assert_int_equal(rmdir(p->state), 0);
}

/* Lines of the ledger that say "changed" of `op`. */
static int changes_of(const struct paths *p, const char *op)
{
    FILE *f = fopen(p->ledger, "re");
    char line[512];
    int n = 0;

    while (f && fgets(line, sizeof(line), f)) {
        json_t *o = json_loads(line, 0, NULL);

        assert_non_null(o); /* each line is whole */
        n +=
            json_is_true(json_object_get(o, "changed")) && strcmp(json_string_value(json_object_get(o, "op")), op) == 0;
        json_decref(o);
    }
    if (f)
        fclose(f);
    return n;
}

static void test_the_ledger_counts_effects(void **state)
{
    struct paths *p = temp_paths();
    const struct cc_pair v[] = { { "state", p->state }, { "ledger", p->ledger }, { "create.after", "1" } };
    struct world *o = open_world(v, 3);
    struct cc_machine_spec s = a_machine(12);

    (void)state;
    assert_int_equal(call_on(o, CC_OP_CREATE, &s), CC_E_UNAVAILABLE);
    assert_int_equal(call_on(o, CC_OP_CREATE, &s), 0); /* found */
    assert_int_equal(call_on(o, CC_OP_STOP, &s), 0);
    assert_int_equal(call_on(o, CC_OP_STOP, &s), 0);
    assert_int_equal(call_on(o, CC_OP_DESTROY, &s), 0);
    assert_int_equal(changes_of(p, "create"), 1);
    assert_int_equal(changes_of(p, "stop"), 1);
    assert_int_equal(changes_of(p, "destroy"), 1);
    assert_true(mentions(p->ledger, "\"mishap\":\"after\""));
    close_world(o);
    drop_paths(p);
}

/* Creates machines as fast as it can until it is killed. */
static void create_for_ever(const struct paths *p, unsigned first)
{
    const struct cc_pair v[] = { { "state", p->state }, { "ledger", p->ledger } };
    struct world *o = open_world(v, 2);
    unsigned i;

    for (i = 0;; i++) {
        struct cc_machine_spec s = a_machine(first + i);

        call_on(o, CC_OP_CREATE, &s);
    }
}

static off_t size_of(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 ? st.st_size : 0;
}

static void test_a_kill_leaves_the_last_effect_whole_or_absent(void **state)
{
    struct paths *p = temp_paths();
    const struct cc_pair v[] = { { "state", p->state }, { "ledger", p->ledger } };
    struct world *o;
    unsigned i;
    int status;

    (void)state;
    for (i = 0; i < 30; i++) {
        off_t before = size_of(p->state);
        pid_t pid = fork();

        if (pid == 0)
            create_for_ever(p, i * 100000);
        while (size_of(p->state) < before + 20000 + (off_t)i * 997)
            sched_yield();
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        o = open_world(v, 2);
        assert_int_equal((int)listed(o), changes_of(p, "create"));
        close_world(o);
    }
    drop_paths(p);
}

static void test_a_line_that_was_cut_off_is_no_effect(void **state)
{
    struct paths *p = temp_paths();
    const struct cc_pair v[] = { { "state", p->state }, { "ledger", p->ledger } };
    struct world *o = open_world(v, 2);
    struct cc_machine_spec s = a_machine(13), t = a_machine(14);

    (void)state;
    assert_int_equal(call_on(o, CC_OP_CREATE, &s), 0);
    close_world(o);
    assert_int_equal(truncate(p->ledger, 0), 0); /* killed before the ledger's line: it is added */
    o = open_world(v, 2);
    assert_int_equal(changes_of(p, "create"), 1);
    assert_int_equal(call_on(o, CC_OP_CREATE, &t), 0);
    assert_int_equal(truncate(p->state, size_of(p->state) - 3), 0); /* killed in the middle of a write */
    assert_int_equal(listed(o), 1);
    assert_int_equal(call_on(o, CC_OP_CREATE, &t), 0);
    assert_int_equal(listed(o), 2);
    close_world(o);
    drop_paths(p);
}

static void test_a_ledger_line_that_was_cut_off_is_written_anew(void **state)
{
    struct paths *p = temp_paths();
    const struct cc_pair v[] = { { "state", p->state }, { "ledger", p->ledger } };
    struct world *o = open_world(v, 2);
    struct cc_machine_spec s = a_machine(13), t = a_machine(14);

    (void)state;
    assert_int_equal(call_on(o, CC_OP_CREATE, &s), 0);
    assert_int_equal(call_on(o, CC_OP_CREATE, &t), 0);
    close_world(o);
    assert_int_equal(truncate(p->ledger, size_of(p->ledger) - 30), 0); /* killed in the middle of a write */
    o = open_world(v, 2);
    assert_int_equal(changes_of(p, "create"), 2);
    close_world(o);
    drop_paths(p);
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
        cmocka_unit_test(test_chance_comes_from_the_seed_and_the_machine),
        cmocka_unit_test(test_chances_come_as_often_as_told),
        cmocka_unit_test(test_latency_between_two_bounds),
        cmocka_unit_test(test_settings_that_cannot_be_are_refused),
        cmocka_unit_test(test_a_count_beyond_32_bits_is_refused),
        cmocka_unit_test(test_a_destroy_that_is_answered_429),
        cmocka_unit_test(test_a_half_made_machine),
        cmocka_unit_test(test_an_effect_after_its_caller_has_given_up),
        cmocka_unit_test(test_late_effects_come_when_they_are_due),
        cmocka_unit_test(test_a_late_start_needs_its_volumes),
        cmocka_unit_test(test_a_late_create_needs_its_volumes),
        cmocka_unit_test(test_the_dead_are_freed_once_no_list_shows_them),
        cmocka_unit_test(test_a_late_create_of_what_is_there),
        cmocka_unit_test(test_dead_machines_are_not_listed_by_the_next_process),
        cmocka_unit_test(test_orphans_are_there_until_they_are_destroyed),
        cmocka_unit_test(test_the_world_outlives_the_process),
        cmocka_unit_test(test_a_machine_of_several_volumes_is_read_again),
        cmocka_unit_test(test_two_processes_share_a_world),
        cmocka_unit_test(test_what_the_agents_say_is_scripted),
        cmocka_unit_test(test_a_journal_of_the_dead_is_rewritten),
        cmocka_unit_test(test_a_file_that_another_keeps_locked_is_unavailable),
        cmocka_unit_test(test_a_short_write_is_told_as_one),
        cmocka_unit_test(test_a_state_that_is_no_journal_is_refused),
        cmocka_unit_test(test_the_ledger_counts_effects),
        cmocka_unit_test(test_a_kill_leaves_the_last_effect_whole_or_absent),
        cmocka_unit_test(test_a_line_that_was_cut_off_is_no_effect),
        cmocka_unit_test(test_a_ledger_line_that_was_cut_off_is_written_anew),
        cmocka_unit_test(test_closing_with_answers_held),
    };

    cc_clock_virtual(1700000000000);
    return cmocka_run_group_tests_name("mock", tests, NULL, NULL);
}
