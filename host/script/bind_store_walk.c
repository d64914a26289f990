/* bind_store_walk.c - store.scan, list, kinds, indexes, log and history: many rows in one call (bind_store.c tells how).
 *
 * Rows are copied while the snapshot is open and pushed when it is closed: pushing may raise, and a
 * raise must not pass over an open snapshot.
 */
#include "host/script/bind_store.h"

#include "host/sys/mem.h"

#include <stdlib.h>
#include <string.h>

enum { LOG_LIMIT = 1000 };
static const double NO_BOUND = 4503599627370496.0;

/* ---- options */

static struct cc_slice option_text(lua_State *L, int arg, const char *name)
{
    struct cc_slice s = { "", 0 };

    lua_getfield(L, arg, name);
    if (lua_type(L, -1) == LUA_TSTRING)
        s.data = lua_tolstring(L, -1, &s.len);
    else if (!lua_isnil(L, -1))
        luaL_error(L, "store: option %s: a string expected", name);
    if (s.len > CC_STORE_KEY_MAX)
        luaL_error(L, "store: option %s: at most 400 bytes expected", name);
    lua_pop(L, 1); /* the table keeps it */
    return s;
}

double bind_option_number(lua_State *L, int arg, const char *name, double fallback)
{
    double n = fallback;

    lua_getfield(L, arg, name);
    if (!lua_isnil(L, -1)) {
        n = lua_tonumber(L, -1);
        if (lua_type(L, -1) != LUA_TNUMBER || n < 0 || n > 9007199254740992.0 || n != (double)(uint64_t)n)
            luaL_error(L, "store: option %s: a whole number, 0 or more, expected", name);
    }
    lua_pop(L, 1);
    return n;
}

bool bind_option_flag(lua_State *L, int arg, const char *name)
{
    bool on;

    lua_getfield(L, arg, name);
    on = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return on;
}

/* Leaves an options table at `arg`, also when there is none. */
static void options(lua_State *L, int arg)
{
    lua_settop(L, arg);
    if (lua_isnil(L, arg)) {
        lua_newtable(L);
        lua_replace(L, arg);
    }
    luaL_checktype(L, arg, LUA_TTABLE);
}

static struct cc_range range(lua_State *L, int arg)
{
    struct cc_range r;

    options(L, arg);
    r.prefix = option_text(L, arg, "prefix");
    r.after = option_text(L, arg, "after");
    r.limit = (size_t)bind_option_number(L, arg, "limit", 0);
    r.reverse = bind_option_flag(L, arg, "reverse");
    return r;
}

/* ---- rows */

static void collect(struct bind *b, struct cc_slice s)
{
    size_t need = b->rows_len + sizeof(s.len) + s.len;

    if (need > b->rows_size) {
        b->rows_size = need * 2;
        b->rows = cc_xrealloc(b->rows, b->rows_size);
    }
    memcpy(b->rows + b->rows_len, &s.len, sizeof(s.len));
    if (s.len)
        memcpy(b->rows + b->rows_len + sizeof(s.len), s.data, s.len);
    b->rows_len = need;
}

static void collect_number(struct bind *b, double n) { collect(b, (struct cc_slice){ (const char *)&n, sizeof(n) }); }

struct field {
    const char *name;
    enum { TEXT, NUMBER, FLAG } type; /* a flag is there when it is true */
};

static void push_field(lua_State *L, const struct field *f, const char *data, size_t len)
{
    double n;

    if (f->type == TEXT) {
        lua_pushlstring(L, data, len);
    } else {
        memcpy(&n, data, sizeof(n));
        if (f->type == NUMBER)
            lua_pushnumber(L, n);
        else if (n != 0)
            lua_pushboolean(L, 1);
        else
            lua_pushnil(L);
    }
    lua_setfield(L, -2, f->name);
}

/* A list of tables; `fields` says what a row has. A large buffer is not kept. */
static int push_rows(lua_State *L, struct bind *b, const struct field *fields, int nfields)
{
    enum { KEEP = 1 << 20 };
    size_t at = 0, len;
    int row = 0, i;

    lua_newtable(L);
    while (at < b->rows_len) {
        lua_createtable(L, 0, nfields);
        for (i = 0; i < nfields; i++, at += len) {
            memcpy(&len, b->rows + at, sizeof(len));
            at += sizeof(len);
            push_field(L, &fields[i], b->rows + at, len);
        }
        lua_rawseti(L, -2, ++row);
    }
    if (b->rows_size > KEEP) {
        free(b->rows);
        b->rows = NULL;
        b->rows_size = 0;
    }
    return 1;
}

static bool on_index(void *arg, struct cc_slice key, struct cc_slice value)
{
    collect(arg, key);
    collect(arg, value);
    return true;
}

static int l_scan(lua_State *L)
{
    static const struct field fields[] = { { "key", TEXT }, { "value", TEXT } };
    struct bind *b = bind_need_open(L);
    const char *index = bind_name(L, 1);
    struct cc_range r = range(L, 2);
    int rc;

    b->rows_len = 0;
    rc = cc_store_scan(b->store, index, &r, on_index, b);
    return rc ? bind_push_missing(L, rc) : push_rows(L, b, fields, 2);
}

static bool on_record(void *arg, struct cc_slice id, const struct cc_record *rec)
{
    collect(arg, id);
    collect(arg, rec->text);
    collect(arg, rec->owner);
    collect_number(arg, (double)rec->rev);
    return true;
}

static int l_list(lua_State *L)
{
    static const struct field fields[] = { { "id", TEXT }, { "json", TEXT }, { "owner", TEXT }, { "rev", NUMBER } };
    struct bind *b = bind_need_open(L);
    const char *kind = bind_name(L, 1);
    struct cc_range r = range(L, 2);
    int rc;

    b->rows_len = 0;
    rc = cc_store_list(b->store, kind, &r, on_record, b);
    return rc ? bind_push_missing(L, rc) : push_rows(L, b, fields, 4);
}

static void collect_hash(struct bind *b, const uint8_t hash[32])
{
    static const char digits[] = "0123456789abcdef";
    char hex[64];
    int i;

    for (i = 0; i < 32; i++) {
        hex[2 * i] = digits[hash[i] >> 4];
        hex[2 * i + 1] = digits[hash[i] & 15];
    }
    collect(b, (struct cc_slice){ hex, sizeof(hex) });
}

static bool on_name(void *arg, struct cc_slice name)
{
    collect(arg, name);
    return true;
}

/* Pushes a list of names, or nil and what failed. */
static int push_names(lua_State *L, struct bind *b, bool indexes)
{
    size_t at, len;
    int n = 0, rc;

    b->rows_len = 0;
    rc = cc_store_names(b->store, indexes, on_name, b);
    if (rc)
        return bind_push_missing(L, rc);
    lua_newtable(L);
    for (at = 0; at < b->rows_len; at += len) {
        memcpy(&len, b->rows + at, sizeof(len));
        at += sizeof(len);
        lua_pushlstring(L, b->rows + at, len);
        lua_rawseti(L, -2, ++n);
    }
    return 1;
}

static int l_kinds(lua_State *L) { return push_names(L, bind_need_open(L), false); }
static int l_indexes(lua_State *L) { return push_names(L, bind_need_open(L), true); }

static bool on_entry(void *arg, const struct cc_entry *e)
{
    struct bind *b = arg;

    collect_number(arg, (double)e->seq);
    collect_number(arg, (double)e->prev);
    collect_number(arg, (double)e->at);
    collect(arg, e->kind);
    collect(arg, e->id);
    collect(arg, e->type);
    collect(arg, e->by);
    collect(arg, e->data);
    collect_hash(arg, e->hash);
    collect_hash(arg, e->before);
    collect_number(arg, e->trimmed);
    return b->rows_len < b->rows_most;
}

static int push_entries(lua_State *L, struct bind *b, int rc)
{
    static const struct field fields[] = {
        { "seq", NUMBER }, { "prev", NUMBER }, { "at", NUMBER },    { "kind", TEXT },
        { "id", TEXT },    { "type", TEXT },   { "by", TEXT },      { "data", TEXT },
        { "hash", TEXT },  { "before", TEXT }, { "trimmed", FLAG },
    };

    return rc ? bind_push_missing(L, rc) : push_rows(L, b, fields, 11);
}

static int l_log(lua_State *L)
{
    struct bind *b = bind_need_open(L);
    uint64_t after;
    size_t limit;

    options(L, 1);
    after = (uint64_t)bind_option_number(L, 1, "after", 0);
    limit = (size_t)bind_option_number(L, 1, "limit", LOG_LIMIT);
    b->rows_most = (size_t)bind_option_number(L, 1, "bytes", NO_BOUND);
    b->rows_len = 0;
    return push_entries(L, b, cc_store_log(b->store, after, limit, bind_option_flag(L, 1, "reverse"), on_entry, b));
}

static int l_history(lua_State *L)
{
    struct bind *b = bind_need_open(L);
    const char *kind = bind_name(L, 1);
    struct cc_slice id = bind_key(L, 2);
    size_t limit;

    options(L, 3);
    limit = (size_t)bind_option_number(L, 3, "limit", LOG_LIMIT);
    b->rows_most = (size_t)bind_option_number(L, 3, "bytes", NO_BOUND);
    b->rows_len = 0;
    return push_entries(L, b, cc_store_history(b->store, kind, id, limit, on_entry, b));
}

static const luaL_Reg walk_lib[] = { { "scan", l_scan },   { "list", l_list },
                                     { "kinds", l_kinds }, { "indexes", l_indexes },
                                     { "log", l_log },     { "history", l_history },
                                     { NULL, NULL } };

void bind_add_walks(lua_State *L, struct bind *b)
{
    lua_pushlightuserdata(L, b);
    luaL_setfuncs(L, walk_lib, 1);
}
