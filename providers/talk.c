/* talk.c - one request to a machine's agent, from a pool thread.
 *
 * HTTP/1.0 over its unix socket: write, read to the end, no keep-alive, no
 * chunks.  The agent is inside the machine and may be anybody's work by now,
 * so the answer is bounded, its shape is checked, and time ends it.
 */
#include "providers/talk.h"

#include "host/sys/clock.h"
#include "host/sys/context.h"
#include "host/sys/mem.h"
#include "host/sys/unix_at.h"
#include "providers/activity.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <mbedtls/base64.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { ANSWER_MAX = 4 * 1024 * 1024, EXEC_MS = 60000, SLACK_MS = 2000 };

struct talk {
    struct cc_provider_ctx *x;
    uint64_t until; /* on cc_mono_ms */
    int fd;
    char *text;
    size_t n, room;
};

/* 1: the socket is ready; else why not. */
static int ready(struct talk *t, short events)
{
    struct pollfd p[2] = { { .fd = t->fd, .events = events }, { .fd = t->x->call->wake_fd, .events = POLLIN } };

    for (;;) {
        uint64_t now = cc_mono_ms();
        int left = cc_call_left_ms(t->x->call);

        if (atomic_load(&t->x->call->cancelled))
            return cc_err_set(t->x->err, CC_E_CANCELLED, "the caller gave up");
        if (left == 0 || now >= t->until)
            return cc_err_set(t->x->err, CC_E_TIMEOUT, "the machine's agent does not answer");
        if (left < 0 || (uint64_t)left > t->until - now)
            left = (int)(t->until - now);
        if (poll(p, 2, left) < 0 && errno != EINTR)
            return cc_err_sys(t->x->err, errno, "poll");
        if (p[0].revents)
            return 1;
    }
}

static int dial(struct talk *t, const char *path)
{
    struct sockaddr_un a;
    int at = cc_unix_at(path, &a), r = at < 0 ? -at : 0;

    if (r == 0 && (t->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) < 0)
        r = errno;
    if (r == 0 && connect(t->fd, (struct sockaddr *)&a, sizeof(a)) != 0)
        r = errno;
    if (at >= 0)
        close(at);
    if (r == ECONNREFUSED || r == ENOENT)
        return cc_err_set(t->x->err, CC_E_STATE, "the machine is not running");
    if (r != 0)
        return cc_err_set(t->x->err, CC_E_UNAVAILABLE, "the machine's agent is not reachable: %s", strerror(r));
    return 0;
}

static int send_all(struct talk *t, const char *text, size_t n)
{
    ssize_t w;
    int r;

    while (n > 0) {
        if ((r = ready(t, POLLOUT)) != 1)
            return r;
        w = send(t->fd, text, n, MSG_NOSIGNAL);
        if (w < 0 && (errno == EAGAIN || errno == EINTR))
            continue;
        if (w < 0)
            return errno == EPIPE ? 0 : cc_err_sys(t->x->err, errno, "sending to the agent"); /* its answer says why */
        text += w;
        n -= (size_t)w;
    }
    return 0;
}

static int receive(struct talk *t)
{
    ssize_t r;
    int e;

    for (;;) {
        if (t->room - t->n < 65536) {
            if (t->room >= ANSWER_MAX)
                return cc_err_set(t->x->err, CC_E_LIMIT, "the agent's answer is too long");
            t->text = cc_xrealloc(t->text, t->room = t->room ? t->room * 2 : 131072);
        }
        if ((e = ready(t, POLLIN)) != 1)
            return e;
        r = recv(t->fd, t->text + t->n, t->room - t->n - 1, 0);
        if (r < 0 && (errno == EAGAIN || errno == EINTR))
            continue;
        if (r < 0 && errno != ECONNRESET)
            return cc_err_sys(t->x->err, errno, "reading from the agent");
        if (r <= 0)
            break;
        t->n += (size_t)r;
    }
    t->text[t->n] = 0;
    return 0;
}

/* "HTTP/1.x NNN ...", headers, empty line, JSON. */
static int judge(struct talk *t, json_t **body)
{
    char *end = t->n ? strstr(t->text, "\r\n\r\n") : NULL;
    int status = 0, code;
    const char *word, *why;

    if (!end || sscanf(t->text, "HTTP/1.%*1d %3d", &status) != 1)
        return cc_err_set(t->x->err, CC_E_UNAVAILABLE, "the machine's agent ended the connection");
    end += 4;
    *body = json_loadb(end, t->n - (size_t)(end - t->text), 0, NULL);
    if (!json_is_object(*body))
        return cc_err_set(t->x->err, CC_E_IO, "the machine's agent answered %d without a JSON object", status);
    if (status == 200)
        return 0;
    word = json_string_value(json_object_get(*body, "code"));
    why = json_string_value(json_object_get(*body, "error"));
    if (status == 401)
        return cc_err_set(t->x->err, CC_E_DENIED,
                          "the machine's agent does not know this host's secret: stop the machine and start it");
    code = status == 404 ? CC_E_NOT_FOUND : status >= 500 ? CC_E_UNAVAILABLE : CC_E_INVALID;
    return cc_err_set(t->x->err, code, "%.200s", why ? why : word ? word : "the agent refused");
}

static int talk(const char *socket, struct cc_provider_ctx *x, const char *method, const char *path,
                const char *send_body, uint64_t ms, json_t **body)
{
    struct talk t = { .x = x, .until = cc_mono_ms() + ms, .fd = -1 };
    size_t len = send_body ? strlen(send_body) : 0;
    char head[640], trace[CC_TRACEPARENT_LEN + 1] = "";
    const struct cc_context *c = cc_context_now();
    int n, r;

    if (c && c->traced)
        cc_context_traceparent(c, trace);
    n = snprintf(head, sizeof(head),
                 "%s %s HTTP/1.0\r\nHost: agent\r\nContent-Type: application/json\r\n"
                 "Content-Length: %zu\r\nConnection: close\r\n%s%s%s%s%s%s\r\n",
                 method, path, len, x->secret ? "Authorization: Bearer " : "", x->secret ? x->secret : "",
                 x->secret ? "\r\n" : "", trace[0] ? "traceparent: " : "", trace, trace[0] ? "\r\n" : "");
    r = dial(&t, socket);
    *body = NULL;
    if (r == 0)
        r = send_all(&t, head, (size_t)n);
    if (r == 0 && len)
        r = send_all(&t, send_body, len);
    if (r == 0)
        r = receive(&t);
    if (r == 0)
        r = judge(&t, body);
    if (t.fd >= 0)
        close(t.fd);
    free(t.text);
    if (r != 0) {
        json_decref(*body);
        *body = NULL;
    }
    return r;
}

/* ---------------------------------------------------------------- exec */

static char *base64(const char *in, size_t n)
{
    size_t size = (n + 2) / 3 * 4 + 1, got;
    char *out = cc_xmalloc(size);

    if (mbedtls_base64_encode((unsigned char *)out, size, &got, (const unsigned char *)in, n) != 0)
        abort();
    out[got] = 0;
    return out;
}

static int exec_body(const struct cc_exec_spec *s, uint32_t ms, char **out, struct cc_err *err)
{
    json_t *doc = json_object(), *cmd = json_array();
    size_t i;
    int bad = 0;

    for (i = 0; i < s->cmd.n; i++)
        bad |= json_array_append_new(cmd, json_string(s->cmd.v[i]));
    json_object_set_new(doc, "cmd", cmd);
    json_object_set_new(doc, "timeout_ms", json_integer(ms));
    if (s->in_len) {
        char *text = base64(s->in, s->in_len);

        json_object_set_new(doc, "stdin", json_string(text));
        free(text);
    }
    *out = bad ? NULL : json_dumps(doc, JSON_COMPACT);
    json_decref(doc);
    return *out ? 0 : cc_err_set(err, CC_E_INVALID, "the command is not valid UTF-8");
}

static int output(struct cc_provider_ctx *x, const json_t *doc, const char *key, const char **out, size_t *len)
{
    const char *text = json_string_value(json_object_get(doc, key));
    size_t n = text ? strlen(text) : 0;
    char *buf = cc_arena_alloc(x->arena, n / 4 * 3 + 4);

    if (!text || mbedtls_base64_decode((unsigned char *)buf, n / 4 * 3 + 3, len, (const unsigned char *)text, n) != 0)
        return cc_err_set(x->err, CC_E_IO, "the machine's agent answered without %s", key);
    buf[*len] = 0;
    *out = buf;
    return 0;
}

int cc_agent_exec(const char *socket, struct cc_provider_ctx *x, const struct cc_exec_spec *spec,
                  struct cc_exec_result *out)
{
    uint32_t ms = spec->timeout_ms ? spec->timeout_ms : EXEC_MS;
    json_t *doc = NULL;
    char *body;
    int r;

    if (spec->in_len > CC_EXEC_MAX)
        return cc_err_set(x->err, CC_E_LIMIT, "standard input is longer than %d bytes", CC_EXEC_MAX);
    if ((r = exec_body(spec, ms, &body, x->err)) != 0)
        return r;
    r = talk(socket, x, "POST", "/exec", body, (uint64_t)ms + SLACK_MS, &doc);
    free(body);
    if (r == 0)
        r = output(x, doc, "stdout", &out->out, &out->out_len);
    if (r == 0)
        r = output(x, doc, "stderr", &out->err, &out->err_len);
    if (r == 0) {
        out->exit = (int)json_integer_value(json_object_get(doc, "exit"));
        out->truncated = json_is_true(json_object_get(doc, "truncated"));
    }
    json_decref(doc);
    return r;
}

int cc_agent_activity(const char *socket, struct cc_provider_ctx *x, struct cc_activity *out)
{
    json_t *doc;
    int r = talk(socket, x, "GET", "/activity", NULL, SLACK_MS, &doc);

    if (r != 0)
        return r;
    cc_activity_read(doc, cc_wall_ms(), x->arena, out);
    json_decref(doc);
    return 0;
}
