/* Files of drivers: what is written once stays the first's, however many processes write it in one moment, and trees are walked
 * however deep they are. */
#include "providers/files.h"
#include "providers/local/local.h"

#include <fcntl.h>
#include <grp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

enum { WRITERS = 8, ROUNDS = 20 };

/* Both ends of a pipe that every writer waits for. Exit code: 0 it was the first, 1 another was, 2 neither. */
static int write_one(const char *path, int number, int gate)
{
    char text[20000], go;
    struct cc_err err;
    int r;

    memset(text, 'a' + number, sizeof(text));
    if (read(gate, &go, 1) != 0)
        return 2;
    r = cc_write_once(path, text, sizeof(text), &err);
    return r == 0 ? 0 : r == CC_E_EXISTS ? 1 : 2;
}

static int race(const char *path)
{
    pid_t pids[WRITERS];
    int gate[2], status, i, first = -1;

    assert_int_equal(pipe(gate), 0);
    for (i = 0; i < WRITERS; i++) {
        if ((pids[i] = fork()) == 0) {
            close(gate[1]);
            _exit(write_one(path, i, gate[0]));
        }
    }
    close(gate[0]);
    close(gate[1]); /* all at once */
    for (i = 0; i < WRITERS; i++) {
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) <= 1);
        if (WEXITSTATUS(status) == 0) {
            assert_int_equal(first, -1);
            first = i;
        }
    }
    return first;
}

static void test_what_is_written_once_is_the_first_ones(void **state)
{
    char dir[] = "/tmp/cchost-test-XXXXXX", path[64];
    struct cc_arena a = { 0 };
    int round, first;

    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/key", dir);
    for (round = 0; round < ROUNDS; round++) {
        size_t n = 0, i;
        char *text;

        assert_in_range(first = race(path), 0, WRITERS - 1);
        assert_non_null(text = cc_read_whole(&a, path, 1 << 20, &n));
        assert_int_equal(n, 20000);
        for (i = 0; i < n; i++)
            assert_int_equal(text[i], 'a' + first);
        unlink(path);
        cc_arena_free(&a);
    }
    assert_int_equal(rmdir(dir), 0); /* nothing else is left in it */
}

static void test_where_nothing_can_be_written_it_is_said(void **state)
{
    struct cc_err err;

    (void)state;
    assert_int_equal(cc_write_once("/tmp/cchost-test-absent/x/key", "k", 1, &err), CC_E_NOT_FOUND);
    assert_non_null(strstr(err.message, "/tmp/cchost-test-absent/x/key"));
}

/* ---------------------------------------------------------------- deep trees */

enum { LEVELS = 300 };

/* So many directories below `at`, each in the one before, with a file beside it; their whole path is longer than a path can be.
 * Some may not be written to, or not be entered. A descriptor of the last. */
static int dig(int at, const char *name)
{
    int i, next, fd = dup(at);

    for (i = 0; i < LEVELS; i++) {
        assert_int_equal(mkdirat(fd, name, 0700), 0);
        assert_true((next = openat(fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) >= 0);
        assert_int_equal(symlinkat("/", next, "link"), 0);
        assert_int_equal(mkdirat(next, "beside", 0000), 0);
        if (i % 3 == 1)
            assert_int_equal(fchmod(fd, 0500), 0);
        close(fd);
        fd = next;
    }
    return fd;
}

/* Bug: what a machine had made deeper than 200 levels was there for good. */
static void test_a_tree_is_removed_however_deep(void **state)
{
    char dir[] = "/tmp/cchost-test-XXXXXX";
    char tree[64], path[96];
    struct stat st;
    int at, i;

    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(tree, sizeof(tree), "%s/tree", dir);
    assert_int_equal(mkdir(tree, 0700), 0);
    assert_true((at = open(tree, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) >= 0);
    close(dig(at, "one of very many directories"));
    close(dig(at, "and another"));
    for (i = 0; i < 4; i++) { /* names that it may take itself are somebody's: files, directories, full ones */
        snprintf(path, sizeof(path), "cchost-deep-%d", i);
        assert_int_equal(i == 0 ? symlinkat("/", at, path) : mkdirat(at, path, 0700), 0);
        snprintf(path, sizeof(path), "%s/cchost-deep-%d/x", tree, i);
        assert_int_equal(i < 2 ? 0 : mkdir(path, 0700), 0);
    }
    assert_int_equal(cc_remove_tree(tree), 0);
    assert_int_equal(lstat(tree, &st), -1);
    close(at);
    assert_int_equal(rmdir(dir), 0);
}

/* Owners are given by root alone. */
static void test_owners_change_however_deep(void **state)
{
    char dir[] = "/tmp/cchost-test-XXXXXX";
    const unsigned long from = 0x70000000, to = from + CC_SLOT_UIDS;
    struct stat st;
    int at, last;

    (void)state;
    if (geteuid() != 0)
        skip();
    assert_non_null(mkdtemp(dir));
    assert_true((at = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) >= 0);
    last = dig(at, "one of very many directories");
    assert_int_equal(mkdirat(at, "other", 0700), 0);
    assert_int_equal(fchownat(at, "other", (uid_t)from, (gid_t)from, 0), 0);
    assert_int_equal(fchown(last, (uid_t)from + 1000, (gid_t)from + 5), 0);
    assert_int_equal(fchownat(last, "link", (uid_t)from + 7, 0, AT_SYMLINK_NOFOLLOW), 0);
    assert_int_equal(fchownat(last, "beside", 0, (gid_t)from + 8, 0), 0);
    assert_int_equal(cc_shift_owners(dir, from, to), 0);
    assert_int_equal(fstat(last, &st), 0);
    assert_int_equal(st.st_uid, to + 1000);
    assert_int_equal(st.st_gid, to + 5);
    assert_int_equal(fstatat(last, "link", &st, AT_SYMLINK_NOFOLLOW), 0);
    assert_int_equal(st.st_uid, to + 7);
    assert_int_equal(st.st_gid, 0);
    assert_int_equal(fstatat(last, "beside", &st, 0), 0);
    assert_int_equal(st.st_uid, 0);
    assert_int_equal(st.st_gid, to + 8);
    assert_int_equal(fstatat(at, "other", &st, 0), 0);
    assert_int_equal(st.st_uid, to);
    assert_int_equal(stat("/", &st), 0);
    assert_int_equal(st.st_uid, 0);
    close(last);
    close(at);
    assert_int_equal(cc_remove_tree(dir), 0);
}

/* Without root's rights, where a directory that may not be written to is in the way. */
static int as_user(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_a_tree_is_removed_however_deep) };
    pid_t pid = fork();
    int status;

    if (pid == 0)
        _exit(setgroups(0, NULL) != 0 || setresgid(54321, 54321, 54321) != 0 || setresuid(54321, 54321, 54321) != 0 ||
              cmocka_run_group_tests_name("files as an ordinary user", tests, NULL, NULL) != 0);
    return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_written_once_is_the_first_ones),
        cmocka_unit_test(test_where_nothing_can_be_written_it_is_said),
        cmocka_unit_test(test_a_tree_is_removed_however_deep),
        cmocka_unit_test(test_owners_change_however_deep),
    };
    int failed = cmocka_run_group_tests_name("files", tests, NULL, NULL);

    return geteuid() == 0 ? failed + as_user() : failed;
}
