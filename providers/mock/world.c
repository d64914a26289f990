/* world.c - the mock's machines and volumes, in memory. */
#include "providers/mock/mock.h"

#include "host/sys/clock.h"
#include "host/sys/mem.h"

#include <stdlib.h>
#include <string.h>

static unsigned bucket(const char *short_id) { return (unsigned)(strtoul(short_id + 4, NULL, 16) % CC_MOCK_BUCKETS); }

struct cc_mock_machine *cc_mock_find(struct cc_mock *m, const char *short_id, bool destroyed_too)
{
    struct cc_mock_machine *v;

    for (v = m->machines[bucket(short_id)]; v; v = v->next)
        if (strcmp(v->short_id, short_id) == 0 && (destroyed_too || !v->destroyed))
            return v;
    return NULL;
}

void cc_mock_mount(struct cc_mock_machine *v, const struct cc_mount_spec *mount)
{
    v->mounts[v->n_mounts++] = (struct cc_mount_spec){ cc_xstrdup(mount->id), cc_xstrdup(mount->path) };
}

static void free_mount(struct cc_mount_spec *mount)
{
    free((char *)mount->id);
    free((char *)mount->path);
}

void cc_mock_unmount(struct cc_mock_machine *v, const char *volume_id)
{
    size_t i, n = 0;

    for (i = 0; i < v->n_mounts; i++)
        if (strcmp(v->mounts[i].id, volume_id) != 0)
            v->mounts[n++] = v->mounts[i];
        else
            free_mount(&v->mounts[i]);
    v->n_mounts = n;
}

struct cc_mock_machine *cc_mock_user(struct cc_mock *m, const char *volume_id)
{
    struct cc_mock_machine *v;
    size_t i;
    int b;

    for (b = 0; b < CC_MOCK_BUCKETS; b++)
        for (v = m->machines[b]; v; v = v->next)
            for (i = 0; v->running && i < v->n_mounts; i++)
                if (strcmp(v->mounts[i].id, volume_id) == 0)
                    return v;
    return NULL;
}

int cc_mock_usable(struct cc_mock *m, const char *volume_id, const struct cc_mock_machine *v, struct cc_err *err)
{
    struct cc_mock_machine *user = cc_mock_user(m, volume_id);

    if (!cc_mock_volume(m, volume_id, false))
        return cc_err_set(err, CC_E_NOT_FOUND, "no volume %s", volume_id);
    if (user && user != v)
        return cc_err_set(err, CC_E_CONFLICT, "volume %s is in use by cc-%s", volume_id, user->short_id);
    return 0;
}

int cc_mock_all_usable(struct cc_mock *m, const struct cc_mock_machine *v, struct cc_err *err)
{
    size_t i;
    int r = 0;

    for (i = 0; i < v->n_mounts && r == 0; i++)
        r = cc_mock_usable(m, v->mounts[i].id, v, err);
    return r;
}

static void clear(struct cc_mock_machine *v)
{
    while (v->n_mounts)
        free_mount(&v->mounts[--v->n_mounts]);
    free(v->short_id);
    free(v->id);
    free(v->name);
    free(v->agent_key);
    free(v->image);
    json_decref(v->report);
    json_decref(v->snapshots);
}

struct cc_mock_machine *cc_mock_add(struct cc_mock *m, const char *short_id)
{
    struct cc_mock_machine *v = cc_mock_find(m, short_id, true), *next;
    unsigned b = bucket(short_id);

    m->objects += !v || v->destroyed;
    if (v) { /* the one of the same id gives way */
        next = v->next;
        clear(v);
        *v = (struct cc_mock_machine){ .next = next };
    } else {
        v = cc_xcalloc(1, sizeof(*v));
        v->next = m->machines[b];
        m->machines[b] = v;
    }
    v->short_id = cc_xstrdup(short_id);
    return v;
}

struct cc_mock_volume *cc_mock_volume(struct cc_mock *m, const char *id, bool make)
{
    struct cc_mock_volume *v;

    for (v = m->volumes; v; v = v->next)
        if (strcmp(v->id, id) == 0)
            return v;
    if (!make)
        return NULL;
    v = cc_xcalloc(1, sizeof(*v));
    v->id = cc_xstrdup(id);
    v->snapshots = json_object();
    v->next = m->volumes;
    m->volumes = v;
    m->objects++;
    return v;
}

void cc_mock_drop_volume(struct cc_mock *m, const char *id)
{
    struct cc_mock_volume **at, *v;

    for (at = &m->volumes; (v = *at); at = &v->next)
        if (strcmp(v->id, id) == 0) {
            *at = v->next;
            free(v->id);
            json_decref(v->snapshots);
            free(v);
            m->objects--;
            return;
        }
}

json_t *cc_mock_volume_json(const struct cc_mock_volume *v)
{
    return json_pack("{s:s, s:I, s:O}", "id", v->id, "size_gib", (json_int_t)v->size_gib, "snapshots", v->snapshots);
}

void cc_mock_volume_load(struct cc_mock *m, const json_t *o)
{
    const char *id = json_string_value(json_object_get(o, "id"));
    struct cc_mock_volume *v;

    if (!id)
        return;
    v = cc_mock_volume(m, id, true);
    v->size_gib = (uint32_t)json_integer_value(json_object_get(o, "size_gib"));
    json_object_clear(v->snapshots);
    json_object_update(v->snapshots, json_object_get(o, "snapshots"));
}

static const char *text(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));

    return s ? s : "";
}

static const char *const halves[] = { "no", "error", "starting" };

static enum cc_half half_of(const char *word)
{
    return strcmp(word, "error") == 0 ? CC_HALF_ERROR : strcmp(word, "starting") == 0 ? CC_HALF_STARTING : CC_HALF_NO;
}

struct cc_mock_machine *cc_mock_machine_load(struct cc_mock *m, const json_t *o)
{
    struct cc_mock_machine *v;
    json_t *mount;
    size_t i;

    if (!cc_short_ok(text(o, "short")))
        return NULL;
    v = cc_mock_add(m, text(o, "short"));
    v->id = cc_xstrdup(text(o, "id"));
    v->name = cc_xstrdup(text(o, "name"));
    v->image = cc_xstrdup(text(o, "image"));
    if (json_is_string(json_object_get(o, "agent_key")))
        v->agent_key = cc_xstrdup(text(o, "agent_key"));
    v->vcpu = json_number_value(json_object_get(o, "vcpu"));
    v->memory_mib = (uint32_t)json_integer_value(json_object_get(o, "memory_mib"));
    v->disk_gib = (uint32_t)json_integer_value(json_object_get(o, "disk_gib"));
    json_array_foreach (json_object_get(o, "volumes"), i, mount) {
        struct cc_mount_spec one = { text(mount, "id"), text(mount, "path") };

        if (i < CC_MOUNTS_MAX)
            cc_mock_mount(v, &one);
    }
    v->half = half_of(text(o, "half"));
    v->ssh = json_is_true(json_object_get(o, "ssh"));
    v->running = json_is_true(json_object_get(o, "running"));
    v->created_at = json_integer_value(json_object_get(o, "created_at"));
    v->started_at = json_integer_value(json_object_get(o, "started_at"));
    v->ready_at = json_integer_value(json_object_get(o, "ready_at"));
    v->report = json_incref(json_object_get(o, "report"));
    v->snapshots = json_incref(json_object_get(o, "snapshots"));
    v->suspended = json_is_true(json_object_get(o, "suspended"));
    return v;
}

static json_t *mounts_json(const struct cc_mock_machine *v)
{
    json_t *list = json_array();
    size_t i;

    for (i = 0; i < v->n_mounts; i++)
        json_array_append_new(list, json_pack("{s:s, s:s}", "id", v->mounts[i].id, "path", v->mounts[i].path));
    return list;
}

json_t *cc_mock_machine_json(const struct cc_mock_machine *v)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:s*, s:f, s:I, s:I, s:o, s:s, s:b, s:b, s:I, s:I, s:I, s:O*, s:O*, s:b}",
                     "short", v->short_id, "id", v->id, "name", v->name, "image", v->image, "agent_key", v->agent_key,
                     "vcpu", v->vcpu, "memory_mib", (json_int_t)v->memory_mib, "disk_gib", (json_int_t)v->disk_gib,
                     "volumes", mounts_json(v), "half", halves[v->half], "ssh", v->ssh, "running", v->running,
                     "created_at", (json_int_t)v->created_at, "started_at", (json_int_t)v->started_at, "ready_at",
                     (json_int_t)v->ready_at, "report", v->report, "snapshots", v->snapshots, "suspended",
                     v->suspended);
}

void cc_mock_run(struct cc_mock *m, struct cc_mock_machine *v)
{
    v->half = CC_HALF_NO;
    json_decref(v->report); /* of an earlier run */
    v->report = NULL;
    v->running = true;
    v->suspended = false;
    v->started_at = cc_wall_ms();
    v->ready_at = v->started_at + (int64_t)m->boot_ms;
}

/* Destroyed, and no late list shows it any more. */
static bool forgotten(const struct cc_mock *m, const struct cc_mock_machine *v)
{
    return v->destroyed && v->destroyed_at + (int64_t)m->list_lag_ms <= cc_wall_ms();
}

static void bury(struct cc_mock *m, unsigned b)
{
    struct cc_mock_machine **at = &m->machines[b], *v;

    while ((v = *at))
        if (forgotten(m, v)) {
            *at = v->next;
            clear(v);
            free(v);
        } else {
            at = &v->next;
        }
}

void cc_mock_bury(struct cc_mock *m)
{
    unsigned b;

    for (b = 0; b < CC_MOCK_BUCKETS; b++)
        bury(m, b);
}

void cc_mock_destroy(struct cc_mock *m, struct cc_mock_machine *v, int64_t at)
{
    v->running = v->suspended = false;
    v->destroyed = true;
    v->destroyed_at = at;
    m->objects--;
    bury(m, bucket(v->short_id));
}

void cc_mock_forget(struct cc_mock *m)
{
    struct cc_mock_machine *v, *next;
    int b;

    for (b = 0; b < CC_MOCK_BUCKETS; b++) {
        for (v = m->machines[b]; v; v = next) {
            next = v->next;
            clear(v);
            free(v);
        }
        m->machines[b] = NULL;
    }
    while (m->volumes)
        cc_mock_drop_volume(m, m->volumes->id);
    cc_mock_late_forget(m);
    m->objects = 0;
}
