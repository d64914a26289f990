/* pool.h - threads for code that blocks.
 *
 * Blocking work is plain C on a pool of its own: one per provider, one
 * general.  Threads are made when jobs wait and none is free, up to the
 * pool's bound, and end after a while of idleness.  Where none is left and
 * none can be made (a limit on processes), the job is done without its work.
 * A job is a struct of plain data that the pool owns from submit until `done`
 * has returned, whether or not anybody still wants its answer; `work` must
 * not touch Lua, the loop or the store.
 */
#ifndef CC_POOL_H
#define CC_POOL_H

#include "host/sys/context.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct cc_err;
struct cc_pool;

/* What a blocking call may look at to know when to stop: its deadline, and
 * whether the caller gave up.  `wake_fd` (an eventfd, readable once cancelled)
 * lets a poll(2) end at once. */
struct cc_call {
    uint64_t deadline_ms; /* on cc_mono_ms()'s clock; 0: none */
    atomic_bool cancelled;
    int wake_fd; /* -1 where there is none */
};

struct cc_job {
    void (*work)(struct cc_job *job); /* [worker] */
    void (*done)(struct cc_job *job); /* [loop] always called once; frees the job */
    struct cc_call call;
    struct cc_job *next;       /* the pool's */
    struct cc_pool *pool;      /* the pool's */
    bool unbegun;              /* the pool's: there was no thread for it */
    struct cc_context context; /* for whom: of who submitted it; the pool's */
};

/* max_threads 1..256. The pool keeps no loop alive while nothing is queued or running. [loop] */
struct cc_pool *cc_pool_new(uv_loop_t *loop, const char *name, unsigned max_threads);

/* Queues `job` (zeroed before use, embedded in the caller's struct). [loop] */
void cc_pool_submit(struct cc_pool *p, struct cc_job *job);

/* For `done`: where no thread could be had for the job, so that `work` has not run, *rc becomes CC_E_UNAVAILABLE, which `err`
 * says; else both stay as they are. [loop] */
void cc_job_unbegun(const struct cc_job *job, int *rc, struct cc_err *err);

/* Marks the job's call cancelled. `done` still runs, when `work` returns; a job that has not
 * started skips `work`.  [loop] */
void cc_pool_cancel(struct cc_job *job);

/* Cancels what is queued, waits for what runs (it sees cancelled), delivers every `done`,
 * then frees the pool in a later turn of the loop. [loop] */
void cc_pool_close(struct cc_pool *p);

/* For `work`: true once cancelled or past the deadline. [any thread] */
bool cc_call_over(const struct cc_call *c);

/* For `work`: 0 while it may go on, else CC_E_CANCELLED or CC_E_TIMEOUT, which `err` (may be NULL) says, too. [any thread] */
int cc_call_check(const struct cc_call *c, struct cc_err *err);

/* For `work`: milliseconds left, for poll(2): -1 without a deadline, 0 when over. [any thread] */
int cc_call_left_ms(const struct cc_call *c);

struct cc_pool_stats {
    unsigned threads, busy, queued;
    uint64_t finished, cancelled, timed_out; /* all that ended; of those: given up, and past their deadline */
};
void cc_pool_stats(struct cc_pool *p, struct cc_pool_stats *out);

/* The stats of all pools of the process that have that name, added up: zeros without any. [any thread] */
void cc_pool_stats_of(const char *name, struct cc_pool_stats *out);

#endif
