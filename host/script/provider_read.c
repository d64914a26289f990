/* provider_read.c - see provider_read.h. */
#include "host/script/provider_read.h"

#include <lauxlib.h>
#include <string.h>

#define ARENA "cchost.arena"

enum { MAX_PAIRS = 200 };

static int l_arena_gc(lua_State *L)
{
    cc_arena_free(lua_touserdata(L, 1));
    return 0;
}

struct cc_arena *cc_read_arena(lua_State *L)
{
    struct cc_arena *a = lua_newuserdata(L, sizeof(*a));

    a->head = NULL;
    luaL_getmetatable(L, ARENA);
    lua_setmetatable(L, -2);
    return a;
}

const char *cc_read_text(lua_State *L, struct cc_arena *a, int t, const char *key, size_t *len)
{
    const char *s = NULL;
    size_t n = 0;

    lua_getfield(L, t, key);
    if (!lua_isnil(L, -1)) {
        if (lua_type(L, -1) != LUA_TSTRING)
            luaL_error(L, "%s: a string expected", key);
        s = lua_tolstring(L, -1, &n);
        if (!len && strlen(s) != n)
            luaL_error(L, "%s: holds a NUL", key);
        s = cc_arena_strndup(a, s, n);
    }
    if (len)
        *len = n;
    lua_pop(L, 1);
    return s;
}

lua_Number cc_read_number(lua_State *L, int t, const char *key, lua_Number most)
{
    lua_Number n = 0;

    lua_getfield(L, t, key);
    if (!lua_isnil(L, -1)) {
        if (lua_type(L, -1) != LUA_TNUMBER)
            luaL_error(L, "%s: a number expected", key);
        n = lua_tonumber(L, -1);
        if (!(n >= 0 && n <= most))
            luaL_error(L, "%s: out of range", key);
    }
    lua_pop(L, 1);
    return n;
}

/* Pushes the table field, or returns false. */
static bool table(lua_State *L, int t, const char *key)
{
    lua_getfield(L, t, key);
    if (lua_istable(L, -1))
        return true;
    if (!lua_isnil(L, -1))
        luaL_error(L, "%s: a table expected", key);
    lua_pop(L, 1);
    return false;
}

/* The list at key: pushed, and how long it is; 0 and nothing pushed where there is none. */
static size_t list(lua_State *L, int t, const char *key, size_t most)
{
    size_t n;

    if (!table(L, t, key))
        return 0;
    if ((n = lua_objlen(L, -1)) > most)
        luaL_error(L, "%s: too long", key);
    if (n == 0)
        lua_pop(L, 1);
    return n;
}

struct cc_strs cc_read_texts(lua_State *L, struct cc_arena *a, int t, const char *key)
{
    size_t i, n = list(L, t, key, 1000);
    const char **v = cc_arena_alloc(a, (n + 1) * sizeof(*v));

    for (i = 0; i < n; i++) {
        size_t len;
        const char *one;

        lua_rawgeti(L, -1, (int)i + 1);
        if (lua_type(L, -1) != LUA_TSTRING)
            luaL_error(L, "%s[%d]: a string expected", key, (int)i + 1);
        one = lua_tolstring(L, -1, &len);
        if (strlen(one) != len)
            luaL_error(L, "%s[%d]: holds a NUL", key, (int)i + 1);
        v[i] = cc_arena_strndup(a, one, len);
        lua_pop(L, 1);
    }
    if (n)
        lua_pop(L, 1);
    return (struct cc_strs){ v, n };
}

/* The value on top as text; NULL when it is none that has one. */
static const char *as_text(lua_State *L, struct cc_arena *a)
{
    const char *s;

    if (lua_isboolean(L, -1))
        return lua_toboolean(L, -1) ? "true" : "false";
    if (lua_type(L, -1) != LUA_TSTRING && lua_type(L, -1) != LUA_TNUMBER)
        return NULL;
    lua_pushvalue(L, -1); /* lua_tostring would change the table's own value */
    s = cc_arena_strdup(a, lua_tostring(L, -1));
    lua_pop(L, 1);
    return s;
}

struct cc_pairs cc_read_pairs(lua_State *L, struct cc_arena *a, int t, const char *key)
{
    struct cc_pairs p = { NULL, 0 };
    struct cc_pair *v;

    if (!table(L, t, key))
        return p;
    p.v = v = cc_arena_alloc(a, MAX_PAIRS * sizeof(*v));
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING || p.n == MAX_PAIRS)
            luaL_error(L, "%s: a table of at most %d names expected", key, MAX_PAIRS);
        if (!(v[p.n].value = as_text(L, a)))
            luaL_error(L, "%s.%s: a string expected", key, lua_tostring(L, -2));
        v[p.n++].key = cc_arena_strdup(a, lua_tostring(L, -2));
    }
    lua_pop(L, 1);
    return p;
}

static void mounts(lua_State *L, struct cc_arena *a, int t, struct cc_machine_spec *s)
{
    size_t i, n = list(L, t, "volumes", 100);
    struct cc_mount_spec *v = cc_arena_alloc(a, (n + 1) * sizeof(*v));

    for (i = 0; i < n; i++) {
        lua_rawgeti(L, -1, (int)i + 1);
        if (!lua_istable(L, -1))
            luaL_error(L, "volumes[%d]: {id=, path=} expected", (int)i + 1);
        v[i].id = cc_read_text(L, a, lua_gettop(L), "id", NULL);
        v[i].path = cc_read_text(L, a, lua_gettop(L), "path", NULL);
        lua_pop(L, 1);
    }
    if (n)
        lua_pop(L, 1);
    s->volumes = v;
    s->n_volumes = n;
}

/* {8080, {port = 80, at = 8081}} */
static void ports(lua_State *L, struct cc_arena *a, int t, struct cc_machine_spec *s)
{
    size_t i, n = list(L, t, "ports", 1000);
    struct cc_port_spec *v = cc_arena_alloc(a, (n + 1) * sizeof(*v));

    for (i = 0; i < n; i++) {
        lua_rawgeti(L, -1, (int)i + 1);
        if (lua_istable(L, -1)) {
            v[i].port = (uint16_t)cc_read_number(L, lua_gettop(L), "port", 65535);
            v[i].at = (uint16_t)cc_read_number(L, lua_gettop(L), "at", 65535);
        } else if (lua_type(L, -1) == LUA_TNUMBER && lua_tonumber(L, -1) >= 1 && lua_tonumber(L, -1) <= 65535) {
            v[i].port = (uint16_t)lua_tonumber(L, -1);
        } else {
            luaL_error(L, "ports[%d]: a port or {port=, at=} expected", (int)i + 1);
        }
        lua_pop(L, 1);
    }
    if (n)
        lua_pop(L, 1);
    s->ports = v;
    s->n_ports = n;
}

/* {bridge =, mac =, cidr =, gateway =, plain =} */
static void vpc(lua_State *L, struct cc_arena *a, int t, struct cc_vpc_spec *v)
{
    int at;

    if (!table(L, t, "vpc"))
        return;
    at = lua_gettop(L);
    v->bridge = cc_read_text(L, a, at, "bridge", NULL);
    v->mac = cc_read_text(L, a, at, "mac", NULL);
    v->cidr = cc_read_text(L, a, at, "cidr", NULL);
    v->gateway = cc_read_text(L, a, at, "gateway", NULL);
    lua_getfield(L, at, "plain");
    v->plain = lua_toboolean(L, -1);
    lua_pop(L, 2);
}

struct cc_machine_spec *cc_read_machine(lua_State *L, struct cc_arena *a, int t)
{
    struct cc_machine_spec *s = cc_arena_alloc(a, sizeof(*s));
    const char *network;
    int net;

    luaL_checktype(L, t, LUA_TTABLE);
    s->id = cc_read_text(L, a, t, "id", NULL);
    s->short_id = cc_read_text(L, a, t, "short", NULL);
    s->name = cc_read_text(L, a, t, "name", NULL);
    s->owner = cc_read_text(L, a, t, "owner", NULL);
    s->image = cc_read_text(L, a, t, "image", NULL);
    s->type = cc_read_text(L, a, t, "type", NULL);
    s->location = cc_read_text(L, a, t, "location", NULL);
    s->address = cc_read_text(L, a, t, "address", NULL);
    s->user_data = cc_read_text(L, a, t, "user_data", NULL);
    s->shell = cc_read_text(L, a, t, "shell", NULL);
    s->agent_key = cc_read_text(L, a, t, "agent_key", NULL);
    s->ring = (uint32_t)cc_read_number(L, t, "ring", 1 << 30);
    s->sessions = (uint32_t)cc_read_number(L, t, "sessions", 10000);
    s->vcpu = cc_read_number(L, t, "vcpu", 4096);
    s->memory_mib = (uint32_t)cc_read_number(L, t, "memory_mib", 4e9);
    s->disk_gib = (uint32_t)cc_read_number(L, t, "disk_gib", 4e9);
    s->env = cc_read_pairs(L, a, t, "env");
    s->labels = cc_read_pairs(L, a, t, "labels");
    s->cmd = cc_read_texts(L, a, t, "cmd");
    s->ssh_keys = cc_read_texts(L, a, t, "ssh_keys");
    mounts(L, a, t, s);
    ports(L, a, t, s);
    network = cc_read_text(L, a, t, "network", NULL);
    net = network ? cc_network_parse(network) : CC_NET_NAT;
    if (net < 0)
        luaL_argerror(L, t, "network: nat, none, host or vpc expected");
    s->network = (enum cc_network)net;
    vpc(L, a, t, &s->vpc);
    return s;
}

static void flatten(lua_State *L, struct cc_arena *a, struct cc_pair *v, size_t *n, const char *prefix, int depth)
{
    luaL_checkstack(L, 8, "settings");
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        const char *key;

        if (lua_type(L, -2) != LUA_TSTRING || *n == MAX_PAIRS || depth > 4)
            luaL_error(L, "settings: names expected, at most %d", MAX_PAIRS);
        key = cc_arena_printf(a, "%s%s%s", prefix, *prefix ? "." : "", lua_tostring(L, -2));
        if (lua_istable(L, -1)) {
            flatten(L, a, v, n, key, depth + 1);
            continue;
        }
        if (!(v[*n].value = as_text(L, a)))
            luaL_error(L, "settings: %s: a string, number or boolean expected", key);
        v[(*n)++].key = key;
    }
}

struct cc_pairs cc_read_settings(lua_State *L, struct cc_arena *a, int t)
{
    struct cc_pair *v = cc_arena_alloc(a, MAX_PAIRS * sizeof(*v));
    size_t n = 0;

    luaL_checktype(L, t, LUA_TTABLE);
    lua_pushvalue(L, t);
    flatten(L, a, v, &n, "", 0);
    lua_pop(L, 1);
    return (struct cc_pairs){ v, n };
}

void cc_read_open(lua_State *L)
{
    luaL_newmetatable(L, ARENA);
    lua_pushcfunction(L, l_arena_gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
}
