/* network.h - private networks of machines: the contract of a network driver.
 *
 * A VPC is a network of its own: what is plugged into one reaches nothing of
 * another, whatever addresses both use, and nothing of the host but what was
 * plugged in for it.  The driver keeps bridges and plugs; who may speak with
 * whom is computed anew from a plan (flows.h) and replaced at once, so what
 * is in force is a function of the plan and of what is plugged in, never of
 * what was before.  Straight-line C that may block; knows no machine.
 *
 * Idempotent: create and add of what is there find it, removal of what is not
 * is a success, and a failed create leaves nothing.  Ids are cc_volume_id_ok.
 * Answers live in the call's arena.
 * Thread: open and close on the loop; the calls on any worker, several at
 * once, and in several processes of one control plane.
 */
#ifndef CC_NETWORK_H
#define CC_NETWORK_H

#include "providers/network/flows.h"
#include "providers/provider.h"

/* How interfaces are called that libvirt plugs in for our machines; 12 characters of the machine's follow. */
#define CC_NET_GUEST_PREFIX "ccp"

struct cc_net_vpc {
    const char *id, *bridge;
    bool stateful; /* connections are tracked; else replies are known by their ports alone */
};
struct cc_net_vpc_list {
    struct cc_net_vpc *v;
    size_t n;
};

/* An interface in a VPC. libvirt plugs in by itself (<virtualport type='openvswitch'> with our id as interfaceid). */
struct cc_net_plug {
    const char *id;        /* the port's in the plan */
    const char *vpc, *mac; /* mac: for the host's own and for the record; of others the plan decides */
    const char *interface; /* of this host, there already; NULL: one of the host's own, made here */
    const char *host;      /* the address of that, "10.0.0.9/24" */
};
struct cc_net_plug_list {
    struct cc_net_plug *v;
    size_t n;
};

/* How what is in force differs from the plan: both 0 when it does not. */
struct cc_net_drift {
    size_t missing, extra; /* flows; a bridge that would forward without any counts as one extra */
    const char *text;      /* a line for each, "+" missing and "-" extra, the first 4,096 bytes of it */
};

struct cc_net_driver {
    const char *name;

    int (*open)(const struct cc_pairs *settings, void **self, struct cc_err *err);
    void (*close)(void *self);

    int (*vpc_create)(void *self, struct cc_provider_ctx *x, const char *id, struct cc_net_vpc *out); /* closed */
    int (*vpc_remove)(void *self, struct cc_provider_ctx *x, const char *id); /* something plugged in: "conflict" */
    int (*vpc_list)(void *self, struct cc_provider_ctx *x, struct cc_net_vpc_list *out); /* exactly ours */

    /* Nothing passes until the next apply. "not_found": no such VPC or interface; "exists": the id is another interface;
     * "conflict": the interface is plugged in elsewhere. */
    int (*port_add)(void *self, struct cc_provider_ctx *x, const struct cc_net_plug *plug);
    int (*port_remove)(void *self, struct cc_provider_ctx *x, const char *id); /* nothing of it passes afterwards */
    int (*port_list)(void *self, struct cc_provider_ctx *x, const char *vpc,
                     struct cc_net_plug_list *out); /* NULL: all */

    /* The whole of what may pass in one VPC, all at once or, when it fails, not at all. A port of the plan that is not
     * plugged in gets nothing, and so does a plug that the plan does not know. To be called again when either changes. */
    int (*apply)(void *self, struct cc_provider_ctx *x, const char *vpc, const struct cc_net_plan *plan);
    int (*verify)(void *self, struct cc_provider_ctx *x, const char *vpc, const struct cc_net_plan *plan,
                  struct cc_net_drift *out);
};

extern const struct cc_net_driver cc_net_ovs, cc_net_mock;
const struct cc_net_driver *cc_net_driver_find(const char *name); /* or NULL */

#endif
