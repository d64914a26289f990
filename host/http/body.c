/* body.c - see body.h. */
#include "host/http/body.h"

#include <string.h>

#define FRAMING_SPARE 16384 /* chunk framing may exceed 8 times the content by this much */

struct cc_body_joined {
    size_t n;
    char data[16384];
};

static void give_joined(struct cc_body *b)
{
    struct cc_body_joined *j = b->joined;
    size_t n = j->n;

    j->n = 0;
    if (n)
        b->sink(b->arg, j->data, n);
}

int cc_body_on_data(llhttp_t *parser, const char *at, size_t n)
{
    struct cc_body *b = parser->data;

    b->got += n;
    if (b->joined->n + n > sizeof(b->joined->data))
        give_joined(b);
    if (n > sizeof(b->joined->data)) {
        b->sink(b->arg, at, n);
    } else {
        memcpy(b->joined->data + b->joined->n, at, n);
        b->joined->n += n;
    }
    return 0;
}

int cc_body_on_extension(llhttp_t *parser, const char *at, size_t n)
{
    (void)parser, (void)at, (void)n;
    return -1;
}

/* The last chunk's header: what follows is read as a head of its own, by rules stricter than
 * llhttp's for trailers. */
int cc_body_on_chunk(llhttp_t *parser)
{
    struct cc_body *b = parser->data;

    if (parser->content_length != 0)
        return 0;
    b->trailing = true;
    b->trailer = (struct cc_head_scan){ .kind = CC_HEAD_TRAILER };
    return HPE_PAUSED;
}

/* Also called at the end of a head without a body, before there is a struct cc_body. */
int cc_body_on_end(llhttp_t *parser)
{
    (void)parser;
    return HPE_PAUSED;
}

static ssize_t feed_trailer(struct cc_body *b, const char *p, size_t n)
{
    int len = cc_head_scan(&b->trailer, p, n, CC_HEAD_BYTES);

    if (len > 0)
        b->done = true;
    return len;
}

static llhttp_errno_t execute(struct cc_body *b, const char *p, size_t n)
{
    struct cc_body_joined joined;
    llhttp_errno_t rc;

    joined.n = 0;
    b->joined = &joined;
    b->parser.data = b;
    rc = llhttp_execute(&b->parser, p, n);
    give_joined(b);
    b->joined = NULL;
    return rc;
}

ssize_t cc_body_feed(struct cc_body *b, const char *p, size_t n)
{
    llhttp_errno_t rc;
    size_t used = n;
    ssize_t more;

    if (b->trailing)
        return feed_trailer(b, p, n);
    rc = execute(b, p, n);
    if (rc == HPE_PAUSED)
        used = (size_t)(llhttp_get_error_pos(&b->parser) - p);
    else if (rc != HPE_OK)
        return -400;
    b->raw += used;
    if (b->raw - b->got > FRAMING_SPARE + 8 * b->got)
        return -400;
    if (rc == HPE_OK)
        return (ssize_t)used;
    if (!b->trailing) {
        b->done = true;
        return (ssize_t)used;
    }
    more = feed_trailer(b, p + used, n - used);
    return more < 0 ? more : (ssize_t)used + more;
}
