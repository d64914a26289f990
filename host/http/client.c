/* client.c - see client.h.
 *
 * libcurl calls on_socket and on_timer whenever it likes, also from inside our
 * calls into it; they only touch uv.  Nothing of ours calls libcurl from
 * inside its callbacks: a body that grows too long ends its transfer by a
 * short count.  Transfers end in collect(), after socket_action has returned.
 */
#define CURL_DISABLE_TYPECHECK
#include "host/http/client.h"

#include <assert.h>
#include <curl/curl.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "host/http/text.h"
#include "host/sys/mem.h"

enum { START_MAX = 20, HEAD_MAX = 65536, TAKE_MAX = 1 << 20 };
#define OLD_PROTOCOLS ((CURLoption)181)     /* CURLOPT_PROTOCOLS, for a libcurl before 7.85 */

#undef curl_easy_setopt
#undef curl_easy_getinfo
#undef curl_multi_setopt
#define FUNCTIONS(X) \
    X(global_init) X(easy_init) X(easy_cleanup) X(easy_setopt) X(easy_getinfo) X(easy_strerror) X(easy_pause) \
    X(multi_init) X(multi_cleanup) X(multi_setopt) X(multi_add_handle) X(multi_remove_handle) \
    X(multi_socket_action) X(multi_info_read) X(multi_assign) X(slist_append) X(slist_free_all)

static struct {
#define X(name) __typeof__(curl_##name) *name;
    FUNCTIONS(X)
#undef X
} curl;

struct cc_fetch {
    struct cc_fetch *prev, *next;       /* waiting or running */
    bool running, paused;
    struct client *client;
    CURL *easy;
    struct curl_slist *headers;
    char *body, *url;
    char *head, *data;
    size_t head_len, data_len, data_cap, max;
    bool too_long;
    char text[CURL_ERROR_SIZE];
    void (*done)(void *arg, const struct cc_fetch_answer *answer, const struct cc_err *err);
    void *arg;
};

struct list { struct cc_fetch *first, *last; };

struct client {
    uv_loop_t *loop;
    CURLM *multi;
    uv_timer_t timer;                   /* libcurl reads the real clock, so its timer is a real one */
    uv_idle_t idle;                     /* while fetches wait to be started, or to be let go on */
    size_t taken;                       /* bytes in this turn: libcurl would read on as long as any come */
    struct list waiting, running;
    unsigned closing;                   /* handles of ours still open */
};

struct poll {
    uv_poll_t poll;
    struct client *client;
    curl_socket_t fd;
};

static struct client *the_client;

/* ---------------------------------------------------------------- lists */

static void list_add(struct list *l, struct cc_fetch *f)
{
    f->next = NULL;
    f->prev = l->last;
    if (l->last)
        l->last->next = f;
    else
        l->first = f;
    l->last = f;
}

static void list_remove(struct list *l, struct cc_fetch *f)
{
    if (f->prev)
        f->prev->next = f->next;
    else
        l->first = f->next;
    if (f->next)
        f->next->prev = f->prev;
    else
        l->last = f->prev;
}

/* ---------------------------------------------------------------- loading */

static int load(struct cc_err *err)
{
    static bool loaded;
    void *lib;

    if (loaded)
        return 0;
    lib = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);
    if (!lib)
        return cc_err_set(err, CC_E_UNSUPPORTED, "libcurl cannot be loaded: %s", dlerror());
#define X(name)                                                                                   \
    *(void **)&curl.name = dlsym(lib, "curl_" #name);                                             \
    if (!curl.name)                                                                               \
        return cc_err_set(err, CC_E_UNSUPPORTED, "this libcurl has no curl_%s", #name);
    FUNCTIONS(X)
#undef X
    if (curl.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return cc_err_set(err, CC_E_UNSUPPORTED, "libcurl cannot be initialized");
    loaded = true;
    return 0;
}

/* ---------------------------------------------------------------- the end of one fetch */

static void fetch_free(struct cc_fetch *f)
{
    if (f->easy)
        curl.easy_cleanup(f->easy);
    curl.slist_free_all(f->headers);
    free(f->body);
    free(f->url);
    free(f->head);
    free(f->data);
    free(f);
}

static void detach(struct client *c, struct cc_fetch *f)
{
    list_remove(f->running ? &c->running : &c->waiting, f);
    if (f->running)
        curl.multi_remove_handle(c->multi, f->easy);
    if (!c->running.first)
        uv_unref((uv_handle_t *)&c->timer); /* connections kept for reuse keep no loop alive */
}

static int code_of(struct cc_fetch *f, CURLcode rc)
{
    long sent = 0;

    curl.easy_getinfo(f->easy, CURLINFO_REQUEST_SIZE, &sent);
    if (rc == CURLE_UNSUPPORTED_PROTOCOL && sent > 0)
        return CC_E_IO;                 /* what came back is no HTTP/1 */
    switch (rc) {
    case CURLE_OPERATION_TIMEDOUT: return CC_E_TIMEOUT;
    case CURLE_COULDNT_CONNECT:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_GOT_NOTHING: return CC_E_UNAVAILABLE;
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL: return CC_E_INVALID;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE: return CC_E_DENIED;
    default: return CC_E_IO;
    }
}

static void fail(struct cc_fetch *f, int code, const char *text)
{
    struct cc_err err;

    cc_err_set(&err, code, "%s", text);
    f->done(f->arg, NULL, &err);
    fetch_free(f);
}

static void succeed(struct cc_fetch *f)
{
    struct cc_fetch_answer a = { .head = f->head ? f->head : "", .head_len = f->head_len,
                                 .body = f->data ? f->data : "", .body_len = f->data_len };
    long status = 0;

    curl.easy_getinfo(f->easy, CURLINFO_RESPONSE_CODE, &status);
    a.status = (int)status;
    f->done(f->arg, &a, NULL);
    fetch_free(f);
}

static void finish(struct client *c, struct cc_fetch *f, CURLcode rc)
{
    detach(c, f);
    if (rc == CURLE_OK)
        succeed(f);
    else if (f->too_long)
        fail(f, CC_E_LIMIT, "the answer is too long");
    else
        fail(f, code_of(f, rc), f->text[0] ? f->text : curl.easy_strerror(rc));
}

static void collect(struct client *c)
{
    CURLMsg *msg;
    int left;

    while (c->multi && (msg = curl.multi_info_read(c->multi, &left))) {
        CURL *easy = msg->easy_handle;
        CURLcode rc = msg->data.result;
        struct cc_fetch *f = NULL;

        if (msg->msg != CURLMSG_DONE)
            continue;
        curl.easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&f);
        finish(c, f, rc);
    }
}

/* ---------------------------------------------------------------- libcurl on the loop */

static void multi_open(struct client *c);

/* After an error of the multi itself nothing about its transfers is known. */
static void rebuild(struct client *c)
{
    struct cc_fetch *f;
    struct list failed = c->running;
    CURLM *old = c->multi;

    c->running = (struct list){ NULL, NULL };
    for (f = failed.first; f; f = f->next)
        curl.multi_remove_handle(old, f->easy);
    curl.multi_cleanup(old);
    multi_open(c);
    while ((f = failed.first)) {
        failed.first = f->next;
        fail(f, CC_E_IO, "the HTTP client had to start anew");
    }
}

static void act(struct client *c, curl_socket_t fd, int events)
{
    int running;

    if (!c->multi)
        return;
    c->taken = 0;
    if (curl.multi_socket_action(c->multi, fd, events, &running) != CURLM_OK)
        rebuild(c);
    else
        collect(c);
}

static void on_poll(uv_poll_t *h, int status, int events)
{
    struct poll *p = h->data;
    int flags = status < 0 ? CURL_CSELECT_ERR : 0;

    if (events & UV_READABLE)
        flags |= CURL_CSELECT_IN;
    if (events & UV_WRITABLE)
        flags |= CURL_CSELECT_OUT;
    act(p->client, p->fd, flags);
}

static void on_handle_closed(struct client *c)
{
    if (--c->closing == 0)
        free(c);
}

static void on_poll_closed(uv_handle_t *h)
{
    struct poll *p = h->data;
    struct client *c = p->client;

    free(p);
    on_handle_closed(c);
}

static void poll_end(struct poll *p)
{
    uv_poll_stop(&p->poll);
    uv_close((uv_handle_t *)&p->poll, on_poll_closed);
}

static struct poll *poll_new(struct client *c, curl_socket_t fd)
{
    struct poll *p = cc_xcalloc(1, sizeof(*p));

    p->client = c;
    p->fd = fd;
    p->poll.data = p;
    if (uv_poll_init_socket(c->loop, &p->poll, fd) != 0) {
        free(p);
        return NULL;
    }
    c->closing++;
    curl.multi_assign(c->multi, fd, p);
    return p;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    struct client *c = arg;
    struct poll *p = socket_arg;
    int events = 0;

    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (p) {
            poll_end(p);
            curl.multi_assign(c->multi, fd, NULL);
        }
        return 0;
    }
    if (!p && !(p = poll_new(c, fd)))
        return -1;
    if (what & CURL_POLL_IN)
        events |= UV_READABLE;
    if (what & CURL_POLL_OUT)
        events |= UV_WRITABLE;
    uv_poll_start(&p->poll, events, on_poll);
    return 0;
}

static void on_time(uv_timer_t *t) { act(t->data, CURL_SOCKET_TIMEOUT, 0); }

static int on_timer(CURLM *multi, long ms, void *arg)
{
    struct client *c = arg;

    (void)multi;
    if (ms < 0)
        uv_timer_stop(&c->timer);
    else
        uv_timer_start(&c->timer, on_time, (uint64_t)ms, 0);
    return 0;
}

static void multi_open(struct client *c)
{
    c->multi = curl.multi_init();
    assert(c->multi);
    curl.multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl.multi_setopt(c->multi, CURLMOPT_SOCKETDATA, c);
    curl.multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl.multi_setopt(c->multi, CURLMOPT_TIMERDATA, c);
    curl.multi_setopt(c->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, 512L);
    curl.multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, 32L);
}

static struct client *client_of(uv_loop_t *loop)
{
    struct client *c = the_client;

    if (c)
        return c;
    c = the_client = cc_xcalloc(1, sizeof(*c));
    c->loop = loop;
    c->timer.data = c->idle.data = c;
    uv_timer_init(loop, &c->timer);
    uv_idle_init(loop, &c->idle);
    uv_unref((uv_handle_t *)&c->timer);
    c->closing = 2;
    multi_open(c);
    return c;
}

static void on_own_closed(uv_handle_t *h) { on_handle_closed(h->data); }

void cc_client_close(void)
{
    struct client *c = the_client;
    struct cc_fetch *f;
    CURLM *multi;

    if (!c)
        return;
    the_client = NULL;
    while ((f = c->running.first) || (f = c->waiting.first)) {
        detach(c, f);
        fail(f, CC_E_CANCELLED, "the program ends");
    }
    multi = c->multi;
    curl.multi_cleanup(multi);          /* still calls on_socket for connections kept */
    c->multi = NULL;
    uv_close((uv_handle_t *)&c->timer, on_own_closed);
    uv_close((uv_handle_t *)&c->idle, on_own_closed);
}

/* ---------------------------------------------------------------- one fetch */

static void on_idle(uv_idle_t *h);

static size_t on_head(char *p, size_t size, size_t n, void *arg)
{
    struct cc_fetch *f = arg;

    n *= size;
    if (n >= 5 && memcmp(p, "HTTP/", 5) == 0) {     /* an earlier 1xx, or the real one */
        f->head_len = 0;
        return n;
    }
    if (n <= 2)
        return n;
    if (f->head_len + n > HEAD_MAX) {
        f->too_long = true;
        return 0;
    }
    f->head = cc_xrealloc(f->head, f->head_len + n);
    memcpy(f->head + f->head_len, p, n);
    f->head_len += n;
    return n;
}

static size_t on_data(char *p, size_t size, size_t n, void *arg)
{
    struct cc_fetch *f = arg;

    n *= size;
    if (f->client->taken > TAKE_MAX) {
        f->paused = true;
        uv_idle_start(&f->client->idle, on_idle);
        return CURL_WRITEFUNC_PAUSE;
    }
    f->client->taken += n;
    if (f->data_len + n > f->max) {
        f->too_long = true;
        return 0;
    }
    if (f->data_cap - f->data_len < n) {
        size_t cap = f->data_cap ? f->data_cap * 2 : 16384;

        while (cap < f->data_len + n)
            cap *= 2;
        f->data = cc_xrealloc(f->data, cap);
        f->data_cap = cap;
    }
    memcpy(f->data + f->data_len, p, n);
    f->data_len += n;
    return n;
}

static int add_line(struct cc_fetch *f, const char *line)
{
    struct curl_slist *more = curl.slist_append(f->headers, line);

    if (more)
        f->headers = more;
    return more ? 0 : -1;
}

/* "Name;" is how libcurl is told to send an empty header, "Name:" not to send one of its own. */
static int set_headers(struct cc_fetch *f, const struct cc_fetch_opts *o, struct cc_err *err)
{
    bool type = false;
    unsigned i;

    for (i = 0; i < o->n_headers; i++) {
        const struct cc_hdr *h = &o->headers[i];
        char *line;

        if (!cc_is_token(h->name.p, h->name.n) || !cc_is_field_value(h->value.p, h->value.n))
            return cc_err_set(err, CC_E_INVALID, "a header's name or value cannot be sent");
        type = type || (h->name.n == 12 && strncasecmp(h->name.p, "content-type", 12) == 0);
        line = cc_xasprintf("%.*s%s%.*s", (int)h->name.n, h->name.p, h->value.n ? ": " : ";",
                            (int)h->value.n, h->value.p);
        add_line(f, line);
        free(line);
    }
    if (!type)
        add_line(f, "Content-Type:");
    add_line(f, "Expect:");
    curl.easy_setopt(f->easy, CURLOPT_HTTPHEADER, f->headers);
    return 0;
}

static void set_method(struct cc_fetch *f, const struct cc_fetch_opts *o)
{
    const char *method = o->method ? o->method : o->body ? "POST" : "GET";
    bool sends = o->body || strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0 || strcmp(method, "PATCH") == 0;

    if (sends) {
        f->body = cc_xmalloc(o->body_len + 1);
        if (o->body_len)
            memcpy(f->body, o->body, o->body_len);
        curl.easy_setopt(f->easy, CURLOPT_POST, 1L);
        curl.easy_setopt(f->easy, CURLOPT_POSTFIELDS, f->body);
        curl.easy_setopt(f->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)o->body_len);
    } else if (strcmp(method, "HEAD") == 0) {
        curl.easy_setopt(f->easy, CURLOPT_NOBODY, 1L);
    }
    curl.easy_setopt(f->easy, CURLOPT_CUSTOMREQUEST, method);
}

static void set_bounds(struct cc_fetch *f, const struct cc_fetch_opts *o)
{
    long total = o->timeout_ms ? (long)o->timeout_ms : 30000;

    curl.easy_setopt(f->easy, CURLOPT_TIMEOUT_MS, total);
    curl.easy_setopt(f->easy, CURLOPT_CONNECTTIMEOUT_MS, o->connect_ms ? (long)o->connect_ms : 10000L);
    curl.easy_setopt(f->easy, CURLOPT_LOW_SPEED_LIMIT, 64L);
    curl.easy_setopt(f->easy, CURLOPT_LOW_SPEED_TIME, 60L);
    curl.easy_setopt(f->easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl.easy_setopt(f->easy, CURLOPT_NOSIGNAL, 1L);
    curl.easy_setopt(f->easy, CURLOPT_QUICK_EXIT, 1L);      /* a resolver thread is not waited for */
    curl.easy_setopt(f->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    if (curl.easy_setopt(f->easy, CURLOPT_PROTOCOLS_STR, "http,https") != CURLE_OK)
        curl.easy_setopt(f->easy, OLD_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
}

static void set_all(struct cc_fetch *f, const struct cc_fetch_opts *o)
{
    curl.easy_setopt(f->easy, CURLOPT_URL, o->url);
    curl.easy_setopt(f->easy, CURLOPT_PRIVATE, f);
    curl.easy_setopt(f->easy, CURLOPT_ERRORBUFFER, f->text);
    curl.easy_setopt(f->easy, CURLOPT_USERAGENT, "cchost");
    curl.easy_setopt(f->easy, CURLOPT_HEADERFUNCTION, on_head);
    curl.easy_setopt(f->easy, CURLOPT_HEADERDATA, f);
    curl.easy_setopt(f->easy, CURLOPT_WRITEFUNCTION, on_data);
    curl.easy_setopt(f->easy, CURLOPT_WRITEDATA, f);
    if (o->unix_path) {
        curl.easy_setopt(f->easy, CURLOPT_UNIX_SOCKET_PATH, o->unix_path);
        curl.easy_setopt(f->easy, CURLOPT_PROXY, "");       /* not by way of the environment's */
    }
    if (o->ca_file)
        curl.easy_setopt(f->easy, CURLOPT_CAINFO, o->ca_file);
    set_bounds(f, o);
    set_method(f, o);
}

/* Those that were stopped for having had their share of a turn. Unpausing calls on_data at once. */
static void let_go_on(struct client *c)
{
    struct cc_fetch *f;

    c->taken = 0;
    for (f = c->running.first; f && c->taken <= TAKE_MAX; f = f->next) {
        if (!f->paused)
            continue;
        f->paused = false;
        curl.easy_pause(f->easy, CURLPAUSE_CONT);
    }
}

static bool any_paused(const struct client *c)
{
    const struct cc_fetch *f = c->running.first;

    while (f && !f->paused)
        f = f->next;
    return f != NULL;
}

static void on_idle(uv_idle_t *h)
{
    struct client *c = h->data;
    struct cc_fetch *f;
    int left = START_MAX;

    let_go_on(c);

    while (left-- > 0 && (f = c->waiting.first)) {
        list_remove(&c->waiting, f);
        f->running = true;
        list_add(&c->running, f);
        uv_ref((uv_handle_t *)&c->timer);
        if (curl.multi_add_handle(c->multi, f->easy) != CURLM_OK) {
            list_remove(&c->running, f);
            fail(f, CC_E_IO, "the request could not be started");
        }
    }
    if (!c->waiting.first && !any_paused(c))
        uv_idle_stop(h);
}

struct cc_fetch *cc_fetch_start(uv_loop_t *loop, const struct cc_fetch_opts *o, struct cc_err *err)
{
    struct client *c;
    struct cc_fetch *f;

    if (load(err) < 0)
        return NULL;
    if (o->method && !cc_is_token(o->method, strlen(o->method))) {
        cc_err_set(err, CC_E_INVALID, "not a method: %.20s", o->method);
        return NULL;
    }
    c = client_of(loop);
    f = cc_xcalloc(1, sizeof(*f));
    f->client = c;
    f->easy = curl.easy_init();
    assert(f->easy);
    f->max = o->max_body ? o->max_body : 8 << 20;
    f->done = o->done;
    f->arg = o->arg;
    set_all(f, o);
    if (set_headers(f, o, err) < 0) {
        fetch_free(f);
        return NULL;
    }
    list_add(&c->waiting, f);
    uv_idle_start(&c->idle, on_idle);
    return f;
}

void cc_fetch_cancel(struct cc_fetch *f)
{
    detach(the_client, f);
    fetch_free(f);
}
