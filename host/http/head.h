/* head.h - the head of an HTTP/1 message: found, vetted, parsed.
 *
 * A head is looked at only when it is whole: first every line is vetted for
 * what strict llhttp still lets through (bare LF, folding, empty names, two
 * Hosts, ...: what a proxy in front might read differently), then llhttp
 * parses it with no lenient flag.  Any doubt is a refusal with a status; the
 * connection must then end.  Nothing here allocates or does I/O, so it can be
 * fuzzed as it is.  [any thread]
 */
#ifndef CC_HTTP_HEAD_H
#define CC_HTTP_HEAD_H

#include <llhttp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CC_HEAD_BYTES 16384 /* the default bound; 65535 is the most that offsets can hold */
#define CC_HEAD_FIELDS 100

enum cc_head_kind { CC_HEAD_REQUEST, CC_HEAD_RESPONSE, CC_HEAD_TRAILER };

/* Progress of a search for the end of a head that comes in pieces. Start with {.kind = ...}. */
struct cc_head_scan {
    uint8_t kind;
    uint8_t lines; /* header lines so far */
    uint16_t line; /* where the line under way begins */
    uint16_t seen; /* bytes already searched */
};

/* Looks at the first n bytes (those of earlier calls and more). Returns the length of the whole
 * head (its empty line included), 0 when more is needed, or minus the status to refuse with.
 * Faults are told as early as their line is complete. */
int cc_head_scan(struct cc_head_scan *s, const char *p, size_t n, size_t max);

struct cc_field {
    uint16_t name, name_len, value, value_len;
}; /* offsets into the head */

struct cc_head {
    uint8_t method; /* llhttp_method_t */
    uint8_t minor;  /* HTTP/1.minor */
    uint8_t count;
    bool keep_alive;
    bool chunked;
    bool expect;               /* Expect: 100-continue */
    bool upgrade;              /* Connection: upgrade and an Upgrade header, and no body */
    bool escaped;              /* the path holds a percent sign */
    uint16_t status;           /* of a response */
    uint16_t target, path_len; /* the path as sent; with a query, a '?' follows it */
    uint16_t query, query_len; /* query 0: there is none */
    int64_t length;            /* Content-Length, or -1 */
    struct cc_field fields[CC_HEAD_FIELDS];
};

/* Parses a head that cc_head_scan found. Returns 0, or the status to refuse with. For a request
 * `parser` is left where the body begins (cc_body continues with it). */
int cc_head_parse(struct cc_head *h, llhttp_t *parser, const char *p, size_t n);
int cc_head_parse_response(struct cc_head *h, const char *p, size_t n);

/* The first field of that name (lower case), or NULL. */
const struct cc_field *cc_head_find(const struct cc_head *h, const char *p, const char *name, size_t len);

static inline bool cc_head_has_body(const struct cc_head *h) { return h->chunked || h->length > 0; }

#endif
