/* tunnel.c - what listens on this machine, and the way there for the host.
 *
 * GET /ports reads the kernel's tables; names are read where this process may.
 * GET /ports/N with `Upgrade: tcp` connects to 127.0.0.1:N, then to ::1, and
 * from the 101 on moves bytes both ways with one shared buffer: what a short
 * write left stops the reading on the other side.  A side that ends its
 * sending ends ours to the other; both ended, or one cut, is the end, and
 * so is a minute in which nothing moves after the host has ended his.
 */
#include "host/agent/agent.h"

#include "host/http/conn.h"
#include "host/http/text.h"
#include "host/sys/clock.h"
#include "host/sys/lease.h"
#include "host/sys/mem.h"

#include <ctype.h>
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---------------------------------------------------------------- what listens */

enum { LISTENERS_MAX = 1024, LISTENING = 0x0A };

struct listener {
    unsigned port;
    unsigned long inode;
    bool loopback; /* at an address of this machine's own alone */
    char name[64];
};

struct listeners {
    struct listener list[LISTENERS_MAX];
    unsigned n;
};

/* Addresses as the kernel writes them: 32-bit words in the machine's order. */
static bool is_loopback(const char *hex)
{
    if (strlen(hex) == 8)
        return strcmp(hex + 6, "7F") == 0;
    return strcmp(hex, "00000000000000000000000001000000") == 0 || strncmp(hex, "0000000000000000FFFF0000", 24) == 0;
}

static void note(struct listeners *all, unsigned port, unsigned long inode, bool loopback)
{
    unsigned i;

    for (i = 0; i < all->n; i++) {
        if (all->list[i].port == port) { /* on both families, or at several addresses */
            all->list[i].loopback &= loopback;
            return;
        }
    }
    if (all->n < LISTENERS_MAX)
        all->list[all->n++] = (struct listener){ .port = port, .inode = inode, .loopback = loopback };
}

static void read_table(const char *path, struct listeners *all)
{
    char line[512], address[40];
    unsigned port, state;
    unsigned long inode;
    FILE *f = fopen(path, "re");

    while (f && fgets(line, sizeof(line), f))
        if (sscanf(line, " %*d: %39[0-9A-F]:%x %*s %x %*s %*s %*s %*u %*d %lu", address, &port, &state, &inode) == 4 &&
            state == LISTENING)
            note(all, port, inode, is_loopback(address));
    if (f)
        fclose(f);
}

/* Names the listeners whose socket the process holds. */
static void name_by(const char *pid, struct listeners *all)
{
    char path[300], link[64], name[64] = "";
    struct dirent *e;
    unsigned long inode;
    unsigned i;
    ssize_t n;
    DIR *d;
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%s/fd", pid);
    if (!(d = opendir(path)))
        return;
    while ((e = readdir(d))) {
        n = readlinkat(dirfd(d), e->d_name, link, sizeof(link) - 1);
        if (n <= 0)
            continue;
        link[n] = '\0';
        if (sscanf(link, "socket:[%lu]", &inode) != 1)
            continue;
        for (i = 0; i < all->n; i++) {
            if (all->list[i].inode != inode || all->list[i].name[0])
                continue;
            snprintf(path, sizeof(path), "/proc/%s/comm", pid);
            if (!name[0] && (f = fopen(path, "re"))) {
                if (!fgets(name, sizeof(name), f))
                    name[0] = '\0';
                fclose(f);
                name[strcspn(name, "\n")] = '\0';
            }
            cc_printable(all->list[i].name, sizeof(all->list[i].name) - 1, name, strlen(name));
        }
    }
    closedir(d);
}

static int by_port(const void *a, const void *b)
{
    const struct listener *x = a, *y = b;

    return (x->port > y->port) - (x->port < y->port);
}

void agent_ports(struct agent *a, struct cc_req *r)
{
    struct listeners *all = cc_xcalloc(1, sizeof(*all));
    json_t *out = json_array();
    DIR *d = opendir("/proc");
    struct dirent *e;
    unsigned i;

    (void)a;
    read_table("/proc/net/tcp", all);
    read_table("/proc/net/tcp6", all);
    while (d && all->n && (e = readdir(d)))
        if (isdigit((unsigned char)e->d_name[0]))
            name_by(e->d_name, all);
    if (d)
        closedir(d);
    qsort(all->list, all->n, sizeof(*all->list), by_port);
    for (i = 0; i < all->n; i++) {
        struct listener *l = &all->list[i];

        json_array_append_new(out, json_pack("{s:i,s:s?,s:b}", "port", (int)l->port, "process",
                                             l->name[0] ? l->name : NULL, "loopback", (int)l->loopback));
    }
    free(all);
    agent_reply(r, 200, out);
}

/* ---------------------------------------------------------------- the way there */

enum { IDLE_MS = 60000 };

struct tunnel {
    struct cc_upgrade up; /* first: stop() casts */
    struct agent *agent;
    struct cc_req *req;           /* until it is connected */
    struct cc_sock *host, *local; /* local: of a try that goes on, or that went well */
    uv_connect_t connect;
    unsigned port;
    bool v6, connecting, over;
    bool host_ended, local_ended; /* they send no more */
    bool moved;                   /* since the timer last looked, which runs once the host has ended */
    struct cc_timer *timer;
};

static void tunnel_end(struct tunnel *t)
{
    if (t->over)
        return;
    t->over = true;
    cc_timer_stop(t->timer);
    if (t->host) {
        cc_sock_close(t->host);
        cc_upgrade_end(&t->up);
    }
    cc_sock_close(t->local);
    if (!t->connecting)
        free(t);
}

static void stop(struct cc_upgrade *up, bool now)
{
    (void)now;
    tunnel_end((struct tunnel *)up);
}

static void on_idle(void *arg)
{
    struct tunnel *t = arg;

    t->timer = NULL;
    if (!t->moved) {
        tunnel_end(t);
        return;
    }
    t->moved = false;
    t->timer = cc_timer_start(t->agent->loop, IDLE_MS, on_idle, t);
}

static void idle_begin(struct tunnel *t)
{
    t->moved = true;
    if (!t->timer)
        on_idle(t);
}

static bool all_said(const struct tunnel *t)
{
    return t->host_ended && t->local_ended && cc_sock_queued(t->host) == 0 && cc_sock_queued(t->local) == 0;
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);

static void on_sent(void *owner, int status)
{
    struct tunnel *t = owner;

    t->moved = true;
    if (status < 0 || all_said(t)) {
        tunnel_end(t);
        return;
    }
    if (!t->host_ended && cc_sock_queued(t->local) == 0)
        cc_sock_read_start(t->host, cc_sock_alloc, on_read);
    if (!t->local_ended && cc_sock_queued(t->host) == 0)
        cc_sock_read_start(t->local, cc_sock_alloc, on_read);
}

/* False: it is no more. */
static bool move(struct tunnel *t, struct cc_sock *from, struct cc_sock *to, char *p, size_t n)
{
    uv_buf_t buf = uv_buf_init(p, (unsigned)n);
    int rc = cc_sock_send(to, &buf, 1, on_sent);

    t->moved = true;
    if (rc == 1)
        cc_sock_read_stop(from);
    if (rc < 0)
        tunnel_end(t);
    return rc >= 0;
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct tunnel *t = stream->data;
    bool host = stream == &t->host->stream;
    struct cc_sock *from = host ? t->host : t->local, *to = host ? t->local : t->host;

    if (n > 0) {
        move(t, from, to, buf->base, (size_t)n);
    } else if (n == UV_EOF) {
        *(host ? &t->host_ended : &t->local_ended) = true;
        cc_sock_read_stop(from);
        cc_sock_shutdown(to);
        if (all_said(t))
            tunnel_end(t);
        else if (host)
            idle_begin(t);
    } else if (n < 0) {
        tunnel_end(t);
    }
}

/* Connected: from here on the host's connection is a pipe. */
static void join(struct tunnel *t)
{
    static const struct cc_hdr h = { { "Upgrade", 7 }, { "tcp", 3 } };
    const char *head;
    char *rest;
    size_t n;
    int len = cc_reply_head(t->req, 101, &h, 1, FRAMING_NONE, 0, &head);
    uv_buf_t buf;

    t->up.stop = stop;
    if (len < 0 || !t->req->conn) {
        cc_req_abort(t->req);
        tunnel_end(t);
        return;
    }
    buf = uv_buf_init((char *)head, (unsigned)len);
    cc_req_unwait(t->req);
    t->host = cc_req_take(t->req, &t->up, &rest, &n);
    t->req = NULL;
    t->host->handle.data = t;
    cc_sock_send(t->host, &buf, 1, on_sent);
    cc_sock_read_start(t->host, cc_sock_alloc, on_read);
    cc_sock_read_start(t->local, cc_sock_alloc, on_read);
    if (n)
        move(t, t->host, t->local, rest, n);
    free(rest);
}

static int dial(struct tunnel *t);

static void refuse(struct tunnel *t, int status)
{
    struct cc_req *r = t->req;

    cc_req_unwait(r);
    t->req = NULL;
    cc_req_reply_error(r, 502, "unavailable", uv_strerror(status));
    tunnel_end(t);
}

static void on_connect(uv_connect_t *connect, int status)
{
    struct tunnel *t = connect->data;

    t->connecting = false;
    if (t->over) {
        free(t);
        return;
    }
    if (status == 0) {
        join(t);
        return;
    }
    cc_sock_close(t->local);
    t->local = NULL;
    if (!t->v6) {
        t->v6 = true;
        status = dial(t);
    }
    if (status < 0)
        refuse(t, status);
}

/* 0, or a negative UV_E*. */
static int dial(struct tunnel *t)
{
    struct sockaddr_storage ss;
    int rc;

    if (t->v6)
        uv_ip6_addr("::1", (int)t->port, (struct sockaddr_in6 *)&ss);
    else
        uv_ip4_addr("127.0.0.1", (int)t->port, (struct sockaddr_in *)&ss);
    t->local = cc_sock_new(t->agent->loop, false, t);
    uv_tcp_nodelay(&t->local->tcp, 1);
    t->connect.data = t;
    rc = uv_tcp_connect(&t->connect, &t->local->tcp, (struct sockaddr *)&ss, on_connect);
    t->connecting = rc == 0;
    if (rc < 0) {
        cc_sock_close(t->local);
        t->local = NULL;
    }
    return rc;
}

/* The host has gone before there was a way. */
static void on_lost(void *arg, struct cc_req *r, int status)
{
    struct tunnel *t = arg;

    (void)status;
    t->req = NULL;
    cc_req_abort(r);
    tunnel_end(t);
}

/* The port of "/ports/N", or 0. */
static unsigned port_of(struct cc_text path)
{
    unsigned port = 0;
    size_t i;

    if (path.n < 8 || path.n > 12 || memcmp(path.p, "/ports/", 7) != 0 || path.p[7] == '0')
        return 0;
    for (i = 7; i < path.n; i++) {
        if (path.p[i] < '0' || path.p[i] > '9')
            return 0;
        port = port * 10 + (unsigned)(path.p[i] - '0');
    }
    return port <= 65535 ? port : 0;
}

bool agent_tunnel(struct agent *a, struct cc_req *r)
{
    struct cc_text upgrade = cc_req_header(r, "upgrade", 7);
    unsigned port = port_of(cc_req_path(r));
    struct tunnel *t;
    int rc;

    if (!port || strcmp(cc_req_method(r), "GET") != 0)
        return false;
    if (!upgrade.p || !cc_list_has(upgrade.p, upgrade.n, "tcp")) {
        static const struct cc_hdr h[] = { { { "Upgrade", 7 }, { "tcp", 3 } },
                                           { { "Content-Type", 12 }, { "application/json", 16 } } };
        static const char body[] = "{\"error\":\"an upgrade to tcp is expected\",\"code\":\"invalid\"}";

        cc_req_reply(r, 426, h, 2, body, sizeof(body) - 1);
        return true;
    }
    t = cc_xcalloc(1, sizeof(*t));
    t->agent = a;
    t->req = r;
    t->port = port;
    r->wait = on_lost;
    r->wait_arg = t;
    r->wait_gone = true;
    rc = dial(t);
    if (rc < 0)
        refuse(t, rc);
    return true;
}
