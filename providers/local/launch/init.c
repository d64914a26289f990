/* init.c - pid 1 of a machine.
 *
 * Reaps, keeps the agent and sshd running, and ends everything on TERM.  It never
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

/* A program that is started again when it ends, after a pause that doubles while it does not hold on. */
struct kept {
    const char *name;
    pid_t (*start)(const struct box *b);
    pid_t pid; /* 0: it is not there */
    int64_t backoff, started, again;
};

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
    static const char *const own[][2] = CC_LAUNCH_ENV;
    static char *env[BOX_MANY + 8], text[sizeof(own) / sizeof(*own)][256];
    int n = 0, i;

    env[n++] = "HOME=/home/claude";
    env[n++] = "USER=claude";
    env[n++] = "LOGNAME=claude";
    for (i = 0; i < (int)(sizeof(own) / sizeof(*own)); i++) {
        snprintf(text[i], sizeof(text[i]), "%s=%s", own[i][0], own[i][1]);
        env[n++] = text[i];
    }
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
    const struct {
        char *name, *value;
    } options[] = {
        { "--shell", b->shell }, { "--key", b->key }, { "--ring", b->ring }, { "--sessions", b->sessions }
    };
    char *argv[12] = { "cchost-agent", "--listen-fd", "3" };
    int i, n = 3;
    pid_t pid = fork();

    if (pid != 0)
        return pid;
    for (i = 0; i < (int)(sizeof(options) / sizeof(*options)); i++)
        if (options[i].value) {
            argv[n++] = options[i].name;
            argv[n++] = options[i].value;
        }
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

static pid_t start_agent_again(const struct box *b) { return start_agent(b, -1); }

/* As the user, like everything else: it lets in nobody but him, and opens no port but its own. */
static pid_t start_sshd(const struct box *b)
{
    static char config[] = CC_LAUNCH_SSH_DIR "/sshd_config";
    char *argv[] = { b->sshd, "-D", "-e", "-f", config, NULL };
    pid_t pid = fork();

    if (pid != 0)
        return pid;
    prepare(b, -1, -1);
    syscall(SYS_close_range, 3U, ~0U, 0U);
    execve(b->sshd, argv, environment(b));
    dprintf(2, "init: %s: %s\n", b->sshd, strerror(errno));
    _exit(127);
}

static void start_cmd(const struct box *b)
{
    pid_t pid = b->cmd.n > 0 ? fork() : 1;
    int fd;

    if (pid < 0)
        dprintf(2, "init: cmd %s: %s\n", b->cmd.v[0], strerror(errno));
    if (pid != 0)
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
static pid_t first_agent(const struct box *b, int ready_fd)
{
    pid_t agent;
    char line[512];
    int p[2];
    ssize_t n;

    if (pipe2(p, O_CLOEXEC) != 0 || (agent = start_agent(b, p[1])) < 0)
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
    return agent;
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

static void again_later(struct kept *k, const char *why)
{
    k->pid = 0;
    k->again = now_ms() + k->backoff;
    dprintf(2, "init: %s %s; again in %lld ms\n", k->name, why, (long long)k->backoff);
    k->backoff = k->backoff * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : k->backoff * 2;
}

static void start(struct kept *k, const struct box *b)
{
    k->again = 0;
    k->started = now_ms();
    if ((k->pid = k->start(b)) < 0)
        again_later(k, "has no process");
}

static void ended(struct kept *k)
{
    if (now_ms() - k->started > STEADY_MS)
        k->backoff = BACKOFF_FIRST_MS;
    again_later(k, "ended");
}

static void reap(struct box *b, struct kept *kept)
{
    pid_t p;
    int i;

    while ((p = waitpid(-1, NULL, WNOHANG)) > 0) {
        for (i = 0; kept[i].start; i++)
            if (p == kept[i].pid)
                ended(&kept[i]);
        if (p == b->pasta_pid) {
            b->pasta_pid = 0;
            dprintf(2, "init: nat has ended; start the machine again to have it back\n");
        }
    }
}

/* Starts again what is due. When the next is, or 0. */
static int64_t start_due(const struct box *b, struct kept *kept)
{
    int64_t next = 0, now = now_ms();
    int i;

    for (i = 0; kept[i].start; i++) {
        struct kept *k = &kept[i];

        if (k->again && now >= k->again)
            start(k, b);
        if (k->again && (!next || k->again < next))
            next = k->again;
    }
    return next;
}

static _Noreturn void serve(struct box *b, struct kept *kept, const sigset_t *set)
{
    for (;;) {
        int64_t next = start_due(b, kept), left = next ? next - now_ms() : 0;
        const struct timespec t = { left > 0 ? left / 1000 : 0, left > 0 ? left % 1000 * 1000000 : 0 };
        int sig = next ? sigtimedwait(set, NULL, &t) : sigwaitinfo(set, NULL);

        if (sig == SIGTERM || sig == SIGINT)
            end_all(b);
        reap(b, kept);
    }
}

void box_init(struct box *b, int ready_fd)
{
    struct kept kept[3] = {
        { .name = "the agent", .start = start_agent_again, .backoff = BACKOFF_FIRST_MS, .started = now_ms() },
        { .name = "sshd", .start = b->sshd ? start_sshd : NULL, .backoff = BACKOFF_FIRST_MS, .started = now_ms() },
    };
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
    kept[0].pid = first_agent(b, ready_fd);
    if (b->sshd)
        start(&kept[1], b);
    start_cmd(b);
    serve(b, kept, &set);
}
