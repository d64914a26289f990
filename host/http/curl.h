/* curl.h - libcurl, loaded at the first use.
 *
 * A host that never calls out does not pay its 8 MiB and 4 ms.  The functions
 * that we use, under their own names without "curl_".  Loaded on the loop,
 * used from any thread afterwards.
 */
#ifndef CC_HTTP_CURL_H
#define CC_HTTP_CURL_H

#define CURL_DISABLE_TYPECHECK
#include <curl/curl.h>
#undef curl_easy_setopt
#undef curl_easy_getinfo
#undef curl_multi_setopt

struct cc_err;

struct cc_curl {
    __typeof__(curl_global_init) *global_init;
    __typeof__(curl_easy_init) *easy_init;
    __typeof__(curl_easy_cleanup) *easy_cleanup;
    __typeof__(curl_easy_reset) *easy_reset;
    __typeof__(curl_easy_setopt) *easy_setopt;
    __typeof__(curl_easy_getinfo) *easy_getinfo;
    __typeof__(curl_easy_strerror) *easy_strerror;
    __typeof__(curl_easy_pause) *easy_pause;
    __typeof__(curl_easy_perform) *easy_perform;
    __typeof__(curl_easy_send) *easy_send;
    __typeof__(curl_easy_recv) *easy_recv;
    __typeof__(curl_multi_init) *multi_init;
    __typeof__(curl_multi_cleanup) *multi_cleanup;
    __typeof__(curl_multi_setopt) *multi_setopt;
    __typeof__(curl_multi_add_handle) *multi_add_handle;
    __typeof__(curl_multi_remove_handle) *multi_remove_handle;
    __typeof__(curl_multi_socket_action) *multi_socket_action;
    __typeof__(curl_multi_info_read) *multi_info_read;
    __typeof__(curl_multi_assign) *multi_assign;
    __typeof__(curl_multi_perform) *multi_perform;
    __typeof__(curl_multi_poll) *multi_poll;
    __typeof__(curl_slist_append) *slist_append;
    __typeof__(curl_slist_free_all) *slist_free_all;
};
extern struct cc_curl cc_curl;

/* 0, also when it is loaded already; CC_E_UNSUPPORTED where there is none that serves. */
int cc_curl_load(struct cc_err *err);

int cc_curl_code(CURLcode rc); /* what a failed transfer is as an error of ours */
/* HTTP/1.1, redirects not followed, no signals, and a thread that resolves a name is not waited for. */
void cc_curl_plain(CURL *e);

#endif
