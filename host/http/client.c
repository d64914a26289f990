/* client.c - see client.h.
 *
 * libcurl calls on_socket and on_timer whenever it likes, also from inside our
 * calls into it; they only touch uv.  Nothing of ours calls libcurl from
 * inside its callbacks: a body that grows too long ends its transfer by a
 * short count.  Transfers end in collect(), after socket_action has returned,
 * or in let_go_on().
 */
#include "host/http/client.h"

#include <assert.h>
#include <stdlib.h>

#include "host/http/fetch.h"
#include "host/sys/mem.h"

enum { START_MAX = 20, TAKE_MAX = 1 << 20 };

struct list {
    struct cc_fetch *first, *last;
};

struct client {
    uv_loop_t *loop;
    CURLM *multi;
    uv_timer_t timer; /* libcurl reads the real clock, so its timer is a real one */
    uv_idle_t idle;   /* while fetches wait to be started, or to be let go on */
    size_t taken;     /* bytes in this turn: libcurl would read on as long as any come */
    struct list waiting, running;
    unsigned closing; /* handles of ours still open */
};

struct poll {
    uv_poll_t poll;
    struct client *client;
    curl_socket_t fd;
};

static struct client *the_client;

/* ---------------------------------------------------------------- lists */

static void list_add(struct list *l, struct cc_fetch *f)
{
    f->next = NULL;
    f->prev = l->last;
    if (l->last)
        l->last->next = f;
    else
        l->first = f;
    l->last = f;
}

static void list_remove(struct list *l, struct cc_fetch *f)
{
    if (f->prev)
        f->prev->next = f->next;
    else
        l->first = f->next;
    if (f->next)
        f->next->prev = f->prev;
    else
        l->last = f->prev;
}

/* ---------------------------------------------------------------- the end of one fetch */

static void detach(struct client *c, struct cc_fetch *f)
{
    list_remove(f->running ? &c->running : &c->waiting, f);
    if (f->running)
        cc_curl.multi_remove_handle(c->multi, f->easy);
    if (!c->running.first)
        uv_unref((uv_handle_t *)&c->timer); /* connections kept for reuse keep no loop alive */
}

static void finish(struct client *c, struct cc_fetch *f, CURLcode rc)
{
    detach(c, f);
    cc_fetch_end(f, rc);
}

static void collect(struct client *c)
{
    CURLMsg *msg;
    int left;

    while (c->multi && (msg = cc_curl.multi_info_read(c->multi, &left))) {
        CURL *easy = msg->easy_handle;
        CURLcode rc = msg->data.result;
        struct cc_fetch *f = NULL;

        if (msg->msg != CURLMSG_DONE)
            continue;
        cc_curl.easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&f);
        finish(c, f, rc);
    }
}

/* ---------------------------------------------------------------- libcurl on the loop */

static void multi_open(struct client *c);

/* After an error of the multi itself nothing about its transfers is known. */
static void rebuild(struct client *c)
{
    struct cc_fetch *f;
    struct list failed = c->running;
    CURLM *old = c->multi;

    c->running = (struct list){ NULL, NULL };
    for (f = failed.first; f; f = f->next)
        cc_curl.multi_remove_handle(old, f->easy);
    cc_curl.multi_cleanup(old);
    multi_open(c);
    while ((f = failed.first)) {
        failed.first = f->next;
        cc_fetch_fail(f, CC_E_IO, "the HTTP client had to start anew");
    }
}

static void act(struct client *c, curl_socket_t fd, int events)
{
    int running;

    if (!c->multi)
        return;
    c->taken = 0;
    if (cc_curl.multi_socket_action(c->multi, fd, events, &running) != CURLM_OK)
        rebuild(c);
    else
        collect(c);
}

static void on_poll(uv_poll_t *h, int status, int events)
{
    struct poll *p = h->data;
    int flags = status < 0 ? CURL_CSELECT_ERR : 0;

    if (events & UV_READABLE)
        flags |= CURL_CSELECT_IN;
    if (events & UV_WRITABLE)
        flags |= CURL_CSELECT_OUT;
    act(p->client, p->fd, flags);
}

static void on_handle_closed(struct client *c)
{
    if (--c->closing == 0)
        free(c);
}

static void on_poll_closed(uv_handle_t *h)
{
    struct poll *p = h->data;
    struct client *c = p->client;

    free(p);
    on_handle_closed(c);
}

static void poll_end(struct poll *p)
{
    uv_poll_stop(&p->poll);
    uv_close((uv_handle_t *)&p->poll, on_poll_closed);
}

static struct poll *poll_new(struct client *c, curl_socket_t fd)
{
    struct poll *p = cc_xcalloc(1, sizeof(*p));

    p->client = c;
    p->fd = fd;
    p->poll.data = p;
    if (uv_poll_init_socket(c->loop, &p->poll, fd) != 0) {
        free(p);
        return NULL;
    }
    c->closing++;
    cc_curl.multi_assign(c->multi, fd, p);
    return p;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    struct client *c = arg;
    struct poll *p = socket_arg;
    int events = 0;

    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (p) {
            poll_end(p);
            cc_curl.multi_assign(c->multi, fd, NULL);
        }
        return 0;
    }
    if (!p && !(p = poll_new(c, fd)))
        return -1;
    if (what & CURL_POLL_IN)
        events |= UV_READABLE;
    if (what & CURL_POLL_OUT)
        events |= UV_WRITABLE;
    uv_poll_start(&p->poll, events, on_poll);
    return 0;
}

static void on_time(uv_timer_t *t) { act(t->data, CURL_SOCKET_TIMEOUT, 0); }

static int on_timer(CURLM *multi, long ms, void *arg)
{
    struct client *c = arg;

    (void)multi;
    if (ms < 0)
        uv_timer_stop(&c->timer);
    else
        uv_timer_start(&c->timer, on_time, (uint64_t)ms, 0);
    return 0;
}

static void multi_open(struct client *c)
{
    c->multi = cc_curl.multi_init();
    assert(c->multi);
    cc_curl.multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    cc_curl.multi_setopt(c->multi, CURLMOPT_SOCKETDATA, c);
    cc_curl.multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    cc_curl.multi_setopt(c->multi, CURLMOPT_TIMERDATA, c);
    cc_curl.multi_setopt(c->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, 512L);
    cc_curl.multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, 32L);
}

static struct client *client_of(uv_loop_t *loop)
{
    struct client *c = the_client;

    if (c)
        return c;
    c = the_client = cc_xcalloc(1, sizeof(*c));
    c->loop = loop;
    c->timer.data = c->idle.data = c;
    uv_timer_init(loop, &c->timer);
    uv_idle_init(loop, &c->idle);
    uv_unref((uv_handle_t *)&c->timer);
    c->closing = 2;
    multi_open(c);
    return c;
}

static void on_own_closed(uv_handle_t *h) { on_handle_closed(h->data); }

static struct cc_fetch *first_of(const struct client *c)
{
    return c->running.first ? c->running.first : c->waiting.first;
}

void cc_client_close(void)
{
    struct client *c = the_client;
    struct cc_fetch *f;
    CURLM *multi;

    if (!c)
        return;
    the_client = NULL;
    while ((f = first_of(c))) {
        detach(c, f);
        cc_fetch_fail(f, CC_E_CANCELLED, "the program ends");
    }
    multi = c->multi;
    cc_curl.multi_cleanup(multi); /* still calls on_socket for connections kept */
    c->multi = NULL;
    uv_close((uv_handle_t *)&c->timer, on_own_closed);
    uv_close((uv_handle_t *)&c->idle, on_own_closed);
}

/* ---------------------------------------------------------------- one fetch */

/* Those that were stopped for having had their share of a turn. Unpausing calls on_data at once; what that refuses ends no
 * transfer, libcurl would go on behind it. */
static void let_go_on(struct client *c)
{
    struct cc_fetch *f, *next;

    c->taken = 0;
    for (f = c->running.first; f && c->taken <= TAKE_MAX; f = next) {
        next = f->next;
        if (!f->paused)
            continue;
        f->paused = false;
        cc_curl.easy_pause(f->easy, CURLPAUSE_CONT);
        if (f->too_long || f->enough)
            finish(c, f, CURLE_WRITE_ERROR);
    }
}

static bool any_paused(const struct client *c)
{
    const struct cc_fetch *f = c->running.first;

    while (f && !f->paused)
        f = f->next;
    return f != NULL;
}

static void on_idle(uv_idle_t *h)
{
    struct client *c = h->data;
    struct cc_fetch *f;
    int left = START_MAX;

    let_go_on(c);

    while (left-- > 0 && (f = c->waiting.first)) {
        list_remove(&c->waiting, f);
        f->running = true;
        list_add(&c->running, f);
        uv_ref((uv_handle_t *)&c->timer);
        if (cc_curl.multi_add_handle(c->multi, f->easy) != CURLM_OK) {
            list_remove(&c->running, f);
            cc_fetch_fail(f, CC_E_IO, "the request could not be started");
        }
    }
    if (!c->waiting.first && !any_paused(c))
        uv_idle_stop(h);
}

/* libcurl reads on as long as bytes come; a fast peer would keep the loop to itself. */
static bool share(struct cc_fetch *f, size_t n)
{
    struct client *c = f->client;

    if (c->taken > TAKE_MAX) {
        uv_idle_start(&c->idle, on_idle);
        return false;
    }
    c->taken += n;
    return true;
}

struct cc_fetch *cc_fetch_start(uv_loop_t *loop, const struct cc_fetch_opts *o, struct cc_err *err)
{
    struct cc_fetch *f;
    struct client *c;

    if (cc_curl_load(err) < 0)
        return NULL;
    f = cc_fetch_new(o, err);
    if (!f)
        return NULL;
    c = client_of(loop);
    f->client = c;
    f->share = share;
    list_add(&c->waiting, f);
    uv_idle_start(&c->idle, on_idle);
    return f;
}

void cc_fetch_cancel(struct cc_fetch *f)
{
    detach(the_client, f);
    cc_fetch_free(f);
}
