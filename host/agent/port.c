/* port.c - a virtio port, or a command over whatever reaches the machine, as a way into it.
 *
 *   cchost-agent port DEVICE COMMAND...   runs COMMAND with DEVICE as its input and output for each connection that the
 *                                         host makes to the port's other end, one after the other; never ends by itself
 *   cchost-agent dial [--wait MS] SOCKET  standard input and output to a unix socket, that may have to listen yet: the host's
 *                                         side, for ssh's ProxyCommand; and the way to the agent of a container (docker/way.c)
 *
 * The kernel says HUP of a port while nobody is connected outside.  To close a port throws away what has come: it stays open
 * until somebody was served, or the first words of who connects meanwhile would be lost, and he would wait for an answer.
 */
#include "host/agent/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STEP_MS = 4 };

static void nap(void) { poll(NULL, 0, 100); }

/* A process for one connection; returns when it and the connection have ended. */
static void serve(int fd, char **command)
{
    pid_t pid = fork();

    if (pid == 0) {
        dup2(fd, 0);
        dup2(fd, 1);
        execv(command[0], command);
        _exit(127);
    }
    while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
    }
}

/* Until who is connected has said something. What one left who went before anybody heard him is nothing for the next. */
static void await_words(int fd)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };
    char stale[4096];

    while (poll(&p, 1, -1) != 1 || (p.revents & POLLHUP) || !(p.revents & POLLIN))
        if (!(p.revents & POLLHUP) || read(fd, stale, sizeof(stale)) <= 0)
            nap();
}

int agent_port(int argc, char **argv)
{
    if (argc < 3) {
        fputs("usage: cchost-agent port DEVICE COMMAND...\n", stderr);
        return 2;
    }
    for (;;) {
        int fd = open(argv[1], O_RDWR | O_CLOEXEC);

        if (fd >= 0) {
            await_words(fd);
            serve(fd, argv + 2);
            close(fd);
        } else {
            nap();
        }
    }
}

/* Moves what is there from one to the other; false at the end of it. */
static bool move(int from, int to)
{
    char buf[65536];
    ssize_t n = read(from, buf, sizeof(buf)), done = 0, w;

    if (n <= 0)
        return n < 0 && (errno == EINTR || errno == EAGAIN);
    while (done < n) {
        w = write(to, buf + done, (size_t)(n - done));
        if (w < 0 && errno != EINTR)
            return false;
        done += w > 0 ? w : 0;
    }
    return true;
}

/* Connected, or -1 and errno. */
static int dial(const char *path, long wait_ms)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    int fd, why;

    memcpy(a.sun_path, path, strlen(path) + 1);
    for (;; wait_ms -= STEP_MS) {
        if ((fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) < 0)
            return -1;
        if (connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0)
            return fd;
        why = errno;
        close(fd);
        errno = why;
        if ((why != ENOENT && why != ECONNREFUSED) || wait_ms <= 0)
            return -1;
        poll(NULL, 0, STEP_MS);
    }
}

int agent_dial(int argc, char **argv)
{
    bool waits = argc == 4 && strcmp(argv[1], "--wait") == 0;
    struct pollfd p[2] = { { .events = POLLIN }, { .events = POLLIN } };
    const char *path = argv[argc - 1];
    int fd;

    if ((argc != 2 && !waits) || strlen(path) >= sizeof(((struct sockaddr_un *)NULL)->sun_path)) {
        fputs("usage: cchost-agent dial [--wait MS] SOCKET\n", stderr);
        return 2;
    }
    if ((fd = dial(path, waits ? strtol(argv[2], NULL, 10) : 0)) < 0) {
        fprintf(stderr, "cchost-agent: %s: %s\n", path, strerror(errno));
        return 1;
    }
    p[0].fd = 0;
    p[1].fd = fd;
    while (poll(p, 2, -1) >= 0 || errno == EINTR)
        if ((p[0].revents && !move(0, fd)) || (p[1].revents && !move(fd, 1)))
            break;
    return 0;
}
