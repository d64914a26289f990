/* bind_store_care.c - what takes long: waiting for the log, trimming, verification, backup.
 *
 *   true | false | nil, err = store.wait(after, seconds)     [yields] true: the log has an entry behind sequence
 *                             `after`, also one of another process (known within half a second); false: time is over
 *   {entries=,objects=} | nil, err = store.verify()          [yields] code "corrupt": err.seq is the first entry
 *                             that is broken, nil when it is not an entry
 *   n | nil, err = store.trim({seq, ...})                    [yields] drops the data of these log entries for ever and
 *                             keeps the log provable; n: how many had data that could be dropped
 *   {bytes=,entries=,objects=,log_seq=} | nil, err = store.backup(path [, {even_broken=}])   [yields] a consistent copy
 *                             in a new file, while the store is in use; synced and read back. "exists": path is there;
 *                             "corrupt": what the store holds is broken; with even_broken the copy is kept, and has
 *                             broken = the sentence and seq = the first entry that is broken, if it is one
 *   the same = store.restore(path, dir, {force=})            [yields] makes the backup the store of the data folder dir.
 *                             No store may be open here. "exists": the store of dir is open elsewhere, or there
 *                             is one and not force; with it the old one goes to dir/store.replaced-<unix ms>
 *
 * Closing the store ends what waits with an error of code "state" or "cancelled".
 */
#include "host/script/bind_store.h"

#include "host/script/task.h"
#include "host/script/vm.h"
#include "host/sys/clock.h"
#include "host/sys/mem.h"
#include "host/sys/pool.h"

#include <stdlib.h>

/* ---- wait */

struct wait {
    struct cc_task *task;
    struct cc_store *store;
    struct cc_watch *watch;
    struct cc_timer *timer;
};

static void on_grown(void *arg, int code)
{
    struct wait *w = arg;
    struct cc_err err;

    cc_timer_stop(w->timer);
    if (code == CC_OK) {
        lua_pushboolean(cc_task_stack(w->task), 1);
        cc_task_wake(w->task, 1);
    } else {
        cc_err_set(&err, code, "the store is closing");
        cc_task_wake(w->task, cc_push_err(cc_task_stack(w->task), &err));
    }
    free(w);
}

static void on_time_over(void *arg)
{
    struct wait *w = arg;

    cc_store_watch_cancel(w->store, w->watch);
    lua_pushboolean(cc_task_stack(w->task), 0);
    cc_task_wake(w->task, 1);
    free(w);
}

static void wait_cancel(void *op)
{
    struct wait *w = op;

    cc_store_watch_cancel(w->store, w->watch);
    cc_timer_stop(w->timer);
    free(w);
}

static int l_wait(lua_State *L)
{
    struct bind *b = bind_need_open(L);
    lua_Number after = luaL_checknumber(L, 1), seconds = luaL_checknumber(L, 2);
    struct cc_task *t = cc_task_need(L, "store.wait");
    struct wait *w;

    luaL_argcheck(L, after >= 0 && after <= 9007199254740992.0, 1, "a sequence expected");
    luaL_argcheck(L, seconds >= 0 && seconds <= 86400, 2, "0 to 86400 seconds expected");
    w = cc_xcalloc(1, sizeof(*w));
    w->task = t;
    w->store = b->store;
    w->watch = cc_store_watch(b->store, (uint64_t)after, on_grown, w);
    w->timer = cc_timer_start(cc_vm_loop(L), (uint64_t)(seconds * 1000), on_time_over, w);
    cc_task_park_idle(t, wait_cancel, w);
    return lua_yield(L, 0);
}

/* ---- trim */

struct trim {
    struct cc_task *task;
    struct cc_trim *trim;
};

static void on_trimmed(void *arg, int code, uint64_t trimmed, const struct cc_err *err)
{
    struct trim *t = arg;

    if (code) {
        cc_task_wake(t->task, cc_push_err(cc_task_stack(t->task), err));
    } else {
        lua_pushnumber(cc_task_stack(t->task), (lua_Number)trimmed);
        cc_task_wake(t->task, 1);
    }
    free(t);
}

static void trim_cancel(void *op)
{
    struct trim *t = op;

    cc_store_trim_cancel(t->trim);
    free(t);
}

/* The list at 1, in memory that the state collects. */
static const uint64_t *check_seqs(lua_State *L, size_t *n)
{
    uint64_t *seqs;
    lua_Number seq;
    size_t i;

    luaL_checktype(L, 1, LUA_TTABLE);
    *n = lua_objlen(L, 1);
    seqs = lua_newuserdata(L, *n * sizeof(*seqs) + 1);
    for (i = 0; i < *n; i++) {
        lua_rawgeti(L, 1, (int)i + 1);
        seq = lua_tonumber(L, -1);
        luaL_argcheck(L, seq >= 1 && seq <= 9007199254740992.0, 1, "a list of sequences expected");
        seqs[i] = (uint64_t)seq;
        lua_pop(L, 1);
    }
    return seqs;
}

static int l_trim(lua_State *L)
{
    struct bind *b = bind_need_open(L);
    struct cc_task *task = cc_task_need(L, "store.trim");
    struct trim *t;
    const uint64_t *seqs;
    struct cc_err err;
    size_t n;

    seqs = check_seqs(L, &n);
    if (n == 0) {
        lua_pushnumber(L, 0);
        return 1;
    }
    t = cc_xcalloc(1, sizeof(*t));
    t->task = task;
    t->trim = cc_store_trim(b->store, seqs, n, on_trimmed, t, &err);
    if (!t->trim) {
        free(t);
        return cc_push_err(L, &err);
    }
    cc_task_park(task, trim_cancel, t);
    return lua_yield(L, 0);
}

/* ---- jobs on the general pool */

struct care {
    struct cc_job job;
    struct bind *bind;
    struct cc_store *store;
    struct cc_task *task;                              /* NULL: gave up */
    int (*run)(struct care *c);                        /* [worker] */
    int (*push)(lua_State *L, struct care *c, int rc); /* what the task gets, also when it failed */
    char *path, *dir;
    bool force, even_broken;
    struct cc_verified found;
    struct cc_backup made;
    struct cc_err err;
    int rc;
};

static bool gave_up(void *arg) { return cc_call_over(arg); }

static void care_work(struct cc_job *job)
{
    struct care *c = (struct care *)job;

    c->rc = c->run(c);
}

static void care_done(struct cc_job *job)
{
    struct care *c = (struct care *)job;
    struct bind *b = c->bind;

    cc_job_unbegun(job, &c->rc, &c->err);
    if (c->task)
        cc_task_wake(c->task, c->push(cc_task_stack(c->task), c, c->rc));
    if (--b->jobs == 0 && b->close_wanted)
        bind_close(b);
    if (b->jobs == 0 && b->gone)
        free(b);
    free(c->path);
    free(c->dir);
    free(c);
}

static void care_cancel(void *op)
{
    struct care *c = op;

    c->task = NULL;
    cc_pool_cancel(&c->job);
}

/* A job that cc_pool_cancel reaches before it runs keeps this code. */
static struct care *care_new(lua_State *L, const char *name)
{
    struct cc_task *t = cc_task_need(L, name);
    struct care *c = cc_xcalloc(1, sizeof(*c));

    c->job.work = care_work;
    c->job.done = care_done;
    c->bind = bind_of(L);
    c->store = c->bind->store;
    c->task = t;
    c->rc = cc_err_set(&c->err, CC_E_CANCELLED, "%s was stopped", name);
    return c;
}

static int care_start(lua_State *L, struct care *c)
{
    c->bind->jobs++;
    cc_pool_submit(cc_vm_pool(L), &c->job);
    cc_task_park(c->task, care_cancel, c);
    return lua_yield(L, 0);
}

static void set_number(lua_State *L, const char *name, uint64_t n)
{
    lua_pushnumber(L, (lua_Number)n);
    lua_setfield(L, -2, name);
}

/* ---- verify */

static int run_verify(struct care *c) { return cc_store_verify(c->store, &c->found, gave_up, &c->job.call, &c->err); }

static int push_verified(lua_State *L, struct care *c, int rc)
{
    if (rc) {
        cc_push_err(L, &c->err);
        if (rc == CC_E_CORRUPT && c->found.broken)
            set_number(L, "seq", c->found.broken);
        return 2;
    }
    lua_createtable(L, 0, 2);
    set_number(L, "entries", c->found.entries);
    set_number(L, "objects", c->found.objects);
    return 1;
}

static int l_verify(lua_State *L)
{
    struct care *c;

    bind_need_open(L);
    c = care_new(L, "store.verify");
    c->run = run_verify;
    c->push = push_verified;
    return care_start(L, c);
}

/* ---- backup and restore */

static int run_backup(struct care *c)
{
    return cc_store_backup(c->store, c->path, c->even_broken, &c->made, gave_up, &c->job.call, &c->err);
}

static int run_restore(struct care *c)
{
    return cc_store_restore(c->path, c->dir, c->force, &c->made, gave_up, &c->job.call, &c->err);
}

static int push_backup(lua_State *L, struct care *c, int rc)
{
    if (rc)
        return cc_push_err(L, &c->err);
    lua_createtable(L, 0, 4);
    set_number(L, "bytes", c->made.bytes);
    set_number(L, "entries", c->made.entries);
    set_number(L, "objects", c->made.objects);
    set_number(L, "log_seq", c->made.log_seq);
    if (!c->made.fault.code)
        return 1;
    lua_pushstring(L, c->made.fault.message);
    lua_setfield(L, -2, "broken");
    if (c->made.broken)
        set_number(L, "seq", c->made.broken);
    return 1;
}

static int l_backup(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    bool even_broken = lua_istable(L, 2) && bind_option_flag(L, 2, "even_broken");
    struct care *c;

    bind_need_open(L);
    c = care_new(L, "store.backup");
    c->path = cc_xstrdup(path);
    c->even_broken = even_broken;
    c->run = run_backup;
    c->push = push_backup;
    return care_start(L, c);
}

static int l_restore(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1), *dir = luaL_checkstring(L, 2);
    bool force = lua_istable(L, 3) && bind_option_flag(L, 3, "force");
    struct care *c;

    if (bind_of(L)->store)
        return luaL_error(L, "store.restore: a store is open");
    c = care_new(L, "store.restore");
    c->path = cc_xstrdup(path);
    c->dir = cc_xstrdup(dir);
    c->force = force;
    c->run = run_restore;
    c->push = push_backup;
    return care_start(L, c);
}

static const luaL_Reg care_lib[] = { { "wait", l_wait },     { "trim", l_trim },       { "verify", l_verify },
                                     { "backup", l_backup }, { "restore", l_restore }, { NULL, NULL } };

void bind_add_care(lua_State *L, struct bind *b)
{
    lua_pushlightuserdata(L, b);
    luaL_setfuncs(L, care_lib, 1);
}
