/* test_store_group.c - many updates at once: conflicts, the overlay, commits that fail, the turn. */
#include "store/store_internal.h"
#include "tests/unit/test_store.h"

#include <errno.h>
#include <sched.h>

/* A writer that increments one record `left` times, running again on conflict as the bindings do. */
struct counter {
    struct fix *f;
    const char *id;
    int left, tries, worst, failed;
};

static void on_counted(void *arg, int code, const struct cc_err *err);

static void go(struct counter *c)
{
    struct cc_txn *t = cc_txn_begin(c->f->store, NULL);

    increment(t, "n", c->id);
    assert_int_equal(cc_txn_submit(t, on_counted, c, NULL), CC_OK);
}

static void on_counted(void *arg, int code, const struct cc_err *err)
{
    struct counter *c = arg;

    (void)err;
    if (code == CC_E_CONFLICT) {
        if (++c->tries > c->worst)
            c->worst = c->tries;
        go(c);
        return;
    }
    c->tries = 0;
    c->failed += code != CC_OK;
    if (--c->left)
        go(c);
}

static void run(struct fix *f) { uv_run(&f->loop, UV_RUN_DEFAULT); }

/* Until the group that was told to fail has failed; the loop does not know it yet. */
static void wait_failed(struct fix *f)
{
    cc_handover_flush(f->store);
    while (atomic_load(&f->store->db.fail_next))
        sched_yield();
}

static void verified(struct fix *f, uint64_t entries)
{
    struct cc_verified v;
    struct cc_err err;

    if (cc_store_verify(f->store, &v, NULL, NULL, &err))
        fail_msg("%s", err.message);
    assert_int_equal(v.entries, entries);
}

static void hot_key_loses_nothing(void **state)
{
    struct fix *f = *state;
    struct counter c[64];
    struct cc_store_stats st;
    int i;

    for (i = 0; i < 64; i++) {
        c[i] = (struct counter){ .f = f, .id = "hot", .left = 20 };
        go(&c[i]);
    }
    run(f);
    for (i = 0; i < 64; i++)
        assert_int_equal(c[i].worst, 0);
    assert_int_equal(value_of(f, "n", "hot"), 64 * 20);
    cc_store_stats(f->store, &st);
    assert_int_equal(st.conflicts, 0);
    assert_int_equal(st.updates, 64 * 20);
    assert_true(st.commits < 64 * 20 / 8);
    verified(f, 64 * 20);
}

/* Two updates of one turn: the second reads what the first has in flight. */
static void reads_what_is_in_flight(void **state)
{
    struct fix *f = *state;
    struct done a = { .calls = 0 }, b = { .calls = 0 };
    struct cc_txn *t = cc_txn_begin(f->store, NULL);
    struct cc_record r;
    struct cc_slice v;

    cc_txn_put(t, "n", S("x"), S("1"), &S("o"));
    cc_txn_index(t, "ix", S("k"), S("v"));
    assert_int_equal(cc_txn_submit(t, on_done, &a, NULL), CC_OK);
    t = cc_txn_begin(f->store, NULL);
    assert_int_equal(cc_txn_get(t, "n", S("x"), &r), CC_OK);
    assert_int_equal(number(r.text), 1);
    assert_int_equal(cc_txn_lookup(t, "ix", S("k"), &v), CC_OK);
    assert_true(cc_txn_del(t, "n", S("x")));
    assert_true(cc_txn_unindex(t, "ix", S("k")));
    assert_int_equal(cc_txn_submit(t, on_done, &b, NULL), CC_OK);
    t = cc_txn_begin(f->store, NULL);
    assert_int_equal(cc_txn_get(t, "n", S("x"), &r), CC_E_NOT_FOUND);
    assert_int_equal(cc_txn_lookup(t, "ix", S("k"), &v), CC_E_NOT_FOUND);
    assert_int_equal(cc_store_get(f->store, "n", S("x"), &r), CC_E_NOT_FOUND);
    /* It wrote nothing, but what it read is not yet true: it waits for that. */
    assert_int_equal(commit(f, t), CC_OK);
    run(f);
    assert_int_equal(a.code + b.code, CC_OK);
    assert_int_equal(cc_store_get(f->store, "n", S("x"), &r), CC_E_NOT_FOUND);
}

/* A commit that fails takes those with it that read from it, and everybody succeeds on the second try. */
static void failed_commit_cascades(void **state)
{
    struct fix *f = *state;
    struct cc_txn *t = cc_txn_begin(f->store, NULL);
    struct done first = { .calls = 0 }, lone = { .calls = 0 };
    struct cc_store_stats st;
    struct counter c[16];
    struct cc_record r;
    int i;

    cc_store_fail_next(f->store, EIO);
    increment(t, "n", "hot");
    cc_txn_put(t, "n", S("only"), S("1"), NULL);
    assert_int_equal(cc_txn_submit(t, on_done, &first, NULL), CC_OK);
    wait_failed(f);
    for (i = 0; i < 16; i++) { /* these read from it, one from the other */
        c[i] = (struct counter){ .f = f, .id = "hot", .left = 3 };
        go(&c[i]);
    }
    t = cc_txn_begin(f->store, NULL);
    cc_txn_put(t, "n", S("else"), S("7"), NULL); /* this one does not */
    assert_int_equal(cc_txn_submit(t, on_done, &lone, NULL), CC_OK);
    run(f);
    assert_int_equal(first.calls, 1);
    assert_int_equal(first.code, CC_E_IO);
    assert_string_equal(cc_err_word(first.err.code), "io");
    assert_int_equal(lone.code, CC_OK);
    assert_int_equal(cc_store_get(f->store, "n", S("only"), &r), CC_E_NOT_FOUND);
    assert_int_equal(value_of(f, "n", "hot"), 16 * 3);
    for (i = 0; i < 16; i++) {
        assert_int_equal(c[i].failed, 0);
        assert_true(c[i].worst <= 1);
    }
    cc_store_stats(f->store, &st);
    assert_int_equal(st.failures, 1);
    verified(f, 16 * 3);
}

static void full_disk_is_told(void **state)
{
    struct fix *f = *state;
    struct cc_txn *t = cc_txn_begin(f->store, NULL);
    struct done d = { .calls = 0 };

    cc_store_fail_next(f->store, ENOSPC);
    increment(t, "n", "x");
    assert_int_equal(cc_txn_submit(t, on_done, &d, NULL), CC_OK);
    wait_done(f, &d);
    assert_int_equal(d.code, CC_E_FULL);
    assert_true(d.err.retryable);
    assert_int_equal(value_of(f, "n", "x"), 0);
    t = cc_txn_begin(f->store, NULL);
    increment(t, "n", "x");
    assert_int_equal(commit(f, t), CC_OK);
    assert_int_equal(value_of(f, "n", "x"), 1);
}

/* One update whose check fails does not sink the others of its group. Blind puts read nothing, so they
 * stay right whatever happened before. */
static void one_of_a_group_fails(void **state)
{
    struct fix *f = *state;
    struct done d[3] = { { .calls = 0 } };
    struct cc_txn *t;

    cc_store_fail_next(f->store, EIO);
    t = cc_txn_begin(f->store, NULL);
    increment(t, "n", "a");
    assert_int_equal(cc_txn_submit(t, on_done, &d[0], NULL), CC_OK);
    wait_failed(f);
    t = cc_txn_begin(f->store, NULL);
    increment(t, "n", "a"); /* reads from the one that fails */
    assert_int_equal(cc_txn_submit(t, on_done, &d[1], NULL), CC_OK);
    t = cc_txn_begin(f->store, NULL);
    increment(t, "n", "b");
    assert_int_equal(cc_txn_submit(t, on_done, &d[2], NULL), CC_OK);
    run(f);
    assert_int_equal(d[0].code, CC_E_IO);
    assert_int_equal(d[1].code, CC_E_CONFLICT);
    assert_true(d[1].err.retryable);
    assert_int_equal(d[2].code, CC_OK);
    assert_int_equal(value_of(f, "n", "a"), 0);
    assert_int_equal(value_of(f, "n", "b"), 1);
    verified(f, 1);
}

/* ---- the turn */

struct turner {
    struct fix *f;
    struct done done;
    int order, began;
};

static void on_turn(void *arg)
{
    struct turner *u = arg;
    struct cc_txn *t = cc_txn_begin(u->f->store, u);

    u->began++;
    increment(t, "n", "hot");
    assert_int_equal(cc_txn_submit(t, on_done, &u->done, NULL), CC_OK);
}

static void turn_goes_first(void **state)
{
    struct fix *f = *state;
    struct turner u[2] = { { .f = f }, { .f = f } };
    struct counter c[8];
    int i;

    for (i = 0; i < 8; i++) {
        c[i] = (struct counter){ .f = f, .id = "hot", .left = 30 };
        go(&c[i]);
    }
    cc_store_turn(f->store, on_turn, &u[0]);
    cc_store_turn(f->store, on_turn, &u[1]);
    run(f);
    for (i = 0; i < 2; i++) {
        assert_int_equal(u[i].began, 1);
        assert_int_equal(u[i].done.calls, 1);
        assert_int_equal(u[i].done.code, CC_OK);
    }
    assert_int_equal(value_of(f, "n", "hot"), 8 * 30 + 2);
    verified(f, 8 * 30 + 2);
}

static void on_turn_ignored(void *arg) { (*(int *)arg)++; }

/* A turn that nobody uses or that is cancelled holds nothing up for longer than its second. */
static void turn_comes_back(void **state)
{
    struct fix *f = *state;
    struct cc_txn *t;
    int begun = 0, never = 0;

    cc_store_turn(f->store, on_turn_ignored, &begun);
    cc_store_turn(f->store, on_turn_ignored, &never);
    cc_store_turn_cancel(f->store, &never);
    while (!begun)
        uv_run(&f->loop, UV_RUN_ONCE);
    cc_store_turn_cancel(f->store, &begun);
    t = cc_txn_begin(f->store, NULL);
    increment(t, "n", "x");
    assert_int_equal(commit(f, t), CC_OK);
    begun = 0;
    cc_store_turn(f->store, on_turn_ignored, &begun);
    while (!begun)
        uv_run(&f->loop, UV_RUN_ONCE);
    t = cc_txn_begin(f->store, NULL);
    increment(t, "n", "x");
    assert_int_equal(commit(f, t), CC_OK); /* after the second */
    assert_int_equal(value_of(f, "n", "x"), 2);
    assert_int_equal(never, 0);
}

/* Closing keeps what was submitted and calls everybody back. */
static void close_flushes(void **state)
{
    struct fix *f = *state;
    struct done d[10] = { { .calls = 0 } };
    struct cc_err err;
    struct cc_txn *t;
    int i;

    for (i = 0; i < 10; i++) {
        t = cc_txn_begin(f->store, NULL);
        increment(t, "n", "x");
        assert_int_equal(cc_txn_submit(t, on_done, &d[i], NULL), CC_OK);
    }
    fix_close(f);
    for (i = 0; i < 10; i++) {
        assert_int_equal(d[i].calls, 1);
        assert_int_equal(d[i].code, CC_OK);
    }
    if (fix_open(f, &err))
        fail_msg("%s", err.message);
    assert_int_equal(value_of(f, "n", "x"), 10);
    verified(f, 10);
}

/* Found by review: one unreadable record failed every update of its group. */
static void broken_record_sank_the_group(void **state)
{
    struct fix *f = *state;
    struct done d[3] = { { .calls = 0 } };
    static const char *const ids[] = { "a", "broken", "b" };
    uint8_t key[KEY_BYTES];
    MDB_txn *txn;
    struct cc_txn *t;
    int i;

    assert_int_equal(cc_db_write_begin(&f->store->db, &txn), 0);
    assert_int_equal(cc_db_put(&f->store->db, txn, T_RECORDS, cc_key(key, "n", S("broken")), S("short")), 0);
    assert_int_equal(cc_db_write_finish(&f->store->db, txn, true), 0);
    for (i = 0; i < 3; i++) {
        t = cc_txn_begin(f->store, NULL);
        cc_txn_put(t, "n", S(ids[i]), S("1"), &S("me"));
        assert_int_equal(cc_txn_submit(t, on_done, &d[i], NULL), CC_OK);
    }
    for (i = 0; i < 3; i++) {
        wait_done(f, &d[i]);
        assert_int_equal(d[i].code, i == 1 ? CC_E_CORRUPT : CC_OK);
    }
    assert_non_null(strstr(d[1].err.message, "is broken"));
    assert_int_equal(value_of(f, "n", "b"), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, fix_setup, fix_teardown)
        T(hot_key_loses_nothing), T(reads_what_is_in_flight), T(failed_commit_cascades),
        T(full_disk_is_told),     T(one_of_a_group_fails),    T(turn_goes_first),
        T(turn_comes_back),       T(close_flushes),           T(broken_record_sank_the_group),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
