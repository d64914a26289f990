/* mock.c - networks that are not there, for tests and trying out.
 *
 * What a real switch would keep stands in files, and so outlives the process: DIR/VPC/flows is the table in force, as flows.c
 * writes it, with every port of the plan plugged in; DIR/VPC/port.ID is there for one that port_add has plugged in.
 * Settings: dir.  What goes wrong is made to go wrong by whoever has the directory.
 */
#include "providers/network/network.h"

#include "host/sys/mem.h"
#include "providers/files.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PORT "port."
enum { TABLE_MAX = 64 * 1024 * 1024 };

struct mock {
    char *dir;
};

static void m_close(void *self)
{
    struct mock *m = self;

    free(m->dir);
    free(m);
}

static int m_open(const struct cc_pairs *settings, void **self, struct cc_err *err)
{
    const char *dir = cc_pairs_get(settings, "dir", NULL);
    struct mock *m;

    if (!dir || dir[0] != '/' || settings->n != 1)
        return cc_err_set(err, CC_E_INVALID, "network mock: dir expected, an absolute path, and nothing else");
    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        return cc_err_sys(err, errno, "making %s", dir);
    m = cc_xcalloc(1, sizeof(*m));
    m->dir = cc_xstrdup(dir);
    *self = m;
    return 0;
}

/* As a switch that does not answer. */
static int unavailable(struct cc_provider_ctx *x, const char *what)
{
    return cc_err_set(x->err, CC_E_UNAVAILABLE, "network mock: %.200s: %s", what, strerror(errno));
}

static const char *path_of(const struct mock *m, struct cc_arena *a, const char *vpc, const char *file)
{
    return cc_arena_printf(a, "%s/%s/%s", m->dir, vpc, file);
}

static int need(const struct mock *m, struct cc_provider_ctx *x, const char *vpc)
{
    const char *dir = cc_arena_printf(x->arena, "%s/%s", m->dir, vpc);
    struct stat st;

    if (stat(dir, &st) == 0)
        return 0;
    return errno == ENOENT ? cc_err_set(x->err, CC_E_NOT_FOUND, "no VPC %.64s", vpc) : unavailable(x, dir);
}

/* Names in a directory that begin so, without that. */
static int names_in(struct cc_provider_ctx *x, const char *dir, const char *prefix, struct cc_strs *out)
{
    DIR *d = opendir(dir);
    struct dirent *e;
    const char **v = NULL;
    size_t n = 0, room = 0;

    if (!d)
        return unavailable(x, dir);
    while ((e = readdir(d))) {
        if (strncmp(e->d_name, prefix, strlen(prefix)) != 0 || e->d_name[0] == '.')
            continue;
        if (n == room) {
            const char **more = cc_arena_alloc(x->arena, (room = room * 2 + 8) * sizeof(*more));

            if (n > 0)
                memcpy(more, v, n * sizeof(*v));
            v = more;
        }
        v[n++] = cc_arena_strdup(x->arena, e->d_name + strlen(prefix));
    }
    closedir(d);
    *out = (struct cc_strs){ v, n };
    return 0;
}

/* ---------------------------------------------------------------- VPCs */

static struct cc_net_vpc told(struct cc_arena *a, const char *id)
{
    return (struct cc_net_vpc){ cc_arena_strdup(a, id), cc_arena_printf(a, "mock-%.8s", id), true };
}

static int m_vpc_create(void *self, struct cc_provider_ctx *x, const char *id, struct cc_net_vpc *out)
{
    struct mock *m = self;
    const char *dir = cc_arena_printf(x->arena, "%s/%s", m->dir, id);

    if (!cc_volume_id_ok(id))
        return cc_err_set(x->err, CC_E_INVALID, "a VPC's id is 1 to 64 letters, digits and -_.");
    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        return unavailable(x, dir);
    *out = told(x->arena, id);
    return 0;
}

static int m_vpc_remove(void *self, struct cc_provider_ctx *x, const char *id)
{
    struct mock *m = self;
    const char *dir = cc_arena_printf(x->arena, "%s/%s", m->dir, id);
    struct cc_strs ports = { NULL, 0 };
    int r = need(m, x, id);

    if (r == CC_E_NOT_FOUND)
        return 0;
    if (r == 0)
        r = names_in(x, dir, PORT, &ports);
    if (r == 0 && ports.n > 0)
        r = cc_err_set(x->err, CC_E_CONFLICT, "VPC %.64s is in use: %.64s is plugged in", id, ports.v[0]);
    if (r == 0 && (r = cc_remove_tree(dir)) != 0) {
        errno = r;
        r = unavailable(x, dir);
    }
    return r;
}

static int m_vpc_list(void *self, struct cc_provider_ctx *x, struct cc_net_vpc_list *out)
{
    struct mock *m = self;
    struct cc_strs ids;
    size_t i;
    int r = names_in(x, m->dir, "", &ids);

    if (r != 0)
        return r;
    *out = (struct cc_net_vpc_list){ cc_arena_alloc(x->arena, (ids.n + 1) * sizeof(*out->v)), ids.n };
    for (i = 0; i < ids.n; i++)
        out->v[i] = told(x->arena, ids.v[i]);
    return 0;
}

/* ---------------------------------------------------------------- ports */

static int m_port_add(void *self, struct cc_provider_ctx *x, const struct cc_net_plug *plug)
{
    int r = cc_volume_id_ok(plug->id) ? need(self, x, plug->vpc)
                                      : cc_err_set(x->err, CC_E_INVALID, "a port's id is letters, digits and -_.");

    return r ? r
             : cc_write_whole(path_of(self, x->arena, plug->vpc, cc_arena_printf(x->arena, PORT "%s", plug->id)),
                              plug->mac, strlen(plug->mac), x->err);
}

static int m_port_list(void *self, struct cc_provider_ctx *x, const char *vpc, struct cc_net_plug_list *out)
{
    struct mock *m = self;
    struct cc_strs vpcs = { NULL, 0 }, ports = { NULL, 0 };
    size_t i, k, most = 0;
    int r = names_in(x, m->dir, "", &vpcs);

    *out = (struct cc_net_plug_list){ NULL, 0 };
    for (i = 0; i < vpcs.n && r == 0; i++) {
        if (vpc && strcmp(vpcs.v[i], vpc) != 0)
            continue;
        r = names_in(x, cc_arena_printf(x->arena, "%s/%s", m->dir, vpcs.v[i]), PORT, &ports);
        if (r == 0) {
            struct cc_net_plug *more = cc_arena_alloc(x->arena, (most + ports.n + 1) * sizeof(*more));

            if (out->n > 0)
                memcpy(more, out->v, out->n * sizeof(*more));
            out->v = more;
            most += ports.n;
        }
        for (k = 0; r == 0 && k < ports.n; k++)
            out->v[out->n++] = (struct cc_net_plug){ .id = ports.v[k], .vpc = vpcs.v[i] };
    }
    return r;
}

static int m_port_remove(void *self, struct cc_provider_ctx *x, const char *id)
{
    struct cc_net_plug_list all;
    size_t i;
    int r = m_port_list(self, x, NULL, &all);

    for (i = 0; r == 0 && i < all.n; i++)
        if (strcmp(all.v[i].id, id) == 0)
            unlink(path_of(self, x->arena, all.v[i].vpc, cc_arena_printf(x->arena, PORT "%s", id)));
    return r;
}

/* ---------------------------------------------------------------- flows */

static int table_of(struct cc_provider_ctx *x, const struct cc_net_plan *plan, const char **text)
{
    struct cc_net_port *ports = cc_arena_alloc(x->arena, (plan->n_ports + 1) * sizeof(*ports));
    struct cc_net_plan now = *plan;
    size_t i;

    for (i = 0; i < plan->n_ports; i++) {
        ports[i] = plan->ports[i];
        ports[i].number = (uint32_t)i + 1;
    }
    now.ports = ports;
    return cc_net_flows(&now, 1, x->arena, text, x->err);
}

static int m_apply(void *self, struct cc_provider_ctx *x, const char *vpc, const struct cc_net_plan *plan)
{
    const char *text = NULL;
    int r = need(self, x, vpc);

    if (r == 0)
        r = table_of(x, plan, &text);
    return r ? r : cc_write_whole(path_of(self, x->arena, vpc, "flows"), text, strlen(text), x->err);
}

static int m_verify(void *self, struct cc_provider_ctx *x, const char *vpc, const struct cc_net_plan *plan,
                    struct cc_net_drift *out)
{
    const char *text = NULL, *is;
    size_t n = 0;
    int r = need(self, x, vpc);

    if (r == 0)
        r = table_of(x, plan, &text);
    if (r != 0)
        return r;
    is = cc_read_whole(x->arena, path_of(self, x->arena, vpc, "flows"), TABLE_MAX, &n);
    *out = (struct cc_net_drift){ .missing = !is || n != strlen(text) || memcmp(is, text, n) != 0, .text = "" };
    return 0;
}

const struct cc_net_driver cc_net_mock = {
    .name = "mock",
    .open = m_open,
    .close = m_close,
    .vpc_create = m_vpc_create,
    .vpc_remove = m_vpc_remove,
    .vpc_list = m_vpc_list,
    .port_add = m_port_add,
    .port_remove = m_port_remove,
    .port_list = m_port_list,
    .apply = m_apply,
    .verify = m_verify,
};
