/* The flow table of a VPC, as text: what is in it for a plan, that plans which make no sense are refused, and what it means:
 * a small reader of the rules' part says which port of TCP passes, and is compared with the plan itself. */
#include "providers/network/flows.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const struct cc_net_subnet subnets[] = { { "one", "10.0.0.0/24", NULL },
                                                { "two", "10.0.1.0/24", "10.0.1.254" } };
static const char *const in_a[] = { "a" };

struct fix {
    struct cc_arena arena;
    struct cc_err err;
    struct cc_net_rule rules[4];
    struct cc_net_group groups[2];
    struct cc_net_port ports[3];
    struct cc_net_plan plan;
    const char *text;
};

static int setup(void **state)
{
    struct fix *f = calloc(1, sizeof(*f));

    f->groups[0] = (struct cc_net_group){ "a", f->rules, 1 };
    f->groups[1] = (struct cc_net_group){ "b", NULL, 0 };
    f->rules[0] = (struct cc_net_rule){ .protocol = CC_NET_TCP, .from = 80, .to = 80 };
    f->ports[0] = (struct cc_net_port){ "m", "one", "52:54:00:00:00:05", "10.0.0.5", in_a, 1, 7 };
    f->ports[1] = (struct cc_net_port){ "n", "two", "52:54:00:00:01:06", "10.0.1.6", NULL, 0, 8 };
    f->ports[2] = (struct cc_net_port){ "o", "two", "52:54:00:00:01:07", "10.0.1.7", NULL, 0, 0 };
    f->plan = (struct cc_net_plan){ subnets, 2, f->ports, 3, f->groups, 2 };
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fix *f = *state;

    cc_arena_free(&f->arena);
    free(f);
    return 0;
}

static int make(struct fix *f, uint16_t zone)
{
    f->err = (struct cc_err){ 0 };
    f->text = NULL;
    return cc_net_flows(&f->plan, zone, &f->arena, &f->text, &f->err);
}

static bool has(const struct fix *f, const char *part) { return strstr(f->text, part) != NULL; }

static size_t count(const struct fix *f, const char *part)
{
    const char *at = f->text;
    size_t n = 0;

    for (; (at = strstr(at, part)); at += strlen(part))
        n++;
    return n;
}

static void test_a_port_is_known_by_number_mac_and_address(void **state)
{
    struct fix *f = *state;
    const char *again;

    assert_int_equal(make(f, 3), 0);
    assert_true(has(f, "in_port=7,vlan_tci=0/0x1fff,dl_src=52:54:00:00:00:05,ip,nw_src=10.0.0.5,"));
    assert_true(has(f, "in_port=7,vlan_tci=0/"
                       "0x1fff,dl_src=52:54:00:00:00:05,arp,arp_op=1,arp_spa=10.0.0.5,arp_sha=52:54:00:00:00:05,"));
    assert_int_equal(count(f, "in_port=7,"), 3);
    assert_int_equal(count(f, "table=0,"), 4); /* of two ports, nothing else comes from anywhere */
    assert_false(has(f, "10.0.1.7"));          /* not plugged in */
    assert_true(has(f, "ct(commit,zone=3)"));
    assert_true(has(f, "arp_tpa=10.0.0.1,"));
    assert_true(has(f, "arp_tpa=10.0.1.254,"));
    again = f->text;
    assert_int_equal(make(f, 3), 0);
    assert_string_equal(f->text, again);
}

static void test_without_tracking_there_is_none(void **state)
{
    struct fix *f = *state;

    assert_int_equal(make(f, 0), 0);
    assert_false(has(f, "ct("));
    assert_false(has(f, "ct_state"));
    assert_true(has(f, "tcp,tcp_flags=+ack"));
}

/* Nothing is sent anywhere but to the port that was found by its address, or back to who asked. */
static void test_nothing_is_flooded(void **state)
{
    struct fix *f = *state;

    assert_int_equal(make(f, 3), 0);
    assert_int_equal(count(f, "output:"), count(f, "output:NXM_NX_REG0[]"));
    assert_false(has(f, "NORMAL") || has(f, "FLOOD") || has(f, "LOCAL") || has(f, "ALL") || has(f, "CONTROLLER"));
}

/* The flows for the receiver's rules, of TCP: the highest priority that matches decides. */
struct row {
    unsigned priority, value, mask;
    bool passes;
};
struct rows {
    struct row v[128];
    size_t n;
};

static void read_rows(const char *text, struct rows *rows)
{
    const char *line, *tp, *end;
    unsigned table;
    struct row r;

    for (rows->n = 0, line = text; *line; line = *end ? end + 1 : end) {
        end = line + strcspn(line, "\n");
        r = (struct row){ 0 };
        if (sscanf(line, "table=%u,priority=%u", &table, &r.priority) != 2 || table != 5)
            continue;
        if ((tp = memmem(line, (size_t)(end - line), "tp_dst=", 7)))
            assert_int_equal(sscanf(tp, "tp_dst=0x%x/0x%x", &r.value, &r.mask), 2);
        r.passes = memmem(line, (size_t)(end - line), "output:", 7) != NULL;
        assert_true(rows->n < 128);
        rows->v[rows->n++] = r;
    }
}

static bool passes(const struct rows *rows, unsigned port)
{
    const struct row *best = NULL;
    size_t i;

    for (i = 0; i < rows->n; i++)
        if ((port & rows->v[i].mask) == rows->v[i].value && (!best || rows->v[i].priority > best->priority))
            best = &rows->v[i];
    return best && best->passes;
}

static void test_ranges_are_exact(void **state)
{
    static const uint16_t ranges[][2] = { { 0, 1 },         { 1, 1 },     { 1, 65535 },     { 80, 80 },
                                          { 1000, 1999 },   { 0, 65535 }, { 65535, 65535 }, { 1023, 1025 },
                                          { 32767, 32769 }, { 7, 40000 } };
    struct fix *f = *state;
    struct rows rows;
    unsigned i, port;

    for (i = 0; i < sizeof(ranges) / sizeof(*ranges); i++) {
        f->rules[0].from = ranges[i][0], f->rules[0].to = ranges[i][1];
        assert_int_equal(make(f, 3), 0);
        read_rows(f->text, &rows);
        for (port = 0; port < 65536; port++)
            if (passes(&rows, port) != (port >= ranges[i][0] && port <= ranges[i][1]))
                fail_msg("%u of %u-%u", port, ranges[i][0], ranges[i][1]);
    }
}

static void test_priorities_decide(void **state)
{
    struct fix *f = *state;
    struct rows rows;

    f->groups[0].n_rules = 4;
    f->rules[0] = (struct cc_net_rule){ .protocol = CC_NET_TCP, .from = 10, .to = 20, .priority = 5 };
    f->rules[1] = (struct cc_net_rule){ .protocol = CC_NET_TCP, .from = 12, .to = 14, .priority = 6, .deny = true };
    f->rules[2] = (struct cc_net_rule){ .protocol = CC_NET_TCP, .from = 13, .to = 13, .priority = CC_NET_PRIORITY_MAX };
    f->rules[3] = (struct cc_net_rule){ .protocol = CC_NET_TCP, .from = 18, .to = 30, .priority = 5, .deny = true };
    assert_int_equal(make(f, 3), 0);
    read_rows(f->text, &rows);
    assert_true(passes(&rows, 10) && passes(&rows, 13) && passes(&rows, 15) && passes(&rows, 17));
    assert_false(passes(&rows, 9) || passes(&rows, 12) || passes(&rows, 14) || passes(&rows, 18) || passes(&rows, 30));
}

static void refused(struct fix *f, int code, const char *what)
{
    const char *before = f->text;

    f->err = (struct cc_err){ 0 };
    assert_int_equal(cc_net_flows(&f->plan, 3, &f->arena, &f->text, &f->err), code);
    assert_ptr_equal(f->text, before);
    if (!strstr(f->err.message, what))
        fail_msg("\"%s\" is not about %s", f->err.message, what);
}

#define REFUSED(field, value, what)                                                                                    \
    do {                                                                                                               \
        __typeof__(field) before_ = (field);                                                                           \
        (field) = (value);                                                                                             \
        refused(f, CC_E_INVALID, (what));                                                                              \
        (field) = before_;                                                                                             \
    } while (0)

static void test_a_plan_without_sense_is_refused(void **state)
{
    static const char *const nowhere[] = { "c" };
    static const char *const macs[] = {
        "",   "52:54:00:00:00",    "52:54:00:00:00:0g", "53:54:00:00:00:01",  "52-54-00-00-00-01",
        NULL, "00:00:00:00:00:00", "0a:cc:00:00:00:01", "52:54:00:00:00:01,", "5:254:00:00:00:01"
    };
    static const char *const addresses[] = { "",
                                             "10.0.0",
                                             "10.0.0.0",
                                             "10.0.0.255",
                                             "10.0.0.1",
                                             "10.0.1.5",
                                             "10.0.0.5/32",
                                             NULL,
                                             "10.0.0.5,actions=NORMAL",
                                             "::1" };
    static const char *const nets[] = {
        "", "10.0.0.0", "10.0.0.1/24", "10.0.0.0/33", "10.0.0.0/24x", "0.0.0.0/-1", "/8"
    };
    struct cc_net_subnet own[2] = { subnets[0], subnets[1] };
    struct fix *f = *state;
    size_t i;

    assert_int_equal(make(f, 3), 0);
    for (i = 0; i < sizeof(macs) / sizeof(*macs); i++)
        REFUSED(f->ports[0].mac, macs[i], "port m");
    for (i = 0; i < sizeof(addresses) / sizeof(*addresses); i++)
        REFUSED(f->ports[0].address, addresses[i], "port m");
    for (i = 0; i < sizeof(nets) / sizeof(*nets); i++)
        REFUSED(f->rules[0].cidr, nets[i], "group a");
    REFUSED(f->ports[0].subnet, "three", "subnet");
    REFUSED(f->ports[0].groups, nowhere, "group c");
    REFUSED(f->ports[1].number, 7, "number");
    REFUSED(f->ports[1].mac, "52:54:00:00:00:05", "MAC");
    REFUSED(f->ports[1].mac, "52:54:00:00:01:07", "MAC");
    REFUSED(f->ports[2].address, "10.0.1.6", "address");
    REFUSED(f->rules[0].to, 79, "range");
    REFUSED(f->rules[0].protocol, CC_NET_ICMP, "range");
    REFUSED(f->rules[0].priority, CC_NET_PRIORITY_MAX + 1, "priority");
    REFUSED(f->rules[0].group, "c", "group");
    REFUSED(f->groups[1].id, "a", "two groups");
    f->plan.subnets = own;
    REFUSED(own[1].cidr, "10.0.0.0/16", "overlaps");
    REFUSED(own[1].cidr, "10.0.0.128/25", "two");
    REFUSED(own[1].cidr, "0.0.0.0/0", "subnet two");
    REFUSED(own[1].cidr, "10.0.1.0/31", "subnet two");
    REFUSED(own[1].gateway, "10.0.0.1", "gateway");
    REFUSED(own[1].gateway, "10.0.1.255", "gateway");
    REFUSED(own[1].id, "one", "overlaps");
    assert_int_equal(make(f, 3), 0);
    f->groups[0].n_rules = CC_NET_RULES_MAX + 1;
    refused(f, CC_E_LIMIT, "rules");
    f->groups[0].n_rules = 1;
    f->plan.n_groups = CC_NET_GROUPS_MAX + 1;
    refused(f, CC_E_LIMIT, "groups");
}

/* As many flows as ports and rules, not their product. */
static void test_it_grows_by_sums(void **state)
{
    enum { PORTS = 2000, RULES = CC_NET_RULES_MAX };
    struct fix *f = *state;
    struct cc_net_port *ports = calloc(PORTS, sizeof(*ports));
    struct cc_net_rule *rules = calloc(RULES, sizeof(*rules));
    const struct cc_net_subnet wide = { "one", "10.0.0.0/16", NULL };
    size_t i;

    for (i = 0; i < RULES; i++)
        rules[i] = (struct cc_net_rule){
            .protocol = CC_NET_TCP, .from = (uint16_t)(i + 1), .to = (uint16_t)(i + 1), .group = "a"
        };
    f->groups[0] = (struct cc_net_group){ "a", rules, RULES };
    for (i = 0; i < PORTS; i++)
        ports[i] = (struct cc_net_port){
            .id = "p",
            .subnet = "one",
            .mac = cc_arena_printf(&f->arena, "52:54:00:00:%02zx:%02zx", i / 256, i % 256),
            .address = cc_arena_printf(&f->arena, "10.0.%zu.%zu", 1 + i / 200, 1 + i % 200),
            .groups = in_a,
            .n_groups = 1,
            .number = (uint32_t)i + 1,
        };
    f->plan = (struct cc_net_plan){ &wide, 1, ports, PORTS, f->groups, 2 };
    assert_int_equal(make(f, 3), 0);
    assert_true(count(f, "\n") < 6 * PORTS + 2 * RULES + 20);
    free(ports), free(rules);
}

#define FLOWS(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FLOWS(test_a_port_is_known_by_number_mac_and_address),
        FLOWS(test_without_tracking_there_is_none),
        FLOWS(test_nothing_is_flooded),
        FLOWS(test_ranges_are_exact),
        FLOWS(test_priorities_decide),
        FLOWS(test_a_plan_without_sense_is_refused),
        FLOWS(test_it_grows_by_sums),
    };

    return cmocka_run_group_tests_name("flows", tests, NULL, NULL);
}
