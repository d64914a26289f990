/* volume.c - volumes, and which machine has which where.
 *
 * A label cchost-at-SHORT of a volume says that it stands in the machine SHORT,
 * and where; it stays while the machine is stopped, and is then all that there
 * is of it.  Several stopped machines may want the same volume: the first that
 * starts has it.  Labels are set as a whole, so each change of them is done
 * under the volume's lock.
 */
#include "providers/hetzner/hetzner.h"

#include "providers/files.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LABEL_MAX = 63, LEAST_GIB = 10 };

#define OWN_AT "/claude-data"

/* ---------------------------------------------------------------- a path in a label */

/* A label's value is letters, digits, "-", "_" and ".", and neither begins nor ends with the latter: how, path, "e". In the path
 * "/" is ".", and what is neither letter, digit nor "-" is _ and two hex digits. NULL: it is too long. */
static const char *encode(struct cc_arena *a, char how, const char *path)
{
    char *out = cc_arena_alloc(a, strlen(path) * 3 + 3), *to = out;

    *to++ = how;
    for (; *path; path++)
        if (isalnum((unsigned char)*path) || *path == '-')
            *to++ = *path;
        else if (*path == '/')
            *to++ = '.';
        else
            to += sprintf(to, "_%02x", (unsigned char)*path);
    *to++ = 'e';
    *to = 0;
    return to - out <= LABEL_MAX ? out : NULL;
}

/* NULL: it is none of ours. */
static const char *decode(struct cc_arena *a, const char *value, char *how)
{
    size_t n = strlen(value);
    char *out = cc_arena_alloc(a, n + 1), *to = out;
    const char *at, *end = value + n - 1;
    unsigned byte;

    if (n < 3 || *end != 'e')
        return NULL;
    *how = *value;
    for (at = value + 1; at < end; at++)
        if (*at == '.')
            *to++ = '/';
        else if (*at != '_')
            *to++ = *at;
        else if (end - at > 2 && sscanf(at + 1, "%2x", &byte) == 1 && byte) {
            *to++ = (char)byte;
            at += 2;
        } else
            return NULL;
    return out;
}

static const char *at_key(struct cc_arena *a, const char *short_id)
{
    return cc_arena_printf(a, CC_HZ_AT "%s", short_id);
}
static const char *id_key(struct cc_arena *a, const char *short_id)
{
    return cc_arena_printf(a, CC_HZ_AT_ID "%s", short_id);
}

/* ---------------------------------------------------------------- read */

static bool mount_of(struct cc_arena *a, const json_t *v, const char *short_id, struct cc_hz_mount *m)
{
    const char *value = cc_hz_label(v, at_key(a, short_id)), *own = cc_hz_label(v, CC_HZ_OWN);

    *m = (struct cc_hz_mount){ .id = cc_hz_id(v), .server = json_integer_value(json_object_get(v, "server")) };
    m->volume = cc_arena_strdup(a, cc_hz_text(v, "name"));
    m->location = cc_arena_strdup(a, cc_hz_text(json_object_get(v, "location"), "name"));
    m->path = value ? decode(a, value, &m->how) : NULL;
    m->own = own && strcmp(own, short_id) == 0;
    return m->path && m->volume;
}

void cc_hz_mounts_of(struct cc_arena *a, const json_t *volumes, struct cc_hz_box *b)
{
    struct cc_hz_mount m;
    json_t *v;
    size_t i;

    b->n_mounts = 0;
    json_array_foreach (volumes, i, v) {
        const char *id = cc_hz_label(v, id_key(a, b->short_id));

        if (b->n_mounts == CC_HZ_MOUNTS || !mount_of(a, v, b->short_id, &m))
            continue;
        b->mounts[b->n_mounts++] = m;
        b->id = id && !b->id ? cc_arena_strdup(a, id) : b->id;
    }
}

int cc_hz_mounts(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_hz_box *b)
{
    json_auto_t *volumes = NULL;
    int r = cc_hz_all(h, x, cc_arena_printf(x->arena, "/volumes?label_selector=%s", at_key(x->arena, b->short_id)),
                      "volumes", &volumes);

    if (r == 0)
        cc_hz_mounts_of(x->arena, volumes, b);
    return r;
}

/* ---------------------------------------------------------------- labels */

typedef void (*edit_fn)(struct cc_provider_ctx *x, const struct cc_hz_box *b, json_t *labels, const char *value);

static void say_at(struct cc_provider_ctx *x, const struct cc_hz_box *b, json_t *labels, const char *value)
{
    json_object_set_new(labels, at_key(x->arena, b->short_id), json_string(value));
    json_object_set_new(labels, id_key(x->arena, b->short_id), json_string(b->spec.id ? b->spec.id : b->id));
}

static void say_nothing(struct cc_provider_ctx *x, const struct cc_hz_box *b, json_t *labels, const char *value)
{
    (void)value;
    json_object_del(labels, at_key(x->arena, b->short_id));
    json_object_del(labels, id_key(x->arena, b->short_id));
}

/* Reads a volume's labels, edits and writes them, as the only one. "not_found": there is no such volume. */
static int relabel(struct cc_hz *h, struct cc_provider_ctx *x, const struct cc_hz_box *b, json_int_t id, edit_fn edit,
                   const char *value)
{
    json_auto_t *doc = NULL;
    const char *path = cc_arena_printf(x->arena, "/volumes/%lld", (long long)id);
    const char *lock = cc_arena_printf(x->arena, "volume-%lld", (long long)id);
    int fd = cc_name_lock(h->dir, lock, x->call, x->err), r;
    json_t *labels;

    if (fd < 0)
        return fd;
    if ((r = cc_hz_ask(h, x, "GET", path, NULL, &doc)) == 0) {
        labels = json_deep_copy(json_object_get(json_object_get(doc, "volume"), "labels"));
        edit(x, b, labels, value);
        r = cc_hz_ask(h, x, "PUT", path, json_pack("{s:o}", "labels", labels), NULL);
    }
    cc_name_unlock_gone(h->dir, lock, fd);
    return r;
}

/* ---------------------------------------------------------------- a machine's volumes */

static int add_mount(struct cc_provider_ctx *x, struct cc_hz_box *b, const json_t *volume, const char *path, char how)
{
    struct cc_hz_mount *m = &b->mounts[b->n_mounts];

    if (b->n_mounts == CC_HZ_MOUNTS)
        return cc_err_set(x->err, CC_E_LIMIT, "Hetzner attaches at most %d volumes to a server", CC_HZ_MOUNTS);
    mount_of(x->arena, volume, b->short_id, m);
    m->path = cc_arena_strdup(x->arena, path);
    m->how = how;
    b->n_mounts++;
    return 0;
}

static int find_volume(struct cc_hz *h, struct cc_provider_ctx *x, const char *name, json_t **v)
{
    int r = cc_hz_named(h, x, "volumes", name, v);

    if (r == 0 && !*v)
        return cc_err_set(x->err, CC_E_NOT_FOUND, "there is no volume %.64s", name);
    if (r == 0 && !cc_hz_label(*v, CC_HZ_LABEL))
        return cc_err_set(x->err, CC_E_NOT_FOUND, "the volume %.64s of the project is not ours", name);
    return r;
}

int cc_hz_volume_put(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_hz_box *b, const struct cc_mount_spec *m,
                     char how)
{
    json_auto_t *v = NULL;
    const char *value = encode(x->arena, how, m->path);
    json_int_t on;
    int r = find_volume(h, x, m->id, &v);

    if (r != 0)
        return r;
    if (!value)
        return cc_err_set(x->err, CC_E_INVALID, "%.80s: such a path is too long for a label of Hetzner's", m->path);
    on = json_integer_value(json_object_get(v, "server"));
    if (on && on != cc_hz_id(b->server))
        return cc_err_set(x->err, CC_E_CONFLICT, "the volume %.64s is attached to another machine", m->id);
    if ((r = add_mount(x, b, v, m->path, how)) != 0)
        return r;
    return relabel(h, x, b, cc_hz_id(v), say_at, value);
}

/* ext4, by Hetzner, once: nothing of ours ever formats. */
static int post_volume(struct cc_hz *h, struct cc_provider_ctx *x, const char *name, uint32_t gib, const char *location,
                       json_t *labels, json_t **out)
{
    json_auto_t *answer = NULL;
    int r = cc_hz_ask(h, x, "POST", "/volumes",
                      json_pack("{s:s, s:i, s:s, s:s, s:o}", "name", name, "size", (int)gib, "location", location,
                                "format", "ext4", "labels", labels),
                      &answer);

    if (r == 0)
        *out = json_incref(json_object_get(answer, "volume"));
    return r == 0 ? cc_hz_await(h, x, answer) : r;
}

/* The machine's own, at /claude-data. One that an earlier machine of this short id left is taken, with what is on it, and is
 * not deleted with a create that fails; of a machine that was usable it says so, whoever has made it. */
int cc_hz_volume_own(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_hz_box *b, char how)
{
    json_auto_t *v = NULL;
    json_t *labels = cc_hz_labels();
    int r = 0;

    say_at(x, b, labels, encode(x->arena, how, OWN_AT));
    json_object_set_new(labels, CC_HZ_OWN, json_string(b->short_id));
    r = post_volume(h, x, b->name, h->volume_gib, b->spec.location, labels, &v);
    if (r == 0)
        return add_mount(x, b, v, OWN_AT, how);
    if (r == CC_E_EXISTS)
        return cc_hz_volume_put(h, x, b, &(struct cc_mount_spec){ b->name, OWN_AT }, how == 'm' ? 'm' : 'k');
    return r;
}

int cc_hz_volume_free(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_hz_box *b, size_t i)
{
    int r = relabel(h, x, b, b->mounts[i].id, say_nothing, NULL);

    return r == CC_E_NOT_FOUND ? 0 : r;
}

int cc_hz_volume_settle(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_hz_box *b)
{
    size_t i;
    int r = 0;

    for (i = 0; r == 0 && i < b->n_mounts; i++)
        if (b->mounts[i].how != 'm') {
            r = relabel(h, x, b, b->mounts[i].id, say_at, encode(x->arena, 'm', b->mounts[i].path));
            b->mounts[i].how = 'm';
        }
    return r;
}

int cc_hz_volume_remove(struct cc_hz *h, struct cc_provider_ctx *x, json_int_t id)
{
    int r = cc_hz_ask(h, x, "DELETE", cc_arena_printf(x->arena, "/volumes/%lld", (long long)id), NULL, NULL);

    return r == CC_E_NOT_FOUND ? 0 : r;
}

/* ---------------------------------------------------------------- volumes by themselves */

/* A machine that has it, as its labels say; `on`: the server that it is attached to. */
static const char *user_of(struct cc_arena *a, const json_t *v)
{
    json_t *labels = json_object_get(v, "labels"), *value;
    const char *key, *found = NULL;
    size_t n = 0;

    json_object_foreach (labels, key, value) {
        if (strncmp(key, CC_HZ_AT, strlen(CC_HZ_AT)) == 0) {
            found = cc_arena_printf(a, "cc-%s", key + strlen(CC_HZ_AT));
            n++;
        }
    }
    return n <= 1 ? found : cc_arena_printf(a, "%s and others", found);
}

static void info_of(struct cc_arena *a, const json_t *v, struct cc_volume_info *out)
{
    *out = (struct cc_volume_info){ .id = cc_arena_strdup(a, cc_hz_text(v, "name")),
                                    .size_gib = (uint32_t)json_integer_value(json_object_get(v, "size")),
                                    .used_by = user_of(a, v),
                                    .size_enforced = true };
}

static const char *location_of(struct cc_hz *h, const struct cc_volume_spec *spec)
{
    return cc_pairs_get(&spec->labels, "location", h->location);
}

int cc_hz_volume_make(struct cc_hz *h, struct cc_provider_ctx *x, const struct cc_volume_spec *spec,
                      struct cc_volume_info *out)
{
    uint32_t gib = spec->size_gib > LEAST_GIB ? spec->size_gib : LEAST_GIB;
    json_auto_t *v = NULL;
    int r = cc_hz_named(h, x, "volumes", spec->id, &v);

    if (r == 0 && v && !cc_hz_label(v, CC_HZ_LABEL))
        return cc_err_set(x->err, CC_E_EXISTS, "the project has a volume %.64s that is not ours", spec->id);
    if (r == 0 && !v)
        r = post_volume(h, x, spec->id, gib, location_of(h, spec), cc_hz_labels(), &v);
    if (r == CC_E_EXISTS) /* somebody was quicker */
        r = find_volume(h, x, spec->id, &v);
    if (r == 0)
        info_of(x->arena, v, out);
    return r;
}

int cc_hz_volume_drop(struct cc_hz *h, struct cc_provider_ctx *x, const char *name)
{
    json_auto_t *v = NULL;
    const char *user;
    int r = cc_hz_named(h, x, "volumes", name, &v);

    if (r != 0 || !v)
        return r;
    if (!cc_hz_label(v, CC_HZ_LABEL))
        return cc_err_set(x->err, CC_E_DENIED, "the volume %.64s of the project is not ours", name);
    user = user_of(x->arena, v);
    if (user || json_integer_value(json_object_get(v, "server")))
        return cc_err_set(x->err, CC_E_CONFLICT, "volume %.64s is in use by %.80s", name, user ? user : "a server");
    return cc_hz_volume_remove(h, x, cc_hz_id(v));
}

int cc_hz_volume_list(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_volume_list *out)
{
    json_auto_t *all = NULL;
    json_t *v;
    size_t i;
    int r = cc_hz_all(h, x, "/volumes?label_selector=" CC_HZ_LABEL, "volumes", &all);

    if (r != 0)
        return r;
    out->v = cc_arena_alloc(x->arena, (json_array_size(all) + 1) * sizeof(*out->v));
    out->n = json_array_size(all);
    json_array_foreach (all, i, v) {
        info_of(x->arena, v, &out->v[i]);
    }
    return 0;
}
