/* exec.c - a command inside, and what the machine's own command said.
 *
 * By dockerd's exec, so that it works also where the agent is hurt.
 * What runs there is `cchost-agent run` (host/agent/run.c), which keeps the time
 * and becomes the image's user.
 */
#include "providers/docker/docker.h"

#include "host/agent/conf.h"
#include "host/sys/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EXEC_MS = 60000, AFTER_MS = 5, AFTER_TRIES = 400 };

struct kept {
    char *data;
    size_t n, room, most;
    bool newest; /* keep the end, else the beginning */
    bool truncated;
};

struct sinks {
    struct cc_docker_frames frames;
    struct kept *out, *err;
};

/* ---------------------------------------------------------------- what comes */

static void keep(struct kept *k, const char *p, size_t n)
{
    size_t limit = k->newest ? 2 * k->most : k->most;

    if (k->newest && k->n + n > limit) { /* at least `most` stay */
        size_t drop = k->n > k->most ? k->n - k->most : 0;

        memmove(k->data, k->data + drop, k->n - drop);
        k->n -= drop;
        if (n > k->most)
            p += n - k->most, n = k->most;
    } else if (k->n + n > limit) {
        n = limit - k->n;
        k->truncated = true;
    }
    if (k->n + n > k->room)
        k->data = cc_xrealloc(k->data, k->room = (k->n + n) * 2 + 256);
    memcpy(k->data + k->n, p, n);
    k->n += n;
}

static bool on_frames(void *arg, const char *p, size_t n)
{
    struct sinks *s = arg;
    struct cc_docker_piece piece;

    while (cc_docker_frames_next(&s->frames, &p, &n, &piece))
        keep(piece.err ? s->err : s->out, piece.p, piece.n);
    return true;
}

static const char *give(struct cc_arena *a, struct kept *k, size_t *n)
{
    size_t skip = k->newest && k->n > k->most ? k->n - k->most : 0;
    const char *out = cc_arena_strndup(a, k->data ? k->data + skip : "", k->n - skip);

    *n = k->n - skip;
    free(k->data);
    return out;
}

/* ---------------------------------------------------------------- exec */

static json_t *words(const struct cc_exec_spec *s)
{
    char timeout[24], in[24];
    json_t *list;
    size_t i;
    int bad = 0;

    snprintf(timeout, sizeof(timeout), "%u", s->timeout_ms ? s->timeout_ms : EXEC_MS);
    snprintf(in, sizeof(in), "%zu", s->in_len);
    list = json_pack("[s,s,s,s,s,s,s]", AGENT_BIN "/cchost-agent", "run", "--timeout", timeout, "--stdin", in, "--");
    for (i = 0; i < s->cmd.n; i++)
        bad |= json_array_append_new(list, json_string(s->cmd.v[i]));
    if (bad)
        json_decref(list);
    return bad ? NULL : list;
}

int cc_docker_exec_make(struct cc_docker *d, struct cc_provider_ctx *x, const char *short_id, json_t *cmd, bool has_in,
                        const char **id)
{
    json_t *body = json_pack("{s:b,s:b,s:b,s:b,s:o}", "AttachStdin", (int)has_in, "AttachStdout", 1, "AttachStderr", 1,
                             "Tty", 0, "Cmd", cmd),
           *doc = NULL;
    struct cc_docker_req q = { .method = "POST", .json = body };
    int r;

    q.path = cc_arena_printf(x->arena, "/containers/claude-%s/exec", short_id);
    r = cc_docker_ask(d, x, &q, "running a command", &doc);
    if (r == 0)
        *id = cc_arena_strdup(x->arena, cc_docker_text(doc, "Id"));
    json_decref(body);
    json_decref(doc);
    return r;
}

int cc_docker_exec_stream(struct cc_docker *d, struct cc_provider_ctx *x, const char *id, struct cc_rest_stream **s)
{
    json_t *body = json_pack("{s:b,s:b}", "Detach", 0, "Tty", 0);
    struct cc_rest_req q = { .method = "POST", .json = body };
    struct cc_rest_res res = { .status = 0 };
    const char *prefix;
    int r = cc_docker_version(d, x, &prefix);

    *s = NULL;
    if (r == 0) {
        q.path = cc_arena_printf(x->arena, "%s/exec/%s/start", prefix, id);
        r = cc_rest_stream_open(d->rest, x, &q, &res, s);
    }
    if (r == 0 && !*s)
        r = cc_docker_fail(x, &res, "running a command");
    cc_rest_res_free(&res);
    json_decref(body);
    return r;
}

/* Its end may be known a moment after its streams were closed. */
static int exit_code(struct cc_docker *d, struct cc_provider_ctx *x, const char *id, int *code)
{
    json_t *doc;
    bool runs = true;
    int r = 0, tries;

    for (tries = 0; r == 0 && runs && tries < AFTER_TRIES; tries++) {
        if (tries > 0 && (r = cc_rest_pause(x, AFTER_MS)) != 0)
            return r;
        r = cc_docker_get(d, x, cc_arena_printf(x->arena, "/exec/%s/json", id), "asking how a command ended", &doc);
        if (r != 0)
            return r;
        runs = json_is_true(json_object_get(doc, "Running"));
        *code = (int)json_integer_value(json_object_get(doc, "ExitCode"));
        json_decref(doc);
    }
    return runs ? cc_err_set(x->err, CC_E_IO, "the command closed its streams and goes on") : 0;
}

/* From what is to run to how it ended. Consumes cmd. */
static int perform(struct cc_docker *d, struct cc_provider_ctx *x, const char *short_id, json_t *cmd, const char *in,
                   size_t in_len, struct sinks *sinks, int *code)
{
    struct cc_rest_stream *s = NULL;
    const char *id = "";
    int r = cc_docker_exec_make(d, x, short_id, cmd, in_len > 0, &id);

    if (r == 0)
        r = cc_docker_exec_stream(d, x, id, &s);
    if (r == 0)
        r = cc_rest_stream_converse(s, in, in_len, on_frames, sinks);
    cc_rest_stream_close(s);
    return r ? r : exit_code(d, x, id, code);
}

int cc_docker_exec(struct cc_docker *d, struct cc_provider_ctx *x, const char *short_id,
                   const struct cc_exec_spec *spec, struct cc_exec_result *out)
{
    struct kept o = { .most = CC_EXEC_MAX }, e = { .most = CC_EXEC_MAX };
    struct sinks s = { .out = &o, .err = &e };
    json_t *cmd;
    int r;

    if (spec->in_len > CC_EXEC_MAX)
        return cc_err_set(x->err, CC_E_LIMIT, "standard input is longer than %d bytes", CC_EXEC_MAX);
    if (!(cmd = words(spec)))
        return cc_err_set(x->err, CC_E_INVALID, "the command is not valid UTF-8");
    r = perform(d, x, short_id, cmd, spec->in, spec->in_len, &s, &out->exit);
    out->truncated = o.truncated || e.truncated;
    out->out = give(x->arena, &o, &out->out_len);
    out->err = give(x->arena, &e, &out->err_len);
    if (r == 0 && out->exit == 127 && out->out_len == 0 &&
        strncmp(out->err, AGENT_NO_PROGRAM, strlen(AGENT_NO_PROGRAM)) == 0)
        r = cc_err_set(x->err, CC_E_NOT_FOUND, "there is no program %.100s", spec->cmd.v[0]);
    return r;
}

json_t *cc_docker_dial_words(unsigned wait_ms)
{
    char text[16];

    snprintf(text, sizeof(text), "%u", wait_ms);
    return json_pack("[s,s,s,s,s]", AGENT_BIN "/cchost-agent", "dial", "--wait", text, CC_DOCKER_SOCKET);
}

int cc_docker_exec_listens(struct cc_docker *d, struct cc_provider_ctx *x, const char *short_id, unsigned wait_ms)
{
    struct kept k = { .most = 400 };
    struct sinks s = { .out = &k, .err = &k };
    const char *said;
    size_t n;
    int code = 0, r = perform(d, x, short_id, cc_docker_dial_words(wait_ms), NULL, 0, &s, &code);

    said = give(x->arena, &k, &n);
    if (r == 0 && code != 0)
        r = cc_err_set(x->err, CC_E_UNAVAILABLE, "the machine's agent does not come up: %.150s", said);
    return r;
}

/* ---------------------------------------------------------------- logs */

int cc_docker_logs(struct cc_docker *d, struct cc_provider_ctx *x, const char *short_id, size_t most,
                   struct cc_log_text *out)
{
    struct kept k = { .most = most, .newest = true };
    struct sinks s = { .out = &k, .err = &k };
    struct cc_docker_req q = { .method = "GET", .take = on_frames, .arg = &s };
    struct cc_rest_res res = { .status = 0 };
    int r;

    q.path = cc_arena_printf(x->arena, "/containers/claude-%s/logs?stdout=true&stderr=true&tail=5000", short_id);
    r = cc_docker_do(d, x, &q, &res);
    if (r == 0 && res.status != 200)
        r = cc_docker_fail(x, &res, "reading the machine's log");
    cc_rest_res_free(&res);
    out->text = give(x->arena, &k, &out->n);
    return r;
}
