/* ws_frame.c - see ws_frame.h. */
#include "host/http/ws_frame.h"

#include <string.h>

static bool first_bytes_ok(const uint8_t *raw)
{
    unsigned op = raw[0] & 15, len = raw[1] & 127;

    if (raw[0] & 0x70 || (op > CC_WS_BINARY && op < CC_WS_CLOSE) || op > CC_WS_PONG)
        return false;
    return op < CC_WS_CLOSE || (len <= 125 && raw[0] & 0x80);
}

static uint8_t head_length(const uint8_t *raw)
{
    unsigned len = raw[1] & 127;

    return (uint8_t)(2 + (len == 126 ? 2 : len == 127 ? 8 : 0) + (raw[1] & 0x80 ? 4 : 0));
}

static bool decode(const uint8_t *raw, struct cc_ws_frame *f)
{
    unsigned len = raw[1] & 127, bytes = len == 126 ? 2 : len == 127 ? 8 : 0, i;

    f->fin = raw[0] >> 7;
    f->op = raw[0] & 15;
    f->masked = raw[1] >> 7;
    f->len = bytes ? 0 : len;
    for (i = 0; i < bytes; i++)
        f->len = f->len << 8 | raw[2 + i];
    if (f->masked)
        memcpy(f->key, raw + 2 + bytes, 4);
    if (bytes == 2)
        return f->len > 125;
    return bytes == 0 || (f->len > 65535 && f->len >> 63 == 0);
}

int cc_ws_head_feed(struct cc_ws_head *h, const void *data, size_t n, struct cc_ws_frame *f, bool *done)
{
    const uint8_t *p = data;
    size_t used = 0;

    *done = false;
    while (used < n) {
        h->raw[h->have++] = p[used++];
        if (h->have < 2)
            continue;
        if (h->have == 2) {
            if (!first_bytes_ok(h->raw))
                return -1;
            h->need = head_length(h->raw);
        }
        if (h->have < h->need)
            continue;
        h->have = 0;
        *done = true;
        return decode(h->raw, f) ? (int)used : -1;
    }
    return (int)used;
}

size_t cc_ws_head_put(uint8_t out[14], int op, bool fin, uint64_t len, const uint8_t key[4])
{
    uint8_t mask = key ? 0x80 : 0;
    size_t n = 2, bytes = 0;

    out[0] = (uint8_t)((fin ? 0x80 : 0) | op);
    if (len <= 125)
        out[1] = (uint8_t)(mask | len);
    else
        bytes = len <= 65535 ? 2 : 8;
    if (bytes)
        out[1] = (uint8_t)(mask | (bytes == 2 ? 126 : 127));
    while (bytes)
        out[n++] = (uint8_t)(len >> 8 * --bytes);
    if (key) {
        memcpy(out + n, key, 4);
        n += 4;
    }
    return n;
}

void cc_ws_mask(void *data, size_t n, const uint8_t key[4], uint64_t offset)
{
    uint8_t *p = data, turned[8];
    uint64_t word, mask;
    size_t i;

    for (i = 0; i < 8; i++)
        turned[i] = key[(offset + i) & 3];
    memcpy(&mask, turned, 8);
    for (i = 0; i + 8 <= n; i += 8) {
        memcpy(&word, p + i, 8);
        word ^= mask;
        memcpy(p + i, &word, 8);
    }
    for (; i < n; i++)
        p[i] ^= turned[i & 7];
}

bool cc_ws_code_ok(int code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
}

size_t cc_ws_close_put(uint8_t out[125], int code, const char *reason, size_t len)
{
    if (len > 123)
        for (len = 123; len > 0 && ((unsigned char)reason[len] & 0xc0) == 0x80;)
            len--;
    out[0] = (uint8_t)(code >> 8);
    out[1] = (uint8_t)code;
    memcpy(out + 2, reason, len);
    return len + 2;
}

/* ---------------------------------------------------------------- following */

static void follow_frame(struct cc_ws_follow *f, const struct cc_ws_frame *frame)
{
    f->left = frame->len;
    f->key = frame->masked ? frame->key[0] : 0;
    f->control = frame->op >= CC_WS_CLOSE;
    if (frame->op == CC_WS_CLOSE)
        f->closed = true;
    if (!f->control && frame->op != CC_WS_CONT) {
        f->first = true;
        f->input = false;
    }
}

enum { RFB_KEY = 4, RFB_POINTER = 5 };

static bool is_input(int kind, uint8_t first)
{
    switch (kind) {
    case CC_WS_TERMINAL:
        return first == '0';
    case CC_WS_SCREEN:
        return first == RFB_KEY || first == RFB_POINTER;
    default:
        return kind == CC_WS_CHAT;
    }
}

static uint64_t follow_payload(struct cc_ws_follow *f, const uint8_t *p, uint64_t n)
{
    f->left -= n;
    if (f->control || n == 0)
        return 0;
    if (f->first) {
        uint8_t kind = p[0] ^ f->key;

        f->first = false;
        f->input = is_input(f->kind, kind);
        if (f->kind != CC_WS_CHAT)
            n--;
    }
    return f->input ? n : 0;
}

uint64_t cc_ws_follow_feed(struct cc_ws_follow *f, const void *data, size_t n)
{
    const uint8_t *p = data;
    uint64_t typed = 0;
    struct cc_ws_frame frame;
    bool done;
    int used;

    while (n > 0 && !f->lost) {
        uint64_t take = f->left < n ? f->left : n;

        if (take) {
            typed += follow_payload(f, p, take);
            p += take;
            n -= take;
            continue;
        }
        used = cc_ws_head_feed(&f->head, p, n, &frame, &done);
        if (used < 0) {
            f->lost = true;
            break;
        }
        p += used;
        n -= (size_t)used;
        if (done)
            follow_frame(f, &frame);
    }
    return typed;
}
