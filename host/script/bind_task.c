/* bind_task.c - module "task", and the error values of all modules.
 *
 *   t = task.spawn(fn, ...)         runs fn in a task of its own
 *   ... | nil, err = t:join()       [yields] fn's results; err.code "error" with the traceback if it raised
 *   t = task.duty(fn, ...)          the same for what goes on by itself; what it spawns is a duty, too
 *   t = task.work(fn, ...)          the same for what has an end, whoever spawns it: no duty
 *   task.hold()  task.release()     while held, no duty comes out of a sleep, of a wait for a signal, for the store's log or for
 *                                   a provider's news
 *   n, at = task.duties()           duties that are at something else than such a wait; one's traceback
 *   t:cancel(why)                   its wait returns nil, err with code "cancelled"
 *   t:done() -> boolean
 *   ok, err = task.sleep(seconds)   [yields]
 *   task.count()                    tasks alive
 *   task.carry(name, text)          name "request", "user", "machine" or "plan": said in each line (but for "plan") and span that this task, or a task that it
 *                                   starts from here on, has the log write; nil: no more. name "trace": a W3C traceparent that
 *                                   it goes on with; nil: a trace of its own begins. name nil: of nobody's any more
 *   task.carried() -> {request =, trace = traceparent, user =, machine =}     what there is of them
 *   err = task.error{code=, message=, retryable=, ...}   an error value like those of the host
 *   s = task.signal()               something to wait for, that another task tells
 *   true | nil, err = s:wait(seconds)   [yields] until the next s:fire(); err.code "timeout"
 *   s:fire()                        wakes every task that waits now
 *
 * An error value is a table with code, message, retryable and the metatable
 * "cchost.err", whose tostring is "code: message".
 */
#include "host/script/task.h"

#include "host/observe/log.h"
#include "host/script/vm.h"
#include "host/sys/clock.h"
#include "host/sys/err.h"
#include "host/sys/mem.h"
#include "host/sys/utf8.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#define ERR_META "cchost.err"
#define HANDLE_META "cchost.task"
#define SIGNAL_META "cchost.signal"

int luaopen_cc_task(lua_State *L);

static void set_err_meta(lua_State *L)
{
    luaL_getmetatable(L, ERR_META);
    lua_setmetatable(L, -2);
}

/* What others said, and what was cut at our bound, may be no UTF-8; errors are kept and told as JSON, which is nothing else. */
static void push_message(lua_State *L, const struct cc_err *err)
{
    char text[3 * sizeof(err->message)];
    size_t n = strlen(err->message), at = 0, i, len;

    for (i = 0; i < n; i += len ? len : 1) {
        len = cc_utf8_length((const unsigned char *)err->message + i, n - i);
        memcpy(text + at, len ? err->message + i : "\xef\xbf\xbd", len ? len : 3);
        at += len ? len : 3;
    }
    lua_pushlstring(L, text, at);
}

int cc_push_err(lua_State *L, const struct cc_err *err)
{
    lua_pushnil(L);
    lua_createtable(L, 0, 4);
    lua_pushstring(L, cc_err_word(err->code));
    lua_setfield(L, -2, "code");
    push_message(L, err);
    lua_setfield(L, -2, "message");
    lua_pushboolean(L, err->retryable);
    lua_setfield(L, -2, "retryable");
    if (err->retry_after_ms) {
        lua_pushnumber(L, (lua_Number)err->retry_after_ms / 1000);
        lua_setfield(L, -2, "retry_after");
    }
    set_err_meta(L);
    return 2;
}

static int l_err_tostring(lua_State *L)
{
    lua_getfield(L, 1, "code");
    lua_getfield(L, 1, "message");
    lua_pushfstring(L, "%s: %s", luaL_optstring(L, 2, "?"), luaL_optstring(L, 3, "?"));
    return 1;
}

static int l_error(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_getfield(L, 1, "code");
    lua_getfield(L, 1, "message");
    luaL_argcheck(L, lua_isstring(L, -2) && lua_isstring(L, -1), 1, "code and message expected");
    lua_settop(L, 1);
    set_err_meta(L);
    return 1;
}

/* ---- task.sleep */

struct sleep_op {
    struct cc_timer *timer;
    struct cc_task *task;
};

static void sleep_cancel(void *arg)
{
    struct sleep_op *op = arg;

    cc_timer_stop(op->timer);
    free(op);
}

static void on_sleep_done(void *arg)
{
    struct sleep_op *op = arg;

    lua_pushboolean(cc_task_stack(op->task), 1);
    cc_task_wake(op->task, 1);
    free(op);
}

static int l_sleep(lua_State *L)
{
    lua_Number sec = luaL_checknumber(L, 1);
    struct cc_task *t = cc_task_need(L, "task.sleep");
    struct sleep_op *op;

    luaL_argcheck(L, sec >= 0 && sec <= 30 * 86400, 1, "0 to 30 days expected, in seconds");
    op = cc_xcalloc(1, sizeof(*op));
    op->task = t;
    op->timer = cc_timer_start(cc_vm_loop(L), (uint64_t)(sec * 1000), on_sleep_done, op);
    cc_task_park_idle(t, sleep_cancel, op);
    return lua_yield(L, 0);
}

/* ---- task.spawn. The handle outlives the task; results wait in the registry until joined. */

struct handle {
    lua_State *L;
    struct cc_task *task; /* NULL once it ended */
    struct cc_task *joiner;
    int results;   /* registry ref of {n=, ...}, or LUA_NOREF */
    bool ok, gone; /* gone: the userdata was collected */
    bool joined;   /* somebody has been told */
};

static void handle_free(struct handle *h)
{
    luaL_unref(h->L, LUA_REGISTRYINDEX, h->results);
    free(h);
}

static int push_results(lua_State *L, struct handle *h)
{
    struct cc_err err;
    int i, n;

    h->joined = true;
    lua_rawgeti(L, LUA_REGISTRYINDEX, h->results);
    if (!h->ok) {
        cc_err_set(&err, CC_E_INTERNAL, "the task raised");
        cc_push_err(L, &err);
        lua_rawgeti(L, -3, 1);
        lua_setfield(L, -2, "traceback");
        lua_remove(L, -3);
        return 2;
    }
    lua_getfield(L, -1, "n");
    n = (int)lua_tointeger(L, -1);
    lua_pop(L, 1);
    luaL_checkstack(L, n + 1, "join");
    for (i = 1; i <= n; i++)
        lua_rawgeti(L, -i, i);
    lua_remove(L, -(n + 1));
    return n;
}

static void keep_results(struct handle *h, bool ok, lua_State *co, int n, const char *error)
{
    lua_State *L = h->L;
    int i;

    h->ok = ok;
    lua_createtable(L, n, 1);
    for (i = 1; ok && i <= n; i++) {
        lua_pushvalue(co, i);
        lua_xmove(co, L, 1);
        lua_rawseti(L, -2, i);
    }
    if (!ok) {
        lua_pushstring(L, error);
        lua_rawseti(L, -2, 1);
    }
    lua_pushinteger(L, n);
    lua_setfield(L, -2, "n");
    h->results = luaL_ref(L, LUA_REGISTRYINDEX);
}

/* Keeping and telling allocate, so the userdata may be collected meanwhile: as long as h->task is set,
 * its __gc leaves the handle to us.  A joiner's stack does not anchor the userdata: it may be gone, too. */
static void on_end(void *arg, bool ok, lua_State *co, int n, const char *error)
{
    struct handle *h = arg;
    struct cc_task *j;

    if (!h->gone || h->joiner)
        keep_results(h, ok, co, n, error);
    if ((j = h->joiner)) {
        h->joiner = NULL;
        cc_task_wake(j, push_results(cc_task_stack(j), h));
    }
    h->task = NULL;
    if (!h->gone)
        return;
    if (!ok && !h->joined)
        cc_log_raised("task", "a task raised", error);
    handle_free(h);
}

static struct handle *to_handle(lua_State *L) { return *(struct handle **)luaL_checkudata(L, 1, HANDLE_META); }

enum { AS_ITS_PARENT, AS_WORK, AS_DUTY };

static int spawn(lua_State *L, int as)
{
    int nargs = lua_gettop(L) - 1;
    struct handle *h, **ud;

    luaL_checktype(L, 1, LUA_TFUNCTION);
    ud = lua_newuserdata(L, sizeof(struct handle *));
    h = *ud = cc_xcalloc(1, sizeof(*h));
    h->L = cc_vm_main(L);
    h->results = LUA_NOREF;
    luaL_getmetatable(L, HANDLE_META);
    lua_setmetatable(L, -2);
    lua_insert(L, 1);
    h->task = cc_task_spawn(L, nargs, on_end, h);
    if (as != AS_ITS_PARENT)
        cc_task_set_duty(h->task, as == AS_DUTY);
    return 1;
}

static int l_spawn(lua_State *L) { return spawn(L, AS_ITS_PARENT); }
static int l_work(lua_State *L) { return spawn(L, AS_WORK); }
static int l_duty(lua_State *L) { return spawn(L, AS_DUTY); }

static int l_hold(lua_State *L)
{
    cc_sched_hold(L, true);
    return 0;
}

static int l_release(lua_State *L)
{
    cc_sched_hold(L, false);
    return 0;
}

static int l_duties(lua_State *L)
{
    struct cc_task *one;

    lua_pushinteger(L, cc_sched_duties_at_work(L, &one));
    if (one)
        luaL_traceback(L, cc_task_stack(one), NULL, 0);
    return one ? 2 : 1;
}

static void join_cancel(void *arg) { ((struct handle *)arg)->joiner = NULL; }

static int l_join(lua_State *L)
{
    struct handle *h = to_handle(L);
    struct cc_task *t;

    if (!h->task)
        return push_results(L, h);
    if (h->joiner)
        return luaL_error(L, "join: another task already joins it");
    t = cc_task_need(L, "join");
    if (t == h->task)
        return luaL_error(L, "join: a task cannot join itself");
    h->joiner = t;
    cc_task_park(t, join_cancel, h);
    return lua_yield(L, 0);
}

static int l_cancel(lua_State *L)
{
    struct handle *h = to_handle(L);
    const char *why = luaL_optstring(L, 2, "asked to stop");

    if (h->task)
        cc_task_cancel(h->task, why);
    return 0;
}

static int l_done(lua_State *L)
{
    lua_pushboolean(L, to_handle(L)->task == NULL);
    return 1;
}

static int l_handle_gc(lua_State *L)
{
    struct handle *h = to_handle(L);

    h->gone = true;
    if (!h->task && !h->ok && !h->joined) { /* nobody else will ever tell of it */
        lua_rawgeti(L, LUA_REGISTRYINDEX, h->results);
        lua_rawgeti(L, -1, 1);
        cc_log_raised("task", "a task raised", lua_tostring(L, -1));
    }
    if (!h->task)
        handle_free(h);
    return 0;
}

/* ---- task.signal. A waiter stands in its signal's list and anchors the signal meanwhile. */

struct signal_wait {
    lua_State *L;
    int ref;
    struct cc_task *task;
    struct cc_timer *timer;
    struct signal_wait *next, **at;
};

static void wait_free(struct signal_wait *w)
{
    if (w->next)
        w->next->at = w->at;
    *w->at = w->next;
    luaL_unref(w->L, LUA_REGISTRYINDEX, w->ref);
    free(w);
}

static void wait_cancel(void *op)
{
    struct signal_wait *w = op;

    cc_timer_stop(w->timer);
    wait_free(w);
}

static void on_wait_timeout(void *arg)
{
    struct signal_wait *w = arg;
    struct cc_err err;

    cc_err_set(&err, CC_E_TIMEOUT, "nothing happened in time");
    cc_task_wake(w->task, cc_push_err(cc_task_stack(w->task), &err));
    wait_free(w);
}

static int l_signal_wait(lua_State *L)
{
    struct signal_wait **head = luaL_checkudata(L, 1, SIGNAL_META);
    lua_Number sec = luaL_checknumber(L, 2);
    struct cc_task *t = cc_task_need(L, "signal:wait");
    struct signal_wait *w;

    luaL_argcheck(L, sec >= 0 && sec <= 86400, 2, "0..86400 seconds expected");
    w = cc_xcalloc(1, sizeof(*w));
    w->L = cc_vm_main(L);
    w->task = t;
    lua_pushvalue(L, 1);
    w->ref = luaL_ref(L, LUA_REGISTRYINDEX);
    w->timer = cc_timer_start(cc_vm_loop(L), (uint64_t)(sec * 1000), on_wait_timeout, w);
    w->next = *head;
    w->at = head;
    if (*head)
        (*head)->at = &w->next;
    *head = w;
    cc_task_park_idle(t, wait_cancel, w);
    return lua_yield(L, 0);
}

static int l_signal_fire(lua_State *L)
{
    struct signal_wait **head = luaL_checkudata(L, 1, SIGNAL_META), *w, *next;

    for (w = *head; w; w = next) {
        next = w->next;
        cc_timer_stop(w->timer);
        lua_pushboolean(cc_task_stack(w->task), 1);
        cc_task_wake(w->task, 1);
        wait_free(w);
    }
    return 0;
}

static int l_signal(lua_State *L)
{
    struct signal_wait **head = lua_newuserdata(L, sizeof(*head));

    *head = NULL;
    luaL_getmetatable(L, SIGNAL_META);
    lua_setmetatable(L, -2);
    return 1;
}

static const luaL_Reg signal_methods[] = { { "wait", l_signal_wait }, { "fire", l_signal_fire }, { NULL, NULL } };

static int l_count(lua_State *L)
{
    lua_pushinteger(L, cc_sched_count(L));
    return 1;
}

/* ---- for whom a task runs (host/sys/context.h) */

static void set_text(lua_State *L, char *at, size_t room)
{
    size_t n = 0;
    const char *text = luaL_optlstring(L, 2, "", &n);

    if (n >= room) /* it is only for eyes */
        n = room - 1;
    memcpy(at, text, n);
    at[n] = 0;
}

static int l_carry(lua_State *L)
{
    static const char *const names[] = { "request", "user", "machine", "plan", "trace", NULL };
    struct cc_context *c = cc_task_context(cc_task_need(L, "task.carry"));
    size_t n = 0;
    const char *text;

    if (lua_isnoneornil(L, 1)) {
        *c = (struct cc_context){ 0 };
        return 0;
    }
    switch (luaL_checkoption(L, 1, NULL, names)) {
    case 0:
        set_text(L, c->request, sizeof(c->request));
        break;
    case 1:
        set_text(L, c->user, sizeof(c->user));
        break;
    case 2:
        set_text(L, c->machine, sizeof(c->machine));
        break;
    case 3:
        set_text(L, c->plan, sizeof(c->plan));
        break;
    default:
        text = luaL_optlstring(L, 2, NULL, &n);
        cc_context_trace(c, text, n);
    }
    return 0;
}

static void push_carried(lua_State *L, const char *name, const char *text)
{
    if (!text[0])
        return;
    lua_pushstring(L, text);
    lua_setfield(L, -2, name);
}

static int l_carried(lua_State *L)
{
    const struct cc_context *c = cc_context_now();
    char trace[CC_TRACEPARENT_LEN + 1] = "";

    lua_newtable(L);
    if (!c)
        return 1;
    if (c->traced)
        cc_context_traceparent(c, trace);
    push_carried(L, "request", c->request);
    push_carried(L, "trace", trace);
    push_carried(L, "user", c->user);
    push_carried(L, "machine", c->machine);
    return 1;
}

static const luaL_Reg handle_methods[] = {
    { "join", l_join }, { "cancel", l_cancel }, { "done", l_done }, { "__gc", l_handle_gc }, { NULL, NULL }
};

static const luaL_Reg task_lib[] = { { "spawn", l_spawn },   { "sleep", l_sleep },   { "count", l_count },
                                     { "error", l_error },   { "signal", l_signal }, { "duty", l_duty },
                                     { "work", l_work },     { "hold", l_hold },     { "release", l_release },
                                     { "duties", l_duties }, { "carry", l_carry },   { "carried", l_carried },
                                     { NULL, NULL } };

int luaopen_cc_task(lua_State *L)
{
    luaL_newmetatable(L, ERR_META);
    lua_pushcfunction(L, l_err_tostring);
    lua_setfield(L, -2, "__tostring");
    luaL_newmetatable(L, HANDLE_META);
    luaL_register(L, NULL, handle_methods);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    luaL_newmetatable(L, SIGNAL_META);
    luaL_register(L, NULL, signal_methods);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 3);
    lua_newtable(L);
    luaL_register(L, NULL, task_lib);
    return 1;
}
