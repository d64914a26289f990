/* command.h - what Lua says of a program to run: the argument vector in the table at 1, with a field "env".
 *
 * Copies outlive the table; the caller frees them with cc_command_free.
 */
#ifndef CC_COMMAND_H
#define CC_COMMAND_H

#include <lua.h>

/* Raises on what is no argument vector of strings without NUL, and on an env that is no table of strings. */
void cc_command_check(lua_State *L);
char **cc_command_argv(lua_State *L); /* ends with NULL */
char **cc_command_env(lua_State *L);  /* "NAME=value", likewise; NULL: none is said */
void cc_command_free(char **strings); /* or NULL */

#endif
