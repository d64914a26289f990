/* files.c - see files.h. */
#include "providers/files.h"

#include "host/script/carried.h"
#include "host/sys/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DEEP = 64 }; /* so many descriptors a removal holds at once; trees may be deeper */

int cc_dir_setting(const char *dir, size_t most, const char *why, char **out, struct cc_err *err)
{
    char here[PATH_MAX], *whole;

    if (!dir || !*dir)
        return cc_err_set(err, CC_E_INVALID, "the setting \"dir\" is missing");
    if (*dir == '/')
        whole = cc_xstrdup(dir);
    else if (getcwd(here, sizeof(here)))
        whole = cc_xasprintf("%s/%s", here, dir);
    else
        return cc_err_sys(err, errno, "the current directory");
    if (strlen(whole) > most) {
        cc_err_set(err, CC_E_INVALID, "dir: %.120s has %zu bytes, and at most %zu expected: %s", whole, strlen(whole),
                   most, why);
        free(whole);
        return CC_E_INVALID;
    }
    *out = whole;
    return 0;
}

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

int cc_write_once(const char *path, const char *text, size_t n, struct cc_err *err)
{
    char *tmp = cc_xasprintf("%s.XXXXXX", path);
    int fd = mkostemp(tmp, O_CLOEXEC), r = 0;

    if (fd < 0 || write(fd, text, n) != (ssize_t)n)
        r = cc_err_sys(err, errno, "writing %s", path);
    else if (link(tmp, path) != 0)
        r = errno == EEXIST ? cc_err_set(err, CC_E_EXISTS, "%s is there", path)
                            : cc_err_sys(err, errno, "writing %s", path);
    if (fd >= 0) {
        unlink(tmp);
        close(fd);
    }
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

/* A tree on its way out. */
struct doomed {
    int top; /* descriptor of its uppermost directory */
    unsigned moved;
};

/* What is too deep goes to the top, under a name that is free there, and is emptied from there. */
static int to_the_top(struct doomed *t, int at, const char *name)
{
    bool writable = false; /* or it cannot get another parent */
    char fresh[32];

    for (;;) {
        snprintf(fresh, sizeof(fresh), "cchost-deep-%u", t->moved++);
        if (renameat(at, name, t->top, fresh) == 0 || errno == ENOENT)
            return 0;
        if (errno == EACCES && !writable && fchmodat(at, name, 0700, 0) == 0)
            writable = true;
        else if (errno != EEXIST && errno != ENOTEMPTY && errno != ENOTDIR)
            return errno;
    }
}

/* Goes down by descriptors and never through a link. What cannot be entered is made enterable:
 * it is all ours to delete. */
static int empty_dir(struct doomed *t, int at, const char *name, int depth)
{
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), r = 0;
    struct dirent *e;
    DIR *d;

    if (fd < 0 && errno == EACCES && fchmodat(at, name, 0700, 0) == 0)
        fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || !(d = fdopendir(fd)))
        return errno;
    fchmod(fd, 0700);
    if (depth == 0)
        t->top = fd;
    while (r == 0 && (e = readdir(d))) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        if (unlinkat(fd, e->d_name, 0) == 0 || errno == ENOENT)
            continue;
        if (errno != EISDIR && errno != EPERM) {
            r = errno;
        } else if (depth >= DEEP) {
            r = to_the_top(t, fd, e->d_name);
        } else if ((r = empty_dir(t, fd, e->d_name, depth + 1)) == 0 && unlinkat(fd, e->d_name, AT_REMOVEDIR) != 0 &&
                   errno != ENOENT) {
            r = errno;
        }
    }
    closedir(d);
    return r;
}

int cc_remove_tree(const char *path)
{
    struct doomed t = { .top = -1 };
    unsigned moved;
    int r;

    if (unlink(path) == 0 || errno == ENOENT)
        return 0;
    do { /* again, as reading the top may have missed what came there meanwhile */
        moved = t.moved;
        r = empty_dir(&t, AT_FDCWD, path, 0);
    } while (r == 0 && t.moved != moved);
    if (r == 0 && rmdir(path) != 0 && errno != ENOENT)
        r = errno;
    return r == ENOENT ? 0 : r;
}

/* ---------------------------------------------------------------- one operation at a time */

int cc_name_lock(const char *dir, const char *name, const struct cc_call *call, struct cc_err *err)
{
    struct flock want = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    struct pollfd p = { .fd = call ? call->wake_fd : -1, .events = POLLIN };
    struct stat mine, now;
    char path[512];
    int fd;

    snprintf(path, sizeof(path), "%s/locks/%s", dir, name);
    for (;;) {
        if ((fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)) < 0)
            return cc_err_sys(err, errno, "%s", path);
        while (fcntl(fd, F_OFD_SETLK, &want) != 0) {
            if ((errno != EAGAIN && errno != EACCES) || (call && cc_call_over(call))) {
                close(fd);
                return cc_err_set(err, call && atomic_load(&call->cancelled) ? CC_E_CANCELLED : CC_E_TIMEOUT,
                                  "%s is busy with another operation", name);
            }
            poll(&p, 1, 2);
        }
        if (fstat(fd, &mine) == 0 && stat(path, &now) == 0 && mine.st_ino == now.st_ino)
            return fd;
        close(fd); /* its last holder removed the name: take the new one */
    }
}

void cc_name_unlock_gone(const char *dir, const char *name, int fd)
{
    char path[512];

    snprintf(path, sizeof(path), "%s/locks/%s", dir, name);
    unlink(path);
    close(fd);
}

/* ---------------------------------------------------------------- programs */

/* Names content for a file name; nobody is kept out by it. */
static uint64_t content_name(const char *data, size_t n)
{
    uint64_t h = 0x9e3779b97f4a7c15ull ^ n, w;
    size_t i;

    for (i = 0; i + 8 <= n; i += 8) {
        memcpy(&w, data + i, 8);
        h = (h ^ w) * 0xff51afd7ed558ccdull;
        h ^= h >> 32;
    }
    for (; i < n; i++)
        h = (h ^ (unsigned char)data[i]) * 0x100000001b3ull;
    return h;
}

/* Whole, and as it was carried: who runs as we do may have written to one of before. */
static bool holds(const char *path, const struct cc_carried *c)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    void *there = MAP_FAILED;
    struct stat st;
    bool same;

    if (fd < 0)
        return false;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 07777) == 0555 && (size_t)st.st_size == c->len)
        there = mmap(NULL, c->len, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (there == MAP_FAILED)
        return false;
    same = memcmp(there, c->data, c->len) == 0;
    munmap(there, c->len);
    return same;
}

int cc_carried_install(const char *dir, const char *name, char **path, struct cc_err *err)
{
    const struct cc_carried *c = cc_carried_find(name);
    char *tmp;
    int fd, r = 0;

    if (!c)
        return cc_err_set(err, CC_E_INTERNAL, "this binary does not carry %s", name);
    *path = cc_xasprintf("%s/%s-%016" PRIx64, dir, name, content_name(c->data, c->len));
    if (holds(*path, c))
        return 0;
    tmp = cc_xasprintf("%s.%d", *path, getpid());
    unlink(tmp); /* of a process of this number that was killed: it cannot be opened for writing */
    fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0555);
    if (fd < 0 || write(fd, c->data, c->len) != (ssize_t)c->len || fchmod(fd, 0555) != 0)
        r = cc_err_sys(err, errno, "writing %s", tmp);
    if (fd >= 0)
        close(fd);
    if (r == 0 && rename(tmp, *path) != 0)
        r = cc_err_sys(err, errno, "writing %s", *path);
    free(tmp);
    return r;
}

int cc_dir_share(const char *dir, void (*sweep)(void *arg), void *arg, struct cc_err *err)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), why;

    if (fd < 0)
        return cc_err_sys(err, errno, "opening %s", dir);
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        sweep(arg);
    if (flock(fd, LOCK_SH) == 0) /* who comes in between may sweep: nothing has begun here */
        return fd;
    why = errno;
    close(fd);
    return cc_err_sys(err, why, "sharing %s", dir);
}
