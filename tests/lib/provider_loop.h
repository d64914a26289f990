/* provider_loop.h - for tests: answers of a provider that come by the loop. */
#ifndef TEST_LIB_PROVIDER_LOOP_H
#define TEST_LIB_PROVIDER_LOOP_H

#include "tests/lib/provider.h"

struct wait {
    int calls;
    int code;
    char message[256];
};

static inline void on_done(void *arg, const struct cc_provider_res *res)
{
    struct wait *w = arg;

    w->calls++;
    w->code = res->code;
    memcpy(w->message, res->err.message, sizeof(w->message));
}

static inline void run_until(uv_loop_t *loop, const int *calls)
{
    while (!*calls)
        uv_run(loop, UV_RUN_ONCE);
}

static inline void close_dry(uv_loop_t *loop, struct cc_provider *p)
{
    cc_provider_close(p);
    uv_run(loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(loop), 0);
}

#endif
