/* The worker pool: every job is delivered once, cancelled or not; threads are bounded. */
#include "host/sys/pool.h"

#include "host/sys/clock.h"
#include "host/sys/err.h"
#include "host/sys/mem.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

struct test_job {
    struct cc_job job;
    bool worked, done;
    int left;
};

static int delivered;

static void quick(struct cc_job *job) { ((struct test_job *)job)->worked = true; }

/* Blocks until its call is over, as a driver that hangs would. */
static void stuck(struct cc_job *job)
{
    struct test_job *t = (struct test_job *)job;
    struct pollfd p = { job->call.wake_fd, POLLIN, 0 };

    t->worked = true;
    while (!cc_call_over(&job->call))
        poll(&p, 1, cc_call_left_ms(&job->call));
}

static void on_done(struct cc_job *job)
{
    assert_false(((struct test_job *)job)->done);
    ((struct test_job *)job)->done = true;
    delivered++;
}

static void close_dry(uv_loop_t *loop, struct cc_pool *p)
{
    cc_pool_close(p);
    uv_run(loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(loop), 0);
}

static void submit(struct cc_pool *p, struct test_job *t, void (*work)(struct cc_job *))
{
    t->job.work = work;
    t->job.done = on_done;
    cc_pool_submit(p, &t->job);
}

static void test_every_job_is_delivered(void **state)
{
    uv_loop_t loop;
    struct cc_pool *p;
    struct cc_pool_stats st;
    struct test_job *jobs = cc_xcalloc(1000, sizeof(*jobs));
    int i;

    (void)state;
    delivered = 0;
    uv_loop_init(&loop);
    p = cc_pool_new(&loop, "test", 4);
    for (i = 0; i < 1000; i++)
        submit(p, &jobs[i], quick);
    uv_run(&loop, UV_RUN_DEFAULT); /* ends: an idle pool keeps no loop alive */
    assert_int_equal(delivered, 1000);
    cc_pool_stats(p, &st);
    assert_in_range(st.threads, 1, 4);
    assert_int_equal(st.finished, 1000);
    close_dry(&loop, p);
    for (i = 0; i < 1000; i++)
        assert_true(jobs[i].worked);
    free(jobs);
}

static void test_cancel_wakes_a_stuck_job_and_skips_a_queued_one(void **state)
{
    uv_loop_t loop;
    struct cc_pool *p;
    struct test_job a = { 0 }, b = { 0 };

    (void)state;
    delivered = 0;
    uv_loop_init(&loop);
    p = cc_pool_new(&loop, "test", 1);
    submit(p, &a, stuck);
    submit(p, &b, quick);
    cc_pool_cancel(&b.job);
    cc_pool_cancel(&a.job);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(delivered, 2);
    assert_false(b.worked);
    close_dry(&loop, p);
}

static void test_deadline_is_seen_by_the_job(void **state)
{
    uv_loop_t loop;
    struct cc_pool *p;
    struct test_job a = { 0 };

    (void)state;
    uv_loop_init(&loop);
    p = cc_pool_new(&loop, "test", 1);
    a.job.call.deadline_ms = cc_mono_ms() + 10;
    submit(p, &a, stuck);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_true(a.done);
    assert_true(cc_mono_ms() >= a.job.call.deadline_ms);
    close_dry(&loop, p);
}

static void test_all_of_a_name_are_told_together(void **state)
{
    uv_loop_t loop;
    struct cc_pool *p[3];
    struct cc_pool_stats st;
    struct test_job late = { 0 }, given_up = { 0 }, other = { 0 };

    (void)state;
    uv_loop_init(&loop);
    p[0] = cc_pool_new(&loop, "one", 1);
    p[1] = cc_pool_new(&loop, "one", 1);
    p[2] = cc_pool_new(&loop, "two", 1);
    late.job.call.deadline_ms = cc_mono_ms() + 10;
    submit(p[0], &late, stuck);
    submit(p[1], &given_up, stuck);
    submit(p[1], &other, quick);
    cc_pool_stats_of("one", &st);
    assert_int_equal(st.threads, 2);
    assert_int_equal(st.busy + st.queued, 3);
    cc_pool_cancel(&given_up.job);
    uv_run(&loop, UV_RUN_DEFAULT);
    cc_pool_stats_of("one", &st);
    assert_int_equal(st.busy + st.queued, 0);
    assert_int_equal(st.finished, 3);
    assert_int_equal(st.timed_out, 1);
    assert_int_equal(st.cancelled, 1);
    cc_pool_stats_of("two", &st);
    assert_int_equal(st.threads, 0);
    cc_pool_close(p[0]);
    cc_pool_close(p[1]);
    close_dry(&loop, p[2]);
    cc_pool_stats_of("one", &st);
    assert_int_equal(st.finished, 0);
}

static void test_close_cancels_and_delivers(void **state)
{
    uv_loop_t loop;
    struct cc_pool *p;
    struct test_job jobs[6] = { 0 };
    int i;

    (void)state;
    delivered = 0;
    uv_loop_init(&loop);
    p = cc_pool_new(&loop, "test", 2);
    for (i = 0; i < 6; i++)
        submit(p, &jobs[i], stuck);
    close_dry(&loop, p);
    assert_int_equal(delivered, 6);
}

/* As one whom a limit on processes holds. True: no thread can be made here any more. */
static bool alone(void)
{
    const struct rlimit none = { 0, 0 };

    return (geteuid() != 0 || setresuid(54321, 54321, 54321) == 0) && setrlimit(RLIMIT_NPROC, &none) == 0;
}

static void on_refused(struct cc_job *job)
{
    struct test_job *t = (struct test_job *)job;
    struct cc_err err = { .code = 0 };
    int rc = 0;

    cc_job_unbegun(job, &rc, &err);
    t->done = rc == CC_E_UNAVAILABLE && err.code == rc && *err.message;
    delivered++;
}

/* In a process of its own: 0 when all is as it should be. */
static int without_threads(void)
{
    uv_loop_t loop;
    struct cc_pool *p;
    struct cc_pool_stats st;
    struct test_job jobs[3] = { 0 };
    int i;

    delivered = 0;
    uv_loop_init(&loop);
    p = cc_pool_new(&loop, "test", 4);
    for (i = 0; i < 3; i++) {
        jobs[i].job.work = quick;
        jobs[i].job.done = on_refused;
        cc_pool_submit(p, &jobs[i].job);
        if (delivered != 0)
            return 1; /* it is told later, never from inside */
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    cc_pool_stats(p, &st);
    if (delivered != 3 || st.threads + st.busy + st.queued != 0 || st.finished != 3)
        return 2;
    for (i = 0; i < 3; i++)
        if (jobs[i].worked || !jobs[i].done)
            return 3;
    cc_pool_close(p);
    uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop) == 0 ? 0 : 4;
}

/* Bug: the program aborted. */
static void test_a_job_for_which_no_thread_can_be_made_is_refused(void **state)
{
    int status;
    pid_t pid = fork();

    (void)state;
    if (pid == 0)
        _exit(alone() ? without_threads() : 77);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        skip(); /* a root that cannot become another */
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_job_is_delivered),
        cmocka_unit_test(test_cancel_wakes_a_stuck_job_and_skips_a_queued_one),
        cmocka_unit_test(test_deadline_is_seen_by_the_job),
        cmocka_unit_test(test_all_of_a_name_are_told_together),
        cmocka_unit_test(test_close_cancels_and_delivers),
        cmocka_unit_test(test_a_job_for_which_no_thread_can_be_made_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
