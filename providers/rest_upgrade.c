/* rest_upgrade.c - a request that turns its connection into a stream (docker's exec).
 *
 * libcurl connects (unix socket, TCP, TLS) and lends its connection; the request
 * is written and the answer's head read here, for libcurl 7.88 knows no upgrade
 * but its own.  Nothing here blocks once it is connected, so that whoever has the
 * stream moves both directions side by side, or a program that answers while it
 * reads would stand still.
 */
#include "providers/rest_internal.h"

#include "host/http/head.h"
#include "host/sys/mem.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CONNECT_MS = 10000, HEAD_MAX = 16384, ERROR_MAX = 65536 };

struct cc_rest_stream {
    struct cc_provider_ctx *x;
    CURL *easy;
    curl_socket_t fd;
    char head[HEAD_MAX + 1]; /* of the answer, and what came with it */
    size_t n, at;
    bool over;
    char why[CURL_ERROR_SIZE];
};

/* ---------------------------------------------------------------- connecting */

/* While libcurl connects, it asks about once a second. */
static int on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    (void)a, (void)b, (void)c, (void)d;
    return cc_call_over(arg);
}

static int dial(const struct cc_rest *r, struct cc_rest_stream *s)
{
    int left = cc_call_left_ms(s->x->call), rc = cc_call_check(s->x->call, s->x->err);
    CURLcode code;

    if (rc != 0)
        return rc;
    s->easy = cc_curl.easy_init();
    cc_curl.easy_setopt(s->easy, CURLOPT_URL, r->base);
    cc_rest_peer(r, s->easy);
    cc_curl.easy_setopt(s->easy, CURLOPT_ERRORBUFFER, s->why);
    cc_curl.easy_setopt(s->easy, CURLOPT_CONNECT_ONLY, 1L);
    cc_curl.easy_setopt(s->easy, CURLOPT_CONNECTTIMEOUT_MS,
                        left < 0 || left > CONNECT_MS ? (long)CONNECT_MS : left + 1L);
    cc_curl.easy_setopt(s->easy, CURLOPT_NOPROGRESS, 0L);
    cc_curl.easy_setopt(s->easy, CURLOPT_XFERINFOFUNCTION, on_progress);
    cc_curl.easy_setopt(s->easy, CURLOPT_XFERINFODATA, (void *)s->x->call);
    if ((code = cc_curl.easy_perform(s->easy)) != CURLE_OK)
        return (rc = cc_call_check(s->x->call, s->x->err)) ? rc : cc_rest_failure(code, s->why, s->x->err);
    if (cc_curl.easy_getinfo(s->easy, CURLINFO_ACTIVESOCKET, &s->fd) != CURLE_OK || s->fd == CURL_SOCKET_BAD)
        return cc_err_set(s->x->err, CC_E_IO, "the connection has gone");
    return 0;
}

/* ---------------------------------------------------------------- both directions */

int cc_rest_stream_fd(const struct cc_rest_stream *s) { return s->fd; }

/* A peer that takes no more may still have something to say: what was to be sent counts as sent then. */
size_t cc_rest_stream_send(struct cc_rest_stream *s, const char *p, size_t n)
{
    size_t sent = 0;
    CURLcode rc = n ? cc_curl.easy_send(s->easy, p, n, &sent) : CURLE_AGAIN;

    return rc == CURLE_AGAIN ? 0 : rc != CURLE_OK ? n : sent;
}

static int receive(struct cc_rest_stream *s, char *buf, size_t most, size_t *got)
{
    CURLcode rc = cc_curl.easy_recv(s->easy, buf, most, got);

    if (rc == CURLE_AGAIN || rc == CURLE_OK)
        s->over = rc == CURLE_OK && *got == 0;
    return rc == CURLE_AGAIN || rc == CURLE_OK ? 0 : cc_rest_failure(rc, s->why, s->x->err);
}

int cc_rest_stream_recv(struct cc_rest_stream *s, char *buf, size_t most, size_t *got, bool *over)
{
    int rc = 0;

    *got = 0;
    if (s->at < s->n) {
        *got = s->n - s->at < most ? s->n - s->at : most;
        memcpy(buf, s->head + s->at, *got);
        s->at += *got;
    } else if (!s->over) {
        rc = receive(s, buf, most, got);
    }
    *over = s->over;
    return rc;
}

static int wait_for(struct cc_rest_stream *s, bool writing)
{
    struct pollfd p[2] = { { .fd = s->fd, .events = (short)(POLLIN | (writing ? POLLOUT : 0)) },
                           { .fd = s->x->call->wake_fd, .events = POLLIN } };
    int rc = cc_call_check(s->x->call, s->x->err);

    if (rc == 0)
        poll(p, 2, cc_call_left_ms(s->x->call));
    return rc;
}

/* ---------------------------------------------------------------- the request and its answer */

static int send_all(struct cc_rest_stream *s, const char *p, size_t n)
{
    size_t sent;
    int rc;

    while (n > 0) {
        sent = cc_rest_stream_send(s, p, n);
        p += sent;
        n -= sent;
        if (sent == 0 && (rc = wait_for(s, true)) != 0)
            return rc;
    }
    return 0;
}

/* Until all of the head is there; what is behind it is the stream's first. */
static int take_head(struct cc_rest_stream *s, struct cc_head *h)
{
    const char *end = NULL;
    size_t got;
    int rc;

    while (!end) {
        if (s->n == HEAD_MAX)
            return cc_err_set(s->x->err, CC_E_IO, "the answer's head is too long");
        got = 0;
        if ((rc = receive(s, s->head + s->n, HEAD_MAX - s->n, &got)) != 0)
            return rc;
        if (s->over)
            return cc_err_set(s->x->err, CC_E_IO, "the connection was closed without an answer");
        s->n += got;
        s->head[s->n] = 0;
        end = memmem(s->head, s->n, "\r\n\r\n", 4);
        if (!end && got == 0 && (rc = wait_for(s, false)) != 0)
            return rc;
    }
    s->at = (size_t)(end + 4 - s->head);
    return cc_head_parse_response(h, s->head, s->at) == 0 ? 0 : cc_err_set(s->x->err, CC_E_IO, "the answer is no HTTP");
}

/* The body of an answer that is no stream. */
static int take_error(struct cc_rest_stream *s, const struct cc_head *h, struct cc_rest_res *out)
{
    size_t most = h->chunked || h->length < 0 || h->length > ERROR_MAX ? ERROR_MAX : (size_t)h->length, n = 0, got;
    char *text = cc_xmalloc(most + 1);
    bool over = false;
    int rc = 0;

    while (rc == 0 && n < most && !over) {
        rc = cc_rest_stream_recv(s, text + n, most - n, &got, &over);
        n += got;
        if (rc == 0 && got == 0 && !over)
            rc = wait_for(s, false);
    }
    out->text = cc_arena_strndup(s->x->arena, text, n);
    out->n = n;
    out->json = json_loadb(text, n, JSON_DECODE_ANY, NULL);
    free(text);
    return rc;
}

static char *request_of(const struct cc_rest *r, const struct cc_rest_req *q)
{
    char *body = q->json ? json_dumps(q->json, JSON_COMPACT) : cc_xstrdup("");
    char *text = cc_xasprintf("%s %s HTTP/1.1\r\nHost: localhost\r\nUser-Agent: %s\r\nConnection: Upgrade\r\n"
                              "Upgrade: tcp\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                              q->method, q->path, r->agent, strlen(body), body);

    free(body);
    return text;
}

int cc_rest_stream_open(struct cc_rest *r, struct cc_provider_ctx *x, const struct cc_rest_req *q,
                        struct cc_rest_res *out, struct cc_rest_stream **stream)
{
    struct cc_rest_stream *s = cc_xcalloc(1, sizeof(*s));
    char *request = request_of(r, q);
    struct cc_head h = { 0 };
    int rc;

    x->err->code = 0;
    *out = (struct cc_rest_res){ .rate_limit = -1, .rate_left = -1, .text = "" };
    *stream = NULL;
    s->x = x;
    if ((rc = dial(r, s)) == 0 && (rc = send_all(s, request, strlen(request))) == 0 && (rc = take_head(s, &h)) == 0)
        out->status = h.status;
    if (rc == 0 && (h.status == 101 || h.status == 200))
        *stream = s;
    else if (rc == 0)
        rc = take_error(s, &h, out);
    if (!*stream)
        cc_rest_stream_close(s);
    free(request);
    return rc;
}

void cc_rest_stream_close(struct cc_rest_stream *s)
{
    if (!s)
        return;
    cc_curl.easy_cleanup(s->easy);
    free(s);
}

/* ---------------------------------------------------------------- where all that is to be sent is known */

int cc_rest_stream_converse(struct cc_rest_stream *s, const char *in, size_t in_len, cc_rest_take take, void *arg)
{
    static _Thread_local char buf[HEAD_MAX];
    struct cc_err *err = s->x->err;
    size_t sent, got;
    bool over;
    int rc;

    for (;;) {
        sent = cc_rest_stream_send(s, in, in_len);
        in += sent;
        in_len -= sent;
        do {
            if ((rc = cc_rest_stream_recv(s, buf, sizeof(buf), &got, &over)) != 0)
                return rc;
            if (got > 0 && !take(arg, buf, got))
                return err->code ? err->code : cc_err_set(err, CC_E_CANCELLED, "the stream was not wanted any more");
            if (over)
                return 0;
        } while (got > 0 && !cc_call_over(s->x->call));
        if ((rc = wait_for(s, in_len > 0)) != 0)
            return rc;
    }
}
