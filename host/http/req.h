/* req.h - one HTTP request, from its head to the end of its reply.
 *
 * The server calls the handler once per request, when the head is complete.
 * From then on the request is the handler's: it lives, with all that its
 * accessors return, until one of the verbs marked [ends] has been called, at
 * once or much later, whatever became of the client.  When the client is gone
 * nothing is sent, waits end with CC_E_IO, and an [ends] verb is still due.
 * Thread: loop thread only.
 */
#ifndef CC_HTTP_REQ_H
#define CC_HTTP_REQ_H

#include "host/sys/context.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cc_req;
struct cc_server;
struct cc_span;
struct cc_sock;

struct cc_text {
    const char *p;
    size_t n;
};

/* A header of a reply. Names and values are checked: a control byte is CC_E_INVALID. */
struct cc_hdr {
    struct cc_text name, value;
};

/* ---- reading */
const char *cc_req_method(const struct cc_req *r);
struct cc_text cc_req_path_raw(const struct cc_req *r);
struct cc_text cc_req_path(struct cc_req *r);        /* decoded once; "%2F" stays */
struct cc_text cc_req_query(const struct cc_req *r); /* raw; p NULL: none */
/* First value of the header `name` (lower case); p NULL: none. */
struct cc_text cc_req_header(const struct cc_req *r, const char *name, size_t len);
/* The i-th header; false behind the last. Names as they came. */
bool cc_req_header_at(const struct cc_req *r, unsigned i, struct cc_text *name, struct cc_text *value);
int cc_req_minor(const struct cc_req *r); /* HTTP/1.minor */
/* Who asks: the peer, or what a trusted proxy says; "unix" for a unix socket's peer. */
const char *cc_req_remote(struct cc_req *r);
bool cc_req_secure(struct cc_req *r); /* https, also when a trusted proxy says so (X-Forwarded-Proto) */
/* The client's X-Request-Id when it is sane, else 16 random hex digits. */
const char *cc_req_id(struct cc_req *r);
/* For whom: the handler's, to fill and to read until the request has been told of (server.h). */
struct cc_context *cc_req_context(struct cc_req *r);
/* A number of the handler's own, for who is told: which route it was. 0 until it is set. */
void cc_req_mark(struct cc_req *r, unsigned mark);
/* The handler's, too: the request's span, NULL where there is none (host/observe/span.h). */
struct cc_span **cc_req_span(struct cc_req *r);
bool cc_req_gone(const struct cc_req *r); /* the client closed or half-closed */
bool cc_req_wants_upgrade(const struct cc_req *r);
struct cc_server *cc_req_server(const struct cc_req *r);

/* ---- the body */
typedef void (*cc_req_wait_fn)(void *arg, struct cc_req *r, int status);

/* Collects the body, at most `max` bytes (0: the server's limit). 0: it is there, see
 * cc_req_body_text. 1: fn is called, once, with 0 or the error. CC_E_LIMIT: it is too long;
 * CC_E_TIMEOUT: too slow; CC_E_INVALID: badly framed; CC_E_IO: the client is gone. After an
 * error the connection ends with the reply. May be called again when it was there. */
int cc_req_body(struct cc_req *r, size_t max, cc_req_wait_fn fn, void *arg);
struct cc_text cc_req_body_text(const struct cc_req *r);

/* Hands the body on as it comes; `fn` as above when it has ended. Inside `sink` or later the
 * stream can be stopped and let go on. Returns 0, or an error as above. */
typedef void (*cc_req_sink_fn)(void *arg, const char *data, size_t n);
int cc_req_body_to(struct cc_req *r, size_t max, cc_req_sink_fn sink, cc_req_wait_fn fn, void *arg);
void cc_req_body_pause(struct cc_req *r, bool stop);

/* ---- the reply. Date, Content-Length, Connection, X-Request-Id and the server's own
 * headers are added; naming one of the first three is CC_E_INVALID. */

/* The whole reply. On CC_E_INVALID nothing was sent and the request lives on. [ends] */
int cc_req_reply(struct cc_req *r, int status, const struct cc_hdr *h, unsigned n, const char *body, size_t len);

/* {"error": message, "code": code}. [ends] */
void cc_req_reply_error(struct cc_req *r, int status, const char *code, const char *message);

/* Head now, body by cc_req_write, end by cc_req_finish. */
int cc_req_start(struct cc_req *r, int status, const struct cc_hdr *h, unsigned n);
/* The same where the length of the body is known: no more can be written, and less cuts the connection. */
int cc_req_start_sized(struct cc_req *r, int status, const struct cc_hdr *h, unsigned n, uint64_t length);
/* 0: go on. 1: enough is queued; fn is called once it has gone, or the client is. CC_E_IO: gone. */
int cc_req_write(struct cc_req *r, const char *data, size_t len, cc_req_wait_fn fn, void *arg);
void cc_req_finish(struct cc_req *r); /* [ends] */

/* Lets go without a word: the connection is closed at once. [ends] */
void cc_req_abort(struct cc_req *r);
/* Forgets a wait under way, for room or for the body: its fn will not be called, but where the client is lost: then both are,
 * also if the first forgets the other, so what they are given must outlive the turn. */
void cc_req_unwait(struct cc_req *r);
void cc_req_unwait_body(struct cc_req *r);
bool cc_req_started(const struct cc_req *r);

#endif
