/* bind_network.c - module "network": private networks of machines (providers/network), for Lua.
 *
 *   n | nil, err = network.open(name, settings)       open until the end of the program
 * These wait [yields]; opts = {deadline = seconds}, 30 when absent:
 *   n:vpc_create(id, opts) -> {id=, bridge=, stateful=}    n:vpc_remove(id, opts) -> true    n:vpc_list(opts) -> the same, all
 *   n:port_remove(id, opts) -> true                        n:port_list(vpc or nil, opts) -> {{id=, vpc=}, ...}
 *   n:apply(vpc, plan, opts) -> true                       n:verify(vpc, plan, opts) -> {missing=, extra=, text=}
 * plan: network_read.h
 */
#include "host/script/json.h"
#include "host/script/modules.h"
#include "host/script/network_read.h"
#include "host/script/provider_read.h"
#include "host/script/task.h"
#include "host/script/vm.h"
#include "host/sys/clock.h"
#include "host/sys/mem.h"
#include "providers/network/network.h"

#include <stdlib.h>
#include <string.h>

#define NETWORK "cchost.network"

enum { THREADS = 4, SECONDS = 30 };
enum op { VPC_CREATE, VPC_REMOVE, VPC_LIST, PORT_REMOVE, PORT_LIST, APPLY, VERIFY };

/* A driver that was opened; it goes when it is closed and the last call has returned. */
struct net {
    const struct cc_net_driver *driver;
    void *self;
    struct cc_pool *pool;
    unsigned jobs;
    bool closing;
};

struct handle {
    struct net *net; /* NULL: closed */
};

struct net_job {
    struct cc_job job;
    struct cc_task *task; /* NULL: it has given up */
    struct net *net;
    enum op op;
    const char *id; /* in the arena, like the plan and the answer */
    struct cc_net_plan plan;
    struct cc_arena arena;
    struct cc_err err;
    int rc;
    struct cc_net_vpc vpc;
    struct cc_net_vpc_list vpcs;
    struct cc_net_plug_list plugs;
    struct cc_net_drift drift;
};

/* ---------------------------------------------------------------- answers */

static void set_text(lua_State *L, const char *key, const char *s)
{
    if (!s)
        return;
    lua_pushstring(L, s);
    lua_setfield(L, -2, key);
}

static void push_vpc(lua_State *L, const struct cc_net_vpc *v)
{
    lua_createtable(L, 0, 3);
    set_text(L, "id", v->id);
    set_text(L, "bridge", v->bridge);
    lua_pushboolean(L, v->stateful);
    lua_setfield(L, -2, "stateful");
}

static void push_plug(lua_State *L, const struct cc_net_plug *p)
{
    lua_createtable(L, 0, 2);
    set_text(L, "id", p->id);
    set_text(L, "vpc", p->vpc);
}

static void push_drift(lua_State *L, const struct cc_net_drift *d)
{
    lua_createtable(L, 0, 3);
    lua_pushnumber(L, (lua_Number)d->missing);
    lua_setfield(L, -2, "missing");
    lua_pushnumber(L, (lua_Number)d->extra);
    lua_setfield(L, -2, "extra");
    set_text(L, "text", d->text);
}

static void push_answer(lua_State *L, const struct net_job *j)
{
    size_t i;

    switch (j->op) {
    case VPC_CREATE:
        push_vpc(L, &j->vpc);
        break;
    case VPC_LIST:
        lua_createtable(L, (int)j->vpcs.n, 0);
        for (i = 0; i < j->vpcs.n; i++) {
            push_vpc(L, &j->vpcs.v[i]);
            lua_rawseti(L, -2, (int)i + 1);
        }
        break;
    case PORT_LIST:
        lua_createtable(L, (int)j->plugs.n, 0);
        for (i = 0; i < j->plugs.n; i++) {
            push_plug(L, &j->plugs.v[i]);
            lua_rawseti(L, -2, (int)i + 1);
        }
        break;
    case VERIFY:
        push_drift(L, &j->drift);
        break;
    case VPC_REMOVE:
    case PORT_REMOVE:
    case APPLY:
        lua_pushboolean(L, 1);
        break;
    }
}

/* ---------------------------------------------------------------- the calls */

static void on_work(struct cc_job *job)
{
    struct net_job *j = (struct net_job *)job;
    struct cc_provider_ctx x = { .call = &job->call, .arena = &j->arena, .err = &j->err };
    const struct cc_net_driver *d = j->net->driver;
    void *self = j->net->self;

    switch (j->op) {
    case VPC_CREATE:
        j->rc = d->vpc_create(self, &x, j->id, &j->vpc);
        break;
    case VPC_REMOVE:
        j->rc = d->vpc_remove(self, &x, j->id);
        break;
    case VPC_LIST:
        j->rc = d->vpc_list(self, &x, &j->vpcs);
        break;
    case PORT_REMOVE:
        j->rc = d->port_remove(self, &x, j->id);
        break;
    case PORT_LIST:
        j->rc = d->port_list(self, &x, j->id, &j->plugs);
        break;
    case APPLY:
        j->rc = d->apply(self, &x, j->id, &j->plan);
        break;
    case VERIFY:
        j->rc = d->verify(self, &x, j->id, &j->plan, &j->drift);
        break;
    }
}

static void maybe_free(struct net *n)
{
    if (!n->closing || n->jobs > 0)
        return;
    n->driver->close(n->self);
    free(n);
}

static void job_free(struct net_job *j)
{
    j->net->jobs--;
    maybe_free(j->net);
    cc_arena_free(&j->arena);
    free(j);
}

static void on_done(struct cc_job *job)
{
    struct net_job *j = (struct net_job *)job;
    lua_State *L = j->task ? cc_task_stack(j->task) : NULL;
    int n = 1;

    cc_job_unbegun(job, &j->rc, &j->err);
    if (L && j->rc == 0 && lua_checkstack(L, 12))
        push_answer(L, j);
    else if (L)
        n = cc_push_err(L, &j->err);
    if (L)
        cc_task_wake(j->task, n);
    job_free(j);
}

static void on_cancel(void *op)
{
    struct net_job *j = op;

    j->task = NULL;
    cc_pool_cancel(&j->job);
}

static struct handle *self_of(lua_State *L)
{
    struct handle *h = luaL_checkudata(L, 1, NETWORK);

    if (!h->net)
        luaL_error(L, "this network is closed");
    return h;
}

/* Takes over what was read into `a`, and yields. */
static int begin(lua_State *L, enum op op, const char *id, struct cc_arena *a, const struct cc_net_plan *plan, int opts)
{
    struct handle *h = self_of(L);
    struct cc_task *t = cc_task_need(L, "a network's call");
    lua_Number seconds = 0;
    struct net_job *j;

    if (!lua_isnoneornil(L, opts)) {
        luaL_checktype(L, opts, LUA_TTABLE);
        seconds = cc_read_number(L, opts, "deadline", 86400);
    }
    j = cc_xcalloc(1, sizeof(*j)); /* nothing below can raise */
    j->task = t;
    j->net = h->net;
    j->net->jobs++;
    j->op = op;
    j->id = id;
    if (plan)
        j->plan = *plan;
    j->arena = *a;
    a->head = NULL;
    j->job.work = on_work;
    j->job.done = on_done;
    j->rc = cc_err_set(&j->err, CC_E_CANCELLED, "cancelled before it began");
    j->job.call.deadline_ms = cc_mono_ms() + (uint64_t)((seconds > 0 ? seconds : SECONDS) * 1000);
    cc_pool_submit(h->net->pool, &j->job);
    cc_task_park(t, on_cancel, j);
    return lua_yield(L, 0);
}

static int by_id(lua_State *L, enum op op)
{
    struct cc_arena *a;

    self_of(L);
    luaL_checkstring(L, 2);
    lua_settop(L, 3);
    a = cc_read_arena(L);
    return begin(L, op, cc_arena_strdup(a, lua_tostring(L, 2)), a, NULL, 3);
}

static int l_vpc_create(lua_State *L) { return by_id(L, VPC_CREATE); }
static int l_vpc_remove(lua_State *L) { return by_id(L, VPC_REMOVE); }
static int l_port_remove(lua_State *L) { return by_id(L, PORT_REMOVE); }

static int l_vpc_list(lua_State *L)
{
    self_of(L);
    lua_settop(L, 2);
    return begin(L, VPC_LIST, NULL, cc_read_arena(L), NULL, 2);
}

static int l_port_list(lua_State *L)
{
    struct cc_arena *a;

    self_of(L);
    luaL_optstring(L, 2, NULL);
    lua_settop(L, 3);
    a = cc_read_arena(L);
    return begin(L, PORT_LIST, cc_arena_strdup(a, lua_tostring(L, 2)), a, NULL, 3);
}

static int with_plan(lua_State *L, enum op op)
{
    struct cc_net_plan plan = { 0 };
    struct cc_arena *a;

    self_of(L);
    luaL_checkstring(L, 2);
    lua_settop(L, 4);
    a = cc_read_arena(L);
    cc_read_plan(L, a, 3, &plan);
    return begin(L, op, cc_arena_strdup(a, lua_tostring(L, 2)), a, &plan, 4);
}

static int l_apply(lua_State *L) { return with_plan(L, APPLY); }
static int l_verify(lua_State *L) { return with_plan(L, VERIFY); }

/* ---------------------------------------------------------------- open */

/* At the end of the VM. */
static void close_handle(void *arg)
{
    struct handle *h = arg;
    struct net *n = h->net;

    h->net = NULL;
    n->closing = true;
    cc_pool_close(n->pool);
    maybe_free(n);
}

static int l_open(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    const struct cc_net_driver *d = cc_net_driver_find(name);
    struct cc_pairs settings = { NULL, 0 };
    struct cc_arena *a;
    struct handle *h;
    struct cc_err err;
    void *self = NULL;

    lua_settop(L, 2);
    a = cc_read_arena(L);
    if (!lua_isnil(L, 2))
        settings = cc_read_settings(L, a, 2);
    h = lua_newuserdata(L, sizeof(*h));
    h->net = NULL;
    luaL_getmetatable(L, NETWORK);
    lua_setmetatable(L, -2);
    lua_pushvalue(L, -1);
    luaL_ref(L, LUA_REGISTRYINDEX); /* the state's end closes it, so it stays until then */
    if (!d)
        cc_err_set(&err, CC_E_UNSUPPORTED, "there is no network driver called %.64s", name);
    if (!d || d->open(&settings, &self, &err) != 0)
        return cc_push_err(L, &err);
    h->net = cc_xcalloc(1, sizeof(*h->net));
    *h->net = (struct net){ .driver = d, .self = self, .pool = cc_pool_new(cc_vm_loop(L), "network", THREADS) };
    cc_vm_at_close(L, close_handle, h);
    return 1;
}

static const luaL_Reg methods[] = { { "vpc_create", l_vpc_create }, { "vpc_remove", l_vpc_remove },
                                    { "vpc_list", l_vpc_list },     { "port_remove", l_port_remove },
                                    { "port_list", l_port_list },   { "apply", l_apply },
                                    { "verify", l_verify },         { NULL, NULL } };

static const luaL_Reg network_lib[] = { { "open", l_open }, { NULL, NULL } };

int luaopen_cc_network(lua_State *L)
{
    cc_read_open(L);
    luaL_newmetatable(L, NETWORK);
    lua_newtable(L);
    luaL_register(L, NULL, methods);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    lua_newtable(L);
    luaL_register(L, NULL, network_lib);
    return 1;
}
