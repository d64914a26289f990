/* untar.c - see files.h: a tar's members put into a folder.
 *
 * libarchive reads the format; every name is opened by ours, beneath the
 * folder, so a member that would leave it is refused.  What is neither file,
 * folder nor link is left out.  A file is made anew, in the place of one that
 * is there: what an old link leads to is not written to.
 */
#include "host/agent/files.h"

#include "host/sys/beneath.h"
#include "host/sys/mem.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHUNK = 65536 };

struct untar_job {
    struct agent_job job;
    struct agent_draft *d;
    char *path;
    int fd;     /* the draft's */
    int folder; /* where its members go */
    struct archive *a;
    unsigned files, folders, links, skipped;
};

static void untar_fini(struct agent_job *job)
{
    struct untar_job *u = (struct untar_job *)job;

    agent_draft_done(u->d);
    free(u->path);
}

static int write_all(int fd, const char *data, size_t n, struct cc_err *err)
{
    ssize_t w;

    for (; n > 0; data += w, n -= (size_t)w)
        if ((w = write(fd, data, n)) < 0) {
            if (errno != EINTR)
                return cc_beneath_fail(errno, err);
            w = 0;
        }
    return 0;
}

/* In the place of what is there, if that is no folder. */
static int put_file(struct untar_job *u, int at, const char *name, struct archive_entry *e)
{
    struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, { archive_entry_mtime(e), archive_entry_mtime_nsec(e) } };
    char buf[CHUNK];
    la_ssize_t n;
    int fd, rc = 0;

    unlinkat(at, name, 0);
    fd = openat(at, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return cc_beneath_fail(errno == EEXIST ? EISDIR : errno, &u->job.err);
    while (rc == 0 && (n = archive_read_data(u->a, buf, sizeof(buf))) != 0) {
        if (n < 0)
            rc = cc_err_set(&u->job.err, CC_E_INVALID, "the tar is damaged: %s", archive_error_string(u->a));
        else if (!(rc = cc_call_check(&u->job.job.call, &u->job.err)))
            rc = write_all(fd, buf, (size_t)n, &u->job.err);
    }
    fchmod(fd, archive_entry_perm(e) & 0777);
    futimens(fd, times);
    close(fd);
    cc_beneath_own(at, name);
    u->files++;
    return rc;
}

static int put_link(struct untar_job *u, int at, const char *name, struct archive_entry *e)
{
    const char *to = archive_entry_symlink(e);

    if (!to)
        to = archive_entry_symlink_utf8(e);
    if (!to)
        return cc_beneath_fail(EINVAL, &u->job.err);
    unlinkat(at, name, 0);
    if (symlinkat(to, at, name) != 0)
        return cc_beneath_fail(errno == EEXIST ? EISDIR : errno, &u->job.err);
    cc_beneath_own(at, name);
    u->links++;
    return 0;
}

static bool same_file(int a, const char *name, int b, const char *other)
{
    struct stat x, y;

    return fstatat(a, name, &x, AT_SYMLINK_NOFOLLOW) == 0 && fstatat(b, other, &y, AT_SYMLINK_NOFOLLOW) == 0 &&
           x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* A second name of an earlier member. What is there under both already stays: its one name may be all that it has. */
static int put_name(struct untar_job *u, int at, const char *name, const char *of)
{
    char last[NAME_MAX + 1];
    int from = cc_beneath_parent(u->folder, of + strspn(of, "/"), last, &u->job.err), rc = 0;

    if (from < 0)
        return from;
    if (!same_file(from, last, at, name) && linkat(from, last, at, name, 0) != 0 &&
        (errno != EEXIST || unlinkat(at, name, 0) != 0 || linkat(from, last, at, name, 0) != 0))
        rc = cc_beneath_fail(errno, &u->job.err);
    close(from);
    u->links++;
    return rc;
}

static int put_folder(struct untar_job *u, const char *path, struct archive_entry *e)
{
    bool made;
    int rc = cc_beneath_mkdir(u->folder, path, &made, &u->job.err), fd;

    if (rc != 0)
        return rc;
    if ((fd = cc_beneath_open(u->folder, path, O_RDONLY | O_DIRECTORY, &u->job.err)) < 0)
        return fd;
    if (made)
        fchmod(fd, (archive_entry_perm(e) & 0777) | 0700);
    close(fd);
    u->folders++;
    return 0;
}

/* The folders above come first where the tar does not name them. */
static int parent_of(struct untar_job *u, const char *path, char last[NAME_MAX + 1])
{
    int at = cc_beneath_parent(u->folder, path, last, &u->job.err), rc;
    const char *slash = strrchr(path, '/');
    char *above;
    bool made;

    if (at != CC_E_NOT_FOUND || !slash)
        return at;
    above = cc_xstrndup(path, (size_t)(slash - path));
    rc = cc_beneath_mkdir(u->folder, above, &made, &u->job.err);
    free(above);
    return rc == 0 ? cc_beneath_parent(u->folder, path, last, &u->job.err) : rc;
}

/* A pax header's name is UTF-8, which the C locale would not have. */
static const char *name_of(struct archive_entry *e)
{
    const char *name = archive_entry_pathname(e);

    return name ? name : archive_entry_pathname_utf8(e);
}

static int put(struct untar_job *u, struct archive_entry *e)
{
    const char *path = name_of(e), *link = archive_entry_hardlink(e);
    char last[NAME_MAX + 1];
    int at, rc;

    if (!path)
        return cc_beneath_fail(EINVAL, &u->job.err);
    path += strspn(path, "/");
    if (archive_entry_filetype(e) == AE_IFDIR)
        return put_folder(u, path, e);
    if (!link)
        link = archive_entry_hardlink_utf8(e);
    if (!link && archive_entry_filetype(e) != AE_IFREG && archive_entry_filetype(e) != AE_IFLNK) {
        u->skipped++;
        return 0;
    }
    if ((at = parent_of(u, path, last)) < 0)
        return at;
    if (link)
        rc = put_name(u, at, last, link);
    else if (archive_entry_filetype(e) == AE_IFREG)
        rc = put_file(u, at, last, e);
    else
        rc = put_link(u, at, last, e);
    close(at);
    return rc;
}

static int unpack(struct untar_job *u)
{
    struct archive_entry *e;
    char *sentence;
    int rc = 0, r = ARCHIVE_OK;

    while (rc == 0 && ((r = archive_read_next_header(u->a, &e)) == ARCHIVE_OK || r == ARCHIVE_WARN)) {
        if ((rc = put(u, e)) == 0)
            continue;
        sentence = cc_xstrdup(u->job.err.message);
        cc_err_set(&u->job.err, rc, "%.100s: %.100s", name_of(e) ? name_of(e) : "?", sentence);
        free(sentence);
    }
    if (rc == 0 && r != ARCHIVE_EOF)
        rc = cc_err_set(&u->job.err, CC_E_INVALID, "the tar is damaged: %s", archive_error_string(u->a));
    return rc;
}

static int run_untar(struct agent_job *job)
{
    struct untar_job *u = (struct untar_job *)job;
    int root = agent_files_root(&job->err), rc;

    if (root < 0)
        return root;
    u->folder = cc_beneath_open(root, u->path, O_RDONLY | O_DIRECTORY, &job->err);
    close(root);
    if (u->folder < 0)
        return u->folder;
    u->a = archive_read_new();
    archive_read_support_format_tar(u->a);
    if (lseek(u->fd, 0, SEEK_SET) != 0 || archive_read_open_fd(u->a, u->fd, CHUNK) != ARCHIVE_OK)
        rc = cc_err_set(&job->err, CC_E_INVALID, "that is no tar: %s", archive_error_string(u->a));
    else
        rc = unpack(u);
    archive_read_free(u->a);
    close(u->folder);
    return rc;
}

static int push_counts(lua_State *L, struct agent_job *job)
{
    const struct untar_job *u = (struct untar_job *)job;

    lua_createtable(L, 0, 4);
    lua_pushinteger(L, u->files);
    lua_setfield(L, -2, "files");
    lua_pushinteger(L, u->folders);
    lua_setfield(L, -2, "folders");
    lua_pushinteger(L, u->links);
    lua_setfield(L, -2, "links");
    lua_pushinteger(L, u->skipped);
    lua_setfield(L, -2, "skipped");
    return 1;
}

int agent_untar(lua_State *L)
{
    struct untar_job *u;
    struct agent_draft *d;
    struct cc_err err;
    char *path;
    int fd;

    luaL_checkstring(L, 2);
    cc_task_need(L, "files.untar");
    d = agent_draft_use(L, 1, &fd);
    if (!(path = agent_job_path(L, 2, &err))) {
        agent_draft_done(d);
        return cc_push_err(L, &err);
    }
    u = cc_xcalloc(1, sizeof(*u));
    u->d = d;
    u->fd = fd;
    u->path = path;
    u->job.run = run_untar;
    u->job.push = push_counts;
    u->job.fini = untar_fini;
    return agent_job_run(L, &u->job);
}
