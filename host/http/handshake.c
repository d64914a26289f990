/* handshake.c - see handshake.h. */
#include "host/http/handshake.h"

#include <mbedtls/base64.h>
#include <mbedtls/sha1.h>
#include <mbedtls/version.h>
#include <string.h>

#include "host/http/conn.h"
#include "host/http/text.h"
#include "host/sys/err.h"

bool cc_ws_accept(const char *key, size_t len, char out[29])
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    unsigned char text[24 + sizeof(guid) - 1], digest[20], raw[18];
    size_t n;

    if (len != 24 || mbedtls_base64_decode(raw, sizeof(raw), &n, (const unsigned char *)key, len) != 0 || n != 16)
        return false;
    memcpy(text, key, 24);
    memcpy(text + 24, guid, sizeof(guid) - 1);
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
    mbedtls_sha1(text, sizeof(text), digest);
#else
    mbedtls_sha1_ret(text, sizeof(text), digest);
#endif
    return mbedtls_base64_encode((unsigned char *)out, 29, &n, digest, sizeof(digest)) == 0;
}

int cc_ws_vet(struct cc_req *r, char accept[29])
{
    struct cc_text t = cc_req_header(r, "upgrade", 7);

    if (r->h.method != HTTP_GET || r->h.minor != 1 || !r->h.upgrade || !t.p || !cc_list_has(t.p, t.n, "websocket"))
        return CC_E_INVALID;
    t = cc_req_header(r, "sec-websocket-version", 21);
    if (!t.p || t.n != 2 || memcmp(t.p, "13", 2) != 0)
        return t.p ? CC_E_UNSUPPORTED : CC_E_INVALID;
    t = cc_req_header(r, "sec-websocket-key", 17);
    return t.p && cc_ws_accept(t.p, t.n, accept) ? 0 : CC_E_INVALID;
}

bool cc_ws_offers(struct cc_req *r, const char *protocol)
{
    size_t len = strlen(protocol);
    struct cc_text name, v;
    unsigned i;

    for (i = 0; cc_req_header_at(r, i, &name, &v); i++) {
        const char *p = v.p, *end = v.p + v.n;

        if (!cc_word_is(name.p, name.n, "sec-websocket-protocol"))
            continue;
        while (p < end) {
            while (p < end && (*p == ' ' || *p == '\t' || *p == ','))
                p++;
            if ((size_t)(end - p) >= len && memcmp(p, protocol, len) == 0 &&
                (p + len == end || p[len] == ',' || p[len] == ' ' || p[len] == '\t'))
                return true;
            while (p < end && *p != ',')
                p++;
        }
    }
    return false;
}
