/* api.c - one request to Hetzner's API, and what its answer means. */
#include "providers/hetzner/hetzner.h"

#include "host/sys/random.h"

#include <stdio.h>
#include <string.h>

enum { TRIES = 5, PAGES = 2000, PAUSE_MOST_MS = 60000 };

/* Words of errors, of requests and of actions alike. */
static const struct {
    const char *word;
    int code;
    bool
        again; /* the same request may do in a moment: as Hetzner's own libraries have it, and `locked`, which they leave */
} words[] = {
    { "not_found", CC_E_NOT_FOUND, false },
    { "uniqueness_error", CC_E_EXISTS, false },
    { "unauthorized", CC_E_DENIED, false },
    { "forbidden", CC_E_DENIED, false },
    { "token_readonly", CC_E_DENIED, false },
    { "rate_limit_exceeded", CC_E_LIMIT, false },
    { "resource_limit_exceeded", CC_E_LIMIT, false },
    { "resource_unavailable", CC_E_FULL, false },
    { "placement_error", CC_E_FULL, false },
    { "no_space_left_in_location", CC_E_FULL, false },
    { "conflict", CC_E_UNAVAILABLE, true },
    { "locked", CC_E_UNAVAILABLE, true },
    { "resource_locked", CC_E_UNAVAILABLE, true },
    { "bad_gateway", CC_E_UNAVAILABLE, true },
    { "timeout", CC_E_UNAVAILABLE, true },
    { "protected", CC_E_STATE, false },
    { "server_not_stopped", CC_E_STATE, false },
    { "volume_already_attached", CC_E_CONFLICT, false },
    { "server_already_attached", CC_E_CONFLICT, false },
    { "resource_in_use", CC_E_CONFLICT, false },
    { "ip_not_available", CC_E_CONFLICT, false },
    { "networks_overlap", CC_E_CONFLICT, false },
    { "invalid_input", CC_E_INVALID, false },
    { "json_error", CC_E_INVALID, false },
    { "invalid_server_type", CC_E_INVALID, false },
    { "unsupported_error", CC_E_UNSUPPORTED, false },
    { "deprecated_api_endpoint", CC_E_UNSUPPORTED, false },
};

static int place_of(const char *word)
{
    int i, n = sizeof(words) / sizeof(*words);

    for (i = 0; i < n && strcmp(words[i].word, word) != 0; i++) {
    }
    return i < n ? i : -1;
}

int cc_hz_code(const char *word, long status)
{
    int i = word ? place_of(word) : -1;

    if (i >= 0)
        return words[i].code;
    switch (status) {
    case 401:
    case 403:
        return CC_E_DENIED;
    case 404:
        return CC_E_NOT_FOUND;
    case 409:
        return CC_E_CONFLICT;
    case 429:
        return CC_E_LIMIT;
    default:
        return status >= 400 && status < 500 && status != 423 ? CC_E_INVALID : CC_E_UNAVAILABLE;
    }
}

static bool again(const char *word, long status)
{
    int i = word ? place_of(word) : -1;

    return i >= 0 ? words[i].again : status == 423 || status == 502 || status == 504;
}

/* The error that an answer is. Nothing of the request is quoted: it may hold a secret. */
static int refused(struct cc_hz *h, struct cc_provider_ctx *x, const struct cc_rest_res *res, const char *what)
{
    const json_t *e = json_object_get(res->json, "error");
    const char *word = cc_hz_text(e, "code"), *says = cc_hz_text(e, "message");
    int code = cc_hz_code(word, res->status);

    cc_err_set(x->err, code, "Hetzner, %s: %.150s (%.40s)", what, says ? says : "no reason given",
               word ? word : "no code");
    if (res->status == 429) {
        cc_hz_budget_take(&h->budget, x->err); /* how long */
        x->err->retryable = true;
    }
    return code;
}

int cc_hz_ask_once(struct cc_hz *h, struct cc_provider_ctx *x, const char *method, const char *path, const json_t *body,
                   json_t **out, bool *retry)
{
    struct cc_rest_req q = { .method = method, .path = path, .json = body };
    struct cc_rest_res res;
    int r = cc_hz_budget_take(&h->budget, x->err);

    *retry = false;
    if (r != 0 || (r = cc_rest_do(h->rest, x, &q, &res)) != 0)
        return r;
    cc_hz_budget_heard(&h->budget, &res);
    if (res.status >= 200 && res.status < 300) {
        if (out && !json_is_object(res.json))
            r = cc_err_set(x->err, CC_E_UNAVAILABLE, "Hetzner answered %s with something that is no JSON", path);
        else if (out)
            *out = json_incref(res.json);
    } else {
        *retry = again(cc_hz_text(json_object_get(res.json, "error"), "code"), res.status);
        r = refused(h, x, &res, path);
    }
    cc_rest_res_free(&res);
    return r;
}

/* 1 s, doubled each time, half of it by chance, so that many do not come back at once. */
static int pause_for(struct cc_hz *h, struct cc_provider_ctx *x, int try)
{
    uint64_t ms = (uint64_t)h->retry_ms << try;
    uint32_t chance;

    cc_random(&chance, sizeof(chance));
    if (ms > PAUSE_MOST_MS)
        ms = PAUSE_MOST_MS;
    return cc_rest_pause(x, ms / 2 + chance % (ms / 2 + 1));
}

bool cc_hz_ask_again(struct cc_hz *h, struct cc_provider_ctx *x, int try, int *r)
{
    int left = cc_call_left_ms(x->call), paused;

    if (try >= TRIES || (left >= 0 && (uint64_t)left < (uint64_t)h->retry_ms << try))
        return false; /* what it said is of more use than that time is over */
    if ((paused = pause_for(h, x, try)) != 0)
        *r = paused;
    return paused == 0;
}

int cc_hz_ask(struct cc_hz *h, struct cc_provider_ctx *x, const char *method, const char *path, json_t *body,
              json_t **out)
{
    bool retry;
    int try = 0, r;

    do
        r = cc_hz_ask_once(h, x, method, path, body, out, &retry);
    while (r != 0 && retry && cc_hz_ask_again(h, x, try++, &r));
    json_decref(body);
    return r;
}

/* next_page is believed only while it rises, and not for ever. */
int cc_hz_all(struct cc_hz *h, struct cc_provider_ctx *x, const char *path, const char *key, json_t **out)
{
    json_t *all = json_array();
    json_int_t page = 1, next;
    int r = 0, n;

    for (n = 0; page && n < PAGES; n++) {
        json_auto_t *doc = NULL;
        const char *one = cc_arena_printf(x->arena, "%s%cper_page=%d&page=%lld", path, strchr(path, '?') ? '&' : '?',
                                          CC_HZ_PAGE, (long long)page);

        if ((r = cc_hz_ask(h, x, "GET", one, NULL, &doc)) != 0)
            break;
        json_array_extend(all, json_object_get(doc, key));
        next = json_integer_value(
            json_object_get(json_object_get(json_object_get(doc, "meta"), "pagination"), "next_page"));
        page = next > page && json_array_size(json_object_get(doc, key)) > 0 ? next : 0;
    }
    if (r == 0)
        *out = all;
    else
        json_decref(all);
    return r;
}

int cc_hz_named(struct cc_hz *h, struct cc_provider_ctx *x, const char *list, const char *name, json_t **out)
{
    json_auto_t *doc = NULL;
    json_t *one;
    size_t i;
    int r = cc_hz_ask(h, x, "GET", cc_arena_printf(x->arena, "/%s?name=%s", list, cc_rest_escape(x->arena, name)), NULL,
                      &doc);

    *out = NULL;
    json_array_foreach (json_object_get(doc, list), i, one) {
        const char *is = cc_hz_text(one, "name");

        if (is && strcmp(is, name) == 0)
            *out = json_incref(one);
        if (*out)
            break;
    }
    return r;
}

json_int_t cc_hz_id(const json_t *o) { return json_integer_value(json_object_get(o, "id")); }

const char *cc_hz_text(const json_t *o, const char *key) { return json_string_value(json_object_get(o, key)); }

const char *cc_hz_label(const json_t *o, const char *key) { return cc_hz_text(json_object_get(o, "labels"), key); }
