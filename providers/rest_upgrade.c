/* rest_upgrade.c - a request that turns its connection into a stream (docker's exec).
 *
 * libcurl connects (unix socket, TCP, TLS) and lends its connection; the request
 * is written and the answer's head read here, for libcurl 7.88 knows no upgrade
 * but its own.  Both directions are moved side by side, or a program that
 * answers while it reads would stand still.
 */
#include "providers/rest_internal.h"

#include "host/http/head.h"
#include "host/sys/clock.h"
#include "host/sys/mem.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CONNECT_MS = 10000, HEAD_MAX = 16384, ERROR_MAX = 65536 };

struct stream {
    struct cc_provider_ctx *x;
    const struct cc_rest_req *q;
    struct cc_rest_res *out;
    CURL *easy;
    curl_socket_t fd;
    const char *in; /* what is still to be sent */
    size_t in_len;
    char head[HEAD_MAX + 1];
    size_t head_n;
    char *error; /* the body of an answer that is no stream */
    size_t error_n, error_len;
    bool open, over;
    char why[CURL_ERROR_SIZE];
};

static int dial(const struct cc_rest *r, struct stream *s)
{
    int left = cc_call_left_ms(s->x->call);
    CURLcode rc;

    s->easy = cc_curl.easy_init();
    cc_curl.easy_setopt(s->easy, CURLOPT_URL, r->base);
    cc_rest_peer(r, s->easy);
    cc_curl.easy_setopt(s->easy, CURLOPT_ERRORBUFFER, s->why);
    cc_curl.easy_setopt(s->easy, CURLOPT_CONNECT_ONLY, 1L);
    cc_curl.easy_setopt(s->easy, CURLOPT_CONNECTTIMEOUT_MS,
                        left < 0 || left > CONNECT_MS ? (long)CONNECT_MS : left + 1L);
    if ((rc = cc_curl.easy_perform(s->easy)) != CURLE_OK)
        return cc_rest_failure(rc, s->why, s->x->err);
    if (cc_curl.easy_getinfo(s->easy, CURLINFO_ACTIVESOCKET, &s->fd) != CURLE_OK || s->fd == CURL_SOCKET_BAD)
        return cc_err_set(s->x->err, CC_E_IO, "the connection has gone");
    return 0;
}

static int wait_for(struct stream *s, bool writing)
{
    struct pollfd p[2] = { { .fd = s->fd, .events = (short)(POLLIN | (writing ? POLLOUT : 0)) },
                           { .fd = s->x->call->wake_fd, .events = POLLIN } };
    int rc = cc_call_check(s->x->call, s->x->err);

    if (rc == 0)
        poll(p, 2, cc_call_left_ms(s->x->call));
    return rc;
}

/* As much as goes. */
static int send_some(struct stream *s)
{
    size_t n = 0;
    CURLcode rc = s->in_len ? cc_curl.easy_send(s->easy, s->in, s->in_len, &n) : CURLE_AGAIN;

    if (rc == CURLE_AGAIN)
        return 0;
    if (rc != CURLE_OK) { /* what it has to say may still come */
        s->in_len = 0;
        return 0;
    }
    s->in += n;
    s->in_len -= n;
    return 0;
}

static int give(struct stream *s, const char *p, size_t n)
{
    if (!s->open) {
        size_t room = s->error_len - s->error_n;

        n = n < room ? n : room;
        memcpy(s->error + s->error_n, p, n);
        s->error_n += n;
        s->over = s->error_n == s->error_len;
        return 0;
    }
    if (n == 0 || s->q->take(s->q->arg, p, n))
        return 0;
    return s->x->err->code ? s->x->err->code
                           : cc_err_set(s->x->err, CC_E_CANCELLED, "the stream was not wanted any more");
}

/* The head, and whatever of the stream came with it. */
static int take_head(struct stream *s, const char *p, size_t n)
{
    size_t room = HEAD_MAX - s->head_n, had = n < room ? n : room;
    struct cc_head h = { 0 };
    const char *end;

    memcpy(s->head + s->head_n, p, had);
    s->head_n += had;
    s->head[s->head_n] = 0;
    if (!(end = memmem(s->head, s->head_n, "\r\n\r\n", 4)))
        return s->head_n < HEAD_MAX ? 0 : cc_err_set(s->x->err, CC_E_IO, "the answer's head is too long");
    end += 4;
    if (cc_head_parse_response(&h, s->head, (size_t)(end - s->head)) != 0)
        return cc_err_set(s->x->err, CC_E_IO, "the answer is no HTTP");
    s->out->status = h.status;
    s->open = h.status == 101 || h.status == 200;
    s->error_len = s->open ? 0 : h.chunked || h.length < 0 || h.length > ERROR_MAX ? ERROR_MAX : (size_t)h.length;
    s->error = s->open ? NULL : cc_xmalloc(s->error_len + 1);
    s->over = !s->open && s->error_len == 0;
    n = (size_t)(p + n - (p + had)) + (size_t)(s->head + s->head_n - end);
    return give(s, end, n);
}

static int receive_some(struct stream *s, bool *more)
{
    static _Thread_local char buf[HEAD_MAX];
    size_t n = 0;
    CURLcode rc = cc_curl.easy_recv(s->easy, buf, sizeof(buf), &n);

    *more = false;
    if (rc == CURLE_AGAIN)
        return 0;
    if (rc != CURLE_OK)
        return cc_rest_failure(rc, s->why, s->x->err);
    if (n == 0) {
        s->over = true;
        return s->out->status ? 0 : cc_err_set(s->x->err, CC_E_IO, "the connection was closed without an answer");
    }
    *more = true;
    return s->out->status ? give(s, buf, n) : take_head(s, buf, n);
}

static int converse(struct stream *s, const char *request, const char *in, size_t in_len)
{
    bool sent = false, more;
    int rc;

    s->in = request;
    s->in_len = strlen(request);
    for (;;) {
        if ((rc = send_some(s)) != 0)
            return rc;
        do {
            if ((rc = receive_some(s, &more)) != 0 || s->over)
                return rc;
        } while (more && !cc_call_over(s->x->call));
        if (s->open && !sent && s->in_len == 0) {
            sent = true;
            s->in = in;
            s->in_len = in_len;
            continue;
        }
        if ((rc = wait_for(s, s->in_len > 0)) != 0)
            return rc;
    }
}

int cc_rest_upgrade(struct cc_rest *r, struct cc_provider_ctx *x, const struct cc_rest_req *q, const char *in,
                    size_t in_len, struct cc_rest_res *out)
{
    struct stream *s = cc_xcalloc(1, sizeof(*s));
    char *body = q->json ? json_dumps(q->json, JSON_COMPACT) : cc_xstrdup("");
    char *request = cc_xasprintf("%s %s HTTP/1.1\r\nHost: localhost\r\nUser-Agent: %s\r\nConnection: Upgrade\r\n"
                                 "Upgrade: tcp\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                                 q->method, q->path, r->agent, strlen(body), body);
    int rc;

    x->err->code = 0;
    *out = (struct cc_rest_res){ .rate_limit = -1, .rate_left = -1, .text = "" };
    s->x = x, s->q = q, s->out = out;
    if ((rc = cc_call_check(x->call, x->err)) == 0 && (rc = dial(r, s)) == 0)
        rc = converse(s, request, in, in_len);
    if (rc == 0 && s->error) {
        out->text = cc_arena_strndup(x->arena, s->error, s->error_n);
        out->n = s->error_n;
        out->json = json_loadb(s->error, s->error_n, JSON_DECODE_ANY, NULL);
    }
    cc_curl.easy_cleanup(s->easy);
    free(request), free(body), free(s->error), free(s);
    return rc;
}
