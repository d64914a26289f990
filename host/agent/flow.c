/* flow.c - what is read of a session's program and when, and who is sent what. See session.h.
 *
 * The program is read into the ring, and each viewer is sent from there as
 * fast as he takes it.  A plain client's program is not read while he lacks
 * anything.  That of a session waits for a viewer who lacks half the ring,
 * but not for one who has taken nothing for HOLD_MS, and never for one who
 * only looks on: a viewer whom the ring has left behind is told how much he
 * has lost, and goes on at the oldest place where one can begin.
 */
#include "host/agent/session.h"

#include "host/sys/err.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { LOOK_MS = 500 };

static void on_pty(uv_poll_t *h, int status, int events);

/* ---- whether to read */

static bool waits_for(const struct session *s, const struct viewer *v, uint64_t now)
{
    uint64_t lacks = cc_ring_end(s->ring) - v->at;

    if (!s->kept)
        return lacks > 0 || v->full || v->paused;
    return !v->wish.view && lacks > s->agent->ring / 2 && now - v->moved_ms < HOLD_MS;
}

static bool may_read(const struct session *s)
{
    uint64_t now = cc_mono_ms();
    const struct viewer *v;

    if (now < s->held_until && cc_ring_end(s->ring) - s->held_at > s->agent->ring / 2)
        return false;
    for (v = s->viewers; v; v = v->next)
        if (waits_for(s, v, now))
            return false;
    return true;
}

static void on_look(void *arg)
{
    struct session *s = arg;

    s->hold = NULL;
    flow_poll(s);
}

void flow_poll(struct session *s)
{
    bool reads;
    int events;

    if (!s->polling || uv_is_closing((uv_handle_t *)&s->poll))
        return;
    reads = may_read(s);
    events = (reads ? UV_READABLE : 0) | (s->input_len ? UV_WRITABLE : 0);
    if (events)
        uv_poll_start(&s->poll, events, on_pty);
    else
        uv_poll_stop(&s->poll);
    if (!reads && s->kept && !s->hold)
        s->hold = cc_timer_start(s->agent->loop, LOOK_MS, on_look, s);
}

void flow_stop(struct session *s)
{
    cc_timer_stop(s->hold);
    cc_timer_stop(s->linger);
    cc_timer_stop(s->ack);
    s->hold = s->linger = s->ack = NULL;
}

/* ---- to a viewer */

/* Whoever draws a whole screen draws it anew. */
static void ask_for_redraw(const struct session *s)
{
    pid_t group = s->pty < 0 ? 0 : tcgetpgrp(s->pty);

    if (group > 0)
        kill(-group, SIGWINCH);
}

/* It goes on at the oldest place where one can begin. A newcomer's terminal is as it begins, and he has lost nothing. */
static void begin_anew(struct viewer *v, bool newcomer)
{
    struct session *s = v->session;
    char redraw[CC_VT_RESET_TEXT + CC_VT_MODES_TEXT + 128], modes_text[CC_VT_MODES_TEXT], reset[CC_VT_RESET_TEXT];
    uint32_t modes;
    uint64_t at = cc_ring_safe(s->ring, &modes), lost = newcomer ? 0 : at - v->at;

    cc_vt_modes(modes, modes_text);
    cc_vt_reset(reset);
    if (newcomer)
        snprintf(redraw, sizeof(redraw), "%s", modes_text);
    else
        snprintf(redraw, sizeof(redraw), "%s\r\n\033[7m[%llu bytes of output were lost here]\033[m\r\n%s", reset,
                 (unsigned long long)lost, modes_text);
    v->at = at;
    viewer_tell(v, lost, redraw);
    if (at > 0)
        ask_for_redraw(s);
}

void flow_resume(struct viewer *v, bool newcomer)
{
    struct session *s = v->session;

    v->at = newcomer ? 0 : v->wish.from;
    v->moved_ms = cc_mono_ms();
    if (v->at < cc_ring_begin(s->ring))
        begin_anew(v, newcomer);
    else
        viewer_tell(v, 0, NULL);
    flow_viewer(v);
    flow_poll(s);
}

void flow_viewer(struct viewer *v)
{
    static char buf[1 + OUTPUT_CHUNK];
    struct session *s = v->session;
    size_t n;
    int rc;

    while (!v->full && !v->paused && v->at < cc_ring_end(s->ring)) {
        if (v->at < cc_ring_begin(s->ring))
            begin_anew(v, false);
        buf[0] = '0';
        n = cc_ring_copy(s->ring, v->at, buf + 1, OUTPUT_CHUNK);
        rc = cc_ws_send(v->ws, CC_WS_BINARY, buf, n + 1);
        v->full = rc != 0;
        if (rc == CC_E_IO && !v->closing) { /* while it is not read it would not notice */
            viewer_drop(v, cc_ws_code(v->ws) == 1000);
            return;
        }
        if (rc < 0)
            return;
        v->at += n;
        v->moved_ms = cc_mono_ms();
        if (!v->wish.view && v->at > s->heard)
            s->heard = v->at;
    }
    if (s->ended && !v->full && v->at == cc_ring_end(s->ring))
        viewer_end(v);
}

void flow_go_on(struct viewer *v)
{
    struct session *s = v->session;
    bool ended = s->ended; /* then both may be no more afterwards */

    flow_viewer(v);
    if (!ended)
        flow_poll(s);
}

/* ---- from the program */

/* A piece of what there is now, so that others have their turn. False: there is no more, and errno. */
static bool read_some(struct session *s)
{
    static char buf[OUTPUT_CHUNK];
    size_t max = s->kept && s->agent->ring / 8 < sizeof(buf) ? s->agent->ring / 8 : sizeof(buf), len = 0;
    ssize_t n = 1;
    int why;

    while (len < max && (n = read(s->pty, buf + len, max - len)) > 0)
        len += (size_t)n;
    why = errno;
    if (len) {
        cc_ring_add(s->ring, buf, len);
        s->last_output_ms = cc_wall_ms();
    }
    errno = why;
    return n > 0;
}

static void send_all(struct session *s)
{
    struct viewer *v = s->viewers, *next;

    for (; v; v = next) {
        next = v->next;
        flow_viewer(v);
    }
}

/* A pty holds some KiB. They come in whole, whoever lags; but others may write on. */
void flow_drain(struct session *s)
{
    uint64_t enough = cc_ring_end(s->ring) + OUTPUT_CHUNK;

    while (s->polling && !uv_is_closing((uv_handle_t *)&s->poll) && cc_ring_end(s->ring) < enough && read_some(s)) {
    }
}

static void write_input(struct session *s)
{
    ssize_t n = write(s->pty, s->input, s->input_len);
    struct viewer *v, *next;

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n < 0)
        n = (ssize_t)s->input_len; /* nobody reads it any more */
    s->input_len -= (size_t)n;
    memmove(s->input, s->input + n, s->input_len);
    for (v = s->viewers; v && s->input_len == 0; v = next) { /* one may go by being read, and fill the pty again */
        next = v->next;
        if (v->held) {
            v->held = false;
            cc_ws_resume(v->ws);
        }
    }
}

static void on_pty(uv_poll_t *h, int status, int events)
{
    struct session *s = h->data;
    bool over = status < 0;

    if (!over && (events & UV_WRITABLE) && s->input_len)
        write_input(s);
    if (s->pty < 0 || uv_is_closing((uv_handle_t *)h))
        return;
    if (!over && (events & (UV_READABLE | UV_DISCONNECT)) && !read_some(s))
        over = errno == EIO; /* the last process of the session has closed it; its exit ends the connections */
    send_all(s);
    if (over)
        session_close_pty(s);
    else
        flow_poll(s);
}
