/* pool.c - threads grown on demand, ended when idle.
 *
 * One mutex guards the queue and the counts.  Finished jobs go to a second
 * list that one uv_async delivers on the loop.  The async handle is
 * referenced only while jobs are under way, so an idle pool keeps no loop
 * alive.  Threads are detached in effect: the last one out of a closing pool
 * wakes the loop, which frees it; a thread never touches the pool after that.
 */
#include "host/sys/pool.h"

#include "host/sys/err.h"

#include "host/sys/clock.h"
#include "host/sys/mem.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum { IDLE_SECONDS = 10, STACK_BYTES = 256 * 1024 };

struct cc_pool {
    struct cc_pool *next; /* of all that there are */
    uv_async_t async;
    pthread_mutex_t lock;
    pthread_cond_t work_cond;
    struct cc_job *queue, **queue_end; /* waiting */
    struct cc_job *done, **done_end;   /* worked, not yet delivered */
    struct cc_job *running;            /* linked for close to cancel */
    unsigned threads, idle, busy, queued, max;
    unsigned under_way; /* loop's count: submitted, not delivered */
    uint64_t finished, cancelled, timed_out;
    bool closing;
    char name[16];
};

static struct cc_pool *pools;
static pthread_mutex_t pools_lock = PTHREAD_MUTEX_INITIALIZER; /* of the list; taken before a pool's own */

static void enlist(struct cc_pool *p)
{
    pthread_mutex_lock(&pools_lock);
    p->next = pools;
    pools = p;
    pthread_mutex_unlock(&pools_lock);
}

static void delist(struct cc_pool *p)
{
    struct cc_pool **at = &pools;

    pthread_mutex_lock(&pools_lock);
    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    pthread_mutex_unlock(&pools_lock);
}

static void push(struct cc_job ***end, struct cc_job *j)
{
    j->next = NULL;
    **end = j;
    *end = &j->next;
}

static void call_fini(struct cc_call *c)
{
    if (c->wake_fd >= 0)
        close(c->wake_fd);
    c->wake_fd = -1;
}

static void unlink_running(struct cc_pool *p, struct cc_job *job)
{
    struct cc_job **at = &p->running;

    while (*at != job)
        at = &(*at)->next;
    *at = job->next;
}

/* Called with the lock held; waits for a job or for its time to end. NULL: this thread ends. */
static struct cc_job *next_job(struct cc_pool *p)
{
    struct timespec until;
    struct cc_job *j;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += IDLE_SECONDS;
    p->idle++;
    while (!p->queue && !p->closing)
        if (pthread_cond_timedwait(&p->work_cond, &p->lock, &until) == ETIMEDOUT && !p->queue)
            break;
    p->idle--;
    if (!(j = p->queue))
        return NULL;
    if (!(p->queue = j->next))
        p->queue_end = &p->queue;
    p->queued--;
    j->next = p->running;
    p->running = j;
    p->busy++;
    return j;
}

static void *worker(void *arg)
{
    struct cc_pool *p = arg;
    struct cc_job *j;

    pthread_mutex_lock(&p->lock);
    while ((j = next_job(p))) {
        pthread_mutex_unlock(&p->lock);
        cc_context_enter(&j->context);
        if (!atomic_load(&j->call.cancelled))
            j->work(j);
        cc_context_enter(NULL);
        pthread_mutex_lock(&p->lock);
        unlink_running(p, j);
        p->busy--;
        p->finished++;
        if (atomic_load(&j->call.cancelled))
            p->cancelled++;
        else if (cc_call_over(&j->call))
            p->timed_out++;
        push(&p->done_end, j);
        uv_async_send(&p->async);
    }
    p->threads--;
    if (p->closing)
        uv_async_send(&p->async);
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

static void on_closed(uv_handle_t *h)
{
    struct cc_pool *p = h->data;

    delist(p);
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->work_cond);
    free(p);
}

static void on_async(uv_async_t *a)
{
    struct cc_pool *p = a->data;
    struct cc_job *list, *next;
    bool last;

    pthread_mutex_lock(&p->lock);
    list = p->done;
    p->done = NULL;
    p->done_end = &p->done;
    last = p->closing && p->threads == 0;
    pthread_mutex_unlock(&p->lock);
    for (; list; list = next) {
        next = list->next;
        call_fini(&list->call);
        if (--p->under_way == 0 && !p->closing)
            uv_unref((uv_handle_t *)&p->async);
        list->done(list);
    }
    if (last && p->under_way == 0 && !uv_is_closing((uv_handle_t *)&p->async))
        uv_close((uv_handle_t *)&p->async, on_closed);
}

struct cc_pool *cc_pool_new(uv_loop_t *loop, const char *name, unsigned max_threads)
{
    struct cc_pool *p = cc_xcalloc(1, sizeof(*p));
    pthread_condattr_t attr;

    assert(max_threads >= 1 && max_threads <= 256);
    snprintf(p->name, sizeof(p->name), "%s", name);
    p->max = max_threads;
    p->queue_end = &p->queue;
    p->done_end = &p->done;
    pthread_mutex_init(&p->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&p->work_cond, &attr);
    pthread_condattr_destroy(&attr);
    if (uv_async_init(loop, &p->async, on_async) != 0)
        abort();
    p->async.data = p;
    uv_unref((uv_handle_t *)&p->async);
    enlist(p);
    return p;
}

/* With the lock held. In vain where processes are limited: the threads there are will come round to the job, if any are. */
static void add_thread(struct cc_pool *p)
{
    pthread_attr_t attr;
    pthread_t t;

    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    if (pthread_create(&t, &attr, worker, p) == 0) {
        pthread_setname_np(t, p->name);
        p->threads++;
    }
    pthread_attr_destroy(&attr);
}

/* With the lock held, and no thread: who queued the only job there is hears so in a later turn of the loop. */
static void give_back(struct cc_pool *p)
{
    struct cc_job *j = p->queue;

    assert(j && !j->next);
    p->queue = NULL;
    p->queue_end = &p->queue;
    p->queued = 0;
    p->finished++;
    j->unbegun = true;
    push(&p->done_end, j);
    uv_async_send(&p->async);
}

void cc_pool_submit(struct cc_pool *p, struct cc_job *job)
{
    const struct cc_context *context = cc_context_now();

    assert(job->work && job->done && !p->closing);
    if (context)
        job->context = *context;
    job->pool = p;
    job->call.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (p->under_way++ == 0)
        uv_ref((uv_handle_t *)&p->async);
    pthread_mutex_lock(&p->lock);
    push(&p->queue_end, job);
    p->queued++;
    if (p->queued > p->idle && p->threads < p->max)
        add_thread(p);
    if (p->threads == 0)
        give_back(p);
    pthread_cond_signal(&p->work_cond);
    pthread_mutex_unlock(&p->lock);
}

void cc_job_unbegun(const struct cc_job *job, int *rc, struct cc_err *err)
{
    if (job->unbegun)
        *rc = cc_err_set(err, CC_E_UNAVAILABLE, "no thread could be made for it: too many processes run here");
}

void cc_pool_cancel(struct cc_job *job)
{
    uint64_t one = 1;

    atomic_store(&job->call.cancelled, true);
    if (job->call.wake_fd >= 0 && write(job->call.wake_fd, &one, sizeof(one)) < 0)
        assert(errno == EAGAIN);
}

void cc_pool_close(struct cc_pool *p)
{
    struct cc_job *j;

    uv_ref((uv_handle_t *)&p->async);
    pthread_mutex_lock(&p->lock);
    p->closing = true;
    for (j = p->running; j; j = j->next)
        cc_pool_cancel(j);
    for (j = p->queue; j; j = p->queue) {
        p->queue = j->next;
        cc_pool_cancel(j);
        push(&p->done_end, j);
    }
    p->queue_end = &p->queue;
    p->queued = 0;
    pthread_cond_broadcast(&p->work_cond);
    pthread_mutex_unlock(&p->lock);
    uv_async_send(&p->async);
}

bool cc_call_over(const struct cc_call *c)
{
    return atomic_load(&c->cancelled) || (c->deadline_ms && cc_mono_ms() >= c->deadline_ms);
}

int cc_call_check(const struct cc_call *c, struct cc_err *err)
{
    if (atomic_load(&c->cancelled))
        return cc_err_set(err, CC_E_CANCELLED, "the caller gave up");
    return cc_call_over(c) ? cc_err_set(err, CC_E_TIMEOUT, "no time is left") : 0;
}

int cc_call_left_ms(const struct cc_call *c)
{
    uint64_t now;

    if (cc_call_over(c))
        return 0;
    if (!c->deadline_ms)
        return -1;
    now = cc_mono_ms();
    if (now >= c->deadline_ms)
        return 0;
    return c->deadline_ms - now > 1000000000 ? 1000000000 : (int)(c->deadline_ms - now);
}

void cc_pool_stats(struct cc_pool *p, struct cc_pool_stats *out)
{
    pthread_mutex_lock(&p->lock);
    *out = (struct cc_pool_stats){ p->threads, p->busy, p->queued, p->finished, p->cancelled, p->timed_out };
    pthread_mutex_unlock(&p->lock);
}

void cc_pool_stats_of(const char *name, struct cc_pool_stats *out)
{
    struct cc_pool_stats sum = { 0 }, one;
    struct cc_pool *p;

    pthread_mutex_lock(&pools_lock);
    for (p = pools; p; p = p->next) {
        if (strcmp(p->name, name) != 0)
            continue;
        cc_pool_stats(p, &one);
        sum.threads += one.threads;
        sum.busy += one.busy;
        sum.queued += one.queued;
        sum.finished += one.finished;
        sum.cancelled += one.cancelled;
        sum.timed_out += one.timed_out;
    }
    pthread_mutex_unlock(&pools_lock);
    *out = sum;
}
