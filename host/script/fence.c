/* fence.c - see fence.h.
 *
 * Everything that runs Lua in the state, the copying in of arguments
 * included, happens under one protected call of `run` (a C function that is
 * kept in the registry, so that nothing is allocated outside of it).
 * Beside: fence_box.c (budgets), fence_lib.c and fence_string.c (what the
 * code may use), fence_trace.c, fence_repeat.c.
 */
#include "host/script/fence_internal.h"

#include "host/script/json.h"
#include "host/sys/mem.h"

#include <assert.h>
#include <luajit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- pins */

static unsigned slot_of(const char *p) { return (unsigned)(((uintptr_t)p >> 4) * 2654435761u) % (CC_FENCE_PINS * 4); }

static const struct cc_pin *pin_of(const struct cc_fence *f, const uint16_t *table, bool outer, const char *s)
{
    unsigned i = slot_of(s);

    for (; table[i]; i = (i + 1) % (CC_FENCE_PINS * 4)) {
        const struct cc_pin *p = &f->pin[table[i] - 1];

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
    bool waits; /* which bounds are those of what goes out */
    unsigned values;
    size_t bytes;
    const char *fault;
};

static void copy_string(struct copy *c, int index)
{
    size_t len;
    const char *s = lua_tolstring(c->from, index, &len);
    const struct cc_pin *p = pin_of(c->f, c->inwards ? c->f->by_outer : c->f->by_inner, c->inwards, s);

    if (p && c->inwards) {
        lua_rawgeti(c->to, LUA_REGISTRYINDEX, p->ref);
        return;
    }
    c->bytes += len;
    if (!c->inwards && c->bytes > (c->waits ? CC_FENCE_TASK_BYTES : CC_FENCE_RESULT_BYTES))
        c->fault = c->waits ? "it gives back more than 1 MiB of text" : "it gives back more than 64 KiB of text";
    lua_pushlstring(c->to, s, len);
}

static void copy_value(struct copy *c, int index, int depth);

/* In the place of an input whose reads are noted (below): the input itself. */
static bool copy_watched(struct copy *c, int index, int depth)
{
    if (c->inwards || !cc_fence_is_watched(c->from, index))
        return false;
    luaL_checkstack(c->from, 6, "too deep");
    cc_fence_open_watched(c->from, index);
    copy_value(c, lua_gettop(c->from), depth);
    lua_pop(c->from, 1);
    return true;
}

static void push_list_meta(const struct copy *c, lua_State *L)
{
    if (L == c->f->L)
        lua_rawgeti(L, LUA_REGISTRYINDEX, c->f->list_ref);
    else
        luaL_getmetatable(L, CC_JSON_LIST);
}

/* The copy on top of a table that is marked as a list is marked likewise. */
static void copy_mark(const struct copy *c, int index)
{
    bool is;

    if (!lua_getmetatable(c->from, index))
        return;
    push_list_meta(c, c->from);
    is = lua_rawequal(c->from, -1, -2);
    lua_pop(c->from, 2);
    if (!is)
        return;
    push_list_meta(c, c->to);
    lua_setmetatable(c->to, -2);
}

static void copy_table(struct copy *c, int index, int depth)
{
    lua_State *from = c->from;
    int list = (int)lua_objlen(from, index);

    luaL_checkstack(c->to, 6, "too deep");
    luaL_checkstack(from, 6, "too deep");
    lua_createtable(c->to, list < 100 ? list : 100, depth == 0 ? 24 : 0);
    copy_mark(c, index);
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
    if (++c->values > (c->waits ? CC_FENCE_TASK_VALUES : CC_FENCE_VALUES) && !c->inwards) {
        c->fault = c->waits ? "it gives back more than 100,000 values" : "it gives back more than 2,000 values";
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
    case LUA_TLIGHTUSERDATA: /* json.null: nothing for who reads */
        if (c->inwards)
            lua_pushnil(c->to);
        else
            lua_pushlightuserdata(c->to, NULL);
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

static int l_run(lua_State *L)
{
    struct cc_fence_job *j = lua_touserdata(L, 1);

    lua_settop(L, 0);
    return j->body(L, j);
}

/* Runs the job's body. 0: its results are all that is on f->L's stack. Else a code, with the text of the error. */
int cc_fence_run(struct cc_fence *f, struct cc_fence_job *j, char *message, size_t size)
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
void cc_fence_tidy(struct cc_fence *f)
{
    if (f->box.used > f->box.limits.memory / 2 && !f->box.over && !f->box.mem)
        lua_gc(f->L, LUA_GCCOLLECT, 0);
}

/* Moves the results, from `first` on f->L's stack, onto outer. -> how many | CC_E_INVALID */
int cc_fence_carry_out(struct cc_fence *f, lua_State *outer, bool waits, char *message, size_t size)
{
    struct copy c = { .f = f, .from = f->L, .to = outer, .waits = waits };
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

void cc_fence_copy_in(lua_State *L, struct cc_fence_job *j, int index)
{
    struct copy c = { .f = j->f, .from = j->outer, .to = L, .inwards = true };

    copy_value(&c, index, 0);
    if (c.fault)
        luaL_error(L, "%s", c.fault);
}

void cc_fence_push_function(lua_State *L, const struct cc_fence_job *j)
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
    char path[CC_FENCE_NAME];
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

static int open_body(lua_State *L, struct cc_fence_job *j)
{
    lua_settop(L, 0);
    lua_newtable(L); /* the metatable of lists */
    lua_pushvalue(L, 1);
    j->f->list_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    cc_fence_open_libs(L, 1);
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
    struct cc_fence_job j = { .f = f, .body = open_body };
    struct cc_fence_limits *l = &f->box.limits;
    char message[256];

    *l = *limits;
    l->memory = l->memory ? l->memory : (size_t)4 << 20;
    l->allocated = l->allocated ? l->allocated : (size_t)64 << 20;
    l->steps = l->steps ? l->steps : 10000000;
    l->cpu_ms = l->cpu_ms ? l->cpu_ms : 5;
    l->load_ms = l->load_ms ? l->load_ms : 20;
    f->L = lua_newstate(cc_box_alloc, &f->box);
    if (!f->L || lua_cpcall(f->L, l_open, f) != 0)
        abort();
    luaJIT_setmode(f->L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
    cc_box_begin(&f->box, l->load_ms);
    if (cc_fence_run(f, &j, message, sizeof(message)) != CC_OK) {
        fprintf(stderr, "cchost: fence: %s\n", message);
        abort();
    }
    lua_sethook(f->L, cc_box_on_count, LUA_MASKCOUNT, CC_BOX_HOOK);
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

static int pin_body(lua_State *L, struct cc_fence_job *j)
{
    struct cc_fence *f = j->f;
    struct cc_pin *p = &f->pin[f->n_pins];

    lua_pushlstring(L, j->source, j->len);
    p->inner = lua_tostring(L, -1);
    p->ref = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

void cc_fence_pin(struct cc_fence *f, lua_State *outer, int index)
{
    struct cc_fence_job j = { .f = f, .body = pin_body };
    const char *s = lua_tolstring(outer, index, &j.len);

    if (!s || f->n_pins == CC_FENCE_PINS || pin_of(f, f->by_outer, true, s))
        return;
    j.source = s;
    cc_box_begin(&f->box, f->box.limits.load_ms);
    if (cc_fence_run(f, &j, NULL, 0) != CC_OK)
        return;
    f->pin[f->n_pins].outer = s;
    put_slot(f->by_outer, s, f->n_pins);
    put_slot(f->by_inner, f->pin[f->n_pins].inner, f->n_pins);
    f->n_pins++;
}

/* ---- sources */

static int load_body(lua_State *L, struct cc_fence_job *j)
{
    struct cc_fence *f = j->f;
    char chunk[CC_FENCE_NAME + 2];
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
    struct cc_fence_job j = { .f = f, .body = load_body, .name = name, .source = source, .len = len, .host = host };
    char message[512];
    bool placed;
    int rc;

    if (strlen(name) >= CC_FENCE_NAME)
        return cc_err_set(err, CC_E_INVALID, "%.40s...: a name of at most %d characters expected", name,
                          CC_FENCE_NAME - 1);
    if (f->n_sources == CC_FENCE_SOURCES)
        return cc_err_set(err, CC_E_LIMIT, "%s: more than %d files", name, CC_FENCE_SOURCES);
    if (len > CC_FENCE_SOURCE_MAX)
        return cc_err_set(err, CC_E_LIMIT, "%s: larger than 1 MiB", name);
    cc_box_begin(&f->box, f->box.limits.load_ms);
    rc = cc_fence_run(f, &j, message, sizeof(message));
    placed = rc != CC_E_LIMIT || strncmp(message, name, strlen(name)) == 0;
    if (rc != CC_OK)
        return cc_err_set(err, rc, "%s%s%s", placed ? "" : name, placed ? "" : ": ", message);
    snprintf(f->source[f->n_sources++].name, CC_FENCE_NAME, "%s", name);
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
static void push_field(lua_State *L, const struct cc_fence_job *j)
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
static int function_body(lua_State *L, struct cc_fence_job *j)
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
    if (!lua_isfunction(L, -1) || lua_iscfunction(L, -1) || j->f->n_functions == CC_FENCE_FUNCTIONS)
        return 0;
    j->function = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_settop(L, 2);
    lua_pushinteger(L, j->f->n_functions + 1);
    lua_rawset(L, 1);
    return 0;
}

int cc_fence_function(struct cc_fence *f, const char *name, const char *field)
{
    struct cc_fence_job j = { .f = f, .body = function_body, .name = name, .source = field, .function = LUA_NOREF };

    if (source_ref(f, name) == LUA_NOREF)
        return 0;
    cc_box_begin(&f->box, f->box.limits.load_ms);
    if (cc_fence_run(f, &j, NULL, 0) != CC_OK)
        return 0;
    if (j.done > 0)
        return (int)j.done;
    if (j.function == LUA_NOREF)
        return 0;
    f->functions[f->n_functions] = j.function;
    return ++f->n_functions;
}

static int value_body(lua_State *L, struct cc_fence_job *j)
{
    push_field(L, j);
    return 1;
}

int cc_fence_value(struct cc_fence *f, const char *name, const char *field, lua_State *outer, struct cc_err *err)
{
    struct cc_fence_job j = { .f = f, .body = value_body, .name = name, .source = field };
    char message[512];
    int rc;

    if (source_ref(f, name) == LUA_NOREF) {
        lua_pushnil(outer);
        return CC_OK;
    }
    cc_box_begin(&f->box, f->box.limits.load_ms);
    rc = cc_fence_run(f, &j, message, sizeof(message));
    if (rc == CC_OK)
        rc = cc_fence_carry_out(f, outer, false, message, sizeof(message));
    return rc < 0 ? cc_err_set(err, rc, "%s: %s", name, message) : CC_OK;
}

/* ---- calling */

int cc_fence_call_body(lua_State *L, struct cc_fence_job *j)
{
    int i;

    luaL_checkstack(L, j->n + 8, "too many arguments");
    cc_fence_push_function(L, j);
    for (i = 0; i < j->n; i++)
        cc_fence_copy_in(L, j, j->first + i);
    lua_call(L, j->n, LUA_MULTRET);
    return lua_gettop(L);
}

int cc_fence_call(struct cc_fence *f, int function, lua_State *outer, int first, int n, char *message, size_t size)
{
    struct cc_fence_job j = {
        .f = f, .body = cc_fence_call_body, .outer = outer, .function = function, .first = first, .n = n
    };
    int rc;

    assert(function > 0 && function <= f->n_functions);
    cc_box_begin(&f->box, f->box.limits.cpu_ms);
    rc = cc_fence_run(f, &j, message, size);
    if (rc == CC_OK)
        rc = cc_fence_carry_out(f, outer, false, message, size);
    cc_fence_tidy(f);
    return rc;
}

/* ---- tasks */

static int begin_body(lua_State *L, struct cc_fence_job *j)
{
    lua_State *co = lua_newthread(L);

    cc_fence_push_function(L, j);
    lua_xmove(L, co, 1);
    j->f->task[j->task].ref = luaL_ref(L, LUA_REGISTRYINDEX);
    j->f->task[j->task].co = co;
    return 0;
}

int cc_fence_begin(struct cc_fence *f, int function, char *message, size_t size)
{
    struct cc_fence_job j = { .f = f, .body = begin_body, .function = function };
    int rc;

    assert(function > 0 && function <= f->n_functions);
    while (j.task < CC_FENCE_TASKS && f->task[j.task].co)
        j.task++;
    if (j.task == CC_FENCE_TASKS) {
        if (message)
            snprintf(message, size, "%d tasks are under way already", CC_FENCE_TASKS);
        return CC_E_LIMIT;
    }
    cc_box_begin(&f->box, f->box.limits.cpu_ms);
    rc = cc_fence_run(f, &j, message, size);
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
static int resume_body(lua_State *L, struct cc_fence_job *j)
{
    lua_State *co = j->f->task[j->task].co;
    int i, rc, n;

    luaL_checkstack(L, j->n + 8, "too many arguments");
    luaL_checkstack(co, j->n + 8, "too many arguments");
    for (i = 0; i < j->n; i++)
        cc_fence_copy_in(L, j, j->first + i);
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
    struct cc_fence_job j = { .f = f, .body = resume_body, .outer = outer, .first = first, .n = n, .task = task };
    int rc;

    assert(task >= 0 && task < CC_FENCE_TASKS && f->task[task].co);
    cc_box_begin(&f->box, f->box.limits.cpu_ms);
    rc = cc_fence_run(f, &j, message, size);
    if (rc == CC_OK)
        rc = cc_fence_carry_out(f, outer, true, message, size);
    *called = j.called && rc >= 0;
    if (!*called)
        cc_fence_end(f, task);
    cc_fence_tidy(f);
    return rc;
}
