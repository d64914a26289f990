/* lmdb.c - the LMDB environment: opening it, and the map that moves.
 *
 * NOTLS, sync on, no WRITEMAP.  One lock keeps the map still: whoever has a
 * transaction open holds it shared, whoever moves the map (growth, growth by
 * another process, opening again) holds it alone.  The loop holds it only
 * inside one call or one update, so the writer waits microseconds.  The loop
 * waits for two things: the map that is opened again after a failed write
 * (milliseconds), and, when another process has grown the file, everybody else
 * who reads here, for a second at most: a writer of ours may wait for that
 * process to end its write, and reads are told "unavailable" until then.  A
 * backup in this process holds the map as long as one write of 64 KiB to its
 * target takes, a verification as long as one step.
 */
#include "store/store_internal.h"

#include "host/observe/log.h"
#include "host/sys/lock.h"
#include "host/sys/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const char *const names[T_COUNT] = { "meta", "records", "index", "log", "heads" };
#define OURS "cchost store"

/* ---- errors */

static int code_of(int rc)
{
    switch (rc) {
    case 0:
        return CC_OK;
    case MDB_MAP_FULL:
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return CC_E_FULL;
    case MDB_NOTFOUND:
        return CC_E_NOT_FOUND;
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
    case CC_E_CORRUPT:
        return CC_E_CORRUPT;
    case MDB_VERSION_MISMATCH:
        return CC_E_UNSUPPORTED;
    case MDB_READERS_FULL:
    case EBUSY:     /* another process that has grown the file holds on to it */
    case MDB_PANIC: /* until the writer has opened it again */
        return CC_E_UNAVAILABLE;
    case MDB_TXN_FULL:
        return CC_E_LIMIT;
    case EACCES:
    case EPERM:
    case EROFS:
        return CC_E_DENIED;
    default:
        return CC_E_IO;
    }
}

/* Space may come back, too. */
int cc_db_err(struct cc_err *err, int rc, const char *what)
{
    int code = code_of(rc);

    cc_err_set(err, code, "%s: %s", what, rc == CC_E_CORRUPT ? "a stored value is broken" : mdb_strerror(rc));
    if (err && code == CC_E_FULL)
        err->retryable = true;
    return code;
}

/* ---- opening */

static int open_env(struct cc_db *db, size_t map, unsigned flags)
{
    MDB_env *env;
    int fd, rc = mdb_env_create(&env);

    if (rc)
        return rc;
    mdb_env_set_maxdbs(env, T_COUNT);
    if ((rc = mdb_env_set_mapsize(env, map)) || (rc = mdb_env_open(env, db->path, MDB_NOTLS | flags, 0600))) {
        mdb_env_close(env);
        return rc;
    }
    if (mdb_env_get_fd(env, &fd) == 0)
        fcntl(fd, F_SETFD, FD_CLOEXEC);
    db->env = env;
    db->unsettled = !(flags & MDB_RDONLY);
    return 0;
}

static int open_tables(struct cc_db *db, MDB_txn *t, unsigned flags)
{
    int i, rc = 0;

    for (i = 0; i < T_COUNT && !rc; i++)
        rc = mdb_dbi_open(t, names[i], flags, &db->dbi[i]);
    return rc;
}

int cc_db_create_tables(struct cc_db *db, MDB_txn *t) { return open_tables(db, t, MDB_CREATE); }

int cc_db_put_schema(struct cc_db *db, MDB_txn *t, uint64_t schema)
{
    uint8_t b[8];

    cc_put64(b, schema);
    return cc_db_put(db, t, T_META, SLICE("schema", 6), SLICE(b, 8));
}

static int fill(struct cc_db *db, MDB_txn *t)
{
    int rc = cc_db_create_tables(db, t);

    if (!rc)
        rc = cc_db_put(db, t, T_META, SLICE("format", 6), SLICE(OURS, sizeof(OURS) - 1));
    return rc ? rc : cc_db_put_schema(db, t, CC_STORE_SCHEMA);
}

static int check_schema(struct cc_db *db, MDB_txn *t, struct cc_err *err)
{
    MDB_val v;

    if (cc_db_get(db, t, T_META, SLICE("format", 6), &v) || v.mv_size != sizeof(OURS) - 1 ||
        memcmp(v.mv_data, OURS, v.mv_size) != 0)
        return cc_err_set(err, CC_E_CORRUPT, "%s is not a store of cchost", db->path);
    if (cc_db_get(db, t, T_META, SLICE("schema", 6), &v) || v.mv_size != 8)
        return cc_err_set(err, CC_E_CORRUPT, "%s is broken: its schema version is missing", db->path);
    db->schema = cc_get64(v.mv_data);
    if (db->schema > CC_STORE_SCHEMA)
        return cc_err_set(err, CC_E_UNSUPPORTED,
                          "%s was written by a newer cchost (schema %llu, this one knows %d): "
                          "use that version, or restore a backup",
                          db->path, (unsigned long long)db->schema, CC_STORE_SCHEMA);
    return CC_OK;
}

static void close_env(struct cc_db *db)
{
    if (db->reader)
        mdb_txn_abort(db->reader);
    db->reader = NULL;
    if (db->env)
        mdb_env_close(db->env);
    db->env = NULL;
}

static int use_tables(struct cc_db *db, struct cc_err *err)
{
    MDB_txn *t;
    int rc = mdb_txn_begin(db->env, NULL, MDB_RDONLY, &t);

    if (rc)
        return cc_db_err(err, rc, db->path);
    rc = mdb_dbi_open(t, names[T_META], 0, &db->dbi[T_META]);
    if (rc == MDB_NOTFOUND || rc == MDB_INCOMPATIBLE)
        cc_err_set(err, rc = CC_E_CORRUPT, "%s is not a store of cchost", db->path);
    else if (rc)
        rc = cc_db_err(err, rc, db->path);
    else if (!(rc = check_schema(db, t, err)) && (rc = open_tables(db, t, 0)))
        rc = cc_err_set(err, CC_E_CORRUPT, "%s is broken: a table is missing", db->path);
    if (rc)
        mdb_txn_abort(t);
    else if ((rc = mdb_txn_commit(t)))
        rc = cc_db_err(err, rc, db->path);
    return rc;
}

static int open_as(struct cc_db *db, size_t map, unsigned flags, struct cc_err *err)
{
    int rc = open_env(db, map, flags);

    if (rc)
        return cc_db_err(err, rc, db->path);
    if ((rc = use_tables(db, err)))
        close_env(db);
    return rc;
}

static int open_current(struct cc_db *db, size_t map, struct cc_err *err)
{
    int rc = open_as(db, map, 0, err);

    if (rc || db->schema == CC_STORE_SCHEMA)
        return rc;
    close_env(db);
    rc = cc_migrate(db->path, map, db->map_max, err);
    return rc ? rc : open_as(db, map, 0, err);
}

/* One process at a time looks at the file, brings it up to date and opens it. LMDB's own lock is no gate: who waits
 * for it takes for granted that the one before has opened the environment. */
int cc_db_gate(const char *path, int *fd, struct cc_err *err)
{
    enum { PATIENCE_MS = 60000 };
    char *file = cc_xasprintf("%s/open.lock", path);
    int rc = cc_lock_take(file, PATIENCE_MS, fd, err);

    free(file);
    return rc == CC_E_EXISTS ? cc_err_set(err, CC_E_UNAVAILABLE, "another process is opening %s and not done", path)
                             : rc;
}

static int db_init(struct cc_db *db, const char *path, size_t map_max)
{
    memset(db, 0, sizeof(*db));
    db->path = cc_xstrdup(path);
    db->map_max = map_max;
    db->held = -1;
    return pthread_rwlock_init(&db->lock, NULL);
}

static int write_new(const char *file, size_t map)
{
    struct cc_db db;
    MDB_txn *t;
    int rc;

    unlink(file); /* of one that was stopped half-way */
    db_init(&db, file, 0);
    if (!(rc = open_env(&db, map, MDB_NOLOCK | MDB_NOSUBDIR)) && !(rc = mdb_txn_begin(db.env, NULL, 0, &t))) {
        if ((rc = fill(&db, t)))
            mdb_txn_abort(t);
        else
            rc = mdb_txn_commit(t);
    }
    cc_db_close(&db);
    return rc;
}

/* A new store is made under another name: a power cut leaves a whole one or none. */
static int make_absent(const char *path, size_t map, struct cc_err *err)
{
    char *data = cc_xasprintf("%s/data.mdb", path), *tmp = cc_xasprintf("%s.new", data);
    int rc = CC_OK;

    if (access(data, F_OK) != 0) {
        if ((rc = write_new(tmp, map)))
            rc = cc_db_err(err, rc, path);
        else if (rename(tmp, data) != 0 || (errno = cc_file_sync_dir_of(data)))
            rc = cc_err_sys(err, errno, "%s", data);
    }
    free(data);
    free(tmp);
    return rc;
}

int cc_db_open(struct cc_db *db, const char *path, size_t map, size_t map_max, struct cc_err *err)
{
    int gate, rc = cc_db_gate(path, &gate, err);

    if (rc)
        return rc;
    if (!(rc = make_absent(path, map, err)) && !(rc = cc_file_check(path, err))) {
        db_init(db, path, map_max);
        if ((rc = open_current(db, map, err)) || (rc = cc_file_hold(path, &db->held, err)))
            cc_db_close(db);
        else
            mdb_reader_check(db->env, NULL);
    }
    close(gate);
    return rc;
}

int cc_db_open_alone(struct cc_db *db, const char *path, size_t map, size_t map_max, struct cc_err *err)
{
    int rc;

    db_init(db, path, map_max);
    if ((rc = open_as(db, map, MDB_NOLOCK, err)))
        cc_db_close(db);
    return rc;
}

int cc_db_look(struct cc_db *db, const char *file, struct cc_err *err)
{
    int rc;

    db_init(db, file, 0);
    if ((rc = open_as(db, 1 << 20, MDB_RDONLY | MDB_NOLOCK | MDB_NOSUBDIR, err)))
        cc_db_close(db);
    return rc;
}

void cc_db_close(struct cc_db *db)
{
    close_env(db);
    if (db->held >= 0)
        close(db->held);
    pthread_rwlock_destroy(&db->lock);
    free(db->path);
}

/* ---- moving the map */

static void move_begin(struct cc_db *db)
{
    atomic_fetch_add(&db->moving, 1);
    pthread_rwlock_wrlock(&db->lock);
}

/* Until so much time is over. */
static bool move_begin_within(struct cc_db *db, unsigned ms)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    atomic_fetch_add(&db->moving, 1);
    if (pthread_rwlock_clockwrlock(&db->lock, CLOCK_MONOTONIC, &until) == 0)
        return true;
    atomic_fetch_sub(&db->moving, 1);
    return false;
}

static void move_end(struct cc_db *db)
{
    pthread_rwlock_unlock(&db->lock);
    atomic_fetch_sub(&db->moving, 1);
}

bool cc_db_moving(struct cc_db *db) { return atomic_load(&db->moving) != 0; }

/* The lock prefers readers, so who asked for it alone would not get it from one that comes back at once. */
bool cc_db_let_move(struct cc_db *db, bool (*stop)(void *arg), void *arg)
{
    for (;;) {
        if (stop && stop(arg))
            return false;
        if (!cc_db_moving(db))
            return true;
        poll(NULL, 0, 1);
    }
}

/* mdb_env_set_mapsize unmaps before it maps; when that fails, every later read is a crash. Ask first. */
static bool room_for(size_t size)
{
    void *p = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (p == MAP_FAILED)
        return false;
    munmap(p, size);
    return true;
}

int cc_db_grow(struct cc_db *db)
{
    MDB_envinfo info;
    size_t size;
    int rc = MDB_MAP_FULL;

    move_begin(db);
    if (!db->env) {
        move_end(db);
        return db->gone;
    }
    mdb_env_info(db->env, &info);
    size = info.me_mapsize * 2 < db->map_max ? info.me_mapsize * 2 : db->map_max;
    if (size > info.me_mapsize && room_for(size))
        rc = mdb_env_set_mapsize(db->env, size);
    move_end(db);
    cc_log(rc ? CC_LOG_ERROR : CC_LOG_INFO, "store",
           rc ? "the map of %zu MiB is full and cannot grow" : "map grown to %zu MiB",
           (rc ? info.me_mapsize : size) >> 20);
    return rc;
}

static int find_tables(struct cc_db *db)
{
    MDB_txn *t;
    int rc = mdb_txn_begin(db->env, NULL, MDB_RDONLY, &t);

    if (rc)
        return rc;
    if (!(rc = open_tables(db, t, 0)))
        return mdb_txn_commit(t);
    mdb_txn_abort(t);
    return rc;
}

/* No gate: by the lock that is held everybody knows that the store is open, so nobody mends, replaces or migrates it
 * and LMDB takes its own locks as they are. */
static int open_again(struct cc_db *db, size_t map)
{
    int rc = open_env(db, map, 0);

    if (!rc && (rc = find_tables(db)))
        close_env(db);
    return rc;
}

void cc_db_forget_the_dead(struct cc_db *db)
{
    int dead;

    pthread_rwlock_rdlock(&db->lock);
    if (db->env)
        mdb_reader_check(db->env, &dead);
    pthread_rwlock_unlock(&db->lock);
}

/* Where there is no room for the new map the old one is gone too, and who read then would crash: so the environment is closed, and
 * whoever comes next tries again. */
static int follow(struct cc_db *db)
{
    int rc = 0;

    if (db->env && (rc = mdb_env_set_mapsize(db->env, 0)))
        close_env(db);
    if (!db->env)
        rc = open_again(db, 1 << 20);
    db->gone = rc ? MDB_MAP_RESIZED : 0;
    move_end(db);
    return rc;
}

int cc_db_follow_growth(struct cc_db *db)
{
    move_begin(db);
    return follow(db);
}

/* A writer of ours that waits for the other process holds the map still as long as that does not end its write. */
int cc_db_follow_growth_soon(struct cc_db *db)
{
    enum { FIRST_MS = 1000, AGAIN_MS = 10 };

    if (!move_begin_within(db, db->kept ? AGAIN_MS : FIRST_MS)) {
        if (!db->kept)
            cc_log(CC_LOG_WARN, "store",
                   "another process has grown the file and does not end its write: it cannot be read");
        db->kept = true;
        return EBUSY;
    }
    db->kept = false;
    return follow(db);
}

int cc_db_reopen(struct cc_db *db)
{
    MDB_envinfo info = { .me_mapsize = 1 << 30 };
    int rc;

    move_begin(db);
    if (db->env)
        mdb_env_info(db->env, &info);
    close_env(db);
    db->gone = rc = open_again(db, info.me_mapsize);
    move_end(db);
    cc_log(CC_LOG_WARN, "store", "opened again after a failed write%s%s", rc ? ", which failed too: " : "",
           rc ? mdb_strerror(rc) : "");
    return rc;
}
