/* fence.c - see fence.h.
 *
 * Everything that runs Lua in the state, the copying in of arguments
 * included, happens under one protected call of `run` (a C function that is
 * kept in the registry, so that nothing is allocated outside of it). The
 * count hook looks at the budgets; once one is exceeded it is set to every
 * instruction, so that what would catch the error is ended by the next.
 */
#include "host/script/fence_internal.h"

#include "host/sys/mem.h"

#include <assert.h>
#include <luajit.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { HOOK_COUNT = 100, NEST_MAX = 64, FUNCTIONS_MAX = 256, SOURCES_MAX = 64, SOURCE_NAME = 128 };

/* A string that is kept on both sides. */
struct pin {
    const char *outer, *inner; /* addresses of the interned strings */
    int ref;                   /* of the inner one; the outer one is anchored by the caller */
};

struct cc_fence {
    struct box box;
    lua_State *L;
    int run_ref;
    int functions[FUNCTIONS_MAX]; /* registry references; the number that callers have is the index + 1 */
    int n_functions;
    struct {
        char name[SOURCE_NAME];
        int ref;
    } source[SOURCES_MAX];
    int n_sources;
    struct pin pin[CC_FENCE_PINS];
    uint16_t by_outer[CC_FENCE_PINS * 4], by_inner[CC_FENCE_PINS * 4]; /* index + 1; open addressing */
    unsigned n_pins;
    struct {
        lua_State *co; /* NULL: free */
        int ref;
    } task[CC_FENCE_TASKS];
    uint64_t calls, errors;
    struct cc_fence_trace *trace; /* while a traced call goes on */
};

/* ---- budgets */

static int64_t cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

struct box *cc_box_of(lua_State *L)
{
    void *ud;

    lua_getallocf(L, &ud);
    return ud;
}

static void on_count(lua_State *L, lua_Debug *ar);

static void give_up(lua_State *L, struct box *b, const char *why)
{
    b->over = true;
    lua_sethook(L, on_count, LUA_MASKCOUNT, 1);
    luaL_error(L, "%s", why);
}

static void check_budget(lua_State *L, struct box *b)
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

static void on_count(lua_State *L, lua_Debug *ar)
{
    (void)ar;
    cc_box_charge(L, HOOK_COUNT);
}

void cc_box_charge(lua_State *L, uint64_t n)
{
    struct box *b = cc_box_of(L);
    uint64_t before = b->steps;

    b->steps += n;
    if (b->over || b->steps / 1000 != before / 1000)
        check_budget(L, b);
}

void cc_box_enter(lua_State *L)
{
    if (++cc_box_of(L)->nested > NEST_MAX)
        luaL_error(L, "functions are called too deep within library functions");
}

void cc_box_leave(lua_State *L) { cc_box_of(L)->nested--; }

uint64_t cc_box_left(lua_State *L)
{
    const struct box *b = cc_box_of(L);

    return b->steps < b->limits.steps ? b->limits.steps - b->steps : 0;
}

static void *box_alloc(void *ud, void *p, size_t osize, size_t nsize)
{
    struct box *b = ud;
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

static void begin_call(struct cc_fence *f, uint32_t ms)
{
    f->box.steps = 0;
    f->box.taken = 0;
    f->box.nested = 0;
    f->box.deadline = 0;
    f->box.ms = ms;
}

/* ---- pins */

static unsigned slot_of(const char *p) { return (unsigned)(((uintptr_t)p >> 4) * 2654435761u) % (CC_FENCE_PINS * 4); }

static const struct pin *pin_of(const struct cc_fence *f, const uint16_t *table, bool outer, const char *s)
{
    unsigned i = slot_of(s);

    for (; table[i]; i = (i + 1) % (CC_FENCE_PINS * 4)) {
        const struct pin *p = &f->pin[table[i] - 1];

        if ((outer ? p->outer : p->inner) == s)
            return p;
    }
    return NULL;
}

static void put_slot(uint16_t *table, const char *s, unsigned index)
{
    unsigned i = slot_of(s);

    while (table[i])
        i = (i + 1) % (CC_FENCE_PINS * 4);
    table[i] = (uint16_t)(index + 1);
}

/* ---- copying */

struct copy {
    struct cc_fence *f;
    lua_State *from, *to;
    bool inwards;
    unsigned values;
    size_t bytes;
    const char *fault;
};

static void copy_string(struct copy *c, int index)
{
    size_t len;
    const char *s = lua_tolstring(c->from, index, &len);
    const struct pin *p = pin_of(c->f, c->inwards ? c->f->by_outer : c->f->by_inner, c->inwards, s);

    if (p && c->inwards) {
        lua_rawgeti(c->to, LUA_REGISTRYINDEX, p->ref);
        return;
    }
    c->bytes += len;
    if (!c->inwards && c->bytes > CC_FENCE_RESULT_BYTES)
        c->fault = "it gives back more than 64 KiB of text";
    lua_pushlstring(c->to, s, len);
}

static void copy_value(struct copy *c, int index, int depth);

/* In the place of an input whose reads are noted (below): the input itself. Nothing else has a metatable. */
static bool copy_watched(struct copy *c, int index, int depth)
{
    if (c->inwards || !lua_getmetatable(c->from, index))
        return false;
    lua_pop(c->from, 1);
    luaL_checkstack(c->from, 6, "too deep");
    cc_fence_open_watched(c->from, index);
    copy_value(c, lua_gettop(c->from), depth);
    lua_pop(c->from, 1);
    return true;
}

static void copy_table(struct copy *c, int index, int depth)
{
    lua_State *from = c->from;
    int list = (int)lua_objlen(from, index);

    luaL_checkstack(c->to, 6, "too deep");
    luaL_checkstack(from, 6, "too deep");
    lua_createtable(c->to, list < 100 ? list : 100, depth == 0 ? 24 : 0);
    lua_pushnil(from);
    while (lua_next(from, index)) {
        int top = lua_gettop(from), kind = lua_type(from, top - 1);

        if (kind == LUA_TSTRING)
            copy_string(c, top - 1);
        else if (kind == LUA_TNUMBER)
            lua_pushnumber(c->to, lua_tonumber(from, top - 1));
        else
            c->fault = "a table's key is neither text nor number";
        if (!c->fault)
            copy_value(c, top, depth + 1);
        if (c->fault) {
            lua_settop(from, top - 2);
            return;
        }
        if (lua_isnil(c->to, -1))
            lua_pop(c->to, 2); /* a function that was left out */
        else
            lua_rawset(c->to, -3);
        lua_settop(from, top - 1);
    }
}

/* Pushes a copy of the value at the absolute index. What cannot be copied sets c->fault; something is pushed or not then. */
static void copy_value(struct copy *c, int index, int depth)
{
    if (++c->values > CC_FENCE_VALUES && !c->inwards) {
        c->fault = "it gives back more than 2,000 values";
        return;
    }
    switch (lua_type(c->from, index)) {
    case LUA_TNIL:
        lua_pushnil(c->to);
        break;
    case LUA_TBOOLEAN:
        lua_pushboolean(c->to, lua_toboolean(c->from, index));
        break;
    case LUA_TNUMBER:
        lua_pushnumber(c->to, lua_tonumber(c->from, index));
        break;
    case LUA_TSTRING:
        copy_string(c, index);
        break;
    case LUA_TTABLE:
        if (depth >= CC_FENCE_DEPTH)
            c->fault = "it is more than 16 tables deep";
        else if (!copy_watched(c, index, depth))
            copy_table(c, index, depth);
        break;
    case LUA_TLIGHTUSERDATA: /* json.null of the outer side: nothing */
        lua_pushnil(c->to);
        break;
    case LUA_TFUNCTION:
        if (!c->inwards && depth > 0) {
            lua_pushnil(c->to);
            break;
        } /* fall through */
    default:
        c->fault = c->inwards ? "an argument is no plain data" : "it gives back what is no plain data";
    }
}

/* ---- one protected call */

struct job {
    struct cc_fence *f;
    int (*body)(lua_State *L, struct job *j); /* -> results on top of L */
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

static int l_run(lua_State *L)
{
    struct job *j = lua_touserdata(L, 1);

    lua_settop(L, 0);
    return j->body(L, j);
}

/* Runs the job's body. 0: its results are all that is on f->L's stack. Else a code, with the text of the error. */
static int run(struct cc_fence *f, struct job *j, char *message, size_t size)
{
    lua_State *L = f->L;
    int rc;

    if (f->box.over || f->box.mem) {
        if (message)
            snprintf(message, size, "the fence is spent");
        return CC_E_STATE;
    }
    f->calls++;
    lua_settop(L, 0);
    lua_rawgeti(L, LUA_REGISTRYINDEX, f->run_ref);
    lua_pushlightuserdata(L, j);
    rc = lua_pcall(L, 1, LUA_MULTRET, 0);
    if (rc == 0)
        return CC_OK;
    f->errors++;
    if (rc == LUA_ERRMEM)
        f->box.mem = true;
    if (message) {
        const char *text = f->box.mem                       ? "more memory than it may have"
                           : lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1)
                                                            : NULL;

        snprintf(message, size, "%s", text ? text : "an error that is no text was raised");
    }
    if (!f->box.mem)
        lua_settop(L, 0);
    return f->box.over || f->box.mem ? CC_E_LIMIT : CC_E_INVALID;
}

/* Half of the memory in use after a call: what is garbage goes now, between two calls. */
static void tidy(struct cc_fence *f)
{
    if (f->box.used > f->box.limits.memory / 2 && !f->box.over && !f->box.mem)
        lua_gc(f->L, LUA_GCCOLLECT, 0);
}

/* Moves the results, from `first` on f->L's stack, onto outer. -> how many | CC_E_INVALID */
static int carry_out(struct cc_fence *f, lua_State *outer, char *message, size_t size)
{
    struct copy c = { .f = f, .from = f->L, .to = outer };
    int n = lua_gettop(f->L), top = lua_gettop(outer), i;

    if (n > CC_FENCE_RESULTS)
        n = CC_FENCE_RESULTS;
    luaL_checkstack(outer, n + 4, "too many results");
    for (i = 1; i <= n && !c.fault; i++)
        copy_value(&c, i, 0);
    lua_settop(f->L, 0);
    if (c.fault) {
        lua_settop(outer, top);
        f->errors++;
        if (message)
            snprintf(message, size, "%s", c.fault);
        return CC_E_INVALID;
    }
    return n;
}

static void copy_in(lua_State *L, struct job *j, int index)
{
    struct copy c = { .f = j->f, .from = j->outer, .to = L, .inwards = true };

    copy_value(&c, index, 0);
    if (c.fault)
        luaL_error(L, "%s", c.fault);
}

static void push_function(lua_State *L, const struct job *j)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, j->f->functions[j->function - 1]);
}

/* ---- state */

static const char found_key = 'f'; /* registry: {[source, field] = number of the function} */

static int source_ref(const struct cc_fence *f, const char *name);

/* use(name): "plans" is policies/plans.lua, as the loading of sources names it; else the whole name. Upvalue: the fence. */
static int l_use(lua_State *L)
{
    const struct cc_fence *f = lua_touserdata(L, lua_upvalueindex(1));
    const char *name = luaL_checkstring(L, 1);
    char path[SOURCE_NAME];
    int ref;

    snprintf(path, sizeof(path), "policies/%s.lua", name);
    ref = source_ref(f, path);
    if (ref == LUA_NOREF)
        ref = source_ref(f, name);
    if (ref == LUA_NOREF)
        return luaL_error(L, "use: there is no '%s', or it is loaded after this file", name);
    lua_rawgeti(L, LUA_REGISTRYINDEX, ref);
    return 1;
}

static int open_body(lua_State *L, struct job *j)
{
    cc_fence_open_libs(L);
    lua_pushlightuserdata(L, j->f);
    lua_pushcclosure(L, l_use, 1);
    lua_setglobal(L, "use");
    lua_pushlightuserdata(L, (void *)&found_key);
    lua_newtable(L);
    lua_rawset(L, LUA_REGISTRYINDEX);
    return 0;
}

/* Without a protected call to stand in: memory is not refused yet. */
static int l_open(lua_State *L)
{
    struct cc_fence *f = lua_touserdata(L, 1);

    lua_pushcfunction(L, l_run);
    f->run_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

struct cc_fence *cc_fence_new(const struct cc_fence_limits *limits)
{
    struct cc_fence *f = cc_xcalloc(1, sizeof(*f));
    struct job j = { .f = f, .body = open_body };
    struct cc_fence_limits *l = &f->box.limits;
    char message[256];

    *l = *limits;
    l->memory = l->memory ? l->memory : (size_t)4 << 20;
    l->allocated = l->allocated ? l->allocated : (size_t)64 << 20;
    l->steps = l->steps ? l->steps : 10000000;
    l->cpu_ms = l->cpu_ms ? l->cpu_ms : 5;
    l->load_ms = l->load_ms ? l->load_ms : 100;
    f->L = lua_newstate(box_alloc, &f->box);
    if (!f->L || lua_cpcall(f->L, l_open, f) != 0)
        abort();
    luaJIT_setmode(f->L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
    begin_call(f, l->load_ms);
    if (run(f, &j, message, sizeof(message)) != CC_OK) {
        fprintf(stderr, "cchost: fence: %s\n", message);
        abort();
    }
    lua_sethook(f->L, on_count, LUA_MASKCOUNT, HOOK_COUNT);
    return f;
}

void cc_fence_free(struct cc_fence *f)
{
    if (!f)
        return;
    lua_sethook(f->L, NULL, 0, 0);
    lua_close(f->L);
    free(f);
}

bool cc_fence_spent(const struct cc_fence *f) { return f->box.over || f->box.mem; }

void cc_fence_stats(const struct cc_fence *f, struct cc_fence_stats *out)
{
    *out = (struct cc_fence_stats){ f->box.used, f->calls, f->errors };
}

static int pin_body(lua_State *L, struct job *j)
{
    struct cc_fence *f = j->f;
    struct pin *p = &f->pin[f->n_pins];

    lua_pushlstring(L, j->source, j->len);
    p->inner = lua_tostring(L, -1);
    p->ref = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

void cc_fence_pin(struct cc_fence *f, lua_State *outer, int index)
{
    struct job j = { .f = f, .body = pin_body };
    const char *s = lua_tolstring(outer, index, &j.len);

    if (!s || f->n_pins == CC_FENCE_PINS || pin_of(f, f->by_outer, true, s))
        return;
    j.source = s;
    begin_call(f, f->box.limits.load_ms);
    if (run(f, &j, NULL, 0) != CC_OK)
        return;
    f->pin[f->n_pins].outer = s;
    put_slot(f->by_outer, s, f->n_pins);
    put_slot(f->by_inner, f->pin[f->n_pins].inner, f->n_pins);
    f->n_pins++;
}

/* ---- sources */

static int load_body(lua_State *L, struct job *j)
{
    struct cc_fence *f = j->f;
    char chunk[SOURCE_NAME + 2];
    int rc;

    snprintf(chunk, sizeof(chunk), "@%s", j->name);
    rc = luaL_loadbufferx(L, j->source, j->len, chunk, "t");
    if (rc != 0)
        return lua_error(L);
    cc_fence_push_env(L, j->host);
    lua_setfenv(L, -2);
    lua_call(L, 0, 1);
    if (!lua_istable(L, -1))
        return luaL_error(L, "%s: it must return a table, not %s", j->name, luaL_typename(L, -1));
    f->source[f->n_sources].ref = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

int cc_fence_load(struct cc_fence *f, const char *name, const char *source, size_t len, const char *const *host,
                  struct cc_err *err)
{
    struct job j = { .f = f, .body = load_body, .name = name, .source = source, .len = len, .host = host };
    char message[512];
    int rc;

    if (strlen(name) >= SOURCE_NAME)
        return cc_err_set(err, CC_E_INVALID, "%.40s...: a name of at most %d characters expected", name,
                          SOURCE_NAME - 1);
    if (f->n_sources == SOURCES_MAX)
        return cc_err_set(err, CC_E_LIMIT, "%s: more than %d files", name, SOURCES_MAX);
    if (len > CC_FENCE_SOURCE_MAX)
        return cc_err_set(err, CC_E_LIMIT, "%s: larger than 1 MiB", name);
    begin_call(f, f->box.limits.load_ms);
    rc = run(f, &j, message, sizeof(message));
    if (rc != CC_OK)
        return cc_err_set(err, rc, "%s%s%s", rc == CC_E_LIMIT ? name : "", rc == CC_E_LIMIT ? ": " : "", message);
    snprintf(f->source[f->n_sources++].name, SOURCE_NAME, "%s", name);
    return CC_OK;
}

static int source_ref(const struct cc_fence *f, const char *name)
{
    int i;

    for (i = 0; i < f->n_sources; i++)
        if (strcmp(f->source[i].name, name) == 0)
            return f->source[i].ref;
    return LUA_NOREF;
}

/* What is all digits is an index. */
static void push_key(lua_State *L, const char *p, size_t len)
{
    size_t i;
    lua_Number n = 0;

    for (i = 0; i < len && len < 10 && p[i] >= '0' && p[i] <= '9'; i++)
        n = n * 10 + (p[i] - '0');
    if (len > 0 && i == len)
        lua_pushnumber(L, n);
    else
        lua_pushlstring(L, p, len);
}

/* Pushes what is under "a.b.c" of the source's table, or nil. */
static void push_field(lua_State *L, const struct job *j)
{
    const char *p = j->source, *dot;

    lua_rawgeti(L, LUA_REGISTRYINDEX, source_ref(j->f, j->name));
    for (; *p; p = *dot ? dot + 1 : dot) {
        dot = strchr(p, '.');
        if (!dot)
            dot = p + strlen(p);
        if (!lua_istable(L, -1)) {
            lua_pushnil(L);
            return;
        }
        push_key(L, p, (size_t)(dot - p));
        lua_rawget(L, -2);
    }
}

/* Leaves j->done at the number that the function has already, or j->function at a new reference. */
static int function_body(lua_State *L, struct job *j)
{
    lua_pushlightuserdata(L, (void *)&found_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    lua_pushfstring(L, "%s\n%s", j->name, j->source);
    lua_pushvalue(L, -1);
    lua_rawget(L, 1);
    if (lua_isnumber(L, -1)) {
        j->done = lua_tointeger(L, -1);
        return 0;
    }
    push_field(L, j);
    if (!lua_isfunction(L, -1) || lua_iscfunction(L, -1) || j->f->n_functions == FUNCTIONS_MAX)
        return 0;
    j->function = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_settop(L, 2);
    lua_pushinteger(L, j->f->n_functions + 1);
    lua_rawset(L, 1);
    return 0;
}

int cc_fence_function(struct cc_fence *f, const char *name, const char *field)
{
    struct job j = { .f = f, .body = function_body, .name = name, .source = field, .function = LUA_NOREF };

    if (source_ref(f, name) == LUA_NOREF)
        return 0;
    begin_call(f, f->box.limits.load_ms);
    if (run(f, &j, NULL, 0) != CC_OK)
        return 0;
    if (j.done > 0)
        return (int)j.done;
    if (j.function == LUA_NOREF)
        return 0;
    f->functions[f->n_functions] = j.function;
    return ++f->n_functions;
}

static int value_body(lua_State *L, struct job *j)
{
    push_field(L, j);
    return 1;
}

int cc_fence_value(struct cc_fence *f, const char *name, const char *field, lua_State *outer, struct cc_err *err)
{
    struct job j = { .f = f, .body = value_body, .name = name, .source = field };
    char message[512];
    int rc;

    if (source_ref(f, name) == LUA_NOREF) {
        lua_pushnil(outer);
        return CC_OK;
    }
    begin_call(f, f->box.limits.load_ms);
    rc = run(f, &j, message, sizeof(message));
    if (rc == CC_OK)
        rc = carry_out(f, outer, message, sizeof(message));
    return rc < 0 ? cc_err_set(err, rc, "%s: %s", name, message) : CC_OK;
}

/* ---- calling */

static int call_body(lua_State *L, struct job *j)
{
    int i;

    luaL_checkstack(L, j->n + 8, "too many arguments");
    push_function(L, j);
    for (i = 0; i < j->n; i++)
        copy_in(L, j, j->first + i);
    lua_call(L, j->n, LUA_MULTRET);
    return lua_gettop(L);
}

int cc_fence_call(struct cc_fence *f, int function, lua_State *outer, int first, int n, char *message, size_t size)
{
    struct job j = { .f = f, .body = call_body, .outer = outer, .function = function, .first = first, .n = n };
    int rc;

    assert(function > 0 && function <= f->n_functions);
    begin_call(f, f->box.limits.cpu_ms);
    rc = run(f, &j, message, size);
    if (rc == CC_OK)
        rc = carry_out(f, outer, message, size);
    tidy(f);
    return rc;
}

/* ---- tasks */

static int begin_body(lua_State *L, struct job *j)
{
    lua_State *co = lua_newthread(L);

    push_function(L, j);
    lua_xmove(L, co, 1);
    j->f->task[j->task].ref = luaL_ref(L, LUA_REGISTRYINDEX);
    j->f->task[j->task].co = co;
    return 0;
}

int cc_fence_begin(struct cc_fence *f, int function, char *message, size_t size)
{
    struct job j = { .f = f, .body = begin_body, .function = function };
    int rc;

    assert(function > 0 && function <= f->n_functions);
    while (j.task < CC_FENCE_TASKS && f->task[j.task].co)
        j.task++;
    if (j.task == CC_FENCE_TASKS) {
        if (message)
            snprintf(message, size, "%d tasks are under way already", CC_FENCE_TASKS);
        return CC_E_LIMIT;
    }
    begin_call(f, f->box.limits.cpu_ms);
    rc = run(f, &j, message, size);
    return rc == CC_OK ? j.task : rc;
}

bool cc_fence_waits(const struct cc_fence *f, int task)
{
    return task >= 0 && task < CC_FENCE_TASKS && f->task[task].co != NULL;
}

void cc_fence_end(struct cc_fence *f, int task)
{
    assert(task >= 0 && task < CC_FENCE_TASKS);
    if (!f->task[task].co)
        return;
    luaL_unref(f->L, LUA_REGISTRYINDEX, f->task[task].ref);
    f->task[task].co = NULL;
}

/* The arguments are copied on L, where an error is caught, and moved over. An error of the task is raised again. */
static int resume_body(lua_State *L, struct job *j)
{
    lua_State *co = j->f->task[j->task].co;
    int i, rc, n;

    luaL_checkstack(L, j->n + 8, "too many arguments");
    luaL_checkstack(co, j->n + 8, "too many arguments");
    for (i = 0; i < j->n; i++)
        copy_in(L, j, j->first + i);
    lua_xmove(L, co, j->n);
    rc = lua_resume(co, j->n);
    if (rc != 0 && rc != LUA_YIELD) {
        if (rc == LUA_ERRMEM)
            j->f->box.mem = true;
        lua_xmove(co, L, 1);
        return lua_error(L);
    }
    j->called = rc == LUA_YIELD;
    n = lua_gettop(co);
    luaL_checkstack(L, n + 1, "too many results");
    lua_xmove(co, L, n);
    return n;
}

int cc_fence_resume(struct cc_fence *f, int task, lua_State *outer, int first, int n, bool *called, char *message,
                    size_t size)
{
    struct job j = { .f = f, .body = resume_body, .outer = outer, .first = first, .n = n, .task = task };
    int rc;

    assert(task >= 0 && task < CC_FENCE_TASKS && f->task[task].co);
    begin_call(f, f->box.limits.cpu_ms);
    rc = run(f, &j, message, size);
    if (rc == CC_OK)
        rc = carry_out(f, outer, message, size);
    *called = j.called && rc >= 0;
    if (!*called)
        cc_fence_end(f, task);
    tidy(f);
    return rc;
}

/* ---- calling, with the lines, and what it looks at
 *
 * The first argument is an empty table in the place of the input, whose metatable notes what is asked for and hands it out
 * of the input. The library (pairs) and the copying of results open it.
 */

static void note_read(struct cc_fence_trace *t, const char *name)
{
    int i;

    for (i = 0; i < t->n_reads; i++)
        if (strcmp(t->reads[i], name) == 0)
            return;
    if (t->n_reads == CC_FENCE_READS || strlen(name) >= CC_FENCE_READ_NAME)
        t->all_read = true;
    else
        snprintf(t->reads[t->n_reads++], CC_FENCE_READ_NAME, "%s", name);
}

/* Upvalues of both: the fence, the input. */
static int l_watched_index(lua_State *L)
{
    struct cc_fence *f = lua_touserdata(L, lua_upvalueindex(1));

    if (f->trace && lua_type(L, 2) == LUA_TSTRING)
        note_read(f->trace, lua_tostring(L, 2));
    lua_settop(L, 2);
    lua_rawget(L, lua_upvalueindex(2));
    return 1;
}

static int l_watched_newindex(lua_State *L)
{
    lua_settop(L, 3);
    luaL_argcheck(L, !lua_isnil(L, 2), 2, "index is nil");
    lua_rawset(L, lua_upvalueindex(2));
    return 0;
}

/* The table on top is replaced by one that is watched. */
static void watch_table(lua_State *L, struct cc_fence *f)
{
    int input = lua_gettop(L);

    lua_newtable(L);
    lua_createtable(L, 0, 3);
    lua_pushlightuserdata(L, f);
    lua_pushvalue(L, input);
    lua_pushcclosure(L, l_watched_index, 2);
    lua_setfield(L, -2, "__index");
    lua_pushlightuserdata(L, f);
    lua_pushvalue(L, input);
    lua_pushcclosure(L, l_watched_newindex, 2);
    lua_setfield(L, -2, "__newindex");
    lua_pushlightuserdata(L, f);
    lua_rawseti(L, -2, 1);
    lua_pushvalue(L, input);
    lua_rawseti(L, -2, 2);
    lua_setmetatable(L, -2);
    lua_replace(L, input);
}

void cc_fence_open_watched(lua_State *L, int index)
{
    struct cc_fence *f;

    if (!lua_getmetatable(L, index)) {
        lua_pushvalue(L, index);
        return;
    }
    lua_rawgeti(L, -1, 1);
    f = lua_touserdata(L, -1);
    if (f && f->trace)
        f->trace->all_read = true;
    lua_rawgeti(L, -2, 2);
    lua_replace(L, -3);
    lua_pop(L, 1);
}

static const char trace_key = 't';

static void on_line(lua_State *L, lua_Debug *ar)
{
    struct job *j;
    struct cc_fence_trace *t;
    int i;

    if (ar->event == LUA_HOOKCOUNT) {
        on_count(L, ar);
        return;
    }
    lua_pushlightuserdata(L, (void *)&trace_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    j = lua_touserdata(L, -1);
    lua_pop(L, 1);
    lua_getinfo(L, "S", ar);
    if (strcmp(ar->short_src, j->name) != 0)
        return;
    t = j->trace;
    t->last = ar->currentline;
    for (i = 0; i < t->n_lines; i++)
        if (t->lines[i] == ar->currentline)
            return;
    if (t->n_lines < (int)(sizeof(t->lines) / sizeof(t->lines[0])))
        t->lines[t->n_lines++] = ar->currentline;
}

static int traced_body(lua_State *L, struct job *j)
{
    lua_Debug ar;
    char name[LUA_IDSIZE];
    int n;

    push_function(L, j);
    lua_getinfo(L, ">S", &ar);
    snprintf(name, sizeof(name), "%s", ar.short_src);
    j->name = name;
    lua_pushlightuserdata(L, (void *)&trace_key);
    lua_pushlightuserdata(L, j);
    lua_rawset(L, LUA_REGISTRYINDEX);
    luaL_checkstack(L, j->n + 16, "too many arguments");
    push_function(L, j);
    for (n = 0; n < j->n; n++) {
        copy_in(L, j, j->first + n);
        if (n == 0 && lua_istable(L, -1))
            watch_table(L, j->f);
    }
    lua_sethook(L, on_line, LUA_MASKCOUNT | LUA_MASKLINE, HOOK_COUNT);
    lua_call(L, j->n, LUA_MULTRET);
    return lua_gettop(L);
}

int cc_fence_call_traced(struct cc_fence *f, int function, lua_State *outer, int first, int n,
                         struct cc_fence_trace *trace, char *message, size_t size)
{
    struct job j = {
        .f = f, .body = traced_body, .outer = outer, .function = function, .first = first, .n = n, .trace = trace
    };
    int rc;

    assert(function > 0 && function <= f->n_functions);
    memset(trace, 0, sizeof(*trace));
    begin_call(f, f->box.limits.cpu_ms);
    f->trace = trace;
    rc = run(f, &j, message, size);
    if (!f->box.over)
        lua_sethook(f->L, on_count, LUA_MASKCOUNT, HOOK_COUNT);
    if (rc == CC_OK)
        rc = carry_out(f, outer, message, size);
    f->trace = NULL;
    tidy(f);
    return rc;
}

/* ---- calling again and again */

static bool same(lua_State *L, int a, int b, int depth);

static bool same_table(lua_State *L, int a, int b, int depth)
{
    int n = 0, m = 0;

    luaL_checkstack(L, 4, "too deep");
    for (lua_pushnil(L); lua_next(L, a); n++) {
        int top = lua_gettop(L);
        bool is;

        lua_pushvalue(L, top - 1);
        lua_rawget(L, b);
        is = same(L, top, top + 1, depth + 1);
        lua_settop(L, top - 1);
        if (!is) {
            lua_pop(L, 1);
            return false;
        }
    }
    for (lua_pushnil(L); lua_next(L, b); m++)
        lua_pop(L, 1);
    return n == m;
}

static bool same(lua_State *L, int a, int b, int depth)
{
    if (lua_istable(L, a) && lua_istable(L, b))
        return depth < CC_FENCE_DEPTH && same_table(L, a, b, depth);
    return lua_rawequal(L, a, b);
}

static void set_tied(lua_State *L, const struct job *j, int input, int names, double now)
{
    int i;

    if (!j->tied)
        return;
    for (i = 1;; i++) {
        lua_rawgeti(L, names, i);
        if (lua_isnil(L, -1))
            break;
        lua_pushnumber(L, now - j->behind);
        lua_rawset(L, input);
    }
    lua_pop(L, 1);
}

/* Stack: 1 the quiet verdict, 2 the tied names, 3 the input, 4 an untouched copy of it (or nil), then scratch. */
static int sweep_body(lua_State *L, struct job *j)
{
    bool fresh = j->done != 0; /* the function changes its input */
    int64_t k;

    j->done = 0;
    lua_settop(L, 0);
    luaL_checkstack(L, CC_FENCE_RESULTS + 16, "sweep");
    lua_pushstring(L, j->quiet);
    if (j->tied)
        copy_in(L, j, j->tied);
    else
        lua_pushnil(L);
    copy_in(L, j, j->first);
    copy_in(L, j, j->first);
    for (k = 0; k < j->times; k++) {
        double now = j->from + (double)k * j->step;

        begin_call(j->f, j->f->box.limits.cpu_ms);
        if (fresh) {
            copy_in(L, j, j->first);
            lua_replace(L, 3);
        }
        set_tied(L, j, 3, 2, now);
        push_function(L, j);
        lua_pushvalue(L, 3);
        lua_pushnumber(L, now);
        j->done = k;
        lua_call(L, 2, CC_FENCE_RESULTS);
        if (!lua_rawequal(L, 5, 1))
            break;
        lua_settop(L, 4);
    }
    j->done = k;
    if (!fresh) {
        set_tied(L, j, 4, 2, j->from + (double)(k < j->times ? k : k - 1) * j->step);
        if (j->times > 0 && !same(L, 3, 4, 0)) {
            j->done = -1;
            return 0;
        }
    }
    return k < j->times ? lua_gettop(L) - 4 : 0;
}

int cc_fence_sweep(struct cc_fence *f, int function, lua_State *outer, int input, int tied, double behind,
                   const char *quiet, double from, double step, int64_t n, int64_t *done, char *message, size_t size)
{
    struct job j = { .f = f,
                     .body = sweep_body,
                     .outer = outer,
                     .function = function,
                     .first = input,
                     .tied = tied,
                     .behind = behind,
                     .quiet = quiet,
                     .from = from,
                     .step = step,
                     .times = n };
    int rc;

    assert(function > 0 && function <= f->n_functions);
    rc = run(f, &j, message, size);
    if (rc == CC_OK && j.done < 0) {
        j.done = 1;
        rc = run(f, &j, message, size);
    }
    *done = j.done < 0 ? 0 : j.done;
    if (rc == CC_OK)
        rc = carry_out(f, outer, message, size);
    tidy(f);
    return rc;
}

/* ---- calling again and again, with other values */

/* Sets the values of call k in the table at `input`. Stack: 2 the names. */
static void set_values(lua_State *L, struct job *j, int input, int64_t k)
{
    int n = (int)lua_objlen(L, 2), i;

    for (i = 1; i <= n; i++) {
        int at = (int)(k * n + i);
        bool gone = false;

        lua_rawgeti(L, 2, i);
        if (j->absent) {
            lua_rawgeti(j->outer, j->absent, at);
            gone = lua_toboolean(j->outer, -1);
            lua_pop(j->outer, 1);
        }
        if (gone) {
            lua_pushnil(L);
        } else {
            lua_rawgeti(j->outer, j->values, at);
            copy_in(L, j, lua_gettop(j->outer));
            lua_pop(j->outer, 1);
        }
        lua_rawset(L, input);
    }
}

/* Whether the results from `first` on the stack are as the list at 1 has them. */
static bool is_quiet(lua_State *L, int first)
{
    int i;

    for (i = 1; i <= 3; i++) {
        bool alike;

        lua_rawgeti(L, 1, i);
        alike = same(L, first + i - 1, lua_gettop(L), 0);
        if (!alike && i > 1)
            alike = lua_type(L, -1) == LUA_TSTRING && lua_type(L, first + i - 1) == LUA_TSTRING &&
                    lua_objlen(L, first + i - 1) > 0;
        lua_pop(L, 1);
        if (!alike)
            return false;
    }
    return true;
}

/* Stack: 1 the quiet results, 2 the names, 3 the input, 4 an untouched copy of it, then scratch. */
static int vary_body(lua_State *L, struct job *j)
{
    bool fresh = j->done != 0; /* the function changes its input */
    int64_t k;

    j->done = 0;
    lua_settop(L, 0);
    luaL_checkstack(L, CC_FENCE_RESULTS + 16, "vary");
    luaL_checkstack(j->outer, 16, "vary");
    copy_in(L, j, j->quiet_index);
    copy_in(L, j, j->names);
    copy_in(L, j, j->first);
    copy_in(L, j, j->first);
    for (k = 0; k < j->times; k++) {
        begin_call(j->f, j->f->box.limits.cpu_ms);
        j->done = k;
        if (fresh) {
            copy_in(L, j, j->first);
            lua_replace(L, 3);
        }
        set_values(L, j, 3, k);
        push_function(L, j);
        lua_pushvalue(L, 3);
        if (isnan(j->from))
            lua_pushnil(L);
        else
            lua_pushnumber(L, j->from);
        lua_call(L, 2, CC_FENCE_RESULTS);
        if (!is_quiet(L, 5))
            break;
        lua_settop(L, 4);
    }
    j->done = k;
    if (!fresh && j->times > 0) {
        set_values(L, j, 4, k < j->times ? k : k - 1);
        if (!same(L, 3, 4, 0)) {
            j->done = -1;
            return 0;
        }
    }
    return k < j->times ? lua_gettop(L) - 4 : 0;
}

int cc_fence_vary(struct cc_fence *f, int function, lua_State *outer, int input, double now, int quiet, int names,
                  int values, int absent, int64_t *done, char *message, size_t size)
{
    struct job j = { .f = f,
                     .body = vary_body,
                     .outer = outer,
                     .function = function,
                     .first = input,
                     .from = now,
                     .quiet_index = quiet,
                     .names = names,
                     .values = values,
                     .absent = absent };
    size_t n = lua_objlen(outer, names);
    int rc, top = lua_gettop(outer);

    assert(function > 0 && function <= f->n_functions);
    j.times = n ? (int64_t)(lua_objlen(outer, values) / n) : 0;
    rc = run(f, &j, message, size);
    if (rc == CC_OK && j.done < 0) {
        j.done = 1;
        rc = run(f, &j, message, size);
    }
    *done = j.done < 0 ? 0 : j.done;
    lua_settop(outer, top);
    if (rc == CC_OK)
        rc = carry_out(f, outer, message, size);
    tidy(f);
    return rc;
}
