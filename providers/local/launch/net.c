/* net.c - the machine's network.
 *
 * Its namespace starts with a dead loopback: that is brought up, and the
 * addresses it must never reach get "unreachable" routes, before anything of
 * the user's runs (nobody inside has the capability to take them away).
 * nat: pasta connects the namespace to the world through ordinary sockets of
 * its own.  Starting it costs several times what a machine costs, so they
 * start one at a time, at low priority, after the host has its answer.  It
 * runs inside the machine's pid namespace, so that the kernel ends it with the
 * machine whatever becomes of us, under a uid of the machine's range that
 * nothing inside can have.
 */
#include "providers/local/launch/box.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TURN_MS = 10 };

static void loopback_up(void)
{
    struct ifreq r = { .ifr_name = "lo", .ifr_flags = IFF_UP };
    int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (s < 0 || ioctl(s, SIOCSIFFLAGS, &r) != 0)
        box_fail(errno, "loopback");
    close(s);
}

/* "10.0.0.1/32" or "fd00::1/128" as an unreachable route. */
static void block(int nl, const char *address)
{
    struct {
        struct nlmsghdr h;
        struct rtmsg r;
        struct rtattr a;
        unsigned char dst[16];
    } m = { .h = { .nlmsg_type = RTM_NEWROUTE, .nlmsg_flags = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_ACK },
            .r = { .rtm_table = RT_TABLE_MAIN,
                   .rtm_protocol = RTPROT_STATIC,
                   .rtm_scope = RT_SCOPE_UNIVERSE,
                   .rtm_type = RTN_UNREACHABLE } };
    struct {
        struct nlmsghdr h;
        struct nlmsgerr e;
        char rest[256];
    } reply = { 0 };
    char text[64], *slash;
    unsigned size;

    snprintf(text, sizeof(text), "%s", address);
    if (!(slash = strchr(text, '/')))
        box_fail(0, "blocked address %s has no length", address);
    *slash = 0;
    m.r.rtm_family = strchr(text, ':') ? AF_INET6 : AF_INET;
    m.r.rtm_dst_len = (unsigned char)atoi(slash + 1);
    size = m.r.rtm_family == AF_INET6 ? 16 : 4;
    if (inet_pton(m.r.rtm_family, text, m.dst) != 1)
        box_fail(0, "bad blocked address %s", address);
    m.a.rta_type = RTA_DST;
    m.a.rta_len = (unsigned short)RTA_LENGTH(size);
    m.h.nlmsg_len = (uint32_t)NLMSG_LENGTH(sizeof(m.r)) + RTA_LENGTH(size);
    if (send(nl, &m, m.h.nlmsg_len, 0) < 0 || recv(nl, &reply, sizeof(reply), 0) < 0)
        box_fail(errno, "blocking %s", address);
    /* No IPv6 in this kernel: then there is nothing to block. */
    if (reply.h.nlmsg_type == NLMSG_ERROR && reply.e.error && reply.e.error != -EEXIST &&
        reply.e.error != -EOPNOTSUPP && reply.e.error != -EAFNOSUPPORT)
        box_fail(-reply.e.error, "blocking %s", address);
}

void box_net(struct box *b)
{
    int nl, i;

    if (strcmp(b->net, "host") == 0)
        return;
    loopback_up();
    if (b->block.n == 0)
        return;
    nl = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (nl < 0)
        box_fail(errno, "netlink");
    for (i = 0; i < b->block.n; i++)
        block(nl, b->block.v[i]);
    close(nl);
}

/* Runs in a child of the launcher, after the host has its answer: failures go to the machine's log. */
static void pasta_exec(const struct box *b)
{
    char userns[64], netns[64], runas[64], port[64];
    char *argv[40];
    int n = 0;

    /* Opened by the launcher: the keeper itself may not look into pid 1. */
    snprintf(userns, sizeof(userns), "/proc/self/fd/%d", dup(b->userns_fd));
    snprintf(netns, sizeof(netns), "/proc/self/fd/%d", dup(b->netns_fd));
    argv[n++] = b->pasta;
    argv[n++] = "--foreground";
    argv[n++] = "--quiet";
    argv[n++] = "--config-net";
    argv[n++] = "--no-map-gw";
    argv[n++] = "--no-dhcp";
    argv[n++] = "--no-dhcpv6";
    argv[n++] = "--no-ra";
    argv[n++] = "--ns-ifname";
    argv[n++] = "eth0";
    snprintf(port, sizeof(port), "127.0.0.1/%s", b->port ? b->port : "");
    argv[n++] = "-t";
    argv[n++] = b->port ? port : "none";
    argv[n++] = "-u";
    argv[n++] = "none";
    argv[n++] = "-T";
    argv[n++] = "none";
    argv[n++] = "-U";
    argv[n++] = "none";
    if (b->dns) {
        argv[n++] = "--dns-forward";
        argv[n++] = b->dns;
    }
    if (b->mapped) {
        unsigned long keeper = b->uid_base + b->uid_count;

        snprintf(runas, sizeof(runas), "%lu:%lu", keeper, keeper);
        argv[n++] = "--runas";
        argv[n++] = runas;
    }
    argv[n++] = "--userns";
    argv[n++] = userns;
    argv[n++] = "--netns";
    argv[n++] = netns;
    argv[n] = NULL;
    execv(b->pasta, argv);
    fprintf(stderr, "nat: %s: %s\n", b->pasta, strerror(errno));
}

/* Some hosts keep /dev/net/tun to root alone. As root, pasta gets one of its own in a private /dev/net. */
static void tun_for_keeper(void)
{
    struct stat st;

    if (stat("/dev/net/tun", &st) == 0 && (st.st_mode & 0006) == 0006)
        return;
    umask(0);
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", "/dev/net", "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=755,size=4k") != 0 ||
        mknod("/dev/net/tun", S_IFCHR | 0666, makedev(10, 200)) != 0)
        fprintf(stderr, "nat: /dev/net/tun: %s\n", strerror(errno));
    umask(022);
}

/* pasta as a child of pid 1: the namespace ends only when every zombie in it was reaped, and the
 * host's init, which would get a child of ours, may take its time. */
static void pasta_start(struct box *b)
{
    pid_t between = fork(), pasta;

    if (between != 0) {
        waitpid(between, NULL, 0);
        return;
    }
    if ((pasta = fork()) != 0) {
        b->pasta_pid = pasta;
        _exit(0);
    }
    signal(SIGPIPE, SIG_DFL); /* this pasta takes an ignored one for a failure */
    setsid();
    if (b->mapped) {
        setpriority(PRIO_PROCESS, 0, 19);
        tun_for_keeper();
    }
    pasta_exec(b);
    _exit(1);
}

static bool network_up(pid_t init)
{
    char path[64], text[4096];
    ssize_t n;
    int fd;

    snprintf(path, sizeof(path), "/proc/%d/net/route", init);
    if ((fd = open(path, O_RDONLY | O_CLOEXEC)) < 0)
        return true; /* gone: nothing to wait for */
    n = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[n > 0 ? n : 0] = 0;
    return strstr(text, "eth0\t00000000\t") != NULL;
}

/* In v1 the launcher has been in the machine's groups since its start. */
static void enter_group(const struct box *b)
{
    char path[512];
    int fd;

    if (!b->cgroup2)
        return;
    snprintf(path, sizeof(path), "%s/cgroup.procs", b->cgroup2);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, "0", 1) != 1)
        fprintf(stderr, "nat: %s: %s\n", path, strerror(errno));
    if (fd >= 0)
        close(fd);
}

/* Ends with the machine: in a queue of many it may be over before its turn comes. */
static void await_turn(const struct box *b, struct pollfd *machine)
{
    int turn = open(b->turn, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    while (turn < 0 || flock(turn, LOCK_EX | LOCK_NB) != 0) {
        if (turn < 0 || (errno != EWOULDBLOCK && errno != EINTR)) {
            fprintf(stderr, "nat: %s: %s\n", b->turn, strerror(errno));
            return;
        }
        if (poll(machine, 1, TURN_MS) > 0)
            _exit(0);
    }
}

void box_pasta(struct box *b, pid_t init, int pidfd)
{
    struct pollfd p = { .fd = pidfd, .events = POLLIN };
    int tries;

    if (fork() != 0)
        return; /* the launcher ends; this one sees to the network */
    setsid();
    close(CC_LAUNCH_FD);
    enter_group(b);
    await_turn(b, &p);
    if (setns(b->pidns_fd, CLONE_NEWPID) != 0) {
        fprintf(stderr, "nat: entering the machine: %s\n", strerror(errno));
        _exit(1);
    }
    pasta_start(b);
    for (tries = 0; tries < 400 && !network_up(init); tries++) {
        if (poll(&p, 1, 5) != 0)
            break;
        if (b->port && b->pasta_pid == 0) { /* the port was taken meanwhile: better no ssh than no network */
            fprintf(stderr, "nat: port %s is not to be had: the machine is not reached over ssh\n", b->port);
            b->port = NULL;
            pasta_start(b);
        }
    }
    if (b->mapped) /* as long as it starts it is nobody's hurry; then it serves */
        setpriority(PRIO_USER, (id_t)(b->uid_base + b->uid_count), 0);
    _exit(0);
}
