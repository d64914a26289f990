/* The small formats of the provider docker: two outputs on one connection, and archives, which the real tar reads. Then the
 * way to an agent, from a dockerd that breaks it off. */
#include "providers/docker/docker.h"

#include "host/sys/mem.h"

#include <assert.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
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

/* ---------------------------------------------------------------- a way that is broken off */

enum { TURNS = 100 };

/* How a line waits, told by its poll: the only one here of three without a time. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t moved;
    bool stalled; /* who connected here does not read, and it waits for him alone */
    bool rests;   /* and does not look at the connection any more */
    int turns;    /* woken by that connection's end, of which it knows */
} line = { .lock = PTHREAD_MUTEX_INITIALIZER, .moved = PTHREAD_COND_INITIALIZER };

int poll(struct pollfd *p, nfds_t n, int ms)
{
    int r;

    if (n != 3 || ms != -1)
        return (int)syscall(SYS_poll, p, n, ms);
    pthread_mutex_lock(&line.lock);
    line.stalled |= p[0].events == 0;
    line.rests |= p[0].fd < 0;
    pthread_cond_broadcast(&line.moved);
    pthread_mutex_unlock(&line.lock);
    r = (int)syscall(SYS_poll, p, n, ms);
    pthread_mutex_lock(&line.lock);
    line.turns += p[0].events == 0 && (p[0].revents & (POLLERR | POLLHUP));
    pthread_mutex_unlock(&line.lock);
    return r;
}

static bool stalled(void)
{
    bool r;

    pthread_mutex_lock(&line.lock);
    r = line.stalled;
    pthread_mutex_unlock(&line.lock);
    return r;
}

/* Says more than is read, and resets the connection when that has come to a stand. */
static void flood(int c)
{
    static char frame[8 + 32768] = { 1, 0, 0, 0, 0, 0, (char)0x80, 0 };
    const struct linger reset = { .l_onoff = 1, .l_linger = 0 };
    const struct timeval moment = { .tv_usec = 10000 };
    size_t at = 0;
    ssize_t r;

    memset(frame + 8, 'x', sizeof(frame) - 8);
    setsockopt(c, SOL_SOCKET, SO_SNDTIMEO, &moment, sizeof(moment));
    while (!stalled()) {
        if ((r = send(c, frame + at, sizeof(frame) - at, MSG_NOSIGNAL)) > 0)
            at = (at + (size_t)r) % sizeof(frame);
    }
    setsockopt(c, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
}

static void say(int c, const char *text) { assert(send(c, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text)); }

/* A dockerd, one connection for each request: its version, an exec, and the stream of that. */
static void *far_dockerd(void *arg)
{
    char heard[4096];
    bool over = false;
    int c;

    while (!over && (c = accept(*(int *)arg, NULL, NULL)) >= 0) {
        ssize_t n = 0, r;

        do {
            r = recv(c, heard + n, sizeof(heard) - 1 - (size_t)n, 0);
            n += r > 0 ? r : 0;
            heard[n] = 0;
        } while (r > 0 && !strstr(heard, "\r\n\r\n"));
        if (strncmp(heard, "GET ", 4) == 0) {
            say(c, "HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nConnection: close\r\nContent-Length: 2\r\n\r\nOK");
        } else if (!strstr(heard, "/start ")) {
            say(c, "HTTP/1.1 201 Created\r\nConnection: close\r\nContent-Length: 10\r\n\r\n{\"Id\":\"a\"}");
        } else {
            say(c, "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n");
            flood(c);
            over = true;
        }
        if (!over) { /* of its body nothing stays unread, which would make a reset of the close */
            shutdown(c, SHUT_WR);
            while (recv(c, heard, sizeof(heard), 0) > 0) {
            }
        }
        close(c);
    }
    return NULL;
}

static int listen_far(char base[64])
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t n = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    snprintf(base, 64, "http://127.0.0.1:%u", ntohs(a.sin_port));
    return fd;
}

static int connect_near(const char *dir)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(a.sun_path, sizeof(a.sun_path), "%s/machines/abc/agent/agent.sock", dir);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    return fd;
}

/* To the end: all of it is what was said. */
static size_t read_all(int fd)
{
    static char buf[65536];
    size_t all = 0, i;
    ssize_t r;

    while ((r = recv(fd, buf, sizeof(buf), 0)) > 0) {
        for (i = 0; i < (size_t)r; i++)
            assert_int_equal(buf[i], 'x');
        all += (size_t)r;
    }
    assert_int_equal(r, 0);
    return all;
}

static void test_a_way_that_is_broken_off_waits_for_its_reader_without_a_turn(void **state)
{
    char dir[32] = "/tmp/cchost-way-XXXXXX", path[80], base[64];
    struct cc_docker d = { .dir = dir };
    int far = listen_far(base), fd;
    struct cc_rest_opts o = { .base = base };
    struct cc_err err = { 0 };
    pthread_t dockerd;

    (void)state;
    assert_non_null(mkdtemp(dir));
    for (const char *leaf = "/machines\0/machines/abc\0/machines/abc/agent\0"; *leaf; leaf += strlen(leaf) + 1) {
        snprintf(path, sizeof(path), "%s%s", dir, leaf);
        assert_int_equal(mkdir(path, 0700), 0);
    }
    pthread_mutex_init(&d.lock, NULL);
    assert_non_null(d.rest = cc_rest_open(&o, &err));
    assert_int_equal(pthread_create(&dockerd, NULL, far_dockerd, &far), 0);
    assert_int_equal(cc_docker_ways_init(&d, &err), 0);
    assert_int_equal(cc_docker_way(&d, "abc"), 0);
    fd = connect_near(dir);

    pthread_mutex_lock(&line.lock);
    while (!line.rests && line.turns < TURNS)
        pthread_cond_wait(&line.moved, &line.lock);
    assert_in_range(line.turns, 0, TURNS - 1);
    pthread_mutex_unlock(&line.lock);
    assert_true(read_all(fd) > 100000);

    close(fd);
    cc_docker_ways_fini(&d);
    pthread_join(dockerd, NULL);
    close(far);
    cc_rest_close(d.rest);
    pthread_mutex_destroy(&d.lock);
    assert_int_equal(cc_remove_tree(dir), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frames_cut_anywhere),
        cmocka_unit_test(test_a_tar_is_one),
        cmocka_unit_test(test_a_way_that_is_broken_off_waits_for_its_reader_without_a_turn),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
