/* http_headers.c - see http.h: a table of headers, read. */
#include "host/script/http.h"

static unsigned add_header(lua_State *L, struct cc_hdr *h, unsigned n)
{
    if (lua_type(L, -2) != LUA_TSTRING && lua_type(L, -2) != LUA_TNUMBER)
        luaL_error(L, "a header's name must be a string");
    if (lua_type(L, -1) != LUA_TSTRING)
        luaL_error(L, "header values must be strings");
    if (n >= CC_LUA_HEADERS)
        luaL_error(L, "at most %d headers", CC_LUA_HEADERS);
    h->value.p = lua_tolstring(L, -1, &h->value.n);
    return n + 1;
}

unsigned cc_lua_headers(lua_State *L, int idx, struct cc_hdr *h)
{
    unsigned n = 0;
    struct cc_text name;

    if (lua_isnoneornil(L, idx))
        return 0;
    luaL_checktype(L, idx, LUA_TTABLE);
    for (lua_pushnil(L); lua_next(L, idx); lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING)
            luaL_error(L, "a header's name must be a string");
        name.p = lua_tolstring(L, -2, &name.n);
        if (!lua_istable(L, -1)) {
            n = add_header(L, &h[n < CC_LUA_HEADERS ? n : 0], n);
            h[n - 1].name = name;
            continue;
        }
        for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
            n = add_header(L, &h[n < CC_LUA_HEADERS ? n : 0], n);
            h[n - 1].name = name;
        }
    }
    return n;
}
