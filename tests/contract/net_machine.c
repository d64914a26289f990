/* net_machine.c - see net_machine.h. */
#include "tests/contract/net_machine.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <netpacket/packet.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

void net_sh(const char *fmt, ...)
{
    char command[1024];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(command, sizeof(command), fmt, ap);
    va_end(ap);
    if (system(command) != 0)
        fail_msg("`%s` failed", command);
}

int net_socket(const struct net_machine *m, int domain, int type, int protocol)
{
    int home = -1, there, fd;
    char path[80];

    if (m && m->ns[0]) {
        snprintf(path, sizeof(path), "/run/netns/%s", m->ns);
        home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
        there = open(path, O_RDONLY | O_CLOEXEC);
        if (setns(there, CLONE_NEWNET) != 0)
            fail_msg("no namespace %s", m->ns);
        close(there);
    }
    fd = socket(domain, type | SOCK_CLOEXEC, protocol);
    if (home >= 0) {
        if (setns(home, CLONE_NEWNET) != 0)
            abort();
        close(home);
    }
    assert_true(fd >= 0);
    return fd;
}

/* ---------------------------------------------------------------- machines */

static int index_of(int fd, const char *name)
{
    struct ifreq r = { 0 };

    snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", name);
    assert_int_equal(ioctl(fd, SIOCGIFINDEX, &r), 0);
    return r.ifr_ifindex;
}

void net_mac_of(const char *interface, uint8_t mac[6])
{
    int fd = net_socket(NULL, AF_INET, SOCK_DGRAM, 0);
    struct ifreq r = { 0 };

    snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", interface);
    assert_int_equal(ioctl(fd, SIOCGIFHWADDR, &r), 0);
    memcpy(mac, r.ifr_hwaddr.sa_data, 6);
    close(fd);
}

int net_watch(const struct net_machine *m, const char *interface)
{
    int fd = net_socket(m, AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, htons(ETH_P_ALL));
    struct sockaddr_ll at = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };

    at.sll_ifindex = index_of(fd, interface);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    return fd;
}

void net_machine_start(struct net_machine *m, const char *id, const char *mac, const char *address, unsigned prefix,
                       const char *gateway)
{
    static unsigned n;
    int i;

    snprintf(m->id, sizeof(m->id), "%s", id);
    snprintf(m->ns, sizeof(m->ns), "cc%u-%s", run_id(), id);
    snprintf(m->tap, sizeof(m->tap), "t%u-%u", run_id() % 100000, n++);
    snprintf(m->mac, sizeof(m->mac), "%s", mac);
    snprintf(m->address, sizeof(m->address), "%s", address);
    snprintf(m->gateway, sizeof(m->gateway), "%s", gateway);
    for (i = 0; i < 6; i++)
        m->raw_mac[i] = (uint8_t)strtoul(mac + 3 * i, NULL, 16);
    m->raw_address = inet_addr(address);
    net_sh("ip netns add %s && ip link add %s type veth peer name eth0 netns %s address %s && ip link set %s up && "
           "ip -n %s link set lo up && ip -n %s link set eth0 up && ip -n %s addr add %s/%u dev eth0 && "
           "ip -n %s route add default via %s && ip netns exec %s ethtool -K eth0 tx off >/dev/null",
           m->ns, m->tap, m->ns, mac, m->tap, m->ns, m->ns, m->ns, address, prefix, m->ns, gateway, m->ns);
    m->watch = net_watch(m, "eth0");
}

void net_machine_end(struct net_machine *m)
{
    if (!m->ns[0])
        return;
    close(m->watch);
    net_sh("ip link del %s && ip netns del %s", m->tap, m->ns); /* a namespace goes later than its name */
    m->ns[0] = 0;
}

/* ---------------------------------------------------------------- servers */

enum { FDS_MAX = 256 };
struct net_server {
    pthread_t thread;
    struct pollfd fds[FDS_MAX]; /* what ends it, then those that listen, UDP's, connections */
    size_t n, n_listen, n_udp;
};

static void echo_udp(int fd)
{
    struct sockaddr_in from;
    socklen_t len = sizeof(from);
    char text[2048];
    ssize_t n = recvfrom(fd, text, sizeof(text), MSG_DONTWAIT, (struct sockaddr *)&from, &len);

    if (n >= 0)
        sendto(fd, text, (size_t)n, 0, (struct sockaddr *)&from, len);
}

static bool echo_tcp(int fd)
{
    char text[16384];
    ssize_t n = recv(fd, text, sizeof(text), 0);

    return n > 0 && send(fd, text, (size_t)n, MSG_NOSIGNAL) == n;
}

static void *serving(void *arg)
{
    struct net_server *s = arg;
    size_t i;

    while (poll(s->fds, s->n, -1) >= 0 && !s->fds[0].revents)
        for (i = s->n - 1; i > 0; i--) {
            if (!s->fds[i].revents)
                continue;
            if (i <= s->n_listen) {
                int fd = accept4(s->fds[i].fd, NULL, NULL, SOCK_CLOEXEC);

                if (fd >= 0 && s->n < FDS_MAX)
                    s->fds[s->n++] = (struct pollfd){ .fd = fd, .events = POLLIN };
                else if (fd >= 0)
                    close(fd);
            } else if (i <= s->n_listen + s->n_udp) {
                echo_udp(s->fds[i].fd);
            } else if (!echo_tcp(s->fds[i].fd)) {
                close(s->fds[i].fd);
                s->fds[i] = s->fds[--s->n];
            }
        }
    return NULL;
}

int net_listen(const struct net_machine *m, const char *address, uint16_t port, int type)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port) };
    int fd = net_socket(m, AF_INET, type, 0), yes = 1;

    at.sin_addr.s_addr = address ? inet_addr(address) : INADDR_ANY;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    if (type == SOCK_STREAM)
        assert_int_equal(listen(fd, 64), 0);
    return fd;
}

struct net_server *net_serve(const struct net_machine *m, const char *address, const uint16_t *ports, size_t n)
{
    struct net_server *s = calloc(1, sizeof(*s));
    size_t i;

    s->fds[s->n++] = (struct pollfd){ .fd = eventfd(0, EFD_CLOEXEC), .events = POLLIN };
    for (i = 0; i < n; i++)
        s->fds[s->n++] = (struct pollfd){ .fd = net_listen(m, address, ports[i], SOCK_STREAM), .events = POLLIN };
    for (i = 0; i < n; i++)
        s->fds[s->n++] = (struct pollfd){ .fd = net_listen(m, address, ports[i], SOCK_DGRAM), .events = POLLIN };
    s->n_listen = s->n_udp = n;
    assert_int_equal(pthread_create(&s->thread, NULL, serving, s), 0);
    return s;
}

void net_serve_end(struct net_server *s)
{
    size_t i;

    eventfd_write(s->fds[0].fd, 1);
    pthread_join(s->thread, NULL);
    for (i = 0; i < s->n; i++)
        close(s->fds[i].fd);
    free(s);
}

/* ---------------------------------------------------------------- trying */

static bool ready(int fd, short events, int ms)
{
    struct pollfd p = { .fd = fd, .events = events };

    return poll(&p, 1, ms) == 1 && !(p.revents & (POLLERR | POLLNVAL));
}

static uint16_t sum_of(const void *at, size_t n, uint32_t sum)
{
    const uint8_t *p = at;
    size_t i;

    for (i = 0; i + 1 < n; i += 2)
        sum += (uint32_t)(p[i] << 8 | p[i + 1]);
    if (n & 1)
        sum += (uint32_t)(p[n - 1] << 8);
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return htons((uint16_t)~sum);
}

static bool ping(const struct net_machine *m, const struct sockaddr_in *to, int ms)
{
    int fd = net_socket(m, AF_INET, SOCK_RAW, IPPROTO_ICMP);
    struct icmphdr ask = { .type = ICMP_ECHO }, *got;
    uint64_t end = cc_mono_ms() + (uint64_t)ms;
    static uint16_t turn;
    char text[256];
    bool answered = false;
    ssize_t n;

    ask.un.echo.id = htons((uint16_t)run_id());
    ask.un.echo.sequence = htons(++turn);
    ask.checksum = sum_of(&ask, sizeof(ask), 0);
    sendto(fd, &ask, sizeof(ask), 0, (const struct sockaddr *)to, sizeof(*to));
    while (!answered && cc_mono_ms() < end && ready(fd, POLLIN, (int)(end - cc_mono_ms()))) {
        n = recv(fd, text, sizeof(text), MSG_DONTWAIT);
        got = (struct icmphdr *)(text + 20);
        answered = n >= 28 && got->type == ICMP_ECHOREPLY && got->un.echo.id == ask.un.echo.id &&
                   got->un.echo.sequence == ask.un.echo.sequence;
    }
    close(fd);
    return answered;
}

static struct sockaddr_in addressed(const char *address, uint16_t port)
{
    return (
        struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = inet_addr(address) };
}

int net_connect(const struct net_machine *m, const char *address, uint16_t port, int ms)
{
    struct sockaddr_in to = addressed(address, port);
    int fd = net_socket(m, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0 || (errno == EINPROGRESS && ready(fd, POLLOUT, ms)))
        return fd;
    close(fd);
    return -1;
}

bool net_echo(int fd, const char *text, int ms)
{
    size_t want = strlen(text), got = 0;
    char back[256];
    ssize_t n;

    if (send(fd, text, want, MSG_NOSIGNAL) != (ssize_t)want)
        return false;
    while (got < want && ready(fd, POLLIN, ms) && (n = recv(fd, back + got, sizeof(back) - got, 0)) > 0)
        got += (size_t)n;
    return got == want && memcmp(back, text, want) == 0;
}

static bool udp(const struct net_machine *m, const struct sockaddr_in *to, int ms)
{
    int fd = net_socket(m, AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    bool answered = connect(fd, (const struct sockaddr *)to, sizeof(*to)) == 0 && net_echo(fd, "hello", ms);

    close(fd);
    return answered;
}

bool net_reaches(const struct net_machine *m, enum net_way way, const char *address, uint16_t port, int ms)
{
    struct sockaddr_in to = addressed(address, port);
    bool answered;
    int fd;

    if (way == NET_PING)
        return ping(m, &to, ms);
    if (way == NET_UDP)
        return udp(m, &to, ms);
    if ((fd = net_connect(m, address, port, ms)) < 0)
        return false;
    answered = net_echo(fd, "hello", ms);
    close(fd);
    return answered;
}

/* ---------------------------------------------------------------- frames */

static void add(struct net_frame *f, const void *bytes, size_t n)
{
    memcpy(f->bytes + f->n, bytes, n);
    f->n += n;
}

static void head(struct net_frame *f, const uint8_t *to, const uint8_t *from, uint16_t type)
{
    struct ether_header e = { .ether_type = htons(type) };

    memcpy(e.ether_dhost, to, 6);
    memcpy(e.ether_shost, from, 6);
    add(f, &e, sizeof(e));
}

static void ip_head(struct net_frame *f, uint32_t to, uint32_t from, uint8_t protocol, size_t n)
{
    struct iphdr ip = { .version = 4, .ihl = 5, .ttl = 64, .protocol = protocol, .saddr = from, .daddr = to };

    ip.tot_len = htons((uint16_t)(20 + n));
    ip.check = sum_of(&ip, 20, 0);
    add(f, &ip, sizeof(ip));
}

/* Over the addresses too. */
static uint16_t sum_with(uint32_t to, uint32_t from, uint8_t protocol, const void *at, size_t n)
{
    uint32_t a = ntohl(to), b = ntohl(from);

    return sum_of(at, n, (a >> 16) + (a & 0xffff) + (b >> 16) + (b & 0xffff) + protocol + (uint32_t)n);
}

struct net_frame net_udp(const uint8_t *to, const uint8_t *from, uint32_t to_address, uint32_t from_address,
                         uint16_t to_port, uint16_t from_port, const char *text)
{
    struct udphdr u = { .uh_sport = htons(from_port), .uh_dport = htons(to_port) };
    struct net_frame f = { .n = 0 };
    size_t n = sizeof(u) + strlen(text);
    uint16_t sum;

    u.uh_ulen = htons((uint16_t)n);
    head(&f, to, from, ETHERTYPE_IP);
    ip_head(&f, to_address, from_address, IPPROTO_UDP, n);
    add(&f, &u, sizeof(u));
    add(&f, text, strlen(text));
    sum = sum_with(to_address, from_address, IPPROTO_UDP, f.bytes + 34, n);
    memcpy(f.bytes + 34 + 6, &sum, 2);
    return f;
}

struct net_frame net_tcp(const uint8_t *to, const uint8_t *from, uint32_t to_address, uint32_t from_address,
                         uint16_t to_port, uint16_t from_port, uint8_t flags, const char *text)
{
    struct tcphdr t = { .th_sport = htons(from_port), .th_dport = htons(to_port), .th_seq = htonl(1), .th_off = 5 };
    struct net_frame f = { .n = 0 };
    size_t n = sizeof(t) + strlen(text);
    uint16_t sum;

    t.th_flags = flags;
    t.th_ack = flags & TH_ACK ? htonl(1) : 0;
    t.th_win = htons(8000);
    head(&f, to, from, ETHERTYPE_IP);
    ip_head(&f, to_address, from_address, IPPROTO_TCP, n);
    add(&f, &t, sizeof(t));
    add(&f, text, strlen(text));
    sum = sum_with(to_address, from_address, IPPROTO_TCP, f.bytes + 34, n);
    memcpy(f.bytes + 34 + 16, &sum, 2);
    return f;
}

struct net_frame net_arp(const uint8_t *to, const uint8_t *from, uint16_t op, uint32_t says, const uint8_t *says_mac,
                         uint32_t asks, const char *text)
{
    static const uint8_t ethernet_ip[] = { 0, 1, 8, 0, 6, 4, 0 }, nobody[6];
    uint8_t code = (uint8_t)op;
    struct net_frame f = { .n = 0 };

    head(&f, to, from, ETHERTYPE_ARP);
    add(&f, ethernet_ip, 7);
    add(&f, &code, 1);
    add(&f, says_mac, 6);
    add(&f, &says, 4);
    add(&f, nobody, 6);
    add(&f, &asks, 4);
    add(&f, text, strlen(text)); /* behind it: nobody reads that but us */
    return f;
}

void net_send(const struct net_machine *m, const struct net_frame *f)
{
    assert_int_equal(send(m->watch, f->bytes, f->n, 0), f->n);
}

/* The next frame that came in: its length, 0 when there is none yet. */
static size_t next_frame(int watch, uint8_t *bytes, size_t max)
{
    struct sockaddr_ll from = { 0 };
    socklen_t len = sizeof(from);
    ssize_t n;

    while ((n = recvfrom(watch, bytes, max, MSG_DONTWAIT, (struct sockaddr *)&from, &len)) > 0)
        if (from.sll_pkttype != PACKET_OUTGOING)
            return (size_t)n;
    return 0;
}

unsigned net_until(int watch, const char *text, const char *bad)
{
    unsigned seen = 0;
    uint8_t bytes[2048];
    size_t n;

    while (ready(watch, POLLIN, 5000))
        while ((n = next_frame(watch, bytes, sizeof(bytes))) > 0) {
            if (memmem(bytes, n, text, strlen(text)))
                return seen;
            seen += memmem(bytes, n, bad, strlen(bad)) != NULL;
        }
    fail_msg("\"%s\" never came", text);
    return seen;
}

unsigned net_seen_now(int watch, const char *bad)
{
    uint8_t bytes[2048];
    unsigned seen = 0;
    size_t n;

    while ((n = next_frame(watch, bytes, sizeof(bytes))) > 0)
        seen += memmem(bytes, n, bad, strlen(bad)) != NULL;
    return seen;
}
