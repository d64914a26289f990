/* bind_smtp.c - module "smtp": handing a mail in (client.h: cc_mail). Building one is lua/mail.lua's.
 *
 *   true | nil, err = smtp.send{url=, from=, to=, message=, username=, password=, starttls=, ca=file, timeout=seconds}   [yields]
 *       url: smtp://host:port or smtps://host:port; message: RFC 5322, lines end with CRLF.
 *       err.code: "timeout", "unavailable" (also a reply 4xx; both may pass), "denied", "invalid" (a reply 5xx)
 */
#include <stdlib.h>
#include <string.h>

#include "host/http/client.h"
#include "host/script/task.h"
#include "host/script/vm.h"
#include "host/sys/mem.h"

#include <lauxlib.h>

int luaopen_cc_smtp(lua_State *L);

struct op {
    struct cc_task *task;
    struct cc_fetch *fetch;
};

static void cancel(void *arg)
{
    struct op *op = arg;

    cc_fetch_cancel(op->fetch);
    free(op);
}

static void on_done(void *arg, const struct cc_fetch_answer *a, const struct cc_err *err)
{
    struct op *op = arg;
    struct cc_task *t = op->task;
    lua_State *L = cc_task_stack(t);

    free(op);
    if (!a) {
        cc_task_wake(t, cc_push_err(L, err));
        return;
    }
    lua_pushboolean(L, 1);
    cc_task_wake(t, 1);
}

/* A string of the table at 1, which stays on the stack; NULL when it is absent and may be. */
static const char *text(lua_State *L, const char *name, bool needed, size_t *len)
{
    const char *s;
    size_t n;

    lua_getfield(L, 1, name);
    if (lua_isnil(L, -1) && !needed)
        return NULL;
    if (lua_type(L, -1) != LUA_TSTRING)
        luaL_error(L, "smtp.send: %s must be a string", name);
    s = lua_tolstring(L, -1, &n);
    if (strlen(s) != n)
        luaL_error(L, "smtp.send: %s holds a NUL", name);
    if (len)
        *len = n;
    return s;
}

static int l_send(lua_State *L)
{
    struct cc_mail m = { 0 };
    struct cc_fetch_opts o = { .mail = &m, .done = on_done };
    struct cc_task *t;
    struct cc_err err;
    struct op *op;

    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    o.url = text(L, "url", true, NULL);
    o.body = text(L, "message", true, &o.body_len);
    o.ca_file = text(L, "ca", false, NULL);
    m.from = text(L, "from", true, NULL);
    m.to = text(L, "to", true, NULL);
    m.username = text(L, "username", false, NULL);
    m.password = text(L, "password", false, NULL);
    lua_getfield(L, 1, "starttls");
    m.starttls = lua_toboolean(L, -1);
    lua_getfield(L, 1, "timeout");
    luaL_argcheck(L, lua_isnil(L, -1) || (lua_tonumber(L, -1) > 0 && lua_tonumber(L, -1) <= 3600), 1,
                  "timeout: up to 3600 seconds expected");
    o.timeout_ms = (uint32_t)(lua_tonumber(L, -1) * 1000);
    t = cc_task_need(L, "smtp.send");
    op = cc_xcalloc(1, sizeof(*op));
    op->task = t;
    o.arg = op;
    op->fetch = cc_fetch_start(cc_vm_loop(L), &o, &err);
    if (!op->fetch) {
        free(op);
        return cc_push_err(L, &err);
    }
    cc_task_park(t, cancel, op);
    return lua_yield(L, 0);
}

static const luaL_Reg smtp_lib[] = { { "send", l_send }, { NULL, NULL } };

static void close_client(void *arg)
{
    (void)arg;
    cc_client_close();
}

int luaopen_cc_smtp(lua_State *L)
{
    cc_vm_at_close(L, close_client, NULL);
    lua_newtable(L);
    luaL_register(L, NULL, smtp_lib);
    return 1;
}
