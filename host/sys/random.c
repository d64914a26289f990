/* random.c - getrandom(2), many bytes a call: a request id should not cost a system call. */
#include "host/sys/random.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static _Thread_local unsigned char stock[512];
static _Thread_local size_t left;

static void from_kernel(void *out, size_t n)
{
    unsigned char *p = out;
    ssize_t got;

    while (n > 0) {
        got = getrandom(p, n, 0);
        if (got < 0 && errno != EINTR)
            abort();
        if (got > 0) {
            p += got;
            n -= (size_t)got;
        }
    }
}

void cc_random(void *out, size_t n)
{
    if (n > sizeof(stock) / 4) {
        from_kernel(out, n);
        return;
    }
    if (left < n) {
        from_kernel(stock, sizeof(stock));
        left = sizeof(stock);
    }
    memcpy(out, stock + left - n, n);
    memset(stock + left - n, 0, n); /* a byte is given out once */
    left -= n;
}

void cc_uuid(char out[37])
{
    uint8_t b[16];

    cc_random(b, sizeof(b));
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    snprintf(out, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2], b[3],
             b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}
