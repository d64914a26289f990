/* ws.h - one end of a WebSocket: the server's, or the client's once ws_dial.h has opened it.
 *
 * Takes a connection over from HTTP and gives whole messages; pings are
 * answered, text is checked, closing is the full handshake with a deadline.
 * Ownership: a cc_ws lives until on_close has returned, which happens exactly
 * once, also when our side closes.  No callback runs inside a verb but those
 * of cc_ws_resume.  Thread: loop thread only.
 */
#ifndef CC_HTTP_WS_H
#define CC_HTTP_WS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "host/http/req.h"
#include "host/http/ws_frame.h"

struct cc_ws;

struct cc_ws_events {
    /* kind: CC_WS_TEXT or CC_WS_BINARY; data is the caller's during the call only. */
    void (*on_message)(void *arg, int kind, char *data, size_t len);
    /* code 1005: none was sent; 1006: the connection was lost. The cc_ws is dead afterwards. */
    void (*on_close)(void *arg, int code, const char *reason, size_t len);
    /* The queue has emptied after cc_ws_send said 1 or CC_E_FULL. May be NULL. */
    void (*on_drain)(void *arg);
};

struct cc_ws_opts {
    const char *protocol; /* chosen when the client offers it; NULL: none */
    size_t max_message;   /* 0: 1 MiB */
    size_t max_queue;     /* 0: 1 MiB */
    uint32_t ping_ms;     /* silence after which a ping goes out, and again until we give up; 0: 30 s */
    /* How long the peer may take to answer our close; 0: 3 s. Three times that while something is before it that he has not
     * taken, twenty times while he takes of it. */
    uint32_t close_ms;
};

/* 0: the upgrade was answered and r is gone; nothing is read until cc_ws_resume. CC_E_INVALID: r is no proper upgrade request;
 * CC_E_UNSUPPORTED: not version 13; CC_E_IO: the client has gone. Then r lives on: see cc_ws_refuse. */
int cc_ws_open(struct cc_req *r, const struct cc_ws_opts *o, const struct cc_ws_events *e, void *arg,
               struct cc_ws **out);
/* Answers 400 or 426 after cc_ws_open said `rc`. [ends] r */
void cc_ws_refuse(struct cc_req *r, int rc);

/* The client's end, on a socket whose upgrade has been agreed on; it owns the socket now, and `rest` (malloc, may be
 * NULL): bytes that came behind the answer. Nothing is read until cc_ws_resume. */
struct cc_sock;
struct cc_ws *cc_ws_adopt(uv_loop_t *loop, struct cc_sock *sock, char *rest, size_t rest_len,
                          const struct cc_ws_opts *o, const struct cc_ws_events *e, void *arg);

/* 0: gone. 1: some of it is queued. CC_E_FULL: not taken, the queue is full. CC_E_IO: closing. */
int cc_ws_send(struct cc_ws *ws, int kind, const void *data, size_t len);
void cc_ws_pause(struct cc_ws *ws);
void cc_ws_resume(struct cc_ws *ws);
/* Starts the closing handshake; on_close follows. */
void cc_ws_close(struct cc_ws *ws, int code, const char *reason);
/* What on_close will say, as far as that is known: the code that the peer gave, or we did. 0: neither has closed. */
int cc_ws_code(const struct cc_ws *ws);
/* Cuts at once; on_close is not called. */
void cc_ws_drop(struct cc_ws *ws);

#endif
