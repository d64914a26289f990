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
 *   p:snapshot_create(volume id, name, opts) -> {id=, volume=, size_gib=, created_at=ms}   where capabilities().snapshots:
 *   p:snapshot_list(volume id, opts) -> snapshots     p:snapshot_delete(volume id, name, opts) -> true
 *   p:volume_restore(volume id, name, opts) -> true   p:volume_clone(volume id, name or nil, new id, opts) -> volume
 *   p:logs(id, {bytes=, deadline=}) -> bytes | nil, err      p:check(opts) -> {{what=, state="ok"|"warn"|"bad", sentence=}, ...}
 *   p:suspend(id, opts)  p:machine_snapshot(id, name, opts)  p:machine_snapshot_delete(id, name, opts)
 *   p:machine_restore(id, name, opts) -> true    p:screenshot(id, opts) -> bytes of a PNG
 *   p:console(id, {seconds=, deadline=}) -> {host=, port=, password=, until_at=unix ms}
 *   p:image_build({name=, hash=, type=, location=}, opts) -> image | nil, err     image = {id=, name=, hash=, state=, created=,
 *     arch=, size_gib=, disk_gib=}     p:image_list(opts) -> images     p:image_delete(id, opts) -> true | nil, err
 *   p:changes() -> {{id=, what=}, ...}, behind | nil, err: waits until something has changed there, whoever did it, for one
 *     task at a time; behind: more may have, look at everything. "unsupported" where the provider cannot tell
 */
#include "host/script/json.h"
#include "host/script/modules.h"
#include "host/script/provider_read.h"
#include "host/script/task.h"
#include "host/script/vm.h"
#include "host/sys/mem.h"
#include "providers/call.h"

#include <stdlib.h>
#include <string.h>

#define PROVIDER "cchost.provider"

enum { NEWS_MAX = 256 };

struct handle {
    struct cc_provider *p; /* NULL: closed; anchored until the state closes */
    struct news *news;     /* NULL: nobody has asked */
};

/* What changed at the provider since somebody heard of it. */
struct news {
    struct cc_task *task; /* who waits, or NULL */
    struct {
        char id[24], what[16];
    } v[NEWS_MAX];
    size_t n;
    bool behind;
};

struct op {
    struct cc_task *task;
    struct cc_provider_wait *wait;
    enum cc_provider_op kind;
    char id[64];
};

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

/* {{port=, address=, at=}, ...}, or nothing where none is published. */
static void set_ports(lua_State *L, const struct cc_machine_info *m)
{
    size_t i;

    if (m->n_ports == 0)
        return;
    new_list(L, m->n_ports);
    for (i = 0; i < m->n_ports; i++) {
        lua_createtable(L, 0, 3);
        set_number(L, "port", m->ports[i].port);
        set_text(L, "address", m->ports_address);
        set_number(L, "at", m->ports[i].at);
        lua_rawseti(L, -2, (int)i + 1);
    }
    lua_setfield(L, -2, "published");
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
    set_text(L, "health", m->health);
    set_text(L, "address", m->address);
    set_text(L, "socket", m->socket);
    set_ssh(L, &m->ssh);
    set_ports(L, m);
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

static void push_snapshot(lua_State *L, const struct cc_snapshot *s)
{
    lua_createtable(L, 0, 4);
    set_text(L, "id", s->id);
    set_text(L, "volume", s->volume);
    set_number(L, "size_gib", (lua_Number)((s->size + (1u << 30) - 1) >> 30));
    set_number(L, "created_at", (lua_Number)s->created_at);
}

static void push_snapshots(lua_State *L, const struct cc_snapshot_list *l)
{
    size_t i;

    new_list(L, l->n);
    for (i = 0; i < l->n; i++) {
        push_snapshot(L, &l->v[i]);
        lua_rawseti(L, -2, (int)i + 1);
    }
}

static void push_image(lua_State *L, const struct cc_image_info *i)
{
    lua_createtable(L, 0, 8);
    set_text(L, "id", i->id);
    set_text(L, "name", i->name);
    set_text(L, "hash", i->hash);
    set_text(L, "state", i->state);
    set_text(L, "created", i->created);
    set_text(L, "arch", i->arch);
    if (i->size_gib > 0)
        set_number(L, "size_gib", i->size_gib);
    if (i->disk_gib)
        set_number(L, "disk_gib", i->disk_gib);
}

static void push_images(lua_State *L, const struct cc_image_list *l)
{
    size_t i;

    new_list(L, l->n);
    for (i = 0; i < l->n; i++) {
        push_image(L, &l->v[i]);
        lua_rawseti(L, -2, (int)i + 1);
    }
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
    if (a->unhealthy)
        set_bool(L, "unhealthy", true);
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

static void push_checks(lua_State *L, const struct cc_check_list *c)
{
    static const char *const words[] = { "ok", "warn", "bad" };
    size_t i;

    new_list(L, c->n);
    for (i = 0; i < c->n; i++) {
        lua_createtable(L, 0, 3);
        set_text(L, "what", c->v[i].what);
        set_text(L, "state", words[c->v[i].state]);
        set_text(L, "sentence", c->v[i].sentence);
        lua_rawseti(L, -2, (int)i + 1);
    }
}

static void push_done(lua_State *L, const char *id, const char *state)
{
    lua_createtable(L, 0, 2);
    set_text(L, "provider_id", id);
    set_text(L, "state", state);
}

static void push_console(lua_State *L, const struct cc_console *c)
{
    lua_createtable(L, 0, 4);
    set_text(L, "host", c->host);
    set_number(L, "port", c->port);
    set_text(L, "password", c->password);
    set_number(L, "until_at", (lua_Number)c->until_at);
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
    case CC_OP_VOLUME_CLONE:
        push_volume(L, &r->volume);
        break;
    case CC_OP_VOLUME_LIST:
        new_list(L, r->volumes.n);
        for (i = 0; i < r->volumes.n; i++) {
            push_volume(L, &r->volumes.v[i]);
            lua_rawseti(L, -2, (int)i + 1);
        }
        break;
    case CC_OP_SNAPSHOT_CREATE:
        push_snapshot(L, &r->snapshot);
        break;
    case CC_OP_SNAPSHOT_LIST:
        push_snapshots(L, &r->snapshots);
        break;
    case CC_OP_LOGS:
        lua_pushlstring(L, r->log.text ? r->log.text : "", r->log.n);
        break;
    case CC_OP_CHECK:
        push_checks(L, &r->checks);
        break;
    case CC_OP_CONSOLE:
        push_console(L, &r->console);
        break;
    case CC_OP_SCREENSHOT:
        lua_pushlstring(L, r->picture.data, r->picture.n);
        break;
    case CC_OP_IMAGE_BUILD:
        push_image(L, &r->image);
        break;
    case CC_OP_IMAGE_LIST:
        push_images(L, &r->images);
        break;
    case CC_OP_ATTACH:
    case CC_OP_DETACH:
    case CC_OP_VOLUME_DELETE:
    case CC_OP_SUSPEND:
    case CC_OP_MACHINE_SNAPSHOT:
    case CC_OP_MACHINE_SNAPSHOT_DELETE:
    case CC_OP_MACHINE_RESTORE:
    case CC_OP_SNAPSHOT_DELETE:
    case CC_OP_VOLUME_RESTORE:
    case CC_OP_IMAGE_DELETE:
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
        req->timeout_ms = (uint64_t)(cc_read_number(L, opts, "deadline", 86400) * 1000);
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
        req.machine = cc_read_machine(L, cc_read_arena(L), 4);
    return begin(L, &req, 3);
}

static int l_stop(lua_State *L) { return by_id(L, CC_OP_STOP); }
static int l_status(lua_State *L) { return by_id(L, CC_OP_STATUS); }
static int l_activity(lua_State *L) { return by_id(L, CC_OP_ACTIVITY); }
static int l_suspend(lua_State *L) { return by_id(L, CC_OP_SUSPEND); }
static int l_screenshot(lua_State *L) { return by_id(L, CC_OP_SCREENSHOT); }
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
    req.machine = cc_read_machine(L, cc_read_arena(L), 2);
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
    a = cc_read_arena(L);
    spec.cmd = cc_read_texts(L, a, 3, "cmd");
    luaL_argcheck(L, spec.cmd.n > 0, 3, "cmd: a list of words expected");
    spec.in = cc_read_text(L, a, 3, "stdin", &spec.in_len);
    seconds = cc_read_number(L, 3, "timeout", 86400);
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
    a = cc_read_arena(L);
    mount.id = cc_read_text(L, a, 3, "id", NULL);
    mount.path = cc_read_text(L, a, 3, "path", NULL);
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

/* About all of it. */
static int at_large(lua_State *L, enum cc_provider_op kind)
{
    struct cc_provider_req req = { .op = kind };

    return begin(L, &req, 2);
}

static int l_list(lua_State *L) { return at_large(L, CC_OP_LIST); }
static int l_volume_list(lua_State *L) { return at_large(L, CC_OP_VOLUME_LIST); }

static int l_volume_create(lua_State *L)
{
    struct cc_volume_spec spec = { 0 };
    struct cc_provider_req req = { .op = CC_OP_VOLUME_CREATE, .volume = &spec };
    struct cc_arena *a;

    self(L);
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 3);
    a = cc_read_arena(L);
    spec.id = cc_read_text(L, a, 2, "id", NULL);
    luaL_argcheck(L, spec.id != NULL, 2, "id is missing");
    spec.size_gib = (uint32_t)cc_read_number(L, 2, "size_gib", 4e9);
    spec.labels = cc_read_pairs(L, a, 2, "labels");
    return begin(L, &req, 3);
}

/* Of the machine or the volume that the second argument names, and a snapshot: the third. */
static int of_snapshot(lua_State *L, enum cc_provider_op kind)
{
    struct cc_provider_req req = { .op = kind };

    self(L);
    req.id = luaL_checkstring(L, 2);
    req.snapshot = luaL_checkstring(L, 3);
    return begin(L, &req, 4);
}

static int l_machine_snapshot(lua_State *L) { return of_snapshot(L, CC_OP_MACHINE_SNAPSHOT); }
static int l_machine_snapshot_delete(lua_State *L) { return of_snapshot(L, CC_OP_MACHINE_SNAPSHOT_DELETE); }
static int l_machine_restore(lua_State *L) { return of_snapshot(L, CC_OP_MACHINE_RESTORE); }

static int l_console(lua_State *L)
{
    struct cc_provider_req req = { .op = CC_OP_CONSOLE };

    self(L);
    req.id = luaL_checkstring(L, 2);
    if (lua_istable(L, 3))
        req.seconds = (uint32_t)cc_read_number(L, 3, "seconds", 3600);
    return begin(L, &req, 3);
}

static int l_snapshot_create(lua_State *L) { return of_snapshot(L, CC_OP_SNAPSHOT_CREATE); }
static int l_snapshot_delete(lua_State *L) { return of_snapshot(L, CC_OP_SNAPSHOT_DELETE); }
static int l_snapshot_list(lua_State *L) { return by_id(L, CC_OP_SNAPSHOT_LIST); }
static int l_volume_restore(lua_State *L) { return of_snapshot(L, CC_OP_VOLUME_RESTORE); }

static int l_volume_clone(lua_State *L)
{
    struct cc_provider_req req = { .op = CC_OP_VOLUME_CLONE };

    self(L);
    req.id = luaL_checkstring(L, 2);
    req.snapshot = luaL_optstring(L, 3, NULL);
    req.clone = luaL_checkstring(L, 4);
    return begin(L, &req, 5);
}

static int l_logs(lua_State *L)
{
    struct cc_provider_req req = { .op = CC_OP_LOGS, .most = 65536 };

    self(L);
    req.id = luaL_checkstring(L, 2);
    if (lua_istable(L, 3) && cc_read_number(L, 3, "bytes", 4e6) > 0)
        req.most = (size_t)cc_read_number(L, 3, "bytes", 4e6);
    return begin(L, &req, 3);
}

static int l_check(lua_State *L) { return at_large(L, CC_OP_CHECK); }

static int l_image_build(lua_State *L)
{
    struct cc_image_spec spec = { 0 };
    struct cc_provider_req req = { .op = CC_OP_IMAGE_BUILD, .image = &spec };
    struct cc_arena *a;

    self(L);
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 3);
    a = cc_read_arena(L);
    spec.name = cc_read_text(L, a, 2, "name", NULL);
    spec.hash = cc_read_text(L, a, 2, "hash", NULL);
    spec.type = cc_read_text(L, a, 2, "type", NULL);
    spec.location = cc_read_text(L, a, 2, "location", NULL);
    return begin(L, &req, 3);
}

static int l_image_list(lua_State *L) { return at_large(L, CC_OP_IMAGE_LIST); }
static int l_image_delete(lua_State *L) { return by_id(L, CC_OP_IMAGE_DELETE); }

/* ---------------------------------------------------------------- what changes there */

/* Takes what there is. */
static void push_news(lua_State *L, struct news *news)
{
    size_t i;

    new_list(L, news->n);
    for (i = 0; i < news->n; i++) {
        lua_createtable(L, 0, 2);
        set_text(L, "id", news->v[i].id);
        set_text(L, "what", news->v[i].what);
        lua_rawseti(L, -2, (int)i + 1);
    }
    lua_pushboolean(L, news->behind);
    news->n = 0;
    news->behind = false;
}

static void add_news(struct news *news, const char *id, const char *what)
{
    size_t i;

    for (i = 0; i < news->n && strcmp(news->v[i].id, id) != 0; i++) {
    }
    if (i == NEWS_MAX) {
        news->behind = true;
        return;
    }
    strncpy(news->v[i].id, id, sizeof(news->v[i].id) - 1);
    strncpy(news->v[i].what, what, sizeof(news->v[i].what) - 1);
    news->n += i == news->n;
}

static void on_news(void *arg, const char *id, const char *what)
{
    struct handle *h = arg;
    struct cc_task *t = h->news->task;

    if (id)
        add_news(h->news, id, what);
    else
        h->news->behind = true;
    if (!t || !lua_checkstack(cc_task_stack(t), 12))
        return;
    h->news->task = NULL;
    push_news(cc_task_stack(t), h->news);
    cc_task_wake(t, 2);
}

static void cancel_changes(void *arg) { ((struct handle *)arg)->news->task = NULL; }

static int l_changes(lua_State *L)
{
    struct handle *h = self(L);
    struct cc_task *t = cc_task_need(L, "changes");
    struct cc_err err;

    if (!cc_provider_driver(h->p)->watch) {
        cc_err_set(&err, CC_E_UNSUPPORTED, "this provider tells of no changes");
        return cc_push_err(L, &err);
    }
    if (!h->news) {
        h->news = cc_xcalloc(1, sizeof(*h->news));
        cc_provider_watch(h->p, on_news, h);
    }
    if (h->news->task)
        return luaL_error(L, "changes: another task waits for them");
    if (h->news->n > 0 || h->news->behind) {
        push_news(L, h->news);
        return 2;
    }
    h->news->task = t;
    cc_task_park(t, cancel_changes, h);
    return lua_yield(L, 0);
}

/* The provider is closed: whoever waits hears of it, and nobody else. */
static void end_news(struct handle *h)
{
    struct news *news = h->news;
    struct cc_err err;

    h->news = NULL;
    if (news && news->task) {
        cc_err_set(&err, CC_E_CANCELLED, "the provider is being closed");
        cc_task_wake(news->task, cc_push_err(cc_task_stack(news->task), &err));
    }
    free(news);
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

    lua_createtable(L, 0, 20);
    set_text(L, "driver", c->driver);
    set_text(L, "default_image", c->default_image);
    set_text(L, "log_file", c->log_file);
    set_bool(L, "exec", c->exec);
    set_bool(L, "activity", c->activity);
    set_bool(L, "volumes", c->volumes);
    set_bool(L, "snapshots", c->snapshots);
    set_bool(L, "stop_keeps_disk", c->stop_keeps_disk);
    set_bool(L, "attach_live", c->attach_live);
    set_bool(L, "logs", cc_provider_driver(self(L)->p)->logs != NULL);
    set_bool(L, "check", cc_provider_driver(self(L)->p)->check != NULL);
    set_bool(L, "images", cc_provider_driver(self(L)->p)->image_build != NULL);
    set_bool(L, "watch", cc_provider_driver(self(L)->p)->watch != NULL);
    set_bool(L, "suspend", cc_provider_driver(self(L)->p)->suspend != NULL);
    set_bool(L, "console", cc_provider_driver(self(L)->p)->console != NULL);
    set_bool(L, "screenshot", cc_provider_driver(self(L)->p)->screenshot != NULL);
    set_bool(L, "machine_snapshots", c->machine_snapshots);
    set_bool(L, "grows_disk", c->grows_disk);
    set_bool(L, "user_data", c->user_data);
    set_bool(L, "addresses", c->addresses);
    lua_createtable(L, 0, 4);
    set_bool(L, "nat", c->net_nat);
    set_bool(L, "none", c->net_none);
    set_bool(L, "host", c->net_host);
    set_bool(L, "vpc", c->net_vpc);
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
    end_news(h);
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
    a = cc_read_arena(L);
    if (!lua_isnil(L, 2))
        settings = cc_read_settings(L, a, 2);
    h = lua_newuserdata(L, sizeof(*h));
    h->p = NULL;
    h->news = NULL;
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
                                    { "suspend", l_suspend },
                                    { "machine_snapshot", l_machine_snapshot },
                                    { "machine_snapshot_delete", l_machine_snapshot_delete },
                                    { "machine_restore", l_machine_restore },
                                    { "console", l_console },
                                    { "screenshot", l_screenshot },
                                    { "snapshot_create", l_snapshot_create },
                                    { "snapshot_delete", l_snapshot_delete },
                                    { "snapshot_list", l_snapshot_list },
                                    { "volume_restore", l_volume_restore },
                                    { "volume_clone", l_volume_clone },
                                    { "logs", l_logs },
                                    { "check", l_check },
                                    { "image_build", l_image_build },
                                    { "image_list", l_image_list },
                                    { "image_delete", l_image_delete },
                                    { "changes", l_changes },
                                    { "endpoint", l_endpoint },
                                    { "capabilities", l_capabilities },
                                    { "stats", l_stats },
                                    { "close", l_close },
                                    { NULL, NULL } };

static const luaL_Reg provider_lib[] = { { "open", l_open }, { "names", l_names }, { NULL, NULL } };

int luaopen_cc_provider(lua_State *L)
{
    cc_read_open(L);
    luaL_newmetatable(L, PROVIDER);
    lua_newtable(L);
    luaL_register(L, NULL, methods);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    lua_newtable(L);
    luaL_register(L, NULL, provider_lib);
    return 1;
}
