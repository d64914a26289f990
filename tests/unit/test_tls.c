/* TLS beneath a socket, against a client of mbedTLS's own in a thread: an owner that reads in bites and stops, that sends
 * before the handshake, that closes where it is awkward; what is queued never runs back; nothing is left. */
#include "host/http/certs.h"
#include "host/http/sock.h"
#include "host/http/tls.h"
#include "host/http/tls_conn.h"
#include "host/sys/err.h"

#include <errno.h>
#include <mbedtls/net_sockets.h>
#include <mbedtls/ssl.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <unistd.h>
#include <cmocka.h>

#define BYTES 300000

#ifndef MBEDTLS_PRIVATE
#define MBEDTLS_PRIVATE(field) field
#endif

struct fixture {
    uv_loop_t loop;
    uv_tcp_t listener;
    struct cc_tls *tls;
    struct cc_sock *sock;
    int port;
    /* the owner */
    char got[BYTES];
    size_t got_len, bite;
    int end;
    size_t handed, moved;
    size_t most_kept; /* of what came in and mbedTLS has not taken */
    bool sent, close_in_read, accepted;
    void (*on_accept)(struct fixture *f);
    /* the client */
    pthread_t thread;
    int (*client)(struct fixture *f, mbedtls_ssl_context *ssl);
    char heard[BYTES];
    size_t heard_len;
    int result;
};

static char dir[] = "/tmp/cchost-unit-tls-XXXXXX";
static char cert[64], key[64], other[64];

static int make_files(void **state)
{
    char cmd[512];

    (void)state;
    if (!mkdtemp(dir))
        return -1;
    snprintf(cert, sizeof(cert), "%s/cert", dir);
    snprintf(key, sizeof(key), "%s/key", dir);
    snprintf(other, sizeof(other), "%s/other", dir);
    snprintf(cmd, sizeof(cmd),
             "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout %s -out %s -subj /CN=a.test "
             "-days 2 2>/dev/null && openssl ecparam -name prime256v1 -genkey -noout -out %s",
             key, cert, other);
    return system(cmd);
}

static int remove_files(void **state)
{
    (void)state;
    unlink(cert);
    unlink(key);
    unlink(other);
    return rmdir(dir);
}

/* ---------------------------------------------------------------- the client */

static int on_random(void *arg, unsigned char *out, size_t n)
{
    (void)arg;
    return getrandom(out, n, 0) == (ssize_t)n ? 0 : -1;
}

static void *run_client(void *arg)
{
    struct fixture *f = arg;
    mbedtls_ssl_context ssl;
    mbedtls_ssl_config conf;
    mbedtls_net_context net;
    char port[8];
    int rc;

    snprintf(port, sizeof(port), "%d", f->port);
    mbedtls_net_init(&net);
    mbedtls_ssl_init(&ssl);
    mbedtls_ssl_config_init(&conf);
    mbedtls_ssl_config_defaults(&conf, MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT);
    mbedtls_ssl_conf_rng(&conf, on_random, NULL);
    mbedtls_ssl_conf_authmode(&conf, MBEDTLS_SSL_VERIFY_NONE);
    rc = mbedtls_net_connect(&net, "127.0.0.1", port, MBEDTLS_NET_PROTO_TCP);
    if (rc == 0)
        rc = mbedtls_ssl_setup(&ssl, &conf);
    mbedtls_ssl_set_bio(&ssl, &net, mbedtls_net_send, mbedtls_net_recv, NULL);
    f->result = rc ? rc : f->client(f, &ssl);
    mbedtls_net_free(&net);
    mbedtls_ssl_free(&ssl);
    mbedtls_ssl_config_free(&conf);
    return NULL;
}

/* Says BYTES bytes, each telling its place, and ends TLS. */
static int say_all(struct fixture *f, mbedtls_ssl_context *ssl)
{
    unsigned char out[5000];
    size_t at, i;
    int rc = mbedtls_ssl_handshake(ssl);

    (void)f;
    for (at = 0; rc >= 0 && at < BYTES; at += (size_t)rc) {
        size_t n = BYTES - at < sizeof(out) ? BYTES - at : sizeof(out);

        for (i = 0; i < n; i++)
            out[i] = (unsigned char)((at + i) % 251);
        rc = mbedtls_ssl_write(ssl, out, n);
        if (rc < 0)
            return rc;
    }
    return rc < 0 ? rc : mbedtls_ssl_close_notify(ssl);
}

/* Hears until the server ends TLS. */
static int hear_all(struct fixture *f, mbedtls_ssl_context *ssl)
{
    int rc = mbedtls_ssl_handshake(ssl);

    while (rc >= 0 && f->heard_len < BYTES) {
        usleep(f->heard_len % 7 == 0 ? 200 : 0); /* a slow one */
        rc = mbedtls_ssl_read(ssl, (unsigned char *)f->heard + f->heard_len, 1000);
        if (rc <= 0)
            break;
        f->heard_len += (size_t)rc;
    }
    if (rc > 0)
        rc = mbedtls_ssl_read(ssl, (unsigned char *)f->heard, 1);
    return rc == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY ? 0 : rc ? rc : -1;
}

static int send_raw(mbedtls_ssl_context *ssl, const unsigned char *p, size_t n)
{
    size_t at = 0;
    int rc = 0;

    for (; rc >= 0 && at<n; at += rc> 0 ? (size_t)rc : 0)
        rc = mbedtls_net_send(ssl->MBEDTLS_PRIVATE(p_bio), p + at, n - at); /* it blocks */
    return rc < 0 ? rc : 0;
}

/* Until the server has read all that was sent. */
static void wait_until_read(struct fixture *f)
{
    uv_os_fd_t fd;
    int left = 1;

    assert_int_equal(uv_fileno(&f->sock->handle, &fd), 0);
    while (ioctl(fd, FIONREAD, &left) == 0 && left > 0)
        sched_yield();
}

/* In the middle of the handshake warnings without end, which mbedTLS passes over; each read ends within one. Then it goes
 * on with the handshake. */
static int warn_and_say(struct fixture *f, mbedtls_ssl_context *ssl)
{
    static const unsigned char warning[] = { MBEDTLS_SSL_MSG_ALERT, 3, 3, 0, 2, MBEDTLS_SSL_ALERT_LEVEL_WARNING, 90 };
    static unsigned char many[200 * sizeof(warning)];
    mbedtls_net_context *net = ssl->MBEDTLS_PRIVATE(p_bio);
    int rc = 0, on = 1;
    size_t i;

    setsockopt(net->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* so that what is sent is there to be read */
    for (i = 0; i < sizeof(many); i++)
        many[i] = warning[(i + 1) % sizeof(warning)];
    while (rc == 0 && ssl->MBEDTLS_PRIVATE(state) != MBEDTLS_SSL_CLIENT_CERTIFICATE)
        rc = mbedtls_ssl_handshake_step(ssl);
    if (rc == 0)
        rc = send_raw(ssl, warning, 1);
    for (i = 0; rc == 0 && i < 500; i++) {
        wait_until_read(f);
        rc = send_raw(ssl, many, sizeof(many));
    }
    if (rc == 0)
        rc = send_raw(ssl, warning + 1, sizeof(warning) - 1);
    return rc ? rc : say_all(f, ssl);
}

/* ---------------------------------------------------------------- the owner */

static void on_alloc(uv_handle_t *h, size_t hint, uv_buf_t *buf)
{
    struct fixture *f = h->data;

    cc_sock_alloc(h, hint, buf);
    if (f->bite)
        buf->len = f->bite;
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf);

static void go_on(void *arg)
{
    struct fixture *f = arg;

    if (f->sock)
        cc_sock_read_start(f->sock, on_alloc, on_read);
}

static void done(struct fixture *f)
{
    cc_sock_close(f->sock);
    f->sock = NULL;
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
    struct fixture *f = s->data;

    assert_ptr_equal(s, &f->sock->stream);
    if (n < 0) {
        f->end = (int)n;
        done(f);
        return;
    }
    assert_true(f->got_len + (size_t)n <= sizeof(f->got));
    memcpy(f->got + f->got_len, buf->base, (size_t)n);
    f->got_len += (size_t)n;
    if (f->close_in_read) {
        done(f);
    } else if (f->bite) { /* stops in the middle of a record, and goes on in another turn, or at once */
        f->bite = f->bite % 4099 + 1;
        cc_sock_read_stop(f->sock);
        if (f->bite % 3 == 0)
            go_on(f);
        else
            cc_sock_later(&f->loop, go_on, f);
    }
}

static void on_connection(uv_stream_t *stream, int status)
{
    struct fixture *f = stream->data;
    struct cc_layers *l = cc_tls_layers(f->tls);

    assert_int_equal(status, 0);
    f->sock = cc_sock_new(&f->loop, false, f);
    assert_int_equal(uv_accept(stream, &f->sock->stream), 0);
    f->accepted = true;
    l->begin(l, f->sock);
    assert_int_equal(cc_sock_queued(f->sock), 0);
    f->on_accept(f);
}

static void read_all(struct fixture *f) { cc_sock_read_start(f->sock, on_alloc, on_read); }

static void note_moved(struct fixture *f)
{
    size_t moved = f->handed - cc_sock_queued(f->sock);

    assert_true(cc_sock_queued(f->sock) <= f->handed);
    assert_true(moved >= f->moved);
    f->moved = moved;
}

static void on_sent(void *owner, int status)
{
    struct fixture *f = owner;

    assert_int_equal(status, 0);
    note_moved(f);
    if (cc_sock_queued(f->sock) > 0)
        return;
    f->sent = true;
    assert_int_equal(f->moved, f->handed);
}

/* In pieces of all sizes, all of it before the first byte of the handshake has come. */
static void send_all(struct fixture *f)
{
    static char out[BYTES];
    size_t at, n, i;

    for (i = 0; i < BYTES; i++)
        out[i] = (char)(i % 251);
    for (at = 0, n = 1; at < BYTES; at += n, n = n * 2 + 1) {
        uv_buf_t bufs[2];

        n = n < BYTES - at ? n : BYTES - at;
        bufs[0] = uv_buf_init(out + at, (unsigned)(n / 2));
        bufs[1] = uv_buf_init(out + at + n / 2, (unsigned)(n - n / 2));
        f->handed += n;
        assert_int_equal(cc_sock_send(f->sock, bufs, 2, on_sent), 1);
        note_moved(f);
    }
    assert_int_equal(cc_sock_queued(f->sock), BYTES);
    cc_sock_shutdown(f->sock);
    cc_sock_read_start(f->sock, on_alloc, on_read);
}

static void close_now(struct fixture *f) { done(f); }

static struct fixture *begin(int (*client)(struct fixture *, mbedtls_ssl_context *),
                             void (*on_accept)(struct fixture *))
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct cc_cert_files files = { cert, key };
    struct sockaddr_in in;
    struct cc_err err;
    struct cc_certs *certs = cc_certs_load(&files, 1, &err);
    int len = sizeof(in);

    assert_non_null(f);
    assert_non_null(certs);
    uv_loop_init(&f->loop);
    f->tls = cc_tls_new(&f->loop, certs);
    f->client = client;
    f->on_accept = on_accept;
    uv_tcp_init(&f->loop, &f->listener);
    f->listener.data = f;
    uv_ip4_addr("127.0.0.1", 0, &in);
    assert_int_equal(uv_tcp_bind(&f->listener, (struct sockaddr *)&in, 0), 0);
    assert_int_equal(uv_listen((uv_stream_t *)&f->listener, 8, on_connection), 0);
    uv_tcp_getsockname(&f->listener, (struct sockaddr *)&in, &len);
    f->port = ntohs(in.sin_port);
    assert_int_equal(pthread_create(&f->thread, NULL, run_client, f), 0);
    return f;
}

/* Until the owner has closed, then until nothing is left of it. */
static void run(struct fixture *f)
{
    struct cc_layers *l = cc_tls_layers(f->tls);

    while (!f->accepted || f->sock) {
        uv_run(&f->loop, UV_RUN_ONCE);
        if (f->sock)
            note_moved(f);
        if (f->sock && cc_tls_conn_of(f->sock)->in.cap > f->most_kept)
            f->most_kept = cc_tls_conn_of(f->sock)->in.cap;
    }
    uv_close((uv_handle_t *)&f->listener, NULL);
    l->end(l);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    pthread_join(f->thread, NULL);
    assert_int_equal(uv_loop_close(&f->loop), 0);
}

static void check_bytes(const char *p, size_t n)
{
    size_t i;

    assert_int_equal(n, BYTES);
    for (i = 0; i < n; i++)
        assert_int_equal((unsigned char)p[i], i % 251);
}

/* ---------------------------------------------------------------- tests */

static void test_read_in_one(void **state)
{
    struct fixture *f = begin(say_all, read_all);

    (void)state;
    run(f);
    check_bytes(f->got, f->got_len);
    assert_int_equal(f->end, UV_EOF);
    assert_int_equal(f->result, 0);
    free(f);
}

static void test_handshake_keeps_little(void **state)
{
    struct fixture *f = begin(warn_and_say, read_all);

    (void)state;
    run(f);
    check_bytes(f->got, f->got_len);
    assert_in_range(f->most_kept, 1, 64 * 1024);
    free(f);
}

static void read_in_bites(struct fixture *f)
{
    f->bite = 1;
    read_all(f);
}

static void test_read_in_bites(void **state)
{
    struct fixture *f = begin(say_all, read_in_bites);

    (void)state;
    run(f);
    check_bytes(f->got, f->got_len);
    assert_int_equal(f->end, UV_EOF);
    free(f);
}

static void test_send_before_handshake(void **state)
{
    struct fixture *f = begin(hear_all, send_all);

    (void)state;
    run(f);
    check_bytes(f->heard, f->heard_len);
    assert_true(f->sent);
    assert_int_equal(f->result, 0);
    free(f);
}

static void read_and_close(struct fixture *f)
{
    f->close_in_read = true;
    f->bite = 10;
    read_all(f);
}

static void test_close_in_read(void **state)
{
    struct fixture *f = begin(say_all, read_and_close);

    (void)state;
    run(f);
    assert_int_equal(f->got_len, 10);
    free(f);
}

static void test_close_at_once(void **state)
{
    struct fixture *f = begin(say_all, close_now);

    (void)state;
    run(f);
    assert_true(f->result < 0);
    free(f);
}

static uv_timer_t timer;
static void on_time(uv_timer_t *t)
{
    struct fixture *f = t->data;

    if (f->sock)
        done(f);
    uv_close((uv_handle_t *)t, NULL);
}

static void close_at_work(struct fixture *f)
{
    static unsigned ms;

    read_all(f);
    uv_timer_init(&f->loop, &timer);
    timer.data = f;
    uv_timer_start(&timer, on_time, ms++ % 6, 0);
}

/* At any moment of a handshake, which takes some 3 ms of a thread. */
static void test_close_at_work(void **state)
{
    int i;

    (void)state;
    for (i = 0; i < 24; i++) {
        struct fixture *f = begin(hear_all, close_at_work);

        run(f);
        assert_int_not_equal(f->result, MBEDTLS_ERR_NET_CONNECT_FAILED);
        free(f);
    }
}

static void test_bad_files(void **state)
{
    struct cc_cert_files wrong = { cert, other }, none = { "/nonexistent/cert", key }, swapped = { key, cert };
    struct cc_err err;

    (void)state;
    assert_null(cc_certs_load(&wrong, 1, &err));
    assert_non_null(strstr(err.message, "does not belong to"));
    assert_int_equal(err.code, CC_E_INVALID);
    assert_null(cc_certs_load(&none, 1, &err));
    assert_non_null(strstr(err.message, "/nonexistent/cert"));
    assert_int_equal(err.code, CC_E_NOT_FOUND);
    assert_null(cc_certs_load(&swapped, 1, &err));
    assert_non_null(strstr(err.message, "holds no certificate"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read_in_one),   cmocka_unit_test(test_handshake_keeps_little),
        cmocka_unit_test(test_read_in_bites), cmocka_unit_test(test_send_before_handshake),
        cmocka_unit_test(test_close_in_read), cmocka_unit_test(test_close_at_once),
        cmocka_unit_test(test_close_at_work), cmocka_unit_test(test_bad_files),
    };

    return cmocka_run_group_tests(tests, make_files, remove_files);
}
