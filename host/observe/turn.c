/* turn.c - see turn.h. */
#include "host/observe/turn.h"

#include "host/observe/log.h"
#include "host/observe/metrics.h"
#include "host/sys/clock.h"

#include <lauxlib.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define STALL_NS 100000000u
#define LOOK_NS 20000000u

static struct {
    struct cc_series *turns, *stalls; /* NULL: nobody wants to know */
    _Atomic uint64_t began_ns;        /* of the turn under way; 0: the loop waits */
    lua_State *L;
    pthread_t loop, watcher;
    pthread_mutex_t lock;
    pthread_cond_t ends;
    bool stop;
    volatile sig_atomic_t hooked; /* the hook is set, and has not been found yet */
    char where[4000];             /* of the stall under way; "" : not found */
} turn = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* ---------------------------------------------------------------- the culprit */

static void on_hook(lua_State *L, lua_Debug *ar)
{
    (void)ar;
    lua_sethook(L, NULL, 0, 0);
    turn.hooked = 0;
    luaL_traceback(L, L, NULL, 0);
    snprintf(turn.where, sizeof(turn.where), "%s", lua_tostring(L, -1));
    lua_pop(L, 1);
}

/* On the loop's thread. lua_sethook may be called in a handler; the hook does the rest where Lua can be asked. */
static void on_stall(int num)
{
    (void)num;
    turn.hooked = 1;
    lua_sethook(turn.L, on_hook, LUA_MASKCOUNT, 1);
}

static int signal_number(void) { return SIGRTMIN + 4; }

static void *watch(void *arg)
{
    uint64_t told = 0, began;
    struct timespec until;
    sigset_t all;

    (void)arg;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    pthread_mutex_lock(&turn.lock);
    while (!turn.stop) {
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += LOOK_NS;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&turn.ends, &turn.lock, &until);
        began = atomic_load(&turn.began_ns);
        if (turn.stop || !began || began == told || cc_mono_ns() - began < STALL_NS)
            continue;
        told = began; /* once a turn */
        pthread_kill(turn.loop, signal_number());
    }
    pthread_mutex_unlock(&turn.lock);
    return NULL;
}

static void tell(uint64_t ns)
{
    char ms[24];
    struct cc_log_field f[2] = { { "ms", ms, 0, true }, { "traceback", turn.where, strlen(turn.where), false } };

    if (turn.hooked) /* nobody has found it; it must not hit whoever comes next */
        lua_sethook(turn.L, NULL, 0, 0);
    turn.hooked = 0;
    f[0].len = (size_t)snprintf(ms, sizeof(ms), "%llu", (unsigned long long)(ns / 1000000));
    cc_metric_add(turn.stalls, 1);
    cc_log_fields(CC_LOG_WARN, "loop", "the loop stood still", f, turn.where[0] ? 2 : 1);
    turn.where[0] = 0;
}

/* ---------------------------------------------------------------- turns */

void cc_turn_begin(void)
{
    if (turn.turns)
        atomic_store_explicit(&turn.began_ns, cc_mono_ns(), memory_order_relaxed);
}

void cc_turn_end(void)
{
    uint64_t began = atomic_load_explicit(&turn.began_ns, memory_order_relaxed), ns;

    if (!began)
        return;
    ns = cc_mono_ns() - began;
    atomic_store_explicit(&turn.began_ns, 0, memory_order_relaxed);
    cc_metric_observe(turn.turns, (double)ns / 1e9);
    if (ns > STALL_NS)
        tell(ns);
}

static void begin_figures(void)
{
    static const double bounds[] = { .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5 };
    const struct cc_metric_def turns = { .kind = CC_HISTOGRAM,
                                         .name = "cchost_loop_turn_seconds",
                                         .unit = "seconds",
                                         .help =
                                             "How long the loop worked between two waits: so late came what fell due.",
                                         .buckets = bounds,
                                         .n_buckets = sizeof(bounds) / sizeof(*bounds) };
    const struct cc_metric_def stalls = { .kind = CC_COUNTER,
                                          .name = "cchost_loop_stalls",
                                          .help = "Turns of the loop of more than 100 ms." };

    turn.stalls = cc_metric_series(cc_metric_family(&stalls), NULL);
    turn.turns = cc_metric_series(cc_metric_family(&turns), NULL);
}

void cc_turn_watch(lua_State *L)
{
    struct sigaction a = { .sa_handler = on_stall, .sa_flags = SA_RESTART };

    if (turn.turns)
        return;
    turn.L = L;
    turn.loop = pthread_self();
    turn.stop = false;
    sigaction(signal_number(), &a, NULL);
    if (pthread_create(&turn.watcher, NULL, watch, NULL) != 0) {
        cc_log(CC_LOG_WARN, "loop", "stalls are not watched for: there is no thread");
        return;
    }
    pthread_setname_np(turn.watcher, "loop-watch");
    begin_figures();
}

void cc_turn_unwatch(void)
{
    if (!turn.turns)
        return;
    turn.turns = NULL;
    atomic_store(&turn.began_ns, 0);
    pthread_mutex_lock(&turn.lock);
    turn.stop = true;
    pthread_cond_signal(&turn.ends);
    pthread_mutex_unlock(&turn.lock);
    pthread_join(turn.watcher, NULL);
    signal(signal_number(), SIG_IGN);
    lua_sethook(turn.L, NULL, 0, 0);
}
