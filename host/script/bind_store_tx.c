/* bind_store_tx.c - store.update and its tx.
 *
 *   ... | nil, err = store.update(function(tx) ... return ... end)   [yields]
 *
 * What fn returns, once it is durable; true when that is nothing.  fn returns nil, err: nothing is
 * written, and that is returned.  fn raises: nothing is written, raised again.  fn runs again when what
 * it read has changed meanwhile, so it must be pure but for tx; and it must not wait.  It runs in a
 * coroutine of its own, in which no binding finds a task to park: that a function which waits is an
 * error is so not a matter of discipline.
 *
 *   value, rev       = tx:get(kind, id)               nil: absent
 *   text, owner, rev = tx:raw(kind, id)               likewise
 *   value            = tx:lookup(index, key)          likewise
 *   rev              = tx:put(kind, id, value, owner) owner nil: stays what it is
 *   was_there        = tx:del(kind, id)
 *   tx:index(index, key, value)                       written only when it says something else
 *   was_there        = tx:unindex(index, key)
 *   tx:log(kind, id, type, data, by)                  data a table or nil
 *   ms               = tx:now()                       when the update began: the time of its entries
 *
 * LuaJIT does not continue a C function after a yield, so the loop around begin, fn and commit is Lua.
 */
#include "host/script/bind_store.h"

#include "host/observe/log.h"
#include "host/observe/span.h"
#include "host/script/json.h"
#include "host/script/task.h"
#include "host/sys/mem.h"

#include <stdlib.h>
#include <string.h>

/* ---- tx */

static struct bind *need_txn(lua_State *L)
{
    struct bind *b = bind_of(L);

    if (!b->txn)
        luaL_error(L, "tx is used outside its update");
    return b;
}

/* A read that failed ends the function; the update then returns nil, err. */
static int missing(lua_State *L, struct bind *b, int code)
{
    if (code != CC_E_NOT_FOUND) {
        cc_err_set(&b->failed, code, "the store cannot be read");
        return luaL_error(L, "the store cannot be read");
    }
    lua_pushnil(L);
    return 1;
}

static int l_tx_get(lua_State *L)
{
    struct bind *b = need_txn(L);
    const char *kind = bind_name(L, 2);
    struct cc_record r;
    int rc = cc_txn_get(b->txn, kind, bind_key(L, 3), &r);

    return rc ? missing(L, b, rc) : bind_push_record(L, kind, &r);
}

static int l_tx_raw(lua_State *L)
{
    struct bind *b = need_txn(L);
    struct cc_record r;
    int rc = cc_txn_get(b->txn, bind_name(L, 2), bind_key(L, 3), &r);

    return rc ? missing(L, b, rc) : bind_push_raw(L, &r);
}

static int l_tx_lookup(lua_State *L)
{
    struct bind *b = need_txn(L);
    struct cc_slice v;
    int rc = cc_txn_lookup(b->txn, bind_name(L, 2), bind_key(L, 3), &v);

    if (rc)
        return missing(L, b, rc);
    lua_pushlstring(L, v.data, v.len);
    return 1;
}

/* The value as JSON, to be freed. [raises] */
static char *encode(lua_State *L, int arg, size_t *len)
{
    struct cc_err err = { .message = "" };
    char *text;

    luaL_checktype(L, arg, LUA_TTABLE);
    text = cc_json_text(L, arg, len, &err);
    if (!text)
        luaL_argerror(L, arg, lua_pushfstring(L, "cannot be JSON: %s", err.message));
    if (*len > CC_STORE_TEXT_MAX) {
        free(text);
        luaL_argerror(L, arg, "more than 16 MiB of JSON");
        return NULL; /* not reached: it raises */
    }
    return text;
}

static int l_tx_put(lua_State *L)
{
    struct bind *b = need_txn(L);
    const char *kind = bind_name(L, 2);
    struct cc_slice id = bind_key(L, 3), owner = bind_text(L, 5, CC_STORE_OWNER_MAX), text;
    char *json = encode(L, 4, &text.len);

    text.data = json;
    cc_txn_put(b->txn, kind, id, text, lua_isnoneornil(L, 5) ? NULL : &owner);
    free(json);
    lua_pushnumber(L, (lua_Number)cc_txn_rev(b->txn));
    return 1;
}

static int l_tx_del(lua_State *L)
{
    struct bind *b = need_txn(L);

    lua_pushboolean(L, cc_txn_del(b->txn, bind_name(L, 2), bind_key(L, 3)));
    return 1;
}

static int l_tx_index(lua_State *L)
{
    struct bind *b = need_txn(L);
    const char *index = bind_name(L, 2);
    struct cc_slice key = bind_key(L, 3);

    luaL_checkstring(L, 4);
    cc_txn_index(b->txn, index, key, bind_text(L, 4, CC_STORE_KEY_MAX));
    return 0;
}

static int l_tx_unindex(lua_State *L)
{
    struct bind *b = need_txn(L);

    lua_pushboolean(L, cc_txn_unindex(b->txn, bind_name(L, 2), bind_key(L, 3)));
    return 1;
}

static int l_tx_log(lua_State *L)
{
    struct bind *b = need_txn(L);
    const char *kind = bind_name(L, 2);
    struct cc_slice id = bind_key(L, 3), type = bind_text(L, 4, CC_STORE_TYPE_MAX),
                    by = bind_text(L, 6, CC_STORE_BY_MAX);
    struct cc_slice data = { "{}", 2 };
    char *json = NULL;

    luaL_argcheck(L, type.len > 0, 4, "the type of the entry expected");
    if (!lua_isnoneornil(L, 5))
        data.data = json = encode(L, 5, &data.len);
    cc_txn_log(b->txn, kind, id, type, by, data);
    free(json);
    return 0;
}

static int l_tx_now(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)cc_txn_now(need_txn(L)->txn));
    return 1;
}

/* ---- what the loop below is made of */

/* tx = begin(turn) */
static int l_begin(lua_State *L)
{
    struct bind *b = bind_of(L);

    if (!b->store)
        return luaL_error(L, "the store is not open");
    if (b->txn)
        return luaL_error(L, "store.update: not inside another update");
    cc_task_need(L, "store.update");
    b->failed.code = CC_OK;
    b->txn = cc_txn_begin(b->store, lua_touserdata(L, 1));
    lua_pushvalue(L, lua_upvalueindex(2));
    return 1;
}

/* err | nil = abort(): nothing is written; why a read failed, if one did */
static int l_abort(lua_State *L)
{
    struct bind *b = bind_of(L);

    cc_txn_abort(b->txn);
    b->txn = NULL;
    if (!b->failed.code)
        return 0;
    cc_push_err(L, &b->failed);
    return 1;
}

struct wait {
    struct cc_task *task; /* NULL: gave up */
    struct cc_span *span;
    struct cc_store *store;
};

/* A conflict is no failure: the update runs again. */
static void end_span(struct cc_span *s, int code, const struct cc_err *err)
{
    if (!s)
        return;
    if (code)
        cc_span_text(s, "error.type", cc_err_word(code), strlen(cc_err_word(code)));
    if (code && code != CC_E_CONFLICT)
        cc_span_fail(s, err->message);
    cc_span_end(s);
}

static void on_commit(void *arg, int code, const struct cc_err *err)
{
    struct wait *w = arg;

    end_span(w->span, code, err);
    if (w->task && code) {
        cc_task_wake(w->task, cc_push_err(cc_task_stack(w->task), err));
    } else if (w->task) {
        lua_pushboolean(cc_task_stack(w->task), 1);
        cc_task_wake(w->task, 1);
    }
    free(w);
}

/* What was submitted cannot be called back: it only loses its audience. */
static void forget(void *op) { ((struct wait *)op)->task = NULL; }

/* true | nil, err = commit()   [yields] */
static int l_commit(lua_State *L)
{
    struct bind *b = bind_of(L);
    struct cc_task *t = cc_task_self(L);
    struct cc_txn *txn = b->txn;
    struct wait *w = cc_xcalloc(1, sizeof(*w));
    struct cc_err err;
    int rc;

    w->task = t;
    b->txn = NULL;
    rc = cc_txn_submit(txn, on_commit, w, &err);
    if (rc == CC_OK) {
        w->span = cc_span_begin(CC_SPAN_INTERNAL, "store commit", NULL);
        cc_task_park(t, forget, w);
        return lua_yield(L, 0);
    }
    free(w);
    if (rc == CC_E_INVALID)
        return luaL_error(L, "store.update: %s", err.message);
    if (rc != CC_TXN_IDLE)
        return cc_push_err(L, &err);
    lua_pushboolean(L, 1);
    return 1;
}

static void on_turn(void *arg)
{
    struct wait *w = arg;

    lua_pushlightuserdata(cc_task_stack(w->task), w); /* only its name from here on */
    cc_task_wake(w->task, 1);
    free(w);
}

static void leave_queue(void *op)
{
    struct wait *w = op;

    cc_store_turn_cancel(w->store, w);
    free(w);
}

/* turn | nil, err = turn()   [yields] */
static int l_turn(lua_State *L)
{
    struct bind *b = bind_of(L);
    struct cc_task *t = cc_task_need(L, "store.update");
    struct wait *w;

    if (!b->store)
        return luaL_error(L, "the store is not open");
    w = cc_xcalloc(1, sizeof(*w));
    w->task = t;
    w->store = b->store;
    cc_store_turn(b->store, on_turn, w);
    cc_task_park(t, leave_queue, w);
    return lua_yield(L, 0);
}

static int l_gave_up(lua_State *L)
{
    cc_log(CC_LOG_WARN, "store", "an update lost against others %d times and was given up",
           (int)luaL_checkinteger(L, 1));
    return 0;
}

/* Two tries more than a burst of another process needs, then the turn, with which it cannot lose. */
static const char update_source[] =
    "local begin, commit, abort, turn, gave_up = ...\n"
    "local create, resume, yield = coroutine.create, coroutine.resume, coroutine.yield\n"
    "local type, error, select, unpack, find = type, error, select, unpack, string.find\n"
    "local TRIES, PATIENCE, DONE = 50, 4, {}\n"
    "local runner\n"
    "\n"
    "local function run(fn, tx)\n"
    "  while true do fn, tx = yield(DONE, fn(tx)) end\n"
    "end\n"
    "\n"
    "-- What fn returned, as a list; or nil, err when a read failed. Raises what fn raised.\n"
    "local function settle(ok, mark, ...)\n"
    "  if ok and mark == DONE then return { n = select('#', ...), ... } end\n"
    "  runner = nil\n"
    "  local failed = abort()\n"
    "  if failed then return nil, failed end\n"
    "  if ok then error('store.update: its function must not wait', 0) end\n"
    "  if type(mark) == 'string' and find(mark, 'not in a task', 1, true) then\n"
    "    mark = mark .. ' (the function of store.update must not wait)'\n"
    "  end\n"
    "  error(mark, 0)\n"
    "end\n"
    "\n"
    "local function call(fn, tx)\n"
    "  runner = runner or create(run)\n"
    "  return settle(resume(runner, fn, tx))\n"
    "end\n"
    "\n"
    "return function(fn)\n"
    "  if type(fn) ~= 'function' then error(\"bad argument #1 to 'update' (function expected)\", 2) end\n"
    "  local mine, ok, err\n"
    "  for try = 1, TRIES do\n"
    "    if try > PATIENCE then\n"
    "      mine, err = turn()\n"
    "      if not mine then return nil, err end\n"
    "    end\n"
    "    local got, failed = call(fn, begin(mine))\n"
    "    if not got then return nil, failed end\n"
    "    if got[1] == nil and got[2] ~= nil then\n"
    "      abort()\n"
    "      return nil, got[2]\n"
    "    end\n"
    "    ok, err = commit()\n"
    "    if ok and got[1] == nil then return true end\n"
    "    if ok then return unpack(got, 1, got.n) end\n"
    "    if err.code ~= 'conflict' then return nil, err end\n"
    "  end\n"
    "  gave_up(TRIES)\n"
    "  return nil, err\n"
    "end\n";

static const luaL_Reg tx_methods[] = { { "get", l_tx_get },         { "raw", l_tx_raw },
                                       { "lookup", l_tx_lookup },   { "put", l_tx_put },
                                       { "del", l_tx_del },         { "index", l_tx_index },
                                       { "unindex", l_tx_unindex }, { "log", l_tx_log },
                                       { "now", l_tx_now },         { NULL, NULL } };

/* The one tx of this VM: an empty object with the methods. Pushes it. */
static void push_tx(lua_State *L, struct bind *b)
{
    lua_newuserdata(L, 1);
    lua_newtable(L);
    lua_newtable(L);
    lua_pushlightuserdata(L, b);
    luaL_setfuncs(L, tx_methods, 1);
    lua_setfield(L, -2, "__index");
    lua_pushliteral(L, "cchost.tx");
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
}

static void push_with(lua_State *L, struct bind *b, lua_CFunction fn)
{
    lua_pushlightuserdata(L, b);
    lua_pushcclosure(L, fn, 1);
}

void bind_push_update(lua_State *L, struct bind *b)
{
    if (luaL_loadbufferx(L, update_source, sizeof(update_source) - 1, "=store.update", "t") != 0)
        lua_error(L);
    lua_pushlightuserdata(L, b);
    push_tx(L, b);
    lua_pushcclosure(L, l_begin, 2);
    push_with(L, b, l_commit);
    push_with(L, b, l_abort);
    push_with(L, b, l_turn);
    lua_pushcfunction(L, l_gave_up);
    lua_call(L, 5, 1);
}
