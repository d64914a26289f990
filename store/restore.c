/* restore.c - a backup becomes the store of a folder.
 *
 * The bytes are checked while they are copied beside the store, the copy is
 * walked whole, and only then, while every other process is kept out, one
 * rename puts it in place: a crash leaves the old store or the new.  The old
 * one gets its second name before that, so nothing that fails can lose it.
 * What is made belongs to the owner of the store, though root restores it.
 */
#include "store/store_internal.h"

#include "host/sys/clock.h"
#include "host/sys/lock.h"
#include "host/sys/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct restore {
    const char *from, *dir;
    bool force;
    char *store, *data, *tmp; /* folder, its file, the new one before it is that */
    char *kept, *old;         /* where the old one goes: folder, file */
    uid_t uid;                /* whose all of it is */
    gid_t gid;
    struct cc_watcher watcher;
    struct cc_backup found;
};

/* ---- whose it is */

static int find_owner(struct restore *r, struct cc_err *err)
{
    struct stat st;

    if (stat(r->data, &st) != 0 && stat(r->dir, &st) != 0)
        return cc_err_sys(err, errno, "%s", r->dir);
    r->uid = st.st_uid;
    r->gid = st.st_gid;
    return CC_OK;
}

static int give(const struct restore *r, int fd, const char *name, struct cc_err *err)
{
    struct stat st;

    if (fstat(fd, &st) == 0 && (st.st_uid == r->uid || fchown(fd, r->uid, r->gid) == 0))
        return CC_OK;
    return cc_err_sys(err, errno, "cannot give %s to the owner of the store", name);
}

static int give_folder(const struct restore *r, const char *path, struct cc_err *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc;

    if (fd < 0)
        return cc_err_sys(err, errno, "%s", path);
    rc = give(r, fd, path, err);
    close(fd);
    return rc;
}

static int make_folders(struct restore *r, struct cc_err *err)
{
    int rc;

    if ((rc = cc_file_make_dir(r->dir, err)) || (rc = cc_file_make_dir(r->store, err)) || (rc = find_owner(r, err)))
        return rc;
    return give_folder(r, r->store, err);
}

/* ---- the old store and the new */

static int refuse_old(struct restore *r, struct cc_err *err)
{
    if (!r->force && access(r->data, F_OK) == 0)
        return cc_err_set(err, CC_E_EXISTS, "%s holds a store already", r->dir);
    return CC_OK;
}

static void forget_second_name(struct restore *r)
{
    unlink(r->old);
    rmdir(r->kept);
}

static int make_second_name(struct restore *r, struct cc_err *err)
{
    int rc = give_folder(r, r->kept, err);

    if (rc)
        return rc;
    if (link(r->data, r->old) != 0)
        return cc_err_sys(err, errno, "cannot keep the old store as %s", r->old);
    if ((rc = cc_file_sync_dir_of(r->old)) || (rc = cc_file_sync_dir_of(r->kept)))
        return cc_err_sys(err, rc, "cannot keep the old store as %s", r->old);
    return CC_OK;
}

static int keep_old(struct restore *r, struct cc_err *err)
{
    int rc;

    if (mkdir(r->kept, 0700) != 0)
        return cc_err_sys(err, errno, "cannot keep the old store in %s", r->kept);
    if ((rc = make_second_name(r, err)))
        forget_second_name(r);
    return rc;
}

static int put_in_place(struct restore *r, bool kept, struct cc_err *err)
{
    int rc;

    if (rename(r->tmp, r->data) != 0) {
        rc = cc_err_sys(err, errno, "cannot put the restored store in place");
        if (kept)
            forget_second_name(r);
        return rc;
    }
    if (!(rc = cc_file_sync_dir_of(r->data)))
        return CC_OK;
    return cc_err_sys(err, rc, "the store is restored%s%s, but a power cut may undo it",
                      kept ? ", the old one is " : "", kept ? r->old : "");
}

/* While nobody else can open it. */
static int replace(struct restore *r, struct cc_err *err)
{
    bool there = access(r->data, F_OK) == 0;
    int rc = refuse_old(r, err);

    if (!rc && there)
        rc = keep_old(r, err);
    return rc ? rc : put_in_place(r, there, err);
}

/* ---- the steps */

/* Runs fn while no process has the store open or can open it. */
static int alone(struct restore *r, int (*fn)(struct restore *r, struct cc_err *err), struct cc_err *err)
{
    int gate, lock, rc = cc_db_gate(r->store, &gate, err);

    if (rc)
        return rc;
    if (!(rc = give(r, gate, "open.lock", err)) && !(rc = cc_file_alone(r->store, &lock, err))) {
        if (!(rc = give(r, lock, "lock.mdb", err)))
            rc = fn(r, err);
        close(lock);
    }
    close(gate);
    return rc;
}

static int copy_back(struct restore *r, struct cc_err *err)
{
    int fd = open(r->tmp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600), rc;

    if (fd < 0)
        return cc_err_sys(err, errno, "cannot make %s", r->tmp);
    if (!(rc = give(r, fd, r->tmp, err)) && !(rc = cc_backup_read(r->from, fd, &r->watcher, err)) && fsync(fd) != 0)
        rc = cc_err_sys(err, errno, "writing %s", r->tmp);
    r->found.bytes = (uint64_t)lseek(fd, 0, SEEK_CUR) + BACKUP_END_BYTES;
    close(fd);
    if (!rc)
        rc = cc_backup_walk(r->tmp, false, &r->found, &r->watcher, err);
    if (rc)
        unlink(r->tmp);
    return rc;
}

/* What can refuse is asked first: the copy may take long. */
static int run_restore(struct restore *r, struct cc_err *err)
{
    int rc;

    if ((rc = alone(r, refuse_old, err)) || (rc = copy_back(r, err)))
        return rc;
    if ((rc = alone(r, replace, err)))
        unlink(r->tmp); /* ours, or in place and not there */
    return rc;
}

static int lock_and_restore(struct restore *r, struct cc_err *err)
{
    char *serve = cc_xasprintf("%s/serve.lock", r->dir);
    int lock, rc = make_folders(r, err);

    if (!rc && !(rc = cc_lock_take(serve, 0, &lock, err))) {
        if (!(rc = give(r, lock, serve, err)))
            rc = run_restore(r, err);
        close(lock);
    } else if (rc == CC_E_EXISTS) {
        cc_err_set(err, rc, "a cchost serve is running on %s", r->dir);
    }
    free(serve);
    return rc;
}

int cc_store_restore(const char *path, const char *dir, bool force, struct cc_backup *out, bool (*stop)(void *arg),
                     void *arg, struct cc_err *err)
{
    struct restore r = { .from = path, .dir = dir, .force = force, .watcher = { stop, arg } };
    long long now = cc_wall_ms();
    int rc = cc_backup_read(path, -1, &r.watcher, err);

    if (rc)
        return rc;
    r.store = cc_xasprintf("%s/store", dir);
    r.data = cc_xasprintf("%s/data.mdb", r.store);
    r.tmp = cc_xasprintf("%s.restoring-%lld", r.data, now);
    r.kept = cc_xasprintf("%s.replaced-%lld", r.store, now);
    r.old = cc_xasprintf("%s/data.mdb", r.kept);
    rc = lock_and_restore(&r, err);
    free(r.store);
    free(r.data);
    free(r.tmp);
    free(r.kept);
    free(r.old);
    if (!rc)
        *out = r.found;
    return rc;
}
