/* container.c - containers by name: found, made, started, removed. */
#include "providers/docker/docker.h"

#include "host/sys/unix_at.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { UP_MS = 10000, LOOK_MS = 4, GONE_MS = 20000 };

static int inspect(struct cc_docker *d, struct cc_provider_ctx *x, const char *name, json_t **doc)
{
    return cc_docker_get(d, x, cc_arena_printf(x->arena, "/containers/%s/json", name), "looking for the machine", doc);
}

int cc_docker_exchange_end(struct cc_docker *d, struct cc_provider_ctx *x, const char *short_id, json_t **doc)
{
    const char *name = cc_arena_printf(x->arena, "claude-%s", short_id);
    int r = cc_docker_send(d, x, "POST", cc_arena_printf(x->arena, "/containers/%s.new/rename?name=%s", name, name),
                           NULL, "giving the exchanged container the machine's name"),
        found;
    struct cc_err why = *x->err;

    found = inspect(d, x, name, doc);
    if (found == 0 || r == 0)
        return found;
    *x->err = why;
    return r;
}

/* None has the machine's name: one of an exchange may be about to get it, from another who is at it, or from us. */
static int find_exchanged(struct cc_docker *d, struct cc_provider_ctx *x, const char *short_id, json_t **doc)
{
    int r = inspect(d, x, cc_arena_printf(x->arena, "claude-%s.new", short_id), doc);

    if (r == CC_E_NOT_FOUND)
        return inspect(d, x, cc_arena_printf(x->arena, "claude-%s", short_id), doc);
    if (r != 0)
        return r;
    json_decref(*doc);
    return cc_docker_exchange_end(d, x, short_id, doc);
}

int cc_docker_find(struct cc_docker *d, struct cc_provider_ctx *x, const char *short_id, json_t **doc)
{
    const char *who;
    int r = inspect(d, x, cc_arena_printf(x->arena, "claude-%s", short_id), doc);

    if (r == CC_E_NOT_FOUND)
        r = find_exchanged(d, x, short_id, doc);
    if (r == CC_E_NOT_FOUND)
        return cc_err_set(x->err, r, "no machine cc-%s", short_id);
    if (r != 0)
        return r;
    who = json_string_value(json_object_get(cc_docker_at(*doc, "Config.Labels"), "cchost.short"));
    if (who && strcmp(who, short_id) == 0)
        return 0;
    json_decref(*doc);
    return cc_err_set(x->err, CC_E_EXISTS, "the container claude-%s is not one of ours", short_id);
}

/* ---------------------------------------------------------------- making */

static int post(struct cc_docker *d, struct cc_provider_ctx *x, const struct cc_box *b, const char *suffix)
{
    return cc_docker_send(d, x, "POST",
                          cc_arena_printf(x->arena, "/containers/create?name=claude-%s%s", b->short_id, suffix),
                          cc_box_body(d, b), "making the container");
}

int cc_docker_container_make(struct cc_docker *d, struct cc_provider_ctx *x, struct cc_box *b, const char *suffix)
{
    struct cc_docker_host host;
    int r = cc_docker_host(d, x, &host);

    if (r != 0)
        return r;
    pthread_mutex_lock(&d->lock);
    b->quota = host.quota && !d->no_quota;
    pthread_mutex_unlock(&d->lock);
    r = post(d, x, b, suffix);
    if (r == 0 || !b->quota || !strstr(x->err->message, "storage-opt"))
        return r;
    pthread_mutex_lock(&d->lock); /* XFS, but without project quotas */
    d->no_quota = true;
    pthread_mutex_unlock(&d->lock);
    b->quota = false;
    return post(d, x, b, suffix);
}

/* ---------------------------------------------------------------- starting */

static bool answers(const char *socket_path)
{
    struct sockaddr_un a;
    int at = cc_unix_at(socket_path, &a), fd, r = -1;

    if (at < 0)
        return false;
    if ((fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) >= 0) {
        r = connect(fd, (struct sockaddr *)&a, sizeof(a));
        close(fd);
    }
    close(at);
    return r == 0;
}

/* Why a machine that was started does not run: its own last words. */
static int last_words(struct cc_docker *d, struct cc_provider_ctx *x, const char *short_id)
{
    struct cc_log_text log = { "", 0 };
    char *at;

    cc_docker_logs(d, x, short_id, 300, &log);
    for (at = (char *)log.text; *at; at++)
        if (*at == '\n')
            *at = ' ';
    return cc_err_set(x->err, CC_E_IO, "the machine ended as soon as it was started: %.150s",
                      log.n ? log.text : "it said nothing");
}

/* 0 while it runs. */
static int alive(struct cc_docker *d, struct cc_provider_ctx *x, const char *short_id)
{
    json_t *doc;
    int r = cc_docker_find(d, x, short_id, &doc);
    bool runs;

    if (r != 0)
        return r;
    runs = json_is_true(cc_docker_at(doc, "State.Running"));
    json_decref(doc);
    return runs ? 0 : last_words(d, x, short_id);
}

/* Its init listens before it starts anything: who can connect is served. */
static int wait_near(struct cc_docker *d, struct cc_provider_ctx *x, const char *short_id)
{
    const char *path = cc_docker_path(d, x->arena, short_id, "agent/agent.sock");
    unsigned waited;
    int r = 0;

    for (waited = 0; r == 0 && waited < UP_MS; waited += LOOK_MS) {
        if (answers(path))
            return 0;
        if (waited % 200 == 100)
            r = alive(d, x, short_id);
        if (r == 0)
            r = cc_rest_pause(x, LOOK_MS);
    }
    return r ? r : cc_err_set(x->err, CC_E_UNAVAILABLE, "the machine's agent does not come up");
}

/* The same, looked at from inside. */
static int wait_far(struct cc_docker *d, struct cc_provider_ctx *x, const char *short_id)
{
    int r = cc_docker_exec_listens(d, x, short_id, UP_MS), ended;
    struct cc_err why = *x->err;

    if (r == 0 || cc_call_over(x->call))
        return r;
    if ((ended = alive(d, x, short_id)) != 0)
        return ended;
    *x->err = why;
    return r;
}

int cc_docker_container_up(struct cc_docker *d, struct cc_provider_ctx *x, const char *short_id)
{
    return d->near ? wait_near(d, x, short_id) : wait_far(d, x, short_id);
}

static int go(struct cc_docker *d, struct cc_provider_ctx *x, const char *short_id)
{
    return cc_docker_send(d, x, "POST", cc_arena_printf(x->arena, "/containers/claude-%s/start", short_id), NULL,
                          "starting the machine");
}

/* The network that it was made on was pruned while it was stopped; there is another of that name now, which it does not know. */
static int reconnect(struct cc_docker *d, struct cc_provider_ctx *x, const struct cc_box *b)
{
    const char *who = cc_arena_printf(x->arena, "claude-%s", b->short_id);
    int r = cc_docker_send(d, x, "POST", cc_arena_printf(x->arena, "/networks/%s/disconnect", b->net),
                           json_pack("{s:s,s:b}", "Container", who, "Force", 1), "leaving a network that is gone");

    return r ? r
             : cc_docker_send(d, x, "POST", cc_arena_printf(x->arena, "/networks/%s/connect", b->net),
                              json_pack("{s:s,s:o}", "Container", who, "EndpointConfig", cc_box_endpoint(x->arena, b)),
                              "joining the owner's network");
}

int cc_docker_container_start(struct cc_docker *d, struct cc_provider_ctx *x, const struct cc_box *b)
{
    int r = 0;

    if (d->near) /* of its last life */
        unlink(cc_docker_path(d, x->arena, b->short_id, "agent/agent.sock"));
    else
        r = cc_docker_inside(d, x, b->short_id);
    if (r == 0)
        r = go(d, x, b->short_id);
    if (r == CC_E_NOT_FOUND && b->net && strstr(x->err->message, "network") && (r = reconnect(d, x, b)) == 0)
        r = go(d, x, b->short_id);
    return r ? r : cc_docker_container_up(d, x, b->short_id);
}

/* ---------------------------------------------------------------- removing */

int cc_docker_container_remove(struct cc_docker *d, struct cc_provider_ctx *x, const char *name)
{
    const char *path = cc_arena_printf(x->arena, "/containers/%s?force=true&v=true", name);
    unsigned waited;
    int r = 0;

    for (waited = 0; waited < GONE_MS; waited += 50) {
        r = cc_docker_send(d, x, "DELETE", path, NULL, "removing the container");
        if (r == CC_E_NOT_FOUND)
            return 0;
        if (r != 0 && r != CC_E_CONFLICT) /* that: somebody is at it already */
            return r;
        if (r == 0 || (r = cc_rest_pause(x, 50)) != 0)
            return r;
    }
    return r ? r : cc_err_set(x->err, CC_E_CONFLICT, "the container %s is being removed, and does not go", name);
}

/* ---------------------------------------------------------------- the images of its disk */

static int images(struct cc_docker *d, struct cc_provider_ctx *x, const char *filter, json_t **list)
{
    return cc_docker_get(d, x, cc_arena_printf(x->arena, "/images/json?%s", filter), "listing images", list);
}

/* Unless something is made of it. */
static int image_drop(struct cc_docker *d, struct cc_provider_ctx *x, const char *name)
{
    int r =
        cc_docker_send(d, x, "DELETE", cc_arena_printf(x->arena, "/images/%s", name), NULL, "removing a disk's image");

    return r == CC_E_NOT_FOUND || r == CC_E_CONFLICT ? 0 : r;
}

static int drop_named(struct cc_docker *d, struct cc_provider_ctx *x, const json_t *list, const char *but)
{
    const json_t *row, *tag;
    size_t i, k;
    int r = 0;

    json_array_foreach (list, i, row)
        json_array_foreach (json_object_get(row, "RepoTags"), k, tag) {
            const char *name = json_string_value(tag);

            if (r == 0 && name && !(but && strcmp(name, but) == 0))
                r = image_drop(d, x, name);
        }
    return r;
}

static bool has_name(const json_t *row)
{
    const char *first = json_string_value(json_array_get(json_object_get(row, "RepoTags"), 0));

    return first && strcmp(first, "<none>:<none>") != 0;
}

static int drop_nameless(struct cc_docker *d, struct cc_provider_ctx *x, const json_t *list)
{
    const json_t *row;
    size_t i;
    int r = 0;

    json_array_foreach (list, i, row)
        if (r == 0 && !has_name(row) && *cc_docker_text(row, "Id"))
            r = image_drop(d, x, cc_docker_text(row, "Id"));
    return r;
}

int cc_docker_disks_drop(struct cc_docker *d, struct cc_provider_ctx *x, const char *short_id, const char *but)
{
    json_t *list = NULL;
    int r = images(d, x, cc_docker_filter(x->arena, "{\"reference\":[\"" CC_DOCKER_DISK "%s\"]}", short_id), &list);

    if (r == 0)
        r = drop_named(d, x, list, but);
    json_decref(list);
    list = NULL;
    if (r == 0) /* another has the name now: found by what it inherited of its container */
        r = images(d, x, cc_docker_filter(x->arena, "{\"label\":[\"cchost.short=%s\"]}", short_id), &list);
    if (r == 0)
        r = drop_nameless(d, x, list);
    json_decref(list);
    return r;
}
