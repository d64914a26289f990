/* files.c - small things with files that more than one part of the driver does. */
#include "providers/local/local.h"

#include "host/sys/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DEEP = 200 };

/* No fsync: the durable truth is the host's store; after a power cut every machine is stopped, and
 * a torn machine.json is a half-made machine, which create completes and destroy removes. */
int cc_write_whole(const char *path, const char *text, size_t n, struct cc_err *err)
{
    char *tmp = cc_xasprintf("%s.new", path);
    int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600), r = 0;

    if (fd < 0 || write(fd, text, n) != (ssize_t)n || rename(tmp, path) != 0)
        r = cc_err_sys(err, errno, "writing %s", path);
    if (fd >= 0)
        close(fd);
    free(tmp);
    return r;
}

char *cc_read_whole(struct cc_arena *a, const char *path, size_t max, size_t *n)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    char *text = NULL;
    ssize_t r;

    if (fd < 0)
        return NULL;
    if (fstat(fd, &st) == 0 && st.st_size >= 0 && (size_t)st.st_size <= max) {
        size_t want = st.st_size ? (size_t)st.st_size : max; /* files of /proc have no size */

        text = cc_arena_alloc(a, want + 1);
        if ((r = read(fd, text, want)) < 0)
            text = NULL;
        else if (n)
            *n = (size_t)r;
    } else {
        errno = EFBIG;
    }
    close(fd);
    return text;
}

/* Goes down by descriptors and never through a link. What cannot be entered is made enterable:
 * it is all ours to delete. */
static int empty_dir(int at, const char *name, int depth)
{
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), r = 0;
    struct dirent *e;
    DIR *d;

    if (fd < 0 && errno == EACCES && fchmodat(at, name, 0700, 0) == 0)
        fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || !(d = fdopendir(fd)))
        return errno;
    fchmod(fd, 0700);
    while (r == 0 && (e = readdir(d))) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        if (unlinkat(fd, e->d_name, 0) == 0 || errno == ENOENT)
            continue;
        if (errno != EISDIR && errno != EPERM) {
            r = errno;
        } else if (depth >= DEEP) {
            r = ELOOP;
        } else if ((r = empty_dir(fd, e->d_name, depth + 1)) == 0 && unlinkat(fd, e->d_name, AT_REMOVEDIR) != 0 &&
                   errno != ENOENT) {
            r = errno;
        }
    }
    closedir(d);
    return r;
}

/* A tree deeper than DEEP says ELOOP. */
int cc_remove_tree(const char *path)
{
    int r;

    if (unlink(path) == 0 || errno == ENOENT)
        return 0;
    r = empty_dir(AT_FDCWD, path, 0);
    if (r == 0 && rmdir(path) != 0 && errno != ENOENT)
        r = errno;
    return r == ENOENT ? 0 : r;
}

static int shift(int at, const char *name, unsigned long from, unsigned long to, int depth)
{
    struct stat st;
    struct dirent *e;
    int fd, r = 0;
    DIR *d;

    if (fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return errno;
    if (st.st_uid - from < CC_SLOT_UIDS || st.st_gid - from < CC_SLOT_UIDS) {
        uid_t u = st.st_uid - from < CC_SLOT_UIDS ? (uid_t)(st.st_uid - from + to) : st.st_uid;
        gid_t g = st.st_gid - from < CC_SLOT_UIDS ? (gid_t)(st.st_gid - from + to) : st.st_gid;

        if (fchownat(at, name, u, g, AT_SYMLINK_NOFOLLOW) != 0)
            return errno;
    }
    if (!S_ISDIR(st.st_mode))
        return 0;
    if (depth >= DEEP)
        return ELOOP;
    fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || !(d = fdopendir(fd)))
        return errno;
    while (r == 0 && (e = readdir(d)))
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            r = shift(fd, e->d_name, from, to, depth + 1);
    closedir(d);
    return r;
}

int cc_shift_owners(const char *path, unsigned long from, unsigned long to)
{
    return from == to ? 0 : shift(AT_FDCWD, path, from, to, 0);
}
