/* Where a stranger's URL may lead: public addresses, and what is allowed beside. */
#include "host/http/egress.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <cmocka.h>

static bool allows(const struct cc_egress *e, const char *text)
{
    struct cc_addr a;

    assert_true(cc_addr_parse(&a, text, strlen(text)));
    return cc_egress_allows(e, &a);
}

static void test_public_addresses_alone(void **state)
{
    static const char *const yes[] = { "1.1.1.1",        "9.255.255.255",   "11.0.0.0",        "100.63.255.255",
                                       "100.128.0.0",    "126.255.255.255", "128.0.0.0",       "169.253.0.1",
                                       "172.15.255.255", "172.32.0.0",      "192.167.255.255", "192.169.0.0",
                                       "198.17.255.255", "198.20.0.0",      "223.255.255.255", "2606:4700::1",
                                       "2a01:4f8::1",    "2001:200::1",     "2003::1",         "::ffff:1.1.1.1" };
    static const char *const no[] = {
        "0.0.0.0",     "0.1.2.3",     "10.0.0.1",         "10.255.255.255",  "100.64.0.1",      "100.127.255.255",
        "127.0.0.1",   "127.255.0.1", "169.254.169.254",  "172.16.0.1",      "172.31.255.255",  "192.0.0.8",
        "192.0.2.1",   "192.88.99.1", "192.168.1.1",      "198.18.0.1",      "198.19.255.255",  "198.51.100.1",
        "203.0.113.1", "224.0.0.1",   "239.255.255.255",  "240.0.0.1",       "255.255.255.255", "::",
        "::1",         "::7f00:1",    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::1",
        "100::1",      "2001::1",     "2001:1ff::1",      "2001:db8::1",     "2002:7f00:1::",   "3fff::1",
        "4000::1",     "fc00::1",     "fd00:ec2::254",    "fe80::1",         "fec0::1",         "ff02::1"
    };
    const struct cc_egress none = { .n = 0 };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(yes) / sizeof(*yes); i++)
        if (!allows(&none, yes[i]))
            fail_msg("%s is refused", yes[i]);
    for (i = 0; i < sizeof(no) / sizeof(*no); i++)
        if (allows(&none, no[i]))
            fail_msg("%s is allowed", no[i]);
}

static void test_what_is_allowed_beside(void **state)
{
    struct cc_egress e = { .n = 2 };

    (void)state;
    assert_true(cc_cidr_parse(&e.allowed[0], "10.1.0.0/16", 11));
    assert_true(cc_cidr_parse(&e.allowed[1], "::1", 3));
    assert_true(allows(&e, "10.1.255.1") && allows(&e, "::1") && allows(&e, "1.1.1.1") &&
                allows(&e, "::ffff:10.1.0.1"));
    assert_false(allows(&e, "10.2.0.1") || allows(&e, "127.0.0.1") || allows(&e, "::2"));
}

static void test_other_families_are_refused(void **state)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr = { htonl(0x01010101) } };
    struct cc_egress e = { .n = 1 };

    (void)state;
    assert_true(cc_cidr_parse(&e.allowed[0], "::/0", 4));
    assert_false(cc_egress_allows_sockaddr(&e, (struct sockaddr *)&un));
    assert_true(cc_egress_allows_sockaddr(&e, (struct sockaddr *)&in));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_public_addresses_alone),
        cmocka_unit_test(test_what_is_allowed_beside),
        cmocka_unit_test(test_other_families_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
