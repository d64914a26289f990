/* fence.h - a Lua state for code that may do nothing but compute.
 *
 * Policies are pure functions of plain data, written by operators who make
 * mistakes.  A fence is a state of its own: no compiler, an allow-list of
 * functions (fence_lib.c), capped memory, and budgets of instructions and CPU
 * time for every call that nothing inside can swallow.  Arguments and results
 * are copied: nothing is shared with the outside.  It holds mistakes, not
 * attackers: what strangers write needs a process of its own.
 *
 * After a budget or memory error the state is spent (cc_fence_spent): free it
 * and make another.  An ordinary error of the code leaves it good.
 * Plain data: nil, booleans, numbers, strings, and tables of those without
 * metatables, at most CC_FENCE_DEPTH deep.  A table that json.array has marked
 * is marked inside, too, and json.list marks there: so an empty list stays one.
 * json.null goes in as nil, and comes out as itself.
 * Thread: one at a time.  Ownership: the fence owns its state and copies.
 */
#ifndef CC_SCRIPT_FENCE_H
#define CC_SCRIPT_FENCE_H

#include "host/sys/err.h"

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    CC_FENCE_DEPTH = 16,
    CC_FENCE_RESULTS = 8,
    CC_FENCE_VALUES = 2000,           /* values in what one call returns */
    CC_FENCE_RESULT_BYTES = 64 << 10, /* bytes of strings in it */
    CC_FENCE_TASK_VALUES = 100000,    /* the same of code that waits: it may pass on lists of machines */
    CC_FENCE_TASK_BYTES = 1024 << 10,
    CC_FENCE_SOURCE_MAX = 1 << 20,
    CC_FENCE_PINS = 256
};

struct cc_fence_limits {
    size_t memory;    /* bytes alive; 0: 4 MiB. Less than 1 MiB cannot hold a runaway recursion */
    size_t allocated; /* bytes taken during one call, dead or alive; 0: 64 MiB */
    uint64_t steps;   /* instructions of one call, in thousands of accuracy; 0: 10 million */
    uint32_t cpu_ms;  /* of one call; 0: 5 */
    uint32_t load_ms; /* of loading one source; 0: 20 */
};

struct cc_fence_stats {
    size_t memory; /* bytes alive */
    uint64_t calls, errors;
};

struct cc_fence;

struct cc_fence *cc_fence_new(const struct cc_fence_limits *limits); /* NULL members: defaults */
void cc_fence_free(struct cc_fence *f);
bool cc_fence_spent(const struct cc_fence *f);
void cc_fence_stats(const struct cc_fence *f, struct cc_fence_stats *out);

/* Strings that are handed over often (names of fields, verdicts) are kept on both sides and found by their address: twice
 * as fast. `outer`'s string at `index` must stay alive as long as the fence: the caller anchors it. The first
 * CC_FENCE_PINS are kept, others are ignored. */
void cc_fence_pin(struct cc_fence *f, lua_State *outer, int index);

/* Runs a source, text only, which must return a table, under `name` (as in "policies/idle.lua": what errors say).
 * Beside the library it sees `use(name)`, the table of a source loaded before, and as functions what `host` names, as in
 * "instances.get", ended by NULL (or NULL): each suspends a task (cc_fence_resume) and is answered from outside.
 * 0, or CC_E_INVALID, CC_E_LIMIT (a budget) with err->message "NAME:LINE: why". */
int cc_fence_load(struct cc_fence *f, const char *name, const char *source, size_t len, const char *const *host,
                  struct cc_err *err);

/* A function of a loaded source's table: a number above 0 for cc_fence_call, or 0 when there is none. `field` may have dots, and
 * digits between them, as in "steps.1.run". */
int cc_fence_function(struct cc_fence *f, const char *name, const char *field);

/* Copies the plain value under `field` ("" : the whole table, functions left out) of a loaded source onto `outer`.
 * 0 and one value pushed (nil when there is none), or an error and nothing pushed. */
int cc_fence_value(struct cc_fence *f, const char *name, const char *field, lua_State *outer, struct cc_err *err);

/* Calls a function with the `n` values from `first` on outer's stack, which stay there. -> how many results were pushed
 * onto `outer` (CC_FENCE_RESULTS at most), or negative: CC_E_INVALID (the code raised, or gave back what is no plain
 * data), CC_E_LIMIT (a budget). `message` gets the whole text of the error, "FILE:LINE: why", NUL-ended, when not NULL. */
int cc_fence_call(struct cc_fence *f, int function, lua_State *outer, int first, int n, char *message, size_t size);

/* The same, and what ran: the lines of the function's own source, each once, in the order in which they were first reached,
 * in lines[0..*n_lines-1]; *last: the line that was reached last, from which it returned or raised; and the fields of its
 * first argument that it has looked at, what others hold cannot have mattered. all_read: it went through all of them, or
 * there were more than fit. Slower. */
enum { CC_FENCE_READS = 64, CC_FENCE_READ_NAME = 48 };
struct cc_fence_trace {
    int lines[256];
    int n_lines;
    int last;
    char reads[CC_FENCE_READS][CC_FENCE_READ_NAME];
    int n_reads;
    bool all_read;
};
int cc_fence_call_traced(struct cc_fence *f, int function, lua_State *outer, int first, int n,
                         struct cc_fence_trace *trace, char *message, size_t size);

/* Code that waits: a function begun as a task, which runs until it calls one of its host functions or ends.
 * cc_fence_begin gives its number, or negative. cc_fence_resume hands it the `n` values from `first` (the first time: the
 * function's arguments; then what the host function answers) and gives, pushed onto outer, what it says next: *called true:
 * the name of a host function and its arguments; false: its results, and it is over. As it is after any error.
 * The budgets are for what runs between two waits. At most CC_FENCE_TASKS are under way. */
enum { CC_FENCE_TASKS = 64 };
int cc_fence_begin(struct cc_fence *f, int function, char *message, size_t size);
int cc_fence_resume(struct cc_fence *f, int task, lua_State *outer, int first, int n, bool *called, char *message,
                    size_t size);
bool cc_fence_waits(const struct cc_fence *f, int task); /* begun, and not over */
void cc_fence_end(struct cc_fence *f, int task);         /* gives up one that waits */

/* Calls function(input, now) for now = from, from + step, ... n times, until its first result is not the string `quiet`.
 * `tied`: fields of input that are now - behind at every call (the array of lua strings is on outer's stack: see bind_fence.c).
 * *done: how many were quiet. -> results of the one that was not, pushed onto outer (0 when all were quiet), or an error
 * as above; it is then the fault of call *done. The budget is for each call. A function that changes its input is found
 * out and given a fresh one each time. */
int cc_fence_sweep(struct cc_fence *f, int function, lua_State *outer, int input, int tied, double behind,
                   const char *quiet, double from, double step, int64_t n, int64_t *done, char *message, size_t size);

/* Calls function(input, now) again and again, each time with other values of some fields: `names` is a list of those on
 * outer's stack, `values` a list of the values, as many as names for each call; where a third list `absent` (0: none) has
 * true, the field is absent. `now`: NaN is nil. It ends at the first call whose results are not as the list `quiet` has
 * them: the first three alike, but a text behind the first may be any other. *done and the results as with cc_fence_sweep.
 * After CC_FENCE_VARY_MS it ends, too, having called it once at least: *done tells how far it came. */
enum { CC_FENCE_VARY_MS = 2 };
int cc_fence_vary(struct cc_fence *f, int function, lua_State *outer, int input, double now, int quiet, int names,
                  int values, int absent, int64_t *done, char *message, size_t size);

#endif
