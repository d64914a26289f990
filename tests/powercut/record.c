/* record.c - see record.h. */
#include "tests/powercut/record.h"

#include "host/sys/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static struct record *_Atomic record; /* NULL: nothing is noted */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void add(struct op op)
{
    pthread_mutex_lock(&lock);
    if (record) {
        if (record->n == record->size) {
            record->size = record->size ? record->size * 2 : 1024;
            record->ops = cc_xrealloc(record->ops, record->size * sizeof(op));
        }
        record->ops[record->n++] = op;
    } else {
        free(op.data);
    }
    pthread_mutex_unlock(&lock);
}

void record_start(struct record *r)
{
    memset(r, 0, sizeof(*r));
    pthread_mutex_lock(&lock);
    record = r;
    pthread_mutex_unlock(&lock);
}

void record_stop(void)
{
    pthread_mutex_lock(&lock);
    record = NULL;
    pthread_mutex_unlock(&lock);
}

void record_note(enum op_kind kind, int writer, int64_t number)
{
    add((struct op){ .kind = kind, .writer = writer, .number = number });
}

static atomic_uint deny_each, meta_writes;
static atomic_bool for_good, gone;
static atomic_int left; /* writes before it is gone */

void record_deny(unsigned n, bool disk_goes)
{
    atomic_store(&deny_each, n);
    atomic_store(&for_good, disk_goes);
    atomic_store(&gone, false);
}

size_t record_count(void)
{
    size_t n;

    pthread_mutex_lock(&lock);
    n = record ? record->n : 0;
    pthread_mutex_unlock(&lock);
    return n;
}

void record_free(struct record *r)
{
    size_t i;

    for (i = 0; i < r->n; i++)
        free(r->ops[i].data);
    free(r->ops);
}

/* ---- the calls */

static bool is_data(int fd)
{
    char link[40], path[512];
    ssize_t n;

    if (!record)
        return false;
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    n = readlink(link, path, sizeof(path) - 1);
    if (n <= 0)
        return false;
    path[n] = '\0';
    return strstr(path, "data.mdb") != NULL;
}

/* The disk is gone: the call does nothing. */
static bool refused(int fd)
{
    if (!atomic_load(&gone) || !is_data(fd) || atomic_fetch_sub(&left, 1) > 0)
        return false;
    errno = EIO;
    return true;
}

/* The meta page is all that is written through a file opened with O_DSYNC. */
static bool denied(int fd)
{
    unsigned n = atomic_load(&deny_each);

    if (!n || !(fcntl(fd, F_GETFL) & O_DSYNC) || (atomic_fetch_add(&meta_writes, 1) + 1) % n != 0)
        return false;
    atomic_store(&left, 1);
    atomic_store(&gone, atomic_load(&for_good));
    errno = EIO;
    return true;
}

/* A file opened with O_DSYNC has its writes on disk when they return, and only those. */
static void note_write(int fd, const void *b, size_t n, off_t at)
{
    int flags = fcntl(fd, F_GETFL);
    struct op op = { .kind = flags & O_DSYNC ? OP_SYNCED_WRITE : OP_WRITE, .at = at, .len = n };

    if (!is_data(fd))
        return;
    op.data = cc_xmalloc(n + 1);
    memcpy(op.data, b, n);
    add(op);
}

static void note_vector(int fd, const struct iovec *v, int n, off_t at)
{
    int i;

    for (i = 0; i < n; at += (off_t)v[i].iov_len, i++)
        note_write(fd, v[i].iov_base, v[i].iov_len, at);
}

static void note_sync(int fd)
{
    if (is_data(fd))
        add((struct op){ .kind = OP_SYNC });
}

static void note_length(int fd, off_t len)
{
    if (is_data(fd))
        add((struct op){ .kind = OP_LENGTH, .at = len });
}

ssize_t write(int fd, const void *b, size_t n)
{
    if (refused(fd))
        return -1;
    note_write(fd, b, n, lseek(fd, 0, SEEK_CUR));
    return syscall(SYS_write, fd, b, n);
}

ssize_t writev(int fd, const struct iovec *v, int n)
{
    if (refused(fd))
        return -1;
    note_vector(fd, v, n, lseek(fd, 0, SEEK_CUR));
    return syscall(SYS_writev, fd, v, n);
}

ssize_t pwrite(int fd, const void *b, size_t n, off_t at)
{
    ssize_t done;

    if (refused(fd))
        return -1;
    note_write(fd, b, n, at);
    done = syscall(SYS_pwrite64, fd, b, n, at);
    return denied(fd) ? -1 : done;
}

ssize_t pwritev(int fd, const struct iovec *v, int n, off_t at)
{
    if (refused(fd))
        return -1;
    note_vector(fd, v, n, at);
    return syscall(SYS_pwritev, fd, v, n, at, 0);
}

static int synced(int fd, long call)
{
    int rc;

    if (refused(fd))
        return -1;
    rc = (int)syscall(call, fd);
    note_sync(fd);
    return rc;
}

int fsync(int fd) { return synced(fd, SYS_fsync); }
int fdatasync(int fd) { return synced(fd, SYS_fdatasync); }

int ftruncate(int fd, off_t len)
{
    if (refused(fd))
        return -1;
    note_length(fd, len);
    return (int)syscall(SYS_ftruncate, fd, len);
}

int fallocate(int fd, int mode, off_t at, off_t len)
{
    if (refused(fd))
        return -1;
    note_length(fd, at + len);
    return (int)syscall(SYS_fallocate, fd, mode, at, len);
}

/* The store maps its file for reading; if that ever changes, this test has to learn it. */
int msync(void *p, size_t n, int flags)
{
    (void)p, (void)n, (void)flags;
    abort();
}
