/* provider.h - what the tests of the drivers share: a driver opened, calls that are waited for,
 * and proof that nothing is left behind. */
#ifndef TEST_LIB_PROVIDER_H
#define TEST_LIB_PROVIDER_H

#include "host/sys/clock.h"
#include "providers/call.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

/* No two runs share a name, whatever an earlier one left; the same in this process's children. */
static inline unsigned run_id(void)
{
    static unsigned id;

    return id ? id : (id = (unsigned)getpid());
}

struct fix {
    const struct cc_driver *driver;
    void *self;
    char dir[64];
    struct cc_arena arena;
    struct cc_call call;
    struct cc_provider_res res;
    struct cc_pair extra[16]; /* settings beside dir */
    size_t n_extra;
};

static inline bool has_dir(const struct cc_driver *d) { return strcmp(d->name, "mock") != 0; }

static inline int fix_open(struct fix *f, struct cc_err *err)
{
    struct cc_pair v[17] = { { "dir", f->dir } };
    struct cc_pairs s = { v, 1 + f->n_extra };

    memcpy(v + 1, f->extra, f->n_extra * sizeof(*v));
    if (!has_dir(f->driver))
        s = (struct cc_pairs){ v + 1, f->n_extra };
    return f->driver->open(&s, &f->self, err);
}

static inline struct fix *fix_new_set(const char *driver, const struct cc_pair *settings, size_t n)
{
    struct fix *f = calloc(1, sizeof(*f));
    struct cc_err err = { .message = "" };

    run_id();
    if (n > 0)
        memcpy(f->extra, settings, n * sizeof(*settings));
    f->n_extra = n;
    f->driver = cc_driver_find(driver);
    f->call.wake_fd = -1;
    strcpy(f->dir, "/tmp/cc-prov-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    if (fix_open(f, &err) != 0)
        fail_msg("open: %s", err.message);
    return f;
}

/* `setting` beside dir. */
static inline struct fix *fix_new_with(const char *driver, struct cc_pair setting)
{
    return fix_new_set(driver, &setting, 1);
}

static inline struct fix *fix_new(const char *driver) { return fix_new_set(driver, NULL, 0); }

/* The host went and came back: its driver is opened anew on what there is. */
static inline void fix_again(struct fix *f)
{
    struct cc_err err = { .message = "" };

    f->driver->close(f->self);
    if (fix_open(f, &err) != 0)
        fail_msg("open: %s", err.message);
}

enum { PATIENCE_MS = 300000 }; /* emulated guests on a busy host take their time */

/* One call; answers live until fix_free. */
static inline int fix_do(struct fix *f, struct cc_provider_req req)
{
    struct cc_provider_ctx x = { .call = &f->call, .arena = &f->arena };

    f->call.deadline_ms = cc_mono_ms() + (req.timeout_ms ? req.timeout_ms : PATIENCE_MS);
    return cc_provider_perform(f->driver, f->self, &x, &req, &f->res);
}

static inline void fix_ok(struct fix *f, struct cc_provider_req req)
{
    if (fix_do(f, req) != 0)
        fail_msg("operation %d: %s: %s", req.op, cc_err_word(f->res.code), f->res.err.message);
}

/* A description with its own short id, whose last 6 digits are n. */
static inline struct cc_machine_spec a_machine(unsigned n)
{
    static char text[64][2][40];
    struct cc_machine_spec s = { .network = CC_NET_NONE };

    snprintf(text[n % 64][0], 40, "%06x%06x", run_id() & 0xffffff, n);
    snprintf(text[n % 64][1], 40, "00000000-0000-4000-8000-%06x%06x", run_id() & 0xffffff, n);
    s.short_id = text[n % 64][0];
    s.id = text[n % 64][1];
    s.name = "box";
    s.shell = "exec sh";
    return s;
}

static inline const char *pid_of(const struct cc_machine_spec *s)
{
    static char text[64][20];
    unsigned n = (unsigned)strtoul(s->short_id + 6, NULL, 16) % 64;

    snprintf(text[n], 20, "cc-%s", s->short_id);
    return text[n];
}

static inline void create(struct fix *f, const struct cc_machine_spec *s)
{
    fix_ok(f, (struct cc_provider_req){ .op = CC_OP_CREATE, .machine = s });
    assert_string_equal(f->res.machine.provider_id, pid_of(s));
}

static inline void destroy(struct fix *f, const struct cc_machine_spec *s)
{
    fix_ok(f, (struct cc_provider_req){ .op = CC_OP_DESTROY, .id = pid_of(s), .purge = true });
}

static inline enum cc_machine_state state_of(struct fix *f, const struct cc_machine_spec *s)
{
    int r = fix_do(f, (struct cc_provider_req){ .op = CC_OP_STATUS, .id = pid_of(s) });

    return r == CC_E_NOT_FOUND ? CC_M_GONE : r ? CC_M_ERROR : f->res.machine.state;
}

/* Runs `sh -c line` inside; the exit code. Output in f->res.exec. */
static inline int sh(struct fix *f, const struct cc_machine_spec *s, const char *line)
{
    const char *const words[] = { "sh", "-c", line };
    struct cc_exec_spec e = { .cmd = { words, 3 } };

    fix_ok(f, (struct cc_provider_req){ .op = CC_OP_EXEC, .id = pid_of(s), .exec = &e });
    return f->res.exec.exit;
}

static inline bool says(struct fix *f, const struct cc_machine_spec *s, const char *line, const char *expected)
{
    sh(f, s, line);
    if (strcmp(f->res.exec.out, expected) == 0)
        return true;
    print_message("`%s` said \"%s\" (%s), not \"%s\"\n", line, f->res.exec.out, f->res.exec.err, expected);
    return false;
}

/* ---------------------------------------------------------------- what is left */

/* Processes, zombies apart, whose command line or environment holds `text`. */
static inline int processes_with(const char *text)
{
    char path[300], line[65536];
    struct dirent *e;
    int n = 0, fd;
    ssize_t got;
    DIR *d = opendir("/proc");

    while ((e = readdir(d))) {
        if (e->d_name[0] < '0' || e->d_name[0] > '9' || atoi(e->d_name) == getpid())
            continue;
        snprintf(path, sizeof(path), "/proc/%s/cmdline", e->d_name);
        if ((fd = open(path, O_RDONLY | O_CLOEXEC)) < 0)
            continue;
        got = read(fd, line, sizeof(line));
        close(fd);
        if (got > 0 && memmem(line, (size_t)got, text, strlen(text)))
            n++;
    }
    closedir(d);
    return n;
}

/* Files below `dir`, itself apart. */
static inline int entries(const char *dir)
{
    struct dirent *e;
    DIR *d = opendir(dir);
    int n = 0;

    while (d && (e = readdir(d)))
        n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    if (d)
        closedir(d);
    return n;
}

static inline bool mentions(const char *file, const char *text)
{
    FILE *f = fopen(file, "re");
    char line[4096];
    bool found = false;

    while (f && !found && fgets(line, sizeof(line), f))
        found = strstr(line, text) != NULL;
    if (f)
        fclose(f);
    return found;
}

/* NULL, or which machine, volume, slot, port, trash, mount or socket of this directory there still is. */
static inline const char *left_behind(struct fix *f)
{
    static const char *const places[] = { "machines", "volumes", "slots", "ports", "trash" };
    static char why[200];
    char path[128];
    size_t i;

    for (i = 0; i < sizeof(places) / sizeof(*places); i++) {
        snprintf(path, sizeof(path), "%s/%s", f->dir, places[i]);
        snprintf(why, sizeof(why), "%d left in %s", entries(path), path);
        if (entries(path) != 0)
            return why;
    }
    snprintf(why, sizeof(why), "a mount or socket of %s is left", f->dir);
    if (mentions("/proc/self/mounts", f->dir) || mentions("/proc/net/unix", f->dir))
        return why;
    snprintf(why, sizeof(why), "processes of %s are left", f->dir);
    return processes_with(f->dir) ? why : NULL;
}

static inline void assert_nothing_left(struct fix *f)
{
    const char *why = left_behind(f);

    if (why)
        fail_msg("%s", why);
}

/* Also what a test that failed left running. */
static inline void fix_free(struct fix *f)
{
    struct cc_machine_list left;
    char line[128];
    size_t i;

    left = fix_do(f, (struct cc_provider_req){ .op = CC_OP_LIST }) == 0 ? f->res.machines
                                                                        : (struct cc_machine_list){ NULL, 0 };
    for (i = 0; i < left.n; i++)
        fix_do(f, (struct cc_provider_req){ .op = CC_OP_DESTROY, .id = left.v[i].provider_id, .purge = true });
    f->driver->close(f->self);
    cc_arena_free(&f->arena);
    snprintf(line, sizeof(line), "rm -rf %s", f->dir);
    if (system(line) != 0)
        fail_msg("cannot remove %s", f->dir);
    free(f);
}

/* A teardown: tells what is left, and takes it away. */
static inline int fix_end(struct fix *f)
{
    const char *why = strcmp(f->driver->name, "local") == 0 ? left_behind(f) : NULL;

    fix_free(f);
    if (why)
        fail_msg("%s", why);
    return 0;
}

/* Most hosts let everybody have a tun device; where this one does not, the ordinary user gets one in a /dev/net of his own. */
static inline void tun_for_all(void)
{
    umask(0);
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", "/dev/net", "tmpfs", 0, "mode=755,size=4k") != 0 ||
        mknod("/dev/net/tun", S_IFCHR | 0666, makedev(10, 200)) != 0)
        print_message("no tun device for an ordinary user: %s\n", strerror(errno));
    umask(022);
}

/* Runs this test program again as an ordinary user; its result is ours. */
static inline int again_as_user(const char *name)
{
    enum { USER = 54321 };
    int status, self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    pid_t pid = fork();

    if (pid == 0) {
        char *argv[] = { (char *)name, "user", NULL };

        tun_for_all();
        if (chdir("/") != 0 || setgroups(0, NULL) != 0 || setresgid(USER, USER, USER) != 0 ||
            setresuid(USER, USER, USER) != 0)
            _exit(1);
        fexecve(self, argv, environ);
        _exit(1);
    }
    close(self);
    return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

#endif
