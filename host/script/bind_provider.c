/* bind_provider.c - module "provider": machines, for Lua.
 *
 *   p | nil, err = provider.open(name, settings)   settings may nest: {create = {latency_ms = 5}}; `threads`
 *                                                  bounds its pool
 *   provider.names() -> list
 *   p:capabilities() -> table     p:endpoint(id) -> {unix=path} | nil, err     p:stats() -> table     p:close()
 * These wait [yields]; opts = {deadline = seconds, secret = of the machine's agent}; machine infos are tables of cc_machine_info's fields:
 *   p:create(spec, opts)  p:start(id, opts [, spec])  p:status(id, opts) -> info | nil, err
 *   p:destroy(id, {purge=, deadline=})  p:stop(id, opts) -> {provider_id=, state=} | nil, err
 *   p:list(opts) -> infos          p:activity(id, opts) -> {last_input_at=, clients=, foreground=, load=,
 *     turn=, ssh_sessions=, leases={{id=, reason=, until_at=, since=}, ...}}   times: unix ms; see cc_activity
 *   p:attach(id, {id=, path=}, opts)  p:detach(id, volume id, opts) -> true | nil, err
 *   p:exec(id, {cmd={...}, stdin=, timeout=, deadline=, secret=}) -> {exit=, stdout=, stderr=, truncated=}
 *   p:volume_create({id=, size_gib=, labels=}, opts) -> volume    p:volume_delete(id, opts) -> true
 *   p:volume_list(opts) -> volumes
 *   p:snapshot_create(volume id, name, opts) -> {id=, volume=, size_gib=, created_at=ms}   where capabilities().snapshots:
 *   p:snapshot_list(volume id, opts) -> snapshots     p:snapshot_delete(volume id, name, opts) -> true
 *   p:volume_restore(volume id, name, opts) -> true   p:volume_clone(volume id, name or nil, new id, opts) -> volume
 *   p:logs(id, {bytes=, deadline=}) -> bytes | nil, err      p:check(opts) -> {{what=, state="ok"|"warn"|"bad", sentence=}, ...}
 *   p:places(type, opts) -> {name, ...}: where a machine of that type may be had
 *   p:suspend(id, opts)  p:machine_snapshot(id, name, opts)  p:machine_snapshot_delete(id, name, opts)
 *   p:machine_restore(id, name, opts) -> true    p:screenshot(id, opts) -> bytes of a PNG
 *   p:console(id, {seconds=, deadline=}) -> {host=, port=, password=, until_at=unix ms}
 *   p:image_build({name=, hash=, type=, location=}, opts) -> image | nil, err     image = {id=, name=, hash=, state=, created=,
 *     arch=, size_gib=, disk_gib=}     p:image_list(opts) -> images     p:image_delete(id, opts) -> true | nil, err
 *   p:changes() -> {{id=, what=}, ...}, behind | nil, err: waits until something has changed there, whoever did it, for one
 *     task at a time; behind: more may have, look at everything. "unsupported" where the provider cannot tell
 */
#include "host/observe/span.h"
#include "host/script/modules.h"
#include "host/script/provider_push.h"
#include "host/script/provider_read.h"
#include "host/script/task.h"
#include "host/script/vm.h"
#include "host/sys/mem.h"
#include "providers/call.h"

#include <stdlib.h>
#include <string.h>

#define PROVIDER "cchost.provider"

enum { NEWS_MAX = 256, SECRET_MAX = 128 };

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
    struct cc_span *span;
    enum cc_provider_op kind;
    char id[64];
};

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
    cc_span_fail(op->span, "cancelled");
    cc_span_end(op->span);
    free(op);
}

static struct cc_span *begin_span(struct cc_provider *p, enum cc_provider_op kind)
{
    const char *name = cc_provider_driver(p)->name, *op = cc_provider_op_names[kind];
    struct cc_span *s = cc_span_begin(CC_SPAN_CLIENT, name, op);

    cc_span_text(s, "cchost.provider", name, strlen(name));
    cc_span_text(s, "cchost.provider.operation", op, strlen(op));
    return s;
}

static void end_span(struct cc_span *s, const struct cc_provider_res *res)
{
    if (!s)
        return;
    if (res->code) {
        cc_span_text(s, "error.type", cc_err_word(res->code), strlen(cc_err_word(res->code)));
        cc_span_fail(s, res->err.message);
    }
    cc_span_end(s);
}

static void on_done(void *arg, const struct cc_provider_res *res)
{
    struct op *op = arg;
    struct cc_task *t = op->task;
    lua_State *L = cc_task_stack(t);
    int n = 1;

    end_span(op->span, res);
    if (res->code == 0 && lua_checkstack(L, 12))
        cc_push_provider_result(L, op->kind, op->id, res);
    else
        n = cc_push_err(L, &res->err);
    free(op);
    cc_task_wake(t, n);
}

/* The stack and its table keep it until the call has copied it. */
static const char *secret_of(lua_State *L, int opts)
{
    const char *text;

    if (!lua_istable(L, opts))
        return NULL;
    lua_getfield(L, opts, "secret");
    text = lua_isnil(L, -1) ? NULL : luaL_checkstring(L, -1);
    if (text && strlen(text) > SECRET_MAX)
        luaL_error(L, "secret: too long");
    return text;
}

/* What the call does is for its span, where it has one. */
static void start(struct cc_provider *p, const struct cc_provider_req *req, struct op *op)
{
    const struct cc_context *before = cc_context_now();
    struct cc_context c;

    if (cc_spans_on)
        op->span = begin_span(p, req->op);
    if (op->span) {
        c = *before;
        cc_span_id(op->span, c.span);
        cc_context_enter(&c);
    }
    op->wait = cc_provider_call(p, req, on_done, op);
    cc_context_enter(before);
}

/* Starts the call and yields. `opts` is the stack index of {deadline=, secret=}. */
static int begin(lua_State *L, struct cc_provider_req *req, int opts)
{
    struct handle *h = self(L);
    struct cc_task *t = cc_task_need(L, "provider call");
    struct op *op;

    if (!lua_isnoneornil(L, opts)) {
        luaL_checktype(L, opts, LUA_TTABLE);
        req->timeout_ms = (uint64_t)(cc_read_number(L, opts, "deadline", 86400) * 1000);
        req->secret = secret_of(L, opts);
    }
    op = cc_xcalloc(1, sizeof(*op)); /* nothing below can raise */
    op->task = t;
    op->kind = req->op;
    if (req->id)
        strncpy(op->id, req->id, sizeof(op->id) - 1);
    start(h->p, req, op);
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
    req.secret = secret_of(L, 3);
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
static int l_places(lua_State *L) { return by_id(L, CC_OP_PLACES); }

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

    cc_push_list(L, news->n);
    for (i = 0; i < news->n; i++) {
        lua_createtable(L, 0, 2);
        cc_push_field(L, "id", news->v[i].id);
        cc_push_field(L, "what", news->v[i].what);
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
    cc_task_park_idle(t, cancel_changes, h);
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
    cc_push_field(L, "unix", e.unix_path);
    return 1;
}

static int l_capabilities(lua_State *L)
{
    struct handle *h = self(L);

    cc_push_capabilities(L, cc_provider_driver(h->p), cc_provider_capabilities(h->p));
    return 1;
}

static int l_stats(lua_State *L)
{
    struct cc_provider_stats s;

    cc_provider_stats(self(L)->p, &s);
    cc_push_provider_stats(L, &s);
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

    cc_push_list(L, 4);
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
                                    { "places", l_places },
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
