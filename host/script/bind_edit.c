/* bind_edit.c - module "edit": a line that somebody types at a terminal, with history and completion, by libedit.
 *
 *   text | nil | nil, err = edit.line(prompt, complete)   [yields] nil: the end of input (Ctrl-D). complete(word, line, at) ->
 *                           a list of what the word can become (`at`: where in the line it begins, from 1); it must not wait
 *   edit.remember(text)     into the history, where it is not the last one already
 *   true | nil, err = edit.load(path)    the history of earlier days; a file that is not there is an empty one
 *   true | nil, err = edit.save(path, most)   its last `most` lines, for the owner alone
 *   edit.interrupts(true)   from here on Ctrl-C (SIGINT) raises "interrupted" in this task, whatever it is at; false: no more.
 *                           Where that does not help (C that does not come back, an error that is caught again and again) the
 *                           third one ends the process. While it waits the signal's other listener hears of it, too: it is to
 *                           cancel the wait. Compiled code does not look: the compiler must be off
 *
 * libedit is loaded at the first use (err.code "unsupported" where there is none).  It reads when standard input has something, from
 * the loop, and holds the terminal's modes as long as a line is waited for.
 */
#include "host/script/modules.h"
#include "host/script/task.h"
#include "host/script/vm.h"
#include "host/sys/err.h"
#include "host/sys/library.h"
#include "host/sys/mem.h"

#include <editline/readline.h>
#include <errno.h>
#include <lauxlib.h>
#include <locale.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

static struct {
    __typeof__(&rl_callback_handler_install) install;
    __typeof__(&rl_callback_handler_remove) remove;
    __typeof__(&rl_callback_read_char) read_char;
    __typeof__(&rl_completion_matches) matches;
    __typeof__(&rl_initialize) initialize;
    __typeof__(&using_history) using_history;
    __typeof__(&add_history) add;
    __typeof__(&stifle_history) stifle;
    __typeof__(&read_history) read;
    __typeof__(&write_history) write;
    __typeof__(&rl_attempted_completion_function) completion;
    __typeof__(&rl_attempted_completion_over) over;
    __typeof__(&rl_completion_append_character) append;
    __typeof__(&rl_basic_word_break_characters) breaks;
    __typeof__(&rl_line_buffer) buffer;
    __typeof__(&rl_readline_name) name;
    __typeof__(&rl_catch_signals) signals;
} lib;

#define SYMBOL(field, name)                                                                                            \
    {                                                                                                                  \
        name, (size_t)((char *)&lib.field - (char *)&lib)                                                              \
    }

struct editor {
    lua_State *L;
    uv_poll_t poll;
    bool removed;
    struct cc_task *task; /* that waits for a line */
    int complete;         /* registry ref */
    char *last;           /* remembered last */
};

static struct editor *editor; /* one terminal a process */

static int load(struct cc_err *err)
{
    const struct cc_symbol symbols[] = {
        SYMBOL(install, "rl_callback_handler_install"),
        SYMBOL(remove, "rl_callback_handler_remove"),
        SYMBOL(read_char, "rl_callback_read_char"),
        SYMBOL(matches, "rl_completion_matches"),
        SYMBOL(initialize, "rl_initialize"),
        SYMBOL(using_history, "using_history"),
        SYMBOL(add, "add_history"),
        SYMBOL(stifle, "stifle_history"),
        SYMBOL(read, "read_history"),
        SYMBOL(write, "write_history"),
        SYMBOL(completion, "rl_attempted_completion_function"),
        SYMBOL(over, "rl_attempted_completion_over"),
        SYMBOL(append, "rl_completion_append_character"),
        SYMBOL(breaks, "rl_basic_word_break_characters"),
        SYMBOL(buffer, "rl_line_buffer"),
        SYMBOL(name, "rl_readline_name"),
        SYMBOL(signals, "rl_catch_signals"),
    };

    return cc_library_load("libedit.so.2", symbols, sizeof(symbols) / sizeof(*symbols), &lib, err);
}

/* ---------------------------------------------------------------- completion */

static char **candidates; /* of the word that is completed now; each is given away */
static size_t n_candidates, next_candidate;

/* The list on the stack's top, which is popped. */
static void take_candidates(lua_State *L)
{
    size_t i, n = lua_istable(L, -1) ? lua_objlen(L, -1) : 0;

    candidates = cc_xcalloc(n + 1, sizeof(*candidates));
    n_candidates = next_candidate = 0;
    for (i = 1; i <= n; i++) {
        lua_rawgeti(L, -1, (int)i);
        if (lua_type(L, -1) == LUA_TSTRING)
            candidates[n_candidates++] = cc_xstrdup(lua_tostring(L, -1));
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static char *give_candidate(const char *text, int state)
{
    (void)text, (void)state;
    return next_candidate < n_candidates ? candidates[next_candidate++] : NULL;
}

static char **complete(const char *word, int start, int end)
{
    lua_State *L = editor->L;
    char **out;

    (void)end;
    *lib.over = 1; /* never file names */
    if (editor->complete == LUA_NOREF)
        return NULL;
    lua_rawgeti(L, LUA_REGISTRYINDEX, editor->complete);
    lua_pushstring(L, word);
    lua_pushstring(L, *lib.buffer);
    lua_pushinteger(L, start + 1);
    if (lua_pcall(L, 3, 1, 0) != 0) {
        lua_pop(L, 1); /* an error while a key is pressed helps nobody: there is no completion */
        return NULL;
    }
    take_candidates(L);
    out = n_candidates ? lib.matches(word, give_candidate) : NULL;
    while (next_candidate < n_candidates)
        free(candidates[next_candidate++]);
    free(candidates);
    candidates = NULL;
    return out;
}

/* ---------------------------------------------------------------- a line */

static void rest(void)
{
    uv_poll_stop(&editor->poll);
    if (!editor->removed)
        lib.remove();
    editor->removed = true;
    luaL_unref(editor->L, LUA_REGISTRYINDEX, editor->complete);
    editor->complete = LUA_NOREF;
}

static void on_line(char *text)
{
    struct cc_task *t = editor->task;

    editor->task = NULL;
    rest();
    if (text)
        lua_pushstring(cc_task_stack(t), text);
    else
        lua_pushnil(cc_task_stack(t));
    free(text);
    cc_task_wake(t, 1);
}

static void on_input(uv_poll_t *p, int status, int events)
{
    (void)p, (void)status, (void)events; /* an error shows in reading */
    if (editor->task)
        lib.read_char();
}

static void on_closed(uv_handle_t *h)
{
    struct editor *e = h->data;

    free(e->last);
    free(e);
}

static void close_editor(void *arg)
{
    struct editor *e = arg;

    if (!e->removed)
        lib.remove();
    editor = NULL;
    uv_close((uv_handle_t *)&e->poll, on_closed);
}

static int open_editor(lua_State *L, struct cc_err *err)
{
    static const char breaks[] = " \t\n\"'`@$><=;|&{}()[]#,+-*/^~%";
    int rc;

    if (editor)
        return 0;
    if ((rc = load(err)) < 0)
        return rc;
    setlocale(LC_CTYPE, "C.UTF-8");
    *lib.name = "cchost";
    *lib.signals = 0;
    if (lib.initialize() != 0)
        return cc_err_set(err, CC_E_UNSUPPORTED, "this terminal cannot be edited on");
    lib.using_history();
    *lib.completion = complete;
    *lib.append = '\0';
    *lib.breaks = breaks;
    editor = cc_xcalloc(1, sizeof(*editor));
    editor->L = cc_vm_main(L);
    editor->complete = LUA_NOREF;
    editor->removed = true;
    uv_poll_init(cc_vm_loop(L), &editor->poll, STDIN_FILENO);
    editor->poll.data = editor;
    cc_vm_at_close(L, close_editor, editor);
    return 0;
}

static void cancel_line(void *op)
{
    (void)op;
    editor->task = NULL;
    rest();
}

static int l_line(lua_State *L)
{
    const char *prompt = luaL_checkstring(L, 1);
    struct cc_task *t = cc_task_need(L, "edit.line");
    struct cc_err err;

    luaL_argcheck(L, lua_isfunction(L, 2) || lua_isnoneornil(L, 2), 2, "a function or nil expected");
    if (open_editor(L, &err) < 0)
        return cc_push_err(L, &err);
    if (editor->task)
        return luaL_error(L, "edit.line: another task waits for a line");
    if (lua_isfunction(L, 2)) {
        lua_pushvalue(L, 2);
        editor->complete = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    editor->task = t;
    editor->removed = false;
    lib.install(prompt, on_line);
    uv_poll_start(&editor->poll, UV_READABLE, on_input);
    cc_task_park(t, cancel_line, editor);
    return lua_yield(L, 0);
}

/* ---------------------------------------------------------------- history */

static int l_remember(lua_State *L)
{
    const char *text = luaL_checkstring(L, 1);
    struct cc_err err;

    if (open_editor(L, &err) < 0 || *text == '\0' || (editor->last && strcmp(editor->last, text) == 0))
        return 0;
    free(editor->last);
    editor->last = cc_xstrdup(text);
    lib.add(text);
    return 0;
}

static int done(lua_State *L, int failure, const char *path)
{
    struct cc_err err;

    if (failure) {
        cc_err_sys(&err, failure, "%s", path);
        return cc_push_err(L, &err);
    }
    lua_pushboolean(L, 1);
    return 1;
}

static int l_load(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    struct cc_err err;
    int rc;

    if (open_editor(L, &err) < 0)
        return cc_push_err(L, &err);
    rc = access(path, F_OK) == 0 ? lib.read(path) : 0;
    return done(L, rc, path);
}

static int l_save(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    mode_t before;
    struct cc_err err;
    int rc;

    if (open_editor(L, &err) < 0)
        return cc_push_err(L, &err);
    lib.stifle((int)luaL_checkinteger(L, 2));
    before = umask(0077);
    rc = lib.write(path);
    umask(before);
    return done(L, rc, path);
}

/* ---------------------------------------------------------------- Ctrl-C while something runs */

enum { INTERRUPTS_MAX = 2 };

static struct {
    lua_State *L; /* the task's coroutine; NULL: nothing is to be interrupted */
    pthread_t thread;
    struct sigaction before;
    volatile sig_atomic_t n; /* how often it was asked for */
} running;

/* The task is not at work when this finds it waiting: then it is raised as soon as it goes on. */
static void on_hook(lua_State *L, lua_Debug *ar)
{
    (void)ar;
    if (running.L && lua_status(running.L) == LUA_YIELD)
        return;
    lua_sethook(L, NULL, 0, 0);
    if (!running.L)
        return;
    lua_pushliteral(L, "interrupted");
    lua_error(L);
}

/* lua_sethook may be called in a handler. */
static void on_interrupt(int num)
{
    if (!pthread_equal(pthread_self(), running.thread)) {
        pthread_kill(running.thread, num);
        return;
    }
    if (++running.n > INTERRUPTS_MAX) {
        signal(num, SIG_DFL);
        raise(num);
        return;
    }
    lua_sethook(running.L, on_hook, LUA_MASKCOUNT, 1);
    if (lua_status(running.L) == LUA_YIELD && running.before.sa_handler != SIG_DFL &&
        running.before.sa_handler != SIG_IGN)
        running.before.sa_handler(num);
}

static int l_interrupts(lua_State *L)
{
    struct sigaction a = { .sa_handler = on_interrupt, .sa_flags = SA_RESTART };

    luaL_checktype(L, 1, LUA_TBOOLEAN);
    if (lua_toboolean(L, 1) && !running.L) {
        running.L = L;
        running.thread = pthread_self();
        running.n = 0;
        sigaction(SIGINT, &a, &running.before);
    } else if (!lua_toboolean(L, 1) && running.L) {
        sigaction(SIGINT, &running.before, NULL);
        running.L = NULL;
        lua_sethook(L, NULL, 0, 0);
    }
    return 0;
}

static const luaL_Reg edit_lib[] = { { "line", l_line }, { "remember", l_remember },     { "load", l_load },
                                     { "save", l_save }, { "interrupts", l_interrupts }, { NULL, NULL } };

int luaopen_cc_edit(lua_State *L)
{
    lua_newtable(L);
    luaL_register(L, NULL, edit_lib);
    return 1;
}
