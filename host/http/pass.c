/* pass.c - see pass.h; the way back is pass_answer.c's.
 *
 * While it lives both waits of the request are ours: for the body's end, for
 * room to write, or just to hear that the client has gone.  Whatever ends it goes
 * through end(), which leaves the request to the caller, or through
 * cc_pass_done().
 */
#include "host/http/pass_internal.h"

#include "host/http/relayed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/http/dial.h"
#include "host/sys/clock.h"
#include "host/sys/mem.h"

static struct cc_link all = { &all, &all };

static void ignore(void *arg, const char *data, size_t n) { (void)arg, (void)data, (void)n; }

static void stop(struct cc_pass *p)
{
    cc_timer_stop(p->timer);
    cc_timer_stop(p->head_timer);
    p->timer = p->head_timer = NULL;
    cc_backend_cancel(p->dialling);
    p->dialling = NULL;
    cc_sock_close(p->sock);
    p->sock = NULL;
    if (p->r) {
        cc_req_unwait(p->r);
        cc_req_unwait_body(p->r);
        p->r->sink = ignore; /* of a body that still comes */
    }
    cc_link_out(&p->all);
}

void cc_pass_free(void *arg)
{
    struct cc_pass *p = arg;

    free(p->request);
    free(p->in);
    free(p);
}

/* The struct goes at the end of the turn: a sink of ours may be up the stack. */
static void end(struct cc_pass *p)
{
    p->over = true;
    stop(p);
    if (!p->going)
        cc_sock_later(p->loop, cc_pass_free, p);
}

void cc_pass_cancel(struct cc_pass *p) { end(p); }

/* All was passed on, or with err the client's connection is cut: there is no other way to say that a body is not whole. */
void cc_pass_done(struct cc_pass *p, const struct cc_err *err)
{
    struct cc_req *r = p->r;

    if (p->over)
        return;
    p->r = NULL;
    cc_req_unwait(r);
    cc_req_unwait_body(r);
    if (err)
        cc_req_abort(r);
    else
        cc_req_finish(r);
    end(p);
    p->o.on_done(p->o.arg, err);
}

void cc_pass_fail(struct cc_pass *p, int code, const char *what)
{
    struct cc_err err;

    if (p->over)
        return;
    cc_err_set(&err, code, "%s", what);
    if (p->answering) {
        cc_pass_done(p, &err);
        return;
    }
    if (p->answered) {
        if (!p->failed.code)
            p->failed = err;
        return;
    }
    end(p);
    p->o.on_head(p->o.arg, NULL, NULL, &err);
}

static void on_idle(void *arg)
{
    struct cc_pass *p = arg;
    bool client_slow = p->answering && p->r->conn && cc_sock_queued(p->r->conn->sock) > 0; /* the server bounds that */

    p->timer = NULL;
    if (!p->moved && !client_slow) {
        cc_pass_fail(p, CC_E_TIMEOUT, "the machine did not answer in time");
        return;
    }
    p->moved = false;
    p->timer = cc_timer_start(p->loop, p->o.idle_ms, on_idle, p);
}

static void on_head_time(void *arg)
{
    struct cc_pass *p = arg;

    p->head_timer = NULL;
    cc_pass_fail(p, CC_E_TIMEOUT, "the head of the machine's answer did not come in time");
}

void cc_pass_await_head(struct cc_pass *p)
{
    if (!p->head_timer)
        p->head_timer = cc_timer_start(p->loop, p->o.head_ms, on_head_time, p);
}

/* ---------------------------------------------------------------- on to the machine */

static void on_backend_sent(void *owner, int status)
{
    struct cc_pass *p = owner;

    p->moved = true;
    if (status < 0)
        p->deaf = true; /* an answer may be there all the same; else its end is */
    else if (!p->deaf && !p->sent_all && cc_sock_queued(p->sock) == 0)
        cc_req_body_pause(p->r, false);
}

static void send_on(struct cc_pass *p, uv_buf_t *bufs, unsigned n)
{
    unsigned i;
    int rc;

    if (p->deaf || !p->sock)
        return;
    p->moved = true;
    for (i = 0; i < n; i++)
        cc_relayed_from_client(bufs[i].len);
    rc = cc_sock_send(p->sock, bufs, n, on_backend_sent);
    if (rc < 0)
        p->deaf = true;
    if (rc != 0 && !p->sent_all)
        cc_req_body_pause(p->r, true);
}

static void take(void *arg, const char *data, size_t n)
{
    struct cc_pass *p = arg;
    char size[20];
    uv_buf_t bufs[3];

    if (p->over || n == 0)
        return;
    bufs[0] = uv_buf_init(size, (unsigned)snprintf(size, sizeof(size), "%zx\r\n", n));
    bufs[1] = uv_buf_init((char *)data, (unsigned)n);
    bufs[2] = uv_buf_init("\r\n", 2);
    if (p->chunked)
        send_on(p, bufs, 3);
    else
        send_on(p, bufs + 1, 1);
}

static void on_body(void *arg, struct cc_req *r, int status)
{
    static char last[] = "0\r\n\r\n";
    struct cc_pass *p = arg;
    uv_buf_t buf = uv_buf_init(last, 5);

    (void)r;
    if (status < 0) {
        cc_pass_fail(p, status,
                     status == CC_E_LIMIT     ? "the body is too long"
                     : status == CC_E_TIMEOUT ? "the body came too slowly"
                     : status == CC_E_INVALID ? "the body is badly framed"
                                              : "the client has gone");
        return;
    }
    p->sent_all = true;
    if (p->chunked)
        send_on(p, &buf, 1);
    cc_pass_listen(p);
}

static void begin(void *arg)
{
    struct cc_pass *p = arg;
    uv_buf_t buf = uv_buf_init(p->request, (unsigned)p->request_len);
    int rc;

    if (p->over)
        return;
    p->sent_all = true; /* a head is no reason to pause */
    send_on(p, &buf, 1);
    p->sent_all = false;
    cc_sock_read_start(p->sock, cc_sock_alloc, cc_pass_on_read);
    rc = cc_req_body_to(p->r, p->o.body_max, take, on_body, p);
    if (rc <= 0 && !p->over)
        on_body(p, p->r, rc);
}

static void on_up(void *arg, struct cc_sock *s, char *early, size_t n, const struct cc_err *err)
{
    struct cc_pass *p = arg;

    p->dialling = NULL;
    if (!s) {
        cc_pass_fail(p, err->code, err->message);
        return;
    }
    p->sock = s;
    s->handle.data = p;
    p->in = early;
    p->in_len = n;
    begin(p);
}

struct cc_pass *cc_pass_start(struct cc_req *r, const struct cc_pass_opts *o, struct cc_err *err)
{
    struct cc_dial_ask ask = { .path = o->path,
                               .host = o->host,
                               .headers = o->headers,
                               .n_headers = o->n_headers,
                               .length = r->h.chunked      ? -1
                                         : r->h.length > 0 ? r->h.length
                                                           : 0 };
    struct cc_pass *p;
    char *head;
    int rc;

    if (!r->conn) {
        cc_err_set(err, CC_E_IO, "the client has gone");
        return NULL;
    }
    head = cc_xmalloc(CC_REPLY_HEAD_MAX);
    rc = cc_dial_request(r, &ask, head, CC_REPLY_HEAD_MAX);
    if (rc < 0) {
        free(head);
        cc_err_set(err, rc, "the request for the machine cannot be built");
        return NULL;
    }
    p = cc_xcalloc(1, sizeof(*p));
    p->request = cc_xrealloc(head, (size_t)rc);
    p->request_len = (size_t)rc;
    p->r = r;
    p->loop = r->server->loop;
    p->o = *o;
    p->o.idle_ms = o->idle_ms ? o->idle_ms : 60000;
    p->o.head_ms = o->head_ms ? o->head_ms : 10000;
    p->chunked = r->h.chunked;
    p->scan.kind = CC_HEAD_RESPONSE;
    snprintf(p->id, sizeof(p->id), "%s", o->id ? o->id : "");
    snprintf(p->who, sizeof(p->who), "%s", o->who ? o->who : "");
    cc_link_in(&all, &p->all);
    p->dialling = cc_backend_dial(p->loop, &o->at, o->dial_ms, on_up, p, err);
    if (!p->dialling) {
        p->r = NULL;
        end(p);
        return NULL;
    }
    p->timer = cc_timer_start(p->loop, p->o.idle_ms, on_idle, p);
    cc_pass_listen(p);
    return p;
}

/* ---------------------------------------------------------------- ending them */

static unsigned close_those(size_t offset, const char *what, size_t n)
{
    struct cc_link *at = all.next, *next;
    unsigned closed = 0;

    for (; at != &all; at = next) {
        struct cc_pass *p = (struct cc_pass *)((char *)at - offsetof(struct cc_pass, all));

        next = at->next;
        if (p->failed.code || strncmp((char *)p + offset, what, n) != 0)
            continue; /* of those whose answer waits to be given on it is only noted, and they stay */
        closed++;
        cc_pass_fail(p, CC_E_CANCELLED, "the connection was ended");
        next = all.next; /* what is called there may have ended others */
    }
    return closed;
}

unsigned cc_pass_close_id(const char *id) { return close_those(offsetof(struct cc_pass, id), id, strlen(id) + 1); }
unsigned cc_pass_close_who(const char *prefix)
{
    return close_those(offsetof(struct cc_pass, who), prefix, strlen(prefix));
}
