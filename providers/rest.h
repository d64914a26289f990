/* rest.h - requests to a vendor's HTTP API, from a pool thread.
 *
 * Blocking, by libcurl: the call's deadline and cancel end a request at once,
 * wherever it is.  One cc_rest is one API: connections are kept and used again
 * by whichever thread asks next, and the system asks now and then whether the
 * peer of a silent one is still there.  No redirects, no proxies of the environment,
 * peer and host verified.  What a status means is the driver's to say.
 */
#ifndef CC_PROVIDERS_REST_H
#define CC_PROVIDERS_REST_H

#include "providers/provider.h"

#include <jansson.h>

struct cc_rest;

struct cc_rest_opts {
    const char *base;            /* "https://api.example.com/v1": paths are put behind it */
    const char *unix_path;       /* connect there, whatever `base` says; NULL: do not */
    const char *token;           /* sent as "Authorization: Bearer TOKEN", or NULL */
    const char *ca, *cert, *key; /* files in PEM for https, or NULL: the system's authorities, no certificate of ours */
    const char *agent;           /* User-Agent */
};

/* Loads libcurl. Copies its options. NULL and err where there is none, or base is no URL. [loop] */
struct cc_rest *cc_rest_open(const struct cc_rest_opts *o, struct cc_err *err);
void cc_rest_close(struct cc_rest *r); /* after the last request returned */

/* A piece of a streamed answer; false ends the request ("cancelled" unless the taker filled x->err). [worker] */
typedef bool (*cc_rest_take)(void *arg, const char *p, size_t n);

struct cc_rest_req {
    const char *method; /* "GET" */
    const char *path;   /* "/servers?name=x": escaped already (cc_rest_escape) */
    const json_t *json; /* body, or NULL */
    const char *raw;    /* body of another type, or NULL */
    size_t raw_len;
    const char *type;         /* of `raw` */
    size_t most;              /* bytes of the answer; 0: 16 MiB */
    cc_rest_take take;        /* gets a 2xx answer in pieces instead of `text`; NULL: it is collected */
    void *arg;                /* of take, and of begun */
    void (*begun)(void *arg); /* NULL, or told once the head of a 2xx answer has come */
    const char *header;       /* of the answer, to be kept; NULL: none */
    uint64_t quiet_ms;        /* without a byte for so long: "timeout"; 0: the call's deadline alone */
};

struct cc_rest_res {
    long status;
    const char *text; /* in the arena, NUL behind it; "" when streamed */
    size_t n;
    json_t *json;               /* what text is, or NULL; freed by cc_rest_res_free */
    const char *header;         /* the one that was asked for, in the arena; NULL: it was not there */
    int64_t retry_after_ms;     /* Retry-After in seconds, at most a year; 0: not told */
    long rate_limit, rate_left; /* RateLimit-Limit, RateLimit-Remaining; -1: not told */
    int64_t rate_reset;         /* RateLimit-Reset, unix seconds; 0: not told */
};

/* 0 when there is an answer, of whatever status; else x->err: "unavailable" when nobody answers (nothing happened),
 * "timeout" and "cancelled" (it may have), "limit" when the answer is too long, "denied" when TLS does not trust it.
 * [worker] */
int cc_rest_do(struct cc_rest *r, struct cc_provider_ctx *x, const struct cc_rest_req *q, struct cc_rest_res *out);
void cc_rest_res_free(struct cc_rest_res *res);

/* A request after whose answer (101, or 200) the connection is a stream both ways ("Upgrade: tcp"), on a connection of its own.
 * 0 and no stream: an answer of another status, as above, with its text. The stream keeps x, whose call ends nothing any more
 * once it is open. [worker] */
struct cc_rest_stream;
int cc_rest_stream_open(struct cc_rest *r, struct cc_provider_ctx *x, const struct cc_rest_req *q,
                        struct cc_rest_res *out, struct cc_rest_stream **s);
void cc_rest_stream_close(struct cc_rest_stream *s);   /* NULL: nothing */
int cc_rest_stream_fd(const struct cc_rest_stream *s); /* to poll, once recv has nothing and send takes nothing */
/* Neither waits. send: how much it took, and what it did not take is to be offered again as it is. recv: *got bytes, 0: none
 * now; *over: nor will there be any. */
size_t cc_rest_stream_send(struct cc_rest_stream *s, const char *p, size_t n);
int cc_rest_stream_recv(struct cc_rest_stream *s, char *buf, size_t most, size_t *got, bool *over);

/* Where all that is to be sent is known: `in` is sent, `take` gets what comes, until the peer closes or the call is over. */
int cc_rest_stream_converse(struct cc_rest_stream *s, const char *in, size_t in_len, cc_rest_take take, void *arg);

/* For a segment of a path or a value of a query; in the arena. */
const char *cc_rest_escape(struct cc_arena *a, const char *s);

/* Waits, unless the call is over before: 0, or x->err and its code. [worker] */
int cc_rest_pause(struct cc_provider_ctx *x, uint64_t ms);

#endif
