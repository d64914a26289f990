/* migrate.c - an older store becomes one of this schema.
 *
 * All steps and the new number are one transaction, so a step that fails and
 * a process that dies leave the store as it was.  Meanwhile nobody else may
 * have it open: an older program would go on writing as it knows.  So the
 * lock that every opener of LMDB's takes is held here, alone, and the
 * environment is opened without locks of its own.
 */
#include "store/store_internal.h"

#include "host/observe/log.h"

#include <string.h>
#include <unistd.h>

static const struct cc_step ours[] = {
    { 1, NULL }, /* log entries of format 2 may come; those of format 1 are read as they are */
    { 0, NULL },
};
static const struct cc_step *steps = ours;

void cc_migrate_use(const struct cc_step *other) { steps = other ? other : ours; }

static bool lead_here(uint64_t at)
{
    const struct cc_step *s;

    for (s = steps; s->from; s++)
        at += s->from == at;
    return at == CC_STORE_SCHEMA;
}

static int run_steps(struct cc_db *db, MDB_txn *t)
{
    const struct cc_step *s;
    uint64_t at = db->schema;
    int rc = cc_db_create_tables(db, t);

    for (s = steps; s->from && !rc; s++) {
        if (s->from != at)
            continue;
        rc = s->run ? s->run(db, t) : 0;
        at++;
    }
    return rc ? rc : cc_db_put_schema(db, t, at);
}

static int try_once(struct cc_db *db)
{
    MDB_txn *t;
    int rc = mdb_txn_begin(db->env, NULL, 0, &t);

    if (rc)
        return rc;
    if (!(rc = run_steps(db, t)))
        return mdb_txn_commit(t);
    mdb_txn_abort(t);
    return rc;
}

static int run(struct cc_db *db)
{
    int rc = cc_db_recover(db);

    if (rc)
        return rc;
    while ((rc = try_once(db)) == MDB_MAP_FULL && !(rc = cc_db_grow(db)))
        ;
    return rc;
}

static int bring_up(struct cc_db *db, struct cc_err *err)
{
    uint64_t from = db->schema;
    int rc;

    if (!lead_here(from))
        return cc_err_set(err, CC_E_CORRUPT, "%s is broken: there is no schema %llu; restore a backup", db->path,
                          (unsigned long long)from);
    if (from == CC_STORE_SCHEMA)
        return CC_OK;
    if ((rc = run(db)))
        return cc_db_err(err, rc, "the store stays as it was, it cannot be brought up to date");
    cc_log(CC_LOG_INFO, "store", "brought from schema %llu to %d", (unsigned long long)from, CC_STORE_SCHEMA);
    return CC_OK;
}

int cc_migrate(const char *path, size_t map, size_t map_max, struct cc_err *err)
{
    struct cc_db db;
    int lock, rc = cc_file_alone(path, &lock, err);

    if (rc == CC_E_EXISTS)
        return cc_err_set(err, rc, "%s is of an older cchost and open in another process: end that one first", path);
    if (rc)
        return rc;
    if (!(rc = cc_db_open_alone(&db, path, map, map_max, err))) {
        rc = bring_up(&db, err);
        cc_db_close(&db);
    }
    close(lock);
    return rc;
}
