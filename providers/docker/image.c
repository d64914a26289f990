/* image.c - the image that a machine is made from: found, or pulled.
 *
 * dockerd answers a pull with 200 and then says line by line how it goes, errors
 * included; so the lines decide.  Where no registry has the image, or none can be
 * reached, it is "not_found", with what was said.
 */
#include "providers/docker/docker.h"

#include "host/observe/log.h"
#include "host/sys/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_MAX_BYTES = 16384, SAY_MS = 2000 };

struct pull {
    const char *image;
    char line[LINE_MAX_BYTES];
    size_t n;
    char error[256];
    uint64_t said_ms;
    unsigned layers;
};

static void on_line(struct pull *p)
{
    json_t *o = json_loadb(p->line, p->n, 0, NULL);
    const char *error = cc_docker_text(o, "error"), *status = cc_docker_text(o, "status");

    if (*error)
        snprintf(p->error, sizeof(p->error), "%s", error);
    p->layers += strcmp(status, "Pull complete") == 0;
    if (*status && cc_mono_ms() - p->said_ms >= SAY_MS) {
        p->said_ms = cc_mono_ms();
        cc_log(CC_LOG_INFO, "docker", "pulling %s: %s %s %s (%u layers done)", p->image, cc_docker_text(o, "id"),
               status, cc_docker_text(o, "progress"), p->layers);
    }
    json_decref(o);
}

static bool on_pull(void *arg, const char *s, size_t n)
{
    struct pull *p = arg;
    size_t i;

    for (i = 0; i < n; i++) {
        if (s[i] == '\n') {
            on_line(p);
            p->n = 0;
        } else if (p->n < sizeof(p->line)) {
            p->line[p->n++] = s[i];
        }
    }
    return true;
}

/* A digest or a tag behind the last slash; without either it is the newest, never all that there are. */
static const char *tag_of(const char *image)
{
    const char *slash = strrchr(image, '/');

    return strchr(slash ? slash : image, ':') || strchr(image, '@') ? "" : "&tag=latest";
}

static int pull(struct cc_docker *d, struct cc_provider_ctx *x, const char *image)
{
    struct pull p = { .image = image, .said_ms = cc_mono_ms() };
    struct cc_docker_req q = { .method = "POST", .take = on_pull, .arg = &p };
    struct cc_rest_res res;
    int r;

    q.path = cc_arena_printf(x->arena, "/images/create?fromImage=%s%s", cc_rest_escape(x->arena, image), tag_of(image));
    cc_log(CC_LOG_INFO, "docker", "pulling the image %s", image);
    if ((r = cc_docker_do(d, x, &q, &res)) != 0)
        return r;
    if (p.n)
        on_line(&p);
    if (res.status >= 400) {
        cc_docker_fail(x, &res, "pulling");
        snprintf(p.error, sizeof(p.error), "%s", x->err->message);
    }
    if (*p.error && strstr(p.error, "toomanyrequests"))
        r = cc_err_set(x->err, CC_E_LIMIT, "pulling the image %.60s: %.150s", image, p.error);
    else if (*p.error && strstr(p.error, "no space left"))
        r = cc_err_set(x->err, CC_E_FULL, "pulling the image %.60s: %.150s", image, p.error);
    else if (*p.error)
        r = cc_err_set(x->err, CC_E_NOT_FOUND, "the image %.60s is not here, and pulling it failed: %.150s", image,
                       p.error);
    if (r == 0)
        cc_log(CC_LOG_INFO, "docker", "pulled the image %s: %u layers", image, p.layers);
    cc_rest_res_free(&res);
    return r;
}

/* ---------------------------------------------------------------- what it says of itself */

static json_t *list_of(const json_t *v) { return json_is_array(v) ? json_incref((json_t *)v) : json_array(); }

static const char *facts_of(struct cc_arena *a, const json_t *doc)
{
    const json_t *c = json_object_get(doc, "Config");
    const char *stop = cc_docker_text(c, "StopSignal");
    json_t *o = json_pack("{s:o,s:o,s:s,s:s}", "entrypoint", list_of(json_object_get(c, "Entrypoint")), "cmd",
                          list_of(json_object_get(c, "Cmd")), "user", cc_docker_text(c, "User"), "stop",
                          *stop ? stop : "SIGTERM");
    char *text = json_dumps(o, JSON_COMPACT);
    const char *out = cc_arena_strdup(a, text);

    free(text);
    json_decref(o);
    return out;
}

/* The disk of somebody's machine (mounts.c), which is an image to dockerd: the labels of its container are on it. */
static bool is_disk(const json_t *doc)
{
    const json_t *tag;
    size_t i;
    bool named = false;

    json_array_foreach (json_object_get(doc, "RepoTags"), i, tag)
        named |= json_string_value(tag) && strstr(json_string_value(tag), CC_DOCKER_DISK);
    return named || json_object_get(cc_docker_at(doc, "Config.Labels"), "cchost.short");
}

/* dockerd takes the beginning of an id for a name: so all that it has could be tried out. */
static bool by_id(const json_t *doc, const char *image)
{
    const char *id = cc_docker_text(doc, "Id"), *at = strncmp(image, "sha256:", 7) == 0 ? image + 7 : image;
    const json_t *tag;
    size_t i, n = strlen(image);

    json_array_foreach (json_object_get(doc, "RepoTags"), i, tag) {
        const char *name = json_string_value(tag), *slash = name ? strrchr(name, '/') : NULL;

        if (name && (strncmp(name, image, n) == 0 || (slash && strncmp(slash + 1, image, n) == 0)))
            return false;
    }
    id += strncmp(id, "sha256:", 7) == 0 ? 7 : 0;
    return *at && strncmp(id, at, strlen(at)) == 0;
}

static int look(struct cc_docker *d, struct cc_provider_ctx *x, const char *image, const char **facts)
{
    json_t *doc;
    int r = cc_docker_get(d, x, cc_arena_printf(x->arena, "/images/%s/json", image), "looking for the image", &doc);

    if (r == 0 && (is_disk(doc) || by_id(doc, image))) {
        json_decref(doc);
        return cc_err_set(x->err, CC_E_DENIED,
                          "\"%.80s\" is no image for machines: name one by its name, not by its id", image);
    }
    if (r != 0)
        return r;
    *facts = facts_of(x->arena, doc);
    json_decref(doc);
    return 0;
}

/* Letters, digits and "/:@.-_" alone: a path of the API is made of it. */
static bool image_ok(const char *s)
{
    return *s && strlen(s) <= 200 && *s != '/' && *s != '.' && *s != '-' && !strstr(s, "..") &&
           !strstr(s, CC_DOCKER_DISK) &&
           strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/:@.-_") == strlen(s);
}

int cc_docker_image(struct cc_docker *d, struct cc_provider_ctx *x, const char *image, const char **facts)
{
    int r;

    if (strcmp(image, "host") == 0)
        return cc_err_set(x->err, CC_E_INVALID,
                          "the image \"host\" is this host's own system, which only the provider local has: name an "
                          "image of docker, like %s",
                          d->image);
    if (!image_ok(image))
        return cc_err_set(x->err, CC_E_INVALID, "\"%.80s\" is no name of an image of docker", image);
    r = look(d, x, image, facts);
    if (r != CC_E_NOT_FOUND)
        return r;
    r = pull(d, x, image);
    return r ? r : look(d, x, image, facts);
}
