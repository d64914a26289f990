/* conn.h - what server.c, conn.c, req.c, reply.c and those who take a connection over share.
 *
 * A connection is IDLE, in a HEAD, BUSY with one request, flushing a REPLY,
 * or LINGERing until the peer has read our last words.  It is in exactly one
 * of the server's deadline lists.  Bytes that cannot be used yet wait in `in`;
 * an idle connection holds none.
 */
#ifndef CC_HTTP_CONN_H
#define CC_HTTP_CONN_H

#include "host/http/body.h"
#include "host/http/head.h"
#include "host/http/server.h"
#include "host/http/sock.h"

struct cc_link {
    struct cc_link *prev, *next;
};

static inline void cc_link_init(struct cc_link *l) { l->prev = l->next = l; }
static inline bool cc_link_alone(const struct cc_link *l) { return l->next == l; }
static inline void cc_link_out(struct cc_link *l)
{
    l->prev->next = l->next;
    l->next->prev = l->prev;
    cc_link_init(l);
}
static inline void cc_link_in(struct cc_link *list, struct cc_link *l) /* at the end */
{
    l->prev = list->prev;
    l->next = list;
    list->prev->next = l;
    list->prev = l;
}

/* A connection that HTTP has given away but the server must still be able to end. */
struct cc_upgrade {
    struct cc_link link;
    struct cc_server *server;
    void (*stop)(struct cc_upgrade *u, bool now); /* politely, or at once; may free u */
};

enum cc_conn_state { CONN_IDLE, CONN_HEAD, CONN_BUSY, CONN_REPLY, CONN_LINGER, CONN_GONE };
enum cc_due { DUE_NEVER, DUE_IDLE, DUE_HEAD, DUE_BODY, DUE_WRITE, DUE_LINGER, DUE_KINDS };
enum cc_body_mode { BODY_UNASKED, BODY_COLLECT, BODY_STREAM, BODY_DISCARD };

struct cc_conn {
    struct cc_link link;
    struct cc_server *server;
    struct cc_sock *sock;
    struct cc_req *req;
    uint64_t due, mark; /* mark: bytes that had moved when the rate window began */
    uint64_t handed;    /* bytes given to the socket so far */
    const char *p;      /* bytes under way, while `running` */
    size_t n;
    char *in; /* bytes that wait, from in_off */
    uint32_t in_off, in_len, in_cap;
    struct cc_head_scan scan;
    uint8_t state, due_kind;
    bool running, reading, eof, ends, is_unix, peer_known, skipped_crlf;
    struct cc_addr peer;
};

struct cc_req {
    struct cc_conn *conn; /* NULL: the client is gone */
    struct cc_server *server;
    struct cc_link link; /* all requests that a handler owes an end */
    char *head;
    uint32_t head_len;
    /* body */
    struct cc_body body;
    uint8_t mode;
    bool paused, asking, over, continued;
    char *data;
    size_t len, cap, max;
    cc_req_sink_fn sink;
    /* waiting for the body, which also is the sink's; and for room to write, or for the client to go: both may be at once */
    cc_req_wait_fn body_wait, wait;
    void *body_arg, *wait_arg;
    bool wait_gone; /* to hear of a half-close, too */
    int failed;     /* why the body could not be had */
    /* reply */
    bool started, chunked, sized, silent, close;
    uint64_t left; /* of a reply that is sized */
    /* made when asked for */
    char *path;
    uint32_t path_len;
    char remote[46];
    uint8_t id_len;
    /* for who is told of its end */
    struct cc_context context; /* its id, too, once asked for */
    unsigned mark;
    struct cc_span *span;
    int status; /* of the reply; 0: none yet */
    bool told;
    uint64_t began_ns, handed; /* handed: what its connection had sent before */
    struct cc_head h;
    char small[1024]; /* a head of usual size */
};

struct default_header {
    struct cc_text name;
    struct cc_text line;
};

struct cc_server {
    uv_loop_t *loop;
    struct cc_server_opts o; /* its lists are NULL; copies are below */
    struct cc_cidr *trusted;
    struct default_header defaults[16];
    char *default_bytes;
    size_t default_len;
    struct cc_link due[DUE_KINDS], upgrades, reqs, listeners;
    uint32_t due_ms[DUE_KINDS], sweep_ms;
    struct cc_timer *sweep, *drain_timer;
    uint64_t now; /* cc_mono_ms() as of the last sweep: good enough for deadlines */
    int64_t date_second;
    char date[40]; /* "Date: ...\r\n" */
    size_t date_len;
    cc_drained_fn drained;
    void *drained_arg;
    unsigned refs; /* owner, listeners, connections, upgrades, requests */
    unsigned n_conns, n_upgrades, n_reqs;
    bool draining, closed;
    struct cc_server_stats stats;
};

/* server.c */
void cc_server_ref(struct cc_server *s);
void cc_server_unref(struct cc_server *s);
void cc_server_touch(struct cc_server *s); /* something ended: drained? */
void cc_server_watch(struct cc_server *s); /* the sweep runs while there are connections */
struct cc_req *cc_req_get(struct cc_server *s);
void cc_req_put(struct cc_req *r);
void cc_req_tell(struct cc_req *r); /* its reply is over, or will never be: who asked to be told is, once */

/* conn.c */
void cc_conn_open(struct cc_server *s, uv_stream_t *listener, bool is_unix);
void cc_conn_wait(struct cc_conn *c, enum cc_due kind);
void cc_conn_wait_else(struct cc_conn *c, enum cc_due kind); /* unless a reply is queued, whose deadline stays */
void cc_conn_expire(struct cc_conn *c);
void cc_conn_close(struct cc_conn *c);               /* at once; the request loses its client */
void cc_conn_leave(struct cc_conn *c);               /* off the lists; freed at the end of the turn */
void cc_conn_kick(struct cc_conn *c);                /* something changed: use what waits */
void cc_conn_replied(struct cc_conn *c, int queued); /* the last byte of a reply was written or queued */
void cc_conn_sent(void *owner, int status);
int cc_conn_send(struct cc_conn *c, const uv_buf_t *bufs, unsigned n);
static inline size_t cc_conn_waiting(const struct cc_conn *c) /* bytes read and not used yet */
{
    return c->running ? c->n : c->in_len - c->in_off;
}

/* upgrade.c
 * Takes the socket from HTTP: the request and the connection are freed, what was read already
 * and not used is copied to *rest (malloc, may be NULL). The caller links `u` with its `stop`
 * set; it must call cc_upgrade_end. NULL: the client is gone, the request is freed. [ends] */
struct cc_sock *cc_req_take(struct cc_req *r, struct cc_upgrade *u, char **rest, size_t *rest_len);
void cc_upgrade_end(struct cc_upgrade *u);

/* req.c */
void cc_req_body_run(struct cc_req *r, const char *p, size_t n);
void cc_req_fail(struct cc_req *r, int status);         /* the body cannot be had; tells who waits */
void cc_req_lost(struct cc_req *r);                     /* the client is gone */
void cc_req_done_waiting(struct cc_req *r, int status); /* calls `wait` */
void cc_req_done_body(struct cc_req *r, int status);
const char *cc_conn_peer(struct cc_conn *c, struct cc_addr *a);

/* reply.c: the head of a reply into one of the process's buffers. Length or CC_E_*. */
enum cc_framing { FRAMING_LENGTH, FRAMING_CHUNKED, FRAMING_CLOSE, FRAMING_NONE };
#define CC_REPLY_HEAD_MAX (32 * 1024)
int cc_reply_head(struct cc_req *r, int status, const struct cc_hdr *h, unsigned n, enum cc_framing framing, size_t len,
                  const char **out);
/* The reply to a head that was refused: head and body. */
struct cc_text cc_reply_refusal(struct cc_server *s, int status);

#endif
