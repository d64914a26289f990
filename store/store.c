/* store.c - opening, closing, and plain reads.
 *
 * A plain read is one short engine snapshot; what it hands out is a copy in
 * the store's scratch buffer, because a page may be written again as soon as
 * the snapshot ends.  Walks call back inside one snapshot instead.  Inside an
 * open update plain reads use that update's snapshot.
 */
#include "store/store_internal.h"

#include "host/observe/log.h"
#include "host/sys/lock.h"
#include "host/sys/mem.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct cc_store *open_stores; /* LMDB must not be opened twice by one process */

/* ---- opening */

static int refuse_second(const char *file, const char *dir, struct cc_err *err)
{
    char pid[16] = "?";
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, pid, sizeof(pid) - 1);

    if (n > 0)
        pid[n - (pid[n - 1] == '\n')] = '\0';
    if (fd >= 0)
        close(fd);
    return cc_err_set(err, CC_E_EXISTS, "another cchost serve (pid %s) is running on %s", pid, dir);
}

/* The lock is the flock; the file stays, and so does the number in it. */
static int lock_serve(const char *dir, int *out, struct cc_err *err)
{
    char *file = cc_xasprintf("%s/serve.lock", dir);
    int rc = cc_lock_take(file, 0, out, err);

    if (rc == CC_E_EXISTS)
        refuse_second(file, dir, err);
    else if (!rc && (ftruncate(*out, 0) != 0 || dprintf(*out, "%d\n", (int)getpid()) < 0))
        cc_log(CC_LOG_WARN, "store", "cannot write the pid into %s", file);
    free(file);
    return rc;
}

static int take_serve(const struct cc_store_opts *o, int *out, struct cc_err *err)
{
    if (o->serve_fd <= 0)
        return lock_serve(o->dir, out, err);
    *out = o->serve_fd;
    return 0;
}

int cc_store_serve_fd(const struct cc_store *s) { return s->serve_fd; }

void cc_store_serve_note(const struct cc_store *s)
{
    char pid[16];
    int n = snprintf(pid, sizeof(pid), "%d\n", (int)getpid());

    if (s->serve_fd >= 0 && (ftruncate(s->serve_fd, 0) != 0 || pwrite(s->serve_fd, pid, (size_t)n, 0) != n))
        cc_log(CC_LOG_WARN, "store", "cannot write the pid into the lock");
}

static int check_not_open(const char *path, struct cc_err *err)
{
    struct cc_store *s;
    char *real = realpath(path, NULL);
    bool found = false;

    for (s = open_stores; s && real; s = s->next_open)
        found = found || strcmp(s->db.path, real) == 0;
    free(real);
    return found ? cc_err_set(err, CC_E_EXISTS, "%s is open in this process already", path) : CC_OK;
}

/* The first block of revisions. A full disk must not keep anybody from reading, so failure is for later. */
static void first_revisions(struct cc_store *s)
{
    MDB_txn *t;
    int rc = cc_db_write_begin(&s->db, &t), end;

    if (rc)
        return;
    rc = cc_db_take_revisions(&s->db, t, &s->rev_next);
    end = cc_db_write_finish(&s->db, t, !rc);
    s->rev_end = rc || end ? (s->rev_next = 0) : s->rev_next + REV_BLOCK;
}

static int open_db(struct cc_store *s, const struct cc_store_opts *o, const char *path, struct cc_err *err)
{
    size_t map = o->map_mib ? o->map_mib : 1024, max = o->map_max_mib ? o->map_max_mib : (size_t)1 << 20;
    char *real = realpath(path, NULL);
    int rc;

    if (!real)
        return cc_err_sys(err, errno, "%s", path);
    rc = cc_db_open(&s->db, real, map << 20, (max > map ? max : map) << 20, err);
    free(real);
    return rc;
}

static int start(struct cc_store *s, struct cc_err *err)
{
    int rc = cc_handover_init(s);

    if (rc)
        return cc_err_set(err, CC_E_IO, "cannot start the store: %s", uv_strerror(rc));
    if (cc_writer_start(&s->writer, s))
        abort(); /* no thread to be had: nothing in this process would work */
    cc_overlay_init(&s->overlay);
    s->next_open = open_stores;
    open_stores = s;
    return CC_OK;
}

static int open_in(struct cc_store *s, const struct cc_store_opts *o, const char *path, struct cc_err *err)
{
    int rc;

    if ((rc = cc_file_make_dir(o->dir, err)) || (rc = cc_file_make_dir(path, err)) ||
        (rc = check_not_open(path, err)) || (o->serve && (rc = take_serve(o, &s->serve_fd, err))) ||
        (rc = open_db(s, o, path, err)))
        return rc;
    first_revisions(s);
    if ((rc = start(s, err)))
        cc_db_close(&s->db);
    return rc;
}

int cc_store_open(const struct cc_store_opts *o, struct cc_store **out, struct cc_err *err)
{
    struct cc_store *s = cc_xcalloc(1, sizeof(*s));
    char *path = cc_xasprintf("%s/store", o->dir);
    int rc;

    s->loop = o->loop;
    s->serve_fd = -1;
    rc = open_in(s, o, path, err);
    free(path);
    if (!rc) {
        *out = s;
        return CC_OK;
    }
    if (s->serve_fd >= 0)
        close(s->serve_fd);
    free(s);
    return rc;
}

void cc_store_close(struct cc_store *s)
{
    struct cc_store **at = &open_stores;

    assert(!s->open && !s->closing);
    s->closing = true;
    cc_handover_flush(s);
    cc_writer_join(&s->writer);
    cc_handover_close(s);
    cc_db_close(&s->db);
    if (s->serve_fd >= 0)
        close(s->serve_fd);
    while (*at != s)
        at = &(*at)->next_open;
    *at = s->next_open;
}

void cc_store_free(struct cc_store *s)
{
    cc_writer_fini(&s->writer);
    cc_overlay_fini(&s->overlay);
    free(s->scratch);
    free(s);
}

/* ---- single reads */

static const char *copy(struct cc_store *s, MDB_val v)
{
    if (s->scratch_size < v.mv_size) {
        s->scratch_size = v.mv_size + 1024;
        s->scratch = cc_xrealloc(s->scratch, s->scratch_size);
    }
    memcpy(s->scratch, v.mv_data, v.mv_size);
    return (const char *)s->scratch;
}

/* The value, in scratch. */
static int read_one(struct cc_store *s, enum table table, const char *name, struct cc_slice rest, MDB_val *out)
{
    uint8_t buf[KEY_BYTES];
    int rc = cc_db_read_begin(&s->db);

    if (!rc && !(rc = cc_db_get(&s->db, s->db.reader, table, cc_key(buf, name, rest), out)))
        out->mv_data = (void *)copy(s, *out);
    cc_db_read_end(&s->db);
    return rc ? cc_db_err(NULL, rc, "") : CC_OK;
}

int cc_store_get(struct cc_store *s, const char *kind, struct cc_slice id, struct cc_record *out)
{
    struct stored r;
    MDB_val v = { 0, NULL };
    int rc = read_one(s, T_RECORDS, kind, id, &v);

    if (rc || (rc = cc_stored_read(v, &r)))
        return rc;
    *out = (struct cc_record){ r.text, r.owner, r.rev, r.head.seq };
    return CC_OK;
}

int cc_store_lookup(struct cc_store *s, const char *index, struct cc_slice key, struct cc_slice *value)
{
    MDB_val v;
    int rc = read_one(s, T_INDEX, index, key, &v);

    if (!rc)
        *value = SLICE(v.mv_data, v.mv_size);
    return rc;
}

/* ---- walks over the keys "name NUL prefix..." */

struct walk {
    MDB_cursor *cursor;
    struct cc_slice low; /* every key begins with it */
    size_t skip;         /* of the name and its NUL */
    bool reverse;
    MDB_val key, value;
    uint8_t low_buf[KEY_BYTES];
};

static bool inside(const struct walk *w)
{
    return w->key.mv_size >= w->low.len && memcmp(w->key.mv_data, w->low.data, w->low.len) == 0;
}

static int compare(struct cc_slice a, struct cc_slice b)
{
    int c = memcmp(a.data, b.data, a.len < b.len ? a.len : b.len);

    return c ? c : (a.len > b.len) - (a.len < b.len);
}

static int step(struct walk *w, MDB_cursor_op op) { return mdb_cursor_get(w->cursor, &w->key, &w->value, op); }

static int seek(struct walk *w, struct cc_slice to)
{
    w->key = (MDB_val){ to.len, (void *)to.data };
    return step(w, MDB_SET_RANGE);
}

/* The least key behind all that begin with `low`: its last byte plus one. The name's NUL stops the carry. */
static struct cc_slice above(struct cc_slice low, uint8_t buf[KEY_BYTES])
{
    memcpy(buf, low.data, low.len);
    while (buf[low.len - 1] == 0xFF)
        low.len--;
    buf[low.len - 1]++;
    return SLICE(buf, low.len);
}

static int first_up(struct walk *w, struct cc_slice after)
{
    int rc = seek(w, after.len && compare(after, w->low) >= 0 ? after : w->low);

    if (!rc && after.len && compare(SLICE(w->key.mv_data, w->key.mv_size), after) == 0)
        rc = step(w, MDB_NEXT);
    return rc;
}

static int first_down(struct walk *w, struct cc_slice before)
{
    uint8_t buf[KEY_BYTES];
    struct cc_slice end = above(w->low, buf);
    int rc = seek(w, before.len && compare(before, end) < 0 ? before : end);

    return rc == MDB_NOTFOUND ? step(w, MDB_LAST) : rc ? rc : step(w, MDB_PREV);
}

static int first(struct walk *w, const char *name, const struct cc_range *r)
{
    uint8_t buf[KEY_BYTES];
    struct cc_slice after = SLICE("", 0);

    w->reverse = r->reverse;
    w->skip = strlen(name) + 1;
    w->low = cc_key(w->low_buf, name, r->prefix);
    if (r->after.len)
        after = cc_key(buf, name, r->after);
    return w->reverse ? first_down(w, after) : first_up(w, after);
}

typedef int (*row_fn)(void *arg, struct cc_slice key, MDB_val value); /* CC_OK, 1 to end, or negative */

static int walk_in(struct cc_store *s, enum table table, const char *name, const struct cc_range *r, row_fn fn,
                   void *arg)
{
    struct walk w;
    size_t n = 0;
    int rc = mdb_cursor_open(s->db.reader, s->db.dbi[table], &w.cursor);

    if (rc)
        return rc;
    for (rc = first(&w, name, r); !rc && inside(&w); rc = step(&w, w.reverse ? MDB_PREV : MDB_NEXT)) {
        rc = fn(arg, SLICE((char *)w.key.mv_data + w.skip, w.key.mv_size - w.skip), w.value);
        if (rc || ++n == r->limit)
            break;
    }
    mdb_cursor_close(w.cursor);
    return rc == MDB_NOTFOUND || rc == 1 ? 0 : rc;
}

static int walk(struct cc_store *s, enum table table, const char *name, const struct cc_range *r, row_fn fn, void *arg)
{
    int rc;

    assert(r->prefix.len <= CC_STORE_KEY_MAX && r->after.len <= CC_STORE_KEY_MAX);
    rc = cc_db_read_begin(&s->db);
    if (!rc)
        rc = walk_in(s, table, name, r, fn, arg);
    cc_db_read_end(&s->db);
    return rc ? cc_db_err(NULL, rc, "") : CC_OK;
}

struct rows {
    cc_record_fn record;
    cc_index_fn index;
    void *arg;
};

static int on_record(void *arg, struct cc_slice key, MDB_val value)
{
    struct rows *rows = arg;
    struct stored r;
    int rc = cc_stored_read(value, &r);

    if (rc)
        return rc;
    return !rows->record(rows->arg, key, &(struct cc_record){ r.text, r.owner, r.rev, r.head.seq });
}

static int on_index(void *arg, struct cc_slice key, MDB_val value)
{
    struct rows *rows = arg;

    return !rows->index(rows->arg, key, SLICE(value.mv_data, value.mv_size));
}

int cc_store_list(struct cc_store *s, const char *kind, const struct cc_range *r, cc_record_fn fn, void *arg)
{
    return walk(s, T_RECORDS, kind, r, on_record, &(struct rows){ fn, NULL, arg });
}

int cc_store_scan(struct cc_store *s, const char *index, const struct cc_range *r, cc_index_fn fn, void *arg)
{
    return walk(s, T_INDEX, index, r, on_index, &(struct rows){ NULL, fn, arg });
}

/* From name to name: the next one lies above all keys of this one. */
static int names_in(struct cc_store *s, enum table table, cc_name_fn fn, void *arg)
{
    struct walk w;
    uint8_t buf[KEY_BYTES];
    size_t len;
    int rc = mdb_cursor_open(s->db.reader, s->db.dbi[table], &w.cursor);

    if (rc)
        return rc;
    for (rc = step(&w, MDB_FIRST); !rc; rc = seek(&w, above(SLICE(w.key.mv_data, len + 1), buf))) {
        len = strnlen(w.key.mv_data, w.key.mv_size);
        if (len == w.key.mv_size || len > CC_STORE_NAME_MAX)
            rc = CC_E_CORRUPT;
        if (rc || !fn(arg, SLICE(w.key.mv_data, len)))
            break;
    }
    mdb_cursor_close(w.cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

int cc_store_names(struct cc_store *s, bool indexes, cc_name_fn fn, void *arg)
{
    int rc = cc_db_read_begin(&s->db);

    if (!rc)
        rc = names_in(s, indexes ? T_INDEX : T_RECORDS, fn, arg);
    cc_db_read_end(&s->db);
    return rc ? cc_db_err(NULL, rc, "") : CC_OK;
}

/* ---- looking after it */

static void table_stats(struct cc_store *s, struct cc_store_stats *out)
{
    MDB_envinfo info;
    MDB_stat st;

    if (cc_db_read_begin(&s->db) == 0) {
        if (mdb_stat(s->db.reader, s->db.dbi[T_RECORDS], &st) == 0) {
            mdb_env_info(s->db.env, &info);
            out->records = st.ms_entries;
            out->map_bytes = info.me_mapsize;
            out->used_bytes = (info.me_last_pgno + 1) * st.ms_psize;
            out->readers = info.me_numreaders;
        }
        cc_db_last_seq(&s->db, s->db.reader, &out->log_seq);
    }
    cc_db_read_end(&s->db);
}

void cc_store_stats(struct cc_store *s, struct cc_store_stats *out)
{
    struct cc_writer *w = &s->writer;

    *out = (struct cc_store_stats){ .pending = s->hand.pending };
    table_stats(s, out);
    pthread_mutex_lock(&w->lock);
    out->commits = w->commits;
    out->updates = w->updates;
    out->conflicts = w->conflicts;
    out->failures = w->failures;
    pthread_mutex_unlock(&w->lock);
}

int cc_store_reads_open(struct cc_store *s) { return atomic_load(&s->db.reads_open); }

void cc_store_fail_next(struct cc_store *s, int sys) { atomic_store(&s->db.fail_next, sys); }
