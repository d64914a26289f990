/* smtp.c - see smtp.h. The server's refusals are kept from libcurl's header callback: they say why a mail is refused. */
#include "host/http/smtp.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/http/curl.h"
#include "host/sys/clock.h"
#include "host/sys/mem.h"

enum { LINE_MAX_BYTES = 998, QUIT_SECONDS = 2 };
#define OLD_PROTOCOLS ((CURLoption)181) /* CURLOPT_PROTOCOLS, for a libcurl before 7.85 */

struct transfer {
    const struct cc_smtp *m;
    const struct cc_call *call;
    CURL *easy;
    struct curl_slist *to;
    uint64_t end_ns;      /* real time, as libcurl's */
    size_t at;            /* of the message */
    bool in, asked;       /* authenticated; the message has been asked for */
    bool answered, taken; /* after the whole of it */
    char line[128];       /* the server's last that refuses something */
    char text[CURL_ERROR_SIZE];
};

/* ---------------------------------------------------------------- what can be sent */

static bool made_of(const char *s, const char *others)
{
    if (!*s)
        return false;
    for (; *s; s++)
        if (!((*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || (*s >= '0' && *s <= '9') || strchr(others, *s)))
            return false;
    return true;
}

static bool message_ok(const char *p, size_t n)
{
    size_t i, start = 0;

    for (i = 0; i < n; i++) {
        if (p[i] == '\0')
            return false;
        if (p[i] != '\r' && p[i] != '\n')
            continue;
        if (p[i] == '\n' || i + 1 == n || p[i + 1] != '\n' || i - start > LINE_MAX_BYTES)
            return false;
        start = ++i + 1;
    }
    return n > 0 && start == n;
}

const char *cc_smtp_fault(const struct cc_smtp *m)
{
    static const char atext[] = "!#$%&'*+-/=?^_`{|}~.@"; /* of an address without quotes (RFC 5321) */

    if (!made_of(m->host, ".-:"))
        return "host: a name or an address expected";
    if (!made_of(m->name, ".-"))
        return "name: a host's name expected";
    if (m->port < 1 || m->port > 65535)
        return "port: 1..65535 expected";
    if (!made_of(m->from, atext) || !made_of(m->to, atext))
        return "from, to: addresses expected";
    if (!m->username != !m->password)
        return "username and password: both or none expected";
    if (!message_ok(m->message, m->message_len))
        return "message: lines of at most 998 bytes that end with CRLF expected";
    return NULL;
}

/* ---------------------------------------------------------------- libcurl's callbacks */

static size_t on_line(char *p, size_t size, size_t n, void *arg)
{
    struct transfer *t = arg;
    size_t i, len = size * n < sizeof(t->line) ? size * n : sizeof(t->line) - 1;

    if (len >= 3 && memcmp(p, "235", 3) == 0)
        t->in = true;
    if (t->asked && !t->answered) { /* nothing is left but QUIT, whose answer is of no interest */
        t->answered = true;
        t->taken = p[0] == '2';
        cc_curl.easy_setopt(t->easy, CURLOPT_SERVER_RESPONSE_TIMEOUT, (long)QUIT_SECONDS);
    }
    if (p[0] != '4' && p[0] != '5')
        return size * n;
    for (i = 0; i < len && p[i] != '\r' && p[i] != '\n'; i++)
        t->line[i] = p[i] >= ' ' && p[i] < 0x7f ? p[i] : '?';
    t->line[i] = '\0';
    return size * n;
}

static size_t on_read(char *p, size_t size, size_t n, void *arg)
{
    struct transfer *t = arg;
    size_t left = t->m->message_len - t->at;

    t->asked = true;
    if (t->m->password && !t->in)
        return CURL_READFUNC_ABORT;
    n *= size;
    if (n > left)
        n = left;
    memcpy(p, t->m->message + t->at, n);
    t->at += n;
    return n;
}

static int on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    struct transfer *t = arg;

    (void)a, (void)b, (void)c, (void)d;
    return atomic_load(&t->call->cancelled) || cc_mono_ns() > t->end_ns;
}

static size_t on_data(char *p, size_t size, size_t n, void *arg)
{
    (void)p, (void)arg;
    return size * n;
}

/* ---------------------------------------------------------------- how it ended */

/* What the server said (code and text), or the code alone where it might repeat what we said to prove who we are. */
static const char *reply(struct transfer *t, long code)
{
    const struct cc_smtp *m = t->m;

    if (strtol(t->line, NULL, 10) != code || (m->password && (!t->in || strstr(t->line, m->password))))
        snprintf(t->line, sizeof(t->line), "%ld", code);
    return t->line;
}

static int refused(struct transfer *t, CURLcode rc, long code, struct cc_err *err)
{
    if (code < 400 && rc == CURLE_LOGIN_DENIED)
        return cc_err_set(err, CC_E_DENIED, "the mail server offers no way to authenticate");
    if (code < 400)
        return cc_err_set(err, CC_E_UNAVAILABLE, "the mail server cannot be spoken to: %.180s",
                          t->text[0] ? t->text : cc_curl.easy_strerror(rc));
    if (code < 500)
        return cc_err_set(err, CC_E_UNAVAILABLE, "the mail server refuses it for now: %s", reply(t, code));
    if (rc == CURLE_LOGIN_DENIED || code == 534 || code == 535 || code == 538)
        return cc_err_set(err, CC_E_DENIED, "the mail server does not accept the user name or the password (%ld)",
                          code);
    if (code == 530 || rc == CURLE_REMOTE_ACCESS_DENIED)
        return cc_err_set(err, CC_E_DENIED, "the mail server does not let us in: %s", reply(t, code));
    return cc_err_set(err, CC_E_INVALID, "the mail server refuses it: %s", reply(t, code));
}

static int told(struct transfer *t, CURLcode rc, struct cc_err *err)
{
    const char *text = t->text[0] ? t->text : cc_curl.easy_strerror(rc);
    long code = 0;

    cc_curl.easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &code);
    if (atomic_load(&t->call->cancelled))
        return cc_err_set(err, CC_E_CANCELLED, "the mail was given up");
    if (t->asked && !t->in && t->m->password)
        return cc_err_set(err, CC_E_DENIED, "the mail server offers no way to authenticate");
    switch (rc) {
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_ABORTED_BY_CALLBACK:
        return cc_err_set(err, CC_E_TIMEOUT, "the mail server did not answer in time");
    case CURLE_COULDNT_CONNECT:
    case CURLE_COULDNT_RESOLVE_HOST:
        return cc_err_set(err, CC_E_UNAVAILABLE, "the mail server cannot be reached: %.200s", text);
    case CURLE_USE_SSL_FAILED:
        if (code >= 400 && code < 500)
            break;
        return cc_err_set(err, CC_E_DENIED, "the mail server offers no TLS (STARTTLS), which is required");
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_CIPHER:
        return cc_err_set(err, CC_E_DENIED, "the mail server's certificate is not trusted: %.180s", text);
    case CURLE_SSL_CONNECT_ERROR:
        (void)cc_err_set(err, CC_E_DENIED, "no TLS with the mail server: %.200s", text);
        err->retryable = true; /* it may have been cut off, or be at its start */
        return CC_E_DENIED;
    default:
        break;
    }
    return refused(t, rc, code, err);
}

/* ---------------------------------------------------------------- one mail */

static void set_access(const struct transfer *t)
{
    const struct cc_smtp *m = t->m;

    cc_curl.easy_setopt(t->easy, CURLOPT_USE_SSL, m->tls == CC_SMTP_PLAIN ? CURLUSESSL_NONE : CURLUSESSL_ALL);
    cc_curl.easy_setopt(t->easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    cc_curl.easy_setopt(t->easy, CURLOPT_SSL_VERIFYPEER, 1L);
    cc_curl.easy_setopt(t->easy, CURLOPT_SSL_VERIFYHOST, 2L);
    if (m->ca_file)
        cc_curl.easy_setopt(t->easy, CURLOPT_CAINFO, m->ca_file);
    if (m->password) {
        cc_curl.easy_setopt(t->easy, CURLOPT_USERNAME, m->username);
        cc_curl.easy_setopt(t->easy, CURLOPT_PASSWORD, m->password);
    }
}

static void set_bounds(struct transfer *t)
{
    int left = t->call->deadline_ms ? cc_call_left_ms(t->call) : 30000;

    t->end_ns = cc_mono_ns() + (uint64_t)left * 1000000u;
    cc_curl.easy_setopt(t->easy, CURLOPT_TIMEOUT_MS, (long)(left > 0 ? left : 1));
    cc_curl.easy_setopt(t->easy, CURLOPT_CONNECTTIMEOUT_MS, 10000L);
    cc_curl.easy_setopt(t->easy, CURLOPT_NOSIGNAL, 1L);
    cc_curl.easy_setopt(t->easy, CURLOPT_QUICK_EXIT, 1L);
    cc_curl.easy_setopt(t->easy, CURLOPT_FORBID_REUSE, 1L);
    cc_curl.easy_setopt(t->easy, CURLOPT_PROXY, "");
    if (cc_curl.easy_setopt(t->easy, CURLOPT_PROTOCOLS_STR, "smtp,smtps") != CURLE_OK)
        cc_curl.easy_setopt(t->easy, OLD_PROTOCOLS, (long)(CURLPROTO_SMTP | CURLPROTO_SMTPS));
}

static void set_all(struct transfer *t)
{
    const struct cc_smtp *m = t->m;
    bool v6 = strchr(m->host, ':') != NULL;
    char *url = cc_xasprintf("%s://%s%s%s:%u/%s", m->tls == CC_SMTP_TLS ? "smtps" : "smtp", v6 ? "[" : "", m->host,
                             v6 ? "]" : "", m->port, m->name);

    cc_curl.easy_setopt(t->easy, CURLOPT_URL, url);
    free(url);
    cc_curl.easy_setopt(t->easy, CURLOPT_ERRORBUFFER, t->text);
    cc_curl.easy_setopt(t->easy, CURLOPT_MAIL_FROM, m->from);
    t->to = cc_curl.slist_append(NULL, m->to);
    assert(t->to);
    cc_curl.easy_setopt(t->easy, CURLOPT_MAIL_RCPT, t->to);
    cc_curl.easy_setopt(t->easy, CURLOPT_UPLOAD, 1L);
    cc_curl.easy_setopt(t->easy, CURLOPT_READFUNCTION, on_read);
    cc_curl.easy_setopt(t->easy, CURLOPT_READDATA, t);
    cc_curl.easy_setopt(t->easy, CURLOPT_HEADERFUNCTION, on_line);
    cc_curl.easy_setopt(t->easy, CURLOPT_HEADERDATA, t);
    cc_curl.easy_setopt(t->easy, CURLOPT_WRITEFUNCTION, on_data);
    cc_curl.easy_setopt(t->easy, CURLOPT_NOPROGRESS, 0L);
    cc_curl.easy_setopt(t->easy, CURLOPT_XFERINFOFUNCTION, on_progress);
    cc_curl.easy_setopt(t->easy, CURLOPT_XFERINFODATA, t);
    set_access(t);
    set_bounds(t);
}

static bool is_here(const char *host)
{
    return strcmp(host, "localhost") == 0 || strcmp(host, "::1") == 0 ||
           (strncmp(host, "127.", 4) == 0 && strspn(host, "0123456789.") == strlen(host));
}

int cc_smtp_send(const struct cc_smtp *m, const struct cc_call *call, struct cc_err *err)
{
    struct transfer t = { .m = m, .call = call };
    CURLcode rc;
    int result;

    if (m->password && m->tls == CC_SMTP_PLAIN && !is_here(m->host))
        return cc_err_set(err, CC_E_DENIED, "a password is not sent to another machine without TLS");
    if (cc_call_over(call))
        return cc_err_set(err, CC_E_TIMEOUT, "the mail's turn did not come in time");
    t.easy = cc_curl.easy_init();
    assert(t.easy);
    set_all(&t);
    rc = cc_curl.easy_perform(t.easy);
    result = rc == CURLE_OK || t.taken ? 0 : told(&t, rc, err);
    cc_curl.easy_cleanup(t.easy);
    cc_curl.slist_free_all(t.to);
    return result;
}
