/* fence_internal.h - what the files of the fence share. */
#ifndef CC_SCRIPT_FENCE_INTERNAL_H
#define CC_SCRIPT_FENCE_INTERNAL_H

#include "host/script/fence.h"

#include <lauxlib.h>

/* The budgets of one fence; the state's allocator hands it to whoever has the state. */
struct cc_box {
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

enum { CC_BOX_HOOK = 100 /* instructions between two looks */, CC_BOX_NEST = 64 };

struct cc_box *cc_box_of(lua_State *L);
void cc_box_begin(struct cc_box *b, uint32_t ms);  /* a call: all budgets are whole again */
void cc_box_on_count(lua_State *L, lua_Debug *ar); /* the hook */
void *cc_box_alloc(void *ud, void *p, size_t osize, size_t nsize);

/* `n` steps of work that no instruction counts. [raises] when that is over the budget */
void cc_box_charge(lua_State *L, uint64_t n);
/* Around a call of fenced code by a library function: bounds the C stack. An error between the two is no harm. [raises] */
void cc_box_enter(lua_State *L);
void cc_box_leave(lua_State *L);
/* Steps that are left. */
uint64_t cc_box_left(lua_State *L);

/* Pushes the table at the absolute index: an input whose reads are noted (fence.c) is opened, and all of it counts as read. */
void cc_fence_open_watched(lua_State *L, int index);
bool cc_fence_is_watched(lua_State *L, int index);

enum { CC_FENCE_FUNCTIONS = 256, CC_FENCE_SOURCES = 64, CC_FENCE_NAME = 128 };

/* A string that is kept on both sides. */
struct cc_pin {
    const char *outer, *inner; /* addresses of the interned strings */
    int ref;                   /* of the inner one; the outer one is anchored by the caller */
};

struct cc_fence {
    struct cc_box box;
    lua_State *L;
    int run_ref;
    int list_ref;                      /* the metatable of lists */
    int functions[CC_FENCE_FUNCTIONS]; /* registry references; the number that callers have is the index + 1 */
    int n_functions;
    struct {
        char name[CC_FENCE_NAME];
        int ref;
    } source[CC_FENCE_SOURCES];
    int n_sources;
    struct cc_pin pin[CC_FENCE_PINS];
    uint16_t by_outer[CC_FENCE_PINS * 4], by_inner[CC_FENCE_PINS * 4]; /* index + 1; open addressing */
    unsigned n_pins;
    struct {
        lua_State *co; /* NULL: free */
        int ref;
    } task[CC_FENCE_TASKS];
    uint64_t calls, errors;
    struct cc_fence_trace *trace; /* while a traced call goes on */
};

/* One protected call: what is to be done, and with what. */
struct cc_fence_job {
    struct cc_fence *f;
    int (*body)(lua_State *L, struct cc_fence_job *j); /* -> results on top of L */
    lua_State *outer;
    int function, first, n;
    const char *name, *source;
    const char *const *host;
    size_t len;
    int task;
    bool called;
    struct cc_fence_trace *trace;
    /* sweep */
    int tied;
    const char *quiet;
    double from, step, behind;
    int64_t times, done;
    /* vary */
    int quiet_index, names, values, absent;
};

/* Runs the job's body, protected. 0: its results are all that is on f->L's stack. Else a code, with the text of the error. */
int cc_fence_run(struct cc_fence *f, struct cc_fence_job *j, char *message, size_t size);
/* Moves the results on f->L's stack onto outer; waits: of code that waits. -> how many | CC_E_INVALID */
int cc_fence_carry_out(struct cc_fence *f, lua_State *outer, bool waits, char *message, size_t size);
void cc_fence_tidy(struct cc_fence *f); /* between two calls: garbage goes when half of the memory is in use */

/* In a body: a copy of the value at j->outer's index [raises]; the job's function; a whole plain call. */
void cc_fence_copy_in(lua_State *L, struct cc_fence_job *j, int index);
void cc_fence_push_function(lua_State *L, const struct cc_fence_job *j);
int cc_fence_call_body(lua_State *L, struct cc_fence_job *j);

/* Opens what policies may use; list_meta: index of the metatable of lists. [raises] */
void cc_fence_open_libs(lua_State *L, int list_meta);
/* Pushes an environment for one source: copies of its own, and functions that suspend for the names in `host` (may be
 * NULL). [raises] */
void cc_fence_push_env(lua_State *L, const char *const *host);
/* Replaces string's functions that have no bound. Stack: the string library on top. */
void cc_fence_bound_strings(lua_State *L);
int cc_fence_tostring(lua_State *L); /* tostring(v): tables have no address */

#endif
