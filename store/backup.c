/* backup.c - a consistent copy while the store is in use. restore.c is the way back.
 *
 * LMDB writes the copy of one snapshot, without its free pages, into a pipe;
 * here it is hashed on its way into the file, which ends with that hash: LMDB
 * has no checksums, and what is mapped must not be broken.  The copy is then
 * read back and walked like any store.  A snapshot keeps the map where it is,
 * so when somebody needs to move that, the copy begins again behind them.
 */
#include "store/store_internal.h"

#include "host/sys/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <mbedtls/sha256.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The end of a backup: magic, length of what lies before as u64, 8 bytes 0, its SHA-256. */
enum { BLOCK = 65536, MAGIC_BYTES = 16, END_BYTES = BACKUP_END_BYTES };
_Static_assert(END_BYTES == MAGIC_BYTES + 16 + HASH_BYTES, "the end of a backup");
static const char magic[MAGIC_BYTES + 1] = "cchost backup 1\n";

static bool stopped(const struct cc_watcher *w) { return w->stop && w->stop(w->arg); }

static int told_to_stop(struct cc_err *err) { return cc_err_set(err, CC_E_CANCELLED, "it was stopped"); }

/* ---- bytes */

static int write_all(int fd, const uint8_t *p, size_t n)
{
    ssize_t w;

    for (; n; p += w, n -= (size_t)w)
        if ((w = write(fd, p, n)) < 0) {
            if (errno != EINTR)
                return errno;
            w = 0;
        }
    return 0;
}

/* Reads `n` bytes of `from`, hashes them and, where `to` is not -1, writes them there. */
static int pass_on(int from, int to, uint64_t n, uint8_t hash[HASH_BYTES], const struct cc_watcher *w,
                   struct cc_err *err)
{
    uint8_t *b = cc_xmalloc(BLOCK);
    mbedtls_sha256_context c;
    ssize_t got = 0;
    int rc = CC_OK, sys = 0;

    mbedtls_sha256_init(&c);
    mbedtls_sha256_starts_ret(&c, 0);
    for (; n && !rc; n -= (uint64_t)got) {
        if ((got = read(from, b, n < BLOCK ? (size_t)n : BLOCK)) > 0) {
            mbedtls_sha256_update_ret(&c, b, (size_t)got);
            sys = to < 0 ? 0 : write_all(to, b, (size_t)got);
        } else {
            sys = got < 0 ? errno : EIO; /* it was longer a moment ago */
            got = 0;
        }
        if (sys)
            rc = cc_err_sys(err, sys, "copying the backup");
        else if (stopped(w))
            rc = told_to_stop(err);
    }
    mbedtls_sha256_finish_ret(&c, hash);
    mbedtls_sha256_free(&c);
    free(b);
    return rc;
}

/* ---- the copy */

struct copier { /* LMDB's side of the pipe, on a thread of its own */
    struct cc_db *db;
    int fd, rc;
};

static void *copier_main(void *arg)
{
    struct copier *c = arg;

    c->rc = cc_db_copy(c->db, c->fd);
    close(c->fd);
    return NULL;
}

enum { AGAIN = 1 };

/* Our side: until the end of the copy, or until it is to be broken off. 0 or an errno; ERESTART: begin again. */
static int drain(int from, int to, struct cc_db *db, const struct cc_watcher *w, mbedtls_sha256_context *hash)
{
    uint8_t *b = cc_xmalloc(BLOCK);
    ssize_t n = 1;
    int rc = 0;

    while (!rc && n > 0) {
        if (stopped(w))
            rc = ECANCELED;
        else if (cc_db_moving(db))
            rc = ERESTART;
        else if ((n = read(from, b, BLOCK)) > 0) {
            mbedtls_sha256_update_ret(hash, b, (size_t)n);
            rc = write_all(to, b, (size_t)n);
        } else if (n < 0)
            rc = errno;
    }
    free(b);
    return rc;
}

static int copy_through(int to, struct cc_db *db, const struct cc_watcher *w, mbedtls_sha256_context *hash,
                        struct cc_err *err)
{
    struct copier c = { .db = db };
    pthread_t thread;
    int ends[2], rc;

    if (pipe2(ends, O_CLOEXEC) != 0)
        return cc_err_sys(err, errno, "backing up the store");
    c.fd = ends[1];
    if ((rc = pthread_create(&thread, NULL, copier_main, &c))) {
        close(ends[0]);
        close(ends[1]);
        return cc_err_sys(err, rc, "backing up the store");
    }
    rc = drain(ends[0], to, db, w, hash);
    close(ends[0]); /* ends the copier too, when it is not done */
    pthread_join(thread, NULL);
    if (rc == ERESTART || c.rc == MDB_MAP_RESIZED) /* the latter: another process has grown the file */
        return AGAIN;
    if (rc)
        return rc == ECANCELED ? told_to_stop(err) : cc_err_sys(err, rc, "writing the backup");
    return c.rc ? cc_db_err(err, c.rc, "reading the store") : CC_OK;
}

static int begin_again(int fd, struct cc_db *db, const struct cc_watcher *w, struct cc_err *err)
{
    if (!cc_db_let_move(db, w->stop, w->arg))
        return told_to_stop(err);
    return ftruncate(fd, 0) == 0 && lseek(fd, 0, SEEK_SET) == 0 ? CC_OK : cc_err_sys(err, errno, "writing the backup");
}

static int finish_copy(int fd, const uint8_t hash[HASH_BYTES], struct cc_err *err)
{
    uint8_t end[END_BYTES] = { 0 };
    off_t len = lseek(fd, 0, SEEK_CUR);
    int rc;

    memcpy(end, magic, MAGIC_BYTES);
    cc_put64(end + MAGIC_BYTES, (uint64_t)len);
    memcpy(end + END_BYTES - HASH_BYTES, hash, HASH_BYTES);
    if ((rc = write_all(fd, end, END_BYTES)) || (rc = fsync(fd) != 0 ? errno : 0))
        return cc_err_sys(err, rc, "writing the backup");
    return CC_OK;
}

static int write_copy(int fd, struct cc_db *db, const struct cc_watcher *w, struct cc_err *err)
{
    mbedtls_sha256_context c;
    uint8_t hash[HASH_BYTES];
    int rc;

    do {
        if ((rc = begin_again(fd, db, w, err)))
            return rc;
        mbedtls_sha256_init(&c);
        mbedtls_sha256_starts_ret(&c, 0);
        rc = copy_through(fd, db, w, &c, err);
        mbedtls_sha256_finish_ret(&c, hash);
        mbedtls_sha256_free(&c);
    } while (rc == AGAIN);
    return rc ? rc : finish_copy(fd, hash, err);
}

/* ---- reading a backup */

/* Length and hash of what a backup holds. */
static int read_end(int fd, const char *path, uint64_t *len, uint8_t hash[HASH_BYTES], struct cc_err *err)
{
    uint8_t end[END_BYTES];
    struct stat st;

    if (fstat(fd, &st) != 0)
        return cc_err_sys(err, errno, "cannot read %s", path);
    if (st.st_size <= END_BYTES || pread(fd, end, END_BYTES, st.st_size - END_BYTES) != END_BYTES ||
        memcmp(end, magic, MAGIC_BYTES) != 0 || cc_get64(end + MAGIC_BYTES) != (uint64_t)st.st_size - END_BYTES)
        return cc_err_set(err, CC_E_CORRUPT, "%s is not a backup of cchost, or its end is missing", path);
    *len = (uint64_t)st.st_size - END_BYTES;
    memcpy(hash, end + END_BYTES - HASH_BYTES, HASH_BYTES);
    return CC_OK;
}

int cc_backup_read(const char *path, int to, const struct cc_watcher *w, struct cc_err *err)
{
    uint8_t want[HASH_BYTES], hash[HASH_BYTES];
    int fd = open(path, O_RDONLY | O_CLOEXEC), rc;
    uint64_t len = 0;

    if (fd < 0)
        return cc_err_sys(err, errno, "cannot open %s", path);
    if (!(rc = read_end(fd, path, &len, want, err))) {
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED); /* from the disk, not from memory */
        rc = pass_on(fd, to, len, hash, w, err);
        if (!rc && memcmp(hash, want, HASH_BYTES) != 0)
            rc = cc_err_set(err, CC_E_CORRUPT, "%s is broken: these are not the bytes that were backed up", path);
    }
    close(fd);
    return rc;
}

static int last_seq_of(struct cc_db *db, uint64_t *out)
{
    MDB_txn *t;
    int rc = cc_db_snapshot(db, &t);

    if (rc)
        return rc;
    rc = cc_db_last_seq(db, t, out);
    cc_db_snapshot_end(db, t);
    return rc;
}

int cc_backup_walk(const char *file, bool even_broken, struct cc_backup *out, const struct cc_watcher *w,
                   struct cc_err *err)
{
    struct cc_err fault;
    struct cc_verified v = { 0 };
    struct cc_db db;
    int rc = cc_db_look(&db, file, err);

    if (rc)
        return rc;
    rc = cc_db_verify(&db, &v, w->stop, w->arg, &fault);
    if (rc == CC_E_CORRUPT && even_broken) {
        out->fault = fault;
        rc = CC_OK;
    } else if (rc && err) {
        *err = fault;
    }
    out->entries = v.entries;
    out->objects = v.objects;
    out->broken = v.broken;
    if (!rc && (rc = last_seq_of(&db, &out->log_seq)))
        rc = cc_db_err(err, rc, "reading the copy");
    cc_db_close(&db);
    return rc;
}

/* ---- backup */

/* Network file systems do not know the flag, old kernels not the call, but both know links. */
static int rename_new(const char *from, const char *to)
{
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
        return 0;
    return (errno == EINVAL || errno == ENOSYS) && link(from, to) == 0 ? unlink(from) : -1;
}

/* What may not last is not left, or the next try would be told that it is there. */
static int put_in_place(const char *from, const char *to, struct cc_err *err)
{
    int rc;

    if (rename_new(from, to) != 0)
        return cc_err_sys(err, errno, "cannot make %s", to);
    if (!(rc = cc_file_sync_dir_of(to)))
        return CC_OK;
    unlink(to);
    return cc_err_sys(err, rc, "cannot sync the folder of %s", to);
}

static int backup_into(int fd, const char *tmp, struct cc_db *db, bool even_broken, struct cc_backup *out,
                       const struct cc_watcher *w, struct cc_err *err)
{
    int rc;

    if ((rc = write_copy(fd, db, w, err)) || (rc = cc_backup_read(tmp, -1, w, err)))
        return rc;
    out->bytes = (uint64_t)lseek(fd, 0, SEEK_CUR);
    return cc_backup_walk(tmp, even_broken, out, w, err);
}

int cc_store_backup(struct cc_store *s, const char *path, bool even_broken, struct cc_backup *out,
                    bool (*stop)(void *arg), void *arg, struct cc_err *err)
{
    struct cc_watcher w = { stop, arg };
    struct cc_backup made = { 0 };
    char *tmp;
    int fd, rc;

    if (access(path, F_OK) == 0)
        return cc_err_set(err, CC_E_EXISTS, "%s is there already", path);
    tmp = cc_xasprintf("%s.new-XXXXXX", path);
    if ((fd = mkostemp(tmp, O_CLOEXEC)) < 0) {
        rc = cc_err_sys(err, errno, "cannot make a file beside %s", path);
    } else {
        if (!(rc = backup_into(fd, tmp, &s->db, even_broken, &made, &w, err)))
            rc = put_in_place(tmp, path, err);
        if (rc)
            unlink(tmp);
        close(fd);
    }
    free(tmp);
    if (!rc)
        *out = made;
    return rc;
}
