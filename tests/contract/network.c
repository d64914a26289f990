/* network.c - the same cases for every network driver: what network.h promises, shown by traffic.
 *
 * contract network DRIVER [NAME=VALUE ...]   settings of the driver, and @halt=COMMAND: ends the switch and starts it again;
 * @down=NAME=VALUE; @left=COMMAND: says what is left of bridges. Only in a network and mount namespace made for it: CC_NETNS=1.
 * What must not arrive is followed by what must, on the same way: when that has come, the other will not.
 */
#include "tests/contract/net_machine.h"

#include "providers/network/network.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>

enum { MACHINES_MAX = 6, SOON = 5000, NOT = 300 /* ms that something is waited for that does not come */ };

static const struct cc_net_driver *driver;

static struct net_machine machines[MACHINES_MAX];

static int setup(void **state)
{
    memset(machines, 0, sizeof(machines));
    *state = driven_new(driver->open);
    return 0;
}

/* Nothing may be left, and what a failed case left goes. */
static int teardown(void **state)
{
    struct driven *s = *state;
    struct cc_net_plug_list plugs;
    struct cc_net_vpc_list vpcs;
    size_t i;

    DOES(driver->port_list(s->self, &s->x, NULL, &plugs));
    for (i = 0; i < plugs.n; i++)
        driver->port_remove(s->self, &s->x, plugs.v[i].id);
    DOES(driver->vpc_list(s->self, &s->x, &vpcs));
    for (i = 0; i < vpcs.n; i++)
        driver->vpc_remove(s->self, &s->x, vpcs.v[i].id);
    for (i = 0; i < MACHINES_MAX; i++)
        net_machine_end(&machines[i]);
    if (told.left)
        net_sh("test -z \"$(%s)\"", told.left);
    driven_free(s, driver->close);
    if (vpcs.n || plugs.n)
        fail_msg("%zu VPCs and %zu ports are left", vpcs.n, plugs.n);
    return 0;
}

/* ---------------------------------------------------------------- plans */

/* A plan that grows: subnets "one" 10.0.0.0/24 and "two" 10.0.1.0/24, machines in groups by a letter each. */
struct draft {
    struct cc_net_port ports[MACHINES_MAX + 1];
    const char *letters[MACHINES_MAX + 1][8];
    struct cc_net_group groups[8];
    struct cc_net_rule rules[8][16];
    struct cc_net_plan plan;
};

static const struct cc_net_subnet subnets[] = { { "one", "10.0.0.0/24", NULL },
                                                { "two", "10.0.1.0/24", "10.0.1.254" } };
static const char *const letter_ids[] = { "a", "b", "c", "d", "e", "f", "g", "h" };
static const struct cc_net_rule anything = { .direction = CC_NET_IN };

static void draft(struct draft *d, unsigned groups)
{
    unsigned i;

    memset(d, 0, sizeof(*d));
    d->plan = (struct cc_net_plan){ subnets, 2, d->ports, 0, d->groups, groups };
    for (i = 0; i < groups; i++)
        d->groups[i] = (struct cc_net_group){ letter_ids[i], d->rules[i], 0 };
}

static void rule(struct draft *d, char group, struct cc_net_rule r)
{
    struct cc_net_group *g = &d->groups[group - 'a'];

    d->rules[group - 'a'][g->n_rules++] = r;
}

static void member(struct draft *d, const struct net_machine *m, const char *letters)
{
    size_t n = d->plan.n_ports++, i;

    for (i = 0; letters[i]; i++)
        d->letters[n][i] = letter_ids[letters[i] - 'a'];
    d->ports[n] = (struct cc_net_port){ .id = m->id,
                                        .subnet = strncmp(m->address, "10.0.1.", 7) == 0 ? "two" : "one",
                                        .mac = m->mac,
                                        .address = m->address,
                                        .groups = d->letters[n],
                                        .n_groups = i };
}

static void apply(struct driven *s, const char *vpc, const struct draft *d)
{
    struct cc_net_drift drift;

    DOES(driver->apply(s->self, &s->x, vpc, &d->plan));
    DOES(driver->verify(s->self, &s->x, vpc, &d->plan, &drift));
    if (drift.missing || drift.extra)
        fail_msg("it is not as it was told:\n%s", drift.text);
}

static struct cc_net_vpc vpc(struct driven *s, const char *id)
{
    struct cc_net_vpc v;

    DOES(driver->vpc_create(s->self, &s->x, id, &v));
    return v;
}

static void plug(struct driven *s, const char *vpc_id, const struct net_machine *m)
{
    struct cc_net_plug p = { .id = m->id, .vpc = vpc_id, .mac = m->mac, .interface = m->tap };

    DOES(driver->port_add(s->self, &s->x, &p));
}

/* Machine number n: 10.0.0.n of subnet "one", or 10.0.1.n of "two", plugged in. */
static struct net_machine *box(struct driven *s, unsigned at, const char *vpc_id, const char *id, const char *subnet,
                               unsigned n)
{
    bool two = strcmp(subnet, "two") == 0;
    char mac[18], address[16];

    snprintf(mac, sizeof(mac), "52:54:00:%02x:%02x:%02x", at, two, n);
    snprintf(address, sizeof(address), "10.0.%d.%u", two, n);
    net_machine_start(&machines[at], id, mac, address, 24, two ? "10.0.1.254" : "10.0.0.1");
    plug(s, vpc_id, &machines[at]);
    return &machines[at];
}

static void gone(struct driven *s, const char *vpc_id, unsigned from, unsigned n)
{
    unsigned i;

    for (i = from; i < from + n; i++)
        DOES(driver->port_remove(s->self, &s->x, machines[i].id));
    DOES(driver->vpc_remove(s->self, &s->x, vpc_id));
    for (i = from; i < from + n; i++)
        net_machine_end(&machines[i]);
}

/* A frame that may pass, of `from` to `to`. */
static void mark(const struct net_machine *from, const struct net_machine *to, const char *text)
{
    struct net_frame f = net_udp(to->raw_mac, from->raw_mac, to->raw_address, from->raw_address, 9, 9, text);

    net_send(from, &f);
}

/* Where the switch is, for what is done behind the driver's back. */
static const char *rundir(void) { return cc_pairs_get(&(struct cc_pairs){ told.settings, told.n }, "rundir", ""); }

/* ---------------------------------------------------------------- what is there */

static void test_made_found_and_removed(void **state)
{
    struct driven *s = *state;
    struct cc_net_plug_list plugs;
    struct cc_net_vpc_list list;
    struct cc_net_vpc v = vpc(s, "one"), again = vpc(s, "one"), other = vpc(s, "8ad0f3c5-8a43-4a8c-a2a4-7a2a4d1c0f11");
    struct net_machine *m;
    struct cc_net_plug p;

    assert_string_equal(v.bridge, again.bridge);
    assert_true(strlen(other.bridge) < 16);
    assert_string_not_equal(v.bridge, other.bridge);
    DOES(driver->vpc_list(s->self, &s->x, &list));
    assert_int_equal(list.n, 2);
    m = box(s, 0, "one", "m", "one", 5);
    plug(s, "one", m);
    DOES(driver->port_list(s->self, &s->x, "one", &plugs));
    assert_int_equal(plugs.n, 1);
    assert_string_equal(plugs.v[0].id, "m");
    assert_string_equal(plugs.v[0].mac, m->mac);
    assert_string_equal(plugs.v[0].interface, m->tap);
    DOES(driver->port_list(s->self, &s->x, other.id, &plugs));
    assert_int_equal(plugs.n, 0);
    assert_int_equal(driver->vpc_remove(s->self, &s->x, "one"), CC_E_CONFLICT);
    p = (struct cc_net_plug){ .id = "n", .vpc = other.id, .mac = m->mac, .interface = m->tap };
    assert_int_equal(driver->port_add(s->self, &s->x, &p), CC_E_CONFLICT);
    p = (struct cc_net_plug){ .id = "n", .vpc = "none", .mac = m->mac, .interface = m->tap };
    assert_int_equal(driver->port_add(s->self, &s->x, &p), CC_E_NOT_FOUND);
    p = (struct cc_net_plug){ .id = "n", .vpc = "one", .mac = m->mac, .interface = "nothing-there" };
    assert_int_equal(driver->port_add(s->self, &s->x, &p), CC_E_NOT_FOUND);
    p.id = "m";
    assert_int_equal(driver->port_add(s->self, &s->x, &p), CC_E_EXISTS);
    p = (struct cc_net_plug){ .id = "n", .vpc = "one", .mac = m->mac, .interface = "--all" };
    assert_int_equal(driver->port_add(s->self, &s->x, &p), CC_E_INVALID);
    DOES(driver->port_list(s->self, &s->x, NULL, &plugs));
    assert_int_equal(plugs.n, 1);
    DOES(driver->port_remove(s->self, &s->x, "m"));
    DOES(driver->port_remove(s->self, &s->x, "m"));
    DOES(driver->vpc_remove(s->self, &s->x, "one"));
    DOES(driver->vpc_remove(s->self, &s->x, "one"));
    DOES(driver->vpc_remove(s->self, &s->x, other.id));
}

/* What is plugged in by others with our id (as libvirt does) is found; what a machine left is found and removed. */
static void test_plugs_of_others_and_of_the_gone(void **state)
{
    struct driven *s = *state;
    struct cc_net_plug_list plugs;
    struct net_machine *m, *n;
    struct draft d;

    vpc(s, "v");
    m = box(s, 0, "v", "m", "one", 5);
    n = box(s, 1, "v", "n", "one", 6);
    draft(&d, 1);
    rule(&d, 'a', anything);
    member(&d, m, "a");
    member(&d, n, "a");
    DOES(driver->port_remove(s->self, &s->x, "n"));
    apply(s, "v", &d); /* of which n is not plugged in */
    assert_false(net_reaches(m, NET_PING, n->address, 0, NOT));
    net_sh("ovs-vsctl --db=unix:%s/db.sock add-port %s %s -- set Interface %s external_ids:iface-id=n "
           "'external_ids:attached-mac=\"%s\"'",
           rundir(), vpc(s, "v").bridge, n->tap, n->tap, n->mac);
    DOES(driver->port_list(s->self, &s->x, "v", &plugs));
    assert_int_equal(plugs.n, 2);
    apply(s, "v", &d);
    assert_true(net_reaches(m, NET_PING, n->address, 0, SOON));
    net_machine_end(n);
    DOES(driver->port_list(s->self, &s->x, "v", &plugs));
    assert_int_equal(plugs.n, 2);
    assert_int_equal(driver->vpc_remove(s->self, &s->x, "v"), CC_E_CONFLICT);
    DOES(driver->port_remove(s->self, &s->x, "n"));
    gone(s, "v", 0, 1);
}

static void test_drift_is_told(void **state)
{
    struct driven *s = *state;
    struct cc_net_drift drift;
    struct cc_net_vpc v = vpc(s, "v");
    struct net_machine *m = box(s, 0, "v", "m", "one", 5);
    struct draft d;

    draft(&d, 1);
    rule(&d, 'a', anything);
    DOES(driver->verify(s->self, &s->x, "v", &d.plan, &drift));
    assert_true(drift.missing > 0); /* nothing was applied yet */
    assert_int_equal(drift.extra, 0);
    member(&d, m, "a");
    apply(s, "v", &d);
    net_sh("ovs-ofctl add-flow unix:%s/%s.mgmt priority=9,actions=NORMAL", rundir(), v.bridge);
    DOES(driver->verify(s->self, &s->x, "v", &d.plan, &drift));
    assert_int_equal(drift.extra, 1);
    assert_int_equal(drift.missing, 0);
    assert_non_null(strstr(drift.text, "NORMAL"));
    apply(s, "v", &d);
    net_sh("ovs-ofctl --strict del-flows unix:%s/%s.mgmt table=5,priority=0,ip", rundir(), v.bridge);
    DOES(driver->verify(s->self, &s->x, "v", &d.plan, &drift));
    assert_int_equal(drift.extra, 0);
    assert_int_equal(drift.missing, 1);
    apply(s, "v", &d);
    net_sh("ovs-vsctl --db=unix:%s/db.sock set-fail-mode %s standalone", rundir(), v.bridge);
    DOES(driver->verify(s->self, &s->x, "v", &d.plan, &drift));
    assert_true(drift.extra > 0);
    apply(s, "v", &d);
    assert_int_equal(driver->verify(s->self, &s->x, "none", &d.plan, &drift), CC_E_NOT_FOUND);
    gone(s, "v", 0, 1);
}

/* A plan that cannot be leaves what is in force. */
static void test_a_bad_plan_changes_nothing(void **state)
{
    struct driven *s = *state;
    struct net_machine *m, *n;
    struct cc_net_drift drift;
    struct draft d, bad;

    vpc(s, "v");
    m = box(s, 0, "v", "m", "one", 5);
    n = box(s, 1, "v", "n", "two", 6);
    draft(&d, 1);
    rule(&d, 'a', anything);
    member(&d, m, "a");
    member(&d, n, "a");
    apply(s, "v", &d);
    draft(&bad, 1);
    member(&bad, m, "b");
    assert_int_equal(driver->apply(s->self, &s->x, "v", &bad.plan), CC_E_INVALID);
    DOES(driver->verify(s->self, &s->x, "v", &d.plan, &drift));
    assert_int_equal(drift.missing + drift.extra, 0);
    assert_true(net_reaches(m, NET_PING, n->address, 0, SOON));
    gone(s, "v", 0, 2);
}

static void test_who_does_not_answer_is_told(void **state)
{
    struct driven *s = *state;
    struct cc_pair down;
    struct cc_pairs settings = { &down, 1 };
    struct cc_net_vpc v;
    char word[256];
    void *other;

    NEEDS("@down", told.down);
    snprintf(word, sizeof(word), "%s", told.down);
    down = (struct cc_pair){ word, strchr(word, '=') + 1 };
    word[strcspn(word, "=")] = 0;
    DOES(driver->open(&settings, &other, &s->err));
    assert_int_equal(driver->vpc_create(other, &s->x, "v", &v), CC_E_UNAVAILABLE);
    assert_true(s->err.retryable);
    driver->close(other);
    down.key = "colour";
    assert_int_equal(driver->open(&settings, &other, &s->err), CC_E_INVALID);
    s->call.cancelled = true;
    assert_int_equal(driver->vpc_create(s->self, &s->x, "v", &v), CC_E_CANCELLED);
    s->call.cancelled = false;
}

/* ---------------------------------------------------------------- what passes */

static const uint16_t web[] = { 80 };

/* Two tenants with the same addresses, all open: neither is of the other's world, and the host is of nobody's. */
static void test_two_tenants_do_not_meet(void **state)
{
    struct driven *s = *state;
    struct cc_net_vpc va = vpc(s, "tenant-a"), vb = vpc(s, "tenant-b");
    struct net_machine *a1 = box(s, 0, "tenant-a", "a1", "one", 5), *a2 = box(s, 1, "tenant-a", "a2", "one", 6),
                       *b1 = box(s, 2, "tenant-b", "b1", "one", 5), *b2 = box(s, 3, "tenant-b", "b2", "one", 6),
                       *b3 = box(s, 4, "tenant-b", "b3", "two", 7), *all[] = { a1, a2, b1, b2, b3 };
    static const uint8_t everybody[6] = { 255, 255, 255, 255, 255, 255 };
    static const char *const hosts[] = { "10.0.0.200", "192.0.2.1", "127.0.0.1" };
    struct net_server *in_a = net_serve(a2, NULL, web, 1), *in_b3 = net_serve(b3, NULL, web, 1),
                      *in_b = net_serve(b2, NULL, web, 1), *host = net_serve(NULL, NULL, web, 1);
    struct net_machine local = { .ns = "" };
    struct net_frame f;
    struct draft d;
    uint8_t mac[6], tap[6];
    size_t i, k;
    int here, hears;

    net_sh("ip addr replace 192.0.2.1/32 dev lo && ip addr add 10.0.0.200/24 dev %s && ip link set %s up && ip link "
           "set %s up",
           va.bridge, va.bridge, vb.bridge);
    for (k = 0; k < 2; k++) {
        draft(&d, 1);
        rule(&d, 'a', anything);
        for (i = k ? 2 : 0; i < (k ? 5 : 2); i++)
            member(&d, all[i], "a");
        apply(s, k ? "tenant-b" : "tenant-a", &d);
    }
    assert_true(net_reaches(a1, NET_PING, "10.0.0.6", 0, SOON));
    assert_true(net_reaches(a1, NET_TCP, "10.0.0.6", 80, SOON));
    assert_true(net_reaches(b1, NET_TCP, "10.0.0.6", 80, SOON));
    assert_true(net_reaches(b1, NET_TCP, "10.0.1.7", 80, SOON));
    assert_true(net_reaches(b3, NET_PING, "10.0.0.5", 0, SOON));
    for (k = 0; k < 3; k++) { /* all three ways to the other's machine, and to the host's addresses */
        assert_false(net_reaches(a1, (enum net_way)k, "10.0.1.7", 80, NOT));
        for (i = 0; i < 2; i++)
            assert_false(net_reaches(a1, (enum net_way)k, hosts[i], 80, NOT));
        assert_false(net_reaches(&local, (enum net_way)k, "10.0.0.6", 80, NOT)); /* nor the host to it */
    }
    net_mac_of(va.bridge, mac), net_mac_of(a1->tap, tap);
    hears = net_listen(NULL, NULL, 81, SOCK_DGRAM);
    here = net_watch(NULL, va.bridge);
    for (i = 2; i < 5; i++) { /* as the machine's kernel would never send it: to their MACs, from their addresses */
        f = net_udp(all[i]->raw_mac, a1->raw_mac, all[i]->raw_address, a1->raw_address, 80, 80, "astray");
        net_send(a1, &f);
        f = net_udp(all[i]->raw_mac, b1->raw_mac, all[i]->raw_address, b1->raw_address, 80, 80, "astray");
        net_send(a1, &f);
        f = net_udp(everybody, a1->raw_mac, all[i]->raw_address, a1->raw_address, 80, 80, "astray");
        net_send(a1, &f);
        f = net_arp(everybody, a1->raw_mac, 1, a1->raw_address, a1->raw_mac, all[i]->raw_address, "astray");
        net_send(a1, &f);
    }
    for (i = 0; i < 3; i++) {
        f = net_udp(mac, a1->raw_mac, inet_addr(hosts[i]), a1->raw_address, 81, 80, "astray");
        net_send(a1, &f);
        f = net_udp(tap, a1->raw_mac, inet_addr(hosts[i]), a1->raw_address, 81, 80,
                    "astray"); /* its wire's other end */
        net_send(a1, &f);
        f = net_udp(everybody, a1->raw_mac, INADDR_BROADCAST, 0, 81, 80, "astray");
        net_send(a1, &f);
        f = net_arp(everybody, a1->raw_mac, 1, a1->raw_address, a1->raw_mac, inet_addr(hosts[i]), "astray");
        net_send(a1, &f);
    }
    mark(a1, a2, "the end");
    assert_int_equal(net_until(a2->watch, "the end", "astray"), 0);
    mark(b2, b1, "the end"), mark(b1, b2, "the end"), mark(b2, b1, "the end");
    assert_int_equal(net_until(b1->watch, "the end", "astray"), 0);
    assert_int_equal(net_until(b2->watch, "the end", "astray"), 0);
    assert_int_equal(net_seen_now(b3->watch, "astray"), 0);
    assert_int_equal(net_seen_now(here, "astray"), 0);
    assert_int_equal(recv(hears, &f, sizeof(f), MSG_DONTWAIT), -1);
    close(here), close(hears);
    net_serve_end(in_a), net_serve_end(in_b), net_serve_end(in_b3), net_serve_end(host);
    net_sh("ip addr del 192.0.2.1/32 dev lo");
    gone(s, "tenant-a", 0, 2);
    gone(s, "tenant-b", 2, 3);
}

/* A connection of one tenant makes no way in for the same addresses of another: what would be its answer is none. */
static void test_connections_are_not_shared(void **state)
{
    struct driven *s = *state;
    struct cc_net_vpc v = vpc(s, "tenant-a");
    struct net_machine *a1, *a2, *b1, *b2;
    struct net_frame f;
    struct draft d;
    unsigned i;

    vpc(s, "tenant-b");
    a1 = box(s, 0, "tenant-a", "a1", "one", 5), a2 = box(s, 1, "tenant-a", "a2", "one", 6);
    b1 = box(s, 2, "tenant-b", "b1", "one", 5), b2 = box(s, 3, "tenant-b", "b2", "one", 6);
    for (i = 0; i < 2; i++) {
        draft(&d, 1);
        rule(&d, 'a', (struct cc_net_rule){ .direction = CC_NET_IN, .protocol = CC_NET_UDP, .from = 9, .to = 9 });
        member(&d, i ? b1 : a1, ""), member(&d, i ? b2 : a2, "a");
        apply(s, i ? "tenant-b" : "tenant-a", &d);
    }
    f = net_udp(a2->raw_mac, a1->raw_mac, a2->raw_address, a1->raw_address, 9, 4444, "question");
    net_send(a1, &f);
    assert_int_equal(net_until(a2->watch, "question", "astray"), 0);
    f = net_udp(a1->raw_mac, a2->raw_mac, a1->raw_address, a2->raw_address, 4444, 9, "answer");
    net_send(a2, &f);
    assert_int_equal(net_until(a1->watch, "answer", "astray"), 0);
    if (v.stateful) { /* without state an answer is known by its port alone */
        f = net_udp(b1->raw_mac, b2->raw_mac, b1->raw_address, b2->raw_address, 4444, 9, "astray");
        net_send(b2, &f);
    }
    f = net_tcp(b1->raw_mac, b2->raw_mac, b1->raw_address, b2->raw_address, 80, 5000, TH_SYN, "astray");
    net_send(b2, &f);
    f = net_udp(b2->raw_mac, b1->raw_mac, b2->raw_address, b1->raw_address, 9, 4000, "question");
    net_send(b1, &f);
    assert_int_equal(net_until(b2->watch, "question", "astray"), 0);
    f = net_udp(b1->raw_mac, b2->raw_mac, b1->raw_address, b2->raw_address, 4000, 9, "the end");
    net_send(b2, &f);
    assert_int_equal(net_until(b1->watch, "the end", "astray"), 0);
    gone(s, "tenant-a", 0, 2);
    gone(s, "tenant-b", 2, 2);
}

static void test_nobody_is_another(void **state)
{
    struct driven *s = *state;
    static const uint8_t everybody[6] = { 255, 255, 255, 255, 255, 255 }, many[6] = { 1, 0, 0x5e, 0, 0, 0xfb };
    static const char *const bad = "spoofed";
    struct net_machine *m, *n, *o;
    struct net_frame f[20];
    struct draft d;
    size_t k = 0, i;

    vpc(s, "v");
    m = box(s, 0, "v", "m", "one", 5), n = box(s, 1, "v", "n", "one", 6), o = box(s, 2, "v", "o", "one", 7);
    draft(&d, 1);
    rule(&d, 'a', anything);
    member(&d, m, "a"), member(&d, n, "a"), member(&d, o, "a");
    apply(s, "v", &d);
    f[k++] = net_udp(n->raw_mac, o->raw_mac, n->raw_address, m->raw_address, 9, 9, bad); /* another's MAC */
    f[k++] = net_udp(n->raw_mac, m->raw_mac, n->raw_address, o->raw_address, 9, 9, bad); /* another's address */
    f[k++] = net_udp(n->raw_mac, o->raw_mac, n->raw_address, o->raw_address, 9, 9, bad); /* both */
    f[k++] = net_udp(n->raw_mac, m->raw_mac, n->raw_address, inet_addr("10.0.0.99"), 9, 9, bad);
    f[k++] = net_udp(n->raw_mac, m->raw_mac, n->raw_address, 0, 9, 9, bad);
    f[k++] = net_udp(o->raw_mac, m->raw_mac, n->raw_address, m->raw_address, 9, 9,
                     bad); /* to one's MAC by another's address */
    f[k++] = net_udp(everybody, m->raw_mac, n->raw_address, m->raw_address, 9, 9, bad);
    f[k++] = net_udp(everybody, m->raw_mac, inet_addr("10.0.0.255"), m->raw_address, 9, 9, bad);
    f[k++] = net_udp(everybody, m->raw_mac, INADDR_BROADCAST, m->raw_address, 67, 68, bad);
    f[k++] = net_udp(many, m->raw_mac, inet_addr("224.0.0.251"), m->raw_address, 5353, 5353, bad);
    f[k++] = net_arp(n->raw_mac, m->raw_mac, 2, o->raw_address, m->raw_mac, n->raw_address, bad); /* "I am o" */
    f[k++] = net_arp(n->raw_mac, m->raw_mac, 2, m->raw_address, m->raw_mac, n->raw_address, bad); /* nobody asked */
    f[k++] = net_arp(everybody, m->raw_mac, 1, o->raw_address, m->raw_mac, n->raw_address, bad);
    f[k++] = net_arp(everybody, m->raw_mac, 1, o->raw_address, o->raw_mac, o->raw_address, bad);
    f[k++] = net_arp(everybody, m->raw_mac, 1, m->raw_address, m->raw_mac, n->raw_address,
                     bad); /* we answer; n is not asked */
    f[k++] = net_arp(everybody, m->raw_mac, 1, inet_addr("10.0.0.1"), m->raw_mac, n->raw_address,
                     bad); /* "I am the gateway" */
    f[k] = net_udp(n->raw_mac, m->raw_mac, n->raw_address, m->raw_address, 9, 9, bad);
    f[k].bytes[12] = 0x86, f[k].bytes[13] = 0xdd, k++; /* IPv6 */
    f[k] = net_udp(n->raw_mac, m->raw_mac, n->raw_address, m->raw_address, 9, 9, bad);
    memmove(f[k].bytes + 16, f[k].bytes + 12, f[k].n - 12);
    memcpy(f[k].bytes + 12, (const uint8_t[]){ 0x81, 0, 0, 7 }, 4);
    f[k].n += 4, k++; /* of VLAN 7 */
    for (i = 0; i < k; i++)
        net_send(m, &f[i]);
    mark(m, n, "the end"), mark(m, o, "the end");
    assert_int_equal(net_until(n->watch, "the end", bad), 0);
    assert_int_equal(net_until(o->watch, "the end", bad), 0);
    assert_true(net_reaches(n, NET_PING, o->address, 0, SOON));
    gone(s, "v", 0, 3);
}

struct attempt {
    enum net_way way;
    const char *to;
    uint16_t port;
    bool passes;
};

static void attempts(const struct net_machine *m, const struct attempt *v, size_t n)
{
    static const char *const words[] = { "ping", "tcp", "udp" };
    size_t i;

    for (i = 0; i < n; i++)
        if (net_reaches(m, v[i].way, v[i].to, v[i].port, v[i].passes ? SOON : NOT) != v[i].passes)
            fail_msg("%s: %s %s %u %s", m->id, words[v[i].way], v[i].to, v[i].port,
                     v[i].passes ? "does not pass" : "passes");
}
#define ATTEMPTS(m, ...)                                                                                               \
    attempts((m), (const struct attempt[]){ __VA_ARGS__ },                                                             \
             sizeof((const struct attempt[]){ __VA_ARGS__ }) / sizeof(struct attempt))

#define IN(...)                                                                                                        \
    (struct cc_net_rule) { .direction = CC_NET_IN, __VA_ARGS__ }
#define TO(...)                                                                                                        \
    (struct cc_net_rule) { .direction = CC_NET_OUT, __VA_ARGS__ }

/* Groups allow and deny exactly what they say, in a subnet and across: n is of the same, o of the other. */
static void test_groups_say_what_passes(void **state)
{
    static const uint16_t ports[] = { 80, 7999, 8000, 8001, 8003, 8004 };
    struct driven *s = *state;
    struct net_server *server, *across;
    struct net_machine *m, *n, *o;
    struct draft d;

    vpc(s, "v");
    m = box(s, 0, "v", "m", "one", 5), n = box(s, 1, "v", "n", "one", 6), o = box(s, 2, "v", "o", "two", 7);
    server = net_serve(n, NULL, ports, 6), across = net_serve(o, NULL, ports, 6);

    draft(&d, 0); /* without groups: nothing comes in */
    member(&d, m, ""), member(&d, n, ""), member(&d, o, "");
    apply(s, "v", &d);
    ATTEMPTS(m, { NET_PING, n->address, 0, false }, { NET_TCP, n->address, 80, false },
             { NET_UDP, o->address, 80, false });

    draft(&d, 2); /* a range, of one protocol */
    rule(&d, 'a', IN(.protocol = CC_NET_TCP, .from = 8000, .to = 8003));
    member(&d, m, ""), member(&d, n, "a"), member(&d, o, "a");
    apply(s, "v", &d);
    ATTEMPTS(m, { NET_TCP, n->address, 8000, true }, { NET_TCP, n->address, 8003, true },
             { NET_TCP, o->address, 8001, true }, { NET_TCP, n->address, 7999, false },
             { NET_TCP, o->address, 8004, false }, { NET_UDP, n->address, 8000, false },
             { NET_PING, n->address, 0, false });
    ATTEMPTS(n, { NET_TCP, o->address, 8000, true }, { NET_TCP, m->address, 8000, false });

    draft(&d, 2); /* a deny above it, and one below that decides nothing */
    rule(&d, 'a', IN(.protocol = CC_NET_TCP, .from = 8000, .to = 8003, .priority = 10));
    rule(&d, 'a', IN(.protocol = CC_NET_TCP, .from = 8001, .to = 8001, .priority = 20, .deny = true));
    rule(&d, 'a', IN(.protocol = CC_NET_TCP, .from = 8003, .to = 8003, .priority = 5, .deny = true));
    rule(&d, 'a',
         IN(.protocol = CC_NET_TCP, .from = 8000, .to = 8000, .priority = 10, .deny = true)); /* equal: denies */
    member(&d, m, ""), member(&d, n, "a"), member(&d, o, "a");
    apply(s, "v", &d);
    ATTEMPTS(m, { NET_TCP, n->address, 8001, false }, { NET_TCP, n->address, 8003, true },
             { NET_TCP, n->address, 8000, false });

    draft(&d, 2); /* by where from, and by group: of whom `m` is none */
    rule(&d, 'a', IN(.protocol = CC_NET_UDP, .from = 80, .to = 80, .cidr = "10.0.1.0/24"));
    rule(&d, 'a', IN(.protocol = CC_NET_ICMP, .group = "b"));
    member(&d, m, ""), member(&d, n, "a"), member(&d, o, "b");
    apply(s, "v", &d);
    ATTEMPTS(m, { NET_UDP, n->address, 80, false }, { NET_PING, n->address, 0, false });
    ATTEMPTS(o, { NET_UDP, n->address, 80, true }, { NET_PING, n->address, 0, true },
             { NET_TCP, n->address, 80, false });

    draft(&d, 3); /* out: only what is said, once anything is; the other's groups count too */
    rule(&d, 'a', IN(.protocol = CC_NET_ALL));
    rule(&d, 'b', TO(.protocol = CC_NET_TCP, .from = 80, .to = 80));
    rule(&d, 'b', TO(.protocol = CC_NET_ICMP, .cidr = "10.0.1.0/24"));
    member(&d, m, "bc"), member(&d, n, "a"), member(&d, o, "a");
    apply(s, "v", &d);
    ATTEMPTS(m, { NET_TCP, n->address, 80, true }, { NET_TCP, n->address, 8000, false },
             { NET_UDP, n->address, 80, false }, { NET_PING, n->address, 0, false }, { NET_PING, o->address, 0, true });
    ATTEMPTS(o, { NET_UDP, n->address, 8004, true });
    net_serve_end(server), net_serve_end(across);
    gone(s, "v", 0, 3);
}

/* A machine that may ask is answered, and that is no way in; a port that is closed says so. */
static void test_answers_alone_pass(void **state)
{
    struct driven *s = *state;
    struct net_server *server;
    struct net_machine *m, *n;
    struct net_frame f;
    struct draft d;
    bool stateful = vpc(s, "v").stateful;

    m = box(s, 0, "v", "m", "one", 5), n = box(s, 1, "v", "n", "one", 6);
    server = net_serve(n, NULL, web, 1);
    draft(&d, 1);
    rule(&d, 'a', IN(.protocol = CC_NET_TCP));
    rule(&d, 'a', IN(.protocol = CC_NET_UDP, .from = 9, .to = 9));
    member(&d, m, ""), member(&d, n, "a");
    apply(s, "v", &d);
    ATTEMPTS(m, { NET_TCP, n->address, 80, true }, { NET_TCP, n->address, 81, false });
    f = net_tcp(m->raw_mac, n->raw_mac, m->raw_address, n->raw_address, 5000, 80, TH_SYN,
                "astray"); /* from its own port */
    net_send(n, &f);
    if (stateful) { /* an answer that nobody asked for */
        f = net_tcp(m->raw_mac, n->raw_mac, m->raw_address, n->raw_address, 5001, 80, TH_SYN | TH_ACK, "astray");
        net_send(n, &f);
        f = net_tcp(m->raw_mac, n->raw_mac, m->raw_address, n->raw_address, 5002, 80, TH_ACK, "astray");
        net_send(n, &f);
        f = net_udp(m->raw_mac, n->raw_mac, m->raw_address, n->raw_address, 5003, 9, "astray");
        net_send(n, &f);
    }
    f = net_udp(n->raw_mac, m->raw_mac, n->raw_address, m->raw_address, 9, 4444, "question");
    net_send(m, &f);
    assert_int_equal(net_until(n->watch, "question", "astray"), 0);
    f = net_udp(m->raw_mac, n->raw_mac, m->raw_address, n->raw_address, 4444, 9, "the end");
    net_send(n, &f);
    assert_int_equal(net_until(m->watch, "the end", "astray"), 0);
    net_serve_end(server);
    gone(s, "v", 0, 2);
}

/* ---------------------------------------------------------------- changes under traffic */

struct stream {
    pthread_t thread;
    const struct net_machine *from;
    const char *to;
    atomic_bool over;
    atomic_uint rounds;
    bool broke;
    int fd;
};

static void *streaming(void *arg)
{
    struct stream *t = arg;

    while (!t->broke && !atomic_load(&t->over)) {
        t->broke =
            !net_echo(t->fd, "a piece of a connection that must not break, and that takes no notice of plans", SOON);
        atomic_fetch_add(&t->rounds, 1);
    }
    return NULL;
}

/* Knocks at a door that is never open, each time from another port. */
static void *knocking(void *arg)
{
    struct stream *t = arg;
    int fd;

    while (!t->broke && !atomic_load(&t->over)) {
        fd = net_connect(t->from, t->to, 7999, 5);
        t->broke = fd >= 0;
        if (fd >= 0)
            close(fd);
        atomic_fetch_add(&t->rounds, 1);
    }
    return NULL;
}

static void test_a_change_breaks_and_opens_nothing(void **state)
{
    static const uint16_t ports[] = { 80, 7999 };
    struct driven *s = *state;
    struct stream keeps = { 0 }, knocks = { 0 };
    struct net_server *server;
    struct net_machine *m, *n, *o;
    struct draft even, odd;
    unsigned i, before;

    vpc(s, "v");
    m = box(s, 0, "v", "m", "one", 5), n = box(s, 1, "v", "n", "one", 6), o = box(s, 2, "v", "o", "two", 7);
    server = net_serve(n, NULL, ports, 2);
    draft(&even, 3); /* the same is allowed, otherwise: other groups, other bits, another range */
    rule(&even, 'a', IN(.protocol = CC_NET_TCP, .from = 80, .to = 80));
    rule(&even, 'a', IN(.protocol = CC_NET_UDP));
    rule(&even, 'b', IN(.protocol = CC_NET_ALL));
    member(&even, m, "b"), member(&even, n, "a"), member(&even, o, "b");
    draft(&odd, 3);
    rule(&odd, 'a', IN(.protocol = CC_NET_ALL));
    rule(&odd, 'b', IN(.protocol = CC_NET_TCP, .from = 1, .to = 100, .group = "c"));
    rule(&odd, 'b', IN(.protocol = CC_NET_UDP, .from = 9, .to = 9));
    member(&odd, o, "a"), member(&odd, n, "b"), member(&odd, m, "ac");
    apply(s, "v", &even);
    knocks.from = o, knocks.to = n->address;
    keeps.fd = net_connect(m, n->address, 80, SOON);
    assert_true(keeps.fd >= 0);
    pthread_create(&keeps.thread, NULL, streaming, &keeps);
    pthread_create(&knocks.thread, NULL, knocking, &knocks);
    for (i = 0; i < 40; i++) {
        before = atomic_load(&keeps.rounds);
        DOES(driver->apply(s->self, &s->x, "v", i & 1 ? &even.plan : &odd.plan));
        assert_true(net_reaches(m, NET_TCP, n->address, 80, SOON));     /* a new one at once, either way */
        while (atomic_load(&keeps.rounds) < before + 3 && !keeps.broke) /* and some of the old one under each plan */
            sched_yield();
    }
    atomic_store(&keeps.over, true), atomic_store(&knocks.over, true);
    pthread_join(keeps.thread, NULL), pthread_join(knocks.thread, NULL);
    assert_false(keeps.broke);
    assert_false(knocks.broke);
    assert_true(atomic_load(&keeps.rounds) > 100);
    assert_true(atomic_load(&knocks.rounds) > 40);
    close(keeps.fd);
    net_serve_end(server);
    gone(s, "v", 0, 3);
}

/* What a plan no longer allows ends, in both directions, also what was open; and a later one takes it up again. */
static void test_a_rule_that_goes_ends_what_it_allowed(void **state)
{
    struct driven *s = *state;
    struct net_server *server;
    struct net_machine *m, *n;
    struct draft open, closed;
    uint64_t end = cc_mono_ms() + SOON;
    int fd;

    vpc(s, "v");
    m = box(s, 0, "v", "m", "one", 5), n = box(s, 1, "v", "n", "one", 6);
    server = net_serve(n, NULL, web, 1);
    draft(&open, 1), draft(&closed, 1);
    rule(&open, 'a', IN(.protocol = CC_NET_TCP, .from = 80, .to = 80));
    rule(&open, 'a', IN(.protocol = CC_NET_UDP));
    rule(&closed, 'a', IN(.protocol = CC_NET_UDP));
    member(&open, m, ""), member(&open, n, "a");
    member(&closed, m, ""), member(&closed, n, "a");
    apply(s, "v", &open);
    fd = net_connect(m, n->address, 80, SOON);
    assert_true(fd >= 0 && net_echo(fd, "first", SOON));
    apply(s, "v", &closed);
    while (net_echo(fd, "second", NOT) &&
           cc_mono_ms() < end) /* what the switch remembers of a way goes within a moment */
        ;
    net_seen_now(n->watch, "");
    assert_false(net_echo(fd, "third-of-them", NOT));
    mark(m, n, "the end");
    assert_int_equal(net_until(n->watch, "the end", "third-of-them"), 0);
    assert_false(net_reaches(m, NET_TCP, n->address, 80, NOT));
    apply(s, "v", &open);
    assert_true(net_reaches(m, NET_TCP, n->address, 80, SOON));
    close(fd);
    net_serve_end(server);
    gone(s, "v", 0, 2);
}

/* The switch comes back with its bridges and closed; a plan opens it. */
static void test_a_switch_that_starts_again_is_closed(void **state)
{
    struct driven *s = *state;
    struct cc_net_drift drift;
    struct net_machine *m, *n;
    struct draft d;

    NEEDS("@halt", told.halt);
    vpc(s, "v");
    m = box(s, 0, "v", "m", "one", 5), n = box(s, 1, "v", "n", "one", 6);
    draft(&d, 1);
    rule(&d, 'a', anything);
    member(&d, m, "a"), member(&d, n, "a");
    apply(s, "v", &d);
    assert_true(net_reaches(m, NET_PING, n->address, 0, SOON));
    net_sh("%s", told.halt);
    DOES(driver->verify(s->self, &s->x, "v", &d.plan, &drift));
    assert_true(drift.missing > 0);
    assert_int_equal(drift.extra, 0);
    assert_false(net_reaches(m, NET_PING, n->address, 0, NOT));
    apply(s, "v", &d);
    assert_true(net_reaches(m, NET_PING, n->address, 0, SOON));
    gone(s, "v", 0, 2);
}

/* A port of the host's own is a port like others, and the only address of the host. */
static void test_the_host_by_a_port_of_its_own(void **state)
{
    struct driven *s = *state;
    struct cc_net_plug host = { .id = "host", .vpc = "v", .mac = "52:54:00:aa:00:09", .host = "10.0.0.9/24" };
    struct net_machine *m, as = { .id = "host", .mac = "52:54:00:aa:00:09", .address = "10.0.0.9" };
    struct cc_net_plug_list plugs;
    struct net_server *server;
    struct draft d;

    vpc(s, "v");
    m = box(s, 0, "v", "m", "one", 5);
    DOES(driver->port_add(s->self, &s->x, &host));
    DOES(driver->port_add(s->self, &s->x, &host));
    DOES(driver->port_list(s->self, &s->x, "v", &plugs));
    assert_int_equal(plugs.n, 2);
    net_sh("ip addr replace 192.0.2.1/32 dev lo && ethtool -K %s tx off >/dev/null 2>&1 || true",
           plugs.v[strcmp(plugs.v[0].id, "host") != 0].interface);
    server = net_serve(NULL, NULL, web, 1);
    draft(&d, 1);
    rule(&d, 'a', IN(.protocol = CC_NET_TCP, .from = 80, .to = 80));
    member(&d, m, ""), member(&d, &as, "a");
    apply(s, "v", &d);
    ATTEMPTS(m, { NET_TCP, "10.0.0.9", 80, true }, { NET_TCP, "192.0.2.1", 80, false },
             { NET_PING, "10.0.0.9", 0, false });
    net_serve_end(server);
    net_sh("ip addr del 192.0.2.1/32 dev lo");
    DOES(driver->port_remove(s->self, &s->x, "host"));
    net_sh("! ip link show %s 2>/dev/null", plugs.v[strcmp(plugs.v[0].id, "host") != 0].interface);
    gone(s, "v", 0, 1);
}

#define NETS(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int contract_network(const char *name)
{
    static const struct CMUnitTest cases[] = {
        NETS(test_made_found_and_removed),
        NETS(test_plugs_of_others_and_of_the_gone),
        NETS(test_drift_is_told),
        NETS(test_a_bad_plan_changes_nothing),
        NETS(test_who_does_not_answer_is_told),
        NETS(test_two_tenants_do_not_meet),
        NETS(test_connections_are_not_shared),
        NETS(test_nobody_is_another),
        NETS(test_groups_say_what_passes),
        NETS(test_answers_alone_pass),
        NETS(test_a_change_breaks_and_opens_nothing),
        NETS(test_a_rule_that_goes_ends_what_it_allowed),
        NETS(test_a_switch_that_starts_again_is_closed),
        NETS(test_the_host_by_a_port_of_its_own),
    };

    if (!(driver = cc_net_driver_find(name)))
        return fprintf(stderr, "contract: no network driver %s\n", name), 2;
    if (!getenv("CC_NETNS"))
        return fprintf(stderr, "contract network: only in a network namespace of its own (CC_NETNS=1)\n"), 2;
    return cmocka_run_group_tests_name(name, cases, NULL, NULL);
}
