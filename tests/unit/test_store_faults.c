/* test_store_faults.c - the n-th write or sync of LMDB fails, for every n, in every way: what was told failed is not
 * there, reading goes on, and the store works again as soon as the disk does. */
#include "store/store_internal.h"
#include "tests/unit/test_store.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- the calls by which LMDB changes its file; this program's come before the library's */

enum how { REFUSED, HALF_DONE, DONE }; /* what has happened when a call says that it failed */

static struct {
    atomic_bool on;
    bool meta; /* from the next write of a meta page on: it is the only one that is so small */
    int at;    /* the call that fails */
    bool only; /* and only that one, not all from there on */
    enum how how;
    int sys;
    atomic_int calls, failed;
} fault;

enum { META_LESS_THAN = 512 };

static bool fails(size_t bytes)
{
    int n;

    if (!atomic_load(&fault.on) || (fault.meta && !atomic_load(&fault.calls) && bytes >= META_LESS_THAN))
        return false;
    n = atomic_fetch_add(&fault.calls, 1) + 1;
    if (n != fault.at && (n < fault.at || fault.only))
        return false;
    atomic_fetch_add(&fault.failed, 1);
    return true;
}

ssize_t pwrite(int fd, const void *b, size_t n, off_t at)
{
    if (!fails(n))
        return syscall(SYS_pwrite64, fd, b, n, at);
    if (fault.how == HALF_DONE)
        return syscall(SYS_pwrite64, fd, b, n / 2, at);
    if (fault.how == DONE)
        syscall(SYS_pwrite64, fd, b, n, at);
    errno = fault.sys;
    return -1;
}

ssize_t writev(int fd, const struct iovec *v, int n)
{
    if (!fails(META_LESS_THAN))
        return syscall(SYS_writev, fd, v, n);
    if (fault.how == HALF_DONE)
        return syscall(SYS_writev, fd, v, n / 2);
    if (fault.how == DONE)
        syscall(SYS_writev, fd, v, n);
    errno = fault.sys;
    return -1;
}

int fdatasync(int fd)
{
    if (!fails(META_LESS_THAN))
        return (int)syscall(SYS_fdatasync, fd);
    errno = fault.sys;
    return -1;
}

/* Opening the store's files fails with this errno; nothing is left of the disk's space; who has called poll. */
static atomic_int open_fails, space_gone, polls;

int open(const char *path, int flags, ...)
{
    mode_t mode;
    va_list args;

    va_start(args, flags);
    mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    if (strstr(path, ".mdb") && (errno = atomic_load(&open_fails)))
        return -1;
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...) __attribute__((alias("open")));

int statvfs(const char *path, struct statvfs *v)
{
    (void)path;
    *v = (struct statvfs){ .f_frsize = 4096, .f_bavail = atomic_load(&space_gone) ? 1 : 1 << 20 };
    return 0;
}

int poll(struct pollfd *fds, nfds_t n, int ms)
{
    atomic_fetch_add(&polls, 1);
    return (int)syscall(SYS_poll, fds, n, ms);
}

static void break_disk(int at, bool only, enum how how, int sys)
{
    fault.at = at;
    fault.only = only;
    fault.how = how;
    fault.sys = sys;
    atomic_store(&fault.calls, 0);
    atomic_store(&fault.failed, 0);
    atomic_store(&fault.on, true);
}

static void break_meta(bool only, enum how how)
{
    fault.meta = true;
    break_disk(1, only, how, EIO);
}

static void mend_disk(void)
{
    atomic_store(&fault.on, false);
    fault.meta = false;
}

/* ---- an update that changes two records together, and a third large one, so that there is something to write */

static int update(struct fix *f)
{
    static char text[20000];
    struct cc_txn *t = cc_txn_begin(f->store, NULL);

    memset(text, 'x', sizeof(text));
    increment(t, "n", "left");
    increment(t, "n", "right");
    cc_txn_put(t, "big", S("a"), (struct cc_slice){ text, sizeof(text) }, NULL);
    return commit(f, t);
}

static int64_t both(struct fix *f)
{
    struct cc_record r;

    assert_int_equal(cc_store_get(f->store, "n", S("left"), &r), CC_OK); /* reading goes on */
    assert_int_equal(value_of(f, "n", "left"), value_of(f, "n", "right"));
    return value_of(f, "n", "left");
}

static void verified(struct fix *f)
{
    struct cc_verified v;
    struct cc_err err;

    if (cc_store_verify(f->store, &v, NULL, NULL, &err))
        fail_msg("%s", err.message);
    assert_int_equal(v.entries, 2 * both(f));
}

/* One fault; whether it was met. */
static bool meets(struct fix *f, int at, bool only, enum how how, int sys)
{
    int64_t before = both(f), after;
    int rc;

    break_disk(at, only, how, sys);
    rc = update(f);
    after = both(f);
    if (rc) {
        assert_true(rc == (sys == ENOSPC ? CC_E_FULL : CC_E_IO) || (how == HALF_DONE && rc == CC_E_IO));
        assert_int_equal(after, before);
    } else {
        assert_int_equal(after, before + 1);
    }
    mend_disk();
    assert_int_equal(update(f), CC_OK);
    assert_int_equal(both(f), after + 1);
    return atomic_load(&fault.failed) > 0;
}

static void every_call_fails_once(void **state, bool only)
{
    static const int errors[] = { EIO, ENOSPC };
    struct fix *f = *state;
    int at, how, met = 0;
    size_t e;

    assert_int_equal(update(f), CC_OK);
    for (how = REFUSED; how <= DONE; how++)
        for (e = 0; e < 2; e++)
            for (at = 1; meets(f, at, only, (enum how)how, errors[e]); at++)
                met++;
    assert_true(met > 6 * 3);
    verified(f);
    fix_close(f);
    assert_int_equal(fix_open(f, NULL), CC_OK);
    verified(f);
}

static void one_failed_call(void **state) { every_call_fails_once(state, true); }
static void all_calls_fail_from_one_on(void **state) { every_call_fails_once(state, false); }

/* Found by reading: after a failed write of the meta page LMDB refused readers, and an update that cannot read is
 * refused before it reaches the writer, so nothing ever opened the store again. */
static void failed_meta_page_stopped_the_store_for_ever(void **state)
{
    struct fix *f = *state;
    int i;

    assert_int_equal(update(f), CC_OK);
    break_meta(false, REFUSED);
    assert_int_equal(update(f), CC_E_IO);
    for (i = 0; i < 5; i++) {
        assert_int_equal(both(f), 1);
        assert_int_equal(update(f), CC_E_IO);
        assert_true(cc_db_is_sick(&f->store->db));
    }
    mend_disk();
    assert_int_equal(update(f), CC_OK);
    assert_false(cc_db_is_sick(&f->store->db));
    assert_int_equal(both(f), 2);
    verified(f);
}

/* The meta page is on disk although its write was told to have failed. LMDB takes it back in memory; on disk it must be
 * taken back, too, before the pages that it names are used again. */
static void meta_page_that_got_through_is_taken_back(void **state)
{
    struct fix *f = *state;

    assert_int_equal(update(f), CC_OK);
    break_meta(true, DONE);
    assert_int_equal(update(f), CC_E_IO);
    assert_int_equal(both(f), 1);
    assert_true(atomic_load(&fault.calls) >= 4); /* the page, taking it back, writing that again, syncing it */
    assert_false(cc_db_is_sick(&f->store->db));
    assert_int_equal(update(f), CC_OK);
    mend_disk();
    assert_int_equal(both(f), 2);
    verified(f);
}

/* The writer mends by itself, also when nobody writes. */
static void mends_while_nobody_writes(void **state)
{
    struct fix *f = *state;

    assert_int_equal(update(f), CC_OK);
    break_meta(false, REFUSED);
    assert_int_equal(update(f), CC_E_IO);
    mend_disk();
    while (cc_db_is_sick(&f->store->db))
        poll(NULL, 0, 1);
    verified(f);
}

/* Found by review: while the store could not be opened again every read polled on the loop for 20 ms; and an errno that
 * was told once as "full" was told as "io" from then on. */
static void reads_polled_while_it_could_not_be_opened(void **state)
{
    static const struct {
        int sys, code;
    } cases[] = { { EMFILE, CC_E_IO }, { ENOSPC, CC_E_FULL } };
    struct fix *f = *state;
    struct cc_record r;
    int i, before;
    size_t k;

    assert_int_equal(update(f), CC_OK);
    for (k = 0; k < 2; k++) {
        atomic_store(&open_fails, cases[k].sys);
        break_meta(true, REFUSED);
        assert_int_equal(update(f), CC_E_IO);
        before = atomic_load(&polls);
        for (i = 0; i < 10; i++)
            assert_int_equal(cc_store_get(f->store, "n", S("left"), &r), cases[k].code);
        assert_int_equal(atomic_load(&polls), before);
        assert_int_equal(update(f), cases[k].code);
        atomic_store(&open_fails, 0);
        mend_disk();
        while (cc_db_is_sick(&f->store->db))
            poll(NULL, 0, 1); /* the writer tries by itself */
        assert_int_equal(update(f), CC_OK);
    }
    assert_int_equal(both(f), 3);
    verified(f);
}

/* Found by review: another process at the gate (opening, mending, stopped) kept the store from being opened again. */
static void reopening_waited_at_the_gate(void **state)
{
    struct fix *f = *state;
    int gate;

    assert_int_equal(update(f), CC_OK);
    assert_int_equal(cc_db_gate(f->store->db.path, &gate, NULL), CC_OK);
    break_meta(true, REFUSED);
    assert_int_equal(update(f), CC_E_IO);
    mend_disk();
    assert_int_equal(both(f), 1);
    assert_false(cc_db_is_sick(&f->store->db));
    assert_int_equal(update(f), CC_OK);
    close(gate);
    verified(f);
}

/* What opens it again without the gate must not be taken for closed meanwhile. */
static void others_see_it_open_while_it_is_opened_again(void **state)
{
    struct fix *f = *state;
    struct cc_err err;
    int status, lock;
    pid_t pid;

    assert_int_equal(update(f), CC_OK);
    atomic_store(&open_fails, EMFILE);
    break_meta(true, REFUSED);
    assert_int_equal(update(f), CC_E_IO); /* now there is no environment at all */
    atomic_store(&open_fails, 0);
    if ((pid = fork()) == 0)
        _exit(cc_file_alone(f->store->db.path, &lock, &err) == CC_E_EXISTS ? 0 : 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    mend_disk();
    while (cc_db_is_sick(&f->store->db))
        poll(NULL, 0, 1);
    verified(f);
}

/* Found by review: any I/O error on a nearly full disk was told as "full". Only a write that stopped half-way is. */
static void io_error_was_told_as_full(void **state)
{
    struct fix *f = *state;

    atomic_store(&space_gone, 1);
    assert_int_equal(update(f), CC_OK);
    break_disk(1, true, REFUSED, EIO);
    assert_int_equal(update(f), CC_E_IO);
    mend_disk();
    break_disk(1, true, HALF_DONE, EIO);
    assert_int_equal(update(f), CC_E_FULL);
    mend_disk();
    assert_int_equal(update(f), CC_OK);
    atomic_store(&space_gone, 0);
    verified(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, fix_setup, fix_teardown)
        T(one_failed_call),
        T(all_calls_fail_from_one_on),
        T(failed_meta_page_stopped_the_store_for_ever),
        T(meta_page_that_got_through_is_taken_back),
        T(mends_while_nobody_writes),
        T(reads_polled_while_it_could_not_be_opened),
        T(reopening_waited_at_the_gate),
        T(others_see_it_open_while_it_is_opened_again),
        T(io_error_was_told_as_full),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
