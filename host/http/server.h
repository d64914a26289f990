/* server.h - an HTTP/1.1 server on TCP and unix sockets.
 *
 * One struct per connection with an explicit state, one shared read buffer,
 * no timer but one coarse sweep: deadlines are lists in order of time, one
 * list a kind.  What a peer can make us hold is bounded by the limits below.
 * At the bound of connections a new one is accepted, told 503 and closed, so
 * that its sender knows.  Knows nothing of Lua or of routes.
 * Ownership: the server is its maker's until cc_server_close; it frees itself
 * when its last connection and its last request have ended.
 * Thread: loop thread only.
 */
#ifndef CC_HTTP_SERVER_H
#define CC_HTTP_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "host/http/addr.h"
#include "host/http/req.h"

struct cc_err;
struct cc_layers;
struct cc_server;

struct cc_http_limits {
    uint32_t head_bytes;  /* 16 KiB; at most 65535 */
    uint32_t headers;     /* 100; at most 100 */
    uint32_t connections; /* 16384; then who has said nothing whole for longest, two seconds at least, makes room */
    size_t body_bytes;    /* 1 MiB, where the handler does not say */
    uint32_t body_rate;   /* 1024 bytes a second, of bodies in and replies out */
    uint32_t rate_ms;     /* 10 s: the window in which the rate is asked */
    uint32_t head_ms;     /* 10 s for the whole head */
    uint32_t idle_ms;     /* 15 s between requests */
    uint32_t linger_ms;   /* 2 s for the peer to read our last words */
};
#define CC_HTTP_LIMITS                                                                                                 \
    {                                                                                                                  \
        16384, 100, 16384, 1 << 20, 1024, 10000, 10000, 15000, 2000                                                    \
    }

typedef void (*cc_handler_fn)(void *arg, struct cc_req *r);

/* What became of a request: its reply has been handed to the socket whole, its connection was given away (101), or its client
 * has gone, with status 499 when nothing was said yet. */
struct cc_req_end {
    int status;
    uint64_t bytes; /* sent, head and body */
    uint64_t ns;    /* from its head to here */
    unsigned mark;  /* cc_req_mark */
};
typedef void (*cc_ended_fn)(void *arg, struct cc_req *r, const struct cc_req_end *end); /* r: for its accessors */

struct cc_server_opts {
    struct cc_http_limits limits;
    const struct cc_cidr *trusted; /* proxies whose X-Forwarded-For counts; copied */
    unsigned n_trusted;
    bool trust_unix;              /* so does that of a unix socket's peer */
    const struct cc_hdr *headers; /* put into every reply that does not set them; copied */
    unsigned n_headers;           /* at most 16 */
    bool request_ids;             /* X-Request-Id in every reply */
    struct cc_layers *layers;     /* put on what comes by TCP (TLS); the server's to end. NULL: none */
    cc_handler_fn handler;
    cc_ended_fn ended; /* once a request, also of one whose handler has not ended yet; may be NULL */
    void *arg;
};

struct cc_server *cc_server_new(uv_loop_t *loop, const struct cc_server_opts *o);

/* host: an address, "localhost", or "" for all of v6 and v4. port 0: any. 0 or CC_E_*. */
int cc_server_listen(struct cc_server *s, const char *host, int port, struct cc_err *err);
/* A dead socket in the way is removed, a live one is CC_E_EXISTS. */
int cc_server_listen_unix(struct cc_server *s, const char *path, int mode, struct cc_err *err);
/* A TCP or unix socket that was bound by somebody else, who also removes its file. The descriptor is the server's from here on. */
int cc_server_listen_fd(struct cc_server *s, int fd, struct cc_err *err);

/* Copies of the listeners' descriptors, the caller's to close: whoever has one goes on listening when this server does not.
 * At most `max`; returns how many, or CC_E_* and none. */
int cc_server_copy_fds(struct cc_server *s, int *fd, unsigned max, struct cc_err *err);
/* Another listens on the same sockets: this server leaves their files alone when it stops. */
void cc_server_leave_files(struct cc_server *s);

/* The descriptor of the first listener, which stays the server's; -1: there is none. */
int cc_server_fd(struct cc_server *s);

/* Where the first TCP listener is; false when there is none. */
bool cc_server_addr(struct cc_server *s, char host[46], int *port);

/* Stops listening, closes what idles, tells WebSockets and proxied streams to end, lets running
 * requests finish. `gently`: a connection that idles may make one more request, until its idle time is over, so that nobody's
 * request meets a closed one. `fn` is called once: clean is false when time was up and the rest was cut. */
typedef void (*cc_drained_fn)(void *arg, bool clean);
void cc_server_drain(struct cc_server *s, uint64_t ms, bool gently, cc_drained_fn fn, void *arg);

/* Cuts everything. The pointer is dead; handlers still owe their requests an end. A drain under
 * way is forgotten. */
void cc_server_close(struct cc_server *s);

struct cc_server_stats {
    uint64_t accepted, requests, refused, turned_away, timed_out;
    uint64_t given_up; /* closed at the bound of connections, to let another in */
    unsigned connections, upgraded, running;
};
void cc_server_stats(const struct cc_server *s, struct cc_server_stats *out);

#endif
