/* turn.h - how long the loop is at work before it can wait again, and who was at work when that was too long.
 *
 * One turn: from when the loop has waited until it is about to wait again.  Whatever falls due meanwhile comes that much
 * late.  The scheduler says where a turn begins and ends (host/script/task.c); until cc_turn_watch nothing is measured.
 *
 * A turn of more than 100 ms is a stall.  A thread sees it while it lasts and signals the loop's thread, whose handler sets a
 * hook of the Lua state: LuaJIT allows that at any moment.  The next instruction that is interpreted finds the hook, and with
 * it the traceback of the culprit.  Compiled code sees no hook until it leaves its loop, and C none until it returns: then the
 * traceback is of where they came back to, which is whoever had called them.
 * Thread: the loop's.
 */
#ifndef CC_TURN_H
#define CC_TURN_H

#include <lua.h>

/* From here on: the histogram cchost_loop_turn_seconds, and stalls of more than 100 ms in the log and in
 * cchost_loop_stalls_total. L: the main state. */
void cc_turn_watch(lua_State *L);
void cc_turn_unwatch(void); /* before that state is closed */
void cc_turn_begin(void);
void cc_turn_end(void);

#endif
