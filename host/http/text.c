/* text.c - see text.h. */
#include "host/http/text.h"

#include <string.h>

static const unsigned char tchar[256] = {
    ['!'] = 1, ['#'] = 1, ['$'] = 1, ['%'] = 1,         ['&'] = 1,         ['\''] = 1,
    ['*'] = 1, ['+'] = 1, ['-'] = 1, ['.'] = 1,         ['^'] = 1,         ['_'] = 1,
    ['`'] = 1, ['|'] = 1, ['~'] = 1, ['0' ... '9'] = 1, ['A' ... 'Z'] = 1, ['a' ... 'z'] = 1,
};

bool cc_is_tchar(unsigned char c) { return tchar[c]; }

bool cc_is_token(const char *p, size_t n)
{
    size_t i;

    for (i = 0; i < n; i++)
        if (!tchar[(unsigned char)p[i]])
            return false;
    return n > 0;
}

static bool field_bytes_ok(const char *p, size_t n)
{
    size_t i;

    for (i = 0; i < n; i++) {
        unsigned char c = (unsigned char)p[i];

        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

/* Eight bytes at a time: only a word with some byte below 0x20 or equal to 0x7f is looked at closely. */
bool cc_is_field_value(const char *p, size_t n)
{
    const uint64_t ones = 0x0101010101010101u, highs = ones << 7;
    uint64_t word, del;

    for (; n >= 8; p += 8, n -= 8) {
        memcpy(&word, p, 8);
        del = word ^ ones * 0x7f;
        if ((((word - ones * 0x20) & ~word) | ((del - ones) & ~del)) & highs && !field_bytes_ok(p, 8))
            return false;
    }
    return field_bytes_ok(p, n);
}

static unsigned char lower(unsigned char c) { return c >= 'A' && c <= 'Z' ? (unsigned char)(c + 32) : c; }

bool cc_word_is(const char *p, size_t n, const char *word)
{
    size_t i;

    for (i = 0; i < n; i++)
        if (!word[i] || lower((unsigned char)p[i]) != (unsigned char)word[i])
            return false;
    return word[n] == 0;
}

static bool blank(char c) { return c == ' ' || c == '\t'; }

bool cc_list_has(const char *p, size_t n, const char *word)
{
    const char *end = p + n;

    while (p < end) {
        const char *comma = memchr(p, ',', (size_t)(end - p));
        const char *stop = comma ? comma : end;
        const char *last = stop;

        while (p < last && blank(*p))
            p++;
        while (last > p && blank(last[-1]))
            last--;
        if (cc_word_is(p, (size_t)(last - p), word))
            return true;
        p = stop + 1;
    }
    return false;
}

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 32);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte that "%XY" at p stands for, or -1. */
static int escape(const char *p, size_t left)
{
    if (left < 3 || hex(p[1]) < 0 || hex(p[2]) < 0)
        return -1;
    return hex(p[1]) << 4 | hex(p[2]);
}

bool cc_escapes_ok(const char *p, size_t n)
{
    const char *end = p + n;

    while ((p = memchr(p, '%', (size_t)(end - p)))) {
        if (escape(p, (size_t)(end - p)) <= 0)
            return false;
        p += 3;
    }
    return true;
}

int cc_path_decode(const char *p, size_t n, char *out)
{
    struct cc_utf8 u = { 0, 0, 0 };
    size_t i = 0, k = 0;

    while (i < n) {
        int c = p[i] == '%' ? escape(p + i, n - i) : (unsigned char)p[i];

        if (c <= 0)
            return -1;
        if (p[i] == '%' && c == '/') {
            memcpy(out + k, p + i, 3);
            k += 3;
        } else {
            out[k++] = (char)c;
        }
        i += p[i] == '%' ? 3 : 1;
    }
    return cc_utf8_feed(&u, out, k) && cc_utf8_ended(&u) ? (int)k : -1;
}

/* First byte of a character: how many follow, and what the first of those may be (Unicode
 * table 3-7: no overlong forms, no surrogates, nothing above U+10FFFF). */
static bool utf8_first(struct cc_utf8 *u, unsigned char c)
{
    u->low = 0x80;
    u->high = 0xbf;
    if (c < 0xc2 || c > 0xf4)
        return false;
    if (c < 0xe0) {
        u->need = 1;
    } else if (c < 0xf0) {
        u->need = 2;
        if (c == 0xe0)
            u->low = 0xa0;
        if (c == 0xed)
            u->high = 0x9f;
    } else {
        u->need = 3;
        if (c == 0xf0)
            u->low = 0x90;
        if (c == 0xf4)
            u->high = 0x8f;
    }
    return true;
}

bool cc_utf8_feed(struct cc_utf8 *u, const void *data, size_t n)
{
    const unsigned char *p = data, *end = p + n;
    uint64_t word;

    while (p < end) {
        if (u->need) {
            if (*p < u->low || *p > u->high)
                return false;
            u->low = 0x80;
            u->high = 0xbf;
            u->need--;
            p++;
            continue;
        }
        while (end - p >= 8 && (memcpy(&word, p, 8), !(word & 0x8080808080808080u)))
            p += 8;
        if (p == end)
            break;
        if (*p >= 0x80 && !utf8_first(u, *p))
            return false;
        p++;
    }
    return true;
}
