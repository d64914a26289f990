/* spawn.c - the launcher's start: posix_spawn from a pool thread (a vfork in effect, so that the host's size costs nothing), or a
 * request to cchost-spawner, whose child it becomes. */
#include "providers/local/spawn.h"

#include "providers/local/spawner/spawner.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { HELLO_SECONDS = 20, END_SECONDS = 60 };

/* One line, or what came of it; -1: none in time. */
static int read_line(int fd, char *line, size_t size, int seconds)
{
    struct timeval most = { .tv_sec = seconds };
    size_t n = 0;
    ssize_t r = 1;

    line[0] = 0;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof(most));
    while (n + 1 < size && !memchr(line, '\n', n) && (r = recv(fd, line + n, size - 1 - n, 0)) > 0)
        n += (size_t)r;
    line[n] = 0;
    return r > 0 && strchr(line, '\n') ? 0 : -1;
}

int cc_spawn_open(const char *path, struct cc_spawn *s, struct cc_err *err)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    char line[400];

    *s = (struct cc_spawn){ .fd = -1, .pid = -1 };
    if (!path)
        return 0;
    if (strlen(path) >= sizeof(at.sun_path))
        return cc_err_set(err, CC_E_INVALID, "the spawner's socket: at most %zu letters", sizeof(at.sun_path) - 1);
    memcpy(at.sun_path, path, strlen(path));
    if ((s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) < 0)
        return cc_err_sys(err, errno, "socket");
    if (connect(s->fd, (struct sockaddr *)&at, sizeof(at)) != 0)
        cc_err_sys(err, errno, "the spawner at %s", path);
    else if (read_line(s->fd, line, sizeof(line), HELLO_SECONDS) != 0 ||
             sscanf(line, "cchost-spawner 1 %d %319s", &s->tun, s->group) != 2)
        cc_err_set(err, CC_E_UNAVAILABLE, "the spawner at %s does not answer", path);
    else {
        if (strcmp(s->group, "-") == 0)
            s->group[0] = 0;
        return 0;
    }
    cc_spawn_drop(s);
    return CC_E_UNAVAILABLE;
}

static int start_here(struct cc_spawn *s, const char *program, const char *const *argv, int fd, int err_fd)
{
    static char *const no_environment[] = { NULL };
    posix_spawn_file_actions_t fa;
    posix_spawnattr_t at;
    sigset_t all, none;
    int r;

    sigfillset(&all);
    sigemptyset(&none);
    posix_spawn_file_actions_init(&fa);
    posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDWR, 0);
    posix_spawn_file_actions_addopen(&fa, 1, "/dev/null", O_RDWR, 0);
    if (err_fd >= 0)
        posix_spawn_file_actions_adddup2(&fa, err_fd, 2);
    else
        posix_spawn_file_actions_addopen(&fa, 2, "/dev/null", O_RDWR, 0);
    if (fd >= 0)
        posix_spawn_file_actions_adddup2(&fa, fd, 3);
    posix_spawn_file_actions_addclosefrom_np(&fa, fd >= 0 ? 4 : 3); /* what libraries opened without O_CLOEXEC */
    posix_spawnattr_init(&at);
    posix_spawnattr_setflags(&at, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSID);
    posix_spawnattr_setsigdefault(&at, &all);
    posix_spawnattr_setsigmask(&at, &none);
    r = posix_spawn(&s->pid, program, &fa, &at, (char *const *)argv, no_environment);
    posix_spawnattr_destroy(&at);
    posix_spawn_file_actions_destroy(&fa);
    return r;
}

static size_t add(char *text, size_t n, const char *key, const char *value)
{
    size_t k = strlen(key) + 1, v = strlen(value) + 1;

    if (n + k + v <= CC_SPAWNER_MAX) {
        memcpy(text + n, key, k);
        memcpy(text + n + k, value, v);
    }
    return n + k + v;
}

/* fds: at most two, the last one for fd 3. */
static int start_there(const struct cc_spawn *s, const char *const *argv, const char *const *sets, const int *fds,
                       size_t n_fds)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * 2)];
    } control = { 0 };
    char text[CC_SPAWNER_MAX];
    size_t n = 0;
    uint32_t len;
    struct iovec iov[2] = { { &len, sizeof(len) }, { text, 0 } };
    struct msghdr m = { .msg_iov = iov, .msg_iovlen = 2 };

    for (; *argv; argv++)
        n = add(text, n, "arg", *argv);
    for (; sets && *sets; sets++)
        n = add(text, n, "set", *sets);
    if (n > sizeof(text))
        return E2BIG;
    len = (uint32_t)n;
    iov[1].iov_len = n;
    if (n_fds) {
        m.msg_control = &control;
        m.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
        control.align = (struct cmsghdr){ CMSG_LEN(sizeof(int) * n_fds), SOL_SOCKET, SCM_RIGHTS };
        memcpy(CMSG_DATA(&control.align), fds, sizeof(int) * n_fds);
    }
    return sendmsg(s->fd, &m, MSG_NOSIGNAL) == (ssize_t)(sizeof(len) + n) ? 0 : errno;
}

int cc_spawn_start(struct cc_spawn *s, const char *program, const char *const *argv, const char *const *sets, int fd,
                   int err_fd, struct cc_err *err)
{
    int fds[2], r;
    size_t n = 0;

    if (s->fd >= 0 && err_fd >= 0)
        fds[n++] = err_fd;
    if (s->fd >= 0 && (fd >= 0 || n))
        fds[n++] = fd >= 0 ? fd : err_fd;
    r = s->fd >= 0 ? start_there(s, argv, sets, fds, n) : start_here(s, program, argv, fd, err_fd);
    return r ? cc_err_sys(err, r, "starting %s", program) : 0;
}

void cc_spawn_kill(struct cc_spawn *s)
{
    if (s->fd >= 0)
        shutdown(s->fd, SHUT_RDWR);
    else if (s->pid > 0)
        kill(s->pid, SIGKILL);
}

int cc_spawn_wait(struct cc_spawn *s)
{
    int status = -1, there = -1;
    char line[32];

    if (s->fd >= 0) {
        if (read_line(s->fd, line, sizeof(line), END_SECONDS) != 0 || sscanf(line, "exit %d", &there) != 1)
            there = -1;
        close(s->fd);
        s->fd = -1;
        return there;
    }
    while (s->pid > 0 && waitpid(s->pid, &status, 0) < 0 && errno == EINTR) {
    }
    return status != -1 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void cc_spawn_drop(struct cc_spawn *s)
{
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
}
