/* The ring of a terminal's output: what is kept under which number, and where a newcomer may begin. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "host/sys/ring.h"
#include "host/sys/vt.h"

enum { STREAM = 300000 };

/* What a terminal could be sent, each of them whole. `sets`: a bit of the modes below, + 100: it ends it; -1: all end. */
static const struct {
    const char *text;
    int sets;
} tokens[] = {
    { "a", 0 },
    { "plain words", 0 },
    { "\r\n", 0 },
    { "\n", 0 },
    { "\303\251", 0 },
    { "\342\202\254", 0 },
    { "\360\237\230\200", 0 },
    { "\033[31m", 0 },
    { "\033[1;38;2;1;2;3m", 0 },
    { "\033[10;20H", 0 },
    { "\033(B", 0 },
    { "\0337", 0 },
    { "\033]0;a title\nof two lines\007", 0 },
    { "\033]8;;http://x/\303\251\033\\", 0 },
    { "\033P1$r\n0m\033\\", 0 },
    { "\033_apc \007 goes on\033\\", 0 },
    { "\033[?2004h", 1 },
    { "\033[?2004l", 101 },
    { "\033[?1049;1000h", 2 },
    { "\033[?1049;1000l", 102 },
    { "\033[?25l", 4 },
    { "\033[?25h", 104 },
    { "\033=", 8 },
    { "\033>", 108 },
    { "\033c", -1 },
};
enum { TOKENS = sizeof(tokens) / sizeof(*tokens) };

struct stream {
    char data[STREAM + 64];
    uint8_t begins[STREAM + 65]; /* 1 + the modes that are set there, where one may begin */
    size_t n;
};

static uint8_t modes_after(uint8_t modes, int sets)
{
    if (sets < 0)
        return 0;
    return (uint8_t)(sets > 100 ? modes & ~(sets - 100) : modes | sets);
}

static void make(struct stream *s, unsigned seed)
{
    uint8_t modes = 0;

    srand(seed);
    memset(s, 0, sizeof(*s));
    s->begins[0] = 1;
    while (s->n < STREAM) {
        int i = rand() % 4 ? rand() % 7 : rand() % TOKENS;
        const char *p;

        for (p = tokens[i].text; i < 4 && *p; p++)
            s->begins[s->n + (size_t)(p - tokens[i].text)] = (uint8_t)(1 + modes);
        memcpy(s->data + s->n, tokens[i].text, strlen(tokens[i].text));
        s->n += strlen(tokens[i].text);
        modes = modes_after(modes, tokens[i].sets);
        s->begins[s->n] = (uint8_t)(1 + modes);
    }
}

static uint8_t told(uint32_t modes)
{
    char text[CC_VT_MODES_TEXT];

    cc_vt_modes(modes, text);
    return (uint8_t)((strstr(text, "\033[?2004h") ? 1 : 0) | (strstr(text, "\033[?1049h") ? 2 : 0) |
                     (strstr(text, "\033[?25l") ? 4 : 0) | (strstr(text, "\033=") ? 8 : 0));
}

static void check(const struct cc_ring *r, const struct stream *s, size_t size)
{
    static char out[STREAM + 64];
    uint64_t begin = cc_ring_begin(r), end = cc_ring_end(r), safe, from = begin + (uint64_t)rand() % (end - begin + 1);
    size_t max = (size_t)rand() % 5000, want = end - from < max ? (size_t)(end - from) : max;
    uint32_t modes;

    assert_int_equal(begin, end > size ? end - size : 0);
    assert_int_equal(cc_ring_copy(r, from, out, max), want);
    assert_memory_equal(out, s->data + from, want);
    assert_int_equal(cc_ring_copy(r, begin, out, sizeof(out)), end - begin);
    assert_memory_equal(out, s->data + begin, (size_t)(end - begin));
    safe = cc_ring_safe(r, &modes);
    assert_true(safe >= begin && safe <= end);
    if (end > 0)
        assert_true(safe - begin <= 6 * (size / 256) + 64);
    assert_true(s->begins[safe] > 0);
    assert_int_equal(told(modes), s->begins[safe] - 1);
}

static void test_numbers(void **state)
{
    static const size_t sizes[] = { 4096, 5000, 16384, 20000, 65536, 1 << 20 };
    static struct stream s;
    size_t i, at, n;

    (void)state;
    for (i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        struct cc_ring *r = cc_ring_new(sizes[i]);

        make(&s, (unsigned)i + 1);
        check(r, &s, sizes[i]);
        for (at = 0; at < s.n; at += n) {
            n = (size_t)rand() % (rand() % 8 ? 300 : 30000);
            n = s.n - at < n ? s.n - at : n;
            cc_ring_add(r, s.data + at, n);
            if (rand() % 4 == 0)
                check(r, &s, sizes[i]);
        }
        check(r, &s, sizes[i]);
        cc_ring_free(r);
    }
}

/* Every way to cut the same stream gives the same places. */
static void test_cuts(void **state)
{
    static struct stream s;
    struct cc_ring *whole = cc_ring_new(4096), *bytes = cc_ring_new(4096);
    uint32_t a, b;
    size_t i;

    (void)state;
    make(&s, 77);
    cc_ring_add(whole, s.data, s.n);
    for (i = 0; i < s.n; i++)
        cc_ring_add(bytes, s.data + i, 1);
    assert_int_equal(cc_ring_safe(whole, &a), cc_ring_safe(bytes, &b));
    assert_int_equal(a, b);
    check(whole, &s, 4096);
    cc_ring_free(whole);
    cc_ring_free(bytes);
}

/* One string that fills all of it: there is no place to begin but behind it, and none while it goes on. */
static void test_endless_string(void **state)
{
    struct cc_ring *r = cc_ring_new(4096);
    uint32_t modes;
    int i;

    (void)state;
    cc_ring_add(r, "\033[?1049h\033]52;c;", 15);
    for (i = 0; i < 1000; i++)
        cc_ring_add(r, "aaaaaaaaaa\n", 11);
    assert_int_equal(cc_ring_safe(r, &modes), cc_ring_end(r));
    assert_int_equal(told(modes), 2);
    cc_ring_add(r, "\007ab\n", 4);
    assert_int_equal(cc_ring_safe(r, &modes), cc_ring_end(r) - 3);
    cc_ring_free(r);
}

/* What resets a terminal ends every sequence, and leaves it in no mode. */
static void test_reset(void **state)
{
    static const char *const before[] = { "\033[?1049;1000;2004h\033[?25l\033=", "\033]0;cut", "\033Pcut\033", "\033[3",
                                          "\342\202" };
    char text[CC_VT_RESET_TEXT];
    struct cc_vt v;
    const char *p;
    size_t i;

    (void)state;
    cc_vt_reset(text);
    assert_true(strlen(text) < CC_VT_RESET_TEXT - 1);
    for (i = 0; i < sizeof(before) / sizeof(*before); i++) {
        memset(&v, 0, sizeof(v));
        for (p = before[i]; *p; p++)
            cc_vt_byte(&v, (uint8_t)*p);
        for (p = text; *p; p++)
            cc_vt_byte(&v, (uint8_t)*p);
        assert_true(cc_vt_between(&v));
        assert_int_equal(v.modes, 0);
    }
}

/* What another version is told of a ring: its bytes, a place where one can begin, and the modes there in words. */
static void test_load(void **state)
{
    static char sent[STREAM], a[8192], b[8192];
    struct cc_ring *r = cc_ring_new(CC_RING_MIN);
    char modes[CC_VT_MODES_TEXT], other[CC_VT_MODES_TEXT];
    size_t n = 0, i, len;
    uint32_t bits, bits2;

    (void)state;
    while (n + 64 < sizeof(sent))
        n += (size_t)snprintf(sent + n, 64, "%s", tokens[(n * 7 + n / 13) % (sizeof(tokens) / sizeof(*tokens))].text);
    for (i = 0; i < n; i += len) {
        struct cc_ring *to = cc_ring_new(CC_RING_MIN);
        uint64_t begin = cc_ring_begin(r), end = cc_ring_end(r), safe = cc_ring_safe(r, &bits);

        len = i % 997 + 1 < n - i ? i % 997 + 1 : n - i;
        cc_vt_modes(bits, modes);
        cc_ring_copy(r, begin, a, sizeof(a));
        cc_ring_load(to, begin, safe, modes, a, (size_t)(end - begin));
        assert_int_equal(cc_ring_begin(to), begin);
        assert_int_equal(cc_ring_safe(to, &bits2), safe);
        cc_vt_modes(bits2, other);
        assert_string_equal(other, modes);
        cc_ring_add(r, sent + i, len);
        cc_ring_add(to, sent + i, len); /* and it goes on as the other does */
        assert_int_equal(cc_ring_end(to), cc_ring_end(r));
        assert_int_equal(cc_ring_begin(to), cc_ring_begin(r));
        assert_int_equal(cc_ring_copy(r, cc_ring_begin(r), a, sizeof(a)),
                         cc_ring_copy(to, cc_ring_begin(to), b, sizeof(b)));
        assert_memory_equal(a, b, cc_ring_end(r) - cc_ring_begin(r));
        safe = cc_ring_safe(to, &bits2);
        assert_true(safe >= cc_ring_begin(to) && safe <= cc_ring_end(to));
        cc_ring_free(to);
    }
    cc_ring_free(r);
    r = cc_ring_new(2 * CC_RING_MIN); /* into one that has more room: what was before was never here */
    cc_ring_load(r, 100, 100, "", sent, 500);
    assert_int_equal(cc_ring_begin(r), 100);
    cc_ring_add(r, sent, 9000);
    assert_int_equal(cc_ring_begin(r), 9600 - 2 * CC_RING_MIN);
    cc_ring_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers), cmocka_unit_test(test_cuts),  cmocka_unit_test(test_endless_string),
        cmocka_unit_test(test_load),    cmocka_unit_test(test_reset),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
