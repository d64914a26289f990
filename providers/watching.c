/* watching.c - see watching.h. */
#include "providers/watching.h"

#include "host/observe/log.h"
#include "host/sys/clock.h"
#include "host/sys/mem.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { WAITING_MAX = 256, PAUSE_FIRST_MS = 100, PAUSE_MAX_MS = 30000 };

struct piece {
    char id[24], what[16];
};

struct cc_watching {
    const struct cc_driver *driver;
    void *self;
    struct cc_call call;
    uv_thread_t thread;
    uv_async_t async;
    pthread_mutex_t lock; /* of what follows */
    struct piece waiting[WAITING_MAX];
    size_t n;
    bool behind, heard, ended;
    /* the loop's */
    cc_watching_news news;
    void *arg;
    void (*stopped)(void *arg);
    void *stopped_arg;
};

/* ---------------------------------------------------------------- the thread */

static void note(struct cc_watching *w, const char *id, const char *what)
{
    size_t i;

    for (i = 0; i < w->n && strcmp(w->waiting[i].id, id) != 0; i++) {
    }
    if (i == WAITING_MAX) {
        w->behind = true;
        return;
    }
    strncpy(w->waiting[i].id, id, sizeof(w->waiting[i].id) - 1);
    strncpy(w->waiting[i].what, what, sizeof(w->waiting[i].what) - 1);
    w->n += i == w->n;
}

static void tell(void *arg, const char *id, const char *what)
{
    struct cc_watching *w = arg;

    pthread_mutex_lock(&w->lock);
    w->heard = true;
    if (id && cc_provider_id_ok(id))
        note(w, id, what);
    else
        w->behind = true;
    pthread_mutex_unlock(&w->lock);
    uv_async_send(&w->async);
}

/* Once. Whether anything was heard meanwhile. */
static bool follow(struct cc_watching *w)
{
    struct cc_arena arena = { 0 };
    struct cc_err err = { .message = "" };
    struct cc_provider_ctx x = { .call = &w->call, .arena = &arena, .err = &err };
    bool heard;

    w->driver->watch(w->self, &x, tell, w);
    cc_arena_free(&arena);
    pthread_mutex_lock(&w->lock);
    heard = w->heard;
    w->heard = false;
    pthread_mutex_unlock(&w->lock);
    if (heard && !cc_call_over(&w->call))
        cc_log(CC_LOG_WARN, w->driver->name, "what happens there cannot be followed just now: %s", err.message);
    return heard;
}

static void run(void *arg)
{
    struct cc_watching *w = arg;
    struct pollfd p = { .fd = w->call.wake_fd, .events = POLLIN };
    int pause = PAUSE_FIRST_MS;

    while (!cc_call_over(&w->call)) {
        pause = follow(w) ? PAUSE_FIRST_MS : pause * 2 > PAUSE_MAX_MS ? PAUSE_MAX_MS : pause * 2;
        if (!cc_call_over(&w->call))
            poll(&p, 1, pause);
    }
    pthread_mutex_lock(&w->lock);
    w->ended = true;
    pthread_mutex_unlock(&w->lock);
    uv_async_send(&w->async);
}

/* ---------------------------------------------------------------- the loop */

static void on_closed(uv_handle_t *h)
{
    struct cc_watching *w = h->data;

    close(w->call.wake_fd);
    pthread_mutex_destroy(&w->lock);
    w->stopped(w->stopped_arg);
    free(w);
}

static void deliver(struct cc_watching *w)
{
    struct piece pieces[WAITING_MAX];
    bool behind;
    size_t i, n;

    pthread_mutex_lock(&w->lock);
    memcpy(pieces, w->waiting, sizeof(pieces));
    n = w->n;
    behind = w->behind;
    memset(w->waiting, 0, sizeof(w->waiting));
    w->n = 0;
    w->behind = false;
    pthread_mutex_unlock(&w->lock);
    for (i = 0; i < n && !w->stopped; i++)
        w->news(w->arg, pieces[i].id, pieces[i].what);
    if (behind && !w->stopped)
        w->news(w->arg, NULL, "behind");
}

static void on_async(uv_async_t *h)
{
    struct cc_watching *w = h->data;
    bool ended;

    if (!w->stopped)
        deliver(w);
    pthread_mutex_lock(&w->lock);
    ended = w->ended;
    pthread_mutex_unlock(&w->lock);
    if (ended && w->stopped && !uv_is_closing((uv_handle_t *)h)) {
        uv_thread_join(&w->thread);
        uv_close((uv_handle_t *)h, on_closed);
    }
}

struct cc_watching *cc_watching_start(uv_loop_t *loop, const struct cc_driver *d, void *self, cc_watching_news news,
                                      void *arg)
{
    struct cc_watching *w = cc_xcalloc(1, sizeof(*w));

    w->driver = d;
    w->self = self;
    w->news = news;
    w->arg = arg;
    w->call.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    assert(w->call.wake_fd >= 0);
    pthread_mutex_init(&w->lock, NULL);
    uv_async_init(loop, &w->async, on_async);
    w->async.data = w;
    uv_unref((uv_handle_t *)&w->async);
    if (uv_thread_create(&w->thread, run, w) != 0)
        abort();
    return w;
}

void cc_watching_stop(struct cc_watching *w, void (*stopped)(void *arg), void *arg)
{
    uint64_t one = 1;

    w->stopped = stopped;
    w->stopped_arg = arg;
    uv_ref((uv_handle_t *)&w->async);
    atomic_store(&w->call.cancelled, true);
    if (write(w->call.wake_fd, &one, sizeof(one)) < 0)
        assert(errno == EAGAIN);
    uv_async_send(&w->async);
}
