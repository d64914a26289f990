/* access.c - reading and writing what lmdb.c has opened: snapshots, the write transaction, keys and values.
 *
 * Whoever has a transaction open holds the lock that keeps the map still.
 * The loop's one read transaction is reset and renewed, never kept over a
 * wait; every other is its user's own.
 */
#include "store/store_internal.h"

#include "host/sys/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* ---- snapshots */

static int begin(struct cc_db *db, unsigned flags, MDB_txn **t)
{
    int rc;

    pthread_rwlock_rdlock(&db->lock);
    if (!db->env)
        rc = db->gone;
    else
        rc = *t ? mdb_txn_renew(*t) : mdb_txn_begin(db->env, NULL, flags, t);
    if (rc)
        pthread_rwlock_unlock(&db->lock);
    return rc;
}

static int begin_by(struct cc_db *db, unsigned flags, MDB_txn **t, int (*follow)(struct cc_db *db))
{
    int rc = begin(db, flags, t);

    if (rc == MDB_MAP_RESIZED && !(rc = follow(db)))
        rc = begin(db, flags, t);
    return rc;
}

static int begin_following(struct cc_db *db, unsigned flags, MDB_txn **t)
{
    return begin_by(db, flags, t, cc_db_follow_growth);
}

int cc_db_read_begin(struct cc_db *db)
{
    if (db->depth++ > 0)
        return db->depth_rc;
    /* The loop waits for nobody for long. */
    if (!(db->depth_rc = begin_by(db, MDB_RDONLY, &db->reader, cc_db_follow_growth_soon)))
        atomic_fetch_add(&db->reads_open, 1);
    return db->depth_rc;
}

void cc_db_read_end(struct cc_db *db)
{
    if (--db->depth > 0 || db->depth_rc)
        return;
    mdb_txn_reset(db->reader);
    atomic_fetch_sub(&db->reads_open, 1);
    pthread_rwlock_unlock(&db->lock);
}

int cc_db_snapshot(struct cc_db *db, MDB_txn **out)
{
    int rc;

    *out = NULL;
    if (!(rc = begin_following(db, MDB_RDONLY, out)))
        atomic_fetch_add(&db->reads_open, 1);
    return rc;
}

void cc_db_snapshot_end(struct cc_db *db, MDB_txn *t)
{
    mdb_txn_abort(t);
    atomic_fetch_sub(&db->reads_open, 1);
    pthread_rwlock_unlock(&db->lock);
}

/* A snapshot of ours first: it follows what another process has grown. */
int cc_db_copy(struct cc_db *db, int fd)
{
    MDB_txn *t;
    int rc = cc_db_snapshot(db, &t);

    if (rc)
        return rc;
    rc = mdb_env_copyfd2(db->env, fd, MDB_CP_COMPACT);
    cc_db_snapshot_end(db, t);
    return rc;
}

/* ---- writing, and what may go wrong with it
 *
 * A commit that fails before its meta page has happened nowhere.  When writing the meta page itself fails, LMDB puts
 * the old one back into memory and refuses everything from then on; what the disk has, nobody knows.  If it has the
 * new one, the next commit would write over pages that it names, and a power cut then leaves a broken store.  So both
 * meta pages are written again as memory has them and synced, before anything else is written.  Until that succeeds,
 * updates fail as the disk does, and reading goes on.  Between the failure and the new opening, which is at once, a read
 * is told "unavailable"; when it cannot be opened (no file descriptor is left) reads are told why, and the writer tries
 * again every second and with every update.  The same is due after opening: whoever had the store before may
 * have died in that state. */

/* The first sector is all there is of a meta page. */
static bool write_again(int fd, off_t at)
{
    enum { SECTOR = 512 };
    uint8_t b[SECTOR];

    errno = EIO; /* of a short one */
    return pread(fd, b, SECTOR, at) == SECTOR && pwrite(fd, b, SECTOR, at) == SECTOR;
}

/* Whoever made the file and its folder may have died before their names were durable. */
static int sync_names(struct cc_db *db)
{
    char *file = cc_xasprintf("%s/data.mdb", db->path);
    int rc = cc_file_sync_dir_of(file);

    free(file);
    return rc ? rc : cc_file_sync_dir_of(db->path);
}

/* With the engine's lock, so that no other process commits meanwhile. */
static int settle(struct cc_db *db)
{
    MDB_txn *t = NULL;
    MDB_stat st;
    int fd, rc = begin_following(db, 0, &t);

    if (rc)
        return rc;
    mdb_env_stat(db->env, &st);
    mdb_env_get_fd(db->env, &fd);
    if (!write_again(fd, 0) || !write_again(fd, st.ms_psize) || fdatasync(fd) != 0)
        rc = errno;
    else if (!(rc = sync_names(db)))
        db->unsettled = false;
    mdb_txn_abort(t);
    pthread_rwlock_unlock(&db->lock);
    return rc;
}

bool cc_db_is_sick(struct cc_db *db) { return db->refuses || db->unsettled; }

int cc_db_recover(struct cc_db *db)
{
    int rc;

    if (db->refuses && (rc = cc_db_reopen(db)))
        return rc;
    db->refuses = false;
    return db->unsettled ? settle(db) : 0;
}

static void look_after(struct cc_db *db)
{
    MDB_txn *t = NULL;
    int rc = begin_following(db, MDB_RDONLY, &t);

    if (!rc) {
        mdb_txn_abort(t);
        pthread_rwlock_unlock(&db->lock);
    }
    if (rc != MDB_PANIC)
        return;
    db->refuses = true;
    db->unsettled = true;
    cc_db_recover(db);
}

int cc_db_write_begin(struct cc_db *db, MDB_txn **out)
{
    int rc = cc_db_is_sick(db) ? cc_db_recover(db) : 0;

    *out = NULL;
    return rc ? rc : begin_following(db, 0, out);
}

/* LMDB calls a write that stopped half-way EIO, though the system said nothing; on a full disk that is how it begins. */
static int commit(struct cc_db *db, MDB_txn *t)
{
    enum { NEARLY_NONE = 8 << 20 };
    struct statvfs v;
    int rc;

    errno = 0;
    rc = mdb_txn_commit(t);
    if (rc == EIO && errno != EIO && statvfs(db->path, &v) == 0 && v.f_bavail * v.f_frsize < NEARLY_NONE)
        return ENOSPC;
    return rc;
}

int cc_db_write_finish(struct cc_db *db, MDB_txn *t, bool keep)
{
    int rc = keep ? atomic_exchange(&db->fail_next, 0) : 0;

    if (keep && !rc)
        rc = commit(db, t);
    else
        mdb_txn_abort(t);
    pthread_rwlock_unlock(&db->lock);
    if (keep && rc)
        look_after(db);
    return rc;
}

/* ---- keys and values */

static MDB_val val(struct cc_slice s) { return (MDB_val){ s.len, (void *)s.data }; }

int cc_db_get(struct cc_db *db, MDB_txn *t, enum table table, struct cc_slice key, MDB_val *out)
{
    MDB_val k = val(key);

    return mdb_get(t, db->dbi[table], &k, out);
}

int cc_db_put(struct cc_db *db, MDB_txn *t, enum table table, struct cc_slice key, struct cc_slice value)
{
    MDB_val k = val(key), v = val(value);

    return mdb_put(t, db->dbi[table], &k, &v, 0);
}

void *cc_db_reserve(struct cc_db *db, MDB_txn *t, enum table table, struct cc_slice key, size_t len, unsigned flags,
                    int *rc)
{
    MDB_val k = val(key), v = { len, NULL };

    *rc = mdb_put(t, db->dbi[table], &k, &v, MDB_RESERVE | flags);
    return *rc ? NULL : v.mv_data;
}

int cc_db_del(struct cc_db *db, MDB_txn *t, enum table table, struct cc_slice key)
{
    MDB_val k = val(key);
    int rc = mdb_del(t, db->dbi[table], &k, NULL);

    return rc == MDB_NOTFOUND ? 0 : rc;
}

int cc_db_last_seq(struct cc_db *db, MDB_txn *t, uint64_t *out)
{
    MDB_cursor *c;
    MDB_val k, v;
    int rc = mdb_cursor_open(t, db->dbi[T_LOG], &c);

    if (rc)
        return rc;
    rc = mdb_cursor_get(c, &k, &v, MDB_LAST);
    mdb_cursor_close(c);
    if (!rc)
        rc = cc_key_seq(k, out);
    else if (rc == MDB_NOTFOUND)
        *out = rc = 0;
    return rc;
}

int cc_db_take_revisions(struct cc_db *db, MDB_txn *t, uint64_t *first)
{
    struct cc_slice key = SLICE("next_rev", 8);
    uint64_t next = 1;
    uint8_t b[8];
    MDB_val v;
    int rc = cc_db_get(db, t, T_META, key, &v);

    if (rc && rc != MDB_NOTFOUND)
        return rc;
    if (!rc && (v.mv_size != 8 || (next = cc_get64(v.mv_data)) == 0 || next > REV_LAST - REV_BLOCK))
        return CC_E_CORRUPT;
    cc_put64(b, next + REV_BLOCK);
    if ((rc = cc_db_put(db, t, T_META, key, SLICE(b, 8))))
        return rc;
    *first = next;
    return 0;
}
