/* docker.c - machines as containers of a dockerd: the calls of the contract, in terms of the parts (docker.h).
 *
 * Nothing is kept in memory but what dockerd said of its host.  A machine whose
 * create has not come to its end (its directory says so) is half-made: create
 * completes it, destroy removes it with its volume, which nobody has used yet.
 */
#include "providers/docker/docker.h"
#include "providers/drivers.h"

#include "host/observe/log.h"
#include "host/sys/mem.h"
#include "providers/talk.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { UNDO_MS = 20000 };

/* ---------------------------------------------------------------- open and close */

static void d_close(void *self)
{
    struct cc_docker *d = self;

    cc_docker_ways_fini(d);
    cc_rest_close(d->rest);
    pthread_mutex_destroy(&d->lock);
    free(d->dir), free(d->image), free(d->iptables), free(d->ports_address), free(d->shell), free(d->hosts_socket);
    free(d->bin);
    free(d);
}

/* DIR/bin/cchost-agent-CONTENT/{cchost-agent,cchost-busy}: a directory, for that is what a container gets. */
static int install(struct cc_docker *d, struct cc_err *err)
{
    char *folder = cc_xasprintf("%s/bin", d->dir), *program = NULL, *name = NULL, *busy = NULL;
    int r = cc_carried_install(folder, "cchost-agent", &program, err);

    if (r == 0) {
        d->bin = cc_xasprintf("%s.d", program);
        name = cc_xasprintf("%s/cchost-agent", d->bin);
        busy = cc_xasprintf("%s/cchost-busy", d->bin);
        if ((mkdir(d->bin, 0755) != 0 && errno != EEXIST) || chmod(d->bin, 0755) != 0 ||
            (link(program, name) != 0 && errno != EEXIST) || (link(program, busy) != 0 && errno != EEXIST))
            r = cc_err_sys(err, errno, "making %s", d->bin);
    }
    free(folder), free(program), free(name), free(busy);
    return r;
}

static int make_dirs(const struct cc_docker *d, struct cc_err *err)
{
    static const char *const names[] = { "", "/machines", "/locks", "/bin" };
    char path[512];
    size_t i;

    for (i = 0; i < sizeof(names) / sizeof(*names); i++) {
        snprintf(path, sizeof(path), "%s%s", d->dir, names[i]);
        if (mkdir(path, 0700) != 0 && errno != EEXIST)
            return cc_err_sys(err, errno, "making %s", path);
    }
    return 0;
}

static void miss(struct cc_docker *d, const char *what, const char *why)
{
    d->missing[d->caps.n_missing++] = (struct cc_unenforced){ what, why };
    cc_log(CC_LOG_WARN, "docker", "cannot give %s: %s", what, why);
}

/* Of dockerd's host as it is on most hosts; put right by what it says at the first machine (api.c). */
static void capabilities(struct cc_docker *d)
{
    d->caps = (struct cc_capabilities){
        .driver = "docker",
        .exec = true,
        .activity = true,
        .volumes = true,
        .stop_keeps_disk = true,
        .net_nat = true,
        .net_none = true,
        .limit_vcpu = true,
        .limit_memory = true,
        .limit_pids = true,
        .default_image = d->image,
        .missing = d->missing,
    };
    if (!d->near)
        miss(d, "a firewall", "dockerd is on another host: machines may reach what listens on its addresses");
    else if (!d->fence)
        miss(d, "a firewall", "it was switched off: machines may reach what listens on this host's addresses");
}

static int d_open(const struct cc_pairs *settings, void **self, struct cc_err *err)
{
    struct cc_docker *d = cc_xcalloc(1, sizeof(*d));
    int r;

    pthread_mutex_init(&d->lock, NULL);
    r = cc_docker_settings(d, settings, err);
    if (r == 0)
        r = make_dirs(d, err);
    if (r == 0)
        r = d->near ? install(d, err) : cc_docker_ways_init(d, err);
    if (r != 0) {
        d_close(d);
        return r;
    }
    capabilities(d);
    *self = d;
    return 0;
}

static const struct cc_capabilities *d_capabilities(void *self) { return &((struct cc_docker *)self)->caps; }

/* ---------------------------------------------------------------- one machine, one operation */

/* Its lock, and its short id. */
static int hold(struct cc_docker *d, struct cc_provider_ctx *x, const char *provider_id, const char **short_id)
{
    if (!cc_provider_id_ok(provider_id))
        return cc_err_set(x->err, CC_E_INVALID, "\"%.60s\" is no machine of this provider", provider_id);
    *short_id = provider_id + 3;
    return cc_name_lock(d->dir, *short_id, x->call, x->err);
}

static int tell(struct cc_docker *d, struct cc_provider_ctx *x, const char *short_id, struct cc_machine_info *out)
{
    json_t *doc;
    struct cc_docker_host host;
    int r = cc_docker_host(d, x, &host);

    if (r == 0)
        r = cc_docker_find(d, x, short_id, &doc);
    if (r != 0)
        return r;
    cc_box_info(d, x->arena, doc, out);
    json_decref(doc);
    return 0;
}

/* ---------------------------------------------------------------- create */

/* Its container. One that runs is not started again: its agent listens where a start takes the last life's socket away. */
enum found { ABSENT, STOPPED, RUNS };

/* From what is there to a machine that runs: with the volumes held, so that no other takes one meanwhile. */
static int begin(struct cc_docker *d, struct cc_provider_ctx *x, struct cc_box *b, enum found there)
{
    int net = -1, volumes, r = cc_docker_volumes_hold(d, x, b, &volumes);

    if (r == 0)
        r = cc_docker_volume_own(d, x, b);
    if (r == 0 && b->net)
        r = cc_docker_net_hold(d, x, b->owner, &net);
    if (r == 0 && there == ABSENT)
        r = cc_docker_container_make(d, x, b, "");
    if (net >= 0)
        close(net);
    if (r == 0)
        r = there == RUNS ? cc_docker_container_up(d, x, b->short_id) : cc_docker_container_start(d, x, b);
    if (volumes >= 0)
        close(volumes);
    return r;
}

/* Container, disk, network, directory: all but volumes. */
static int clear(struct cc_docker *d, struct cc_provider_ctx *x, const char *short_id, const char *net)
{
    int r = cc_docker_container_remove(d, x, cc_arena_printf(x->arena, "claude-%s", short_id));

    if (r == 0)
        r = cc_docker_container_remove(d, x, cc_arena_printf(x->arena, "claude-%s.new", short_id));
    if (r == 0)
        r = cc_docker_disks_drop(d, x, short_id, NULL);
    if (r == 0 && net)
        r = cc_docker_net_drop(d, x, net);
    return r;
}

static int undo(struct cc_docker *d, const struct cc_provider_ctx *x, const struct cc_box *b, bool was_there)
{
    struct cc_docker_after after;
    struct cc_provider_ctx *y = cc_docker_after(&after, x, UNDO_MS);
    bool making = cc_docker_making(d, x->arena, b->short_id);
    int r;

    if (was_there && !making)
        return 0;
    r = clear(d, y, b->short_id, b->net);
    if (r == 0 && making)
        r = cc_docker_volume_drop(d, y, cc_arena_printf(x->arena, "cc-%s", b->short_id));
    if (r == 0)
        r = cc_docker_forget(d, y, b->short_id);
    cc_docker_way_end(d, b->short_id);
    if (r != 0)
        cc_log(CC_LOG_WARN, "docker", "cc-%s: what was made of it could not be taken back: %s", b->short_id,
               after.err.message);
    return r;
}

/* Whether its own volume has somebody's data: then no failure of ours takes it away. */
static int fresh(struct cc_docker *d, struct cc_provider_ctx *x, const struct cc_box *b, bool *out)
{
    json_t *doc;
    int r = cc_docker_get(d, x, cc_arena_printf(x->arena, "/volumes/%s", cc_docker_own_volume(x->arena, b->short_id)),
                          "looking for the machine's volume", &doc);

    *out = r == CC_E_NOT_FOUND || cc_docker_making(d, x->arena, b->short_id);
    if (r == 0)
        json_decref(doc);
    return r == CC_E_NOT_FOUND ? 0 : r;
}

static int make(struct cc_docker *d, struct cc_provider_ctx *x, const struct cc_machine_spec *spec, enum found there)
{
    struct cc_box b;
    bool is_fresh = false;
    int r;

    if (spec->network == CC_NET_HOST)
        return cc_err_set(x->err, CC_E_UNSUPPORTED, "machines on docker never get the host's own network");
    cc_box_of_spec(d, x->arena, spec, &b);
    r = cc_docker_image(d, x, b.image, &b.facts);
    if (r == 0)
        r = fresh(d, x, &b, &is_fresh);
    if (r != 0)
        return r;
    r = cc_docker_dirs(d, x, b.short_id, is_fresh);
    if (r == 0)
        r = cc_docker_conf(d, x, b.short_id, b.facts, spec);
    if (r == 0)
        r = begin(d, x, &b, there);
    if (r == 0)
        cc_docker_made(d, x->arena, b.short_id);
    else
        undo(d, x, &b, there != ABSENT);
    return r;
}

/* 0: a machine that was made stands there, `*half`: but its create has not come to its end. */
static int already(struct cc_docker *d, struct cc_provider_ctx *x, const struct cc_machine_spec *spec, bool *half,
                   enum found *there)
{
    struct cc_box b;
    json_t *doc;
    int r = cc_docker_find(d, x, spec->short_id, &doc);

    if (r != 0)
        return r;
    cc_box_of_doc(x->arena, doc, &b);
    *half = cc_docker_making(d, x->arena, b.short_id); /* a container that was exchanged was never started, either */
    *there = json_is_true(cc_docker_at(doc, "State.Running")) ? RUNS : STOPPED;
    json_decref(doc);
    return strcmp(b.id, spec->id) == 0 ? 0
                                       : cc_err_set(x->err, CC_E_EXISTS, "cc-%s is another machine", spec->short_id);
}

static int d_create(void *self, struct cc_provider_ctx *x, const struct cc_machine_spec *spec,
                    struct cc_machine_info *out)
{
    struct cc_docker *d = self;
    int fd = cc_name_lock(d->dir, spec->short_id, x->call, x->err), r;
    enum found there = ABSENT;
    bool half = false;

    if (fd < 0)
        return fd;
    r = already(d, x, spec, &half, &there);
    if (r == CC_E_NOT_FOUND)
        r = make(d, x, spec, ABSENT);
    else if (r == 0 && half)
        r = make(d, x, spec, there);
    if (r == 0)
        r = tell(d, x, spec->short_id, out);
    if (r == 0)
        close(fd);
    else
        cc_name_unlock_gone(d->dir, spec->short_id, fd);
    return r;
}

/* ---------------------------------------------------------------- destroy */

/* The network it is on, where it is still there to say so. */
static int net_of(struct cc_docker *d, struct cc_provider_ctx *x, const char *short_id, const char **net)
{
    struct cc_box b;
    json_t *doc;
    int r = cc_docker_find(d, x, short_id, &doc);

    *net = NULL;
    if (r == CC_E_NOT_FOUND)
        return 0;
    if (r != 0)
        return r;
    cc_box_of_doc(x->arena, doc, &b);
    *net = b.net;
    json_decref(doc);
    return 0;
}

static int d_destroy(void *self, struct cc_provider_ctx *x, const char *provider_id, bool purge)
{
    struct cc_docker *d = self;
    const char *short_id, *net;
    bool making;
    int fd = hold(d, x, provider_id, &short_id), r;

    if (fd < 0)
        return fd;
    making = cc_docker_making(d, x->arena, short_id);
    r = net_of(d, x, short_id, &net);
    if (r == 0)
        r = clear(d, x, short_id, net);
    if (r == 0 && (purge || making))
        r = cc_docker_volume_drop(d, x, provider_id);
    if (r == 0)
        r = cc_docker_forget(d, x, short_id);
    cc_docker_way_end(d, short_id);
    cc_name_unlock_gone(d->dir, short_id, fd);
    return r;
}

/* ---------------------------------------------------------------- start and stop */

/* Limits that differ from those of its container. */
static int update(struct cc_docker *d, struct cc_provider_ctx *x, struct cc_box *b, const struct cc_machine_spec *spec)
{
    double vcpu = spec->vcpu > 0 ? spec->vcpu : d->vcpu;
    uint32_t memory = spec->memory_mib ? spec->memory_mib : d->memory_mib;
    json_int_t bytes = (json_int_t)memory * 1024 * 1024;

    if (fabs(vcpu - b->vcpu) < 1e-9 && memory == b->memory_mib)
        return 0;
    return cc_docker_send(
        d, x, "POST", cc_arena_printf(x->arena, "/containers/claude-%s/update", b->short_id),
        json_pack("{s:I,s:I,s:I}", "NanoCpus", (json_int_t)llround(vcpu * 1e9), "Memory", bytes, "MemorySwap", bytes),
        "changing the machine's limits");
}

static int wake(struct cc_docker *d, struct cc_provider_ctx *x, const json_t *doc, const struct cc_machine_spec *spec)
{
    struct cc_box b;
    int r;

    cc_box_of_doc(x->arena, doc, &b);
    if (json_is_true(cc_docker_at(doc, "State.Paused")))
        return cc_docker_send(d, x, "POST", cc_arena_printf(x->arena, "/containers/claude-%s/unpause", b.short_id),
                              NULL, "waking the machine");
    r = cc_docker_dirs(d, x, b.short_id, false);
    if (r == 0)
        r = cc_docker_conf(d, x, b.short_id, b.facts, spec);
    if (r == 0 && spec)
        r = update(d, x, &b, spec);
    if (r == 0)
        r = begin(d, x, &b, STOPPED);
    return r;
}

/* A machine that could not be started does not stay half up. */
static void down(struct cc_docker *d, const struct cc_provider_ctx *x, const char *short_id)
{
    struct cc_docker_after after;
    struct cc_provider_ctx *y = cc_docker_after(&after, x, UNDO_MS);

    cc_docker_send(d, y, "POST", cc_arena_printf(x->arena, "/containers/claude-%s/stop?t=0", short_id), NULL,
                   "stopping");
}

static int d_start(void *self, struct cc_provider_ctx *x, const char *provider_id, const struct cc_machine_spec *spec,
                   struct cc_machine_info *out)
{
    struct cc_docker *d = self;
    const char *short_id;
    json_t *doc = NULL;
    int fd = hold(d, x, provider_id, &short_id), r;
    bool runs = false;

    if (fd < 0)
        return fd;
    r = cc_docker_find(d, x, short_id, &doc);
    if (r == 0)
        runs = json_is_true(cc_docker_at(doc, "State.Running")) && !json_is_true(cc_docker_at(doc, "State.Paused"));
    if (r == 0 && !runs && (r = wake(d, x, doc, spec)) != 0)
        down(d, x, short_id);
    if (r == 0)
        r = tell(d, x, short_id, out);
    json_decref(doc);
    close(fd);
    return r;
}

static int d_stop(void *self, struct cc_provider_ctx *x, const char *provider_id)
{
    struct cc_docker *d = self;
    const char *short_id;
    json_t *doc = NULL;
    int fd = hold(d, x, provider_id, &short_id), r;
    struct cc_docker_req q = { .method = "POST" };

    if (fd < 0)
        return fd;
    r = cc_docker_find(d, x, short_id, &doc);
    if (r == 0 && json_is_true(cc_docker_at(doc, "State.Paused"))) /* TERM reaches nobody who is frozen */
        r = cc_docker_send(d, x, "POST", cc_arena_printf(x->arena, "/containers/claude-%s/unpause", short_id), NULL,
                           "waking");
    q.path = cc_arena_printf(x->arena, "/containers/claude-%s/stop?t=%u", short_id, (d->stop_grace_ms + 999) / 1000);
    if (r == 0 && json_is_true(cc_docker_at(doc, "State.Running")))
        r = cc_docker_ask(d, x, &q, "stopping the machine", NULL);
    json_decref(doc);
    close(fd);
    return r;
}

/* ---------------------------------------------------------------- telling */

static int d_status(void *self, struct cc_provider_ctx *x, const char *provider_id, struct cc_machine_info *out)
{
    if (!cc_provider_id_ok(provider_id))
        return cc_err_set(x->err, CC_E_INVALID, "\"%.60s\" is no machine of this provider", provider_id);
    return tell(self, x, provider_id + 3, out);
}

/* Those by their own names; the other half of an exchange (mounts.c) is not a machine. */
static bool is_machine(const json_t *row, const char *short_id)
{
    const char *name = json_string_value(json_array_get(json_object_get(row, "Names"), 0));

    return cc_short_ok(short_id) && name && strncmp(name, "/claude-", 8) == 0 && strcmp(name + 8, short_id) == 0;
}

static int d_list(void *self, struct cc_provider_ctx *x, struct cc_machine_list *out)
{
    const char *filter = cc_docker_filter(x->arena, "{\"label\":[\"cloudcode.managed=true\",\"cchost.id\"]}");
    struct cc_docker *d = self;
    const json_t *row;
    json_t *rows;
    size_t i;
    int r = cc_docker_get(d, x, cc_arena_printf(x->arena, "/containers/json?all=true&%s", filter), "listing machines",
                          &rows);

    if (r != 0)
        return r;
    *out = (struct cc_machine_list){ cc_arena_alloc(x->arena, (json_array_size(rows) + 1) * sizeof(*out->v)), 0 };
    json_array_foreach (rows, i, row)
        if (is_machine(row, json_string_value(json_object_get(json_object_get(row, "Labels"), "cchost.short"))))
            cc_box_listed(x->arena, row, &out->v[out->n++]);
    r = cc_docker_net_sweep(d, x, rows);
    json_decref(rows);
    return r;
}

/* "not_found", "state", or 0: asked before its agent is, whose silence has many reasons. */
static int runs(struct cc_docker *d, struct cc_provider_ctx *x, const char *provider_id, const char **short_id,
                bool *unhealthy)
{
    json_t *doc;
    int r;

    if (!cc_provider_id_ok(provider_id))
        return cc_err_set(x->err, CC_E_INVALID, "\"%.60s\" is no machine of this provider", provider_id);
    *short_id = provider_id + 3;
    if ((r = cc_docker_find(d, x, *short_id, &doc)) != 0)
        return r;
    if (!json_is_true(cc_docker_at(doc, "State.Running")) || json_is_true(cc_docker_at(doc, "State.Paused")))
        r = cc_err_set(x->err, CC_E_STATE, "%s is not running", provider_id);
    *unhealthy = strcmp(cc_docker_text(doc, "State.Health.Status"), "unhealthy") == 0;
    json_decref(doc);
    return r;
}

/* To its agent; the host may have lost its directory. */
static int way(struct cc_docker *d, struct cc_provider_ctx *x, const char *short_id)
{
    int r = d->near ? 0 : cc_docker_dirs(d, x, short_id, false), e = r ? 0 : cc_docker_way(d, short_id);

    return e ? cc_err_sys(x->err, e, "listening for the agent of cc-%s", short_id) : r;
}

static int d_activity(void *self, struct cc_provider_ctx *x, const char *provider_id, struct cc_activity *out)
{
    struct cc_docker *d = self;
    const char *short_id = "";
    bool unhealthy = false;
    int r = runs(d, x, provider_id, &short_id, &unhealthy);

    if (r == 0)
        r = way(d, x, short_id);
    if (r == 0)
        r = cc_agent_activity(cc_docker_path(d, x->arena, short_id, "agent/agent.sock"), x, out);
    if (r == 0 && unhealthy) /* whatever it does, it does not serve its user */
        *out = (struct cc_activity){ .last_input_at = out->last_input_at, .clients = out->clients, .unhealthy = true };
    return r;
}

static int d_exec(void *self, struct cc_provider_ctx *x, const char *provider_id, const struct cc_exec_spec *spec,
                  struct cc_exec_result *out)
{
    if (!cc_provider_id_ok(provider_id))
        return cc_err_set(x->err, CC_E_INVALID, "\"%.60s\" is no machine of this provider", provider_id);
    return cc_docker_exec(self, x, provider_id + 3, spec, out);
}

static int d_logs(void *self, struct cc_provider_ctx *x, const char *provider_id, size_t most, struct cc_log_text *out)
{
    json_t *doc;
    int r;

    if (!cc_provider_id_ok(provider_id))
        return cc_err_set(x->err, CC_E_INVALID, "\"%.60s\" is no machine of this provider", provider_id);
    r = cc_docker_find(self, x, provider_id + 3, &doc); /* first, as its container may be about to be exchanged */
    if (r != 0)
        return r;
    json_decref(doc);
    return cc_docker_logs(self, x, provider_id + 3, most, out);
}

static int d_endpoint(void *self, const char *provider_id, struct cc_endpoint *out, struct cc_err *err)
{
    struct cc_docker *d = self;

    if (!cc_provider_id_ok(provider_id))
        return cc_err_set(err, CC_E_INVALID, "\"%.60s\" is no machine of this provider", provider_id);
    cc_docker_way(d, provider_id + 3); /* where that fails nobody listens, which who connects will see */
    snprintf(out->unix_path, sizeof(out->unix_path), "%s/machines/%s/agent/agent.sock", d->dir, provider_id + 3);
    return 0;
}

/* ---------------------------------------------------------------- volumes */

static int d_attach(void *self, struct cc_provider_ctx *x, const char *provider_id, const struct cc_mount_spec *volume)
{
    const char *short_id;
    int fd = hold(self, x, provider_id, &short_id), r;

    if (fd < 0)
        return fd;
    r = cc_docker_attach(self, x, short_id, volume);
    close(fd);
    return r;
}

static int d_detach(void *self, struct cc_provider_ctx *x, const char *provider_id, const char *volume_id)
{
    const char *short_id;
    int fd = hold(self, x, provider_id, &short_id), r;

    if (fd < 0)
        return fd;
    r = cc_docker_detach(self, x, short_id, volume_id);
    close(fd);
    return r;
}

static int d_volume_create(void *self, struct cc_provider_ctx *x, const struct cc_volume_spec *spec,
                           struct cc_volume_info *out)
{
    return cc_docker_volume_make(self, x, spec, out);
}

static int d_volume_delete(void *self, struct cc_provider_ctx *x, const char *id)
{
    return cc_docker_volume_drop(self, x, id);
}

static int d_volume_list(void *self, struct cc_provider_ctx *x, struct cc_volume_list *out)
{
    return cc_docker_volume_all(self, x, out);
}

const struct cc_driver cc_driver_docker = {
    .name = "docker",
    .threads = 16,
    .default_timeout_ms = 60000,
    .open = d_open,
    .close = d_close,
    .capabilities = d_capabilities,
    .create = d_create,
    .destroy = d_destroy,
    .start = d_start,
    .stop = d_stop,
    .status = d_status,
    .activity = d_activity,
    .list = d_list,
    .exec = d_exec,
    .attach = d_attach,
    .detach = d_detach,
    .volume_create = d_volume_create,
    .volume_delete = d_volume_delete,
    .volume_list = d_volume_list,
    .logs = d_logs,
    .watch = cc_docker_watch,
    .check = cc_docker_check,
    .endpoint = d_endpoint,
};
