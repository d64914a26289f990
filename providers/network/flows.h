/* flows.h - who may speak with whom in a VPC, as the flow table of its bridge.
 *
 * Text from plain data: the same plan gives the same text, no call to
 * anything.  Nothing of the plan's own text gets into it: addresses are read
 * and written again, ids only compared.  flows.c says how the table is built.
 *
 * What passes, whatever the groups say: IPv4 from the MAC and address of the
 * port that sends it, to the address of another port of the VPC, and requests
 * of ARP for such an address, which the switch answers by itself.  Nothing
 * else: no broadcast, no multicast, no IPv6, no VLAN.
 * Of that the groups let through: in, what an allowing rule names (none: none);
 * out, the same when a group of the port has any rule for out, and else all.
 * Answers to what was let through pass.
 */
#ifndef CC_NETWORK_FLOWS_H
#define CC_NETWORK_FLOWS_H

#include "host/sys/err.h"
#include "providers/arena.h"

#include <stddef.h>
#include <stdint.h>

enum { CC_NET_GROUPS_MAX = 127, CC_NET_RULES_MAX = 256, CC_NET_PRIORITY_MAX = 10000 }; /* of a VPC; of a group */

struct cc_net_subnet {
    const char *id, *cidr;
    const char *gateway; /* whom its machines ask for the other subnets; NULL: the first address */
};

enum cc_net_direction { CC_NET_IN, CC_NET_OUT };
enum cc_net_protocol { CC_NET_ALL, CC_NET_TCP, CC_NET_UDP, CC_NET_ICMP };

struct cc_net_rule {
    enum cc_net_direction direction;
    enum cc_net_protocol protocol;
    uint16_t from, to;        /* ports of who is asked, TCP and UDP alone; both 0: all */
    const char *cidr, *group; /* the other side, one of them; both NULL: anybody in the VPC */
    unsigned priority;        /* the highest that matches decides; among equals one that denies */
    bool deny;
};
struct cc_net_group {
    const char *id;
    const struct cc_net_rule *rules;
    size_t n_rules;
};

struct cc_net_port {
    const char *id, *subnet, *mac, *address;
    const char *const *groups;
    size_t n_groups;
    uint32_t number; /* at the bridge, by the driver; 0: not plugged in */
};

struct cc_net_plan {
    const struct cc_net_subnet *subnets;
    size_t n_subnets;
    const struct cc_net_port *ports;
    size_t n_ports;
    const struct cc_net_group *groups;
    size_t n_groups;
};

/* `zone`: of the connections of this VPC alone; 0: connections are not tracked, and an answer is what comes from an allowed
 * port: of TCP only what opens nothing, of UDP all. "invalid" or "limit", said of which part of the plan. [any thread] */
int cc_net_flows(const struct cc_net_plan *plan, uint16_t zone, struct cc_arena *a, const char **text,
                 struct cc_err *err);

/* "52:54:00:01:02:03": of one interface, neither everybody's nor the gateways'. */
bool cc_net_mac_ok(const char *s);

#endif
