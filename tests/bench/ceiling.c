/* ceiling.c - the reference of the API figures: libuv and llhttp with nothing between.
 *
 *   ceiling PORT
 *
 * Parses each request, answers 200 with a fixed body of 300 bytes and the headers that our server
 * sends, in one write a turn. No vetting, no deadlines, no routes: what no real server can beat.
 */
#include <llhttp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <uv.h>

struct conn {
    uv_tcp_t tcp;
    llhttp_t parser;
};
struct rest {
    uv_write_t write;
    char data[];
};

static llhttp_settings_t settings;
static char in[65536], out[1 << 18], reply[1024];
static size_t out_len, reply_len;

static void on_closed(uv_handle_t *h) { free(h->data); }

static void drop(struct conn *c)
{
    if (!uv_is_closing((uv_handle_t *)&c->tcp))
        uv_close((uv_handle_t *)&c->tcp, on_closed);
}

static int on_header(llhttp_t *p, const char *at, size_t n) { return (void)p, (void)at, (void)n, 0; }

static int on_complete(llhttp_t *p)
{
    (void)p;
    if (out_len + reply_len > sizeof(out))
        return -1;
    memcpy(out + out_len, reply, reply_len);
    out_len += reply_len;
    return 0;
}

static void on_written(uv_write_t *w, int status)
{
    (void)status;
    free(w);
}

static void send_out(struct conn *c)
{
    uv_buf_t buf = uv_buf_init(out, (unsigned)out_len);
    int n = uv_try_write((uv_stream_t *)&c->tcp, &buf, 1);
    struct rest *r;

    if (n == UV_EAGAIN)
        n = 0;
    if (n < 0) {
        drop(c);
    } else if ((size_t)n < out_len) {
        r = malloc(sizeof(*r) + out_len - (size_t)n);
        memcpy(r->data, out + n, out_len - (size_t)n);
        buf = uv_buf_init(r->data, (unsigned)(out_len - (size_t)n));
        uv_write(&r->write, (uv_stream_t *)&c->tcp, &buf, 1, on_written);
    }
}

static void on_alloc(uv_handle_t *h, size_t hint, uv_buf_t *buf)
{
    (void)h, (void)hint;
    *buf = uv_buf_init(in, sizeof(in));
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
    struct conn *c = s->data;

    if (n == 0)
        return;
    out_len = 0;
    if (n < 0 || llhttp_execute(&c->parser, buf->base, (size_t)n) != HPE_OK)
        drop(c);
    else if (out_len)
        send_out(c);
}

static void on_connection(uv_stream_t *server, int status)
{
    struct conn *c = calloc(1, sizeof(*c));

    (void)status;
    uv_tcp_init(server->loop, &c->tcp);
    c->tcp.data = c;
    if (uv_accept(server, (uv_stream_t *)&c->tcp) != 0) {
        drop(c);
        return;
    }
    uv_tcp_nodelay(&c->tcp, 1);
    llhttp_init(&c->parser, HTTP_REQUEST, &settings);
    uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
}

static void on_second(uv_timer_t *t)
{
    time_t now = time(NULL);
    char date[64];

    (void)t;
    strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", gmtime(&now));
    reply_len = (size_t)snprintf(reply, sizeof(reply),
                                 "HTTP/1.1 200 OK\r\nDate: %s\r\nContent-Type: application/json\r\n"
                                 "X-Content-Type-Options: nosniff\r\nX-Frame-Options: DENY\r\n"
                                 "Referrer-Policy: no-referrer\r\nContent-Length: 300\r\n\r\n%0300d",
                                 date, 0);
}

int main(int argc, char **argv)
{
    uv_loop_t *loop = uv_default_loop();
    struct sockaddr_in addr;
    uv_timer_t timer;
    uv_tcp_t server;

    if (argc != 2) {
        fputs("usage: ceiling PORT\n", stderr);
        return 2;
    }
    settings.on_url = settings.on_header_field = settings.on_header_value = on_header;
    settings.on_message_complete = on_complete;
    uv_timer_init(loop, &timer);
    uv_timer_start(&timer, on_second, 0, 1000);
    on_second(&timer);
    uv_tcp_init(loop, &server);
    uv_ip4_addr("127.0.0.1", atoi(argv[1]), &addr);
    if (uv_tcp_bind(&server, (struct sockaddr *)&addr, 0) != 0 ||
        uv_listen((uv_stream_t *)&server, 4096, on_connection) != 0) {
        fputs("ceiling: cannot listen\n", stderr);
        return 1;
    }
    return uv_run(loop, UV_RUN_DEFAULT);
}
