/* update.c - module "update": another build of this program takes this one's place, in the same process.
 *
 *   u = update.receive()              a program that comes; kept in memory, nowhere on the disk
 *   true | nil, err = u:write(bytes)
 *   text = u:sha256()                 in hexadecimal digits
 *   true | nil, err = u:check(saved)  [yields] it is run beside us, and has to read our state as it is now, with `saved`
 *   u:close()
 *   sentence | nil = update.busy()    what would be cut: a command, a terminal that ends with its connection
 *   update.leave(bool)                whether requests are refused from here on
 *   nil, err = u:go(saved)            exec: returns only when that failed, and all is as it was
 *   bool = update.well()              of the new one: whether it works, as who came was answered, or nobody came for
 *                                     QUIET_MS; who has not said so WELL_SECONDS after exec is killed
 *
 * What goes on in the new one is handover.h's.  Connections end: their clients
 * come back to the same listening sockets, whose queues the kernel keeps
 * meanwhile.  The program is run by its descriptor.  An alarm goes through exec:
 * one that hangs, or answers nobody, is ended by it, and who supervises the
 * agent begins what is on the disk.  `check` (check.c) says "watched", so that
 * a build which would not call the alarm off is not exec'ed.
 */
#include "host/agent/update.h"

#include "host/agent/handover.h"
#include "host/agent/job.h"
#include "host/agent/lua.h"

#include "host/observe/log.h"
#include "host/sys/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <mbedtls/md.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#define META "cchost.update"

enum { MOST = 64 << 20, CHECK_MS = 20000, WELL_SECONDS = 20, QUIET_MS = 10000 };

static const char checked[] = AGENT_CHECKED;
extern char **environ;

/* ---- what we are */

static bool hash_of(int fd, char out[65])
{
    struct stat st;
    unsigned char raw[32];
    void *p;
    int i, rc;

    if (fstat(fd, &st) != 0 || st.st_size == 0 ||
        (p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0)) == MAP_FAILED)
        return false;
    rc = mbedtls_md(mbedtls_md_info_from_type(MBEDTLS_MD_SHA256), p, (size_t)st.st_size, raw);
    munmap(p, (size_t)st.st_size);
    for (i = 0; rc == 0 && i < 32; i++)
        snprintf(out + 2 * i, 3, "%02x", raw[i]);
    return rc == 0;
}

const char *agent_build(void)
{
    static char hash[65];
    int fd = *hash ? -1 : open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

    if (fd >= 0 && !hash_of(fd, hash))
        hash[0] = '\0';
    if (fd >= 0)
        close(fd);
    return hash;
}

const char *agent_arch(void)
{
    static struct utsname u;

    if (!*u.machine)
        uname(&u);
    return u.machine;
}

/* ---- a program that comes */

struct program {
    int fd; /* -1: closed */
    size_t n;
};

static struct program *program_at(lua_State *L)
{
    struct program *p = luaL_checkudata(L, 1, META);

    luaL_argcheck(L, p->fd >= 0, 1, "it is closed");
    return p;
}

static int l_receive(lua_State *L)
{
    struct program *p = lua_newuserdata(L, sizeof(*p));
    struct cc_err err;

    *p = (struct program){ .fd = -1 };
    luaL_getmetatable(L, META);
    lua_setmetatable(L, -2);
#ifdef MFD_EXEC
    p->fd = memfd_create("cchost-agent", MFD_CLOEXEC | MFD_EXEC);
#endif
    if (p->fd < 0)
        p->fd = memfd_create("cchost-agent", MFD_CLOEXEC);
    if (p->fd >= 0)
        return 1;
    cc_err_sys(&err, errno, "room for the program");
    return cc_push_err(L, &err);
}

static int l_write(lua_State *L)
{
    struct program *p = program_at(L);
    struct cc_err err;
    size_t n, at = 0;
    const char *bytes = luaL_checklstring(L, 2, &n);
    ssize_t put = 1;

    if (p->n + n > MOST) {
        cc_err_set(&err, CC_E_LIMIT, "a program of at most %d bytes expected", MOST);
        return cc_push_err(L, &err);
    }
    while (at < n && ((put = write(p->fd, bytes + at, n - at)) > 0 || errno == EINTR))
        at += put > 0 ? (size_t)put : 0;
    p->n += at;
    if (at < n) {
        cc_err_sys(&err, errno, "keeping the program");
        return cc_push_err(L, &err);
    }
    lua_pushboolean(L, 1);
    return 1;
}

static int l_sha256(lua_State *L)
{
    char hash[65] = "";

    hash_of(program_at(L)->fd, hash);
    lua_pushstring(L, hash);
    return 1;
}

static int l_close(lua_State *L)
{
    struct program *p = luaL_checkudata(L, 1, META);

    if (p->fd >= 0)
        close(p->fd);
    p->fd = -1;
    return 0;
}

/* ---- whether it can go on */

struct check {
    struct agent_job job;
    int program, state;
};

static _Noreturn void in_child(const struct check *c, int out, char *fd)
{
    char *argv[] = { (char *)"cchost-agent", (char *)"check", fd, (char *)"watched", NULL };

    alarm(2 * CHECK_MS / 1000); /* should we not be there any more to end it */
    if (dup2(out, STDOUT_FILENO) >= 0 && fcntl(c->state, F_SETFD, 0) == 0)
        syscall(SYS_execveat, c->program, "", argv, environ, AT_EMPTY_PATH);
    _exit(126);
}

/* What it says until it ends, or until time is up. */
static bool says_so(int fd)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };
    uint64_t until = cc_mono_ms() + CHECK_MS, now;
    char buf[sizeof(checked) + 1];
    size_t len = 0;
    ssize_t n = 1;

    while (n > 0 && len < sizeof(buf) && (now = cc_mono_ms()) < until)
        if (poll(&p, 1, (int)(until - now)) > 0 && (n = read(fd, buf + len, sizeof(buf) - len)) > 0)
            len += (size_t)n;
    return n == 0 && len == sizeof(checked) - 1 && memcmp(buf, checked, len) == 0;
}

static int run_check(struct agent_job *job)
{
    struct check *c = (struct check *)job;
    int out[2], status = -1;
    char fd[16];
    bool good;
    pid_t pid;

    snprintf(fd, sizeof(fd), "%d", c->state);
    if (pipe2(out, O_CLOEXEC) != 0)
        return cc_err_sys(&job->err, errno, "a pipe");
    pid = fork();
    if (pid == 0)
        in_child(c, out[1], fd);
    close(out[1]);
    good = pid > 0 && says_so(out[0]);
    close(out[0]);
    if (pid > 0 && !good)
        kill(pid, SIGKILL);
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (good && WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    return cc_err_set(&job->err, CC_E_UNSUPPORTED, "the program that came cannot go on from here: it is not exec'ed");
}

static void check_fini(struct agent_job *job)
{
    struct check *c = (struct check *)job;

    close(c->program);
    close(c->state);
}

static int l_check(lua_State *L)
{
    struct program *p = program_at(L);
    const char *saved = luaL_checkstring(L, 2);
    struct check *c;
    struct cc_err err;

    cc_task_need(L, "update.check");
    c = cc_xcalloc(1, sizeof(*c));
    c->job.run = run_check;
    c->job.fini = check_fini;
    c->program = fcntl(p->fd, F_DUPFD_CLOEXEC, 3);
    c->state = handover_write(agent_self(), saved);
    if (c->program >= 0 && c->state >= 0)
        return agent_job_run(L, &c->job);
    cc_err_sys(&err, errno, "writing the state");
    check_fini(&c->job);
    free(c);
    return cc_push_err(L, &err);
}

/* ---- the change */

static int l_busy(lua_State *L)
{
    const struct session *s = sessions;

    while (s && (s->kept || s->ended || !s->viewers)) /* whose client has gone, cannot be cut; its child may last */
        s = s->next;
    if (agent_exec_running())
        lua_pushliteral(L, "a command is being run");
    else if (s)
        lua_pushliteral(L, "a terminal is open that ends with its connection");
    else
        lua_pushnil(L);
    return 1;
}

static int l_leave(lua_State *L)
{
    agent_self()->leaves = lua_toboolean(L, 1);
    return 0;
}

static int l_well(lua_State *L)
{
    static uint64_t since;
    enum agent_heard heard = agent_heard();
    bool well;

    if (!since)
        since = cc_mono_ms();
    well = heard == AGENT_ANSWERED || (heard == AGENT_NOBODY && cc_mono_ms() - since > QUIET_MS);
    if (well)
        alarm(0);
    lua_pushboolean(L, well);
    return 1;
}

/* Ours, to go on from there. */
static char **args_for(char *const *old, char *fd)
{
    char **v;
    size_t n = 0, i;

    while (old[n])
        n++;
    v = cc_xcalloc(n + 3, sizeof(*v));
    for (n = 0, i = 0; old[i]; i++)
        if (strcmp(old[i], "--resume") == 0)
            i++;
        else
            v[n++] = old[i];
    v[n++] = (char *)"--resume";
    v[n] = fd;
    return v;
}

static int l_go(lua_State *L)
{
    struct program *p = program_at(L);
    int state = handover_write(agent_self(), luaL_checkstring(L, 2)), why;
    struct handover h;
    struct cc_err err;
    char fd[16], **argv;

    if (state < 0 || !handover_read(state, &h)) {
        cc_err_sys(&err, errno, "writing the state");
        if (state >= 0)
            close(state);
        return cc_push_err(L, &err);
    }
    snprintf(fd, sizeof(fd), "%d", state);
    argv = args_for(agent_self()->argv, fd);
    handover_keep(&h, state, true);
    alarm(WELL_SECONDS);
    syscall(SYS_execveat, p->fd, "", argv, environ, AT_EMPTY_PATH);
    why = errno;
    alarm(0);
    handover_keep(&h, state, false);
    handover_free(&h);
    close(state);
    free(argv);
    cc_err_sys(&err, why, "exec of the program that came");
    return cc_push_err(L, &err);
}

static const luaL_Reg program_lib[] = { { "write", l_write }, { "sha256", l_sha256 }, { "check", l_check },
                                        { "go", l_go },       { "close", l_close },   { "__gc", l_close },
                                        { NULL, NULL } };
static const luaL_Reg update_lib[] = {
    { "receive", l_receive }, { "busy", l_busy }, { "leave", l_leave }, { "well", l_well }, { NULL, NULL }
};

int luaopen_agent_update(lua_State *L)
{
    luaL_newmetatable(L, META);
    luaL_register(L, NULL, program_lib);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_newtable(L);
    luaL_register(L, NULL, update_lib);
    return 1;
}
