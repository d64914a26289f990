/* storage.h - where the disks of virtual machines lie: the contract of a storage driver.
 *
 * A volume is a block of bytes that a hypervisor opens by a path: a file in a
 * directory (dir.c) or a logical volume (lvm.c).  Straight-line C that may
 * block, run on the pool of the provider that uses it; knows no machine.
 * Idempotent like a provider's driver: create of what is there finds it,
 * removal of what is not there is a success, and a failed create leaves
 * nothing; one that ran out of time, what the next goes on with and removal
 * takes.  No volume ever shows what another one held.  Names are cc_volume_id_ok.  Answers live in the call's arena.
 * Thread: open and close on the loop; the calls on any worker, several at
 * once (for one volume the caller serializes them).
 */
#ifndef CC_STORAGE_H
#define CC_STORAGE_H

#include "providers/provider.h"
#include "providers/tool.h"

enum cc_disk_format { CC_DISK_RAW, CC_DISK_QCOW2 };

struct cc_disk {
    const char *id, *path;
    enum cc_disk_format format;
    bool block;    /* a block device, not a file */
    uint64_t size; /* bytes that a guest sees */
};
struct cc_disk_list {
    struct cc_disk *v;
    size_t n;
};

/* What is left for volumes. */
struct cc_room {
    uint64_t left; /* bytes */
    bool whole;    /* a volume takes all its size when it is made; else what is written to it */
};

struct cc_storage {
    const char *name;

    int (*open)(const struct cc_pairs *settings, void **self, struct cc_err *err);
    void (*close)(void *self);

    /* `image`: an absolute path whose content it begins with, or NULL: empty. A size below the image's is the image's. */
    int (*create)(void *self, struct cc_provider_ctx *x, const char *id, uint64_t size, const char *image,
                  struct cc_disk *out);
    int (*remove)(void *self, struct cc_provider_ctx *x, const char *id); /* and its snapshots; in use: "conflict" */
    int (*find)(void *self, struct cc_provider_ctx *x, const char *id, struct cc_disk *out); /* "not_found" */
    int (*list)(void *self, struct cc_provider_ctx *x, struct cc_disk_list *out);
    /* The size that it has: finishes what was cut off. So before a guest boots from what may have grown. */
    int (*resize)(void *self, struct cc_provider_ctx *x, const char *id, uint64_t size); /* smaller: "invalid" */

    /* Of a volume that nobody writes to. What it takes grows with what changes afterwards, never fixed beforehand. */
    int (*snapshot)(void *self, struct cc_provider_ctx *x, const char *id, const char *snapshot);
    int (*snapshot_remove)(void *self, struct cc_provider_ctx *x, const char *id, const char *snapshot);
    int (*snapshot_list)(void *self, struct cc_provider_ctx *x, const char *id, struct cc_snapshot_list *out);
    int (*restore)(void *self, struct cc_provider_ctx *x, const char *id,
                   const char *snapshot); /* the snapshot stays */
    /* `snapshot` NULL: as the volume is now. The clone is a volume of its own: what it came from may go. */
    int (*clone)(void *self, struct cc_provider_ctx *x, const char *id, const char *snapshot, const char *clone);
    int (*room)(void *self, struct cc_provider_ctx *x, struct cc_room *out);
};

extern const struct cc_storage cc_storage_dir, cc_storage_lvm;
const struct cc_storage *cc_storage_find(const char *name); /* or NULL */

/* image.c: the format of an image and how large what is in it is, by qemu-img. [worker] */
int cc_image_facts(struct cc_provider_ctx *x, const char *image, const char **format, uint64_t *size);

#endif
