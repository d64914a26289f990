/* main.c - cchost-spawner LAUNCHER: starts one machine's launcher outside of the service's sandbox.
 *
 * A machine must not have the service's seccomp filter and no_new_privs, nor end with it, and needs a control group of its own.
 * So systemd starts this program for each connection to a socket (cchost-spawner.socket, Accept=yes), in a unit of its own; the
 * connection is its standard input.  Only its own uid is served, and only LAUNCHER is executed: who breaks out of the service can
 * make machines here, and nothing else.
 *
 *   -> "cchost-spawner 1 TUN GROUP\n"    TUN: 0, or the errno of opening /dev/net/tun; GROUP: a v2 group for the machine, or "-"
 *   <- uint32 length, that many bytes of "key NUL value NUL" (arg, set FILE=VALUE of the group), with descriptors in the first
 *      byte's SCM_RIGHTS: for fd 2 if there are two, and 3
 *   -> "exit N\n"                         when the launcher has ended
 *
 * It stays while anything of the machine lives, so that its unit is the machine's.  When the other side goes before the
 * launcher's end, the launcher's parent ends: it then does what it does when its host dies (launch/main.c).
 */
#include "providers/local/spawner/spawner.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CONN = 0, MANY = 32 };

struct request {
    char *argv[MANY + 1];
    char *set[MANY];
    int n_args, n_sets, fds[2], n_fds;
};

static _Noreturn void fail(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    fputs("cchost-spawner: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    exit(1);
}

static void check_peer(void)
{
    struct ucred u;
    socklen_t n = sizeof(u);

    if (getsockopt(CONN, SOL_SOCKET, SO_PEERCRED, &u, &n) != 0)
        fail("standard input is no connection: %s", strerror(errno));
    if (u.uid != geteuid())
        fail("uid %u may not have machines started here", u.uid);
}

/* ---------------------------------------------------------------- the group */

static bool put(const char *dir, const char *leaf, const char *text)
{
    char path[600];
    int fd;
    bool ok;

    snprintf(path, sizeof(path), "%s/%s", dir, leaf);
    if ((fd = open(path, O_WRONLY | O_CLOEXEC)) < 0)
        return false;
    ok = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    close(fd);
    return ok;
}

/* A group with processes of its own hands nothing down, so we go into one beside the machine's. False: there is none. */
static bool make_group(char *out, size_t size)
{
    FILE *f = fopen("/proc/self/cgroup", "re");
    char line[300], base[400], mine[420];
    struct statfs fs;
    bool found = false;

    while (f && !found && fgets(line, sizeof(line), f))
        found = strncmp(line, "0::/", 4) == 0;
    if (f)
        fclose(f);
    if (!found)
        return false;
    line[strcspn(line, "\n")] = 0;
    snprintf(base, sizeof(base), "/sys/fs/cgroup%s", line + 3);
    if (statfs(base, &fs) != 0 || fs.f_type != CGROUP2_SUPER_MAGIC)
        return false;
    snprintf(mine, sizeof(mine), "%s/spawner", base);
    snprintf(out, size, "%s/machine", base);
    return (mkdir(mine, 0755) == 0 || errno == EEXIST) && put(mine, "cgroup.procs", "0") &&
           put(base, "cgroup.subtree_control", "+memory +pids +cpu") && (mkdir(out, 0755) == 0 || errno == EEXIST);
}

static int tun_error(void)
{
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

    if (fd < 0)
        return errno;
    close(fd);
    return 0;
}

static void say(const char *fmt, ...)
{
    char line[600];
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    if (n > 0 && send(CONN, line, (size_t)n, MSG_NOSIGNAL) < 0 && errno != EPIPE)
        fail("answering: %s", strerror(errno));
}

/* ---------------------------------------------------------------- the request */

/* The length, and the descriptors that come with it. */
static uint32_t read_head(struct request *r)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * 2)];
    } control;
    uint32_t len = 0;
    struct iovec iov = { &len, sizeof(len) };
    struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
    ssize_t n = recvmsg(CONN, &m, MSG_WAITALL | MSG_CMSG_CLOEXEC);
    struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;

    if (n == 0)
        exit(0); /* it only wanted to know */
    if (n != sizeof(len) || len > CC_SPAWNER_MAX || (m.msg_flags & MSG_CTRUNC))
        fail("no request: %zd bytes", n);
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
        r->n_fds = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(r->fds, CMSG_DATA(c), sizeof(int) * (size_t)r->n_fds);
    }
    return len;
}

static void read_request(struct request *r)
{
    uint32_t len = read_head(r);
    char *text = calloc(1, len + 2), *at, *value;

    if (!text || recv(CONN, text, len, MSG_WAITALL) != (ssize_t)len)
        fail("the request ended early");
    for (at = text; at < text + len; at = value + strlen(value) + 1) {
        value = at + strlen(at) + 1;
        if (value > text + len)
            fail("a key without its value");
        if (strcmp(at, "arg") == 0 && r->n_args < MANY)
            r->argv[r->n_args++] = value;
        else if (strcmp(at, "set") == 0 && r->n_sets < MANY)
            r->set[r->n_sets++] = value;
        else
            fail("what is \"%s\"?", at);
    }
    if (r->n_args == 0)
        fail("no arguments");
}

static void set_limits(const struct request *r, const char *group)
{
    int i;

    for (i = 0; i < r->n_sets; i++) {
        char *eq = strchr(r->set[i], '=');

        if (!eq || strchr(r->set[i], '/'))
            fail("no setting of a group: %s", r->set[i]);
        *eq = 0;
        if (!put(group, r->set[i], eq + 1) && strcmp(r->set[i], "memory.swap.max") != 0) /* kernels without swap */
            fail("%s of %s: %s", r->set[i], group, strerror(errno));
    }
}

/* ---------------------------------------------------------------- the launcher */

static _Noreturn void launch(const char *launcher, struct request *r)
{
    static char *const no_environment[] = { NULL };
    int null = open("/dev/null", O_RDWR | O_CLOEXEC), err = r->n_fds == 2 ? r->fds[0] : null;
    int link = r->n_fds > 0 ? fcntl(r->fds[r->n_fds - 1], F_DUPFD_CLOEXEC, 10) : -1;

    err = fcntl(err, F_DUPFD_CLOEXEC, 10);
    if (setsid() < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(err, 2) < 0 ||
        (link >= 0 && dup2(link, 3) < 0) || syscall(SYS_close_range, link >= 0 ? 4U : 3U, ~0U, 0U) != 0)
        _exit(127);
    execve(launcher, r->argv, no_environment);
    _exit(127);
}

/* The launcher's parent, whose death it may take for its host's. */
static _Noreturn void be_parent(const char *launcher, struct request *r)
{
    int status = 0;
    pid_t pid;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    close(CONN);
    if ((pid = fork()) == 0)
        launch(launcher, r);
    while (r->n_fds > 0)
        close(r->fds[--r->n_fds]);
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    _exit(pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : 126);
}

static void attend(pid_t parent)
{
    struct pollfd p[2] = { { .fd = (int)syscall(SYS_pidfd_open, parent, 0), .events = POLLIN },
                           { .fd = CONN, .events = POLLRDHUP } };
    int status = 0;

    while (poll(p, 2, -1) < 0 && errno == EINTR) {
    }
    if (!p[0].revents)
        kill(parent, SIGKILL);
    while (waitpid(parent, &status, 0) < 0 && errno == EINTR) {
    }
    say("exit %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : 126);
    close(p[0].fd);
}

int main(int argc, char **argv)
{
    struct request r = { 0 };
    char group[500];
    bool grouped;
    pid_t parent;

    if (argc != 2)
        fail("usage: cchost-spawner LAUNCHER <connection");
    check_peer();
    umask(022);
    grouped = make_group(group, sizeof(group));
    say("cchost-spawner 1 %d %s\n", tun_error(), grouped ? group : "-");
    read_request(&r);
    set_limits(&r, group);
    if (prctl(PR_SET_CHILD_SUBREAPER, 1) != 0 || (parent = fork()) < 0)
        fail("starting: %s", strerror(errno));
    if (parent == 0)
        be_parent(argv[1], &r);
    while (r.n_fds > 0)
        close(r.fds[--r.n_fds]);
    attend(parent);
    shutdown(CONN, SHUT_RDWR);
    while (wait(NULL) > 0 || errno == EINTR) {
    }
    return 0;
}
