/* sock.h - one stream socket, TCP or unix, on the heap by itself.
 *
 * Apart from what uses it, so that a connection can change hands (HTTP, then
 * WebSocket or proxy) and its HTTP state be freed.  All reading goes through
 * one buffer of the process: what it holds is gone at the next read.
 * handle.data is the owner's; after cc_sock_close nobody is called again.
 * Thread: loop thread only.
 */
#ifndef CC_HTTP_SOCK_H
#define CC_HTTP_SOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#define CC_SOCK_BUFFER (256 * 1024)

struct cc_sock {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    };
};

struct cc_sock *cc_sock_new(uv_loop_t *loop, bool is_unix, void *owner);

/* Frees the socket in a later turn; pending writes are dropped without a word. NULL is fine. */
void cc_sock_close(struct cc_sock *s);

/* The same with a reset, so that the peer sees no orderly end. */
void cc_sock_reset(struct cc_sock *s);

/* Ends our side once what is queued has gone; a failure only shows in reading. */
void cc_sock_shutdown(struct cc_sock *s);

/* The process's read buffer, CC_SOCK_BUFFER bytes; uv's alloc callback for it. */
char *cc_sock_buffer(void);
void cc_sock_alloc(uv_handle_t *h, size_t hint, uv_buf_t *buf);

/* Calls fn at the end of this turn of the loop: what others up the stack may still stand on is
 * freed there. */
void cc_sock_later(uv_loop_t *loop, void (*fn)(void *arg), void *arg);

typedef void (*cc_sent_fn)(void *owner, int status);

/* Writes now what the kernel takes and copies the rest. Returns 0: all gone; 1: some queued,
 * `sent` is called when it has gone; or a negative UV_E*. At most 8 buffers. */
int cc_sock_send(struct cc_sock *s, const uv_buf_t *bufs, unsigned n, cc_sent_fn sent);

/* Bytes that wait in this process. */
static inline size_t cc_sock_queued(const struct cc_sock *s) { return uv_stream_get_write_queue_size(&s->stream); }

#endif
