/* fetch.h - one transfer of client.c, apart from the loop that drives it.
 *
 * What libcurl is told about it, what it collects, how it ends.  Private to
 * client.c and fetch.c.
 */
#ifndef CC_HTTP_FETCH_H
#define CC_HTTP_FETCH_H

#include "host/http/client.h"
#include "host/http/curl.h"

struct cc_fetch {
    struct cc_fetch *prev, *next; /* waiting or running */
    bool running, paused;
    bool (*share)(struct cc_fetch *f, size_t n); /* may n bytes more be taken in this turn? */
    void *client;
    CURL *easy;
    struct curl_slist *headers;
    char *body, *url;
    char *head, *data;
    size_t head_len, data_len, data_cap, max;
    bool too_long;
    bool cut, enough;         /* an answer as long as `max` will do; it is there */
    struct cc_egress *egress; /* NULL: anywhere */
    bool refused;             /* an address of the host's was not one to go to */
    char text[CURL_ERROR_SIZE];
    void (*done)(void *arg, const struct cc_fetch_answer *answer, const struct cc_err *err);
    void *arg;
};

/* NULL: err says why. */
struct cc_fetch *cc_fetch_new(const struct cc_fetch_opts *o, struct cc_err *err);
void cc_fetch_free(struct cc_fetch *f);

/* Tell and free. */
void cc_fetch_fail(struct cc_fetch *f, int code, const char *text);
void cc_fetch_end(struct cc_fetch *f, CURLcode rc);

#endif
