/* curl.c - see curl.h. */
#include "host/http/curl.h"

#include <stdbool.h>
#include <stddef.h>

#include "host/sys/err.h"
#include "host/sys/library.h"

struct cc_curl cc_curl;

static const struct cc_symbol functions[] = {
    { "curl_global_init", offsetof(struct cc_curl, global_init) },
    { "curl_easy_init", offsetof(struct cc_curl, easy_init) },
    { "curl_easy_cleanup", offsetof(struct cc_curl, easy_cleanup) },
    { "curl_easy_reset", offsetof(struct cc_curl, easy_reset) },
    { "curl_easy_setopt", offsetof(struct cc_curl, easy_setopt) },
    { "curl_easy_getinfo", offsetof(struct cc_curl, easy_getinfo) },
    { "curl_easy_strerror", offsetof(struct cc_curl, easy_strerror) },
    { "curl_easy_pause", offsetof(struct cc_curl, easy_pause) },
    { "curl_easy_perform", offsetof(struct cc_curl, easy_perform) },
    { "curl_easy_send", offsetof(struct cc_curl, easy_send) },
    { "curl_easy_recv", offsetof(struct cc_curl, easy_recv) },
    { "curl_multi_init", offsetof(struct cc_curl, multi_init) },
    { "curl_multi_cleanup", offsetof(struct cc_curl, multi_cleanup) },
    { "curl_multi_setopt", offsetof(struct cc_curl, multi_setopt) },
    { "curl_multi_add_handle", offsetof(struct cc_curl, multi_add_handle) },
    { "curl_multi_remove_handle", offsetof(struct cc_curl, multi_remove_handle) },
    { "curl_multi_socket_action", offsetof(struct cc_curl, multi_socket_action) },
    { "curl_multi_info_read", offsetof(struct cc_curl, multi_info_read) },
    { "curl_multi_assign", offsetof(struct cc_curl, multi_assign) },
    { "curl_multi_perform", offsetof(struct cc_curl, multi_perform) },
    { "curl_multi_poll", offsetof(struct cc_curl, multi_poll) },
    { "curl_slist_append", offsetof(struct cc_curl, slist_append) },
    { "curl_slist_free_all", offsetof(struct cc_curl, slist_free_all) },
};

int cc_curl_load(struct cc_err *err)
{
    static bool loaded;
    int rc;

    if (loaded)
        return 0;
    rc = cc_library_load("libcurl.so.4", functions, sizeof(functions) / sizeof(*functions), &cc_curl, err);
    if (rc != 0)
        return rc;
    if (cc_curl.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return cc_err_set(err, CC_E_UNSUPPORTED, "libcurl cannot be initialized");
    loaded = true;
    return 0;
}

int cc_curl_code(CURLcode rc)
{
    switch (rc) {
    case CURLE_OPERATION_TIMEDOUT:
        return CC_E_TIMEOUT;
    case CURLE_COULDNT_CONNECT:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_GOT_NOTHING:
        return CC_E_UNAVAILABLE;
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
        return CC_E_INVALID;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
        return CC_E_DENIED;
    default:
        return CC_E_IO;
    }
}

void cc_curl_plain(CURL *e)
{
    cc_curl.easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
    cc_curl.easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    cc_curl.easy_setopt(e, CURLOPT_QUICK_EXIT, 1L);
    cc_curl.easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
}
