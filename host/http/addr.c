/* addr.c - see addr.h. */
#include "host/http/addr.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

static const uint8_t mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

static bool parse_plain(struct cc_addr *a, const char *p, size_t n)
{
    char text[46];
    uint8_t b[16];

    if (n == 0 || n >= sizeof(text))
        return false;
    memcpy(text, p, n);
    text[n] = 0;
    if (strlen(text) != n)
        return false;
    if (inet_pton(AF_INET, text, b) == 1) {
        memcpy(a->b, mapped, 12);
        memcpy(a->b + 12, b, 4);
        return true;
    }
    if (inet_pton(AF_INET6, text, b) != 1)
        return false;
    memcpy(a->b, b, 16);
    return true;
}

bool cc_addr_parse(struct cc_addr *a, const char *p, size_t n)
{
    const char *end, *colon;

    if (n > 0 && p[0] == '[') {
        end = memchr(p, ']', n);
        if (!end || (end + 1 < p + n && end[1] != ':'))
            return false;
        return parse_plain(a, p + 1, (size_t)(end - p - 1));
    }
    colon = memchr(p, ':', n);
    if (colon && !memchr(colon + 1, ':', (size_t)(p + n - colon - 1)))
        n = (size_t)(colon - p);
    return parse_plain(a, p, n);
}

void cc_addr_from(struct cc_addr *a, const struct sockaddr *sa)
{
    if (sa->sa_family == AF_INET) {
        memcpy(a->b, mapped, 12);
        memcpy(a->b + 12, &((const struct sockaddr_in *)sa)->sin_addr, 4);
    } else if (sa->sa_family == AF_INET6) {
        memcpy(a->b, &((const struct sockaddr_in6 *)sa)->sin6_addr, 16);
    } else {
        memset(a->b, 0, sizeof(a->b));
    }
}

size_t cc_addr_text(const struct cc_addr *a, char out[46])
{
    if (memcmp(a->b, mapped, 12) == 0)
        inet_ntop(AF_INET, a->b + 12, out, 46);
    else
        inet_ntop(AF_INET6, a->b, out, 46);
    return strlen(out);
}

size_t cc_addr_caller(const struct cc_addr *a, char out[CC_ADDR_CALLER])
{
    struct cc_addr net = *a;
    size_t n;

    if (memcmp(a->b, mapped, 12) == 0)
        return cc_addr_text(a, out);
    memset(net.b + 8, 0, 8);
    n = cc_addr_text(&net, out);
    memcpy(out + n, "/64", 4);
    return n + 3;
}

static bool bits_clear(const struct cc_addr *a, unsigned from)
{
    unsigned i;

    for (i = from; i < 128; i++)
        if (a->b[i / 8] & (0x80 >> i % 8))
            return false;
    return true;
}

bool cc_cidr_parse(struct cc_cidr *c, const char *p, size_t n)
{
    const char *slash = memchr(p, '/', n);
    unsigned bits = 0, most;
    size_t i;

    if (!parse_plain(&c->addr, p, slash ? (size_t)(slash - p) : n))
        return false;
    most = memchr(p, ':', slash ? (size_t)(slash - p) : n) ? 128 : 32;
    if (!slash) {
        c->bits = 128;
        return true;
    }
    n -= (size_t)(slash + 1 - p);
    if (n < 1 || n > 3)
        return false;
    for (i = 1; i <= n; i++) {
        if (slash[i] < '0' || slash[i] > '9')
            return false;
        bits = bits * 10 + (unsigned)(slash[i] - '0');
    }
    if (bits > most)
        return false;
    c->bits = (uint8_t)(bits + 128 - most);
    return bits_clear(&c->addr, c->bits);
}

bool cc_cidr_holds(const struct cc_cidr *c, const struct cc_addr *a)
{
    unsigned whole = c->bits / 8, part = c->bits % 8;

    if (memcmp(c->addr.b, a->b, whole) != 0)
        return false;
    return part == 0 || ((c->addr.b[whole] ^ a->b[whole]) & (0xff00 >> part) & 0xff) == 0;
}
