/* fuzz_dial.c - what a machine answers to a proxied upgrade.
 * links: host/http/dial.c host/http/handshake.c host/http/req.c host/http/req_body.c host/http/conn.c host/http/upgrade.c host/http/server.c host/http/reply.c host/http/sock.c host/http/addr.c host/http/head.c host/http/body.c host/http/text.c host/sys/mem.c host/sys/err.c host/sys/clock.c host/sys/random.c llhttp -luv -lmbedcrypto
 */
#include "host/http/dial.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct cc_head_scan s = { .kind = CC_HEAD_RESPONSE };
    struct cc_text protocol;
    char *p = malloc(n + 1);
    int len, status;

    memcpy(p, data, n);
    len = cc_head_scan(&s, p, n, CC_HEAD_BYTES);
    if (len > 0 && cc_dial_answer(p, (size_t)len, "dGhlIHNhbXBsZSBub25jZQ==", 24, &protocol, &status) &&
        (status != 101 || (protocol.p && (protocol.p < p || protocol.p + protocol.n > p + len))))
        __builtin_trap();
    free(p);
    return 0;
}
