/* vm.c - see vm.h. */
#include "host/script/vm.h"

#include "host/observe/log.h"
#include "host/script/carried.h"
#include "host/script/modules.h"
#include "host/script/pairs.h"
#include "host/script/task.h"
#include "host/sys/clock.h"
#include "host/sys/mem.h"
#include "host/sys/pool.h"

#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct at_close {
    void (*fini)(void *arg);
    void *arg;
    struct at_close *next;
};

struct vm {
    uv_loop_t *loop;
    lua_State *L;
    struct at_close *at_close;
    struct cc_pool *pool;
};

static const char vm_key = 'v';

void cc_vm_set(lua_State *L, const void *key, void *value)
{
    lua_pushlightuserdata(L, (void *)key);
    lua_pushlightuserdata(L, value);
    lua_rawset(L, LUA_REGISTRYINDEX);
}

void *cc_vm_get(lua_State *L, const void *key)
{
    void *value;

    lua_pushlightuserdata(L, (void *)key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    value = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return value;
}

static struct vm *vm_of(lua_State *L) { return cc_vm_get(L, &vm_key); }
uv_loop_t *cc_vm_loop(lua_State *L) { return vm_of(L)->loop; }
lua_State *cc_vm_main(lua_State *L) { return vm_of(L)->L; }

struct cc_pool *cc_vm_pool(lua_State *L)
{
    struct vm *vm = vm_of(L);

    if (!vm->pool)
        vm->pool = cc_pool_new(vm->loop, "general", 16);
    return vm->pool;
}

void cc_vm_at_close(lua_State *L, void (*fini)(void *arg), void *arg)
{
    struct vm *vm = vm_of(L);
    struct at_close *c = cc_xcalloc(1, sizeof(*c));

    *c = (struct at_close){ fini, arg, vm->at_close };
    vm->at_close = c;
}

/* package.loaders entry: Lua files that the binary carries. */
static int l_load_carried(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    const struct cc_carried *c;

    lua_pushfstring(L, "lua:%s", name);
    c = cc_carried_find(lua_tostring(L, -1));
    if (!c) {
        lua_pushfstring(L, "\n\tno module '%s' in the binary", name);
        return 1;
    }
    lua_pushfstring(L, strncmp(name, "policies.", 9) == 0 ? "@%s.lua" : "@lua/%s.lua", luaL_gsub(L, name, ".", "/"));
    if (luaL_loadbufferx(L, c->data, c->len, lua_tostring(L, -1), "t") != 0)
        return lua_error(L);
    return 1;
}

/* Global variables are almost always a forgotten `local`. */
static const char strict_source[] =
    "setmetatable(_G, {\n"
    "  __newindex = function(_, k) error('assignment to the undeclared global ' .. tostring(k), 2) end,\n"
    "  __index = function(_, k) error('undeclared global ' .. tostring(k), 2) end })\n";

static int l_setup(lua_State *L)
{
    const luaL_Reg *m;

    luaL_openlibs(L);
    cc_pairs_open(L);
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "preload");
    for (m = cc_modules; m->name; m++) {
        lua_pushcfunction(L, m->func);
        lua_setfield(L, -2, m->name);
    }
    lua_pop(L, 1);
    lua_getfield(L, -1, "loaders"); /* 1: preload; ours becomes 2, files come after */
    lua_newtable(L);
    lua_rawgeti(L, -2, 1);
    lua_rawseti(L, -2, 1);
    lua_pushcfunction(L, l_load_carried);
    lua_rawseti(L, -2, 2);
    lua_rawgeti(L, -2, 2);
    lua_rawseti(L, -2, 3);
    lua_setfield(L, -3, "loaders");
    lua_pop(L, 1);
    lua_pushliteral(L, "");
    lua_setfield(L, -2, "path"); /* a script's own folder is added by main.c */
    lua_pushliteral(L, "");
    lua_setfield(L, -2, "cpath");
    lua_settop(L, 0);
    lua_pushcfunction(L, luaopen_cc_task); /* its error metatable is needed by all others */
    lua_call(L, 0, 0);
    if (luaL_loadbufferx(L, strict_source, sizeof(strict_source) - 1, "=strict", "t") != 0)
        return lua_error(L);
    lua_call(L, 0, 0);
    return 0;
}

lua_State *cc_vm_new(uv_loop_t *loop)
{
    struct vm *vm = cc_xcalloc(1, sizeof(*vm));
    lua_State *L = luaL_newstate();

    if (!L)
        abort();
    vm->loop = loop;
    vm->L = L;
    cc_vm_set(L, &vm_key, vm);
    cc_sched_init(L, loop);
    lua_pushcfunction(L, l_setup);
    if (lua_pcall(L, 0, 0, 0) != 0) {
        fprintf(stderr, "cchost: %s\n", lua_tostring(L, -1));
        abort();
    }
    return L;
}

static void count_open(uv_handle_t *h, void *arg)
{
    if (uv_is_closing(h))
        return;
    ++*(int *)arg;
    cc_log(CC_LOG_WARN, "vm", "left open: %s", uv_handle_type_name(h->type));
    uv_close(h, NULL);
}

static void on_guard(uv_timer_t *t) { (void)t; }
static void on_guard_closed(uv_handle_t *h) { h->data = NULL; }

/* Until nothing is left to wait for, or for five seconds: what is open then is named by close. */
static void run_dry(uv_loop_t *loop)
{
    uint64_t end = cc_mono_ns() + 5000000000u;
    uv_timer_t guard;

    uv_timer_init(loop, &guard);
    uv_timer_start(&guard, on_guard, 100, 100);
    uv_unref((uv_handle_t *)&guard);
    while (uv_loop_alive(loop) && cc_mono_ns() < end)
        uv_run(loop, UV_RUN_ONCE);
    guard.data = &guard;
    uv_close((uv_handle_t *)&guard, on_guard_closed);
    while (guard.data) /* a uv_stop from before may cut the first run short */
        uv_run(loop, UV_RUN_NOWAIT);
}

/* The state is closed after the loop has run dry, so that every completion still finds it; the
 * handles that only __gc closes need the second round. */
int cc_vm_close(lua_State *L)
{
    struct vm *vm = vm_of(L);
    struct at_close *c;
    int open = 0;

    cc_sched_close(L);
    while ((c = vm->at_close)) {
        vm->at_close = c->next;
        c->fini(c->arg);
        free(c);
    }
    if (vm->pool)
        cc_pool_close(vm->pool);
    run_dry(vm->loop);
    lua_close(L);
    run_dry(vm->loop);
    uv_walk(vm->loop, count_open, &open);
    run_dry(vm->loop);
    if (uv_loop_close(vm->loop) != 0)
        open++;
    free(vm);
    return open;
}
