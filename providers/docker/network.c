/* network.c - a network for each owner, of a subnet that we choose.
 *
 * Docker's own pools end near 30 networks, so ours are cut from a range of our
 * own: the lowest piece that no network and no route of this host has.  dockerd
 * refuses overlaps, which decides between two who chose the same.  A network is
 * made by the owner's first machine and goes with the last; both under one
 * lock, or a machine could be put on a network that is just being removed.
 */
#include "providers/docker/docker.h"

#include "host/observe/log.h"

#include <arpa/inet.h>
#include <mbedtls/sha256.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DIGEST = 12, RANGES_MAX = 4096, TRIES = 64 };

struct ranges {
    struct {
        uint32_t first, last;
    } v[RANGES_MAX];
    size_t n;
};

const char *cc_docker_net_name(struct cc_arena *a, const char *owner)
{
    unsigned char sum[32];
    char text[DIGEST + 1];
    int i;

    mbedtls_sha256_ret((const unsigned char *)owner, strlen(owner), sum, 0);
    for (i = 0; i < DIGEST / 2; i++)
        snprintf(text + 2 * i, 3, "%02x", sum[i]);
    return cc_arena_printf(a, "claude-net-%s", text);
}

/* ---------------------------------------------------------------- which subnet */

static void take(struct ranges *r, uint32_t first, uint32_t last)
{
    if (r->n < RANGES_MAX) {
        r->v[r->n].first = first;
        r->v[r->n++].last = last;
    }
}

static void take_cidr(struct ranges *r, const char *text)
{
    char address[64];
    const char *slash = strchr(text, '/');
    unsigned long bits = slash ? strtoul(slash + 1, NULL, 10) : 32;
    struct in_addr in;
    uint32_t net, size;

    snprintf(address, sizeof(address), "%.*s", slash ? (int)(slash - text) : (int)strlen(text), text);
    if (bits > 32 || inet_pton(AF_INET, address, &in) != 1)
        return; /* IPv6: none of ours */
    size = bits == 0 ? 0xffffffffu : (uint32_t)((1ull << (32 - bits)) - 1);
    net = ntohl(in.s_addr) & ~size;
    take(r, net, net + size);
}

static int networks_taken(struct cc_docker *d, struct cc_provider_ctx *x, struct ranges *out)
{
    const json_t *net, *row;
    json_t *list;
    size_t i, k;
    int r = cc_docker_get(d, x, "/networks", "listing networks", &list);

    if (r != 0)
        return r;
    json_array_foreach (list, i, net)
        json_array_foreach (cc_docker_at(net, "IPAM.Config"), k, row)
            take_cidr(out, cc_docker_text(row, "Subnet"));
    json_decref(list);
    return 0;
}

/* Of this host, where it is dockerd's; the default route apart. */
static void routes_taken(struct ranges *out)
{
    FILE *f = fopen("/proc/net/route", "re");
    unsigned net, mask;
    char line[256];

    while (f && fgets(line, sizeof(line), f))
        if (sscanf(line, "%*s %x %*x %*x %*d %*d %*d %x", &net, &mask) == 2 && mask != 0)
            take(out, ntohl(net), ntohl(net) | ~ntohl(mask));
    if (f)
        fclose(f);
}

static bool overlaps(const struct ranges *r, uint32_t first, uint32_t last)
{
    size_t i;

    for (i = 0; i < r->n; i++)
        if (first <= r->v[i].last && last >= r->v[i].first)
            return true;
    return false;
}

/* False: there is none. */
static bool lowest(const struct cc_docker *d, const struct ranges *taken, uint32_t *net)
{
    uint32_t size = (uint32_t)(1ull << (32 - d->net_cut));
    uint64_t at, end = (uint64_t)d->net + (1ull << (32 - d->net_bits));

    for (at = d->net; at + size <= end; at += size)
        if (!overlaps(taken, (uint32_t)at, (uint32_t)(at + size - 1))) {
            *net = (uint32_t)at;
            return true;
        }
    return false;
}

/* ---------------------------------------------------------------- making */

static const char *dotted(struct cc_arena *a, uint32_t address)
{
    return cc_arena_printf(a, "%u.%u.%u.%u", address >> 24, address >> 16 & 255, address >> 8 & 255, address & 255);
}

static json_t *body(const struct cc_docker *d, struct cc_arena *a, const char *name, const char *owner, uint32_t net)
{
    json_t *config = json_pack("[{s:s,s:s}]", "Subnet", cc_arena_printf(a, "%s/%u", dotted(a, net), d->net_cut),
                               "Gateway", dotted(a, net + 1));
    json_t *options =
        json_pack("{s:s,s:s,s:s,s:s}", "com.docker.network.bridge.name",
                  cc_arena_printf(a, "cc-%s", name + strlen("claude-net-")), "com.docker.network.bridge.enable_icc",
                  "true", "com.docker.network.bridge.enable_ip_masquerade", "true", "isolate", "true");

    return json_pack("{s:s,s:b,s:s,s:b,s:b,s:{s:s,s:o},s:o,s:{s:s,s:s,s:s}}", "Name", name, "CheckDuplicate", 1,
                     "Driver", "bridge", "Internal", 0, "EnableIPv6", 0, "IPAM", "Driver", "default", "Config", config,
                     "Options", options, "Labels", "cloudcode.managed", "true", "cchost.net", name, "cchost.owner",
                     owner);
}

static int make(struct cc_docker *d, struct cc_provider_ctx *x, const char *name, const char *owner)
{
    struct ranges *taken = cc_arena_alloc(x->arena, sizeof(*taken));
    uint32_t net;
    int r = networks_taken(d, x, taken), tries;

    if (r == 0 && d->near)
        routes_taken(taken);
    for (tries = 0; r == 0 && tries < TRIES; tries++) {
        if (!lowest(d, taken, &net))
            return cc_err_set(x->err, CC_E_FULL, "no subnet of %s/%u is free for a network of another owner",
                              dotted(x->arena, d->net), d->net_bits);
        r = cc_docker_send(d, x, "POST", "/networks/create", body(d, x->arena, name, owner, net), "making the network");
        if (r == 0 || r == CC_E_EXISTS)
            return 0;
        if (r == CC_E_CONFLICT ||
            r == CC_E_DENIED) { /* somebody took it meanwhile, or it clashes with what we cannot see */
            take(taken, net, net + (uint32_t)(1ull << (32 - d->net_cut)) - 1);
            r = 0;
        }
    }
    return r ? r : x->err->code;
}

static int find(struct cc_docker *d, struct cc_provider_ctx *x, const char *name)
{
    json_t *doc;
    int r =
        cc_docker_get(d, x, cc_arena_printf(x->arena, "/networks/%s", name), "looking for the owner's network", &doc);

    if (r != 0)
        return r;
    if (strcmp(cc_docker_text(json_object_get(doc, "Labels"), "cloudcode.managed"), "true") != 0 &&
        !json_object_get(json_object_get(doc, "Labels"), "cchost.net"))
        r = cc_err_set(x->err, CC_E_EXISTS, "the network %s is not one of ours", name);
    json_decref(doc);
    return r;
}

int cc_docker_net_hold(struct cc_docker *d, struct cc_provider_ctx *x, const char *owner, int *fd)
{
    const char *name = cc_docker_net_name(x->arena, owner);
    int r;

    if ((*fd = cc_name_lock(d->dir, "networks", x->call, x->err)) < 0)
        return *fd;
    r = find(d, x, name);
    if (r == CC_E_NOT_FOUND)
        r = make(d, x, name, owner);
    if (r == 0)
        r = cc_docker_fence(d, x);
    if (r != 0) {
        close(*fd);
        *fd = -1;
    }
    return r;
}

/* ---------------------------------------------------------------- removing */

/* Whether a machine, running or not, is on it. */
static int in_use(struct cc_docker *d, struct cc_provider_ctx *x, const char *name, bool *used)
{
    const char *filter = cc_docker_filter(x->arena, "{\"label\":[\"cchost.net=%s\"]}", name);
    json_t *list;
    int r = cc_docker_get(d, x, cc_arena_printf(x->arena, "/containers/json?all=true&%s", filter),
                          "looking who is on the network", &list);

    if (r != 0)
        return r;
    *used = json_array_size(list) > 0;
    json_decref(list);
    return 0;
}

int cc_docker_net_drop(struct cc_docker *d, struct cc_provider_ctx *x, const char *name)
{
    bool used;
    int fd = cc_name_lock(d->dir, "networks", x->call, x->err), r;

    if (fd < 0)
        return fd;
    r = in_use(d, x, name, &used);
    if (r == 0 && !used) {
        r = cc_docker_send(d, x, "DELETE", cc_arena_printf(x->arena, "/networks/%s", name), NULL,
                           "removing the network");
        if (r == CC_E_NOT_FOUND)
            r = 0;
        if (r == CC_E_DENIED || r == CC_E_CONFLICT) { /* a container that is none of ours is on it */
            cc_log(CC_LOG_WARN, "docker", "the network %s stays: %s", name, x->err->message);
            r = 0;
        }
    }
    close(fd);
    return r;
}

static bool named(const json_t *rows, const char *name)
{
    const json_t *row;
    size_t i;

    json_array_foreach (rows, i, row) {
        const char *s = json_string_value(json_object_get(json_object_get(row, "Labels"), "cchost.net"));

        if (s && strcmp(s, name) == 0)
            return true;
    }
    return false;
}

int cc_docker_net_sweep(struct cc_docker *d, struct cc_provider_ctx *x, const json_t *rows)
{
    const json_t *net;
    json_t *list;
    size_t i;
    int r = cc_docker_get(
        d, x, cc_arena_printf(x->arena, "/networks?%s", cc_docker_filter(x->arena, "{\"label\":[\"cchost.net\"]}")),
        "listing networks", &list);

    if (r != 0)
        return r;
    json_array_foreach (list, i, net) {
        const char *name = cc_docker_text(net, "Name");

        if (r == 0 && strncmp(name, "claude-net-", 11) == 0 && !named(rows, name))
            r = cc_docker_net_drop(d, x, cc_arena_strdup(x->arena, name));
    }
    json_decref(list);
    return r;
}

/* How many owners the range still has room for. */
void cc_docker_net_check(struct cc_docker *d, struct cc_provider_ctx *x, struct cc_check_list *out)
{
    struct ranges *taken = cc_arena_alloc(x->arena, sizeof(*taken));
    uint32_t size = (uint32_t)(1ull << (32 - d->net_cut)), net;
    uint64_t at, end = (uint64_t)d->net + (1ull << (32 - d->net_bits));
    unsigned n = 0;

    if (networks_taken(d, x, taken) != 0) {
        cc_check_say(out, x->arena, "subnets", CC_CHECK_BAD, "%s", x->err->message);
        return;
    }
    if (d->near)
        routes_taken(taken);
    for (at = d->net; at + size <= end; at += size)
        n += !overlaps(taken, (uint32_t)at, (uint32_t)(at + size - 1));
    if (lowest(d, taken, &net))
        cc_check_say(out, x->arena, "subnets", CC_CHECK_OK, "%s/%u has room for %u more owners; the next gets %s/%u",
                     dotted(x->arena, d->net), d->net_bits, n, dotted(x->arena, net), d->net_cut);
    else
        cc_check_say(out, x->arena, "subnets", CC_CHECK_BAD,
                     "%s/%u is taken whole by networks or routes: no owner more can have machines (DOCKER_SUBNETS)",
                     dotted(x->arena, d->net), d->net_bits);
}
