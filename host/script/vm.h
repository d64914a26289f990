/* vm.h - the main Lua state and what it finds by require.
 *
 * One state for all routes, services, workflows and scripts.  require looks
 * first among the C modules (bind_NAME.c -> "NAME"), then among the Lua files
 * that the binary carries (lua/a/b.lua -> "a.b"), then, for scripts only, in
 * the script's own folder.  Globals are strict: reading or making an undeclared
 * one raises.  Thread: loop thread only.
 */
#ifndef CC_VM_H
#define CC_VM_H

#include <lauxlib.h>
#include <lua.h>
#include <uv.h>

struct cc_pool;

lua_State *cc_vm_new(uv_loop_t *loop);
uv_loop_t *cc_vm_loop(lua_State *L);
lua_State *cc_vm_main(lua_State *L); /* the state itself, from any of its coroutines */

/* The general pool for blocking work that belongs to no provider (files, processes); made at first use. */
struct cc_pool *cc_vm_pool(lua_State *L);

/* Something that a binding opened and that outlives no state: `fini` runs at cc_vm_close, before
 * the loop is run dry, last registered first. */
void cc_vm_at_close(lua_State *L, void (*fini)(void *arg), void *arg);

/* Tasks cancelled, at_close hooks run, loop run until no handle is left, state closed.
 * Returns the handles that were still open (0 when all is well). */
int cc_vm_close(lua_State *L);

/* A slot for a binding's own state: address of a static as key, a plain pointer as value. */
void cc_vm_set(lua_State *L, const void *key, void *value);
void *cc_vm_get(lua_State *L, const void *key);

#endif
