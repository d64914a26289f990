/* fence_internal.h - what fence.c and its library (fence_lib.c, fence_string.c) share. */
#ifndef CC_SCRIPT_FENCE_INTERNAL_H
#define CC_SCRIPT_FENCE_INTERNAL_H

#include "host/script/fence.h"

#include <lauxlib.h>

/* The budgets of one fence; the state's allocator hands it to whoever has the state. */
struct box {
    struct cc_fence_limits limits;
    size_t used;      /* bytes alive */
    size_t taken;     /* bytes taken since the call began */
    uint64_t steps;   /* instructions since the call began */
    int64_t deadline; /* of thread CPU time, ns; 0: not read yet in this call */
    uint32_t ms;      /* what the deadline will be from now */
    unsigned nested;  /* library functions that have called back */
    bool over;        /* a budget was exceeded: nothing runs any more */
    bool mem;         /* memory was refused */
};

struct box *cc_box_of(lua_State *L);

/* `n` steps of work that no instruction counts. [raises] when that is over the budget */
void cc_box_charge(lua_State *L, uint64_t n);
/* Around a call of fenced code by a library function: bounds the C stack. An error between the two is no harm. [raises] */
void cc_box_enter(lua_State *L);
void cc_box_leave(lua_State *L);
/* Steps that are left. */
uint64_t cc_box_left(lua_State *L);

/* Pushes the table at the absolute index: an input whose reads are noted (fence.c) is opened, and all of it counts as read. */
void cc_fence_open_watched(lua_State *L, int index);

/* Opens what policies may use. [raises] */
void cc_fence_open_libs(lua_State *L);
/* Pushes an environment for one source: copies of its own, and functions that suspend for the names in `host` (may be
 * NULL). [raises] */
void cc_fence_push_env(lua_State *L, const char *const *host);
/* Replaces string's functions that have no bound. Stack: the string library on top. */
void cc_fence_bound_strings(lua_State *L);
int cc_fence_tostring(lua_State *L); /* tostring(v): tables have no address */

#endif
