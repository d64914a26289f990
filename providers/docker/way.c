/* way.c - the ways to the agents of machines whose dockerd does not see our files.
 *
 * DIR/machines/SHORT/agent/agent.sock is ours here.  A connection to it becomes
 * an exec of `cchost-agent dial` in that container, as its root, whose input and
 * output go to the agent's socket there: one connection to dockerd and one
 * thread (a line) for each, for libcurl's connections belong to one.  One more
 * thread, the keeper, accepts.  A socket listens from when somebody is about to
 * connect (endpoint, activity) until nobody has been for a while; a line lasts
 * until either end of it closes, or the machine is deleted, or the host ends,
 * and what dockerd runs for it ends with it.
 *
 * The file of a socket that listens no more stays until the next one takes its
 * place: of several processes with one directory each has what it listens at,
 * and who finds another's file there puts its own in the place.
 */
#include "providers/docker/docker.h"

#include "host/observe/log.h"
#include "host/sys/clock.h"
#include "host/sys/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { KEEP_MS = 120000, TICK_MS = 5000, OPEN_MS = 15000, AGENT_MS = 2000, CHUNK = 16384, STACK = 512 * 1024 };
enum { LINES_MAX = 2000 }; /* beyond that nobody more is let in */

struct cc_docker_way {
    struct cc_docker_way *next;
    char short_id[16];
    int fd;
    ino_t file;
    uint64_t used_ms;
};

/* Bytes on their way: from `at` to `n`. */
struct flow {
    char data[CHUNK];
    size_t at, n;
};

struct cc_docker_line {
    struct cc_docker_line *next;
    struct cc_docker *d;
    char short_id[16];
    int fd;              /* of who connected here */
    struct cc_call call; /* cancelled: it is to end */
    struct flow out, in; /* from here, from there */
    struct cc_docker_frames frames;
    char said[200]; /* by `dial`, of what went wrong */
};

static void nudge(int fd)
{
    const uint64_t one = 1;

    if (write(fd, &one, sizeof(one)) < 0)
        cc_log(CC_LOG_WARN, "docker", "a thread is not woken: %s", strerror(errno));
}

/* ---------------------------------------------------------------- a line */

/* The agent's words are kept for who connected, those of `dial` for the log. */
static void sort_out(struct cc_docker_line *l, size_t got)
{
    const char *p = l->in.data;
    struct cc_docker_piece piece;
    size_t said;

    l->in.at = l->in.n = 0;
    while (cc_docker_frames_next(&l->frames, &p, &got, &piece)) {
        if (!piece.err) {
            memmove(l->in.data + l->in.n, piece.p, piece.n);
            l->in.n += piece.n;
            continue;
        }
        said = strlen(l->said);
        snprintf(l->said + said, sizeof(l->said) - said, "%.*s", (int)piece.n, piece.p);
    }
}

/* Each moves what it can without waiting. 1: something moved; 0: nothing; else the line is over. */
static int from_here(struct cc_docker_line *l, struct cc_rest_stream *s)
{
    struct flow *f = &l->out;
    size_t sent;
    ssize_t r;

    if (f->at == f->n) {
        if ((r = recv(l->fd, f->data, CHUNK, 0)) <= 0)
            return r < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : CC_E_CANCELLED;
        f->at = 0;
        f->n = (size_t)r;
    }
    sent = cc_rest_stream_send(s, f->data + f->at, f->n - f->at);
    f->at += sent;
    return sent > 0;
}

static int from_there(struct cc_docker_line *l, struct cc_rest_stream *s)
{
    struct flow *f = &l->in;
    bool over = false;
    size_t got = 0;
    ssize_t w;

    if (f->at == f->n) {
        if (cc_rest_stream_recv(s, f->data, CHUNK, &got, &over) != 0 || over)
            return CC_E_CANCELLED;
        sort_out(l, got);
    }
    if (f->at == f->n)
        return got > 0;
    w = send(l->fd, f->data + f->at, f->n - f->at, MSG_NOSIGNAL);
    if (w < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : CC_E_CANCELLED;
    f->at += (size_t)w;
    return 1;
}

/* Until either end closes. A connection that has ended while its last bytes wait for their reader is not looked at until he
 * has them: poll tells such an end again and again, whatever it is asked for. */
static void relay(struct cc_docker_line *l, struct cc_rest_stream *s)
{
    struct pollfd p[3] = { { .fd = cc_rest_stream_fd(s) },
                           { .fd = l->fd },
                           { .fd = l->call.wake_fd, .events = POLLIN } };
    bool out, in, gone = false;
    int a, b;

    while (!cc_call_over(&l->call)) {
        if ((a = from_here(l, s)) < 0 || (b = from_there(l, s)) < 0)
            return;
        if (a || b)
            continue;
        out = l->out.at < l->out.n;
        in = l->in.at < l->in.n;
        p[0].fd = gone && in ? -1 : cc_rest_stream_fd(s);
        p[0].events = (short)((in ? 0 : POLLIN) | (out ? POLLOUT : 0));
        p[1].events = (short)((out ? 0 : POLLIN) | (in ? POLLOUT : 0));
        if (poll(p, 3, -1) <= 0)
            continue;
        gone |= (p[0].revents & (POLLHUP | POLLERR)) != 0;
        if ((p[1].revents & (POLLHUP | POLLERR)) && !(p[1].revents & POLLIN))
            return;
    }
}

static int open_line(struct cc_docker_line *l, struct cc_provider_ctx *x, struct cc_rest_stream **s)
{
    const char *id = "";
    int r = cc_docker_exec_make(l->d, x, l->short_id, cc_docker_dial_words(AGENT_MS), true, &id);

    return r ? r : cc_docker_exec_stream(l->d, x, id, s);
}

static void forget(struct cc_docker_line *l)
{
    struct cc_docker_ways *w = &l->d->ways;
    struct cc_docker_line **at;

    pthread_mutex_lock(&w->lock);
    for (at = &w->busy; *at != l; at = &(*at)->next) {
    }
    *at = l->next;
    w->lines--;
    close(l->fd);
    close(l->call.wake_fd);
    free(l);
    pthread_cond_broadcast(&w->ended);
    pthread_mutex_unlock(&w->lock);
}

static void *line(void *arg)
{
    struct cc_docker_line *l = arg;
    struct cc_arena arena = { 0 };
    struct cc_err err = { 0 };
    struct cc_provider_ctx x = { .call = &l->call, .arena = &arena, .err = &err };
    struct cc_rest_stream *s = NULL;
    int r;

    pthread_setname_np(pthread_self(), "docker-line");
    l->call.deadline_ms = cc_mono_ms() + OPEN_MS;
    r = open_line(l, &x, &s);
    l->call.deadline_ms = 0;
    if (r == 0)
        relay(l, s);
    if (r != 0 && r != CC_E_CANCELLED && r != CC_E_STATE)
        cc_log(CC_LOG_WARN, "docker", "no way to the agent of cc-%s: %s", l->short_id, err.message);
    else if (*l->said)
        cc_log(CC_LOG_WARN, "docker", "no way to the agent of cc-%s: %.*s", l->short_id, (int)strcspn(l->said, "\n"),
               l->said);
    cc_rest_stream_close(s);
    cc_arena_free(&arena);
    forget(l);
    return NULL;
}

/* With the lock. */
static void begin_line(struct cc_docker *d, const char *short_id, int fd)
{
    struct cc_docker_ways *w = &d->ways;
    struct cc_docker_line *l;
    pthread_attr_t how;
    pthread_t thread;

    if (w->lines == LINES_MAX) {
        close(fd);
        return;
    }
    l = cc_xcalloc(1, sizeof(*l));
    l->d = d;
    l->fd = fd;
    snprintf(l->short_id, sizeof(l->short_id), "%s", short_id);
    l->call.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_attr_init(&how);
    pthread_attr_setstacksize(&how, STACK);
    pthread_attr_setdetachstate(&how, PTHREAD_CREATE_DETACHED);
    if (l->call.wake_fd >= 0 && pthread_create(&thread, &how, line, l) == 0) {
        l->next = w->busy;
        w->busy = l;
        w->lines++;
    } else {
        close(fd);
        if (l->call.wake_fd >= 0)
            close(l->call.wake_fd);
        free(l);
    }
    pthread_attr_destroy(&how);
}

/* ---------------------------------------------------------------- a socket that listens */

static void drop(struct cc_docker_way **at)
{
    struct cc_docker_way *way = *at;

    *at = way->next;
    close(way->fd);
    free(way);
}

static struct cc_docker_way **find(struct cc_docker_ways *w, const char *short_id)
{
    struct cc_docker_way **at = &w->open;

    while (*at && strcmp((*at)->short_id, short_id) != 0)
        at = &(*at)->next;
    return at;
}

/* A path may be longer than an address: by its directory's descriptor, under another name first. */
static int listen_in(int dir, ino_t *file)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), why;
    char name[40];
    struct stat st;

    if (fd < 0)
        return -1;
    snprintf(name, sizeof(name), "agent.sock.%d", getpid());
    snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/%s", dir, name);
    unlinkat(dir, name, 0);
    if (bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0 && fchmodat(dir, name, 0600, 0) == 0 &&
        listen(fd, SOMAXCONN) == 0 && fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        renameat(dir, name, dir, "agent.sock") == 0) {
        *file = st.st_ino;
        return fd;
    }
    why = errno;
    close(fd);
    errno = why;
    return -1;
}

/* Whether what lies there is what we listen at. */
static bool ours(const struct cc_docker_way *way, int dir)
{
    struct stat st;

    return fstatat(dir, "agent.sock", &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_ino == way->file;
}

/* With the lock: 0 or errno. */
static int listen_for(struct cc_docker *d, const char *short_id, int dir)
{
    struct cc_docker_way **at = find(&d->ways, short_id), *way;
    ino_t file = 0;
    int fd;

    if (*at && ours(*at, dir)) {
        (*at)->used_ms = cc_mono_ms();
        return 0;
    }
    if ((fd = listen_in(dir, &file)) < 0)
        return errno;
    if (*at)
        drop(at);
    way = cc_xcalloc(1, sizeof(*way));
    *way = (struct cc_docker_way){ .next = d->ways.open, .fd = fd, .file = file, .used_ms = cc_mono_ms() };
    snprintf(way->short_id, sizeof(way->short_id), "%s", short_id);
    d->ways.open = way;
    nudge(d->ways.nudge);
    return 0;
}

int cc_docker_way(struct cc_docker *d, const char *short_id)
{
    struct cc_arena a = { 0 };
    int dir, r;

    if (d->near)
        return 0;
    dir = open(cc_docker_path(d, &a, short_id, "agent"), O_PATH | O_DIRECTORY | O_CLOEXEC);
    r = dir < 0 ? errno : 0;
    cc_arena_free(&a);
    if (dir < 0)
        return r;
    pthread_mutex_lock(&d->ways.lock);
    r = listen_for(d, short_id, dir);
    pthread_mutex_unlock(&d->ways.lock);
    close(dir);
    return r;
}

/* With the lock. NULL: of all machines. */
static void cut(struct cc_docker_ways *w, const char *short_id)
{
    struct cc_docker_line *l;

    for (l = w->busy; l; l = l->next)
        if (!short_id || strcmp(l->short_id, short_id) == 0) {
            atomic_store(&l->call.cancelled, true);
            nudge(l->call.wake_fd);
        }
}

void cc_docker_way_end(struct cc_docker *d, const char *short_id)
{
    struct cc_docker_way **at;

    if (d->near)
        return;
    pthread_mutex_lock(&d->ways.lock);
    if (*(at = find(&d->ways, short_id)))
        drop(at);
    cut(&d->ways, short_id);
    nudge(d->ways.nudge);
    pthread_mutex_unlock(&d->ways.lock);
}

/* ---------------------------------------------------------------- the keeper */

static void admit(struct cc_docker *d, struct cc_docker_way *way)
{
    int fd;

    while ((fd = accept4(way->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
        way->used_ms = cc_mono_ms();
        begin_line(d, way->short_id, fd);
    }
}

/* Those that nobody asks for, and those that cannot be served (out of descriptors): the next who asks makes them anew. */
static void look(struct cc_docker *d)
{
    struct cc_docker_way **at = &d->ways.open;

    while (*at) {
        admit(d, *at);
        if ((errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) || cc_mono_ms() - (*at)->used_ms > KEEP_MS)
            drop(at);
        else
            at = &(*at)->next;
    }
}

/* What is to be waited for; the caller frees it. */
static struct pollfd *all(const struct cc_docker_ways *w, nfds_t *n)
{
    const struct cc_docker_way *way;
    struct pollfd *p;

    *n = 1;
    for (way = w->open; way; way = way->next)
        ++*n;
    p = cc_xcalloc(*n, sizeof(*p));
    p[0] = (struct pollfd){ .fd = w->nudge, .events = POLLIN };
    *n = 1;
    for (way = w->open; way; way = way->next)
        p[(*n)++] = (struct pollfd){ .fd = way->fd, .events = POLLIN };
    return p;
}

static void *keeper(void *arg)
{
    struct cc_docker *d = arg;
    struct cc_docker_ways *w = &d->ways;
    struct pollfd *p;
    uint64_t seen;
    nfds_t n;

    while (!atomic_load(&w->over)) {
        pthread_mutex_lock(&w->lock);
        look(d);
        p = all(w, &n);
        pthread_mutex_unlock(&w->lock);
        poll(p, n, n > 1 ? TICK_MS : -1);
        free(p);
        if (read(w->nudge, &seen, sizeof(seen)) < 0 && errno != EAGAIN)
            cc_log(CC_LOG_WARN, "docker", "the keeper of ways: %s", strerror(errno));
    }
    return NULL;
}

int cc_docker_ways_init(struct cc_docker *d, struct cc_err *err)
{
    struct cc_docker_ways *w = &d->ways;
    int r;

    if ((w->nudge = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0)
        return cc_err_sys(err, errno, "eventfd");
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->ended, NULL);
    if ((r = pthread_create(&w->keeper, NULL, keeper, d)) != 0) {
        close(w->nudge);
        return cc_err_sys(err, r, "starting a thread");
    }
    w->running = true;
    return 0;
}

void cc_docker_ways_fini(struct cc_docker *d)
{
    struct cc_docker_ways *w = &d->ways;

    if (!w->running)
        return;
    atomic_store(&w->over, true);
    nudge(w->nudge);
    pthread_join(w->keeper, NULL);
    pthread_mutex_lock(&w->lock);
    while (w->open)
        drop(&w->open);
    cut(w, NULL);
    while (w->busy)
        pthread_cond_wait(&w->ended, &w->lock);
    pthread_mutex_unlock(&w->lock);
    close(w->nudge);
    pthread_cond_destroy(&w->ended);
    pthread_mutex_destroy(&w->lock);
}
