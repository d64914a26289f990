/* test_lock.c - locks of files: who holds one, and files that are removed while somebody waits. */
#include "host/sys/err.h"
#include "host/sys/lock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <cmocka.h>

static char dir[] = "/tmp/cc-lock-XXXXXX", file[64];
static int to_remove; /* how many of the next calls find the file removed */

int flock(int fd, int how)
{
    if (to_remove > 0) {
        to_remove--;
        unlink(file);
    }
    return (int)syscall(SYS_flock, fd, how);
}

static bool held(void)
{
    bool yes;

    assert_int_equal(cc_lock_held(file, &yes, NULL), CC_OK);
    return yes;
}

static int setup(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(file, sizeof(file), "%s/lock", dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(file);
    return rmdir(dir);
}

static void one_holds_it(void **state)
{
    struct cc_err err;
    int fd, other;

    (void)state;
    assert_false(held());
    assert_int_equal(cc_lock_take(file, 0, &fd, &err), CC_OK);
    assert_true(held());
    assert_int_equal(cc_lock_take(file, 0, &other, &err), CC_E_EXISTS);
    close(fd);
    assert_false(held());
}

/* Found by review: between a taker's open and its lock another process removed the file; the taker held a lock that
 * nobody could see. */
static void lock_of_a_removed_file_was_taken(void **state)
{
    int fd;

    (void)state;
    to_remove = 3;
    assert_int_equal(cc_lock_take(file, 0, &fd, NULL), CC_OK);
    assert_int_equal(to_remove, 0);
    assert_true(held());
    close(fd);
}

/* Who may write the folder could have had any file made, or locked. */
static void links_are_not_followed(void **state)
{
    struct cc_err err;
    int fd;

    (void)state;
    unlink(file);
    assert_int_equal(symlink("elsewhere", file), 0);
    assert_int_not_equal(cc_lock_take(file, 0, &fd, &err), CC_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_holds_it),
        cmocka_unit_test(lock_of_a_removed_file_was_taken),
        cmocka_unit_test(links_are_not_followed),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
