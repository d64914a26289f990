/* clock.c - real time from the kernel, or virtual time from whoever advances it.
 *
 * Real timers are uv_timers; virtual ones a list sorted by time.  A thread
 * may ask the time while the loop advances it, hence the atomics.
 */
#include "host/sys/clock.h"

#include "host/sys/mem.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

struct cc_timer {
    uv_timer_t uv;
    struct cc_timer *next; /* virtual: sorted by due, then by age */
    uint64_t due;
    cc_timer_fn fn;
    void *arg;
};

static atomic_bool is_virtual;
static _Atomic int64_t virtual_wall;
static _Atomic uint64_t virtual_mono;
static struct cc_timer *due_list;

static uint64_t read_ns(clockid_t id)
{
    struct timespec ts;

    clock_gettime(id, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t cc_mono_ns(void) { return read_ns(CLOCK_MONOTONIC); }

int64_t cc_wall_ms(void)
{
    return atomic_load(&is_virtual) ? atomic_load(&virtual_wall) : (int64_t)(read_ns(CLOCK_REALTIME) / 1000000);
}

int64_t cc_wall_ns(void)
{
    return atomic_load(&is_virtual) ? atomic_load(&virtual_wall) * 1000000 : (int64_t)read_ns(CLOCK_REALTIME);
}

uint64_t cc_mono_ms(void)
{
    return atomic_load(&is_virtual) ? atomic_load(&virtual_mono) : read_ns(CLOCK_MONOTONIC) / 1000000;
}

static void on_uv_closed(uv_handle_t *h) { free(h->data); }

static void on_uv_timer(uv_timer_t *h)
{
    struct cc_timer *t = h->data;

    t->fn(t->arg);
    uv_close((uv_handle_t *)h, on_uv_closed);
}

static void insert(struct cc_timer *t)
{
    struct cc_timer **at = &due_list;

    while (*at && (*at)->due <= t->due)
        at = &(*at)->next;
    t->next = *at;
    *at = t;
}

struct cc_timer *cc_timer_start(uv_loop_t *loop, uint64_t ms, cc_timer_fn fn, void *arg)
{
    struct cc_timer *t = cc_xcalloc(1, sizeof(*t));

    t->fn = fn;
    t->arg = arg;
    if (atomic_load(&is_virtual)) {
        t->due = cc_mono_ms() + ms;
        insert(t);
        return t;
    }
    uv_timer_init(loop, &t->uv);
    t->uv.data = t;
    uv_update_time(loop); /* the loop's cached time may be old; a timer must not fire early */
    uv_timer_start(&t->uv, on_uv_timer, ms, 0);
    return t;
}

void cc_timer_stop(struct cc_timer *t)
{
    struct cc_timer **at = &due_list;

    if (!t)
        return;
    if (!atomic_load(&is_virtual)) {
        uv_close((uv_handle_t *)&t->uv, on_uv_closed);
        return;
    }
    while (*at && *at != t)
        at = &(*at)->next;
    assert(*at == t);
    *at = t->next;
    free(t);
}

void cc_clock_virtual(int64_t wall_ms)
{
    atomic_store(&virtual_wall, wall_ms);
    atomic_store(&virtual_mono, 1);
    atomic_store(&is_virtual, true);
}

bool cc_clock_is_virtual(void) { return atomic_load(&is_virtual); }

int64_t cc_clock_next(void) { return due_list ? (int64_t)(due_list->due - cc_mono_ms()) : -1; }

static void move_to(uint64_t mono)
{
    atomic_fetch_add(&virtual_wall, (int64_t)(mono - atomic_load(&virtual_mono)));
    atomic_store(&virtual_mono, mono);
}

void cc_clock_advance(uint64_t ms)
{
    uint64_t end = cc_mono_ms() + ms;
    struct cc_timer *t;

    assert(atomic_load(&is_virtual));
    while ((t = due_list) && t->due <= end) {
        due_list = t->next;
        move_to(t->due);
        t->fn(t->arg);
        free(t);
    }
    move_to(end);
}
