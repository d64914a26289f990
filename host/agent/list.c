/* list.c - see list.h. */
#include "host/agent/list.h"

#include "host/sys/beneath.h"
#include "host/sys/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void agent_list_init(struct agent_list *l, const char *after, size_t limit)
{
    l->after = cc_xstrdup(after);
    l->limit = limit;
    l->v = cc_xcalloc(2 * limit + 1, sizeof(*l->v));
}

static void forget(struct agent_list *l, size_t from)
{
    for (; l->n > from; l->n--)
        free(l->v[l->n - 1].name);
}

void agent_list_fini(struct agent_list *l)
{
    forget(l, 0);
    free(l->v);
    free(l->after);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct agent_entry *)a)->name, ((const struct agent_entry *)b)->name);
}

/* Only the first `limit` stay. */
static void cut(struct agent_list *l)
{
    qsort(l->v, l->n, sizeof(*l->v), by_name);
    l->more |= l->n > l->limit;
    if (l->n > l->limit)
        forget(l, l->limit);
}

/* Once there has been a cut, what is behind the last of those that stayed is none of the first. */
static void offer(struct agent_list *l, const char *name)
{
    if (strcmp(name, l->after) <= 0)
        return;
    if (l->more && l->n >= l->limit && strcmp(name, l->v[l->limit - 1].name) > 0)
        return;
    l->v[l->n++] = (struct agent_entry){ .name = cc_xstrdup(name), .type = "other" };
    if (l->n == 2 * l->limit + 1)
        cut(l);
}

static bool dots(const char *name) { return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2])); }

/* The folder, to be read, or NULL and *rc. */
static DIR *open_dir(int at, const char *path, int *rc, struct cc_err *err)
{
    int fd = cc_beneath_open(at, path, O_RDONLY | O_DIRECTORY, err);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;

    *rc = fd < 0 ? fd : 0;
    if (fd >= 0 && !d) {
        *rc = cc_beneath_fail(errno, err);
        close(fd);
    }
    return d;
}

static const char *type_of(mode_t mode) { return S_ISDIR(mode) ? "directory" : S_ISREG(mode) ? "file" : "other"; }

/* What a link leads to counts, if that is beneath the root. */
static void describe(struct agent_entry *e, int folder, int root, const char *path)
{
    char full[PATH_MAX];
    struct stat st;
    int fd;

    if (fstatat(folder, e->name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return; /* gone meanwhile */
    if (S_ISLNK(st.st_mode)) {
        e->link = true;
        if (snprintf(full, sizeof(full), "%s%s%s", path, *path ? "/" : "", e->name) >= (int)sizeof(full))
            return;
        if ((fd = cc_beneath_open(root, full, O_PATH, NULL)) >= 0) {
            if (fstat(fd, &st) != 0)
                st.st_mode = 0;
            close(fd);
        }
    }
    e->type = type_of(st.st_mode);
    e->size = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
    e->modified_ms = (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
}

int agent_list_read(struct agent_list *l, int root, const char *path, const struct cc_call *call, struct cc_err *err)
{
    struct dirent *e;
    unsigned seen = 0;
    size_t i;
    int rc;
    DIR *d = open_dir(root, path, &rc, err);

    if (!d)
        return rc;
    while (rc == 0 && (e = readdir(d))) {
        if (!dots(e->d_name))
            offer(l, e->d_name);
        if (++seen % 4096 == 0)
            rc = cc_call_check(call, err);
    }
    cut(l);
    for (i = 0; i < l->n; i++)
        describe(&l->v[i], dirfd(d), root, path);
    closedir(d);
    return rc;
}

/* ---------------------------------------------------------------- repositories */

struct search {
    struct agent_list *l;
    const struct cc_call *call;
    struct cc_err *err;
    unsigned seen;
};

static bool is_folder(DIR *d, const struct dirent *e)
{
    struct stat st;

    if (e->d_type != DT_UNKNOWN)
        return e->d_type == DT_DIR;
    return fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

/* In the folder `at`, whose path is `path`. `fd` is consumed. */
static int search(struct search *s, int fd, const char *path, unsigned depth)
{
    DIR *d = fdopendir(fd);
    struct dirent *e;
    struct stat st;
    char full[PATH_MAX];
    int rc = 0, child;

    if (!d) {
        close(fd);
        return 0;
    }
    if (*path && fstatat(dirfd(d), ".git", &st, AT_SYMLINK_NOFOLLOW) == 0) {
        offer(s->l, path);
        depth = 0;
    }
    while (depth > 0 && rc == 0 && (e = readdir(d))) {
        if (++s->seen % 1024 == 0)
            rc = cc_call_check(s->call, s->err);
        if (dots(e->d_name) || !is_folder(d, e) ||
            snprintf(full, sizeof(full), "%s%s%s", path, *path ? "/" : "", e->d_name) >= (int)sizeof(full))
            continue;
        child = openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (child >= 0)
            rc = search(s, child, full, depth - 1);
    }
    closedir(d);
    return rc;
}

int agent_list_repositories(struct agent_list *l, int root, const char *path, unsigned depth,
                            const struct cc_call *call, struct cc_err *err)
{
    struct search s = { .l = l, .call = call, .err = err };
    int fd = cc_beneath_open(root, path, O_RDONLY | O_DIRECTORY, err), rc;

    if (fd < 0)
        return fd;
    rc = search(&s, fd, path, depth);
    cut(l);
    return rc;
}

/* ---------------------------------------------------------------- a whole tree
 *
 * By descriptors, without following anything. What is deeper than DEEP is moved up beside the first level and is
 * removed there: no tree needs more descriptors, or more stack. */

enum { DEEP = 32 };

struct removal {
    int top;
    unsigned moved, seen;
    const struct cc_call *call;
    struct cc_err *err;
};

static int empty(struct removal *r, int fd, unsigned depth);

/* Under a name that an earlier attempt has not left there. */
static int move_up(struct removal *r, int folder, const char *name)
{
    char beside[NAME_MAX + 1];
    int tries = 0;

    do {
        snprintf(beside, sizeof(beside), ".removed-%u", r->moved++);
        if (renameat2(folder, name, r->top, beside, RENAME_NOREPLACE) == 0)
            return 0;
    } while (errno == EEXIST && tries++ < 10000);
    return cc_beneath_fail(errno, r->err);
}

static int remove_entry(struct removal *r, int folder, const char *name, unsigned depth)
{
    int fd, rc;

    if (++r->seen % 1024 == 0 && (rc = cc_call_check(r->call, r->err)) != 0)
        return rc;
    if (unlinkat(folder, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR)
        return cc_beneath_fail(errno, r->err);
    if (unlinkat(folder, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
        return 0;
    if (depth >= DEEP)
        return move_up(r, folder, name);
    fd = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return cc_beneath_fail(errno, r->err);
    rc = empty(r, fd, depth + 1);
    if (rc == 0 && unlinkat(folder, name, AT_REMOVEDIR) != 0 && errno != ENOENT)
        rc = cc_beneath_fail(errno, r->err);
    return rc;
}

/* `fd` is consumed. Names that came while it was read are found in the next round. */
static int empty(struct removal *r, int fd, unsigned depth)
{
    DIR *d = fdopendir(fd);
    struct dirent *e;
    unsigned before;
    int rc = 0;

    if (!d) {
        close(fd);
        return cc_beneath_fail(errno, r->err);
    }
    do {
        before = r->seen;
        rewinddir(d);
        while (rc == 0 && (e = readdir(d)))
            if (!dots(e->d_name))
                rc = remove_entry(r, dirfd(d), e->d_name, depth);
    } while (rc == 0 && r->seen != before);
    closedir(d);
    return rc;
}

int agent_remove_tree(int folder, const char *name, const struct cc_call *call, struct cc_err *err)
{
    struct removal r = { .call = call, .err = err };
    int rc;

    r.top = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (r.top < 0)
        return cc_beneath_fail(errno, err);
    rc = empty(&r, fcntl(r.top, F_DUPFD_CLOEXEC, 3), 0);
    close(r.top);
    if (rc == 0 && unlinkat(folder, name, AT_REMOVEDIR) != 0)
        rc = cc_beneath_fail(errno, err);
    return rc;
}
