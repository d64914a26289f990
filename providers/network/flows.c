/* flows.c - the flow table of a VPC; see flows.h.
 *
 * A packet goes SOURCE (is it who it says?) -> TARGET (whose address is that?) -> TURN (a question or an answer?) ->
 * what the sender's groups say -> what the receiver's groups say -> out.  Groups are bits: of the sender in xxreg1,
 * of the receiver in xxreg2, so flows are as many as ports and rules, never their product.  For an answer the rules
 * are read from the other end: it passes only while what it answers would, so a rule that goes ends what it allowed.
 */
#include "providers/network/flows.h"

#include "host/sys/mem.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SOURCE, ARP, TARGET, TURN, ASK_OUT, ASK_IN, ANSWER_OUT, ANSWER_IN }; /* tables */
enum { FREE = 127 };                                                        /* the bit of who may send to anybody */
#define GATEWAY "0a:cc:00:00:00:01"
#define OUT "output:NXM_NX_REG0[]"

struct bits {
    uint64_t high, low;
};

struct subnet {
    const char *id;
    uint32_t net, mask, gateway;
};

struct port {
    const struct cc_net_port *said;
    const struct subnet *subnet;
    struct bits groups;
    uint32_t address;
    char mac[18];
};

struct table {
    const struct cc_net_plan *plan;
    struct subnet *subnets;
    struct port *ports;
    uint16_t zone;
    FILE *to;
    struct cc_err *err;
};

/* ---------------------------------------------------------------- reading the plan */

static struct bits bit(unsigned n)
{
    return n < 64 ? (struct bits){ 0, 1ull << n } : (struct bits){ 1ull << (n - 64), 0 };
}

static bool read_mac(const char *s, char out[18])
{
    unsigned m[6];
    int end = 0;

    if (!s || strspn(s, "0123456789abcdefABCDEF:") != 17 || strlen(s) != 17 ||
        sscanf(s, "%2x:%2x:%2x:%2x:%2x:%2x%n", &m[0], &m[1], &m[2], &m[3], &m[4], &m[5], &end) != 6 || end != 17)
        return false;
    snprintf(out, 18, "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
    return !(m[0] & 1) && strcmp(out, GATEWAY) != 0 && strcmp(out, "00:00:00:00:00:00") != 0;
}

bool cc_net_mac_ok(const char *s)
{
    char out[18];

    return read_mac(s, out);
}

static bool read_address(const char *s, uint32_t *out)
{
    struct in_addr a;

    if (!s || inet_pton(AF_INET, s, &a) != 1)
        return false;
    *out = ntohl(a.s_addr);
    return true;
}

/* "10.0.0.0/8", with nothing behind its mask. */
static bool read_cidr(const char *s, uint32_t *net, uint32_t *mask)
{
    const char *slash = s ? strchr(s, '/') : NULL;
    char address[16], *end;
    unsigned long bits;

    if (!slash || slash - s > 15 || slash[1] < '0' || slash[1] > '9')
        return false;
    memcpy(address, s, (size_t)(slash - s));
    address[slash - s] = 0;
    bits = strtoul(slash + 1, &end, 10);
    if (*end || bits > 32 || !read_address(address, net))
        return false;
    *mask = bits ? UINT32_MAX << (32 - bits) : 0;
    return (*net & ~*mask) == 0;
}

static int read_subnet(struct table *t, size_t n)
{
    const struct cc_net_subnet *said = &t->plan->subnets[n];
    struct subnet *s = &t->subnets[n];
    size_t i;

    s->id = said->id;
    if (!read_cidr(said->cidr, &s->net, &s->mask) || s->mask < 0xff000000 || s->mask > 0xfffffffc)
        return cc_err_set(t->err, CC_E_INVALID, "subnet %.64s: a network of /8 to /30 expected", said->id);
    s->gateway = s->net + 1;
    if (said->gateway && (!read_address(said->gateway, &s->gateway) || (s->gateway & s->mask) != s->net ||
                          s->gateway == s->net || s->gateway == (s->net | ~s->mask)))
        return cc_err_set(t->err, CC_E_INVALID, "subnet %.64s: its gateway is no address of it", said->id);
    for (i = 0; i < n; i++)
        if (strcmp(t->subnets[i].id, s->id) == 0 || (s->net & t->subnets[i].mask) == t->subnets[i].net ||
            (t->subnets[i].net & s->mask) == s->net)
            return cc_err_set(t->err, CC_E_INVALID, "subnet %.64s overlaps with %.64s", said->id, t->subnets[i].id);
    return 0;
}

static int group_of(const struct table *t, const char *id)
{
    size_t i;

    for (i = 0; i < t->plan->n_groups; i++)
        if (strcmp(t->plan->groups[i].id, id) == 0)
            return (int)i;
    return -1;
}

static bool rules_out(const struct cc_net_group *g)
{
    size_t i;

    for (i = 0; i < g->n_rules; i++)
        if (g->rules[i].direction == CC_NET_OUT)
            return true;
    return false;
}

static int read_groups(struct table *t, struct port *p)
{
    bool free_out = true;
    struct bits b;
    size_t i;
    int g;

    for (i = 0; i < p->said->n_groups; i++) {
        if ((g = group_of(t, p->said->groups[i])) < 0)
            return cc_err_set(t->err, CC_E_INVALID, "port %.64s: no group %.64s", p->said->id, p->said->groups[i]);
        b = bit((unsigned)g);
        p->groups.high |= b.high, p->groups.low |= b.low;
        free_out &= !rules_out(&t->plan->groups[g]);
    }
    if (free_out)
        p->groups.high |= bit(FREE).high;
    return 0;
}

static int read_port(struct table *t, size_t n)
{
    const struct cc_net_port *said = &t->plan->ports[n];
    struct port *p = &t->ports[n];
    const struct subnet *s = NULL;
    size_t i;

    p->said = said;
    for (i = 0; i < t->plan->n_subnets; i++)
        if (said->subnet && strcmp(t->subnets[i].id, said->subnet) == 0)
            s = &t->subnets[i];
    if (!s)
        return cc_err_set(t->err, CC_E_INVALID, "port %.64s: no such subnet", said->id);
    p->subnet = s;
    if (!read_mac(said->mac, p->mac))
        return cc_err_set(t->err, CC_E_INVALID, "port %.64s: no address of an interface", said->id);
    if (!read_address(said->address, &p->address) || (p->address & s->mask) != s->net || p->address == s->net ||
        p->address == (s->net | ~s->mask) || p->address == s->gateway)
        return cc_err_set(t->err, CC_E_INVALID, "port %.64s: no free address of subnet %.64s", said->id, s->id);
    return read_groups(t, p);
}

static int by_address(const void *a, const void *b)
{
    const struct port *p = *(const struct port *const *)a, *q = *(const struct port *const *)b;

    return p->address < q->address ? -1 : p->address > q->address;
}

static int by_mac(const void *a, const void *b)
{
    return strcmp((*(const struct port *const *)a)->mac, (*(const struct port *const *)b)->mac);
}

static int by_number(const void *a, const void *b)
{
    uint32_t p = (*(const struct port *const *)a)->said->number, q = (*(const struct port *const *)b)->said->number;

    return p < q ? -1 : p > q;
}

/* No two ports are the same to anybody. */
static int each_its_own(struct table *t)
{
    static int (*const orders[])(const void *, const void *) = { by_address, by_mac, by_number };
    static const char *const what[] = { "address", "MAC", "number" };
    const struct port **all = cc_xcalloc(t->plan->n_ports + 1, sizeof(struct port *));
    size_t i, k;
    int r = 0;

    for (i = 0; i < t->plan->n_ports; i++)
        all[i] = &t->ports[i];
    for (k = 0; k < 3 && r == 0; k++) {
        qsort(all, t->plan->n_ports, sizeof(struct port *), orders[k]);
        for (i = 1; i < t->plan->n_ports && r == 0; i++)
            if (orders[k](&all[i - 1], &all[i]) == 0 && (k != 2 || all[i]->said->number))
                r = cc_err_set(t->err, CC_E_INVALID, "ports %.64s and %.64s have one %s", all[i - 1]->said->id,
                               all[i]->said->id, what[k]);
    }
    free(all);
    return r;
}

static int check_rule(struct table *t, const char *group, const struct cc_net_rule *r)
{
    bool ports = r->protocol == CC_NET_TCP || r->protocol == CC_NET_UDP;
    uint32_t net, mask;

    if (r->from > r->to || (!ports && r->to))
        return cc_err_set(t->err, CC_E_INVALID, "group %.64s: a rule's ports make no range", group);
    if (r->priority > CC_NET_PRIORITY_MAX)
        return cc_err_set(t->err, CC_E_INVALID, "group %.64s: priority is 0 to %d", group, CC_NET_PRIORITY_MAX);
    if (r->cidr && (r->group || !read_cidr(r->cidr, &net, &mask)))
        return cc_err_set(t->err, CC_E_INVALID, "group %.64s: a rule is for one network or one group", group);
    if (r->group && group_of(t, r->group) < 0)
        return cc_err_set(t->err, CC_E_INVALID, "group %.64s: a rule is for a group that is not there", group);
    return 0;
}

static int read_plan(struct table *t)
{
    const struct cc_net_plan *p = t->plan;
    size_t i, k;
    int r = 0;

    if (p->n_groups > CC_NET_GROUPS_MAX)
        return cc_err_set(t->err, CC_E_LIMIT, "a VPC has at most %d security groups", CC_NET_GROUPS_MAX);
    for (i = 0; i < p->n_groups && r == 0; i++) {
        if (p->groups[i].n_rules > CC_NET_RULES_MAX)
            return cc_err_set(t->err, CC_E_LIMIT, "a security group has at most %d rules", CC_NET_RULES_MAX);
        if (group_of(t, p->groups[i].id) != (int)i)
            return cc_err_set(t->err, CC_E_INVALID, "there are two groups %.64s", p->groups[i].id);
        for (k = 0; k < p->groups[i].n_rules && r == 0; k++)
            r = check_rule(t, p->groups[i].id, &p->groups[i].rules[k]);
    }
    for (i = 0; i < p->n_subnets && r == 0; i++)
        r = read_subnet(t, i);
    for (i = 0; i < p->n_ports && r == 0; i++)
        r = read_port(t, i);
    return r ? r : each_its_own(t);
}

/* ---------------------------------------------------------------- writing the table */

static const char *dotted(uint32_t address, char out[16])
{
    snprintf(out, 16, "%u.%u.%u.%u", address >> 24, address >> 16 & 255, address >> 8 & 255, address & 255);
    return out;
}
#define DOTTED(a) dotted((a), (char[16]){ 0 })

static void put_bits(FILE *to, struct bits b) { fprintf(to, "0x%016" PRIx64 "%016" PRIx64, b.high, b.low); }

static void put_member(FILE *to, unsigned reg, unsigned group)
{
    fprintf(to, ",xxreg%u=", reg);
    put_bits(to, bit(group));
    fputc('/', to);
    put_bits(to, bit(group));
}

/* A sender is who it says: its port, its MAC, its address, no tag. What asks for its own address is not told that it is there. */
static void put_source(const struct table *t, const struct port *p)
{
    const char *address = DOTTED(p->address);
    uint32_t n = p->said->number;

    fprintf(t->to, "table=%d,priority=1,in_port=%u,vlan_tci=0/0x1fff,dl_src=%s,ip,nw_src=%s,actions=set_field:", SOURCE,
            n, p->mac, address);
    put_bits(t->to, p->groups);
    if (t->zone)
        fprintf(t->to, "->xxreg1,ct(table=%d,zone=%u)\n", TARGET, t->zone);
    else
        fprintf(t->to, "->xxreg1,resubmit(,%d)\n", TARGET);
    fprintf(t->to,
            "table=%d,priority=1,in_port=%u,vlan_tci=0/"
            "0x1fff,dl_src=%s,arp,arp_op=1,arp_spa=%s,arp_sha=%s,actions=resubmit(,%"
            "d)\n",
            SOURCE, n, p->mac, address, p->mac, ARP);
    fprintf(t->to, "table=%d,priority=2,in_port=%u,arp,arp_tpa=%s,actions=drop\n", ARP, n, address);
}

/* Whoever asks for that address is told that MAC, by us. */
static void put_arp(const struct table *t, uint32_t address, const char *mac)
{
    fprintf(t->to,
            "table=%d,priority=1,arp,arp_tpa=%s,actions=move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],set_field:%s->eth_src,"
            "set_field:2->arp_op,move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[],set_field:%s->arp_sha,"
            "move:NXM_OF_ARP_SPA[]->NXM_OF_ARP_TPA[],set_field:%s->arp_spa,in_port\n",
            ARP, DOTTED(address), mac, mac, DOTTED(address));
}

/* A receiver by its address, reached directly or by way of the gateway. */
static void put_target(const struct table *t, const struct port *p)
{
    int way;

    for (way = 0; way < 2; way++) {
        fprintf(t->to, "table=%d,priority=1,dl_dst=%s,ip,nw_dst=%s,actions=", TARGET, way ? GATEWAY : p->mac,
                DOTTED(p->address));
        if (way)
            fprintf(t->to, "dec_ttl,set_field:" GATEWAY "->eth_src,set_field:%s->eth_dst,", p->mac);
        fprintf(t->to, "set_field:0x%x->reg0,set_field:", p->said->number);
        put_bits(t->to, p->groups);
        fprintf(t->to, "->xxreg2,resubmit(,%d)\n", TURN);
    }
}

/* Of a connection: what it answers, and that a port of it is closed. */
static void put_turn(const struct table *t)
{
    if (!t->zone) {
        fprintf(t->to, "table=%d,priority=1,ip,actions=resubmit(,%d)\n", TURN, ASK_OUT);
        return;
    }
    fprintf(t->to, "table=%d,priority=3,ct_state=+trk+rel-inv,icmp,icmp_type=3,actions=" OUT "\n", TURN);
    fprintf(t->to, "table=%d,priority=2,ct_state=+trk+est+rpl-inv,ip,actions=resubmit(,%d)\n", TURN, ANSWER_OUT);
    fprintf(t->to, "table=%d,priority=1,ct_state=+trk-rpl-inv,ip,actions=resubmit(,%d)\n", TURN, ASK_OUT);
}

/* The part of the way in one table: whose rules, of which direction, and what comes next. */
struct step {
    int table;
    enum cc_net_direction direction;
    unsigned own, other; /* registers of whose rule it is, and of the other side */
    const char *remote, *port;
};
static const struct step steps[] = {
    { ASK_OUT, CC_NET_OUT, 1, 2, "nw_dst", "tp_dst" },
    { ASK_IN, CC_NET_IN, 2, 1, "nw_src", "tp_dst" },
    { ANSWER_OUT, CC_NET_IN, 1, 2, "nw_dst", "tp_src" },
    { ANSWER_IN, CC_NET_OUT, 2, 1, "nw_src", "tp_src" },
};

static void put_verdict(const struct table *t, const struct step *s, bool deny)
{
    bool ask = s->table == ASK_OUT || s->table == ASK_IN;

    if (deny && ask && !t->zone) /* it may still be an answer */
        fprintf(t->to, ",actions=resubmit(,%d)\n", ANSWER_OUT);
    else if (deny)
        fprintf(t->to, ",actions=drop\n");
    else if (s->table == ASK_OUT || s->table == ANSWER_OUT)
        fprintf(t->to, ",actions=resubmit(,%d)\n", s->table + 1);
    else if (ask && t->zone)
        fprintf(t->to, ",actions=ct(commit,zone=%u)," OUT "\n", t->zone);
    else
        fprintf(t->to, ",actions=" OUT "\n");
}

static void put_rule_head(const struct table *t, const struct step *s, const struct cc_net_rule *r, unsigned group,
                          const char *protocol)
{
    uint32_t net = 0, mask = 0;

    fprintf(t->to, "table=%d,priority=%u", s->table, 2 + 2 * r->priority + r->deny);
    put_member(t->to, s->own, group);
    if (r->group)
        put_member(t->to, s->other, (unsigned)group_of(t, r->group));
    fprintf(t->to, ",%s", protocol);
    if (read_cidr(r->cidr, &net, &mask) && mask)
        fprintf(t->to, ",%s=%s/%s", s->remote, DOTTED(net), DOTTED(mask));
}

/* One protocol of a rule: a flow for each power of two that its ports consist of. */
static void put_rule(const struct table *t, const struct step *s, const struct cc_net_rule *r, unsigned group,
                     const char *protocol)
{
    uint32_t at = r->from, size;
    bool ports = r->to != 0;

    do {
        put_rule_head(t, s, r, group, protocol);
        for (size = 1; ports && !(at & size) && at + 2 * size - 1 <= r->to && size < 65536; size *= 2)
            ;
        if (ports && size < 65536)
            fprintf(t->to, ",%s=0x%x/0x%x", s->port, at, 65536 - size);
        put_verdict(t, s, r->deny);
        at += size;
    } while (ports && at <= r->to);
}

static void put_protocols(const struct table *t, const struct step *s, const struct cc_net_rule *r, unsigned group)
{
    static const char *const tracked[] = { "ip", "tcp", "udp", "icmp" };
    bool guess = !t->zone && (s->table == ANSWER_OUT || s->table == ANSWER_IN);

    if (!guess) {
        put_rule(t, s, r, group, tracked[r->protocol]);
        return;
    }
    if (r->protocol == CC_NET_TCP || r->protocol == CC_NET_ALL)
        put_rule(t, s, r, group, "tcp,tcp_flags=+ack");
    if (r->protocol == CC_NET_UDP || r->protocol == CC_NET_ALL)
        put_rule(t, s, r, group, "udp");
    if (r->protocol == CC_NET_ICMP || r->protocol == CC_NET_ALL) {
        put_rule(t, s, r, group, "icmp,icmp_type=0");
        put_rule(t, s, r, group, "icmp,icmp_type=3");
    }
}

/* What nothing was said of: sent by who is free to, else denied. */
static void put_rest(const struct table *t, const struct step *s)
{
    if (s->direction == CC_NET_OUT) {
        fprintf(t->to, "table=%d,priority=1", s->table);
        put_member(t->to, s->own, FREE);
        fputs(",ip", t->to);
        put_verdict(t, s, false);
    }
    fprintf(t->to, "table=%d,priority=0,ip", s->table);
    put_verdict(t, s, true);
}

static void put_groups(const struct table *t)
{
    const struct cc_net_group *g;
    size_t s, i, k;

    for (s = 0; s < sizeof(steps) / sizeof(*steps); s++) {
        for (i = 0; i < t->plan->n_groups; i++)
            for (g = &t->plan->groups[i], k = 0; k < g->n_rules; k++)
                if (g->rules[k].direction == steps[s].direction)
                    put_protocols(t, &steps[s], &g->rules[k], (unsigned)i);
        put_rest(t, &steps[s]);
    }
}

static void put_table(const struct table *t)
{
    size_t i;

    for (i = 0; i < t->plan->n_ports; i++)
        if (t->ports[i].said->number) {
            put_source(t, &t->ports[i]);
            put_arp(t, t->ports[i].address, t->ports[i].mac);
            put_target(t, &t->ports[i]);
        }
    for (i = 0; i < t->plan->n_subnets; i++)
        put_arp(t, t->subnets[i].gateway, GATEWAY);
    put_turn(t);
    put_groups(t);
}

int cc_net_flows(const struct cc_net_plan *plan, uint16_t zone, struct cc_arena *a, const char **text,
                 struct cc_err *err)
{
    struct table t = { .plan = plan, .zone = zone, .err = err };
    char *out = NULL;
    size_t len;
    int r;

    t.subnets = cc_arena_alloc(a, (plan->n_subnets + 1) * sizeof(*t.subnets));
    t.ports = cc_arena_alloc(a, (plan->n_ports + 1) * sizeof(*t.ports));
    if ((r = read_plan(&t)) != 0)
        return r;
    if (!(t.to = open_memstream(&out, &len)))
        return cc_err_set(err, CC_E_INTERNAL, "no memory for a flow table");
    put_table(&t);
    fclose(t.to);
    *text = cc_arena_strndup(a, out, len);
    free(out);
    return 0;
}
