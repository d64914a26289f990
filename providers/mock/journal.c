/* journal.c - the mock's world in a file, and the ledger of its effects.
 *
 * The state file is a journal: one JSON line for each change, appended in one
 * write under a lock (flock) and applied by whoever reads it.  A process that
 * shares the file reads, before each call, what others have appended.  A kill
 * leaves the last line whole or cut off; a cut-off one is no effect, and the
 * next writer removes it.  When most lines are history the world is written
 * to a new file, which takes the old one's name.  Not synced: the mock
 * outlives processes, not the power.
 *
 * The ledger is written after the journal, still under the lock.  A line that
 * a kill kept from it is added by the next process that opens the world.
 */
#include "providers/mock/mock.h"

#include "host/sys/clock.h"
#include "host/sys/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { LINES_MIN = 1000, LINES_PER_OBJECT = 4 }; /* when a journal is rewritten */
enum { OPEN_WAIT_MS = 5000 };                    /* nothing is served yet */

/* ---------------------------------------------------------------- lines out */

/* `o`, consumed, as one line in one write at the end of `fd`. */
static int append(int fd, json_t *o, off_t *size, struct cc_err *err)
{
    char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
    size_t n = text ? strlen(text) : 0;
    ssize_t written;
    int r = 0;

    json_decref(o);
    if (!text)
        return cc_err_set(err, CC_E_INVALID, "the mock keeps only what is UTF-8");
    text[n++] = '\n'; /* over the NUL: it is written with its length */
    written = write(fd, text, n);
    if (written < 0)
        r = cc_err_sys(err, errno, "writing the mock's state");
    else if ((size_t)written < n)
        r = cc_err_set(err, CC_E_FULL, "writing the mock's state: only %zd of %zu bytes fitted", written, n);
    else if (size)
        *size += (off_t)n;
    free(text);
    return r;
}

static json_t *head_json(const struct cc_mock *m)
{
    return json_pack("{s:I, s:I, s:I}", "life", (json_int_t)m->lives, "orphans", (json_int_t)m->orphans_made, "n",
                     (json_int_t)m->effects);
}

/* ---------------------------------------------------------------- lines in */

static void apply(struct cc_mock *m, const json_t *o)
{
    const json_t *member;
    const char *gone;
    struct cc_mock_machine *v;

    if ((member = json_object_get(o, "n")))
        m->effects = (uint64_t)json_integer_value(member);
    if ((member = json_object_get(o, "life"))) {
        m->lives = (uint64_t)json_integer_value(member);
        m->orphans_made = (unsigned)json_integer_value(json_object_get(o, "orphans"));
    }
    if ((member = json_object_get(o, "ran")))
        cc_mock_late_drop(m, (uint64_t)json_integer_value(member));
    if ((member = json_object_get(o, "late")))
        cc_mock_late_load(m, member);
    if ((member = json_object_get(o, "machine")))
        cc_mock_machine_load(m, member);
    if ((gone = json_string_value(json_object_get(o, "gone"))) && (v = cc_mock_find(m, gone, false)))
        cc_mock_destroy(m, v, json_integer_value(json_object_get(o, "at")));
    if ((member = json_object_get(o, "volume")))
        cc_mock_volume_load(m, member);
    if ((gone = json_string_value(json_object_get(o, "no_volume"))))
        cc_mock_drop_volume(m, gone);
}

/* What stands in the file beyond m->read, whole lines only. `last`, when wanted, gets the last line with an effect. */
static int read_on(struct cc_mock *m, off_t size, char **last, struct cc_err *err)
{
    size_t n = (size_t)(size - m->read);
    char *text = cc_xmalloc(n + 1), *line, *end;
    int r = 0;

    if (pread(m->fd, text, n, m->read) != (ssize_t)n)
        r = cc_err_set(err, CC_E_IO, "reading the mock's state in %s", m->path);
    for (line = text; r == 0 && (end = memchr(line, '\n', n - (size_t)(line - text))); line = end + 1) {
        json_t *o = json_loadb(line, (size_t)(end - line), 0, NULL);

        if (!json_is_object(o))
            r = cc_err_set(err, CC_E_CORRUPT, "the mock's state in %s is no journal of it", m->path);
        else
            apply(m, o);
        if (r == 0 && last && json_object_get(o, "op")) {
            free(*last);
            *last = cc_xstrndup(line, (size_t)(end - line));
        }
        json_decref(o);
        m->lines++;
        m->read += r == 0 ? end + 1 - line : 0;
    }
    free(text);
    return r;
}

/* ---------------------------------------------------------------- the lock */

static int open_file(const char *path, int *fd, struct cc_err *err)
{
    *fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    return *fd < 0 ? cc_err_sys(err, errno, "the mock's file %s", path) : 0;
}

static void start_over(struct cc_mock *m)
{
    cc_mock_forget(m);
    m->read = 0;
    m->lines = 0;
    m->doubtful = false;
}

/* Whoever is stopped while it has the lock must not stop us as well. */
static int lock_soon(const struct cc_mock *m, unsigned wait_ms, struct cc_err *err)
{
    const struct timespec pause = { .tv_nsec = 1000000 };
    uint64_t end = cc_mono_ns() + wait_ms * 1000000ull;

    while (flock(m->fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return cc_err_sys(err, errno, "locking %s", m->path);
        if (cc_mono_ns() >= end)
            return cc_err_set(err, CC_E_UNAVAILABLE, "another process has kept %s locked for %u ms", m->path, wait_ms);
        nanosleep(&pause, NULL);
    }
    return 0;
}

/* Locks the file that has the name now: a rewrite may have put another one there. */
static int lock_file(struct cc_mock *m, unsigned wait_ms, struct stat *st, struct cc_err *err)
{
    struct stat now;
    int r;

    for (;;) {
        if (m->fd < 0) {
            start_over(m);
            if ((r = open_file(m->path, &m->fd, err)) != 0)
                return r;
        }
        if ((r = lock_soon(m, wait_ms, err)) != 0)
            return r;
        if (fstat(m->fd, st) == 0 && stat(m->path, &now) == 0 && st->st_ino == now.st_ino && st->st_dev == now.st_dev)
            return 0;
        close(m->fd);
        m->fd = -1;
    }
}

static int lock_and_read(struct cc_mock *m, unsigned wait_ms, char **last, struct cc_err *err)
{
    struct stat st;
    int r = lock_file(m, wait_ms, &st, err);

    if (r != 0)
        return r;
    if (m->doubtful || st.st_size < m->read)
        start_over(m);
    if (st.st_size > m->read)
        r = read_on(m, st.st_size, last, err);
    if (r == 0 && st.st_size > m->read && ftruncate(m->fd, m->read) != 0)
        r = cc_err_sys(err, errno, "removing a line that a kill cut off");
    if (r != 0) {
        m->doubtful = true;
        cc_mock_unlock(m);
    }
    return r;
}

int cc_mock_lock(struct cc_mock *m, struct cc_err *err)
{
    int r = m->path ? lock_and_read(m, CC_MOCK_WAIT_MS, NULL, err) : 0;

    if (r == 0 && (r = cc_mock_late_run(m, err)) != 0)
        cc_mock_unlock(m);
    return r;
}

void cc_mock_unlock(struct cc_mock *m)
{
    if (m->fd >= 0)
        flock(m->fd, LOCK_UN);
}

/* ---------------------------------------------------------------- rewriting */

/* `o`, consumed, as a line of a file that takes the old one's name only when it is whole. */
static int put(FILE *out, json_t *o)
{
    int r = !o || json_dumpf(o, out, JSON_COMPACT) != 0 || putc('\n', out) == EOF ? -1 : 0;

    json_decref(o);
    return r;
}

static int put_world(const struct cc_mock *m, FILE *out)
{
    const struct cc_mock_late *late = NULL;
    const struct cc_mock_machine *v;
    const struct cc_mock_volume *w;
    int b, r = put(out, head_json(m));

    for (w = m->volumes; w && r == 0; w = w->next)
        r = put(out, json_pack("{s:o}", "volume", cc_mock_volume_json(w)));
    for (b = 0; b < CC_MOCK_BUCKETS; b++)
        for (v = m->machines[b]; v && r == 0; v = v->next)
            if (!v->destroyed)
                r = put(out, json_pack("{s:o}", "machine", cc_mock_machine_json(v)));
    while (r == 0 && (late = cc_mock_late_next(m, late)))
        r = put(out, json_pack("{s:o}", "late", cc_mock_late_json(late)));
    return r;
}

/* Into `fd`, in few writes: others wait meanwhile. */
static int write_world(const struct cc_mock *m, int fd, off_t *size, struct cc_err *err)
{
    int copy = dup(fd), r;
    FILE *out = copy < 0 ? NULL : fdopen(copy, "w");

    if (!out) {
        r = cc_err_sys(err, errno, "writing the mock's state anew");
        if (copy >= 0)
            close(copy);
        return r;
    }
    r = put_world(m, out);
    if (fclose(out) != 0 || r != 0)
        return cc_err_sys(err, errno, "writing the mock's state anew");
    *size = lseek(fd, 0, SEEK_END);
    return 0;
}

/* With the old file locked. The new one is locked before it has the name. */
static int rewrite(struct cc_mock *m, struct cc_err *err)
{
    char *tmp = cc_xasprintf("%s.new", m->path);
    off_t size = 0;
    int fd, r;

    unlink(tmp);
    cc_mock_bury(m);
    r = open_file(tmp, &fd, err);
    if (r == 0 && flock(fd, LOCK_EX) != 0)
        r = cc_err_sys(err, errno, "locking %s", tmp);
    if (r == 0)
        r = write_world(m, fd, &size, err);
    if (r == 0 && rename(tmp, m->path) != 0)
        r = cc_err_sys(err, errno, "renaming %s", tmp);
    if (r == 0) {
        close(m->fd);
        m->fd = fd;
        m->read = size;
        m->lines = m->objects + 1;
    } else if (fd >= 0) {
        close(fd);
    }
    free(tmp);
    return r;
}

/* ---------------------------------------------------------------- effects */

static json_t *ledger_json(const struct cc_mock *m, const struct cc_mock_effect *e)
{
    const char *mishap = e->mishap == CC_MISHAP_NONE ? NULL : cc_mock_mishaps[e->mishap];

    return json_pack("{s:I, s:s, s:s, s:s, s:b, s:I, s:s*, s:s*, s:s*, s:o*}", "at", (json_int_t)cc_wall_ms(), "op",
                     e->op, "short", e->short_id, "id", e->id, "changed", e->changed, "n", (json_int_t)m->effects,
                     "mishap", mishap, "address", e->spec ? e->spec->address : NULL, "user_data",
                     e->spec ? e->spec->user_data : NULL, "purge", e->purge ? json_true() : NULL);
}

int cc_mock_note(struct cc_mock *m, json_t *what, struct cc_err *err)
{
    int r;

    if (!m->path) {
        json_decref(what);
        return 0;
    }
    r = append(m->fd, what, &m->read, err);
    m->lines++;
    m->doubtful |= r != 0;
    return r;
}

int cc_mock_record(struct cc_mock *m, const struct cc_mock_effect *e, struct cc_err *err)
{
    json_t *line;
    int r = 0;

    m->effects += e->what != NULL;
    line = ledger_json(m, e);
    if (e->what) {
        json_object_update_missing(e->what, line);
        r = cc_mock_note(m, e->what, err);
    }
    if (r == 0 && m->ledger_fd >= 0)
        r = append(m->ledger_fd, json_incref(line), NULL, err);
    json_decref(line);
    if (r == 0 && m->path && m->lines > LINES_MIN + LINES_PER_OBJECT * m->objects)
        r = rewrite(m, err); /* last: a kill before it can be mended from the journal's last line */
    return r;
}

/* ---------------------------------------------------------------- open and close */

/* A kill can cut a write off where a page ends: what has no newline is no line. */
static int cut_half_line(struct cc_mock *m, struct cc_err *err)
{
    char text[4096];
    off_t size = lseek(m->ledger_fd, 0, SEEK_END), from = size > (off_t)sizeof(text) ? size - (off_t)sizeof(text) : 0;
    ssize_t n = pread(m->ledger_fd, text, sizeof(text), from), keep = n;

    while (keep > 0 && text[keep - 1] != '\n')
        keep--;
    if (keep < n && ftruncate(m->ledger_fd, from + keep) != 0)
        return cc_err_sys(err, errno, "mock: cannot mend %s", m->ledger_path);
    return 0;
}

/* The number of the ledger's last line; 0 when it is empty. */
static uint64_t last_in_ledger(const struct cc_mock *m)
{
    char text[4096];
    off_t size = lseek(m->ledger_fd, 0, SEEK_END), from = size > 4095 ? size - 4095 : 0;
    ssize_t n = pread(m->ledger_fd, text, sizeof(text) - 1, from);
    char *line;
    json_t *o;
    uint64_t last = 0;

    text[n > 0 ? n : 0] = 0;
    if (n > 0 && text[n - 1] == '\n')
        text[n - 1] = 0;
    line = strrchr(text, '\n');
    if ((o = json_loads(line ? line + 1 : text, 0, NULL)))
        last = (uint64_t)json_integer_value(json_object_get(o, "n"));
    json_decref(o);
    return last;
}

/* The last effect in the journal may be one that a kill kept from the ledger. */
static int mend_ledger(struct cc_mock *m, const char *last, struct cc_err *err)
{
    static const char *const extra[] = { "machine", "gone", "volume", "no_volume", "late", "ran" };
    json_t *o = last ? json_loads(last, 0, NULL) : NULL;
    size_t i;

    if (!o || (uint64_t)json_integer_value(json_object_get(o, "n")) <= last_in_ledger(m)) {
        json_decref(o);
        return 0;
    }
    for (i = 0; i < sizeof(extra) / sizeof(*extra); i++)
        json_object_del(o, extra[i]);
    return append(m->ledger_fd, o, NULL, err);
}

/* Machines that carry our label and that nobody asked for; the same ones in every world. */
static int make_orphans(struct cc_mock *m, struct cc_err *err)
{
    char short_id[13], id[37];
    int r = 0;

    for (; m->orphans_made < m->orphans && r == 0; m->orphans_made++) {
        unsigned long long n = cc_mock_draw(0, 0x6f727068616e, m->orphans_made) & 0xffffffffffff;
        struct cc_mock_machine *v;
        struct cc_mock_effect e = { .op = "orphan", .short_id = short_id, .id = id, .changed = true };

        snprintf(short_id, sizeof(short_id), "%012llx", n);
        snprintf(id, sizeof(id), "%.8s-%.4s-4000-8000-%012u", short_id, short_id + 8, m->orphans_made);
        v = cc_mock_add(m, short_id);
        v->id = cc_xstrdup(id);
        v->name = cc_xstrdup("orphan");
        v->image = cc_xstrdup("mock");
        v->created_at = cc_wall_ms();
        cc_mock_run(m, v);
        e.what = json_pack("{s:o}", "machine", cc_mock_machine_json(v));
        r = cc_mock_record(m, &e, err);
    }
    return r;
}

static int begin_life(struct cc_mock *m, struct cc_err *err)
{
    char *last = NULL;
    int r = lock_and_read(m, OPEN_WAIT_MS, &last, err);

    if (r != 0)
        return r;
    if (m->ledger_fd >= 0 && (r = cut_half_line(m, err)) == 0)
        r = mend_ledger(m, last, err);
    free(last);
    m->life = ++m->lives;
    if (r == 0)
        r = make_orphans(m, err);
    if (r == 0)
        r = append(m->fd, head_json(m), &m->read, err);
    m->lines++;
    cc_mock_unlock(m);
    return r;
}

int cc_mock_open(struct cc_mock *m, struct cc_err *err)
{
    int r = m->ledger_path ? open_file(m->ledger_path, &m->ledger_fd, err) : 0;

    if (r == 0)
        r = m->path ? begin_life(m, err) : make_orphans(m, err);
    return r;
}

void cc_mock_close(struct cc_mock *m)
{
    if (m->fd >= 0)
        close(m->fd);
    if (m->ledger_fd >= 0)
        close(m->ledger_fd);
    m->fd = m->ledger_fd = -1;
}
