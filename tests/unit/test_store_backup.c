/* test_store_backup.c - copies of a store in use, what is refused as one, and the way back, killed at each of its steps. */
#include "store/store_internal.h"
#include "tests/unit/test_store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- the calls that change names or make them durable, counted; the process dies instead of the n-th */

static atomic_int calls;
static int die_at;

static void count_call(void)
{
    if (atomic_fetch_add(&calls, 1) + 1 == die_at)
        kill(getpid(), SIGKILL);
}

int fsync(int fd)
{
    count_call();
    return (int)syscall(SYS_fsync, fd);
}

int rename(const char *from, const char *to)
{
    count_call();
    return (int)syscall(SYS_rename, from, to);
}

int renameat2(int d1, const char *from, int d2, const char *to, unsigned flags)
{
    count_call();
    return (int)syscall(SYS_renameat2, d1, from, d2, to, flags);
}

int mkdir(const char *path, mode_t mode)
{
    count_call();
    return (int)syscall(SYS_mkdir, path, mode);
}

ssize_t write(int fd, const void *b, size_t n)
{
    count_call();
    return syscall(SYS_write, fd, b, n);
}

/* ---- helpers */

static char *at(struct fix *f, const char *name)
{
    static char path[4][160];
    static int next;
    char *p = path[next++ & 3];

    snprintf(p, sizeof(path[0]), "%s/%s", f->dir, name);
    return p;
}

static struct cc_backup backed_up(struct fix *f, const char *name)
{
    struct cc_backup b = { 0 };
    struct cc_err err = { .message = "" };

    if (cc_store_backup(f->store, at(f, name), &b, NULL, NULL, &err))
        fail_msg("%s", err.message);
    return b;
}

static int restore(struct fix *f, const char *name, const char *dir, bool force, struct cc_err *err)
{
    struct cc_backup b;

    return cc_store_restore(at(f, name), dir, force, &b, NULL, NULL, err);
}

static void opened(struct fix *f)
{
    struct cc_err err = { .message = "" };

    if (fix_open(f, &err))
        fail_msg("%s", err.message);
}

/* Counts "n left" and "n right" up together. */
static void count_both(struct fix *f)
{
    struct cc_txn *t = cc_txn_begin(f->store, NULL);

    increment(t, "n", "left");
    increment(t, "n", "right");
    assert_int_equal(commit(f, t), CC_OK);
}

static void fill(struct fix *f, size_t bytes)
{
    char *text = malloc(bytes);
    struct cc_txn *t = cc_txn_begin(f->store, NULL);

    memset(text, 'x', bytes);
    cc_txn_put(t, "big", S("a"), (struct cc_slice){ text, bytes }, NULL);
    assert_int_equal(commit(f, t), CC_OK);
    free(text);
}

/* How many names in the folder begin so. */
static int names(struct fix *f, const char *folder, const char *begin)
{
    DIR *d = opendir(at(f, folder));
    struct dirent *e;
    int n = 0;

    assert_non_null(d);
    while ((e = readdir(d)))
        n += strncmp(e->d_name, begin, strlen(begin)) == 0;
    closedir(d);
    return n;
}

/* ---- backup */

struct making {
    struct fix *f;
    struct cc_backup made;
    struct cc_err err;
    atomic_int begun, done;
    int rc, asked;
    bool (*stop)(void *arg);
};

static void *make_backup(void *arg)
{
    struct making *m = arg;

    m->rc = cc_store_backup(m->f->store, at(m->f, "copy"), &m->made, m->stop, m, &m->err);
    atomic_store(&m->done, 1);
    return NULL;
}

static void copy_is_consistent_under_load(void **state)
{
    struct fix *f = *state;
    struct making m = { .f = f, .err = { .message = "" } };
    struct cc_verified v;
    struct stat st;
    pthread_t thread;
    int64_t n;

    fill(f, 2 << 20);
    count_both(f);
    assert_int_equal(pthread_create(&thread, NULL, make_backup, &m), 0);
    while (!atomic_load(&m.done))
        count_both(f);
    pthread_join(thread, NULL);
    if (m.rc)
        fail_msg("%s", m.err.message);
    assert_int_equal(stat(at(f, "copy"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(m.made.bytes, st.st_size);
    assert_int_equal(m.made.log_seq, m.made.entries);
    assert_int_equal(m.made.objects, 2);
    n = value_of(f, "n", "left");
    fix_close(f);
    assert_int_equal(restore(f, "copy", f->dir, true, NULL), CC_OK);
    opened(f);
    assert_true(value_of(f, "n", "left") >= 1 && value_of(f, "n", "left") <= n);
    assert_int_equal(value_of(f, "n", "right"), value_of(f, "n", "left"));
    assert_int_equal(cc_store_verify(f->store, &v, NULL, NULL, NULL), CC_OK);
    assert_int_equal(v.entries, m.made.entries);
    assert_int_equal(names(f, "", "copy"), 1); /* and nothing beside it */
    count_both(f);
}

/* Asked before the first block and the second: then the copy has begun, and goes on when somebody waits for the map. */
static bool until_moving(void *arg)
{
    struct making *m = arg;

    if (++m->asked == 2) {
        atomic_store(&m->begun, 1);
        while (!cc_db_moving(&m->f->store->db))
            poll(NULL, 0, 1);
    }
    return false;
}

static void growing_map_does_not_wait_for_a_backup(void **state)
{
    struct fix *f = *state;
    struct cc_store_opts o = fix_opts(f);
    struct making m = { .f = f, .stop = until_moving, .err = { .message = "" } };
    struct cc_store_stats st;
    pthread_t thread;

    fix_close(f);
    o.map_mib = 1;
    assert_int_equal(cc_store_open(&o, &f->store, NULL), CC_OK);
    fill(f, 500000);
    count_both(f);
    assert_int_equal(pthread_create(&thread, NULL, make_backup, &m), 0);
    while (!atomic_load(&m.begun))
        poll(NULL, 0, 1);
    fill(f, 3 << 20);
    pthread_join(thread, NULL);
    if (m.rc)
        fail_msg("%s", m.err.message);
    cc_store_stats(f->store, &st);
    assert_true(st.map_bytes >= 4 << 20);
    assert_int_equal(m.made.entries, 2);
    fix_close(f);
    assert_int_equal(restore(f, "copy", f->dir, true, NULL), CC_OK);
    opened(f);
    assert_int_equal(value_of(f, "n", "left"), 1);
}

/* Another process copies, again and again, what this one makes grow. */
static void copy_and_exit(struct fix *f, int until_closed)
{
    struct cc_store_opts o = fix_opts(f);
    struct pollfd end = { until_closed, POLLIN, 0 };
    struct cc_backup made;

    o.serve = false;
    o.map_mib = 1;
    if (cc_store_open(&o, &f->store, NULL))
        _exit(1);
    do {
        unlink(at(f, "copy"));
        if (cc_store_backup(f->store, at(f, "copy"), &made, NULL, NULL, NULL))
            _exit(2);
    } while (poll(&end, 1, 0) == 0);
    _exit(0);
}

static void copies_beside_a_growing_process(void **state)
{
    struct fix *f = *state;
    struct cc_store_opts o = fix_opts(f);
    int i, status = -1, ends[2];
    pid_t pid;

    fix_close(f);
    assert_int_equal(pipe(ends), 0);
    if ((pid = fork()) == 0) {
        close(ends[1]);
        copy_and_exit(f, ends[0]);
    }
    close(ends[0]);
    o.map_mib = 1;
    assert_int_equal(cc_store_open(&o, &f->store, NULL), CC_OK);
    for (i = 1; i <= 40; i++) {
        fill(f, (size_t)i * 400000);
        count_both(f);
    }
    close(ends[1]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static bool count_asked(void *arg)
{
    struct making *m = arg;

    atomic_fetch_add(&m->begun, 1);
    return false;
}

static void *verify_it(void *arg)
{
    struct making *m = arg;
    struct cc_verified v;

    m->rc = cc_store_verify(m->f->store, &v, count_asked, m, &m->err);
    atomic_store(&m->done, 1);
    return NULL;
}

/* Who needs the map to move does not wait for a verification either: it only asks whether it should stop. */
static void verification_lets_the_map_move(void **state)
{
    struct fix *f = *state;
    struct making m = { .f = f };
    pthread_t thread;

    count_both(f);
    atomic_fetch_add(&f->store->db.moving, 1);
    assert_int_equal(pthread_create(&thread, NULL, verify_it, &m), 0);
    while (atomic_load(&m.begun) < 5 && !atomic_load(&m.done))
        poll(NULL, 0, 1);
    assert_int_equal(atomic_load(&m.done), 0);
    assert_int_equal(cc_store_reads_open(f->store), 0);
    atomic_fetch_sub(&f->store->db.moving, 1);
    pthread_join(thread, NULL);
    assert_int_equal(m.rc, CC_OK);
}

static bool at_once(void *arg)
{
    (void)arg;
    return true;
}

static void backup_that_fails_leaves_nothing(void **state)
{
    struct fix *f = *state;
    struct rlimit old, small;
    struct cc_backup b;
    struct cc_err err = { .message = "" };

    fill(f, 1 << 20);
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    small = old;
    small.rlim_cur = 300000;
    setrlimit(RLIMIT_FSIZE, &small);
    assert_int_equal(cc_store_backup(f->store, at(f, "copy"), &b, NULL, NULL, &err), CC_E_IO);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_non_null(strstr(err.message, "writing the backup"));
    assert_int_equal(cc_store_backup(f->store, at(f, "copy"), &b, at_once, NULL, &err), CC_E_CANCELLED);
    assert_int_equal(names(f, "", "copy"), 0);
    backed_up(f, "copy");
    assert_int_equal(cc_store_backup(f->store, at(f, "copy"), &b, NULL, NULL, &err), CC_E_EXISTS);
    assert_int_equal(cc_store_backup(f->store, at(f, "no/copy"), &b, NULL, NULL, &err), CC_E_NOT_FOUND);
    assert_int_equal(names(f, "", "copy"), 1);
}

/* ---- what is not a backup */

static void flip(const char *path, off_t where)
{
    int fd = open(path, O_RDWR);
    char b;

    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &b, 1, where), 1);
    b ^= 1;
    assert_int_equal(pwrite(fd, &b, 1, where), 1);
    close(fd);
}

/* Any byte, also those that no hash of the log covers. */
static void flipped_byte_is_refused(void **state)
{
    struct fix *f = *state;
    struct cc_err err;
    struct cc_backup b;
    off_t where;

    count_both(f);
    fill(f, 10000);
    b = backed_up(f, "copy");
    fix_close(f);
    for (where = 0; where < (off_t)b.bytes; where += where < (off_t)b.bytes - 80 ? 997 : 1) {
        if (where >= (off_t)b.bytes - 40 && where < (off_t)b.bytes - 32)
            continue; /* eight bytes that say nothing */
        flip(at(f, "copy"), where);
        err.message[0] = '\0';
        assert_int_equal(restore(f, "copy", f->dir, true, &err), CC_E_CORRUPT);
        assert_non_null(strstr(err.message, "copy is "));
        flip(at(f, "copy"), where);
    }
    assert_int_equal(truncate(at(f, "copy"), (off_t)b.bytes - 1), 0);
    assert_int_equal(restore(f, "copy", f->dir, true, &err), CC_E_CORRUPT);
    assert_int_equal(truncate(at(f, "copy"), 10), 0);
    assert_int_equal(restore(f, "copy", f->dir, true, &err), CC_E_CORRUPT);
    assert_int_equal(restore(f, "none", f->dir, true, &err), CC_E_NOT_FOUND);
    opened(f); /* the store is what it was */
    assert_int_equal(value_of(f, "n", "left"), 1);
}

/* ---- restore */

static void restores_into_a_new_folder(void **state)
{
    struct fix *f = *state;
    struct fix other = { .store = NULL };
    struct stat st;

    count_both(f);
    backed_up(f, "copy");
    fix_close(f);
    strcpy(other.dir, at(f, "new"));
    assert_int_equal(restore(f, "copy", other.dir, false, NULL), CC_OK);
    assert_int_equal(stat(other.dir, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(stat(at(f, "new/store/data.mdb"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(names(f, "new/store", "data.mdb"), 1);
    uv_loop_init(&other.loop);
    opened(&other);
    assert_int_equal(value_of(&other, "n", "right"), 1);
    count_both(&other);
    fix_close(&other);
    assert_int_equal(uv_loop_close(&other.loop), 0);
}

static void restore_keeps_the_old_store(void **state)
{
    struct fix *f = *state;
    struct cc_err err = { .message = "" };
    char cmd[256];

    count_both(f);
    backed_up(f, "copy");
    count_both(f);
    fix_close(f);
    assert_int_equal(restore(f, "copy", f->dir, false, &err), CC_E_EXISTS);
    assert_non_null(strstr(err.message, "holds a store already"));
    assert_int_equal(restore(f, "copy", f->dir, true, NULL), CC_OK);
    opened(f);
    assert_int_equal(value_of(f, "n", "left"), 1);
    fix_close(f);
    assert_int_equal(names(f, "", "store.replaced-"), 1);
    snprintf(cmd, sizeof(cmd), "cd %s && mkdir old && mv store.replaced-* old/store", f->dir);
    assert_int_equal(system(cmd), 0);
    strcat(f->dir, "/old");
    opened(f);
    assert_int_equal(value_of(f, "n", "left"), 2);
    fix_close(f);
    f->dir[strlen(f->dir) - 4] = '\0';
}

/* A child holds it open, as serve or as a script does. */
static void store_in_use_is_not_replaced(void **state)
{
    struct fix *f = *state;
    struct cc_store_opts o = fix_opts(f);
    struct cc_err err = { .message = "" };
    int told[2], status, serve;
    pid_t pid;
    char b;

    count_both(f);
    backed_up(f, "copy");
    fix_close(f);
    for (serve = 0; serve < 2; serve++) {
        o.serve = serve;
        assert_int_equal(pipe(told), 0);
        if ((pid = fork()) == 0) {
            if (cc_store_open(&o, &f->store, NULL) || write(told[1], "x", 1) != 1)
                _exit(1);
            pause();
        }
        assert_int_equal(read(told[0], &b, 1), 1);
        assert_int_equal(restore(f, "copy", f->dir, true, &err), CC_E_EXISTS);
        assert_non_null(strstr(err.message, serve ? "a cchost serve is running" : "is open in another process"));
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        close(told[0]), close(told[1]);
    }
    assert_int_equal(restore(f, "copy", f->dir, true, &err), CC_OK);
    assert_int_equal(names(f, "store", "data.mdb"), 1);
    opened(f);
}

/* Killed before each of its steps: the store is the old one or the new one, and a second try succeeds. */
static void killed_restore_leaves_old_or_new(void **state)
{
    struct fix *f = *state;
    int status, n, was_old = 0, was_new = 0;
    int64_t value;
    pid_t pid;

    count_both(f);
    backed_up(f, "copy");
    fix_close(f);
    for (n = 1;; n++) {
        opened(f);
        while (value_of(f, "n", "left") < 2)
            count_both(f);
        fix_close(f);
        if ((pid = fork()) == 0) {
            calls = 0;
            die_at = n;
            _exit(restore(f, "copy", f->dir, true, NULL) != CC_OK);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (!WIFSIGNALED(status))
            break;
        opened(f);
        value = value_of(f, "n", "left");
        assert_int_equal(value_of(f, "n", "right"), value);
        assert_true(value == 1 || value == 2);
        was_old += value == 2;
        was_new += value == 1;
        fix_close(f);
        assert_int_equal(restore(f, "copy", f->dir, true, NULL), CC_OK);
    }
    assert_int_equal(status, 0);
    assert_true(was_old > 3 && was_new > 3);
    opened(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, fix_setup, fix_teardown)
        T(copy_is_consistent_under_load),    T(growing_map_does_not_wait_for_a_backup),
        T(copies_beside_a_growing_process),  T(verification_lets_the_map_move),
        T(backup_that_fails_leaves_nothing), T(flipped_byte_is_refused),
        T(restores_into_a_new_folder),       T(restore_keeps_the_old_store),
        T(store_in_use_is_not_replaced),     T(killed_restore_leaves_old_or_new),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
