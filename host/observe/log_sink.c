/* log_sink.c - see log_sink.h and, for what is promised, log.h.
 *
 * The writer takes [head, head + n) of the ring without holding the lock while it writes: nobody else touches what is not
 * free.  A file is opened anew by the writer alone, so that no caller waits for a disk; when that fails it goes on with the
 * file that it has.
 */
#include "host/observe/log_sink.h"

#include "host/observe/log.h"
#include "host/sys/err.h"
#include "host/sys/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { STOP_SECONDS = 2 };

static struct {
    pthread_mutex_t lock;
    pthread_cond_t more;
    pthread_t thread;
    atomic_bool running; /* the thread is there */
    bool asleep, stop, reopen;
    bool half;    /* the last that was written is a part of a line */
    bool refused; /* the last could not be written: nothing is told before something can be */
    char *ring, *path;
    size_t cap, head, len;
    int why; /* nothing could be written the last time: errno; 0: it is known to the log already */
    uint64_t lines, dropped, told; /* told: of the dropped, those that the log speaks of already */
    int fd;
} sink = { .lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER, .fd = STDERR_FILENO };

/* ---------------------------------------------------------------- the writer */

/* How many of the bytes have been written: all, or there is an error. */
static size_t write_some(const char *p, size_t n)
{
    size_t done = 0;

    while (done < n) {
        ssize_t w = write(sink.fd, p + done, n - done);

        if (w > 0) {
            done += (size_t)w;
        } else if (w < 0 && errno == EAGAIN) { /* somebody has made it non-blocking */
            struct pollfd f = { .fd = sink.fd, .events = POLLOUT };

            poll(&f, 1, -1);
        } else if (w == 0 || errno != EINTR) {
            sink.why = w == 0 ? EIO : errno;
            break;
        }
    }
    return done;
}

struct piece {
    const char *p;
    size_t n;
};

/* How many of the first n bytes of both are behind the last end of a line. */
static size_t part_of_line(struct piece a, struct piece b, size_t n)
{
    size_t part = 0;

    while (part < n && (n - part > a.n ? b.p[n - part - a.n - 1] : a.p[n - part - 1]) != '\n')
        part++;
    return part;
}

/* The bytes that were written last, if they are the last of our own file: another process may append to it, too. */
static bool take_back(size_t n)
{
    off_t end = sink.path ? lseek(sink.fd, 0, SEEK_CUR) : -1;
    struct stat st;

    return end >= (off_t)n && fstat(sink.fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == end &&
           ftruncate(sink.fd, end - (off_t)n) == 0;
}

/* Whole lines, in two pieces. How many bytes of them have been written. A line of which a full disk has taken a part is taken
 * back; where it cannot be it stands alone, as it must not spoil the next one. */
static size_t write_lines(struct piece a, struct piece b)
{
    size_t done, part;

    if (sink.half && write_some("\n", 1) == 0)
        return 0;
    done = write_some(a.p, a.n);
    if (done == a.n)
        done += write_some(b.p, b.n);
    part = done < a.n + b.n ? part_of_line(a, b, done) : 0;
    sink.half = part > 0 && !take_back(part);
    return done;
}

static int open_file(const char *path)
{
    return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0600);
}

static void reopen(void)
{
    int fd = sink.path ? open_file(sink.path) : -1;

    if (!sink.path)
        return;
    if (fd < 0) {
        cc_log(CC_LOG_ERROR, "log", "%s cannot be opened anew (%s); the file from before is written to", sink.path,
               strerror(errno));
        return;
    }
    close(sink.fd);
    sink.fd = fd;
    sink.half = false;
}

static uint64_t count_lines(const char *p, size_t n)
{
    uint64_t lines = 0;
    const char *end = p + n;

    while (p < end && (p = memchr(p, '\n', (size_t)(end - p)))) {
        lines++;
        p++;
    }
    return lines;
}

static uint64_t count_behind(struct piece x, size_t done)
{
    return done < x.n ? count_lines(x.p + done, x.n - done) : 0;
}

/* With the lock held; gives it back meanwhile. */
static void write_out(void)
{
    size_t done, n = sink.len, first = n < sink.cap - sink.head ? n : sink.cap - sink.head;
    struct piece a = { sink.ring + sink.head, first }, b = { sink.ring, n - first };

    pthread_mutex_unlock(&sink.lock);
    done = write_lines(a, b);
    pthread_mutex_lock(&sink.lock);
    sink.refused = done < n;
    if (sink.refused) { /* a full disk, a reader that has gone: there is nobody to tell but the counter */
        uint64_t lost = count_behind(a, done) + count_behind(b, done > first ? done - first : 0);

        sink.lines -= lost;
        sink.dropped += lost;
    }
    sink.head = (sink.head + n) % sink.cap;
    sink.len -= n;
}

static void tell_dropped(void)
{
    char line[512];
    uint64_t dropped = sink.dropped;
    size_t len = cc_log_dropped_line(line, sizeof(line), dropped - sink.told, sink.why);
    bool ok;

    pthread_mutex_unlock(&sink.lock);
    ok = write_lines((struct piece){ line, len }, (struct piece){ "", 0 }) == len;
    pthread_mutex_lock(&sink.lock);
    sink.refused = !ok;
    if (!ok)
        return;
    sink.told = dropped;
    sink.why = 0;
}

static void *writer(void *arg)
{
    sigset_t all;

    (void)arg;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    pthread_mutex_lock(&sink.lock);
    for (;;) {
        if (sink.len > 0) {
            write_out();
        } else if (sink.dropped > sink.told && !sink.refused) {
            tell_dropped();
        } else if (sink.reopen) {
            sink.reopen = false;
            pthread_mutex_unlock(&sink.lock);
            reopen();
            pthread_mutex_lock(&sink.lock);
            sink.refused = false;
        } else if (sink.stop) {
            break;
        } else {
            sink.asleep = true;
            pthread_cond_wait(&sink.more, &sink.lock);
            sink.asleep = false;
        }
    }
    pthread_mutex_unlock(&sink.lock);
    return NULL;
}

/* ---------------------------------------------------------------- those who log */

static void wake(void)
{
    if (sink.asleep)
        pthread_cond_signal(&sink.more);
}

void cc_log_sink_put(const char *line, size_t n)
{
    size_t at, first;

    if (!atomic_load_explicit(&sink.running, memory_order_acquire)) {
        ssize_t wrote = write(STDERR_FILENO, line, n);

        (void)wrote; /* a log that cannot be written has nobody to tell */
        return;
    }
    pthread_mutex_lock(&sink.lock);
    if (n > sink.cap - sink.len) {
        sink.dropped++;
    } else {
        at = (sink.head + sink.len) % sink.cap;
        first = n < sink.cap - at ? n : sink.cap - at;
        memcpy(sink.ring + at, line, first);
        memcpy(sink.ring, line + first, n - first);
        sink.len += n;
        sink.lines++;
        wake();
    }
    pthread_mutex_unlock(&sink.lock);
}

/* What explains an abort is most likely in the last lines. No lock: whoever has it may be who aborts. */
static void on_abort(int num)
{
    size_t len = sink.len, first = len < sink.cap - sink.head ? len : sink.cap - sink.head;

    (void)num;
    if (!atomic_load(&sink.running) || len > sink.cap)
        return;
    if (write(sink.fd, sink.ring + sink.head, first) < 0 || write(sink.fd, sink.ring, len - first) < 0)
        return; /* nobody is left to be told */
}

int cc_log_start(const char *path, size_t buffer, struct cc_err *err)
{
    struct sigaction a = { .sa_handler = on_abort, .sa_flags = (int)SA_RESETHAND };
    int rc, fd = path ? open_file(path) : STDERR_FILENO;

    if (fd < 0)
        return cc_err_sys(err, errno, "cannot open the log %s", path);
    sink.fd = fd;
    sink.path = path ? cc_xstrdup(path) : NULL;
    sink.ring = cc_xmalloc(buffer);
    sink.cap = buffer;
    sink.head = sink.len = 0;
    sink.stop = sink.half = sink.refused = false;
    rc = pthread_create(&sink.thread, NULL, writer, NULL);
    if (rc != 0)
        return cc_err_sys(err, rc, "the log has no thread");
    pthread_setname_np(sink.thread, "log");
    atomic_store_explicit(&sink.running, true, memory_order_release);
    sigaction(SIGABRT, &a, NULL);
    return 0;
}

void cc_log_reopen(void)
{
    pthread_mutex_lock(&sink.lock);
    sink.reopen = true;
    wake();
    pthread_mutex_unlock(&sink.lock);
}

/* A reader that reads no more must not keep the process: then the thread is left, with its ring. */
void cc_log_stop(void)
{
    struct timespec until;

    if (!atomic_exchange(&sink.running, false))
        return;
    signal(SIGABRT, SIG_DFL);
    pthread_mutex_lock(&sink.lock);
    sink.stop = true;
    wake();
    pthread_mutex_unlock(&sink.lock);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += STOP_SECONDS;
    if (pthread_timedjoin_np(sink.thread, NULL, &until) != 0)
        return;
    if (sink.path)
        close(sink.fd);
    sink.fd = STDERR_FILENO;
    free(sink.path);
    free(sink.ring);
    sink.path = sink.ring = NULL;
}

void cc_log_stats(struct cc_log_stats *out)
{
    pthread_mutex_lock(&sink.lock);
    *out = (struct cc_log_stats){ sink.lines, sink.dropped, sink.len };
    pthread_mutex_unlock(&sink.lock);
}
