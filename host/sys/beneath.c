/* beneath.c - see beneath.h. */
#include "host/sys/beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { TRIES = 100, LINKS = 16 };

int cc_beneath_fail(int sys, struct cc_err *err)
{
    switch (sys) {
    case EXDEV:
    case ELOOP:
    case ENAMETOOLONG:
    case EINVAL:
        return cc_err_set(err, CC_E_INVALID, "invalid path");
    case ENOENT:
        return cc_err_set(err, CC_E_NOT_FOUND, "not found");
    case ENOTDIR:
        return cc_err_set(err, CC_E_INVALID, "not a directory");
    case EISDIR:
        return cc_err_set(err, CC_E_INVALID, "is a directory");
    case EEXIST:
        return cc_err_set(err, CC_E_EXISTS, "it exists already");
    case ENOTEMPTY:
        return cc_err_set(err, CC_E_STATE, "the folder is not empty");
    case EACCES:
    case EPERM:
    case EROFS:
        return cc_err_set(err, CC_E_DENIED, "permission denied");
    case ENOSPC:
    case EDQUOT:
        return cc_err_set(err, CC_E_FULL, "no space left");
    default:
        return cc_err_sys(err, sys, "the file system says");
    }
}

int cc_beneath_root(const char *folder, struct cc_err *err)
{
    int fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);

    return fd >= 0 ? fd : cc_beneath_fail(errno, err);
}

/* EAGAIN: something was renamed while ".." was walked, so the kernel would not say. */
int cc_beneath_open(int root, const char *path, int flags, struct cc_err *err)
{
    struct open_how how = { .flags = (unsigned)(flags | O_CLOEXEC),
                            .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS };
    int tries, fd = -1;

    for (tries = 0; tries < TRIES && fd < 0; tries++) {
        fd = (int)syscall(SYS_openat2, root, *path ? path : ".", &how, sizeof(how));
        if (fd < 0 && errno != EAGAIN && errno != EINTR)
            break;
    }
    return fd >= 0 ? fd : cc_beneath_fail(errno, err);
}

/* Where the last name of `path` begins, and its length: "a/b//" -> "b". */
static const char *last_name(const char *path, size_t *len)
{
    const char *end = path + strlen(path), *at;

    while (end > path && end[-1] == '/')
        end--;
    for (at = end; at > path && at[-1] != '/'; at--) {
    }
    *len = (size_t)(end - at);
    return at;
}

int cc_beneath_parent(int root, const char *path, char last[NAME_MAX + 1], struct cc_err *err)
{
    char folder[PATH_MAX];
    const char *name;
    size_t n;

    name = last_name(path, &n);
    if (n == 0 || n > NAME_MAX || (size_t)(name - path) >= sizeof(folder) || (n == 1 && name[0] == '.') ||
        (n == 2 && name[0] == '.' && name[1] == '.'))
        return cc_beneath_fail(EINVAL, err);
    memcpy(folder, path, (size_t)(name - path));
    folder[name - path] = '\0';
    memcpy(last, name, n);
    last[n] = '\0';
    return cc_beneath_open(root, folder, O_PATH | O_DIRECTORY, err);
}

/* `path` with its last name replaced by `to`. False: too long. */
static bool replace_last(char path[PATH_MAX], const char *to)
{
    size_t n;
    char *at = path + (last_name(path, &n) - path);

    if ((size_t)(at - path) + strlen(to) >= PATH_MAX)
        return false;
    memcpy(at, to, strlen(to) + 1);
    return true;
}

int cc_beneath_target(int root, const char *path, char last[NAME_MAX + 1], struct cc_err *err)
{
    char at[PATH_MAX], to[PATH_MAX];
    int links, folder;
    ssize_t n;

    if (strlen(path) >= sizeof(at))
        return cc_beneath_fail(ENAMETOOLONG, err);
    memcpy(at, path, strlen(path) + 1);
    for (links = 0; links < LINKS; links++) {
        if ((folder = cc_beneath_parent(root, at, last, err)) < 0)
            return folder;
        n = readlinkat(folder, last, to, sizeof(to) - 1);
        if (n < 0 && at[strlen(at) - 1] != '/')
            return folder; /* no link */
        close(folder);
        if (n < 0)
            return cc_err_set(err, CC_E_INVALID, "a path that ends in / is no file's");
        to[n] = '\0';
        if (to[0] == '/' || !replace_last(at, to))
            return cc_beneath_fail(EXDEV, err);
    }
    return cc_beneath_fail(ELOOP, err);
}

void cc_beneath_own(int folder, const char *name)
{
    struct stat st;

    if (geteuid() != 0 || fstat(folder, &st) != 0 || (st.st_uid == 0 && st.st_gid == 0))
        return;
    if (fchownat(folder, name, st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW) != 0)
        return; /* then it stays ours */
}

static int make_one(int root, const char *path, bool *made, struct cc_err *err)
{
    char last[NAME_MAX + 1];
    int folder = cc_beneath_parent(root, path, last, err), rc = 0;

    if (folder < 0)
        return folder;
    *made = mkdirat(folder, last, 0755) == 0;
    if (*made)
        cc_beneath_own(folder, last);
    else if (errno != EEXIST)
        rc = cc_beneath_fail(errno, err);
    close(folder);
    return rc;
}

int cc_beneath_mkdir(int root, const char *path, bool *made, struct cc_err *err)
{
    char part[PATH_MAX];
    const char *slash = path;
    int fd, rc = 0;

    *made = false;
    if (strlen(path) >= sizeof(part))
        return cc_beneath_fail(ENAMETOOLONG, err);
    do {
        slash = strchr(slash + strspn(slash, "/"), '/');
        snprintf(part, sizeof(part), "%.*s", slash ? (int)(slash - path) : (int)strlen(path), path);
        fd = cc_beneath_open(root, part, O_PATH | O_DIRECTORY, err);
        *made = false;
        if (fd >= 0)
            close(fd);
        else if (fd != CC_E_NOT_FOUND && slash)
            rc = fd;
        else
            rc = make_one(root, part, made, err);
    } while (rc == 0 && slash && slash[strspn(slash, "/")]); /* "a/" is "a" */
    return rc;
}
