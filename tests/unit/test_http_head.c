/* Heads: what is refused, what is understood; escapes, addresses, ranges. The long table of
 * malformed requests is tests/http/raw.test.js; here are the parts that no socket shows. */
#include "host/http/addr.h"
#include "host/http/head.h"
#include "host/http/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static struct cc_head head;

static int parse(const char *text)
{
    struct cc_head_scan s = { .kind = CC_HEAD_REQUEST };
    int n = cc_head_scan(&s, text, strlen(text), CC_HEAD_BYTES);
    llhttp_t parser;

    return n > 0 ? cc_head_parse(&head, &parser, text, (size_t)n) : n;
}

static void assert_text(const char *base, unsigned at, unsigned n, const char *want)
{
    assert_int_equal(n, strlen(want));
    assert_memory_equal(base + at, want, n);
}

static void test_request_is_understood(void **state)
{
    const char *t =
        "POST /a%20b?c=d&e HTTP/1.1\r\nHost: h\r\nX-One:\r\nx-one: \t two  \r\nContent-Length: 12\r\n\r\nmore";

    (void)state;
    assert_int_equal(parse(t), 0);
    assert_int_equal(head.method, HTTP_POST);
    assert_int_equal(head.minor, 1);
    assert_true(head.keep_alive && head.escaped && !head.chunked && !head.upgrade && !head.expect);
    assert_int_equal(head.length, 12);
    assert_text(t, head.target, head.path_len, "/a%20b");
    assert_text(t, head.query, head.query_len, "c=d&e");
    assert_int_equal(head.count, 4);
    assert_text(t, head.fields[2].value, head.fields[2].value_len, "two");
    assert_ptr_equal(cc_head_find(&head, t, "x-one", 5), &head.fields[1]);
    assert_null(cc_head_find(&head, t, "x-two", 5));
}

static void test_flags(void **state)
{
    (void)state;
    assert_int_equal(parse("GET /? HTTP/1.0\r\n\r\n"), 0);
    assert_true(!head.keep_alive && head.query && head.query_len == 0);
    assert_int_equal(parse("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"), 0);
    assert_true(head.keep_alive && !head.query);
    assert_int_equal(parse("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"), 0);
    assert_false(head.keep_alive);
    assert_int_equal(parse("GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Upgrade\r\nUpgrade: websocket\r\n\r\n"), 0);
    assert_true(head.upgrade);
    assert_int_equal(parse("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-Continue\r\n\r\n"),
                     0);
    assert_true(head.chunked && head.expect && head.length == -1);
}

static void test_heads_in_pieces_are_told_as_early_as_can_be(void **state)
{
    const char *good = "GET / HTTP/1.1\r\nHost: a\r\n\r\n", *bad = "GET / HTTP/1.1\r\n X: folded\r\nHost: a";
    struct cc_head_scan s = { .kind = CC_HEAD_REQUEST };
    size_t n = strlen(good), i;

    (void)state;
    for (i = 1; i < n; i++)
        assert_int_equal(cc_head_scan(&s, good, i, CC_HEAD_BYTES), 0);
    assert_int_equal(cc_head_scan(&s, good, n, CC_HEAD_BYTES), n);
    s = (struct cc_head_scan){ .kind = CC_HEAD_REQUEST };
    assert_int_equal(cc_head_scan(&s, bad, strlen(bad), CC_HEAD_BYTES), -400);
    s = (struct cc_head_scan){ .kind = CC_HEAD_REQUEST };
    assert_int_equal(cc_head_scan(&s, good, n, 20), -431);
    s = (struct cc_head_scan){ .kind = CC_HEAD_REQUEST };
    assert_int_equal(cc_head_scan(&s, good, n, 10), -414);
}

static void test_trailers_and_responses(void **state)
{
    struct cc_head_scan s = { .kind = CC_HEAD_TRAILER };
    const char *r = "HTTP/1.1 101 \r\nA: b\r\n\r\n";

    (void)state;
    assert_int_equal(cc_head_scan(&s, "\r\nnext", 6, 100), 2);
    s = (struct cc_head_scan){ .kind = CC_HEAD_TRAILER };
    assert_int_equal(cc_head_scan(&s, "A: b\r\n\r\nnext", 12, 100), 8);
    s = (struct cc_head_scan){ .kind = CC_HEAD_TRAILER };
    assert_int_equal(cc_head_scan(&s, "A b\r\n\r\n", 7, 100), -400);
    s = (struct cc_head_scan){ .kind = CC_HEAD_RESPONSE };
    assert_int_equal(cc_head_scan(&s, r, strlen(r), 100), strlen(r));
    assert_int_equal(cc_head_parse_response(&head, r, strlen(r)), 0);
    assert_int_equal(head.status, 101);
    s = (struct cc_head_scan){ .kind = CC_HEAD_RESPONSE };
    assert_int_equal(cc_head_scan(&s, "HTTP/1.1 1010 \r\n\r\n", 18, 100), -502);
}

static void test_paths_are_decoded_once(void **state)
{
    static const struct {
        const char *in, *out;
    } table[] = {
        { "/", "/" },           { "/a%20b", "/a b" }, { "/%2e%2E/", "/../" },     { "/a%2Fb", "/a%2Fb" },
        { "/a%2fb", "/a%2fb" }, { "/%252F", "/%2F" }, { "/%c3%a9", "/\xc3\xa9" }, { "/%0a", "/\n" },
        { "/%ff", NULL },       { "/%c3", NULL },     { "/%00", NULL },           { "/%4", NULL },
        { "/%", NULL },         { "/%zz", NULL },     { "/%ed%a0%80", NULL },
    };
    char out[64];
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(table) / sizeof(*table); i++) {
        int n = cc_path_decode(table[i].in, strlen(table[i].in), out);

        if (table[i].out)
            assert_text(out, 0, (unsigned)n, table[i].out);
        else
            assert_int_equal(n, -1);
    }
}

static void test_lists_and_words(void **state)
{
    (void)state;
    assert_true(cc_list_has("a, Upgrade ,b", 13, "upgrade"));
    assert_true(cc_list_has("upgrade", 7, "upgrade"));
    assert_false(cc_list_has("upgrades", 8, "upgrade"));
    assert_false(cc_list_has("", 0, "upgrade"));
    assert_false(cc_list_has(",,", 2, "upgrade"));
    assert_true(cc_word_is("ABC", 3, "abc"));
    assert_false(cc_word_is("ABC", 3, "abcd"));
    assert_false(cc_word_is("ABCD", 4, "abc"));
    assert_true(cc_is_token("x-y", 3) && !cc_is_token("", 0) && !cc_is_token("a b", 3) && !cc_is_token("a:", 2));
    assert_true(cc_is_field_value("a\tb\xff", 4) && !cc_is_field_value("a\rb", 3) && !cc_is_field_value("\x7f", 1));
}

static void test_every_byte_at_every_place_of_a_value(void **state)
{
    char text[19];
    size_t at;
    int c;

    (void)state;
    for (at = 0; at < sizeof(text); at++) {
        for (c = 0; c < 256; c++) {
            memset(text, c % 2 ? 'x' : '\xff', sizeof(text));
            text[at] = (char)c;
            assert_int_equal(cc_is_field_value(text, sizeof(text)), (c >= 0x20 || c == '\t') && c != 0x7f);
        }
    }
}

static bool holds(const char *range, const char *addr)
{
    struct cc_cidr c;
    struct cc_addr a;

    assert_true(cc_cidr_parse(&c, range, strlen(range)));
    assert_true(cc_addr_parse(&a, addr, strlen(addr)));
    return cc_cidr_holds(&c, &a);
}

static void test_ranges(void **state)
{
    static const char *const bad[] = { "",           "/",           "10.0.0.0/",   "10.0.0.0/33",
                                       "10.0.0.1/8", "10.0.0.0/-1", "10.0.0.0/1x", "10.0.0/8",
                                       "fd00::/129", "fd00::1/64",  "fd00::/0064", "10.0.0.0 /8",
                                       "[::1]",      "localhost" };
    struct cc_cidr c;
    size_t i;

    (void)state;
    assert_true(holds("10.0.0.0/8", "10.255.1.2") && !holds("10.0.0.0/8", "11.0.0.0"));
    assert_true(holds("0.0.0.0/0", "9.9.9.9") && !holds("0.0.0.0/0", "fd00::1"));
    assert_true(holds("127.0.0.1", "127.0.0.1") && !holds("127.0.0.1", "127.0.0.2"));
    assert_true(holds("192.168.4.0/22", "192.168.7.255") && !holds("192.168.4.0/22", "192.168.8.0"));
    assert_true(holds("fd00::/8", "fdff::1") && !holds("fd00::/8", "fe00::1"));
    assert_true(holds("::1", "::1") && holds("::ffff:10.0.0.0/104", "10.1.1.1"));
    assert_true(holds("10.0.0.0/8", "10.1.2.3:8080") && holds("fd00::/8", "[fd00::1]:80") &&
                holds("fd00::/8", "[fd00::1]"));
    for (i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_false(cc_cidr_parse(&c, bad[i], strlen(bad[i])));
}

static void test_addresses(void **state)
{
    static const char *const bad[] = { "",     "1.2.3",  "1.2.3.4.5", "1.2.3.4x", "::g",
                                       "[::1", "[::1]x", "unknown",   "_hidden",  "1.2.3.4, 5" };
    struct cc_addr a;
    char text[46];
    size_t i;

    (void)state;
    assert_true(cc_addr_parse(&a, "::ffff:1.2.3.4", 14));
    assert_int_equal(cc_addr_text(&a, text), 7);
    assert_string_equal(text, "1.2.3.4");
    assert_true(cc_addr_parse(&a, "2001:DB8:0::1", 13));
    cc_addr_text(&a, text);
    assert_string_equal(text, "2001:db8::1");
    for (i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_false(cc_addr_parse(&a, bad[i], strlen(bad[i])));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request_is_understood),
        cmocka_unit_test(test_flags),
        cmocka_unit_test(test_heads_in_pieces_are_told_as_early_as_can_be),
        cmocka_unit_test(test_trailers_and_responses),
        cmocka_unit_test(test_paths_are_decoded_once),
        cmocka_unit_test(test_lists_and_words),
        cmocka_unit_test(test_every_byte_at_every_place_of_a_value),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_addresses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
