/* conf.c - the settings of the provider libvirt. */
#include "providers/libvirt/libvirt.h"

#include "host/script/carried.h"
#include "host/sys/mem.h"
#include "providers/files.h"
#include "providers/ssh.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int number(const struct cc_pairs *p, const char *name, uint32_t other, uint32_t most, uint32_t *out,
                  struct cc_err *err)
{
    const char *s = cc_pairs_get(p, name, NULL);
    char *end = NULL;
    unsigned long n = s ? strtoul(s, &end, 10) : other;

    if (s && (!*s || *end || n > most))
        return cc_err_set(err, CC_E_INVALID, "libvirt: %s: a number up to %u expected", name, most);
    *out = (uint32_t)n;
    return 0;
}

static int known(const struct cc_pairs *p, struct cc_err *err)
{
    static const char *const names[] = { "uri",      "dir",     "images",     "virt",         "arch",
                                         "machine",  "network", "image",      "storage",      "vg",
                                         "pool",     "volumes", "lvm_config", "vcpu",         "memory_mib",
                                         "disk_gib", "shell",   "data_gib",   "stop_grace_ms" };
    size_t i, j;

    for (i = 0; i < p->n; i++) {
        for (j = 0; j < sizeof(names) / sizeof(*names) && strcmp(names[j], p->v[i].key) != 0; j++) {
        }
        if (j == sizeof(names) / sizeof(*names))
            return cc_err_set(err, CC_E_INVALID, "libvirt has no setting \"%.60s\"", p->v[i].key);
    }
    return 0;
}

static char *copy(const struct cc_pairs *p, const char *name, const char *other)
{
    const char *s = cc_pairs_get(p, name, other);

    return s ? cc_xstrdup(s) : NULL;
}

static int make_dirs(const struct cc_libvirt *v, struct cc_err *err)
{
    static const char *const leaves[] = { "", "/machines", "/locks", "/bin" };
    char path[512];
    size_t i;

    for (i = 0; i < sizeof(leaves) / sizeof(*leaves); i++) {
        snprintf(path, sizeof(path), "%s%s", v->dir, leaves[i]);
        if (mkdir(path, 0711) != 0 && errno != EEXIST)
            return cc_err_sys(err, errno, "making %s", path);
    }
    return 0;
}

int cc_libvirt_open_storage(struct cc_libvirt *v, const struct cc_pairs *p, struct cc_err *err)
{
    const char *name = cc_pairs_get(p, "storage", "dir");
    char *dir = cc_xasprintf("%s/volumes", v->dir);
    struct cc_pair list[] = { { "dir", cc_pairs_get(p, "volumes", dir) },
                              { "vg", cc_pairs_get(p, "vg", NULL) },
                              { "pool", cc_pairs_get(p, "pool", NULL) },
                              { "lvm_config", cc_pairs_get(p, "lvm_config", NULL) } };
    struct cc_pairs settings = { list, 4 };
    int r;

    v->storage = cc_storage_find(name);
    r = v->storage ? v->storage->open(&settings, &v->store, err)
                   : cc_err_set(err, CC_E_INVALID, "libvirt: storage: dir or lvm expected, not %.60s", name);
    free(dir);
    return r;
}

int cc_libvirt_settle(struct cc_libvirt *v, const struct cc_pairs *p, struct cc_err *err)
{
    uint32_t milli;
    int r = known(p, err);

    if (r == 0)
        r = cc_dir_setting(cc_pairs_get(p, "dir", NULL), CC_SSH_DRIVER_DIR_MAX, CC_SSH_DIR_WHY, &v->dir, err);
    if (r != 0)
        return r;
    v->uri = copy(p, "uri", "qemu:///system");
    v->images = cc_pairs_get(p, "images", NULL) ? copy(p, "images", NULL) : cc_xasprintf("%s/images", v->dir);
    v->virt = copy(p, "virt", "kvm");
    v->arch = copy(p, "arch", "x86_64");
    v->machine = copy(p, "machine", "q35");
    v->network = copy(p, "network", "default");
    v->image = copy(p, "image", "claude-instance");
    v->shell = copy(p, "shell", NULL);
    if ((r = number(p, "memory_mib", 2048, 64u * 1024 * 1024, &v->memory_mib, err)) != 0 ||
        (r = number(p, "disk_gib", 20, 1000000, &v->disk_gib, err)) != 0 ||
        (r = number(p, "data_gib", 20, 1000000, &v->data_gib, err)) != 0 ||
        (r = number(p, "stop_grace_ms", 30000, 3600000, &v->stop_grace_ms, err)) != 0 ||
        (r = number(p, "vcpu", 1, 1024, &milli, err)) != 0)
        return r;
    v->vcpu = milli;
    if (strcmp(v->virt, "kvm") != 0 && strcmp(v->virt, "qemu") != 0)
        return cc_err_set(err, CC_E_INVALID, "libvirt: virt: kvm, or qemu (emulated, slow) expected");
    if ((r = make_dirs(v, err)) == 0 && (r = cc_way_keys(v, err)) == 0) {
        char *bin = cc_xasprintf("%s/bin", v->dir);

        r = cc_carried_install(bin, "cchost-agent", &v->agent, err);
        free(bin);
    }
    return r;
}
