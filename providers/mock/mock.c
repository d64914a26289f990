/* mock.c - a provider that is not there, for tests, simulation and trying out.
 *
 * The effect of a call happens at once, on the loop, and its answer is held
 * for the scripted latency on the host's clock, so that a virtual clock drives
 * it.  It does everything wrong that real providers do, on request (script.c
 * is the manual), and keeps a world that outlives the process, as a real one
 * does (journal.c).  With a state file a call writes to it, and waits up to
 * CC_MOCK_WAIT_MS for another process to be done with it: the one thing here
 * that blocks the loop.
 */
#include "providers/drivers.h"
#include "providers/mock/mock.h"

#include "host/sys/clock.h"
#include "host/sys/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void m_close(void *self)
{
    struct cc_mock *m = self;

    cc_mock_close(m);
    cc_mock_forget(m);
    cc_mock_forget_tries(m);
    free(m->path);
    free(m->ledger_path);
    free(m->endpoint);
    free(m->places);
    free(m->exec_out);
    free(m->ssh_why);
    json_decref(m->report);
    free(m);
}

static int m_open(const struct cc_pairs *settings, void **self, struct cc_err *err)
{
    struct cc_mock *m = cc_xcalloc(1, sizeof(*m));
    int r;

    m->fd = m->ledger_fd = -1;
    m->caps = (struct cc_capabilities){
        .driver = "mock",
        .exec = true,
        .activity = true,
        .volumes = true,
        .snapshots = true,
        .stop_keeps_disk = true,
        .net_nat = true,
        .net_none = true,
        .net_host = true,
        .limit_vcpu = true,
        .limit_memory = true,
        .limit_disk = true,
        .limit_pids = true,
        .machine_snapshots = true,
        .grows_disk = true,
        .default_image = "host",
    };
    r = cc_mock_script(m, settings, err);
    if (r == 0)
        r = cc_mock_open(m, err);
    if (r != 0) {
        m_close(m);
        return r;
    }
    *self = m;
    return 0;
}

static const struct cc_capabilities *m_capabilities(void *self) { return &((struct cc_mock *)self)->caps; }

/* ---------------------------------------------------------------- machines */

static void tell(const struct cc_mock *m, struct cc_arena *a, const struct cc_mock_machine *v,
                 struct cc_machine_info *out)
{
    bool booting = v->running && cc_wall_ms() < v->ready_at;

    *out = (struct cc_machine_info){
        .provider_id = cc_arena_printf(a, "cc-%s", v->short_id),
        .id = cc_arena_strdup(a, v->id),
        .name = cc_arena_strdup(a, v->name),
        .image = cc_arena_strdup(a, v->image),
        .state = booting || v->half == CC_HALF_STARTING ? CC_M_STARTING
                 : v->half                              ? CC_M_ERROR
                 : v->suspended                         ? CC_M_SUSPENDED
                 : v->running                           ? CC_M_RUNNING
                                                        : CC_M_STOPPED,
        .reason = v->half == CC_HALF_ERROR ? "it was never completely made" : NULL,
        .socket = cc_arena_strdup(a, m->endpoint),
        .started_at = v->running ? v->started_at : 0,
        .vcpu = v->vcpu,
        .memory_mib = v->memory_mib,
        .disk_gib = v->disk_gib,
    };
    if (v->ssh && m->ssh_why)
        out->ssh.why = cc_arena_strdup(a, m->ssh_why);
    else if (v->ssh) /* of the network that is kept for examples: nobody is there */
        out->ssh =
            (struct cc_ssh){ .host = cc_arena_printf(a, "192.0.2.%ld", 1 + strtol(v->short_id + 10, NULL, 16) % 254),
                             .port = 22,
                             .user = "claude" };
}

static void set_key(struct cc_mock_machine *v, const struct cc_machine_spec *s)
{
    free(v->agent_key);
    v->agent_key = s->agent_key ? cc_xstrdup(s->agent_key) : NULL;
}

static int add(struct cc_mock *m, struct cc_provider_ctx *x, const struct cc_machine_spec *s,
               struct cc_mock_machine **out)
{
    const char *image = s->image && *s->image ? s->image : "mock";
    struct cc_mock_machine *v;
    size_t i;
    int r;

    if (strcmp(image, "missing") == 0)
        return cc_err_set(x->err, CC_E_NOT_FOUND, "no image \"missing\"");
    for (i = 0; i < s->n_volumes; i++)
        if ((r = cc_mock_usable(m, s->volumes[i].id, NULL, x->err)) != 0)
            return r;
    *out = v = cc_mock_add(m, s->short_id);
    v->id = cc_xstrdup(s->id);
    v->name = cc_xstrdup(s->name ? s->name : "");
    v->image = cc_xstrdup(image);
    set_key(v, s);
    v->vcpu = s->vcpu > 0 ? s->vcpu : 1;
    v->memory_mib = s->memory_mib ? s->memory_mib : 1024;
    v->disk_gib = s->disk_gib ? s->disk_gib : 10;
    v->ssh = s->ssh_keys.n > 0;
    v->created_at = cc_wall_ms();
    for (i = 0; i < s->n_volumes; i++)
        cc_mock_mount(v, &s->volumes[i]);
    return 0;
}

/* A new machine, or the promise of one: then it is not there yet. */
static int make(struct cc_mock *m, struct cc_provider_ctx *x, const struct cc_machine_spec *s, struct cc_mock_turn *t,
                struct cc_mock_machine **out)
{
    struct cc_mock_machine *v = NULL;
    int r = add(m, x, s, &v);

    if (r != 0)
        return r;
    if (!cc_mock_now(t)) {
        t->what = cc_mock_machine_json(v);
        cc_mock_destroy(m, v, 0);
        return 0;
    }
    if (t->mishap == CC_MISHAP_HALF)
        v->half = t->half;
    else
        cc_mock_run(m, v);
    cc_mock_changed(t, v);
    *out = v;
    return 0;
}

static void complete(struct cc_mock *m, struct cc_mock_machine *v, struct cc_mock_turn *t)
{
    cc_mock_run(m, v);
    cc_mock_changed(t, v);
    t->did = "complete";
}

static int m_create(void *self, struct cc_provider_ctx *x, const struct cc_machine_spec *spec,
                    struct cc_machine_info *out)
{
    struct cc_mock_machine *v;
    struct cc_mock_turn t;
    int r = cc_mock_enter(self, x, CC_OP_CREATE, spec->short_id, &t);

    if (r != 0)
        return r;
    t.id = spec->id;
    t.spec = spec;
    v = cc_mock_find(self, spec->short_id, false);
    if (v && strcmp(v->id, spec->id) != 0)
        r = cc_err_set(x->err, CC_E_EXISTS, "cc-%s is another machine", spec->short_id);
    else if (!v)
        r = make(self, x, spec, &t, &v);
    else if (v->half && t.mishap != CC_MISHAP_HALF && cc_mock_now(&t))
        complete(self, v, &t);
    if (r == 0 && v)
        tell(self, x->arena, v, out);
    return cc_mock_leave(self, x, &t, r);
}

static int m_destroy(void *self, struct cc_provider_ctx *x, const char *provider_id, bool purge)
{
    struct cc_mock_machine *v;
    struct cc_mock_turn t;
    int r = cc_mock_enter_machine(self, x, CC_OP_DESTROY, provider_id, &t);

    if (r != 0)
        return r;
    t.purge = purge; /* for the ledger alone: create makes no volumes here */
    r = cc_mock_there(self, x, &t, &v);
    if (r == 0 && cc_mock_now(&t)) {
        cc_mock_destroy(self, v, cc_wall_ms());
        t.what = json_pack("{s:s}", "gone", t.key);
    }
    return cc_mock_leave(self, x, &t, r == CC_E_NOT_FOUND ? 0 : r);
}

static int start(struct cc_mock *m, struct cc_provider_ctx *x, struct cc_mock_machine *v,
                 const struct cc_machine_spec *spec)
{
    int r = cc_mock_all_usable(m, v, x->err);

    if (r != 0)
        return r;
    if (v->suspended) {
        v->suspended = false; /* as it was */
        return 0;
    }
    if (spec) {
        v->disk_gib = spec->disk_gib > v->disk_gib ? spec->disk_gib : v->disk_gib;
        v->vcpu = spec->vcpu;
        v->memory_mib = spec->memory_mib;
        v->ssh = spec->ssh_keys.n > 0;
        set_key(v, spec);
    }
    cc_mock_run(m, v);
    return 0;
}

static int m_start(void *self, struct cc_provider_ctx *x, const char *provider_id, const struct cc_machine_spec *spec,
                   struct cc_machine_info *out)
{
    struct cc_mock_machine *v;
    struct cc_mock_turn t;
    int r = cc_mock_enter_machine(self, x, CC_OP_START, provider_id, &t);

    if (r != 0)
        return r;
    t.spec = spec;
    r = cc_mock_there(self, x, &t, &v);
    if (r == 0 && (!v->running || v->suspended) && cc_mock_now(&t) && (r = start(self, x, v, spec)) == 0)
        cc_mock_changed(&t, v);
    if (r == 0)
        tell(self, x->arena, v, out);
    return cc_mock_leave(self, x, &t, r);
}

static int m_stop(void *self, struct cc_provider_ctx *x, const char *provider_id)
{
    struct cc_mock_machine *v;
    struct cc_mock_turn t;
    int r = cc_mock_enter_machine(self, x, CC_OP_STOP, provider_id, &t);

    if (r != 0)
        return r;
    if ((r = cc_mock_there(self, x, &t, &v)) == 0 && v->running && cc_mock_now(&t)) {
        v->running = v->suspended = false;
        cc_mock_changed(&t, v);
    }
    return cc_mock_leave(self, x, &t, r);
}

static int m_suspend(void *self, struct cc_provider_ctx *x, const char *provider_id)
{
    struct cc_mock_machine *v;
    struct cc_mock_turn t;
    int r = cc_mock_enter_machine(self, x, CC_OP_SUSPEND, provider_id, &t);

    if (r != 0)
        return r;
    if ((r = cc_mock_there(self, x, &t, &v)) == 0 && !v->running)
        r = cc_err_set(x->err, CC_E_STATE, "cc-%s is not running", t.key);
    if (r == 0 && !v->suspended) {
        v->suspended = true;
        cc_mock_changed(&t, v);
    }
    return cc_mock_leave(self, x, &t, r);
}

/* ---------------------------------------------------------------- snapshots of a machine: their names */

/* Into a call that speaks of a snapshot: the machine is there and stopped. */
static int enter_snapshot(struct cc_mock *m, struct cc_provider_ctx *x, enum cc_provider_op op, const char *provider_id,
                          struct cc_mock_turn *t, struct cc_mock_machine **v)
{
    int r = cc_mock_enter_machine(m, x, op, provider_id, t);

    if (r != 0)
        return r;
    r = cc_mock_there(m, x, t, v);
    if (r == 0 && (*v)->running)
        r = cc_err_set(x->err, CC_E_STATE, "cc-%s runs: stop it first", t->key);
    return r ? cc_mock_leave(m, x, t, r) : 0;
}

static int m_machine_snapshot(void *self, struct cc_provider_ctx *x, const char *provider_id, const char *name)
{
    struct cc_mock_machine *v;
    struct cc_mock_turn t;
    int r = enter_snapshot(self, x, CC_OP_MACHINE_SNAPSHOT, provider_id, &t, &v);

    if (r != 0)
        return r;
    if (!v->snapshots)
        v->snapshots = json_object();
    if (!json_object_get(v->snapshots, name)) {
        json_object_set_new(v->snapshots, name, json_true());
        cc_mock_changed(&t, v);
    }
    return cc_mock_leave(self, x, &t, 0);
}

static int m_machine_snapshot_delete(void *self, struct cc_provider_ctx *x, const char *provider_id, const char *name)
{
    struct cc_mock_machine *v;
    struct cc_mock_turn t;
    int r = enter_snapshot(self, x, CC_OP_MACHINE_SNAPSHOT_DELETE, provider_id, &t, &v);

    if (r != 0)
        return r;
    if (v->snapshots && json_object_del(v->snapshots, name) == 0)
        cc_mock_changed(&t, v);
    return cc_mock_leave(self, x, &t, 0);
}

static int m_machine_restore(void *self, struct cc_provider_ctx *x, const char *provider_id, const char *name)
{
    struct cc_mock_machine *v;
    struct cc_mock_turn t;
    int r = enter_snapshot(self, x, CC_OP_MACHINE_RESTORE, provider_id, &t, &v);

    if (r != 0)
        return r;
    if (!v->snapshots || !json_object_get(v->snapshots, name))
        r = cc_err_set(x->err, CC_E_NOT_FOUND, "cc-%s has no snapshot %s", t.key, name);
    else
        cc_mock_changed(&t, v);
    return cc_mock_leave(self, x, &t, r);
}

static int m_status(void *self, struct cc_provider_ctx *x, const char *provider_id, struct cc_machine_info *out)
{
    struct cc_mock_machine *v;
    struct cc_mock_turn t;
    int r = cc_mock_enter_machine(self, x, CC_OP_STATUS, provider_id, &t);

    if (r != 0)
        return r;
    if ((r = cc_mock_there(self, x, &t, &v)) == 0)
        tell(self, x->arena, v, out);
    return cc_mock_leave(self, x, &t, r);
}

/* As the world was list_lag_ms ago: new ones are not there yet, dead ones still are. */
static bool listed(const struct cc_mock *m, const struct cc_mock_machine *v)
{
    int64_t then = cc_wall_ms() - (int64_t)m->list_lag_ms;

    if (m->list_lag_ms == 0) /* whatever the clock says: it may have jumped */
        return !v->destroyed;
    return v->created_at <= then && (!v->destroyed || v->destroyed_at > then);
}

static int m_list(void *self, struct cc_provider_ctx *x, struct cc_machine_list *out)
{
    struct cc_mock *m = self;
    struct cc_mock_machine *v;
    struct cc_mock_turn t;
    size_t n = 0;
    int b, r = cc_mock_enter(m, x, CC_OP_LIST, "", &t);

    if (r != 0)
        return r;
    cc_mock_bury(m);
    for (b = 0; b < CC_MOCK_BUCKETS; b++)
        for (v = m->machines[b]; v; v = v->next)
            n += listed(m, v);
    *out = (struct cc_machine_list){ cc_arena_alloc(x->arena, (n + 1) * sizeof(*out->v)), 0 };
    for (b = 0; b < CC_MOCK_BUCKETS; b++)
        for (v = m->machines[b]; v; v = v->next)
            if (listed(m, v))
                tell(m, x->arena, v, &out->v[out->n++]);
    return cc_mock_leave(m, x, &t, 0);
}

static int m_endpoint(void *self, const char *provider_id, struct cc_endpoint *out, struct cc_err *err)
{
    struct cc_mock *m = self;

    if (!cc_provider_id_ok(provider_id))
        return cc_err_set(err, CC_E_INVALID, "\"%.60s\" is no machine of this provider", provider_id);
    if (!m->endpoint)
        return cc_err_set(err, CC_E_UNSUPPORTED, "machines of the mock have no agent");
    snprintf(out->unix_path, sizeof(out->unix_path), "%s", m->endpoint);
    return 0;
}

static int m_places(void *self, struct cc_provider_ctx *x, const char *type, struct cc_strs *out)
{
    const struct cc_mock *m = self;
    const char **v, *at;
    size_t n = 0, len;

    (void)type;
    if (!m->places)
        return cc_err_set(x->err, CC_E_UNSUPPORTED, "the mock was told of no places");
    v = cc_arena_alloc(x->arena, (strlen(m->places) + 1) * sizeof(*v));
    for (at = m->places + strspn(m->places, " "); *at; at += len + strspn(at + len, " ")) {
        len = strcspn(at, " ");
        v[n++] = cc_arena_printf(x->arena, "%.*s", (int)len, at);
    }
    *out = (struct cc_strs){ v, n };
    return 0;
}

const struct cc_driver cc_driver_mock = {
    .name = "mock",
    .flags = CC_DRIVER_INLINE,
    .default_timeout_ms = 60000,
    .open = m_open,
    .close = m_close,
    .capabilities = m_capabilities,
    .create = m_create,
    .destroy = m_destroy,
    .start = m_start,
    .stop = m_stop,
    .status = m_status,
    .activity = cc_mock_activity,
    .list = m_list,
    .exec = cc_mock_exec,
    .attach = cc_mock_attach,
    .detach = cc_mock_detach,
    .volume_create = cc_mock_volume_create,
    .volume_delete = cc_mock_volume_delete,
    .volume_list = cc_mock_volume_list,
    .suspend = m_suspend,
    .machine_snapshot = m_machine_snapshot,
    .machine_snapshot_delete = m_machine_snapshot_delete,
    .machine_restore = m_machine_restore,
    .snapshot_create = cc_mock_snapshot_create,
    .snapshot_delete = cc_mock_snapshot_delete,
    .snapshot_list = cc_mock_snapshot_list,
    .volume_restore = cc_mock_volume_restore,
    .volume_clone = cc_mock_volume_clone,
    .places = m_places,
    .endpoint = m_endpoint,
};
