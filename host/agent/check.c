/* check.c - cchost-agent check FD watched: whether this build can go on from that state of another, which runs it beside
 * itself before it execs it (update.c).
 *
 * A request is answered first, so that what reads HTTP and writes JSON has
 * worked; then the state is read, and the Lua loaded.  The loop does not run
 * after that: what the Lua would begin is not begun here.  The socket has a
 * name of the kernel's choice, without a file, and whoever else finds it may
 * ask nothing but that, for no secret is right.
 */
#include "host/agent/handover.h"
#include "host/agent/lua.h"
#include "host/agent/update.h"

#include "host/http/server.h"
#include "host/sys/clock.h"
#include "host/sys/err.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { ANSWER_MS = 10000 };

/* To its end, while the loop runs. False: time is up. Text in buf. */
static bool read_answer(uv_loop_t *loop, int fd, char *buf, size_t size)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };
    uint64_t until = cc_mono_ms() + ANSWER_MS;
    size_t n = 0;
    ssize_t got = 1;

    while (got != 0 && n + 1 < size && cc_mono_ms() < until) {
        uv_run(loop, UV_RUN_NOWAIT);
        if (poll(&p, 1, 5) > 0 && (got = recv(fd, buf + n, size - n - 1, MSG_DONTWAIT)) > 0)
            n += (size_t)got;
    }
    buf[n] = '\0';
    return got == 0;
}

static bool answers(struct agent *a)
{
    static const char ask[] = "GET /healthz HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n";
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    socklen_t n = sizeof(at);
    int listens = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), asks = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct cc_err err;
    char text[8192];

    return listens >= 0 && asks >= 0 && bind(listens, (struct sockaddr *)&at, sizeof(at.sun_family)) == 0 &&
           getsockname(listens, (struct sockaddr *)&at, &n) == 0 &&
           cc_server_listen_fd(agent_server(a), listens, &err) == 0 && connect(asks, (struct sockaddr *)&at, n) == 0 &&
           send(asks, ask, sizeof(ask) - 1, MSG_NOSIGNAL) == (ssize_t)sizeof(ask) - 1 &&
           read_answer(a->loop, asks, text, sizeof(text)) && strncmp(text, "HTTP/1.1 200 ", 13) == 0 &&
           strstr(text, "\"status\":\"ok\"");
}

static bool can_go_on_from(int state)
{
    static const char nobodys[] = "0000000000000000000000000000000000000000000000000000000000000000";
    struct handover h;
    uv_loop_t loop;
    struct agent a = { .loop = &loop, .root = "/claude-data", .key = nobodys };

    if (uv_loop_init(&loop) != 0 || !answers(&a) || !handover_read(state, &h))
        return false;
    a.saved = h.lua;
    return agent_lua_open(&a);
}

/* Ends without closing what it has opened: the process was made for this one look. */
int agent_check(int argc, char **argv)
{
    static const char checked[] = AGENT_CHECKED;
    bool asked = argc == 2 || (argc == 3 && strcmp(argv[2], "watched") == 0); /* earlier builds do not say it */

    _exit(asked && can_go_on_from(atoi(argv[1])) && write(STDOUT_FILENO, checked, sizeof(checked) - 1) > 0 ? 0 : 1);
}
