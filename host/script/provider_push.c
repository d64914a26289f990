/* provider_push.c - see provider_push.h. */
#include "host/script/provider_push.h"

#include "host/script/json.h"

#include <lauxlib.h>

void cc_push_field(lua_State *L, const char *key, const char *s)
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

void cc_push_list(lua_State *L, size_t n)
{
    lua_createtable(L, (int)n, 0);
    luaL_getmetatable(L, CC_JSON_LIST);
    lua_setmetatable(L, -2);
}

static void set_unenforced(lua_State *L, const char *key, const struct cc_unenforced *v, size_t n)
{
    size_t i;

    cc_push_list(L, n);
    for (i = 0; i < n; i++) {
        lua_createtable(L, 0, 2);
        cc_push_field(L, "what", v[i].what);
        cc_push_field(L, "why", v[i].why);
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
    cc_push_field(L, "why", s->why);
    if (!s->why) {
        cc_push_field(L, "host", s->host);
        set_number(L, "port", s->port);
        cc_push_field(L, "user", s->user);
        cc_push_field(L, "host_key", s->host_key);
        cc_push_field(L, "fingerprint", s->fingerprint);
    }
    lua_setfield(L, -2, "ssh");
}

/* {{port=, address=, at=}, ...}, or nothing where none is published. */
static void set_ports(lua_State *L, const struct cc_machine_info *m)
{
    size_t i;

    if (m->n_ports == 0)
        return;
    cc_push_list(L, m->n_ports);
    for (i = 0; i < m->n_ports; i++) {
        lua_createtable(L, 0, 3);
        set_number(L, "port", m->ports[i].port);
        cc_push_field(L, "address", m->ports_address);
        set_number(L, "at", m->ports[i].at);
        lua_rawseti(L, -2, (int)i + 1);
    }
    lua_setfield(L, -2, "published");
}

static void push_machine(lua_State *L, const struct cc_machine_info *m)
{
    lua_createtable(L, 0, 16);
    cc_push_field(L, "provider_id", m->provider_id);
    cc_push_field(L, "id", m->id);
    cc_push_field(L, "name", m->name);
    cc_push_field(L, "image", m->image);
    cc_push_field(L, "state", cc_machine_state_word(m->state));
    cc_push_field(L, "reason", m->reason);
    cc_push_field(L, "health", m->health);
    cc_push_field(L, "address", m->address);
    cc_push_field(L, "socket", m->socket);
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
    cc_push_field(L, "id", v->id);
    set_number(L, "size_gib", v->size_gib);
    cc_push_field(L, "used_by", v->used_by);
    set_bool(L, "size_enforced", v->size_enforced);
}

static void push_snapshot(lua_State *L, const struct cc_snapshot *s)
{
    lua_createtable(L, 0, 4);
    cc_push_field(L, "id", s->id);
    cc_push_field(L, "volume", s->volume);
    set_number(L, "size_gib", (lua_Number)((s->size + (1u << 30) - 1) >> 30));
    set_number(L, "created_at", (lua_Number)s->created_at);
}

static void push_snapshots(lua_State *L, const struct cc_snapshot_list *l)
{
    size_t i;

    cc_push_list(L, l->n);
    for (i = 0; i < l->n; i++) {
        push_snapshot(L, &l->v[i]);
        lua_rawseti(L, -2, (int)i + 1);
    }
}

static void push_image(lua_State *L, const struct cc_image_info *i)
{
    lua_createtable(L, 0, 8);
    cc_push_field(L, "id", i->id);
    cc_push_field(L, "name", i->name);
    cc_push_field(L, "hash", i->hash);
    cc_push_field(L, "state", i->state);
    cc_push_field(L, "created", i->created);
    cc_push_field(L, "arch", i->arch);
    if (i->size_gib > 0)
        set_number(L, "size_gib", i->size_gib);
    if (i->disk_gib)
        set_number(L, "disk_gib", i->disk_gib);
}

static void push_images(lua_State *L, const struct cc_image_list *l)
{
    size_t i;

    cc_push_list(L, l->n);
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
    cc_push_field(L, "foreground", a->foreground);
    set_number(L, "load", a->load);
    set_bool(L, "turn", a->turn);
    set_number(L, "ssh_sessions", a->ssh_sessions);
    if (a->unhealthy)
        set_bool(L, "unhealthy", true);
    cc_push_list(L, a->n_leases);
    for (i = 0; i < a->n_leases; i++) {
        lua_createtable(L, 0, 4);
        cc_push_field(L, "id", a->leases[i].id);
        cc_push_field(L, "reason", a->leases[i].reason);
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

    cc_push_list(L, c->n);
    for (i = 0; i < c->n; i++) {
        lua_createtable(L, 0, 3);
        cc_push_field(L, "what", c->v[i].what);
        cc_push_field(L, "state", words[c->v[i].state]);
        cc_push_field(L, "sentence", c->v[i].sentence);
        lua_rawseti(L, -2, (int)i + 1);
    }
}

static void push_done(lua_State *L, const char *id, const char *state)
{
    lua_createtable(L, 0, 2);
    cc_push_field(L, "provider_id", id);
    cc_push_field(L, "state", state);
}

static void push_console(lua_State *L, const struct cc_console *c)
{
    lua_createtable(L, 0, 4);
    cc_push_field(L, "host", c->host);
    set_number(L, "port", c->port);
    cc_push_field(L, "password", c->password);
    set_number(L, "until_at", (lua_Number)c->until_at);
}

static void push_machines(lua_State *L, const struct cc_machine_list *l)
{
    size_t i;

    cc_push_list(L, l->n);
    for (i = 0; i < l->n; i++) {
        push_machine(L, &l->v[i]);
        lua_rawseti(L, -2, (int)i + 1);
    }
}

static void push_volumes(lua_State *L, const struct cc_volume_list *l)
{
    size_t i;

    cc_push_list(L, l->n);
    for (i = 0; i < l->n; i++) {
        push_volume(L, &l->v[i]);
        lua_rawseti(L, -2, (int)i + 1);
    }
}

static void push_places(lua_State *L, const struct cc_strs *l)
{
    size_t i;

    cc_push_list(L, l->n);
    for (i = 0; i < l->n; i++) {
        lua_pushstring(L, l->v[i]);
        lua_rawseti(L, -2, (int)i + 1);
    }
}

void cc_push_provider_result(lua_State *L, enum cc_provider_op op, const char *id, const struct cc_provider_res *r)
{
    switch (op) {
    case CC_OP_CREATE:
    case CC_OP_START:
    case CC_OP_STATUS:
        push_machine(L, &r->machine);
        break;
    case CC_OP_DESTROY:
        push_done(L, id, "gone");
        break;
    case CC_OP_STOP:
        push_done(L, id, "stopped");
        break;
    case CC_OP_ACTIVITY:
        push_activity(L, &r->activity);
        break;
    case CC_OP_EXEC:
        push_exec(L, &r->exec);
        break;
    case CC_OP_LIST:
        push_machines(L, &r->machines);
        break;
    case CC_OP_VOLUME_CREATE:
    case CC_OP_VOLUME_CLONE:
        push_volume(L, &r->volume);
        break;
    case CC_OP_VOLUME_LIST:
        push_volumes(L, &r->volumes);
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
    case CC_OP_PLACES:
        push_places(L, &r->places);
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

void cc_push_capabilities(lua_State *L, const struct cc_driver *d, const struct cc_capabilities *c)
{
    lua_createtable(L, 0, 20);
    cc_push_field(L, "driver", c->driver);
    cc_push_field(L, "default_image", c->default_image);
    cc_push_field(L, "log_file", c->log_file);
    set_bool(L, "exec", c->exec);
    set_bool(L, "activity", c->activity);
    set_bool(L, "volumes", c->volumes);
    set_bool(L, "snapshots", c->snapshots);
    set_bool(L, "stop_keeps_disk", c->stop_keeps_disk);
    set_bool(L, "attach_live", c->attach_live);
    set_bool(L, "logs", d->logs != NULL);
    set_bool(L, "check", d->check != NULL);
    set_bool(L, "places", d->places != NULL);
    set_bool(L, "images", d->image_build != NULL);
    set_bool(L, "watch", d->watch != NULL);
    set_bool(L, "suspend", d->suspend != NULL);
    set_bool(L, "console", d->console != NULL);
    set_bool(L, "screenshot", d->screenshot != NULL);
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
}

void cc_push_provider_stats(lua_State *L, const struct cc_provider_stats *s)
{
    lua_createtable(L, 0, 10);
    set_number(L, "threads", s->pool.threads);
    set_number(L, "busy", s->pool.busy);
    set_number(L, "queued", s->pool.queued);
    set_number(L, "calls", (lua_Number)s->calls);
    set_number(L, "failed", (lua_Number)s->failed);
    set_number(L, "timed_out", (lua_Number)s->timed_out);
    set_number(L, "cancelled", (lua_Number)s->cancelled);
    set_number(L, "waiting", s->waiting);
    set_number(L, "abandoned", s->abandoned);
}
