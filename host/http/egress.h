/* egress.h - where a request may lead that a stranger has named the URL of.
 *
 * Only to public addresses, of which this host has none itself: not to what
 * the host alone can reach (loopback, private and shared ranges, link-local,
 * where clouds keep their metadata, multicast, what is reserved, v6 that holds
 * a v4 address).  Asked about the address that is connected to, not about a
 * name: what a name becomes between two look-ups cannot matter.
 * Thread: any; cc_egress_allows reads the interfaces, which takes microseconds.
 */
#ifndef CC_HTTP_EGRESS_H
#define CC_HTTP_EGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "host/http/addr.h"

enum { CC_EGRESS_MAX = 64 };

struct cc_egress {
    struct cc_cidr allowed[CC_EGRESS_MAX]; /* may be reached though they are none of the public */
    size_t n;
};

bool cc_egress_allows(const struct cc_egress *e, const struct cc_addr *a);

/* The same of a socket's address: of other families than v4 and v6 none is. */
bool cc_egress_allows_sockaddr(const struct cc_egress *e, const struct sockaddr *sa);

#endif
