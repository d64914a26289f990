/* server.c - listeners, deadlines, bounds, drain; see server.h and conn.h. */
#include "host/http/server.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "host/http/conn.h"
#include "host/sys/clock.h"
#include "host/sys/err.h"
#include "host/sys/mem.h"

struct listener {
    struct cc_link link;
    struct cc_server *server;
    char *path; /* of a unix socket that we bound: its file goes with it */
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    };
};

/* ---------------------------------------------------------------- requests, kept for reuse */

enum { SPARE_MAX = 128 };
static struct cc_req *spare;
static unsigned spares;

struct cc_req *cc_req_get(struct cc_server *s)
{
    struct cc_req *r = spare;

    if (r) {
        spare = (struct cc_req *)r->conn;
        spares--;
    } else {
        r = cc_xmalloc(sizeof(*r));
    }
    memset(r, 0, offsetof(struct cc_req, h));
    r->server = s;
    cc_link_in(&s->reqs, &r->link);
    cc_server_ref(s);
    s->n_reqs++;
    return r;
}

void cc_req_tell(struct cc_req *r)
{
    struct cc_server *s = r->server;
    struct cc_req_end end = { r->status ? r->status : 499, 0, 0, r->mark };

    if (r->told || !r->began_ns)
        return;
    r->told = true;
    if (!s->o.ended)
        return;
    end.ns = cc_mono_ns() - r->began_ns;
    end.bytes = r->conn->handed - r->handed; /* whose connection goes is told of before */
    s->o.ended(s->o.arg, r, &end);
}

void cc_req_put(struct cc_req *r)
{
    struct cc_server *s = r->server;

    cc_req_tell(r);
    cc_link_out(&r->link);
    if (r->head != r->small)
        free(r->head);
    free(r->data);
    free(r->path);
    r->head = NULL;
    if (spares < SPARE_MAX) {
        r->conn = (struct cc_conn *)spare;
        spare = r;
        spares++;
    } else {
        free(r);
    }
    s->n_reqs--;
    cc_server_touch(s);
    cc_server_unref(s);
}

/* ---------------------------------------------------------------- life */

void cc_server_ref(struct cc_server *s) { s->refs++; }

void cc_server_unref(struct cc_server *s)
{
    if (--s->refs)
        return;
    cc_timer_stop(s->sweep);
    cc_timer_stop(s->drain_timer);
    if (s->o.layers)
        s->o.layers->end(s->o.layers);
    free(s->trusted);
    free(s->default_bytes);
    free(s);
}

static void drained(struct cc_server *s, bool clean)
{
    cc_drained_fn fn = s->drained;

    s->drained = NULL;
    cc_timer_stop(s->drain_timer);
    s->drain_timer = NULL;
    if (fn)
        fn(s->drained_arg, clean);
}

void cc_server_touch(struct cc_server *s)
{
    if (s->drained && s->n_conns == 0 && s->n_upgrades == 0 && s->n_reqs == 0)
        drained(s, true);
}

static uint32_t sweep_period(const struct cc_http_limits *l)
{
    uint32_t least = l->head_ms;

    least = l->idle_ms < least ? l->idle_ms : least;
    least = l->rate_ms < least ? l->rate_ms : least;
    least = l->linger_ms < least ? l->linger_ms : least;
    least /= 4;
    return least < 10 ? 10 : least > 250 ? 250 : least;
}

/* Names and values come from our own configuration: the caller has checked them. */
static void set_defaults(struct cc_server *s, const struct cc_hdr *h, unsigned n)
{
    size_t total = 0;
    unsigned i;
    char *p;

    assert(n <= 16);
    for (i = 0; i < n; i++)
        total += h[i].name.n + h[i].value.n + 4;
    s->default_bytes = p = cc_xmalloc(total + 1);
    s->default_len = total;
    for (i = 0; i < n; i++) {
        int len = sprintf(p, "%.*s: %.*s\r\n", (int)h[i].name.n, h[i].name.p, (int)h[i].value.n, h[i].value.p);

        s->defaults[i].name = (struct cc_text){ p, h[i].name.n };
        s->defaults[i].line = (struct cc_text){ p, (size_t)len };
        p += len;
    }
}

struct cc_server *cc_server_new(uv_loop_t *loop, const struct cc_server_opts *o)
{
    struct cc_server *s = cc_xcalloc(1, sizeof(*s));
    const struct cc_http_limits *l = &s->o.limits;
    int i;

    s->loop = loop;
    s->o = *o;
    if (s->o.limits.head_bytes > 65535)
        s->o.limits.head_bytes = 65535;
    s->trusted = cc_xcalloc(o->n_trusted, sizeof(*s->trusted));
    if (o->n_trusted)
        memcpy(s->trusted, o->trusted, o->n_trusted * sizeof(*s->trusted));
    set_defaults(s, o->headers, o->n_headers);
    s->o.trusted = NULL;
    s->o.headers = NULL;
    for (i = 0; i < DUE_KINDS; i++)
        cc_link_init(&s->due[i]);
    cc_link_init(&s->upgrades);
    cc_link_init(&s->reqs);
    cc_link_init(&s->listeners);
    s->due_ms[DUE_IDLE] = l->idle_ms;
    s->due_ms[DUE_HEAD] = l->head_ms;
    s->due_ms[DUE_BODY] = s->due_ms[DUE_WRITE] = l->rate_ms;
    s->due_ms[DUE_LINGER] = l->linger_ms;
    s->sweep_ms = sweep_period(l);
    s->date_second = -1;
    s->refs = 1;
    return s;
}

void cc_server_stats(const struct cc_server *s, struct cc_server_stats *out)
{
    *out = s->stats;
    out->connections = s->n_conns;
    out->upgraded = s->n_upgrades;
    out->running = s->n_reqs;
}

/* ---------------------------------------------------------------- the sweep */

static void set_date(struct cc_server *s)
{
    int64_t now = cc_wall_ms() / 1000;
    time_t t = (time_t)now;
    struct tm tm;

    if (now == s->date_second)
        return;
    s->date_second = now;
    gmtime_r(&t, &tm);
    s->date_len = strftime(s->date, sizeof(s->date), "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &tm);
}

static void expire(struct cc_server *s)
{
    int kind;

    for (kind = DUE_IDLE; kind < DUE_KINDS; kind++) {
        struct cc_link *list = &s->due[kind];

        while (list->next != list && ((struct cc_conn *)list->next)->due <= s->now)
            cc_conn_expire((struct cc_conn *)list->next);
    }
}

static void on_sweep(void *arg)
{
    struct cc_server *s = arg;

    s->sweep = NULL;
    s->now = cc_mono_ms();
    set_date(s);
    cc_server_ref(s);
    expire(s);
    if (s->n_conns > 0)
        s->sweep = cc_timer_start(s->loop, s->sweep_ms, on_sweep, s);
    cc_server_unref(s);
}

void cc_server_watch(struct cc_server *s)
{
    if (s->sweep)
        return;
    s->now = cc_mono_ms();
    set_date(s);
    s->sweep = cc_timer_start(s->loop, s->sweep_ms, on_sweep, s);
}

/* ---------------------------------------------------------------- listening */

static void on_listener_closed(uv_handle_t *h)
{
    struct listener *l = h->data;

    cc_server_unref(l->server);
    free(l->path);
    free(l);
}

static void listener_close(struct listener *l)
{
    if (l->path)
        unlink(l->path);
    cc_link_out(&l->link);
    uv_close(&l->handle, on_listener_closed);
}

static void on_connection(uv_stream_t *stream, int status)
{
    struct listener *l = stream->data;

    if (status == 0)
        cc_conn_open(l->server, stream, l->handle.type == UV_NAMED_PIPE);
}

static struct listener *listener_new(struct cc_server *s, bool is_unix)
{
    struct listener *l = cc_xcalloc(1, sizeof(*l));

    if (is_unix)
        uv_pipe_init(s->loop, &l->pipe, 0);
    else
        uv_tcp_init(s->loop, &l->tcp);
    l->server = s;
    l->handle.data = l;
    cc_server_ref(s);
    cc_link_in(&s->listeners, &l->link);
    return l;
}

static int bind_tcp(struct listener *l, const char *host, int port)
{
    struct sockaddr_storage ss;

    if (strcmp(host, "localhost") == 0)
        host = "127.0.0.1";
    if (uv_ip4_addr(host, port, (struct sockaddr_in *)&ss) != 0 &&
        uv_ip6_addr(host, port, (struct sockaddr_in6 *)&ss) != 0)
        return UV_EINVAL;
    return uv_tcp_bind(&l->tcp, (struct sockaddr *)&ss, 0);
}

static int listen_on(struct cc_server *s, const char *host, int port)
{
    struct listener *l = listener_new(s, false);
    int rc = bind_tcp(l, host, port);

    if (rc == 0)
        rc = uv_listen(&l->stream, 4096, on_connection);
    if (rc < 0)
        listener_close(l);
    return rc;
}

int cc_server_listen(struct cc_server *s, const char *host, int port, struct cc_err *err)
{
    bool all = host[0] == 0;
    int rc = listen_on(s, all ? "::" : host, port);

    if (all && rc == UV_EAFNOSUPPORT) /* a host without v6 */
        rc = listen_on(s, "0.0.0.0", port);
    if (rc == UV_EINVAL)
        return cc_err_set(err, CC_E_INVALID, "cannot listen on \"%s\": not an address", host);
    return rc < 0 ? cc_err_sys(err, -rc, "cannot listen on %s port %d", host, port) : 0;
}

/* A socket file that nobody listens on any more is only in the way. */
static int clear_stale(const char *path)
{
    struct sockaddr_un sun = { .sun_family = AF_UNIX };
    struct stat st;
    int fd, rc;

    if (lstat(path, &st) != 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(st.st_mode))
        return -EEXIST;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    memcpy(sun.sun_path, path, strlen(path) + 1); /* its length has been checked */
    rc = connect(fd, (struct sockaddr *)&sun, sizeof(sun)) == 0 ? -EADDRINUSE : -errno;
    close(fd);
    if (rc != -ECONNREFUSED)
        return rc == -EAGAIN ? -EADDRINUSE : rc;
    return unlink(path) == 0 ? 0 : -errno;
}

/* By ourselves, not by uv_pipe_bind, which removes the file when its handle is closed: the file may be another's by then. */
static int bind_unix(struct listener *l, const char *path, int mode)
{
    struct sockaddr_un sun = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), rc;

    if (fd < 0)
        return -errno;
    memcpy(sun.sun_path, path, strlen(path) + 1); /* its length has been checked */
    if (bind(fd, (struct sockaddr *)&sun, sizeof(sun)) != 0) {
        rc = -errno;
        close(fd);
        return rc;
    }
    l->path = cc_xstrdup(path);
    rc = chmod(path, (mode_t)mode) != 0 ? -errno : uv_pipe_open(&l->pipe, fd); /* nobody can connect before listen */
    if (rc < 0)
        close(fd);
    return rc;
}

int cc_server_listen_unix(struct cc_server *s, const char *path, int mode, struct cc_err *err)
{
    struct listener *l;
    int rc;

    if (strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
        return cc_err_set(err, CC_E_INVALID, "the socket's path is too long: %s", path);
    rc = clear_stale(path);
    if (rc < 0)
        return rc == -EADDRINUSE ? cc_err_set(err, CC_E_EXISTS, "somebody listens on %s", path)
                                 : cc_err_sys(err, -rc, "cannot listen on %s", path);
    l = listener_new(s, true);
    rc = bind_unix(l, path, mode);
    if (rc == 0)
        rc = uv_listen(&l->stream, 4096, on_connection);
    if (rc < 0)
        listener_close(l);
    return rc < 0 ? cc_err_sys(err, -rc, "cannot listen on %s", path) : 0;
}

int cc_server_listen_fd(struct cc_server *s, int fd, struct cc_err *err)
{
    struct sockaddr_storage ss = { 0 };
    socklen_t len = sizeof(ss);
    bool is_unix = getsockname(fd, (struct sockaddr *)&ss, &len) == 0 && ss.ss_family == AF_UNIX;
    struct listener *l = listener_new(s, is_unix);
    int rc = is_unix ? uv_pipe_open(&l->pipe, fd) : uv_tcp_open(&l->tcp, fd);

    if (rc == 0)
        rc = uv_listen(&l->stream, 4096, on_connection);
    if (rc < 0)
        listener_close(l);
    return rc < 0 ? cc_err_sys(err, -rc, "cannot listen on descriptor %d", fd) : 0;
}

bool cc_server_addr(struct cc_server *s, char host[46], int *port)
{
    struct cc_link *at;
    struct sockaddr_storage ss;
    struct cc_addr a;
    int len = sizeof(ss);

    for (at = s->listeners.next; at != &s->listeners; at = at->next) {
        struct listener *l = (struct listener *)at;

        if (l->handle.type != UV_TCP)
            continue;
        if (uv_tcp_getsockname(&l->tcp, (struct sockaddr *)&ss, &len) != 0)
            return false;
        cc_addr_from(&a, (struct sockaddr *)&ss);
        cc_addr_text(&a, host);
        *port = ntohs(ss.ss_family == AF_INET ? ((struct sockaddr_in *)&ss)->sin_port
                                              : ((struct sockaddr_in6 *)&ss)->sin6_port);
        return true;
    }
    return false;
}

/* ---------------------------------------------------------------- the end */

int cc_server_fd(struct cc_server *s)
{
    uv_os_fd_t fd;

    if (s->listeners.next == &s->listeners)
        return -1;
    return uv_fileno(&((struct listener *)s->listeners.next)->handle, &fd) == 0 ? fd : -1;
}

int cc_server_copy_fds(struct cc_server *s, int *fd, unsigned max, struct cc_err *err)
{
    struct cc_link *at;
    unsigned n = 0;
    int rc = 0;

    for (at = s->listeners.next; at != &s->listeners && rc == 0; at = at->next) {
        uv_os_fd_t own;

        rc = n == max ? UV_EMFILE : uv_fileno(&((struct listener *)at)->handle, &own);
        if (rc == 0 && (fd[n] = fcntl(own, F_DUPFD_CLOEXEC, 0)) < 0)
            rc = -errno;
        n += rc == 0;
    }
    if (rc == 0)
        return (int)n;
    while (n > 0)
        close(fd[--n]);
    return cc_err_sys(err, -rc, "the listeners cannot be handed on");
}

void cc_server_leave_files(struct cc_server *s)
{
    struct cc_link *at;

    for (at = s->listeners.next; at != &s->listeners; at = at->next) {
        free(((struct listener *)at)->path);
        ((struct listener *)at)->path = NULL;
    }
}

static void stop_listening(struct cc_server *s)
{
    while (!cc_link_alone(&s->listeners))
        listener_close((struct listener *)s->listeners.next);
}

static void close_list(struct cc_link *list)
{
    while (!cc_link_alone(list))
        cc_conn_close((struct cc_conn *)list->next);
}

/* New connections that have not said a word. */
static void close_silent(struct cc_server *s)
{
    struct cc_link *at = s->due[DUE_HEAD].next;

    while (at != &s->due[DUE_HEAD]) {
        struct cc_conn *c = (struct cc_conn *)at;

        at = at->next;
        if (c->state == CONN_IDLE)
            cc_conn_close(c);
    }
}

/* Stopping one may end it and take it off the list; politely it may stay. Walks a list of its own. */
static void stop_upgrades(struct cc_server *s, bool now)
{
    struct cc_link todo, *u;

    cc_link_init(&todo);
    while (!cc_link_alone(&s->upgrades)) {
        u = s->upgrades.next;
        cc_link_out(u);
        cc_link_in(&todo, u);
    }
    while (!cc_link_alone(&todo)) {
        u = todo.next;
        cc_link_out(u);
        cc_link_in(&s->upgrades, u);
        ((struct cc_upgrade *)u)->stop((struct cc_upgrade *)u, now);
    }
}

static void cut(struct cc_server *s)
{
    int kind;

    for (kind = 0; kind < DUE_KINDS; kind++)
        close_list(&s->due[kind]);
    stop_upgrades(s, true);
}

static void on_drain_time(void *arg)
{
    struct cc_server *s = arg;

    s->drain_timer = NULL;
    cc_server_ref(s);
    if (s->n_conns || s->n_upgrades || s->n_reqs) {
        cc_drained_fn fn = s->drained;

        s->drained = NULL;
        cut(s);
        s->drained = fn;
        drained(s, false);
    } else {
        drained(s, true);
    }
    cc_server_unref(s);
}

void cc_server_drain(struct cc_server *s, uint64_t ms, bool gently, cc_drained_fn fn, void *arg)
{
    s->draining = true;
    stop_listening(s);
    if (!gently) {
        close_list(&s->due[DUE_IDLE]);
        close_silent(s);
    }
    stop_upgrades(s, false);
    cc_timer_stop(s->drain_timer);
    s->drained = fn;
    s->drained_arg = arg;
    /* at the earliest in the next turn: fn never runs inside this call */
    if (s->n_conns == 0 && s->n_upgrades == 0 && s->n_reqs == 0)
        ms = 0;
    s->drain_timer = cc_timer_start(s->loop, ms, on_drain_time, s);
}

void cc_server_close(struct cc_server *s)
{
    assert(!s->closed);
    s->closed = s->draining = true;
    s->drained = NULL;
    cc_timer_stop(s->drain_timer);
    s->drain_timer = NULL;
    stop_listening(s);
    cut(s);
    s->o.ended = NULL; /* who is told may be gone before the last handler */
    cc_timer_stop(s->sweep);
    s->sweep = NULL;
    cc_server_unref(s);
}
