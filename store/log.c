/* log.c - reading the log, and proving that it is whole.
 *
 * Entries lie under their sequence; an object's own are found by following
 * `prev` from its head, which is in the record, or in heads once the record
 * is deleted.  Verification: each entry's hash covers its bytes, its sequence
 * and its predecessor's hash, and its number follows the predecessor's; each
 * head is its newest entry; and all chains together have as many entries as
 * the log, so none is cut off, forked or belongs to nobody.
 */
#include "store/store_internal.h"

#include <assert.h>
#include <string.h>

static int value_at(struct cc_db *db, MDB_txn *t, uint64_t seq, MDB_val *v)
{
    uint8_t key[8];

    cc_put64(key, seq);
    return cc_db_get(db, t, T_LOG, SLICE(key, 8), v);
}

static int entry_at(struct cc_db *db, MDB_txn *t, uint64_t seq, MDB_val *v, struct cc_entry *out)
{
    int rc = value_at(db, t, seq, v);

    return rc ? rc : cc_entry_read(seq, *v, out);
}

/* ---- reading */

/* The entry, and the hash of the one before it. */
static int read_row(struct cc_store *s, uint64_t seq, MDB_val v, struct cc_entry *out)
{
    static const uint8_t none[HASH_BYTES];
    struct cc_entry p;
    int rc = cc_entry_read(seq, v, out);

    if (rc)
        return rc;
    out->before = none;
    if (!out->prev)
        return 0;
    rc = out->prev < seq ? entry_at(&s->db, s->db.reader, out->prev, &v, &p) : CC_E_CORRUPT; /* else a circle */
    if (!rc)
        out->before = p.hash;
    return rc == MDB_NOTFOUND ? CC_E_CORRUPT : rc; /* cut off */
}

static int seek(MDB_cursor *c, uint64_t after, bool reverse, MDB_val *k, MDB_val *v)
{
    uint8_t key[8];
    int rc;

    if (reverse && after == 0)
        return mdb_cursor_get(c, k, v, MDB_LAST);
    cc_put64(key, reverse ? after : after + 1);
    *k = (MDB_val){ 8, key };
    rc = mdb_cursor_get(c, k, v, MDB_SET_RANGE);
    if (!reverse)
        return rc;
    return mdb_cursor_get(c, k, v, rc == MDB_NOTFOUND ? MDB_LAST : MDB_PREV);
}

static int walk(struct cc_store *s, uint64_t after, size_t limit, bool reverse, cc_entry_fn fn, void *arg)
{
    struct cc_entry e;
    MDB_cursor *c;
    MDB_val k, v;
    uint64_t seq;
    size_t n = 0;
    int rc = mdb_cursor_open(s->db.reader, s->db.dbi[T_LOG], &c);

    if (rc)
        return rc;
    for (rc = seek(c, after, reverse, &k, &v); !rc; rc = mdb_cursor_get(c, &k, &v, reverse ? MDB_PREV : MDB_NEXT))
        if ((rc = cc_key_seq(k, &seq)) || (rc = read_row(s, seq, v, &e)) || !fn(arg, &e) || ++n == limit)
            break;
    mdb_cursor_close(c);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

int cc_store_log(struct cc_store *s, uint64_t after, size_t limit, bool reverse, cc_entry_fn fn, void *arg)
{
    int rc = cc_db_read_begin(&s->db);

    if (!rc && (after < UINT64_MAX || reverse))
        rc = walk(s, after, limit, reverse, fn, arg);
    cc_db_read_end(&s->db);
    return rc ? cc_db_err(NULL, rc, "") : CC_OK;
}

static int head_of(struct cc_store *s, struct cc_slice key, struct head *out)
{
    struct stored r;
    MDB_val v;
    int rc = cc_db_get(&s->db, s->db.reader, T_RECORDS, key, &v);

    if (!rc) {
        rc = cc_stored_read(v, &r);
        *out = r.head;
    } else if (rc == MDB_NOTFOUND && !(rc = cc_db_get(&s->db, s->db.reader, T_HEADS, key, &v))) {
        rc = cc_head_read(v, out);
    }
    return rc;
}

static int follow(struct cc_store *s, struct cc_slice key, size_t limit, cc_entry_fn fn, void *arg)
{
    struct head h = { .seq = 0 };
    struct cc_entry e;
    uint64_t seq;
    size_t n = 0;
    MDB_val v;
    int rc = head_of(s, key, &h);

    for (seq = h.seq; !rc && seq; seq = e.prev) {
        rc = value_at(&s->db, s->db.reader, seq, &v);
        rc = rc == MDB_NOTFOUND ? CC_E_CORRUPT : rc ? rc : read_row(s, seq, v, &e); /* what is named is there */
        if (rc || !fn(arg, &e) || ++n == limit)
            break;
    }
    return rc;
}

int cc_store_history(struct cc_store *s, const char *kind, struct cc_slice id, size_t limit, cc_entry_fn fn, void *arg)
{
    uint8_t buf[KEY_BYTES];
    int rc = cc_db_read_begin(&s->db);

    if (!rc)
        rc = follow(s, cc_key(buf, kind, id), limit, fn, arg);
    cc_db_read_end(&s->db);
    return rc && rc != MDB_NOTFOUND ? cc_db_err(NULL, rc, "") : CC_OK;
}

/* ---- verification */

struct check {
    struct cc_db *db;
    MDB_txn *txn;
    bool (*stop)(void *arg);
    void *arg;
    size_t rows;  /* looked at behind the log */
    uint64_t seq; /* checked so far */
    uint64_t entries, objects, chained;
    uint64_t broken; /* the entry that is */
    struct cc_err *err;
};

static int broken(struct check *c, uint64_t seq, const char *why)
{
    c->broken = seq;
    return cc_err_set(c->err, CC_E_CORRUPT, "log entry %llu: %s", (unsigned long long)seq, why);
}

static bool same(struct cc_slice a, struct cc_slice b) { return a.len == b.len && memcmp(a.data, b.data, a.len) == 0; }

/* The entry before this one, its hash into `before`. */
static int check_prev(struct check *c, const struct cc_entry *e, uint8_t before[HASH_BYTES])
{
    struct cc_entry p;
    MDB_val v;

    memset(before, 0, HASH_BYTES);
    if (e->prev == 0)
        return e->count == 1 ? CC_OK : broken(c, e->seq, "an earlier entry of its object is missing");
    if (e->prev >= e->seq || entry_at(c->db, c->txn, e->prev, &v, &p))
        return broken(c, e->seq, "the entry before it is missing or broken");
    if (!same(p.kind, e->kind) || !same(p.id, e->id) || p.count + 1 != e->count)
        return broken(c, e->seq, "the entry before it is not its object's");
    memcpy(before, p.hash, HASH_BYTES);
    return CC_OK;
}

static int check_entry(struct check *c, MDB_val k, MDB_val v)
{
    uint8_t before[HASH_BYTES], hash[HASH_BYTES];
    struct cc_entry e;
    uint64_t seq;
    int rc;

    if (cc_key_seq(k, &seq) || seq != c->seq + 1)
        return broken(c, c->seq + 1, "missing");
    if (cc_entry_read(seq, v, &e))
        return broken(c, seq, "unreadable");
    memset(before, 0, sizeof(before));
    rc = check_prev(c, &e, before);
    cc_entry_hash(seq, v, before, hash);
    if (!rc && memcmp(hash, e.hash, HASH_BYTES) != 0)
        return broken(c, seq, "does not match its hash");
    c->seq = seq;
    c->entries++;
    return rc;
}

/* LMDB's own failures as a sentence; what a check has said already stays. */
static int told(struct check *c, int rc)
{
    return rc == MDB_NOTFOUND ? CC_OK : rc > 0 || rc < -1000 ? cc_db_err(c->err, rc, "reading the store") : rc;
}

enum { SOME = 4096, SOME_BYTES = 16 << 20, MORE = -100 }; /* MORE: no code of ours or the engine's */

static int check_some(struct check *c)
{
    MDB_cursor *cursor;
    MDB_val k, v;
    size_t bytes = 0;
    int rc = mdb_cursor_open(c->txn, c->db->dbi[T_LOG], &cursor), n;

    if (rc)
        return told(c, rc);
    rc = seek(cursor, c->seq, false, &k, &v);
    for (n = 0; !rc && n < SOME && bytes < SOME_BYTES; n++) {
        bytes += v.mv_size;
        if (!(rc = check_entry(c, k, v)))
            rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT);
    }
    mdb_cursor_close(cursor);
    return rc ? told(c, rc) : MORE;
}

static int check_head(struct check *c, struct cc_slice key, const struct head *h)
{
    size_t kind = strnlen(key.data, key.len);
    struct cc_entry e;
    MDB_val v;

    if (!h->count)
        return CC_OK;
    if (entry_at(c->db, c->txn, h->seq, &v, &e))
        return broken(c, h->seq, "missing, though an object names it as its newest");
    if (!same(e.kind, SLICE(key.data, kind)) || !same(e.id, SLICE(key.data + kind + 1, key.len - kind - 1)) ||
        e.count != h->count || memcmp(e.hash, h->hash, HASH_BYTES) != 0)
        return broken(c, h->seq, "an object names it as its newest, but it is not");
    c->objects++;
    c->chained += h->count;
    return CC_OK;
}

static int head_in(enum table table, MDB_val v, struct head *out)
{
    struct stored r;
    int rc;

    if (table == T_HEADS)
        return cc_head_read(v, out);
    if (!(rc = cc_stored_read(v, &r)))
        *out = r.head;
    return rc || memchr(r.text.data, '\0', r.text.len) ? CC_E_CORRUPT : CC_OK; /* pages that were lost read as zeros */
}

static int stopped(struct check *c) { return cc_err_set(c->err, CC_E_CANCELLED, "the verification was stopped"); }

/* Before each row behind the log: whether to go on. */
static int go_on(struct check *c)
{
    if (cc_db_moving(c->db))
        return MORE;
    return c->rows++ % SOME == 0 && c->stop && c->stop(c->arg) ? stopped(c) : CC_OK;
}

static int check_heads(struct check *c, enum table table)
{
    MDB_cursor *cursor;
    MDB_val k, v;
    struct head h;
    int rc = mdb_cursor_open(c->txn, c->db->dbi[table], &cursor);

    if (rc)
        return told(c, rc);
    while (!(rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT))) {
        if ((rc = go_on(c)))
            break;
        if (!memchr(k.mv_data, '\0', k.mv_size) || head_in(table, v, &h))
            rc = cc_err_set(c->err, CC_E_CORRUPT, "the record %.*s is unreadable", (int)strnlen(k.mv_data, k.mv_size),
                            (char *)k.mv_data);
        else
            rc = check_head(c, SLICE(k.mv_data, k.mv_size), &h);
        if (rc)
            break;
    }
    mdb_cursor_close(cursor);
    return told(c, rc);
}

/* The index has no proof of its own; that it can be read through is something. */
static int check_index(struct check *c)
{
    MDB_cursor *cursor;
    MDB_val k, v;
    int rc = mdb_cursor_open(c->txn, c->db->dbi[T_INDEX], &cursor);

    if (rc)
        return told(c, rc);
    while (!(rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) && !(rc = go_on(c)))
        ;
    mdb_cursor_close(cursor);
    return told(c, rc);
}

/* Of one snapshot with the end of the log. Who needs the map to move is let, and it begins again. */
static int check_rest(struct check *c)
{
    int rc;

    c->objects = c->chained = 0;
    rc = check_heads(c, T_RECORDS);
    if (!rc)
        rc = check_heads(c, T_HEADS);
    if (!rc)
        rc = check_index(c);
    if (!rc && c->chained != c->entries)
        rc = cc_err_set(c->err, CC_E_CORRUPT, "the log has %llu entries, the chains of all objects %llu",
                        (unsigned long long)c->entries, (unsigned long long)c->chained);
    return rc;
}

int cc_db_verify(struct cc_db *db, struct cc_verified *out, bool (*stop)(void *arg), void *arg, struct cc_err *err)
{
    struct check c = { .db = db, .err = err, .stop = stop, .arg = arg };
    int rc;

    do {
        if (!cc_db_let_move(db, stop, arg))
            return stopped(&c);
        if ((rc = cc_db_snapshot(db, &c.txn)))
            return cc_db_err(err, rc, "reading the store");
        rc = check_some(&c);
        if (!rc)
            rc = check_rest(&c);
        cc_db_snapshot_end(db, c.txn);
    } while (rc == MORE);
    *out = (struct cc_verified){ c.entries, c.objects, c.broken };
    return rc;
}

int cc_store_verify(struct cc_store *s, struct cc_verified *out, bool (*stop)(void *arg), void *arg, struct cc_err *err)
{
    return cc_db_verify(&s->db, out, stop, arg, err);
}
