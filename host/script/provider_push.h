/* provider_push.h - what a driver says, as Lua's plain data.
 *
 * For bind_provider.c alone.  Each pushes one value, but for cc_push_field, which
 * sets one of the table on the top.  What is NULL or empty is left out.
 */
#ifndef CC_SCRIPT_PROVIDER_PUSH_H
#define CC_SCRIPT_PROVIDER_PUSH_H

#include "providers/call.h"

#include <lua.h>

void cc_push_field(lua_State *L, const char *key, const char *text);
void cc_push_list(lua_State *L, size_t n); /* an empty one, which JSON knows for a list */

/* What a call came to; `id`: of the machine that it was about. */
void cc_push_provider_result(lua_State *L, enum cc_provider_op op, const char *id, const struct cc_provider_res *r);
void cc_push_capabilities(lua_State *L, const struct cc_driver *d, const struct cc_capabilities *c);
void cc_push_provider_stats(lua_State *L, const struct cc_provider_stats *s);

#endif
