/* Small files of drivers: what is written once stays the first's, however many processes write it in one moment. */
#include "providers/files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_written_once_is_the_first_ones),
        cmocka_unit_test(test_where_nothing_can_be_written_it_is_said),
    };

    return cmocka_run_group_tests_name("files", tests, NULL, NULL);
}
