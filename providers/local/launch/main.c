/* main.c - from the wishes to a running machine, in one short-lived process.
 *
 * It is executed small and single-threaded, never forked from the host.  That
 * buys three things: a clone of a few pages instead of hundreds of MiB; v1
 * control groups entered by writing "0" to `tasks`, which for a thread moving
 * itself skips the kernel's global threadgroup lock (a write of another pid to
 * cgroup.procs stalls 10-23 ms); and a machine that belongs to nobody's
 * process tree but init's, so the host may die.
 * As root the machine's user namespace is created under a uid of the machine's
 * own range (the "keeper"), so that pasta can join it without being root.
 */
#include "providers/local/launch/box.h"

#include <errno.h>
#include <grp.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { LOG_MAX = 1024 * 1024, OWN_LOCK_MS = 5000, VOLUME_LOCK_MS = 200 };

static void write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);

    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        box_fail(errno, "writing %s", path);
    close(fd);
}

/* A launcher whose host was killed is on its way out, and may have taken the lock after this host had looked: so it is waited
 * for a while. */
static int lock_file(const char *path, int most_ms)
{
    struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600), waited;

    if (fd < 0)
        box_fail(errno, "%s", path);
    for (waited = 0; fcntl(fd, F_OFD_SETLK, &l) != 0; waited++) {
        if (errno != EAGAIN || waited >= most_ms)
            box_fail(errno == EAGAIN ? EBUSY : errno, "lock %s", path);
        poll(NULL, 0, 1);
    }
    return fd;
}

/* The path may be longer than a socket address; its directory's descriptor is not. */
static int listen_at(const char *path)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    const char *slash = strrchr(path, '/');
    int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), dir;

    char *parent = strndup(path, (size_t)(slash - path));
    dir = open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
    free(parent);
    unlink(path);
    snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/%s", dir, slash + 1);
    umask(0177);
    if (s < 0 || dir < 0 || bind(s, (struct sockaddr *)&a, sizeof(a)) != 0 || listen(s, 512) != 0)
        box_fail(errno, "socket %s", path);
    umask(022);
    close(dir);
    return s;
}

static int open_ro(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        box_fail(errno, "%s", path);
    return fd;
}

static void open_all(struct box *b)
{
    int i;

    b->lock_fd = lock_file(b->lock, OWN_LOCK_MS);
    if (ftruncate(b->lock_fd, 0) != 0)
        box_fail(errno, "%s", b->lock);
    for (i = 0; i < b->vlock.n; i++)
        b->vlock_fd[i] = lock_file(b->vlock.v[i], VOLUME_LOCK_MS);
    b->log_fd = open(b->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (b->log_fd < 0 || dup2(b->log_fd, 1) < 0 || dup2(b->log_fd, 2) < 0)
        box_fail(errno, "%s", b->log);
    if (lseek(b->log_fd, 0, SEEK_END) > LOG_MAX && ftruncate(b->log_fd, 0) != 0)
        box_fail(errno, "%s", b->log);
    b->socket_fd = listen_at(b->socket);
    b->filter_fd = open_ro(b->filter);
}

/* The launcher enters, the machine is born inside, and the launcher is gone in a moment. */
static void enter_groups(const struct box *b)
{
    int i;

    for (i = 0; i < b->cgroup.n; i++)
        write_file(b->cgroup.v[i], "0");
    write_file("/proc/self/oom_score_adj", "300"); /* a machine goes before the host does */
}

static pid_t clone_machine(const struct box *b, int *pidfd)
{
    struct clone_args a = { .flags = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC |
                                     CLONE_NEWCGROUP | CLONE_PIDFD | CLONE_FILES,
                            .exit_signal = SIGCHLD,
                            .pidfd = (uint64_t)(uintptr_t)pidfd };
    uid_t keeper = (uid_t)(b->uid_base + b->uid_count);
    long pid;

    if (strcmp(b->net, "host") != 0)
        a.flags |= CLONE_NEWNET;
    if (b->cgroup2) {
        a.cgroup = (uint64_t)open(b->cgroup2, O_PATH | O_DIRECTORY | O_CLOEXEC);
        a.flags |= CLONE_INTO_CGROUP;
    }
    if (b->mapped && (setegid(keeper) != 0 || seteuid(keeper) != 0))
        box_fail(errno, "becoming uid %u", keeper);
    if (b->mapped && b->cgroup2) { /* who enters a group is asked by this one */
        setfsuid(0);
        setfsgid(0);
    }
    pid = syscall(SYS_clone3, &a, sizeof(a));
    if (pid < 0)
        box_fail(errno, "making the machine's namespaces");
    if (pid > 0 && b->cgroup2)
        close((int)a.cgroup);
    if (pid > 0 && b->mapped && (seteuid(0) != 0 || setegid(0) != 0))
        box_fail(errno, "becoming root again");
    return (pid_t)pid;
}

static void map_ids(const struct box *b, pid_t pid)
{
    char path[64], text[64];

    if (!b->mapped) {
        snprintf(path, sizeof(path), "/proc/%d/setgroups", pid);
        write_file(path, "deny");
    }
    snprintf(path, sizeof(path), "/proc/%d/uid_map", pid);
    if (b->mapped)
        snprintf(text, sizeof(text), "0 %lu %lu", b->uid_base, b->uid_count);
    else
        snprintf(text, sizeof(text), "%d %u 1", CC_LAUNCH_UID, geteuid());
    write_file(path, text);
    snprintf(path, sizeof(path), "/proc/%d/gid_map", pid);
    if (!b->mapped)
        snprintf(text, sizeof(text), "%d %u 1", CC_LAUNCH_UID, getegid());
    write_file(path, text);
}

/* An ordinary user may put pasta into the machine's pid namespace only from a user namespace of
 * its own, one step above the machine's. */
static void own_namespace(void)
{
    uid_t uid = geteuid();
    gid_t gid = getegid();
    char text[64];

    if (unshare(CLONE_NEWUSER) != 0)
        box_fail(errno, "user namespace");
    write_file("/proc/self/setgroups", "deny");
    snprintf(text, sizeof(text), "%u %u 1", uid, uid);
    write_file("/proc/self/uid_map", text);
    snprintf(text, sizeof(text), "%u %u 1", gid, gid);
    write_file("/proc/self/gid_map", text);
}

static int open_ns(pid_t pid, const char *which)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/ns/%s", pid, which);
    return open_ro(path);
}

static int64_t start_ticks(pid_t pid)
{
    char path[64], text[1024], *at;
    long long ticks = 0;
    ssize_t n;
    int fd;

    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    fd = open_ro(path);
    n = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[n < 0 ? 0 : n] = 0;
    if (!(at = strrchr(text, ')')) ||
        sscanf(at + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %lld", &ticks) !=
            1)
        box_fail(0, "start time of %d", pid);
    return ticks;
}

static void note(const struct box *b, pid_t pid)
{
    struct timespec t;
    char text[96];
    int n;

    clock_gettime(CLOCK_REALTIME, &t);
    n = snprintf(text, sizeof(text), "%d %lld %lld\n", pid, (long long)start_ticks(pid),
                 (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000);
    if (pwrite(b->lock_fd, text, (size_t)n, 0) != n)
        box_fail(errno, "%s", b->lock);
}

/* Pid 1's way from its birth to its trade. */
static _Noreturn void be_machine(struct box *b, int link, int launcher)
{
    struct pollfd p[2] = { { .fd = link, .events = POLLIN }, { .fd = launcher, .events = POLLIN } };
    char go;

    prctl(PR_SET_PDEATHSIG, SIGKILL); /* until ready: no machine of a launcher that died */
    box_report_to(link);
    /* It may have died before that; its descriptors are ours as well, so `link` would not tell. */
    if (poll(p, 2, 10000) < 1 || p[1].revents || read(link, &go, 1) != 1)
        _exit(1);
    close(launcher);
    if (unshare(CLONE_FILES) != 0)
        box_fail(errno, "unshare files");
    close(CC_LAUNCH_FD);
    if (b->mapped && (setresgid(0, 0, 0) != 0 || setgroups(0, NULL) != 0 || setresuid(0, 0, 0) != 0))
        box_fail(errno, "becoming the machine's root");
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a change of uid clears it */
    if (!b->mapped)
        box_sources(b, -1);
    if (sethostname(b->hostname, strlen(b->hostname)) != 0)
        box_fail(errno, "hostname");
    box_net(b);
    box_root(b);
    prctl(PR_SET_PDEATHSIG, 0);
    box_init(b, link);
}

/* Passes on what pid 1 says: "ok" or its error. */
static void await_ready(int link, int pidfd)
{
    struct pollfd p[2] = { { .fd = link, .events = POLLIN }, { .fd = pidfd, .events = POLLIN } };
    char line[512];
    ssize_t n;

    while (poll(p, 2, -1) < 0 && errno == EINTR) {
    }
    n = recv(link, line, sizeof(line), MSG_DONTWAIT);
    if (n <= 0)
        box_fail(0, "the machine ended while starting");
    if (strncmp(line, "ok", 2) == 0)
        return;
    if (write(CC_LAUNCH_FD, line, (size_t)n) < 0)
        _exit(2);
    _exit(1);
}

/* The machine's locks are its pid 1's alone: a descriptor that lived on here, or in what sees to the network, would have a
 * dead machine look alive. */
static void let_go(const struct box *b)
{
    int i;

    close(b->lock_fd);
    for (i = 0; i < b->vlock.n; i++)
        close(b->vlock_fd[i]);
}

/* From here until the machine is ready the launcher dies with the host: one that went on would take the machine's lock when
 * the next host has looked for it already. */
static void die_with_host(void)
{
    char c;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (recv(CC_LAUNCH_FD, &c, 1, MSG_PEEK | MSG_DONTWAIT) == 0)
        _exit(2); /* it had died before */
}

static int run(void)
{
    struct box *b = mmap(NULL, sizeof(*b), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int link[2], pidfd = -1, self;
    char text[64];
    pid_t pid;

    syscall(SYS_close_range, CC_LAUNCH_FD + 1, ~0U, 0U);
    fcntl(CC_LAUNCH_FD, F_SETFD, FD_CLOEXEC);
    box_report_to(CC_LAUNCH_FD);
    signal(SIGPIPE, SIG_IGN);
    umask(022);
    if (b == MAP_FAILED || chdir("/") != 0)
        box_fail(errno, "starting");
    box_read(b);
    die_with_host();
    open_all(b);
    enter_groups(b);
    if (!b->mapped)
        own_namespace();
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, link) != 0)
        box_fail(errno, "socketpair");
    if ((self = (int)syscall(SYS_pidfd_open, getpid(), 0)) < 0)
        box_fail(errno, "pidfd_open");
    if ((pid = clone_machine(b, &pidfd)) == 0)
        be_machine(b, link[1], self);
    note(b, pid);
    map_ids(b, pid);
    b->userns_fd = open_ns(pid, "user");
    b->netns_fd = open_ns(pid, "net");
    b->pidns_fd = open_ns(pid, "pid"); /* later it cannot be had: pid 1 hides from all but root */
    if (b->mapped)
        box_sources(b, b->userns_fd);
    if (write(link[0], "g", 1) != 1)
        box_fail(errno, "starting pid 1");
    await_ready(link[0], pidfd);
    if (lseek(b->lock_fd, 0, SEEK_END) < 0 || write(b->lock_fd, "ready\n", 6) != 6)
        box_fail(errno, "%s", b->lock);
    let_go(b);
    prctl(PR_SET_PDEATHSIG, 0);
    snprintf(text, sizeof(text), "ok %d\n", pid);
    if (write(CC_LAUNCH_FD, text, strlen(text)) < 0)
        _exit(2); /* the host has gone; the machine lives */
    if (strcmp(b->net, "nat") == 0 && b->pasta && b->turn)
        box_pasta(b, pid, pidfd);
    return 0;
}

/* Can this host make machines at all? Says why not on stderr. */
static int probe(void)
{
    static const struct {
        int flag;
        const char *name;
    } parts[] = {
        { CLONE_NEWUSER, "user" }, { CLONE_NEWNS, "mount" }, { CLONE_NEWNET, "network" },   { CLONE_NEWPID, "pid" },
        { CLONE_NEWUTS, "uts" },   { CLONE_NEWIPC, "ipc" },  { CLONE_NEWCGROUP, "cgroup" },
    };
    size_t i;

    for (i = 0; i < sizeof(parts) / sizeof(*parts); i++)
        if (unshare(parts[i].flag) != 0) {
            fprintf(stderr, "no %s namespaces: %s\n", parts[i].name, strerror(errno));
            return 1;
        }
    return 0;
}

int main(int argc, char **argv)
{
    int r;

    if (argc == 2 && strcmp(argv[1], "run") == 0)
        return run();
    if (argc == 2 && strcmp(argv[1], "probe") == 0)
        return probe();
    if ((argc == 3 || (argc == 4 && strcmp(argv[3], "nested") == 0)) && strcmp(argv[1], "filter") == 0) {
        if ((r = box_filter_write(argv[2], argc == 4)) == 0)
            return 0;
        fprintf(stderr, "cchost-launch: seccomp program: %s\n", strerror(-r));
        return 1;
    }
    fprintf(stderr, "usage: cchost-launch run 3<> | probe | filter FILE [nested]\n");
    return 2;
}
