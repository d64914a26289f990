/* test_store.h - what the store's tests share: a store in a folder of its own, updates that are waited for. */
#ifndef TEST_STORE_H
#define TEST_STORE_H

#include "store/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

struct fix {
    uv_loop_t loop;
    struct cc_store *store;
    char dir[64];
};

#define S(text) ((struct cc_slice){ (text), strlen(text) })

static inline struct cc_store_opts fix_opts(struct fix *f)
{
    return (struct cc_store_opts){ .loop = &f->loop, .dir = f->dir, .serve = true, .map_mib = 64 };
}

static inline int fix_open(struct fix *f, struct cc_err *err)
{
    struct cc_store_opts o = fix_opts(f);

    return cc_store_open(&o, &f->store, err);
}

static inline int fix_setup(void **state)
{
    struct fix *f = calloc(1, sizeof(*f));
    struct cc_err err = { .message = "" };

    strcpy(f->dir, "/tmp/cc-store-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    uv_loop_init(&f->loop);
    if (fix_open(f, &err))
        fail_msg("%s", err.message);
    *state = f;
    return 0;
}

/* Nothing may be left open: no read transaction, no update, no handle. */
static inline void fix_close(struct fix *f)
{
    if (!f->store)
        return;
    assert_int_equal(cc_store_reads_open(f->store), 0);
    cc_store_close(f->store);
    f->store = NULL;
    uv_run(&f->loop, UV_RUN_DEFAULT);
}

static inline int fix_teardown(void **state)
{
    struct fix *f = *state;
    char cmd[128];

    fix_close(f);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    snprintf(cmd, sizeof(cmd), "rm -rf %s", f->dir);
    assert_int_equal(system(cmd), 0);
    free(f);
    return 0;
}

struct done {
    int calls, code;
    struct cc_err err;
};

static inline void on_done(void *arg, int code, const struct cc_err *err)
{
    struct done *d = arg;

    d->calls++;
    d->code = code;
    if (err)
        d->err = *err;
}

static inline void wait_done(struct fix *f, struct done *d)
{
    while (!d->calls)
        uv_run(&f->loop, UV_RUN_ONCE);
}

/* Submits and waits; the code. */
static inline int commit(struct fix *f, struct cc_txn *t)
{
    struct done d = { .calls = 0 };
    int rc = cc_txn_submit(t, on_done, &d, &d.err);

    if (rc)
        return rc;
    wait_done(f, &d);
    assert_int_equal(d.calls, 1);
    return d.code;
}

static inline int64_t number(struct cc_slice text)
{
    char b[32];

    assert_true(text.len < sizeof(b));
    memcpy(b, text.data, text.len);
    b[text.len] = '\0';
    return atoll(b);
}

/* Reads the number in the record, or 0, and puts the next one, with a log entry. */
static inline int64_t increment(struct cc_txn *t, const char *kind, const char *id)
{
    struct cc_record r;
    char b[32];
    int64_t n = cc_txn_get(t, kind, S(id), &r) == CC_OK ? number(r.text) : 0;

    snprintf(b, sizeof(b), "%lld", (long long)++n);
    cc_txn_put(t, kind, S(id), S(b), &S("me"));
    cc_txn_log(t, kind, S(id), S("counted"), S("test"), S(b));
    return n;
}

static inline int64_t value_of(struct fix *f, const char *kind, const char *id)
{
    struct cc_record r;

    return cc_store_get(f->store, kind, S(id), &r) == CC_OK ? number(r.text) : 0;
}

#endif
