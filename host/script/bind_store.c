/* bind_store.c - module "store": opening and reading. Walks are in bind_store_walk.c, store.update is in
 * bind_store_tx.c; what takes long is in bind_store_care.c: wait, trim, verify, backup, restore.
 *
 *   true | nil, err   = store.open{dir=, serve=, serve_fd=, map_mib=}   one store a VM
 *   fd = store.serve_fd()                                    of the lock of who serves, for the process that takes its place
 *   store.serve_note()                                       whose pid then is in it
 *   store.close()
 *   text, owner, rev  = store.raw(kind, id)                  nil: absent; nil, err: the store failed
 *   value, rev        = store.get(kind, id)                  likewise
 *   value             = store.lookup(index, key)             likewise
 *   {{key=,value=}..} = store.scan(index, {prefix=,after=,limit=,reverse=})
 *   {{id=,json=,owner=,rev=}..} = store.list(kind, the same options)
 *   {name..} = store.kinds()  store.indexes()                those that hold something
 *   {{seq=,prev=,at=,kind=,id=,type=,by=,data=,hash=,before=,trimmed=}..} = store.log{after=,limit=,reverse=}
 *   the same for one object, newest first = store.history(kind, id, {limit=})
 *   both end behind the entry with which they have `bytes`, when that is given: there is at least one
 *   {records=,log_seq=,map_bytes=,..} | nil, err = store.stats()
 *
 * `after` is left out of the answer and may be a key that is not there.  scan and list have no limit
 * unless told, log and history 1000.  `data` and `json` are texts; hash and before (the hash of the entry
 * `prev`, or zeros) have 64 hex digits; trimmed is true when the data has been dropped: then it is "".  Kinds and index names are [a-z_]+ of
 * at most 64 bytes; ids, index keys and values have at most 400.  All of it reads committed data.
 */
#include "host/script/bind_store.h"

#include "host/script/json.h"
#include "host/script/task.h"
#include "host/script/vm.h"
#include "host/sys/mem.h"

#include <stdlib.h>
#include <string.h>

int luaopen_cc_store(lua_State *L);

/* ---- arguments */

static struct cc_slice check_slice(lua_State *L, int arg)
{
    struct cc_slice s;

    s.data = luaL_checklstring(L, arg, &s.len);
    return s;
}

const char *bind_name(lua_State *L, int arg)
{
    struct cc_slice s = check_slice(L, arg);

    luaL_argcheck(L, cc_store_name_ok(s), arg, "a kind or index name of a-z and _ expected, at most 64 bytes");
    return s.data;
}

struct cc_slice bind_key(lua_State *L, int arg)
{
    struct cc_slice s = check_slice(L, arg);

    luaL_argcheck(L, cc_store_key_ok(s), arg, "1 to 400 bytes expected");
    return s;
}

struct cc_slice bind_text(lua_State *L, int arg, size_t max)
{
    struct cc_slice s = { "", 0 };

    if (!lua_isnoneornil(L, arg))
        s = check_slice(L, arg);
    luaL_argcheck(L, s.len <= max, arg, "too long");
    return s;
}

struct bind *bind_need_open(lua_State *L)
{
    struct bind *b = bind_of(L);

    if (!b->store)
        luaL_error(L, "the store is not open");
    return b;
}

/* ---- single reads */

/* Absent: nil. Failed: nil, err. */
int bind_push_missing(lua_State *L, int code)
{
    struct cc_err err;

    if (code == CC_E_NOT_FOUND) {
        lua_pushnil(L);
        return 1;
    }
    cc_err_set(&err, code, "the store cannot be read");
    return cc_push_err(L, &err);
}

int bind_push_raw(lua_State *L, const struct cc_record *r)
{
    lua_pushlstring(L, r->text.data, r->text.len);
    lua_pushlstring(L, r->owner.data, r->owner.len);
    lua_pushnumber(L, (lua_Number)r->rev);
    return 3;
}

int bind_push_record(lua_State *L, const char *kind, const struct cc_record *r)
{
    struct cc_err err;

    if (cc_json_push(L, r->text.data, r->text.len, &err) != CC_OK)
        luaL_error(L, "store: a record of kind %s is not JSON: %s", kind, err.message);
    lua_pushnumber(L, (lua_Number)r->rev);
    return 2;
}

static int l_raw(lua_State *L)
{
    struct bind *b = bind_need_open(L);
    struct cc_record r;
    int rc = cc_store_get(b->store, bind_name(L, 1), bind_key(L, 2), &r);

    return rc ? bind_push_missing(L, rc) : bind_push_raw(L, &r);
}

static int l_get(lua_State *L)
{
    struct bind *b = bind_need_open(L);
    const char *kind = bind_name(L, 1);
    struct cc_record r;
    int rc = cc_store_get(b->store, kind, bind_key(L, 2), &r);

    return rc ? bind_push_missing(L, rc) : bind_push_record(L, kind, &r);
}

static int l_lookup(lua_State *L)
{
    struct bind *b = bind_need_open(L);
    struct cc_slice v;
    int rc = cc_store_lookup(b->store, bind_name(L, 1), bind_key(L, 2), &v);

    if (rc)
        return bind_push_missing(L, rc);
    lua_pushlstring(L, v.data, v.len);
    return 1;
}

/* ---- open and close */

static int l_open(lua_State *L)
{
    struct bind *b = bind_of(L);
    struct cc_store_opts o = { .loop = cc_vm_loop(L) };
    struct cc_err err;

    luaL_checktype(L, 1, LUA_TTABLE);
    if (b->store || b->jobs)
        return luaL_error(L, b->store ? "store.open: it is open" : "store.open: not while one is restored");
    o.map_mib = (size_t)bind_option_number(L, 1, "map_mib", 0);
    o.serve = bind_option_flag(L, 1, "serve");
    o.serve_fd = (int)bind_option_number(L, 1, "serve_fd", 0);
    lua_getfield(L, 1, "dir");
    if (lua_type(L, -1) != LUA_TSTRING)
        return luaL_error(L, "store.open: option dir: a string expected");
    o.dir = lua_tostring(L, -1);
    if (cc_store_open(&o, &b->store, &err) != CC_OK)
        return cc_push_err(L, &err);
    lua_pushboolean(L, 1);
    return 1;
}

static int l_serve_fd(lua_State *L)
{
    lua_pushinteger(L, cc_store_serve_fd(bind_need_open(L)->store));
    return 1;
}

static int l_serve_note(lua_State *L)
{
    cc_store_serve_note(bind_need_open(L)->store);
    return 0;
}

/* A job on its thread still uses it: then the last one closes. */
void bind_close(struct bind *b)
{
    if (b->jobs) {
        b->close_wanted = true;
    } else {
        if (b->store)
            cc_store_close(b->store);
        b->store = NULL;
        b->close_wanted = false;
        free(b->rows);
        b->rows = NULL;
        b->rows_size = 0;
    }
}

static int l_close(lua_State *L)
{
    struct bind *b = bind_of(L);

    if (b->txn)
        return luaL_error(L, "store.close: not inside store.update");
    bind_close(b);
    return 0;
}

static void on_vm_close(void *arg)
{
    struct bind *b = arg;

    if (b->txn)
        cc_txn_abort(b->txn);
    b->txn = NULL;
    bind_close(b);
    b->gone = true;
    if (!b->jobs)
        free(b);
}

/* ---- stats */

static int l_stats(lua_State *L)
{
    struct bind *b = bind_of(L);
    struct cc_store_stats st;
    struct cc_err err;

    if (!b->store) {
        cc_err_set(&err, CC_E_STATE, "the store is not open");
        return cc_push_err(L, &err);
    }
    cc_store_stats(b->store, &st);
    lua_createtable(L, 0, 12);
#define FIELD(name) (lua_pushnumber(L, (lua_Number)st.name), lua_setfield(L, -2, #name))
    FIELD(records), FIELD(log_seq), FIELD(map_bytes), FIELD(used_bytes), FIELD(commits), FIELD(updates);
    FIELD(conflicts), FIELD(failures), FIELD(pending), FIELD(readers);
#undef FIELD
    return 1;
}

static const luaL_Reg store_lib[] = { { "open", l_open },         { "close", l_close },           { "raw", l_raw },
                                      { "get", l_get },           { "lookup", l_lookup },         { "stats", l_stats },
                                      { "serve_fd", l_serve_fd }, { "serve_note", l_serve_note }, { NULL, NULL } };

int luaopen_cc_store(lua_State *L)
{
    struct bind *b = cc_xcalloc(1, sizeof(*b));

    cc_vm_at_close(L, on_vm_close, b);
    lua_newtable(L);
    lua_pushlightuserdata(L, b);
    luaL_setfuncs(L, store_lib, 1);
    bind_add_walks(L, b);
    bind_add_care(L, b);
    bind_push_update(L, b);
    lua_setfield(L, -2, "update");
    return 1;
}
