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
#include "providers/activity.h"

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

/* ---------------------------------------------------------------- what is around every call */

/* A call between enter and leave. */
struct turn {
    enum cc_provider_op op;
    const char *key; /* the short id, the volume's id, or "" */
    const char *id;  /* of the machine, for the ledger */
    enum cc_mishap mishap;
    enum cc_half half;
    const char *did; /* for the ledger: what was done, when that is not the operation's name */
    json_t *what;    /* the change, as the journal has it; NULL: none */
    const struct cc_machine_spec *spec;
    bool purge;
};

static int scripted(const struct cc_mock_whim *w, struct cc_provider_ctx *x)
{
    cc_err_set(x->err, w->code, "scripted failure of the mock");
    x->err->retry_after_ms = w->retry_after_ms;
    if (w->retry_after_ms)
        x->err->retryable = true;
    return w->code;
}

static bool may_change_something(enum cc_provider_op op)
{
    return op != CC_OP_STATUS && op != CC_OP_ACTIVITY && op != CC_OP_LIST && op != CC_OP_EXEC &&
           op != CC_OP_VOLUME_LIST && op != CC_OP_SNAPSHOT_LIST;
}

static int record(struct cc_mock *m, struct cc_provider_ctx *x, const struct turn *t)
{
    struct cc_mock_effect e = { t->did, t->key, t->id, t->what != NULL, t->mishap, t->what, t->spec, t->purge };

    return may_change_something(t->op) ? cc_mock_record(m, &e, x->err) : 0;
}

/* Before the effect: 0 and the world locked, or an error. */
static int enter(struct cc_mock *m, struct cc_provider_ctx *x, enum cc_provider_op op, const char *key, struct turn *t)
{
    int r;

    *t = (struct turn){ .op = op, .key = key, .id = "", .did = cc_mock_ops[op] };
    if ((r = cc_mock_lock(m, x->err)) != 0) /* not heard: what was counted is for the next call */
        return r;
    t->mishap = cc_mock_mishap(m, op, key, &x->delay_ms, &t->half);
    if (t->mishap == CC_MISHAP_FAIL) {
        r = record(m, x, t);
        cc_mock_unlock(m);
        r = r ? r : scripted(&m->whim[op], x);
    }
    return r;
}

/* A call by provider_id. */
static int enter_machine(struct cc_mock *m, struct cc_provider_ctx *x, enum cc_provider_op op, const char *provider_id,
                         struct turn *t)
{
    if (!cc_provider_id_ok(provider_id))
        return cc_err_set(x->err, CC_E_INVALID, "\"%.60s\" is no machine of this provider", provider_id);
    return enter(m, x, op, provider_id + 3, t);
}

static bool can_be_late(enum cc_provider_op op)
{
    return op == CC_OP_CREATE || op == CC_OP_DESTROY || op == CC_OP_START || op == CC_OP_STOP;
}

/* Whether the effect takes place now: a late one waits until the caller has given up. */
static bool now(const struct turn *t) { return t->mishap != CC_MISHAP_LATE || !can_be_late(t->op); }

static int put_off(struct cc_mock *m, struct cc_provider_ctx *x, struct turn *t)
{
    int left = cc_call_left_ms(x->call);
    int64_t due = cc_wall_ms() + (left > 0 ? left : 0) + 1 + (int64_t)m->late_ms;
    const struct cc_mock_late *l = cc_mock_late_add(m, t->op, t->key, t->what, due);
    int r;

    t->what = NULL;
    r = cc_mock_note(m, json_pack("{s:o}", "late", cc_mock_late_json(l)), x->err);
    return r ? r : record(m, x, t);
}

/* After the effect; r is what it came to. */
static int leave(struct cc_mock *m, struct cc_provider_ctx *x, struct turn *t, int r)
{
    if (r == 0 && !now(t) && (t->op != CC_OP_CREATE || t->what)) /* else it is there already */
        r = put_off(m, x, t);
    else if (r == 0)
        r = record(m, x, t);
    cc_mock_unlock(m);
    if (t->mishap == CC_MISHAP_LOSE || t->mishap == CC_MISHAP_LATE)
        x->delay_ms = CC_DELAY_FOREVER;
    else if (r == 0 && (t->mishap == CC_MISHAP_AFTER || t->mishap == CC_MISHAP_HALF))
        r = scripted(&m->whim[t->op], x);
    return r;
}

static void changed(struct turn *t, const struct cc_mock_machine *v)
{
    t->what = json_pack("{s:o}", "machine", cc_mock_machine_json(v));
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

static int find(struct cc_mock *m, struct cc_provider_ctx *x, struct turn *t, struct cc_mock_machine **out)
{
    if (!(*out = cc_mock_find(m, t->key, false)))
        return cc_err_set(x->err, CC_E_NOT_FOUND, "no machine cc-%s", t->key);
    t->id = cc_arena_strdup(x->arena, (*out)->id);
    return 0;
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
static int make(struct cc_mock *m, struct cc_provider_ctx *x, const struct cc_machine_spec *s, struct turn *t,
                struct cc_mock_machine **out)
{
    struct cc_mock_machine *v = NULL;
    int r = add(m, x, s, &v);

    if (r != 0)
        return r;
    if (!now(t)) {
        t->what = cc_mock_machine_json(v);
        cc_mock_destroy(m, v, 0);
        return 0;
    }
    if (t->mishap == CC_MISHAP_HALF)
        v->half = t->half;
    else
        cc_mock_run(m, v);
    changed(t, v);
    *out = v;
    return 0;
}

static void complete(struct cc_mock *m, struct cc_mock_machine *v, struct turn *t)
{
    cc_mock_run(m, v);
    changed(t, v);
    t->did = "complete";
}

static int m_create(void *self, struct cc_provider_ctx *x, const struct cc_machine_spec *spec,
                    struct cc_machine_info *out)
{
    struct cc_mock_machine *v;
    struct turn t;
    int r = enter(self, x, CC_OP_CREATE, spec->short_id, &t);

    if (r != 0)
        return r;
    t.id = spec->id;
    t.spec = spec;
    v = cc_mock_find(self, spec->short_id, false);
    if (v && strcmp(v->id, spec->id) != 0)
        r = cc_err_set(x->err, CC_E_EXISTS, "cc-%s is another machine", spec->short_id);
    else if (!v)
        r = make(self, x, spec, &t, &v);
    else if (v->half && t.mishap != CC_MISHAP_HALF && now(&t))
        complete(self, v, &t);
    if (r == 0 && v)
        tell(self, x->arena, v, out);
    return leave(self, x, &t, r);
}

static int m_destroy(void *self, struct cc_provider_ctx *x, const char *provider_id, bool purge)
{
    struct cc_mock_machine *v;
    struct turn t;
    int r = enter_machine(self, x, CC_OP_DESTROY, provider_id, &t);

    if (r != 0)
        return r;
    t.purge = purge; /* for the ledger alone: create makes no volumes here */
    r = find(self, x, &t, &v);
    if (r == 0 && now(&t)) {
        cc_mock_destroy(self, v, cc_wall_ms());
        t.what = json_pack("{s:s}", "gone", t.key);
    }
    return leave(self, x, &t, r == CC_E_NOT_FOUND ? 0 : r);
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
    }
    cc_mock_run(m, v);
    return 0;
}

static int m_start(void *self, struct cc_provider_ctx *x, const char *provider_id, const struct cc_machine_spec *spec,
                   struct cc_machine_info *out)
{
    struct cc_mock_machine *v;
    struct turn t;
    int r = enter_machine(self, x, CC_OP_START, provider_id, &t);

    if (r != 0)
        return r;
    t.spec = spec;
    r = find(self, x, &t, &v);
    if (r == 0 && (!v->running || v->suspended) && now(&t) && (r = start(self, x, v, spec)) == 0)
        changed(&t, v);
    if (r == 0)
        tell(self, x->arena, v, out);
    return leave(self, x, &t, r);
}

static int m_stop(void *self, struct cc_provider_ctx *x, const char *provider_id)
{
    struct cc_mock_machine *v;
    struct turn t;
    int r = enter_machine(self, x, CC_OP_STOP, provider_id, &t);

    if (r != 0)
        return r;
    if ((r = find(self, x, &t, &v)) == 0 && v->running && now(&t)) {
        v->running = v->suspended = false;
        changed(&t, v);
    }
    return leave(self, x, &t, r);
}

static int m_suspend(void *self, struct cc_provider_ctx *x, const char *provider_id)
{
    struct cc_mock_machine *v;
    struct turn t;
    int r = enter_machine(self, x, CC_OP_SUSPEND, provider_id, &t);

    if (r != 0)
        return r;
    if ((r = find(self, x, &t, &v)) == 0 && !v->running)
        r = cc_err_set(x->err, CC_E_STATE, "cc-%s is not running", t.key);
    if (r == 0 && !v->suspended) {
        v->suspended = true;
        changed(&t, v);
    }
    return leave(self, x, &t, r);
}

/* ---------------------------------------------------------------- snapshots of a machine: their names */

/* Into a call that speaks of a snapshot: the machine is there and stopped. */
static int enter_snapshot(struct cc_mock *m, struct cc_provider_ctx *x, enum cc_provider_op op, const char *provider_id,
                          struct turn *t, struct cc_mock_machine **v)
{
    int r = enter_machine(m, x, op, provider_id, t);

    if (r != 0)
        return r;
    r = find(m, x, t, v);
    if (r == 0 && (*v)->running)
        r = cc_err_set(x->err, CC_E_STATE, "cc-%s runs: stop it first", t->key);
    return r ? leave(m, x, t, r) : 0;
}

static int m_machine_snapshot(void *self, struct cc_provider_ctx *x, const char *provider_id, const char *name)
{
    struct cc_mock_machine *v;
    struct turn t;
    int r = enter_snapshot(self, x, CC_OP_MACHINE_SNAPSHOT, provider_id, &t, &v);

    if (r != 0)
        return r;
    if (!v->snapshots)
        v->snapshots = json_object();
    if (!json_object_get(v->snapshots, name)) {
        json_object_set_new(v->snapshots, name, json_true());
        changed(&t, v);
    }
    return leave(self, x, &t, 0);
}

static int m_machine_snapshot_delete(void *self, struct cc_provider_ctx *x, const char *provider_id, const char *name)
{
    struct cc_mock_machine *v;
    struct turn t;
    int r = enter_snapshot(self, x, CC_OP_MACHINE_SNAPSHOT_DELETE, provider_id, &t, &v);

    if (r != 0)
        return r;
    if (v->snapshots && json_object_del(v->snapshots, name) == 0)
        changed(&t, v);
    return leave(self, x, &t, 0);
}

static int m_machine_restore(void *self, struct cc_provider_ctx *x, const char *provider_id, const char *name)
{
    struct cc_mock_machine *v;
    struct turn t;
    int r = enter_snapshot(self, x, CC_OP_MACHINE_RESTORE, provider_id, &t, &v);

    if (r != 0)
        return r;
    if (!v->snapshots || !json_object_get(v->snapshots, name))
        r = cc_err_set(x->err, CC_E_NOT_FOUND, "cc-%s has no snapshot %s", t.key, name);
    else
        changed(&t, v);
    return leave(self, x, &t, r);
}

static int m_status(void *self, struct cc_provider_ctx *x, const char *provider_id, struct cc_machine_info *out)
{
    struct cc_mock_machine *v;
    struct turn t;
    int r = enter_machine(self, x, CC_OP_STATUS, provider_id, &t);

    if (r != 0)
        return r;
    if ((r = find(self, x, &t, &v)) == 0)
        tell(self, x->arena, v, out);
    return leave(self, x, &t, r);
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
    struct turn t;
    size_t n = 0;
    int b, r = enter(m, x, CC_OP_LIST, "", &t);

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
    return leave(m, x, &t, 0);
}

static int find_running(struct cc_mock *m, struct cc_provider_ctx *x, struct turn *t, struct cc_mock_machine **v)
{
    int r = find(m, x, t, v);

    if (r == 0 && (!(*v)->running || (*v)->suspended))
        r = cc_err_set(x->err, CC_E_STATE, "cc-%s is not running", t->key);
    return r;
}

static int m_activity(void *self, struct cc_provider_ctx *x, const char *provider_id, struct cc_activity *out)
{
    struct cc_mock *m = self;
    struct cc_mock_machine *v;
    struct turn t;
    int r = enter_machine(m, x, CC_OP_ACTIVITY, provider_id, &t);
    json_t *said;

    if (r != 0)
        return r;
    if ((r = find_running(m, x, &t, &v)) == 0) {
        said = m->report ? json_copy(m->report) : json_object();
        json_object_update(said, v->report);
        cc_activity_read(said, cc_wall_ms(), x->arena, out);
        json_decref(said);
    }
    return leave(m, x, &t, r);
}

/* The command `mock-activity JSON`: what the machine's agent says from now on. */
static int report(struct cc_mock *m, struct cc_provider_ctx *x, struct cc_mock_machine *v, const char *text)
{
    json_t *said = json_loads(text, 0, NULL);

    if (!json_is_object(said)) {
        json_decref(said);
        return cc_err_set(x->err, CC_E_INVALID, "mock-activity: an object of JSON expected");
    }
    json_decref(v->report);
    v->report = said;
    return cc_mock_note(m, json_pack("{s:o}", "machine", cc_mock_machine_json(v)), x->err);
}

static int m_exec(void *self, struct cc_provider_ctx *x, const char *provider_id, const struct cc_exec_spec *spec,
                  struct cc_exec_result *out)
{
    struct cc_mock *m = self;
    const char *text = m->exec_out ? m->exec_out : "";
    struct cc_mock_machine *v;
    struct turn t;
    size_t i;
    int r = enter_machine(m, x, CC_OP_EXEC, provider_id, &t);

    if (r != 0)
        return r;
    if ((r = find_running(m, x, &t, &v)) == 0 && spec->cmd.n == 2 && strcmp(spec->cmd.v[0], "mock-activity") == 0)
        r = report(m, x, v, spec->cmd.v[1]);
    if (r == 0) {
        for (i = 0; i < spec->cmd.n && !m->exec_out; i++)
            text = cc_arena_printf(x->arena, "%s%s%s", text, i ? " " : "", spec->cmd.v[i]);
        *out = (struct cc_exec_result){ .exit = m->exec_exit, .out = cc_arena_strdup(x->arena, text), .err = "" };
        out->out_len = strlen(out->out);
    }
    return leave(m, x, &t, r);
}

/* ---------------------------------------------------------------- volumes */

static int may_change(const struct cc_mock *m, struct cc_provider_ctx *x, const struct cc_mock_machine *v)
{
    if (!v->running || m->caps.attach_live)
        return 0;
    return cc_err_set(x->err, CC_E_STATE, "cc-%s runs: stop it first", v->short_id);
}

static int attach(struct cc_mock *m, struct cc_provider_ctx *x, struct turn *t, struct cc_mock_machine *v,
                  const struct cc_mount_spec *volume)
{
    int r = cc_mounts_check(v->mounts, v->n_mounts, CC_MOUNTS_MAX, volume, x->err);

    if (r != 0)
        return r == 1 ? 0 : r;
    if ((r = may_change(m, x, v)) != 0 || (r = cc_mock_usable(m, volume->id, v, x->err)) != 0)
        return r;
    cc_mock_mount(v, volume);
    changed(t, v);
    return 0;
}

static int m_attach(void *self, struct cc_provider_ctx *x, const char *provider_id, const struct cc_mount_spec *volume)
{
    struct cc_mock_machine *v;
    struct turn t;
    int r = enter_machine(self, x, CC_OP_ATTACH, provider_id, &t);

    if (r != 0)
        return r;
    if ((r = find(self, x, &t, &v)) == 0)
        r = attach(self, x, &t, v, volume);
    return leave(self, x, &t, r);
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
    struct turn t;
    int r = enter_machine(self, x, CC_OP_DETACH, provider_id, &t);

    if (r != 0)
        return r;
    if ((r = find(self, x, &t, &v)) == 0 && has(v, volume_id) && (r = may_change(self, x, v)) == 0) {
        cc_mock_unmount(v, volume_id);
        changed(&t, v);
    }
    return leave(self, x, &t, r);
}

static void tell_volume(struct cc_mock *m, struct cc_arena *a, const struct cc_mock_volume *v,
                        struct cc_volume_info *out)
{
    const struct cc_mock_machine *user = cc_mock_user(m, v->id);

    *out = (struct cc_volume_info){ .id = cc_arena_strdup(a, v->id),
                                    .size_gib = v->size_gib,
                                    .used_by = user ? cc_arena_printf(a, "cc-%s", user->short_id) : NULL,
                                    .size_enforced = true };
}

static void changed_volume(struct turn *t, const struct cc_mock_volume *v)
{
    t->what = json_pack("{s:o}", "volume", cc_mock_volume_json(v));
}

static int m_volume_create(void *self, struct cc_provider_ctx *x, const struct cc_volume_spec *spec,
                           struct cc_volume_info *out)
{
    struct cc_mock_volume *v;
    struct turn t;
    int r = enter(self, x, CC_OP_VOLUME_CREATE, spec->id, &t);

    if (r != 0)
        return r;
    if (!(v = cc_mock_volume(self, spec->id, false))) {
        v = cc_mock_volume(self, spec->id, true);
        v->size_gib = spec->size_gib;
        changed_volume(&t, v);
    }
    tell_volume(self, x->arena, v, out);
    return leave(self, x, &t, 0);
}

static int m_volume_delete(void *self, struct cc_provider_ctx *x, const char *id)
{
    struct turn t;
    int r = enter(self, x, CC_OP_VOLUME_DELETE, id, &t);

    if (r != 0)
        return r;
    if (cc_mock_user(self, id)) {
        r = cc_err_set(x->err, CC_E_CONFLICT, "volume %s is in use by a running machine", id);
    } else if (cc_mock_volume(self, id, false)) {
        cc_mock_drop_volume(self, id);
        t.what = json_pack("{s:s}", "no_volume", id);
    }
    return leave(self, x, &t, r);
}

static int m_volume_list(void *self, struct cc_provider_ctx *x, struct cc_volume_list *out)
{
    struct cc_mock *m = self;
    struct cc_mock_volume *v;
    struct turn t;
    int r = enter(m, x, CC_OP_VOLUME_LIST, "", &t);

    if (r != 0)
        return r;
    *out = (struct cc_volume_list){ cc_arena_alloc(x->arena, (m->objects + 1) * sizeof(*out->v)), 0 };
    for (v = m->volumes; v; v = v->next)
        tell_volume(m, x->arena, v, &out->v[out->n++]);
    return leave(m, x, &t, 0);
}

/* ---------------------------------------------------------------- snapshots: names and sizes, for these volumes hold nothing */

/* A volume that nobody uses, in a turn of its own. */
static int enter_volume(struct cc_mock *m, struct cc_provider_ctx *x, enum cc_provider_op op, const char *id,
                        struct turn *t, struct cc_mock_volume **v)
{
    int r = enter(m, x, op, id, t);

    *v = NULL;
    if (r != 0)
        return r;
    if (op != CC_OP_SNAPSHOT_LIST && op != CC_OP_SNAPSHOT_DELETE && cc_mock_user(m, id)) {
        cc_err_set(x->err, CC_E_CONFLICT, "volume %s is in use by a running machine", id);
        leave(m, x, t, CC_E_CONFLICT);
        return CC_E_CONFLICT;
    }
    if (!(*v = cc_mock_volume(m, id, false)) && op != CC_OP_SNAPSHOT_DELETE) {
        cc_err_set(x->err, CC_E_NOT_FOUND, "no volume %s", id);
        leave(m, x, t, CC_E_NOT_FOUND);
        return CC_E_NOT_FOUND;
    }
    return 0;
}

static const json_t *snapshot_of(struct cc_provider_ctx *x, const struct cc_mock_volume *v, const char *name)
{
    const json_t *o = json_object_get(v->snapshots, name);

    if (!o)
        cc_err_set(x->err, CC_E_NOT_FOUND, "volume %s has no snapshot %s", v->id, name);
    return o;
}

static void tell_snapshot(struct cc_arena *a, const struct cc_mock_volume *v, const char *name, const json_t *o,
                          struct cc_snapshot *out)
{
    *out = (struct cc_snapshot){ .id = cc_arena_strdup(a, name),
                                 .volume = cc_arena_strdup(a, v->id),
                                 .size = (uint64_t)json_integer_value(json_object_get(o, "size_gib")) << 30,
                                 .created_at = json_integer_value(json_object_get(o, "created_at")) };
}

static int m_snapshot_create(void *self, struct cc_provider_ctx *x, const char *volume, const char *snapshot,
                             struct cc_snapshot *out)
{
    struct cc_mock_volume *v;
    struct turn t;
    int r = enter_volume(self, x, CC_OP_SNAPSHOT_CREATE, volume, &t, &v);

    if (r != 0)
        return r;
    if (!json_object_get(v->snapshots, snapshot)) {
        json_object_set_new(
            v->snapshots, snapshot,
            json_pack("{s:I, s:I}", "size_gib", (json_int_t)v->size_gib, "created_at", (json_int_t)cc_wall_ms()));
        changed_volume(&t, v);
    }
    tell_snapshot(x->arena, v, snapshot, json_object_get(v->snapshots, snapshot), out);
    return leave(self, x, &t, 0);
}

static int m_snapshot_delete(void *self, struct cc_provider_ctx *x, const char *volume, const char *snapshot)
{
    struct cc_mock_volume *v;
    struct turn t;
    int r = enter_volume(self, x, CC_OP_SNAPSHOT_DELETE, volume, &t, &v);

    if (r != 0)
        return r;
    if (v && json_object_del(v->snapshots, snapshot) == 0)
        changed_volume(&t, v);
    return leave(self, x, &t, 0);
}

static int m_snapshot_list(void *self, struct cc_provider_ctx *x, const char *volume, struct cc_snapshot_list *out)
{
    struct cc_mock_volume *v;
    const char *name;
    struct turn t;
    json_t *o;
    int r = enter_volume(self, x, CC_OP_SNAPSHOT_LIST, volume, &t, &v);

    if (r != 0)
        return r;
    *out = (struct cc_snapshot_list){ cc_arena_alloc(x->arena, (json_object_size(v->snapshots) + 1) * sizeof(*out->v)),
                                      0 };
    json_object_foreach (v->snapshots, name, o)
        tell_snapshot(x->arena, v, name, o, &out->v[out->n++]);
    return leave(self, x, &t, 0);
}

static int m_volume_restore(void *self, struct cc_provider_ctx *x, const char *volume, const char *snapshot)
{
    struct cc_mock_volume *v;
    struct turn t;
    int r = enter_volume(self, x, CC_OP_VOLUME_RESTORE, volume, &t, &v);

    if (r != 0)
        return r;
    if (snapshot_of(x, v, snapshot))
        changed_volume(&t, v);
    else
        r = CC_E_NOT_FOUND;
    return leave(self, x, &t, r);
}

static int m_volume_clone(void *self, struct cc_provider_ctx *x, const char *volume, const char *snapshot,
                          const char *clone, struct cc_volume_info *out)
{
    struct cc_mock_volume *v, *made;
    struct turn t;
    int r = enter_volume(self, x, CC_OP_VOLUME_CLONE, volume, &t, &v);

    if (r != 0)
        return r;
    if (snapshot && !snapshot_of(x, v, snapshot))
        return leave(self, x, &t, CC_E_NOT_FOUND);
    if (!(made = cc_mock_volume(self, clone, false))) {
        made = cc_mock_volume(self, clone, true);
        made->size_gib = v->size_gib;
        changed_volume(&t, made);
    }
    tell_volume(self, x->arena, made, out);
    return leave(self, x, &t, 0);
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
    .suspend = m_suspend,
    .machine_snapshot = m_machine_snapshot,
    .machine_snapshot_delete = m_machine_snapshot_delete,
    .machine_restore = m_machine_restore,
    .snapshot_create = m_snapshot_create,
    .snapshot_delete = m_snapshot_delete,
    .snapshot_list = m_snapshot_list,
    .volume_restore = m_volume_restore,
    .volume_clone = m_volume_clone,
    .endpoint = m_endpoint,
};
