/* clock.h - the only source of time.
 *
 * Rule 7: time comes from the host, so that a virtual clock can stand in.
 * Code asks cc_wall_ms() and cc_mono_ms() and waits with cc_timer, never with
 * the C library or uv_timer directly.  In virtual mode time stands still
 * until cc_clock_advance() moves it, firing timers in order of their time.
 */
#ifndef CC_CLOCK_H
#define CC_CLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

int64_t cc_wall_ms(void);  /* unix time in ms [any thread] */
int64_t cc_wall_ns(void);  /* the same in ns [any thread] */
uint64_t cc_mono_ms(void); /* ms that never jump back [any thread] */
uint64_t cc_mono_ns(void); /* the real one, for measuring only [any thread] */

struct cc_timer;
typedef void (*cc_timer_fn)(void *arg);

/* One shot, after `ms`. The timer frees itself after its callback, or at cc_timer_stop. [loop] */
struct cc_timer *cc_timer_start(uv_loop_t *loop, uint64_t ms, cc_timer_fn fn, void *arg);
void cc_timer_stop(struct cc_timer *t); /* NULL is fine; not from another thread; not after it fired */

/* From now on time is virtual and starts at `wall_ms`. Call before any timer. [loop] */
void cc_clock_virtual(int64_t wall_ms);
bool cc_clock_is_virtual(void);
/* Moves virtual time on by `ms`, firing what falls due on the way. [loop] */
void cc_clock_advance(uint64_t ms);
/* ms until the next virtual timer, or -1. */
int64_t cc_clock_next(void);

#endif
