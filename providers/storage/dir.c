/* dir.c - disks as qcow2 files in a directory.
 *
 * DIR/ID.qcow2; snapshots are inside of it (qemu's internal ones: they take
 * what changes, and a restore keeps them).  A file is made under a name that
 * begins with a dot and renamed when it is whole; what a killed host left of
 * those goes at the next open by who has the directory to himself.
 */
#include "providers/storage/storage.h"

#include "host/sys/mem.h"
#include "providers/files.h"

#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

struct dir {
    char *path;
    int fd; /* cc_dir_share */
};

static const char *file_of(const struct dir *d, struct cc_arena *a, const char *id)
{
    return cc_arena_printf(a, "%s/%s.qcow2", d->path, id);
}

static void sweep(void *arg)
{
    const struct dir *d = arg;
    char path[1024];
    struct dirent *e;
    DIR *all = opendir(d->path);

    while (all && (e = readdir(all)))
        if (e->d_name[0] == '.' && strstr(e->d_name, ".new")) {
            snprintf(path, sizeof(path), "%s/%s", d->path, e->d_name);
            unlink(path);
        }
    if (all)
        closedir(all);
}

static void d_close(void *self)
{
    struct dir *d = self;

    if (d->fd >= 0)
        close(d->fd);
    free(d->path);
    free(d);
}

static int d_open(const struct cc_pairs *settings, void **self, struct cc_err *err)
{
    const char *path = cc_pairs_get(settings, "dir", NULL);
    struct dir *d;
    int r;

    if (!path || path[0] != '/')
        return cc_err_set(err, CC_E_INVALID, "storage: dir must be an absolute path");
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return cc_err_sys(err, errno, "making %s", path);
    d = cc_xcalloc(1, sizeof(*d));
    d->path = cc_xstrdup(path);
    d->fd = cc_dir_share(path, sweep, d, err);
    if (d->fd >= 0) {
        *self = d;
        return 0;
    }
    r = d->fd;
    d_close(d);
    return r;
}

/* The size that a guest sees stands at byte 24 of a qcow2 file, most significant byte first. */
static int look(const char *path, const char *id, struct cc_arena *a, struct cc_disk *out, struct cc_err *err)
{
    unsigned char head[32];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t n = fd < 0 ? -1 : read(fd, head, sizeof(head));
    uint64_t size;

    if (fd >= 0)
        close(fd);
    if (fd < 0)
        return errno == ENOENT ? cc_err_set(err, CC_E_NOT_FOUND, "no volume %s", id)
                               : cc_err_sys(err, errno, "%s", path);
    if (n != sizeof(head) || memcmp(head, "QFI\xfb", 4) != 0)
        return cc_err_set(err, CC_E_CORRUPT, "volume %s is no qcow2 file", id);
    memcpy(&size, head + 24, sizeof(size));
    *out = (struct cc_disk){
        .id = cc_arena_strdup(a, id), .path = cc_arena_strdup(a, path), .format = CC_DISK_QCOW2, .size = be64toh(size)
    };
    return 0;
}

static int d_find(void *self, struct cc_provider_ctx *x, const char *id, struct cc_disk *out)
{
    return look(file_of(self, x->arena, id), id, x->arena, out, x->err);
}

static int finish(struct cc_provider_ctx *x, int r, const char *made, const char *path)
{
    if (r == 0 && rename(made, path) != 0)
        r = cc_err_sys(x->err, errno, "renaming %s", made);
    if (r != 0)
        unlink(made);
    return r;
}

static const char *made_name(const struct dir *d, struct cc_arena *a, const char *id)
{
    return cc_arena_printf(a, "%s/.%s.%d.new", d->path, id, (int)gettid());
}

static int d_create(void *self, struct cc_provider_ctx *x, const char *id, uint64_t size, const char *image,
                    struct cc_disk *out)
{
    const char *path = file_of(self, x->arena, id), *made = made_name(self, x->arena, id), *format = NULL, *text;
    uint64_t least = 0;
    int r;

    if (access(path, F_OK) == 0)
        return look(path, id, x->arena, out, x->err);
    if (image && (r = cc_image_facts(x, image, &format, &least)) != 0)
        return r;
    text = cc_arena_printf(x->arena, "%llu", (unsigned long long)(size > least ? size : least));
    if (image)
        r = CC_TOOL(x, NULL, "qemu-img", "create", "-q", "-f", "qcow2", "-b", image, "-F", format, made, text);
    else
        r = CC_TOOL(x, NULL, "qemu-img", "create", "-q", "-f", "qcow2", made, text);
    r = finish(x, r, made, path);
    return r ? r : look(path, id, x->arena, out, x->err);
}

static int d_remove(void *self, struct cc_provider_ctx *x, const char *id)
{
    if (unlink(file_of(self, x->arena, id)) != 0 && errno != ENOENT)
        return cc_err_sys(x->err, errno, "removing volume %s", id);
    return 0;
}

static int d_list(void *self, struct cc_provider_ctx *x, struct cc_disk_list *out)
{
    struct dir *d = self;
    size_t room = 0, len;
    struct dirent *e;
    DIR *all = opendir(d->path);

    if (!all)
        return cc_err_sys(x->err, errno, "listing %s", d->path);
    *out = (struct cc_disk_list){ NULL, 0 };
    while ((e = readdir(all)) && !cc_call_over(x->call)) {
        const char *id;

        len = strlen(e->d_name);
        if (e->d_name[0] == '.' || len < 7 || strcmp(e->d_name + len - 6, ".qcow2") != 0)
            continue;
        if (out->n == room) {
            struct cc_disk *more = cc_arena_alloc(x->arena, (room = room ? room * 2 : 64) * sizeof(*more));

            if (out->n)
                memcpy(more, out->v, out->n * sizeof(*more));
            out->v = more;
        }
        id = cc_arena_strndup(x->arena, e->d_name, len - 6);
        if (look(file_of(d, x->arena, id), id, x->arena, &out->v[out->n], NULL) == 0)
            out->n++;
    }
    closedir(all);
    return cc_call_check(x->call, x->err);
}

static int d_resize(void *self, struct cc_provider_ctx *x, const char *id, uint64_t size)
{
    struct cc_disk now;
    int r = d_find(self, x, id, &now);

    if (r != 0 || now.size == size)
        return r;
    if (size < now.size)
        return cc_err_set(x->err, CC_E_INVALID, "volume %s is larger already: a volume only grows", id);
    return CC_TOOL(x, NULL, "qemu-img", "resize", "-q", now.path,
                   cc_arena_printf(x->arena, "%llu", (unsigned long long)size));
}

/* ---------------------------------------------------------------- snapshots */

/* What qemu-img tells of a volume; `doc` is the caller's to free. */
static int facts(void *self, struct cc_provider_ctx *x, const char *id, struct cc_disk *disk, json_t **doc)
{
    struct cc_tool_result t;
    int r = d_find(self, x, id, disk);

    if (r == 0)
        r = CC_TOOL(x, &t, "qemu-img", "info", "-U", "--output=json", disk->path);
    if (r != 0)
        return r;
    if (t.exit != 0 || !(*doc = json_loads(t.out, 0, NULL)))
        return cc_err_set(x->err, CC_E_IO, "qemu-img cannot tell of volume %s", id);
    return 0;
}

static int d_snapshot_list(void *self, struct cc_provider_ctx *x, const char *id, struct cc_snapshot_list *out)
{
    struct cc_disk disk;
    json_t *doc, *one;
    size_t i;
    int r = facts(self, x, id, &disk, &doc);

    *out = (struct cc_snapshot_list){ NULL, 0 };
    if (r != 0)
        return r;
    out->v = cc_arena_alloc(x->arena, (json_array_size(json_object_get(doc, "snapshots")) + 1) * sizeof(*out->v));
    json_array_foreach (json_object_get(doc, "snapshots"), i, one) {
        out->v[out->n++] = (struct cc_snapshot){
            .id = cc_arena_strdup(x->arena, json_string_value(json_object_get(one, "name"))),
            .volume = disk.id,
            .size = disk.size,
            .created_at = json_integer_value(json_object_get(one, "date-sec")) * 1000 +
                          json_integer_value(json_object_get(one, "date-nsec")) / 1000000,
        };
    }
    json_decref(doc);
    return 0;
}

/* 1: there is that snapshot, 0: not. `number`: what qemu counts it as. */
static int has(void *self, struct cc_provider_ctx *x, const char *id, const char *snapshot, const char **number)
{
    struct cc_disk disk;
    json_t *doc, *one;
    size_t i;
    int r = facts(self, x, id, &disk, &doc);

    *number = NULL;
    if (r != 0)
        return r;
    json_array_foreach (json_object_get(doc, "snapshots"), i, one) {
        const char *name = json_string_value(json_object_get(one, "name")),
                   *counted = json_string_value(json_object_get(one, "id"));

        if (!name || !counted || strcmp(name, snapshot) != 0)
            continue;
        *number = cc_arena_strdup(x->arena, counted);
        r = 1;
        break;
    }
    json_decref(doc);
    return r;
}

static int d_snapshot(void *self, struct cc_provider_ctx *x, const char *id, const char *snapshot)
{
    const char *number;
    int r = has(self, x, id, snapshot, &number);

    if (r != 0)
        return r == 1 ? 0 : r;
    return CC_TOOL(x, NULL, "qemu-img", "snapshot", "-q", "-c", snapshot, file_of(self, x->arena, id));
}

static int d_snapshot_remove(void *self, struct cc_provider_ctx *x, const char *id, const char *snapshot)
{
    const char *number;
    int r = has(self, x, id, snapshot, &number);

    if (r != 1)
        return r == CC_E_NOT_FOUND ? 0 : r;
    return CC_TOOL(x, NULL, "qemu-img", "snapshot", "-q", "-d", snapshot, file_of(self, x->arena, id));
}

/* By its number: where qemu-img takes a name it takes it for a number first, and people call snapshots "1". */
static int needs(void *self, struct cc_provider_ctx *x, const char *id, const char *snapshot, const char **number)
{
    int r = has(self, x, id, snapshot, number);

    if (r == 0)
        return cc_err_set(x->err, CC_E_NOT_FOUND, "volume %s has no snapshot %s", id, snapshot);
    return r == 1 ? 0 : r;
}

static int d_restore(void *self, struct cc_provider_ctx *x, const char *id, const char *snapshot)
{
    const char *number;
    int r = needs(self, x, id, snapshot, &number);

    return r ? r : CC_TOOL(x, NULL, "qemu-img", "snapshot", "-q", "-a", number, file_of(self, x->arena, id));
}

static int d_clone(void *self, struct cc_provider_ctx *x, const char *id, const char *snapshot, const char *clone)
{
    const char *path = file_of(self, x->arena, clone), *made = made_name(self, x->arena, clone), *number;
    struct cc_disk from;
    int r = d_find(self, x, id, &from);

    if (r == 0 && snapshot)
        r = needs(self, x, id, snapshot, &number);
    if (r != 0 || access(path, F_OK) == 0)
        return r;
    if (snapshot)
        r = CC_TOOL(x, NULL, "qemu-img", "convert", "-q", "-f", "qcow2", "-O", "qcow2", "-l",
                    cc_arena_printf(x->arena, "snapshot.id=%s", number), from.path, made);
    else
        r = CC_TOOL(x, NULL, "qemu-img", "convert", "-q", "-f", "qcow2", "-O", "qcow2", from.path, made);
    return finish(x, r, made, path);
}

static int d_room(void *self, struct cc_provider_ctx *x, struct cc_room *out)
{
    struct dir *d = self;
    struct statvfs fs;

    if (statvfs(d->path, &fs) != 0)
        return cc_err_sys(x->err, errno, "looking at %s", d->path);
    *out = (struct cc_room){ .left = (uint64_t)fs.f_bavail * fs.f_frsize };
    return 0;
}

const struct cc_storage cc_storage_dir = {
    .name = "dir",
    .open = d_open,
    .close = d_close,
    .create = d_create,
    .remove = d_remove,
    .find = d_find,
    .list = d_list,
    .resize = d_resize,
    .snapshot = d_snapshot,
    .snapshot_remove = d_snapshot_remove,
    .snapshot_list = d_snapshot_list,
    .restore = d_restore,
    .clone = d_clone,
    .room = d_room,
};
