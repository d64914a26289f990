/* unix_at.c - see unix_at.h. */
#include "host/sys/unix_at.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

int cc_unix_at(const char *path, struct sockaddr_un *out)
{
    int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;

    if (fd < 0)
        return -errno;
    if (fstat(fd, &st) != 0 || !S_ISSOCK(st.st_mode)) {
        close(fd);
        return S_ISLNK(st.st_mode) ? -ELOOP : -ENOTSOCK;
    }
    memset(out, 0, sizeof(*out));
    out->sun_family = AF_UNIX;
    snprintf(out->sun_path, sizeof(out->sun_path), "/proc/self/fd/%d", fd);
    return fd;
}
