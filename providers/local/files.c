/* files.c - giving a machine's files to another range of uids.
 *
 * A machine makes its trees as deep as it likes, so the walk holds one directory open and keeps in memory which ones are
 * still to be seen; it comes back up by "..", which is sure to be the one it came from: nobody else is at work there, and it
 * is looked at.
 */
#include "providers/local/local.h"

#include "host/sys/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NAMES_MAX = 256 * 1024 * 1024 }; /* bytes that all levels together may take: some million directories */

struct range {
    unsigned long from, to;
};

struct level {
    struct level *above;
    dev_t dev;
    ino_t ino;
    char *names; /* of the directories in it, each with its NUL, from `at` on still to be seen */
    size_t at, len, room;
};

struct walk {
    struct range range;
    struct level *here;
    int fd; /* of `here` */
    size_t held;
};

/* 0 or errno; `*dir`: it is a directory. */
static int give(int at, const char *name, const struct range *r, bool *dir)
{
    struct stat st;

    if (fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return errno;
    *dir = S_ISDIR(st.st_mode);
    if (st.st_uid - r->from < CC_SLOT_UIDS || st.st_gid - r->from < CC_SLOT_UIDS) {
        uid_t u = st.st_uid - r->from < CC_SLOT_UIDS ? (uid_t)(st.st_uid - r->from + r->to) : st.st_uid;
        gid_t g = st.st_gid - r->from < CC_SLOT_UIDS ? (gid_t)(st.st_gid - r->from + r->to) : st.st_gid;

        if (fchownat(at, name, u, g, AT_SYMLINK_NOFOLLOW) != 0)
            return errno;
    }
    return 0;
}

static int remember(struct walk *w, const char *name)
{
    struct level *l = w->here;
    size_t n = strlen(name) + 1;

    if (w->held + n > NAMES_MAX)
        return E2BIG;
    if (l->len + n > l->room)
        l->names = cc_xrealloc(l->names, l->room = (l->len + n) * 2);
    memcpy(l->names + l->len, name, n);
    l->len += n;
    w->held += n;
    return 0;
}

/* Everything in the directory that is open, itself apart. */
static int give_all(struct walk *w)
{
    int again = openat(w->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
    DIR *d = again >= 0 ? fdopendir(again) : NULL;
    struct dirent *e;
    bool dir = false;

    if (!d)
        return errno;
    while (r == 0 && (e = readdir(d))) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        r = give(w->fd, e->d_name, &w->range, &dir);
        if (r == 0 && dir)
            r = remember(w, e->d_name);
    }
    closedir(d);
    return r;
}

static int go_to(struct walk *w, const char *name, struct stat *st)
{
    int at = w->fd, r;

    w->fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    r = w->fd < 0 || fstat(w->fd, st) != 0 ? errno : 0;
    if (at != AT_FDCWD)
        close(at);
    return r;
}

static int down(struct walk *w, const char *name)
{
    struct level *l;
    struct stat st = { 0 };
    int r = go_to(w, name, &st);

    if (r != 0)
        return r;
    if (w->held + sizeof(*l) > NAMES_MAX)
        return E2BIG;
    w->held += sizeof(*l);
    l = cc_xcalloc(1, sizeof(*l));
    *l = (struct level){ .above = w->here, .dev = st.st_dev, .ino = st.st_ino };
    w->here = l;
    return give_all(w);
}

static void leave(struct walk *w)
{
    struct level *l = w->here;

    w->here = l->above;
    w->held -= l->len + sizeof(*l);
    free(l->names);
    free(l);
}

static int up(struct walk *w)
{
    struct stat st = { 0 };
    int r;

    leave(w);
    if (!w->here)
        return 0;
    if ((r = go_to(w, "..", &st)) != 0)
        return r;
    return st.st_dev == w->here->dev && st.st_ino == w->here->ino ? 0 : ESTALE;
}

int cc_shift_owners(const char *path, unsigned long from, unsigned long to)
{
    struct walk w = { .range = { from, to }, .fd = AT_FDCWD };
    bool dir = false;
    int r;

    if (from == to)
        return 0;
    r = give(AT_FDCWD, path, &w.range, &dir);
    if (r == 0 && dir)
        r = down(&w, path);
    while (r == 0 && w.here) {
        struct level *l = w.here;

        if (l->at == l->len) {
            r = up(&w);
        } else {
            const char *next = l->names + l->at;

            l->at += strlen(next) + 1;
            r = down(&w, next);
        }
    }
    while (w.here)
        leave(&w);
    if (w.fd >= 0)
        close(w.fd);
    return r;
}
