/* reach.c - see reach.h. */
#include "host/http/reach.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>

#include "host/http/curl.h"
#include "host/http/tunnel.h"
#include "host/sys/clock.h"
#include "host/sys/mem.h"

struct cc_reach {
    struct cc_job job; /* first: work() and on_worked() cast */
    uv_loop_t *loop;
    void (*done)(void *arg, struct cc_sock *s, const struct cc_err *err);
    void *arg;
    bool cancelled;
    /* by libcurl */
    CURL *easy;
    char *url, *ca_file;
    bool tls;
    CURLcode rc;
    char text[CURL_ERROR_SIZE];
    /* by unix path */
    uv_connect_t connect;
    struct cc_sock *sock;
    struct cc_timer *timer;
    bool connecting;
};

static void reach_free(struct cc_reach *r)
{
    cc_timer_stop(r->timer);
    if (r->easy)
        cc_curl.easy_cleanup(r->easy);
    free(r->url);
    free(r->ca_file);
    free(r);
}

static void fail(struct cc_reach *r, int code, const char *text)
{
    struct cc_err err;

    cc_err_set(&err, code, "%s", text);
    r->done(r->arg, NULL, &err);
}

/* ---------------------------------------------------------------- by libcurl */

static int on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    (void)a, (void)b, (void)c, (void)d;
    return cc_call_over(&((struct cc_reach *)arg)->job.call);
}

static void work(struct cc_job *job)
{
    struct cc_reach *r = (struct cc_reach *)job;

    r->rc = cc_curl.easy_perform(r->easy);
}

static int code_of(CURLcode rc)
{
    switch (rc) {
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_ABORTED_BY_CALLBACK:
        return CC_E_TIMEOUT;
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
        return CC_E_INVALID;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
        return CC_E_DENIED;
    default:
        return CC_E_UNAVAILABLE;
    }
}

/* libcurl's connection, taken from it: a copy of the descriptor outlives its handle. */
static int take_plain(struct cc_reach *r)
{
    curl_socket_t fd = CURL_SOCKET_BAD;

    if (cc_curl.easy_getinfo(r->easy, CURLINFO_ACTIVESOCKET, &fd) != CURLE_OK || fd == CURL_SOCKET_BAD)
        return UV_ENOTCONN;
    fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    return fd < 0 ? uv_translate_sys_error(errno) : fd;
}

static struct cc_sock *take(struct cc_reach *r, int *rc)
{
    struct cc_sock *s = cc_sock_new(r->loop, r->tls, NULL);

    if (r->tls) {
        *rc = cc_tunnel_start(r->loop, r->easy);
        r->easy = NULL;
        if (*rc >= 0)
            *rc = uv_pipe_open(&s->pipe, *rc);
    } else {
        *rc = take_plain(r);
        if (*rc >= 0)
            *rc = uv_tcp_open(&s->tcp, *rc);
        if (*rc >= 0)
            uv_tcp_nodelay(&s->tcp, 1);
    }
    if (*rc >= 0)
        return s;
    cc_sock_close(s);
    return NULL;
}

static void on_worked(struct cc_job *job)
{
    struct cc_reach *r = (struct cc_reach *)job;
    struct cc_sock *s;
    struct cc_err err;
    int rc = 0;

    if (r->cancelled) {
        reach_free(r);
        return;
    }
    cc_job_unbegun(job, &rc, &err);
    if (rc != 0) {
        r->done(r->arg, NULL, &err);
    } else if (r->rc != CURLE_OK) {
        fail(r, code_of(r->rc), r->text[0] ? r->text : cc_curl.easy_strerror(r->rc));
    } else if (!(s = take(r, &rc))) {
        fail(r, CC_E_IO, uv_strerror(rc));
    } else {
        r->done(r->arg, s, NULL);
    }
    reach_free(r);
}

static void set_up(struct cc_reach *r, long ms)
{
    cc_curl.easy_setopt(r->easy, CURLOPT_URL, r->url);
    cc_curl.easy_setopt(r->easy, CURLOPT_CONNECT_ONLY, 1L);
    cc_curl.easy_setopt(r->easy, CURLOPT_HTTPPROXYTUNNEL, 1L); /* where the environment names a proxy */
    cc_curl_plain(r->easy);
    cc_curl.easy_setopt(r->easy, CURLOPT_ERRORBUFFER, r->text);
    cc_curl.easy_setopt(r->easy, CURLOPT_TIMEOUT_MS, ms);
    cc_curl.easy_setopt(r->easy, CURLOPT_CONNECTTIMEOUT_MS, ms);
    cc_curl.easy_setopt(r->easy, CURLOPT_NOPROGRESS, 0L);
    cc_curl.easy_setopt(r->easy, CURLOPT_XFERINFOFUNCTION, on_progress);
    cc_curl.easy_setopt(r->easy, CURLOPT_XFERINFODATA, r);
    if (r->ca_file)
        cc_curl.easy_setopt(r->easy, CURLOPT_CAINFO, r->ca_file);
}

static int reach_url(struct cc_reach *r, struct cc_pool *pool, const struct cc_reach_opts *o, struct cc_err *err)
{
    if (cc_curl_load(err) < 0)
        return CC_E_UNSUPPORTED;
    r->easy = cc_curl.easy_init();
    if (!r->easy)
        return cc_err_set(err, CC_E_INTERNAL, "libcurl gave no handle");
    r->tls = strncasecmp(o->url, "https:", 6) == 0;
    r->url = cc_xstrdup(o->url);
    r->ca_file = o->ca_file ? cc_xstrdup(o->ca_file) : NULL;
    set_up(r, (long)o->timeout_ms);
    r->job.work = work;
    r->job.done = on_worked;
    r->job.call.deadline_ms = cc_mono_ms() + o->timeout_ms;
    r->rc = CURLE_ABORTED_BY_CALLBACK;
    cc_pool_submit(pool, &r->job);
    return 0;
}

/* ---------------------------------------------------------------- by unix path */

/* uv keeps the connect request until its callback: then the struct may go. */
static void leave(struct cc_reach *r)
{
    cc_timer_stop(r->timer);
    r->timer = NULL;
    r->cancelled = true;
    cc_sock_close(r->sock);
    r->sock = NULL;
}

static void on_connect(uv_connect_t *req, int status)
{
    struct cc_reach *r = req->data;
    struct cc_sock *s = r->sock;

    if (!r->cancelled && status < 0) {
        leave(r);
        fail(r, CC_E_UNAVAILABLE, uv_strerror(status));
    } else if (!r->cancelled) {
        s->handle.data = NULL;
        r->done(r->arg, s, NULL);
    }
    reach_free(r);
}

static void on_connect_time(void *arg)
{
    struct cc_reach *r = arg;

    r->timer = NULL;
    leave(r);
    fail(r, CC_E_TIMEOUT, "no answer in time");
}

static int reach_unix(struct cc_reach *r, const struct cc_reach_opts *o, struct cc_err *err)
{
    if (strlen(o->unix_path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
        return cc_err_set(err, CC_E_INVALID, "the socket's path is too long: %s", o->unix_path);
    r->sock = cc_sock_new(r->loop, true, r);
    r->connect.data = r;
    r->connecting = true;
    r->timer = cc_timer_start(r->loop, o->timeout_ms, on_connect_time, r);
    uv_pipe_connect(&r->connect, &r->sock->pipe, o->unix_path, on_connect);
    return 0;
}

/* ---------------------------------------------------------------- both */

struct cc_reach *cc_reach_start(uv_loop_t *loop, struct cc_pool *pool, const struct cc_reach_opts *o,
                                struct cc_err *err)
{
    struct cc_reach *r = cc_xcalloc(1, sizeof(*r));

    r->loop = loop;
    r->done = o->done;
    r->arg = o->arg;
    if ((o->unix_path ? reach_unix(r, o, err) : reach_url(r, pool, o, err)) == 0)
        return r;
    reach_free(r);
    return NULL;
}

void cc_reach_cancel(struct cc_reach *r)
{
    r->cancelled = true;
    if (r->connecting)
        leave(r);
    else
        cc_pool_cancel(&r->job);
}
