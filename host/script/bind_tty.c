/* bind_tty.c - module "tty": the terminal that we run in, and standard input.
 *
 *   true | nil, err = tty.raw()        standard input's terminal gives every byte as it is typed, Ctrl-C too; the old
 *                                      modes come back with tty.restore(), and at every end of the process (rawtty.h)
 *   tty.restore()
 *   columns, rows = tty.size()         of the terminal behind standard output, or input; nothing when there is none
 *   bytes | nil, err = tty.read(max)   [yields] what standard input has, at least one byte; "" at its end
 *
 * Standard input is waited for through an epoll descriptor of our own: O_NONBLOCK would be set for everybody who
 * shares the terminal with us, and would outlive us.
 */
#include <errno.h>
#include <lauxlib.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "host/script/modules.h"
#include "host/script/task.h"
#include "host/script/vm.h"
#include "host/sys/err.h"
#include "host/sys/mem.h"
#include "host/sys/rawtty.h"

enum { READ_MAX = 65536 };

/* Standard input being watched; made at the first read, there until the VM ends. */
struct input {
    uv_poll_t poll;
    int epoll;
    bool plain; /* a file or the like, of which epoll wants to know nothing: it never blocks */
    struct cc_task *reader;
    size_t max;
};

static struct input *input;

static int l_raw(lua_State *L)
{
    struct cc_err err;
    int rc = cc_rawtty_begin(STDIN_FILENO);

    if (rc < 0) {
        cc_err_sys(&err, -rc, "standard input's terminal cannot be used");
        return cc_push_err(L, &err);
    }
    lua_pushboolean(L, 1);
    return 1;
}

static int l_restore(lua_State *L)
{
    (void)L;
    cc_rawtty_restore();
    return 0;
}

static int l_size(lua_State *L)
{
    struct winsize w = { 0 };

    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) != 0 && ioctl(STDIN_FILENO, TIOCGWINSZ, &w) != 0)
        return 0;
    if (w.ws_col == 0 || w.ws_row == 0)
        return 0;
    lua_pushinteger(L, w.ws_col);
    lua_pushinteger(L, w.ws_row);
    return 2;
}

/* Pushes what is there now; the number of results, or 0 when there is nothing yet. */
static int push_read(lua_State *L, size_t max)
{
    static char buf[READ_MAX];
    struct cc_err err;
    ssize_t n = read(STDIN_FILENO, buf, max);

    if (n >= 0) {
        lua_pushlstring(L, buf, (size_t)n);
        return 1;
    }
    if (errno == EAGAIN || errno == EINTR)
        return 0;
    if (errno == EIO) { /* the terminal has gone */
        lua_pushliteral(L, "");
        return 1;
    }
    cc_err_sys(&err, errno, "cannot read standard input");
    return cc_push_err(L, &err);
}

static void on_input(uv_poll_t *h, int status, int events)
{
    struct input *in = h->data;
    struct cc_task *t = in->reader;
    int n;

    (void)status, (void)events; /* an error shows in reading */
    if (!t || (n = push_read(cc_task_stack(t), in->max)) == 0)
        return;
    in->reader = NULL;
    uv_poll_stop(h);
    cc_task_wake(t, n);
}

static void on_input_closed(uv_handle_t *h)
{
    struct input *in = h->data;

    close(in->epoll);
    free(in);
}

static void close_input(void *arg)
{
    struct input *in = arg;

    input = NULL;
    if (in->plain)
        free(in);
    else
        uv_close((uv_handle_t *)&in->poll, on_input_closed);
}

/* 0 or a negative errno value. */
static int open_input(lua_State *L)
{
    struct epoll_event e = { .events = EPOLLIN };
    struct input *in = cc_xcalloc(1, sizeof(*in));
    int failure;

    in->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (in->epoll < 0) {
        free(in);
        return -errno;
    }
    failure = epoll_ctl(in->epoll, EPOLL_CTL_ADD, STDIN_FILENO, &e) != 0 ? errno : 0;
    if (failure && failure != EPERM) {
        close(in->epoll);
        free(in);
        return -failure;
    }
    in->plain = failure != 0;
    if (in->plain) {
        close(in->epoll);
    } else {
        uv_poll_init(cc_vm_loop(L), &in->poll, in->epoll);
        in->poll.data = in;
    }
    input = in;
    cc_vm_at_close(L, close_input, in);
    return 0;
}

static void cancel_read(void *op)
{
    struct input *in = op;

    in->reader = NULL;
    uv_poll_stop(&in->poll);
}

static int l_read(lua_State *L)
{
    lua_Integer max = luaL_optinteger(L, 1, READ_MAX);
    struct cc_task *t = cc_task_need(L, "tty.read");
    struct cc_err err;
    int rc = 0;

    luaL_argcheck(L, max >= 1 && max <= READ_MAX, 1, "1..65536 expected");
    if (!input && (rc = open_input(L)) < 0) {
        cc_err_sys(&err, -rc, "cannot read standard input");
        return cc_push_err(L, &err);
    }
    if (input->reader)
        return luaL_error(L, "tty.read: another task reads standard input");
    if (input->plain)
        return push_read(L, (size_t)max);
    input->reader = t;
    input->max = (size_t)max;
    uv_poll_start(&input->poll, UV_READABLE, on_input);
    cc_task_park(t, cancel_read, input);
    return lua_yield(L, 0);
}

static void restore(void *arg)
{
    (void)arg;
    cc_rawtty_restore();
}

static const luaL_Reg tty_lib[] = {
    { "raw", l_raw }, { "restore", l_restore }, { "size", l_size }, { "read", l_read }, { NULL, NULL }
};

int luaopen_cc_tty(lua_State *L)
{
    cc_vm_at_close(L, restore, NULL);
    lua_newtable(L);
    luaL_register(L, NULL, tty_lib);
    return 1;
}
