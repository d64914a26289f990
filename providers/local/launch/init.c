/* init.c - pid 1 of a machine.
 *
 * Reaps, keeps the agent running, and ends everything on TERM.  It never
 * executes anything itself: its few pages are the launcher's.  When it dies,
 * by whatever hand, the kernel kills every process of the machine, and its
 * open lock tells the host so.  The agent's socket is open here, so that
 * connections wait while an agent that crashed is started again.
 */
#include "providers/local/launch/box.h"

#include "host/sys/lease.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BACKOFF_FIRST_MS = 100, BACKOFF_MAX_MS = 10000, STEADY_MS = 10000 };

static pid_t agent_pid;

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void keep_caps(uint64_t keep)
{
    struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct d[2] = { 0 };

    d[0].permitted = d[0].effective = (uint32_t)keep;
    if (syscall(SYS_capset, &h, d) != 0)
        box_fail(errno, "capset");
}

static void drop_bounding(void)
{
    int cap;

    for (cap = 0; cap <= 63; cap++)
        if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) != 0 && errno == EINVAL)
            break;
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
}

/* To user claude, for good. As an ordinary user we are that already. */
static void become_user(const struct box *b)
{
    if (b->mapped && (setgroups(0, NULL) != 0 || setresgid(CC_LAUNCH_UID, CC_LAUNCH_UID, CC_LAUNCH_UID) != 0 ||
                      setresuid(CC_LAUNCH_UID, CC_LAUNCH_UID, CC_LAUNCH_UID) != 0))
        box_fail(errno, "becoming uid %d", CC_LAUNCH_UID);
    keep_caps(0);
}

static void limits(void)
{
    struct rlimit r;

    if (getrlimit(RLIMIT_NOFILE, &r) == 0) {
        r.rlim_cur = r.rlim_max < 65536 ? r.rlim_max : 65536;
        setrlimit(RLIMIT_NOFILE, &r);
    }
    r.rlim_cur = r.rlim_max = 0;
    setrlimit(RLIMIT_CORE, &r);
}

static char **environment(const struct box *b)
{
    static char *env[BOX_MANY + 8];
    int n = 0, i;

    env[n++] = "HOME=/home/claude";
    env[n++] = "USER=claude";
    env[n++] = "LOGNAME=claude";
    env[n++] = "PATH=/home/claude/.local/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:" CC_BUSY_BIN;
    env[n++] = "LANG=C.UTF-8";
    env[n++] = "XDG_RUNTIME_DIR=/run/user/1000";
    env[n++] = CC_BUSY_ENV "=" CC_BUSY_SOCKET;
    for (i = 0; i < b->env.n; i++)
        env[n++] = b->env.v[i]; /* the last of a name wins where it is looked up by ours */
    env[n] = NULL;
    return env;
}

/* In the child, from fork to exec. `fd3` becomes fd 3; all else but stdio closes. */
static void prepare(const struct box *b, int fd3, int program)
{
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    setsid();
    become_user(b);
    if (chdir("/home/claude") != 0 && chdir("/") != 0)
        box_fail(errno, "chdir");
    if (fd3 >= 0 && dup2(fd3, 3) != 3)
        box_fail(errno, "dup2");
    if (program >= 0 && dup2(program, 4) != 4)
        box_fail(errno, "dup2");
}

static pid_t start_agent(const struct box *b, int report)
{
    char *argv[] = { "cchost-agent", "--listen-fd", "3", b->shell ? "--shell" : NULL, b->shell, NULL };
    pid_t pid = fork();

    if (pid != 0)
        return pid;
    if (report >= 0) { /* above 4, and gone when exec works */
        report = fcntl(report, F_DUPFD_CLOEXEC, 10);
        box_report_to(report);
    }
    prepare(b, fcntl(b->socket_fd, F_DUPFD_CLOEXEC, 10), fcntl(b->agent_fd, F_DUPFD_CLOEXEC, 10));
    syscall(SYS_close_range, 5U, ~0U, 4U /* CLOSE_RANGE_CLOEXEC */);
    if (fcntl(4, F_SETFD, FD_CLOEXEC) == 0)
        fexecve(4, argv, environment(b));
    box_fail(errno, "starting the agent");
}

static void start_cmd(const struct box *b)
{
    int fd;

    if (b->cmd.n == 0 || fork() != 0)
        return;
    prepare(b, -1, -1);
    fd = open(".cmd.log", O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW, 0644); /* on its own disk, not on the host's */
    if (fd >= 0) {
        dup2(fd, 1);
        dup2(fd, 2);
    }
    syscall(SYS_close_range, 3U, ~0U, 0U);
    environ = environment(b);
    execvp(b->cmd.v[0], b->cmd.v);
    dprintf(2, "cmd %s: %s\n", b->cmd.v[0], strerror(errno));
    _exit(127);
}

/* Waits for the agent's exec: end of file is success. */
static void first_agent(const struct box *b, int ready_fd)
{
    char line[512];
    int p[2];
    ssize_t n;

    if (pipe2(p, O_CLOEXEC) != 0 || (agent_pid = start_agent(b, p[1])) < 0)
        box_fail(errno, "starting the agent");
    close(p[1]);
    while ((n = read(p[0], line, sizeof(line))) < 0 && errno == EINTR) {
    }
    close(p[0]);
    if (n > 0) {
        if (write(ready_fd, line, (size_t)n) != n)
            _exit(2);
        _exit(1);
    }
    if (write(ready_fd, "ok\n", 3) != 3)
        _exit(1);
    close(ready_fd);
}

/* TERM to all; whoever is left when the host's patience ends dies with us. pasta is not waited for,
 * and cannot be reached before it has joined the machine's user namespace: so again and again. */
static _Noreturn void end_all(struct box *b)
{
    const struct timespec nap = { 0, 20000000 };
    sigset_t set;

    kill(-1, SIGTERM); /* terminals hang up when the agent ends */
    kill(-1, SIGCONT);
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    for (;;) {
        pid_t p = waitpid(-1, NULL, WNOHANG);

        if (p < 0 && errno == ECHILD)
            _exit(0);
        if (p == b->pasta_pid)
            b->pasta_pid = 0;
        if (p == 0) {
            if (b->pasta_pid > 0)
                kill(b->pasta_pid, SIGKILL);
            sigtimedwait(&set, NULL, &nap);
        }
    }
}

static bool reap(struct box *b)
{
    bool agent_died = false;
    pid_t p;

    while ((p = waitpid(-1, NULL, WNOHANG)) > 0) {
        agent_died |= p == agent_pid;
        if (p == b->pasta_pid) {
            b->pasta_pid = 0;
            dprintf(2, "init: nat has ended; start the machine again to have it back\n");
        }
    }
    return agent_died;
}

static _Noreturn void serve(struct box *b, const sigset_t *set)
{
    int64_t backoff = BACKOFF_FIRST_MS, started = now_ms(), again = 0;

    for (;;) {
        struct timespec t = { 0, 0 };
        int sig;

        if (again) {
            int64_t left = again - now_ms();

            t.tv_sec = left > 0 ? left / 1000 : 0;
            t.tv_nsec = left > 0 ? left % 1000 * 1000000 : 0;
        }
        sig = again ? sigtimedwait(set, NULL, &t) : sigwaitinfo(set, NULL);
        if (sig == SIGTERM || sig == SIGINT)
            end_all(b);
        if (reap(b)) {
            if (now_ms() - started > STEADY_MS)
                backoff = BACKOFF_FIRST_MS;
            again = now_ms() + backoff;
            dprintf(2, "init: the agent ended; again in %lld ms\n", (long long)backoff);
            backoff = backoff * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : backoff * 2;
        }
        if (again && now_ms() >= again) {
            again = 0;
            started = now_ms();
            agent_pid = start_agent(b, -1);
        }
    }
}

void box_init(struct box *b, int ready_fd)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    prctl(PR_SET_NAME, "cchost-init");
    prctl(PR_SET_DUMPABLE, 0);
    limits();
    drop_bounding();
    keep_caps(b->mapped ? 1u << CAP_KILL | 1u << CAP_SETUID | 1u << CAP_SETGID : 0);
    box_filter_load(b->filter_fd);
    close(b->filter_fd);
    first_agent(b, ready_fd);
    start_cmd(b);
    serve(b, &set);
}
