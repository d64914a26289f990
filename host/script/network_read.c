/* network_read.c - see network_read.h. */
#include "host/script/network_read.h"

#include "host/script/provider_read.h"

#include <lauxlib.h>
#include <string.h>

enum { ENTRIES_MAX = 70000 };

/* The list at key, pushed (nil where there is none), and how long it is. */
static size_t list(lua_State *L, int t, const char *key)
{
    size_t n;

    luaL_checkstack(L, 12, "plan");
    lua_getfield(L, t, key);
    if (lua_isnil(L, -1))
        return 0;
    if (!lua_istable(L, -1))
        luaL_error(L, "%s: a list expected", key);
    if ((n = lua_objlen(L, -1)) > ENTRIES_MAX)
        luaL_error(L, "%s: too long", key);
    return n;
}

/* Entry i of the list on top, pushed; its place. */
static int entry(lua_State *L, size_t i)
{
    lua_rawgeti(L, -1, (int)i + 1);
    luaL_checktype(L, -1, LUA_TTABLE);
    return lua_gettop(L);
}

static const char *need(lua_State *L, struct cc_arena *a, int t, const char *key)
{
    const char *s = cc_read_text(L, a, t, key, NULL);

    if (!s)
        luaL_error(L, "%s: a string expected", key);
    return s;
}

static void subnets(lua_State *L, struct cc_arena *a, int t, struct cc_net_plan *out)
{
    size_t i, n = list(L, t, "subnets");
    struct cc_net_subnet *v = cc_arena_alloc(a, (n + 1) * sizeof(*v));

    for (i = 0; i < n; i++) {
        int at = entry(L, i);

        v[i] = (struct cc_net_subnet){ need(L, a, at, "id"), need(L, a, at, "cidr"),
                                       cc_read_text(L, a, at, "gateway", NULL) };
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    out->subnets = v;
    out->n_subnets = n;
}

static void ports(lua_State *L, struct cc_arena *a, int t, struct cc_net_plan *out)
{
    size_t i, n = list(L, t, "ports");
    struct cc_net_port *v = cc_arena_alloc(a, (n + 1) * sizeof(*v));

    for (i = 0; i < n; i++) {
        int at = entry(L, i);
        struct cc_strs groups = cc_read_texts(L, a, at, "groups");

        v[i] = (struct cc_net_port){ .id = need(L, a, at, "id"),
                                     .subnet = need(L, a, at, "subnet"),
                                     .mac = need(L, a, at, "mac"),
                                     .address = need(L, a, at, "address"),
                                     .groups = groups.v,
                                     .n_groups = groups.n };
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    out->ports = v;
    out->n_ports = n;
}

static enum cc_net_protocol protocol(lua_State *L, const char *word)
{
    static const char *const words[] = { "all", "tcp", "udp", "icmp" };
    int i;

    for (i = 0; i < 4; i++)
        if (strcmp(words[i], word) == 0)
            return (enum cc_net_protocol)i;
    luaL_error(L, "protocol: all, tcp, udp or icmp expected");
    return CC_NET_ALL;
}

static struct cc_net_rule rule(lua_State *L, struct cc_arena *a, int at)
{
    struct cc_net_rule r = { .protocol = protocol(L, need(L, a, at, "protocol")),
                             .from = (uint16_t)cc_read_number(L, at, "from", 65535),
                             .to = (uint16_t)cc_read_number(L, at, "to", 65535),
                             .cidr = cc_read_text(L, a, at, "cidr", NULL),
                             .group = cc_read_text(L, a, at, "group", NULL),
                             .priority = (unsigned)cc_read_number(L, at, "priority", CC_NET_PRIORITY_MAX) };
    const char *direction = need(L, a, at, "direction");

    if (strcmp(direction, "ingress") != 0 && strcmp(direction, "egress") != 0)
        luaL_error(L, "direction: ingress or egress expected");
    r.direction = direction[0] == 'i' ? CC_NET_IN : CC_NET_OUT;
    lua_getfield(L, at, "deny");
    r.deny = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return r;
}

static void groups(lua_State *L, struct cc_arena *a, int t, struct cc_net_plan *out)
{
    size_t i, k, n = list(L, t, "groups");
    struct cc_net_group *v = cc_arena_alloc(a, (n + 1) * sizeof(*v));

    for (i = 0; i < n; i++) {
        int at = entry(L, i);
        size_t m = list(L, at, "rules");
        struct cc_net_rule *rules = cc_arena_alloc(a, (m + 1) * sizeof(*rules));

        for (k = 0; k < m; k++) {
            rules[k] = rule(L, a, entry(L, k));
            lua_pop(L, 1);
        }
        v[i] = (struct cc_net_group){ need(L, a, at, "id"), rules, m };
        lua_pop(L, 2);
    }
    lua_pop(L, 1);
    out->groups = v;
    out->n_groups = n;
}

void cc_read_plan(lua_State *L, struct cc_arena *a, int t, struct cc_net_plan *out)
{
    luaL_checktype(L, t, LUA_TTABLE);
    subnets(L, a, t, out);
    ports(L, a, t, out);
    groups(L, a, t, out);
}
