/* egress.c - see egress.h.  The ranges are IANA's registries of special-purpose addresses. */
#include "host/http/egress.h"

#include <assert.h>
#include <ifaddrs.h>
#include <string.h>

/* Of v4: what is not global. Of v6 the reverse: what is in 2000::/3 is, but for these. */
static const char *const not_public[] = {
    "0.0.0.0/8",      "10.0.0.0/8",   "100.64.0.0/10",  "127.0.0.0/8",    "169.254.0.0/16", "172.16.0.0/12",
    "192.0.0.0/24",   "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15",  "198.51.100.0/24",
    "203.0.113.0/24", "224.0.0.0/3",  "2001::/23",      "2001:db8::/32",  "2002::/16",      "3fff::/20",
};

static bool within(const char *range, const struct cc_addr *a)
{
    struct cc_cidr c;
    bool ok = cc_cidr_parse(&c, range, strlen(range));

    assert(ok);
    return ok && cc_cidr_holds(&c, a);
}

static bool is_public(const struct cc_addr *a)
{
    size_t i;

    if (!within("0.0.0.0/0", a) && !within("2000::/3", a))
        return false;
    for (i = 0; i < sizeof(not_public) / sizeof(*not_public); i++)
        if (within(not_public[i], a))
            return false;
    return true;
}

/* One of this host's own. Where they cannot be read, all are. */
static bool is_ours(const struct cc_addr *a)
{
    struct ifaddrs *all, *i;
    bool ours = false;

    if (getifaddrs(&all) != 0)
        return true;
    for (i = all; i && !ours; i = i->ifa_next) {
        struct cc_addr mine;

        if (!i->ifa_addr || (i->ifa_addr->sa_family != AF_INET && i->ifa_addr->sa_family != AF_INET6))
            continue;
        cc_addr_from(&mine, i->ifa_addr);
        ours = memcmp(&mine, a, sizeof(mine)) == 0;
    }
    freeifaddrs(all);
    return ours;
}

bool cc_egress_allows(const struct cc_egress *e, const struct cc_addr *a)
{
    size_t i;

    for (i = 0; i < e->n; i++)
        if (cc_cidr_holds(&e->allowed[i], a))
            return true;
    return is_public(a) && !is_ours(a);
}

bool cc_egress_allows_sockaddr(const struct cc_egress *e, const struct sockaddr *sa)
{
    struct cc_addr a;

    if (sa->sa_family != AF_INET && sa->sa_family != AF_INET6)
        return false;
    cc_addr_from(&a, sa);
    return cc_egress_allows(e, &a);
}
