/* WebSocket frames: headers in all lengths and pieces, masks, close payloads, followed streams. */
#include "host/http/handshake.h"
#include "host/http/ws_frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void test_headers_there_and_back(void **state)
{
    static const uint64_t lengths[] = { 0, 1, 125, 126, 127, 65535, 65536, 1ull << 40, INT64_MAX };
    static const uint8_t key[4] = { 9, 8, 7, 6 };
    size_t i, k, n;

    (void)state;
    for (i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
        struct cc_ws_head h = { 0 };
        struct cc_ws_frame f;
        uint8_t raw[14];
        bool done = false;

        n = cc_ws_head_put(raw, CC_WS_BINARY, i % 2, lengths[i], i % 3 ? key : NULL);
        for (k = 0; k < n; k++) {
            assert_false(done);
            assert_int_equal(cc_ws_head_feed(&h, raw + k, 1, &f, &done), 1);
        }
        assert_true(done);
        assert_true(f.len == lengths[i] && f.op == CC_WS_BINARY && f.fin == (i % 2) && f.masked == (i % 3 != 0));
    }
}

static int feed(const char *bytes, size_t n)
{
    struct cc_ws_head h = { 0 };
    struct cc_ws_frame f;
    bool done;

    return cc_ws_head_feed(&h, bytes, n, &f, &done);
}

static void test_what_nobody_may_send(void **state)
{
    (void)state;
    assert_int_equal(feed("\x82\x00", 2), 2);
    assert_int_equal(feed("\xc2\x00", 2), -1);
    assert_int_equal(feed("\xa2\x00", 2), -1);
    assert_int_equal(feed("\x92\x00", 2), -1);
    assert_int_equal(feed("\x83\x00", 2), -1);
    assert_int_equal(feed("\x8b\x00", 2), -1);
    assert_int_equal(feed("\x09\x00", 2), -1);
    assert_int_equal(feed("\x89\x7e", 2), -1);
    assert_int_equal(feed("\x82\x7e\x00\x7d", 4), -1);
    assert_int_equal(feed("\x82\x7f\x00\x00\x00\x00\x00\x00\xff\xff", 10), -1);
    assert_int_equal(feed("\x82\x7f\x80\x00\x00\x00\x00\x01\x00\x00", 10), -1);
}

static void test_masks_at_any_offset(void **state)
{
    static const uint8_t key[4] = { 1, 20, 30, 255 };
    uint8_t data[100], want[100];
    size_t i, at;

    (void)state;
    for (at = 0; at < 9; at++) {
        for (i = 0; i < sizeof(data); i++) {
            data[i] = (uint8_t)(i * 7);
            want[i] = (uint8_t)(data[i] ^ key[(i + at) & 3]);
        }
        cc_ws_mask(data, sizeof(data), key, at);
        assert_memory_equal(data, want, sizeof(data));
    }
}

static void test_close_payloads(void **state)
{
    uint8_t out[125];
    char reason[200];

    (void)state;
    assert_int_equal(cc_ws_close_put(out, 1011, "why", 3), 5);
    assert_memory_equal(out, "\x03\xf3why", 5);
    memset(reason, 'a', sizeof(reason));
    assert_int_equal(cc_ws_close_put(out, 1000, reason, sizeof(reason)), 125);
    memcpy(reason + 122, "\xc3\xa9", 2); /* would be cut in the middle of the character */
    assert_int_equal(cc_ws_close_put(out, 1000, reason, sizeof(reason)), 124);
    assert_true(cc_ws_code_ok(1000) && cc_ws_code_ok(4999) && !cc_ws_code_ok(1005) && !cc_ws_code_ok(0) &&
                !cc_ws_code_ok(5000));
}

static void test_accept_key(void **state)
{
    char out[29];

    (void)state;
    assert_true(cc_ws_accept("dGhlIHNhbXBsZSBub25jZQ==", 24, out));
    assert_string_equal(out, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_false(cc_ws_accept("dGhlIHNhbXBsZSBub25jZQ=", 23, out));
    assert_false(cc_ws_accept("dGhlIHNhbXBsZSBub25jZSE1", 24, out));
    assert_false(cc_ws_accept("!!!!!!!!!!!!!!!!!!!!!!==", 24, out));
}

static size_t put(uint8_t *p, int op, bool fin, const char *text)
{
    static const uint8_t key[4] = { 5, 6, 7, 8 };
    size_t n = strlen(text), h = cc_ws_head_put(p, op, fin, n, key);

    memcpy(p + h, text, n);
    cc_ws_mask(p + h, n, key, 0);
    return h + n;
}

static void test_following_tells_typing(void **state)
{
    struct cc_ws_follow f;
    uint8_t p[256];
    size_t n = 0, i, step;

    (void)state;
    n += put(p + n, CC_WS_BINARY, true, "{\"columns\":80}");
    n += put(p + n, CC_WS_BINARY, true, "1{}");
    n += put(p + n, CC_WS_PING, true, "0000");
    n += put(p + n, CC_WS_BINARY, false, "0a");
    n += put(p + n, CC_WS_PONG, true, "0");
    n += put(p + n, CC_WS_CONT, true, "bc");
    n += put(p + n, CC_WS_BINARY, false, "");
    n += put(p + n, CC_WS_CONT, true, "0d");
    n += put(p + n, CC_WS_TEXT, true, "0");
    for (step = 1; step <= n; step++) {
        uint64_t typed = 0;

        memset(&f, 0, sizeof(f));
        for (i = 0; i < n; i += step)
            typed += cc_ws_follow_feed(&f, p + i, n - i < step ? n - i : step);
        assert_int_equal(typed, 4);
        assert_true(cc_ws_follow_between(&f) && !f.closed);
    }
    cc_ws_follow_feed(&f,
                      "\x82\x05"
                      "ab",
                      4);
    assert_false(cc_ws_follow_between(&f));
    cc_ws_follow_feed(&f, "cde\xff\xff", 5);
    assert_true(f.lost);
    assert_false(cc_ws_follow_between(&f));
}

/* A key and the pointer are use; what a viewer sends by itself (3: it wants the picture) is not, nor a terminal's '0'. */
static void test_following_a_screen_tells_typing(void **state)
{
    struct cc_ws_follow f = { .kind = CC_WS_SCREEN };
    uint8_t p[256];
    size_t n = 0;

    (void)state;
    n += put(p + n, CC_WS_BINARY, true, "\x03.........");
    n += put(p + n, CC_WS_BINARY, true, "0typed");
    assert_int_equal(cc_ws_follow_feed(&f, p, n), 0);
    n = put(p, CC_WS_BINARY, true, "\x04.......");
    n += put(p + n, CC_WS_BINARY, true, "\x05.....");
    assert_int_equal(cc_ws_follow_feed(&f, p, n), 12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_headers_there_and_back),
        cmocka_unit_test(test_what_nobody_may_send),
        cmocka_unit_test(test_masks_at_any_offset),
        cmocka_unit_test(test_close_payloads),
        cmocka_unit_test(test_accept_key),
        cmocka_unit_test(test_following_tells_typing),
        cmocka_unit_test(test_following_a_screen_tells_typing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
