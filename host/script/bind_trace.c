/* bind_trace.c - module "trace": spans of what Lua does (host/observe/span.h), and their way out.
 *
 *   s | nil = trace.begin(what [, name [, "client"]])     a span "WHAT NAME" of what this task is at, from here to s:finish();
 *                                   what it does meanwhile is its child. nil: it is not recorded. Inside store.update it has no
 *                                   children. "client": it is of what we ask of another
 *   s:set(key, value)               a string, whole number or boolean; nil: nothing is said
 *   s:finish([err])                 err: an error value, or text, why it failed; with err.traceback it raised
 *   trace.failed(message [, traceback])   the span that this task is at has failed: a request's
 *   trace.detach(uuid [, traceparent])    this task goes on as an operation of that id, a child of the span that is named, else
 *                                   in a trace of its own
 *   s | nil = trace.past(what, name, start_ms, end_ms)    the span that this task is, told of when it is over; then s:finish
 *   note | nil = trace.note(text)   that the end of the span that this task is must be told of: the next process hears of it when
 *                                   this one dies before note:forget()
 *   trace.recorded() -> boolean     whether anything is recorded for this task
 *
 *   trace.sampler(ratio, heed)      which traces are recorded (host/sys/context.h)
 *   true | nil, err = trace.open(path)    from here on
 *   n, notes | nil, err = trace.adopt(path)   the spans of a process that has died; notes: a list of what it had noted
 *   trace.close()
 *   text, n = trace.take(most)      finished spans, the same ones until trace.sent; n 0: none
 *   trace.sent(refused)  trace.lost()     what was taken is over
 *   true = trace.wait(seconds, n)   [yields] until n are finished, or that time is over
 *   trace.stats() -> {open =, finished =, taken =, sent =, refused =, dropped =}
 */
#include "host/observe/span.h"

#include "host/script/modules.h"
#include "host/script/task.h"
#include "host/script/vm.h"
#include "host/sys/clock.h"
#include "host/sys/err.h"
#include "host/sys/mem.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#define SPAN_META "cchost.span"
#define NOTE_META "cchost.span.note"

struct held {
    struct cc_span *span; /* NULL: finished */
    bool entered;
    unsigned char id[8], before[8]; /* what the task was at before */
};

static struct held *held_at(lua_State *L) { return luaL_checkudata(L, 1, SPAN_META); }

static struct held *push_held(lua_State *L, struct cc_span *s)
{
    struct held *h = lua_newuserdata(L, sizeof(*h));

    *h = (struct held){ .span = s };
    luaL_getmetatable(L, SPAN_META);
    lua_setmetatable(L, -2);
    return h;
}

static int l_begin(lua_State *L)
{
    const char *what = luaL_checkstring(L, 1), *name = luaL_optstring(L, 2, NULL);
    bool client = !lua_isnoneornil(L, 3);
    struct cc_span *s = cc_span_begin(client ? CC_SPAN_CLIENT : CC_SPAN_INTERNAL, what, name);
    struct cc_task *t;
    struct cc_context *c;
    struct held *h;

    if (!s)
        return 0;
    h = push_held(L, s);
    if (!(t = cc_task_self(L)))
        return 1;
    c = cc_task_context(t);
    h->entered = true;
    memcpy(h->before, c->span, sizeof(h->before));
    cc_span_id(s, h->id);
    memcpy(c->span, h->id, sizeof(h->id));
    return 1;
}

static int l_set(lua_State *L)
{
    struct held *h = held_at(L);
    const char *key = luaL_checkstring(L, 2), *text;
    size_t n;

    switch (lua_type(L, 3)) {
    case LUA_TNONE:
    case LUA_TNIL:
        break;
    case LUA_TNUMBER:
        cc_span_number(h->span, key, (int64_t)lua_tonumber(L, 3));
        break;
    case LUA_TBOOLEAN:
        cc_span_truth(h->span, key, lua_toboolean(L, 3));
        break;
    default:
        text = luaL_checklstring(L, 3, &n);
        cc_span_text(h->span, key, text, n);
    }
    return 0;
}

/* The error value, or text, at `arg`. */
static void fail_with(lua_State *L, struct cc_span *s, int arg)
{
    const char *code, *message, *traceback;

    if (!s || lua_isnoneornil(L, arg))
        return;
    if (!lua_istable(L, arg)) {
        cc_span_fail(s, luaL_checkstring(L, arg));
        return;
    }
    lua_getfield(L, arg, "code");
    lua_getfield(L, arg, "message");
    lua_getfield(L, arg, "traceback");
    code = lua_tostring(L, -3);
    message = lua_tostring(L, -2);
    traceback = lua_tostring(L, -1);
    if (code)
        cc_span_text(s, "error.type", code, strlen(code));
    if (traceback)
        cc_span_raised(s, traceback);
    cc_span_fail(s, message ? message : "?");
    lua_pop(L, 3);
}

static void leave(lua_State *L, struct held *h)
{
    struct cc_task *t = h->entered ? cc_task_self(L) : NULL;
    struct cc_context *c = t ? cc_task_context(t) : NULL;

    if (c && memcmp(c->span, h->id, sizeof(h->id)) == 0)
        memcpy(c->span, h->before, sizeof(h->before));
}

static int l_finish(lua_State *L)
{
    struct held *h = held_at(L);

    fail_with(L, h->span, 2);
    if (h->span)
        leave(L, h);
    cc_span_end(h->span);
    h->span = NULL;
    return 0;
}

/* Whoever began it has raised, or was cancelled. */
static int l_gc(lua_State *L)
{
    struct held *h = held_at(L);

    cc_span_fail(h->span, "given up");
    cc_span_end(h->span);
    h->span = NULL;
    return 0;
}

static int l_failed(lua_State *L)
{
    const char *message = luaL_checkstring(L, 1), *traceback = luaL_optstring(L, 2, NULL);
    struct cc_span *s = cc_spans_on ? cc_span_find(cc_context_now()) : NULL;

    if (traceback)
        cc_span_raised(s, traceback);
    cc_span_fail(s, message);
    return 0;
}

static bool read_uuid(const char *text, unsigned char out[16])
{
    int i, v, n = 0;

    for (i = 0; text[i] && n < 32; i++) {
        if (text[i] == '-')
            continue;
        v = text[i] >= '0' && text[i] <= '9'   ? text[i] - '0'
            : text[i] >= 'a' && text[i] <= 'f' ? text[i] - 'a' + 10
                                               : -1;
        if (v < 0)
            return false;
        out[n / 2] = (unsigned char)(n % 2 ? out[n / 2] | v : v << 4);
        n++;
    }
    return n == 32 && !text[i];
}

static int l_detach(lua_State *L)
{
    unsigned char id[16] = { 0 };
    size_t n = 0;
    const char *parent = luaL_optlstring(L, 2, NULL, &n);

    luaL_argcheck(L, read_uuid(luaL_checkstring(L, 1), id), 1, "a UUID expected");
    cc_context_detached(cc_task_context(cc_task_need(L, "trace.detach")), parent, n, id);
    return 0;
}

static int l_past(lua_State *L)
{
    const char *what = luaL_checkstring(L, 1), *name = luaL_optstring(L, 2, NULL);
    lua_Number start = luaL_checknumber(L, 3), end = luaL_checknumber(L, 4);
    const struct cc_context *c = cc_context_now();
    struct cc_span *s = cc_span_of(c, CC_SPAN_INTERNAL, what, name);

    if (!s)
        return 0;
    cc_span_times(s, (int64_t)start, (int64_t)end);
    cc_span_whose(s, c);
    push_held(L, s);
    return 1;
}

static int l_note(lua_State *L)
{
    struct cc_span *s = cc_span_note(cc_context_now(), luaL_checkstring(L, 1));

    if (!s)
        return 0;
    *(struct cc_span **)lua_newuserdata(L, sizeof(s)) = s;
    luaL_getmetatable(L, NOTE_META);
    lua_setmetatable(L, -2);
    return 1;
}

static int l_forget(lua_State *L)
{
    struct cc_span **s = luaL_checkudata(L, 1, NOTE_META);

    cc_span_forget(*s);
    *s = NULL;
    return 0;
}

static int l_recorded(lua_State *L)
{
    const struct cc_context *c = cc_context_now();

    lua_pushboolean(L, cc_spans_on && c && c->traced && (c->flags & 1));
    return 1;
}

/* ---------------------------------------------------------------- their way out */

static int l_sampler(lua_State *L)
{
    lua_Number ratio = luaL_checknumber(L, 1);

    luaL_argcheck(L, ratio >= 0 && ratio <= 1, 1, "0 to 1 expected");
    cc_context_sampler(ratio, lua_toboolean(L, 2));
    return 0;
}

static void close_all(void *arg)
{
    (void)arg;
    cc_spans_when(0, NULL, NULL);
    cc_spans_close();
}

static int l_open(lua_State *L)
{
    struct cc_err err;

    if (cc_spans_open(luaL_checkstring(L, 1), &err) != CC_OK)
        return cc_push_err(L, &err);
    cc_vm_at_close(L, close_all, NULL);
    lua_pushboolean(L, 1);
    return 1;
}

static void on_noted(void *arg, const char *what)
{
    lua_State *L = arg;

    lua_pushstring(L, what);
    lua_rawseti(L, -2, (int)lua_objlen(L, -2) + 1);
}

static int l_adopt(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    struct cc_err err;
    int n;

    lua_newtable(L);
    n = cc_spans_adopt(path, on_noted, L, &err);
    if (n < 0)
        return cc_push_err(L, &err);
    lua_pushinteger(L, n);
    lua_insert(L, -2);
    return 2;
}

static int l_close(lua_State *L)
{
    (void)L;
    close_all(NULL);
    return 0;
}

static int l_take(lua_State *L)
{
    lua_Integer most = luaL_checkinteger(L, 1);
    unsigned n;
    size_t len;
    char *text;

    luaL_argcheck(L, most > 0 && most <= CC_SPANS, 1, "1 to 4096 expected");
    text = cc_spans_take((unsigned)most, &n, &len);
    lua_pushlstring(L, text ? text : "", len);
    free(text);
    lua_pushinteger(L, n);
    return 2;
}

static int l_sent(lua_State *L)
{
    lua_Number refused = luaL_optnumber(L, 1, 0);

    cc_spans_sent(refused > 0 && refused <= CC_SPANS ? (unsigned)refused : 0, false);
    return 0;
}

static int l_lost(lua_State *L)
{
    (void)L;
    cc_spans_sent(0, true);
    return 0;
}

struct wait {
    struct cc_task *task;
    struct cc_timer *timer;
};

static void wait_cancel(void *arg)
{
    struct wait *w = arg;

    cc_timer_stop(w->timer);
    cc_spans_when(0, NULL, NULL);
    free(w);
}

static void wait_over(struct wait *w)
{
    lua_pushboolean(cc_task_stack(w->task), 1);
    cc_task_wake(w->task, 1);
    free(w);
}

static void on_many(void *arg)
{
    struct wait *w = arg;

    cc_timer_stop(w->timer);
    wait_over(w);
}

static void on_time(void *arg)
{
    cc_spans_when(0, NULL, NULL);
    wait_over(arg);
}

static int l_wait(lua_State *L)
{
    lua_Number seconds = luaL_checknumber(L, 1);
    lua_Integer n = luaL_checkinteger(L, 2);
    struct cc_task *t = cc_task_need(L, "trace.wait");
    struct cc_span_stats st;
    struct wait *w;

    luaL_argcheck(L, seconds >= 0 && seconds <= 86400, 1, "0..86400 seconds expected");
    luaL_argcheck(L, n > 0 && n <= CC_SPANS, 2, "1 to 4096 expected");
    cc_spans_stats(&st);
    if (st.finished >= (unsigned)n) {
        lua_pushboolean(L, 1);
        return 1;
    }
    w = cc_xcalloc(1, sizeof(*w));
    w->task = t;
    w->timer = cc_timer_start(cc_vm_loop(L), (uint64_t)(seconds * 1000), on_time, w);
    cc_task_park_idle(t, wait_cancel, w);
    cc_spans_when((unsigned)n, on_many, w);
    return lua_yield(L, 0);
}

static void set_number(lua_State *L, const char *name, lua_Number v)
{
    lua_pushnumber(L, v);
    lua_setfield(L, -2, name);
}

static int l_stats(lua_State *L)
{
    struct cc_span_stats st;

    cc_spans_stats(&st);
    lua_createtable(L, 0, 6);
    set_number(L, "open", st.open);
    set_number(L, "finished", st.finished);
    set_number(L, "taken", st.taken);
    set_number(L, "sent", (lua_Number)st.sent);
    set_number(L, "refused", (lua_Number)st.refused);
    set_number(L, "dropped", (lua_Number)st.dropped);
    return 1;
}

static const luaL_Reg span_methods[] = { { "set", l_set }, { "finish", l_finish }, { "__gc", l_gc }, { NULL, NULL } };

static const luaL_Reg note_methods[] = { { "forget", l_forget }, { "__gc", l_forget }, { NULL, NULL } };

static const luaL_Reg trace_lib[] = {
    { "begin", l_begin }, { "failed", l_failed },     { "detach", l_detach },   { "note", l_note },
    { "past", l_past },   { "recorded", l_recorded }, { "sampler", l_sampler }, { "open", l_open },
    { "adopt", l_adopt }, { "close", l_close },       { "take", l_take },       { "sent", l_sent },
    { "lost", l_lost },   { "wait", l_wait },         { "stats", l_stats },     { NULL, NULL }
};

int luaopen_cc_trace(lua_State *L)
{
    luaL_newmetatable(L, SPAN_META);
    luaL_register(L, NULL, span_methods);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    luaL_newmetatable(L, NOTE_META);
    luaL_register(L, NULL, note_methods);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 2);
    lua_newtable(L);
    luaL_register(L, NULL, trace_lib);
    return 1;
}
