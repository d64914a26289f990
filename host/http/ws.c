/* ws.c - see ws.h.
 *
 * States: open; closing (our close frame is out); finished (on_close is due or
 * done).  `busy` marks that input is being used: what ends the socket
 * meanwhile only marks it, and feed() frees on its way out.
 */
#include "host/http/ws.h"

#include <stdlib.h>
#include <string.h>

#include "host/http/conn.h"
#include "host/http/handshake.h"
#include "host/http/text.h"
#include "host/sys/clock.h"
#include "host/sys/err.h"
#include "host/sys/mem.h"
#include "host/sys/random.h"

#define CLOSE_TIMES 20 /* how often close_ms may pass in closing while the peer takes what was queued before */
#define CLOSE_STILL 3  /* the same where he takes nothing of it */

struct cc_ws {
    struct cc_upgrade up; /* first: stop() casts; of a client's end it has no server */
    struct cc_sock *sock;
    struct cc_ws_events e;
    void *arg;
    struct cc_ws_opts o;
    struct cc_timer *timer;
    uv_loop_t *loop;
    struct cc_ws_head head;
    struct cc_ws_frame frame;
    struct cc_utf8 utf8;
    uint64_t left;  /* of the frame's payload */
    size_t untaken; /* while closing: at the last look */
    char *msg;      /* message under way, when it came in pieces */
    size_t msg_len, msg_cap;
    char *in; /* read but not used, while paused */
    size_t in_len;
    int kind; /* of the message under way; 0: none */
    int code; /* what on_close will say */
    uint8_t reason_len, ctl_len, close_times, stood_still;
    bool client, in_frame, busy, paused, closing, finished, heard, pinged, want_drain, eof;
    uint8_t ctl[125];
    char reason[125];
};

static void feed(struct cc_ws *ws, char *p, size_t n);

/* ---------------------------------------------------------------- ends */

static void ws_free(struct cc_ws *ws)
{
    cc_timer_stop(ws->timer);
    cc_sock_close(ws->sock);
    if (!ws->client)
        cc_upgrade_end(&ws->up);
    free(ws->msg);
    free(ws->in);
    free(ws);
}

static void keep_reason(struct cc_ws *ws, int code, const void *reason, size_t len)
{
    ws->code = code;
    ws->reason_len = (uint8_t)(len > 123 ? 123 : len);
    memcpy(ws->reason, reason, ws->reason_len);
}

/* The one way out: tells, once, and frees as soon as nobody stands on the struct. */
static void finish(struct cc_ws *ws)
{
    if (ws->finished)
        return;
    ws->finished = true;
    if (ws->busy)
        return;
    ws->busy = true;
    if (ws->e.on_close)
        ws->e.on_close(ws->arg, ws->code, ws->reason, ws->reason_len);
    ws_free(ws);
}

static void lost(struct cc_ws *ws)
{
    if (!ws->code)
        keep_reason(ws, 1006, "", 0);
    finish(ws);
}

static void on_sent(void *owner, int status)
{
    struct cc_ws *ws = owner;

    if (status < 0) {
        lost(ws);
        return;
    }
    if (cc_sock_queued(ws->sock) > 0 || !ws->want_drain || ws->closing)
        return;
    ws->want_drain = false;
    if (ws->e.on_drain)
        ws->e.on_drain(ws->arg);
}

/* What a client sends is masked, with a key that is new for each frame. */
static int send_masked(struct cc_ws *ws, int op, const void *data, size_t len)
{
    char *frame = cc_xmalloc(14 + len);
    uint8_t key[4];
    uv_buf_t buf;
    size_t head;
    int rc;

    cc_random(key, sizeof(key));
    head = cc_ws_head_put((uint8_t *)frame, op, true, len, key);
    if (len)
        memcpy(frame + head, data, len);
    cc_ws_mask(frame + head, len, key, 0);
    buf = uv_buf_init(frame, (unsigned)(head + len));
    rc = cc_sock_send(ws->sock, &buf, 1, on_sent);
    free(frame);
    return rc;
}

static int send_frame(struct cc_ws *ws, int op, const void *data, size_t len)
{
    uint8_t head[14];
    uv_buf_t bufs[2];

    if (ws->client)
        return send_masked(ws, op, data, len);
    bufs[0] = uv_buf_init((char *)head, (unsigned)cc_ws_head_put(head, op, true, len, NULL));
    bufs[1] = uv_buf_init((char *)data, (unsigned)len);
    return cc_sock_send(ws->sock, bufs, len ? 2 : 1, on_sent);
}

/* ---------------------------------------------------------------- time */

/* The close frame is behind all that waits: a slow reader who reads has his time. What he takes is told in steps (a window
 * that opens), so he may seem to stand still for a while. */
static bool takes_the_rest(struct cc_ws *ws)
{
    size_t before = ws->untaken;

    ws->untaken = cc_sock_untaken(ws->sock);
    if (ws->untaken < before)
        ws->stood_still = 0;
    else if (ws->untaken == 0 || ++ws->stood_still == CLOSE_STILL)
        return false;
    return ++ws->close_times < CLOSE_TIMES;
}

static void on_time(void *arg)
{
    struct cc_ws *ws = arg;

    ws->timer = NULL;
    if (ws->closing && takes_the_rest(ws)) {
        ws->timer = cc_timer_start(ws->loop, ws->o.close_ms, on_time, ws);
        return;
    }
    ws->heard = ws->heard || ws->paused; /* not reading, we cannot hear */
    if (ws->closing || (ws->pinged && !ws->heard)) {
        lost(ws);
        return;
    }
    ws->pinged = !ws->heard;
    if ((ws->pinged || (ws->paused && cc_sock_queued(ws->sock) == 0)) && send_frame(ws, CC_WS_PING, NULL, 0) < 0) {
        lost(ws); /* only this tells of one who has gone while we do not read */
        return;
    }
    ws->heard = false;
    ws->timer = cc_timer_start(ws->loop, ws->o.ping_ms, on_time, ws);
}

static void start_close(struct cc_ws *ws, int code, const char *reason, size_t len)
{
    uint8_t payload[125];
    size_t n = code == 1005 ? 0 : cc_ws_close_put(payload, code, reason, len);

    if (ws->closing)
        return;
    ws->closing = true;
    free(ws->in); /* what was not read yet will not be */
    ws->in = NULL;
    ws->in_len = 0;
    send_frame(ws, CC_WS_CLOSE, payload, n);
    ws->untaken = cc_sock_untaken(ws->sock);
    cc_timer_stop(ws->timer);
    ws->timer = cc_timer_start(ws->loop, ws->o.close_ms, on_time, ws);
}

static void fail(struct cc_ws *ws, int code, const char *reason)
{
    if (ws->closing) {
        lost(ws);
        return;
    }
    keep_reason(ws, code, reason, strlen(reason));
    start_close(ws, code, reason, strlen(reason));
    cc_sock_shutdown(ws->sock);
    ws->eof = true; /* nothing it still says counts */
}

/* ---------------------------------------------------------------- frames in */

static void on_close_frame(struct cc_ws *ws)
{
    struct cc_utf8 u = { 0, 0, 0 };
    int code = ws->ctl_len >= 2 ? ws->ctl[0] << 8 | ws->ctl[1] : 1005;

    if (ws->ctl_len == 1 || (ws->ctl_len >= 2 && !cc_ws_code_ok(code))) {
        fail(ws, 1002, "bad close code");
        return;
    }
    if (ws->ctl_len > 2 && (!cc_utf8_feed(&u, ws->ctl + 2, ws->ctl_len - 2u) || !cc_utf8_ended(&u))) {
        fail(ws, 1007, "the reason is not UTF-8");
        return;
    }
    if (!ws->code)
        keep_reason(ws, code, ws->ctl + 2, ws->ctl_len > 2 ? ws->ctl_len - 2u : 0);
    if (!ws->closing) {
        start_close(ws, code, "", 0);
        cc_sock_shutdown(ws->sock); /* the peer closes the connection; a timer sees to it */
        ws->eof = true;
        return;
    }
    finish(ws);
}

static void on_control(struct cc_ws *ws)
{
    if (ws->frame.op == CC_WS_CLOSE)
        on_close_frame(ws);
    else if (ws->frame.op == CC_WS_PING && !ws->closing && cc_sock_queued(ws->sock) < ws->o.max_queue)
        send_frame(ws, CC_WS_PONG, ws->ctl, ws->ctl_len);
}

static void on_frame(struct cc_ws *ws)
{
    const struct cc_ws_frame *f = &ws->frame;

    if (f->masked == ws->client) {
        fail(ws, 1002, ws->client ? "masked frame" : "unmasked frame");
        return;
    }
    if (f->op >= CC_WS_CLOSE) {
        ws->ctl_len = 0;
        return;
    }
    if ((f->op == CC_WS_CONT) != (ws->kind != 0)) {
        fail(ws, 1002, f->op == CC_WS_CONT ? "nothing to continue" : "a message is under way");
        return;
    }
    if (f->len > ws->o.max_message || ws->msg_len + f->len > ws->o.max_message) {
        fail(ws, 1009, "message too big");
        return;
    }
    if (f->op != CC_WS_CONT) {
        ws->kind = f->op;
        ws->utf8 = (struct cc_utf8){ 0, 0, 0 };
    }
}

static void append(struct cc_ws *ws, const char *p, size_t n)
{
    if (n == 0)
        return;
    if (ws->msg_cap - ws->msg_len < n) {
        size_t cap = ws->msg_cap ? ws->msg_cap * 2 : 1024;

        while (cap < ws->msg_len + n)
            cap *= 2;
        ws->msg = cc_xrealloc(ws->msg, cap);
        ws->msg_cap = cap;
    }
    memcpy(ws->msg + ws->msg_len, p, n);
    ws->msg_len += n;
}

static void deliver(struct cc_ws *ws, char *p, size_t n)
{
    int kind = ws->kind;

    ws->kind = 0;
    if (!ws->closing && ws->e.on_message)
        ws->e.on_message(ws->arg, kind, p, n);
    free(ws->msg);
    ws->msg = NULL;
    ws->msg_len = ws->msg_cap = 0;
}

/* n bytes of a data frame's payload, unmasked; the frame's end when `left` is 0. */
static void on_data(struct cc_ws *ws, char *p, size_t n)
{
    bool last = ws->left == 0 && ws->frame.fin;

    if (ws->kind == CC_WS_TEXT && (!cc_utf8_feed(&ws->utf8, p, n) || (last && !cc_utf8_ended(&ws->utf8)))) {
        fail(ws, 1007, "text is not UTF-8");
        return;
    }
    if (last && ws->msg_len == 0) {
        deliver(ws, p, n);
        return;
    }
    append(ws, p, n);
    if (last)
        deliver(ws, ws->msg, ws->msg_len);
}

static size_t on_payload(struct cc_ws *ws, char *p, size_t n)
{
    size_t take = ws->left < n ? (size_t)ws->left : n;
    bool control = ws->frame.op >= CC_WS_CLOSE;

    if (ws->frame.masked)
        cc_ws_mask(p, take, ws->frame.key, ws->frame.len - ws->left);
    ws->left -= take;
    if (control) {
        memcpy(ws->ctl + ws->ctl_len, p, take);
        ws->ctl_len = (uint8_t)(ws->ctl_len + take);
    }
    if (ws->left == 0)
        ws->in_frame = false;
    if (!control)
        on_data(ws, p, take);
    else if (ws->left == 0)
        on_control(ws);
    return take;
}

static size_t on_bytes(struct cc_ws *ws, char *p, size_t n)
{
    bool done;
    int used;

    if (ws->in_frame)
        return on_payload(ws, p, n);
    used = cc_ws_head_feed(&ws->head, p, n, &ws->frame, &done);
    if (used < 0) {
        fail(ws, 1002, "bad frame");
        return n;
    }
    if (!done)
        return (size_t)used;
    ws->left = ws->frame.len;
    ws->in_frame = true;
    on_frame(ws);
    if (ws->in_frame && ws->left == 0 && !ws->eof)
        on_payload(ws, p + used, 0);
    return (size_t)used;
}

static void feed(struct cc_ws *ws, char *p, size_t n)
{
    ws->busy = true;
    while (n > 0 && !ws->paused && !ws->eof && !ws->finished) {
        size_t used = on_bytes(ws, p, n);

        p += used;
        n -= used;
    }
    ws->busy = false;
    if (ws->finished) {
        ws->finished = false;
        finish(ws);
        return;
    }
    if (ws->paused && n > 0 && !ws->closing) {
        char *rest = cc_xmalloc(n);

        memcpy(rest, p, n);
        free(ws->in);
        ws->in = rest;
        ws->in_len = n;
    }
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct cc_ws *ws = stream->data;

    if (n < 0) {
        cc_sock_read_stop(ws->sock);
        lost(ws);
        return;
    }
    ws->heard = true;
    if (n > 0 && !ws->eof)
        feed(ws, buf->base, (size_t)n);
}

/* ---------------------------------------------------------------- opening */

static void stop(struct cc_upgrade *up, bool now)
{
    struct cc_ws *ws = (struct cc_ws *)up;

    if (!now) {
        cc_ws_close(ws, 1001, "the server is going away");
        return;
    }
    lost(ws);
}

static struct cc_ws *ws_new(uv_loop_t *loop, const struct cc_ws_opts *o, const struct cc_ws_events *e, void *arg)
{
    struct cc_ws *ws = cc_xcalloc(1, sizeof(*ws));

    ws->loop = loop;
    ws->e = *e;
    ws->arg = arg;
    ws->o = *o;
    ws->o.protocol = NULL;
    if (!o->max_message)
        ws->o.max_message = 1 << 20;
    if (!o->max_queue)
        ws->o.max_queue = 1 << 20;
    if (!o->ping_ms)
        ws->o.ping_ms = 30000;
    if (!o->close_ms)
        ws->o.close_ms = 3000;
    ws->up.stop = stop;
    ws->paused = true;
    return ws;
}

struct cc_ws *cc_ws_adopt(uv_loop_t *loop, struct cc_sock *sock, char *rest, size_t rest_len,
                          const struct cc_ws_opts *o, const struct cc_ws_events *e, void *arg)
{
    struct cc_ws *ws = ws_new(loop, o, e, arg);

    ws->client = true;
    ws->sock = sock;
    sock->handle.data = ws;
    ws->in = rest;
    ws->in_len = rest_len;
    ws->timer = cc_timer_start(loop, ws->o.ping_ms, on_time, ws);
    return ws;
}

int cc_ws_open(struct cc_req *r, const struct cc_ws_opts *o, const struct cc_ws_events *e, void *arg,
               struct cc_ws **out)
{
    char accept[29], *rest;
    struct cc_hdr h[3] = { { { "Upgrade", 7 }, { "websocket", 9 } },
                           { { "Sec-WebSocket-Accept", 20 }, { accept, 28 } } };
    struct cc_ws *ws;
    const char *head;
    size_t rest_len;
    uv_buf_t buf;
    int rc = cc_ws_vet(r, accept);

    if (rc < 0)
        return rc;
    if (!r->conn || r->server->draining)
        return CC_E_IO;
    if (o->protocol && cc_ws_offers(r, o->protocol))
        h[2] = (struct cc_hdr){ { "Sec-WebSocket-Protocol", 22 }, { o->protocol, strlen(o->protocol) } };
    rc = cc_reply_head(r, 101, h, h[2].name.p ? 3 : 2, FRAMING_NONE, 0, &head);
    if (rc < 0)
        return rc;
    ws = ws_new(r->server->loop, o, e, arg);
    ws->sock = cc_req_take(r, &ws->up, &rest, &rest_len);
    ws->sock->handle.data = ws;
    buf = uv_buf_init((char *)head, (unsigned)rc);
    cc_sock_send(ws->sock, &buf, 1, on_sent); /* a failure shows in reading */
    ws->timer = cc_timer_start(ws->loop, ws->o.ping_ms, on_time, ws);
    ws->in = rest; /* used at the first resume, like all input */
    ws->in_len = rest_len;
    *out = ws;
    return 0;
}

void cc_ws_refuse(struct cc_req *r, int rc)
{
    static const struct cc_hdr version = { { "Sec-WebSocket-Version", 21 }, { "13", 2 } };
    static const char body[] = "{\"error\":\"only WebSocket version 13 is spoken here\",\"code\":\"unsupported\"}";

    if (rc == CC_E_UNSUPPORTED)
        cc_req_reply(r, 426, &version, 1, body, sizeof(body) - 1);
    else if (rc == CC_E_IO)
        cc_req_reply_error(r, 503, "unavailable", "the server is going away");
    else
        cc_req_reply_error(r, 400, "invalid", "a WebSocket upgrade is expected here");
}

/* ---------------------------------------------------------------- verbs */

int cc_ws_send(struct cc_ws *ws, int kind, const void *data, size_t len)
{
    size_t queued = cc_sock_queued(ws->sock);
    int rc;

    if (ws->closing || ws->finished)
        return CC_E_IO;
    if (queued > 0 && queued + len > ws->o.max_queue) {
        ws->want_drain = true;
        return CC_E_FULL;
    }
    rc = send_frame(ws, kind, data, len);
    if (rc == 1)
        ws->want_drain = true;
    return rc < 0 ? CC_E_IO : rc;
}

void cc_ws_pause(struct cc_ws *ws)
{
    if (ws->paused || ws->closing)
        return;
    ws->paused = true;
    cc_sock_read_stop(ws->sock);
}

void cc_ws_resume(struct cc_ws *ws)
{
    char *in = ws->in;
    size_t n = ws->in_len;

    if (!ws->paused || ws->finished)
        return;
    ws->paused = false;
    if (!ws->busy && in) {
        ws->in = NULL;
        ws->in_len = 0;
        cc_sock_read_start(ws->sock, cc_sock_alloc, on_read);
        feed(ws, in, n);
        free(in);
        return;
    }
    cc_sock_read_start(ws->sock, cc_sock_alloc, on_read);
}

void cc_ws_close(struct cc_ws *ws, int code, const char *reason)
{
    if (ws->closing || ws->finished)
        return;
    keep_reason(ws, code, reason, strlen(reason));
    start_close(ws, code, reason, strlen(reason));
    if (ws->paused)
        cc_sock_read_start(ws->sock, cc_sock_alloc, on_read);
    ws->paused = false;
}

int cc_ws_code(const struct cc_ws *ws) { return ws->code; }

void cc_ws_drop(struct cc_ws *ws)
{
    ws->e = (struct cc_ws_events){ NULL, NULL, NULL };
    lost(ws);
}
