/* tunnel.h - a TLS stream of libcurl's as an ordinary socket.
 *
 * libcurl has connected (CURLOPT_CONNECT_ONLY) and speaks TLS; what reads and
 * writes here is one end of a socket pair, so that whoever uses a cc_sock
 * needs to know nothing of TLS.  Bounded both ways: one chunk and what the
 * pair holds.  It ends by itself when either side does.
 * Thread: loop thread only.
 */
#ifndef CC_HTTP_TUNNEL_H
#define CC_HTTP_TUNNEL_H

#include <uv.h>

#include "host/http/curl.h"

/* The other end of the pair, or a negative UV_E*. Owns `easy` from here on, also when it fails. */
int cc_tunnel_start(uv_loop_t *loop, CURL *easy);

#endif
