/* health.c - cchost-agent health: the agent asked by a program of its own machine.
 *
 * Where init holds the socket (init.c), a connection is taken also while there
 * is no agent behind it; so an agent that begins again is waited for, and only
 * one that says nothing in time, or something else, is ill.  Its services may
 * fail: that is told, and is no illness of the agent's.
 */
#include "host/agent/conf.h"

#include "host/sys/clock.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { WAIT_MS = 4000 }; /* below the HEALTHCHECK's own patience (providers/image/Dockerfile) */

static int say(const char *path, int rc)
{
    fprintf(stderr, "cchost-agent: %s: %s\n", path, strerror(errno));
    return rc;
}

/* Until it closes, or the time is over: -1 then, and errno. Text in buf. */
static int read_all(int fd, char *buf, size_t size)
{
    uint64_t end = cc_mono_ms() + WAIT_MS;
    size_t n = 0;
    ssize_t got = 1;

    while (got > 0 && n + 1 < size) {
        struct pollfd p = { .fd = fd, .events = POLLIN };
        uint64_t now = cc_mono_ms();

        if (now >= end || poll(&p, 1, (int)(end - now)) == 0) {
            errno = ETIMEDOUT;
            return -1;
        }
        got = read(fd, buf + n, size - n - 1);
        if (got < 0 && errno != EINTR)
            return -1;
        n += got > 0 ? (size_t)got : 0;
        got = got < 0 ? 1 : got;
    }
    buf[n] = '\0';
    return 0;
}

int agent_health(int argc, char **argv)
{
    static const char ask[] = "GET /healthz HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n";
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    const char *path = argc > 1 ? argv[1] : AGENT_SOCKET, *body;
    char text[8192];
    int fd;

    if (argc > 2 || strlen(path) >= sizeof(at.sun_path)) {
        fputs("usage: cchost-agent health [SOCKET]\n", stderr);
        return 2;
    }
    memcpy(at.sun_path, path, strlen(path) + 1);
    if ((fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) < 0 ||
        connect(fd, (struct sockaddr *)&at, sizeof(at)) != 0 ||
        send(fd, ask, sizeof(ask) - 1, MSG_NOSIGNAL) != (ssize_t)sizeof(ask) - 1 ||
        read_all(fd, text, sizeof(text)) != 0)
        return say(path, 1);
    close(fd);
    body = strstr(text, "\r\n\r\n");
    puts(body ? body + 4 : text);
    return strncmp(text, "HTTP/1.1 200 ", 13) == 0 ? 0 : 1;
}
