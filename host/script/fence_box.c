/* fence_box.c - the budgets of a fence: memory in its allocator, instructions and CPU time in its hook.
 *
 * Once one is exceeded the hook is set to every instruction, so that what
 * would catch the error is ended by the next.
 */
#include "host/script/fence_internal.h"

#include <stdlib.h>
#include <time.h>

static int64_t cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

struct cc_box *cc_box_of(lua_State *L)
{
    void *ud;

    lua_getallocf(L, &ud);
    return ud;
}

/* Pushes "FILE:LINE: " of the innermost function that a source has: in a hook that is the one that runs, level 0. */
static void push_place(lua_State *L)
{
    lua_Debug ar;
    int level;

    for (level = 0; level < CC_BOX_NEST && lua_getstack(L, level, &ar); level++) {
        lua_getinfo(L, "Sl", &ar);
        if (ar.source[0] == '@' && ar.currentline > 0) {
            lua_pushfstring(L, "%s:%d: ", ar.short_src, ar.currentline);
            return;
        }
    }
    lua_pushliteral(L, "");
}

static void give_up(lua_State *L, struct cc_box *b, const char *why)
{
    b->over = true;
    lua_sethook(L, cc_box_on_count, LUA_MASKCOUNT, 1);
    push_place(L);
    lua_pushstring(L, why);
    lua_concat(L, 2);
    lua_error(L);
}

static void check_budget(lua_State *L, struct cc_box *b)
{
    int64_t now;

    if (b->over)
        give_up(L, b, "the budget is exceeded");
    if (b->steps > b->limits.steps)
        give_up(L, b, "more instructions than one call may take");
    now = cpu_ns();
    if (b->deadline == 0)
        b->deadline = now + (int64_t)b->ms * 1000000;
    else if (now > b->deadline)
        give_up(L, b, "more CPU time than one call may take");
}

void cc_box_on_count(lua_State *L, lua_Debug *ar)
{
    (void)ar;
    cc_box_charge(L, CC_BOX_HOOK);
}

void cc_box_charge(lua_State *L, uint64_t n)
{
    struct cc_box *b = cc_box_of(L);
    uint64_t before = b->steps;

    b->steps += n;
    if (b->over || b->steps / 1000 != before / 1000)
        check_budget(L, b);
}

void cc_box_enter(lua_State *L)
{
    if (++cc_box_of(L)->nested > CC_BOX_NEST)
        luaL_error(L, "functions are called too deep within library functions");
}

void cc_box_leave(lua_State *L) { cc_box_of(L)->nested--; }

uint64_t cc_box_left(lua_State *L)
{
    const struct cc_box *b = cc_box_of(L);

    return b->steps < b->limits.steps ? b->limits.steps - b->steps : 0;
}

void *cc_box_alloc(void *ud, void *p, size_t osize, size_t nsize)
{
    struct cc_box *b = ud;
    size_t old = p ? osize : 0;

    if (nsize > old) {
        if (nsize - old > b->limits.memory - b->used || b->taken > b->limits.allocated ||
            nsize > b->limits.memory / 4) {
            b->mem = true;
            return NULL; /* LUA_ERRMEM */
        }
        b->taken += nsize - old;
    }
    if (nsize == 0) {
        free(p);
        p = NULL;
    } else if (!(p = realloc(p, nsize))) {
        b->mem = true;
        return NULL;
    }
    b->used = b->used - old + nsize;
    return p;
}

void cc_box_begin(struct cc_box *b, uint32_t ms)
{
    b->steps = 0;
    b->taken = 0;
    b->nested = 0;
    b->deadline = 0;
    b->ms = ms;
}
