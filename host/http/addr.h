/* addr.h - addresses of peers, and the ranges that we trust.
 *
 * An address is 16 bytes, v4 as v4-mapped v6, so that one comparison serves
 * both.  [any thread]
 */
#ifndef CC_HTTP_ADDR_H
#define CC_HTTP_ADDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct cc_addr {
    uint8_t b[16];
};
struct cc_cidr {
    struct cc_addr addr;
    uint8_t bits;
}; /* bits count within the 128 */

/* "1.2.3.4", "::1", also with a port behind ("1.2.3.4:80", "[::1]:80"), as proxies write it. */
bool cc_addr_parse(struct cc_addr *a, const char *p, size_t n);
void cc_addr_from(struct cc_addr *a, const struct sockaddr *sa);

/* v4 in dotted form; at most 45 bytes and a NUL. Returns the length. */
size_t cc_addr_text(const struct cc_addr *a, char out[46]);

/* What stands for one caller: v4 whole, of v6 the /64 ("2001:db8:0:7::/64"), as one household has that and changes the
 * rest at will. Returns the length. */
enum { CC_ADDR_CALLER = 50 };
size_t cc_addr_caller(const struct cc_addr *a, char out[CC_ADDR_CALLER]);

/* "10.0.0.0/8", "fd00::/8", or an address alone. Host bits that are set are an error. */
bool cc_cidr_parse(struct cc_cidr *c, const char *p, size_t n);
bool cc_cidr_holds(const struct cc_cidr *c, const struct cc_addr *a);

#endif
