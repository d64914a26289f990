/* bind_service.c - module "service": this process, to who started it and to who takes its place.
 *
 *   path = service.program()         our own program's file; where it was replaced, what is there now
 *   path = service.absolute(path)    as it is for a process with another working directory; nil where ours is gone
 *   list = service.arguments()       all of the command line, the program's name first
 *   sent = service.notify(text)      sd_notify(3): false where nobody listens ($NOTIFY_SOCKET), or the word did not go out
 *   fds = service.sockets()          sd_listen_fds(3): sockets that whoever started us listens on already; {} when none
 *   {lock=fd, sockets={fd, ...}} | nil = service.inherited()   what a process gave us that we take the place of
 *   name, value = service.env(n)     of the variable that says so to a child which has the lock as 3 and n sockets behind it
 *   service.close(fd)
 *
 * What sockets() and inherited() answer is ours from then on, is not passed to children, and is answered once.
 * notify speaks the protocol of systemd's sd_notify by hand: it is one datagram, and libsystemd would be the larger part of us.
 */
#include "host/script/modules.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define HANDED "CCHOST_HANDED" /* how many sockets stand behind the lock */
enum { FIRST = 3, MOST = 16 };

static int l_program(lua_State *L)
{
    static const char gone[] = " (deleted)";
    char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);

    if (n <= 0)
        return 0;
    if (n > (ssize_t)sizeof(gone) && memcmp(path + n - (sizeof(gone) - 1), gone, sizeof(gone) - 1) == 0)
        n -= (ssize_t)(sizeof(gone) - 1);
    lua_pushlstring(L, path, (size_t)n);
    return 1;
}

static int l_absolute(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    char here[PATH_MAX];

    if (*path == '/') {
        lua_settop(L, 1);
        return 1;
    }
    if (!getcwd(here, sizeof(here)))
        return 0;
    lua_pushfstring(L, "%s/%s", strcmp(here, "/") == 0 ? "" : here, path);
    return 1;
}

static int l_arguments(lua_State *L)
{
    FILE *f = fopen("/proc/self/cmdline", "re");
    char *word = NULL;
    size_t size = 0;
    int i = 0;

    lua_newtable(L);
    while (f && getdelim(&word, &size, '\0', f) > 0) {
        lua_pushstring(L, word);
        lua_rawseti(L, -2, ++i);
    }
    free(word);
    if (f)
        fclose(f);
    return 1;
}

static bool notify(const char *text, size_t n)
{
    const char *at = getenv("NOTIFY_SOCKET");
    struct sockaddr_un sun = { .sun_family = AF_UNIX };
    size_t len = at ? strlen(at) : 0;
    ssize_t sent;
    int fd;

    if (len < 2 || len >= sizeof(sun.sun_path) || (*at != '/' && *at != '@'))
        return false;
    memcpy(sun.sun_path, at, len);
    if (*at == '@')
        sun.sun_path[0] = '\0';
    if ((fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) < 0)
        return false;
    sent = sendto(fd, text, n, MSG_NOSIGNAL, (struct sockaddr *)&sun,
                  (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len));
    close(fd);
    return sent == (ssize_t)n;
}

static int l_notify(lua_State *L)
{
    size_t n;
    const char *text = luaL_checklstring(L, 1, &n);

    lua_pushboolean(L, notify(text, n));
    return 1;
}

/* Pushes the descriptors first, first + 1, ..., which children shall not have. */
static void push_fds(lua_State *L, int first, int n)
{
    int i;

    lua_createtable(L, n, 0);
    for (i = 0; i < n; i++) {
        fcntl(first + i, F_SETFD, FD_CLOEXEC);
        lua_pushinteger(L, first + i);
        lua_rawseti(L, -2, i + 1);
    }
}

/* A small number in the environment, which is taken out of it; -1: none. */
static long take_number(const char *name)
{
    const char *s = getenv(name);
    char *end;
    long n = s ? strtol(s, &end, 10) : -1;

    if (s && (*s == '\0' || *end != '\0' || n < 0))
        n = -1;
    unsetenv(name);
    return n;
}

static int l_sockets(lua_State *L)
{
    long pid = take_number("LISTEN_PID"), n = take_number("LISTEN_FDS");

    unsetenv("LISTEN_FDNAMES");
    push_fds(L, FIRST, pid == getpid() && n > 0 && n <= MOST ? (int)n : 0);
    return 1;
}

static int l_inherited(lua_State *L)
{
    long n = take_number(HANDED);

    if (n < 0 || n > MOST || fcntl(FIRST, F_GETFD) < 0)
        return 0;
    fcntl(FIRST, F_SETFD, FD_CLOEXEC);
    lua_createtable(L, 0, 2);
    lua_pushinteger(L, FIRST);
    lua_setfield(L, -2, "lock");
    push_fds(L, FIRST + 1, (int)n);
    lua_setfield(L, -2, "sockets");
    return 1;
}

static int l_env(lua_State *L)
{
    lua_pushliteral(L, HANDED);
    lua_pushfstring(L, "%d", (int)luaL_checkinteger(L, 1));
    return 2;
}

static int l_close(lua_State *L)
{
    int fd = (int)luaL_checkinteger(L, 1);

    luaL_argcheck(L, fd > 2, 1, "a descriptor of one's own expected");
    close(fd);
    return 0;
}

static const luaL_Reg service_lib[] = {
    { "program", l_program }, { "absolute", l_absolute }, { "arguments", l_arguments },
    { "notify", l_notify },   { "sockets", l_sockets },   { "inherited", l_inherited },
    { "env", l_env },         { "close", l_close },       { NULL, NULL }
};

int luaopen_cc_service(lua_State *L)
{
    lua_newtable(L);
    luaL_register(L, NULL, service_lib);
    return 1;
}
