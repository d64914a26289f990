/* bind_smtp.c - module "smtp": hands one mail to a mail server (what is promised is in host/http/smtp.h).
 *
 *   true | nil, err = smtp.send{host=, port=, tls="starttls"|"tls"|"none", ca=file, username=, password=,
 *                               from=, to=, message=, name="localhost", timeout=30}                       [yields]
 *       message: RFC 5322 with CRLF (lua/mail.lua builds it); timeout in seconds, for all of it, the wait for a thread
 *       included. err.code: "timeout", "unavailable", "denied" (TLS or authentication), "invalid" (the server refuses
 *       it for good), "cancelled", "unsupported" (no libcurl); err.retryable: 4xx and what may pass, never 5xx.
 *
 * Mail has a pool of two threads of its own: a mail server that hangs delays other mail, and nothing else.
 */
#include "host/http/curl.h"
#include "host/http/smtp.h"
#include "host/script/task.h"
#include "host/script/vm.h"
#include "host/sys/clock.h"
#include "host/sys/mem.h"

#include <lauxlib.h>
#include <mbedtls/platform_util.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS = 2, MESSAGE_MAX = 16 << 20 };

int luaopen_cc_smtp(lua_State *L);

struct send_job {
    struct cc_job job;
    struct cc_smtp m; /* its strings are in `strings` */
    struct cc_task *task;
    struct cc_err err;
    int rc;
    size_t size;
    char strings[];
};

static const char pool_key = 'm';

static void close_pool(void *pool) { cc_pool_close(pool); }

static struct cc_pool *pool_of(lua_State *L)
{
    struct cc_pool *p = cc_vm_get(L, &pool_key);

    if (!p) {
        p = cc_pool_new(cc_vm_loop(L), "mail", THREADS);
        cc_vm_set(L, &pool_key, p);
        cc_vm_at_close(L, close_pool, p);
    }
    return p;
}

static void send_work(struct cc_job *job)
{
    struct send_job *s = (struct send_job *)job;

    s->rc = cc_smtp_send(&s->m, &job->call, &s->err);
}

static void send_done(struct cc_job *job)
{
    struct send_job *s = (struct send_job *)job;

    cc_job_unbegun(job, &s->rc, &s->err);
    if (s->task) {
        if (s->rc == 0) {
            lua_pushboolean(cc_task_stack(s->task), 1);
            cc_task_wake(s->task, 1);
        } else {
            cc_task_wake(s->task, cc_push_err(cc_task_stack(s->task), &s->err));
        }
    }
    mbedtls_platform_zeroize(s->strings, s->size); /* the password, and a link that signs in */
    free(s);
}

static void send_cancel(void *op)
{
    struct send_job *s = op;

    s->task = NULL;
    cc_pool_cancel(&s->job);
}

/* A field of the table at 1, which stays on the stack; NULL when it is absent. */
static const char *string_field(lua_State *L, const char *name, size_t *len)
{
    const char *s;
    size_t n = 0;

    lua_getfield(L, 1, name);
    if (!lua_isnil(L, -1) && lua_type(L, -1) != LUA_TSTRING)
        luaL_error(L, "smtp.send: %s must be a string", name);
    s = lua_tolstring(L, -1, &n);
    if (len)
        *len = n;
    else if (s && strlen(s) != n)
        luaL_error(L, "smtp.send: %s holds a NUL", name);
    return s;
}

static const char *need_field(lua_State *L, const char *name, size_t *len)
{
    const char *s = string_field(L, name, len);

    if (!s)
        luaL_error(L, "smtp.send: %s must be given", name);
    return s;
}

static enum cc_smtp_tls tls_field(lua_State *L)
{
    const char *word = string_field(L, "tls", NULL);

    if (!word || strcmp(word, "starttls") == 0)
        return CC_SMTP_STARTTLS;
    if (strcmp(word, "tls") == 0)
        return CC_SMTP_TLS;
    if (strcmp(word, "none") != 0)
        luaL_error(L, "smtp.send: tls must be \"starttls\", \"tls\" or \"none\"");
    return CC_SMTP_PLAIN;
}

static lua_Number number_field(lua_State *L, const char *name, lua_Number dflt, lua_Number most)
{
    lua_Number n;

    lua_getfield(L, 1, name);
    n = lua_isnil(L, -1) ? dflt : lua_tonumber(L, -1);
    if (!(n > 0 && n <= most))
        luaL_error(L, "smtp.send: %s is out of range", name);
    lua_pop(L, 1);
    return n;
}

/* All checked; the strings are still Lua's. */
static void read_mail(lua_State *L, struct cc_smtp *m)
{
    const char *fault;

    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    m->host = need_field(L, "host", NULL);
    m->tls = tls_field(L);
    m->port = (unsigned)number_field(L, "port", m->tls == CC_SMTP_TLS ? 465 : 587, 65535);
    m->ca_file = string_field(L, "ca", NULL);
    m->username = string_field(L, "username", NULL);
    m->password = string_field(L, "password", NULL);
    m->name = string_field(L, "name", NULL);
    if (!m->name)
        m->name = "localhost";
    m->from = need_field(L, "from", NULL);
    m->to = need_field(L, "to", NULL);
    m->message = need_field(L, "message", &m->message_len);
    fault = m->message_len > MESSAGE_MAX ? "message: at most 16 MiB expected" : cc_smtp_fault(m);
    if (fault)
        luaL_error(L, "smtp.send: %s", fault);
}

static void keep(const char **s, size_t n, char **at)
{
    if (!*s)
        return;
    memcpy(*at, *s, n);
    (*at)[n] = '\0';
    *s = *at;
    *at += n + 1;
}

static struct send_job *job_of(const struct cc_smtp *m)
{
    const char *const all[] = { m->host, m->ca_file, m->username, m->password, m->name, m->from, m->to };
    size_t i, size = m->message_len + 1;
    struct send_job *s;
    char *at;

    for (i = 0; i < sizeof(all) / sizeof(*all); i++)
        size += all[i] ? strlen(all[i]) + 1 : 0;
    s = cc_xcalloc(1, sizeof(*s) + size);
    s->size = size;
    s->m = *m;
    at = s->strings;
    {
        const char **own[] = { &s->m.host, &s->m.ca_file, &s->m.username, &s->m.password,
                               &s->m.name, &s->m.from,    &s->m.to };

        for (i = 0; i < sizeof(own) / sizeof(*own); i++)
            keep(own[i], *own[i] ? strlen(*own[i]) : 0, &at);
    }
    keep(&s->m.message, m->message_len, &at);
    return s;
}

static int l_send(lua_State *L)
{
    struct cc_smtp m = { 0 };
    struct send_job *s;
    struct cc_pool *pool;
    struct cc_task *t;
    struct cc_err err;
    lua_Number timeout;

    read_mail(L, &m);
    timeout = number_field(L, "timeout", 30, 3600);
    t = cc_task_need(L, "smtp.send");
    if (cc_curl_load(&err) < 0)
        return cc_push_err(L, &err);
    pool = pool_of(L);
    s = job_of(&m);
    s->task = t;
    s->job.work = send_work;
    s->job.done = send_done;
    s->job.call.deadline_ms = cc_mono_ms() + (uint64_t)(timeout * 1000);
    cc_pool_submit(pool, &s->job);
    cc_task_park(t, send_cancel, s);
    return lua_yield(L, 0);
}

static const luaL_Reg smtp_lib[] = { { "send", l_send }, { NULL, NULL } };

int luaopen_cc_smtp(lua_State *L)
{
    lua_newtable(L);
    luaL_register(L, NULL, smtp_lib);
    return 1;
}
