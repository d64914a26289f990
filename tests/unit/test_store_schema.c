/* test_store_schema.c - stores of schema 1 (tests/data/store-1), what brings them up to date, and trimming. */
#include "store/store_internal.h"
#include "tests/unit/test_store.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

/* The old store: instances m1 to m5 made, m1 changed, m2 deleted: seven entries of format 1. */
static int old_setup(void **state)
{
    struct fix *f = calloc(1, sizeof(*f));
    char cmd[128];

    strcpy(f->dir, "/tmp/cc-store-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    uv_loop_init(&f->loop);
    snprintf(cmd, sizeof(cmd), "cp -r tests/data/store-1/store %s", f->dir);
    assert_int_equal(system(cmd), 0);
    *state = f;
    return 0;
}

static int old_teardown(void **state)
{
    cc_migrate_use(NULL);
    return fix_teardown(state);
}

static void opened(struct fix *f)
{
    struct cc_err err = { .message = "" };

    if (fix_open(f, &err))
        fail_msg("%s", err.message);
}

static uint64_t schema_of(struct fix *f)
{
    char file[128];
    struct cc_db db;
    uint64_t schema;

    snprintf(file, sizeof(file), "%s/store/data.mdb", f->dir);
    assert_int_equal(cc_db_look(&db, file, NULL), CC_OK);
    schema = db.schema;
    cc_db_close(&db);
    return schema;
}

static void verified(struct fix *f, uint64_t entries, uint64_t objects)
{
    struct cc_verified v;
    struct cc_err err;

    if (cc_store_verify(f->store, &v, NULL, NULL, &err))
        fail_msg("%s", err.message);
    assert_int_equal(v.entries, entries);
    assert_int_equal(v.objects, objects);
}

/* ---- the log as text: "seq.type:data" with "-" for data that was dropped */

static bool see(void *arg, const struct cc_entry *e)
{
    char *text = arg;
    size_t n = strlen(text);

    snprintf(text + n, 1024 - n, "%d.%.*s:%.*s ", (int)e->seq, (int)e->type.len, e->type.data,
             e->trimmed ? 1 : (int)e->data.len, e->trimmed ? "-" : e->data.data);
    return true;
}

static const char *whole_log(struct fix *f)
{
    static char text[1024];

    text[0] = '\0';
    assert_int_equal(cc_store_log(f->store, 0, 0, false, see, text), CC_OK);
    return text;
}

/* ---- migration */

static void old_store_is_brought_up_to_date(void **state)
{
    struct fix *f = *state;
    struct cc_record r;
    struct cc_txn *t;
    struct cc_slice v;

    assert_int_equal(schema_of(f), 1);
    opened(f);
    assert_int_equal(cc_store_get(f->store, "instance", S("m1"), &r), CC_OK);
    assert_int_equal(r.log_seq, 6);
    assert_int_equal(r.owner.len, 3);
    assert_int_equal(cc_store_get(f->store, "instance", S("m2"), &r), CC_E_NOT_FOUND);
    assert_int_equal(cc_store_lookup(f->store, "instance_name", S("ann/machine 5"), &v), CC_OK);
    assert_non_null(strstr(whole_log(f), "6.changed:{\"n\":10} 7.deleted:{} "));
    verified(f, 7, 5);
    t = cc_txn_begin(f->store, NULL); /* an entry of format 2 behind one of format 1 */
    cc_txn_log(t, "instance", S("m1"), S("seen"), S("me"), S("{}"));
    assert_int_equal(commit(f, t), CC_OK);
    verified(f, 8, 5);
    fix_close(f);
    assert_int_equal(schema_of(f), CC_STORE_SCHEMA);
    opened(f);
    verified(f, 8, 5);
}

static int put_something(struct cc_db *db, MDB_txn *t)
{
    return cc_db_put(db, t, T_META, SLICE("step", 4), SLICE("1", 1));
}

static int fail_later(struct cc_db *db, MDB_txn *t)
{
    int rc = put_something(db, t);

    return rc ? rc : EIO;
}

static bool has_something(struct fix *f)
{
    MDB_val v;
    int rc = cc_db_read_begin(&f->store->db);

    if (!rc)
        rc = cc_db_get(&f->store->db, f->store->db.reader, T_META, SLICE("step", 4), &v);
    cc_db_read_end(&f->store->db);
    return rc == 0;
}

static void failed_step_changes_nothing(void **state)
{
    static const struct cc_step bad[] = { { 1, fail_later }, { 0, NULL } };
    struct fix *f = *state;
    struct cc_err err = { .message = "" };

    cc_migrate_use(bad);
    assert_int_equal(fix_open(f, &err), CC_E_IO);
    assert_non_null(strstr(err.message, "the store stays as it was"));
    assert_int_equal(schema_of(f), 1);
    cc_migrate_use(NULL);
    opened(f);
    assert_false(has_something(f));
    verified(f, 7, 5);
}

/* Many steps are one transaction; a step that needs more room than the map has gets it. */
static int put_much(struct cc_db *db, MDB_txn *t)
{
    size_t len = 3 << 20;
    char *text = calloc(1, len);
    int rc = cc_db_put(db, t, T_META, SLICE("much", 4), SLICE(text, len));

    free(text);
    return rc ? rc : put_something(db, t);
}

static void step_gets_room(void **state)
{
    static const struct cc_step big[] = { { 1, put_much }, { 0, NULL } };
    struct fix *f = *state;
    struct cc_store_opts o = fix_opts(f);

    o.map_mib = 1;
    cc_migrate_use(big);
    assert_int_equal(cc_store_open(&o, &f->store, NULL), CC_OK);
    assert_true(has_something(f));
    verified(f, 7, 5);
}

/* Found by review: a schema that no step begins at was accepted, and stayed. */
static void schema_without_steps_was_accepted(void **state)
{
    struct fix *f = *state;
    struct cc_err err = { .message = "" };
    uint8_t b[8];
    MDB_txn *t;

    opened(f);
    cc_put64(b, 0);
    assert_int_equal(cc_db_write_begin(&f->store->db, &t), 0);
    assert_int_equal(cc_db_put(&f->store->db, t, T_META, SLICE("schema", 6), SLICE(b, 8)), 0);
    assert_int_equal(cc_db_write_finish(&f->store->db, t, true), 0);
    fix_close(f);
    assert_int_equal(fix_open(f, &err), CC_E_CORRUPT);
    assert_non_null(strstr(err.message, "there is no schema 0"));
    assert_int_equal(schema_of(f), 0);
}

static int die(struct cc_db *db, MDB_txn *t)
{
    int rc = put_something(db, t);

    kill(getpid(), SIGKILL);
    return rc;
}

static void killed_step_changes_nothing(void **state)
{
    static const struct cc_step deadly[] = { { 1, die }, { 0, NULL } };
    struct fix *f = *state;
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        cc_migrate_use(deadly);
        fix_open(f, NULL);
        _exit(1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    assert_int_equal(schema_of(f), 1);
    opened(f);
    assert_false(has_something(f));
    verified(f, 7, 5);
}

/* ---- other processes meanwhile */

static int told[2], go[2]; /* the step says that it runs, and waits */

static int tell_and_wait(struct cc_db *db, MDB_txn *t)
{
    char b;

    if (write(told[1], "x", 1) != 1 || read(go[0], &b, 1) != 1)
        return EIO;
    return put_something(db, t);
}

static void open_and_exit(struct fix *f)
{
    struct cc_store_opts o = fix_opts(f);

    o.serve = false;
    _exit(cc_store_open(&o, &f->store, NULL) || !has_something(f));
}

/* Whether the process is at the gate: it has the file open that it waits for. */
static bool has_open(pid_t pid, const char *name)
{
    char link[64], to[256];
    ssize_t n;
    int fd;

    for (fd = 0; fd < 64; fd++) {
        snprintf(link, sizeof(link), "/proc/%d/fd/%d", (int)pid, fd);
        n = readlink(link, to, sizeof(to) - 1);
        if (n > 0 && (to[n] = '\0', strstr(to, name)))
            return true;
    }
    return false;
}

static void second_opener_waits_for_the_first(void **state)
{
    static const struct cc_step slow[] = { { 1, tell_and_wait }, { 0, NULL } };
    struct fix *f = *state;
    int status = -1, i;
    pid_t pid[2];
    char b;

    assert_int_equal(pipe(told) + pipe(go), 0);
    cc_migrate_use(slow);
    for (i = 0; i < 2; i++)
        if ((pid[i] = fork()) == 0)
            open_and_exit(f);
    assert_int_equal(read(told[0], &b, 1), 1);
    while (!has_open(pid[0], "open.lock") || !has_open(pid[1], "open.lock"))
        poll(NULL, 0, 1);
    assert_int_equal(write(go[1], "x", 1), 1);
    for (i = 0; i < 2; i++) {
        assert_int_equal(waitpid(pid[i], &status, 0), pid[i]);
        assert_int_equal(status, 0);
    }
    for (i = 0; i < 2; i++)
        close(told[i]), close(go[i]);
    opened(f);
    verified(f, 7, 5);
}

/* An older program has it open: it would go on writing as it knows. */
static void open_elsewhere_stays_as_it_is(void **state)
{
    struct fix *f = *state;
    struct cc_err err = { .message = "" };
    MDB_env *env;
    char path[128], b;
    int status;
    pid_t pid;

    assert_int_equal(pipe(told), 0);
    snprintf(path, sizeof(path), "%s/store", f->dir);
    if ((pid = fork()) == 0) {
        if (mdb_env_create(&env) || mdb_env_open(env, path, MDB_NOTLS, 0600) || write(told[1], "x", 1) != 1)
            _exit(1);
        pause();
    }
    assert_int_equal(read(told[0], &b, 1), 1);
    assert_int_equal(fix_open(f, &err), CC_E_EXISTS);
    assert_non_null(strstr(err.message, "is of an older cchost and open in another process"));
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    close(told[0]), close(told[1]);
    assert_int_equal(schema_of(f), 1);
    opened(f);
    verified(f, 7, 5);
}

/* ---- trimming */

struct trimmed {
    int calls, code;
    uint64_t n;
};

static void on_trimmed(void *arg, int code, uint64_t n, const struct cc_err *err)
{
    struct trimmed *t = arg;

    (void)err;
    *t = (struct trimmed){ t->calls + 1, code, n };
}

static uint64_t trim(struct fix *f, const uint64_t *seqs, size_t n)
{
    struct trimmed t = { .calls = 0 };

    assert_non_null(cc_store_trim(f->store, seqs, n, on_trimmed, &t, NULL));
    while (!t.calls)
        uv_run(&f->loop, UV_RUN_ONCE);
    assert_int_equal(t.calls, 1);
    assert_int_equal(t.code, CC_OK);
    return t.n;
}

static void grow_log(struct fix *f, int n)
{
    struct cc_txn *t = cc_txn_begin(f->store, NULL);

    while (n-- > 0)
        increment(t, "n", "x");
    assert_int_equal(commit(f, t), CC_OK);
}

static void trimmed_log_is_provable(void **state)
{
    struct fix *f = *state;
    const uint64_t some[] = { 1, 3, 3, 4, 99, 0, UINT64_MAX }, all[] = { 1, 2, 3, 4 };

    grow_log(f, 4);
    assert_int_equal(trim(f, some, 7), 3);
    assert_string_equal(whole_log(f), "1.counted:- 2.counted:2 3.counted:- 4.counted:- ");
    verified(f, 4, 1);
    grow_log(f, 1);
    assert_int_equal(trim(f, all, 4), 1);
    fix_close(f);
    opened(f);
    assert_string_equal(whole_log(f), "1.counted:- 2.counted:- 3.counted:- 4.counted:- 5.counted:5 ");
    verified(f, 5, 1);
}

static void old_entries_are_left(void **state)
{
    struct fix *f = *state;
    const uint64_t all[] = { 1, 2, 3, 4, 5, 6, 7, 8 };

    opened(f);
    grow_log(f, 1);
    assert_int_equal(trim(f, all, 8), 1);
    assert_non_null(strstr(whole_log(f), "6.changed:{\"n\":10} 7.deleted:{} 8.counted:- "));
    verified(f, 8, 6);
}

/* Neither the digest in place of the data nor the word that it is one can be changed unseen. */
static void forged_trims_are_found(void **state)
{
    struct fix *f = *state;
    const uint64_t second[] = { 2 };
    struct cc_verified v;
    uint8_t key[8], b[256];
    MDB_val old;
    MDB_txn *t;
    size_t at;
    int i;

    grow_log(f, 3);
    assert_int_equal(trim(f, second, 1), 1);
    verified(f, 3, 1);
    for (i = 0; i < 3; i++) {
        assert_int_equal(cc_db_write_begin(&f->store->db, &t), 0);
        cc_put64(key, i == 2 ? 3 : 2);
        assert_int_equal(cc_db_get(&f->store->db, t, T_LOG, SLICE(key, 8), &old), 0);
        assert_true(old.mv_size <= sizeof(b));
        memcpy(b, old.mv_data, old.mv_size);
        at = i == 0 ? old.mv_size - 1 : 38; /* the digest; not trimmed; trimmed */
        b[at] ^= 1;
        assert_int_equal(cc_db_put(&f->store->db, t, T_LOG, SLICE(key, 8), SLICE(b, old.mv_size)), 0);
        assert_int_equal(cc_db_write_finish(&f->store->db, t, true), 0);
        assert_int_equal(cc_store_verify(f->store, &v, NULL, NULL, NULL), CC_E_CORRUPT);
        assert_int_equal(v.broken, i == 2 ? 3 : 2);
        b[at] ^= 1;
        assert_int_equal(cc_db_write_begin(&f->store->db, &t), 0);
        assert_int_equal(cc_db_put(&f->store->db, t, T_LOG, SLICE(key, 8), SLICE(b, old.mv_size)), 0);
        assert_int_equal(cc_db_write_finish(&f->store->db, t, true), 0);
        verified(f, 3, 1);
    }
}

/* More than one group, beside updates that go on; and one that is cancelled on its way. */
static void trims_in_groups(void **state)
{
    enum { N = 1000 };
    struct fix *f = *state;
    struct trimmed all = { .calls = 0 }, never = { .calls = 0 };
    uint64_t seqs[N], i;
    struct cc_trim *t;

    for (i = 0; i < N; i++)
        seqs[i] = i + 1;
    grow_log(f, N);
    t = cc_store_trim(f->store, seqs, N, on_trimmed, &never, NULL);
    assert_non_null(t);
    cc_store_trim_cancel(t);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_non_null(cc_store_trim(f->store, seqs, N, on_trimmed, &all, NULL));
    while (!all.calls)
        grow_log(f, 1);
    assert_int_equal(all.n, N - 256);
    assert_int_equal(never.calls, 0);
    verified(f, (uint64_t)value_of(f, "n", "x"), 1);
}

/* A commit that fails is told, and the next try does what is left. */
static void failed_trim_is_told(void **state)
{
    struct fix *f = *state;
    struct trimmed t = { .calls = 0 };
    const uint64_t one[] = { 1 };

    grow_log(f, 1);
    cc_store_fail_next(f->store, ENOSPC);
    assert_non_null(cc_store_trim(f->store, one, 1, on_trimmed, &t, NULL));
    while (!t.calls)
        uv_run(&f->loop, UV_RUN_ONCE);
    assert_int_equal(t.code, CC_E_FULL);
    assert_int_equal(t.n, 0);
    assert_int_equal(trim(f, one, 1), 1);
    verified(f, 1, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define OLD(fn) cmocka_unit_test_setup_teardown(fn, old_setup, old_teardown)
#define T(fn) cmocka_unit_test_setup_teardown(fn, fix_setup, fix_teardown)
        OLD(old_store_is_brought_up_to_date),
        OLD(failed_step_changes_nothing),
        OLD(step_gets_room),
        OLD(schema_without_steps_was_accepted),
        OLD(killed_step_changes_nothing),
        OLD(second_opener_waits_for_the_first),
        OLD(open_elsewhere_stays_as_it_is),
        OLD(old_entries_are_left),
        T(trimmed_log_is_provable),
        T(forged_trims_are_found),
        T(trims_in_groups),
        T(failed_trim_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
