/* exec.c - POST /exec: a program run to its end, its streams in the answer.
 *
 * It has a process group of its own, killed at the timeout and when the host
 * goes away.  The answer is sent once the program has ended and its pipes
 * are closed, or DRAIN_MS after its end when something it left behind keeps
 * them open.
 */
#include "host/agent/agent.h"

#include "host/sys/clock.h"
#include "host/sys/err.h"
#include "host/sys/lease.h"
#include "host/sys/mem.h"

#include <mbedtls/base64.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    STREAM_MAX = 1024 * 1024,
    BODY_MAX = 2 * 1024 * 1024,
    ARGS_MAX = 1000,
    DRAIN_MS = 100,
    TICK_MS = 500,
    TIMEOUT_MS = 60000
};

struct stream {
    uv_pipe_t pipe;
    char *data;
    size_t len;
    bool open;
};

struct run {
    struct agent *agent;
    struct cc_req *req;
    uv_process_t process;
    struct stream in, out, err;
    uv_write_t write;
    struct cc_timer *timer; /* of the timeout, then of the draining */
    char chunk[65536];
    uint64_t timeout_ms, deadline_ms;
    int exit;
    unsigned handles; /* not yet closed */
    bool ended, timed_out, truncated, answered;
};

static void finish(struct run *r);

static unsigned running;

unsigned agent_exec_running(void) { return running; }

static void run_free(struct run *r)
{
    running--;
    free(r->in.data);
    free(r->out.data);
    free(r->err.data);
    free(r);
}

static void on_handle_closed(uv_handle_t *h)
{
    struct run *r = h->data;

    if (--r->handles == 0 && r->answered)
        run_free(r);
}

static void stream_close(struct run *r, struct stream *s)
{
    if (!s->open)
        return;
    s->open = false;
    s->pipe.data = r;
    uv_close((uv_handle_t *)&s->pipe, on_handle_closed);
}

/* ---- streams */

static void on_alloc(uv_handle_t *h, size_t hint, uv_buf_t *buf)
{
    struct run *r = h->data;

    (void)hint;
    *buf = uv_buf_init(r->chunk, sizeof(r->chunk));
}

static void on_read(uv_stream_t *h, ssize_t n, const uv_buf_t *buf)
{
    struct run *r = h->data;
    struct stream *s = h == (uv_stream_t *)&r->out.pipe ? &r->out : &r->err;
    size_t keep;

    if (n < 0) {
        stream_close(r, s);
        finish(r);
        return;
    }
    keep = (size_t)n < STREAM_MAX - s->len ? (size_t)n : STREAM_MAX - s->len;
    r->truncated |= keep < (size_t)n;
    if (keep) {
        s->data = cc_xrealloc(s->data, s->len + keep);
        memcpy(s->data + s->len, buf->base, keep);
        s->len += keep;
    }
}

static void on_written(uv_write_t *w, int status)
{
    struct run *r = w->data;

    (void)status; /* a program that does not read its input is its own affair */
    stream_close(r, &r->in);
}

/* ---- the answer */

static json_t *base64(const struct stream *s)
{
    size_t room = s->len * 4 / 3 + 8, n = 0;
    char *text = cc_xmalloc(room);
    json_t *v;

    mbedtls_base64_encode((unsigned char *)text, room, &n, (const unsigned char *)(s->data ? s->data : ""), s->len);
    v = json_stringn(text, n);
    free(text);
    return v;
}

static void answer(struct run *r)
{
    r->answered = true;
    cc_timer_stop(r->timer);
    r->timer = NULL;
    stream_close(r, &r->in);
    stream_close(r, &r->out);
    stream_close(r, &r->err);
    uv_close((uv_handle_t *)&r->process, on_handle_closed);
    agent_reply(r->req, 200,
                json_pack("{s:i,s:o,s:o,s:b}", "exit", r->timed_out ? 124 : r->exit, "stdout", base64(&r->out),
                          "stderr", base64(&r->err), "truncated", (int)r->truncated));
}

static void on_drained(void *arg)
{
    struct run *r = arg;

    r->timer = NULL;
    answer(r);
}

static void finish(struct run *r)
{
    if (r->ended && !r->answered && !r->out.open && !r->err.open)
        answer(r);
}

static void on_exit_status(uv_process_t *p, int64_t status, int sig)
{
    struct run *r = p->data;

    r->ended = true;
    r->exit = sig ? 128 + sig : (int)status;
    cc_timer_stop(r->timer);
    r->timer = cc_timer_start(r->agent->loop, DRAIN_MS, on_drained, r);
    finish(r);
}

/* Now and then: is its time up, is there still anybody who wants to know? */
static void on_tick(void *arg)
{
    struct run *r = arg;
    uint64_t now = cc_mono_ms();

    r->timer = NULL;
    r->timed_out = now >= r->deadline_ms;
    if (r->timed_out || cc_req_gone(r->req)) {
        uv_kill(-r->process.pid, SIGKILL);
        return;
    }
    now = r->deadline_ms - now;
    r->timer = cc_timer_start(r->agent->loop, now < TICK_MS ? now : TICK_MS, on_tick, r);
}

/* ---- the start */

static void stream_init(struct run *r, struct stream *s)
{
    uv_pipe_init(r->agent->loop, &s->pipe, 0);
    s->pipe.data = r;
    s->open = true;
    r->handles++;
}

static int spawn(struct run *r, char **argv)
{
    uv_stdio_container_t io[3] = {
        { .flags = UV_CREATE_PIPE | UV_READABLE_PIPE, .data.stream = (uv_stream_t *)&r->in.pipe },
        { .flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&r->out.pipe },
        { .flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&r->err.pipe },
    };
    uv_process_options_t o = {
        .file = argv[0],
        .args = argv,
        .exit_cb = on_exit_status,
        .flags = UV_PROCESS_DETACHED,
        .stdio_count = 3,
        .stdio = io,
    };

    stream_init(r, &r->in);
    stream_init(r, &r->out);
    stream_init(r, &r->err);
    r->process.data = r;
    r->handles++;
    return uv_spawn(r->agent->loop, &r->process, &o);
}

static void refuse(struct run *r, int status, const char *code, const char *message)
{
    r->answered = true;
    cc_req_reply_error(r->req, status, code, message);
    if (r->handles == 0) {
        run_free(r);
        return;
    }
    stream_close(r, &r->in);
    stream_close(r, &r->out);
    stream_close(r, &r->err);
    uv_close((uv_handle_t *)&r->process, on_handle_closed);
}

/* It names the program: a machine that is not there is a 404, too. */
static void refuse_program(struct run *r, int rc, const char *program)
{
    bool absent = rc == UV_ENOENT || rc == UV_EACCES;
    char name[101], message[200];

    cc_printable(name, sizeof(name) - 1, program, strlen(program));
    if (rc == UV_ENOENT)
        snprintf(message, sizeof(message), "there is no program %s", name);
    else
        snprintf(message, sizeof(message), "cannot run %s: %s", name, uv_strerror(rc));
    refuse(r, absent ? 404 : 500, absent ? "not_found" : "io", message);
}

static void start(struct run *r, char **argv)
{
    int rc = spawn(r, argv);
    uv_buf_t buf;

    if (rc < 0) {
        refuse_program(r, rc, argv[0]);
        return;
    }
    r->deadline_ms = cc_mono_ms() + r->timeout_ms;
    on_tick(r);
    uv_read_start((uv_stream_t *)&r->out.pipe, on_alloc, on_read);
    uv_read_start((uv_stream_t *)&r->err.pipe, on_alloc, on_read);
    if (r->in.len == 0) {
        stream_close(r, &r->in);
        return;
    }
    buf = uv_buf_init(r->in.data, (unsigned)r->in.len);
    r->write.data = r;
    uv_write(&r->write, (uv_stream_t *)&r->in.pipe, &buf, 1, on_written);
}

/* ---- the request */

static char **read_cmd(const json_t *o)
{
    const json_t *cmd = json_object_get(o, "cmd");
    size_t i, n = json_array_size(cmd);
    char **argv;

    if (n == 0 || n > ARGS_MAX)
        return NULL;
    for (i = 0; i < n; i++)
        if (!json_is_string(json_array_get(cmd, i)))
            return NULL;
    argv = cc_xcalloc(n + 1, sizeof(*argv));
    for (i = 0; i < n; i++)
        argv[i] = (char *)json_string_value(json_array_get(cmd, i));
    return argv;
}

static bool read_stdin(const json_t *o, struct stream *in)
{
    const json_t *v = json_object_get(o, "stdin");
    size_t n = json_string_length(v);

    if (!v)
        return true;
    in->data = cc_xmalloc(n + 1);
    return json_is_string(v) &&
           mbedtls_base64_decode((unsigned char *)in->data, n + 1, &in->len,
                                 (const unsigned char *)json_string_value(v), n) == 0 &&
           in->len <= STREAM_MAX;
}

static void on_body(void *arg, struct cc_req *req, int status)
{
    struct run *r = arg;
    struct cc_text body;
    json_t *o;
    char **argv;

    if (status != 0) {
        refuse(r, status == CC_E_LIMIT ? 413 : 400, "invalid", "the body could not be read");
        return;
    }
    body = cc_req_body_text(req);
    o = json_loadb(body.p ? body.p : "", body.n, JSON_REJECT_DUPLICATES, NULL);
    argv = read_cmd(o);
    r->timeout_ms = (uint64_t)json_integer_value(json_object_get(o, "timeout_ms"));
    if (r->timeout_ms == 0 || r->timeout_ms > 86400000)
        r->timeout_ms = TIMEOUT_MS;
    if (!argv || !read_stdin(o, &r->in))
        refuse(r, 400, "invalid", "cmd: a list of strings expected; stdin: at most 1 MiB in base64");
    else
        start(r, argv);
    free(argv);
    json_decref(o);
}

void agent_exec(struct agent *a, struct cc_req *req)
{
    struct run *r = cc_xcalloc(1, sizeof(*r));
    int rc;

    running++;
    r->agent = a;
    r->req = req;
    rc = cc_req_body(req, BODY_MAX, on_body, r);
    if (rc != 1)
        on_body(r, req, rc);
}
