/* volume.c - data that outlives machines: a directory each.
 *
 * Used by one machine at a time: the machine's pid 1 holds the volume's lock
 * for as long as it lives.  As root the files belong to the uid range of the
 * machine that had the volume last; attached to another one, they are given
 * over first (a walk, only then).
 */
#include "providers/local/local.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATIENCE_MS = 200 };

const char *cc_volume_path(const struct cc_local *l, struct cc_arena *a, const char *id, const char *leaf)
{
    return cc_arena_printf(a, "%s/volumes/%s%s%s", l->dir, id, *leaf ? "/" : "", leaf);
}

int cc_volume_load(const struct cc_local *l, struct cc_arena *a, const char *id, struct cc_volume *v,
                   struct cc_err *err)
{
    size_t n;
    char *text = cc_read_whole(a, cc_volume_path(l, a, id, "volume.json"), 65536, &n);
    json_t *doc;

    if (!text)
        return errno == ENOENT ? cc_err_set(err, CC_E_NOT_FOUND, "no volume %s", id)
                               : cc_err_sys(err, errno, "volume %s", id);
    if (!(doc = json_loadb(text, n, 0, NULL)))
        return cc_err_set(err, CC_E_CORRUPT, "the description of volume %s is damaged", id);
    v->size_gib = (uint32_t)json_integer_value(json_object_get(doc, "size_gib"));
    v->uid_base = (unsigned long)json_integer_value(json_object_get(doc, "uid_base"));
    json_decref(doc);
    return 0;
}

int cc_volume_describe(const char *path, const struct cc_volume *v, struct cc_err *err)
{
    char text[128];
    int n = snprintf(text, sizeof(text), "{\"version\":1,\"size_gib\":%u,\"uid_base\":%lu}", v->size_gib, v->uid_base);

    return cc_write_whole(path, text, (size_t)n, err);
}

static int save(const struct cc_local *l, struct cc_arena *a, const char *id, const struct cc_volume *v,
                struct cc_err *err)
{
    return cc_volume_describe(cc_volume_path(l, a, id, "volume.json"), v, err);
}

static bool in_use(const char *lock_path)
{
    struct flock held = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    int fd = open(lock_path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    bool used;

    if (fd < 0)
        return false;
    used = fcntl(fd, F_OFD_GETLK, &held) == 0 && held.l_type != F_UNLCK;
    close(fd);
    return used;
}

/* What a killed host left behind is on its way out and may still hold it for a moment: that is no use. */
static bool stays_in_use(const char *lock_path)
{
    int looks;

    for (looks = 0; looks < PATIENCE_MS && in_use(lock_path); looks++)
        poll(NULL, 0, 1);
    return looks == PATIENCE_MS;
}

static void tell(const struct cc_local *l, struct cc_arena *a, const char *id, const struct cc_volume *v,
                 struct cc_volume_info *out)
{
    *out = (struct cc_volume_info){ .id = cc_arena_strdup(a, id), .size_gib = v->size_gib };
    if (in_use(cc_volume_path(l, a, id, "lock")))
        out->used_by = "a machine";
}

int cc_volume_lock(const struct cc_local *l, struct cc_provider_ctx *x, const char *id)
{
    return cc_name_lock(l->dir, cc_arena_printf(x->arena, "volume-%s", id), x->call, x->err);
}

static int make(const struct cc_local *l, struct cc_provider_ctx *x, const struct cc_volume_spec *spec,
                struct cc_volume *v)
{
    const char *data = cc_volume_path(l, x->arena, spec->id, "data");

    *v = (struct cc_volume){ .size_gib = spec->size_gib, .uid_base = l->root ? l->uid_base : 0 };
    if ((mkdir(cc_volume_path(l, x->arena, spec->id, ""), 0700) != 0 && errno != EEXIST) ||
        (mkdir(data, 0755) != 0 && errno != EEXIST) ||
        (l->root && chown(data, (uid_t)v->uid_base + 1000, (gid_t)v->uid_base + 1000) != 0))
        return cc_err_sys(x->err, errno, "making volume %s", spec->id);
    return save(l, x->arena, spec->id, v, x->err); /* last: without it there is no volume */
}

int cc_volume_make(const struct cc_local *l, struct cc_provider_ctx *x, const struct cc_volume_spec *spec,
                   struct cc_volume_info *out)
{
    struct cc_volume v;
    int fd = cc_volume_lock(l, x, spec->id), r;

    if (fd < 0)
        return fd;
    r = cc_volume_load(l, x->arena, spec->id, &v, x->err);
    if (r == CC_E_NOT_FOUND)
        r = make(l, x, spec, &v);
    if (r == 0)
        tell(l, x->arena, spec->id, &v, out);
    close(fd);
    return r;
}

int cc_volume_drop(const struct cc_local *l, struct cc_provider_ctx *x, const char *id)
{
    const char *trash = cc_arena_printf(x->arena, "%s/trash/volume-%s.%d", l->dir, id, (int)getpid());
    int fd = cc_volume_lock(l, x, id), r = 0;

    if (fd < 0)
        return fd;
    if (stays_in_use(cc_volume_path(l, x->arena, id, "lock"))) {
        close(fd);
        return cc_err_set(x->err, CC_E_CONFLICT, "volume %s is in use by a running machine", id);
    }
    if (rename(cc_volume_path(l, x->arena, id, ""), trash) != 0 && errno != ENOENT)
        r = cc_err_sys(x->err, errno, "deleting volume %s", id);
    else if ((r = cc_remove_tree(trash)) != 0)
        r = cc_err_sys(x->err, r, "deleting volume %s", id);
    cc_name_unlock_gone(l->dir, cc_arena_printf(x->arena, "volume-%s", id), fd);
    return r;
}

int cc_volume_all(const struct cc_local *l, struct cc_provider_ctx *x, struct cc_volume_list *out)
{
    DIR *d = opendir(cc_arena_printf(x->arena, "%s/volumes", l->dir));
    size_t room = 0;
    struct dirent *e;
    struct cc_volume v;

    if (!d)
        return cc_err_sys(x->err, errno, "listing volumes");
    *out = (struct cc_volume_list){ NULL, 0 };
    while ((e = readdir(d))) {
        if (e->d_name[0] == '.' || cc_volume_load(l, x->arena, e->d_name, &v, NULL) != 0)
            continue;
        if (out->n == room) {
            struct cc_volume_info *more = cc_arena_alloc(x->arena, (room = room * 2 + 16) * sizeof(*more));

            if (out->n)
                memcpy(more, out->v, out->n * sizeof(*more));
            out->v = more;
        }
        tell(l, x->arena, e->d_name, &v, &out->v[out->n++]);
    }
    closedir(d);
    return 0;
}

int cc_volume_free(const struct cc_local *l, struct cc_provider_ctx *x, const char *id)
{
    struct cc_volume v;
    int r = cc_volume_load(l, x->arena, id, &v, x->err);

    if (r == 0 && stays_in_use(cc_volume_path(l, x->arena, id, "lock")))
        r = cc_err_set(x->err, CC_E_CONFLICT, "volume %s is in use by another machine", id);
    return r;
}

int cc_volume_attach(const struct cc_local *l, struct cc_provider_ctx *x, const char *id, unsigned long uid_base)
{
    struct cc_volume v;
    int fd = cc_volume_lock(l, x, id), r;

    if (fd < 0)
        return fd;
    r = cc_volume_load(l, x->arena, id, &v, x->err);
    if (r == 0 && v.uid_base != uid_base) {
        if (stays_in_use(cc_volume_path(l, x->arena, id, "lock")))
            r = cc_err_set(x->err, CC_E_CONFLICT, "volume %s is in use by another machine", id);
        else if ((r = cc_shift_owners(cc_volume_path(l, x->arena, id, "data"), v.uid_base, uid_base)) != 0)
            r = cc_err_sys(x->err, r, "giving volume %s to the machine", id);
        v.uid_base = uid_base;
        if (r == 0)
            r = save(l, x->arena, id, &v, x->err);
    }
    close(fd);
    return r;
}
