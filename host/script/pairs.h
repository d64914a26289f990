/* pairs.h - `pairs` and `next` that the compiler leaves alone.
 *
 * LuaJIT 2.1 of March 2022, which Debian 12 has, compiles loops over pairs, and
 * once it gives one up again, loops that are compiled within it end early: a
 * table reads as if it were empty, or had fewer members (LuaJIT#827).  A request
 * to Stripe was sent without its parameters that way.  Where the iterator is a
 * function in C, such loops are interpreted.
 */
#ifndef CC_PAIRS_H
#define CC_PAIRS_H

#include <lua.h>

void cc_pairs_open(lua_State *L); /* before any Lua code is run */

#endif
