/* ovs.c - VPCs as bridges of Open vSwitch.
 *
 * What there is stands in Open vSwitch's own database: a bridge is ours by its external-ids (cchost-vpc, the zone of its
 * connections, whether they are tracked), a port by its interface's iface-id, as libvirt writes it too.  A bridge is in
 * fail mode "secure": without flows nothing passes.  Flows are read, compared and replaced by ovs-ofctl, in one bundle.
 * Settings: rundir (where its sockets are), datapath (system | netdev), state (auto | reflexive), zone (the first).
 */
#include "providers/network/network.h"

#include "host/sys/mem.h"
#include "providers/tool.h"

#include <fcntl.h>
#include <jansson.h>
#include <net/if.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#define OFCTL "ovs-ofctl", "-O", "OpenFlow14"
enum { TOOL_SECONDS = 10, DRIFT_TEXT_MAX = 4096 };

struct ovs {
    char *rundir, *datapath;
    bool reflexive;
    unsigned first_zone;
    pthread_mutex_t making; /* zones and names are given out by one call at a time */
};

struct bridge {
    const char *name, *vpc, *zone, *state, *fail_mode; /* vpc NULL: not ours */
    const json_t *ports;
};
struct plug {
    const char *bridge, *vpc, *name, *id, *mac, *error; /* vpc NULL: on a bridge that is not ours */
    bool host;
    uint32_t number;
};
/* The database at one moment. */
struct world {
    struct bridge *bridges;
    struct plug *plugs;
    size_t n_bridges, n_plugs;
};

/* ---------------------------------------------------------------- settings */

static int read_settings(struct ovs *o, const struct cc_pairs *settings, struct cc_err *err)
{
    static const char *const known[] = { "rundir", "datapath", "state", "zone" };
    const char *state = cc_pairs_get(settings, "state", "auto"), *zone = cc_pairs_get(settings, "zone", "1");
    unsigned long first;
    size_t i, k;
    char *end;

    for (i = 0; i < settings->n; i++) {
        for (k = 0; k < 4 && strcmp(settings->v[i].key, known[k]) != 0; k++)
            ;
        if (k == 4)
            return cc_err_set(err, CC_E_INVALID, "network ovs: no setting %.64s", settings->v[i].key);
    }
    first = strtoul(zone, &end, 10);
    if (o->rundir[0] != '/')
        return cc_err_set(err, CC_E_INVALID, "network ovs: rundir must be an absolute path");
    if (strcmp(o->datapath, "system") != 0 && strcmp(o->datapath, "netdev") != 0)
        return cc_err_set(err, CC_E_INVALID, "network ovs: datapath is system or netdev");
    if (strcmp(state, "auto") != 0 && strcmp(state, "reflexive") != 0)
        return cc_err_set(err, CC_E_INVALID, "network ovs: state is auto or reflexive");
    if (*end || first < 1 || first > 65535)
        return cc_err_set(err, CC_E_INVALID, "network ovs: zone is 1 to 65535");
    o->reflexive = state[0] == 'r';
    o->first_zone = (unsigned)first;
    return 0;
}

static void o_close(void *self)
{
    struct ovs *o = self;

    pthread_mutex_destroy(&o->making);
    free(o->rundir), free(o->datapath);
    free(o);
}

static int o_open(const struct cc_pairs *settings, void **self, struct cc_err *err)
{
    struct ovs *o = cc_xcalloc(1, sizeof(*o));
    int r;

    o->rundir = cc_xstrdup(cc_pairs_get(settings, "rundir", "/var/run/openvswitch"));
    o->datapath = cc_xstrdup(cc_pairs_get(settings, "datapath", "system"));
    pthread_mutex_init(&o->making, NULL);
    if ((r = read_settings(o, settings, err)) != 0)
        o_close(o);
    else
        *self = o;
    return r;
}

/* ---------------------------------------------------------------- its tools */

/* ovs-vsctl; it waits for the switch to have done it. */
static int vsctl(const struct ovs *o, struct cc_provider_ctx *x, const char **out, const char *const *words)
{
    const char *all[40] = { "ovs-vsctl" };
    int left = cc_call_left_ms(x->call) / 1000, r;
    struct cc_tool_result t;
    size_t n = 1, i;

    all[n++] = cc_arena_printf(x->arena, "--db=unix:%s/db.sock", o->rundir);
    all[n++] = cc_arena_printf(x->arena, "--timeout=%d", left > 0 && left < TOOL_SECONDS ? left : TOOL_SECONDS);
    for (i = 0; words[i] && n < 39; i++)
        all[n++] = words[i];
    if ((r = cc_tool(x, &t, all)) != 0)
        return r;
    if (t.exit > 128 || strstr(t.err, "database connection failed"))
        return cc_err_set(x->err, CC_E_UNAVAILABLE, "Open vSwitch does not answer at %.150s", o->rundir);
    if (t.exit != 0)
        return cc_err_set(x->err, CC_E_IO, "%.200s", cc_arena_strndup(x->arena, t.err, strcspn(t.err, "\n")));
    if (out)
        *out = t.out;
    return 0;
}
#define VSCTL(o, x, out, ...) vsctl((o), (x), (out), (const char *const[]){ __VA_ARGS__, NULL })

static const char *target(const struct ovs *o, struct cc_arena *a, const char *bridge)
{
    return cc_arena_printf(a, "unix:%s/%s.mgmt", o->rundir, bridge);
}

/* A prefix and twelve digits made of an id: a device's name has at most fifteen characters. */
static const char *name_of(struct cc_arena *a, const char *prefix, const char *id)
{
    uint64_t h = 0xcbf29ce484222325u;

    for (; *id; id++)
        h = (h ^ (unsigned char)*id) * 0x100000001b3u;
    return cc_arena_printf(a, "%s%012llx", prefix, (unsigned long long)(h ^ h >> 48) & 0xffffffffffffu);
}

/* ---------------------------------------------------------------- the database */

static const char *text_of(struct cc_arena *a, const json_t *v) { return cc_arena_strdup(a, json_string_value(v)); }

/* The value in a map of the database, ["map", [["key", "value"], ...]], or NULL. */
static const char *in_map(struct cc_arena *a, const json_t *map, const char *key)
{
    const json_t *pair;
    const char *k;
    size_t i;

    json_array_foreach (json_array_get(map, 1), i, pair) {
        k = json_string_value(json_array_get(pair, 0));
        if (k && strcmp(k, key) == 0)
            return text_of(a, json_array_get(pair, 1));
    }
    return NULL;
}

static const char *uuid_of(const json_t *v) { return json_string_value(json_array_get(v, 1)); } /* ["uuid", "..."] */

/* Is it that one, or among those of ["set", [["uuid", "..."], ...]]? */
static bool names_uuid(const json_t *v, const char *uuid)
{
    const char *kind = json_string_value(json_array_get(v, 0));
    const json_t *each;
    size_t i;

    if (kind && strcmp(kind, "uuid") == 0)
        return strcmp(uuid_of(v), uuid) == 0;
    json_array_foreach (json_array_get(v, 1), i, each) {
        if (strcmp(uuid_of(each), uuid) == 0)
            return true;
    }
    return false;
}

static void read_bridges(struct world *w, struct cc_arena *a, const json_t *rows)
{
    const json_t *row;
    size_t i;

    w->bridges = cc_arena_alloc(a, (json_array_size(rows) + 1) * sizeof(*w->bridges));
    json_array_foreach (rows, i, row) {
        w->bridges[w->n_bridges++] = (struct bridge){
            .name = text_of(a, json_array_get(row, 0)),
            .vpc = in_map(a, json_array_get(row, 1), "cchost-vpc"),
            .zone = in_map(a, json_array_get(row, 1), "cchost-zone"),
            .state = in_map(a, json_array_get(row, 1), "cchost-state"),
            .ports = json_array_get(row, 2),
            .fail_mode = text_of(a, json_array_get(row, 3)),
        };
    }
}

static const struct bridge *bridge_with(const struct world *w, const char *port)
{
    size_t i;

    for (i = 0; port && i < w->n_bridges; i++)
        if (names_uuid(w->bridges[i].ports, port))
            return &w->bridges[i];
    return NULL;
}

/* Each interface with the bridge that its port is of; a bridge's own is none of ours. */
static void read_plugs(struct world *w, struct cc_arena *a, const json_t *ports, const json_t *interfaces)
{
    const json_t *row, *port, *found;
    const struct bridge *b;
    size_t i, k;

    w->plugs = cc_arena_alloc(a, (json_array_size(interfaces) + 1) * sizeof(*w->plugs));
    json_array_foreach (interfaces, i, row) {
        const json_t *ids = json_array_get(row, 2);
        json_int_t number = json_integer_value(json_array_get(row, 3));
        const char *kind = json_string_value(json_array_get(row, 5));

        found = NULL;
        json_array_foreach (ports, k, port) {
            if (names_uuid(json_array_get(port, 1), uuid_of(json_array_get(row, 0))))
                found = port;
        }
        b = found ? bridge_with(w, uuid_of(json_array_get(found, 0))) : NULL;
        if (!b || strcmp(b->name, json_string_value(json_array_get(row, 1))) == 0)
            continue;
        w->plugs[w->n_plugs++] = (struct plug){
            .bridge = b->name,
            .vpc = b->vpc,
            .name = text_of(a, json_array_get(row, 1)),
            .id = in_map(a, ids, "iface-id"),
            .mac = in_map(a, ids, "attached-mac"),
            .error = text_of(a, json_array_get(row, 4)),
            .host = kind && strcmp(kind, "internal") == 0,
            .number = number > 0 ? (uint32_t)number : 0,
        };
    }
}

/* All three tables in one transaction: one document of JSON in a line for each. */
static int look(const struct ovs *o, struct cc_provider_ctx *x, struct world *w)
{
    json_t *docs[3] = { NULL, NULL, NULL };
    const char *out;
    size_t i, len;
    int r = VSCTL(o, x, &out, "--format=json", "--columns=name,external_ids,ports,fail_mode", "list", "Bridge", "--",
                  "--columns=_uuid,interfaces", "list", "Port", "--",
                  "--columns=_uuid,name,external_ids,ofport,error,type", "list", "Interface");

    *w = (struct world){ 0 };
    for (i = 0; i < 3 && r == 0; i++, out += len + (out[len] != 0)) {
        len = strcspn(out, "\n");
        if (!(docs[i] = json_loadb(out, len, 0, NULL)))
            r = cc_err_set(x->err, CC_E_IO, "ovs-vsctl tells nothing that can be read");
    }
    if (r == 0) {
        read_bridges(w, x->arena, json_object_get(docs[0], "data"));
        read_plugs(w, x->arena, json_object_get(docs[1], "data"), json_object_get(docs[2], "data"));
    }
    for (i = 0; i < w->n_bridges; i++)
        w->bridges[i].ports = NULL; /* it was the document's */
    for (i = 0; i < 3; i++)
        json_decref(docs[i]);
    return r;
}

static const struct bridge *find_vpc(const struct world *w, const char *id)
{
    size_t i;

    for (i = 0; i < w->n_bridges; i++)
        if (w->bridges[i].vpc && strcmp(w->bridges[i].vpc, id) == 0)
            return &w->bridges[i];
    return NULL;
}

static int need_vpc(const struct ovs *o, struct cc_provider_ctx *x, const char *id, struct world *w,
                    const struct bridge **b)
{
    int r = look(o, x, w);

    if (r != 0)
        return r;
    *b = find_vpc(w, id);
    return *b && (*b)->state ? 0 : cc_err_set(x->err, CC_E_NOT_FOUND, "no VPC %.64s", id);
}

static bool tracked(const struct bridge *b) { return b->state && strcmp(b->state, "tracked") == 0; }
static unsigned zone_of(const struct bridge *b) { return b->zone ? (unsigned)strtoul(b->zone, NULL, 10) & 65535u : 0; }

static bool interface_ok(const char *s)
{
    size_t n = strlen(s);

    return n > 0 && n < 16 && s[0] != '-' && s[0] != '.' &&
           strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == n;
}

/* ---------------------------------------------------------------- the host's own stack */

/* What libvirt is about to plug in is stopped by its name: it is dropped after the switch has heard it, from its first packet on. */
static const char *fence_names(struct cc_arena *a, const char *table, bool any)
{
    const char *text = cc_arena_printf(a, "table inet %s\ndelete table inet %s\ntable arp %s\ndelete table arp %s\n",
                                       table, table, table, table);

    if (!any)
        return text;
    return cc_arena_printf(a,
                           "%stable inet %s {\n chain c { type filter hook prerouting priority -500; "
                           "iifname \"" CC_NET_GUEST_PREFIX "*\" drop; }\n}\n"
                           "table arp %s {\n chain c { type filter hook input priority -500; "
                           "iifname \"" CC_NET_GUEST_PREFIX "*\" drop; }\n}\n",
                           text, table, table);
}

/* Others by a hook of each. */
static const char *fence_plugs(struct cc_arena *a, const char *table, const struct world *w)
{
    const char *chains = "";
    size_t i;

    for (i = 0; i < w->n_plugs; i++)
        if (w->plugs[i].vpc && !w->plugs[i].host && interface_ok(w->plugs[i].name) && if_nametoindex(w->plugs[i].name))
            chains = cc_arena_printf(
                a, "%s chain c%zu { type filter hook ingress device \"%s\" priority -500; policy drop; }\n", chains, i,
                w->plugs[i].name);
    return cc_arena_printf(a, "table netdev %s\ndelete table netdev %s\n%s%s%s%s%s", table, table,
                           *chains ? "table netdev " : "", *chains ? table : "", *chains ? " {\n" : "", chains,
                           *chains ? "}\n" : "");
}

/* With the userspace datapath the host's kernel hears on an interface what the switch hears there, and would answer for the
 * host's addresses: so the kernel drops all of it, behind where the switch listens. The tables are made anew each time, as a
 * rule that stayed would meet the next interface of that name. In the kernel's datapath nothing else hears it. */
static int fence(const struct ovs *o, struct cc_provider_ctx *x)
{
    const char *table = name_of(x->arena, "cchost-", o->rundir);
    struct world w;
    bool any = false;
    size_t i;
    int r;

    if (strcmp(o->datapath, "netdev") != 0)
        return 0;
    if ((r = look(o, x, &w)) != 0)
        return r;
    for (i = 0; i < w.n_bridges; i++)
        any |= w.bridges[i].vpc != NULL;
    return cc_tool_fed(
        x, NULL, cc_arena_printf(x->arena, "%s%s", fence_names(x->arena, table, any), fence_plugs(x->arena, table, &w)),
        (const char *const[]){ "nft", "-f", "-", NULL });
}

/* ---------------------------------------------------------------- VPCs */

/* The lowest that no bridge of ours has; 0: all are given out. */
static unsigned free_zone(const struct ovs *o, struct cc_arena *a, const struct world *w)
{
    bool *used = cc_arena_alloc(a, 65536 * sizeof(*used));
    unsigned z;
    size_t i;

    for (i = 0; i < w->n_bridges; i++)
        if (w->bridges[i].vpc)
            used[zone_of(&w->bridges[i])] = true;
    for (z = o->first_zone; z < 65536; z++)
        if (!used[z])
            return z;
    return 0;
}

static int may_add(const struct ovs *o, struct cc_provider_ctx *x, const struct world *w, const char *id,
                   const char *name)
{
    size_t i;

    for (i = 0; i < w->n_bridges; i++)
        if (strcmp(w->bridges[i].name, name) == 0)
            return cc_err_set(x->err, CC_E_EXISTS, "the bridge %s is there, and is not of VPC %.64s", name, id);
    return free_zone(o, x->arena, w) ? 0 : cc_err_set(x->err, CC_E_LIMIT, "no zone for connections is free");
}

static int add_bridge(const struct ovs *o, struct cc_provider_ctx *x, const struct world *w, const char *id,
                      const char *name)
{
    return VSCTL(o, x, NULL, "add-br", name, "--", "set", "Bridge", name,
                 cc_arena_printf(x->arena, "datapath_type=%s", o->datapath), "fail_mode=secure",
                 cc_arena_printf(x->arena, "external_ids:cchost-vpc=\"%s\"", id),
                 cc_arena_printf(x->arena, "external_ids:cchost-zone=%u", free_zone(o, x->arena, w)));
}

/* Whether the switch can track connections: it takes a flow that does, or not. Then no flow is there. */
static int probe(const struct ovs *o, struct cc_provider_ctx *x, const char *name, bool *can)
{
    const char *at = target(o, x->arena, name);
    struct cc_tool_result t = { 0 };
    int r = 0;

    if (!o->reflexive)
        r = CC_TOOL(x, &t, OFCTL, "add-flow", at, "table=1,ip,actions=ct(commit,zone=1)");
    *can = r == 0 && !o->reflexive && t.exit == 0;
    return r ? r : CC_TOOL(x, NULL, OFCTL, "del-flows", at);
}

/* What it is is written last: a bridge without is half made, and made on by the next create. */
static int finish(const struct ovs *o, struct cc_provider_ctx *x, const char *name)
{
    bool can = false;
    int r = probe(o, x, name, &can);

    return r ? r
             : VSCTL(o, x, NULL, "set", "Bridge", name,
                     can ? "external_ids:cchost-state=tracked" : "external_ids:cchost-state=reflexive");
}

/* Without its state it is half made, and nothing is plugged in: that may go again. */
static int make(const struct ovs *o, struct cc_provider_ctx *x, const char *id, struct cc_net_vpc *out)
{
    const char *name = name_of(x->arena, "ccv", id);
    struct cc_provider_ctx quiet = *x;
    const struct bridge *b;
    struct world w;
    int r = look(o, x, &w);

    b = r == 0 ? find_vpc(&w, id) : NULL;
    if (b && b->state) {
        *out = (struct cc_net_vpc){ b->vpc, b->name, tracked(b) };
        return 0;
    }
    if (r == 0 && !b)
        r = may_add(o, x, &w, id, name);
    if (r != 0)
        return r;
    if (!b)
        r = add_bridge(o, x, &w, id, name);
    if (r == 0)
        r = fence(o, x);
    if (r == 0)
        r = finish(o, x, name);
    quiet.err = NULL;
    if (r != 0)
        VSCTL(o, &quiet, NULL, "--if-exists", "del-br", name);
    return r ? r : make(o, x, id, out);
}

/* Zones are given out by one process at a time: scripts make VPCs, too. *fd: its close ends that; -1: the switch is not there, as
 * it says itself. */
static int alone(const struct ovs *o, struct cc_provider_ctx *x, int *fd)
{
    struct timespec pause = { 0, 10000000 };
    int r = 0;

    *fd = open(cc_arena_printf(x->arena, "%s/cchost.lock", o->rundir), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    while (r == 0 && *fd >= 0 && flock(*fd, LOCK_EX | LOCK_NB) != 0) {
        nanosleep(&pause, NULL);
        r = cc_call_check(x->call, x->err);
    }
    return r;
}

static int o_vpc_create(void *self, struct cc_provider_ctx *x, const char *id, struct cc_net_vpc *out)
{
    struct ovs *o = self;
    int r, fd;

    if (!cc_volume_id_ok(id))
        return cc_err_set(x->err, CC_E_INVALID, "a VPC's id is 1 to 64 letters, digits and -_.");
    pthread_mutex_lock(&o->making);
    r = alone(o, x, &fd);
    if (r == 0)
        r = make(o, x, id, out);
    if (fd >= 0)
        close(fd);
    pthread_mutex_unlock(&o->making);
    return r;
}

/* First nothing passes, then no connection is known in its zone, which may be another's next. */
static int remove_bridge(const struct ovs *o, struct cc_provider_ctx *x, const struct bridge *b)
{
    const char *at = target(o, x->arena, b->name), *zone = cc_arena_printf(x->arena, "%u", zone_of(b));
    int r = CC_TOOL(x, NULL, OFCTL, "del-flows", at);

    if (r == 0 && tracked(b))
        r = CC_TOOL(x, NULL, OFCTL, "ct-flush-zone", at, zone);
    return r ? r : VSCTL(o, x, NULL, "--if-exists", "del-br", b->name);
}

static int o_vpc_remove(void *self, struct cc_provider_ctx *x, const char *id)
{
    struct ovs *o = self;
    const struct bridge *b;
    struct world w;
    size_t i;
    int r;

    pthread_mutex_lock(&o->making);
    r = look(o, x, &w);
    b = r == 0 ? find_vpc(&w, id) : NULL;
    for (i = 0; b && i < w.n_plugs && r == 0; i++)
        if (strcmp(w.plugs[i].bridge, b->name) == 0)
            r = cc_err_set(x->err, CC_E_CONFLICT, "VPC %.64s is in use: %.64s is plugged in", id,
                           w.plugs[i].id ? w.plugs[i].id : w.plugs[i].name);
    if (r == 0 && b)
        r = remove_bridge(o, x, b);
    if (r == 0)
        r = fence(o, x);
    pthread_mutex_unlock(&o->making);
    return r;
}

static int o_vpc_list(void *self, struct cc_provider_ctx *x, struct cc_net_vpc_list *out)
{
    struct world w;
    size_t i;
    int r = look(self, x, &w);

    if (r != 0)
        return r;
    *out = (struct cc_net_vpc_list){ cc_arena_alloc(x->arena, (w.n_bridges + 1) * sizeof(*out->v)), 0 };
    for (i = 0; i < w.n_bridges; i++)
        if (w.bridges[i].vpc)
            out->v[out->n++] = (struct cc_net_vpc){ w.bridges[i].vpc, w.bridges[i].name, tracked(&w.bridges[i]) };
    return 0;
}

/* ---------------------------------------------------------------- ports */

static bool host_ok(const char *s)
{
    return s && strlen(s) < 19 && strspn(s, "0123456789./") == strlen(s) && strchr(s, '/');
}

/* Whether it may be: it is not yet, or there, as a call that was cut off may have left it. */
static int plugged(struct cc_provider_ctx *x, const struct world *w, const struct bridge *b,
                   const struct cc_net_plug *plug, const char *interface)
{
    const struct plug *p;
    size_t i;

    for (i = 0; i < w->n_plugs; i++) {
        p = &w->plugs[i];
        if (strcmp(p->name, interface) == 0 &&
            (strcmp(p->bridge, b->name) != 0 || !p->id || strcmp(p->id, plug->id) != 0))
            return cc_err_set(x->err, CC_E_CONFLICT, "%s is plugged in elsewhere", interface);
        if (strcmp(p->name, interface) == 0)
            return 0;
        if (p->vpc && p->id && strcmp(p->id, plug->id) == 0)
            return cc_err_set(x->err, CC_E_EXISTS, "port %.64s is plugged in by %s, in VPC %.64s", plug->id, p->name,
                              p->vpc);
    }
    return 0;
}

/* The switch takes an interface that is not there, and only notes it. */
static int settled(const struct ovs *o, struct cc_provider_ctx *x, const char *name)
{
    struct world w;
    size_t i;
    int r = look(o, x, &w);

    for (i = 0; r == 0 && i < w.n_plugs; i++)
        if (strcmp(w.plugs[i].name, name) == 0 && w.plugs[i].number)
            return 0;
        else if (strcmp(w.plugs[i].name, name) == 0)
            return cc_err_set(x->err, CC_E_NOT_FOUND, "%s cannot be plugged in: %.150s", name,
                              w.plugs[i].error ? w.plugs[i].error : "no number was given to it");
    return r ? r : cc_err_set(x->err, CC_E_NOT_FOUND, "%s was taken away again", name);
}

static int plug_in(const struct ovs *o, struct cc_provider_ctx *x, const char *bridge, const struct cc_net_plug *plug,
                   const char *name)
{
    const char *id = cc_arena_printf(x->arena, "external_ids:iface-id=\"%s\"", plug->id),
               *mac = cc_arena_printf(x->arena, "external_ids:attached-mac=\"%s\"", plug->mac),
               *own = cc_arena_printf(x->arena, "mac=\"%s\"", plug->mac);
    struct cc_provider_ctx quiet = *x;
    int r;

    if (plug->interface)
        r = VSCTL(o, x, NULL, "--may-exist", "add-port", bridge, name, "--", "set", "Interface", name, id, mac);
    else
        r = VSCTL(o, x, NULL, "--may-exist", "add-port", bridge, name, "--", "set", "Interface", name, "type=internal",
                  own, id, mac);
    if (r == 0)
        r = settled(o, x, name);
    if (r == 0 && !plug->interface)
        r = CC_TOOL(x, NULL, "ip", "address", "replace", plug->host, "dev", name);
    if (r == 0 && !plug->interface)
        r = CC_TOOL(x, NULL, "ip", "link", "set", name, "up");
    if (r == 0)
        r = fence(o, x);
    quiet.err = NULL;
    if (r != 0)
        VSCTL(o, &quiet, NULL, "--if-exists", "del-port", bridge, name);
    return r;
}

static int o_port_add(void *self, struct cc_provider_ctx *x, const struct cc_net_plug *plug)
{
    struct ovs *o = self;
    const struct bridge *b;
    const char *name;
    struct world w;
    int r;

    if (!cc_volume_id_ok(plug->id) || !cc_net_mac_ok(plug->mac))
        return cc_err_set(x->err, CC_E_INVALID,
                          "a port has an id of 1 to 64 letters, digits and -_., and a MAC of its own");
    if (plug->interface ? !interface_ok(plug->interface) : !host_ok(plug->host))
        return cc_err_set(x->err, CC_E_INVALID, "port %.64s: an interface or an address of the host's expected",
                          plug->id);
    name = plug->interface ? plug->interface : name_of(x->arena, "cch", plug->id);
    pthread_mutex_lock(&o->making);
    r = need_vpc(o, x, plug->vpc, &w, &b);
    if (r == 0)
        r = plugged(x, &w, b, plug, name);
    if (r == 0)
        r = plug_in(o, x, b->name, plug, name);
    pthread_mutex_unlock(&o->making);
    return r;
}

/* Its flows first: its number may be another's next. */
static int o_port_remove(void *self, struct cc_provider_ctx *x, const char *id)
{
    struct ovs *o = self;
    struct world w;
    size_t i;
    int r;

    pthread_mutex_lock(&o->making);
    r = look(o, x, &w);
    for (i = 0; r == 0 && i < w.n_plugs; i++) {
        const struct plug *p = &w.plugs[i];

        if (!p->vpc || !p->id || strcmp(p->id, id) != 0)
            continue;
        if (p->number)
            r = CC_TOOL(x, NULL, OFCTL, "del-flows", target(o, x->arena, p->bridge),
                        cc_arena_printf(x->arena, "in_port=%u", p->number));
        if (r == 0)
            r = VSCTL(o, x, NULL, "--if-exists", "del-port", p->bridge, p->name);
    }
    if (r == 0)
        r = fence(o, x);
    pthread_mutex_unlock(&o->making);
    return r;
}

static int o_port_list(void *self, struct cc_provider_ctx *x, const char *vpc, struct cc_net_plug_list *out)
{
    struct world w;
    size_t i;
    int r = look(self, x, &w);

    if (r != 0)
        return r;
    *out = (struct cc_net_plug_list){ cc_arena_alloc(x->arena, (w.n_plugs + 1) * sizeof(*out->v)), 0 };
    for (i = 0; i < w.n_plugs; i++) {
        const struct plug *p = &w.plugs[i];

        if (p->vpc && p->id && (!vpc || strcmp(p->vpc, vpc) == 0))
            out->v[out->n++] = (struct cc_net_plug){ .id = p->id, .vpc = p->vpc, .mac = p->mac, .interface = p->name };
    }
    return 0;
}

/* ---------------------------------------------------------------- flows */

/* The table for what is plugged in now. */
static int table_of(struct cc_provider_ctx *x, const struct world *w, const struct bridge *b,
                    const struct cc_net_plan *plan, const char **text)
{
    struct cc_net_port *ports = cc_arena_alloc(x->arena, (plan->n_ports + 1) * sizeof(*ports));
    struct cc_net_plan now = *plan;
    size_t i, k;

    for (i = 0; i < plan->n_ports; i++) {
        ports[i] = plan->ports[i];
        ports[i].number = 0;
        for (k = 0; k < w->n_plugs; k++)
            if (w->plugs[k].id && strcmp(w->plugs[k].bridge, b->name) == 0 && strcmp(w->plugs[k].id, ports[i].id) == 0)
                ports[i].number = w->plugs[k].number;
    }
    now.ports = ports;
    return cc_net_flows(&now, tracked(b) ? (uint16_t)zone_of(b) : 0, x->arena, text, x->err);
}

static bool secure(const struct bridge *b) { return b->fail_mode && strcmp(b->fail_mode, "secure") == 0; }

static int o_apply(void *self, struct cc_provider_ctx *x, const char *vpc, const struct cc_net_plan *plan)
{
    struct ovs *o = self;
    const struct bridge *b;
    const char *text = NULL;
    struct world w;
    int r = need_vpc(o, x, vpc, &w, &b);

    if (r == 0)
        r = table_of(x, &w, b, plan, &text);
    if (r == 0 && !secure(b))
        r = VSCTL(o, x, NULL, "set-fail-mode", b->name, "secure");
    pthread_mutex_lock(&o->making);
    if (r == 0)
        r = fence(o, x);
    pthread_mutex_unlock(&o->making);
    return r ? r
             : cc_tool_fed(x, NULL, text,
                           (const char *const[]){ OFCTL, "--bundle", "replace-flows", target(o, x->arena, b->name), "-",
                                                  NULL });
}

static void tell(struct cc_arena *a, const char *lines, bool open, struct cc_net_drift *out)
{
    const char *line;

    *out = (struct cc_net_drift){ .extra = open, .text = cc_arena_strndup(a, lines, strnlen(lines, DRIFT_TEXT_MAX)) };
    if (open)
        out->text = cc_arena_printf(a, "-fail_mode=standalone\n%s", out->text);
    for (line = lines; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        out->missing += *line == '+';
        out->extra += *line == '-';
    }
}

static int o_verify(void *self, struct cc_provider_ctx *x, const char *vpc, const struct cc_net_plan *plan,
                    struct cc_net_drift *out)
{
    const struct ovs *o = self;
    struct cc_tool_result t;
    const struct bridge *b;
    const char *text = NULL;
    struct world w;
    int r = need_vpc(o, x, vpc, &w, &b);

    if (r == 0)
        r = table_of(x, &w, b, plan, &text);
    if (r == 0)
        r = cc_tool_fed(x, &t, text,
                        (const char *const[]){ OFCTL, "diff-flows", target(o, x->arena, b->name), "/dev/stdin", NULL });
    if (r != 0)
        return r;
    if (t.exit != 0 && t.exit != 2)
        return cc_err_set(x->err, CC_E_IO, "%.200s", t.err);
    tell(x->arena, t.out, !secure(b), out);
    return 0;
}

const struct cc_net_driver cc_net_ovs = {
    .name = "ovs",
    .open = o_open,
    .close = o_close,
    .vpc_create = o_vpc_create,
    .vpc_remove = o_vpc_remove,
    .vpc_list = o_vpc_list,
    .port_add = o_port_add,
    .port_remove = o_port_remove,
    .port_list = o_port_list,
    .apply = o_apply,
    .verify = o_verify,
};
