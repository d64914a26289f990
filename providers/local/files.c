/* files.c - giving a machine's files to another range of uids. */
#include "providers/local/local.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DEEP = 200 };

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
