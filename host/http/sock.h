/* sock.h - one stream socket, TCP or unix, on the heap by itself.
 *
 * Apart from what uses it, so that a connection can change hands (HTTP, then
 * WebSocket or proxy) and its HTTP state be freed.  All reading goes through
 * one buffer of the process: what it holds is gone at the next read.
 * handle.data is the owner's; after cc_sock_close nobody is called again.
 * A TCP socket may have a layer between the wire and its owner (TLS: tls.h),
 * which the owner does not notice; its pointer lies where only the longer
 * uv_pipe_t has bytes, so that a plain socket is no bigger for it.
 * Thread: loop thread only.
 */
#ifndef CC_HTTP_SOCK_H
#define CC_HTTP_SOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#define CC_SOCK_BUFFER (256 * 1024)

struct cc_layer;

struct cc_sock {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
        struct {
            uv_tcp_t under;
            struct cc_layer *layer; /* NULL: plain; only for TCP, see cc_sock_layer */
        };
    };
};
_Static_assert(sizeof(struct cc_sock) == sizeof(uv_pipe_t), "a layer's pointer costs a plain socket nothing");

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

/* What a layer does in the place of the verbs of the same names. */
struct cc_layer_ops {
    void (*read_start)(struct cc_sock *s, uv_alloc_cb alloc, uv_read_cb read);
    void (*read_stop)(struct cc_sock *s);
    int (*send)(struct cc_sock *s, const uv_buf_t *bufs, unsigned n, cc_sent_fn sent);
    size_t (*queued)(const struct cc_sock *s);
    void (*shutdown)(struct cc_sock *s);
    void (*close)(struct cc_sock *s, bool reset); /* the last call; the socket is closed behind it */
};
struct cc_layer {
    const struct cc_layer_ops *ops;
};

/* Puts layers on what a server accepts by TCP. A pointer to functions, so that a program that
 * serves without TLS links none of it. */
struct cc_layers {
    void (*begin)(struct cc_layers *l, struct cc_sock *s); /* before the first read */
    void (*end)(struct cc_layers *l);                      /* no more of them; called once */
};

static inline struct cc_layer *cc_sock_layer(const struct cc_sock *s)
{
    return s->handle.type == UV_TCP ? s->layer : NULL;
}

/* uv_read_start and uv_read_stop for the owner. What is decrypted comes to `read` like what is
 * read; a peer that ends the connection without ending TLS first is an error there, no end. */
static inline void cc_sock_read_start(struct cc_sock *s, uv_alloc_cb alloc, uv_read_cb read)
{
    struct cc_layer *l = cc_sock_layer(s);

    if (l)
        l->ops->read_start(s, alloc, read);
    else
        uv_read_start(&s->stream, alloc, read);
}

static inline void cc_sock_read_stop(struct cc_sock *s)
{
    struct cc_layer *l = cc_sock_layer(s);

    if (l)
        l->ops->read_stop(s);
    else
        uv_read_stop(&s->stream);
}

/* Writes now what the kernel takes and copies the rest. Returns 0: all gone; 1: some queued,
 * `sent` is called when it has gone; or a negative UV_E*. At most 8 buffers. */
int cc_sock_send(struct cc_sock *s, const uv_buf_t *bufs, unsigned n, cc_sent_fn sent);

/* Bytes of the owner's that wait in this process. */
static inline size_t cc_sock_queued(const struct cc_sock *s)
{
    struct cc_layer *l = cc_sock_layer(s);

    return l ? l->ops->queued(s) : uv_stream_get_write_queue_size(&s->stream);
}

/* The same and what the kernel holds that the peer's has not taken yet. With a layer that is more than the owner's bytes: it
 * only tells whether any move. */
size_t cc_sock_untaken(const struct cc_sock *s);

/* For layers: ends the sending side of the socket itself. */
void cc_sock_shutdown_under(struct cc_sock *s);

#endif
