/* exec.c - a command inside, and what the machine's own command said.
 *
 * By dockerd's exec, so that it works also where the agent cannot be reached.
 * What runs there is `cchost-agent run` (host/agent/run.c), which keeps the time
 * and becomes the image's user.  Both streams come on one connection, in frames:
 * a byte that says which, three of nothing, four of length.
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

struct frames {
    unsigned char head[8];
    size_t head_n;
    size_t left; /* of the frame under way */
    struct kept *out, *err;
};

/* ---------------------------------------------------------------- frames */

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
    struct frames *f = arg;

    while (n > 0) {
        size_t some;

        if (f->left == 0) {
            some = sizeof(f->head) - f->head_n < n ? sizeof(f->head) - f->head_n : n;
            memcpy(f->head + f->head_n, p, some);
            f->head_n += some;
            if (f->head_n == sizeof(f->head)) {
                f->left = (size_t)f->head[4] << 24 | (size_t)f->head[5] << 16 | (size_t)f->head[6] << 8 | f->head[7];
                f->head_n = 0;
            }
        } else {
            some = f->left < n ? f->left : n;
            keep(f->head[0] == 2 ? f->err : f->out, p, some);
            f->left -= some;
        }
        p += some;
        n -= some;
    }
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

static json_t *words(const struct cc_docker *d, const struct cc_exec_spec *s)
{
    json_t *list = json_array();
    char text[24];
    size_t i;
    int bad = 0;

    if (d->near) {
        json_array_append_new(list, json_string(AGENT_BIN "/cchost-agent"));
        json_array_append_new(list, json_string("run"));
        snprintf(text, sizeof(text), "%u", s->timeout_ms ? s->timeout_ms : EXEC_MS);
        json_array_append_new(list, json_string("--timeout"));
        json_array_append_new(list, json_string(text));
        snprintf(text, sizeof(text), "%zu", s->in_len);
        json_array_append_new(list, json_string("--stdin"));
        json_array_append_new(list, json_string(text));
        json_array_append_new(list, json_string("--"));
    }
    for (i = 0; i < s->cmd.n; i++)
        bad |= json_array_append_new(list, json_string(s->cmd.v[i]));
    if (bad)
        json_decref(list);
    return bad ? NULL : list;
}

static int make(struct cc_docker *d, struct cc_provider_ctx *x, const char *short_id, const struct cc_exec_spec *s,
                const char **id)
{
    json_t *cmd = words(d, s), *body, *doc = NULL;
    struct cc_docker_req q = { .method = "POST" };
    int r;

    if (!cmd)
        return cc_err_set(x->err, CC_E_INVALID, "the command is not valid UTF-8");
    body = json_pack("{s:b,s:b,s:b,s:b,s:o}", "AttachStdin", s->in_len > 0, "AttachStdout", 1, "AttachStderr", 1, "Tty",
                     0, "Cmd", cmd);
    q.json = body;
    q.path = cc_arena_printf(x->arena, "/containers/claude-%s/exec", short_id);
    r = cc_docker_ask(d, x, &q, "running a command", &doc);
    if (r == 0)
        *id = cc_arena_strdup(x->arena, cc_docker_text(doc, "Id"));
    json_decref(body);
    json_decref(doc);
    return r;
}

static int stream(struct cc_docker *d, struct cc_provider_ctx *x, const char *id, const struct cc_exec_spec *s,
                  struct frames *f)
{
    json_t *body = json_pack("{s:b,s:b}", "Detach", 0, "Tty", 0);
    struct cc_rest_req q = { .method = "POST", .json = body, .take = on_frames, .arg = f };
    struct cc_rest_res res = { .status = 0 };
    const char *prefix;
    int r = cc_docker_version(d, x, &prefix);

    if (r == 0) {
        q.path = cc_arena_printf(x->arena, "%s/exec/%s/start", prefix, id);
        r = cc_rest_upgrade(d->rest, x, &q, s->in, s->in_len, &res);
    }
    if (r == 0 && res.status != 101 && res.status != 200)
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

int cc_docker_exec(struct cc_docker *d, struct cc_provider_ctx *x, const char *short_id,
                   const struct cc_exec_spec *spec, struct cc_exec_result *out)
{
    struct kept o = { .most = CC_EXEC_MAX }, e = { .most = CC_EXEC_MAX };
    struct frames f = { .out = &o, .err = &e };
    const char *id = "";
    int r;

    if (spec->in_len > CC_EXEC_MAX)
        return cc_err_set(x->err, CC_E_LIMIT, "standard input is longer than %d bytes", CC_EXEC_MAX);
    r = make(d, x, short_id, spec, &id);
    if (r == 0)
        r = stream(d, x, id, spec, &f);
    if (r == 0)
        r = exit_code(d, x, id, &out->exit);
    out->truncated = o.truncated || e.truncated;
    out->out = give(x->arena, &o, &out->out_len);
    out->err = give(x->arena, &e, &out->err_len);
    if (r == 0 && out->exit == 127 && out->out_len == 0 &&
        strncmp(out->err, AGENT_NO_PROGRAM, strlen(AGENT_NO_PROGRAM)) == 0)
        r = cc_err_set(x->err, CC_E_NOT_FOUND, "there is no program %.100s", spec->cmd.v[0]);
    return r;
}

/* ---------------------------------------------------------------- logs */

int cc_docker_logs(struct cc_docker *d, struct cc_provider_ctx *x, const char *short_id, size_t most,
                   struct cc_log_text *out)
{
    struct kept k = { .most = most, .newest = true };
    struct frames f = { .out = &k, .err = &k };
    struct cc_docker_req q = { .method = "GET", .take = on_frames, .arg = &f };
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
