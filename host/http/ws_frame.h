/* ws_frame.h - WebSocket frames (RFC 6455), byte by byte if need be.
 *
 * One codec for the server, the agent and the proxy.  It decodes headers that
 * come in pieces, and refuses at once what no endpoint may send; payloads are
 * the caller's.  No memory, no I/O, so it can be fuzzed as it is.  [any thread]
 */
#ifndef CC_HTTP_WS_FRAME_H
#define CC_HTTP_WS_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CC_WS_CONT = 0, CC_WS_TEXT = 1, CC_WS_BINARY = 2, CC_WS_CLOSE = 8, CC_WS_PING = 9, CC_WS_PONG = 10 };

struct cc_ws_frame {
    uint64_t len;
    uint8_t op;
    bool fin, masked;
    uint8_t key[4];
};

/* A header under way. Start with {0}. */
struct cc_ws_head {
    uint8_t have, need;
    uint8_t raw[14];
};

/* Takes bytes of a header. Returns how many; *done once f is filled (and the decoder ready for the
 * next header). -1: reserved bits or opcode, a long or fragmented control frame, or a length not
 * in its shortest form: the connection must end with 1002. */
int cc_ws_head_feed(struct cc_ws_head *h, const void *p, size_t n, struct cc_ws_frame *f, bool *done);

/* Writes a header; key NULL: unmasked. Returns its length. */
size_t cc_ws_head_put(uint8_t out[14], int op, bool fin, uint64_t len, const uint8_t key[4]);

/* XORs p with the key, whose first byte belongs to payload offset 0; p begins at `offset`. */
void cc_ws_mask(void *p, size_t n, const uint8_t key[4], uint64_t offset);

/* Whether a peer may send this code in a close frame. */
bool cc_ws_code_ok(int code);

/* Payload of a close frame: code and reason, cut to 123 bytes at a character. Returns the length. */
size_t cc_ws_close_put(uint8_t out[125], int code, const char *reason, size_t len);

/* What is somebody's input in a stream of the kind: */
enum cc_ws_kind {
    CC_WS_TERMINAL, /* messages that begin with '0' */
    CC_WS_SCREEN,   /* VNC (RFB): keys and the pointer */
    CC_WS_CHAT,     /* every message */
    CC_WS_OTHER,    /* nothing: what passes is not known */
    CC_WS_VIEW,     /* nothing: somebody only looks on, which is no use of the machine */
};

/* Follows frames in a stream whose payloads pass by unread. Start with {0}. */
struct cc_ws_follow {
    struct cc_ws_head head;
    uint64_t left; /* payload still to come */
    bool lost;     /* not WebSocket any more: nothing is known from here on */
    bool first;    /* the message's first byte is still to come */
    bool input;    /* a message of somebody's input is under way */
    bool control;  /* the frame under way is a control frame */
    bool closed;   /* a close frame has begun */
    uint8_t kind;  /* enum cc_ws_kind */
    uint8_t key;   /* first byte of the frame's mask */
};

/* Returns how many payload bytes in p belong to what somebody types, by the kind; of a terminal and a screen the message's first
 * byte is not counted. */
uint64_t cc_ws_follow_feed(struct cc_ws_follow *f, const void *p, size_t n);

/* Nothing of a frame is under way, so a frame of our own may go here. */
static inline bool cc_ws_follow_between(const struct cc_ws_follow *f)
{
    return !f->lost && f->left == 0 && f->head.have == 0;
}

#endif
