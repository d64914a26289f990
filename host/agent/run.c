/* run.c - cchost-agent run: one command in a container, for a host that cannot reach into it again.
 *
 * dockerd's exec ends nothing and closes nothing: so the time is kept here, the
 * input has a length, and the output is passed on until shortly after the
 * command's end, whoever else has inherited it.
 */
#include "host/agent/agent.h"
#include "host/agent/conf.h"

#include "host/sys/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DRAIN_MS = 100, CHUNK = 65536 };

struct flow {
    int from, to;
    size_t left; /* of `buf`, from `at` */
    size_t at;
    unsigned long long most; /* bytes still to be read */
    char buf[CHUNK];
};

struct run {
    pid_t pid;
    int children; /* signalfd */
    struct flow in, out, err;
    uint64_t until;
    int exit;
    bool ended, late;
};

static void flow_close(struct flow *f)
{
    if (f->from > 2)
        close(f->from);
    if (f->to > 2)
        close(f->to);
    f->from = f->to = -1;
}

static bool flow_open(const struct flow *f) { return f->to >= 0; }

/* What this flow waits for: to read, or to write what it has. */
static struct pollfd flow_poll(const struct flow *f)
{
    if (!flow_open(f))
        return (struct pollfd){ .fd = -1 };
    return f->left ? (struct pollfd){ .fd = f->to, .events = POLLOUT }
                   : (struct pollfd){ .fd = f->from, .events = POLLIN };
}

/* False: whoever was to read has gone. */
static bool flow_move(struct flow *f)
{
    ssize_t n;

    if (f->left) {
        n = write(f->to, f->buf + f->at, f->left);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR;
        f->at += (size_t)n;
        f->left -= (size_t)n;
    } else {
        n = read(f->from, f->buf, f->most < CHUNK ? (size_t)f->most : CHUNK);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return true;
        f->at = 0;
        f->left = n > 0 ? (size_t)n : 0;
        f->most = n > 0 ? f->most - (unsigned long long)n : 0;
    }
    if (f->left == 0 && f->most == 0)
        flow_close(f);
    return true;
}

/* ---------------------------------------------------------------- the command */

static void in_child(const struct agent_conf *c, char **argv, int in, int out, int err, int report)
{
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    setsid();
    if (dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0 || !agent_user_become(&c->user) ||
        (chdir(c->user.home) != 0 && chdir("/") != 0))
        _exit(126);
    execvp(argv[0], argv);
    if (write(report, &errno, sizeof(errno)) != sizeof(errno))
        _exit(126);
    _exit(127);
}

/* Why it could not be executed, or 0. */
static int start(struct run *r, const struct agent_conf *c, char **argv)
{
    int in[2], out[2], err[2], report[2], why = 0;

    if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC) || pipe2(report, O_CLOEXEC))
        return errno;
    if ((r->pid = fork()) < 0)
        return errno;
    if (r->pid == 0)
        in_child(c, argv, in[0], out[1], err[1], report[1]);
    close(in[0]), close(out[1]), close(err[1]), close(report[1]);
    if (read(report[0], &why, sizeof(why)) != sizeof(why))
        why = 0;
    close(report[0]);
    r->in.from = 0, r->in.to = in[1];
    r->out.from = out[0], r->out.to = 1, r->out.most = ~0ULL;
    r->err.from = err[0], r->err.to = 2, r->err.most = ~0ULL;
    fcntl(in[1], F_SETFL, O_NONBLOCK);
    if (r->in.most == 0)
        flow_close(&r->in);
    return why;
}

static void reap(struct run *r)
{
    struct signalfd_siginfo seen;
    int status;

    if (read(r->children, &seen, sizeof(seen)) < 0 || waitpid(r->pid, &status, WNOHANG) != r->pid)
        return;
    r->ended = true;
    r->exit = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    r->until = cc_mono_ms() + DRAIN_MS;
}

/* One look at all of it. False: it is over. */
static bool turn(struct run *r)
{
    struct pollfd p[4] = {
        flow_poll(&r->in), flow_poll(&r->out), flow_poll(&r->err), { .fd = r->children, .events = POLLIN }
    };
    uint64_t now = cc_mono_ms();

    if (r->ended && ((!flow_open(&r->out) && !flow_open(&r->err)) || now >= r->until))
        return false;
    if (!r->ended && !r->late && now >= r->until) {
        r->late = true;
        kill(-r->pid, SIGKILL);
    }
    if (poll(p, 4, r->late && !r->ended ? -1 : now < r->until ? (int)(r->until - now) : 0) < 0)
        return errno == EINTR;
    if (p[0].revents && !flow_move(&r->in))
        flow_close(&r->in);
    if ((p[1].revents && !flow_move(&r->out)) || (p[2].revents && !flow_move(&r->err))) {
        kill(-r->pid, SIGKILL); /* nobody wants to know */
        return false;
    }
    if (p[3].revents)
        reap(r);
    return true;
}

int agent_run(int argc, char **argv)
{
    static struct run r;
    struct agent_conf conf;
    unsigned long long timeout = 60000;
    sigset_t child;
    int i, why;

    for (i = 1; i + 1 < argc && strcmp(argv[i], "--") != 0; i += 2) {
        if (strcmp(argv[i], "--timeout") == 0)
            timeout = strtoull(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--stdin") == 0)
            r.in.most = strtoull(argv[i + 1], NULL, 10);
        else
            return 2;
    }
    if (i + 1 >= argc || strcmp(argv[i], "--") != 0)
        return 2;
    if (!agent_conf_read(&conf))
        return 126;
    agent_conf_env(&conf);
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, NULL);
    r.children = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
    r.until = cc_mono_ms() + timeout;
    if ((why = start(&r, &conf, argv + i + 1)) == ENOENT || why == EACCES || why == ENOTDIR) {
        fprintf(stderr, AGENT_NO_PROGRAM "%s\n", argv[i + 1]);
        return 127;
    }
    if (r.pid <= 0) {
        fprintf(stderr, "cchost-agent: beginning %s: %s\n", argv[i + 1], strerror(why));
        return 126;
    }
    while (turn(&r)) {
    }
    return r.late ? 124 : r.exit;
}

int agent_shell(int argc, char **argv)
{
    struct agent_conf conf;

    (void)argc, (void)argv;
    if (!agent_conf_read(&conf))
        return 126;
    agent_conf_env(&conf);
    if (!agent_user_become(&conf.user) || (chdir(conf.user.home) != 0 && chdir("/") != 0)) {
        fprintf(stderr, "cchost-agent: becoming the image's user: %s\n", strerror(errno));
        return 126;
    }
    agent_exec_shell(conf.shell);
}
