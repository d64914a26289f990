/* volume.c - volumes: docker's own, under names of ours, with what they are in labels. */
#include "providers/docker/docker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *cc_docker_own_volume(struct cc_arena *a, const char *short_id)
{
    return cc_arena_printf(a, "claude-data-%s", short_id);
}

const char *cc_docker_volume_name(struct cc_arena *a, const char *id)
{
    return cc_provider_id_ok(id) ? cc_docker_own_volume(a, id + 3) : cc_arena_printf(a, "claude-vol-%s", id);
}

static void read_volume(struct cc_arena *a, const json_t *doc, struct cc_volume_info *out)
{
    const json_t *labels = json_object_get(doc, "Labels");
    const char *size = json_string_value(json_object_get(labels, "cchost.size"));

    *out = (struct cc_volume_info){
        .id = cc_arena_strdup(a, json_string_value(json_object_get(labels, "cchost.volume"))),
        .size_gib = size ? (uint32_t)atoi(size) : 0,
    };
}

static int find(struct cc_docker *d, struct cc_provider_ctx *x, const char *id, struct cc_volume_info *out)
{
    json_t *doc;
    int r = cc_docker_get(d, x, cc_arena_printf(x->arena, "/volumes/%s", cc_docker_volume_name(x->arena, id)),
                          "looking for the volume", &doc);

    if (r != 0)
        return r;
    read_volume(x->arena, doc, out);
    json_decref(doc);
    if (!out->id)
        return cc_err_set(x->err, CC_E_EXISTS, "the volume %s is not one of ours", cc_docker_volume_name(x->arena, id));
    return 0;
}

/* dockerd gives back the one that is there, if there is one. */
static int make(struct cc_docker *d, struct cc_provider_ctx *x, const char *id, uint32_t gib, const char *short_id)
{
    char size[16];
    json_t *labels;

    snprintf(size, sizeof(size), "%u", gib);
    labels = json_pack("{s:s,s:s,s:s}", "cloudcode.managed", "true", "cchost.volume", id, "cchost.size", size);
    if (short_id)
        json_object_set_new(labels, "cchost.short", json_string(short_id));
    return cc_docker_send(d, x, "POST", "/volumes/create",
                          json_pack("{s:s,s:o}", "Name", cc_docker_volume_name(x->arena, id), "Labels", labels),
                          "making the volume");
}

int cc_docker_volume_make(struct cc_docker *d, struct cc_provider_ctx *x, const struct cc_volume_spec *spec,
                          struct cc_volume_info *out)
{
    int r = make(d, x, spec->id, spec->size_gib, NULL);

    return r ? r : find(d, x, spec->id, out);
}

int cc_docker_volume_own(struct cc_docker *d, struct cc_provider_ctx *x, const struct cc_box *b)
{
    if (!cc_box_own_volume(b))
        return 0;
    return make(d, x, cc_arena_printf(x->arena, "cc-%s", b->short_id), b->disk_gib, b->short_id);
}

int cc_docker_volume_drop(struct cc_docker *d, struct cc_provider_ctx *x, const char *id)
{
    int r =
        cc_docker_send(d, x, "DELETE", cc_arena_printf(x->arena, "/volumes/%s", cc_docker_volume_name(x->arena, id)),
                       NULL, "removing the volume");

    return r == CC_E_NOT_FOUND ? 0 : r;
}

/* ---------------------------------------------------------------- who uses which */

static int machines(struct cc_docker *d, struct cc_provider_ctx *x, bool stopped_too, json_t **list)
{
    return cc_docker_get(d, x,
                         cc_arena_printf(x->arena, "/containers/json?all=%s&%s", stopped_too ? "true" : "false",
                                         cc_docker_filter(x->arena, "{\"label\":[\"cchost.id\"]}")),
                         "looking who uses volumes", list);
}

/* The short id of a machine of `rows`, other than `but`, that has that volume; NULL: none. */
static const char *user_of(struct cc_arena *a, const json_t *rows, const char *name, const char *but)
{
    const json_t *row, *mount;
    size_t i, k;

    json_array_foreach (rows, i, row) {
        const char *who = json_string_value(json_object_get(json_object_get(row, "Labels"), "cchost.short"));

        if (!who || strcmp(who, but) == 0)
            continue;
        json_array_foreach (json_object_get(row, "Mounts"), k, mount)
            if (strcmp(cc_docker_text(mount, "Name"), name) == 0)
                return cc_arena_strdup(a, who);
    }
    return NULL;
}

static int nobody_has(struct cc_provider_ctx *x, const struct cc_box *b, const json_t *rows)
{
    size_t i;

    for (i = 0; i < b->n_volumes; i++) {
        const char *who = user_of(x->arena, rows, cc_docker_volume_name(x->arena, b->volumes[i].id), b->short_id);

        if (who)
            return cc_err_set(x->err, CC_E_CONFLICT, "volume %s is in use by cc-%s", b->volumes[i].id, who);
    }
    return 0;
}

int cc_docker_volumes_hold(struct cc_docker *d, struct cc_provider_ctx *x, const struct cc_box *b, int *fd)
{
    struct cc_volume_info info;
    json_t *rows = NULL;
    size_t i;
    int r = 0;

    *fd = -1;
    if (b->n_volumes == 0)
        return 0;
    if ((*fd = cc_name_lock(d->dir, "volumes", x->call, x->err)) < 0)
        return *fd;
    for (i = 0; i < b->n_volumes && r == 0; i++)
        r = find(d, x, b->volumes[i].id, &info);
    if (r == 0)
        r = machines(d, x, false, &rows);
    if (r == 0)
        r = nobody_has(x, b, rows);
    json_decref(rows);
    if (r != 0) {
        close(*fd);
        *fd = -1;
    }
    return r;
}

int cc_docker_volume_all(struct cc_docker *d, struct cc_provider_ctx *x, struct cc_volume_list *out)
{
    json_t *list, *rows = NULL;
    const json_t *all, *v;
    size_t i;
    int r = cc_docker_get(
        d, x, cc_arena_printf(x->arena, "/volumes?%s", cc_docker_filter(x->arena, "{\"label\":[\"cchost.volume\"]}")),
        "listing volumes", &list);

    if (r != 0)
        return r;
    all = json_object_get(list, "Volumes");
    *out = (struct cc_volume_list){ cc_arena_alloc(x->arena, (json_array_size(all) + 1) * sizeof(*out->v)), 0 };
    r = machines(d, x, true, &rows);
    json_array_foreach (all, i, v) {
        struct cc_volume_info *info = &out->v[out->n];

        read_volume(x->arena, v, info);
        if (!info->id)
            continue;
        info->used_by = user_of(x->arena, rows, cc_docker_volume_name(x->arena, info->id), "");
        if (info->used_by)
            info->used_by = cc_arena_printf(x->arena, "cc-%s", info->used_by);
        out->n++;
    }
    json_decref(rows);
    json_decref(list);
    return r;
}
