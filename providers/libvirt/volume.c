/* volume.c - the libvirt driver's calls about volumes: the storage's, where no machine stands in the way. */
#include "providers/libvirt/libvirt.h"

#include "providers/files.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GIB (1024ull * 1024 * 1024)

/* Of a machine's root disk, which is no volume of anybody's. */
static bool is_root(const char *volume)
{
    size_t n = strlen(volume);

    return n > 6 && strcmp(volume + n - 6, "..root") == 0;
}

static bool has(const struct cc_box *b, const char *volume)
{
    size_t i;

    for (i = 0; i < b->n_volumes; i++)
        if (strcmp(b->volumes[i].id, volume) == 0)
            return true;
    return false;
}

int cc_libvirt_volume_free(struct cc_provider_ctx *x, virConnectPtr c, const char *volume, const char *me,
                           bool running_only)
{
    virDomainPtr *all;
    int i, n = cc_vir.list_all_domains(c, &all, 0), r = 0;

    if (n < 0)
        return cc_libvirt_error(x->err, "looking who has the volume");
    for (i = 0; i < n; i++) {
        enum cc_machine_state state;
        struct cc_box b;

        if (r >= 0 && (r = cc_domain_listed(x, all[i], &b, &state)) == 1 && strcmp(b.short_id, me) != 0 &&
            (!running_only || state != CC_M_STOPPED) && has(&b, volume))
            r = cc_err_set(x->err, CC_E_CONFLICT, "volume %s is in use by cc-%s", volume, b.short_id);
        cc_vir.domain_free(all[i]);
    }
    free(all);
    return r < 0 ? r : 0;
}

static void tell_volume(const struct cc_disk *d, const char *user, struct cc_volume_info *out)
{
    *out = (struct cc_volume_info){
        .id = d->id, .size_gib = (uint32_t)((d->size + GIB - 1) / GIB), .used_by = user, .size_enforced = true
    };
}

int cc_libvirt_volume_create(void *self, struct cc_provider_ctx *x, const struct cc_volume_spec *spec,
                             struct cc_volume_info *out)
{
    struct cc_libvirt *v = self;
    struct cc_disk disk;
    int r =
        v->storage->create(v->store, x, spec->id, (spec->size_gib ? spec->size_gib : v->data_gib) * GIB, NULL, &disk);

    if (r == 0)
        tell_volume(&disk, NULL, out);
    return r;
}

int cc_libvirt_volume_list(void *self, struct cc_provider_ctx *x, struct cc_volume_list *out)
{
    struct cc_libvirt *v = self;
    struct cc_disk_list disks;
    size_t i;
    int r = v->storage->list(v->store, x, &disks);

    *out = (struct cc_volume_list){ NULL, 0 };
    if (r != 0)
        return r;
    out->v = cc_arena_alloc(x->arena, (disks.n + 1) * sizeof(*out->v));
    for (i = 0; i < disks.n; i++)
        if (!is_root(disks.v[i].id))
            tell_volume(&disks.v[i], NULL, &out->v[out->n++]);
    return 0;
}

static const char *lock_name(struct cc_arena *a, const char *id) { return cc_arena_printf(a, "volume-%s", id); }

/* The volume's lock, with no machine (running_only: that runs) having it: a descriptor whose close ends it, or an error. */
static int hold_volume(struct cc_libvirt *v, struct cc_provider_ctx *x, const char *id, bool running_only)
{
    int fd = cc_name_lock(v->dir, lock_name(x->arena, id), x->call, x->err);
    virConnectPtr c;
    int r;

    if (fd < 0)
        return fd;
    c = cc_libvirt_connect(v, x);
    r = c ? cc_libvirt_volume_free(x, c, id, "", running_only) : x->err->code;
    if (c)
        cc_vir.connect_close(c);
    if (r == 0)
        return fd;
    close(fd);
    return r;
}

int cc_libvirt_volume_delete(void *self, struct cc_provider_ctx *x, const char *id)
{
    struct cc_libvirt *v = self;
    int fd = hold_volume(v, x, id, false), r;

    if (fd < 0)
        return fd;
    r = v->storage->remove(v->store, x, id);
    cc_name_unlock_gone(v->dir, lock_name(x->arena, id), fd);
    return r;
}

int cc_libvirt_snapshot_create(void *self, struct cc_provider_ctx *x, const char *volume, const char *snapshot,
                               struct cc_snapshot *out)
{
    struct cc_libvirt *v = self;
    struct cc_snapshot_list all;
    size_t i;
    int fd = hold_volume(v, x, volume, true), r;

    if (fd < 0)
        return fd;
    r = v->storage->snapshot(v->store, x, volume, snapshot);
    if (r == 0)
        r = v->storage->snapshot_list(v->store, x, volume, &all);
    for (i = 0; r == 0 && i < all.n; i++)
        if (strcmp(all.v[i].id, snapshot) == 0)
            *out = all.v[i];
    close(fd);
    return r;
}

int cc_libvirt_snapshot_delete(void *self, struct cc_provider_ctx *x, const char *volume, const char *snapshot)
{
    struct cc_libvirt *v = self;
    int fd = hold_volume(v, x, volume, true), r;

    if (fd < 0)
        return fd;
    r = v->storage->snapshot_remove(v->store, x, volume, snapshot);
    close(fd);
    return r;
}

int cc_libvirt_snapshot_list(void *self, struct cc_provider_ctx *x, const char *volume, struct cc_snapshot_list *out)
{
    struct cc_libvirt *v = self;

    return v->storage->snapshot_list(v->store, x, volume, out);
}

int cc_libvirt_volume_restore(void *self, struct cc_provider_ctx *x, const char *volume, const char *snapshot)
{
    struct cc_libvirt *v = self;
    int fd = hold_volume(v, x, volume, true), r;

    if (fd < 0)
        return fd;
    r = v->storage->restore(v->store, x, volume, snapshot);
    close(fd);
    return r;
}

int cc_libvirt_volume_clone(void *self, struct cc_provider_ctx *x, const char *volume, const char *snapshot,
                            const char *clone, struct cc_volume_info *out)
{
    struct cc_libvirt *v = self;
    struct cc_disk disk;
    int fd = hold_volume(v, x, volume, true), r;

    if (fd < 0)
        return fd;
    r = v->storage->clone(v->store, x, volume, snapshot, clone);
    if (r == 0)
        r = v->storage->find(v->store, x, clone, &disk);
    if (r == 0)
        tell_volume(&disk, NULL, out);
    close(fd);
    return r;
}
