/* lvm.c - disks as logical volumes of one volume group.
 *
 * A volume is VG/ccv-ID, its snapshots VG/ccs-ID.SNAPSHOT, all with the tag
 * "cchost" and tags that say what they are: so a list is one command, and
 * shows nobody else's.  With a thin pool volumes and snapshots take what is
 * written; without one a snapshot has room for all of its volume, so that it
 * never overflows.  A restore copies, and keeps the snapshot.  What is being
 * filled has the tag "cchost.making" and is no volume yet.  Nothing is
 * remembered here, no call's context outlives the call.
 *
 * A thin pool gives zeroes; other room of a volume group holds what its last
 * owner left.  So what is thick is overwritten before anybody has it, and
 * "cchost.zero=N" says from which byte on it is not yet: there whoever is
 * cut off goes on.
 */
#include "providers/storage/storage.h"

#include "host/sys/clock.h"
#include "host/sys/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define TAG "cchost"
#define MIB (1024ull * 1024)

enum { PAGE = 4096, SLICE_MS = 5000 }; /* SLICE_MS: how much of overwriting is done again after a kill */

struct lvm {
    char *vg, *pool, *config; /* pool NULL: no thin volumes; config: --config of every command, or NULL */
    uint64_t slice_ms;
};

static int l_open(const struct cc_pairs *settings, void **self, struct cc_err *err)
{
    const char *vg = cc_pairs_get(settings, "vg", NULL), *pool = cc_pairs_get(settings, "pool", NULL),
               *config = cc_pairs_get(settings, "lvm_config", NULL), *slice = cc_pairs_get(settings, "slice_ms", NULL);
    struct lvm *l;

    if (!vg || !cc_volume_id_ok(vg) || (pool && !cc_volume_id_ok(pool)))
        return cc_err_set(err, CC_E_INVALID,
                          "storage lvm: vg must be the name of a volume group, pool that of a thin pool");
    l = cc_xcalloc(1, sizeof(*l));
    l->vg = cc_xstrdup(vg);
    l->pool = pool ? cc_xstrdup(pool) : NULL;
    l->config = config ? cc_xstrdup(config) : NULL;
    l->slice_ms = slice ? strtoull(slice, NULL, 10) : SLICE_MS;
    *self = l;
    return 0;
}

static void l_close(void *self)
{
    struct lvm *l = self;

    free(l->vg), free(l->pool), free(l->config);
    free(l);
}

/* COMMAND [--config C] WORDS...  What it complains of as LVM's own first line. */
static int lvm(const struct lvm *l, struct cc_provider_ctx *x, struct cc_tool_result *t, const char *command,
               const char *const *words)
{
    const char *all[32] = { command };
    size_t n = 1, i;

    if (l->config)
        all[n++] = "--config", all[n++] = l->config;
    for (i = 0; words[i] && n < 31; i++)
        all[n++] = words[i];
    return cc_tool(x, t, all);
}
#define LVM(l, x, t, command, ...) lvm((l), (x), (t), (command), (const char *const[]){ __VA_ARGS__, NULL })

static const char *volume_lv(struct cc_arena *a, const char *id) { return cc_arena_printf(a, "ccv-%s", id); }
static const char *snapshot_lv(struct cc_arena *a, const char *id, const char *snapshot)
{
    return cc_arena_printf(a, "ccs-%s.%s", id, snapshot);
}
static const char *full(const struct lvm *l, struct cc_arena *a, const char *lv)
{
    return cc_arena_printf(a, "%s/%s", l->vg, lv);
}
static const char *device(const struct lvm *l, struct cc_arena *a, const char *lv)
{
    return cc_arena_printf(a, "/dev/%s/%s", l->vg, lv);
}

/* ---------------------------------------------------------------- what there is */

/* The value of our tag NAME=VALUE among an entry's, or NULL. */
static const char *tag(struct cc_arena *a, const json_t *entry, const char *name)
{
    const char *tags = json_string_value(json_object_get(entry, "lv_tags"));
    size_t n = strlen(name), len;

    for (; tags && *tags; tags += len + (tags[len] == ',')) {
        len = strcspn(tags, ",");
        if (len > n && strncmp(tags, name, n) == 0 && tags[n] == '=')
            return cc_arena_strndup(a, tags + n + 1, len - n - 1);
    }
    return NULL;
}

/* All of ours: the array of lvs' report. `doc` is the caller's to free, unless it fails. */
static int report(const struct lvm *l, struct cc_provider_ctx *x, json_t **doc, json_t **entries)
{
    struct cc_tool_result t;
    int r = LVM(l, x, &t, "lvs", "--reportformat", "json", "--units", "b", "--nosuffix", "-o",
                "lv_name,lv_size,lv_tags,lv_time,data_percent,lv_device_open", "-S",
                cc_arena_printf(x->arena, "vg_name=%s && lv_tags=" TAG, l->vg));

    *doc = NULL;
    if (r != 0)
        return r;
    if (t.exit != 0)
        return cc_err_set(x->err, CC_E_IO, "lvs: %.200s", t.err);
    *doc = json_loads(t.out, 0, NULL);
    *entries = json_object_get(json_array_get(json_object_get(*doc, "report"), 0), "lv");
    if (json_is_array(*entries))
        return 0;
    json_decref(*doc);
    *doc = NULL;
    return cc_err_set(x->err, CC_E_IO, "lvs tells nothing that can be read");
}

static uint64_t size_of(const json_t *entry)
{
    const char *s = json_string_value(json_object_get(entry, "lv_size"));

    return s ? strtoull(s, NULL, 10) : 0;
}

static void disk_of(const struct lvm *l, struct cc_arena *a, const json_t *entry, const char *id, struct cc_disk *out)
{
    *out = (struct cc_disk){
        .id = id, .path = device(l, a, volume_lv(a, id)), .format = CC_DISK_RAW, .block = true, .size = size_of(entry)
    };
}

static int l_list(void *self, struct cc_provider_ctx *x, struct cc_disk_list *out)
{
    json_t *doc, *entries, *entry;
    size_t i;
    int r = report(self, x, &doc, &entries);

    *out = (struct cc_disk_list){ NULL, 0 };
    if (r != 0)
        return r;
    out->v = cc_arena_alloc(x->arena, (json_array_size(entries) + 1) * sizeof(*out->v));
    json_array_foreach (entries, i, entry) {
        const char *id = tag(x->arena, entry, "cchost.volume");

        if (id)
            disk_of(self, x->arena, entry, id, &out->v[out->n++]);
    }
    json_decref(doc);
    return 0;
}

static int l_find(void *self, struct cc_provider_ctx *x, const char *id, struct cc_disk *out)
{
    struct cc_disk_list list;
    size_t i;
    int r = l_list(self, x, &list);

    for (i = 0; r == 0 && i < list.n; i++)
        if (strcmp(list.v[i].id, id) == 0) {
            *out = list.v[i];
            return 0;
        }
    return r ? r : cc_err_set(x->err, CC_E_NOT_FOUND, "no volume %s", id);
}

static int l_snapshot_list(void *self, struct cc_provider_ctx *x, const char *id, struct cc_snapshot_list *out)
{
    json_t *doc, *entries, *entry;
    bool there = false;
    size_t i;
    int r = report(self, x, &doc, &entries);

    *out = (struct cc_snapshot_list){ NULL, 0 };
    if (r != 0)
        return r;
    out->v = cc_arena_alloc(x->arena, (json_array_size(entries) + 1) * sizeof(*out->v));
    json_array_foreach (entries, i, entry) {
        const char *name = tag(x->arena, entry, "cchost.snapshot"), *of = tag(x->arena, entry, "cchost.of"),
                   *at = tag(x->arena, entry, "cchost.at"), *volume = tag(x->arena, entry, "cchost.volume");

        there |= volume && strcmp(volume, id) == 0;
        if (name && of && strcmp(of, id) == 0)
            out->v[out->n++] = (struct cc_snapshot){ name, cc_arena_strdup(x->arena, id), size_of(entry),
                                                     at ? strtoll(at, NULL, 10) : 0 };
    }
    json_decref(doc);
    return there ? 0 : cc_err_set(x->err, CC_E_NOT_FOUND, "no volume %s", id);
}

/* ---------------------------------------------------------------- volumes */

static const char *tagged(struct cc_arena *a, const char *name, const char *value)
{
    return cc_arena_printf(a, "%s=%s", name, value);
}

static int fill(struct cc_provider_ctx *x, const char *from, const char *format, const char *to)
{
    return CC_TOOL(x, NULL, "qemu-img", "convert", "-q", "-n", "-f", format, "-O", "raw", from, to);
}

static const char *zero_tag(struct cc_arena *a, uint64_t from)
{
    return cc_arena_printf(a, "cchost.zero=%llu", (unsigned long long)from);
}

/* A volume, or what is to be one. */
struct piece {
    bool making, volume;
    bool dirty; /* from byte `zero` on it holds what others left */
    uint64_t size, zero;
};

static int look(const struct lvm *l, struct cc_provider_ctx *x, const char *id, struct piece *out)
{
    json_t *doc, *entries, *entry;
    size_t i;
    int r = report(l, x, &doc, &entries);

    *out = (struct piece){ 0 };
    if (r != 0)
        return r;
    json_array_foreach (entries, i, entry) {
        const char *making = tag(x->arena, entry, "cchost.making"), *volume = tag(x->arena, entry, "cchost.volume"),
                   *zero = tag(x->arena, entry, "cchost.zero");

        if ((making && strcmp(making, id) == 0) || (volume && strcmp(volume, id) == 0))
            *out = (struct piece){ making != NULL, volume != NULL, zero != NULL, size_of(entry),
                                   zero ? strtoull(zero, NULL, 10) : 0 };
    }
    json_decref(doc);
    return 0;
}

/* ---------------------------------------------------------------- what others left */

/* Overwrites a range; one that does not begin at a page, up to the next. */
static int put_zeroes(int fd, uint64_t from, uint64_t n)
{
    static const char page[PAGE];
    uint64_t range[2] = { from, n };

    if (from % PAGE)
        return pwrite(fd, page, n, (off_t)from) == (ssize_t)n ? 0 : -1;
    return ioctl(fd, BLKZEROOUT, range);
}

/* For a while, and then on the disk. 1: up to the end, 0: up to `*at`. */
static int zero_some(const struct lvm *l, struct cc_provider_ctx *x, const char *path, uint64_t *at)
{
    uint64_t until = cc_mono_ms() + l->slice_ms, size = 0, n;
    int fd = open(path, O_WRONLY | O_CLOEXEC), r = 0;

    if (fd < 0)
        return cc_err_sys(x->err, errno, "%s", path);
    if (ioctl(fd, BLKGETSIZE64, &size) != 0)
        r = cc_err_sys(x->err, errno, "the size of %s", path);
    while (r == 0 && *at < size && (r = cc_call_check(x->call, x->err)) == 0) {
        n = *at % PAGE ? PAGE - *at % PAGE : 64 * MIB;
        n = n < size - *at ? n : size - *at;
        if (put_zeroes(fd, *at, n) != 0)
            r = cc_err_sys(x->err, errno, "overwriting %s", path);
        else
            *at += n;
        if (cc_mono_ms() >= until)
            break;
    }
    if (r == 0 && fsync(fd) != 0)
        r = cc_err_sys(x->err, errno, "writing %s", path);
    close(fd);
    return r ? r : *at >= size;
}

/* From byte `at` to the end. `*tagged`: what its tag says, all the time. */
static int wipe(const struct lvm *l, struct cc_provider_ctx *x, const char *id, uint64_t at, uint64_t *tagged)
{
    const char *lv = volume_lv(x->arena, id);
    int r;

    while ((r = zero_some(l, x, device(l, x->arena, lv), &at)) == 0) {
        r = LVM(l, x, NULL, "lvchange", "-q", "--deltag", zero_tag(x->arena, *tagged), "--addtag",
                zero_tag(x->arena, at), full(l, x->arena, lv));
        if (r != 0)
            return r;
        *tagged = at;
    }
    return r == 1 ? 0 : r;
}

static int wipe_rest(const struct lvm *l, struct cc_provider_ctx *x, const char *id, uint64_t from)
{
    int r = wipe(l, x, id, from, &from);

    return r ? r
             : LVM(l, x, NULL, "lvchange", "-q", "--deltag", zero_tag(x->arena, from),
                   full(l, x->arena, volume_lv(x->arena, id)));
}

/* What a kill has cut off in its growth is brought to its end. Of a volume that nobody writes to. */
static int settle(const struct lvm *l, struct cc_provider_ctx *x, const char *id, struct piece *p)
{
    int r = look(l, x, id, p);

    if (r == 0 && !p->volume)
        return cc_err_set(x->err, CC_E_NOT_FOUND, "no volume %s", id);
    return r == 0 && p->dirty ? wipe_rest(l, x, id, p->zero) : r;
}

/* ---------------------------------------------------------------- made and removed */

static int make(const struct lvm *l, struct cc_provider_ctx *x, const char *id, uint64_t size, const char *as)
{
    const char *lv = volume_lv(x->arena, id), *bytes = cc_arena_printf(x->arena, "%llub", (unsigned long long)size),
               *what = tagged(x->arena, as, id);

    if (l->pool)
        return LVM(l, x, NULL, "lvcreate", "-q", "-y", "-T", "-V", bytes, "--addtag", TAG, "--addtag", what, "-n", lv,
                   full(l, x->arena, l->pool));
    return LVM(l, x, NULL, "lvcreate", "-q", "-y", "-W", "y", "-L", bytes, "--addtag", TAG, "--addtag", what,
               "--addtag", zero_tag(x->arena, 0), "-n", lv, l->vg);
}

/* Takes away what a killed host was filling. */
static int clear(const struct lvm *l, struct cc_provider_ctx *x, const char *id)
{
    struct piece p;
    int r = look(l, x, id, &p);

    return r == 0 && p.making ? LVM(l, x, NULL, "lvremove", "-q", "-y", full(l, x->arena, volume_lv(x->arena, id))) : r;
}

/* Whether this try can go on with what one without an end has left. */
static bool usable(const struct piece *p, uint64_t size, uint64_t least)
{
    return p->dirty && p->size >= size && p->size - size < 64 * MIB && (p->zero == 0 || p->zero >= least);
}

/* A volume with that content, `least` bytes, and zeroes behind it (`from` NULL: nothing else): it is one only when it is whole.
 * `p`: what there is of it. */
static int make_from(const struct lvm *l, struct cc_provider_ctx *x, const char *id, uint64_t size, const char *from,
                     const char *format, uint64_t least, struct piece p)
{
    const char *lv = full(l, x->arena, volume_lv(x->arena, id)), *volume = tagged(x->arena, "cchost.volume", id),
               *making = tagged(x->arena, "cchost.making", id);
    struct cc_provider_ctx quiet = *x;
    int r = 0;

    if (p.making && !usable(&p, size, least)) {
        r = clear(l, x, id);
        p = (struct piece){ 0 };
    }
    if (r == 0 && !p.making)
        r = make(l, x, id, size, "cchost.making");
    if (r == 0 && from && p.zero == 0)
        r = fill(x, from, format, device(l, x->arena, volume_lv(x->arena, id)));
    if (r == 0 && !l->pool)
        r = wipe(l, x, id, p.zero ? p.zero : least, &p.zero);
    if (r == 0)
        r = LVM(l, x, NULL, "lvchange", "-q", "--addtag", volume, "--deltag", making, "--deltag",
                zero_tag(x->arena, p.zero), lv);
    quiet.err = NULL;
    if (r != 0 && !cc_call_over(x->call)) /* who ran out of time goes on there, or removes it */
        clear(l, &quiet, id);
    return r;
}

static int l_create(void *self, struct cc_provider_ctx *x, const char *id, uint64_t size, const char *image,
                    struct cc_disk *out)
{
    const char *format = NULL;
    struct lvm *l = self;
    uint64_t least = 0;
    struct piece p;
    int r = settle(l, x, id, &p);

    if (r != CC_E_NOT_FOUND)
        return r ? r : l_find(self, x, id, out);
    if (image && (r = cc_image_facts(x, image, &format, &least)) != 0)
        return r;
    r = image || !l->pool ? make_from(l, x, id, size > least ? size : least, image, format, least, p)
                          : make(l, x, id, size, "cchost.volume");
    return r ? r : l_find(self, x, id, out);
}

/* What fails is told, never passed over. One that a killed host was filling is no volume yet, and takes its place all the same. */
static int l_remove(void *self, struct cc_provider_ctx *x, const char *id)
{
    struct cc_snapshot_list snapshots;
    struct lvm *l = self;
    size_t i;
    int r = l_snapshot_list(self, x, id, &snapshots);

    if (r != 0)
        return r == CC_E_NOT_FOUND ? clear(l, x, id) : r;
    for (i = 0; i < snapshots.n && r == 0; i++)
        r = LVM(l, x, NULL, "lvremove", "-q", "-y", full(l, x->arena, snapshot_lv(x->arena, id, snapshots.v[i].id)));
    return r ? r : LVM(l, x, NULL, "lvremove", "-q", "-y", full(l, x->arena, volume_lv(x->arena, id)));
}

/* What is added is nobody's before it is overwritten; whoever is killed in between finds the tag. */
static int extend(const struct lvm *l, struct cc_provider_ctx *x, const char *id, uint64_t from, uint64_t size)
{
    const char *lv = full(l, x->arena, volume_lv(x->arena, id)), *zero = zero_tag(x->arena, from);
    struct cc_provider_ctx quiet = *x;
    int r = l->pool ? 0 : LVM(l, x, NULL, "lvchange", "-q", "--addtag", zero, lv);

    if (r != 0)
        return r;
    r = LVM(l, x, NULL, "lvextend", "-q", "-L", cc_arena_printf(x->arena, "%llub", (unsigned long long)size), lv);
    quiet.err = NULL;
    if (r != 0 && !l->pool && !cc_call_over(x->call))
        LVM(l, &quiet, NULL, "lvchange", "-q", "--deltag", zero, lv);
    return r || l->pool ? r : wipe_rest(l, x, id, from);
}

static int l_resize(void *self, struct cc_provider_ctx *x, const char *id, uint64_t size)
{
    struct piece p;
    int r = settle(self, x, id, &p);

    if (r != 0 || size == p.size)
        return r;
    if (size < p.size)
        return cc_err_set(x->err, CC_E_INVALID, "volume %s is larger already: a volume only grows", id);
    return extend(self, x, id, p.size, size);
}

/* ---------------------------------------------------------------- snapshots */

static int has(void *self, struct cc_provider_ctx *x, const char *id, const char *snapshot)
{
    struct cc_snapshot_list list;
    size_t i;
    int r = l_snapshot_list(self, x, id, &list);

    for (i = 0; r == 0 && i < list.n; i++)
        if (strcmp(list.v[i].id, snapshot) == 0)
            return 1;
    return r;
}

static int l_snapshot(void *self, struct cc_provider_ctx *x, const char *id, const char *snapshot)
{
    struct lvm *l = self;
    const char *of = full(l, x->arena, volume_lv(x->arena, id)), *lv = snapshot_lv(x->arena, id, snapshot),
               *what = tagged(x->arena, "cchost.snapshot", snapshot), *whose = tagged(x->arena, "cchost.of", id),
               *at = cc_arena_printf(x->arena, "cchost.at=%lld", (long long)cc_wall_ms());
    struct piece p;
    int r = has(self, x, id, snapshot);

    if (r == 0)
        r = settle(l, x, id, &p);
    if (r != 0)
        return r == 1 ? 0 : r;
    if (l->pool) /* -kn: it can be read like any other */
        return LVM(l, x, NULL, "lvcreate", "-q", "-y", "-s", "-kn", "-pr", "--addtag", TAG, "--addtag", what,
                   "--addtag", whose, "--addtag", at, "-n", lv, of);
    return LVM(l, x, NULL, "lvcreate", "-q", "-y", "-s", "-l", "100%ORIGIN", "--addtag", TAG, "--addtag", what,
               "--addtag", whose, "--addtag", at, "-n", lv, of);
}

static int l_snapshot_remove(void *self, struct cc_provider_ctx *x, const char *id, const char *snapshot)
{
    int r = has(self, x, id, snapshot);

    if (r != 1)
        return r == CC_E_NOT_FOUND ? 0 : r;
    return LVM((struct lvm *)self, x, NULL, "lvremove", "-q", "-y",
               full(self, x->arena, snapshot_lv(x->arena, id, snapshot)));
}

static int needs(void *self, struct cc_provider_ctx *x, const char *id, const char *snapshot)
{
    int r = has(self, x, id, snapshot);

    if (r == 0)
        return cc_err_set(x->err, CC_E_NOT_FOUND, "volume %s has no snapshot %s", id, snapshot);
    return r == 1 ? 0 : r;
}

/* Cut off in the middle it is done again from the start: the snapshot is there still. */
static int l_restore(void *self, struct cc_provider_ctx *x, const char *id, const char *snapshot)
{
    int r = needs(self, x, id, snapshot);

    return r ? r
             : fill(x, device(self, x->arena, snapshot_lv(x->arena, id, snapshot)), "raw",
                    device(self, x->arena, volume_lv(x->arena, id)));
}

static int l_clone(void *self, struct cc_provider_ctx *x, const char *id, const char *snapshot, const char *clone)
{
    const char *from = volume_lv(x->arena, id);
    struct piece of, there;
    int r = settle(self, x, id, &of);

    if (r == 0 && snapshot)
        r = needs(self, x, id, snapshot);
    if (r == 0)
        r = look(self, x, clone, &there);
    if (r != 0 || there.volume)
        return r;
    if (snapshot)
        from = snapshot_lv(x->arena, id, snapshot);
    return make_from(self, x, clone, of.size, device(self, x->arena, from), "raw", of.size, there);
}

/* Of the pool where there is one, else of the volume group. */
static int l_room(void *self, struct cc_provider_ctx *x, struct cc_room *out)
{
    struct lvm *l = self;
    struct cc_tool_result t;
    double percent = 0;
    char *rest;
    int r;

    if (l->pool)
        r = LVM(l, x, &t, "lvs", "--noheadings", "--units", "b", "--nosuffix", "-o", "lv_size,data_percent",
                full(l, x->arena, l->pool));
    else
        r = LVM(l, x, &t, "vgs", "--noheadings", "--units", "b", "--nosuffix", "-o", "vg_free", l->vg);
    if (r != 0)
        return r;
    if (t.exit != 0)
        return cc_err_set(x->err, CC_E_IO, "%.*s", (int)strcspn(t.err + strspn(t.err, " "), "\n"),
                          t.err + strspn(t.err, " "));
    out->left = strtoull(t.out, &rest, 10);
    if (l->pool)
        percent = strtod(rest, NULL);
    out->left -= (uint64_t)((double)out->left * percent / 100);
    out->whole = !l->pool;
    return 0;
}

const struct cc_storage cc_storage_lvm = {
    .name = "lvm",
    .open = l_open,
    .close = l_close,
    .create = l_create,
    .remove = l_remove,
    .find = l_find,
    .list = l_list,
    .resize = l_resize,
    .snapshot = l_snapshot,
    .snapshot_remove = l_snapshot_remove,
    .snapshot_list = l_snapshot_list,
    .restore = l_restore,
    .clone = l_clone,
    .room = l_room,
};
