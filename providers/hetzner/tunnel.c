/* tunnel.c - the ways to the agents: ssh, from DIR/sock/SHORT to the agent's socket in the machine.
 *
 * One ssh for each machine that is asked about, ended when nobody has for a
 * while.  Its remote end is a `cat` that reads from a pipe of ours: when this
 * process ends, however it does, the pipe closes, and so does the tunnel once
 * the connections in it have.  Another process with the same directory uses
 * what listens already.
 */
#include "providers/hetzner/hetzner.h"

#include "host/observe/log.h"
#include "host/sys/clock.h"
#include "host/sys/mem.h"
#include "providers/files.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { TICK_MS = 1000, OPEN_MS = 15000, STEP_MS = 20 };

#define AGENT "/run/cchost/agent/agent.sock"

struct cc_hz_tunnel {
    struct cc_hz_tunnel *next;
    char short_id[16];
    pid_t pid;
    int pipe; /* -1: closed; it ends when what goes through it does */
    uint64_t used_ms;
};

const char *cc_hz_socket(const struct cc_hz *h, struct cc_arena *a, const char *short_id)
{
    return cc_arena_printf(a, "%s/sock/%s", h->dir, short_id);
}

/* ---------------------------------------------------------------- one */

static bool listens(const char *path)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool yes;

    strncpy(a.sun_path, path, sizeof(a.sun_path) - 1);
    yes = fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0;
    if (fd >= 0)
        close(fd);
    return yes;
}

/* Its output goes nowhere, its input is the pipe, and it leads a process group of its own. */
static int spawn_ssh(char **argv, int in, pid_t *pid)
{
    posix_spawn_file_actions_t fa;
    posix_spawnattr_t at;
    sigset_t none;
    int r;

    sigemptyset(&none);
    posix_spawn_file_actions_init(&fa);
    posix_spawn_file_actions_adddup2(&fa, in, 0);
    posix_spawn_file_actions_addopen(&fa, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&fa, 2, "/dev/null", O_WRONLY, 0);
    posix_spawnattr_init(&at);
    posix_spawnattr_setflags(&at, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
    posix_spawnattr_setsigmask(&at, &none);
    r = posix_spawnp(pid, argv[0], &fa, &at, argv, environ);
    posix_spawnattr_destroy(&at);
    posix_spawn_file_actions_destroy(&fa);
    return r;
}

static int begin(struct cc_hz *h, struct cc_provider_ctx *x, const char *short_id, const char *host,
                 struct cc_hz_tunnel *t)
{
    const char *path = cc_hz_socket(h, x->arena, short_id);
    const char *extra[] = { "-o", "ExitOnForwardFailure=yes",
                            "-o", "StreamLocalBindUnlink=yes",
                            "-L", cc_arena_printf(x->arena, "%s:%s", path, AGENT),
                            NULL };
    int fds[2], r;

    if (pipe2(fds, O_CLOEXEC) != 0)
        return cc_err_sys(x->err, errno, "pipe");
    r = spawn_ssh(cc_hz_ssh_argv(h, x->arena, short_id, host, extra, "cat"), fds[0], &t->pid);
    close(fds[0]);
    if (r != 0) {
        close(fds[1]);
        return cc_err_sys(x->err, r, "starting %s", h->ssh);
    }
    t->pipe = fds[1];
    return 0;
}

static void finish(struct cc_hz_tunnel *t)
{
    if (t->pipe >= 0)
        close(t->pipe);
    kill(-t->pid, SIGKILL);
    waitpid(t->pid, NULL, 0);
    free(t);
}

/* Until it listens; what ended before is "unavailable". */
static int wait_open(struct cc_provider_ctx *x, struct cc_hz_tunnel *t, const char *path)
{
    uint64_t until = cc_mono_ms() + OPEN_MS;
    int r = 0;

    while (r == 0 && !listens(path)) {
        if (waitpid(t->pid, NULL, WNOHANG) != 0 || cc_mono_ms() > until)
            return cc_err_set(x->err, CC_E_UNAVAILABLE, "cc-%s cannot be reached over ssh", t->short_id);
        r = cc_rest_pause(x, STEP_MS);
    }
    return r;
}

/* ---------------------------------------------------------------- all */

static struct cc_hz_tunnel **find(struct cc_hz_tunnels *s, const char *short_id)
{
    struct cc_hz_tunnel **at = &s->open;

    while (*at && strcmp((*at)->short_id, short_id) != 0)
        at = &(*at)->next;
    return at;
}

/* Marks it used; false: it is none of ours. */
static bool touch(struct cc_hz_tunnels *s, const char *short_id)
{
    struct cc_hz_tunnel *t;

    pthread_mutex_lock(&s->lock);
    if ((t = *find(s, short_id)))
        t->used_ms = cc_mono_ms();
    pthread_mutex_unlock(&s->lock);
    return t;
}

void cc_hz_tunnel_end(struct cc_hz *h, const char *short_id)
{
    struct cc_hz_tunnels *s = &h->tunnels;
    struct cc_hz_tunnel **at, *t;

    pthread_mutex_lock(&s->lock);
    at = find(s, short_id);
    if ((t = *at))
        *at = t->next;
    pthread_mutex_unlock(&s->lock);
    if (t)
        finish(t);
}

static int open_one(struct cc_hz *h, struct cc_provider_ctx *x, const char *short_id)
{
    const char *path = cc_hz_socket(h, x->arena, short_id);
    struct cc_hz_box b = { .short_id = short_id };
    struct cc_hz_tunnel *t;
    int r;

    if (!cc_hz_load(h, x->arena, &b) || !b.host || !b.host_key)
        return cc_err_set(x->err, CC_E_STATE, "this host knows no address and no host key of cc-%s", short_id);
    cc_hz_tunnel_end(h, short_id); /* one that does not listen any more */
    t = cc_xcalloc(1, sizeof(*t));
    t->used_ms = cc_mono_ms();
    strncpy(t->short_id, short_id, sizeof(t->short_id) - 1);
    if ((r = begin(h, x, short_id, b.host, t)) != 0) {
        free(t);
        return r;
    }
    if ((r = wait_open(x, t, path)) != 0) {
        finish(t);
        return r;
    }
    pthread_mutex_lock(&h->tunnels.lock);
    t->next = h->tunnels.open;
    h->tunnels.open = t;
    pthread_mutex_unlock(&h->tunnels.lock);
    return 0;
}

int cc_hz_tunnel(struct cc_hz *h, struct cc_provider_ctx *x, const char *short_id)
{
    const char *path = cc_hz_socket(h, x->arena, short_id), *lock = cc_arena_printf(x->arena, "way-%s", short_id);
    int fd, r = 0;

    if (listens(path)) {
        touch(&h->tunnels, short_id);
        return 0;
    }
    if ((fd = cc_name_lock(h->dir, lock, x->call, x->err)) < 0)
        return fd;
    if (!listens(path))
        r = open_one(h, x, short_id);
    cc_name_unlock_gone(h->dir, lock, fd);
    return r;
}

/* ---------------------------------------------------------------- the keeper */

/* Those that nobody has asked for take nothing new once they are over, and end with what goes through them. */
static void let_go(struct cc_hz *h)
{
    struct cc_hz_tunnels *s = &h->tunnels;
    struct cc_hz_tunnel **at, *t;

    for (at = &s->open; (t = *at);) {
        if (t->pipe >= 0 && cc_mono_ms() - t->used_ms > h->keep_ms) {
            close(t->pipe);
            t->pipe = -1;
        }
        if (waitpid(t->pid, NULL, WNOHANG) == 0) {
            at = &t->next;
            continue;
        }
        *at = t->next;
        if (t->pipe >= 0)
            close(t->pipe);
        free(t);
    }
}

static void serve_one(struct cc_hz *h, const char *short_id)
{
    struct cc_arena arena = { 0 };
    struct cc_err err = { 0 };
    struct cc_provider_ctx x = { .call = &h->tunnels.call, .arena = &arena, .err = &err };

    if (cc_hz_tunnel(h, &x, short_id) != 0)
        cc_log(CC_LOG_WARN, "hetzner", "no way to cc-%s: %s", short_id, err.message);
    cc_arena_free(&arena);
}

static void sleep_until_asked(struct cc_hz_tunnels *s)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_sec += TICK_MS / 1000;
    pthread_cond_timedwait(&s->wake, &s->lock, &t);
}

static void *keeper(void *arg)
{
    struct cc_hz *h = arg;
    struct cc_hz_tunnels *s = &h->tunnels;
    char id[16];

    pthread_mutex_lock(&s->lock);
    while (!atomic_load(&s->call.cancelled)) {
        let_go(h);
        if (s->n_wanted == 0) {
            sleep_until_asked(s);
            continue;
        }
        memcpy(id, s->wanted[--s->n_wanted], sizeof(id));
        pthread_mutex_unlock(&s->lock);
        serve_one(h, id);
        pthread_mutex_lock(&s->lock);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

void cc_hz_tunnels_init(struct cc_hz *h)
{
    struct cc_hz_tunnels *s = &h->tunnels;

    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->wake, NULL);
    s->call.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    s->running = pthread_create(&s->keeper, NULL, keeper, h) == 0;
}

void cc_hz_tunnels_fini(struct cc_hz *h)
{
    struct cc_hz_tunnels *s = &h->tunnels;
    struct cc_hz_tunnel *t;
    uint64_t one = 1;

    pthread_mutex_lock(&s->lock);
    atomic_store(&s->call.cancelled, true);
    if (write(s->call.wake_fd, &one, sizeof(one)) < 0)
        cc_log(CC_LOG_WARN, "hetzner", "the keeper of tunnels is not woken");
    pthread_cond_broadcast(&s->wake);
    pthread_mutex_unlock(&s->lock);
    if (s->running)
        pthread_join(s->keeper, NULL);
    while ((t = s->open)) {
        s->open = t->next;
        finish(t);
    }
    close(s->call.wake_fd);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->wake);
}

void cc_hz_tunnel_ask(struct cc_hz *h, const char *short_id)
{
    struct cc_hz_tunnels *s = &h->tunnels;
    struct cc_arena a = { 0 };
    bool there = listens(cc_hz_socket(h, &a, short_id));

    cc_arena_free(&a);
    if (there) {
        touch(s, short_id);
        return;
    }
    pthread_mutex_lock(&s->lock);
    if (s->n_wanted < sizeof(s->wanted) / sizeof(*s->wanted))
        strncpy(s->wanted[s->n_wanted++], short_id, sizeof(s->wanted[0]) - 1);
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
}
