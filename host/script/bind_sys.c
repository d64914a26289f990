/* bind_sys.c - module "sys": the process we are, and others we run.
 *
 *   sys.env(name) -> string | nil      sys.environ() -> {NAME = value}
 *   sys.pid()  sys.uid()  sys.cpus()  sys.isatty(fd)  sys.arch()
 *   sys.cpu_ms() -> CPU time of this thread so far, ms with fractions: for measuring and for budgets
 *   sys.heap() -> bytes in use, bytes held    of C's heap, all threads'; what is held and not in use is free for what comes next
 *   sys.signal("TERM"|"INT"|"HUP"|"USR1"|"USR2"|"WINCH", fn)   fn runs in a task each time; nil takes it back
 *   sys.kill(pid, "TERM"|"KILL"|0)     -> true | nil, err
 *   sys.run{argv..., input=, timeout=seconds, dir=, env={NAME=value}, max=bytes}   [yields]
 *       -> {exit=, stdout=, stderr=} | nil, err     (argv[1] is found in PATH; never a shell)
 *   sys.carried(name) -> bytes of a file that the binary carries, or nil
 *   true | nil, err = sys.stdout(text) written whole to standard output; code "cancelled": nobody reads it any more.
 *       It blocks the loop until a slow reader has taken all, as long as that takes: for commands, not for servers
 */
#include "host/script/command.h"
#include "host/script/carried.h"
#include "host/script/task.h"
#include "host/script/vm.h"
#include "host/sys/clock.h"
#include "host/sys/err.h"
#include "host/sys/mem.h"
#include "host/sys/process.h"

#include <errno.h>
#include <lauxlib.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

int luaopen_cc_sys(lua_State *L);
extern char **environ;

static int l_env(lua_State *L)
{
    lua_pushstring(L, getenv(luaL_checkstring(L, 1)));
    return 1;
}

static int l_environ(lua_State *L)
{
    char **e;
    const char *eq;

    lua_newtable(L);
    for (e = environ; *e; e++) {
        if (!(eq = strchr(*e, '=')))
            continue;
        lua_pushlstring(L, *e, (size_t)(eq - *e));
        lua_pushstring(L, eq + 1);
        lua_rawset(L, -3);
    }
    return 1;
}

static int l_pid(lua_State *L)
{
    lua_pushinteger(L, getpid());
    return 1;
}
static int l_uid(lua_State *L)
{
    lua_pushinteger(L, geteuid());
    return 1;
}
static int l_cpu_ms(lua_State *L)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    lua_pushnumber(L, (lua_Number)t.tv_sec * 1e3 + (lua_Number)t.tv_nsec / 1e6);
    return 1;
}

static int l_cpus(lua_State *L)
{
    lua_pushinteger(L, sysconf(_SC_NPROCESSORS_ONLN));
    return 1;
}
static int l_isatty(lua_State *L)
{
    lua_pushboolean(L, isatty((int)luaL_checkinteger(L, 1)));
    return 1;
}

static int l_arch(lua_State *L)
{
    struct utsname u;

    uname(&u);
    lua_pushstring(L, u.machine);
    return 1;
}

static int l_carried(lua_State *L)
{
    const struct cc_carried *c = cc_carried_find(luaL_checkstring(L, 1));

    if (!c)
        return 0;
    lua_pushlstring(L, c->data, c->len);
    return 1;
}

/* Whether to write again after this failure: interrupted, or a pipe that is full and does not block. */
static bool wait_for_stdout(int failure)
{
    struct pollfd p = { .fd = STDOUT_FILENO, .events = POLLOUT };

    if (failure == EAGAIN)
        poll(&p, 1, -1);
    return failure == EAGAIN || failure == EINTR;
}

static int l_stdout(lua_State *L)
{
    size_t n;
    const char *s = luaL_checklstring(L, 1, &n);
    struct cc_err err;
    ssize_t w;

    while (n > 0 && ((w = write(STDOUT_FILENO, s, n)) > 0 || wait_for_stdout(errno))) {
        if (w > 0) {
            s += w;
            n -= (size_t)w;
        }
    }
    if (n == 0) {
        lua_pushboolean(L, 1);
        return 1;
    }
    if (errno == EPIPE)
        cc_err_set(&err, CC_E_CANCELLED, "nobody reads standard output");
    else
        cc_err_sys(&err, errno, "cannot write to standard output");
    return cc_push_err(L, &err);
}

/* ---- signals: one watcher a signal, made at first use, closed with the VM */

static const struct {
    const char *name;
    int num;
} signals[] = {
    { "TERM", SIGTERM }, { "INT", SIGINT },     { "HUP", SIGHUP },   { "USR1", SIGUSR1 },
    { "USR2", SIGUSR2 }, { "WINCH", SIGWINCH }, { "KILL", SIGKILL },
};

static int signal_number(lua_State *L, int idx)
{
    const char *name = luaL_checkstring(L, idx);
    size_t i;

    for (i = 0; i < sizeof(signals) / sizeof(*signals); i++)
        if (strcmp(signals[i].name, name) == 0)
            return signals[i].num;
    return luaL_argerror(L, idx, "TERM, INT, HUP, USR1, USR2, WINCH or KILL expected");
}

struct watcher {
    uv_signal_t uv;
    lua_State *L;
    int ref;
};

static void on_watcher_closed(uv_handle_t *h) { free(h->data); }
static void watcher_close(void *arg) { uv_close((uv_handle_t *)&((struct watcher *)arg)->uv, on_watcher_closed); }

static void on_signal(uv_signal_t *h, int num)
{
    struct watcher *w = h->data;

    (void)num;
    if (w->ref == LUA_NOREF)
        return;
    lua_rawgeti(w->L, LUA_REGISTRYINDEX, w->ref);
    cc_task_spawn(w->L, 0, NULL, NULL);
}

static int l_signal(lua_State *L)
{
    static char keys[65];
    int num = signal_number(L, 1);
    struct watcher *w = cc_vm_get(L, &keys[num]);

    luaL_argcheck(L, num != SIGKILL, 1, "KILL cannot be caught");
    luaL_argcheck(L, lua_isfunction(L, 2) || lua_isnoneornil(L, 2), 2, "function or nil expected");
    if (!w) {
        w = cc_xcalloc(1, sizeof(*w));
        w->L = cc_vm_main(L);
        w->ref = LUA_NOREF;
        uv_signal_init(cc_vm_loop(L), &w->uv);
        uv_unref((uv_handle_t *)&w->uv);
        w->uv.data = w;
        cc_vm_set(L, &keys[num], w);
        cc_vm_at_close(L, watcher_close, w);
    }
    luaL_unref(L, LUA_REGISTRYINDEX, w->ref);
    lua_settop(L, 2);
    w->ref = lua_isnil(L, 2) ? LUA_NOREF : luaL_ref(L, LUA_REGISTRYINDEX);
    if (w->ref == LUA_NOREF)
        uv_signal_stop(&w->uv);
    else
        uv_signal_start(&w->uv, on_signal, num);
    return 0;
}

static int l_kill(lua_State *L)
{
    int pid = (int)luaL_checkinteger(L, 1);
    int num = lua_isnumber(L, 2) && lua_tointeger(L, 2) == 0 ? 0 : signal_number(L, 2);
    struct cc_err err;

    luaL_argcheck(L, pid > 1, 1, "the pid of one process expected");
    if (kill(pid, num) != 0) {
        cc_err_sys(&err, errno, "cannot signal %d", pid);
        return cc_push_err(L, &err);
    }
    lua_pushboolean(L, 1);
    return 1;
}

/* ---- sys.run: the request is copied whole into the job, so that it outlives a cancelled waiter */

struct run_job {
    struct cc_job job;
    struct cc_process p;
    struct cc_task *task; /* NULL once the waiter gave up */
    struct cc_err err;
    int rc;
    char **argv, **env;
    char *dir, *input;
};

static void run_free(struct run_job *r)
{
    cc_process_fini(&r->p);
    cc_command_free(r->argv);
    cc_command_free(r->env);
    free(r->dir);
    free(r->input);
    free(r);
}

static void run_work(struct cc_job *job)
{
    struct run_job *r = (struct run_job *)job;

    r->rc = cc_process_run(&r->p, &job->call, &r->err);
}

static void run_done(struct cc_job *job)
{
    struct run_job *r = (struct run_job *)job;
    lua_State *co;

    cc_job_unbegun(job, &r->rc, &r->err);
    if (r->task) {
        co = cc_task_stack(r->task);
        if (r->rc != 0) {
            cc_task_wake(r->task, cc_push_err(co, &r->err));
        } else {
            lua_createtable(co, 0, 3);
            lua_pushinteger(co, r->p.exit_code);
            lua_setfield(co, -2, "exit");
            lua_pushlstring(co, r->p.out, r->p.out_len);
            lua_setfield(co, -2, "stdout");
            lua_pushlstring(co, r->p.err, r->p.err_len);
            lua_setfield(co, -2, "stderr");
            cc_task_wake(r->task, 1);
        }
    }
    run_free(r);
}

static void run_cancel(void *op)
{
    struct run_job *r = op;

    r->task = NULL;
    cc_pool_cancel(&r->job);
}

static char *copy_field(lua_State *L, const char *name, size_t *len)
{
    const char *s;
    char *copy = NULL;
    size_t n = 0;

    lua_getfield(L, 1, name);
    if ((s = lua_tolstring(L, -1, &n))) {
        copy = cc_xmalloc(n + 1);
        memcpy(copy, s, n + 1);
    }
    lua_pop(L, 1);
    if (len)
        *len = n;
    return copy;
}

static lua_Number number_field(lua_State *L, const char *name, lua_Number dflt)
{
    lua_Number n;

    lua_getfield(L, 1, name);
    n = lua_isnumber(L, -1) ? lua_tonumber(L, -1) : dflt;
    lua_pop(L, 1);
    return n;
}

static int l_run(lua_State *L)
{
    struct cc_task *t = cc_task_need(L, "sys.run");
    struct run_job *r;
    lua_Number timeout, max;

    cc_command_check(L);
    timeout = number_field(L, "timeout", 60);
    max = number_field(L, "max", 1 << 20);
    luaL_argcheck(L, timeout > 0 && timeout <= 86400, 1, "timeout: more than 0 and at most 86400 s expected");
    luaL_argcheck(L, max >= 0 && max <= 64 << 20, 1, "max: 0 to 64 MiB expected");
    r = cc_xcalloc(1, sizeof(*r));
    r->argv = cc_command_argv(L);
    r->env = cc_command_env(L);
    r->dir = copy_field(L, "dir", NULL);
    r->input = copy_field(L, "input", &r->p.input_len);
    r->p.argv = r->argv;
    r->p.env = r->env;
    r->p.dir = r->dir;
    r->p.input = r->input;
    r->p.output_max = (size_t)max;
    r->task = t;
    r->job.work = run_work;
    r->job.done = run_done;
    r->job.call.deadline_ms = cc_mono_ms() + (uint64_t)(timeout * 1000);
    cc_err_set(&r->err, CC_E_CANCELLED, "cancelled before it began");
    r->rc = CC_E_CANCELLED;
    cc_pool_submit(cc_vm_pool(L), &r->job);
    cc_task_park(t, run_cancel, r);
    return lua_yield(L, 0);
}

static int l_heap(lua_State *L)
{
    struct mallinfo2 m = mallinfo2();

    lua_pushnumber(L, (lua_Number)(m.uordblks + m.hblkhd));
    lua_pushnumber(L, (lua_Number)(m.arena + m.hblkhd));
    return 2;
}

static const luaL_Reg sys_lib[] = { { "env", l_env },       { "environ", l_environ }, { "pid", l_pid },
                                    { "uid", l_uid },       { "cpus", l_cpus },       { "cpu_ms", l_cpu_ms },
                                    { "heap", l_heap },     { "isatty", l_isatty },   { "arch", l_arch },
                                    { "signal", l_signal }, { "kill", l_kill },       { "run", l_run },
                                    { "stdout", l_stdout }, { "carried", l_carried }, { NULL, NULL } };

int luaopen_cc_sys(lua_State *L)
{
    lua_newtable(L);
    luaL_register(L, NULL, sys_lib);
    return 1;
}
