/* net_machine.h - network namespaces as machines, and what they try on each other.
 *
 * A machine is a namespace with an eth0 whose other end ("tap") a switch may have. A socket belongs to the namespace that
 * it was made in, so all of them are held by this one process. Everything is inside of the network and mount namespace that
 * the test was started in (CC_NETNS=1 says that it is one).
 */
#ifndef CC_TEST_NET_MACHINE_H
#define CC_TEST_NET_MACHINE_H

#include "tests/contract/contract.h"

#include <net/ethernet.h>

struct net_machine {
    char id[32], ns[48], tap[16], mac[18], address[16], gateway[16];
    uint8_t raw_mac[6];
    uint32_t raw_address; /* network order */
    int watch;            /* what arrives at its eth0 */
};

void net_sh(const char *fmt, ...) __attribute__((format(printf, 1, 2))); /* fails the case when the command does */

/* `m` has its id, MAC, address (and prefix) and gateway from here on. ns NULL: the host itself. */
void net_machine_start(struct net_machine *m, const char *id, const char *mac, const char *address, unsigned prefix,
                       const char *gateway);
void net_machine_end(struct net_machine *m);
int net_socket(const struct net_machine *m, int domain, int type, int protocol);

/* A thread that answers with what it hears, at ports of that machine (at an address; NULL: any), TCP and UDP. */
struct net_server;
struct net_server *net_serve(const struct net_machine *m, const char *address, const uint16_t *ports, size_t n);
int net_listen(const struct net_machine *m, const char *address, uint16_t port,
               int type); /* a socket; m NULL: of the host */
void net_serve_end(struct net_server *s);

enum net_way { NET_PING, NET_TCP, NET_UDP };
/* Is there an answer within so long? */
bool net_reaches(const struct net_machine *m, enum net_way way, const char *address, uint16_t port, int ms);
int net_connect(const struct net_machine *m, const char *address, uint16_t port, int ms); /* TCP: a socket, or -1 */
bool net_echo(int fd, const char *text, int ms); /* says it, and hears it again */

/* Frames as anybody can make them. */
struct net_frame {
    uint8_t bytes[256];
    size_t n;
};
struct net_frame net_udp(const uint8_t *to, const uint8_t *from, uint32_t to_address, uint32_t from_address,
                         uint16_t to_port, uint16_t from_port, const char *text);
struct net_frame net_tcp(const uint8_t *to, const uint8_t *from, uint32_t to_address, uint32_t from_address,
                         uint16_t to_port, uint16_t from_port, uint8_t flags, const char *text);
struct net_frame net_arp(const uint8_t *to, const uint8_t *from, uint16_t op, uint32_t says, const uint8_t *says_mac,
                         uint32_t asks, const char *text);
void net_send(const struct net_machine *m, const struct net_frame *f);

/* What arrives at a watch, up to a frame with that text in it (a failure when that does not come): how many frames hold the
 * other text. */
unsigned net_until(int watch, const char *text, const char *bad);
int net_watch(const struct net_machine *m, const char *interface); /* m NULL: of the host */
void net_mac_of(const char *interface, uint8_t mac[6]);            /* of the host */
unsigned net_seen_now(int watch, const char *bad);                 /* of what has arrived, without waiting */

#endif
