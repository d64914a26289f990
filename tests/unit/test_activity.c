/* What an agent says of its machine, read as what anybody may have said; and what busy leases may look like. */
#include "host/sys/lease.h"
#include "providers/activity.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define NOW 1700000000000
#define DAY 86400000

static struct cc_arena arena;

static struct cc_activity said(const char *text)
{
    json_t *o = text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
    struct cc_activity a;

    assert_true(!text || o);
    memset(&a, 0x55, sizeof(a));
    cc_activity_read(o, NOW, &arena, &a);
    json_decref(o);
    return a;
}

static int forget(void **state)
{
    (void)state;
    cc_arena_free(&arena);
    return 0;
}

static void test_a_whole_report(void **state)
{
    struct cc_activity a =
        said("{\"last_input_ms\":1699999999000,\"clients\":2,\"foreground\":\"make\",\"load\":1.5,\"uptime_ms\":7,"
             "\"turn\":true,\"ssh_sessions\":3,\"leases\":[{\"id\":\"a.b-c_1\",\"reason\":\"ein Gr\xc3\xbcnd\","
             "\"until_ms\":1700000060000,\"since_ms\":1699999990000},"
             "{\"id\":\"b\",\"reason\":\"r\",\"until_ms\":1700000000001,\"since_ms\":1,\"new\":{}}]}");

    (void)state;
    assert_true(a.last_input_at == 1699999999000 && a.clients == 2 && a.load == 1.5 && a.turn && a.ssh_sessions == 3);
    assert_string_equal(a.foreground, "make");
    assert_int_equal(a.n_leases, 2);
    assert_string_equal(a.leases[0].id, "a.b-c_1");
    assert_string_equal(a.leases[0].reason, "ein Gr\xc3\xbcnd");
    assert_true(a.leases[0].until_at == 1700000060000 && a.leases[0].since == 1699999990000);
    assert_true(a.leases[1].until_at == NOW + 1 && a.leases[1].since == 1);
}

static void assert_nothing(struct cc_activity a)
{
    assert_true(a.last_input_at == 0 && a.clients == 0 && !a.foreground && a.load == 0 && !a.turn);
    assert_true(a.ssh_sessions == 0 && a.n_leases == 0);
}

static void test_wrong_types_are_nothing_said(void **state)
{
    (void)state;
    assert_nothing(said(NULL));
    assert_nothing(said("[]"));
    assert_nothing(said("5"));
    assert_nothing(said("{}"));
    assert_nothing(said("{\"last_input_ms\":\"5\",\"clients\":[],\"foreground\":5,\"load\":\"1\",\"turn\":1,"
                        "\"ssh_sessions\":true,\"leases\":{\"id\":\"a\"}}"));
    assert_nothing(said("{\"last_input_ms\":1.5,\"clients\":null,\"foreground\":\"\",\"load\":null,\"turn\":\"true\","
                        "\"ssh_sessions\":1e3,\"leases\":\"a\"}"));
    assert_nothing(said("{\"leases\":[null,5,\"a\",[],{},{\"id\":5,\"until_ms\":1700000060000},"
                        "{\"id\":\"\",\"until_ms\":1700000060000},{\"id\":\"a/b\",\"until_ms\":1700000060000},"
                        "{\"id\":\"a\"},{\"id\":\"a\",\"until_ms\":\"1700000060000\"},"
                        "{\"id\":\"a\",\"until_ms\":1.7e12},{\"id\":\"a\\n\",\"until_ms\":1700000060000}]}"));
}

static void test_numbers_are_brought_into_their_bounds(void **state)
{
    struct cc_activity a = said("{\"last_input_ms\":9223372036854775807,\"clients\":9223372036854775807,\"load\":1e308,"
                                "\"ssh_sessions\":4294967297}");

    (void)state;
    assert_true(a.last_input_at == (int64_t)1 << 53 && a.clients == 1000000 && a.load == 4096 &&
                a.ssh_sessions == 1000);
    assert_nothing(said("{\"last_input_ms\":-9223372036854775807,\"clients\":-1,\"load\":-1e308,\"ssh_sessions\":-5}"));
}

static void test_times_of_leases(void **state)
{
    struct cc_activity a =
        said("{\"leases\":[{\"id\":\"far\",\"reason\":\"r\",\"until_ms\":9223372036854775807,\"since_ms\":"
             "9223372036854775807},{\"id\":\"over\",\"until_ms\":1700000000000},{\"id\":\"long-over\",\"until_ms\":-1},"
             "{\"id\":\"old\",\"until_ms\":1700000000002,\"since_ms\":-7}]}");

    (void)state;
    assert_int_equal(a.n_leases, 2);
    assert_string_equal(a.leases[0].id, "far");
    assert_true(a.leases[0].until_at == NOW + DAY && a.leases[0].since == NOW);
    assert_string_equal(a.leases[1].id, "old");
    assert_true(a.leases[1].since == 0);
    assert_string_equal(a.leases[1].reason, "");
}

static void test_a_huge_list_and_one_name_twice(void **state)
{
    char *text = malloc(2000000), *at = text;
    struct cc_activity a;
    int i;

    (void)state;
    at += sprintf(at, "{\"leases\":[{\"id\":\"same\",\"reason\":\"first\",\"until_ms\":1700000060000}");
    for (i = 0; i < 20000; i++)
        at += sprintf(at, ",{\"id\":\"%s%d\",\"reason\":\"r\",\"until_ms\":1700000060000}", i % 2 ? "l" : "same",
                      i % 2 ? i : 0);
    strcpy(at, "]}");
    a = said(text);
    free(text);
    assert_in_range(a.n_leases, 2, CC_LEASES_MAX);
    assert_string_equal(a.leases[0].reason, "first");
    for (i = 1; i < (int)a.n_leases; i++)
        assert_string_not_equal(a.leases[i].id, "same");
}

static void test_text_is_made_printable_and_cut(void **state)
{
    char text[2000], *at = text;
    struct cc_activity a;
    int i;

    (void)state;
    at += sprintf(at, "{\"foreground\":\"a\\u001b[2J\\u202eb\",\"leases\":[{\"id\":\"a\",\"until_ms\":1700000060000,"
                      "\"reason\":\"x");
    for (i = 0; i < 500; i++)
        at += sprintf(at, "\xc3\xa4");
    strcpy(at, "\"}]}");
    a = said(text);
    assert_string_equal(a.foreground, "a?[2J?b");
    assert_int_equal(strlen(a.leases[0].reason), 199); /* x and 99 whole characters */
    assert_memory_equal(a.leases[0].reason + 197, "\xc3\xa4", 3);
}

/* ---------------------------------------------------------------- lease.h */

static void test_what_is_printable(void **state)
{
    static const char *const good[] = { "a", " ", "~", "\xc3\xa4", "\xe2\x9c\x93", "\xf0\x9f\x98\x80", "\xee\x80\x80" };
    static const char *const bad[] = { "",
                                       "\n",
                                       "\x7f",
                                       "\xc2\x85",         /* a C1 control */
                                       "\xc2\xad",         /* soft hyphen */
                                       "\xe2\x80\x8b",     /* no width */
                                       "\xe2\x80\xae",     /* right to left from here */
                                       "\xe2\x80\xa8",     /* a line's end */
                                       "\xef\xbb\xbf",     /* byte order mark */
                                       "\xef\xbf\xbf",     /* no character */
                                       "\xf3\xa0\x81\x81", /* a tag */
                                       "\x80",
                                       "\xc3",
                                       "\xc0\xaf",         /* overlong */
                                       "\xe0\x80\xaf",     /* overlong */
                                       "\xed\xa0\x80",     /* a surrogate */
                                       "\xf4\x90\x80\x80", /* beyond U+10FFFF */
                                       "\xff" };
    char text[8];
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(good) / sizeof(*good); i++) {
        assert_true(cc_lease_reason_ok(good[i], strlen(good[i])));
        assert_int_equal(cc_printable(text, 7, good[i], strlen(good[i])), strlen(good[i]));
        assert_string_equal(text, good[i]);
    }
    for (i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        assert_false(cc_lease_reason_ok(bad[i], strlen(bad[i])));
        cc_printable(text, 7, bad[i], strlen(bad[i]));
        assert_true(strspn(text, "?") == strlen(text) && (!*bad[i] || *text));
    }
    assert_false(cc_lease_reason_ok("\0", 1));
}

static void test_a_cut_is_between_characters(void **state)
{
    char text[8];

    (void)state;
    assert_int_equal(cc_printable(text, 4, "ab\xe2\x9c\x93", 5), 2);
    assert_string_equal(text, "ab");
    assert_int_equal(cc_printable(text, 5, "ab\xe2\x9c\x93", 5), 5);
    assert_int_equal(cc_printable(text, 0, "ab", 2), 0);
    assert_string_equal(text, "");
    assert_int_equal(cc_printable(text, 7, "a\0b", 3), 3);
    assert_string_equal(text, "a?b");
}

static void test_names_of_leases(void **state)
{
    char longest[66];

    (void)state;
    memset(longest, 'x', 65);
    longest[65] = 0;
    assert_true(cc_lease_id_ok("claude-turn", 11) && cc_lease_id_ok("A_0.b", 5) && cc_lease_id_ok(longest, 64));
    assert_false(cc_lease_id_ok(longest, 65));
    assert_false(cc_lease_id_ok("", 0) || cc_lease_id_ok(".a", 2) || cc_lease_id_ok("a b", 3));
    assert_false(cc_lease_id_ok("a/b", 3) || cc_lease_id_ok("a\0b", 3) || cc_lease_id_ok("\xc3\xa4", 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_a_whole_report, forget),
        cmocka_unit_test_teardown(test_wrong_types_are_nothing_said, forget),
        cmocka_unit_test_teardown(test_numbers_are_brought_into_their_bounds, forget),
        cmocka_unit_test_teardown(test_times_of_leases, forget),
        cmocka_unit_test_teardown(test_a_huge_list_and_one_name_twice, forget),
        cmocka_unit_test_teardown(test_text_is_made_printable_and_cut, forget),
        cmocka_unit_test(test_what_is_printable),
        cmocka_unit_test(test_a_cut_is_between_characters),
        cmocka_unit_test(test_names_of_leases),
    };

    return cmocka_run_group_tests_name("activity", tests, NULL, NULL);
}
