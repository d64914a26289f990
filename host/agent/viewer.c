/* viewer.c - a connection to a terminal: ttyd's protocol, and what sessions add to it (docs/terminal.md). See session.h. */
#include "host/agent/session.h"

#include "host/observe/log.h"
#include "host/sys/err.h"
#include "host/sys/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

static unsigned connected;

unsigned agent_terminals(void) { return connected; }

/* ---- what it is told */

static int send_text(struct viewer *v, char kind, const char *text)
{
    char buf[1024];
    int n = snprintf(buf, sizeof(buf), "%c%s", kind, text);

    return cc_ws_send(v->ws, CC_WS_BINARY, buf, (size_t)n);
}

static void send_greeting(struct viewer *v)
{
    char host[128] = "", title[400];

    gethostname(host, sizeof(host) - 1);
    snprintf(title, sizeof(title), "%s (%s)", v->agent->shell ? v->agent->shell : "claude", host);
    send_text(v, '1', title);
    send_text(v, '2', "{}");
}

void viewer_tell(struct viewer *v, uint64_t lost, const char *redraw)
{
    struct session *s = v->session;
    json_t *o = json_pack("{s:s,s:I,s:I,s:I,s:I,s:b,s:b,s:I}", "session", v->wish.session, "seq", (json_int_t)v->at,
                          "lost", (json_int_t)lost, "heard", (json_int_t)s->heard, "typed",
                          (json_int_t)(v->client ? v->client->typed : 0), "owner", (int)(session_owner(s) == v), "view",
                          (int)v->wish.view, "since", (json_int_t)s->since_ms);
    char *text;
    int rc;

    if (redraw && *redraw)
        json_object_set_new(o, "redraw", json_string(redraw));
    text = json_dumps(o, JSON_COMPACT);
    json_decref(o);
    rc = send_text(v, '3', text);
    v->full |= rc == 1 || rc == CC_E_FULL;
    free(text);
}

int viewer_ack(struct viewer *v)
{
    char text[64];

    snprintf(text, sizeof(text), "{\"typed\":%llu}", (unsigned long long)v->client->typed);
    return send_text(v, '4', text);
}

static void on_ack(void *arg)
{
    struct session *s = arg;
    struct viewer *v;

    s->ack = NULL;
    for (v = s->viewers; v; v = v->next)
        if (v->owes_ack) /* when his queue is full he is told at the next time */
            v->owes_ack = viewer_ack(v) == CC_E_FULL;
}

/* ---- the end */

static void viewer_free(struct viewer *v, bool goodbye)
{
    connected -= !v->wish.view;
    if (v->session)
        session_leave(v->session, v, goodbye);
    free(v);
}

void viewer_drop(struct viewer *v, bool goodbye)
{
    cc_ws_drop(v->ws);
    viewer_free(v, goodbye);
}

/* A plain client is told as ttyd tells it: a shell that failed is a connection that is cut. */
void viewer_end(struct viewer *v)
{
    int status = v->session->status, code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    char text[32];

    if (v->closing)
        return;
    v->closing = true;
    if (!v->session->kept && code != 0) {
        viewer_drop(v, true);
        return;
    }
    snprintf(text, sizeof(text), "{\"exit\":%d}", code);
    if (v->session->kept)
        send_text(v, '5', text);
    cc_ws_close(v->ws, 1000, v->session->kept ? "the shell has ended" : "");
}

static void on_close(void *arg, int code, const char *reason, size_t len)
{
    (void)reason;
    (void)len;
    viewer_free(arg, code == 1000);
}

/* ---- joining a session */

static struct client *client_of(struct session *s, const struct wish *w)
{
    struct client *c, *oldest = NULL;

    if (!*w->client || w->view)
        return NULL;
    if (!s->clients)
        s->clients = cc_xcalloc(CLIENTS_MAX, sizeof(*s->clients));
    for (c = s->clients; c < s->clients + CLIENTS_MAX; c++) {
        if (strcmp(c->id, w->client) == 0)
            return c;
        if (!c->here && (!oldest || c->seen_ms < oldest->seen_ms))
            oldest = c;
    }
    memcpy(oldest->id, w->client, sizeof(oldest->id));
    oldest->typed = w->typed;
    return oldest;
}

/* His connection that was lost may look alive from here for a while yet: what comes on it now would be typed twice. */
static void drop_former(struct session *s, const struct wish *w)
{
    struct viewer *v;

    for (v = s->viewers; v && *w->client && !w->view; v = v->next)
        if (!v->wish.view && strcmp(v->wish.client, w->client) == 0) {
            viewer_drop(v, false);
            return;
        }
}

static struct session *find(const struct wish *w)
{
    struct session *s = w->has_from && w->since ? session_find_ended(w->session, w->since) : NULL;

    return s ? s : session_find(w->session);
}

static struct session *start(struct viewer *v, struct winsize size)
{
    struct agent_program p = { .command = v->agent->shell };
    struct session *s;
    char why[80];

    if (v->wish.view) {
        cc_ws_close(v->ws, 1008, "there is no such session");
        return NULL;
    }
    if (*v->wish.session && session_count(false) >= v->agent->sessions) {
        snprintf(why, sizeof(why), "this machine keeps %u sessions already: end one", v->agent->sessions);
        cc_ws_close(v->ws, 1013, why);
        return NULL;
    }
    if (!(s = session_new(v->agent, v->wish.session, &p, size)))
        cc_ws_close(v->ws, 1011, "cannot start a shell");
    return s;
}

static void join(struct viewer *v)
{
    struct winsize size = { .ws_col = v->columns, .ws_row = v->rows };
    struct wish *w = &v->wish;
    struct session *s = find(w);
    bool resumes = s && w->has_from && (!w->since || w->since == s->since_ms) && w->from <= cc_ring_end(s->ring);

    send_greeting(v);
    if (s)
        drop_former(s, w);
    if (s && s->n_viewers >= VIEWERS_MAX) {
        cc_ws_close(v->ws, 1013, "this session has as many viewers as it may have");
        return;
    }
    if (!s && !(s = start(v, size)))
        return;
    v->client = client_of(s, w);
    if (v->client)
        v->client->here = true;
    session_join(s, v);
    if (s->kept)
        flow_resume(v, !resumes);
}

/* ---- what it says */

static bool read_size(const char *data, size_t len, unsigned short *columns, unsigned short *rows)
{
    json_t *o = json_loadb(data, len, 0, NULL);
    json_int_t c = json_integer_value(json_object_get(o, "columns")),
               r = json_integer_value(json_object_get(o, "rows"));

    json_decref(o);
    if (c < 1 || c > 5000 || r < 1 || r > 5000)
        return false;
    *columns = (unsigned short)c;
    *rows = (unsigned short)r;
    return true;
}

static void hello(struct viewer *v, const char *data, size_t len)
{
    json_t *o;

    if (v->session)
        return; /* ttyd ignores a second one */
    o = len && data[0] == '{' ? json_loadb(data, len, 0, NULL) : NULL;
    if (!o) {
        cc_ws_close(v->ws, 1008, "the first message must be the JSON hello");
        return;
    }
    json_decref(o);
    v->columns = 80;
    v->rows = 24;
    read_size(data, len, &v->columns, &v->rows);
    join(v);
}

static void type(struct viewer *v, const char *data, size_t len)
{
    struct session *s = v->session;

    if (v->wish.view)
        return;
    if (!session_type(s, data, len)) {
        v->closing = true;
        cc_ws_close(v->ws, 1013, "the program reads nothing of what was typed");
        return;
    }
    if (v->client) {
        v->client->typed += len;
        v->owes_ack = true;
        if (!s->ack)
            s->ack = cc_timer_start(s->agent->loop, ACK_MS, on_ack, s);
    }
    if (s->input_len) {
        v->held = true;
        cc_ws_pause(v->ws);
    }
}

static void on_message(void *arg, int kind, char *data, size_t len)
{
    struct viewer *v = arg;

    (void)kind;
    if (!v->session || (len && data[0] == '{')) {
        hello(v, data, len);
        return;
    }
    switch (len ? data[0] : 0) {
    case '0':
        type(v, data + 1, len - 1);
        break;
    case '1':
        if (read_size(data + 1, len - 1, &v->columns, &v->rows))
            session_fit(v->session);
        break;
    case '2':
    case '3':
        v->paused = data[0] == '2';
        v->moved_ms = cc_mono_ms();
        flow_go_on(v);
        break;
    default:
        cc_log(CC_LOG_WARN, "terminal", "a message of an unknown kind was ignored");
    }
}

static void on_drain(void *arg)
{
    struct viewer *v = arg;

    v->full = false;
    if (v->session)
        flow_go_on(v);
}

/* ---- opening */

/* A value of the query, of at most max letters of `allowed`. 0: absent, 1: there, -1: it is wrong. */
static int query_value(struct cc_text q, const char *name, const char *allowed, char *out, size_t max)
{
    size_t len = strlen(name), n;
    const char *p = q.p, *end = q.p + q.n, *next;

    out[0] = '\0';
    for (; p && p < end; p = next + 1) {
        if (!(next = memchr(p, '&', (size_t)(end - p))))
            next = end;
        if ((size_t)(next - p) <= len || memcmp(p, name, len) != 0 || p[len] != '=')
            continue;
        p += len + 1;
        n = (size_t)(next - p);
        if (n == 0 || n > max)
            return -1;
        memcpy(out, p, n);
        out[n] = '\0';
        return strspn(out, allowed) == n ? 1 : -1;
    }
    return 0;
}

static bool number(struct cc_text q, const char *name, uint64_t *out, bool *has)
{
    char text[17];
    int is = query_value(q, name, "0123456789", text, 15);

    *out = is == 1 ? strtoull(text, NULL, 10) : 0;
    if (has)
        *has = is == 1;
    return is >= 0;
}

/* NULL, or what is wrong. */
static const char *read_wish(struct cc_text q, struct wish *w)
{
    char word[16];
    int is;

    is = query_value(q, "session", AGENT_NAME, w->session, SESSION_NAME - 1);
    if (is < 0 || (is && !agent_name_ok(w->session)))
        return "session: 1 to 64 letters, digits, '.', '_' or '-' expected, no '.' or '-' first";
    if (query_value(q, "client", AGENT_NAME, w->client, SESSION_NAME - 1) < 0)
        return "client: 1 to 64 letters, digits, '.', '_' or '-' expected";
    if (!number(q, "from", &w->from, &w->has_from) || !number(q, "typed", &w->typed, NULL) ||
        !number(q, "since", &w->since, NULL) || !number(q, "keep", &w->keep_ms, NULL))
        return "from, typed, since, keep: numbers expected";
    w->keep_ms *= 1000;
    is = query_value(q, "view", "1", word, 1);
    w->view = is == 1;
    if (is < 0)
        return "view: 1 expected";
    is = query_value(q, "resize", "abcdefghijklmnopqrstuvwxyz", word, sizeof(word) - 1);
    w->by_owner = is == 1 && strcmp(word, "owner") == 0;
    if (is && !w->by_owner && strcmp(word, "smallest") != 0)
        return "resize: owner or smallest expected";
    if (!*w->session && (w->view || *w->client || w->has_from))
        return "session: a name expected";
    return NULL;
}

void agent_terminal(struct agent *a, struct cc_req *r)
{
    static const struct cc_ws_events events = { on_message, on_close, on_drain };
    const struct cc_ws_opts opts = { .protocol = "tty", .max_message = MESSAGE_MAX, .max_queue = 4 * OUTPUT_CHUNK };
    struct viewer *v = cc_xcalloc(1, sizeof(*v));
    const char *wrong = read_wish(cc_req_query(r), &v->wish);
    int rc;

    v->agent = a;
    if (wrong || (rc = cc_ws_open(r, &opts, &events, v, &v->ws)) != 0) {
        free(v);
        if (wrong)
            cc_req_reply_error(r, 400, "invalid", wrong);
        else
            cc_ws_refuse(r, rc);
        return;
    }
    connected += !v->wish.view;
    cc_ws_resume(v->ws);
}
