/* snapshots.c - a machine's own snapshots: of its disk, and of the volume that was made for it, together. */
#include "providers/libvirt/libvirt.h"

#include <string.h>

#define PREFIX "machine." /* before their names at the storage, where volumes have snapshots of their own */

static const char *kept_as(struct cc_arena *a, const char *name) { return cc_arena_printf(a, PREFIX "%s", name); }

int cc_libvirt_forget_snapshots(struct cc_libvirt *v, struct cc_provider_ctx *x, const char *volume)
{
    struct cc_snapshot_list list;
    size_t i;
    int r = v->storage->snapshot_list(v->store, x, volume, &list);

    for (i = 0; r == 0 && i < list.n; i++)
        if (strncmp(list.v[i].id, PREFIX, strlen(PREFIX)) == 0)
            r = v->storage->snapshot_remove(v->store, x, volume, list.v[i].id);
    return r == CC_E_NOT_FOUND ? 0 : r;
}

typedef int (*snapshot_fn)(void *store, struct cc_provider_ctx *x, const char *volume, const char *snapshot);

/* Of its own volume, and last of its disk: a snapshot of the machine is there when the disk's is. A disk that has grown since
 * then has its size of now again after a restore. */
static int on_disks(void *self, struct cc_provider_ctx *x, const char *provider_id, snapshot_fn fn, const char *name)
{
    struct cc_libvirt *v = self;
    struct cc_hold h;
    int r = cc_libvirt_take(v, x, provider_id, &h);

    if (r != 0)
        return r;
    if (h.state != CC_M_STOPPED)
        r = cc_err_set(x->err, CC_E_STATE, "%s runs: stop it first", provider_id);
    if (r == 0 && h.box.own_volume)
        r = fn(v->store, x, provider_id, kept_as(x->arena, name));
    if (r == 0)
        r = fn(v->store, x, cc_libvirt_root(x->arena, h.box.short_id), kept_as(x->arena, name));
    if (r == 0)
        r = cc_libvirt_grow(v, x, &h.box, h.box.disk_gib);
    cc_libvirt_let_go(&h);
    return r;
}

int cc_libvirt_machine_snapshot(void *self, struct cc_provider_ctx *x, const char *provider_id, const char *name)
{
    return on_disks(self, x, provider_id, ((struct cc_libvirt *)self)->storage->snapshot, name);
}

int cc_libvirt_machine_snapshot_delete(void *self, struct cc_provider_ctx *x, const char *provider_id, const char *name)
{
    return on_disks(self, x, provider_id, ((struct cc_libvirt *)self)->storage->snapshot_remove, name);
}

int cc_libvirt_machine_restore(void *self, struct cc_provider_ctx *x, const char *provider_id, const char *name)
{
    return on_disks(self, x, provider_id, ((struct cc_libvirt *)self)->storage->restore, name);
}
