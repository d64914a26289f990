/* fetch.c - see fetch.h. Nothing here calls the multi interface: libcurl calls these from inside it. */
#include "host/http/fetch.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "host/http/text.h"
#include "host/sys/mem.h"

enum { HEAD_MAX = 65536 };
#define OLD_PROTOCOLS ((CURLoption)181) /* CURLOPT_PROTOCOLS, for a libcurl before 7.85 */

void cc_fetch_free(struct cc_fetch *f)
{
    if (f->easy)
        cc_curl.easy_cleanup(f->easy);
    cc_curl.slist_free_all(f->headers);
    free(f->body);
    free(f->url);
    free(f->head);
    free(f->data);
    free(f->egress);
    free(f);
}

static int code_of(struct cc_fetch *f, CURLcode rc)
{
    long sent = 0;

    cc_curl.easy_getinfo(f->easy, CURLINFO_REQUEST_SIZE, &sent);
    if (rc == CURLE_UNSUPPORTED_PROTOCOL && sent > 0)
        return CC_E_IO; /* what came back is no HTTP/1 */
    return cc_curl_code(rc);
}

void cc_fetch_fail(struct cc_fetch *f, int code, const char *text)
{
    struct cc_err err;

    cc_err_set(&err, code, "%s", text);
    f->done(f->arg, NULL, &err);
    cc_fetch_free(f);
}

static void succeed(struct cc_fetch *f)
{
    struct cc_fetch_answer a = {
        .head = f->head ? f->head : "", .head_len = f->head_len, .body = f->data ? f->data : "", .body_len = f->data_len
    };
    long status = 0;

    cc_curl.easy_getinfo(f->easy, CURLINFO_RESPONSE_CODE, &status);
    a.status = (int)status;
    f->done(f->arg, &a, NULL);
    cc_fetch_free(f);
}

void cc_fetch_end(struct cc_fetch *f, CURLcode rc)
{
    if (f->enough || (rc == CURLE_OK && !f->too_long)) /* what was refused as it was let go on, libcurl forgets */
        succeed(f);
    else if (f->refused)
        cc_fetch_fail(f, CC_E_DENIED, "it leads to an address that is not public");
    else if (f->too_long)
        cc_fetch_fail(f, CC_E_LIMIT, "the answer is too long");
    else
        cc_fetch_fail(f, code_of(f, rc), f->text[0] ? f->text : cc_curl.easy_strerror(rc));
}

static size_t on_head(char *p, size_t size, size_t n, void *arg)
{
    struct cc_fetch *f = arg;

    n *= size;
    if (n >= 5 && memcmp(p, "HTTP/", 5) == 0) { /* an earlier 1xx, or the real one */
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
    if (!f->share(f, n)) {
        f->paused = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    if (f->data_len + n > f->max && !f->cut) {
        f->too_long = true;
        return 0;
    }
    if (f->data_len + n > f->max) {
        f->enough = true;
        n = f->max - f->data_len;
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
    return f->enough ? CURL_WRITEFUNC_ERROR : n;
}

static int add_line(struct cc_fetch *f, const char *line)
{
    struct curl_slist *more = cc_curl.slist_append(f->headers, line);

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
        line =
            cc_xasprintf("%.*s%s%.*s", (int)h->name.n, h->name.p, h->value.n ? ": " : ";", (int)h->value.n, h->value.p);
        add_line(f, line);
        free(line);
    }
    if (!type)
        add_line(f, "Content-Type:");
    add_line(f, "Expect:");
    cc_curl.easy_setopt(f->easy, CURLOPT_HTTPHEADER, f->headers);
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
        cc_curl.easy_setopt(f->easy, CURLOPT_POST, 1L);
        cc_curl.easy_setopt(f->easy, CURLOPT_POSTFIELDS, f->body);
        cc_curl.easy_setopt(f->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)o->body_len);
    } else if (strcmp(method, "HEAD") == 0) {
        cc_curl.easy_setopt(f->easy, CURLOPT_NOBODY, 1L);
    }
    cc_curl.easy_setopt(f->easy, CURLOPT_CUSTOMREQUEST, method);
}

static void set_bounds(struct cc_fetch *f, const struct cc_fetch_opts *o)
{
    long total = o->timeout_ms ? (long)o->timeout_ms : 30000;

    cc_curl.easy_setopt(f->easy, CURLOPT_TIMEOUT_MS, total);
    cc_curl.easy_setopt(f->easy, CURLOPT_CONNECTTIMEOUT_MS, o->connect_ms ? (long)o->connect_ms : 10000L);
    cc_curl_plain(f->easy);
    if (cc_curl.easy_setopt(f->easy, CURLOPT_PROTOCOLS_STR, "http,https") != CURLE_OK)
        cc_curl.easy_setopt(f->easy, OLD_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
}

/* libcurl asks for a socket for the address that it is about to connect to. */
static curl_socket_t on_open(void *arg, curlsocktype purpose, struct curl_sockaddr *to)
{
    struct cc_fetch *f = arg;

    if (purpose != CURLSOCKTYPE_IPCXN || !cc_egress_allows_sockaddr(f->egress, &to->addr)) {
        f->refused = true;
        return CURL_SOCKET_BAD;
    }
    f->refused = false;
    return socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
}

/* Before the request is sent: the connection may be one that another fetch has opened. */
static int on_ready(void *arg, char *address, char *own, int port, int own_port)
{
    struct cc_fetch *f = arg;
    struct cc_addr a;

    (void)own, (void)port, (void)own_port;
    f->refused = !cc_addr_parse(&a, address, strlen(address)) || !cc_egress_allows(f->egress, &a);
    return f->refused ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

/* -> false: this libcurl cannot */
static bool set_egress(struct cc_fetch *f, const struct cc_egress *e)
{
    f->egress = cc_xmalloc(sizeof(*e));
    *f->egress = *e;
    cc_curl.easy_setopt(f->easy, CURLOPT_PROXY, "");
    return cc_curl.easy_setopt(f->easy, CURLOPT_OPENSOCKETFUNCTION, on_open) == CURLE_OK &&
           cc_curl.easy_setopt(f->easy, CURLOPT_OPENSOCKETDATA, f) == CURLE_OK &&
           cc_curl.easy_setopt(f->easy, CURLOPT_PREREQFUNCTION, on_ready) == CURLE_OK &&
           cc_curl.easy_setopt(f->easy, CURLOPT_PREREQDATA, f) == CURLE_OK;
}

static void set_all(struct cc_fetch *f, const struct cc_fetch_opts *o)
{
    cc_curl.easy_setopt(f->easy, CURLOPT_URL, o->url);
    cc_curl.easy_setopt(f->easy, CURLOPT_PRIVATE, f);
    cc_curl.easy_setopt(f->easy, CURLOPT_ERRORBUFFER, f->text);
    cc_curl.easy_setopt(f->easy, CURLOPT_USERAGENT, "cchost");
    cc_curl.easy_setopt(f->easy, CURLOPT_HEADERFUNCTION, on_head);
    cc_curl.easy_setopt(f->easy, CURLOPT_HEADERDATA, f);
    cc_curl.easy_setopt(f->easy, CURLOPT_WRITEFUNCTION, on_data);
    cc_curl.easy_setopt(f->easy, CURLOPT_WRITEDATA, f);
    if (o->unix_path) {
        cc_curl.easy_setopt(f->easy, CURLOPT_UNIX_SOCKET_PATH, o->unix_path);
        cc_curl.easy_setopt(f->easy, CURLOPT_PROXY, ""); /* not by way of the environment's */
    }
    if (o->ca_file)
        cc_curl.easy_setopt(f->easy, CURLOPT_CAINFO, o->ca_file);
    set_bounds(f, o);
    set_method(f, o);
}

struct cc_fetch *cc_fetch_new(const struct cc_fetch_opts *o, struct cc_err *err)
{
    struct cc_fetch *f;

    if (o->method && !cc_is_token(o->method, strlen(o->method))) {
        cc_err_set(err, CC_E_INVALID, "not a method: %.20s", o->method);
        return NULL;
    }
    f = cc_xcalloc(1, sizeof(*f));
    f->easy = cc_curl.easy_init();
    assert(f->easy);
    f->max = o->max_body ? o->max_body : 8 << 20;
    f->cut = o->cut;
    f->done = o->done;
    f->arg = o->arg;
    set_all(f, o);
    if (o->egress && !set_egress(f, o->egress))
        cc_err_set(err, CC_E_UNSUPPORTED, "this libcurl (before 7.80) cannot be told where a request may lead");
    else if (set_headers(f, o, err) == 0)
        return f;
    cc_fetch_free(f);
    return NULL;
}
