/* task.h - a Lua coroutine that the event loop drives.
 *
 * A task is the only thing in the host that waits.  A binding parks the
 * current task, starts its I/O and returns lua_yield(); the completion
 * callback pushes the results on the task's stack and wakes it.  Wake-ups
 * are queued and run from the loop (its check and prepare phases), never
 * from inside another Lua call.  Finished coroutines are kept and used again.
 *
 * Ownership: the scheduler owns the task and anchors its coroutine in the
 * registry until it ends.  A parked operation owns its own memory and
 * borrows the task until exactly one of wake or cancel has run.
 * Thread: loop thread only.
 */
#ifndef CC_TASK_H
#define CC_TASK_H

#include "host/sys/context.h"

#include <lua.h>
#include <stdbool.h>
#include <uv.h>

struct cc_task;
typedef void (*cc_cancel_fn)(void *op);

/* How a task ended. `ok`: its results are the top `n` values of `co`; else `error` is the
 * message with its traceback. Must not raise; must not resume Lua. */
typedef void (*cc_task_end_fn)(void *arg, bool ok, lua_State *co, int n, const char *error);

int cc_sched_init(lua_State *L, uv_loop_t *loop); /* 0 or a negative UV_E* */
void cc_sched_close(lua_State *L);                /* cancels all, closes its handles */
unsigned cc_sched_count(lua_State *L);            /* tasks alive */

/* Pops a function and nargs arguments off L; it first runs from the loop. `end` may be NULL: an
 * error is then logged. */
struct cc_task *cc_task_spawn(lua_State *L, int nargs, cc_task_end_fn end, void *arg);
struct cc_task *cc_task_self(lua_State *L); /* NULL outside a task */
lua_State *cc_task_stack(struct cc_task *t);
struct cc_context *cc_task_context(struct cc_task *t); /* for whom it runs; a task that it spawns begins with a copy */

/* The current task waits from here to cc_task_wake. `cancel(op)` must stop the operation so that
 * it never wakes the task; it runs at most once, and never after a wake. */
void cc_task_park(struct cc_task *t, cc_cancel_fn cancel, void *op);
/* The same for a wait that no work is under way in: a sleep, a signal, news that may come or not. A held duty stays in it. */
void cc_task_park_idle(struct cc_task *t, cc_cancel_fn cancel, void *op);
void cc_task_wake(struct cc_task *t, int nresults); /* queues; never resumes here */
/* The wait under way (or the next one) returns nil, err with code "cancelled". */
void cc_task_cancel(struct cc_task *t, const char *why);

/* A duty is what goes on by itself, and every task that it spawns. While duties are held, none of them comes out of an
 * idle wait: each does what it is at and then rests. Let go, they go on where they were; a cancelled one comes out. */
void cc_task_set_duty(struct cc_task *t, bool duty);
void cc_sched_hold(lua_State *L, bool hold);
/* How many duties do not rest; one of them, NULL for none. */
unsigned cc_sched_duties_at_work(lua_State *L, struct cc_task **one);

/* [raises] "NAME: not in a task" unless L is the running task. */
struct cc_task *cc_task_need(lua_State *L, const char *name);

/* Pushes nil and err = {code, message, retryable, ...} (metatable "cchost.err"); returns 2. */
struct cc_err;
int cc_push_err(lua_State *L, const struct cc_err *err);

#endif
