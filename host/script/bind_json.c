/* bind_json.c - module "json".
 *
 *   value | nil, err = json.decode(text)
 *   text            = json.encode(value)      [raises] on what JSON cannot say
 *   text            = json.text(bytes)        the same as valid UTF-8: what is not is U+FFFD
 *   json.array(t)     marks t as a list (also when empty); returns it
 *   json.is_array(t)
 *   json.null         what null becomes, and is written as null
 */
#include "host/script/json.h"
#include "host/sys/utf8.h"

#include "host/script/task.h"

#include <jansson.h>
#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 64 };
#define MAX_EXACT 9007199254740992.0 /* 2^53 */

/* ---- text -> Lua.  The tree is jansson's; the walk may raise out of memory only. */

static bool fits(const json_t *v, int depth)
{
    const char *key;
    json_t *child;
    size_t i;

    if (depth > MAX_DEPTH)
        return false;
    if (json_is_integer(v))
        return json_integer_value(v) <= (json_int_t)MAX_EXACT && json_integer_value(v) >= -(json_int_t)MAX_EXACT;
    if (json_is_array(v)) {
        json_array_foreach ((json_t *)v, i, child)
            if (!fits(child, depth + 1))
                return false;
    } else if (json_is_object(v)) {
        json_object_foreach ((json_t *)v, key, child)
            if (!fits(child, depth + 1))
                return false;
    }
    return true;
}

static void push_value(lua_State *L, json_t *v);

static void push_object(lua_State *L, json_t *v)
{
    const char *key;
    json_t *child;

    lua_createtable(L, 0, (int)json_object_size(v));
    json_object_foreach (v, key, child) {
        lua_pushstring(L, key);
        push_value(L, child);
        lua_rawset(L, -3);
    }
}

static void push_array(lua_State *L, json_t *v)
{
    json_t *child;
    size_t i;

    lua_createtable(L, (int)json_array_size(v), 0);
    json_array_foreach (v, i, child) {
        push_value(L, child);
        lua_rawseti(L, -2, (int)i + 1);
    }
    luaL_getmetatable(L, CC_JSON_LIST);
    lua_setmetatable(L, -2);
}

static void push_value(lua_State *L, json_t *v)
{
    luaL_checkstack(L, 4, "json");
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        push_object(L, v);
        break;
    case JSON_ARRAY:
        push_array(L, v);
        break;
    case JSON_STRING:
        lua_pushlstring(L, json_string_value(v), json_string_length(v));
        break;
    case JSON_INTEGER:
        lua_pushnumber(L, (lua_Number)json_integer_value(v));
        break;
    case JSON_REAL:
        lua_pushnumber(L, json_real_value(v));
        break;
    case JSON_TRUE:
        lua_pushboolean(L, 1);
        break;
    case JSON_FALSE:
        lua_pushboolean(L, 0);
        break;
    case JSON_NULL:
        lua_pushlightuserdata(L, NULL);
        break;
    }
}

static int l_push_tree(lua_State *L)
{
    push_value(L, lua_touserdata(L, 1));
    return 1;
}

int cc_json_push(lua_State *L, const char *text, size_t len, struct cc_err *err)
{
    json_error_t why;
    json_t *tree = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &why);
    int rc;

    if (!tree)
        return cc_err_set(err, CC_E_INVALID, "bad JSON at line %d column %d: %s", why.line, why.column, why.text);
    if (!fits(tree, 0)) {
        json_decref(tree);
        return cc_err_set(err, CC_E_INVALID, "bad JSON: a number beyond 2^53, or deeper than %d levels", MAX_DEPTH);
    }
    lua_pushcfunction(L, l_push_tree);
    lua_pushlightuserdata(L, tree);
    rc = lua_pcall(L, 1, 1, 0);
    json_decref(tree);
    if (rc != 0)
        lua_error(L);
    return 0;
}

/* ---- Lua -> text. Builds a jansson tree; every failure is a value. */

struct builder {
    struct cc_err *err;
    bool fractions; /* a number was met that is not whole */
};

static json_t *build(lua_State *L, int idx, int depth, struct builder *b);

static json_t *build_array(lua_State *L, int idx, size_t n, int depth, struct builder *b)
{
    json_t *a = json_array(), *child;
    size_t i;

    for (i = 1; i <= n; i++) {
        lua_rawgeti(L, idx, (int)i);
        child = build(L, lua_gettop(L), depth + 1, b);
        lua_pop(L, 1);
        if (!child) {
            json_decref(a);
            return NULL;
        }
        json_array_append_new(a, child);
    }
    return a;
}

static json_t *build_object(lua_State *L, int idx, int depth, struct builder *b)
{
    json_t *o = json_object(), *child;

    lua_pushnil(L);
    while (lua_next(L, idx)) {
        if (lua_type(L, -2) != LUA_TSTRING) {
            cc_err_set(b->err, CC_E_INVALID, "cannot encode a table with both names and positions, or with gaps");
            child = NULL;
        } else {
            child = build(L, lua_gettop(L), depth + 1, b);
            if (child && json_object_set_new(o, lua_tostring(L, -2), child) != 0) {
                cc_err_set(b->err, CC_E_INVALID, "cannot encode a member name that is not UTF-8");
                child = NULL;
            }
        }
        if (!child) {
            lua_pop(L, 2);
            json_decref(o);
            return NULL;
        }
        lua_pop(L, 1);
    }
    return o;
}

static bool marked_array(lua_State *L, int idx)
{
    bool is;

    if (!lua_getmetatable(L, idx))
        return false;
    luaL_getmetatable(L, CC_JSON_LIST);
    is = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return is;
}

static json_t *build_table(lua_State *L, int idx, int depth, struct builder *b)
{
    size_t n = lua_objlen(L, idx), count = 0;

    if (depth > MAX_DEPTH || !lua_checkstack(L, 8)) {
        cc_err_set(b->err, CC_E_INVALID, "cannot encode a table deeper than %d levels (or one that holds itself)",
                   MAX_DEPTH);
        return NULL;
    }
    if (n == 0 && !marked_array(L, idx))
        return build_object(L, idx, depth, b);
    for (lua_pushnil(L); lua_next(L, idx); lua_pop(L, 1))
        count++;
    if (count != n) {
        cc_err_set(b->err, CC_E_INVALID, "cannot encode a table with both names and positions, or with gaps");
        return NULL;
    }
    return build_array(L, idx, n, depth, b);
}

static json_t *build_number(double d, struct builder *b)
{
    if (!isfinite(d)) {
        cc_err_set(b->err, CC_E_INVALID, "cannot encode a number that is not finite");
        return NULL;
    }
    if (d == floor(d) && fabs(d) <= MAX_EXACT)
        return json_integer((json_int_t)d);
    b->fractions = true;
    return json_real(d);
}

static json_t *build(lua_State *L, int idx, int depth, struct builder *b)
{
    const char *s;
    size_t len;
    json_t *v;

    switch (lua_type(L, idx)) {
    case LUA_TTABLE:
        return build_table(L, idx, depth, b);
    case LUA_TBOOLEAN:
        return json_boolean(lua_toboolean(L, idx));
    case LUA_TNUMBER:
        return build_number(lua_tonumber(L, idx), b);
    case LUA_TSTRING:
        s = lua_tolstring(L, idx, &len);
        if (!(v = json_stringn(s, len)))
            cc_err_set(b->err, CC_E_INVALID, "cannot encode a string that is not UTF-8");
        return v;
    case LUA_TLIGHTUSERDATA:
        if (!lua_touserdata(L, idx))
            return json_null();
        /* fall through */
    default:
        cc_err_set(b->err, CC_E_INVALID, "cannot encode a %s", lua_typename(L, lua_type(L, idx)));
        return NULL;
    }
}

/* jansson writes every number with as many digits as the longest needs: fewer where they read back the same. */
static size_t shortest(const char *number, size_t len, char out[64])
{
    double d = strtod(number, NULL);
    json_t *v = json_real(d);
    size_t digits, n = 0;

    for (digits = 15; digits <= 17; digits++) {
        n = json_dumpb(v, out, 63, JSON_ENCODE_ANY | JSON_REAL_PRECISION(digits));
        out[n] = '\0';
        if (strtod(out, NULL) == d)
            break;
    }
    json_decref(v);
    return n < len ? n : 0;
}

static const char *string_end(const char *s)
{
    for (s++; *s != '"'; s++)
        if (*s == '\\')
            s++;
    return s + 1;
}

/* In place. A number of fewer than 17 characters is as short as it can be. */
static size_t shorten(char *text)
{
    const char *s = text;
    char *to = text, buf[64];

    while (*s) {
        size_t len = 1, n = 0;

        if (*s == '"') {
            len = (size_t)(string_end(s) - s);
        } else if (*s == '-' || (*s >= '0' && *s <= '9')) {
            len = strspn(s, "+-.0123456789eE");
            n = len < 17 ? 0 : shortest(s, len, buf);
        }
        memmove(to, n ? buf : s, n ? n : len);
        to += n ? n : len;
        s += len;
    }
    *to = '\0';
    return (size_t)(to - text);
}

char *cc_json_text(lua_State *L, int idx, size_t *len, struct cc_err *err)
{
    int top = lua_gettop(L);
    struct builder b = { err, false };
    json_t *tree = build(L, idx < 0 ? top + idx + 1 : idx, 0, &b);
    char *text;

    if (!tree)
        return NULL;
    /* 17 digits always read back as the same double */
    text = json_dumps(tree, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));
    json_decref(tree);
    if (!text)
        cc_err_set(err, CC_E_INTERNAL, "cannot encode");
    else
        *len = b.fractions ? shorten(text) : strlen(text);
    return text;
}

/* ---- the module */

static int l_decode(lua_State *L)
{
    struct cc_err err;
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);

    if (cc_json_push(L, text, len, &err) != 0)
        return cc_push_err(L, &err);
    return 1;
}

static int l_encode(lua_State *L)
{
    struct cc_err err = { .message = "" };
    size_t len;
    char *text;

    luaL_checkany(L, 1);
    if (!(text = cc_json_text(L, 1, &len, &err)))
        return luaL_error(L, "json.encode: %s", err.message);
    lua_pushlstring(L, text, len); /* out of memory here would leak once, then end the state */
    free(text);
    return 1;
}

static int l_array(lua_State *L)
{
    if (lua_isnoneornil(L, 1)) {
        lua_settop(L, 0);
        lua_newtable(L);
    }
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_getmetatable(L, CC_JSON_LIST);
    lua_setmetatable(L, 1);
    return 1;
}

static int l_is_array(lua_State *L)
{
    lua_pushboolean(L, lua_type(L, 1) == LUA_TTABLE && (lua_objlen(L, 1) > 0 || marked_array(L, 1)));
    return 1;
}

static int l_text(lua_State *L)
{
    size_t n, i, len, start = 0;
    const char *s = luaL_checklstring(L, 1, &n);
    luaL_Buffer b;

    luaL_buffinit(L, &b);
    for (i = 0; i < n; i += len ? len : 1) {
        len = cc_utf8_length((const unsigned char *)s + i, n - i);
        if (len)
            continue;
        luaL_addlstring(&b, s + start, i - start);
        luaL_addlstring(&b, "\xef\xbf\xbd", 3);
        start = i + 1;
    }
    luaL_addlstring(&b, s + start, n - start);
    luaL_pushresult(&b);
    return 1;
}

static const luaL_Reg json_lib[] = { { "decode", l_decode }, { "encode", l_encode },     { "text", l_text },
                                     { "array", l_array },   { "is_array", l_is_array }, { NULL, NULL } };

int luaopen_cc_json(lua_State *L)
{
    luaL_newmetatable(L, CC_JSON_LIST);
    lua_pop(L, 1);
    lua_newtable(L);
    luaL_register(L, NULL, json_lib);
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "null");
    return 1;
}
