/* rest_internal.h - what rest.c and rest_upgrade.c share: an API, and how its peer is reached. */
#ifndef CC_PROVIDERS_REST_INTERNAL_H
#define CC_PROVIDERS_REST_INTERNAL_H

#include "host/http/curl.h"
#include "providers/rest.h"

#include <pthread.h>

struct cc_rest_line {
    CURL *easy;
    CURLM *multi;
    struct cc_rest_line *next;
};

struct cc_rest {
    char *base, *unix_path, *token, *ca, *cert, *key, *agent;
    pthread_mutex_t lock;
    struct cc_rest_line *idle;
};

void cc_rest_peer(const struct cc_rest *r, CURL *e);                    /* all but the URL and headers */
int cc_rest_failure(CURLcode rc, const char *text, struct cc_err *err); /* a transfer that failed, as one of ours */

#endif
