/* init.c - pid 1 of a machine that is a container.
 *
 * Reaps, keeps the agent running, runs the image's command once beside it and
 * keeps the machine up when that ends.  It stays root (of the container) to
 * start both as the image's user.  On TERM the command is asked first, with
 * the image's own signal, then everybody; what is left is killed before
 * dockerd's patience ends.
 */
#include "host/agent/conf.h"

#include "host/sys/clock.h"
#include "host/sys/lease.h"
#include "host/sys/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BACKOFF_FIRST_MS = 100, BACKOFF_MAX_MS = 10000, STEADY_MS = 10000, RESERVE_MS = 500 };

struct init {
    struct agent_conf conf;
    const char *listen; /* NULL: nobody can reach an agent, so there is none */
    int socket;
    pid_t agent, cmd; /* 0: not there */
    uint64_t agent_started, again, backoff;
};

/* ---------------------------------------------------------------- what it starts */

/* In the child: as the user, in his home where there is one (the command stays where the image says). */
static void become(const struct init *i, bool home)
{
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setsid();
    if (!agent_user_become(&i->conf.user)) {
        fprintf(stderr, "cchost-agent: becoming the image's user: %s\n", strerror(errno));
        _exit(126);
    }
    if (home && chdir(i->conf.user.home) != 0 && chdir("/") != 0)
        _exit(126);
}

/* For the socket of busy leases. Ours, and sticky: what else is in there he must not be able to exchange, for root runs it. */
static void share(const char *dir, gid_t group)
{
    if (chown(dir, 0, group) != 0 || chmod(dir, 01775) != 0)
        fprintf(stderr, "cchost-agent: %s: %s\n", dir, strerror(errno));
}

/* Whether that is a volume, not a directory of the disk to which some link leads. Kernels before 5.8 cannot tell. */
static bool is_volume(int fd)
{
    struct statx st;

    return statx(fd, "", AT_EMPTY_PATH, STATX_UID, &st) == 0 && st.stx_uid == 0 &&
           (!(st.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT) || st.stx_attributes & STATX_ATTR_MOUNT_ROOT);
}

/* A new volume is root's, wherever dockerd makes it: the user could not write to it. */
static void give_volumes(const struct init *i)
{
    const json_t *v;
    size_t n;
    int fd;

    json_array_foreach (json_object_get(i->conf.doc, "volumes"), n, v) {
        const char *path = json_string_value(v);

        if (!path || (fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) < 0)
            continue;
        if (is_volume(fd) && fchown(fd, i->conf.user.uid, i->conf.user.gid) != 0)
            fprintf(stderr, "cchost-agent: %s: %s\n", path, strerror(errno));
        close(fd);
    }
}

static void again_later(struct init *i, const char *why)
{
    i->agent = 0;
    i->again = cc_mono_ms() + i->backoff;
    fprintf(stderr, "cchost-agent: %s; again in %llu ms\n", why, (unsigned long long)i->backoff);
    i->backoff = i->backoff * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : i->backoff * 2;
}

static void start_agent(struct init *i)
{
    char fd[16], ring[16], sessions[16], *argv[12] = { (char *)"cchost-agent", (char *)"--listen-fd", fd };
    const struct {
        const char *name, *value;
    } options[] = { { "--shell", i->conf.shell },
                    { "--key", i->conf.key },
                    { "--ring", i->conf.ring ? ring : NULL },
                    { "--sessions", i->conf.sessions ? sessions : NULL } };
    int k, n = 3;

    snprintf(ring, sizeof(ring), "%u", i->conf.ring);
    snprintf(sessions, sizeof(sessions), "%u", i->conf.sessions);
    for (k = 0; k < (int)(sizeof(options) / sizeof(*options)); k++)
        if (options[k].value) {
            argv[n++] = (char *)options[k].name;
            argv[n++] = (char *)options[k].value;
        }
    i->again = 0;
    i->agent_started = cc_mono_ms();
    share(CC_BUSY_DIR, i->conf.user.gid);
    if ((i->agent = fork()) > 0)
        return;
    if (i->agent < 0) {
        again_later(i, "there is no process for the agent");
        return;
    }
    snprintf(fd, sizeof(fd), "%d", i->socket);
    fcntl(i->socket, F_SETFD, 0);
    become(i, true);
    execv(AGENT_BIN "/cchost-agent", argv);
    fprintf(stderr, "cchost-agent: starting the agent: %s\n", strerror(errno));
    _exit(127);
}

static void start_cmd(struct init *i)
{
    if (!i->conf.cmd || (i->cmd = fork()) > 0)
        return;
    if (i->cmd < 0) {
        fprintf(stderr, "cchost: the command was not begun: %s\n", strerror(errno));
        i->cmd = 0;
        return;
    }
    become(i, false);
    execvp(i->conf.cmd[0], i->conf.cmd);
    fprintf(stderr, "cchost-agent: %s: %s\n", i->conf.cmd[0], strerror(errno));
    _exit(127);
}

/* ---------------------------------------------------------------- what ends */

static void agent_ended(struct init *i)
{
    if (cc_mono_ms() - i->agent_started > STEADY_MS)
        i->backoff = BACKOFF_FIRST_MS;
    again_later(i, "the agent ended");
}

static void cmd_ended(struct init *i, int status)
{
    i->cmd = 0;
    if (WIFSIGNALED(status))
        fprintf(stderr, "cchost: the command was ended by signal %d\n", WTERMSIG(status));
    else
        fprintf(stderr, "cchost: the command ended with %d\n", WEXITSTATUS(status));
}

/* False: nobody is left. */
static bool reap(struct init *i, bool ending)
{
    int status;
    pid_t p;

    while ((p = waitpid(-1, &status, WNOHANG)) > 0) {
        if (p == i->cmd)
            cmd_ended(i, status);
        else if (p == i->agent && ending)
            i->agent = 0;
        else if (p == i->agent)
            agent_ended(i);
    }
    return p == 0;
}

static void nap(const sigset_t *set, uint64_t ms)
{
    const struct timespec t = { (time_t)(ms / 1000), (long)(ms % 1000) * 1000000 };

    sigtimedwait(set, NULL, &t);
}

static int end_all(struct init *i, const sigset_t *set)
{
    uint64_t patience = i->conf.grace_ms > RESERVE_MS ? i->conf.grace_ms - RESERVE_MS : 0,
             until = cc_mono_ms() + patience;
    bool asked = false;

    if (i->cmd > 0)
        kill(-i->cmd, i->conf.stop_signal);
    if (i->agent > 0)
        kill(i->agent, SIGTERM); /* it ends its services first, in their order; terminals hang up when it ends */
    while (reap(i, true) && cc_mono_ms() < until) {
        if (!asked && i->cmd == 0 && (i->agent == 0 || cc_mono_ms() > until - patience / 4)) {
            kill(-1, SIGTERM);
            kill(-1, SIGCONT);
            asked = true;
        }
        nap(set, 20);
    }
    kill(-1, SIGKILL);
    return 0;
}

/* ---------------------------------------------------------------- pid 1 */

static int serve(struct init *i, const sigset_t *set)
{
    for (;;) {
        uint64_t now = cc_mono_ms();
        struct timespec t = { 0, 0 };
        int sig;

        if (i->again && now >= i->again)
            start_agent(i);
        if (i->again)
            t = (struct timespec){ (time_t)((i->again - now) / 1000), (long)((i->again - now) % 1000) * 1000000 };
        sig = i->again ? sigtimedwait(set, NULL, &t) : sigwaitinfo(set, NULL);
        if (sig > 0 && sig != SIGCHLD)
            return end_all(i, set);
        reap(i, false);
    }
}

/* Of whoever the directory is, who made it for us: a host that is not root must be able to connect, and the image's user must
 * not put another in its place. In a user namespace nobody can tell who that is; the host is root then, and nothing is changed. */
static void give_to_host(const char *path)
{
    char dir[sizeof(((struct sockaddr_un *)0)->sun_path)];
    struct stat st;

    snprintf(dir, sizeof(dir), "%.*s", (int)(strrchr(path, '/') - path), path);
    if (stat(dir, &st) == 0 &&
        (chmod(dir, st.st_mode & 0755) != 0 || (st.st_uid != 0 && chown(path, st.st_uid, st.st_gid) != 0)))
        fprintf(stderr, "cchost-agent: giving %s to who made its directory: %s\n", path, strerror(errno));
}

static int listen_at(const char *path)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0 || strlen(path) >= sizeof(a.sun_path))
        return -1;
    memcpy(a.sun_path, path, strlen(path) + 1);
    unlink(path);
    if (bind(fd, (struct sockaddr *)&a, sizeof(a)) != 0 || chmod(path, 0600) != 0 || listen(fd, 4096) != 0)
        return -1;
    give_to_host(path);
    return fd;
}

/* Login shells begin with a PATH of their own. */
static void path_for_logins(void)
{
    static const char line[] = "case \":$PATH:\" in *:" AGENT_BIN ":*) ;; *) PATH=$PATH:" AGENT_BIN " ;; esac\n";
    int fd = open("/etc/profile.d/cchost.sh", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

    if (fd < 0)
        return; /* it is there already, or the image has no such place */
    if (write(fd, line, sizeof(line) - 1) < 0)
        fprintf(stderr, "cchost-agent: /etc/profile.d/cchost.sh: %s\n", strerror(errno));
    close(fd);
}

int agent_init(int argc, char **argv)
{
    struct init i = { .socket = -1, .backoff = BACKOFF_FIRST_MS };
    sigset_t set;

    if (argc == 3 && strcmp(argv[1], "--listen") == 0)
        i.listen = argv[2];
    else if (argc != 1)
        return 2;
    sigfillset(&set);
    sigprocmask(SIG_BLOCK, &set, NULL);
    prctl(PR_SET_NAME, "cchost-init");
    if (!agent_conf_read(&i.conf))
        return 1;
    agent_conf_env(&i.conf);
    path_for_logins();
    give_volumes(&i);
    if (i.listen && (i.socket = listen_at(i.listen)) < 0)
        fprintf(stderr, "cchost-agent: listening on %s: %s\n", i.listen, strerror(errno));
    if (i.socket >= 0)
        start_agent(&i);
    start_cmd(&i);
    return serve(&i, &set);
}
