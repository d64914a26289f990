/* lock.c - see lock.h. flock cannot be asked, only tried: whoever asks holds the lock for an instant,
 * shared, so that askers do not see each other; a taker tries again for a moment because of them. The lock is the
 * file's, not the name's: a taker that waited may have got that of a file which was removed meanwhile, and begins again. */
#include "host/sys/lock.h"

#include "host/sys/err.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static bool try_for(int fd, unsigned patience_ms)
{
    enum { AT_LEAST_MS = 20 };
    unsigned ms;

    for (ms = 0; ms <= patience_ms || ms <= AT_LEAST_MS; ms++) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
            return true;
        if (errno != EWOULDBLOCK && errno != EINTR)
            return false;
        poll(NULL, 0, 1);
    }
    errno = EWOULDBLOCK;
    return false;
}

static int take_once(const char *path, unsigned patience_ms, int *fd, struct cc_err *err)
{
    int f = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600), rc;

    if (f < 0)
        return cc_err_sys(err, errno, "cannot open %s", path);
    if (try_for(f, patience_ms)) {
        *fd = f;
        return CC_OK;
    }
    rc = errno == EWOULDBLOCK ? cc_err_set(err, CC_E_EXISTS, "%s is held by another", path)
                              : cc_err_sys(err, errno, "cannot lock %s", path);
    close(f);
    return rc;
}

static bool has_the_name(int fd, const char *path)
{
    struct stat mine, named;

    return fstat(fd, &mine) == 0 && stat(path, &named) == 0 && mine.st_ino == named.st_ino &&
           mine.st_dev == named.st_dev;
}

int cc_lock_take(const char *path, unsigned patience_ms, int *fd, struct cc_err *err)
{
    int f = -1, rc;

    while (!(rc = take_once(path, patience_ms, &f, err)) && !has_the_name(f, path))
        close(f);
    if (!rc)
        *fd = f;
    return rc;
}

int cc_lock_held(const char *path, bool *held, struct cc_err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC), rc = CC_OK;

    if (fd < 0 && errno != ENOENT)
        return cc_err_sys(err, errno, "cannot open %s", path);
    *held = false;
    if (fd < 0)
        return CC_OK;
    if (flock(fd, LOCK_SH | LOCK_NB) != 0) {
        *held = errno == EWOULDBLOCK;
        rc = *held ? CC_OK : cc_err_sys(err, errno, "cannot lock %s", path);
    }
    close(fd);
    return rc;
}
