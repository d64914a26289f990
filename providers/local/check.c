/* check.c - will it do? For an operator, before the first machine. What was looked at when the provider was opened, in words. */
#include "providers/local/local.h"

#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

#define GIB (1024.0 * 1024 * 1024)

struct look {
    const struct cc_local *l;
    struct cc_provider_ctx *x;
    struct cc_check_list *out;
};

#define SAY(k, what, state, ...) cc_check_say((k)->out, (k)->x->arena, what, state, __VA_ARGS__)

static void machines(struct look *k)
{
    if (k->l->no_machines[0])
        SAY(k, "machines", CC_CHECK_BAD, "this host can make none: %s", k->l->no_machines);
    else
        SAY(k, "machines", CC_CHECK_OK, "this host has all the namespaces that they need");
}

static void permissions(struct look *k)
{
    if (k->l->root)
        SAY(k, "permissions", CC_CHECK_OK, "we are root: each machine has a range of user ids of its own, %lu in all",
            k->l->slots);
    else
        SAY(k, "permissions", CC_CHECK_WARN,
            "we are an ordinary user, whose rights a break-out from a machine would have; as root each machine has "
            "user "
            "ids of its own");
}

static void network(struct look *k)
{
    if (k->l->no_nat[0])
        SAY(k, "network", CC_CHECK_BAD, "machines with the network nat, which is the default, are refused: %s",
            k->l->no_nat);
    else
        SAY(k, "network", CC_CHECK_OK, "%s connects machines; of this host they reach nothing, of its networks all",
            k->l->pasta);
}

static void limits(struct look *k)
{
    static const char *const names[CC_CG_COUNT] = {
        [CC_CG_MEMORY] = "memory", [CC_CG_PIDS] = "processes", [CC_CG_CPU] = "processors"
    };
    const struct cc_cgroups *cg = &k->l->cg;
    bool all = true;
    int i;

    for (i = 0; i < CC_CG_COUNT; i++)
        if (!cg->base[i][0]) {
            all = false;
            SAY(k, "limits", CC_CHECK_WARN, "%s of a machine cannot be limited: %s", names[i], cg->why[i]);
        }
    if (all)
        SAY(k, "limits", CC_CHECK_OK, "memory, processors and processes of a machine are limited (cgroups v%d)",
            cg->v2 ? 2 : 1);
}

static void disk(struct look *k)
{
    struct statvfs fs;

    if (statvfs(k->l->dir, &fs) != 0)
        SAY(k, "disk", CC_CHECK_BAD, "%s cannot be looked at", k->l->dir);
    else
        SAY(k, "disk", CC_CHECK_WARN,
            "%.1f GiB are left at %s, and no machine is held to a size: one may take all of it",
            (double)fs.f_bavail * (double)fs.f_frsize / GIB, k->l->dir);
}

static void ssh(struct look *k)
{
    const char *sshd = cc_local_sshd(k->l, k->x->arena, NULL);

    if (sshd)
        SAY(k, "ssh", CC_CHECK_OK, "%s serves machines that were given keys", sshd);
    else
        SAY(k, "ssh", CC_CHECK_WARN, "no sshd is here (package openssh-server): machines have terminals, and no ssh");
}

int cc_local_check(void *self, struct cc_provider_ctx *x, struct cc_check_list *out)
{
    struct look k = { self, x, out };

    machines(&k);
    permissions(&k);
    network(&k);
    limits(&k);
    disk(&k);
    ssh(&k);
    return cc_call_check(x->call, x->err);
}
