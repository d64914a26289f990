/* bind_tls.c - module "http": the certificates of a server.
 *
 *   http.serve{..., tls = {{cert = path, key = path}, ...}}     [blocks while they are read]
 *   true | nil, err = server:tls_reload{{cert = path, key = path}, ...}   [yields]
 *   doubts | nil, err = http.tls_check({{cert = path, key = path}, ...}, name)   [yields]
 *       whether a server could take them; doubts: sentences, also when none bears the DNS name, which may be nil
 *
 * The files are read and the keys tried on the general pool; the server takes
 * the new certificates only when all of them are good.
 */
#include <stdlib.h>
#include <string.h>

#include "host/http/certs.h"
#include "host/http/tls.h"
#include "host/observe/log.h"
#include "host/script/http.h"
#include "host/script/vm.h"
#include "host/sys/mem.h"
#include "host/sys/pool.h"

struct reload {
    struct cc_job job; /* first: on_work() and on_done() cast */
    struct cc_task *task;
    struct cc_tls **tls; /* in the server; NULL there: closed. NULL: no server, a check */
    int server;          /* a registry reference that keeps it; while waiting, the task's stack does not */
    struct cc_certs *certs;
    char *name; /* that a check looks for, or NULL */
    struct cc_err err;
    unsigned n;
    struct cc_cert_files files[];
};

static const char *path_at(lua_State *L, const char *name)
{
    const char *p;

    lua_getfield(L, -1, name);
    p = lua_tostring(L, -1);
    if (lua_type(L, -1) != LUA_TSTRING || strlen(p) != lua_objlen(L, -1) || !*p)
        luaL_error(L, "tls: a list of {cert = path, key = path} expected");
    lua_pop(L, 1); /* the table keeps it */
    return p;
}

unsigned cc_lua_cert_files(lua_State *L, int idx, struct cc_cert_files *files)
{
    unsigned n = 0;

    if (!lua_istable(L, idx))
        luaL_error(L, "tls: a list of {cert = path, key = path} expected");
    for (;;) {
        lua_rawgeti(L, idx, (int)n + 1);
        if (lua_isnil(L, -1))
            break;
        if (!lua_istable(L, -1) || n == CC_CERTS_MAX)
            luaL_error(L, "tls: a list of at most %d {cert = path, key = path} expected", CC_CERTS_MAX);
        files[n].cert = path_at(L, "cert");
        files[n++].key = path_at(L, "key");
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    if (n == 0)
        luaL_error(L, "tls: at least one certificate expected");
    return n;
}

static void on_work(struct cc_job *job)
{
    struct reload *r = (struct reload *)job;

    r->certs = cc_certs_load(r->files, r->n, &r->err);
}

static void push_doubts(lua_State *L, const struct reload *r)
{
    unsigned i;
    int n = 0;

    lua_newtable(L);
    for (i = 0; i < r->n; i++)
        if (cc_certs_doubt(r->certs, i)) {
            lua_pushfstring(L, "%s: %s", r->files[i].cert, cc_certs_doubt(r->certs, i));
            lua_rawseti(L, -2, ++n);
        }
    if (r->name && !cc_certs_bear(r->certs, r->name)) {
        lua_pushfstring(L, "no certificate bears the name %s", r->name);
        lua_rawseti(L, -2, ++n);
    }
}

static void warn_of_doubts(const struct reload *r)
{
    unsigned i;

    for (i = 0; i < r->n; i++)
        if (cc_certs_doubt(r->certs, i))
            cc_log(CC_LOG_WARN, "tls", "%s: %s", r->files[i].cert, cc_certs_doubt(r->certs, i));
}

static void answer(struct reload *r)
{
    lua_State *L = cc_task_stack(r->task);

    luaL_unref(L, LUA_REGISTRYINDEX, r->server);
    if (r->certs && !r->tls) {
        push_doubts(L, r);
        cc_task_wake(r->task, 1);
    } else if (r->certs && *r->tls) {
        warn_of_doubts(r);
        cc_tls_swap(*r->tls, r->certs);
        r->certs = NULL;
        lua_pushboolean(L, 1);
        cc_task_wake(r->task, 1);
    } else if (r->certs) {
        cc_task_wake(r->task, cc_lua_fail(L, CC_E_STATE, "the server is closed"));
    } else {
        cc_task_wake(r->task, cc_push_err(L, &r->err));
    }
}

static void on_done(struct cc_job *job)
{
    struct reload *r = (struct reload *)job;
    int rc; /* said by r->err: there are no certificates then */
    unsigned i;

    cc_job_unbegun(job, &rc, &r->err);
    if (r->task)
        answer(r);
    cc_certs_unref(r->certs);
    for (i = 0; i < r->n; i++) {
        free((char *)r->files[i].cert);
        free((char *)r->files[i].key);
    }
    free(r->name);
    free(r);
}

static void on_cancel(void *op)
{
    struct reload *r = op;

    luaL_unref(cc_task_stack(r->task), LUA_REGISTRYINDEX, r->server);
    r->task = NULL;
    cc_pool_cancel(&r->job);
}

/* `tls` is of the server at index 1. */
static int start(lua_State *L, struct cc_task *t, struct cc_tls **tls, const char *name, struct cc_cert_files *files,
                 unsigned n)
{
    int server = LUA_NOREF;
    struct reload *r;
    unsigned i;

    if (tls) {
        lua_pushvalue(L, 1);
        server = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    r = cc_xcalloc(1, sizeof(*r) + n * sizeof(*files));
    r->server = server;
    r->task = t;
    r->tls = tls;
    r->name = name ? cc_xstrdup(name) : NULL;
    r->n = n;
    for (i = 0; i < n; i++) {
        r->files[i].cert = cc_xstrdup(files[i].cert);
        r->files[i].key = cc_xstrdup(files[i].key);
    }
    r->job.work = on_work;
    r->job.done = on_done;
    cc_err_set(&r->err, CC_E_CANCELLED, "cancelled before it began");
    cc_pool_submit(cc_vm_pool(L), &r->job);
    cc_task_park(t, on_cancel, r);
    return lua_yield(L, 0);
}

int cc_lua_tls_reload(lua_State *L, struct cc_tls **tls)
{
    struct cc_cert_files files[CC_CERTS_MAX];
    struct cc_task *t = cc_task_need(L, "server:tls_reload");
    unsigned n = cc_lua_cert_files(L, 2, files);

    if (!*tls)
        return cc_lua_fail(L, CC_E_STATE, "the server is closed, or speaks no TLS");
    return start(L, t, tls, NULL, files, n);
}

int cc_lua_tls_check(lua_State *L)
{
    struct cc_cert_files files[CC_CERTS_MAX];
    struct cc_task *t = cc_task_need(L, "http.tls_check");
    unsigned n = cc_lua_cert_files(L, 1, files);

    return start(L, t, NULL, luaL_optstring(L, 2, NULL), files, n);
}
