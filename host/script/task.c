/* task.c - see task.h.
 *
 * States: QUEUED (in the run queue), RUNNING (inside lua_resume), PARKED
 * (an operation owns its wake-up).  The queue is drained in the loop's check
 * phase (right after I/O) and prepare phase (right before it waits again);
 * a long queue is cut after SLICE resumptions so that I/O gets its turn, and
 * an idle handle then keeps the loop from sleeping on the rest.
 * HELD: a duty that was woken from an idle wait while duties are held.
 */
#include "host/script/task.h"

#include "host/observe/log.h"
#include "host/observe/turn.h"
#include "host/script/vm.h"
#include "host/sys/err.h"
#include "host/sys/mem.h"

#include <assert.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

enum { SLICE = 256, SPARE_MAX = 256 };
enum state { QUEUED, RUNNING, PARKED, HELD };

struct cc_task {
    lua_State *co;
    int ref; /* anchors co in the registry */
    enum state state;
    bool cancelled; /* the next wait ends at once */
    bool duty, idle;
    char *why;
    int nargs; /* values on co for the next resume */
    cc_cancel_fn cancel;
    void *op;
    cc_task_end_fn end;
    void *end_arg;
    struct cc_context context;
    struct cc_task *next; /* run queue, or spare list */
    struct cc_task *all_prev, *all_next;
};

struct sched {
    lua_State *L;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_idle_t idle;
    struct cc_task *queue, **queue_end;
    struct cc_task *all;
    struct cc_task *spare; /* finished cleanly: coroutine ready for another function */
    struct cc_task *current;
    unsigned count, spares;
    unsigned handles; /* while closing */
    bool draining, holding;
};

static const char sched_key = 's';
static struct sched *the_sched; /* one VM of tasks a process: saves a registry look-up per call */

static struct sched *sched_of(lua_State *L)
{
    (void)L;
    assert(the_sched);
    return the_sched;
}

static void enqueue(struct sched *s, struct cc_task *t)
{
    t->state = QUEUED;
    t->next = NULL;
    *s->queue_end = t;
    s->queue_end = &t->next;
}

static struct cc_task *dequeue(struct sched *s)
{
    struct cc_task *t = s->queue;

    if (t && !(s->queue = t->next))
        s->queue_end = &s->queue;
    return t;
}

static struct cc_task *task_get(struct sched *s)
{
    struct cc_task *t = s->spare;

    if (t) {
        s->spare = t->next;
        s->spares--;
    } else {
        t = cc_xcalloc(1, sizeof(*t));
        t->co = lua_newthread(s->L);
        t->ref = luaL_ref(s->L, LUA_REGISTRYINDEX);
    }
    t->all_prev = NULL;
    t->all_next = s->all;
    if (s->all)
        s->all->all_prev = t;
    s->all = t;
    s->count++;
    return t;
}

static void task_free(struct sched *s, struct cc_task *t)
{
    luaL_unref(s->L, LUA_REGISTRYINDEX, t->ref);
    free(t);
}

/* A coroutine that ended by an error is dropped: its stack is not to be trusted. */
static void task_put(struct sched *s, struct cc_task *t, bool clean)
{
    if (t->all_prev)
        t->all_prev->all_next = t->all_next;
    else
        s->all = t->all_next;
    if (t->all_next)
        t->all_next->all_prev = t->all_prev;
    s->count--;
    free(t->why);
    t->why = NULL;
    t->cancelled = t->duty = t->idle = false;
    if (!clean || s->spares >= SPARE_MAX) {
        task_free(s, t);
        return;
    }
    lua_settop(t->co, 0);
    t->next = s->spare;
    s->spare = t;
    s->spares++;
}

static void finish(struct sched *s, struct cc_task *t, int status)
{
    const char *text;

    if (status == 0) {
        if (t->end)
            t->end(t->end_arg, true, t->co, lua_gettop(t->co), NULL);
        task_put(s, t, true);
        return;
    }
    if (!lua_isstring(t->co, -1) && luaL_callmeta(t->co, -1, "__tostring"))
        lua_remove(t->co, -2);
    text = lua_tostring(t->co, -1);
    luaL_traceback(s->L, t->co, text ? text : "(error object is not a string)", 0);
    text = lua_tostring(s->L, -1);
    if (t->end)
        t->end(t->end_arg, false, t->co, 0, text);
    else
        cc_log_raised("task", "a task raised", text);
    lua_pop(s->L, 1);
    task_put(s, t, false);
}

static void resume(struct sched *s, struct cc_task *t)
{
    int status, n = t->nargs;

    t->state = RUNNING;
    t->nargs = 0;
    s->current = t;
    cc_context_enter(&t->context);
    status = lua_resume(t->co, n);
    s->current = NULL;
    if (status != LUA_YIELD) {
        finish(s, t, status);
        cc_context_enter(NULL);
        return;
    }
    cc_context_enter(NULL);
    if (t->state == RUNNING) { /* a bare coroutine.yield: nobody would ever wake it */
        lua_settop(t->co, 0);
        lua_pushliteral(t->co, "coroutine.yield outside a coroutine of one's own");
        finish(s, t, LUA_ERRRUN);
        return;
    }
    if (t->state == PARKED && t->cancelled)
        cc_task_cancel(t, NULL);
}

static void on_idle(uv_idle_t *h) { (void)h; }

static void drain(struct sched *s)
{
    struct cc_task *t;
    int left = SLICE;

    if (s->draining)
        return;
    s->draining = true;
    while (left-- > 0 && (t = dequeue(s)))
        resume(s, t);
    s->draining = false;
    if (s->queue && !uv_is_active((uv_handle_t *)&s->idle))
        uv_idle_start(&s->idle, on_idle);
    else if (!s->queue)
        uv_idle_stop(&s->idle);
}

/* From outside of drain the loop may be about to sleep. */
static void enqueue_awake(struct sched *s, struct cc_task *t)
{
    t->idle = false;
    enqueue(s, t);
    if (!s->draining && !uv_is_active((uv_handle_t *)&s->idle))
        uv_idle_start(&s->idle, on_idle);
}

static void on_prepare(uv_prepare_t *h)
{
    drain(h->data);
    cc_turn_end();
}

static void on_check(uv_check_t *h)
{
    cc_turn_begin();
    drain(h->data);
}

int cc_sched_init(lua_State *L, uv_loop_t *loop)
{
    struct sched *s = cc_xcalloc(1, sizeof(*s));

    assert(!the_sched);
    s->L = L;
    s->queue_end = &s->queue;
    s->prepare.data = s->check.data = s->idle.data = s;
    uv_prepare_init(loop, &s->prepare);
    uv_check_init(loop, &s->check);
    uv_idle_init(loop, &s->idle);
    uv_prepare_start(&s->prepare, on_prepare);
    uv_check_start(&s->check, on_check);
    uv_unref((uv_handle_t *)&s->prepare);
    uv_unref((uv_handle_t *)&s->check);
    cc_vm_set(L, &sched_key, s);
    the_sched = s;
    return 0;
}

/* libuv finishes closes in the reverse of their order, so the last is known by counting only. */
static void on_closed(uv_handle_t *h)
{
    struct sched *s = h->data;

    if (--s->handles == 0)
        free(s);
}

/* Cancel may make a task start another wait, so go round; a task that never ends is dropped after
 * some rounds, which the count tells. */
void cc_sched_close(lua_State *L)
{
    struct sched *s = sched_of(L);
    struct cc_task *t, *next;
    struct cc_log_field at;
    int rounds;

    cc_sched_hold(L, false);
    for (rounds = 0; s->all && rounds < 100; rounds++) {
        for (t = s->all; t; t = next) {
            next = t->all_next;
            cc_task_cancel(t, "the program ends");
        }
        drain(s);
    }
    while ((t = s->spare)) {
        s->spare = t->next;
        task_free(s, t);
    }
    while ((t = s->all)) {
        s->queue = NULL; /* what is queued is in s->all, and nothing of it runs any more */
        s->queue_end = &s->queue;
        luaL_traceback(s->L, t->co, NULL, 0);
        at = (struct cc_log_field){ "traceback", lua_tostring(s->L, -1), strlen(lua_tostring(s->L, -1)), false };
        cc_log_fields(CC_LOG_WARN, "task", "a task would not end and is dropped", &at, 1);
        lua_pop(s->L, 1);
        if (t->state == PARKED && t->cancel)
            t->cancel(t->op); /* what it waits for must not find it later */
        if (t->end)
            t->end(t->end_arg, false, t->co, 0, "dropped: it would not end");
        task_put(s, t, false);
    }
    the_sched = NULL;
    s->handles = 3;
    uv_close((uv_handle_t *)&s->prepare, on_closed);
    uv_close((uv_handle_t *)&s->idle, on_closed);
    uv_close((uv_handle_t *)&s->check, on_closed);
}

unsigned cc_sched_count(lua_State *L) { return sched_of(L)->count; }

struct cc_task *cc_task_spawn(lua_State *L, int nargs, cc_task_end_fn end, void *arg)
{
    struct sched *s = sched_of(L);
    struct cc_task *t = task_get(s);
    const struct cc_context *context = cc_context_now();

    if (context)
        t->context = *context;
    else
        memset(&t->context, 0, sizeof(t->context));
    lua_xmove(L, t->co, nargs + 1);
    t->nargs = nargs;
    t->end = end;
    t->end_arg = arg;
    t->duty = s->current && s->current->duty;
    enqueue_awake(s, t);
    return t;
}

struct cc_task *cc_task_self(lua_State *L)
{
    struct sched *s = the_sched;

    return s && s->current && s->current->co == L ? s->current : NULL;
}

lua_State *cc_task_stack(struct cc_task *t) { return t->co; }
struct cc_context *cc_task_context(struct cc_task *t) { return &t->context; }

void cc_task_park(struct cc_task *t, cc_cancel_fn cancel, void *op)
{
    assert(t->state == RUNNING);
    t->state = PARKED;
    t->cancel = cancel;
    t->op = op;
}

void cc_task_park_idle(struct cc_task *t, cc_cancel_fn cancel, void *op)
{
    cc_task_park(t, cancel, op);
    t->idle = true;
}

void cc_task_set_duty(struct cc_task *t, bool duty) { t->duty = duty; }

void cc_sched_hold(lua_State *L, bool hold)
{
    struct sched *s = sched_of(L);
    struct cc_task *t;

    s->holding = hold;
    for (t = s->all; t && !hold; t = t->all_next)
        if (t->state == HELD)
            enqueue_awake(s, t);
}

unsigned cc_sched_duties_at_work(lua_State *L, struct cc_task **one)
{
    struct cc_task *t;
    unsigned n = 0;

    *one = NULL;
    for (t = sched_of(L)->all; t; t = t->all_next)
        if (t->duty && t->state != HELD && !(t->state == PARKED && t->idle)) {
            *one = t;
            n++;
        }
    return n;
}

void cc_task_wake(struct cc_task *t, int nresults)
{
    struct sched *s = the_sched;

    assert(t->state == PARKED);
    t->cancel = NULL;
    t->op = NULL;
    t->nargs = nresults;
    if (s->holding && t->duty && t->idle)
        t->state = HELD;
    else
        enqueue_awake(s, t);
}

void cc_task_cancel(struct cc_task *t, const char *why)
{
    struct cc_err err;
    cc_cancel_fn cancel = t->cancel;
    void *op = t->op;

    if (why && !t->why)
        t->why = cc_xstrdup(why);
    t->cancelled = true;
    if (t->state == HELD) /* its wait is over: it comes out of that, and its next one ends at once */
        enqueue_awake(the_sched, t);
    if (t->state != PARKED)
        return;
    t->cancelled = t->idle = false;
    if (cancel)
        cancel(op);
    cc_err_set(&err, CC_E_CANCELLED, "cancelled: %s", t->why ? t->why : "no reason given");
    cc_task_wake(t, cc_push_err(t->co, &err));
}

struct cc_task *cc_task_need(lua_State *L, const char *name)
{
    struct cc_task *t = cc_task_self(L);

    if (!t)
        luaL_error(L, "%s: not in a task", name);
    return t;
}
