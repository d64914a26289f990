/* bind_http_access.c - module "http": what is told of a request once it is over.
 *
 *   n = http.route(method, pattern)        a number for a route; the same one each time
 *   req:of(n [, user [, machine [, plan]]])    which (n nil: as said before) route a request is of, and whose; its task carries that from here on
 *
 * It is counted, by method, route pattern and class of status. And it is one line, module "access", at level info: method,
 * route pattern (never the path, which may hold a secret), status, bytes sent, milliseconds from its head to the end of its
 * reply, user. A client that left before anything was said is status 499.
 */
#include "host/script/http.h"

#include "host/http/server.h"
#include "host/observe/log.h"
#include "host/observe/metrics.h"
#include "host/observe/span.h"
#include "host/sys/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUTES_MAX = 1024 }; /* those of policies come and go by other names as long as the process lives */

enum { CLASSES = 5 }; /* 1xx to 5xx */

struct route {
    char *method, *pattern;
    struct cc_series *seconds, *classes[CLASSES]; /* NULL until its first request */
};

static struct route routes[ROUTES_MAX] = {
    { "any", "(none)", NULL, { NULL } }
}; /* 0: no route, and what is beyond the bound */
static unsigned n_routes = 1;

static void put_text(struct cc_log_field *f, unsigned *n, const char *key, const char *text, bool bare)
{
    f[(*n)++] = (struct cc_log_field){ key, text, strlen(text), bare };
}

static void write_line(struct cc_req *r, const struct cc_req_end *end)
{
    const struct cc_context *before;
    struct cc_log_field f[6];
    char status[12], bytes[24], ms[32];
    unsigned n = 0;

    snprintf(status, sizeof(status), "%d", end->status);
    snprintf(bytes, sizeof(bytes), "%llu", (unsigned long long)end->bytes);
    snprintf(ms, sizeof(ms), "%.3f", (double)end->ns / 1e6);
    put_text(f, &n, "method", cc_req_method(r), false);
    put_text(f, &n, "route", routes[end->mark].pattern, false);
    put_text(f, &n, "status", status, true);
    put_text(f, &n, "bytes", bytes, true);
    put_text(f, &n, "ms", ms, true);
    put_text(f, &n, "remote", cc_req_remote(r), false);
    before = cc_context_enter(cc_req_context(r));
    cc_log_fields(CC_LOG_INFO, "access", "request", f, n);
    cc_context_enter(before);
}

/* All of a route's series begin with its first request, so that none is added by the first failure. */
static void begin_figures(struct route *route)
{
    static const struct cc_metric_def count = { .kind = CC_COUNTER,
                                                .name = "cchost_http_requests",
                                                .help = "Requests that are over, by route and class of status.",
                                                .labels = { "method", "route", "status" },
                                                .most = CLASSES * ROUTES_MAX };
    static const struct cc_metric_def seconds = { .kind = CC_HISTOGRAM,
                                                  .name = "cchost_http_request_duration_seconds",
                                                  .unit = "seconds",
                                                  .help = "From a request's head to the end of its reply.",
                                                  .labels = { "method", "route" },
                                                  .most = ROUTES_MAX };
    static const char *const classes[CLASSES] = { "1xx", "2xx", "3xx", "4xx", "5xx" };
    const char *values[] = { route->method, route->pattern, NULL };
    int i;

    route->seconds = cc_metric_series(cc_metric_family(&seconds), values);
    for (i = 0; i < CLASSES; i++) {
        values[2] = classes[i];
        route->classes[i] = cc_metric_series(cc_metric_family(&count), values);
    }
}

static void count(struct route *route, const struct cc_req_end *end)
{
    static const struct cc_metric_def def = { .kind = CC_COUNTER,
                                              .name = "cchost_http_sent_bytes",
                                              .unit = "bytes",
                                              .help = "Bytes of replies, heads and bodies." };
    static struct cc_series *sent;

    if (!sent)
        sent = cc_metric_series(cc_metric_family(&def), NULL);
    if (!route->seconds)
        begin_figures(route);
    cc_metric_add(sent, (double)end->bytes);
    cc_metric_add(route->classes[end->status / 100 - 1], 1);
    cc_metric_observe(route->seconds, (double)end->ns / 1e9);
}

/* By OpenTelemetry's conventions for servers: what the client did wrong is no fault of the span's. */
static void end_span(struct cc_req *r, const struct cc_req_end *end)
{
    struct cc_span *s = *cc_req_span(r);
    const struct route *route = &routes[end->mark];
    const char *method = cc_req_method(r), *peer = cc_req_remote(r);
    char status[12];

    if (!s)
        return;
    cc_span_name(s, method, end->mark ? route->pattern : NULL);
    cc_span_text(s, "http.request.method", method, strlen(method));
    if (end->mark)
        cc_span_text(s, "http.route", route->pattern, strlen(route->pattern));
    cc_span_number(s, "http.response.status_code", end->status);
    cc_span_text(s, "client.address", peer, strlen(peer));
    cc_span_text(s, "request_id", cc_req_id(r), strlen(cc_req_id(r)));
    cc_span_whose(s, cc_req_context(r));
    if (end->status >= 500) {
        snprintf(status, sizeof(status), "%d", end->status);
        cc_span_text(s, "error.type", status, strlen(status));
        cc_span_fail(s, status);
    }
    cc_span_end(s);
    *cc_req_span(r) = NULL;
}

void cc_lua_access_told(bool log, struct cc_req *r, const struct cc_req_end *end)
{
    end_span(r, end);
    count(&routes[end->mark], end);
    if (log && cc_log_on(CC_LOG_INFO, "access"))
        write_line(r, end);
}

int cc_lua_http_route(lua_State *L)
{
    const char *method = luaL_checkstring(L, 1), *pattern = luaL_checkstring(L, 2);
    unsigned i;

    for (i = 1; i < n_routes; i++)
        if (strcmp(routes[i].pattern, pattern) == 0 && strcmp(routes[i].method, method) == 0)
            break;
    if (i == n_routes && i < ROUTES_MAX) {
        routes[i] = (struct route){ .method = cc_xstrdup(method), .pattern = cc_xstrdup(pattern) };
        n_routes++;
    }
    lua_pushinteger(L, i < ROUTES_MAX ? i : 0);
    return 1;
}

/* What is too long for an id of ours is none. */
static void carry(lua_State *L, int arg, char at[CC_CARRIED_MAX + 1], char also[CC_CARRIED_MAX + 1])
{
    size_t n = 0;
    const char *text = luaL_optlstring(L, arg, NULL, &n);

    if (!text || n > CC_CARRIED_MAX)
        return;
    memcpy(at, text, n + 1);
    memcpy(also, text, n + 1);
}

int cc_lua_req_of(lua_State *L)
{
    struct cc_lua_req *q = cc_lua_req_at(L);
    lua_Integer route = luaL_optinteger(L, 2, -1);
    struct cc_context *its, *task;

    luaL_argcheck(L, route >= -1 && route < (lua_Integer)n_routes, 2, "a route's number expected");
    task = cc_task_context(cc_task_need(L, "req:of"));
    if (!q)
        return 0;
    its = cc_req_context(q->r);
    if (route >= 0)
        cc_req_mark(q->r, (unsigned)route);
    carry(L, 3, its->user, task->user);
    carry(L, 4, its->machine, task->machine);
    carry(L, 5, its->plan, task->plan);
    return 0;
}

/* For who looks for leaks: the names are the process's. */
void cc_lua_access_close(void)
{
    while (n_routes > 1) {
        struct route *r = &routes[--n_routes];

        free(r->method);
        free(r->pattern);
    }
}
