/* The rate limiter: exact over hours, bounded under a million addresses, and hard to be made forget a debt. */
#include "host/sys/limiter.h"

#include "host/http/addr.h"
#include "host/sys/clock.h"

#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static struct cc_limit take(struct cc_limiter *l, const char *key, uint32_t rate, uint32_t burst, uint32_t cost)
{
    return cc_limiter_take(l, key, strlen(key), rate, burst, cost);
}

/* A caller who never stops asking has at every moment had burst + rate * time tokens, to the token. */
static void hammer(uint32_t rate, uint32_t burst, uint64_t step_ms, uint64_t for_ms)
{
    struct cc_limiter *l = cc_limiter_new(64);
    uint64_t granted = 0, t;

    for (t = 0; t <= for_ms; t += step_ms) {
        while (take(l, "caller", rate, burst, 1).ok)
            granted++;
        assert_int_equal(granted, burst + rate * t / 60000);
        cc_clock_advance(step_ms);
    }
    cc_limiter_free(l);
}

static void test_rates_are_exact_over_hours(void **state)
{
    (void)state;
    hammer(5, 5, 977, 4 * 3600000);
    hammer(60, 60, 101, 3600000);
    hammer(7, 2, 1999, 24 * 3600000);
    hammer(61, 3, 13, 3600000 / 4);
    hammer(999983, 50000, 7, 20000);
    hammer(1, 2, 9973, 48 * 3600000ull);
    hammer(6, 1, 500, 3600000); /* with burst 1 who asks late has lost what came meanwhile; here nobody is late */
}

static void test_a_refusal_costs_nothing_and_says_when(void **state)
{
    struct cc_limiter *l = cc_limiter_new(8);
    struct cc_limit v;
    int i;

    (void)state;
    for (i = 4; i >= 0; i--) {
        v = take(l, "a", 7, 5, 1);
        assert_true(v.ok);
        assert_int_equal(v.remaining, i);
        assert_int_equal(v.retry_s, 0);
    }
    assert_int_equal(v.reset_s, 43); /* 5 tokens at 7 a minute: 42.86 s */
    for (i = 0; i < 1000; i++) {
        v = take(l, "a", 7, 5, 1);
        assert_false(v.ok);
        assert_int_equal(v.remaining, 0);
        assert_int_equal(v.retry_s, 9); /* 8.571 s */
    }
    cc_clock_advance(8571);
    assert_false(take(l, "a", 7, 5, 1).ok);
    cc_clock_advance(1);
    assert_true(take(l, "a", 7, 5, 1).ok);
    v = take(l, "a", 7, 5, 2);
    cc_clock_advance(v.retry_s * 1000ull);
    assert_true(take(l, "a", 7, 5, 2).ok);
    cc_clock_advance(60000);
    v = take(l, "a", 7, 5, 0);
    assert_int_equal(v.remaining, 5);
    assert_int_equal(v.reset_s, 0);
    cc_limiter_free(l);
}

static void test_costs_are_all_or_nothing_and_capped(void **state)
{
    struct cc_limiter *l = cc_limiter_new(8);

    (void)state;
    assert_true(take(l, "a", 60, 10, 7).ok);
    assert_false(take(l, "a", 60, 10, 4).ok);
    assert_true(take(l, "a", 60, 10, 3).ok);
    assert_false(take(l, "a", 60, 10, 1000000).ok);
    assert_int_equal(take(l, "a", 60, 10, 1000000).retry_s, 10);
    cc_clock_advance(10000);
    assert_true(take(l, "a", 60, 10, 1000000).ok);
    assert_int_equal(take(l, "a", 60, 10, 0).remaining, 0);
    assert_true(take(l, "unseen", 60, 10, 0).ok);
    cc_limiter_free(l);
}

static void test_another_rate_keeps_the_share_that_is_owed(void **state)
{
    struct cc_limiter *l = cc_limiter_new(8);
    struct cc_limit v;
    int i;

    (void)state;
    assert_true(take(l, "a", 1000, 1000, 500).ok);
    assert_int_equal(take(l, "a", 4, 4, 0).remaining, 2);
    assert_true(take(l, "a", 4, 4, 2).ok);
    v = take(l, "a", 1000, 1000, 1);
    assert_false(v.ok);
    assert_int_equal(v.reset_s, 60);
    for (i = 0; i < 1000; i++) { /* back and forth forgives nothing */
        assert_false(take(l, "a", 4, 4, 1).ok);
        assert_false(take(l, "a", 1000, 1000, 1).ok);
    }
    /* the largest debt there is, asked about with the smallest burst and the other way round */
    assert_true(take(l, "b", 1, CC_LIMIT_MOST, CC_LIMIT_MOST).ok);
    assert_int_equal(take(l, "b", 1, 1, 1).retry_s, 60);
    v = take(l, "b", 1, CC_LIMIT_MOST, CC_LIMIT_MOST);
    assert_int_equal(v.retry_s, 60000000);
    cc_clock_advance(60000000000ull);
    assert_true(take(l, "b", 1, CC_LIMIT_MOST, CC_LIMIT_MOST).ok);
    cc_clock_advance(1ull << 60);
    assert_int_equal(take(l, "b", CC_LIMIT_MOST, CC_LIMIT_MOST, 0).reset_s, 0);
    cc_limiter_free(l);
}

static void test_a_million_addresses_take_no_more_memory(void **state)
{
    struct cc_limiter *l = cc_limiter_new(CC_LIMIT_SLOTS);
    struct cc_limiter_stats s;
    size_t before = mallinfo2().uordblks;
    char key[32];
    int i;

    (void)state;
    for (i = 0; i < 1000000; i++) {
        snprintf(key, sizeof(key), "10.%d.%d.%d", i >> 16, i >> 8 & 255, i & 255);
        assert_true(take(l, key, 5, 5, 1).ok);
    }
    assert_int_equal(mallinfo2().uordblks, before);
    cc_limiter_stats(l, &s);
    assert_int_equal(s.slots, CC_LIMIT_SLOTS);
    assert_true(s.used <= s.slots && s.used > s.slots * 9 / 10);
    assert_int_equal(s.evicted, 1000000 - s.used);
    cc_clock_advance(12000);
    cc_limiter_stats(l, &s);
    assert_int_equal(s.used, 0);
    cc_limiter_free(l);
}

enum { VICTIMS = 100, SECONDS = 300, PER_VICTIM = 5 + 5 * (SECONDS - 1) / 60 };

/* `attackers` callers and 100 victims, all at 5 a minute, ask each second or two for ten minutes. A stranger who
 * comes but once joins with each turn of an attacker. -> what the victims got beyond their due. */
static int siege(size_t slots, int attackers, int strangers_a_second)
{
    struct cc_limiter *l = cc_limiter_new(slots);
    int got = 0, second, i, stranger = 0;
    struct cc_limiter_stats s;
    char key[32];

    for (second = 0; second < SECONDS; second++) {
        for (i = 0; i < VICTIMS; i++) {
            snprintf(key, sizeof(key), "victim %d", i);
            while (take(l, key, 5, 5, 1).ok)
                got++;
        }
        for (i = second % 2; i < attackers; i += 2) {
            snprintf(key, sizeof(key), "attacker %d", i);
            while (take(l, key, 5, 5, 1).ok)
                ;
        }
        for (i = 0; i < strangers_a_second; i++) {
            snprintf(key, sizeof(key), "stranger %d", stranger++);
            take(l, key, 5, 5, 1);
        }
        cc_clock_advance(1000);
    }
    cc_limiter_stats(l, &s);
    cc_limiter_free(l);
    got -= VICTIMS * PER_VICTIM;
    print_message("# %zu slots, %d at their limit, %d strangers a second: %d victims had %d more than their %d, "
                  "%llu given up\n",
                  s.slots, attackers, strangers_a_second, VICTIMS, got, VICTIMS * PER_VICTIM,
                  (unsigned long long)s.evicted);
    return got;
}

static void test_others_do_not_have_a_debt_forgiven(void **state)
{
    (void)state;
    /* strangers in any number never */
    assert_int_equal(siege(CC_LIMIT_SLOTS, 0, 3333), 0);
    assert_int_equal(siege(1024, 0, 1000), 0);
    /* callers at their limit: where chance puts more than 16 of them into one set, so the bounds are wide
     * (a victim who is forgiven each time has fifty times his due) */
    assert_true(siege(1024, 256, 500) < VICTIMS * PER_VICTIM / 2);
    assert_true(siege(1024, 512, 500) < VICTIMS * PER_VICTIM * 3);
    /* as many as slots: nobody can remember them all, and a victim's debt goes, too */
    siege(1024, 1024, 0);
    siege(1024, 2048, 0);
}

static void is_caller(const char *text, const char *want)
{
    char out[CC_ADDR_CALLER];
    struct cc_addr a;

    assert_true(cc_addr_parse(&a, text, strlen(text)));
    assert_int_equal(cc_addr_caller(&a, out), strlen(want));
    assert_string_equal(out, want);
}

static void test_an_address_stands_for_its_household(void **state)
{
    (void)state;
    is_caller("203.0.113.7", "203.0.113.7");
    is_caller("203.0.113.7:4711", "203.0.113.7");
    is_caller("::ffff:203.0.113.7", "203.0.113.7");
    is_caller("[::ffff:203.0.113.7]:80", "203.0.113.7");
    is_caller("2001:db8:0:7:1:2:3:4", "2001:db8:0:7::/64");
    is_caller("[2001:DB8::7:ffff:ffff:ffff:ffff]:443", "2001:db8:0:7::/64");
    is_caller("2001:db8:0:8:1:2:3:4", "2001:db8:0:8::/64");
    is_caller("::1", "::/64");
    is_caller("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff::/64");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rates_are_exact_over_hours),
        cmocka_unit_test(test_a_refusal_costs_nothing_and_says_when),
        cmocka_unit_test(test_costs_are_all_or_nothing_and_capped),
        cmocka_unit_test(test_another_rate_keeps_the_share_that_is_owed),
        cmocka_unit_test(test_a_million_addresses_take_no_more_memory),
        cmocka_unit_test(test_others_do_not_have_a_debt_forgiven),
        cmocka_unit_test(test_an_address_stands_for_its_household),
    };

    cc_clock_virtual(1700000000000);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
