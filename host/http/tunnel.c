/* tunnel.c - see tunnel.h.
 *
 * TLS may hold bytes that no poll tells of, so pump() goes on until nothing
 * moves any more.  It always ends: the pair is only read again once what was
 * read has gone, and a user who has gone half-way has LINGER_MS to hear the
 * last words.
 */
#include "host/http/tunnel.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/sys/clock.h"
#include "host/sys/mem.h"

enum { CHUNK = 32 * 1024, LINGER_MS = 3000 };

/* One way: what was read and is not yet written. */
struct way {
    size_t at, len;
    bool ended; /* nothing more will be read */
    char buf[CHUNK];
};

struct tunnel {
    CURL *easy;
    int fd; /* our end of the pair */
    uv_loop_t *loop;
    uv_poll_t net, pair;
    struct cc_timer *timer;
    unsigned handles;
    bool over, bad;
    struct way up, down; /* to the net, from it */
};

static void on_closed(uv_handle_t *h)
{
    struct tunnel *t = h->data;

    if (--t->handles)
        return;
    close(t->fd);
    cc_curl.easy_cleanup(t->easy); /* says goodbye in TLS, and closes libcurl's socket */
    free(t);
}

static void end(struct tunnel *t)
{
    if (t->over)
        return;
    t->over = true;
    cc_timer_stop(t->timer);
    uv_close((uv_handle_t *)&t->net, on_closed);
    uv_close((uv_handle_t *)&t->pair, on_closed);
}

static void on_linger(void *arg)
{
    struct tunnel *t = arg;

    t->timer = NULL;
    end(t);
}

static bool user_is_gone(const struct tunnel *t)
{
    struct pollfd p = { .fd = t->fd };

    return poll(&p, 1, 0) > 0 && p.revents & (POLLHUP | POLLERR);
}

static bool read_pair(struct tunnel *t)
{
    struct way *w = &t->up;
    ssize_t n;

    if (w->len || w->ended)
        return false;
    n = recv(t->fd, w->buf, CHUNK, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (n <= 0) {
        w->ended = true;
        t->timer = cc_timer_start(t->loop, LINGER_MS, on_linger, t);
        return false;
    }
    w->at = 0;
    w->len = (size_t)n;
    return true;
}

static bool write_net(struct tunnel *t)
{
    struct way *w = &t->up;
    size_t n = 0;

    if (!w->len)
        return false;
    switch (cc_curl.easy_send(t->easy, w->buf + w->at, w->len, &n)) {
    case CURLE_OK:
        w->at += n;
        w->len -= n;
        return n > 0;
    case CURLE_AGAIN:
        return false;
    default:
        t->bad = true;
        return false;
    }
}

static bool read_net(struct tunnel *t)
{
    struct way *w = &t->down;
    CURLcode rc;
    size_t n = 0;

    if (w->len || w->ended)
        return false;
    rc = cc_curl.easy_recv(t->easy, w->buf, CHUNK, &n);
    if (rc == CURLE_AGAIN)
        return false;
    if (rc != CURLE_OK || n == 0) {
        w->ended = true;
        return false;
    }
    w->at = 0;
    w->len = n;
    return true;
}

static bool write_pair(struct tunnel *t)
{
    struct way *w = &t->down;
    ssize_t n;

    if (!w->len)
        return false;
    n = send(t->fd, w->buf + w->at, w->len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR)
        t->bad = true;
    if (n <= 0)
        return false;
    w->at += (size_t)n;
    w->len -= (size_t)n;
    return true;
}

static void on_poll(uv_poll_t *h, int status, int events);

static void watch(uv_poll_t *h, bool reads, bool writes)
{
    int events = (reads ? UV_READABLE : 0) | (writes ? UV_WRITABLE : 0);

    if (events)
        uv_poll_start(h, events, on_poll);
    else
        uv_poll_stop(h);
}

static void pump(struct tunnel *t)
{
    bool moved;

    do {
        moved = read_pair(t);
        moved |= write_net(t);
        moved |= read_net(t);
        moved |= write_pair(t);
    } while (moved && !t->bad);
    if (t->bad || (t->down.ended && !t->down.len) || (t->up.ended && user_is_gone(t))) {
        end(t);
        return;
    }
    watch(&t->pair, !t->up.len && !t->up.ended, t->down.len > 0);
    watch(&t->net, !t->down.len, t->up.len > 0);
}

static void on_poll(uv_poll_t *h, int status, int events)
{
    (void)status, (void)events; /* an error shows in reading and writing */
    pump(h->data);
}

int cc_tunnel_start(uv_loop_t *loop, CURL *easy)
{
    curl_socket_t net = CURL_SOCKET_BAD;
    struct tunnel *t;
    int pair[2];

    if (cc_curl.easy_getinfo(easy, CURLINFO_ACTIVESOCKET, &net) != CURLE_OK || net == CURL_SOCKET_BAD) {
        cc_curl.easy_cleanup(easy);
        return UV_ENOTCONN;
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
        cc_curl.easy_cleanup(easy);
        return uv_translate_sys_error(errno);
    }
    t = cc_xcalloc(1, sizeof(*t));
    t->easy = easy;
    t->loop = loop;
    t->fd = pair[0];
    t->handles = 2;
    t->net.data = t->pair.data = t;
    uv_poll_init_socket(loop, &t->net, net);
    uv_poll_init_socket(loop, &t->pair, t->fd);
    watch(&t->pair, true, false);
    watch(&t->net, true, false);
    return pair[1];
}
