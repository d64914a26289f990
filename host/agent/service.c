/* service.c - module "service": programs that the agent keeps running. Which, and when, is lua/agent/supervise.lua's.
 *
 *   true | nil, err = service.start{name=, command={...}, cwd=, env={NAME=value}}
 *   service.kill(name, "TERM"|"KILL")     to it and its group
 *   list = service.alive()                {{name=, pid=}, ...}
 *   text = service.log(name)              the last of what it said, and those before it of that name; "": nothing yet
 *   name, exit = service.ended()          [yields] the next one that has ended: 128 + n after signal n
 *   service.failing{name, ...}            what GET /healthz says of them
 *
 * Each is the program of a session (session.h) that nobody finds by a name:
 * it has a terminal, its output a ring, and it goes through an update as they
 * do.  With the agent's end its terminal hangs up.
 */
#include "host/agent/lua.h"
#include "host/agent/session.h"

#include "host/script/task.h"
#include "host/sys/err.h"
#include "host/sys/mem.h"

#include <lauxlib.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

enum { ARGS_MAX = 256, ENV_MAX = 256, LOG = 65536 };

struct end {
    char name[SESSION_NAME];
    int exit;
    struct end *next;
};

struct journal {
    char name[SESSION_NAME];
    struct cc_ring *ring;
    struct journal *next;
};

static struct {
    struct cc_task *waiter;
    struct end *ends, **last; /* not yet told */
    struct journal *journals;
    json_t *failing;
} services;

json_t *agent_failing(void) { return services.failing ? json_incref(services.failing) : json_array(); }

static struct journal *journal(const char *name)
{
    struct journal *j = services.journals;

    while (j && strcmp(j->name, name) != 0)
        j = j->next;
    return j;
}

struct cc_ring *service_ring(const char *name)
{
    struct journal *j = journal(name);

    if (!j) {
        j = cc_xcalloc(1, sizeof(*j));
        snprintf(j->name, sizeof(j->name), "%s", name);
        j->ring = cc_ring_new(LOG);
        j->next = services.journals;
        services.journals = j;
    }
    return j->ring;
}

/* ---- the end */

static int push_end(lua_State *L)
{
    struct end *e = services.ends;

    lua_pushstring(L, e->name);
    lua_pushinteger(L, e->exit);
    services.ends = e->next;
    free(e);
    return 2;
}

/* What it leaves behind in its group goes, too: it is to begin anew. */
void service_ended(const struct session *s, pid_t pid, int status)
{
    struct end *e = cc_xcalloc(1, sizeof(*e));

    kill(-pid, SIGKILL);
    memcpy(e->name, s->name, sizeof(e->name));
    e->exit = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    if (!services.ends)
        services.last = &services.ends;
    *services.last = e;
    services.last = &e->next;
    if (services.waiter) {
        struct cc_task *t = services.waiter;

        services.waiter = NULL;
        cc_task_wake(t, push_end(cc_task_stack(t)));
    }
}

static void on_cancel(void *op)
{
    (void)op;
    services.waiter = NULL;
}

static int l_ended(lua_State *L)
{
    struct cc_task *t = cc_task_need(L, "service.ended");

    if (services.ends)
        return push_end(L);
    if (services.waiter)
        return luaL_error(L, "service.ended: somebody waits already");
    services.waiter = t;
    cc_task_park(t, on_cancel, NULL);
    return lua_yield(L, 0);
}

/* ---- the start */

static struct session *find(const char *name)
{
    struct session *s = sessions;

    while (s && (!s->service || s->ended || strcmp(s->name, name) != 0))
        s = s->next;
    return s;
}

/* The strings of the list at the top, which the list keeps; it is popped. */
static void read_words(lua_State *L, const char **out, size_t max)
{
    size_t i, n = lua_objlen(L, -1);

    luaL_argcheck(L, n >= 1 && n < max, 1, "command: a list of words expected");
    for (i = 0; i < n; i++) {
        lua_rawgeti(L, -1, (int)i + 1);
        out[i] = luaL_checkstring(L, -1);
        lua_pop(L, 1);
    }
    out[n] = NULL;
    lua_pop(L, 1);
}

/* NAME, value, NAME, value, NULL; as above. */
static void read_env(lua_State *L, const char **out, size_t max)
{
    size_t n = 0;

    if (lua_istable(L, -1)) {
        for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
            luaL_argcheck(L, n + 2 < max && lua_type(L, -2) == LUA_TSTRING && lua_type(L, -1) == LUA_TSTRING, 1,
                          "env: names and texts expected");
            out[n++] = lua_tostring(L, -2);
            out[n++] = lua_tostring(L, -1);
        }
    }
    out[n] = NULL;
    lua_pop(L, 1);
}

static int l_start(lua_State *L)
{
    static const char *words[ARGS_MAX], *env[ENV_MAX];
    const struct winsize size = { .ws_col = 80, .ws_row = 24 };
    struct agent_program p = { .words = words, .env = env };
    struct cc_err err;
    const char *name;

    luaL_checktype(L, 1, LUA_TTABLE);
    lua_getfield(L, 1, "name");
    name = luaL_checkstring(L, -1);
    luaL_argcheck(L, agent_name_ok(name) && !find(name), 1, "a name expected that no running one has");
    lua_getfield(L, 1, "cwd");
    p.cwd = luaL_optstring(L, -1, NULL);
    lua_getfield(L, 1, "command");
    luaL_checktype(L, -1, LUA_TTABLE);
    read_words(L, words, ARGS_MAX);
    lua_getfield(L, 1, "env");
    read_env(L, env, ENV_MAX);
    if (session_new_service(agent_self(), name, &p, size)) {
        lua_pushboolean(L, 1);
        return 1;
    }
    cc_err_set(&err, CC_E_IO, "no process or terminal can be made");
    return cc_push_err(L, &err);
}

static int l_kill(lua_State *L)
{
    static const char *const names[] = { "TERM", "KILL", NULL };
    struct session *s = find(luaL_checkstring(L, 1));
    int num = luaL_checkoption(L, 2, NULL, names) == 0 ? SIGTERM : SIGKILL;

    if (s && s->pid && kill(-s->pid, num) != 0)
        kill(s->pid, num); /* it was forked just now, and leads no group yet */
    return 0;
}

/* ---- what is told */

static int l_alive(lua_State *L)
{
    const struct session *s;
    int n = 0;

    lua_newtable(L);
    for (s = sessions; s; s = s->next) {
        if (!s->service || !s->pid)
            continue;
        lua_createtable(L, 0, 2);
        lua_pushstring(L, s->name);
        lua_setfield(L, -2, "name");
        lua_pushinteger(L, s->pid);
        lua_setfield(L, -2, "pid");
        lua_rawseti(L, -2, ++n);
    }
    return 1;
}

static int l_log(lua_State *L)
{
    const struct journal *j = journal(luaL_checkstring(L, 1));
    const struct cc_ring *r = j ? j->ring : NULL;
    size_t n = r ? (size_t)(cc_ring_end(r) - cc_ring_begin(r)) : 0;
    char *text;

    if (n == 0) {
        lua_pushliteral(L, "");
        return 1;
    }
    text = lua_newuserdata(L, n);
    cc_ring_copy(r, cc_ring_begin(r), text, n);
    lua_pushlstring(L, text, n);
    return 1;
}

static int l_failing(lua_State *L)
{
    size_t i, n;

    luaL_checktype(L, 1, LUA_TTABLE);
    n = lua_objlen(L, 1);
    json_decref(services.failing);
    services.failing = json_array();
    for (i = 0; i < n; i++) {
        lua_rawgeti(L, 1, (int)i + 1);
        json_array_append_new(services.failing, json_string(lua_tostring(L, -1)));
        lua_pop(L, 1);
    }
    return 0;
}

static const luaL_Reg service_lib[] = { { "start", l_start }, { "kill", l_kill },   { "alive", l_alive },
                                        { "log", l_log },     { "ended", l_ended }, { "failing", l_failing },
                                        { NULL, NULL } };

int luaopen_agent_service(lua_State *L)
{
    lua_newtable(L);
    luaL_register(L, NULL, service_lib);
    return 1;
}
