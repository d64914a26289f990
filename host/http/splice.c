/* splice.c - see splice.h; dialling is splice_dial.c's.
 *
 * A splice may begin held: accepted, without a backend yet; what the client says meanwhile waits in
 * `kept`.  It ends in drop(); before that it may be leaving: no more is read from the backend, the
 * client has our last words, and a timer bounds how long it may take to go.
 */
#include "host/http/splice_internal.h"

#include "host/http/relayed.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "host/sys/clock.h"
#include "host/sys/mem.h"

#define LEAVE_MS 3000
#define STALL_MS 60000 /* a machine that takes no byte for so long is stuck */
#define KEPT_MAX 65536 /* of what a client says before there is a machine to hear it */
#define SILENCES 3     /* in a row, and the peer is dead: see count() */

static struct cc_link all = { &all, &all };
static void (*input_fn)(void *arg, const char *id, uint64_t bytes);
static void *input_arg;

void cc_splice_on_input(void (*fn)(void *arg, const char *id, uint64_t bytes), void *arg)
{
    input_fn = fn;
    input_arg = arg;
}

/* ---------------------------------------------------------------- moving bytes */

static void drop(struct cc_splice *s)
{
    if (s->owner)
        *s->owner = NULL;
    if (s->dial)
        cc_splice_dial_lost(s->dial);
    cc_timer_stop(s->timer);
    cc_timer_stop(s->ping);
    free(s->kept);
    free(s->lines);
    cc_sock_close(s->client);
    cc_sock_close(s->backend);
    cc_link_out(&s->all);
    cc_upgrade_end(&s->up);
    free(s);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);

static void on_leave_time(void *arg)
{
    struct cc_splice *s = arg;

    s->timer = NULL;
    drop(s);
}

static void on_last_sent(void *owner, int status)
{
    if (status < 0)
        drop(owner);
}

/* The backend is done with; the client is told, if there is a gap between frames to tell it in,
 * and gets a moment to answer. */
void cc_splice_leave(struct cc_splice *s, int code, const char *reason)
{
    uint8_t frame[14 + 125];
    size_t head, len;
    uv_buf_t buf;

    if (s->leaving)
        return;
    s->leaving = true;
    if (s->owner)
        *s->owner = NULL;
    s->owner = NULL;
    if (s->dial)
        cc_splice_dial_lost(s->dial);
    cc_timer_stop(s->ping);
    s->ping = NULL;
    cc_sock_close(s->backend);
    s->backend = NULL;
    if (cc_ws_follow_between(&s->out) && !s->out.closed) {
        len = cc_ws_close_put(frame + 2, code, reason, strlen(reason));
        head = cc_ws_head_put(frame, CC_WS_CLOSE, true, len, NULL);
        buf = uv_buf_init((char *)frame, (unsigned)(head + len));
        cc_sock_send(s->client, &buf, 1, on_last_sent); /* a failure shows in reading */
    }
    cc_sock_shutdown(s->client);
    cc_sock_read_start(s->client, cc_sock_alloc, on_read);
    cc_timer_stop(s->timer);
    s->timer = cc_timer_start(s->loop, LEAVE_MS, on_leave_time, s);
}

static void on_client_sent(void *owner, int status)
{
    struct cc_splice *s = owner;

    if (status < 0)
        drop(s);
    else if (!s->leaving && s->backend && cc_sock_queued(s->client) == 0)
        cc_sock_read_start(s->backend, cc_sock_alloc, on_read);
}

static void on_stall_time(void *arg)
{
    struct cc_splice *s = arg;

    s->timer = NULL;
    cc_splice_leave(s, 1011, "the machine takes no input");
}

static void on_backend_sent(void *owner, int status)
{
    struct cc_splice *s = owner;

    if (status < 0) {
        cc_splice_leave(s, 1011, "the machine went away");
        return;
    }
    if (s->client_ended || cc_sock_queued(s->backend) > 0)
        return;
    cc_timer_stop(s->timer);
    s->timer = NULL;
    cc_sock_read_start(s->client, cc_sock_alloc, on_read);
}

static void note_input(struct cc_splice *s, uint64_t typed)
{
    if (!typed)
        return;
    s->stats.typed += typed;
    s->stats.typed_ms = cc_wall_ms();
    if (input_fn)
        input_fn(input_arg, s->stats.id, typed);
}

/* Without a backend yet. */
static void keep(struct cc_splice *s, const char *p, size_t n)
{
    s->kept = cc_xrealloc(s->kept, s->n_kept + n);
    memcpy(s->kept + s->n_kept, p, n);
    s->n_kept += n;
    if (s->n_kept >= KEPT_MAX)
        cc_sock_read_stop(s->client);
}

void cc_splice_from_client(struct cc_splice *s, char *p, size_t n)
{
    uv_buf_t buf = uv_buf_init(p, (unsigned)n);
    int rc;

    s->pulse.heard = true;
    if (!s->backend) {
        keep(s, p, n);
        return;
    }
    s->stats.from_client += n;
    cc_relayed_from_client(n);
    note_input(s, cc_ws_follow_feed(&s->in, p, n));
    rc = cc_sock_send(s->backend, &buf, 1, on_backend_sent);
    if (rc < 0) {
        cc_splice_leave(s, 1011, "the machine went away");
    } else if (rc == 1) { /* not reading, we would not learn that the client has gone */
        cc_sock_read_stop(s->client);
        cc_timer_stop(s->timer);
        s->timer = cc_timer_start(s->loop, STALL_MS, on_stall_time, s);
    }
}

/* False when the splice is no more. */
bool cc_splice_from_backend(struct cc_splice *s, char *p, size_t n)
{
    uv_buf_t buf = uv_buf_init(p, (unsigned)n);
    int rc;

    s->backend_pulse.heard = true;
    s->stats.from_backend += n;
    cc_relayed_from_backend(n);
    cc_ws_follow_feed(&s->out, p, n);
    rc = cc_sock_send(s->client, &buf, 1, on_client_sent);
    if (rc == 1)
        cc_sock_read_stop(s->backend);
    if (rc < 0)
        drop(s);
    return rc >= 0;
}

/* The client half-closed, or closed (which looks the same): the backend hears of it and has a
 * moment to finish what it has to say. */
static void on_client_end(struct cc_splice *s, bool clean)
{
    if (!clean || s->leaving || s->client_ended || !s->backend) {
        drop(s);
        return;
    }
    s->client_ended = true;
    cc_sock_read_stop(s->client);
    cc_sock_shutdown(s->backend);
    s->timer = cc_timer_start(s->loop, LEAVE_MS, on_leave_time, s);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct cc_splice *s = stream->data;
    bool client = stream == &s->client->stream;

    if (n < 0 && client)
        on_client_end(s, n == UV_EOF);
    else if (n < 0)
        cc_splice_leave(s, 1011, "the machine went away");
    else if (n > 0 && client && !s->leaving)
        cc_splice_from_client(s, buf->base, (size_t)n);
    else if (n > 0 && !client)
        cc_splice_from_backend(s, buf->base, (size_t)n);
}

static void stop(struct cc_upgrade *up, bool now)
{
    if (now)
        drop((struct cc_splice *)up);
    else
        cc_splice_leave((struct cc_splice *)up, 1001, "the server is going away");
}

/* ---------------------------------------------------------------- pings */

/* Where a frame may begin; says whether it went out. `masked`: as a client sends it; the mask is of no use, and zero. */
static bool send_ping(struct cc_sock *sock, const struct cc_ws_follow *f, bool masked, cc_sent_fn sent)
{
    static const uint8_t key[4] = { 0 };
    uint8_t frame[14];
    uv_buf_t buf;

    if (f->closed) /* who was told to close owes the end */
        return true;
    if (!cc_ws_follow_between(f) || cc_sock_queued(sock) > 0)
        return false;
    buf = uv_buf_init((char *)frame, (unsigned)cc_ws_head_put(frame, CC_WS_PING, true, 0, masked ? key : NULL));
    cc_sock_send(sock, &buf, 1, sent); /* a failure shows in reading */
    return true;
}

/* Silent is who says nothing though he was pinged, and who takes none of the bytes that wait for him: a ping waits behind these,
 * and inside a long message there is none. What he takes is no sign where nothing waits, as his kernel takes it for one who
 * sleeps. Nor is it silence where we do not listen: `deaf`. `given`: what was there for him so far; what he has not taken grows
 * by all that we send, so that only his taking lets the difference grow. */
static void count(struct cc_splice_pulse *p, const struct cc_sock *sock, uint64_t given, bool deaf)
{
    size_t waits = cc_sock_untaken(sock);
    int64_t taken = (int64_t)given - (int64_t)waits;

    if (p->heard || deaf || (waits > 0 && taken > p->taken))
        p->silent = 0;
    else if (p->asked || waits > 0)
        p->silent++;
    if (taken > p->taken)
        p->taken = taken;
    p->heard = p->asked = false;
}

static void count_both(struct cc_splice *s)
{
    bool full = s->backend ? cc_sock_queued(s->backend) > 0 : s->n_kept >= KEPT_MAX;

    count(&s->pulse, s->client, s->stats.from_backend, full);
    if (s->backend)
        count(&s->backend_pulse, s->backend, s->stats.from_client, cc_sock_queued(s->client) > 0);
}

static void on_ping_time(void *arg)
{
    struct cc_splice *s = arg;
    uint64_t now = cc_mono_ns();
    bool real = now - s->pinged_ns >= (uint64_t)s->ping_ms * 500000; /* a virtual clock leaves nobody time to answer */

    s->ping = NULL;
    if (real) {
        count_both(s);
        s->pinged_ns = now;
    }
    if (s->pulse.silent >= SILENCES) {
        drop(s);
        return;
    }
    if (s->backend && s->backend_pulse.silent >= SILENCES) {
        cc_splice_leave(s, 1011, "the machine does not answer");
        return;
    }
    if (!s->client_ended && send_ping(s->client, &s->out, false, on_client_sent))
        s->pulse.asked = true;
    if (s->backend && !s->client_ended && send_ping(s->backend, &s->in, true, on_backend_sent))
        s->backend_pulse.asked = true;
    cc_splice_ping(s);
}

void cc_splice_ping(struct cc_splice *s)
{
    if (s->ping_ms)
        s->ping = cc_timer_start(s->loop, s->ping_ms, on_ping_time, s);
}

/* ---------------------------------------------------------------- beginning and ending */

/* The client, who is there, is taken from r, which is freed. */
void cc_splice_take(struct cc_splice *s, struct cc_req *r, const char *head, size_t head_len, char **rest, size_t *n)
{
    uv_buf_t buf = uv_buf_init((char *)head, (unsigned)head_len);

    s->client = cc_req_take(r, &s->up, rest, n);
    assert(s->client);
    s->client->handle.data = s;
    if (s->client->handle.type == UV_TCP)
        uv_tcp_keepalive(&s->client->tcp, 1, 60);
    cc_sock_send(s->client, &buf, 1, on_client_sent); /* a failure shows in reading */
    cc_sock_read_start(s->client, cc_sock_alloc, on_read);
    cc_splice_ping(s);
}

void cc_splice_join(struct cc_splice *s, struct cc_sock *backend)
{
    s->backend = backend;
    backend->handle.data = s;
    cc_sock_read_start(s->client, cc_sock_alloc, on_read); /* a held one may have been full */
    cc_sock_read_start(backend, cc_sock_alloc, on_read);
}

bool cc_splice_say(struct cc_splice *s, const char *p, size_t n)
{
    uint8_t head[14];
    uv_buf_t bufs[2] = { uv_buf_init((char *)head, (unsigned)cc_ws_head_put(head, CC_WS_BINARY, true, n, NULL)),
                         uv_buf_init((char *)p, (unsigned)n) };

    return cc_sock_send(s->client, bufs, 2, on_client_sent) >= 0;
}

struct cc_splice *cc_splice_new(uv_loop_t *loop, const struct cc_splice_opts *o)
{
    struct cc_splice *s = cc_xcalloc(1, sizeof(*s));

    s->loop = loop;
    s->up.stop = stop;
    strncpy(s->stats.id, o->id ? o->id : "", sizeof(s->stats.id) - 1);
    strncpy(s->who, o->who ? o->who : "", sizeof(s->who) - 1);
    s->in.kind = s->out.kind = (uint8_t)o->kind;
    s->stats.kind = o->kind;
    s->ping_ms = o->ping_ms;
    s->pinged_ns = cc_mono_ns();
    s->stats.opened_ms = cc_wall_ms();
    cc_link_in(&all, &s->all);
    return s;
}

static unsigned close_those(bool (*is)(const struct cc_splice *s, const char *what), const char *what, int code,
                            const char *reason)
{
    struct cc_link *at = all.next, *next;
    unsigned n = 0;

    for (; at != &all; at = next) {
        struct cc_splice *s = (struct cc_splice *)((char *)at - offsetof(struct cc_splice, all));

        next = at->next;
        if (s->leaving || !is(s, what))
            continue;
        n++;
        cc_splice_leave(s, code, reason);
    }
    return n;
}

static bool is_of_id(const struct cc_splice *s, const char *id) { return strcmp(s->stats.id, id) == 0; }
static bool is_of_who(const struct cc_splice *s, const char *prefix)
{
    return strncmp(s->who, prefix, strlen(prefix)) == 0;
}

unsigned cc_splice_close_id(const char *id, int code, const char *reason)
{
    return close_those(is_of_id, id, code, reason);
}

unsigned cc_splice_close_who(const char *prefix, int code, const char *reason)
{
    return close_those(is_of_who, prefix, code, reason);
}

unsigned cc_splice_list(struct cc_splice_stats *out, unsigned max)
{
    struct cc_link *at;
    unsigned n = 0;

    for (at = all.next; at != &all; at = at->next, n++)
        if (n < max)
            out[n] = ((struct cc_splice *)((char *)at - offsetof(struct cc_splice, all)))->stats;
    return n;
}
