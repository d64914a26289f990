/* trim.c - dropping the data of many log entries, some at a time.
 *
 * Each group is an update of its own, so the writer serves others between
 * two of them and no commit grows with the length of the list.
 */
#include "store/store_internal.h"

#include "host/sys/mem.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { GROUP = 256 };

struct cc_trim {
    struct cc_store *store;
    uint64_t *seqs;
    size_t n, at;
    uint64_t trimmed, of_group;
    cc_trim_fn fn; /* NULL: cancelled */
    void *arg;
};

static void end(struct cc_trim *t, int code, const struct cc_err *err)
{
    if (t->fn)
        t->fn(t->arg, code, t->trimmed, err);
    free(t->seqs);
    free(t);
}

static void on_group(void *arg, int code, const struct cc_err *err);

static int next_group(struct cc_trim *t, struct cc_err *err)
{
    struct cc_txn *txn = cc_txn_begin(t->store, NULL);
    size_t n = t->n - t->at < GROUP ? t->n - t->at : GROUP;

    cc_txn_trim(txn, t->seqs + t->at, n, &t->of_group);
    t->at += n;
    return cc_txn_submit(txn, on_group, t, err);
}

static void on_group(void *arg, int code, const struct cc_err *err)
{
    struct cc_trim *t = arg;
    struct cc_err refused;

    if (!code)
        t->trimmed += t->of_group;
    if (code || t->at == t->n || !t->fn)
        end(t, code, err);
    else if ((code = next_group(t, &refused)))
        end(t, code, &refused);
}

struct cc_trim *cc_store_trim(struct cc_store *s, const uint64_t *seqs, size_t n, cc_trim_fn fn, void *arg,
                              struct cc_err *err)
{
    struct cc_trim *t = cc_xcalloc(1, sizeof(*t));

    assert(n > 0);
    t->store = s;
    t->seqs = cc_xmalloc(n * sizeof(*seqs));
    memcpy(t->seqs, seqs, n * sizeof(*seqs));
    t->n = n;
    t->fn = fn;
    t->arg = arg;
    if (!next_group(t, err))
        return t;
    t->fn = NULL;
    end(t, 0, NULL);
    return NULL;
}

void cc_store_trim_cancel(struct cc_trim *t) { t->fn = NULL; }
