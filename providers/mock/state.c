/* state.c - the mock's world, in memory and, when asked, in a file. */
#include "providers/mock/mock.h"

#include "host/sys/mem.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

void cc_mock_unmount(struct cc_mock_machine *v, const char *volume_id)
{
    size_t i, n = 0;

    for (i = 0; i < v->n_mounts; i++)
        if (strcmp(v->mounts[i].id, volume_id) != 0) {
            v->mounts[n++] = v->mounts[i];
        } else {
            free((char *)v->mounts[i].id);
            free((char *)v->mounts[i].path);
        }
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

static void clear(struct cc_mock_machine *v)
{
    while (v->n_mounts)
        cc_mock_unmount(v, v->mounts[0].id);
    free(v->short_id);
    free(v->id);
    free(v->name);
    free(v->image);
}

struct cc_mock_machine *cc_mock_add(struct cc_mock *m, const char *short_id)
{
    struct cc_mock_machine *v = cc_mock_find(m, short_id, true), *next;
    unsigned b = bucket(short_id);

    if (v) { /* a destroyed one of the same id gives way */
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
    v->next = m->volumes;
    m->volumes = v;
    return v;
}

void cc_mock_drop_volume(struct cc_mock *m, const char *id)
{
    struct cc_mock_volume **at, *v;

    for (at = &m->volumes; (v = *at); at = &v->next)
        if (strcmp(v->id, id) == 0) {
            *at = v->next;
            free(v->id);
            free(v);
            return;
        }
}

static const char *text(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));

    return s ? s : "";
}

static void load_machine(struct cc_mock *m, const json_t *o)
{
    struct cc_mock_machine *v;
    json_t *mount;
    size_t i;

    if (!cc_short_ok(text(o, "short")))
        return;
    v = cc_mock_add(m, text(o, "short"));
    v->id = cc_xstrdup(text(o, "id"));
    v->name = cc_xstrdup(text(o, "name"));
    v->image = cc_xstrdup(text(o, "image"));
    v->vcpu = json_number_value(json_object_get(o, "vcpu"));
    v->memory_mib = (uint32_t)json_integer_value(json_object_get(o, "memory_mib"));
    v->disk_gib = (uint32_t)json_integer_value(json_object_get(o, "disk_gib"));
    json_array_foreach (json_object_get(o, "volumes"), i, mount) {
        struct cc_mount_spec one = { text(mount, "id"), text(mount, "path") };

        if (i < CC_MOUNTS_MAX)
            cc_mock_mount(v, &one);
    }
    v->running = json_is_true(json_object_get(o, "running"));
    v->created_at = json_integer_value(json_object_get(o, "created_at"));
    v->started_at = json_integer_value(json_object_get(o, "started_at"));
    v->ready_at = json_integer_value(json_object_get(o, "ready_at"));
}

int cc_mock_load(struct cc_mock *m, struct cc_err *err)
{
    json_error_t why;
    json_t *doc, *list;
    size_t i;

    if (!m->path || access(m->path, F_OK) != 0)
        return 0;
    if (!(doc = json_load_file(m->path, 0, &why)))
        return cc_err_set(err, CC_E_CORRUPT, "state of the mock in %s: %s", m->path, why.text);
    list = json_object_get(doc, "machines");
    for (i = 0; i < json_array_size(list); i++)
        load_machine(m, json_array_get(list, i));
    list = json_object_get(doc, "volumes");
    for (i = 0; i < json_array_size(list); i++) {
        const json_t *o = json_array_get(list, i);

        cc_mock_volume(m, text(o, "id"), true)->size_gib = (uint32_t)json_integer_value(json_object_get(o, "size_gib"));
    }
    json_decref(doc);
    return 0;
}

static json_t *mounts_json(const struct cc_mock_machine *v)
{
    json_t *list = json_array();
    size_t i;

    for (i = 0; i < v->n_mounts; i++)
        json_array_append_new(list, json_pack("{s:s, s:s}", "id", v->mounts[i].id, "path", v->mounts[i].path));
    return list;
}

int cc_mock_save(const struct cc_mock *m, struct cc_err *err)
{
    json_t *machines, *volumes, *doc;
    const struct cc_mock_machine *v;
    const struct cc_mock_volume *w;
    char *tmp;
    int b, r = 0;

    if (!m->path)
        return 0;
    machines = json_array();
    volumes = json_array();
    for (b = 0; b < CC_MOCK_BUCKETS; b++)
        for (v = m->machines[b]; v; v = v->next)
            if (!v->destroyed)
                json_array_append_new(
                    machines,
                    json_pack("{s:s, s:o, s:s, s:s, s:s, s:f, s:I, s:I, s:b, s:I, s:I, s:I}", "short", v->short_id,
                              "volumes", mounts_json(v), "id", v->id, "name", v->name, "image", v->image, "vcpu",
                              v->vcpu, "memory_mib", (json_int_t)v->memory_mib, "disk_gib", (json_int_t)v->disk_gib,
                              "running", v->running, "created_at", (json_int_t)v->created_at, "started_at",
                              (json_int_t)v->started_at, "ready_at", (json_int_t)v->ready_at));
    for (w = m->volumes; w; w = w->next)
        json_array_append_new(volumes, json_pack("{s:s, s:I}", "id", w->id, "size_gib", (json_int_t)w->size_gib));
    doc = json_pack("{s:o, s:o}", "machines", machines, "volumes", volumes);
    tmp = cc_xasprintf("%s.new", m->path);
    if (json_dump_file(doc, tmp, JSON_COMPACT) != 0 || rename(tmp, m->path) != 0)
        r = cc_err_sys(err, errno, "state of the mock in %s", m->path);
    json_decref(doc);
    free(tmp);
    return r;
}

void cc_mock_free(struct cc_mock *m)
{
    struct cc_mock_machine *v, *next;
    int b;

    for (b = 0; b < CC_MOCK_BUCKETS; b++)
        for (v = m->machines[b]; v; v = next) {
            next = v->next;
            clear(v);
            free(v);
        }
    while (m->volumes)
        cc_mock_drop_volume(m, m->volumes->id);
    free(m->path);
    free(m->endpoint);
    free(m->exec_out);
    free(m);
}
