/* fetch_mail.c - one transfer that is a mail; see client.h. */
#include "host/http/fetch.h"

#include <stdlib.h>
#include <string.h>

#include "host/sys/mem.h"

static size_t on_read(char *out, size_t size, size_t n, void *arg)
{
    struct cc_fetch *f = arg;

    n *= size;
    if (n > f->body_len - f->body_at)
        n = f->body_len - f->body_at;
    if (n)
        memcpy(out, f->body + f->body_at, n);
    f->body_at += n;
    return n;
}

void cc_fetch_set_mail(struct cc_fetch *f, const struct cc_fetch_opts *o)
{
    const struct cc_mail *m = o->mail;
    char *from = cc_xasprintf("<%s>", m->from), *to = cc_xasprintf("<%s>", m->to);

    f->is_mail = true;
    f->body = cc_xmalloc(o->body_len + 1);
    if (o->body_len)
        memcpy(f->body, o->body, o->body_len);
    f->body_len = o->body_len;
    f->headers = cc_curl.slist_append(NULL, to); /* kept there until the transfer ends */
    cc_curl.easy_setopt(f->easy, CURLOPT_MAIL_FROM, from);
    cc_curl.easy_setopt(f->easy, CURLOPT_MAIL_RCPT, f->headers);
    cc_curl.easy_setopt(f->easy, CURLOPT_UPLOAD, 1L);
    cc_curl.easy_setopt(f->easy, CURLOPT_READFUNCTION, on_read);
    cc_curl.easy_setopt(f->easy, CURLOPT_READDATA, f);
    cc_curl.easy_setopt(f->easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)o->body_len);
    cc_curl.easy_setopt(f->easy, CURLOPT_FORBID_REUSE, 1L); /* links are rare: hold no connection to the server */
    if (m->username) {
        cc_curl.easy_setopt(f->easy, CURLOPT_USERNAME, m->username);
        cc_curl.easy_setopt(f->easy, CURLOPT_PASSWORD, m->password ? m->password : "");
    }
    if (m->starttls)
        cc_curl.easy_setopt(f->easy, CURLOPT_USE_SSL, (long)CURLUSESSL_ALL);
    cc_curl.easy_setopt(f->easy, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
    free(from);
    free(to);
}

int cc_fetch_mail_code(struct cc_fetch *f, CURLcode rc)
{
    long reply = 0;

    switch (rc) {
    case CURLE_OPERATION_TIMEDOUT:
        return CC_E_TIMEOUT;
    case CURLE_LOGIN_DENIED:
    case CURLE_USE_SSL_FAILED:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
        return CC_E_DENIED;
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
        return CC_E_INVALID;
    default:
        break;
    }
    cc_curl.easy_getinfo(f->easy, CURLINFO_RESPONSE_CODE, &reply);
    return reply >= 500 && reply < 600 ? CC_E_INVALID : CC_E_UNAVAILABLE;
}
