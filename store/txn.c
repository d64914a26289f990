/* txn.c - an update, while its function runs.
 *
 * One cell per key holds what was read (and must still hold at commit) and
 * what is to be written.  Reads come from one snapshot of the engine, with
 * the overlay of writes in flight and the update's own writes over it.  All
 * memory is one arena, freed when the update is over.
 *
 * Revisions: an update takes one number, its own, from a block that this
 * process has taken durably from meta (REV_BLOCK at a time, the next before
 * the last is used up).  So no two updates of any processes ever share one:
 * a reader of a write in flight notes a revision which exists nowhere unless
 * that very write is committed, and no other process can make it appear.
 * "Absent" and index values are compared by value, which is just as good:
 * what was read is what is there.  After a restored backup numbers come again.
 */
#include "store/store_internal.h"

#include "host/sys/clock.h"
#include "host/sys/mem.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 4096 - sizeof(struct chunk) - 64 };

/* ---- memory */

static void *take(struct cc_txn *t, size_t n)
{
    struct chunk *c = t->chunks;
    size_t size;
    void *p;

    n = (n + 7) & ~(size_t)7;
    if (!c || c->size - c->used < n) {
        size = n > CHUNK ? n : CHUNK;
        c = cc_xmalloc(sizeof(*c) + size);
        c->used = 0;
        c->size = size;
        c->next = t->chunks;
        t->chunks = c;
    }
    p = c->bytes + c->used;
    c->used += n;
    t->bytes += n;
    return p;
}

static struct cc_slice keep(struct cc_txn *t, struct cc_slice s)
{
    char *p = take(t, s.len + 1);

    if (s.len)
        memcpy(p, s.data, s.len);
    p[s.len] = '\0';
    return SLICE(p, s.len);
}

void cc_txn_free(struct cc_txn *t)
{
    struct chunk *c, *next;

    for (c = t->chunks; c; c = next) {
        next = c->next;
        free(c);
    }
    if (t->bucket != t->few)
        free(t->bucket);
    free(t->readers);
    free(t);
}

/* ---- cells */

uint64_t cc_cell_hash(enum table table, struct cc_slice key)
{
    uint64_t h = (uint64_t)table * 0x9E3779B97F4A7C15u, w;
    size_t i;

    for (i = 0; i + 8 <= key.len; i += 8) {
        memcpy(&w, key.data + i, 8);
        h = (h ^ w) * 0xFF51AFD7ED558CCDu;
        h ^= h >> 32;
    }
    w = 0;
    memcpy(&w, key.data + i, key.len - i);
    h = (h ^ w ^ (uint64_t)key.len << 56) * 0xC4CEB9FE1A85EC53u;
    return h ^ h >> 33;
}

struct cell *cc_txn_find(struct cc_txn *t, enum table table, struct cc_slice key, uint64_t hash)
{
    struct cell *c;

    for (c = t->bucket[hash & (t->nbuckets - 1)]; c; c = c->chain)
        if (c->hash == hash && c->table == table && c->key.len == key.len &&
            memcmp(c->key.data, key.data, key.len) == 0)
            return c;
    return NULL;
}

static void more_buckets(struct cc_txn *t)
{
    size_t n = t->nbuckets * 8;
    struct cell **b = cc_xcalloc(n, sizeof(struct cell *)), *c;

    for (c = t->cells; c; c = c->next) {
        c->chain = b[c->hash & (n - 1)];
        b[c->hash & (n - 1)] = c;
    }
    if (t->bucket != t->few)
        free(t->bucket);
    t->bucket = b;
    t->nbuckets = n;
}

static struct cell *touch(struct cc_txn *t, enum table table, const char *name, struct cc_slice rest)
{
    uint8_t buf[KEY_BYTES];
    struct cc_slice key = cc_key(buf, name, rest);
    uint64_t hash = cc_cell_hash(table, key);
    struct cell *c = cc_txn_find(t, table, key, hash), **b;

    assert(cc_store_key_ok(rest) && t->store->open == t);
    if (c)
        return c;
    if (++t->ncells > t->nbuckets * 2)
        more_buckets(t);
    c = take(t, sizeof(*c));
    memset(c, 0, sizeof(*c));
    c->txn = t;
    c->table = (uint8_t)table;
    c->hash = hash;
    c->key = keep(t, key);
    b = &t->bucket[hash & (t->nbuckets - 1)];
    c->chain = *b;
    *b = c;
    *t->cells_end = c;
    t->cells_end = &c->next;
    return c;
}

/* ---- begin and end */

/* 0: there is none, and the writer has been asked for more. */
static uint64_t take_revision(struct cc_store *s)
{
    if (s->rev_next == s->rev_end && s->rev_spare) {
        s->rev_next = s->rev_spare;
        s->rev_end = s->rev_spare + REV_BLOCK;
        s->rev_spare = 0;
    }
    if (s->rev_end - s->rev_next < REV_BLOCK / 2 && !s->rev_spare)
        cc_handover_want_revs(s);
    return s->rev_next < s->rev_end ? s->rev_next++ : 0;
}

struct cc_txn *cc_txn_begin(struct cc_store *s, void *turn)
{
    struct cc_txn *t = cc_xcalloc(1, sizeof(*t));

    assert(!s->open);
    t->store = s;
    t->bucket = t->few;
    t->nbuckets = TXN_BUCKETS;
    t->cells_end = &t->cells;
    t->notes_end = &t->notes;
    t->alone = turn && s->hand.held && s->hand.holder == turn;
    t->rev = take_revision(s);
    t->at = cc_wall_ms();
    t->read_rc = cc_db_read_begin(&s->db);
    s->open = t;
    return t;
}

uint64_t cc_txn_rev(const struct cc_txn *t) { return t->rev; }

int64_t cc_txn_now(const struct cc_txn *t) { return t->at; }

static void end_reading(struct cc_txn *t)
{
    cc_db_read_end(&t->store->db);
    t->store->open = NULL;
}

void cc_txn_abort(struct cc_txn *t)
{
    assert(t->store->open == t);
    end_reading(t);
    if (t->alone)
        cc_handover_done_alone(t->store);
    cc_txn_free(t);
}

/* ---- reading: own write, else write in flight, else snapshot */

static int failed(struct cc_txn *t, int rc)
{
    if (!t->read_rc)
        t->read_rc = rc;
    return cc_db_err(NULL, rc, "");
}

static struct cell *in_flight(struct cell *c)
{
    struct cell *p = NULL;

    if (!c->txn->alone)
        p = cc_overlay_find(&c->txn->store->overlay, c->table, c->key, c->hash);
    c->from = p ? p->txn : NULL;
    c->seen = true;
    c->seen_absent = p && p->write == W_DEL;
    return p;
}

static void record_of(const struct cell *c, struct cc_record *out)
{
    *out = (struct cc_record){ .text = c->text, .owner = c->owner, .rev = c->txn->rev };
}

static int read_record(struct cell *c, struct cc_record *out)
{
    struct cc_txn *t = c->txn;
    struct cell *p;
    struct stored r;
    MDB_val v;
    int rc;

    if (c->write == W_PUT)
        return record_of(c, out), CC_OK;
    if (c->write == W_DEL || t->read_rc)
        return t->read_rc ? failed(t, t->read_rc) : CC_E_NOT_FOUND;
    if ((p = in_flight(c))) {
        c->seen_rev = p->write == W_PUT ? p->txn->rev : 0;
        return p->write == W_PUT ? (record_of(p, out), CC_OK) : CC_E_NOT_FOUND;
    }
    rc = cc_db_get(&t->store->db, t->store->db.reader, T_RECORDS, c->key, &v);
    if (rc == MDB_NOTFOUND) {
        c->seen_absent = true;
        c->seen_rev = 0;
        return CC_E_NOT_FOUND;
    }
    if (rc || (rc = cc_stored_read(v, &r)))
        return failed(t, rc);
    c->seen_rev = r.rev;
    *out = (struct cc_record){ r.text, r.owner, r.rev, r.head.seq };
    return CC_OK;
}

static int read_index(struct cell *c, struct cc_slice *value)
{
    struct cc_txn *t = c->txn;
    bool known = c->seen;
    struct cell *p;
    MDB_val v;
    int rc;

    if (c->write == W_PUT)
        return *value = c->text, CC_OK;
    if (c->write == W_DEL || t->read_rc)
        return t->read_rc ? failed(t, t->read_rc) : CC_E_NOT_FOUND;
    if (!known && (p = in_flight(c))) {
        if (p->write == W_PUT)
            c->seen_value = keep(t, p->text);
    } else if (!known) {
        rc = cc_db_get(&t->store->db, t->store->db.reader, T_INDEX, c->key, &v);
        c->seen_absent = rc == MDB_NOTFOUND;
        if (rc && rc != MDB_NOTFOUND)
            return failed(t, rc);
        if (!rc)
            c->seen_value = keep(t, SLICE(v.mv_data, v.mv_size));
    }
    if (c->seen_absent)
        return CC_E_NOT_FOUND;
    *value = c->seen_value;
    return CC_OK;
}

int cc_txn_get(struct cc_txn *t, const char *kind, struct cc_slice id, struct cc_record *out)
{
    return read_record(touch(t, T_RECORDS, kind, id), out);
}

int cc_txn_lookup(struct cc_txn *t, const char *index, struct cc_slice key, struct cc_slice *value)
{
    return read_index(touch(t, T_INDEX, index, key), value);
}

/* ---- writing */

void cc_txn_put(struct cc_txn *t, const char *kind, struct cc_slice id, struct cc_slice text,
                const struct cc_slice *owner)
{
    struct cell *c = touch(t, T_RECORDS, kind, id);
    struct cc_slice whose = SLICE("", 0);
    struct cc_record now;

    assert(text.len > 0 && text.len <= CC_STORE_TEXT_MAX && (!owner || owner->len <= CC_STORE_OWNER_MAX));
    if (owner)
        whose = *owner;
    else if (read_record(c, &now) == CC_OK)
        whose = now.owner;
    c->owner = keep(t, whose);
    c->text = keep(t, text);
    c->write = W_PUT;
    t->writes = true;
}

static void mark_deleted(struct cell *c)
{
    c->write = W_DEL;
    c->txn->writes = true;
}

bool cc_txn_del(struct cc_txn *t, const char *kind, struct cc_slice id)
{
    struct cell *c = touch(t, T_RECORDS, kind, id);
    struct cc_record now;

    if (read_record(c, &now) != CC_OK)
        return false;
    mark_deleted(c);
    return true;
}

/* An entry that already says so is only checked: index pages are the expensive ones. */
void cc_txn_index(struct cc_txn *t, const char *index, struct cc_slice key, struct cc_slice value)
{
    struct cell *c = touch(t, T_INDEX, index, key);
    struct cc_slice now;

    assert(value.len <= CC_STORE_KEY_MAX);
    if (read_index(c, &now) == CC_OK && now.len == value.len && memcmp(now.data, value.data, value.len) == 0)
        return;
    c->text = keep(t, value);
    c->write = W_PUT;
    t->writes = true;
}

bool cc_txn_unindex(struct cc_txn *t, const char *index, struct cc_slice key)
{
    struct cell *c = touch(t, T_INDEX, index, key);
    struct cc_slice now;

    if (read_index(c, &now) != CC_OK)
        return false;
    mark_deleted(c);
    return true;
}

void cc_txn_log(struct cc_txn *t, const char *kind, struct cc_slice id, struct cc_slice type, struct cc_slice by,
                struct cc_slice data)
{
    struct note *n = take(t, sizeof(*n));

    assert(type.len > 0 && type.len <= CC_STORE_TYPE_MAX && by.len <= CC_STORE_BY_MAX && data.len <= CC_STORE_TEXT_MAX);
    memset(n, 0, sizeof(*n));
    n->cell = touch(t, T_RECORDS, kind, id);
    n->cell->logged = true;
    n->entry.at = t->at;
    n->entry.kind = SLICE(n->cell->key.data, strlen(kind));
    n->entry.id = SLICE(n->cell->key.data + strlen(kind) + 1, id.len);
    n->entry.type = keep(t, type);
    n->entry.by = keep(t, by);
    n->entry.data = keep(t, data);
    *t->notes_end = n;
    t->notes_end = &n->next;
    t->writes = true;
}

void cc_txn_trim(struct cc_txn *t, const uint64_t *seqs, size_t n, uint64_t *trimmed)
{
    t->trims = seqs;
    t->ntrims = n;
    t->trimmed = trimmed;
    t->bytes += n * TRIMMED_MAX;
    t->writes = true;
}

/* ---- submit */

/* What is logged must exist; found out here, where the update's own writes are all known. */
static int check_logged(struct cc_txn *t, struct cc_err *err)
{
    struct cc_record now;
    struct note *n;

    for (n = t->notes; n; n = n->next)
        if (n->cell->write == W_NONE && read_record(n->cell, &now) != CC_OK && !t->read_rc)
            return cc_err_set(err, CC_E_INVALID, "a log entry for %.*s %.*s, which does not exist",
                              (int)n->entry.kind.len, n->entry.kind.data, (int)n->entry.id.len, n->entry.id.data);
    return CC_OK;
}

static bool reads_in_flight(const struct cc_txn *t)
{
    const struct cell *c;

    for (c = t->cells; c; c = c->next)
        if (c->from)
            return true;
    return false;
}

static int refuse(struct cc_txn *t, struct cc_err *err)
{
    int rc = check_logged(t, err);

    if (t->read_rc)
        return cc_db_err(err, t->read_rc, "reading the store");
    if (rc)
        return rc;
    if (t->store->closing)
        return cc_err_set(err, CC_E_STATE, "the store is closing");
    if (!t->writes && !reads_in_flight(t))
        return CC_TXN_IDLE;
    if (t->rev)
        return CC_OK;
    cc_err_set(err, CC_E_FULL, "the store could not take revision numbers, the disk may be full");
    if (err)
        err->retryable = true;
    return CC_E_FULL;
}

int cc_txn_submit(struct cc_txn *t, cc_commit_fn fn, void *arg, struct cc_err *err)
{
    struct cc_store *s = t->store;
    int rc;

    assert(s->open == t);
    if ((rc = refuse(t, err))) {
        cc_txn_abort(t);
        return rc;
    }
    t->fn = fn;
    t->arg = arg;
    end_reading(t);
    cc_overlay_add(&s->overlay, t);
    cc_handover_submit(s, t);
    return CC_OK;
}
