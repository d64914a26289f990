/* handover.c - the loop's side of a commit: collect, hand over, complete.
 *
 * Updates of one turn of the loop reach the writer together.  Which handle
 * runs when in a turn depends on who was started first, so both prepare and
 * check hand over, and an idle handle keeps the loop from sleeping meanwhile.
 * When a group is done, all its cells leave the overlay before the first
 * callback runs: an update begun by one must not see the others' old writes.
 */
#include "store/store_internal.h"

#include "host/sys/mem.h"

#include <assert.h>
#include <stdlib.h>

/* ---- the loop is kept alive exactly while something is under way */

static void keep_alive(struct cc_store *s)
{
    if (s->hand.pending || s->hand.waiters)
        uv_ref((uv_handle_t *)&s->hand.async);
    else
        uv_unref((uv_handle_t *)&s->hand.async);
}

static void stop_watching(struct cc_handover *h)
{
    uv_prepare_stop(&h->prepare);
    uv_check_stop(&h->check);
    uv_idle_stop(&h->idle);
}

static void hand_over(struct cc_store *s)
{
    struct cc_handover *h = &s->hand;
    struct cc_writer *w = &s->writer;

    stop_watching(h);
    if (!h->list || h->held) /* while it holds the lock for one update, that one goes first */
        return;
    pthread_mutex_lock(&w->lock);
    *w->queue_end = h->list;
    w->queue_end = h->end;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
    h->list = NULL;
    h->end = &h->list;
}

static void on_prepare(uv_prepare_t *p) { hand_over(p->data); }
static void on_check(uv_check_t *c) { hand_over(c->data); }
static void on_idle(uv_idle_t *i) { (void)i; }

static void watch(struct cc_handover *h)
{
    uv_prepare_start(&h->prepare, on_prepare);
    uv_check_start(&h->check, on_check);
    uv_idle_start(&h->idle, on_idle);
}

/* ---- a turn */

static void end_turn(struct cc_store *s, struct cc_txn *first)
{
    struct cc_writer *w = &s->writer;

    s->hand.held = false;
    s->hand.holder = NULL;
    pthread_mutex_lock(&w->lock);
    if (first) {
        first->next = w->queue;
        if (!w->queue)
            w->queue_end = &first->next;
        w->queue = first;
    }
    w->turn = s->hand.waiters ? TURN_ASKED : TURN_GO;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
    watch(&s->hand);
}

void cc_handover_done_alone(struct cc_store *s) { end_turn(s, NULL); }

static void ask_turn(struct cc_store *s)
{
    struct cc_writer *w = &s->writer;

    pthread_mutex_lock(&w->lock);
    if (w->turn != TURN_HELD)
        w->turn = TURN_ASKED;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
}

void cc_store_turn(struct cc_store *s, void (*fn)(void *arg), void *arg)
{
    struct waiter *w = cc_xcalloc(1, sizeof(*w));

    w->fn = fn;
    w->arg = arg;
    *s->hand.waiters_end = w;
    s->hand.waiters_end = &w->next;
    keep_alive(s);
    ask_turn(s);
}

static struct waiter *take_waiter(struct cc_handover *h, void *arg)
{
    struct waiter **at = &h->waiters, *w;

    while (*at && arg && (*at)->arg != arg)
        at = &(*at)->next;
    if ((w = *at) && !(*at = w->next))
        h->waiters_end = at;
    return w;
}

void cc_store_turn_cancel(struct cc_store *s, void *arg)
{
    free(take_waiter(&s->hand, arg));
    if (s->hand.held && s->hand.holder == arg)
        end_turn(s, NULL);
    keep_alive(s);
}

static void begin_turn(struct cc_store *s)
{
    struct waiter *w = take_waiter(&s->hand, NULL);

    if (!w) {
        end_turn(s, NULL);
        return;
    }
    s->hand.held = true;
    s->hand.holder = w->arg;
    w->fn(w->arg);
    free(w);
}

static void follow_turn(struct cc_store *s, enum turn turn)
{
    if (turn == TURN_HELD && !s->hand.held) {
        begin_turn(s);
    } else if (turn != TURN_HELD && s->hand.held) { /* its time was over */
        s->hand.held = false;
        s->hand.holder = NULL;
        watch(&s->hand);
    }
    if (turn == TURN_NONE && s->hand.waiters)
        ask_turn(s);
}

/* ---- completion */

static void call_back(struct cc_store *s, struct cc_txn *list)
{
    struct cc_txn *t, *next;

    for (t = list; t; t = t->next)
        cc_overlay_remove(&s->overlay, t, t->result != CC_OK);
    for (t = list; t; t = next) {
        next = t->next;
        s->hand.pending--;
        t->fn(t->arg, t->result, t->result ? &t->err : NULL);
        cc_txn_free(t);
    }
}

static void on_async(uv_async_t *a)
{
    struct cc_store *s = a->data;
    struct cc_writer *w = &s->writer;
    struct cc_txn *list;
    enum turn turn;

    pthread_mutex_lock(&w->lock);
    list = w->done;
    w->done = NULL;
    w->done_end = &w->done;
    turn = w->turn;
    if (w->new_revs)
        s->rev_spare = w->new_revs;
    w->new_revs = 0;
    pthread_mutex_unlock(&w->lock);
    call_back(s, list);
    if (list)
        cc_watch_look(s);
    follow_turn(s, turn);
    keep_alive(s);
}

void cc_handover_submit(struct cc_store *s, struct cc_txn *t)
{
    s->hand.pending++;
    keep_alive(s);
    if (t->alone && s->hand.held) {
        end_turn(s, t);
        return;
    }
    *s->hand.end = t;
    s->hand.end = &t->next;
    watch(&s->hand);
}

void cc_handover_want_revs(struct cc_store *s)
{
    pthread_mutex_lock(&s->writer.lock);
    s->writer.want_revs = true;
    pthread_cond_signal(&s->writer.wake);
    pthread_mutex_unlock(&s->writer.lock);
}

/* ---- open and close */

int cc_handover_init(struct cc_store *s)
{
    struct cc_handover *h = &s->hand;
    int rc = uv_async_init(s->loop, &h->async, on_async);

    if (rc)
        return rc;
    uv_prepare_init(s->loop, &h->prepare);
    uv_check_init(s->loop, &h->check);
    uv_idle_init(s->loop, &h->idle);
    uv_timer_init(s->loop, &s->look);
    h->async.data = h->prepare.data = h->check.data = h->idle.data = s->look.data = s;
    h->end = &h->list;
    h->waiters_end = &h->waiters;
    h->open_handles = 5;
    uv_unref((uv_handle_t *)&h->async);
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct cc_store *s = handle->data;

    if (--s->hand.open_handles == 0)
        cc_store_free(s);
}

void cc_handover_flush(struct cc_store *s)
{
    if (s->hand.held)
        end_turn(s, NULL);
    hand_over(s);
}

/* The writer is gone; what it finished is called back, and who waits for a turn finds the store closing. */
void cc_handover_close(struct cc_store *s)
{
    struct cc_handover *h = &s->hand;
    struct cc_txn *list = s->writer.done;
    struct waiter *w;

    s->writer.done = NULL;
    call_back(s, list);
    while ((w = take_waiter(h, NULL))) {
        w->fn(w->arg);
        free(w);
    }
    cc_watch_close(s);
    assert(h->pending == 0 && !h->list);
    uv_close((uv_handle_t *)&h->async, on_closed);
    uv_close((uv_handle_t *)&h->prepare, on_closed);
    uv_close((uv_handle_t *)&h->check, on_closed);
    uv_close((uv_handle_t *)&h->idle, on_closed);
    uv_close((uv_handle_t *)&s->look, on_closed);
}
