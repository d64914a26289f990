/* snapshot.c - copies of a volume's data beside it: volumes/ID/snapshots/NAME/{data,snapshot.json}.
 *
 * A copy is made in the trash, where a crash leaves what the sweep takes, and
 * gets its name when it is whole.  Meanwhile the volume's lock is held as a
 * machine holds it: none starts with it, nobody deletes it.  The files of a
 * copy belong to the uid range that had the volume then.
 */
#include "providers/local/local.h"

#include "host/sys/clock.h"
#include "providers/tool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct snapshot {
    struct cc_volume of;
    int64_t created_at;
};

static const char *at(const struct cc_local *l, struct cc_arena *a, const char *volume, const char *name,
                      const char *leaf)
{
    return cc_volume_path(l, a, volume, cc_arena_printf(a, "snapshots/%s%s%s", name, *leaf ? "/" : "", leaf));
}

static const char *scratch(const struct cc_local *l, struct cc_arena *a, const char *volume)
{
    return cc_arena_printf(a, "%s/trash/copy-%s.%d", l->dir, volume, (int)getpid());
}

static int load(const struct cc_local *l, struct cc_arena *a, const char *volume, const char *name, struct snapshot *s,
                struct cc_err *err)
{
    size_t n;
    char *text = cc_read_whole(a, at(l, a, volume, name, "snapshot.json"), 65536, &n);
    json_t *doc = text ? json_loadb(text, n, 0, NULL) : NULL;

    if (!text)
        return errno == ENOENT ? cc_err_set(err, CC_E_NOT_FOUND, "volume %s has no snapshot %s", volume, name)
                               : cc_err_sys(err, errno, "snapshot %s of volume %s", name, volume);
    if (!doc)
        return cc_err_set(err, CC_E_CORRUPT, "the description of snapshot %s of volume %s is damaged", name, volume);
    s->of.size_gib = (uint32_t)json_integer_value(json_object_get(doc, "size_gib"));
    s->of.uid_base = (unsigned long)json_integer_value(json_object_get(doc, "uid_base"));
    s->created_at = json_integer_value(json_object_get(doc, "created_at"));
    json_decref(doc);
    return 0;
}

static void tell(struct cc_arena *a, const char *volume, const char *name, const struct snapshot *s,
                 struct cc_snapshot *out)
{
    *out = (struct cc_snapshot){ .id = cc_arena_strdup(a, name),
                                 .volume = cc_arena_strdup(a, volume),
                                 .size = (uint64_t)s->of.size_gib << 30,
                                 .created_at = s->created_at };
}

/* The volume's lock, as a machine has it. A descriptor, or "conflict". */
static int hold(const struct cc_local *l, struct cc_provider_ctx *x, const char *volume)
{
    struct flock want = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    int fd = open(cc_volume_path(l, x->arena, volume, "lock"), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0)
        return cc_err_sys(x->err, errno, "volume %s", volume);
    if (fcntl(fd, F_OFD_SETLK, &want) == 0)
        return fd;
    close(fd);
    return cc_err_set(x->err, CC_E_CONFLICT, "volume %s is in use by a machine that runs", volume);
}

/* `from`, a directory, whole, at `to`, which is not there. */
static int copy(struct cc_provider_ctx *x, const char *from, const char *to)
{
    return CC_TOOL(x, NULL, "cp", "-a", "--", from, to);
}

/* An empty directory of its own for what is to be copied into it. */
static int begin(struct cc_provider_ctx *x, const char *dir)
{
    int r = cc_remove_tree(dir);

    if (r == 0 && mkdir(dir, 0700) != 0)
        r = errno;
    return r ? cc_err_sys(x->err, r, "making %s", dir) : 0;
}

/* ---------------------------------------------------------------- to take one, to let it go */

static int take(const struct cc_local *l, struct cc_provider_ctx *x, const char *volume, const char *name,
                struct snapshot *s)
{
    const char *made = scratch(l, x->arena, volume), *all = cc_volume_path(l, x->arena, volume, "snapshots");
    char text[160];
    int n, r = begin(x, made);

    if (r == 0)
        r = copy(x, cc_volume_path(l, x->arena, volume, "data"), cc_arena_printf(x->arena, "%s/data", made));
    s->created_at = cc_wall_ms();
    n = snprintf(text, sizeof(text), "{\"version\":1,\"size_gib\":%u,\"uid_base\":%lu,\"created_at\":%lld}",
                 s->of.size_gib, s->of.uid_base, (long long)s->created_at);
    if (r == 0)
        r = cc_write_whole(cc_arena_printf(x->arena, "%s/snapshot.json", made), text, (size_t)n, x->err);
    if (r == 0 && ((mkdir(all, 0700) != 0 && errno != EEXIST) || rename(made, at(l, x->arena, volume, name, "")) != 0))
        r = cc_err_sys(x->err, errno, "naming snapshot %s of volume %s", name, volume);
    if (r != 0)
        cc_remove_tree(made);
    return r;
}

int cc_snapshot_take(const struct cc_local *l, struct cc_provider_ctx *x, const char *volume, const char *name,
                     struct cc_snapshot *out)
{
    struct snapshot s;
    int held, fd = cc_volume_lock(l, x, volume), r;

    if (fd < 0)
        return fd;
    r = cc_volume_load(l, x->arena, volume, &s.of, x->err);
    if (r == 0 && (held = hold(l, x, volume)) < 0)
        r = held;
    else if (r == 0) {
        if (load(l, x->arena, volume, name, &s, NULL) != 0)
            r = take(l, x, volume, name, &s);
        close(held);
    }
    if (r == 0)
        tell(x->arena, volume, name, &s, out);
    close(fd);
    return r;
}

int cc_snapshot_drop(const struct cc_local *l, struct cc_provider_ctx *x, const char *volume, const char *name)
{
    const char *trash = scratch(l, x->arena, volume);
    int fd = cc_volume_lock(l, x, volume), r;

    if (fd < 0)
        return fd;
    r = cc_remove_tree(trash);
    if (r == 0 && rename(at(l, x->arena, volume, name, ""), trash) != 0 && errno != ENOENT)
        r = errno;
    if (r == 0)
        r = cc_remove_tree(trash);
    close(fd);
    return r ? cc_err_sys(x->err, r, "deleting snapshot %s of volume %s", name, volume) : 0;
}

int cc_snapshot_all(const struct cc_local *l, struct cc_provider_ctx *x, const char *volume,
                    struct cc_snapshot_list *out)
{
    struct cc_volume v;
    struct snapshot s;
    struct dirent *e;
    size_t room = 0;
    DIR *d;
    int r = cc_volume_load(l, x->arena, volume, &v, x->err);

    *out = (struct cc_snapshot_list){ NULL, 0 };
    if (r != 0)
        return r;
    if (!(d = opendir(cc_volume_path(l, x->arena, volume, "snapshots"))))
        return errno == ENOENT ? 0 : cc_err_sys(x->err, errno, "listing snapshots of volume %s", volume);
    while ((e = readdir(d))) {
        if (e->d_name[0] == '.' || load(l, x->arena, volume, e->d_name, &s, NULL) != 0)
            continue;
        if (out->n == room) {
            struct cc_snapshot *more = cc_arena_alloc(x->arena, (room = room * 2 + 8) * sizeof(*more));

            if (out->n)
                memcpy(more, out->v, out->n * sizeof(*more));
            out->v = more;
        }
        tell(x->arena, volume, e->d_name, &s, &out->v[out->n++]);
    }
    closedir(d);
    return 0;
}

/* ---------------------------------------------------------------- and back */

/* The data give way in one step to a copy that is whole: cut off, the volume is as before or as the snapshot. */
static int put_back(const struct cc_local *l, struct cc_provider_ctx *x, const char *volume, const char *name,
                    const struct snapshot *s, const struct cc_volume *v)
{
    const char *made = scratch(l, x->arena, volume), *whole = cc_arena_printf(x->arena, "%s/data", made),
               *data = cc_volume_path(l, x->arena, volume, "data");
    int r = begin(x, made);

    if (r == 0)
        r = copy(x, at(l, x->arena, volume, name, "data"), whole);
    if (r == 0 && (r = cc_shift_owners(whole, s->of.uid_base, v->uid_base)) != 0)
        r = cc_err_sys(x->err, r, "giving volume %s its owner", volume);
    if (r == 0 && renameat2(AT_FDCWD, whole, AT_FDCWD, data, RENAME_EXCHANGE) != 0)
        r = cc_err_sys(x->err, errno, "exchanging the data of volume %s", volume);
    cc_remove_tree(made);
    return r;
}

int cc_snapshot_restore(const struct cc_local *l, struct cc_provider_ctx *x, const char *volume, const char *name)
{
    struct snapshot s;
    struct cc_volume v;
    int held, fd = cc_volume_lock(l, x, volume), r;

    if (fd < 0)
        return fd;
    r = cc_volume_load(l, x->arena, volume, &v, x->err);
    if (r == 0)
        r = load(l, x->arena, volume, name, &s, x->err);
    if (r == 0 && (held = hold(l, x, volume)) < 0)
        r = held;
    else if (r == 0) {
        r = put_back(l, x, volume, name, &s, &v);
        close(held);
    }
    close(fd);
    return r;
}

/* With the name of the clone locked, and the volume held. */
static int make_clone(const struct cc_local *l, struct cc_provider_ctx *x, const char *from, const char *clone,
                      const struct cc_volume *v)
{
    const char *made = scratch(l, x->arena, clone);
    int r = begin(x, made);

    if (r == 0)
        r = copy(x, from, cc_arena_printf(x->arena, "%s/data", made));
    if (r == 0)
        r = cc_volume_describe(cc_arena_printf(x->arena, "%s/volume.json", made), v, x->err);
    /* what an earlier life left there is no volume: it has no description */
    if (r == 0 && (r = cc_remove_tree(cc_volume_path(l, x->arena, clone, ""))) != 0)
        r = cc_err_sys(x->err, r, "clearing the place of volume %s", clone);
    if (r == 0 && rename(made, cc_volume_path(l, x->arena, clone, "")) != 0)
        r = cc_err_sys(x->err, errno, "naming volume %s", clone);
    if (r != 0)
        cc_remove_tree(made);
    return r;
}

static int clone_held(const struct cc_local *l, struct cc_provider_ctx *x, const char *volume, const char *name,
                      const char *clone, struct cc_volume *v)
{
    const char *from = cc_volume_path(l, x->arena, volume, "data");
    struct snapshot s;
    int held, r = cc_volume_load(l, x->arena, volume, v, x->err);

    if (r == 0 && name && (r = load(l, x->arena, volume, name, &s, x->err)) == 0) {
        from = at(l, x->arena, volume, name, "data");
        *v = s.of;
    }
    if (r != 0)
        return r;
    if ((held = hold(l, x, volume)) < 0)
        return held;
    r = make_clone(l, x, from, clone, v);
    close(held);
    return r;
}

int cc_snapshot_clone(const struct cc_local *l, struct cc_provider_ctx *x, const char *volume, const char *name,
                      const char *clone, struct cc_volume_info *out)
{
    struct cc_volume v;
    int fd = cc_volume_lock(l, x, clone), r;

    if (fd < 0)
        return fd;
    r = cc_volume_load(l, x->arena, clone, &v, x->err);
    if (r == CC_E_NOT_FOUND)
        r = clone_held(l, x, volume, name, clone, &v);
    if (r == 0)
        *out = (struct cc_volume_info){ .id = cc_arena_strdup(x->arena, clone), .size_gib = v.size_gib };
    close(fd);
    return r;
}
