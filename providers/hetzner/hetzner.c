/* hetzner.c - machines that are servers at Hetzner.
 *
 * A stopped server costs what a running one does, so stop deletes it and keeps
 * its volumes; start makes another.  One operation at a time on a machine.
 * Each step is found done by who comes again: create goes on where an earlier
 * one was cut off, and destroy takes away whatever there is.
 */
#include "providers/drivers.h"
#include "providers/hetzner/hetzner.h"

#include "host/sys/clock.h"
#include "host/sys/mem.h"
#include "providers/files.h"
#include "providers/host_key.h"
#include "providers/ssh.h"
#include "providers/talk.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { MINUTES_10 = 600000 };

/* ---------------------------------------------------------------- open and close */

static void h_close(void *self)
{
    struct cc_hz *h = self;
    size_t i;

    cc_hz_ways_fini(h);
    cc_rest_close(h->rest);
    for (i = 0; i < h->types.n; i++) {
        free((char *)h->types.v[i].key);
        free((char *)h->types.v[i].value);
    }
    free((struct cc_pair *)h->types.v);
    json_decref(h->catalogue);
    cc_hz_actions_fini(&h->actions);
    cc_hz_budget_fini(&h->budget);
    pthread_mutex_destroy(&h->lock);
    free(h->nixos.flake), free(h->nixos.program), free(h->nixos.base), free(h->nixos.kexec), free(h->nixos.build_on);
    free(h->dir), free(h->location), free(h->image), free(h->type), free(h->ssh), free(h->shell), free(h->public_key),
        free(h->key_name);
    free(h);
}

static void capabilities(struct cc_hz *h)
{
    static const struct cc_unenforced missing[] = {
        { "the disk over a stop",
          "a server that is off costs as much as one that runs: stop deletes it, and volumes alone stay" },
        { "limits beside the type's", "Hetzner sells servers by type" },
        { "network none and host", "a server is reached over ssh, at its public address" },
    };

    h->caps = (struct cc_capabilities){ .driver = "hetzner",
                                        .exec = true,
                                        .activity = true,
                                        .volumes = true,
                                        .user_data = true,
                                        .addresses = true,
                                        .net_nat = true,
                                        .mounts_max = CC_HZ_MOUNTS - 1,
                                        .default_image = h->image,
                                        .log_file = "/home/claude/.cmd.log",
                                        .missing = missing,
                                        .n_missing = sizeof(missing) / sizeof(*missing) };
}

static int h_open(const struct cc_pairs *settings, void **self, struct cc_err *err)
{
    struct cc_hz *h = cc_xcalloc(1, sizeof(*h));
    struct cc_rest_opts o = { .base = cc_pairs_get(settings, "endpoint", "https://api.hetzner.cloud/v1"),
                              .token = cc_pairs_get(settings, "token", NULL) };
    uint32_t hour = 0;
    int r = cc_hz_settings(h, settings, &hour, err);

    pthread_mutex_init(&h->lock, NULL);
    cc_hz_actions_init(&h->actions);
    cc_hz_budget_init(&h->budget, hour);
    if (r == 0 && !(h->rest = cc_rest_open(&o, err)))
        r = err->code;
    if (r == 0 && (r = cc_hz_make_dirs(h, err)) == 0) {
        cc_hz_ways_init(h);
        r = cc_hz_identity(h, err);
    }
    if (r != 0) {
        h_close(h);
        return r;
    }
    capabilities(h);
    *self = h;
    return 0;
}

static const struct cc_capabilities *h_capabilities(void *self) { return &((struct cc_hz *)self)->caps; }

/* ---------------------------------------------------------------- a machine at hand */

struct hold {
    struct cc_hz_box b;
    int lock;
};

static int take_hold(struct cc_hz *h, struct cc_provider_ctx *x, const char *short_id, struct hold *hold)
{
    *hold = (struct hold){ .lock = cc_name_lock(h->dir, short_id, x->call, x->err) };
    if (hold->lock < 0)
        return hold->lock;
    hold->b.short_id = cc_arena_strdup(x->arena, short_id);
    hold->b.name = cc_arena_printf(x->arena, "cc-%s", short_id);
    return 0;
}

static void let_go(const struct cc_hz *h, struct hold *hold, bool gone)
{
    json_decref(hold->b.server);
    if (gone)
        cc_name_unlock_gone(h->dir, hold->b.short_id, hold->lock);
    else
        close(hold->lock);
}

/* What is kept here is of this server: it has not said yet that it is usable, and the numbers agree. */
static bool begun_here(const struct cc_hz_box *b)
{
    return b->server && b->kept == cc_hz_id(b->server) && !cc_hz_label(b->server, CC_HZ_PINNED);
}

int cc_hz_look(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_hz_box *b, bool volumes)
{
    int r;

    cc_hz_load(h, x->arena, b);
    r = cc_hz_server_find(h, x, b);
    if (r == 0 && (volumes || !b->server))
        r = cc_hz_mounts(h, x, b);
    if (r == 0 && b->server && b->host_key && !cc_hz_server_shows(x->arena, b->server, b->host_key) && !begun_here(b))
        b->host_key = NULL; /* of an earlier server, or this host is not the one that made it */
    if (b->server && b->kept != cc_hz_id(b->server))
        b->phase = NULL;
    return r;
}

static int there(struct cc_provider_ctx *x, const struct cc_hz_box *b)
{
    return cc_hz_state(b) == CC_M_GONE ? cc_err_set(x->err, CC_E_NOT_FOUND, "there is no machine %s", b->name) : 0;
}

/* ---------------------------------------------------------------- to run */

bool cc_hz_resumable(struct cc_hz *h, struct cc_provider_ctx *x, const struct cc_hz_box *b)
{
    const char *pub;

    return (b->host_key && begun_here(b)) || cc_hz_first_key(h, x->arena, b->short_id, false, &pub) != NULL;
}

/* From volumes to a machine that is usable. */
static int bring_up(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_hz_box *b)
{
    int r = cc_hz_save(h, x->arena, b, x->err);

    cc_hz_way_end(h, x, b->short_id); /* of an earlier server, or who knows how long ago */
    if (r == 0 && b->server && !cc_hz_resumable(h, x, b))
        r = cc_hz_server_end(h, x, b);
    if (r == 0 && !b->server) {
        b->host_key = b->phase = NULL;
        cc_hz_first_key_gone(h, x->arena, b->short_id);
        r = cc_hz_server_make(h, x, b);
    }
    if (r == 0)
        r = cc_hz_server_up(h, x, b);
    if (r == 0)
        r = cc_hz_network_join(h, x, b);
    if (r == 0)
        r = cc_hz_pin(h, x, b);
    if (r == 0 && b->installs)
        r = cc_hz_nixos(h, x, b, CC_HZ_REBOOTED);
    if (r == 0)
        r = cc_hz_server_attach(h, x, b);
    if (r == 0)
        r = cc_hz_setup(h, x, b);
    if (r == 0)
        r = cc_hz_server_pinned(h, x, b);
    return r == 0 ? cc_hz_volume_settle(h, x, b) : r;
}

/* ---------------------------------------------------------------- to end */

static int drop_volumes(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_hz_box *b, bool purge)
{
    int r = 0;
    size_t i;

    for (i = 0; r == 0 && i < b->n_mounts; i++) {
        const struct cc_hz_mount *m = &b->mounts[i];

        r = m->own && (purge || m->how == 'h') ? cc_hz_volume_remove(h, x, m->id) : cc_hz_volume_free(h, x, b, i);
    }
    return r;
}

/* The volumes' labels go last: until then it is found again. */
static int remove_all(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_hz_box *b, bool purge)
{
    const char *owner = b->server ? cc_arena_strdup(x->arena, cc_hz_label(b->server, CC_HZ_OWNER)) : NULL;
    bool networked = json_array_size(json_object_get(b->server, "private_net")) > 0 || b->spec.address;
    int r = 0;

    cc_hz_way_end(h, x, b->short_id);
    if (b->server)
        r = cc_hz_server_end(h, x, b);
    if (!owner && b->spec.address)
        owner = cc_hz_digest(x->arena, b->spec.owner);
    if (r == 0 && networked && owner)
        r = cc_hz_network_leave(h, x, owner);
    if (r == 0)
        r = drop_volumes(h, x, b, purge);
    if (r == 0)
        cc_hz_forget(h, x->arena, b->short_id);
    return r;
}

/* The reason of the failure stays what is told. */
static void undo_create(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_hz_box *b)
{
    struct cc_err why = *x->err;
    int r = cc_hz_server_find(h, x, b);

    if (r == 0)
        r = cc_hz_mounts(h, x, b);
    if (r == 0)
        remove_all(h, x, b, false);
    *x->err = why;
}

/* ---------------------------------------------------------------- create */

static int put_volumes(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_hz_box *b,
                       const struct cc_machine_spec *spec)
{
    size_t i;
    int r = 0;

    if (spec->n_volumes > CC_HZ_MOUNTS)
        return cc_err_set(x->err, CC_E_LIMIT, "Hetzner attaches at most %d volumes to a server", CC_HZ_MOUNTS);
    for (i = 0; r == 0 && i < spec->n_volumes; i++) {
        int is = cc_mounts_check((const struct cc_mount_spec[]){ { 0 } }, 0, CC_HZ_MOUNTS, &spec->volumes[i], x->err);
        size_t k;

        for (k = 0; k < b->n_mounts; k++)
            if (strcmp(b->mounts[k].volume, spec->volumes[i].id) == 0)
                is = 1;
        r = is == 0 ? cc_hz_volume_put(h, x, b, &spec->volumes[i], 'k') : is < 0 ? is : 0;
    }
    return r;
}

static bool has_data(const struct cc_hz_box *b)
{
    size_t i;

    for (i = 0; i < b->n_mounts; i++)
        if (strcmp(b->mounts[i].path, "/claude-data") == 0)
            return true;
    return false;
}

static int make(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_hz_box *b, const struct cc_machine_spec *spec)
{
    int r;

    b->spec = *spec;
    if ((r = put_volumes(h, x, b, spec)) != 0 || (r = cc_hz_plan(h, x, b)) != 0)
        return r;
    if (!has_data(b) && (r = cc_hz_volume_own(h, x, b, 'h')) != 0)
        return r;
    return bring_up(h, x, b);
}

static bool label_ok(const char *s)
{
    return *s && strlen(s) <= 63 && isalnum((unsigned char)*s) && isalnum((unsigned char)s[strlen(s) - 1]) &&
           strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == strlen(s);
}

/* What cannot be undone now, for time or Hetzner's limit is over, is gone on with or taken away by who comes next. */
static bool undone_now(int r) { return r != CC_E_TIMEOUT && r != CC_E_CANCELLED && r != CC_E_LIMIT; }

static int create_held(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_hz_box *b,
                       const struct cc_machine_spec *spec)
{
    enum cc_machine_state state;
    int r = cc_hz_look(h, x, b, true);

    if (r != 0)
        return r;
    if (b->id && strcmp(b->id, spec->id) != 0)
        return cc_err_set(x->err, CC_E_EXISTS, "there is another machine %s already", b->name);
    state = cc_hz_state(b);
    b->id = spec->id;
    if (state == CC_M_RUNNING || state == CC_M_STOPPED)
        return cc_hz_volume_settle(h, x, b);
    r = make(h, x, b, spec);
    if (r != 0 && (undone_now(r) || !x->err->retryable))
        undo_create(h, x, b);
    return r;
}

static int h_create(void *self, struct cc_provider_ctx *x, const struct cc_machine_spec *spec,
                    struct cc_machine_info *out)
{
    struct cc_hz *h = self;
    struct hold hold;
    int r;

    if (!label_ok(spec->id))
        return cc_err_set(x->err, CC_E_INVALID, "id: letters, digits, \"-\", \"_\" and \".\" expected");
    if ((r = take_hold(h, x, spec->short_id, &hold)) != 0)
        return r;
    if ((r = create_held(h, x, &hold.b, spec)) == 0)
        cc_hz_tell(h, x->arena, &hold.b, out);
    let_go(h, &hold, r != 0);
    return r;
}

/* ---------------------------------------------------------------- destroy */

static int destroy_held(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_hz_box *b, bool purge)
{
    int r = cc_hz_look(h, x, b, true);

    if (r == CC_E_EXISTS) /* a server of that name that is not ours */
        r = cc_hz_mounts(h, x, b);
    if (r == 0)
        r = remove_all(h, x, b, purge);
    if (r == 0 && purge) /* one that an earlier destroy left */
        r = cc_hz_volume_drop(h, x, b->name);
    return r;
}

static int check_id(struct cc_provider_ctx *x, const char *provider_id)
{
    return cc_provider_id_ok(provider_id)
               ? 0
               : cc_err_set(x->err, CC_E_INVALID, "\"%.60s\" is no machine of this provider", provider_id);
}

static int h_destroy(void *self, struct cc_provider_ctx *x, const char *provider_id, bool purge)
{
    struct cc_hz *h = self;
    struct hold hold;
    int r = check_id(x, provider_id);

    if (r != 0 || (r = take_hold(h, x, provider_id + 3, &hold)) != 0)
        return r;
    r = destroy_held(h, x, &hold.b, purge);
    let_go(h, &hold, r == 0);
    return r;
}

/* ---------------------------------------------------------------- start and stop */

/* What a start says holds from now on; place, image and network stay. */
static void renew(struct cc_hz_box *b, const struct cc_machine_spec *s)
{
    struct cc_machine_spec old = b->spec;

    if (!s)
        return;
    b->spec = *s;
    if (old.id) {
        b->spec.image = old.image;
        b->spec.location = old.location;
        b->spec.address = old.address;
        b->spec.owner = old.owner;
        b->spec.network = old.network;
        b->spec.disk_gib = old.disk_gib;
        b->spec.user_data = s->user_data ? s->user_data : old.user_data;
    }
}

static int check_free(struct cc_provider_ctx *x, const struct cc_hz_box *b)
{
    size_t i;

    for (i = 0; i < b->n_mounts; i++)
        if (b->mounts[i].server && b->mounts[i].server != cc_hz_id(b->server))
            return cc_err_set(x->err, CC_E_CONFLICT, "another machine that runs has volume %.64s", b->mounts[i].volume);
    return 0;
}

static int start_held(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_hz_box *b,
                      const struct cc_machine_spec *spec)
{
    int r = cc_hz_look(h, x, b, true);
    enum cc_machine_state state;

    if (r != 0 || (r = there(x, b)) != 0)
        return r;
    state = cc_hz_state(b);
    if (state == CC_M_RUNNING)
        return cc_hz_volume_settle(h, x, b);
    renew(b, spec);
    if (!b->spec.id)
        return cc_err_set(x->err, CC_E_INVALID, "this host has lost what %s was made of: start it with its description",
                          b->name);
    b->id = b->spec.id;
    if (state == CC_M_STOPPED && b->server) /* halted from inside, or a stop that was cut off */
        r = cc_hz_server_end(h, x, b);
    if (r == 0)
        r = check_free(x, b);
    if (r == 0)
        r = cc_hz_plan(h, x, b);
    if (r == 0 && !has_data(b))
        r = cc_hz_volume_own(h, x, b, 'm');
    if (r == 0)
        r = bring_up(h, x, b);
    return r;
}

/* A start that failed leaves no server that nobody can use; the volumes are what they were. */
static void undo_start(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_hz_box *b)
{
    struct cc_err why = *x->err;

    if (cc_hz_server_find(h, x, b) == 0 && b->server && !cc_hz_label(b->server, CC_HZ_PINNED))
        cc_hz_server_end(h, x, b);
    *x->err = why;
}

static int h_start(void *self, struct cc_provider_ctx *x, const char *provider_id, const struct cc_machine_spec *spec,
                   struct cc_machine_info *out)
{
    struct cc_hz *h = self;
    struct hold hold;
    int r = check_id(x, provider_id);

    if (r != 0 || (r = take_hold(h, x, provider_id + 3, &hold)) != 0)
        return r;
    r = start_held(h, x, &hold.b, spec);
    if (r == 0)
        cc_hz_tell(h, x->arena, &hold.b, out);
    else if (undone_now(r) && r != CC_E_NOT_FOUND)
        undo_start(h, x, &hold.b);
    let_go(h, &hold, false);
    return r;
}

static int stop_held(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_hz_box *b)
{
    int r = cc_hz_look(h, x, b, true);

    if (r != 0 || (r = there(x, b)) != 0 || !b->server)
        return r;
    cc_hz_way_end(h, x, b->short_id);
    r = cc_hz_volume_settle(h, x, b);                   /* from now on they alone say that there is a machine */
    if (r == 0 && cc_hz_label(b->server, CC_HZ_PINNED)) /* else it was never usable: nothing in it to be shut down */
        r = cc_hz_server_off(h, x, b);
    return r == 0 ? cc_hz_server_end(h, x, b) : r;
}

static int h_stop(void *self, struct cc_provider_ctx *x, const char *provider_id)
{
    struct cc_hz *h = self;
    struct hold hold;
    int r = check_id(x, provider_id);

    if (r != 0 || (r = take_hold(h, x, provider_id + 3, &hold)) != 0)
        return r;
    r = stop_held(h, x, &hold.b);
    let_go(h, &hold, false);
    return r;
}

/* ---------------------------------------------------------------- status */

static int h_status(void *self, struct cc_provider_ctx *x, const char *provider_id, struct cc_machine_info *out)
{
    struct cc_hz *h = self;
    struct cc_hz_box b = { .name = cc_arena_strdup(x->arena, provider_id) };
    int r = check_id(x, provider_id);

    if (r != 0)
        return r;
    b.short_id = b.name + 3;
    r = cc_hz_look(h, x, &b, false);
    if (r == 0)
        r = there(x, &b);
    if (r == 0)
        cc_hz_tell(h, x->arena, &b, out);
    json_decref(b.server);
    return r;
}

/* ---------------------------------------------------------------- inside */

/* The way there, or why there is none: it is not running, or nobody knows it. */
static int way(struct cc_hz *h, struct cc_provider_ctx *x, const char *provider_id, const char **socket)
{
    struct cc_machine_info info;
    int r = check_id(x, provider_id);

    if (r != 0)
        return r;
    *socket = cc_hz_socket(h, x->arena, provider_id + 3);
    if (cc_hz_way(h, x, provider_id + 3) == 0)
        return 0;
    if ((r = cc_call_check(x->call, x->err)) != 0 || (r = h_status(h, x, provider_id, &info)) != 0)
        return r;
    if (info.state != CC_M_RUNNING)
        return cc_err_set(x->err, CC_E_STATE, "%s is not running", provider_id);
    return cc_hz_way(h, x, provider_id + 3);
}

static int h_exec(void *self, struct cc_provider_ctx *x, const char *provider_id, const struct cc_exec_spec *spec,
                  struct cc_exec_result *out)
{
    const char *socket;
    int r = way(self, x, provider_id, &socket);

    return r == 0 ? cc_agent_exec(socket, x, spec, out) : r;
}

static int h_activity(void *self, struct cc_provider_ctx *x, const char *provider_id, struct cc_activity *out)
{
    const char *socket;
    int r = way(self, x, provider_id, &socket);

    return r == 0 ? cc_agent_activity(socket, x, out) : r;
}

static int h_endpoint(void *self, const char *provider_id, struct cc_endpoint *out, struct cc_err *err)
{
    struct cc_hz *h = self;

    if (!cc_provider_id_ok(provider_id))
        return cc_err_set(err, CC_E_INVALID, "that is no machine of this provider");
    snprintf(out->unix_path, sizeof(out->unix_path), "%s/machines/%s/agent.sock", h->dir, provider_id + 3);
    cc_hz_way_ask(h, provider_id + 3);
    return 0;
}

/* ---------------------------------------------------------------- volumes */

static size_t mount_specs(const struct cc_hz_box *b, struct cc_mount_spec v[CC_HZ_MOUNTS])
{
    size_t i;

    for (i = 0; i < b->n_mounts; i++)
        v[i] = (struct cc_mount_spec){ b->mounts[i].volume, b->mounts[i].path };
    return b->n_mounts;
}

static int attach_held(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_hz_box *b, const struct cc_mount_spec *m)
{
    struct cc_mount_spec has[CC_HZ_MOUNTS];
    int r = cc_hz_look(h, x, b, true);

    if (r != 0 || (r = there(x, b)) != 0)
        return r;
    if ((r = cc_mounts_check(has, mount_specs(b, has), CC_HZ_MOUNTS, m, x->err)) != 0)
        return r == 1 ? 0 : r;
    if (cc_hz_state(b) != CC_M_STOPPED)
        return cc_err_set(x->err, CC_E_STATE, "%s is running: volumes are attached while it is stopped", b->name);
    if (b->server && (r = cc_hz_server_end(h, x, b)) != 0)
        return r;
    return cc_hz_volume_put(h, x, b, m, 'm');
}

static int h_attach(void *self, struct cc_provider_ctx *x, const char *provider_id, const struct cc_mount_spec *m)
{
    struct cc_hz *h = self;
    struct hold hold;
    int r = check_id(x, provider_id);

    if (r != 0 || (r = take_hold(h, x, provider_id + 3, &hold)) != 0)
        return r;
    r = attach_held(h, x, &hold.b, m);
    let_go(h, &hold, false);
    return r;
}

/* A machine's own volume takes the place of the last one: something must say that there is a machine. A detach that was cut
 * off may have made it already. */
static int own_instead(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_hz_box *b)
{
    size_t i;

    for (i = 0; i < b->n_mounts && !b->mounts[i].own; i++) {
    }
    return i < b->n_mounts ? cc_hz_volume_settle(h, x, b) : cc_hz_volume_own(h, x, b, 'm');
}

static int detach_held(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_hz_box *b, const char *volume)
{
    int r = cc_hz_look(h, x, b, true);
    size_t i;

    if (r != 0 || (r = there(x, b)) != 0)
        return r;
    for (i = 0; i < b->n_mounts && strcmp(b->mounts[i].volume, volume) != 0; i++) {
    }
    if (i == b->n_mounts)
        return 0;
    if (cc_hz_state(b) != CC_M_STOPPED)
        return cc_err_set(x->err, CC_E_STATE, "%s is running: volumes are detached while it is stopped", b->name);
    if (b->mounts[i].own)
        return cc_err_set(x->err, CC_E_UNSUPPORTED, "%s keeps its own volume", b->name);
    if (b->server && (r = cc_hz_server_end(h, x, b)) != 0)
        return r;
    b->spec.location = b->mounts[i].location;
    if (strcmp(b->mounts[i].path, "/claude-data") == 0 && (r = own_instead(h, x, b)) != 0)
        return r;
    return cc_hz_volume_free(h, x, b, i);
}

static int h_detach(void *self, struct cc_provider_ctx *x, const char *provider_id, const char *volume)
{
    struct cc_hz *h = self;
    struct hold hold;
    int r = check_id(x, provider_id);

    if (r != 0 || (r = take_hold(h, x, provider_id + 3, &hold)) != 0)
        return r;
    r = detach_held(h, x, &hold.b, volume);
    let_go(h, &hold, false);
    return r;
}

static int h_volume_create(void *self, struct cc_provider_ctx *x, const struct cc_volume_spec *spec,
                           struct cc_volume_info *out)
{
    return cc_hz_volume_make(self, x, spec, out);
}

static int h_volume_delete(void *self, struct cc_provider_ctx *x, const char *id)
{
    return cc_hz_volume_drop(self, x, id);
}

static int h_volume_list(void *self, struct cc_provider_ctx *x, struct cc_volume_list *out)
{
    return cc_hz_volume_list(self, x, out);
}

static int h_places(void *self, struct cc_provider_ctx *x, const char *type, struct cc_strs *out)
{
    return cc_hz_places(self, x, type, out);
}

const struct cc_driver cc_driver_hetzner = {
    .name = "hetzner",
    .threads = 16,
    .default_timeout_ms = MINUTES_10,
    .open = h_open,
    .close = h_close,
    .capabilities = h_capabilities,
    .create = h_create,
    .destroy = h_destroy,
    .start = h_start,
    .stop = h_stop,
    .status = h_status,
    .activity = h_activity,
    .list = cc_hz_list,
    .exec = h_exec,
    .attach = h_attach,
    .detach = h_detach,
    .volume_create = h_volume_create,
    .volume_delete = h_volume_delete,
    .volume_list = h_volume_list,
    .check = cc_hz_check,
    .places = h_places,
    .image_build = cc_hz_image_build,
    .image_list = cc_hz_image_list,
    .image_delete = cc_hz_image_delete,
    .endpoint = h_endpoint,
};
