/* json.h - JSON text <-> Lua values, exactly.
 *
 * The one place that converts (over jansson): duplicate names, invalid UTF-8,
 * NaN, trailing bytes and depth beyond 64 are refused; integers beyond 2^53
 * are refused rather than rounded; arrays carry the metatable of json.array,
 * so an empty list stays a list; null is json.null.  Members are written in
 * sorted order, so the same value always gives the same bytes.
 * Thread: loop thread only (a Lua state is involved).
 */
#ifndef CC_JSON_H
#define CC_JSON_H

#include "host/sys/err.h"

#include <lua.h>
#include <stddef.h>

#define CC_JSON_LIST "cchost.array" /* name of the metatable of json.array */

/* Pushes the value of the text; or pushes nothing and returns CC_E_INVALID. May raise only out of memory. */
int cc_json_push(lua_State *L, const char *text, size_t len, struct cc_err *err);

/* Encodes the value at idx. NUL-terminated text that the caller frees, or NULL and err (a function, a
 * cycle, a mixed table, a non-finite number...). Raises nothing. */
char *cc_json_text(lua_State *L, int idx, size_t *len, struct cc_err *err);

int luaopen_cc_json(lua_State *L);

#endif
