/* file.c - a look at the data file before LMDB maps it.
 *
 * LMDB 0.9 trusts what it maps: pages have no checksums, and a file that was
 * cut short kills the process.  So both meta pages and the length are looked
 * at first.  A good file may be short as well: pages that a commit took and
 * gave up again are never written, also when they were the last.  What
 * lacks is then added as zeros, and a child process reads everything: if that
 * ends it, there was something in it.
 */
#include "store/store_internal.h"

#include "host/observe/log.h"
#include "host/sys/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct page_meta {
    uint64_t mapsize, last_page, txn;
    uint32_t page_size;
};

/* Offsets of a meta page of LMDB 0.9 on a 64-bit machine. */
static bool read_meta(int fd, off_t at, struct page_meta *out)
{
    enum { FLAGS = 10, MAGIC = 16, VERSION = 20, MAPSIZE = 32, PAGE_SIZE = 40, LAST_PAGE = 136, TXN = 144, END = 152 };
    uint8_t b[END];
    uint32_t magic, version;
    uint16_t flags;

    if (pread(fd, b, END, at) != END)
        return false;
    memcpy(&flags, b + FLAGS, sizeof(flags));
    memcpy(&magic, b + MAGIC, sizeof(magic));
    memcpy(&version, b + VERSION, sizeof(version));
    memcpy(&out->page_size, b + PAGE_SIZE, sizeof(out->page_size));
    memcpy(&out->mapsize, b + MAPSIZE, sizeof(out->mapsize));
    memcpy(&out->last_page, b + LAST_PAGE, sizeof(out->last_page));
    memcpy(&out->txn, b + TXN, sizeof(out->txn));
    return magic == 0xBEEFC0DE && version == 1 && (flags & 0x08) && out->page_size >= 512 && out->page_size <= 65536 &&
           (out->page_size & (out->page_size - 1)) == 0;
}

/* ---- names: the folder has them when it is synced */

/* EINVAL: a file system that has no sync for folders, and so nothing to wait for. */
int cc_file_sync_dir_of(const char *path)
{
    char *copy = cc_xstrdup(path);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd < 0 || fsync(fd) != 0 ? errno : 0;

    if (fd >= 0)
        close(fd);
    free(copy);
    return rc == EINVAL ? 0 : rc;
}

static int make_above(const char *path, struct cc_err *err)
{
    char *copy = cc_xstrdup(path);
    int rc = cc_file_make_dir(dirname(copy), err);

    free(copy);
    return rc;
}

/* One that is there may be of a process that died before it could sync: so it is done again, where we may. */
int cc_file_make_dir(const char *path, struct cc_err *err)
{
    bool made = mkdir(path, 0700) == 0;
    int rc;

    if (!made && errno == ENOENT) {
        if ((rc = make_above(path, err)))
            return rc;
        made = mkdir(path, 0700) == 0;
    }
    if (!made && errno != EEXIST)
        return cc_err_sys(err, errno, "cannot make the folder %s", path);
    rc = cc_file_sync_dir_of(path);
    return made && rc ? cc_err_sys(err, rc, "cannot sync the folder of %s", path) : CC_OK;
}

/* ---- the child: exit code 0 when all can be read */

/* What ends it where a page is missing, or is nonsense. */
static const int faults[] = { SIGBUS, SIGSEGV, SIGABRT };

/* Locks belong to open files, so they would outlive a parent that is killed, as long as the child has them, too. */
static void hold_nothing_and_die_with(pid_t parent)
{
    struct rlimit no_core = { 0, 0 };
    size_t i;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    closefrom(STDERR_FILENO + 1);
    setrlimit(RLIMIT_CORE, &no_core);
    for (i = 0; i < sizeof(faults) / sizeof(*faults); i++)
        signal(faults[i], SIG_DFL); /* no handler goes on in its stead */
}

/* A compact copy accounts for every page: the last one that the file names must be the last one that there is. */
static void read_all(const char *file)
{
    struct cc_verified all;
    struct cc_db db;
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

    dup2(null, STDERR_FILENO); /* LMDB's last words help nobody */
    _exit(null < 0 || cc_db_look(&db, file, NULL) || cc_db_verify(&db, &all, NULL, NULL, NULL) ||
          cc_db_copy(&db, null));
}

/* Whoever else ended it, for its memory or by hand, says nothing of the file. */
static bool found_broken(int status)
{
    size_t i;

    if (WIFEXITED(status))
        return WEXITSTATUS(status) != 0;
    for (i = 0; i < sizeof(faults) / sizeof(*faults); i++)
        if (WTERMSIG(status) == faults[i])
            return true;
    return false;
}

static int read_by_child(const char *file, struct cc_err *err)
{
    int status = 0;
    pid_t parent = getpid(), pid = fork();

    if (pid == 0) {
        hold_nothing_and_die_with(parent);
        read_all(file);
    }
    while (pid > 0 && waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            pid = -1;
    if (pid < 0)
        return cc_err_sys(err, errno, "%s is shorter than it says, and no process could check it", file);
    if (status == 0)
        return CC_OK;
    if (found_broken(status))
        return cc_err_set(err, CC_E_CORRUPT, "%s is broken, its end is missing; restore a backup", file);
    return cc_err_set(err, CC_E_IO, "%s is shorter than it says, and what checked it was ended by signal %d; try again",
                      file, WTERMSIG(status));
}

/* ---- who has it open: every process that has holds a shared lock on the first byte of lock.mdb */

static int open_lock(const char *path)
{
    char *file = cc_xasprintf("%s/lock.mdb", path);
    int fd = open(file, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

    free(file);
    return fd;
}

int cc_file_alone(const char *path, int *fd, struct cc_err *err)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1 };
    int f = open_lock(path), rc;

    if (f < 0)
        return cc_err_sys(err, errno, "%s/lock.mdb", path);
    if (fcntl(f, F_SETLK, &lock) == 0) {
        *fd = f;
        return CC_OK;
    }
    rc = errno == EACCES || errno == EAGAIN ? cc_err_set(err, CC_E_EXISTS, "%s is open in another process", path)
                                            : cc_err_sys(err, errno, "%s/lock.mdb", path);
    close(f);
    return rc;
}

/* A lock of an open file, which LMDB's own of the process neither replaces nor ends. */
int cc_file_hold(const char *path, int *fd, struct cc_err *err)
{
    struct flock lock = { .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_len = 1 };

    *fd = open_lock(path);
    if (*fd >= 0 && fcntl(*fd, F_OFD_SETLK, &lock) == 0)
        return CC_OK;
    return cc_err_sys(err, errno, "%s/lock.mdb", path);
}

/* ---- the check */

/* Checked as it is and made longer then: whoever is ended in between leaves a file that is refused, or checked, the next time too.
 * A hole is enough, so a full disk keeps nobody from reading. */
static int lengthen(int fd, off_t has, uint64_t need, const char *file, struct cc_err *err)
{
    int rc;

    cc_log(CC_LOG_WARN, "store", "the file has %lld bytes and may have %llu: it is checked", (long long)has,
           (unsigned long long)need);
    if (!(rc = read_by_child(file, err)) && ftruncate(fd, (off_t)need) != 0)
        rc = cc_err_sys(err, errno, "%s is shorter than it says and cannot be lengthened", file);
    return rc;
}

/* Not while another process has it open: it has been through this, and may be writing there. */
static int mend(int fd, uint64_t need, const char *path, const char *file, struct cc_err *err)
{
    struct stat st;
    int lock, rc;

    if (fstat(fd, &st) != 0)
        return cc_err_sys(err, errno, "%s", file);
    if ((uint64_t)st.st_size >= need)
        return CC_OK;
    if ((rc = cc_file_alone(path, &lock, err)))
        return rc == CC_E_EXISTS ? CC_OK : rc;
    rc = lengthen(fd, st.st_size, need, file, err);
    close(lock);
    return rc;
}

static int check(int fd, const char *path, const char *file, struct cc_err *err)
{
    struct page_meta a, b, *newest;

    if (!read_meta(fd, 0, &a) || !read_meta(fd, a.page_size, &b) || a.page_size != b.page_size)
        return cc_err_set(err, CC_E_CORRUPT, "%s/data.mdb is broken, or not a store of cchost; restore a backup", path);
    newest = a.txn > b.txn ? &a : &b;
    if (newest->mapsize > INT64_MAX || newest->last_page >= newest->mapsize / a.page_size)
        return cc_err_set(err, CC_E_CORRUPT, "%s/data.mdb is broken: it has more pages than its map; restore a backup",
                          path);
    return mend(fd, (newest->last_page + 1) * a.page_size, path, file, err);
}

int cc_file_check(const char *path, struct cc_err *err)
{
    char *file = cc_xasprintf("%s/data.mdb", path);
    int fd = open(file, O_RDWR | O_CLOEXEC), rc = CC_OK;

    if (fd >= 0) {
        rc = check(fd, path, file, err);
        close(fd);
    } else if (errno != ENOENT) {
        rc = cc_err_sys(err, errno, "%s", file);
    }
    free(file);
    return rc;
}
