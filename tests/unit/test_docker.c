/* The small formats of the provider docker: two outputs on one connection, and archives, which the real tar reads. */
#include "providers/docker/docker.h"

#include "host/sys/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

/* What a command said, in pieces of `step` bytes. */
static void said(const char *all, size_t n, size_t step, char out[64], char err[64])
{
    struct cc_docker_frames f = { .left = 0 };
    struct cc_docker_piece piece;
    size_t at, some;

    out[0] = err[0] = 0;
    for (at = 0; at < n; at += some) {
        const char *p = all + at;
        size_t left = some = n - at < step ? n - at : step;

        while (cc_docker_frames_next(&f, &p, &left, &piece))
            strncat(piece.err ? err : out, piece.p, piece.n);
        assert_int_equal(left, 0);
    }
}

static void test_frames_cut_anywhere(void **state)
{
    static const char all[] = "\1\0\0\0\0\0\0\3one\2\0\0\0\0\0\0\4oops\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\5 more";
    char out[64], err[64];
    size_t step;

    (void)state;
    for (step = 1; step < sizeof(all); step++) {
        said(all, sizeof(all) - 1, step, out, err);
        assert_string_equal(out, "one more");
        assert_string_equal(err, "oops");
    }
}

static void test_a_tar_is_one(void **state)
{
    char path[] = "/tmp/cchost-tar-XXXXXX", command[200], got[1024] = "";
    char *big = cc_xcalloc(1, 1000);
    struct cc_tar t = { 0 };
    int fd = mkstemp(path);
    FILE *f;

    (void)state;
    assert_true(fd >= 0);
    memset(big, 'x', 1000);
    cc_tar_folder(&t, "run/cchost", 01755);
    cc_tar_file(&t, "run/cchost/empty", 0600, "", 0);
    cc_tar_file(&t, "run/cchost/block", 0644, big, 512);
    cc_tar_file(&t, "run/cchost/big", 0755, big, 1000);
    cc_tar_link(&t, "run/cchost/link", "big");
    cc_tar_end(&t);
    assert_int_equal(t.n % 512, 0);
    assert_int_equal(write(fd, t.data, t.n), t.n);
    close(fd);
    snprintf(command, sizeof(command),
             "tar --numeric-owner -tvf %s 2>&1 | awk '{print $1, $2, $3, $6, $8}'; tar -xOf %s run/cchost/big | tr -d "
             "'\\0' | wc -c",
             path, path);
    assert_non_null(f = popen(command, "r"));
    got[fread(got, 1, sizeof(got) - 1, f)] = 0;
    assert_int_equal(pclose(f), 0);
    assert_string_equal(
        got, "drwxr-xr-t 0/0 0 run/cchost \n-rw------- 0/0 0 run/cchost/empty \n-rw-r--r-- 0/0 512 run/cchost/block \n"
             "-rwxr-xr-x 0/0 1000 run/cchost/big \nlrwxrwxrwx 0/0 0 run/cchost/link big\n1000\n");
    unlink(path);
    free(t.data);
    free(big);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frames_cut_anywhere),
        cmocka_unit_test(test_a_tar_is_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
