/* body.h - the framing of a request's body, taken off by llhttp.
 *
 * Begins where cc_head_parse left the parser.  Chunk extensions are refused,
 * the bytes spent on chunk framing are bounded by those that they carry, and
 * trailers are vetted like a head and dropped.  Small chunks that came
 * together reach the sink together: one byte each would cost it a write each.
 * No memory of its own.
 */
#ifndef CC_HTTP_BODY_H
#define CC_HTTP_BODY_H

#include <llhttp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "host/http/head.h"

struct cc_body_joined;

struct cc_body {
    llhttp_t parser;
    void (*sink)(void *arg, const char *data, size_t n);
    void *arg;
    uint64_t raw, got; /* bytes taken, bytes of content among them */
    bool done;         /* the message is whole */
    bool trailing;     /* after the last chunk */
    struct cc_head_scan trailer;
    struct cc_body_joined *joined; /* inside cc_body_feed */
};

/* Takes from p what belongs to the body; content goes to `sink`. Returns how many bytes were
 * taken (fewer than n: the rest is the next request's, or, while not done, a trailer's that must
 * come again with more behind it), or minus a status. */
ssize_t cc_body_feed(struct cc_body *b, const char *p, size_t n);

/* llhttp's callbacks, for head.c's table. */
int cc_body_on_data(llhttp_t *parser, const char *at, size_t n);
int cc_body_on_extension(llhttp_t *parser, const char *at, size_t n);
int cc_body_on_chunk(llhttp_t *parser);
int cc_body_on_end(llhttp_t *parser);

#endif
