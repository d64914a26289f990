/* body.c - see body.h. */
#include "host/http/body.h"

#define FRAMING_SPARE 16384 /* chunk framing may exceed 8 times the content by this much */

int cc_body_on_data(llhttp_t *parser, const char *at, size_t n)
{
    struct cc_body *b = parser->data;

    b->got += n;
    b->sink(b->arg, at, n);
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

ssize_t cc_body_feed(struct cc_body *b, const char *p, size_t n)
{
    llhttp_errno_t rc;
    size_t used = n;
    ssize_t more;

    if (b->trailing)
        return feed_trailer(b, p, n);
    b->parser.data = b;
    rc = llhttp_execute(&b->parser, p, n);
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
