/* killat.c - kill -9 right before or right after the n-th step of a driver, for the program under test (LD_PRELOAD).
 *
 * A step is what changes the world outside of the program's memory: a name made, moved or removed below the folders of
 * KILLAT_UNDER (separated by colons; those that contain KILLAT_NOT are none), a program started (the tools that only look are none), the orders that a launcher
 * is sent, and a call of libvirt's protocol that changes a domain.  "After" means that the other side is done: the tool
 * has ended, the daemon has answered.  KILLAT names the control file, mapped once, with which a test arms it while the
 * program runs (tests/lib/killat.js).  Only the program called KILLAT_PROGRAM is meant, not what it starts.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <dlfcn.h>

enum { BEFORE = 1, AFTER };

struct control {           /* little endian, as the machine */
    _Atomic uint32_t left; /* steps until it happens; 0: never */
    _Atomic uint32_t when;
    _Atomic uint32_t fired;
    char what[500]; /* the step that it was */
};

static struct control asleep, *control = &asleep;
static char under[2048], except[64];
static __thread bool launching;

static int (*real_spawn)(pid_t *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *,
                         char *const[], char *const[]);
static int (*real_spawnp)(pid_t *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *,
                          char *const[], char *const[]);

__attribute__((constructor)) static void start(void)
{
    const char *path = getenv("KILLAT"), *program = getenv("KILLAT_PROGRAM"), *folders = getenv("KILLAT_UNDER");
    char self[PATH_MAX] = "";
    int fd;

    *(void **)&real_spawn = dlsym(RTLD_NEXT, "posix_spawn");
    *(void **)&real_spawnp = dlsym(RTLD_NEXT, "posix_spawnp");
    if (!path || !program || !folders || readlink("/proc/self/exe", self, sizeof(self) - 1) < 0 ||
        strcmp(self, program) != 0)
        return;
    snprintf(under, sizeof(under), "%s", folders);
    snprintf(except, sizeof(except), "%s", getenv("KILLAT_NOT") ? getenv("KILLAT_NOT") : "");
    fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd >= 0) {
        void *map = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

        if (map != MAP_FAILED)
            control = map;
        close(fd);
    }
}

/* ---------------------------------------------------------------- the trap */

static void die(void)
{
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

/* A step begins. True: it is the one after which we die. */
static bool step(const char *kind, const char *what)
{
    uint32_t left = atomic_load(&control->left);

    do {
        if (left == 0)
            return false;
    } while (!atomic_compare_exchange_weak(&control->left, &left, left - 1));
    if (left > 1)
        return false;
    snprintf(control->what, sizeof(control->what), "%s %s", kind, what);
    atomic_store(&control->fired, 1);
    if (atomic_load(&control->when) == BEFORE)
        die();
    return true;
}

/* ---------------------------------------------------------------- names */

static bool below(const char *path)
{
    const char *at = under, *end;

    if (*except && strstr(path, except))
        return false;
    for (; *at; at = end + (*end == ':')) {
        end = strchrnul(at, ':');
        if (strncmp(path, at, (size_t)(end - at)) == 0)
            return true;
    }
    return false;
}

static bool step_name(const char *kind, int dir, const char *name)
{
    char link[40], path[2 * PATH_MAX];
    ssize_t n = 0;

    if (control == &asleep)
        return false;
    if (name[0] != '/' && dir != AT_FDCWD) {
        snprintf(link, sizeof(link), "/proc/self/fd/%d", dir);
        n = readlink(link, path, PATH_MAX);
    }
    snprintf(path + (n > 0 ? n : 0), PATH_MAX, "%s%s", n > 0 ? "/" : "", name);
    return below(path) && step(kind, path);
}

#define DONE(trap, call)                                                                                               \
    do {                                                                                                               \
        bool trap_ = (trap);                                                                                           \
        int r_ = (int)(call);                                                                                          \
                                                                                                                       \
        if (trap_)                                                                                                     \
            die();                                                                                                     \
        return r_;                                                                                                     \
    } while (0)

int mkdir(const char *p, mode_t m) { DONE(step_name("mkdir", AT_FDCWD, p), syscall(SYS_mkdir, p, m)); }
int rmdir(const char *p) { DONE(step_name("rmdir", AT_FDCWD, p), syscall(SYS_rmdir, p)); }
int unlink(const char *p) { DONE(step_name("unlink", AT_FDCWD, p), syscall(SYS_unlink, p)); }
int unlinkat(int d, const char *p, int f) { DONE(step_name("unlink", d, p), syscall(SYS_unlinkat, d, p, f)); }
int rename(const char *a, const char *b) { DONE(step_name("rename", AT_FDCWD, b), syscall(SYS_rename, a, b)); }
int symlink(const char *a, const char *b) { DONE(step_name("symlink", AT_FDCWD, b), syscall(SYS_symlink, a, b)); }

/* ---------------------------------------------------------------- programs */

/* Those that only look are no steps. */
static bool step_program(char *const argv[])
{
    const char *slash = strrchr(argv[0], '/'), *name = slash ? slash + 1 : argv[0];

    if (control == &asleep || strcmp(name, "ssh") == 0 || (argv[1] && strcmp(argv[1], "info") == 0))
        return false;
    return step("program", name);
}

static void die_after(pid_t pid)
{
    siginfo_t info;
    int i;

    for (i = 0; i < 2000; i++) { /* a launcher waits for its orders, and would for ever */
        info.si_pid = 0;
        if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT | WNOHANG) != 0 || info.si_pid == pid)
            break;
        if (launching)
            break;
        poll(NULL, 0, 5);
    }
    die();
}

int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *fa, const posix_spawnattr_t *at,
                char *const argv[], char *const env[])
{
    bool trap = step_program(argv);
    int r = real_spawn(pid, path, fa, at, argv, env);

    launching = r == 0;
    if (trap)
        die_after(*pid);
    return r;
}

int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *fa, const posix_spawnattr_t *at,
                 char *const argv[], char *const env[])
{
    bool trap = step_program(argv);
    int r = real_spawnp(pid, file, fa, at, argv, env);

    if (trap && r == 0)
        die_after(*pid);
    return r;
}

/* A launcher's orders: the second thing that it is sent, after their length. */
ssize_t send(int fd, const void *b, size_t n, int flags)
{
    bool trap = launching && n > sizeof(uint32_t) && step("orders", "to the launcher");
    ssize_t r = syscall(SYS_sendto, fd, b, n, flags, NULL, 0);

    if (n > sizeof(uint32_t))
        launching = false;
    if (trap)
        die();
    return r;
}

/* ---------------------------------------------------------------- libvirt's protocol */

/* Of remote_protocol.x: what changes a domain. Length, program, version, procedure, type (0: a call). */
static const char *remote_call(const void *b, size_t n)
{
    static const struct {
        uint32_t procedure;
        const char *name;
    } calls[] = { { 196, "create" },   { 231, "undefine" }, { 234, "destroy" },
                  { 258, "shutdown" }, { 350, "define" },   { 0, NULL } };
    uint32_t word[5];
    size_t i;

    if (control == &asleep || n < sizeof(word))
        return NULL;
    memcpy(word, b, sizeof(word));
    if (ntohl(word[1]) != 0x20008086 || ntohl(word[2]) != 1 || word[4] != 0)
        return NULL;
    for (i = 0; calls[i].name && calls[i].procedure != ntohl(word[3]); i++) {
    }
    return calls[i].name;
}

ssize_t write(int fd, const void *b, size_t n)
{
    const char *call = remote_call(b, n);
    bool trap = call && step("libvirt", call);
    ssize_t r = syscall(SYS_write, fd, b, n);

    if (trap) {
        poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, 20000);
        die();
    }
    return r;
}
