/* badio.c - a disk that fails and a clock that jumps, for a program under test (LD_PRELOAD).
 *
 * BADIO names a control file, mapped once, so that a test changes the world
 * of a running server with one write (tests/lib/badio.js).  Calls that change
 * files below its folder fail with its errno, each or by chance; syncs there
 * take longer; the wall clock is shifted.  What fails has done nothing.  Everything else passes
 * through, and so does everything without BADIO.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct control {             /* little endian, as the machine */
    _Atomic uint32_t sys;    /* errno, 0: nothing fails */
    _Atomic uint32_t chance; /* in a million */
    _Atomic uint64_t seed;
    _Atomic int64_t shift_ms; /* of the wall clock */
    char folder[PATH_MAX];    /* with a slash at its end */
    _Atomic uint32_t slow_ms; /* what each sync takes longer */
};

static struct control healthy;
static struct control *control = &healthy;
static _Atomic uint64_t calls;
static int (*real_clock)(clockid_t, struct timespec *);

__attribute__((constructor)) static void start(void)
{
    const char *path = getenv("BADIO");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *map = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(struct control), PROT_READ, MAP_SHARED, fd, 0);

    if (map != MAP_FAILED)
        control = map;
    if (fd >= 0)
        close(fd);
}

/* ---- whether a call fails */

static bool below(int fd)
{
    char link[40], path[PATH_MAX];
    ssize_t n;

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    n = readlink(link, path, sizeof(path));
    return n > 0 && strncmp(path, control->folder, strnlen(control->folder, (size_t)n)) == 0;
}

static bool by_chance(void)
{
    uint64_t z = atomic_load(&control->seed) + atomic_fetch_add(&calls, 1) * 0x9E3779B97F4A7C15u;

    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return (z ^ z >> 31) % 1000000 < atomic_load(&control->chance);
}

/* Sets errno when so. */
static bool fails(int fd)
{
    uint32_t sys = atomic_load(&control->sys);
    int before = errno;

    if (!sys || !below(fd) || !by_chance()) {
        errno = before;
        return false;
    }
    errno = (int)sys;
    return true;
}

/* ---- files; the names with 64 are the same on a 64-bit machine */

ssize_t write(int fd, const void *b, size_t n) { return fails(fd) ? -1 : syscall(SYS_write, fd, b, n); }
ssize_t writev(int fd, const struct iovec *v, int n) { return fails(fd) ? -1 : syscall(SYS_writev, fd, v, n); }

ssize_t pwrite(int fd, const void *b, size_t n, off_t at)
{
    return fails(fd) ? -1 : syscall(SYS_pwrite64, fd, b, n, at);
}

ssize_t pwritev(int fd, const struct iovec *v, int n, off_t at)
{
    return fails(fd) ? -1 : syscall(SYS_pwritev, fd, v, n, at, 0);
}

static bool sync_fails(int fd)
{
    uint32_t ms = atomic_load(&control->slow_ms);

    if (ms && below(fd))
        nanosleep(&(struct timespec){ ms / 1000, ms % 1000 * 1000000L }, NULL);
    return fails(fd);
}

int fsync(int fd) { return sync_fails(fd) ? -1 : (int)syscall(SYS_fsync, fd); }
int fdatasync(int fd) { return sync_fails(fd) ? -1 : (int)syscall(SYS_fdatasync, fd); }
int ftruncate(int fd, off_t len) { return fails(fd) ? -1 : (int)syscall(SYS_ftruncate, fd, len); }

int fallocate(int fd, int mode, off_t at, off_t len)
{
    return fails(fd) ? -1 : (int)syscall(SYS_fallocate, fd, mode, at, len);
}

ssize_t pwrite64(int, const void *, size_t, off_t) __attribute__((alias("pwrite")));
ssize_t pwritev64(int, const struct iovec *, int, off_t) __attribute__((alias("pwritev")));
int ftruncate64(int, off_t) __attribute__((alias("ftruncate")));
int fallocate64(int, int, off_t, off_t) __attribute__((alias("fallocate")));

/* ---- the wall clock */

static int shifted(clockid_t id, struct timespec *t)
{
    int64_t ms = atomic_load(&control->shift_ms), ns;
    int rc;

    if (!real_clock)
        real_clock = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    rc = real_clock(id, t);
    if (rc == 0 && ms && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) {
        ns = (int64_t)t->tv_sec * 1000000000 + t->tv_nsec + ms * 1000000;
        t->tv_sec = ns / 1000000000;
        t->tv_nsec = ns % 1000000000;
    }
    return rc;
}

int clock_gettime(clockid_t id, struct timespec *t) { return shifted(id, t); }

int gettimeofday(struct timeval *restrict tv, void *restrict tz)
{
    struct timespec t;

    (void)tz;
    if (shifted(CLOCK_REALTIME, &t) != 0)
        return -1;
    *tv = (struct timeval){ t.tv_sec, t.tv_nsec / 1000 };
    return 0;
}

time_t time(time_t *out)
{
    struct timespec t;

    if (shifted(CLOCK_REALTIME, &t) != 0)
        return -1;
    if (out)
        *out = t.tv_sec;
    return t.tv_sec;
}
