/* rest.c - see rest.h.
 *
 * Each request takes a "line" from the API's list of idle ones: an easy and a
 * multi handle with the connections that they hold.  The multi interface only
 * because curl_multi_poll can watch the call's wake_fd, too.
 */
#include "providers/rest_internal.h"

#include "host/sys/clock.h"
#include "host/sys/mem.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { ANSWER_MOST = 16 * 1024 * 1024, CONNECT_MS = 10000, ALIVE_S = 30 };

/* Of what an answer tells in seconds: more than anybody means, and no product of it overflows. */
#define YEAR (366LL * 86400)
#define TIMES_END (10000 * YEAR)

/* One request under way. */
struct ask {
    struct cc_provider_ctx *x;
    const struct cc_rest_req *q;
    struct cc_rest_res *out;
    struct cc_rest_line *line;
    struct curl_slist *headers;
    char *url, *body;
    char *text;
    size_t n, room;
    uint64_t heard_ms; /* when the last byte came */
    bool too_long, refused;
    char why[CURL_ERROR_SIZE];
};

/* ---------------------------------------------------------------- open and close */

struct cc_rest *cc_rest_open(const struct cc_rest_opts *o, struct cc_err *err)
{
    struct cc_rest *r;

    if (strncmp(o->base, "http://", 7) != 0 && strncmp(o->base, "https://", 8) != 0) {
        cc_err_set(err, CC_E_INVALID, "%.100s is no http or https URL", o->base);
        return NULL;
    }
    if (cc_curl_load(err) != 0)
        return NULL;
    r = cc_xcalloc(1, sizeof(*r));
    r->base = cc_xstrdup(o->base);
    r->unix_path = o->unix_path ? cc_xstrdup(o->unix_path) : NULL;
    r->token = o->token ? cc_xasprintf("Authorization: Bearer %s", o->token) : NULL;
    r->ca = o->ca ? cc_xstrdup(o->ca) : NULL;
    r->cert = o->cert ? cc_xstrdup(o->cert) : NULL;
    r->key = o->key ? cc_xstrdup(o->key) : NULL;
    r->agent = cc_xstrdup(o->agent ? o->agent : "cchost");
    pthread_mutex_init(&r->lock, NULL);
    return r;
}

static void line_free(struct cc_rest_line *l)
{
    cc_curl.easy_cleanup(l->easy);
    cc_curl.multi_cleanup(l->multi);
    free(l);
}

void cc_rest_close(struct cc_rest *r)
{
    struct cc_rest_line *l;

    if (!r)
        return;
    while ((l = r->idle)) {
        r->idle = l->next;
        line_free(l);
    }
    pthread_mutex_destroy(&r->lock);
    free(r->base), free(r->unix_path), free(r->token), free(r->ca), free(r->cert), free(r->key), free(r->agent);
    free(r);
}

static struct cc_rest_line *line_take(struct cc_rest *r)
{
    struct cc_rest_line *l;

    pthread_mutex_lock(&r->lock);
    if ((l = r->idle))
        r->idle = l->next;
    pthread_mutex_unlock(&r->lock);
    if (l)
        return l;
    l = cc_xcalloc(1, sizeof(*l));
    l->easy = cc_curl.easy_init();
    l->multi = cc_curl.multi_init();
    return l;
}

static void line_give(struct cc_rest *r, struct cc_rest_line *l)
{
    cc_curl.easy_reset(l->easy);
    pthread_mutex_lock(&r->lock);
    l->next = r->idle;
    r->idle = l;
    pthread_mutex_unlock(&r->lock);
}

/* ---------------------------------------------------------------- what comes back */

static bool good(struct ask *a)
{
    long status = 0;

    cc_curl.easy_getinfo(a->line->easy, CURLINFO_RESPONSE_CODE, &status);
    return status >= 200 && status < 300;
}

/* The one that was asked for. */
static void keep_header(struct ask *a, const char *p, size_t n)
{
    size_t name = a->q->header ? strlen(a->q->header) : 0;

    if (!name || n <= name || p[name] != ':' || strncasecmp(p, a->q->header, name) != 0)
        return;
    for (p += name + 1, n -= name + 1; n > 0 && *p == ' '; p++, n--) {
    }
    while (n > 0 && (p[n - 1] == '\r' || p[n - 1] == '\n' || p[n - 1] == ' '))
        n--;
    a->out->header = cc_arena_strndup(a->x->arena, p, n);
}

static int64_t seconds(const char *text, int64_t most)
{
    long long v = strtoll(text, NULL, 10);

    return v < most ? v : most;
}

static size_t on_head(char *p, size_t size, size_t n, void *arg)
{
    struct ask *a = arg;
    char name[32], value[64];

    n *= size;
    a->heard_ms = cc_mono_ms();
    if (n >= 5 && memcmp(p, "HTTP/", 5) == 0) { /* an earlier 1xx, or the real one */
        a->out->retry_after_ms = a->out->rate_reset = 0;
        a->out->rate_limit = a->out->rate_left = -1;
    }
    keep_header(a, p, n);
    if (n == 2 && a->q->begun && good(a))
        a->q->begun(a->q->arg);
    if (n >= sizeof(name) + sizeof(value) || sscanf(p, "%31[^:]: %63[0-9]", name, value) != 2)
        return n;
    if (strcasecmp(name, "Retry-After") == 0)
        a->out->retry_after_ms = seconds(value, YEAR) * 1000;
    else if (strcasecmp(name, "RateLimit-Limit") == 0)
        a->out->rate_limit = strtol(value, NULL, 10);
    else if (strcasecmp(name, "RateLimit-Remaining") == 0)
        a->out->rate_left = strtol(value, NULL, 10);
    else if (strcasecmp(name, "RateLimit-Reset") == 0)
        a->out->rate_reset = seconds(value, TIMES_END);
    return n;
}

static size_t on_data(char *p, size_t size, size_t n, void *arg)
{
    struct ask *a = arg;
    size_t most = a->q->most ? a->q->most : ANSWER_MOST;

    n *= size;
    a->heard_ms = cc_mono_ms();
    if (a->q->take && good(a)) {
        a->refused = !a->q->take(a->q->arg, p, n);
        return a->refused ? 0 : n;
    }
    if (n > most - a->n) {
        a->too_long = true;
        return 0;
    }
    if (a->room - a->n <= n)
        a->text = cc_xrealloc(a->text, a->room = (a->n + n + 1) * 2);
    memcpy(a->text + a->n, p, n);
    a->n += n;
    return n;
}

/* ---------------------------------------------------------------- what is sent */

static void add(struct ask *a, const char *line) { a->headers = cc_curl.slist_append(a->headers, line); }

static void set_body(struct ask *a)
{
    const struct cc_rest_req *q = a->q;
    CURL *e = a->line->easy;
    char type[128];

    if (q->json) {
        a->body = json_dumps(q->json, JSON_COMPACT | JSON_ENCODE_ANY);
        add(a, "Content-Type: application/json");
    } else if (q->raw) {
        snprintf(type, sizeof(type), "Content-Type: %s", q->type ? q->type : "application/octet-stream");
        add(a, type);
    } else {
        add(a, "Content-Type:");
    }
    if (q->json || q->raw) {
        const char *body = q->json ? a->body : q->raw;

        cc_curl.easy_setopt(e, CURLOPT_POST, 1L);
        cc_curl.easy_setopt(e, CURLOPT_POSTFIELDS, body);
        cc_curl.easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)(q->json ? strlen(a->body) : q->raw_len));
    } else if (strcmp(q->method, "POST") == 0 || strcmp(q->method, "PUT") == 0) {
        cc_curl.easy_setopt(e, CURLOPT_POST, 1L);
        cc_curl.easy_setopt(e, CURLOPT_POSTFIELDS, "");
        cc_curl.easy_setopt(e, CURLOPT_POSTFIELDSIZE, 0L);
    }
    cc_curl.easy_setopt(e, CURLOPT_CUSTOMREQUEST, q->method);
}

void cc_rest_peer(const struct cc_rest *r, CURL *e)
{
    cc_curl.easy_setopt(e, CURLOPT_PROXY, "");
    cc_curl.easy_setopt(e, CURLOPT_USERAGENT, r->agent);
    cc_curl_plain(e);
    cc_curl.easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L); /* an answer may be silent for hours, and its peer gone */
    cc_curl.easy_setopt(e, CURLOPT_TCP_KEEPIDLE, (long)ALIVE_S);
    cc_curl.easy_setopt(e, CURLOPT_TCP_KEEPINTVL, (long)ALIVE_S);
    if (r->unix_path)
        cc_curl.easy_setopt(e, CURLOPT_UNIX_SOCKET_PATH, r->unix_path);
    if (r->ca)
        cc_curl.easy_setopt(e, CURLOPT_CAINFO, r->ca);
    if (r->cert)
        cc_curl.easy_setopt(e, CURLOPT_SSLCERT, r->cert);
    if (r->key)
        cc_curl.easy_setopt(e, CURLOPT_SSLKEY, r->key);
}

static void set_peer(const struct cc_rest *r, struct ask *a)
{
    CURL *e = a->line->easy;

    a->url = cc_xasprintf("%s%s", r->base, a->q->path);
    cc_curl.easy_setopt(e, CURLOPT_URL, a->url);
    cc_rest_peer(r, e);
    if (r->token)
        add(a, r->token);
    add(a, "Expect:");
    cc_curl.easy_setopt(e, CURLOPT_HTTPHEADER, a->headers);
}

static void set_rest(struct ask *a)
{
    CURL *e = a->line->easy;

    cc_curl.easy_setopt(e, CURLOPT_HEADERFUNCTION, on_head);
    cc_curl.easy_setopt(e, CURLOPT_HEADERDATA, a);
    cc_curl.easy_setopt(e, CURLOPT_WRITEFUNCTION, on_data);
    cc_curl.easy_setopt(e, CURLOPT_WRITEDATA, a);
    cc_curl.easy_setopt(e, CURLOPT_ERRORBUFFER, a->why);
    cc_curl.easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
}

/* ---------------------------------------------------------------- the request */

/* Why no more is waited for; 0: go on. */
static int over(struct ask *a)
{
    uint64_t quiet = a->q->quiet_ms;
    int rc = cc_call_check(a->x->call, a->x->err);

    if (rc != 0)
        return rc;
    if (quiet && cc_mono_ms() - a->heard_ms >= quiet)
        return cc_err_set(a->x->err, CC_E_TIMEOUT, "nothing heard for %llu ms", (unsigned long long)quiet);
    return 0;
}

static int wait_ms(const struct ask *a)
{
    int left = cc_call_left_ms(a->x->call);
    uint64_t quiet = a->q->quiet_ms, passed = cc_mono_ms() - a->heard_ms;

    if (left < 0 || left > 60000)
        left = 60000;
    if (quiet && (passed >= quiet || quiet - passed < (uint64_t)left))
        left = passed >= quiet ? 0 : (int)(quiet - passed);
    return left;
}

int cc_rest_failure(CURLcode rc, const char *text, struct cc_err *err)
{
    const char *why = *text ? text : cc_curl.easy_strerror(rc);

    switch (cc_curl_code(rc)) {
    case CC_E_UNAVAILABLE:
        return cc_err_set(err, CC_E_UNAVAILABLE, "nobody answers: %s", why);
    case CC_E_TIMEOUT: /* of connecting: nothing else is timed by libcurl */
        return cc_err_set(err, CC_E_UNAVAILABLE, "cannot connect: %s", why);
    case CC_E_DENIED:
        return cc_err_set(err, CC_E_DENIED, "TLS: %s", why);
    default:
        return cc_err_set(err, CC_E_IO, "%s", why);
    }
}

static int failure(struct ask *a, CURLcode rc)
{
    struct cc_err *err = a->x->err;

    if (a->too_long)
        return cc_err_set(err, CC_E_LIMIT, "the answer is too long");
    if (a->refused)
        return err->code ? err->code : cc_err_set(err, CC_E_CANCELLED, "the answer was not wanted any more");
    return cc_rest_failure(rc, a->why, err);
}

/* 0 when the answer is whole. */
static int transfer(struct ask *a)
{
    struct curl_waitfd wake = { .fd = a->x->call->wake_fd, .events = CURL_WAIT_POLLIN };
    CURLM *m = a->line->multi;
    int running = 1, left, rc;
    CURLMsg *msg;

    while (running) {
        if (cc_curl.multi_perform(m, &running) != CURLM_OK)
            return cc_err_set(a->x->err, CC_E_INTERNAL, "libcurl cannot go on");
        if (!running)
            break;
        if ((rc = over(a)) != 0)
            return rc;
        cc_curl.multi_poll(m, &wake, wake.fd >= 0 ? 1 : 0, wait_ms(a), NULL);
    }
    while ((msg = cc_curl.multi_info_read(m, &left)))
        if (msg->msg == CURLMSG_DONE)
            return msg->data.result == CURLE_OK ? 0 : failure(a, msg->data.result);
    return cc_err_set(a->x->err, CC_E_INTERNAL, "libcurl ended without a word");
}

static void collect(struct ask *a)
{
    struct cc_rest_res *out = a->out;

    cc_curl.easy_getinfo(a->line->easy, CURLINFO_RESPONSE_CODE, &out->status);
    out->text = cc_arena_strndup(a->x->arena, a->text ? a->text : "", a->n);
    out->n = a->n;
    out->json = a->n ? json_loadb(a->text, a->n, JSON_DECODE_ANY, NULL) : NULL;
}

int cc_rest_do(struct cc_rest *r, struct cc_provider_ctx *x, const struct cc_rest_req *q, struct cc_rest_res *out)
{
    struct ask a = { .x = x, .q = q, .out = out, .heard_ms = cc_mono_ms() };
    int rc;

    x->err->code = 0;
    *out = (struct cc_rest_res){ .rate_limit = -1, .rate_left = -1, .text = "" };
    if ((rc = over(&a)) != 0)
        return rc;
    a.line = line_take(r);
    set_body(&a);
    set_peer(r, &a);
    set_rest(&a);
    cc_curl.multi_add_handle(a.line->multi, a.line->easy);
    rc = transfer(&a);
    cc_curl.multi_remove_handle(a.line->multi, a.line->easy);
    if (rc == 0)
        collect(&a);
    if (rc == 0)
        line_give(r, a.line);
    else
        line_free(a.line); /* with its connection, whose answer may still come */
    cc_curl.slist_free_all(a.headers);
    free(a.url), free(a.body), free(a.text);
    return rc;
}

void cc_rest_res_free(struct cc_rest_res *res)
{
    json_decref(res->json);
    res->json = NULL;
}

const char *cc_rest_escape(struct cc_arena *a, const char *s)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~";
    char *out = cc_arena_alloc(a, strlen(s) * 3 + 1), *to = out;

    for (; *s; s++)
        if (strchr(plain, *s))
            *to++ = *s;
        else
            to += sprintf(to, "%%%02X", (unsigned char)*s);
    return out;
}

int cc_rest_pause(struct cc_provider_ctx *x, uint64_t ms)
{
    struct pollfd wake = { .fd = x->call->wake_fd, .events = POLLIN };
    uint64_t until = cc_mono_ms() + ms, now;

    while ((now = cc_mono_ms()) < until && !cc_call_over(x->call)) {
        int left = cc_call_left_ms(x->call);
        uint64_t most = until - now;

        poll(&wake, 1, left >= 0 && (uint64_t)left < most ? left : (int)(most < 60000 ? most : 60000));
    }
    return cc_call_check(x->call, x->err);
}
