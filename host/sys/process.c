/* process.c - see process.h.  A poll loop over the child's three pipes and its pidfd. */
#include "host/sys/process.h"

#include "host/sys/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { IN, OUT, ERR, CHUNK = 65536 };

struct run {
    struct cc_process *p;
    int fd[3]; /* our ends */
    int pidfd;
    pid_t pid;
    size_t wrote;
};

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static int spawn(struct run *r, int child[3], struct cc_err *err)
{
    posix_spawn_file_actions_t fa;
    posix_spawnattr_t attr;
    sigset_t none, all;
    int i, rc;

    posix_spawn_file_actions_init(&fa);
    posix_spawnattr_init(&attr);
    for (i = 0; i < 3; i++)
        posix_spawn_file_actions_adddup2(&fa, child[i], i);
    posix_spawn_file_actions_addclosefrom_np(&fa, 3); /* what libraries opened without O_CLOEXEC */
    if (r->p->dir)
        posix_spawn_file_actions_addchdir_np(&fa, r->p->dir);
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &all);
    posix_spawnattr_setpgroup(&attr, 0);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    rc = posix_spawnp(&r->pid, r->p->argv[0], &fa, &attr, r->p->argv, r->p->env ? r->p->env : environ);
    posix_spawn_file_actions_destroy(&fa);
    posix_spawnattr_destroy(&attr);
    if (rc != 0)
        return cc_err_sys(err, rc, "cannot run %s", r->p->argv[0]);
    return 0;
}

static int start(struct run *r, struct cc_err *err)
{
    int pipes[3][2], child[3], i, rc;

    for (i = 0; i < 3; i++) {
        if (pipe2(pipes[i], O_CLOEXEC) != 0) {
            rc = errno;
            while (--i >= 0) {
                close(pipes[i][0]);
                close(pipes[i][1]);
            }
            return cc_err_sys(err, rc, "cannot make a pipe");
        }
    }
    for (i = 0; i < 3; i++) {
        child[i] = pipes[i][i != IN];
        r->fd[i] = pipes[i][i == IN];
        fcntl(r->fd[i], F_SETFL, O_NONBLOCK);
    }
    rc = spawn(r, child, err);
    for (i = 0; i < 3; i++)
        close(child[i]);
    if (rc == 0)
        r->pidfd = (int)syscall(SYS_pidfd_open, r->pid, 0);
    return rc;
}

/* Keeps at most output_max bytes and drops the rest; false at the end of the stream. */
static bool take(int fd, char **buf, size_t *len, size_t max)
{
    char chunk[CHUNK];
    ssize_t n = read(fd, chunk, sizeof(chunk));
    size_t keep;

    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    if (n == 0)
        return false;
    keep = (size_t)n < max - *len ? (size_t)n : max - *len;
    if (keep > 0) {
        *buf = cc_xrealloc(*buf, *len + keep + 1);
        memcpy(*buf + *len, chunk, keep);
        *len += keep;
    }
    return true;
}

static void feed(struct run *r)
{
    ssize_t n = write(r->fd[IN], r->p->input + r->wrote, r->p->input_len - r->wrote);

    if (n > 0)
        r->wrote += (size_t)n;
    else if (n < 0 && errno != EAGAIN && errno != EINTR)
        r->wrote = r->p->input_len; /* it does not want the rest */
    if (r->wrote == r->p->input_len)
        close_fd(&r->fd[IN]);
}

/* One round. False when the child ended: what a grandchild still holds open is not waited for. */
static bool turn(struct run *r, const struct cc_call *call)
{
    struct pollfd f[5] = {
        { r->fd[IN], POLLOUT, 0 },
        { r->fd[OUT], POLLIN, 0 },
        { r->fd[ERR], POLLIN, 0 },
        { r->pidfd, POLLIN, 0 },
        { call ? call->wake_fd : -1, POLLIN, 0 },
    };
    struct cc_process *p = r->p;

    if (poll(f, 5, call ? cc_call_left_ms(call) : -1) <= 0)
        return true;
    if (f[IN].revents)
        feed(r);
    if (f[OUT].revents && !take(r->fd[OUT], &p->out, &p->out_len, p->output_max))
        close_fd(&r->fd[OUT]);
    if (f[ERR].revents && !take(r->fd[ERR], &p->err, &p->err_len, p->output_max))
        close_fd(&r->fd[ERR]);
    return !(f[3].revents && !f[OUT].revents && !f[ERR].revents);
}

int cc_process_run(struct cc_process *p, const struct cc_call *call, struct cc_err *err)
{
    struct run r = { .p = p, .fd = { -1, -1, -1 }, .pidfd = -1 };
    int status = 0, rc, i;
    bool over = false;

    p->out = p->err = NULL;
    p->out_len = p->err_len = 0;
    if ((rc = start(&r, err)) == 0) {
        if (p->input_len == 0)
            close_fd(&r.fd[IN]);
        while (turn(&r, call) && !over)
            over = call && cc_call_over(call);
        if (over)
            kill(-r.pid, SIGKILL);
        while (waitpid(r.pid, &status, 0) < 0 && errno == EINTR)
            ;
        p->exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    for (i = 0; i < 3; i++)
        close_fd(&r.fd[i]);
    close_fd(&r.pidfd);
    if (!p->out)
        p->out = cc_xcalloc(1, 1);
    if (!p->err)
        p->err = cc_xcalloc(1, 1);
    p->out[p->out_len] = p->err[p->err_len] = '\0';
    if (rc == 0 && over) {
        rc = atomic_load(&call->cancelled) ? CC_E_CANCELLED : CC_E_TIMEOUT;
        cc_err_set(err, rc, "%s was ended: %s", p->argv[0],
                   rc == CC_E_TIMEOUT ? "its time was up" : "it was cancelled");
    }
    return rc;
}

void cc_process_fini(struct cc_process *p)
{
    free(p->out);
    free(p->err);
    p->out = p->err = NULL;
}
