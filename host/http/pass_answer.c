/* pass_answer.c - the way back of a request that was passed on; see pass.h. */
#include "host/http/pass_internal.h"

#include "host/http/relayed.h"

#include <stdlib.h>
#include <string.h>

#include "host/sys/clock.h"
#include "host/sys/mem.h"

/* ---------------------------------------------------------------- back to the client */

static void on_client(void *arg, struct cc_req *r, int status);

void cc_pass_listen(struct cc_pass *p)
{
    p->r->wait = on_client;
    p->r->wait_arg = p;
    p->r->wait_gone = true;
}

/* Room, or the client has gone. */
static void on_client(void *arg, struct cc_req *r, int status)
{
    struct cc_pass *p = arg;

    (void)r;
    if (status < 0) {
        cc_pass_fail(p, CC_E_IO, "the client has gone");
        return;
    }
    cc_pass_listen(p);
    if (p->answering)
        cc_sock_read_start(p->sock, cc_sock_alloc, cc_pass_on_read);
}

static void give(void *arg, const char *data, size_t n)
{
    struct cc_pass *p = arg;

    if (p->over || n == 0)
        return;
    p->moved = true;
    if (cc_req_write(p->r, data, n, on_client, p) < 0) {
        cc_pass_fail(p, CC_E_IO, "the client has gone");
        return;
    }
    cc_pass_listen(p);
    if (p->r->conn && cc_sock_queued(p->r->conn->sock) > 0)
        cc_sock_read_stop(p->sock);
}

/* A trailer's beginning must come again with more behind it: those few bytes wait in `in`. */
static void from_chunks(struct cc_pass *p, const char *data, size_t n)
{
    ssize_t used;

    if (p->in_len) {
        p->in = cc_xrealloc(p->in, p->in_len + n);
        memcpy(p->in + p->in_len, data, n);
        p->in_len += n;
        data = p->in;
        n = p->in_len;
    }
    used = cc_body_feed(&p->body, data, n);
    if (p->over)
        return;
    if (used < 0) {
        cc_pass_fail(p, CC_E_IO, "the machine's answer is badly framed");
    } else if (p->body.done) {
        cc_pass_done(p, NULL);
    } else if ((size_t)used < n) {
        char *rest = cc_xmalloc(n - (size_t)used);

        memcpy(rest, data + used, n - (size_t)used);
        free(p->in);
        p->in = rest;
        p->in_len = n - (size_t)used;
    } else {
        p->in_len = 0;
    }
}

static void from_backend(struct cc_pass *p, const char *data, size_t n)
{
    cc_relayed_from_backend(n);
    if (p->head.chunked) {
        from_chunks(p, data, n);
        return;
    }
    if (p->left >= 0 && n > (uint64_t)p->left)
        n = (size_t)p->left; /* what is behind the body is nobody's */
    give(p, data, n);
    if (p->over || p->left < 0)
        return;
    p->left -= (int64_t)n;
    if (p->left == 0)
        cc_pass_done(p, NULL);
}

static void on_answer_end(struct cc_pass *p)
{
    if (p->left < 0 && !p->head.chunked)
        cc_pass_done(p, NULL);
    else
        cc_pass_fail(p, CC_E_IO, "the machine's answer was cut");
}

/* ---------------------------------------------------------------- the answer's head */

/* Where the parser of a body in chunks begins: the same for requests and answers, and body.c knows how to go on. */
static void begin_chunks(struct cc_pass *p)
{
    static const char head[] = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    struct cc_head h = { 0 };

    cc_head_parse(&h, &p->body.parser, head, sizeof(head) - 1);
    p->body.sink = give;
    p->body.arg = p;
}

static void head_done(struct cc_pass *p)
{
    cc_timer_stop(p->head_timer);
    p->head_timer = NULL;
    p->answered = true;
    p->deaf = true;
    cc_sock_read_stop(p->sock);
    cc_req_unwait_body(p->r); /* what becomes of the body is of no matter any more */
    cc_pass_listen(p);
    p->o.on_head(p->o.arg, &p->head, p->in, NULL);
}

enum { MEANWHILE_MAX = 16 };

/* Skips what is only said meanwhile (100, 103), but not for ever: each moves what is behind it. */
static void take_head(struct cc_pass *p)
{
    int len;

    while ((len = cc_head_scan(&p->scan, p->in, p->in_len, CC_HEAD_BYTES)) > 0) {
        if (cc_head_parse_response(&p->head, p->in, (size_t)len) != 0 || p->head.status == 101 ||
            (p->head.status < 200 && ++p->meanwhile > MEANWHILE_MAX)) {
            cc_pass_fail(p, CC_E_UNAVAILABLE, "the machine's answer is malformed");
            return;
        }
        if (p->head.status >= 200) {
            p->head_len = (size_t)len;
            head_done(p);
            return;
        }
        memmove(p->in, p->in + len, p->in_len -= (size_t)len);
        p->scan = (struct cc_head_scan){ .kind = CC_HEAD_RESPONSE };
        cc_timer_stop(p->head_timer);
        p->head_timer = NULL;
    }
    if (len < 0)
        cc_pass_fail(p, CC_E_UNAVAILABLE, "the machine's answer is malformed");
    else if (p->in_len)
        cc_pass_await_head(p);
}

void cc_pass_on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct cc_pass *p = stream->data;

    if (n < 0 && p->answering) {
        if (n == UV_EOF)
            on_answer_end(p);
        else
            cc_pass_fail(p, CC_E_IO, "the machine's answer was cut");
    } else if (n < 0) {
        cc_pass_fail(p, CC_E_UNAVAILABLE, "the machine closed the connection");
    } else if (n > 0 && p->answering) {
        from_backend(p, buf->base, (size_t)n);
    } else if (n > 0) {
        p->moved = true;
        p->in = cc_xrealloc(p->in, p->in_len + (size_t)n);
        memcpy(p->in + p->in_len, buf->base, (size_t)n);
        p->in_len += (size_t)n;
        take_head(p);
    }
}

static bool bodiless(const struct cc_pass *p)
{
    return p->head.status == 204 || p->head.status == 304 || strcmp(cc_req_method(p->r), "HEAD") == 0;
}

/* What came with the head is passed on outside of the caller's call. */
static void go_on(void *arg)
{
    struct cc_pass *p = arg;
    char *in = p->in;
    size_t n = p->in_len - p->head_len;

    p->going = false;
    if (p->over) {
        cc_pass_free(p);
        return;
    }
    p->in = NULL;
    p->in_len = 0;
    p->answering = true;
    if (p->failed.code) {
        cc_pass_done(p, &p->failed);
    } else if (bodiless(p) || (!p->head.chunked && p->left == 0)) {
        cc_pass_done(p, NULL);
    } else {
        cc_sock_read_start(p->sock, cc_sock_alloc, cc_pass_on_read);
        if (n)
            from_backend(p, in + p->head_len, n);
    }
    free(in);
}

int cc_pass_answer(struct cc_pass *p, int status, const struct cc_hdr *h, unsigned n)
{
    int rc;

    p->left = p->head.chunked ? -1 : p->head.length;
    if (p->head.chunked)
        begin_chunks(p);
    if (p->left >= 0)
        rc = cc_req_start_sized(p->r, status, h, n, (uint64_t)p->left);
    else
        rc = cc_req_start(p->r, status, h, n);
    if (rc == CC_E_INVALID || rc == CC_E_LIMIT) {
        cc_pass_cancel(p);
        return rc;
    }
    cc_pass_listen(p);
    p->moved = true;
    p->going = true;
    cc_sock_later(p->loop, go_on, p);
    return 0;
}
