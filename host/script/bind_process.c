/* bind_process.c - module "process": a program that runs beside us, spoken to while it runs. (sys.run: one run to its end.)
 *
 *   p | nil, err = process.spawn{argv..., dir=, env={NAME=value}, stderr="keep"|"out", returns=true, line_max=bytes}
 *       argv[1] is found in PATH, never a shell; env is all of its environment, else ours; stderr "out": into p:line as
 *       well; "inherit": where ours goes; returns: "\r" ends a line, too; line_max 1 MiB, at most 64 MiB.
 *       fds={n, ...}: descriptors of ours that are its 3, 4, ... It leads a process group of its own
 *   line | nil, err = p:line([seconds])   [yields] of its output, without its end. err.code "closed": there is no more,
 *                                         "limit": a line was longer than line_max and is left out, "timeout"
 *   true | nil, err = p:write(text)       [yields] until it has taken the text; err.code "io": it does not read any more
 *   p:close_input()
 *   text = p:errors()                     the last 4 KiB that it said on stderr
 *   exit | nil, err = p:wait([seconds])   [yields] 128 + n after signal n; err.code "timeout"
 *   p:kill([signal])                      "KILL" (default), "TERM", "INT": to it and its group
 *   p:pid()
 *   p:leave()                             it is not killed when nobody holds it, nor at our end
 *
 * One that nobody holds any more is killed.  While lines of HIGH bytes
 * wait for p:line, nothing more is read: a slow reader slows it.
 */
#include "host/script/command.h"
#include "host/script/modules.h"
#include "host/script/task.h"
#include "host/script/vm.h"
#include "host/sys/clock.h"
#include "host/sys/err.h"
#include "host/sys/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define META "cchost.process"

enum { HIGH = 65536, ERRORS = 4096, LINE_MAX_DEFAULT = 1 << 20, FDS_MAX = 20 };
enum { STDERR_KEEP, STDERR_OUT, STDERR_INHERIT };

struct wait {
    struct cc_task *task;
    struct cc_timer *timer;
};

struct process {
    uv_process_t uv;
    uv_pipe_t in, out, err;
    bool in_open, out_open, err_open;
    pid_t pid;
    lua_State *L;
    struct wait line, exit_wait;
    struct cc_task *writer;
    uv_write_t write;
    char *writing;
    char *buf; /* what was read and nobody has taken: from `off`, `len` bytes, `seen` of them hold no line's end */
    size_t off, len, cap, seen, line_max;
    char errors[ERRORS];
    size_t errors_len;
    int exit;
    bool exited, stopped, returns, skipping, too_long, killed, gone, left;
    unsigned handles;
    int holds, self; /* tasks that wait; the registry's anchor meanwhile */
    struct process *next, **at;
};

static struct process *all;

static void settle(struct process *p)
{
    if (!p->gone || p->handles)
        return;
    if (p->next)
        p->next->at = p->at;
    *p->at = p->next;
    free(p->writing);
    free(p->buf);
    free(p);
}

static void on_closed(uv_handle_t *h)
{
    struct process *p = h->data;

    p->handles--;
    settle(p);
}

static void pipe_close(uv_pipe_t *pipe, bool *open)
{
    if (*open)
        uv_close((uv_handle_t *)pipe, on_closed);
    *open = false;
}

/* Its number is its own while it has not been waited for, or while one of its group lives, as who holds its output does. */
static void group_kill(struct process *p, int sig)
{
    p->killed = true;
    if (p->pid > 1 && (!p->exited || p->out_open))
        kill(-p->pid, sig);
}

/* ---------------------------------------------------------------- tasks that wait */

static void hold(lua_State *L, struct process *p) /* the userdata is at 1 */
{
    if (p->holds++)
        return;
    lua_pushvalue(L, 1);
    p->self = luaL_ref(L, LUA_REGISTRYINDEX);
}

static void release(struct process *p)
{
    if (--p->holds == 0)
        luaL_unref(p->L, LUA_REGISTRYINDEX, p->self);
}

static struct cc_task *wait_end(struct process *p, struct wait *w)
{
    struct cc_task *t = w->task;

    w->task = NULL;
    if (w->timer)
        cc_timer_stop(w->timer);
    w->timer = NULL;
    release(p);
    return t;
}

static void cancel_line(void *op) { wait_end(op, &((struct process *)op)->line); }
static void cancel_exit(void *op) { wait_end(op, &((struct process *)op)->exit_wait); }

static void late(struct process *p, struct wait *w)
{
    struct cc_err err;
    struct cc_task *t;

    w->timer = NULL;
    t = wait_end(p, w);
    cc_err_set(&err, CC_E_TIMEOUT, "the process said nothing in time");
    cc_task_wake(t, cc_push_err(cc_task_stack(t), &err));
}

static void on_line_late(void *arg) { late(arg, &((struct process *)arg)->line); }
static void on_exit_late(void *arg) { late(arg, &((struct process *)arg)->exit_wait); }

static int wait_for(lua_State *L, struct process *p, struct wait *w, cc_cancel_fn cancel, void (*on_late)(void *))
{
    lua_Number seconds = luaL_optnumber(L, 2, -1);
    struct cc_task *t = cc_task_need(L, "process");

    if (w->task)
        return luaL_error(L, "process: another task waits for this already");
    luaL_argcheck(L, lua_isnoneornil(L, 2) || (seconds >= 0 && seconds <= 86400), 2, "0..86400 seconds expected");
    w->task = t;
    if (seconds >= 0)
        w->timer = cc_timer_start(cc_vm_loop(L), (uint64_t)(seconds * 1000), on_late, p);
    hold(L, p);
    cc_task_park(t, cancel, p);
    return lua_yield(L, 0);
}

/* ---------------------------------------------------------------- its output, by lines */

static void on_alloc(uv_handle_t *h, size_t hint, uv_buf_t *buf)
{
    static char chunk[65536]; /* used at once */

    (void)h, (void)hint;
    *buf = uv_buf_init(chunk, sizeof(chunk));
}

/* Length of the first line that is whole, or -1. */
static ssize_t first_line(struct process *p)
{
    const char *s = p->buf + p->off;

    for (; p->seen < p->len; p->seen++)
        if (s[p->seen] == '\n' || (p->returns && s[p->seen] == '\r'))
            return (ssize_t)p->seen;
    return -1;
}

static void drop(struct process *p, size_t n)
{
    p->off += n;
    p->len -= n;
    p->seen = 0;
    if (p->len == 0)
        p->off = 0;
}

static int push_line(lua_State *L, struct process *p, size_t n)
{
    lua_pushlstring(L, p->buf + p->off, n);
    drop(p, n < p->len ? n + 1 : n);
    return 1;
}

/* What p:line answers now; 0: nothing yet. */
static int push_next(lua_State *L, struct process *p)
{
    struct cc_err err;
    ssize_t n;

    if (p->too_long) {
        p->too_long = false;
        cc_err_set(&err, CC_E_LIMIT, "a line of more than %zu bytes is left out", p->line_max);
        return cc_push_err(L, &err);
    }
    if (p->len && (n = first_line(p)) >= 0)
        return push_line(L, p, (size_t)n);
    if (p->out_open)
        return 0;
    if (p->len)
        return push_line(L, p, p->len);
    cc_err_set(&err, CC_E_IO, "the process says no more");
    cc_push_err(L, &err);
    lua_pushliteral(L, "closed");
    lua_setfield(L, -2, "code");
    return 2;
}

static void tell(struct process *p)
{
    lua_State *co;
    struct cc_task *t;
    int n;

    if (!p->line.task)
        return;
    co = cc_task_stack(p->line.task);
    if ((n = push_next(co, p)) == 0)
        return;
    t = wait_end(p, &p->line);
    cc_task_wake(t, n);
}

static void keep(struct process *p, const char *data, size_t n)
{
    if (p->off + p->len + n > p->cap) {
        if (p->len)
            memmove(p->buf, p->buf + p->off, p->len);
        p->off = 0;
        while (p->len + n > p->cap)
            p->cap = p->cap ? p->cap * 2 : 4096;
        p->buf = cc_xrealloc(p->buf, p->cap);
    }
    memcpy(p->buf + p->off + p->len, data, n);
    p->len += n;
}

/* The rest of a line that is left out. */
static void skip(struct process *p, const char **data, size_t *n)
{
    while (p->skipping && *n) {
        p->skipping = !(**data == '\n' || (p->returns && **data == '\r'));
        ++*data, --*n;
    }
}

static void on_out(uv_stream_t *h, ssize_t n, const uv_buf_t *buf)
{
    struct process *p = h->data;
    const char *data = buf->base;
    size_t left = n > 0 ? (size_t)n : 0;

    if (n < 0) {
        pipe_close(&p->out, &p->out_open);
        tell(p);
        return;
    }
    skip(p, &data, &left);
    keep(p, data, left);
    if (first_line(p) < 0 && p->len > p->line_max) {
        drop(p, p->len);
        p->skipping = p->too_long = true;
    }
    tell(p);
    if (p->out_open && p->len >= HIGH && first_line(p) >= 0) {
        p->stopped = true;
        uv_read_stop(h);
    }
}

static void on_err(uv_stream_t *h, ssize_t n, const uv_buf_t *buf)
{
    struct process *p = h->data;
    size_t take, stay;

    if (n < 0) {
        pipe_close(&p->err, &p->err_open);
        return;
    }
    take = (size_t)n < ERRORS ? (size_t)n : ERRORS;
    stay = p->errors_len < ERRORS - take ? p->errors_len : ERRORS - take;
    memmove(p->errors, p->errors + p->errors_len - stay, stay);
    memcpy(p->errors + stay, buf->base + n - take, take);
    p->errors_len = stay + take;
}

static void on_exit_status(uv_process_t *h, int64_t status, int sig)
{
    struct process *p = h->data;
    struct cc_task *t;

    if (p->killed)
        kill(-p->pid, SIGKILL); /* nothing of it is to stay */
    p->exited = true;
    p->exit = sig ? 128 + sig : (int)status;
    uv_close((uv_handle_t *)h, on_closed);
    pipe_close(&p->in, &p->in_open);
    if (!p->exit_wait.task)
        return;
    t = wait_end(p, &p->exit_wait);
    lua_pushinteger(cc_task_stack(t), p->exit);
    cc_task_wake(t, 1);
}

/* ---------------------------------------------------------------- the start */

/* A pipe of which `ours` is opened as `pipe`; the child's end is returned, or -1. */
static int pipe_make(struct process *p, uv_pipe_t *pipe, bool *open, int ours)
{
    int fd[2];

    if (pipe2(fd, O_CLOEXEC) != 0)
        return -1;
    uv_pipe_init(cc_vm_loop(p->L), pipe, 0);
    pipe->data = p;
    p->handles++;
    *open = true;
    uv_pipe_open(pipe, fd[ours]);
    return fd[!ours];
}

/* The child's end of its stderr; -1: there is none to be had. */
static int errors_to(struct process *p, int way, int out)
{
    return way == STDERR_INHERIT ? STDERR_FILENO : way == STDERR_OUT ? out : pipe_make(p, &p->err, &p->err_open, 0);
}

/* fd: the child's descriptors, of which the first three are made here. */
static int start(struct process *p, char **argv, char **env, const char *dir, int way, int *fd, int n_fds)
{
    int i, rc = UV_EMFILE;
    uv_stdio_container_t io[FDS_MAX];
    uv_process_options_t o = { .file = argv[0],
                               .args = argv,
                               .env = env,
                               .cwd = dir,
                               .exit_cb = on_exit_status,
                               .flags = UV_PROCESS_DETACHED,
                               .stdio_count = n_fds,
                               .stdio = io };

    fd[0] = pipe_make(p, &p->in, &p->in_open, 1);
    fd[1] = pipe_make(p, &p->out, &p->out_open, 0);
    fd[2] = errors_to(p, way, fd[1]);
    for (i = 0; i < n_fds; i++)
        io[i] = (uv_stdio_container_t){ .flags = UV_INHERIT_FD, .data.fd = fd[i] };
    if (fd[0] >= 0 && fd[1] >= 0 && fd[2] >= 0) {
        p->uv.data = p;
        p->handles++;
        /* Libraries open things without it (libcurl: its connections, and two sockets of its own); a child has what is in io. */
        close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
        rc = uv_spawn(cc_vm_loop(p->L), &p->uv, &o);
    }
    for (i = 0; i < (way == STDERR_KEEP ? 3 : 2); i++)
        if (fd[i] >= 0)
            close(fd[i]);
    if (rc == 0) {
        p->pid = p->uv.pid;
        uv_read_start((uv_stream_t *)&p->out, on_alloc, on_out);
        if (p->err_open)
            uv_read_start((uv_stream_t *)&p->err, on_alloc, on_err);
        return 0;
    }
    if (p->uv.data)
        uv_close((uv_handle_t *)&p->uv, on_closed);
    p->exited = true;
    pipe_close(&p->in, &p->in_open);
    pipe_close(&p->out, &p->out_open);
    pipe_close(&p->err, &p->err_open);
    return rc;
}

static int spawn_failed(lua_State *L, int rc, const char *program)
{
    struct cc_err err;

    cc_err_sys(&err, -rc, "cannot run %s", program);
    return cc_push_err(L, &err);
}

static struct process *to_process(lua_State *L) { return *(struct process **)luaL_checkudata(L, 1, META); }

/* The option at the stack's top into fd[3...]. -> how many descriptors the child has */
static int read_fds(lua_State *L, int fd[FDS_MAX])
{
    int i, n = lua_istable(L, -1) ? (int)lua_objlen(L, -1) : 0;

    luaL_argcheck(L, n <= FDS_MAX - 3 && (lua_istable(L, -1) || lua_isnil(L, -1)), 1,
                  "fds: a list of up to 17 descriptors expected");
    for (i = 1; i <= n; i++) {
        lua_rawgeti(L, -1, i);
        fd[2 + i] = (int)luaL_checkinteger(L, -1);
        lua_pop(L, 1);
    }
    return n + 3;
}

static int l_spawn(lua_State *L)
{
    static const char *const ways[] = { "keep", "out", "inherit", NULL };
    struct process *p, **ud;
    lua_Number line_max;
    const char *dir;
    char **argv, **env;
    int way, rc, n_fds, fd[FDS_MAX];

    cc_command_check(L);
    lua_settop(L, 1);
    lua_getfield(L, 1, "dir");
    dir = luaL_optstring(L, 2, NULL);
    lua_getfield(L, 1, "stderr");
    way = luaL_checkoption(L, 3, "keep", ways);
    lua_getfield(L, 1, "line_max");
    line_max = luaL_optnumber(L, 4, LINE_MAX_DEFAULT);
    luaL_argcheck(L, line_max >= 1 && line_max <= 64 << 20, 1, "line_max: 1 byte to 64 MiB expected");
    lua_getfield(L, 1, "returns");
    lua_getfield(L, 1, "fds");
    n_fds = read_fds(L, fd);
    ud = lua_newuserdata(L, sizeof(*ud));
    *ud = p = cc_xcalloc(1, sizeof(*p));
    p->L = cc_vm_main(L);
    p->line_max = (size_t)line_max;
    p->returns = lua_toboolean(L, 5);
    p->next = all;
    p->at = &all;
    if (all)
        all->at = &p->next;
    all = p;
    luaL_getmetatable(L, META);
    lua_setmetatable(L, -2);
    argv = cc_command_argv(L);
    env = cc_command_env(L);
    rc = start(p, argv, env, dir, way, fd, n_fds);
    cc_command_free(argv);
    cc_command_free(env);
    if (rc == 0)
        return 1;
    lua_rawgeti(L, 1, 1);
    return spawn_failed(L, rc, lua_tostring(L, -1));
}

/* ---------------------------------------------------------------- its methods */

static int l_line(lua_State *L)
{
    struct process *p = to_process(L);
    int n;

    if (p->line.task)
        return luaL_error(L, "p:line: another task waits for a line");
    n = push_next(L, p);
    if (p->stopped && p->out_open && (p->len < HIGH || first_line(p) < 0)) {
        p->stopped = false;
        uv_read_start((uv_stream_t *)&p->out, on_alloc, on_out);
    }
    return n ? n : wait_for(L, p, &p->line, cancel_line, on_line_late);
}

static int l_wait(lua_State *L)
{
    struct process *p = to_process(L);

    if (!p->exited)
        return wait_for(L, p, &p->exit_wait, cancel_exit, on_exit_late);
    lua_pushinteger(L, p->exit);
    return 1;
}

static int fail_write(lua_State *L)
{
    struct cc_err err;

    cc_err_set(&err, CC_E_IO, "the process does not read any more");
    return cc_push_err(L, &err);
}

static void on_written(uv_write_t *w, int status)
{
    struct process *p = w->data;
    struct cc_task *t = p->writer;

    free(p->writing);
    p->writing = NULL;
    p->writer = NULL;
    if (status < 0)
        pipe_close(&p->in, &p->in_open);
    if (!t)
        return;
    lua_pushboolean(cc_task_stack(t), 1);
    cc_task_wake(t, status < 0 ? fail_write(cc_task_stack(t)) : 1);
    release(p);
}

static void cancel_write(void *op)
{
    struct process *p = op;

    p->writer = NULL; /* the text itself is on its way */
    release(p);
}

static int l_write(lua_State *L)
{
    struct process *p = to_process(L);
    size_t n;
    const char *text = luaL_checklstring(L, 2, &n);
    struct cc_task *t = cc_task_need(L, "p:write");
    uv_buf_t buf;

    luaL_argcheck(L, n <= 64 << 20, 2, "at most 64 MiB expected");
    if (p->writing)
        return luaL_error(L, "p:write: a text is on its way already");
    if (!p->in_open)
        return fail_write(L);
    p->writing = cc_xmalloc(n + 1);
    memcpy(p->writing, text, n);
    buf = uv_buf_init(p->writing, (unsigned)n);
    p->write.data = p;
    if (uv_write(&p->write, (uv_stream_t *)&p->in, &buf, 1, on_written) != 0) {
        free(p->writing);
        p->writing = NULL;
        return fail_write(L);
    }
    p->writer = t;
    hold(L, p);
    cc_task_park(t, cancel_write, p);
    return lua_yield(L, 0);
}

static int l_close_input(lua_State *L)
{
    struct process *p = to_process(L);

    pipe_close(&p->in, &p->in_open);
    return 0;
}

static int l_errors(lua_State *L)
{
    struct process *p = to_process(L);

    lua_pushlstring(L, p->errors, p->errors_len);
    return 1;
}

static int l_kill(lua_State *L)
{
    static const char *const names[] = { "KILL", "TERM", "INT", NULL };
    static const int signals[] = { SIGKILL, SIGTERM, SIGINT };

    group_kill(to_process(L), signals[luaL_checkoption(L, 2, "KILL", names)]);
    return 0;
}

static int l_pid(lua_State *L)
{
    lua_pushinteger(L, to_process(L)->pid);
    return 1;
}

static int l_leave(lua_State *L)
{
    to_process(L)->left = true;
    return 0;
}

static void end(struct process *p)
{
    if (!p->left) {
        group_kill(p, SIGKILL);
    } else if (!p->exited) {
        p->exited = true; /* we shall not hear of it */
        uv_close((uv_handle_t *)&p->uv, on_closed);
    }
    pipe_close(&p->in, &p->in_open);
    pipe_close(&p->out, &p->out_open);
    pipe_close(&p->err, &p->err_open);
}

static int l_gc(lua_State *L)
{
    struct process *p = to_process(L);

    p->gone = true;
    end(p);
    settle(p);
    return 0;
}

static void close_module(void *arg)
{
    struct process *p;

    (void)arg;
    for (p = all; p; p = p->next)
        end(p);
}

static const luaL_Reg methods[] = { { "line", l_line },     { "wait", l_wait },
                                    { "write", l_write },   { "close_input", l_close_input },
                                    { "errors", l_errors }, { "kill", l_kill },
                                    { "pid", l_pid },       { "leave", l_leave },
                                    { "__gc", l_gc },       { NULL, NULL } };
static const luaL_Reg process_lib[] = { { "spawn", l_spawn }, { NULL, NULL } };

int luaopen_cc_process(lua_State *L)
{
    luaL_newmetatable(L, META);
    luaL_register(L, NULL, methods);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    cc_vm_at_close(L, close_module, NULL);
    lua_newtable(L);
    luaL_register(L, NULL, process_lib);
    return 1;
}
