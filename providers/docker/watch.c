/* watch.c - dockerd's own stream of what happens to our containers. */
#include "providers/docker/docker.h"

#include <string.h>

enum { LINE_MAX_BYTES = 32768 };

struct watch {
    cc_watch_tell tell;
    void *arg;
    struct cc_arena arena; /* of one line */
    char line[LINE_MAX_BYTES];
    size_t n;
};

/* "health_status: unhealthy" and the like begin with their word. */
static const char *word_of(const char *action)
{
    static const struct {
        const char *action, *word;
    } words[] = { { "die", "stopped" },          { "start", "started" }, { "destroy", "removed" },
                  { "health_status", "health" }, { "pause", "stopped" }, { "unpause", "started" },
                  { "remove", "removed" },       { "died", "stopped" } };
    size_t i, n = strcspn(action, ":");

    for (i = 0; i < sizeof(words) / sizeof(*words); i++)
        if (strlen(words[i].action) == n && strncmp(action, words[i].action, n) == 0)
            return words[i].word;
    return NULL;
}

static void on_line(struct watch *w)
{
    json_t *o = json_loadb(w->line, w->n, 0, NULL);
    const json_t *attributes = cc_docker_at(o, "Actor.Attributes");
    const char *who = json_string_value(json_object_get(attributes, "cchost.short")),
               *word = word_of(cc_docker_text(o, "Action"));

    if (word && cc_short_ok(who))
        w->tell(w->arg, cc_arena_printf(&w->arena, "cc-%s", who), word);
    cc_arena_free(&w->arena);
    json_decref(o);
}

static bool on_events(void *arg, const char *p, size_t n)
{
    struct watch *w = arg;
    size_t i;

    for (i = 0; i < n; i++) {
        if (p[i] == '\n') {
            on_line(w);
            w->n = 0;
        } else if (w->n < sizeof(w->line)) {
            w->line[w->n++] = p[i];
        }
    }
    return true;
}

/* What happened before is not told again. */
static void on_begun(void *arg)
{
    struct watch *w = arg;

    w->tell(w->arg, NULL, "behind");
}

int cc_docker_watch(void *self, struct cc_provider_ctx *x, cc_watch_tell tell, void *arg)
{
    struct watch *w = cc_arena_alloc(x->arena, sizeof(*w));
    struct cc_docker_req q = { .method = "GET", .take = on_events, .begun = on_begun, .arg = w };
    struct cc_rest_res res = { .status = 0 };
    int r;

    w->tell = tell;
    w->arg = arg;
    q.path = cc_arena_printf(x->arena, "/events?%s",
                             cc_docker_filter(x->arena, "{\"type\":[\"container\"],\"label\":[\"cchost.id\"]}"));
    r = cc_docker_do(self, x, &q, &res);
    if (r == 0 && res.status != 200)
        r = cc_docker_fail(x, &res, "following what happens");
    else if (r == 0)
        r = cc_err_set(x->err, CC_E_UNAVAILABLE, "dockerd has ended the stream of what happens");
    cc_rest_res_free(&res);
    return r;
}
