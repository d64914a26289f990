/* The client of vendors' APIs against a server that does what it is told: one thread, one connection at a time. */
#include "host/sys/clock.h"
#include "providers/rest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <pthread.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

struct fix {
    char dir[64], path[96], heard[4096];
    const char *answer; /* what it says to each request; NULL: nothing, and waits for the client to go */
    bool cancels;       /* the call, once it has heard the request */
    unsigned connections;
    in_port_t port; /* where it listens on TCP */
    int fd;
    pthread_t thread;
    struct cc_rest *rest;
    struct cc_arena arena;
    struct cc_call call;
    struct cc_err err;
    struct cc_provider_ctx x;
};

static void cancel(struct fix *f)
{
    uint64_t one = 1;

    atomic_store(&f->call.cancelled, true);
    if (write(f->call.wake_fd, &one, sizeof(one)) != sizeof(one))
        abort();
}

static void serve(struct fix *f, int c)
{
    size_t n = 0;
    ssize_t r;

    while ((r = read(c, f->heard + n, sizeof(f->heard) - 1 - n)) > 0) {
        f->heard[n += (size_t)r] = 0;
        if (!strstr(f->heard, "\r\n\r\n"))
            continue;
        if (f->cancels)
            cancel(f);
        if (!f->answer)
            continue;
        n = 0;
        if (send(c, f->answer, strlen(f->answer), MSG_NOSIGNAL) < 0 || !strstr(f->answer, "Content-Length"))
            return;
    }
}

static void *server(void *arg)
{
    struct fix *f = arg;
    int c;

    while ((c = accept(f->fd, NULL, NULL)) >= 0) {
        f->connections++;
        serve(f, c);
        close(c);
    }
    return NULL;
}

/* Where it listens, and the API's address there. */
static void listen_unix(struct fix *f, struct cc_rest_opts *o)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };

    snprintf(f->path, sizeof(f->path), "%s/s", f->dir);
    memcpy(a.sun_path, f->path, strlen(f->path) + 1);
    f->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(f->fd, (struct sockaddr *)&a, sizeof(a)), 0);
    o->base = "http://vendor/v1";
    o->unix_path = f->path;
}

static void listen_tcp(struct fix *f, struct cc_rest_opts *o)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t n = sizeof(a);

    f->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(f->fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(getsockname(f->fd, (struct sockaddr *)&a, &n), 0);
    f->port = a.sin_port;
    snprintf(f->path, sizeof(f->path), "http://127.0.0.1:%u/v1", ntohs(a.sin_port));
    o->base = f->path;
}

static int set_up(void **state, void (*where)(struct fix *, struct cc_rest_opts *))
{
    struct fix *f = calloc(1, sizeof(*f));
    struct cc_rest_opts o = { .token = "word" };

    strcpy(f->dir, "/tmp/cc-rest-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    where(f, &o);
    assert_int_equal(listen(f->fd, 16), 0);
    assert_int_equal(pthread_create(&f->thread, NULL, server, f), 0);
    f->rest = cc_rest_open(&o, &f->err);
    assert_non_null(f->rest);
    f->call.wake_fd = eventfd(0, EFD_CLOEXEC);
    f->call.deadline_ms = cc_mono_ms() + 20000;
    f->x = (struct cc_provider_ctx){ .call = &f->call, .arena = &f->arena, .err = &f->err };
    *state = f;
    return 0;
}

static int setup(void **state) { return set_up(state, listen_unix); }
static int setup_tcp(void **state) { return set_up(state, listen_tcp); }

static int teardown(void **state)
{
    struct fix *f = *state;

    cc_rest_close(f->rest); /* its connections end what the server reads */
    shutdown(f->fd, SHUT_RDWR);
    pthread_join(f->thread, NULL);
    close(f->fd);
    close(f->call.wake_fd);
    unlink(f->path);
    assert_int_equal(rmdir(f->dir), 0);
    cc_arena_free(&f->arena);
    free(f);
    return 0;
}

static void test_a_request_and_its_answer(void **state)
{
    struct fix *f = *state;
    json_t *body = json_pack("{s:s}", "name", "x");
    struct cc_rest_req q = { .method = "POST", .path = "/things?a=b", .json = body };
    struct cc_rest_res res;

    f->answer = "HTTP/1.1 201 Created\r\nContent-Length: 11\r\nRateLimit-Remaining: 7\r\nRateLimit-Limit: "
                "3600\r\n\r\n{\"id\": 123}";
    assert_int_equal(cc_rest_do(f->rest, &f->x, &q, &res), 0);
    assert_int_equal(res.status, 201);
    assert_int_equal(json_integer_value(json_object_get(res.json, "id")), 123);
    assert_int_equal(res.rate_left, 7);
    assert_int_equal(res.rate_limit, 3600);
    cc_rest_res_free(&res);
    json_decref(body);
    assert_non_null(strstr(f->heard, "POST /v1/things?a=b HTTP/1.1\r\n"));
    assert_non_null(strstr(f->heard, "Authorization: Bearer word\r\n"));
    assert_non_null(strstr(f->heard, "Content-Type: application/json\r\n"));
    assert_non_null(strstr(f->heard, "\r\n\r\n{\"name\":\"x\"}"));
}

static void test_connections_are_used_again(void **state)
{
    struct fix *f = *state;
    struct cc_rest_req q = { .method = "GET", .path = "/" };
    struct cc_rest_res res;
    int i;

    f->answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno";
    for (i = 0; i < 5; i++) {
        assert_int_equal(cc_rest_do(f->rest, &f->x, &q, &res), 0);
        assert_null(res.json);
        assert_string_equal(res.text, "no");
    }
    assert_int_equal(f->connections, 1);
}

static void test_a_refusal_is_an_answer(void **state)
{
    struct fix *f = *state;
    struct cc_rest_req q = { .method = "DELETE", .path = "/x" };
    struct cc_rest_res res;

    f->answer = "HTTP/1.1 429 Slow\r\nContent-Length: 0\r\nRetry-After: 12\r\n\r\n";
    assert_int_equal(cc_rest_do(f->rest, &f->x, &q, &res), 0);
    assert_int_equal(res.status, 429);
    assert_int_equal(res.retry_after_ms, 12000);
    assert_int_equal(res.rate_left, -1);
}

static void test_times_beyond_all_measure_are_held_to_one(void **state)
{
    static const char *const told[] = { "9223372036854775807", "9223372036854776", "99999999999999999999999" };
    struct fix *f = *state;
    struct cc_rest_req q = { .method = "GET", .path = "/x" };
    struct cc_rest_res res;
    char answer[300];
    size_t i;

    for (i = 0; i < sizeof(told) / sizeof(*told); i++) {
        snprintf(answer, sizeof(answer),
                 "HTTP/1.1 429 Slow\r\nContent-Length: 0\r\nRetry-After: %s\r\nRateLimit-Reset: %s\r\n\r\n", told[i],
                 told[i]);
        f->answer = answer;
        assert_int_equal(cc_rest_do(f->rest, &f->x, &q, &res), 0);
        assert_true(res.retry_after_ms == 366LL * 86400 * 1000);
        assert_true(res.rate_reset > 4000000000 && res.rate_reset <= INT64_MAX / 1000); /* callers reckon it in ms */
    }
}

/* Its connection, told by whom it leads to. */
static int connection_to(in_port_t port)
{
    struct sockaddr_in a;
    int fd;

    for (fd = 3; fd < 1024; fd++) {
        socklen_t n = sizeof(a);

        if (getpeername(fd, (struct sockaddr *)&a, &n) == 0 && a.sin_family == AF_INET && a.sin_port == port)
            return fd;
    }
    return -1;
}

struct alive {
    in_port_t port;
    int on, idle, every;
};

static bool look_alive(void *arg, const char *p, size_t n)
{
    struct alive *a = arg;
    int fd = connection_to(a->port);
    socklen_t len = sizeof(int);

    (void)p, (void)n;
    assert_true(fd >= 0);
    getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &a->on, &len);
    getsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &a->idle, &len);
    getsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &a->every, &len);
    return true;
}

/* Else who follows a stream never hears that its peer has gone without a word. */
static void test_a_silent_stream_asks_whether_its_peer_is_there(void **state)
{
    struct fix *f = *state;
    struct alive a = { .port = f->port };
    struct cc_rest_req q = { .method = "GET", .path = "/events", .take = look_alive, .arg = &a };
    struct cc_rest_res res;

    f->answer = "HTTP/1.1 200 OK\r\n\r\none";
    assert_int_equal(cc_rest_do(f->rest, &f->x, &q, &res), 0);
    assert_int_equal(a.on, 1);
    assert_in_range(a.idle, 1, 60);
    assert_in_range(a.every, 1, 60);
}

static void test_a_cancel_ends_it_at_once(void **state)
{
    struct fix *f = *state;
    struct cc_rest_req q = { .method = "GET", .path = "/slow" };
    struct cc_rest_res res;

    f->call.deadline_ms = 0;
    f->cancels = true;
    assert_int_equal(cc_rest_do(f->rest, &f->x, &q, &res), CC_E_CANCELLED);
}

static void test_the_deadline_and_silence_end_it(void **state)
{
    struct fix *f = *state;
    struct cc_rest_req q = { .method = "GET", .path = "/slow", .quiet_ms = 30 };
    struct cc_rest_res res;

    assert_int_equal(cc_rest_do(f->rest, &f->x, &q, &res), CC_E_TIMEOUT);
    assert_non_null(strstr(f->err.message, "nothing heard"));
    q.quiet_ms = 0;
    f->call.deadline_ms = cc_mono_ms() + 30;
    assert_int_equal(cc_rest_do(f->rest, &f->x, &q, &res), CC_E_TIMEOUT);
    assert_int_equal(cc_rest_pause(&f->x, 1000), CC_E_TIMEOUT);
    assert_int_equal(cc_rest_do(f->rest, &f->x, &q, &res), CC_E_TIMEOUT); /* not even asked */
    assert_int_equal(f->connections, 2);
}

static void test_nobody_there_is_unavailable(void **state)
{
    struct fix *f = *state;
    struct cc_rest_opts o = { .base = "http://vendor", .unix_path = "/nobody/here" };
    struct cc_rest *r = cc_rest_open(&o, &f->err);
    struct cc_rest_req q = { .method = "GET", .path = "/" };
    struct cc_rest_res res;

    assert_int_equal(cc_rest_do(r, &f->x, &q, &res), CC_E_UNAVAILABLE);
    assert_true(f->err.retryable);
    cc_rest_close(r);
    o = (struct cc_rest_opts){ .base = "ftp://vendor" };
    assert_null(cc_rest_open(&o, &f->err));
    assert_int_equal(f->err.code, CC_E_INVALID);
}

static bool count(void *arg, const char *p, size_t n)
{
    (void)p;
    return (*(size_t *)arg += n) < 4;
}

static void test_answers_that_are_too_long_or_not_wanted(void **state)
{
    struct fix *f = *state;
    size_t n = 0;
    struct cc_rest_req q = { .method = "GET", .path = "/", .most = 3 };
    struct cc_rest_res res;

    f->answer = "HTTP/1.1 200 OK\r\n\r\nfour";
    assert_int_equal(cc_rest_do(f->rest, &f->x, &q, &res), CC_E_LIMIT);
    q = (struct cc_rest_req){ .method = "GET", .path = "/", .take = count, .arg = &n };
    assert_int_equal(cc_rest_do(f->rest, &f->x, &q, &res), CC_E_CANCELLED);
    assert_int_equal(n, 4);
    f->answer = "HTTP/1.1 500 Bad\r\n\r\n{}"; /* a refusal is not streamed */
    assert_int_equal(cc_rest_do(f->rest, &f->x, &q, &res), 0);
    assert_int_equal(n, 4);
    assert_string_equal(res.text, "{}");
    cc_rest_res_free(&res);
    f->answer = "no http at all\r\n\r\n";
    assert_int_equal(cc_rest_do(f->rest, &f->x, &q, &res), CC_E_IO);
}

static void test_escape(void **state)
{
    struct fix *f = *state;

    assert_string_equal(cc_rest_escape(&f->arena, "a b/c=\xc3\xa9&~"), "a%20b%2Fc%3D%C3%A9%26~");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_request_and_its_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(test_connections_are_used_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_refusal_is_an_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(test_times_beyond_all_measure_are_held_to_one, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_silent_stream_asks_whether_its_peer_is_there, setup_tcp, teardown),
        cmocka_unit_test_setup_teardown(test_a_cancel_ends_it_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_deadline_and_silence_end_it, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nobody_there_is_unavailable, setup, teardown),
        cmocka_unit_test_setup_teardown(test_answers_that_are_too_long_or_not_wanted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_escape, setup, teardown),
    };

    return cmocka_run_group_tests_name("rest", tests, NULL, NULL);
}
