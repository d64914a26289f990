/* main.c - command line in, exit code out.
 *
 * Everything that is a decision, the choice of the command included, is Lua
 * (lua/cli.lua).  Here: the loop, the state, one task that runs the program,
 * and an orderly end that says when something was left open.
 */
#include "host/observe/log.h"
#include "host/script/task.h"
#include "host/script/vm.h"
#include "host/sys/first.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <uv.h>

struct program {
    uv_loop_t *loop;
    bool ended;
    int code;
};

static void on_end(void *arg, bool ok, lua_State *co, int n, const char *error)
{
    struct program *p = arg;

    p->ended = true;
    if (!ok) {
        fprintf(stderr, "cchost: %s\n", error);
        p->code = 1;
    } else {
        p->code = n > 0 && lua_isnumber(co, 1) ? (int)lua_tointeger(co, 1) : 0;
    }
    uv_stop(p->loop);
}

/* return require("cli").main(arguments): the strings are pushed as they came. */
static void spawn_program(lua_State *L, int argc, char **argv, struct program *p)
{
    static const char source[] = "return require('cli').main(...)";
    int i;

    if (luaL_loadbufferx(L, source, sizeof(source) - 1, "=cchost", "t") != 0)
        abort();
    lua_createtable(L, argc, 1);
    for (i = 0; i < argc; i++) {
        lua_pushstring(L, argv[i]);
        lua_rawseti(L, -2, i);
    }
    cc_task_spawn(L, 1, on_end, p);
}

static void raise_file_limit(void)
{
    struct rlimit r;

    if (getrlimit(RLIMIT_NOFILE, &r) == 0) {
        r.rlim_cur = r.rlim_max;
        setrlimit(RLIMIT_NOFILE, &r);
    }
}

int main(int argc, char **argv)
{
    uv_loop_t loop;
    struct program p = { .loop = &loop, .code = 1 };
    lua_State *L;

    cc_first_process();
    signal(SIGPIPE, SIG_IGN);
    signal(SIGCHLD, SIG_DFL); /* ignored, it is so after exec too, and nobody is told how a child ended */
    raise_file_limit();
    argv = uv_setup_args(argc, argv);
    if (uv_loop_init(&loop) != 0)
        abort();
    L = cc_vm_new(&loop);
    spawn_program(L, argc, argv, &p);
    uv_run(&loop, UV_RUN_DEFAULT);
    if (!p.ended)
        fputs("cchost: the program waits for something that can no longer happen\n", stderr);
    if (cc_vm_close(L) != 0 && p.code == 0)
        p.code = 1;
    cc_log_stop();
    return p.code;
}
