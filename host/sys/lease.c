/* lease.c - see lease.h. */
#include "host/sys/lease.h"

#include <stdint.h>
#include <string.h>

bool cc_lease_id_ok(const char *s, size_t n)
{
    size_t i;

    if (n == 0 || n > CC_LEASE_ID_MAX || s[0] == '.')
        return false;
    for (i = 0; i < n; i++)
        if (!((s[i] >= 'a' && s[i] <= 'z') || (s[i] >= 'A' && s[i] <= 'Z') || (s[i] >= '0' && s[i] <= '9') ||
              s[i] == '-' || s[i] == '_' || s[i] == '.'))
            return false;
    return true;
}

/* Bytes of the first character, 0 when it is no UTF-8 (overlong forms, surrogates and what is above U+10FFFF are none). */
static size_t character(const char *s, size_t n, uint32_t *out)
{
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    unsigned char c = (unsigned char)s[0];
    size_t len = c < 0x80 ? 1 : (c & 0xe0) == 0xc0 ? 2 : (c & 0xf0) == 0xe0 ? 3 : (c & 0xf8) == 0xf0 ? 4 : 0, i;
    uint32_t v = len == 1 ? c : len ? c & (0xffu >> (len + 1)) : 0;

    if (len == 0 || len > n)
        return 0;
    for (i = 1; i < len; i++) {
        if (((unsigned char)s[i] & 0xc0) != 0x80)
            return 0;
        v = v << 6 | ((unsigned char)s[i] & 0x3f);
    }
    if (v < least[len] || v > 0x10ffff || (v >= 0xd800 && v <= 0xdfff))
        return 0;
    *out = v;
    return len;
}

/* Controls, what turns text round, what is not seen, and what is no character. */
static bool printable(uint32_t c)
{
    static const uint32_t out[][2] = {
        { 0, 0x1f },        { 0x7f, 0x9f },     { 0xad, 0xad },     { 0x61c, 0x61c },
        { 0x180e, 0x180e }, { 0x200b, 0x200f }, { 0x2028, 0x202e }, { 0x2060, 0x206f },
        { 0xfdd0, 0xfdef }, { 0xfeff, 0xfeff }, { 0xfff9, 0xfffb }, { 0xe0000, 0xe0fff }
    };
    size_t i;

    for (i = 0; i < sizeof(out) / sizeof(*out); i++)
        if (c >= out[i][0] && c <= out[i][1])
            return false;
    return (c & 0xfffe) != 0xfffe;
}

size_t cc_printable(char *out, size_t max, const char *s, size_t n)
{
    size_t i = 0, k = 0, len;
    uint32_t c = 0;

    while (i < n) {
        len = character(s + i, n - i, &c);
        if (len == 0 || !printable(c)) {
            if (k + 1 > max)
                break;
            out[k++] = '?';
            i += len ? len : 1;
            continue;
        }
        if (k + len > max)
            break;
        memcpy(out + k, s + i, len);
        k += len;
        i += len;
    }
    out[k] = 0;
    return k;
}

bool cc_lease_reason_ok(const char *s, size_t n)
{
    size_t i, len;
    uint32_t c = 0;

    if (n == 0 || n > CC_LEASE_REASON_MAX)
        return false;
    for (i = 0; i < n; i += len)
        if ((len = character(s + i, n - i, &c)) == 0 || !printable(c))
            return false;
    return true;
}
