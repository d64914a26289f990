/* check.c - will it do? For an operator, before the first machine. */
#include "providers/docker/docker.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct look {
    struct cc_docker *d;
    struct cc_provider_ctx *x;
    struct cc_check_list *out;
    json_t *info;
};

#define SAY(l, what, state, ...) cc_check_say((l)->out, (l)->x->arena, what, state, __VA_ARGS__)

/* False: there is nobody to ask for more. */
static bool reachable(struct look *l)
{
    const char *prefix, *path = l->d->hosts_socket;
    struct stat st;

    if (path && stat(path, &st) != 0)
        return SAY(l, "dockerd", CC_CHECK_BAD, "%s: %s: is dockerd installed, and does it run?", path, strerror(errno)),
               false;
    if (path && access(path, R_OK | W_OK) != 0)
        return SAY(l, "permissions", CC_CHECK_BAD, "%s is closed to this user: %s (group docker?)", path,
                   strerror(errno)),
               false;
    if (cc_docker_version(l->d, l->x, &prefix) != 0 ||
        cc_docker_get(l->d, l->x, "/info", "asking about its host", &l->info) != 0)
        return SAY(l, "dockerd", CC_CHECK_BAD, "%s", l->x->err->message), false;
    SAY(l, "dockerd", CC_CHECK_OK, "it answers, version %s, API %s", cc_docker_text(l->info, "ServerVersion"),
        prefix + 1);
    return true;
}

static void limits(struct look *l)
{
    struct cc_docker_host h;

    if (cc_docker_host(l->d, l->x, &h) != 0) {
        SAY(l, "limits", CC_CHECK_BAD, "%s", l->x->err->message);
        return;
    }
    if (h.memory && h.cpu && h.pids)
        SAY(l, "limits", CC_CHECK_OK, "memory, processors and processes of a machine are limited (cgroups v%s)",
            *cc_docker_text(l->info, "CgroupVersion") ? cc_docker_text(l->info, "CgroupVersion") : "1");
    else
        SAY(l, "limits", CC_CHECK_WARN, "dockerd's host cannot limit:%s%s%s", h.memory ? "" : " memory",
            h.cpu ? "" : " processors", h.pids ? "" : " processes");
    if (h.quota)
        SAY(l, "disk", CC_CHECK_OK, "the storage driver %s may hold machines to a size", h.storage);
    else
        SAY(l, "disk", CC_CHECK_WARN,
            "the storage driver %s holds no machine to a size: one may fill the disk of all (overlay2 "
            "on XFS with pquota could)",
            h.storage);
}

static void image(struct look *l)
{
    json_t *doc;
    int r = cc_docker_get(l->d, l->x, cc_arena_printf(l->x->arena, "/images/%s/json", l->d->image),
                          "looking for the image", &doc);

    if (r == 0) {
        json_decref(doc);
        SAY(l, "image", CC_CHECK_OK, "%s is here", l->d->image);
    } else if (r == CC_E_NOT_FOUND) {
        SAY(l, "image", CC_CHECK_WARN,
            "%s is not here: build it (providers/image/Dockerfile), or the first machine pulls it", l->d->image);
    } else {
        SAY(l, "image", CC_CHECK_BAD, "%s", l->x->err->message);
    }
}

static void fence(struct look *l)
{
    if (!l->d->near)
        SAY(l, "firewall", CC_CHECK_WARN,
            "the firewall of dockerd's host is not ours to set: machines may reach what listens there");
    else if (!l->d->fence)
        SAY(l, "firewall", CC_CHECK_WARN, "firewall=off: machines reach what listens on this host's addresses");
    else if (geteuid() != 0)
        SAY(l, "firewall", CC_CHECK_BAD,
            "only root can keep machines from this host's own services (or set firewall=off)");
    else if (cc_docker_fence_stands(l->d, l->x))
        SAY(l, "firewall", CC_CHECK_OK, "machines are kept from this host's own services");
    else if (l->x->err->code == CC_E_NOT_FOUND)
        SAY(l, "firewall", CC_CHECK_BAD, "iptables is not installed (or set firewall=off)");
    else
        SAY(l, "firewall", CC_CHECK_OK, "the rules that keep machines from this host come with the first machine");
}

static void security(struct look *l)
{
    const json_t *v;
    size_t i;
    bool seccomp = false;

    json_array_foreach (json_object_get(l->info, "SecurityOptions"), i, v)
        seccomp |= json_string_value(v) && strstr(json_string_value(v), "seccomp") != NULL;
    if (seccomp)
        SAY(l, "seccomp", CC_CHECK_OK, "dockerd filters the system calls of machines");
    else
        SAY(l, "seccomp", CC_CHECK_WARN, "dockerd filters no system calls of machines");
}

int cc_docker_check(void *self, struct cc_provider_ctx *x, struct cc_check_list *out)
{
    struct look l = { .d = self, .x = x, .out = out };

    if (!reachable(&l))
        return 0;
    limits(&l);
    image(&l);
    cc_docker_net_check(self, x, out);
    fence(&l);
    security(&l);
    json_decref(l.info);
    return cc_call_check(x->call, x->err);
}
