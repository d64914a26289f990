/* session.c - the program of a terminal: its start, what it is typed, its size, its end. See session.h.
 *
 * What is typed is written at once when nothing waits before it; else it
 * waits for the pty, and its viewer is not read meanwhile.
 */
#include "host/agent/session.h"

#include "host/sys/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

struct session *sessions;

/* ---- finding */

struct session *session_find(const char *name)
{
    struct session *s = sessions;

    while (s && (s->service || s->ended || !*name || strcmp(s->name, name) != 0))
        s = s->next;
    return s;
}

struct session *session_find_ended(const char *name, uint64_t since)
{
    struct session *s = sessions;

    while (s && (s->service || !s->ended || s->since_ms != since || strcmp(s->name, name) != 0))
        s = s->next;
    return s;
}

unsigned session_count(bool ended)
{
    const struct session *s;
    unsigned n = 0;

    for (s = sessions; s; s = s->next)
        n += *s->name && !s->service && s->ended == ended;
    return n;
}

/* ---- the end */

void session_free_if_over(struct session *s)
{
    struct session **at = &sessions;

    if (s->pid || s->polling || s->viewers || s->linger || s->busy)
        return;
    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    flow_stop(s);
    if (!s->service)
        cc_ring_free(s->ring);
    free(s->clients);
    free(s->input);
    free(s);
}

static void on_pty_closed(uv_handle_t *h)
{
    struct session *s = h->data;

    close(s->pty);
    s->pty = -1;
    s->polling = false;
    session_free_if_over(s);
}

void session_close_pty(struct session *s)
{
    if (s->polling && !uv_is_closing((uv_handle_t *)&s->poll))
        uv_close((uv_handle_t *)&s->poll, on_pty_closed);
}

static void each_viewer(struct session *s, void (*fn)(struct viewer *v))
{
    struct viewer *v = s->viewers, *next;

    for (; v; v = next) { /* fn may end it */
        next = v->next;
        fn(v);
    }
}

static void drop_lost(struct viewer *v) { viewer_drop(v, false); }

/* Those who have not got the rest by now will not. */
static void on_waited(void *arg)
{
    struct session *s = arg;

    s->linger = NULL;
    s->name[0] = '\0';
    s->busy = true;
    each_viewer(s, drop_lost);
    s->busy = false;
    session_free_if_over(s);
}

/* What it has written before it ended is sent; what others hold open after it is not waited for. */
static void program_ended(struct session *s, int status)
{
    pid_t pid = s->pid;

    s->pid = 0;
    s->status = status;
    flow_drain(s);
    session_close_pty(s);
    s->ended = s->busy = true;
    cc_timer_stop(s->linger);
    if (s->service)
        service_ended(s, pid, status);
    s->linger = *s->name && !s->service && session_count(true) < 2 * s->agent->sessions
                    ? cc_timer_start(s->agent->loop, ENDED_MS, on_waited, s)
                    : NULL;
    if (!s->linger)
        s->name[0] = '\0'; /* it ends with its viewers, so that nobody may find it */
    each_viewer(s, flow_viewer);
    s->busy = false;
    session_free_if_over(s);
}

static void reap(void)
{
    struct session *s, *next;
    int status;

    for (s = sessions; s; s = next) {
        next = s->next;
        if (s->pid && waitpid(s->pid, &status, WNOHANG) == s->pid)
            program_ended(s, status);
    }
}

static void on_child(uv_signal_t *h, int num)
{
    (void)h;
    (void)num;
    reap();
}

void session_end(struct session *s)
{
    s->name[0] = '\0';
    if (s->pid)
        kill(-s->pid, SIGHUP);
    session_close_pty(s);
}

static void on_lingered(void *arg)
{
    struct session *s = arg;

    s->linger = NULL;
    session_end(s);
}

/* ---- the start */

static void watch_children(uv_loop_t *loop)
{
    static uv_signal_t child;
    static bool watching;

    if (watching)
        return;
    uv_signal_init(loop, &child);
    uv_signal_start(&child, on_child, SIGCHLD);
    watching = true;
}

static uint64_t latest;

/* Later than that of any other, so that no two of a name are alike. */
static uint64_t birth(void)
{
    uint64_t now = (uint64_t)cc_wall_ms();

    latest = now > latest ? now : latest + 1;
    return latest;
}

static void poll_begin(struct session *s)
{
    uv_poll_init(s->agent->loop, &s->poll, s->pty);
    s->poll.data = s;
    s->polling = true;
    flow_poll(s);
}

static struct session *begin(struct agent *a, const char *name, const struct agent_program *p, struct winsize size,
                             struct cc_ring *ring)
{
    struct session *s = cc_xcalloc(1, sizeof(*s));

    watch_children(a->loop);
    s->pid = agent_program_start(p, &size, &s->pty);
    if (s->pid < 0) {
        free(s);
        return NULL;
    }
    s->agent = a;
    s->kept = *name != '\0';
    snprintf(s->name, sizeof(s->name), "%s", name);
    s->since_ms = birth();
    s->last_output_ms = (int64_t)s->since_ms;
    s->ring = ring ? ring : cc_ring_new(s->kept ? a->ring : 4 * OUTPUT_CHUNK);
    s->size = size;
    s->service = ring != NULL;
    s->next = sessions;
    sessions = s;
    poll_begin(s);
    return s;
}

struct session *session_new(struct agent *a, const char *name, const struct agent_program *p, struct winsize size)
{
    return begin(a, name, p, size, NULL);
}

struct session *session_new_service(struct agent *a, const char *name, const struct agent_program *p,
                                    struct winsize size)
{
    return begin(a, name, p, size, service_ring(name));
}

void session_go_on(struct agent *a, struct session *s, struct cc_ring *ring)
{
    struct session **at = &sessions;

    while (*at)
        at = &(*at)->next;
    *at = s;
    s->agent = a;
    s->kept = true;
    s->ring = ring;
    latest = s->since_ms > latest ? s->since_ms : latest;
    if (s->ended)
        s->linger = cc_timer_start(a->loop, ENDED_MS, on_waited, s);
    else if (s->linger_ms)
        s->linger = cc_timer_start(a->loop, s->linger_ms, on_lingered, s);
    if (s->pty < 0)
        return;
    fcntl(s->pty, F_SETFD, FD_CLOEXEC);
    poll_begin(s);
}

void session_orphan(struct agent *a, pid_t pid)
{
    struct session *s = cc_xcalloc(1, sizeof(*s));

    s->agent = a;
    s->kept = true; /* no connection ends it, nor is it in the way of the next update */
    s->pid = pid;
    s->pty = -1;
    s->ring = cc_ring_new(CC_RING_MIN);
    s->next = sessions;
    sessions = s;
}

void session_reap(struct agent *a)
{
    watch_children(a->loop);
    reap();
}

/* ---- input */

bool session_type(struct session *s, const char *data, size_t len)
{
    ssize_t n = 0;

    if (s->input_len + len > INPUT_MAX)
        return false;
    s->last_input_ms = s->agent->last_input_ms = cc_wall_ms();
    if (!s->polling || uv_is_closing((uv_handle_t *)&s->poll) || len == 0)
        return true;
    if (s->input_len == 0)
        n = write(s->pty, data, len);
    if (n < 0)
        n = errno == EAGAIN || errno == EINTR ? 0 : (ssize_t)len; /* else nobody reads it any more */
    if ((size_t)n < len) {
        len -= (size_t)n;
        s->input = cc_xrealloc(s->input, s->input_len + len);
        memcpy(s->input + s->input_len, data + n, len);
        s->input_len += len;
        flow_poll(s);
    }
    return true;
}

/* ---- size */

static void smallest(const struct session *s, struct winsize *size)
{
    const struct viewer *v;

    for (v = s->viewers; v; v = v->next) {
        if (v->wish.view)
            continue;
        size->ws_col = !size->ws_col || v->columns < size->ws_col ? v->columns : size->ws_col;
        size->ws_row = !size->ws_row || v->rows < size->ws_row ? v->rows : size->ws_row;
        if (s->by_owner)
            return;
    }
}

void session_fit(struct session *s)
{
    struct winsize size = { 0 };

    smallest(s, &size);
    if (!size.ws_col || s->pty < 0 || (size.ws_col == s->size.ws_col && size.ws_row == s->size.ws_row))
        return;
    s->size = size;
    ioctl(s->pty, TIOCSWINSZ, &size);
}

/* ---- viewers */

struct viewer *session_owner(const struct session *s)
{
    struct viewer *v = s->viewers;

    while (v && v->wish.view)
        v = v->next;
    return v;
}

static void put_in(struct session *s, struct viewer *v)
{
    struct viewer **at = &s->viewers;
    bool first = !v->wish.view && *v->wish.client && strcmp(v->wish.client, s->owner) == 0;

    while (*at && !first)
        at = &(*at)->next;
    v->next = *at;
    *at = v;
    s->n_viewers++;
}

void session_join(struct session *s, struct viewer *v)
{
    struct viewer *before = session_owner(s);

    v->session = s;
    if (!*s->owner && !v->wish.view)
        memcpy(s->owner, v->wish.client, sizeof(s->owner));
    put_in(s, v);
    if (!v->wish.view && !s->ended) {
        cc_timer_stop(s->linger);
        s->linger = NULL;
    }
    if (!v->wish.view) {
        s->linger_ms = v->wish.keep_ms;
        if (session_owner(s) == v)
            s->by_owner = v->wish.by_owner;
        s->held_until = 0;
    }
    session_fit(s);
    if (before && session_owner(s) != before)
        viewer_tell(before, 0, NULL);
}

static void take_out(struct session *s, struct viewer *v)
{
    struct viewer **at = &s->viewers;

    while (*at && *at != v)
        at = &(*at)->next;
    if (*at)
        *at = v->next;
    s->n_viewers--;
}

/* The last who could type has gone. */
static void left_alone(struct session *s, struct viewer *v, bool goodbye)
{
    if (!s->kept || (goodbye && s->linger_ms)) {
        session_end(s);
    } else if (!goodbye) {
        s->held_at = v->at;
        s->held_until = cc_mono_ms() + HOLD_MS;
        if (s->linger_ms && !s->linger)
            s->linger = cc_timer_start(s->agent->loop, s->linger_ms, on_lingered, s);
    }
}

void session_leave(struct session *s, struct viewer *v, bool goodbye)
{
    struct viewer *before = session_owner(s), *now;

    take_out(s, v);
    if (v->client) {
        v->client->here = false;
        v->client->seen_ms = cc_mono_ms();
    }
    now = session_owner(s);
    if (now && now != before) {
        s->by_owner = now->wish.by_owner;
        viewer_tell(now, 0, NULL);
    }
    if (!s->ended && !now && !v->wish.view)
        left_alone(s, v, goodbye);
    session_fit(s);
    flow_poll(s); /* it may have waited for the one who left */
    session_free_if_over(s);
}

/* ---- what is in front */

bool session_front(const struct session *s, char name[64])
{
    char path[64];
    pid_t group;
    FILE *f;

    name[0] = '\0';
    if (s->pty < 0 || (group = tcgetpgrp(s->pty)) <= 0)
        return false;
    snprintf(path, sizeof(path), "/proc/%d/comm", group);
    if (!(f = fopen(path, "re")))
        return false;
    if (!fgets(name, 64, f))
        name[0] = '\0';
    fclose(f);
    name[strcspn(name, "\n")] = '\0';
    return name[0] != '\0';
}
