/* pass_internal.h - what pass.c (the way there, and the end) and pass_answer.c (the way back) share. */
#ifndef CC_HTTP_PASS_INTERNAL_H
#define CC_HTTP_PASS_INTERNAL_H

#include "host/http/body.h"
#include "host/http/conn.h"
#include "host/http/pass.h"

struct cc_pass {
    struct cc_req *r;
    struct cc_link all;
    struct cc_backend *dialling;
    struct cc_sock *sock;
    struct cc_timer *timer, *head_timer;
    uv_loop_t *loop;
    struct cc_pass_opts o;
    char id[40], who[96];
    char *request;
    size_t request_len;
    bool chunked, sent_all; /* the request's body */
    bool deaf;              /* the backend takes no more of it */
    struct cc_head_scan scan;
    struct cc_head head;
    char *in; /* the answer's head and what came behind it */
    size_t in_len, head_len;
    unsigned meanwhile; /* heads before that of the answer */
    bool answered, answering, over;
    bool moved;           /* since the timer last looked */
    bool going;           /* go_on is to come; it frees then, as nobody knows which of two comes first */
    struct cc_err failed; /* between the two halves; told in the second */
    int64_t left;         /* of a body of known length; -1: until its framing, or the socket, ends */
    struct cc_body body;  /* of one in chunks */
};

/* It cannot go on. What the caller is told, and what becomes of the request, is by how far it was. */
void cc_pass_fail(struct cc_pass *p, int code, const char *what);
/* All was passed on, or with err the client's connection is cut. */
void cc_pass_done(struct cc_pass *p, const struct cc_err *err);
void cc_pass_free(void *p);
/* The first byte of a head has come: the whole of it is to be here in time. */
void cc_pass_await_head(struct cc_pass *p);

/* pass_answer.c: the request's wait is ours, to hear of room and of his end. */
void cc_pass_listen(struct cc_pass *p);
void cc_pass_on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);

#endif
