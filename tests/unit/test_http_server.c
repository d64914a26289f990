/* The server's C interface, over a unix socket in the same loop: what only C handlers use (streams
 * of bodies, pauses, aborts, late ends), and that nothing is left open. */
#include "host/http/server.h"
#include "host/http/handshake.h"
#include "host/http/splice.h"
#include "host/sys/err.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

struct fixture {
    uv_loop_t loop;
    struct cc_server *server;
    char path[64];
    int fd;
    char got[65536]; /* what the client has read */
    size_t got_len;
    bool ended;
    struct cc_req *req; /* the last one, not ended yet */
    int port;           /* of a backend */
    char body[65536];
    size_t body_len;
    int waited, status;
    void (*handle)(struct fixture *f, struct cc_req *r);
};

static void on_request(void *arg, struct cc_req *r)
{
    struct fixture *f = arg;

    f->req = r;
    f->handle(f, r);
}

static void set_up(struct fixture *f, void (*handle)(struct fixture *f, struct cc_req *r))
{
    struct cc_server_opts o = { .limits = CC_HTTP_LIMITS, .handler = on_request, .arg = f };
    struct sockaddr_un sun = { .sun_family = AF_UNIX };

    o.limits.head_bytes = 60000;
    memset(f, 0, sizeof(*f));
    f->handle = handle;
    uv_loop_init(&f->loop);
    f->server = cc_server_new(&f->loop, &o);
    snprintf(f->path, sizeof(f->path), "/tmp/cchost-test-http-%d.sock", (int)getpid());
    assert_int_equal(cc_server_listen_unix(f->server, f->path, 0600, NULL), 0);
    f->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    strcpy(sun.sun_path, f->path);
    assert_int_equal(connect(f->fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
}

static void turn(struct fixture *f)
{
    ssize_t n;
    int i;

    for (i = 0; i < 20; i++) {
        uv_run(&f->loop, UV_RUN_NOWAIT);
        n = read(f->fd, f->got + f->got_len, sizeof(f->got) - 1 - f->got_len);
        if (n > 0)
            f->got_len += (size_t)n;
        f->ended = f->ended || n == 0 || (n < 0 && errno != EAGAIN);
    }
    f->got[f->got_len] = 0;
}

static void say(struct fixture *f, const char *text)
{
    assert_int_equal(write(f->fd, text, strlen(text)), strlen(text));
    turn(f);
}

static void tear_down(struct fixture *f)
{
    cc_server_close(f->server);
    close(f->fd);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f->loop), 0);
}

static void on_wait(void *arg, struct cc_req *r, int status)
{
    struct fixture *f = arg;

    (void)r;
    f->waited++;
    f->status = status;
}

static void on_piece(void *arg, const char *data, size_t n)
{
    struct fixture *f = arg;

    memcpy(f->body + f->body_len, data, n);
    f->body_len += n;
}

static void hold(struct fixture *f, struct cc_req *r) { (void)f, (void)r; }

static void stream(struct fixture *f, struct cc_req *r)
{
    assert_int_equal(cc_req_body_to(r, 100, on_piece, on_wait, f), 1);
}

static void test_body_is_handed_on_as_it_comes(void **state)
{
    struct fixture f;

    (void)state;
    set_up(&f, stream);
    say(&f, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    assert_int_equal(f.body_len, 3);
    cc_req_body_pause(f.req, true);
    say(&f, "2\r\nde\r\n");
    assert_int_equal(f.body_len, 3);
    cc_req_body_pause(f.req, false);
    turn(&f);
    assert_int_equal(f.body_len, 5);
    assert_int_equal(f.waited, 0);
    say(&f, "0\r\n\r\n");
    assert_int_equal(f.waited, 1);
    assert_int_equal(f.status, 0);
    assert_int_equal(cc_req_reply(f.req, 200, NULL, 0, "ok", 2), 0);
    turn(&f);
    assert_non_null(strstr(f.got, "HTTP/1.1 200 OK\r\n"));
    assert_false(f.ended);
    tear_down(&f);
}

static void test_body_that_exceeds_its_limit(void **state)
{
    struct fixture f;
    char chunk[256];

    (void)state;
    set_up(&f, stream);
    say(&f, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    memset(chunk, 'x', sizeof(chunk));
    memcpy(chunk, "80\r\n", 4);
    memcpy(chunk + 4 + 128, "\r\n", 3);
    say(&f, chunk);
    assert_int_equal(f.status, CC_E_LIMIT);
    assert_int_equal(cc_req_body(f.req, 0, on_wait, &f), CC_E_LIMIT);
    cc_req_reply_error(f.req, 413, "limit", "too \"long\"");
    turn(&f);
    assert_non_null(strstr(f.got, "Connection: close\r\n"));
    assert_non_null(strstr(f.got, "{\"error\":\"too  long \",\"code\":\"limit\"}"));
    assert_true(f.ended);
    tear_down(&f);
}

static void test_request_outlives_its_client(void **state)
{
    struct fixture f;
    struct cc_text t;

    (void)state;
    set_up(&f, hold);
    say(&f, "POST /path?q HTTP/1.1\r\nHost: a\r\nX-A: b\r\nContent-Length: 5\r\n\r\nab");
    assert_int_equal(cc_req_body(f.req, 0, on_wait, &f), 1);
    close(f.fd);
    f.fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    turn(&f);
    assert_int_equal(f.waited, 1);
    assert_int_equal(f.status, CC_E_IO);
    assert_true(cc_req_gone(f.req));
    t = cc_req_header(f.req, "x-a", 3);
    assert_memory_equal(t.p, "b", 1);
    assert_string_equal(cc_req_method(f.req), "POST");
    assert_int_equal(cc_req_body(f.req, 0, on_wait, &f), CC_E_IO);
    assert_int_equal(cc_req_reply(f.req, 200, NULL, 0, "late", 4), 0);
    tear_down(&f);
}

static void test_request_outlives_its_server(void **state)
{
    struct fixture f;

    (void)state;
    set_up(&f, hold);
    say(&f, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    cc_server_close(f.server);
    turn(&f);
    assert_true(f.ended && cc_req_gone(f.req));
    assert_int_equal(cc_req_start(f.req, 200, NULL, 0), CC_E_IO);
    assert_int_equal(cc_req_write(f.req, "x", 1, on_wait, &f), CC_E_IO);
    cc_req_finish(f.req);
    close(f.fd);
    uv_run(&f.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f.loop), 0);
}

static void test_abort_cuts(void **state)
{
    struct fixture f;

    (void)state;
    set_up(&f, hold);
    say(&f, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(cc_req_start(f.req, 200, NULL, 0), 0);
    assert_int_equal(cc_req_write(f.req, "abc", 3, on_wait, &f), 0);
    cc_req_abort(f.req);
    turn(&f);
    assert_true(f.ended);
    assert_non_null(strstr(f.got, "3\r\nabc\r\n"));
    assert_null(strstr(f.got, "0\r\n\r\n"));
    tear_down(&f);
}

static void test_headers_that_cannot_be_sent(void **state)
{
    static const struct cc_hdr bad[] = {
        { { "X", 1 }, { "a\r\nb", 4 } },
        { { "X\n", 2 }, { "a", 1 } },
        { { "", 0 }, { "a", 1 } },
        { { "X Y", 3 }, { "a", 1 } },
        { { "Date", 4 }, { "a", 1 } },
        { { "content-LENGTH", 14 }, { "1", 1 } },
        { { "X", 1 }, { "\0", 1 } },
        { { "Connection", 10 }, { "a", 1 } },
        { { "Transfer-Encoding", 17 }, { "a", 1 } },
    };
    struct fixture f;
    size_t i;

    (void)state;
    set_up(&f, hold);
    say(&f, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    for (i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_int_equal(cc_req_reply(f.req, 200, &bad[i], 1, "", 0), CC_E_INVALID);
    assert_int_equal(cc_req_reply(f.req, 99, NULL, 0, "", 0), CC_E_INVALID);
    assert_int_equal(f.got_len, 0);
    cc_req_reply(f.req, 204, NULL, 0, NULL, 0);
    turn(&f);
    assert_null(strstr(f.got, "Content-Length"));
    tear_down(&f);
}

static void on_drained(void *arg, bool clean) { ((struct fixture *)arg)->waited = clean ? 1 : 2; }

static void test_drain_waits_for_requests_without_a_client(void **state)
{
    struct fixture f;

    (void)state;
    set_up(&f, hold);
    say(&f, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    close(f.fd);
    f.fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    turn(&f);
    cc_server_drain(f.server, 10000, false, on_drained, &f);
    turn(&f);
    assert_int_equal(f.waited, 0);
    cc_req_reply(f.req, 200, NULL, 0, "", 0);
    turn(&f);
    assert_int_equal(f.waited, 1);
    tear_down(&f);
}

static void on_open(void *arg, int status, const struct cc_err *err)
{
    (void)err;
    on_wait(arg, NULL, status);
}

static void pass_upgrade(struct fixture *f, struct cc_req *r)
{
    struct cc_splice_opts o = {
        .at = { .host = "127.0.0.1", .port = f->port }, .dial_ms = 60000, .on_open = on_open, .arg = f
    };
    struct cc_err err;

    assert_non_null(cc_splice_dial(r, &o, &err));
}

/* Of what is sent to it only a part fits: the rest stays with the sender. */
static int small_backend(int *port)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), bytes = 1, segment = 200;
    socklen_t len = sizeof(a);

    setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof(segment));
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
    assert_int_equal(bind(fd, (struct sockaddr *)&a, len), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    *port = ntohs(a.sin_port);
    return fd;
}

/* What waits in the queue would go on to a new owner's socket, and be told to him as the old one's. */
static void test_upgrade_that_is_answered_before_it_was_asked(void **state)
{
    static const char key[] = "dGhlIHNhbXBsZSBub25jZQ==";
    char head[33000], answer[256], accept[29];
    size_t n, i;
    int listener, backend;
    struct fixture f;

    (void)state;
    set_up(&f, pass_upgrade);
    listener = small_backend(&f.port);
    n = (size_t)sprintf(head,
                        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n",
                        key);
    for (i = 0; i < 20; i++) {
        n += (size_t)sprintf(head + n, "X-%d: ", (int)i);
        memset(head + n, 'h', 1580);
        n += 1580;
        n += (size_t)sprintf(head + n, "\r\n");
    }
    sprintf(head + n, "\r\n");
    say(&f, head);
    while ((backend = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) < 0)
        turn(&f);
    turn(&f);
    assert_true(cc_ws_accept(key, sizeof(key) - 1, accept));
    n = (size_t)sprintf(answer,
                        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                        "Sec-WebSocket-Accept: %s\r\n\r\n",
                        accept);
    assert_int_equal(write(backend, answer, n), n);
    while (!f.waited)
        turn(&f);
    assert_int_equal(f.status, CC_E_UNAVAILABLE);
    cc_req_abort(f.req);
    close(backend);
    close(listener);
    tear_down(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_body_is_handed_on_as_it_comes),
        cmocka_unit_test(test_body_that_exceeds_its_limit),
        cmocka_unit_test(test_request_outlives_its_client),
        cmocka_unit_test(test_request_outlives_its_server),
        cmocka_unit_test(test_abort_cuts),
        cmocka_unit_test(test_headers_that_cannot_be_sent),
        cmocka_unit_test(test_drain_waits_for_requests_without_a_client),
        cmocka_unit_test(test_upgrade_that_is_answered_before_it_was_asked),
    };

    signal(SIGPIPE, SIG_IGN); /* as every program with this server must */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
