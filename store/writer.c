/* writer.c - the thread that checks, applies and commits.
 *
 * It takes everything that was handed over, in order, as one group: each
 * update is first checked whole against the state that those before it made,
 * then applied; one that fails its check leaves no trace and does not sink
 * the others.  Sequence numbers and hashes of log entries are given here,
 * inside the transaction.  A failed commit fails the whole group, and the
 * next group starts afresh.  It touches no loop, no Lua, no overlay.
 */
#include "store/store_internal.h"

#include "host/observe/log.h"
#include "host/observe/metrics.h"
#include "host/sys/clock.h"
#include "host/sys/mem.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { GROUP_UPDATES = 4096, GROUP_BYTES = 32 << 20, READER_CHECK_S = 60, RECOVER_S = 1, TURN_S = 1 };

struct group {
    struct cc_store *store;
    struct cc_db *db;
    MDB_txn *txn;
    uint64_t seq;  /* of the last log entry */
    uint64_t revs; /* first of a block taken in this group */
    bool take_revs;
    bool dirty;
};

/* ---- check */

/* An object that was deleted left the head of its chain behind. */
static int find_head(struct group *g, struct cell *c)
{
    MDB_val v;
    int rc = cc_db_get(g->db, g->txn, T_HEADS, c->key, &v);

    if (rc == MDB_NOTFOUND)
        return 0;
    c->buried = !rc;
    return rc ? rc : cc_head_read(v, &c->head);
}

static int check_record(struct group *g, struct cell *c)
{
    struct stored r = { .rev = 0 };
    MDB_val v;
    int rc = cc_db_get(g->db, g->txn, T_RECORDS, c->key, &v);

    c->exists = !rc;
    if (rc == MDB_NOTFOUND)
        rc = 0;
    else if (!rc)
        rc = cc_stored_read(v, &r);
    if (rc)
        return rc;
    c->head = r.head;
    c->grown = false;
    c->buried = false;
    if (c->seen && c->seen_rev != r.rev)
        return CC_E_CONFLICT;
    if (c->logged && !c->exists && c->write == W_NONE)
        return CC_E_CONFLICT;
    return !c->exists && (c->logged || c->write == W_PUT) ? find_head(g, c) : 0;
}

static int check_index(struct group *g, struct cell *c)
{
    MDB_val v;
    int rc;

    if (!c->seen)
        return 0;
    rc = cc_db_get(g->db, g->txn, T_INDEX, c->key, &v);
    if (rc == MDB_NOTFOUND)
        return c->seen_absent ? 0 : CC_E_CONFLICT;
    if (rc)
        return rc;
    return !c->seen_absent && v.mv_size == c->seen_value.len && memcmp(v.mv_data, c->seen_value.data, v.mv_size) == 0
               ? 0
               : CC_E_CONFLICT;
}

static int check(struct group *g, struct cc_txn *t)
{
    struct cell *c;
    int rc = 0;

    for (c = t->cells; c && !rc; c = c->next)
        rc = c->table == T_RECORDS ? check_record(g, c) : check_index(g, c);
    return rc;
}

/* ---- apply */

static int append_note(struct group *g, struct note *n)
{
    struct head *h = &n->cell->head;
    uint8_t key[8], *to;
    int rc;

    n->entry.seq = g->seq + 1;
    n->entry.prev = h->seq;
    n->entry.count = h->count + 1;
    cc_put64(key, n->entry.seq);
    to = cc_db_reserve(g->db, g->txn, T_LOG, SLICE(key, 8), cc_entry_size(&n->entry), MDB_APPEND, &rc);
    if (rc)
        return rc;
    cc_entry_write(to, &n->entry, h->hash);
    memcpy(h->hash, to, HASH_BYTES);
    h->seq = ++g->seq;
    h->count++;
    n->cell->grown = true;
    return 0;
}

static int put_stored(struct group *g, struct cell *c, const struct stored *r)
{
    int rc;
    uint8_t *to = cc_db_reserve(g->db, g->txn, T_RECORDS, c->key, cc_stored_size(r), 0, &rc);

    if (!rc)
        cc_stored_write(to, r);
    return rc;
}

static int put_record(struct group *g, struct cell *c)
{
    int rc = c->buried ? cc_db_del(g->db, g->txn, T_HEADS, c->key) : 0;

    return rc ? rc : put_stored(g, c, &(struct stored){ c->txn->rev, c->head, c->owner, c->text });
}

static int del_record(struct group *g, struct cell *c)
{
    uint8_t b[HEAD_BYTES];
    int rc = cc_db_del(g->db, g->txn, T_RECORDS, c->key);

    if (rc || !c->head.count)
        return rc;
    cc_head_write(b, &c->head);
    return cc_db_put(g->db, g->txn, T_HEADS, c->key, SLICE(b, sizeof(b)));
}

/* Only its log has grown: the same record with the same revision and a new head. */
static int move_head(struct group *g, struct cell *c)
{
    struct stored r;
    uint8_t *copy;
    MDB_val v;
    int rc = cc_db_get(g->db, g->txn, T_RECORDS, c->key, &v);

    if (rc)
        return rc;
    copy = cc_xmalloc(v.mv_size); /* the value moves when it is written */
    memcpy(copy, v.mv_data, v.mv_size);
    v.mv_data = copy;
    if (!(rc = cc_stored_read(v, &r))) {
        r.head = c->head;
        rc = put_stored(g, c, &r);
    }
    free(copy);
    return rc;
}

static int apply_cell(struct group *g, struct cell *c)
{
    if (c->table == T_INDEX && c->write == W_PUT)
        return cc_db_put(g->db, g->txn, T_INDEX, c->key, c->text);
    if (c->table == T_INDEX)
        return c->write == W_DEL ? cc_db_del(g->db, g->txn, T_INDEX, c->key) : 0;
    if (c->write == W_PUT)
        return put_record(g, c);
    if (c->write == W_DEL)
        return del_record(g, c);
    return c->grown ? move_head(g, c) : 0;
}

/* One that is not there, has no data any more or is too old for it is left. */
static int trim_entry(struct group *g, uint64_t seq, uint64_t *trimmed)
{
    uint8_t key[8], small[TRIMMED_MAX];
    MDB_val v;
    int rc;

    cc_put64(key, seq);
    rc = cc_db_get(g->db, g->txn, T_LOG, SLICE(key, 8), &v);
    if (rc || !cc_entry_can_trim(v))
        return rc == MDB_NOTFOUND ? 0 : rc;
    rc = cc_db_put(g->db, g->txn, T_LOG, SLICE(key, 8), SLICE(small, cc_entry_trim(v, small)));
    *trimmed += !rc;
    return rc;
}

static int trim(struct group *g, struct cc_txn *t)
{
    size_t i;
    int rc = 0;

    *t->trimmed = 0; /* it may be applied again */
    for (i = 0; i < t->ntrims && !rc; i++)
        rc = trim_entry(g, t->trims[i], t->trimmed);
    return rc;
}

static int apply(struct group *g, struct cc_txn *t)
{
    struct cell *c;
    struct note *n;
    int rc = t->ntrims ? trim(g, t) : 0;

    for (n = t->notes; n && !rc; n = n->next)
        rc = append_note(g, n);
    for (c = t->cells; c && !rc; c = c->next)
        rc = apply_cell(g, c);
    return rc;
}

/* ---- a group */

/* What is broken is the update's own misfortune, as is what has changed. */
static bool concerns_others(int rc) { return rc != CC_OK && rc != CC_E_CONFLICT && rc != CC_E_CORRUPT; }

static int run_updates(struct group *g, struct cc_txn *list)
{
    struct cc_txn *t;
    int rc = cc_db_last_seq(g->db, g->txn, &g->seq);

    for (t = list; t && !rc; t = t->next) {
        t->result = check(g, t);
        if (concerns_others(t->result))
            return t->result;
        if (t->result || !t->writes)
            continue;
        rc = apply(g, t);
        g->dirty = true;
    }
    return rc;
}

/* With the engine's transaction open in g. */
static int run(struct group *g, struct cc_txn *list)
{
    uint64_t began;
    int rc, end;

    g->dirty = g->take_revs;
    g->revs = 0;
    rc = run_updates(g, list);
    if (!rc && g->take_revs)
        rc = cc_db_take_revisions(g->db, g->txn, &g->revs);
    began = cc_mono_ns();
    end = cc_db_write_finish(g->db, g->txn, g->dirty && !rc);
    if (g->dirty && !rc && !end)
        cc_metric_observe_any(g->store->writer.sync_seconds, (double)(cc_mono_ns() - began) / 1e9);
    g->txn = NULL;
    return rc ? rc : end;
}

/* Until it is durable, or cannot be. */
static int commit(struct group *g, struct cc_txn *list)
{
    int rc;

    do {
        rc = g->txn ? 0 : cc_db_write_begin(g->db, &g->txn);
        if (!rc)
            rc = run(g, list);
    } while (rc == MDB_MAP_FULL && !(rc = cc_db_grow(g->db)));
    return rc;
}

/* [lock held] What became of one update of a group that ended with `rc`, told as `whole` when that failed. */
static void tell(struct cc_writer *w, struct cc_txn *t, int rc, const struct cc_err *whole)
{
    if (rc) {
        t->err = *whole;
        t->result = whole->code;
        w->failures++;
    } else if (t->result == CC_E_CONFLICT) {
        cc_err_set(&t->err, t->result, "something that the update read was changed meanwhile");
        t->err.retryable = true;
        w->conflicts++;
    } else if (t->result) {
        cc_err_set(&t->err, t->result, "a stored value that the update needs is broken");
        w->failures++;
    } else {
        w->updates++;
    }
}

static void finish(struct group *g, struct cc_txn *list, int rc)
{
    struct cc_writer *w = &g->store->writer;
    struct cc_txn *t;
    struct cc_err err;
    unsigned n = 0;

    if (rc) {
        cc_db_err(&err, rc, "writing the store");
        cc_log(CC_LOG_ERROR, "store", "commit failed: %s", err.message);
        g->revs = 0;
    }
    pthread_mutex_lock(&w->lock);
    for (t = list; t; t = t->next, n++)
        tell(w, t, rc, &err);
    if (!rc && g->dirty)
        cc_metric_observe_any(w->batch, n);
    w->commits += !rc && g->dirty;
    if (g->revs)
        w->new_revs = g->revs;
    if (g->take_revs)
        w->want_revs = false;
    *w->done_end = list;
    while (*w->done_end)
        w->done_end = &(*w->done_end)->next;
    uv_async_send(&g->store->hand.async);
    pthread_mutex_unlock(&w->lock);
}

/* ---- the thread; everything below is called with the lock held */

static void wait_until(struct cc_writer *w, unsigned seconds, bool (*ready)(struct cc_writer *w))
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += seconds;
    while (!ready(w) && pthread_cond_timedwait(&w->wake, &w->lock, &until) != ETIMEDOUT)
        ;
}

static bool has_work(struct cc_writer *w) { return w->queue || w->stop || w->want_revs || w->turn == TURN_ASKED; }

static bool turn_over(struct cc_writer *w) { return w->turn != TURN_HELD || w->stop; }

/* As much of the queue as one commit should carry. */
static struct cc_txn *take_group(struct cc_writer *w)
{
    struct cc_txn *first = w->queue, **at = &w->queue;
    size_t n = 0, bytes = 0;

    while (*at && n++ < GROUP_UPDATES && bytes < GROUP_BYTES) {
        bytes += (*at)->bytes;
        at = &(*at)->next;
    }
    if (at == &w->queue)
        return NULL;
    w->queue = *at;
    *at = NULL;
    if (!w->queue)
        w->queue_end = &w->queue;
    return first;
}

/* Takes the engine's write lock and keeps it until the loop has run the update that asked. */
static void give_turn(struct cc_writer *w, struct group *g)
{
    int rc;

    pthread_mutex_unlock(&w->lock);
    rc = cc_db_write_begin(g->db, &g->txn);
    pthread_mutex_lock(&w->lock);
    if (rc)
        g->txn = NULL; /* the update goes on without, and meets the same error */
    w->turn = TURN_HELD;
    uv_async_send(&w->store->hand.async);
    wait_until(w, TURN_S, turn_over);
    w->turn = TURN_NONE;
    uv_async_send(&w->store->hand.async); /* the loop learns it, also when the time was over */
}

static void work(struct cc_writer *w)
{
    struct group g = { .store = w->store, .db = &w->store->db };
    struct cc_txn *list;
    int rc;

    if (w->turn == TURN_ASKED)
        give_turn(w, &g);
    g.take_revs = w->want_revs;
    list = take_group(w);
    pthread_mutex_unlock(&w->lock);
    if (list || g.take_revs) {
        rc = commit(&g, list);
        finish(&g, list, rc);
    } else if (g.txn) {
        cc_db_write_finish(g.db, g.txn, false);
    }
    pthread_mutex_lock(&w->lock);
}

/* An update is refused where it cannot read, and then nothing would ever open the store again. */
static void recover(struct cc_writer *w)
{
    if (!cc_db_is_sick(&w->store->db))
        return;
    pthread_mutex_unlock(&w->lock);
    cc_db_recover(&w->store->db);
    pthread_mutex_lock(&w->lock);
}

static void *thread_main(void *arg)
{
    struct cc_writer *w = arg;
    uint64_t checked = cc_mono_ns();

    pthread_mutex_lock(&w->lock);
    while (!w->stop || w->queue) {
        wait_until(w, cc_db_is_sick(&w->store->db) ? RECOVER_S : READER_CHECK_S, has_work);
        if (has_work(w))
            work(w);
        else
            recover(w);
        if (cc_mono_ns() - checked > READER_CHECK_S * 1000000000ull) {
            cc_db_forget_the_dead(&w->store->db);
            checked = cc_mono_ns();
        }
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

static void begin_figures(struct cc_writer *w)
{
    static const double sizes[] = { 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000 };
    static const struct cc_metric_def sync = { .kind = CC_HISTOGRAM,
                                               .name = "cchost_store_sync_seconds",
                                               .unit = "seconds",
                                               .help = "How long a commit took to be on the disk." };
    static const struct cc_metric_def batch = { .kind = CC_HISTOGRAM,
                                                .name = "cchost_store_batch_updates",
                                                .help = "Updates that shared a commit.",
                                                .buckets = sizes,
                                                .n_buckets = sizeof(sizes) / sizeof(*sizes) };

    w->sync_seconds = cc_metric_series(cc_metric_family(&sync), NULL);
    w->batch = cc_metric_series(cc_metric_family(&batch), NULL);
}

int cc_writer_start(struct cc_writer *w, struct cc_store *s)
{
    pthread_condattr_t attr;

    begin_figures(w);
    w->store = s;
    w->queue_end = &w->queue;
    w->done_end = &w->done;
    pthread_mutex_init(&w->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&w->wake, &attr);
    pthread_condattr_destroy(&attr);
    return pthread_create(&w->thread, NULL, thread_main, w);
}

void cc_writer_join(struct cc_writer *w)
{
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
}

void cc_writer_fini(struct cc_writer *w)
{
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
}
