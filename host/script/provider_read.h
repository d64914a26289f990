/* provider_read.h - what a driver is told, out of Lua's tables: plain data, copied into an arena.
 *
 * For bind_provider.c and network_read.c.  All of them raise what is wrong, by the field's
 * name; `t` is where on the stack the table is, from the bottom.  [raises]
 */
#ifndef CC_SCRIPT_PROVIDER_READ_H
#define CC_SCRIPT_PROVIDER_READ_H

#include "providers/provider.h"

#include <lua.h>

void cc_read_open(lua_State *L); /* once, before the others */

/* An arena that the stack anchors, pushed: whatever raises afterwards, it goes. */
struct cc_arena *cc_read_arena(lua_State *L);

/* NULL when nil. Without `len` a text that holds a NUL is none. */
const char *cc_read_text(lua_State *L, struct cc_arena *a, int t, const char *key, size_t *len);
lua_Number cc_read_number(lua_State *L, int t, const char *key, lua_Number most); /* 0..most; 0 when nil */
struct cc_strs cc_read_texts(lua_State *L, struct cc_arena *a, int t, const char *key);

/* {NAME = "value"}; numbers and booleans become text. */
struct cc_pairs cc_read_pairs(lua_State *L, struct cc_arena *a, int t, const char *key);
/* The table at t itself, which may nest: {create = {fail = 1}} is "create.fail" = "1". */
struct cc_pairs cc_read_settings(lua_State *L, struct cc_arena *a, int t);

struct cc_machine_spec *cc_read_machine(lua_State *L, struct cc_arena *a, int t);

#endif
