/* test_store_disk.c - what the disk and other processes do to a store: growth, kill -9, second writers, broken files. */
#include "store/store_internal.h"
#include "tests/unit/test_store.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Found by reading: a short file was lengthened by allocating its end, so a full disk kept a store from being opened.
 * Here no disk has room to allocate. */
int fallocate(int fd, int mode, off_t at, off_t len)
{
    (void)fd, (void)mode, (void)at, (void)len;
    errno = ENOSPC;
    return -1;
}

/* The child that reads a short file stops here, when it is to: it says who it is, and would be ended by its alarm. */
static atomic_int *stopped_child;

int setrlimit(__rlimit_resource_t what, const struct rlimit *limit)
{
    if (what == RLIMIT_CORE && stopped_child) {
        atomic_store(stopped_child, getpid());
        alarm(20);
        pause();
    }
    return (int)syscall(SYS_prlimit64, 0, what, limit, NULL);
}

static char *file_in(struct fix *f, const char *name)
{
    static char path[128];

    snprintf(path, sizeof(path), "%s/%s", f->dir, name);
    return path;
}

static void reopen(struct fix *f)
{
    struct cc_err err = { .message = "" };

    fix_close(f);
    if (fix_open(f, &err))
        fail_msg("%s", err.message);
}

static void verified(struct fix *f)
{
    struct cc_verified v;
    struct cc_err err;

    if (cc_store_verify(f->store, &v, NULL, NULL, &err))
        fail_msg("%s", err.message);
}

/* One increment, again and again until it is in; after some tries with the turn. */
struct again {
    struct fix *f;
    const char *id;
    int tries, code;
    bool done;
};

static void on_again(void *arg, int code, const struct cc_err *err);

static void with_turn(void *arg)
{
    struct again *a = arg;
    struct cc_txn *t = cc_txn_begin(a->f->store, a);

    increment(t, "n", a->id);
    a->code = cc_txn_submit(t, on_again, a, NULL);
    a->done = a->code != CC_OK;
}

static void on_again(void *arg, int code, const struct cc_err *err)
{
    struct again *a = arg;

    (void)err;
    a->code = code;
    a->done = code != CC_E_CONFLICT;
    if (!a->done && ++a->tries < 4)
        with_turn(a);
    else if (!a->done)
        cc_store_turn(a->f->store, with_turn, a);
}

static int increment_once(struct fix *f, const char *id)
{
    struct again a = { .f = f, .id = id };

    with_turn(&a);
    while (!a.done)
        uv_run(&f->loop, UV_RUN_ONCE);
    return a.code;
}

/* ---- files and modes */

static void modes_are_private(void **state)
{
    struct fix *f = *state;
    struct stat st;

    assert_int_equal(stat(file_in(f, "store"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(stat(file_in(f, "store/data.mdb"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(stat(file_in(f, "serve.lock"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void state_survives_reopening(void **state)
{
    struct fix *f = *state;
    struct cc_txn *t = cc_txn_begin(f->store, NULL);
    uint64_t rev = cc_txn_rev(t);

    increment(t, "n", "x");
    assert_int_equal(commit(f, t), CC_OK);
    reopen(f);
    assert_int_equal(value_of(f, "n", "x"), 1);
    t = cc_txn_begin(f->store, NULL);
    assert_true(cc_txn_rev(t) > rev); /* a block of its own */
    increment(t, "n", "x");
    assert_int_equal(commit(f, t), CC_OK);
    verified(f);
}

static void revisions_never_run_out(void **state)
{
    struct fix *f = *state;
    uint64_t old = f->store->rev_end, rev;
    struct cc_txn *t;

    f->store->rev_next = f->store->rev_end - 2;
    t = cc_txn_begin(f->store, NULL);
    increment(t, "n", "x");
    assert_int_equal(commit(f, t), CC_OK);
    while (!f->store->rev_spare)
        uv_run(&f->loop, UV_RUN_ONCE);
    t = cc_txn_begin(f->store, NULL);
    assert_true(cc_txn_rev(t) < old);
    cc_txn_abort(t);
    t = cc_txn_begin(f->store, NULL);
    rev = cc_txn_rev(t);
    increment(t, "n", "x");
    assert_int_equal(commit(f, t), CC_OK);
    assert_true(rev >= old);
}

/* ---- growth */

static void grow_by(struct fix *f, int records, size_t bytes)
{
    struct done d[16];
    char *text = malloc(bytes), id[32];
    int i, k;

    memset(text, 'x', bytes);
    for (i = 0; i < records; i += 16) {
        for (k = 0; k < 16; k++) {
            struct cc_txn *t = cc_txn_begin(f->store, NULL);

            snprintf(id, sizeof(id), "%d-%d", i, k);
            cc_txn_put(t, "big", S(id), (struct cc_slice){ text, bytes }, NULL);
            increment(t, "n", "count");
            d[k].calls = 0;
            assert_int_equal(cc_txn_submit(t, on_done, &d[k], NULL), CC_OK);
        }
        for (k = 0; k < 16; k++) {
            wait_done(f, &d[k]);
            assert_int_equal(d[k].code, CC_OK);
        }
    }
    free(text);
}

static void map_grows_under_load(void **state)
{
    struct fix *f = *state;
    struct cc_store_opts o = fix_opts(f);
    struct cc_store_stats st;

    fix_close(f);
    o.map_mib = 1;
    assert_int_equal(cc_store_open(&o, &f->store, NULL), CC_OK);
    cc_store_stats(f->store, &st);
    assert_int_equal(st.map_bytes, 1 << 20);
    grow_by(f, 640, 30000);
    assert_int_equal(value_of(f, "n", "count"), 640);
    cc_store_stats(f->store, &st);
    assert_true(st.map_bytes >= 16 << 20);
    verified(f);
    reopen(f);
    assert_int_equal(value_of(f, "n", "count"), 640);
}

/* What cannot grow is full: nothing is acknowledged, reading goes on, and it works again after deletion. */
static void full_map_fails_cleanly(void **state)
{
    struct fix *f = *state;
    struct cc_store_opts o = fix_opts(f);
    char *text = calloc(1, 400000);
    char id[16];
    struct cc_txn *t;
    int i, rc;

    fix_close(f);
    o.map_mib = 1;
    o.map_max_mib = 2;
    assert_int_equal(cc_store_open(&o, &f->store, NULL), CC_OK);
    memset(text, 'x', 400000);
    for (i = 0, rc = CC_OK; rc == CC_OK; i++) {
        t = cc_txn_begin(f->store, NULL);
        snprintf(id, sizeof(id), "%d", i);
        cc_txn_put(t, "big", S(id), (struct cc_slice){ text, 400000 }, NULL);
        rc = commit(f, t);
    }
    free(text);
    assert_int_equal(rc, CC_E_FULL);
    assert_true(i > 2 && i < 10);
    t = cc_txn_begin(f->store, NULL);
    assert_true(cc_txn_del(t, "big", S("0")));
    assert_int_equal(commit(f, t), CC_OK);
    assert_int_equal(increment_once(f, "x"), CC_OK);
}

/* A write that the system itself refuses (here by a limit on file size), not an injected one. */
static void refused_writes_fail_cleanly(void **state)
{
    struct fix *f = *state;
    struct rlimit old, small;
    char *text = malloc(1 << 20);
    struct cc_txn *t;
    struct stat st;
    int rc;

    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(increment_once(f, "x"), CC_OK);
    assert_int_equal(stat(file_in(f, "store/data.mdb"), &st), 0);
    getrlimit(RLIMIT_FSIZE, &old);
    small = old;
    small.rlim_cur = (rlim_t)st.st_size + 8192;
    memset(text, 'x', 1 << 20);
    t = cc_txn_begin(f->store, NULL);
    cc_txn_put(t, "big", S("a"), (struct cc_slice){ text, 1 << 20 }, NULL);
    free(text);
    setrlimit(RLIMIT_FSIZE, &small);
    rc = commit(f, t);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_true(rc == CC_E_FULL || rc == CC_E_IO); /* a short write has no errno */
    assert_int_equal(increment_once(f, "x"), CC_OK);
    assert_int_equal(value_of(f, "n", "x"), 2);
    verified(f);
}

/* ---- other processes. A child is forked before the parent opens: LMDB must not cross a fork. */

static void child_counts(struct fix *f, int n)
{
    struct cc_store_opts o = { .loop = &f->loop, .dir = f->dir, .map_mib = 1 };

    uv_loop_init(&f->loop);
    if (cc_store_open(&o, &f->store, NULL))
        _exit(2);
    while (n-- > 0)
        if (increment_once(f, "shared"))
            _exit(3);
    cc_store_close(f->store);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    _exit(0);
}

/* Eight writers here and one there on one key: no increment is lost, and the lone one gets through. */
static void two_processes_lose_nothing(void **state)
{
    enum { THERE = 200, HERE = 400, AT_ONCE = 8 };
    struct fix *f = *state;
    struct again a[AT_ONCE];
    int status = -1, left = HERE, i;
    struct cc_err err;
    pid_t pid;

    fix_close(f);
    if ((pid = fork()) == 0)
        child_counts(f, THERE);
    if (fix_open(f, &err))
        fail_msg("%s", err.message);
    memset(a, 0, sizeof(a));
    for (i = 0; i < AT_ONCE; i++)
        a[i].done = true;
    while (left > 0) {
        for (i = 0; i < AT_ONCE && left > 0; i++) {
            if (!a[i].done)
                continue;
            a[i] = (struct again){ .f = f, .id = "shared" };
            with_turn(&a[i]);
            left--;
        }
        uv_run(&f->loop, UV_RUN_ONCE);
    }
    for (i = 0; i < AT_ONCE; i++)
        while (!a[i].done)
            uv_run(&f->loop, UV_RUN_ONCE);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(value_of(f, "n", "shared"), HERE + THERE);
    verified(f);
}

/* Found by review: the loop stood still as long as another process that had grown the file did not end its write. */
static void growth_by_one_who_holds_on_stopped_the_loop(void **state)
{
    struct fix *f = *state;
    struct cc_store_opts o = fix_opts(f);
    struct again a = { .f = f, .id = "x" };
    int status = -1, there[2], here[2];
    struct cc_record r;
    MDB_txn *t;
    pid_t pid;
    char b;

    assert_int_equal(increment_once(f, "x"), CC_OK);
    fix_close(f);
    assert_int_equal(pipe(there) | pipe(here), 0);
    o.map_mib = 1;
    if ((pid = fork()) == 0) {
        o.serve = false;
        uv_loop_init(&f->loop);
        if (read(there[0], &b, 1) != 1 || cc_store_open(&o, &f->store, NULL))
            _exit(2);
        grow_by(f, 160, 30000);
        if (cc_db_write_begin(&f->store->db, &t) || write(here[1], "x", 1) != 1 || read(there[0], &b, 1) != 1)
            _exit(3);
        _exit(cc_db_write_finish(&f->store->db, t, false));
    }
    assert_int_equal(cc_store_open(&o, &f->store, NULL), CC_OK);
    assert_int_equal(cc_store_get(f->store, "n", S("x"), &r), CC_OK);
    with_turn(&a);
    assert_int_equal(write(there[1], "x", 1), 1);
    while (!a.done)
        uv_run(&f->loop, UV_RUN_ONCE);
    assert_int_equal(read(here[0], &b, 1), 1); /* it holds on to the file from here */
    a = (struct again){ .f = f, .id = "x" };
    cc_store_turn(f->store, with_turn, &a);
    while (pthread_rwlock_trywrlock(&f->store->db.lock) == 0) { /* our writer waits for it */
        pthread_rwlock_unlock(&f->store->db.lock);
        poll(NULL, 0, 1);
    }
    assert_int_equal(cc_store_get(f->store, "n", S("x"), &r), CC_E_UNAVAILABLE);
    assert_int_equal(cc_store_get(f->store, "n", S("x"), &r), CC_E_UNAVAILABLE);
    assert_int_equal(write(there[1], "x", 1), 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    while (!a.done)
        uv_run(&f->loop, UV_RUN_ONCE);
    assert_int_equal(a.code, CC_OK);
    assert_int_equal(value_of(f, "n", "x"), 3);
    close(there[0]), close(there[1]), close(here[0]), close(here[1]);
}

#ifndef __SANITIZE_ADDRESS__
static size_t address_space(void)
{
    FILE *f = fopen("/proc/self/statm", "r");
    unsigned long pages = 0;

    assert_non_null(f);
    assert_int_equal(fscanf(f, "%lu", &pages), 1);
    fclose(f);
    return pages * 4096;
}
#endif

/* Found by review: where there was no room to map what another process had grown, the next reading was a crash. */
static void growth_without_room_for_it_was_a_crash(void **state)
{
#ifdef __SANITIZE_ADDRESS__
    (void)state;
    skip(); /* it has an address space of its own */
#else
    struct fix *f = *state;
    struct cc_store_opts o = fix_opts(f);
    struct rlimit old, small;
    int status = -1, go[2], i;
    struct cc_record r;
    pid_t pid;
    char b;

    assert_int_equal(increment_once(f, "x"), CC_OK);
    fix_close(f);
    assert_int_equal(pipe(go), 0);
    if ((pid = fork()) == 0) {
        if (read(go[0], &b, 1) != 1)
            _exit(4);
        uv_loop_init(&f->loop);
        o.serve = false;
        o.map_mib = 1;
        if (cc_store_open(&o, &f->store, NULL))
            _exit(2);
        grow_by(f, 160, 30000);
        cc_store_close(f->store);
        uv_run(&f->loop, UV_RUN_DEFAULT);
        _exit(0);
    }
    o.map_mib = 1;
    assert_int_equal(cc_store_open(&o, &f->store, NULL), CC_OK);
    assert_int_equal(write(go[1], "x", 1), 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(getrlimit(RLIMIT_AS, &old), 0);
    small = old;
    small.rlim_cur = address_space() + (1 << 20);
    assert_int_equal(setrlimit(RLIMIT_AS, &small), 0);
    for (i = 0; i < 3; i++)
        assert_int_not_equal(cc_store_get(f->store, "n", S("x"), &r), CC_OK);
    assert_int_equal(setrlimit(RLIMIT_AS, &old), 0);
    assert_int_equal(value_of(f, "n", "x"), 1);
    assert_int_equal(increment_once(f, "x"), CC_OK);
    close(go[0]);
    close(go[1]);
#endif
}

/* What another process grew is followed, for reading as for writing. */
static void growth_elsewhere_is_followed(void **state)
{
    struct fix *f = *state;
    struct cc_store_opts o = fix_opts(f);
    int status = -1, go[2];
    pid_t pid;
    char b;

    fix_close(f);
    assert_int_equal(pipe(go), 0);
    if ((pid = fork()) == 0) {
        if (read(go[0], &b, 1) != 1)
            _exit(4);
        uv_loop_init(&f->loop);
        o.serve = false;
        o.map_mib = 1;
        if (cc_store_open(&o, &f->store, NULL))
            _exit(2);
        grow_by(f, 160, 30000);
        cc_store_close(f->store);
        uv_run(&f->loop, UV_RUN_DEFAULT);
        _exit(0);
    }
    o.map_mib = 1;
    assert_int_equal(cc_store_open(&o, &f->store, NULL), CC_OK);
    assert_int_equal(write(go[1], "x", 1), 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(value_of(f, "n", "count"), 160);
    assert_int_equal(increment_once(f, "count"), CC_OK);
    assert_int_equal(value_of(f, "n", "count"), 161);
    close(go[0]);
    close(go[1]);
}

/* A child tells each number that was acknowledged to it, until it is killed. All of them must be there. */
static void kill_9_loses_nothing(void **state)
{
    struct fix *f = *state;
    int told[2], status, n = 0, last = 0, round;
    struct cc_store_opts o = fix_opts(f);
    pid_t pid;

    for (round = 0; round < 3; round++) {
        fix_close(f);
        assert_int_equal(pipe(told), 0);
        if ((pid = fork()) == 0) {
            uv_loop_init(&f->loop);
            if (cc_store_open(&o, &f->store, NULL))
                _exit(2);
            for (n = last + 1;; n++)
                if (increment_once(f, "told") || write(told[1], &n, sizeof(n)) != sizeof(n))
                    _exit(3);
        }
        close(told[1]);
        while (last < 100 * (round + 1) && read(told[0], &last, sizeof(last)) == sizeof(last))
            ;
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        while (read(told[0], &n, sizeof(n)) == sizeof(n))
            last = n;
        close(told[0]);
        assert_int_equal(cc_store_open(&o, &f->store, NULL), CC_OK);
        assert_true(value_of(f, "n", "told") >= last); /* one more may be in, not yet told */
        assert_true(value_of(f, "n", "told") <= last + 1);
        last = (int)value_of(f, "n", "told");
        verified(f);
    }
}

/* ---- refusals */

static void second_serve_is_refused(void **state)
{
    struct fix *f = *state;
    struct cc_store_opts o = fix_opts(f);
    struct cc_err err = { .message = "" };
    int status, held[2];
    pid_t pid;
    char b, want[128];

    assert_int_equal(cc_store_open(&o, &f->store, &err), CC_E_EXISTS); /* the same process */
    assert_non_null(strstr(err.message, "open in this process"));
    fix_close(f);
    assert_int_equal(pipe(held), 0);
    if ((pid = fork()) == 0) {
        uv_loop_init(&f->loop);
        if (cc_store_open(&o, &f->store, NULL) || write(held[1], "x", 1) != 1)
            _exit(2);
        pause();
    }
    assert_int_equal(read(held[0], &b, 1), 1);
    assert_int_equal(fix_open(f, &err), CC_E_EXISTS);
    snprintf(want, sizeof(want), "another cchost serve (pid %d) is running on %s", (int)pid, f->dir);
    assert_string_equal(err.message, want);
    o.serve = false; /* a script may */
    assert_int_equal(cc_store_open(&o, &f->store, &err), CC_OK);
    assert_int_equal(increment_once(f, "x"), CC_OK);
    fix_close(f);
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    assert_int_equal(fix_open(f, &err), CC_OK); /* its lock died with it */
    close(held[0]);
    close(held[1]);
}

static void set_meta(struct fix *f, const char *key, struct cc_slice value)
{
    MDB_txn *t;

    assert_int_equal(cc_db_write_begin(&f->store->db, &t), 0);
    assert_int_equal(cc_db_put(&f->store->db, t, T_META, S(key), value), 0);
    assert_int_equal(cc_db_write_finish(&f->store->db, t, true), 0);
    fix_close(f);
}

static void newer_schema_is_refused(void **state)
{
    struct fix *f = *state;
    struct cc_err err = { .message = "" };
    uint8_t b[8];

    cc_put64(b, CC_STORE_SCHEMA + 1);
    set_meta(f, "schema", SLICE(b, 8));
    assert_int_equal(fix_open(f, &err), CC_E_UNSUPPORTED);
    assert_non_null(strstr(err.message, "written by a newer cchost (schema 3, this one knows 2)"));
    f->store = NULL;
}

static void others_data_is_refused(void **state)
{
    struct fix *f = *state;
    struct cc_err err = { .message = "" };
    MDB_env *env;
    MDB_txn *t;
    MDB_dbi dbi;
    MDB_val v = { 1, "x" };

    set_meta(f, "format", S("something else"));
    assert_int_equal(fix_open(f, &err), CC_E_CORRUPT);
    assert_non_null(strstr(err.message, "is not a store of cchost"));

    assert_int_equal(unlink(file_in(f, "store/data.mdb")), 0); /* LMDB, with other tables */
    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_open(env, file_in(f, "store"), 0, 0600), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, 0, &t), 0);
    assert_int_equal(mdb_dbi_open(t, NULL, 0, &dbi), 0);
    assert_int_equal(mdb_put(t, dbi, &v, &v, 0), 0);
    assert_int_equal(mdb_txn_commit(t), 0);
    mdb_env_close(env);
    err.message[0] = '\0';
    assert_int_equal(fix_open(f, &err), CC_E_CORRUPT);
    assert_non_null(strstr(err.message, "is not a store of cchost"));
    f->store = NULL;
}

static void write_file(const char *path, const void *data, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, len), len);
    close(fd);
}

static void garbage_is_refused(void **state)
{
    struct fix *f = *state;
    struct cc_err err = { .message = "" };
    uint8_t junk[20000];
    size_t i;

    fix_close(f);
    for (i = 0; i < sizeof(junk); i++)
        junk[i] = (uint8_t)(i * 7 + 13);
    write_file(file_in(f, "store/data.mdb"), junk, sizeof(junk));
    assert_int_equal(fix_open(f, &err), CC_E_CORRUPT);
    assert_non_null(strstr(err.message, "is broken, or not a store of cchost"));
    write_file(file_in(f, "store/data.mdb"), "short", 5);
    assert_int_equal(fix_open(f, &err), CC_E_CORRUPT);
    f->store = NULL;
}

static off_t size_of(struct fix *f)
{
    struct stat st;

    assert_int_equal(stat(file_in(f, "store/data.mdb"), &st), 0);
    return st.st_size;
}

/* A large value that is deleted in the group that made it leaves pages that are never written; when they
 * were the last, the file is shorter than it says and yet whole. */
static void leave_end_unwritten(struct fix *f)
{
    struct done d[2] = { { .calls = 0 } };
    char *text = malloc(200000);
    struct cc_txn *t;
    int i;

    for (i = 0; i < 10; i++)
        assert_int_equal(increment_once(f, "x"), CC_OK); /* the engine has pages to use again */
    memset(text, 'x', 200000);
    t = cc_txn_begin(f->store, NULL);
    cc_txn_put(t, "big", S("a"), (struct cc_slice){ text, 200000 }, NULL);
    assert_int_equal(cc_txn_submit(t, on_done, &d[0], NULL), CC_OK);
    t = cc_txn_begin(f->store, NULL);
    assert_true(cc_txn_del(t, "big", S("a")));
    assert_int_equal(cc_txn_submit(t, on_done, &d[1], NULL), CC_OK);
    wait_done(f, &d[0]);
    wait_done(f, &d[1]);
    free(text);
}

static void unwritten_end_is_no_fault(void **state)
{
    struct fix *f = *state;
    MDB_envinfo info;
    int status;
    pid_t pid;

    leave_end_unwritten(f);
    mdb_env_info(f->store->db.env, &info);
    assert_true(size_of(f) < (off_t)(info.me_last_pgno + 1) * 4096); /* it is so */
    if ((pid = fork()) == 0)
        _exit(cc_file_check(f->store->db.path, NULL) ? 1 : 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_true(size_of(f) < (off_t)(info.me_last_pgno + 1) * 4096); /* not touched while we have it open */
    reopen(f);
    assert_true(size_of(f) >= (off_t)(info.me_last_pgno + 1) * 4096);
    assert_int_equal(increment_once(f, "x"), CC_OK);
    assert_int_equal(value_of(f, "n", "x"), 11);
    verified(f);
}

/* The same, with data in it: whatever the cut, it is refused and nothing crashes. */
static void lost_end_is_refused(void **state)
{
    struct fix *f = *state;
    struct cc_err err;
    off_t size;
    int i;

    grow_by(f, 160, 2000);
    fix_close(f);
    size = size_of(f);
    for (i = 19; i > 0; i--) {
        assert_int_equal(truncate(file_in(f, "store/data.mdb"), size * i / 20), 0);
        err.message[0] = '\0';
        assert_int_equal(fix_open(f, &err), CC_E_CORRUPT);
        assert_non_null(strstr(err.message, "is broken"));
        assert_int_equal(size_of(f), size * i / 20);
    }
    f->store = NULL;
}

/* Found by review: the file was lengthened before it was checked, so a check that did not come to its end left a broken store that
 * nobody looked at again. */
static void killed_check_let_a_broken_store_in(void **state)
{
    struct fix *f = *state;
    struct cc_err err = { .message = "" };
    pid_t parent, child;
    int status;
    off_t size;

    grow_by(f, 160, 2000);
    fix_close(f);
    size = size_of(f) / 2;
    assert_int_equal(truncate(file_in(f, "store/data.mdb"), size), 0);
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    stopped_child = mmap(NULL, sizeof(*stopped_child), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(stopped_child != MAP_FAILED);
    if ((parent = fork()) == 0)
        _exit(fix_open(f, NULL) != CC_OK);
    while ((child = atomic_load(stopped_child)) == 0)
        poll(NULL, 0, 1);
    kill(parent, SIGKILL);
    assert_int_equal(waitpid(parent, &status, 0), parent);
    assert_int_equal(waitpid(child, &status, 0), child);
    munmap(stopped_child, sizeof(*stopped_child));
    stopped_child = NULL;
    assert_int_equal(size_of(f), size);
    assert_int_equal(fix_open(f, &err), CC_E_CORRUPT);
    assert_non_null(strstr(err.message, "is broken"));
    f->store = NULL;
}

/* Found by review: whose parent ignores the end of children gave that on to cchost, which then knew no child's end and called a good
 * store broken. A child that somebody else ends says nothing of the file either. */
static void unknown_end_of_the_check_was_a_fault_of_the_store(void **state)
{
    struct fix *f = *state;
    struct cc_err err = { .message = "" };
    pid_t parent, child;
    int status;

    leave_end_unwritten(f);
    fix_close(f);
    signal(SIGCHLD, SIG_IGN);
    assert_int_equal(fix_open(f, &err), CC_E_IO);
    assert_non_null(strstr(err.message, "no process could check it"));
    signal(SIGCHLD, SIG_DFL);

    stopped_child = mmap(NULL, sizeof(*stopped_child), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(stopped_child != MAP_FAILED);
    if ((parent = fork()) == 0)
        _exit(fix_open(f, &err) != CC_E_IO || !strstr(err.message, "ended by signal 9; try again"));
    while ((child = atomic_load(stopped_child)) == 0)
        poll(NULL, 0, 1);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(parent, &status, 0), parent);
    assert_int_equal(status, 0);
    munmap(stopped_child, sizeof(*stopped_child));
    stopped_child = NULL;
    if (fix_open(f, &err))
        fail_msg("%s", err.message);
    assert_int_equal(value_of(f, "n", "x"), 10);
}

/* Whether the process has such a file open. */
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

/* Found by review: the child that reads a short file had the locks, and lived on when its parent was killed. */
static void checking_child_kept_the_locks(void **state)
{
    struct fix *f = *state;
    pid_t parent, child;
    int status;

    leave_end_unwritten(f);
    fix_close(f);
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0); /* the child becomes ours */
    stopped_child = mmap(NULL, sizeof(*stopped_child), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(stopped_child != MAP_FAILED);
    if ((parent = fork()) == 0)
        _exit(fix_open(f, NULL) != CC_OK);
    while ((child = atomic_load(stopped_child)) == 0)
        poll(NULL, 0, 1);
    assert_true(has_open(parent, "serve.lock") && has_open(parent, "open.lock"));
    assert_false(has_open(child, "serve.lock") || has_open(child, "open.lock"));
    kill(parent, SIGKILL);
    assert_int_equal(waitpid(parent, &status, 0), parent);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    munmap(stopped_child, sizeof(*stopped_child));
    stopped_child = NULL;
    reopen(f);
    assert_int_equal(value_of(f, "n", "x"), 10);
}

enum { META_LAST_PAGE = 136, META_BYTES = 152 };

/* In both meta pages, so in the one that counts. */
static void set_last_page(struct fix *f, uint64_t old, uint64_t last)
{
    int fd = open(file_in(f, "store/data.mdb"), O_RDWR), i;
    uint64_t now;

    assert_true(fd >= 0);
    for (i = 0; i < 2; i++) {
        assert_int_equal(pread(fd, &now, 8, i * 4096 + META_LAST_PAGE), 8);
        if (now == old)
            assert_int_equal(pwrite(fd, &last, 8, i * 4096 + META_LAST_PAGE), 8);
    }
    close(fd);
}

/* Found by review: one flipped bit in the number of the last page, and the file became 256 GiB long, or was not
 * looked at because the length overflowed; either way it was opened. */
static void flipped_last_page_was_opened(void **state)
{
    static const uint64_t bits[] = { 1 << 8, 1 << 12, 0x4000000, (uint64_t)1 << 52, (uint64_t)1 << 63 };
    struct fix *f = *state;
    struct cc_err err;
    MDB_envinfo info;
    uint64_t last;
    off_t size;
    size_t i;

    assert_int_equal(increment_once(f, "x"), CC_OK);
    mdb_env_info(f->store->db.env, &info);
    last = info.me_last_pgno;
    fix_close(f);
    size = size_of(f);
    for (i = 0; i <= sizeof(bits) / sizeof(bits[0]); i++) {
        uint64_t wrong = i == sizeof(bits) / sizeof(bits[0]) ? UINT64_MAX : last ^ bits[i];

        set_last_page(f, last, wrong);
        assert_int_equal(fix_open(f, &err), CC_E_CORRUPT);
        assert_non_null(strstr(err.message, "restore a backup"));
        assert_int_equal(size_of(f), size);
        set_last_page(f, wrong, last);
    }
    reopen(f);
    assert_int_equal(value_of(f, "n", "x"), 1);
}

/* ---- the log's own proof */

/* Changes one byte after `mark` wherever the file has it: old pages may hold copies. */
static int flip(struct fix *f, const char *mark)
{
    int fd = open(file_in(f, "store/data.mdb"), O_RDWR), found = 0;
    struct stat st;
    char *all, *at;
    size_t n;

    assert_true(fd >= 0 && fstat(fd, &st) == 0);
    n = (size_t)st.st_size;
    all = malloc(n);
    assert_int_equal(pread(fd, all, n, 0), st.st_size);
    for (at = all; (at = memmem(at, n - (size_t)(at - all), mark, strlen(mark))); at++, found++)
        assert_int_equal(pwrite(fd, "?", 1, at - all + (off_t)strlen(mark) - 1), 1);
    free(all);
    close(fd);
    return found;
}

static void flipped_byte_is_found(void **state)
{
    struct fix *f = *state;
    struct cc_verified v;
    struct cc_err err = { .message = "" };
    struct cc_txn *t;
    char data[32];
    int i;

    for (i = 1; i <= 40; i++) {
        t = cc_txn_begin(f->store, NULL);
        cc_txn_put(t, "n", S(i % 2 ? "odd" : "even"), S("1"), NULL);
        snprintf(data, sizeof(data), "{\"mark\":\"entry-%d.\"}", i);
        cc_txn_log(t, "n", S(i % 2 ? "odd" : "even"), S("made"), S("me"), S(data));
        assert_int_equal(commit(f, t), CC_OK);
    }
    assert_int_equal(cc_store_verify(f->store, &v, NULL, NULL, &err), CC_OK);
    assert_int_equal(v.entries, 40);
    assert_int_equal(v.objects, 2);
    fix_close(f);
    assert_true(flip(f, "entry-23.") > 0);
    if (fix_open(f, &err))
        fail_msg("%s", err.message);
    assert_int_equal(cc_store_verify(f->store, &v, NULL, NULL, &err), CC_E_CORRUPT);
    assert_string_equal(err.message, "log entry 23: does not match its hash");
    assert_int_equal(v.broken, 23);
}

/* Entries cut off at the end, or taken out of the middle. */
static void missing_entries_are_found(void **state)
{
    struct fix *f = *state;
    struct cc_verified v;
    struct cc_err err;
    uint8_t key[8];
    MDB_txn *t;
    int i;

    for (i = 0; i < 10; i++)
        assert_int_equal(increment_once(f, "x"), CC_OK);
    assert_int_equal(cc_db_write_begin(&f->store->db, &t), 0);
    cc_put64(key, 10);
    assert_int_equal(cc_db_del(&f->store->db, t, T_LOG, SLICE(key, 8)), 0);
    assert_int_equal(cc_db_write_finish(&f->store->db, t, true), 0);
    assert_int_equal(cc_store_verify(f->store, &v, NULL, NULL, &err), CC_E_CORRUPT);
    assert_non_null(strstr(err.message, "log entry 10: missing"));
    assert_int_equal(cc_db_write_begin(&f->store->db, &t), 0);
    cc_put64(key, 4);
    assert_int_equal(cc_db_del(&f->store->db, t, T_LOG, SLICE(key, 8)), 0);
    assert_int_equal(cc_db_write_finish(&f->store->db, t, true), 0);
    assert_int_equal(cc_store_verify(f->store, &v, NULL, NULL, &err), CC_E_CORRUPT);
    assert_string_equal(err.message, "log entry 4: missing");
}

static bool see_nothing(void *arg, const struct cc_entry *e);

/* Found by review: a history whose newest entry is gone was an empty one, and no fault. */
static void history_hid_that_its_newest_entry_is_gone(void **state)
{
    struct fix *f = *state;
    uint8_t key[8];
    MDB_txn *t;
    int i;

    for (i = 0; i < 3; i++)
        assert_int_equal(increment_once(f, "x"), CC_OK);
    assert_int_equal(cc_store_history(f->store, "n", S("none"), 10, see_nothing, NULL), CC_OK);
    assert_int_equal(cc_store_history(f->store, "n", S("x"), 10, see_nothing, NULL), CC_OK);
    assert_int_equal(cc_db_write_begin(&f->store->db, &t), 0);
    cc_put64(key, 3);
    assert_int_equal(cc_db_del(&f->store->db, t, T_LOG, SLICE(key, 8)), 0);
    assert_int_equal(cc_db_write_finish(&f->store->db, t, true), 0);
    assert_int_equal(cc_store_history(f->store, "n", S("x"), 10, see_nothing, NULL), CC_E_CORRUPT);
}

static void put_raw(struct fix *f, enum table table, struct cc_slice key, struct cc_slice value)
{
    MDB_txn *t;

    assert_int_equal(cc_db_write_begin(&f->store->db, &t), 0);
    assert_int_equal(cc_db_put(&f->store->db, t, table, key, value), 0);
    assert_int_equal(cc_db_write_finish(&f->store->db, t, true), 0);
}

static bool see_nothing(void *arg, const struct cc_entry *e)
{
    (void)arg, (void)e;
    return true;
}

/* Found by review: a key of the log was read as eight bytes, however short it was. */
static void short_key_of_the_log_was_read(void **state)
{
    struct fix *f = *state;
    struct cc_verified v;

    assert_int_equal(increment_once(f, "x"), CC_OK);
    put_raw(f, T_LOG, SLICE("\xFF\xFF", 2), S("x"));
    assert_int_equal(cc_store_log(f->store, 0, 0, false, see_nothing, NULL), CC_E_CORRUPT);
    assert_int_equal(cc_store_verify(f->store, &v, NULL, NULL, NULL), CC_E_CORRUPT);
    assert_int_equal(v.broken, 2);
    assert_int_equal(increment_once(f, "x"), CC_E_CORRUPT);
}

/* The same of the next revision, which could also pass 2^53. */
static void broken_next_revision_was_used(void **state)
{
    struct fix *f = *state;
    uint8_t b[8];
    uint64_t first = 77;
    MDB_txn *t;
    int i;

    for (i = 0; i < 3; i++) {
        cc_put64(b, i == 1 ? 0 : REV_LAST - REV_BLOCK + 1);
        put_raw(f, T_META, S("next_rev"), SLICE(b, i == 0 ? 3 : 8));
        assert_int_equal(cc_db_write_begin(&f->store->db, &t), 0);
        assert_int_equal(cc_db_take_revisions(&f->store->db, t, &first), CC_E_CORRUPT);
        assert_int_equal(cc_db_write_finish(&f->store->db, t, false), 0);
        assert_int_equal(first, 77);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, fix_setup, fix_teardown)
        T(modes_are_private),
        T(state_survives_reopening),
        T(revisions_never_run_out),
        T(map_grows_under_load),
        T(full_map_fails_cleanly),
        T(refused_writes_fail_cleanly),
        T(two_processes_lose_nothing),
        T(growth_elsewhere_is_followed),
        T(kill_9_loses_nothing),
        T(second_serve_is_refused),
        T(newer_schema_is_refused),
        T(others_data_is_refused),
        T(garbage_is_refused),
        T(unwritten_end_is_no_fault),
        T(lost_end_is_refused),
        T(flipped_byte_is_found),
        T(missing_entries_are_found),
        T(checking_child_kept_the_locks),
        T(flipped_last_page_was_opened),
        T(short_key_of_the_log_was_read),
        T(broken_next_revision_was_used),
        T(killed_check_let_a_broken_store_in),
        T(unknown_end_of_the_check_was_a_fault_of_the_store),
        T(history_hid_that_its_newest_entry_is_gone),
        T(growth_without_room_for_it_was_a_crash),
        T(growth_by_one_who_holds_on_stopped_the_loop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
