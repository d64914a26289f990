/* fence_string.c - string functions with bounds, for fenced code.
 *
 * C functions do not count as instructions, so each charges for what it
 * does. They stand in the string table itself, where ("x"):rep finds them.
 */
#include "host/script/fence_internal.h"
#include "host/script/pattern.h"

#include <string.h>

enum { REP_MAX = 65536, TEXT_MAX = 262144, MATCH_STEPS = 500000 /* of one call: about 2 ms */ };

static const char *check_text(lua_State *L, int arg, size_t *len)
{
    const char *s = luaL_checklstring(L, arg, len);

    luaL_argcheck(L, *len <= TEXT_MAX, arg, "longer than 256 KiB");
    return s;
}

/* ---- patterns */

static void begin(lua_State *L, struct cc_pattern *m, const char *s, size_t ls, const char *p, size_t lp)
{
    memset(m, 0, sizeof(*m));
    m->text = s;
    m->text_end = s + ls;
    m->pattern_end = p + lp;
    m->steps = cc_box_left(L);
    if (m->steps > MATCH_STEPS)
        m->steps = MATCH_STEPS;
}

static void push_capture(lua_State *L, const struct cc_pattern *m, int i)
{
    const struct cc_capture *c = &m->capture[i];

    if (c->len == CC_CAPTURE_POSITION)
        lua_pushinteger(L, c->start - m->text + 1);
    else
        lua_pushlstring(L, c->start, (size_t)c->len);
}

/* All captures; the whole match when there are none and `whole`. */
static int push_captures(lua_State *L, const struct cc_pattern *m, const char *start, const char *end, bool whole)
{
    int i;

    luaL_checkstack(L, m->captures + 1, "too many captures");
    if (m->captures == 0 && whole) {
        lua_pushlstring(L, start, (size_t)(end - start));
        return 1;
    }
    for (i = 0; i < m->captures; i++)
        push_capture(L, m, i);
    return m->captures;
}

/* One try at s; the steps that it took are charged. -> end of the match or NULL */
static const char *try_at(lua_State *L, struct cc_pattern *m, const char *s, const char *p)
{
    uint64_t before = m->steps;
    const char *end = cc_pattern_match(m, s, p);

    cc_box_charge(L, before - m->steps);
    if (m->error)
        luaL_error(L, "%s", m->error);
    return end;
}

static size_t start_of(lua_State *L, int arg, size_t len)
{
    lua_Integer init = luaL_optinteger(L, arg, 1);

    if (init < 0)
        init += (lua_Integer)len + 1;
    if (init < 1)
        init = 1;
    if ((size_t)init > len + 1) /* as LuaJIT has it: at most the end */
        init = (lua_Integer)len + 1;
    return (size_t)init - 1;
}

static bool has_specials(const char *p, size_t len)
{
    size_t i;

    for (i = 0; i < len; i++)
        if (strchr("^$*+?.([%-", p[i]) && p[i])
            return true;
    return false;
}

static int find_plain(lua_State *L, const char *s, size_t ls, const char *p, size_t lp, size_t init)
{
    const char *at;

    cc_box_charge(L, (ls - init) / 8);
    at = lp == 0 ? s + init : memmem(s + init, ls - init, p, lp);
    if (!at) {
        lua_pushnil(L);
        return 1;
    }
    lua_pushinteger(L, at - s + 1);
    lua_pushinteger(L, at - s + (ptrdiff_t)lp);
    return 2;
}

static int find_or_match(lua_State *L, bool find)
{
    size_t ls, lp, init;
    const char *s = check_text(L, 1, &ls), *p = check_text(L, 2, &lp), *at, *end;
    bool anchored = lp > 0 && *p == '^';
    struct cc_pattern m;

    init = start_of(L, 3, ls);
    if (find && (lua_toboolean(L, 4) || !has_specials(p, lp)))
        return find_plain(L, s, ls, p, lp, init);
    begin(L, &m, s, ls, p, lp);
    for (at = s + init; at <= s + ls; at++) {
        if ((end = try_at(L, &m, at, p + anchored))) {
            if (!find)
                return push_captures(L, &m, at, end, true);
            lua_pushinteger(L, at - s + 1);
            lua_pushinteger(L, end - s);
            return 2 + push_captures(L, &m, at, end, false);
        }
        if (anchored)
            break;
    }
    lua_pushnil(L);
    return 1;
}

static int l_find(lua_State *L) { return find_or_match(L, true); }
static int l_match(lua_State *L) { return find_or_match(L, false); }

static int l_gmatch_next(lua_State *L)
{
    size_t ls, lp;
    const char *s = lua_tolstring(L, lua_upvalueindex(1), &ls), *p = lua_tolstring(L, lua_upvalueindex(2), &lp), *at,
               *end;
    struct cc_pattern m;

    begin(L, &m, s, ls, p, lp);
    for (at = s + (size_t)lua_tointeger(L, lua_upvalueindex(3)); at <= s + ls; at++) {
        if (!(end = try_at(L, &m, at, p)))
            continue;
        lua_pushinteger(L, end == at ? end - s + 1 : end - s);
        lua_replace(L, lua_upvalueindex(3));
        return push_captures(L, &m, at, end, true);
    }
    return 0;
}

static int l_gmatch(lua_State *L)
{
    size_t len;

    check_text(L, 1, &len);
    check_text(L, 2, &len);
    lua_settop(L, 2);
    lua_pushinteger(L, 0);
    lua_pushcclosure(L, l_gmatch_next, 3);
    return 1;
}

/* The replacement text, with %0 to %9 put in. */
static void add_text(lua_State *L, const struct cc_pattern *m, luaL_Buffer *b, const char *at, const char *end)
{
    size_t len, i;
    const char *r = lua_tolstring(L, 3, &len);

    cc_box_charge(L, len / 8);
    for (i = 0; i < len; i++) {
        if (r[i] != '%') {
            luaL_addchar(b, r[i]);
        } else if (++i < len && (r[i] < '0' || r[i] > '9')) {
            luaL_addchar(b, r[i]);
        } else if (i < len && (r[i] == '0' || (r[i] == '1' && m->captures == 0))) {
            luaL_addlstring(b, at, (size_t)(end - at));
        } else if (i < len && r[i] - '1' < m->captures) {
            push_capture(L, m, r[i] - '1');
            luaL_addvalue(b);
        } else {
            luaL_error(L, "invalid capture index in the replacement");
        }
    }
}

/* What a table or a function says of this match; false and nil: the match stays. */
static void add_value(lua_State *L, const struct cc_pattern *m, luaL_Buffer *b, const char *at, const char *end)
{
    if (lua_type(L, 3) == LUA_TTABLE) {
        if (m->captures > 0)
            push_capture(L, m, 0);
        else
            lua_pushlstring(L, at, (size_t)(end - at));
        lua_gettable(L, 3);
    } else {
        cc_box_enter(L);
        lua_pushvalue(L, 3);
        lua_call(L, push_captures(L, m, at, end, true), 1);
        cc_box_leave(L);
    }
    if (!lua_toboolean(L, -1)) {
        lua_pop(L, 1);
        luaL_addlstring(b, at, (size_t)(end - at));
        return;
    }
    if (!lua_isstring(L, -1))
        luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
    luaL_addvalue(b);
}

/* The buffer's pieces lie on the stack, so a function's arguments are pushed above and popped before it is used again. */
static int l_gsub(lua_State *L)
{
    size_t ls, lp;
    const char *s = check_text(L, 1, &ls), *p = check_text(L, 2, &lp), *at = s, *end;
    int kind = lua_type(L, 3);
    bool anchored = lp > 0 && *p == '^';
    lua_Integer most = luaL_optinteger(L, 4, (lua_Integer)ls + 1), n = 0;
    struct cc_pattern m;
    luaL_Buffer b;

    luaL_argcheck(L, kind == LUA_TSTRING || kind == LUA_TNUMBER || kind == LUA_TTABLE || kind == LUA_TFUNCTION, 3,
                  "string, table or function expected");
    if (kind == LUA_TNUMBER)
        lua_tostring(L, 3);
    lua_settop(L, 4);
    begin(L, &m, s, ls, p, lp);
    luaL_buffinit(L, &b);
    while (n < most) {
        if ((end = try_at(L, &m, at, p + anchored))) {
            n++;
            if (kind == LUA_TSTRING || kind == LUA_TNUMBER)
                add_text(L, &m, &b, at, end);
            else
                add_value(L, &m, &b, at, end);
        }
        if (end && end > at)
            at = end;
        else if (at < s + ls)
            luaL_addchar(&b, *at++);
        else
            break;
        if (anchored)
            break;
    }
    luaL_addlstring(&b, at, (size_t)(s + ls - at));
    luaL_pushresult(&b);
    lua_pushinteger(L, n);
    return 2;
}

/* ---- the rest */

static int l_rep(lua_State *L)
{
    size_t len;
    const char *s = luaL_checklstring(L, 1, &len);
    lua_Number n = luaL_checknumber(L, 2);
    luaL_Buffer b;
    size_t i, times;

    if (n < 1 || len == 0) {
        lua_pushliteral(L, "");
        return 1;
    }
    if (!(n * (lua_Number)len <= REP_MAX))
        return luaL_error(L, "string.rep: more than 64 KiB");
    cc_box_charge(L, (uint64_t)(n * (lua_Number)len) / 8);
    times = (size_t)n;
    luaL_buffinit(L, &b);
    for (i = 0; i < times; i++)
        luaL_addlstring(&b, s, len);
    luaL_pushresult(&b);
    return 1;
}

int cc_fence_tostring(lua_State *L)
{
    luaL_checkany(L, 1);
    switch (lua_type(L, 1)) {
    case LUA_TNUMBER:
        lua_pushvalue(L, 1);
        lua_tostring(L, -1);
        break;
    case LUA_TSTRING:
        lua_pushvalue(L, 1);
        break;
    case LUA_TBOOLEAN:
        lua_pushstring(L, lua_toboolean(L, 1) ? "true" : "false");
        break;
    default: /* an address would differ from run to run */
        lua_pushstring(L, luaL_typename(L, 1));
    }
    return 1;
}

/* string.format, with arguments for %s made strings by our tostring. Upvalue: the library's own. */
static int l_format(lua_State *L)
{
    size_t len, i, bytes;
    const char *f = check_text(L, 1, &len);
    int arg = 1, n = lua_gettop(L);

    bytes = len;
    for (i = 0; i < len; i++) {
        if (f[i] != '%')
            continue;
        if (++i < len && f[i] == '%')
            continue;
        while (i < len && strchr("-+ #0123456789.", f[i]) && f[i])
            i++;
        if (i < len && f[i] == 'p')
            return luaL_error(L, "string.format: %%p is not there: addresses differ from run to run");
        if (++arg <= n && i < len && (f[i] == 's' || f[i] == 'q') && !lua_isstring(L, arg)) {
            lua_pushcfunction(L, cc_fence_tostring);
            lua_pushvalue(L, arg);
            lua_call(L, 1, 1);
            lua_replace(L, arg);
        }
        if (arg <= n && lua_type(L, arg) == LUA_TSTRING) /* asking a number's length would make a text of it */
            bytes += lua_objlen(L, arg);
    }
    cc_box_charge(L, bytes / 4);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, 1);
    return 1;
}

/* One of the library's own, charged by the length of its text. Upvalue: it. */
static int l_charged(lua_State *L)
{
    size_t len;

    check_text(L, 1, &len);
    cc_box_charge(L, len / 8);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
    return lua_gettop(L);
}

static const luaL_Reg bounded[] = {
    { "find", l_find }, { "match", l_match }, { "gmatch", l_gmatch },
    { "gsub", l_gsub }, { "rep", l_rep },     { NULL, NULL },
};

void cc_fence_bound_strings(lua_State *L)
{
    static const char *const charged[] = { "byte", "lower", "upper", "reverse", NULL };
    static const char *const gone[] = { "dump", "gfind", NULL };
    const luaL_Reg *r;
    int i;

    for (r = bounded; r->name; r++) {
        lua_pushcfunction(L, r->func);
        lua_setfield(L, -2, r->name);
    }
    lua_getfield(L, -1, "format");
    lua_pushcclosure(L, l_format, 1);
    lua_setfield(L, -2, "format");
    for (i = 0; charged[i]; i++) {
        lua_getfield(L, -1, charged[i]);
        lua_pushcclosure(L, l_charged, 1);
        lua_setfield(L, -2, charged[i]);
    }
    for (i = 0; gone[i]; i++) {
        lua_pushnil(L);
        lua_setfield(L, -2, gone[i]);
    }
}
