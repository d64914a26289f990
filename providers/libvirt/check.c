/* check.c - will it do? For an operator, before the first machine. */
#include "providers/libvirt/libvirt.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define GIB (1024ull * 1024 * 1024)

struct look {
    struct cc_libvirt *v;
    struct cc_provider_ctx *x;
    struct cc_check_list *out;
    virConnectPtr c;
};

#define SAY(l, what, state, ...) cc_check_say((l)->out, (l)->x->arena, what, state, __VA_ARGS__)

/* False: there is nobody to ask for more. */
static bool reachable(struct look *l)
{
    unsigned long version = 0;
    bool closed;

    if (!(l->c = cc_libvirt_connect(l->v, l->x))) {
        closed = l->x->err->code == CC_E_DENIED || strstr(l->x->err->message, strerror(EACCES));
        if (closed)
            SAY(l, "permissions", CC_CHECK_BAD, "%s is closed to this user (group libvirt?): %s", l->v->uri,
                l->x->err->message);
        else
            SAY(l, "libvirtd", CC_CHECK_BAD, "%s: is it installed, and does it run?", l->x->err->message);
        return false;
    }
    cc_vir.connect_version(l->c, &version);
    SAY(l, "libvirtd", CC_CHECK_OK, "it answers at %s, version %lu.%lu.%lu, with %s", l->v->uri, version / 1000000,
        version / 1000 % 1000, version % 1000, cc_vir.connect_type(l->c));
    return true;
}

static void machines(struct look *l)
{
    char *xml = cc_vir.domain_capabilities(l->c, NULL, l->v->arch, l->v->machine, l->v->virt, 0);

    if (!xml) {
        cc_libvirt_error(l->x->err, "asking what it can run");
        SAY(l, "machines", CC_CHECK_BAD, "no machines of the kind %s, %s, %s: %s%s", l->v->virt, l->v->arch,
            l->v->machine, l->x->err->message,
            strcmp(l->v->virt, "kvm") == 0 ? " (LIBVIRT_TYPE=qemu emulates them, slowly)" : "");
        return;
    }
    free(xml);
    if (strcmp(l->v->virt, "kvm") == 0)
        SAY(l, "machines", CC_CHECK_OK, "they run on this host's processors (kvm), as %s", l->v->machine);
    else
        SAY(l, "machines", CC_CHECK_WARN,
            "they are emulated (LIBVIRT_TYPE=qemu), which is slow: kvm, where a host has it");
}

/* qemu may be another user than we are. */
static void folders(struct look *l)
{
    char *path = cc_arena_strdup(l->x->arena, l->v->dir), *end = path + strlen(path);
    struct stat st;

    for (;;) {
        if (stat(path, &st) == 0 && !(st.st_mode & S_IXOTH)) {
            SAY(l, "folders", CC_CHECK_WARN,
                "%s is closed to other users: qemu must run as this user or as root (user, in qemu.conf), or be let "
                "through (chmod o+x)",
                path);
            return;
        }
        while (end > path && *end != '/')
            end--;
        if (end == path)
            break;
        *end = 0;
    }
    SAY(l, "folders", CC_CHECK_OK, "whoever qemu runs as may go to %s", l->v->dir);
}

static const char *some_images(struct look *l)
{
    const char *text = "";
    struct dirent *e;
    DIR *all = opendir(l->v->images);
    size_t n = 0;

    while (all && (e = readdir(all))) {
        const char *dot = strrchr(e->d_name, '.');

        if (dot && (strcmp(dot, ".qcow2") == 0 || strcmp(dot, ".raw") == 0) && n++ < 8)
            text = cc_arena_printf(l->x->arena, "%s%s%.*s", text, *text ? ", " : "", (int)(dot - e->d_name), e->d_name);
    }
    if (all)
        closedir(all);
    return text;
}

static void image(struct look *l)
{
    const char *path, *format, *others = some_images(l);
    struct cc_box_boot boot;
    uint64_t size;

    if (cc_libvirt_image(l->v, l->x, l->v->image, &path, &boot) != 0)
        SAY(l, "image", CC_CHECK_BAD, "%s; there %s%s", l->x->err->message, *others ? "are: " : "is none", others);
    else if (cc_image_facts(l->x, path, &format, &size) != 0)
        SAY(l, "image", CC_CHECK_BAD, "%s: %s", path, l->x->err->message);
    else
        SAY(l, "image", CC_CHECK_OK, "%s is here, a disk of %.1f GiB (%s)", path, (double)size / GIB, format);
}

static void network(struct look *l)
{
    virNetworkPtr n = cc_vir.network_by_name(l->c, l->v->network);

    if (!n)
        SAY(l, "network", CC_CHECK_BAD,
            "libvirt has no network %s (virsh net-list --all), so only machines without one start", l->v->network);
    else if (cc_vir.network_is_active(n) != 1)
        SAY(l, "network", CC_CHECK_BAD, "the network %s is off: virsh net-start %s; virsh net-autostart %s",
            l->v->network, l->v->network, l->v->network);
    else
        SAY(l, "network", CC_CHECK_OK, "%s is on", l->v->network);
    if (n)
        SAY(l, "firewall", CC_CHECK_WARN,
            "is this host's own to set: guests on %s may reach what listens on all of this host's addresses",
            l->v->network);
    if (n)
        cc_vir.network_free(n);
}

static void storage(struct look *l)
{
    uint64_t one = (uint64_t)(l->v->disk_gib + l->v->data_gib) * GIB;
    struct cc_room room;

    if (l->v->storage->room(l->v->store, l->x, &room) != 0)
        SAY(l, "storage", CC_CHECK_BAD, "%s: %s", l->v->storage->name, l->x->err->message);
    else if (room.left < one)
        SAY(l, "storage", room.whole ? CC_CHECK_BAD : CC_CHECK_WARN,
            "%s: %.1f GiB are left; a machine %s %u GiB (its disk and its volume)", l->v->storage->name,
            (double)room.left / GIB, room.whole ? "takes" : "may grow to", l->v->disk_gib + l->v->data_gib);
    else
        SAY(l, "storage", CC_CHECK_OK, "%s: %.1f GiB are left, for %" PRIu64 " machines of %u GiB%s",
            l->v->storage->name, (double)room.left / GIB, room.left / one, l->v->disk_gib + l->v->data_gib,
            room.whole ? "" : ", more while they are not full");
}

static void tools(struct look *l)
{
    static const struct {
        const char *program, *option, *package;
    } needed[] = { { "genisoimage", "-version", "genisoimage" },
                   { "qemu-img", "--version", "qemu-utils" },
                   { "ssh", "-V", "openssh-client" } };
    struct cc_tool_result t;
    const char *absent = "";
    size_t i;

    for (i = 0; i < sizeof(needed) / sizeof(*needed); i++)
        if (CC_TOOL(l->x, &t, needed[i].program, needed[i].option) != 0)
            absent = cc_arena_printf(l->x->arena, "%s%s%s (package %s)", absent, *absent ? ", " : "", needed[i].program,
                                     needed[i].package);
    if (*absent)
        SAY(l, "tools", CC_CHECK_BAD, "not on this host: %s", absent);
    else
        SAY(l, "tools", CC_CHECK_OK, "genisoimage, qemu-img and ssh are here");
}

int cc_libvirt_check(void *self, struct cc_provider_ctx *x, struct cc_check_list *out)
{
    struct look l = { .v = self, .x = x, .out = out };

    tools(&l);
    image(&l);
    storage(&l);
    folders(&l);
    if (reachable(&l)) {
        machines(&l);
        network(&l);
        cc_vir.connect_close(l.c);
    }
    return cc_call_check(x->call, x->err);
}
