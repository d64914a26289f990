/* volume.c - the mock's volumes, which hold nothing: an id and a size, and names of snapshots. */
#include "providers/mock/mock.h"

#include "host/sys/clock.h"

#include <string.h>

static int may_change(const struct cc_mock *m, struct cc_provider_ctx *x, const struct cc_mock_machine *v)
{
    if (!v->running || m->caps.attach_live)
        return 0;
    return cc_err_set(x->err, CC_E_STATE, "cc-%s runs: stop it first", v->short_id);
}

static int attach(struct cc_mock *m, struct cc_provider_ctx *x, struct cc_mock_turn *t, struct cc_mock_machine *v,
                  const struct cc_mount_spec *volume)
{
    int r = cc_mounts_check(v->mounts, v->n_mounts, CC_MOUNTS_MAX, volume, x->err);

    if (r != 0)
        return r == 1 ? 0 : r;
    if ((r = may_change(m, x, v)) != 0 || (r = cc_mock_usable(m, volume->id, v, x->err)) != 0)
        return r;
    cc_mock_mount(v, volume);
    cc_mock_changed(t, v);
    return 0;
}

int cc_mock_attach(void *self, struct cc_provider_ctx *x, const char *provider_id, const struct cc_mount_spec *volume)
{
    struct cc_mock_machine *v;
    struct cc_mock_turn t;
    int r = cc_mock_enter_machine(self, x, CC_OP_ATTACH, provider_id, &t);

    if (r != 0)
        return r;
    if ((r = cc_mock_there(self, x, &t, &v)) == 0)
        r = attach(self, x, &t, v, volume);
    return cc_mock_leave(self, x, &t, r);
}

static bool has(const struct cc_mock_machine *v, const char *volume_id)
{
    size_t i;

    for (i = 0; i < v->n_mounts; i++)
        if (strcmp(v->mounts[i].id, volume_id) == 0)
            return true;
    return false;
}

int cc_mock_detach(void *self, struct cc_provider_ctx *x, const char *provider_id, const char *volume_id)
{
    struct cc_mock_machine *v;
    struct cc_mock_turn t;
    int r = cc_mock_enter_machine(self, x, CC_OP_DETACH, provider_id, &t);

    if (r != 0)
        return r;
    if ((r = cc_mock_there(self, x, &t, &v)) == 0 && has(v, volume_id) && (r = may_change(self, x, v)) == 0) {
        cc_mock_unmount(v, volume_id);
        cc_mock_changed(&t, v);
    }
    return cc_mock_leave(self, x, &t, r);
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

static void changed_volume(struct cc_mock_turn *t, const struct cc_mock_volume *v)
{
    t->what = json_pack("{s:o}", "volume", cc_mock_volume_json(v));
}

int cc_mock_volume_create(void *self, struct cc_provider_ctx *x, const struct cc_volume_spec *spec,
                          struct cc_volume_info *out)
{
    struct cc_mock_volume *v;
    struct cc_mock_turn t;
    int r = cc_mock_enter(self, x, CC_OP_VOLUME_CREATE, spec->id, &t);

    if (r != 0)
        return r;
    if (!(v = cc_mock_volume(self, spec->id, false))) {
        v = cc_mock_volume(self, spec->id, true);
        v->size_gib = spec->size_gib;
        changed_volume(&t, v);
    }
    tell_volume(self, x->arena, v, out);
    return cc_mock_leave(self, x, &t, 0);
}

int cc_mock_volume_delete(void *self, struct cc_provider_ctx *x, const char *id)
{
    struct cc_mock_turn t;
    int r = cc_mock_enter(self, x, CC_OP_VOLUME_DELETE, id, &t);

    if (r != 0)
        return r;
    if (cc_mock_user(self, id)) {
        r = cc_err_set(x->err, CC_E_CONFLICT, "volume %s is in use by a running machine", id);
    } else if (cc_mock_volume(self, id, false)) {
        cc_mock_drop_volume(self, id);
        t.what = json_pack("{s:s}", "no_volume", id);
    }
    return cc_mock_leave(self, x, &t, r);
}

int cc_mock_volume_list(void *self, struct cc_provider_ctx *x, struct cc_volume_list *out)
{
    struct cc_mock *m = self;
    struct cc_mock_volume *v;
    struct cc_mock_turn t;
    int r = cc_mock_enter(m, x, CC_OP_VOLUME_LIST, "", &t);

    if (r != 0)
        return r;
    *out = (struct cc_volume_list){ cc_arena_alloc(x->arena, (m->objects + 1) * sizeof(*out->v)), 0 };
    for (v = m->volumes; v; v = v->next)
        tell_volume(m, x->arena, v, &out->v[out->n++]);
    return cc_mock_leave(m, x, &t, 0);
}

/* ---------------------------------------------------------------- snapshots: names and sizes, for these volumes hold nothing */

/* A volume that nobody uses, in a turn of its own. */
static int enter_volume(struct cc_mock *m, struct cc_provider_ctx *x, enum cc_provider_op op, const char *id,
                        struct cc_mock_turn *t, struct cc_mock_volume **v)
{
    int r = cc_mock_enter(m, x, op, id, t);

    *v = NULL;
    if (r != 0)
        return r;
    if (op != CC_OP_SNAPSHOT_LIST && op != CC_OP_SNAPSHOT_DELETE && cc_mock_user(m, id)) {
        cc_err_set(x->err, CC_E_CONFLICT, "volume %s is in use by a running machine", id);
        cc_mock_leave(m, x, t, CC_E_CONFLICT);
        return CC_E_CONFLICT;
    }
    if (!(*v = cc_mock_volume(m, id, false)) && op != CC_OP_SNAPSHOT_DELETE) {
        cc_err_set(x->err, CC_E_NOT_FOUND, "no volume %s", id);
        cc_mock_leave(m, x, t, CC_E_NOT_FOUND);
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

int cc_mock_snapshot_create(void *self, struct cc_provider_ctx *x, const char *volume, const char *snapshot,
                            struct cc_snapshot *out)
{
    struct cc_mock_volume *v;
    struct cc_mock_turn t;
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
    return cc_mock_leave(self, x, &t, 0);
}

int cc_mock_snapshot_delete(void *self, struct cc_provider_ctx *x, const char *volume, const char *snapshot)
{
    struct cc_mock_volume *v;
    struct cc_mock_turn t;
    int r = enter_volume(self, x, CC_OP_SNAPSHOT_DELETE, volume, &t, &v);

    if (r != 0)
        return r;
    if (v && json_object_del(v->snapshots, snapshot) == 0)
        changed_volume(&t, v);
    return cc_mock_leave(self, x, &t, 0);
}

int cc_mock_snapshot_list(void *self, struct cc_provider_ctx *x, const char *volume, struct cc_snapshot_list *out)
{
    struct cc_mock_volume *v;
    const char *name;
    struct cc_mock_turn t;
    json_t *o;
    int r = enter_volume(self, x, CC_OP_SNAPSHOT_LIST, volume, &t, &v);

    if (r != 0)
        return r;
    *out = (struct cc_snapshot_list){ cc_arena_alloc(x->arena, (json_object_size(v->snapshots) + 1) * sizeof(*out->v)),
                                      0 };
    json_object_foreach (v->snapshots, name, o)
        tell_snapshot(x->arena, v, name, o, &out->v[out->n++]);
    return cc_mock_leave(self, x, &t, 0);
}

int cc_mock_volume_restore(void *self, struct cc_provider_ctx *x, const char *volume, const char *snapshot)
{
    struct cc_mock_volume *v;
    struct cc_mock_turn t;
    int r = enter_volume(self, x, CC_OP_VOLUME_RESTORE, volume, &t, &v);

    if (r != 0)
        return r;
    if (snapshot_of(x, v, snapshot))
        changed_volume(&t, v);
    else
        r = CC_E_NOT_FOUND;
    return cc_mock_leave(self, x, &t, r);
}

int cc_mock_volume_clone(void *self, struct cc_provider_ctx *x, const char *volume, const char *snapshot,
                         const char *clone, struct cc_volume_info *out)
{
    struct cc_mock_volume *v, *made;
    struct cc_mock_turn t;
    int r = enter_volume(self, x, CC_OP_VOLUME_CLONE, volume, &t, &v);

    if (r != 0)
        return r;
    if (snapshot && !snapshot_of(x, v, snapshot))
        return cc_mock_leave(self, x, &t, CC_E_NOT_FOUND);
    if (!(made = cc_mock_volume(self, clone, false))) {
        made = cc_mock_volume(self, clone, true);
        made->size_gib = v->size_gib;
        changed_volume(&t, made);
    }
    tell_volume(self, x->arena, made, out);
    return cc_mock_leave(self, x, &t, 0);
}
