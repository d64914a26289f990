/* bind_provider.c - module "provider": machines, for Lua.
 *
 *   p | nil, err = provider.open(name, settings)   settings may nest: {create = {latency_ms = 5}}; `threads`
 *                                                  bounds its pool
 *   provider.names() -> list
 *   p:capabilities() -> table     p:endpoint(id) -> {unix=path} | nil, err     p:stats() -> table     p:close()
 * These wait [yields]; opts = {deadline = seconds}; machine infos are tables of cc_machine_info's fields:
 *   p:create(spec, opts)  p:start(id, opts [, spec])  p:status(id, opts) -> info | nil, err
 *   p:destroy(id, {purge=, deadline=})  p:stop(id, opts) -> {provider_id=, state=} | nil, err
 *   p:list(opts) -> infos          p:activity(id, opts) -> {last_input_at=, clients=, foreground=, load=,
 *     turn=, ssh_sessions=, leases={{id=, reason=, until_at=, since=}, ...}}   times: unix ms; see cc_activity
 *   p:attach(id, {id=, path=}, opts)  p:detach(id, volume id, opts) -> true | nil, err
 *   p:exec(id, {cmd={...}, stdin=, timeout=, deadline=}) -> {exit=, stdout=, stderr=, truncated=}
 *   p:volume_create({id=, size_gib=, labels=}, opts) -> volume    p:volume_delete(id, opts) -> true
 *   p:volume_list(opts) -> volumes
 */
#include "host/script/json.h"
#include "host/script/modules.h"
#include "host/script/task.h"
#include "host/script/vm.h"
#include "host/sys/mem.h"
#include "providers/call.h"

#include <stdlib.h>
#include <string.h>

#define PROVIDER "cchost.provider"
#define ARENA "cchost.arena"

enum { MAX_SETTINGS = 200 };

struct handle {
    struct cc_provider *p;
}; /* NULL: closed; anchored until the state closes */

struct op {
    struct cc_task *task;
    struct cc_provider_wait *wait;
    enum cc_provider_op kind;
    char id[64];
};

/* ---------------------------------------------------------------- Lua to plain data */

static int l_arena_gc(lua_State *L)
{
    cc_arena_free(lua_touserdata(L, 1));
    return 0;
}

/* An arena that the stack anchors: whatever raises below, it goes. */
static struct cc_arena *arena_new(lua_State *L)
{
    struct cc_arena *a = lua_newuserdata(L, sizeof(*a));

    a->head = NULL;
    luaL_getmetatable(L, ARENA);
    lua_setmetatable(L, -2);
    return a;
}

/* A string field of the table at t, copied; NULL when nil. [raises] */
static const char *field(lua_State *L, struct cc_arena *a, int t, const char *key, size_t *len)
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

static lua_Number number(lua_State *L, int t, const char *key, lua_Number most)
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

static struct cc_strs strings(lua_State *L, struct cc_arena *a, int t, const char *key)
{
    struct cc_strs s = { NULL, 0 };
    const char **v;
    size_t i, n;

    if (!table(L, t, key))
        return s;
    n = lua_objlen(L, -1);
    if (n > 1000)
        luaL_error(L, "%s: too long", key);
    s.v = v = cc_arena_alloc(a, (n + 1) * sizeof(*v));
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
    s.n = n;
    lua_pop(L, 1);
    return s;
}

/* {NAME = "value"}; numbers and booleans become text. */
static struct cc_pairs pairs(lua_State *L, struct cc_arena *a, int t, const char *key)
{
    struct cc_pairs p = { NULL, 0 };
    struct cc_pair *v;

    if (!table(L, t, key))
        return p;
    p.v = v = cc_arena_alloc(a, MAX_SETTINGS * sizeof(*v));
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING || p.n == MAX_SETTINGS)
            luaL_error(L, "%s: a table of at most %d names expected", key, MAX_SETTINGS);
        if (lua_isboolean(L, -1)) {
            v[p.n].value = lua_toboolean(L, -1) ? "true" : "false";
        } else if (lua_type(L, -1) == LUA_TSTRING || lua_type(L, -1) == LUA_TNUMBER) {
            lua_pushvalue(L, -1); /* lua_tostring would change the table's own value */
            v[p.n].value = cc_arena_strdup(a, lua_tostring(L, -1));
            lua_pop(L, 1);
        } else {
            luaL_error(L, "%s.%s: a string expected", key, lua_tostring(L, -2));
        }
        v[p.n++].key = cc_arena_strdup(a, lua_tostring(L, -2));
    }
    lua_pop(L, 1);
    return p;
}

static void mounts(lua_State *L, struct cc_arena *a, int t, struct cc_machine_spec *s)
{
    struct cc_mount_spec *v;
    size_t i, n;

    if (!table(L, t, "volumes"))
        return;
    n = lua_objlen(L, -1);
    if (n > 100)
        luaL_error(L, "volumes: too many");
    v = cc_arena_alloc(a, (n + 1) * sizeof(*v));
    for (i = 0; i < n; i++) {
        lua_rawgeti(L, -1, (int)i + 1);
        if (!lua_istable(L, -1))
            luaL_error(L, "volumes[%d]: {id=, path=} expected", (int)i + 1);
        v[i].id = field(L, a, lua_gettop(L), "id", NULL);
        v[i].path = field(L, a, lua_gettop(L), "path", NULL);
        lua_pop(L, 1);
    }
    s->volumes = v;
    s->n_volumes = n;
    lua_pop(L, 1);
}

/* {8080, {port = 80, at = 8081}} */
static void ports(lua_State *L, struct cc_arena *a, int t, struct cc_machine_spec *s)
{
    struct cc_port_spec *v;
    size_t i, n;

    if (!table(L, t, "ports"))
        return;
    n = lua_objlen(L, -1);
    if (n > 1000)
        luaL_error(L, "ports: too many");
    v = cc_arena_alloc(a, (n + 1) * sizeof(*v));
    for (i = 0; i < n; i++) {
        lua_rawgeti(L, -1, (int)i + 1);
        if (lua_istable(L, -1)) {
            v[i].port = (uint16_t)number(L, lua_gettop(L), "port", 65535);
            v[i].at = (uint16_t)number(L, lua_gettop(L), "at", 65535);
        } else if (lua_type(L, -1) == LUA_TNUMBER && lua_tonumber(L, -1) >= 1 && lua_tonumber(L, -1) <= 65535) {
            v[i].port = (uint16_t)lua_tonumber(L, -1);
        } else {
            luaL_error(L, "ports[%d]: a port or {port=, at=} expected", (int)i + 1);
        }
        lua_pop(L, 1);
    }
    s->ports = v;
    s->n_ports = n;
    lua_pop(L, 1);
}

static struct cc_machine_spec *machine_spec(lua_State *L, struct cc_arena *a, int t)
{
    struct cc_machine_spec *s = cc_arena_alloc(a, sizeof(*s));
    const char *network;
    int net;

    luaL_checktype(L, t, LUA_TTABLE);
    s->id = field(L, a, t, "id", NULL);
    s->short_id = field(L, a, t, "short", NULL);
    s->name = field(L, a, t, "name", NULL);
    s->owner = field(L, a, t, "owner", NULL);
    s->image = field(L, a, t, "image", NULL);
    s->type = field(L, a, t, "type", NULL);
    s->location = field(L, a, t, "location", NULL);
    s->address = field(L, a, t, "address", NULL);
    s->user_data = field(L, a, t, "user_data", NULL);
    s->shell = field(L, a, t, "shell", NULL);
    s->vcpu = number(L, t, "vcpu", 4096);
    s->memory_mib = (uint32_t)number(L, t, "memory_mib", 4e9);
    s->disk_gib = (uint32_t)number(L, t, "disk_gib", 4e9);
    s->env = pairs(L, a, t, "env");
    s->labels = pairs(L, a, t, "labels");
    s->cmd = strings(L, a, t, "cmd");
    s->ssh_keys = strings(L, a, t, "ssh_keys");
    mounts(L, a, t, s);
    ports(L, a, t, s);
    network = field(L, a, t, "network", NULL);
    net = network ? cc_network_parse(network) : CC_NET_NAT;
    if (net < 0)
        luaL_argerror(L, t, "network: nat, none or host expected");
    s->network = (enum cc_network)net;
    return s;
}

/* Settings flattened: {create = {fail = 1}} is "create.fail" = "1". */
static void flatten(lua_State *L, struct cc_arena *a, struct cc_pair *v, size_t *n, const char *prefix, int depth)
{
    luaL_checkstack(L, 8, "settings");
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        const char *key;

        if (lua_type(L, -2) != LUA_TSTRING || *n == MAX_SETTINGS || depth > 4)
            luaL_error(L, "settings: names expected, at most %d", MAX_SETTINGS);
        key = cc_arena_printf(a, "%s%s%s", prefix, *prefix ? "." : "", lua_tostring(L, -2));
        if (lua_istable(L, -1)) {
            flatten(L, a, v, n, key, depth + 1);
            continue;
        }
        if (lua_isboolean(L, -1)) {
            v[*n].value = lua_toboolean(L, -1) ? "true" : "false";
        } else if (lua_type(L, -1) == LUA_TSTRING || lua_type(L, -1) == LUA_TNUMBER) {
            lua_pushvalue(L, -1);
            v[*n].value = cc_arena_strdup(a, lua_tostring(L, -1));
            lua_pop(L, 1);
        } else {
            luaL_error(L, "settings: %s: a string, number or boolean expected", key);
        }
        v[(*n)++].key = key;
    }
}

/* ---------------------------------------------------------------- plain data to Lua */

static void set_text(lua_State *L, const char *key, const char *s)
{
    if (!s)
        return;
    lua_pushstring(L, s);
    lua_setfield(L, -2, key);
}

static void set_number(lua_State *L, const char *key, lua_Number n)
{
    lua_pushnumber(L, n);
    lua_setfield(L, -2, key);
}

static void set_bool(lua_State *L, const char *key, bool b)
{
    lua_pushboolean(L, b);
    lua_setfield(L, -2, key);
}

static void new_list(lua_State *L, size_t n)
{
    lua_createtable(L, (int)n, 0);
    luaL_getmetatable(L, CC_JSON_LIST);
    lua_setmetatable(L, -2);
}

static void set_unenforced(lua_State *L, const char *key, const struct cc_unenforced *v, size_t n)
{
    size_t i;

    new_list(L, n);
    for (i = 0; i < n; i++) {
        lua_createtable(L, 0, 2);
        set_text(L, "what", v[i].what);
        set_text(L, "why", v[i].why);
        lua_rawseti(L, -2, (int)i + 1);
    }
    lua_setfield(L, -2, key);
}

/* {host=, port=, user=, host_key=, fingerprint=}, {why=}, or nothing where nobody asked for it. */
static void set_ssh(lua_State *L, const struct cc_ssh *s)
{
    if (!s->why && !s->host)
        return;
    lua_createtable(L, 0, 5);
    set_text(L, "why", s->why);
    if (!s->why) {
        set_text(L, "host", s->host);
        set_number(L, "port", s->port);
        set_text(L, "user", s->user);
        set_text(L, "host_key", s->host_key);
        set_text(L, "fingerprint", s->fingerprint);
    }
    lua_setfield(L, -2, "ssh");
}

static void push_machine(lua_State *L, const struct cc_machine_info *m)
{
    lua_createtable(L, 0, 16);
    set_text(L, "provider_id", m->provider_id);
    set_text(L, "id", m->id);
    set_text(L, "name", m->name);
    set_text(L, "image", m->image);
    set_text(L, "state", cc_machine_state_word(m->state));
    set_text(L, "reason", m->reason);
    set_text(L, "address", m->address);
    set_text(L, "socket", m->socket);
    set_ssh(L, &m->ssh);
    if (m->started_at)
        set_number(L, "started_at", (lua_Number)m->started_at);
    lua_createtable(L, 0, 4);
    if (m->vcpu > 0)
        set_number(L, "vcpu", m->vcpu);
    if (m->memory_mib)
        set_number(L, "memory_mib", m->memory_mib);
    if (m->disk_gib)
        set_number(L, "disk_gib", m->disk_gib);
    if (m->pids)
        set_number(L, "pids", m->pids);
    lua_setfield(L, -2, "limits");
    set_unenforced(L, "unenforced", m->unenforced, m->n_unenforced);
}

static void push_volume(lua_State *L, const struct cc_volume_info *v)
{
    lua_createtable(L, 0, 4);
    set_text(L, "id", v->id);
    set_number(L, "size_gib", v->size_gib);
    set_text(L, "used_by", v->used_by);
    set_bool(L, "size_enforced", v->size_enforced);
}

static void push_activity(lua_State *L, const struct cc_activity *a)
{
    size_t i;

    lua_createtable(L, 0, 8);
    if (a->last_input_at)
        set_number(L, "last_input_at", (lua_Number)a->last_input_at);
    set_number(L, "clients", a->clients);
    set_text(L, "foreground", a->foreground);
    set_number(L, "load", a->load);
    set_bool(L, "turn", a->turn);
    set_number(L, "ssh_sessions", a->ssh_sessions);
    new_list(L, a->n_leases);
    for (i = 0; i < a->n_leases; i++) {
        lua_createtable(L, 0, 4);
        set_text(L, "id", a->leases[i].id);
        set_text(L, "reason", a->leases[i].reason);
        set_number(L, "until_at", (lua_Number)a->leases[i].until_at);
        set_number(L, "since", (lua_Number)a->leases[i].since);
        lua_rawseti(L, -2, (int)i + 1);
    }
    lua_setfield(L, -2, "leases");
}

static void push_exec(lua_State *L, const struct cc_exec_result *e)
{
    lua_createtable(L, 0, 4);
    set_number(L, "exit", e->exit);
    lua_pushlstring(L, e->out ? e->out : "", e->out_len);
    lua_setfield(L, -2, "stdout");
    lua_pushlstring(L, e->err ? e->err : "", e->err_len);
    lua_setfield(L, -2, "stderr");
    set_bool(L, "truncated", e->truncated);
}

static void push_done(lua_State *L, const char *id, const char *state)
{
    lua_createtable(L, 0, 2);
    set_text(L, "provider_id", id);
    set_text(L, "state", state);
}

static void push_result(lua_State *L, const struct op *op, const struct cc_provider_res *r)
{
    size_t i;

    switch (op->kind) {
    case CC_OP_CREATE:
    case CC_OP_START:
    case CC_OP_STATUS:
        push_machine(L, &r->machine);
        break;
    case CC_OP_DESTROY:
        push_done(L, op->id, "gone");
        break;
    case CC_OP_STOP:
        push_done(L, op->id, "stopped");
        break;
    case CC_OP_ACTIVITY:
        push_activity(L, &r->activity);
        break;
    case CC_OP_EXEC:
        push_exec(L, &r->exec);
        break;
    case CC_OP_LIST:
        new_list(L, r->machines.n);
        for (i = 0; i < r->machines.n; i++) {
            push_machine(L, &r->machines.v[i]);
            lua_rawseti(L, -2, (int)i + 1);
        }
        break;
    case CC_OP_VOLUME_CREATE:
        push_volume(L, &r->volume);
        break;
    case CC_OP_VOLUME_LIST:
        new_list(L, r->volumes.n);
        for (i = 0; i < r->volumes.n; i++) {
            push_volume(L, &r->volumes.v[i]);
            lua_rawseti(L, -2, (int)i + 1);
        }
        break;
    case CC_OP_ATTACH:
    case CC_OP_DETACH:
    case CC_OP_VOLUME_DELETE:
    case CC_OP_COUNT:
        lua_pushboolean(L, 1);
        break;
    }
}

/* ---------------------------------------------------------------- calls that wait */

static struct handle *self(lua_State *L)
{
    struct handle *h = luaL_checkudata(L, 1, PROVIDER);

    if (!h->p)
        luaL_error(L, "this provider is closed");
    return h;
}

static void cancel(void *arg)
{
    struct op *op = arg;

    cc_provider_cancel(op->wait);
    free(op);
}

static void on_done(void *arg, const struct cc_provider_res *res)
{
    struct op *op = arg;
    struct cc_task *t = op->task;
    lua_State *L = cc_task_stack(t);
    int n = 1;

    if (res->code == 0 && lua_checkstack(L, 12))
        push_result(L, op, res);
    else
        n = cc_push_err(L, &res->err);
    free(op);
    cc_task_wake(t, n);
}

/* Starts the call and yields. `opts` is the stack index of {deadline=}. */
static int begin(lua_State *L, struct cc_provider_req *req, int opts)
{
    struct handle *h = self(L);
    struct cc_task *t = cc_task_need(L, "provider call");
    struct op *op;

    if (!lua_isnoneornil(L, opts)) {
        luaL_checktype(L, opts, LUA_TTABLE);
        req->timeout_ms = (uint64_t)(number(L, opts, "deadline", 86400) * 1000);
    }
    op = cc_xcalloc(1, sizeof(*op)); /* nothing below can raise */
    op->task = t;
    op->kind = req->op;
    if (req->id)
        strncpy(op->id, req->id, sizeof(op->id) - 1);
    op->wait = cc_provider_call(h->p, req, on_done, op);
    cc_task_park(t, cancel, op);
    return lua_yield(L, 0);
}

static int by_id(lua_State *L, enum cc_provider_op kind)
{
    struct cc_provider_req req = { .op = kind };

    self(L);
    req.id = luaL_checkstring(L, 2);
    return begin(L, &req, 3);
}

static int l_start(lua_State *L)
{
    struct cc_provider_req req = { .op = CC_OP_START };

    self(L);
    req.id = luaL_checkstring(L, 2);
    lua_settop(L, 4);
    if (!lua_isnil(L, 4))
        req.machine = machine_spec(L, arena_new(L), 4);
    return begin(L, &req, 3);
}

static int l_stop(lua_State *L) { return by_id(L, CC_OP_STOP); }
static int l_status(lua_State *L) { return by_id(L, CC_OP_STATUS); }
static int l_activity(lua_State *L) { return by_id(L, CC_OP_ACTIVITY); }
static int l_volume_delete(lua_State *L) { return by_id(L, CC_OP_VOLUME_DELETE); }

static int l_destroy(lua_State *L)
{
    struct cc_provider_req req = { .op = CC_OP_DESTROY };

    self(L);
    req.id = luaL_checkstring(L, 2);
    if (lua_istable(L, 3)) {
        lua_getfield(L, 3, "purge");
        req.purge = lua_toboolean(L, -1);
        lua_pop(L, 1);
    }
    return begin(L, &req, 3);
}

static int l_create(lua_State *L)
{
    struct cc_provider_req req = { .op = CC_OP_CREATE };

    self(L);
    lua_settop(L, 3);
    req.machine = machine_spec(L, arena_new(L), 2);
    return begin(L, &req, 3);
}

static int l_exec(lua_State *L)
{
    struct cc_exec_spec spec = { 0 };
    struct cc_provider_req req = { .op = CC_OP_EXEC, .exec = &spec };
    struct cc_arena *a;
    lua_Number seconds;

    self(L);
    req.id = luaL_checkstring(L, 2);
    luaL_checktype(L, 3, LUA_TTABLE);
    lua_settop(L, 3);
    a = arena_new(L);
    spec.cmd = strings(L, a, 3, "cmd");
    luaL_argcheck(L, spec.cmd.n > 0, 3, "cmd: a list of words expected");
    spec.in = field(L, a, 3, "stdin", &spec.in_len);
    seconds = number(L, 3, "timeout", 86400);
    spec.timeout_ms = (uint32_t)(seconds * 1000);
    /* Without a deadline of its own the call may take as long as the command. */
    req.timeout_ms = (uint64_t)spec.timeout_ms + 10000;
    lua_getfield(L, 3, "deadline");
    return begin(L, &req, lua_isnil(L, -1) && seconds > 0 ? 99 : 3);
}

static int l_attach(lua_State *L)
{
    struct cc_mount_spec mount = { 0 };
    struct cc_provider_req req = { .op = CC_OP_ATTACH, .mount = &mount };
    struct cc_arena *a;

    self(L);
    req.id = luaL_checkstring(L, 2);
    luaL_checktype(L, 3, LUA_TTABLE);
    lua_settop(L, 4);
    a = arena_new(L);
    mount.id = field(L, a, 3, "id", NULL);
    mount.path = field(L, a, 3, "path", NULL);
    luaL_argcheck(L, mount.id && mount.path, 3, "id and path expected");
    return begin(L, &req, 4);
}

static int l_detach(lua_State *L)
{
    struct cc_mount_spec mount = { 0 };
    struct cc_provider_req req = { .op = CC_OP_DETACH, .mount = &mount };

    self(L);
    req.id = luaL_checkstring(L, 2);
    mount.id = luaL_checkstring(L, 3);
    return begin(L, &req, 4);
}

static int l_list(lua_State *L)
{
    struct cc_provider_req req = { .op = CC_OP_LIST };

    return begin(L, &req, 2);
}

static int l_volume_list(lua_State *L)
{
    struct cc_provider_req req = { .op = CC_OP_VOLUME_LIST };

    return begin(L, &req, 2);
}

static int l_volume_create(lua_State *L)
{
    struct cc_volume_spec spec = { 0 };
    struct cc_provider_req req = { .op = CC_OP_VOLUME_CREATE, .volume = &spec };
    struct cc_arena *a;

    self(L);
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 3);
    a = arena_new(L);
    spec.id = field(L, a, 2, "id", NULL);
    luaL_argcheck(L, spec.id != NULL, 2, "id is missing");
    spec.size_gib = (uint32_t)number(L, 2, "size_gib", 4e9);
    spec.labels = pairs(L, a, 2, "labels");
    return begin(L, &req, 3);
}

/* ---------------------------------------------------------------- calls that do not */

static int l_endpoint(lua_State *L)
{
    struct handle *h = self(L);
    const char *id = luaL_checkstring(L, 2);
    struct cc_endpoint e;
    struct cc_err err;

    if (cc_provider_endpoint(h->p, id, &e, &err) != 0)
        return cc_push_err(L, &err);
    lua_createtable(L, 0, 1);
    set_text(L, "unix", e.unix_path);
    return 1;
}

static int l_capabilities(lua_State *L)
{
    const struct cc_capabilities *c = cc_provider_capabilities(self(L)->p);

    lua_createtable(L, 0, 14);
    set_text(L, "driver", c->driver);
    set_text(L, "default_image", c->default_image);
    set_text(L, "log_file", c->log_file);
    set_bool(L, "exec", c->exec);
    set_bool(L, "activity", c->activity);
    set_bool(L, "volumes", c->volumes);
    set_bool(L, "stop_keeps_disk", c->stop_keeps_disk);
    set_bool(L, "attach_live", c->attach_live);
    set_bool(L, "user_data", c->user_data);
    set_bool(L, "addresses", c->addresses);
    lua_createtable(L, 0, 3);
    set_bool(L, "nat", c->net_nat);
    set_bool(L, "none", c->net_none);
    set_bool(L, "host", c->net_host);
    lua_setfield(L, -2, "network");
    lua_createtable(L, 0, 4);
    set_bool(L, "vcpu", c->limit_vcpu);
    set_bool(L, "memory_mib", c->limit_memory);
    set_bool(L, "disk_gib", c->limit_disk);
    set_bool(L, "pids", c->limit_pids);
    lua_setfield(L, -2, "limits");
    set_unenforced(L, "missing", c->missing, c->n_missing);
    return 1;
}

static int l_stats(lua_State *L)
{
    struct cc_provider_stats s;

    cc_provider_stats(self(L)->p, &s);
    lua_createtable(L, 0, 10);
    set_number(L, "threads", s.pool.threads);
    set_number(L, "busy", s.pool.busy);
    set_number(L, "queued", s.pool.queued);
    set_number(L, "calls", (lua_Number)s.calls);
    set_number(L, "failed", (lua_Number)s.failed);
    set_number(L, "timed_out", (lua_Number)s.timed_out);
    set_number(L, "cancelled", (lua_Number)s.cancelled);
    set_number(L, "waiting", s.waiting);
    set_number(L, "abandoned", s.abandoned);
    return 1;
}

/* At the end of the VM, and p:close(): those who wait for an answer get "cancelled". */
static void close_handle(void *arg)
{
    struct handle *h = arg;
    struct cc_provider *p = h->p;

    h->p = NULL;
    if (p)
        cc_provider_close(p);
}

static int l_close(lua_State *L)
{
    close_handle(luaL_checkudata(L, 1, PROVIDER));
    return 0;
}

static int l_open(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    struct cc_pairs settings = { NULL, 0 };
    struct cc_arena *a;
    struct handle *h;
    struct cc_err err;

    lua_settop(L, 2);
    a = arena_new(L);
    if (!lua_isnil(L, 2)) {
        struct cc_pair *v = cc_arena_alloc(a, MAX_SETTINGS * sizeof(*v));

        luaL_checktype(L, 2, LUA_TTABLE);
        lua_pushvalue(L, 2);
        flatten(L, a, v, &settings.n, "", 0);
        lua_pop(L, 1);
        settings.v = v;
    }
    h = lua_newuserdata(L, sizeof(*h));
    h->p = NULL;
    luaL_getmetatable(L, PROVIDER);
    lua_setmetatable(L, -2);
    lua_pushvalue(L, -1);
    luaL_ref(L, LUA_REGISTRYINDEX); /* the state's end closes it, so it stays until then */
    if (!(h->p = cc_provider_open(cc_vm_loop(L), name, &settings, &err)))
        return cc_push_err(L, &err);
    cc_vm_at_close(L, close_handle, h);
    return 1;
}

static int l_names(lua_State *L)
{
    size_t i;

    new_list(L, 4);
    for (i = 0; cc_drivers[i]; i++) {
        lua_pushstring(L, cc_drivers[i]->name);
        lua_rawseti(L, -2, (int)i + 1);
    }
    return 1;
}

static const luaL_Reg methods[] = { { "create", l_create },
                                    { "destroy", l_destroy },
                                    { "start", l_start },
                                    { "stop", l_stop },
                                    { "status", l_status },
                                    { "activity", l_activity },
                                    { "list", l_list },
                                    { "exec", l_exec },
                                    { "attach", l_attach },
                                    { "detach", l_detach },
                                    { "volume_create", l_volume_create },
                                    { "volume_delete", l_volume_delete },
                                    { "volume_list", l_volume_list },
                                    { "endpoint", l_endpoint },
                                    { "capabilities", l_capabilities },
                                    { "stats", l_stats },
                                    { "close", l_close },
                                    { NULL, NULL } };

static const luaL_Reg provider_lib[] = { { "open", l_open }, { "names", l_names }, { NULL, NULL } };

int luaopen_cc_provider(lua_State *L)
{
    luaL_newmetatable(L, ARENA);
    lua_pushcfunction(L, l_arena_gc);
    lua_setfield(L, -2, "__gc");
    luaL_newmetatable(L, PROVIDER);
    lua_newtable(L);
    luaL_register(L, NULL, methods);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 2);
    lua_newtable(L);
    luaL_register(L, NULL, provider_lib);
    return 1;
}
