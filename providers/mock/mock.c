/* mock.c - a provider that is not there, for tests, simulation and trying out.
 *
 * It never blocks: the effect of a call happens at once, on the loop, and its
 * answer is held for the scripted latency on the host's clock, so that a
 * virtual clock drives it.  No chance: what fails is told by its settings.
 */
#include "providers/drivers.h"
#include "providers/mock/mock.h"

#include "host/sys/clock.h"
#include "host/sys/mem.h"

#include <stdio.h>
#include <string.h>

static int m_open(const struct cc_pairs *settings, void **self, struct cc_err *err)
{
    struct cc_mock *m = cc_xcalloc(1, sizeof(*m));
    int r;

    m->caps = (struct cc_capabilities){
        .driver = "mock",
        .exec = true,
        .activity = true,
        .volumes = true,
        .stop_keeps_disk = true,
        .net_nat = true,
        .net_none = true,
        .net_host = true,
        .limit_vcpu = true,
        .limit_memory = true,
        .limit_disk = true,
        .limit_pids = true,
        .default_image = "mock",
    };
    r = cc_mock_script(m, settings, err);
    if (r == 0)
        r = cc_mock_load(m, err);
    if (r != 0) {
        cc_mock_free(m);
        return r;
    }
    *self = m;
    return 0;
}

static void m_close(void *self) { cc_mock_free(self); }

static const struct cc_capabilities *m_capabilities(void *self) { return &((struct cc_mock *)self)->caps; }

/* ---------------------------------------------------------------- whims around every call */

static int scripted(struct cc_mock_whim *w, struct cc_provider_ctx *x)
{
    cc_err_set(x->err, w->code, "scripted failure of the mock");
    x->err->retry_after_ms = w->retry_after_ms;
    if (w->retry_after_ms)
        x->err->retryable = true;
    return w->code;
}

/* Before the effect: 0 to go on, or the scripted error. */
static int enter(struct cc_mock *m, struct cc_provider_ctx *x, enum cc_provider_op op)
{
    struct cc_mock_whim *w = &m->whim[op];

    x->delay_ms = w->latency_ms;
    if (!w->fail || w->after)
        return 0;
    w->fail--;
    return scripted(w, x);
}

/* After the effect; r is what it came to. */
static int leave(struct cc_mock *m, struct cc_provider_ctx *x, enum cc_provider_op op, int r)
{
    struct cc_mock_whim *w = &m->whim[op];

    if (r == 0)
        r = cc_mock_save(m, x->err);
    if (w->lose) {
        w->lose--;
        x->delay_ms = CC_DELAY_FOREVER;
    } else if (r == 0 && w->fail && w->after) {
        w->fail--;
        r = scripted(w, x);
    }
    return r;
}

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
        .state = booting      ? CC_M_STARTING
                 : v->running ? CC_M_RUNNING
                              : CC_M_STOPPED,
        .socket = cc_arena_strdup(a, m->endpoint),
        .started_at = v->running ? v->started_at : 0,
        .vcpu = v->vcpu,
        .memory_mib = v->memory_mib,
        .disk_gib = v->disk_gib,
    };
}

static int find(struct cc_mock *m, struct cc_provider_ctx *x, const char *provider_id, struct cc_mock_machine **out)
{
    if (!cc_provider_id_ok(provider_id))
        return cc_err_set(x->err, CC_E_INVALID, "\"%.60s\" is no machine of this provider", provider_id);
    if (!(*out = cc_mock_find(m, provider_id + 3, false)))
        return cc_err_set(x->err, CC_E_NOT_FOUND, "no machine %s", provider_id);
    return 0;
}

static void run(struct cc_mock *m, struct cc_mock_machine *v)
{
    v->running = true;
    v->started_at = cc_wall_ms();
    v->ready_at = v->started_at + (int64_t)m->boot_ms;
}

/* A volume that `v` may have: it is there, and no other machine that runs has it. */
static int usable(struct cc_mock *m, struct cc_provider_ctx *x, const char *volume_id, const struct cc_mock_machine *v)
{
    struct cc_mock_machine *user = cc_mock_user(m, volume_id);

    if (!cc_mock_volume(m, volume_id, false))
        return cc_err_set(x->err, CC_E_NOT_FOUND, "no volume %s", volume_id);
    if (user && user != v)
        return cc_err_set(x->err, CC_E_CONFLICT, "volume %s is in use by cc-%s", volume_id, user->short_id);
    return 0;
}

static int make(struct cc_mock *m, struct cc_provider_ctx *x, const struct cc_machine_spec *s,
                struct cc_mock_machine **out)
{
    struct cc_mock_machine *v = cc_mock_find(m, s->short_id, false);
    const char *image = s->image && *s->image ? s->image : "mock";
    size_t i;
    int r;

    *out = v;
    if (v)
        return strcmp(v->id, s->id) == 0 ? 0 : cc_err_set(x->err, CC_E_EXISTS, "cc-%s is another machine", s->short_id);
    if (strcmp(image, "missing") == 0)
        return cc_err_set(x->err, CC_E_NOT_FOUND, "no image \"missing\"");
    for (i = 0; i < s->n_volumes; i++)
        if ((r = usable(m, x, s->volumes[i].id, NULL)) != 0)
            return r;
    *out = v = cc_mock_add(m, s->short_id);
    v->id = cc_xstrdup(s->id);
    v->name = cc_xstrdup(s->name ? s->name : "");
    v->image = cc_xstrdup(image);
    v->vcpu = s->vcpu > 0 ? s->vcpu : 1;
    v->memory_mib = s->memory_mib ? s->memory_mib : 1024;
    v->disk_gib = s->disk_gib ? s->disk_gib : 10;
    v->created_at = cc_wall_ms();
    for (i = 0; i < s->n_volumes; i++)
        cc_mock_mount(v, &s->volumes[i]);
    run(m, v);
    return 0;
}

static int m_create(void *self, struct cc_provider_ctx *x, const struct cc_machine_spec *spec,
                    struct cc_machine_info *out)
{
    struct cc_mock_machine *v;
    int r = enter(self, x, CC_OP_CREATE);

    if (r != 0)
        return r;
    if ((r = make(self, x, spec, &v)) == 0)
        tell(self, x->arena, v, out);
    return leave(self, x, CC_OP_CREATE, r);
}

static int m_destroy(void *self, struct cc_provider_ctx *x, const char *provider_id, bool purge)
{
    struct cc_mock_machine *v;
    int r = enter(self, x, CC_OP_DESTROY);

    (void)purge; /* create makes no volumes here */
    if (r != 0)
        return r;
    r = find(self, x, provider_id, &v);
    if (r == 0) {
        v->running = false;
        v->destroyed = true;
        v->destroyed_at = cc_wall_ms();
    }
    return leave(self, x, CC_OP_DESTROY, r == CC_E_NOT_FOUND ? 0 : r);
}

static int start(struct cc_mock *m, struct cc_provider_ctx *x, struct cc_mock_machine *v,
                 const struct cc_machine_spec *spec)
{
    size_t i;
    int r;

    if (v->running)
        return 0;
    for (i = 0; i < v->n_mounts; i++)
        if ((r = usable(m, x, v->mounts[i].id, v)) != 0)
            return r;
    if (spec) {
        v->vcpu = spec->vcpu;
        v->memory_mib = spec->memory_mib;
    }
    run(m, v);
    return 0;
}

static int m_start(void *self, struct cc_provider_ctx *x, const char *provider_id, const struct cc_machine_spec *spec,
                   struct cc_machine_info *out)
{
    struct cc_mock_machine *v;
    int r = enter(self, x, CC_OP_START);

    if (r != 0)
        return r;
    if ((r = find(self, x, provider_id, &v)) == 0 && (r = start(self, x, v, spec)) == 0)
        tell(self, x->arena, v, out);
    return leave(self, x, CC_OP_START, r);
}

static int m_stop(void *self, struct cc_provider_ctx *x, const char *provider_id)
{
    struct cc_mock_machine *v;
    int r = enter(self, x, CC_OP_STOP);

    if (r != 0)
        return r;
    if ((r = find(self, x, provider_id, &v)) == 0)
        v->running = false;
    return leave(self, x, CC_OP_STOP, r);
}

static int m_status(void *self, struct cc_provider_ctx *x, const char *provider_id, struct cc_machine_info *out)
{
    struct cc_mock_machine *v;
    int r = enter(self, x, CC_OP_STATUS);

    if (r == 0 && (r = find(self, x, provider_id, &v)) == 0)
        tell(self, x->arena, v, out);
    return leave(self, x, CC_OP_STATUS, r);
}

/* As the world was list_lag_ms ago: new ones are not there yet, dead ones still are. */
static bool listed(const struct cc_mock *m, const struct cc_mock_machine *v)
{
    int64_t then = cc_wall_ms() - (int64_t)m->list_lag_ms;

    return v->created_at <= then && (!v->destroyed || v->destroyed_at > then);
}

static int m_list(void *self, struct cc_provider_ctx *x, struct cc_machine_list *out)
{
    struct cc_mock *m = self;
    struct cc_mock_machine *v;
    size_t n = 0;
    int b, r = enter(m, x, CC_OP_LIST);

    if (r != 0)
        return r;
    for (b = 0; b < CC_MOCK_BUCKETS; b++)
        for (v = m->machines[b]; v; v = v->next)
            n += listed(m, v);
    *out = (struct cc_machine_list){ cc_arena_alloc(x->arena, (n + 1) * sizeof(*out->v)), 0 };
    for (b = 0; b < CC_MOCK_BUCKETS; b++)
        for (v = m->machines[b]; v; v = v->next)
            if (listed(m, v))
                tell(m, x->arena, v, &out->v[out->n++]);
    return leave(m, x, CC_OP_LIST, 0);
}

static int find_running(struct cc_mock *m, struct cc_provider_ctx *x, const char *provider_id)
{
    struct cc_mock_machine *v;
    int r = find(m, x, provider_id, &v);

    if (r == 0 && !v->running)
        r = cc_err_set(x->err, CC_E_STATE, "%s is not running", provider_id);
    return r;
}

static int m_activity(void *self, struct cc_provider_ctx *x, const char *provider_id, struct cc_activity *out)
{
    int r = enter(self, x, CC_OP_ACTIVITY);

    *out = (struct cc_activity){ 0 };
    return r ? r : leave(self, x, CC_OP_ACTIVITY, find_running(self, x, provider_id));
}

static int m_exec(void *self, struct cc_provider_ctx *x, const char *provider_id, const struct cc_exec_spec *spec,
                  struct cc_exec_result *out)
{
    struct cc_mock *m = self;
    int r = enter(m, x, CC_OP_EXEC);
    const char *text = m->exec_out ? m->exec_out : "";
    size_t i;

    if (r != 0)
        return r;
    if ((r = find_running(m, x, provider_id)) == 0) {
        for (i = 0; i < spec->cmd.n && !m->exec_out; i++)
            text = cc_arena_printf(x->arena, "%s%s%s", text, i ? " " : "", spec->cmd.v[i]);
        *out = (struct cc_exec_result){ .exit = m->exec_exit, .out = cc_arena_strdup(x->arena, text), .err = "" };
        out->out_len = strlen(out->out);
    }
    return leave(m, x, CC_OP_EXEC, r);
}

/* ---------------------------------------------------------------- volumes */

static int may_change(const struct cc_mock *m, struct cc_provider_ctx *x, const struct cc_mock_machine *v)
{
    if (!v->running || m->caps.attach_live)
        return 0;
    return cc_err_set(x->err, CC_E_STATE, "cc-%s runs: stop it first", v->short_id);
}

static int attach(struct cc_mock *m, struct cc_provider_ctx *x, struct cc_mock_machine *v,
                  const struct cc_mount_spec *volume)
{
    int r = cc_mounts_check(v->mounts, v->n_mounts, volume, x->err);

    if (r != 0)
        return r == 1 ? 0 : r;
    if ((r = may_change(m, x, v)) != 0 || (r = usable(m, x, volume->id, v)) != 0)
        return r;
    cc_mock_mount(v, volume);
    return 0;
}

static int m_attach(void *self, struct cc_provider_ctx *x, const char *provider_id, const struct cc_mount_spec *volume)
{
    struct cc_mock_machine *v;
    int r = enter(self, x, CC_OP_ATTACH);

    if (r != 0)
        return r;
    if ((r = find(self, x, provider_id, &v)) == 0)
        r = attach(self, x, v, volume);
    return leave(self, x, CC_OP_ATTACH, r);
}

static bool has(const struct cc_mock_machine *v, const char *volume_id)
{
    size_t i;

    for (i = 0; i < v->n_mounts; i++)
        if (strcmp(v->mounts[i].id, volume_id) == 0)
            return true;
    return false;
}

static int m_detach(void *self, struct cc_provider_ctx *x, const char *provider_id, const char *volume_id)
{
    struct cc_mock_machine *v;
    int r = enter(self, x, CC_OP_DETACH);

    if (r != 0)
        return r;
    if ((r = find(self, x, provider_id, &v)) == 0 && has(v, volume_id) && (r = may_change(self, x, v)) == 0)
        cc_mock_unmount(v, volume_id);
    return leave(self, x, CC_OP_DETACH, r);
}

static int m_volume_create(void *self, struct cc_provider_ctx *x, const struct cc_volume_spec *spec,
                           struct cc_volume_info *out)
{
    struct cc_mock *m = self;
    struct cc_mock_volume *v;
    int r = enter(m, x, CC_OP_VOLUME_CREATE);

    if (r != 0)
        return r;
    if (!(v = cc_mock_volume(m, spec->id, false))) {
        v = cc_mock_volume(m, spec->id, true);
        v->size_gib = spec->size_gib;
    }
    *out = (struct cc_volume_info){ .id = cc_arena_strdup(x->arena, v->id),
                                    .size_gib = v->size_gib,
                                    .size_enforced = true };
    return leave(m, x, CC_OP_VOLUME_CREATE, 0);
}

static int m_volume_delete(void *self, struct cc_provider_ctx *x, const char *id)
{
    int r = enter(self, x, CC_OP_VOLUME_DELETE);

    if (r != 0)
        return r;
    if (cc_mock_user(self, id))
        r = cc_err_set(x->err, CC_E_CONFLICT, "volume %s is in use by a running machine", id);
    else
        cc_mock_drop_volume(self, id);
    return leave(self, x, CC_OP_VOLUME_DELETE, r);
}

static int m_volume_list(void *self, struct cc_provider_ctx *x, struct cc_volume_list *out)
{
    struct cc_mock *m = self;
    struct cc_mock_volume *v;
    size_t n = 0;
    int r = enter(m, x, CC_OP_VOLUME_LIST);

    if (r != 0)
        return r;
    for (v = m->volumes; v; v = v->next)
        n++;
    *out = (struct cc_volume_list){ cc_arena_alloc(x->arena, (n + 1) * sizeof(*out->v)), 0 };
    for (v = m->volumes; v; v = v->next)
        out->v[out->n++] = (struct cc_volume_info){ .id = cc_arena_strdup(x->arena, v->id),
                                                    .size_gib = v->size_gib,
                                                    .size_enforced = true };
    return leave(m, x, CC_OP_VOLUME_LIST, 0);
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
    .activity = m_activity,
    .list = m_list,
    .exec = m_exec,
    .attach = m_attach,
    .detach = m_detach,
    .volume_create = m_volume_create,
    .volume_delete = m_volume_delete,
    .volume_list = m_volume_list,
    .endpoint = m_endpoint,
};
