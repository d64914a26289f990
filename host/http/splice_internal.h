/* splice_internal.h - what splice.c (moving bytes) and splice_dial.c (how one begins) share. */
#ifndef CC_HTTP_SPLICE_INTERNAL_H
#define CC_HTTP_SPLICE_INTERNAL_H

#include "host/http/conn.h"
#include "host/http/splice.h"
#include "host/http/ws_frame.h"

/* What pings know of one side. */
struct cc_splice_pulse {
    bool heard, asked; /* since the last ping; asked: one went out */
    unsigned char silent;
    int64_t taken; /* bytes that had reached it, at most */
};

struct cc_splice {
    struct cc_upgrade up; /* first: stop() casts */
    struct cc_link all;
    struct cc_sock *client, *backend; /* backend NULL: held, or leaving */
    struct cc_timer *timer;           /* while one side has ended, or the backend takes nothing */
    struct cc_timer *ping;
    uv_loop_t *loop;
    struct cc_ws_follow in, out; /* from the client, to the client */
    bool client_ended, leaving;
    struct cc_splice_pulse pulse, backend_pulse;
    uint32_t ping_ms;
    uint64_t pinged_ns;
    struct cc_splice_stats stats;
    char who[CC_SPLICE_WHO];
    /* of one that is, or was, held */
    struct cc_splice **owner; /* where its holder keeps it; NULL is written there when it is his no more */
    struct cc_dial *dial;
    char *kept, *lines; /* what he has said; his header lines, for the machine */
    size_t n_kept, n_lines;
    char key[24];
};

struct cc_splice *cc_splice_new(uv_loop_t *loop, const struct cc_splice_opts *o);
void cc_splice_take(struct cc_splice *s, struct cc_req *r, const char *head, size_t head_len, char **rest, size_t *n);
void cc_splice_join(struct cc_splice *s, struct cc_sock *backend);
void cc_splice_ping(struct cc_splice *s);
void cc_splice_from_client(struct cc_splice *s, char *p, size_t n);
bool cc_splice_from_backend(struct cc_splice *s, char *p, size_t n); /* false when the splice is no more */
void cc_splice_dial_lost(struct cc_dial *d);                         /* its held splice has gone, or is going */

#endif
