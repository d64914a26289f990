/* bind_metrics.c - module "metrics": the process's figures (host/observe/metrics.h).
 *
 *   f = metrics.counter|gauge|histogram{name=, unit=, help=, labels = {name, ...}, buckets = {...}, most =}
 *       the same one for the same name; f is good as long as the process lives
 *   f:add(n, value, ...)   f:set(v, value, ...)   f:observe(v, value, ...)     a value for each label
 *   f:fill{{v, value, ...}, ...}       all its series: those that are not named are 0
 *   metrics.text(open_metrics) -> string
 *   metrics.pool(name) -> {threads=, busy=, queued=, finished=, cancelled=, timed_out=}    threads for what blocks, those of
 *       that name together (host/sys/pool.h); zeros where there are none yet
 *   metrics.watch_loop()     the loop is measured, and its stalls are told of, from here on (host/observe/turn.h)
 */
#include "host/observe/metrics.h"
#include "host/observe/turn.h"
#include "host/script/vm.h"
#include "host/sys/pool.h"

#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define FAMILY_META "cchost.metric"

int luaopen_cc_metrics(lua_State *L);

static struct cc_family *family_at(lua_State *L) { return *(struct cc_family **)luaL_checkudata(L, 1, FAMILY_META); }

/* The series of the label values on the stack from `from` on, which stay there. */
static struct cc_series *series_at(lua_State *L, struct cc_family *f, int from)
{
    const char *values[CC_LABELS_MAX] = { 0 };
    unsigned i, n = cc_metric_labels(f);

    if (lua_gettop(L) != from - 1 + (int)n)
        luaL_error(L, "a value for each of its %d labels expected", (int)n);
    for (i = 0; i < n; i++)
        values[i] = luaL_checkstring(L, from + (int)i);
    return cc_metric_series(f, values);
}

static void check_kind(lua_State *L, struct cc_family *f, bool histogram)
{
    if ((cc_metric_kind(f) == CC_HISTOGRAM) != histogram)
        luaL_error(L, histogram ? "a histogram expected" : "a counter or gauge expected");
}

static int l_add(lua_State *L)
{
    struct cc_family *f = family_at(L);
    lua_Number n = luaL_checknumber(L, 2);

    check_kind(L, f, false);
    cc_metric_add(series_at(L, f, 3), n);
    return 0;
}

static int l_set(lua_State *L)
{
    struct cc_family *f = family_at(L);
    lua_Number v = luaL_checknumber(L, 2);

    check_kind(L, f, false);
    cc_metric_set(series_at(L, f, 3), v);
    return 0;
}

static int l_observe(lua_State *L)
{
    struct cc_family *f = family_at(L);
    lua_Number v = luaL_checknumber(L, 2);

    check_kind(L, f, true);
    cc_metric_observe(series_at(L, f, 3), v);
    return 0;
}

static int l_fill(lua_State *L)
{
    struct cc_family *f = family_at(L);
    size_t i, k, n = cc_metric_labels(f);

    check_kind(L, f, false);
    luaL_checktype(L, 2, LUA_TTABLE);
    cc_metric_zero(f);
    for (i = 1; i <= lua_objlen(L, 2); i++) {
        lua_Number v;

        lua_settop(L, 2);
        lua_rawgeti(L, 2, (int)i);
        luaL_checktype(L, 3, LUA_TTABLE);
        lua_rawgeti(L, 3, 1);
        v = luaL_checknumber(L, 4);
        for (k = 0; k < n; k++)
            lua_rawgeti(L, 3, (int)k + 2);
        cc_metric_add(series_at(L, f, 5), v); /* what is beyond the bound comes to one sum */
    }
    return 0;
}

/* A string of the table at 1; it stays on the stack. */
static const char *text_of(lua_State *L, const char *name, bool needed)
{
    lua_getfield(L, 1, name);
    if (needed && !lua_isstring(L, -1))
        luaL_error(L, "metrics: %s expected", name);
    return lua_tostring(L, -1);
}

static void read_labels(lua_State *L, struct cc_metric_def *def)
{
    size_t i, n;

    lua_getfield(L, 1, "labels");
    n = lua_istable(L, -1) ? lua_objlen(L, -1) : 0;
    luaL_argcheck(L, n <= CC_LABELS_MAX, 1, "fewer labels expected");
    for (i = 0; i < n; i++) {
        lua_rawgeti(L, -1, (int)i + 1);
        def->labels[i] = luaL_checkstring(L, -1); /* the table keeps it */
        lua_pop(L, 1);
    }
}

static void read_buckets(lua_State *L, struct cc_metric_def *def, double *room)
{
    size_t i;

    lua_getfield(L, 1, "buckets");
    if (!lua_istable(L, -1))
        return;
    def->n_buckets = (unsigned)lua_objlen(L, -1);
    luaL_argcheck(L, def->n_buckets <= CC_BUCKETS_MAX, 1, "fewer buckets expected");
    for (i = 0; i < def->n_buckets; i++) {
        lua_rawgeti(L, -1, (int)i + 1);
        room[i] = luaL_checknumber(L, -1);
        lua_pop(L, 1);
    }
    def->buckets = room;
}

static int make(lua_State *L, enum cc_metric_kind kind)
{
    struct cc_metric_def def = { .kind = kind };
    double buckets[CC_BUCKETS_MAX];

    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    def.name = text_of(L, "name", true);
    def.help = text_of(L, "help", true);
    def.unit = text_of(L, "unit", false);
    lua_getfield(L, 1, "most");
    def.most = (unsigned)luaL_optinteger(L, -1, 0);
    read_labels(L, &def);
    read_buckets(L, &def, buckets);
    *(struct cc_family **)lua_newuserdata(L, sizeof(struct cc_family *)) = cc_metric_family(&def);
    luaL_getmetatable(L, FAMILY_META);
    lua_setmetatable(L, -2);
    return 1;
}

static int l_counter(lua_State *L) { return make(L, CC_COUNTER); }
static int l_gauge(lua_State *L) { return make(L, CC_GAUGE); }
static int l_histogram(lua_State *L) { return make(L, CC_HISTOGRAM); }

static int l_text(lua_State *L)
{
    size_t n;
    char *text = cc_metrics_text(lua_toboolean(L, 1), &n);

    lua_pushlstring(L, text, n); /* out of memory aborts, or is the process's end anyhow */
    free(text);
    return 1;
}

static int l_pool(lua_State *L)
{
    struct cc_pool_stats st;

    cc_pool_stats_of(luaL_checkstring(L, 1), &st);
    const struct {
        const char *name;
        double n;
    } all[] = { { "threads", st.threads },
                { "busy", st.busy },
                { "queued", st.queued },
                { "finished", (double)st.finished },
                { "cancelled", (double)st.cancelled },
                { "timed_out", (double)st.timed_out } };

    lua_createtable(L, 0, sizeof(all) / sizeof(*all));
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
        lua_pushnumber(L, all[i].n);
        lua_setfield(L, -2, all[i].name);
    }
    return 1;
}

static bool watched;

static void unwatch(void *arg)
{
    (void)arg;
    cc_turn_unwatch();
}

static int l_watch_loop(lua_State *L)
{
    if (!watched)
        cc_vm_at_close(L, unwatch, NULL);
    watched = true;
    cc_turn_watch(cc_vm_main(L));
    return 0;
}

static const luaL_Reg methods[] = {
    { "add", l_add }, { "set", l_set }, { "observe", l_observe }, { "fill", l_fill }, { NULL, NULL }
};

static const luaL_Reg lib[] = { { "counter", l_counter },
                                { "gauge", l_gauge },
                                { "histogram", l_histogram },
                                { "text", l_text },
                                { "pool", l_pool },
                                { "watch_loop", l_watch_loop },
                                { NULL, NULL } };

int luaopen_cc_metrics(lua_State *L)
{
    luaL_newmetatable(L, FAMILY_META);
    luaL_register(L, NULL, methods);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    lua_newtable(L);
    luaL_register(L, NULL, lib);
    return 1;
}
