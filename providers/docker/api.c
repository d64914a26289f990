/* api.c - one request to dockerd: the version agreed on first, its answers as our codes.
 *
 * The version is the newest that both know, asked for at the first request
 * (opening a provider does not wait for dockerd).  dockerd says what is wrong by
 * a status and a sentence; where one status means several things the sentence
 * tells them apart, as it does in docker's own client.
 */
#include "providers/docker/docker.h"

#include "host/sys/clock.h"
#include "host/sys/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { WHOLE_MS = 15000 };

/* ---------------------------------------------------------------- reading JSON */

const json_t *cc_docker_at(const json_t *o, const char *path)
{
    char key[64];
    size_t n;

    for (; o && *path; path += n + (path[n] == '.')) {
        n = strcspn(path, ".");
        snprintf(key, sizeof(key), "%.*s", (int)n, path);
        o = json_object_get(o, key);
    }
    return o;
}

const char *cc_docker_text(const json_t *o, const char *path)
{
    const char *s = json_string_value(cc_docker_at(o, path));

    return s ? s : "";
}

const char *cc_docker_filter(struct cc_arena *a, const char *fmt, ...)
{
    char text[512];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    return cc_arena_printf(a, "filters=%s", cc_rest_escape(a, text));
}

/* ---------------------------------------------------------------- errors */

static bool says(const char *text, const char *part) { return strcasestr(text, part) != NULL; }

static int code_of(long status, const char *why)
{
    static const struct {
        const char *part;
        int code;
    } words[] = {
        { "no space left", CC_E_FULL },
        { "is not running", CC_E_STATE },
        { "is paused", CC_E_STATE },
        { "state improper", CC_E_STATE }, /* podman's */
        { "is already in use by", CC_E_EXISTS },
        { "name is already in use", CC_E_EXISTS },
        { "already allocated", CC_E_CONFLICT },
        { "address already in use", CC_E_CONFLICT },
        { "toomanyrequests", CC_E_LIMIT },
        { "max depth exceeded", CC_E_LIMIT },
        { "overlaps", CC_E_CONFLICT },
        { "already used", CC_E_CONFLICT },
        { "in progress", CC_E_CONFLICT },
        { "no such image", CC_E_NOT_FOUND },
        { "already exists", CC_E_EXISTS },
    };
    size_t i;

    for (i = 0; i < sizeof(words) / sizeof(*words); i++)
        if (says(why, words[i].part))
            return words[i].code;
    switch (status) {
    case 400:
        return CC_E_INVALID;
    case 401:
    case 403:
        return CC_E_DENIED;
    case 404:
        return CC_E_NOT_FOUND;
    case 409:
        return CC_E_CONFLICT;
    case 429:
        return CC_E_LIMIT;
    case 503:
        return CC_E_UNAVAILABLE;
    default:
        return CC_E_IO;
    }
}

int cc_docker_fail(struct cc_provider_ctx *x, const struct cc_rest_res *res, const char *what)
{
    const char *why = cc_docker_text(res->json, "message");

    if (!*why)
        why = res->n ? res->text : "no more than its status";
    cc_err_set(x->err, code_of(res->status, why), "%s: dockerd says %ld: %.160s", what, res->status, why);
    x->err->retry_after_ms = res->retry_after_ms;
    if (x->err->code == CC_E_LIMIT)
        x->err->retryable = res->status == 429;
    return x->err->code;
}

/* ---------------------------------------------------------------- the version */

static int agree(struct cc_docker *d, struct cc_provider_ctx *x)
{
    struct cc_rest_req q = { .method = "GET", .path = "/_ping", .header = "Api-Version" };
    struct cc_rest_res res;
    int r = cc_rest_do(d->rest, x, &q, &res), theirs;

    if (r != 0)
        return r;
    theirs = res.header && strncmp(res.header, "1.", 2) == 0 ? atoi(res.header + 2) : 0;
    if (res.status != 200)
        r = cc_docker_fail(x, &res, "asking for its version");
    else if (theirs < CC_DOCKER_API_MIN)
        r = cc_err_set(x->err, CC_E_UNSUPPORTED, "dockerd speaks version %.10s of its API; at least 1.%d is needed",
                       res.header ? res.header : "?", CC_DOCKER_API_MIN);
    cc_rest_res_free(&res);
    if (r != 0)
        return r;
    pthread_mutex_lock(&d->lock);
    d->api = theirs < CC_DOCKER_API_MAX ? theirs : CC_DOCKER_API_MAX;
    pthread_mutex_unlock(&d->lock);
    return 0;
}

static int version(struct cc_docker *d)
{
    int v;

    pthread_mutex_lock(&d->lock);
    v = d->api;
    pthread_mutex_unlock(&d->lock);
    return v;
}

int cc_docker_version(struct cc_docker *d, struct cc_provider_ctx *x, const char **prefix)
{
    int r = version(d) ? 0 : agree(d, x);

    if (r == 0)
        *prefix = cc_arena_printf(x->arena, "/v1.%d", version(d));
    return r;
}

/* ---------------------------------------------------------------- requests */

struct cc_provider_ctx *cc_docker_after(struct cc_docker_after *a, const struct cc_provider_ctx *x, unsigned ms)
{
    *a = (struct cc_docker_after){ .call = { .wake_fd = -1 }, .x = *x };
    a->call.deadline_ms = cc_mono_ms() + ms;
    if (!cc_call_over(x->call) && (!x->call->deadline_ms || x->call->deadline_ms > a->call.deadline_ms))
        a->call.deadline_ms = x->call->deadline_ms ? x->call->deadline_ms : a->call.deadline_ms;
    a->x.call = &a->call;
    a->x.err = &a->err;
    return &a->x;
}

int cc_docker_do(struct cc_docker *d, struct cc_provider_ctx *x, const struct cc_docker_req *q, struct cc_rest_res *out)
{
    struct cc_docker_after after;
    struct cc_provider_ctx *by = x;
    struct cc_rest_req req = { .method = q->method,
                               .json = q->json,
                               .take = q->take,
                               .begun = q->begun,
                               .arg = q->arg,
                               .raw = q->raw,
                               .raw_len = q->raw_len,
                               .type = "application/x-tar" };
    const char *prefix;
    int r = cc_docker_version(d, x, &prefix);

    if (r == 0)
        r = cc_call_check(x->call, x->err);
    if (r != 0)
        return r;
    if (q->whole) {
        by = cc_docker_after(&after, x, WHOLE_MS);
        by->err = x->err;
    }
    req.path = cc_arena_printf(x->arena, "%s%s", prefix, q->path);
    return cc_rest_do(d->rest, by, &req, out);
}

int cc_docker_ask(struct cc_docker *d, struct cc_provider_ctx *x, const struct cc_docker_req *q, const char *what,
                  json_t **doc)
{
    struct cc_rest_res res;
    int r = cc_docker_do(d, x, q, &res);

    if (r != 0)
        return r;
    if (!(res.status >= 200 && res.status < 300) && res.status != 304)
        r = cc_docker_fail(x, &res, what);
    else if (doc && !(*doc = json_incref(res.json)))
        r = cc_err_set(x->err, CC_E_IO, "%s: dockerd's answer is no JSON", what);
    cc_rest_res_free(&res);
    return r;
}

int cc_docker_get(struct cc_docker *d, struct cc_provider_ctx *x, const char *path, const char *what, json_t **doc)
{
    struct cc_docker_req q = { .method = "GET", .path = path };

    return cc_docker_ask(d, x, &q, what, doc);
}

int cc_docker_send(struct cc_docker *d, struct cc_provider_ctx *x, const char *method, const char *path, json_t *json,
                   const char *what)
{
    struct cc_docker_req q = { .method = method, .path = path, .json = json, .whole = true };
    int r = cc_docker_ask(d, x, &q, what, NULL);

    json_decref(json);
    return r;
}

/* ---------------------------------------------------------------- its host */

static bool can_quota(const char *driver)
{
    return strcmp(driver, "btrfs") == 0 || strcmp(driver, "zfs") == 0 || strcmp(driver, "devicemapper") == 0;
}

/* overlay2 can where its file system is XFS with project quotas, which only trying tells. */
static bool may_quota(const json_t *info)
{
    const json_t *row;
    size_t i;

    if (can_quota(cc_docker_text(info, "Driver")))
        return true;
    json_array_foreach (json_object_get(info, "DriverStatus"), i, row) {
        const char *key = json_string_value(json_array_get(row, 0)), *value = json_string_value(json_array_get(row, 1));

        if (key && value && strcmp(key, "Backing Filesystem") == 0 && strcmp(value, "xfs") == 0)
            return true;
    }
    return false;
}

int cc_docker_host(struct cc_docker *d, struct cc_provider_ctx *x, struct cc_docker_host *out)
{
    json_t *info;
    int r;

    pthread_mutex_lock(&d->lock);
    *out = d->host;
    pthread_mutex_unlock(&d->lock);
    if (out->known)
        return 0;
    if ((r = cc_docker_get(d, x, "/info", "asking about its host", &info)) != 0)
        return r;
    *out = (struct cc_docker_host){ .known = true,
                                    .memory = json_is_true(json_object_get(info, "MemoryLimit")),
                                    .cpu = json_is_true(json_object_get(info, "CpuCfsQuota")),
                                    .pids = json_is_true(json_object_get(info, "PidsLimit")),
                                    .quota = may_quota(info) };
    if (!out->cpu)
        out->cpu = json_is_true(json_object_get(info, "CPUCfsQuota"));
    snprintf(out->storage, sizeof(out->storage), "%s", cc_docker_text(info, "Driver"));
    json_decref(info);
    pthread_mutex_lock(&d->lock);
    d->host = *out;
    d->caps.limit_memory = out->memory;
    d->caps.limit_vcpu = out->cpu;
    d->caps.limit_pids = out->pids;
    pthread_mutex_unlock(&d->lock);
    return 0;
}
