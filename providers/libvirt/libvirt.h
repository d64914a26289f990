/* libvirt.h - the parts of the `libvirt` driver (libvirt.c ties them together).
 *
 * A machine is the domain cc-SHORT, whose uuid is the record's; what else of
 * its description outlives this process stands in the domain's metadata
 * (box.c).  Its disks are volumes of the storage driver (providers/storage):
 * "cc-SHORT..root", and "cc-SHORT" at /claude-data unless one was named there.
 *
 * DIR/machines/SHORT/  seed.iso     what the guest reads at its boots (seed.c)
 *                      port.sock    qemu's end of the virtio port that leads into the guest
 *                      host_key, host_key.pub   what the guest's sshd proves itself by, there
 *                      known_hosts, ctl, agent.sock   our connection by that way (providers/ssh.h)
 *                      console.log  what its serial console said
 * DIR/locks/           one operation at a time on a machine, over all processes
 * DIR/bin/             the agent, whose `dial` is ssh's way to port.sock
 * DIR/key, key.pub     what this host logs in to guests with
 */
#ifndef CC_LIBVIRT_H
#define CC_LIBVIRT_H

#include "providers/libvirt/lib.h"
#include "providers/provider.h"
#include "providers/storage/storage.h"

#include <pthread.h>

#define CC_OWN_VOLUME_AT "/claude-data"

struct cc_libvirt {
    char *uri, *dir, *images, *virt, *arch, *machine, *network, *image, *agent, *shell;
    uint32_t memory_mib, disk_gib, data_gib, stop_grace_ms;
    double vcpu;
    const struct cc_storage *storage;
    void *store;
    pthread_mutex_t lock; /* of `conn` */
    virConnectPtr conn;   /* NULL: not connected */
    struct cc_capabilities caps;
    struct cc_unenforced missing[4];
};

/* A disk of a machine beside its root. */
struct cc_box_volume {
    const char *id, *path; /* where it stands in the guest */
};

/* A machine as its domain tells it; strings live in the arena. */
struct cc_box {
    const char *short_id, *id, *name, *owner, *image;
    double vcpu;
    uint32_t memory_mib, disk_gib;
    enum cc_network network;
    struct cc_vpc_spec vpc; /* its bridge, mac and plain */
    bool own_volume;        /* create made cc-SHORT */
    bool keys;              /* it was given keys of ssh */
    bool whole;             /* this libvirt has no control group to hold it to a part of a processor */
    bool made;              /* its first start came to its end */
    int64_t started_at;
    struct cc_box_volume volumes[CC_MOUNTS_MAX + 1];
    size_t n_volumes;
};

/* A file that came with an image's disk, for guests that boot without a loader; NULL: none. */
struct cc_box_boot {
    const char *kernel, *initrd, *cmdline;
};

/* ---- box.c */
/* The domain's XML; `root` and `disks` (in the order of b->volumes) from the storage driver. In the arena. */
const char *cc_box_xml(const struct cc_libvirt *v, struct cc_arena *a, const struct cc_box *b,
                       const struct cc_box_boot *boot, const struct cc_disk *root, const struct cc_disk *disks);
/* False: no machine of ours. */
bool cc_box_read(struct cc_arena *a, const char *xml, struct cc_box *out);
/* Serial number of a volume's disk, by which the guest finds it: /dev/disk/by-id/virtio-SERIAL. */
const char *cc_box_serial(struct cc_arena *a, const char *volume);

/* From the XML of a domain that runs: the port on which its VNC speaks WebSocket; 0: none. */
uint16_t cc_box_console_port(const char *xml);
/* The domain's graphics alone, with that password, good until then (unix s); NULL: it has none. In the arena. */
const char *cc_box_graphics(struct cc_arena *a, const char *xml, const char *password, int64_t until);

/* ---- screen.c: what a machine shows */
int cc_libvirt_console(void *self, struct cc_provider_ctx *x, const char *provider_id, uint32_t seconds,
                       struct cc_console *out);
int cc_libvirt_screenshot(void *self, struct cc_provider_ctx *x, const char *provider_id, struct cc_picture *out);
/* A picture in PPM (P6, as qemu takes it) as PNG. In the arena. */
int cc_png_of_ppm(struct cc_provider_ctx *x, const char *ppm, size_t n, struct cc_picture *out);

/* ---- seed.c: writes DIR/machines/SHORT/seed.iso. */
int cc_seed_write(const struct cc_libvirt *v, struct cc_provider_ctx *x, const struct cc_box *b,
                  const struct cc_machine_spec *spec);

/* ---- way.c: into the guest, by its virtio port */
int cc_way_keys(const struct cc_libvirt *v, struct cc_err *err); /* DIR/key, made once */
int cc_way_host_key(const struct cc_libvirt *v, struct cc_provider_ctx *x, const char *short_id); /* likewise */
int cc_way_await(const struct cc_libvirt *v, struct cc_provider_ctx *x, virDomainPtr d, const char *short_id);
int cc_way_open(const struct cc_libvirt *v, struct cc_provider_ctx *x, const char *short_id, const char **socket);
void cc_way_close(const struct cc_libvirt *v, struct cc_provider_ctx *x, const char *short_id);

/* What a call works with: the lock of a machine, the connection, the domain (NULL where there is none). */
struct cc_hold {
    int fd;
    virConnectPtr c;
    virDomainPtr d;
    struct cc_box box;
    enum cc_machine_state state;
};

/* ---- conf.c */
int cc_libvirt_settle(struct cc_libvirt *v, const struct cc_pairs *settings, struct cc_err *err);
int cc_libvirt_open_storage(struct cc_libvirt *v, const struct cc_pairs *settings, struct cc_err *err);

/* ---- snapshots.c */
int cc_libvirt_machine_snapshot(void *self, struct cc_provider_ctx *x, const char *provider_id, const char *name);
int cc_libvirt_machine_snapshot_delete(void *self, struct cc_provider_ctx *x, const char *provider_id,
                                       const char *name);
int cc_libvirt_machine_restore(void *self, struct cc_provider_ctx *x, const char *provider_id, const char *name);
/* The machine's own snapshots of its volume, which outlives it. */
int cc_libvirt_forget_snapshots(struct cc_libvirt *v, struct cc_provider_ctx *x, const char *volume);

/* ---- libvirt.c */
/* By the provider's name of it; nothing is held unless it is there. */
int cc_libvirt_take(struct cc_libvirt *v, struct cc_provider_ctx *x, const char *provider_id, struct cc_hold *h);
void cc_libvirt_let_go(struct cc_hold *h);
/* A disk only grows; the guest sees it when it boots. */
int cc_libvirt_grow(struct cc_libvirt *v, struct cc_provider_ctx *x, struct cc_box *b, uint32_t disk_gib);
const char *cc_libvirt_root(struct cc_arena *a, const char *short_id); /* the name of a machine's disk */
/* IMAGE.qcow2 or .raw in the directory of images; with IMAGE.kernel it boots that, with .initrd and .cmdline. */
int cc_libvirt_image(const struct cc_libvirt *v, struct cc_provider_ctx *x, const char *image, const char **disk,
                     struct cc_box_boot *boot);

/* ---- check.c */
int cc_libvirt_check(void *self, struct cc_provider_ctx *x, struct cc_check_list *out);

/* ---- domain.c: libvirt's calls, with its errors as ours */
/* A connection, opened again when the last one is broken; NULL: x->err. Given back with cc_vir.connect_close. */
virConnectPtr cc_libvirt_connect(struct cc_libvirt *v, struct cc_provider_ctx *x);
/* From libvirt's last error, which the next call forgets, also one that gives something back: so before any. */
int cc_libvirt_error(struct cc_err *err, const char *what);
virDomainPtr cc_domain_find(virConnectPtr c, struct cc_provider_ctx *x, const char *short_id); /* NULL: x->err */
int cc_domain_read(struct cc_provider_ctx *x, virDomainPtr d, struct cc_box *out, enum cc_machine_state *state);
/* Of a list: 1, 0: none of ours, or gone since, or an error: then the list is none. */
int cc_domain_listed(struct cc_provider_ctx *x, virDomainPtr d, struct cc_box *out, enum cc_machine_state *state);
/* The domain of a machine that runs or is suspended; else NULL. */
virDomainPtr cc_domain_awake(virConnectPtr c, struct cc_provider_ctx *x, const char *provider_id);
int cc_domain_end(struct cc_libvirt *v, struct cc_provider_ctx *x, virDomainPtr d, uint32_t grace_ms);
int cc_domain_is_off(struct cc_provider_ctx *x, virDomainPtr d); /* 1, also when it is gone; 0: not; or an error */

/* ---- volume.c: the calls of provider.h */
/* "conflict": a machine other than `me` has this volume (running_only: and does not stand still). Who cannot look is told so. */
int cc_libvirt_volume_free(struct cc_provider_ctx *x, virConnectPtr c, const char *volume, const char *me,
                           bool running_only);
int cc_libvirt_volume_create(void *self, struct cc_provider_ctx *x, const struct cc_volume_spec *spec,
                             struct cc_volume_info *out);
int cc_libvirt_volume_delete(void *self, struct cc_provider_ctx *x, const char *id);
int cc_libvirt_volume_list(void *self, struct cc_provider_ctx *x, struct cc_volume_list *out);
int cc_libvirt_snapshot_create(void *self, struct cc_provider_ctx *x, const char *volume, const char *snapshot,
                               struct cc_snapshot *out);
int cc_libvirt_snapshot_delete(void *self, struct cc_provider_ctx *x, const char *volume, const char *snapshot);
int cc_libvirt_snapshot_list(void *self, struct cc_provider_ctx *x, const char *volume, struct cc_snapshot_list *out);
int cc_libvirt_volume_restore(void *self, struct cc_provider_ctx *x, const char *volume, const char *snapshot);
int cc_libvirt_volume_clone(void *self, struct cc_provider_ctx *x, const char *volume, const char *snapshot,
                            const char *clone, struct cc_volume_info *out);

#endif
