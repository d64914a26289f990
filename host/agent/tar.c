/* tar.c - see files.h: a folder as a tar, made a piece at a time.
 *
 * libarchive knows the format, in its GNU dialect: names are bytes there, as
 * they are here. What is neither file, folder nor link (a device, a socket)
 * is left out, and so is what may not be read.
 */
#include "host/agent/files.h"

#include "host/sys/beneath.h"
#include "host/sys/mem.h"

#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TAR_META "cchost.agent.tar"

enum { DEPTH = 200, PIECE = 262144, CHUNK = 65536 };

/* ---------------------------------------------------------------- making one */

struct tar {
    int refs;
    bool busy, done;
    struct archive *a;
    DIR *dir[DEPTH];
    unsigned depth; /* folders open */
    char path[PATH_MAX];
    size_t len[DEPTH]; /* of `path`, for each of them */
    int file;          /* being copied, -1: none */
    uint64_t left;
    char *out;
    size_t n, cap;
};

static la_ssize_t on_bytes(struct archive *a, void *arg, const void *data, size_t n)
{
    struct tar *t = arg;

    (void)a;
    if (t->n + n > t->cap)
        t->out = cc_xrealloc(t->out, t->cap = (t->n + n) * 2);
    memcpy(t->out + t->n, data, n);
    t->n += n;
    return (la_ssize_t)n;
}

static void tar_free(struct tar *t)
{
    if (--t->refs > 0)
        return;
    while (t->depth > 0)
        closedir(t->dir[--t->depth]);
    if (t->file >= 0)
        close(t->file);
    if (t->a) {
        archive_write_fail(t->a); /* nothing more is written */
        archive_write_free(t->a);
    }
    free(t->out);
    free(t);
}

static int says(struct archive *a, struct cc_err *err)
{
    const char *why = archive_error_string(a);

    return cc_err_set(err, CC_E_IO, "tar: %s", why ? why : "it cannot be made");
}

/* A folder goes in as a member, and is the next to be read. */
static int enter(struct tar *t, int fd)
{
    DIR *d = t->depth < DEPTH ? fdopendir(fd) : NULL;

    if (!d) {
        close(fd);
        return CC_E_LIMIT;
    }
    t->len[t->depth] = strlen(t->path);
    t->dir[t->depth++] = d;
    return 0;
}

static int member(struct tar *t, const struct stat *st, const char *link, struct cc_err *err)
{
    struct archive_entry *e = archive_entry_new();
    int rc;

    archive_entry_set_pathname(e, t->path);
    archive_entry_copy_stat(e, st);
    archive_entry_set_nlink(e, 1);
    archive_entry_set_uid(e, 0); /* who it belongs to where it is unpacked is decided there */
    archive_entry_set_gid(e, 0);
    if (!S_ISREG(st->st_mode))
        archive_entry_set_size(e, 0);
    if (link)
        archive_entry_set_symlink(e, link);
    rc = archive_write_header(t->a, e);
    archive_entry_free(e);
    return rc == ARCHIVE_OK || rc == ARCHIVE_WARN ? 0 : says(t->a, err);
}

/* What cannot be read, or is gone meanwhile, is left out. */
static int add_opened(struct tar *t, int at, const char *name, struct cc_err *err)
{
    int fd = openat(at, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC), rc;
    struct stat st;

    if (fd < 0)
        return 0;
    if (fstat(fd, &st) != 0 || !(S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))) {
        close(fd);
        return 0;
    }
    if ((rc = member(t, &st, NULL, err)) != 0) {
        close(fd);
        return rc;
    }
    if (S_ISDIR(st.st_mode))
        return enter(t, fd) == 0 ? 0 : cc_err_set(err, CC_E_LIMIT, "folders deeper than %d", DEPTH);
    t->file = fd;
    t->left = (uint64_t)st.st_size;
    return 0;
}

static int add(struct tar *t, int at, const char *name, struct cc_err *err)
{
    char to[PATH_MAX];
    struct stat st;
    ssize_t n;

    if (fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return 0;
    if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))
        return add_opened(t, at, name, err);
    if (!S_ISLNK(st.st_mode) || (n = readlinkat(at, name, to, sizeof(to) - 1)) < 0)
        return 0;
    to[n] = '\0';
    return member(t, &st, to, err);
}

/* A piece of the file under way; its size was told before, so a file that shrank is filled up by libarchive. */
static int copy(struct tar *t, struct cc_err *err)
{
    char buf[CHUNK];
    ssize_t n = read(t->file, buf, t->left < sizeof(buf) ? (size_t)t->left : sizeof(buf));

    if (n < 0 && errno == EINTR)
        return 0;
    if (n > 0) {
        t->left -= (uint64_t)n;
        return archive_write_data(t->a, buf, (size_t)n) < 0 ? says(t->a, err) : 0;
    }
    close(t->file);
    t->file = -1;
    return archive_write_finish_entry(t->a) == ARCHIVE_OK ? 0 : says(t->a, err);
}

static int step(struct tar *t, struct cc_err *err)
{
    struct dirent *e;
    size_t len;

    if (t->file >= 0)
        return copy(t, err);
    if (t->depth == 0) {
        t->done = true;
        return archive_write_close(t->a) == ARCHIVE_OK ? 0 : says(t->a, err);
    }
    len = t->len[t->depth - 1];
    t->path[len] = '\0';
    if (!(e = readdir(t->dir[t->depth - 1]))) {
        closedir(t->dir[--t->depth]);
        return 0;
    }
    if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
        return 0;
    if (snprintf(t->path + len, sizeof(t->path) - len, "/%s", e->d_name) >= (int)(sizeof(t->path) - len))
        return cc_err_set(err, CC_E_LIMIT, "a path of more than %d bytes", PATH_MAX);
    return add(t, dirfd(t->dir[t->depth - 1]), e->d_name, err);
}

struct tar_job {
    struct agent_job job;
    struct tar *t;
    char *path;
};

static void tar_fini(struct agent_job *job)
{
    struct tar_job *j = (struct tar_job *)job;

    j->t->busy = false;
    tar_free(j->t);
    free(j->path);
}

static int run_tar(struct agent_job *job)
{
    struct tar *t = ((struct tar_job *)job)->t;
    char real[PATH_MAX], self[64];
    struct stat st;
    const char *name;
    int root = agent_files_root(&job->err), fd;
    ssize_t n;

    if (root < 0)
        return root;
    fd = cc_beneath_open(root, ((struct tar_job *)job)->path, O_RDONLY | O_DIRECTORY, &job->err);
    close(root);
    if (fd < 0)
        return fd;
    snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
    n = readlink(self, real, sizeof(real) - 1);
    real[n > 0 ? n : 0] = '\0';
    name = strrchr(real, '/');
    snprintf(t->path, sizeof(t->path), "%s", name && name[1] ? name + 1 : "root");
    t->a = archive_write_new();
    archive_write_set_format_gnutar(t->a);
    archive_write_set_bytes_per_block(t->a, 0);
    if (archive_write_open(t->a, t, NULL, on_bytes, NULL) != ARCHIVE_OK || fstat(fd, &st) != 0) {
        close(fd);
        return says(t->a, &job->err);
    }
    if (member(t, &st, NULL, &job->err) == 0)
        return enter(t, fd);
    close(fd);
    return CC_E_IO;
}

static int push_tar(lua_State *L, struct agent_job *job)
{
    struct tar **ud = lua_newuserdata(L, sizeof(*ud));

    *ud = ((struct tar_job *)job)->t;
    (*ud)->refs++;
    luaL_getmetatable(L, TAR_META);
    lua_setmetatable(L, -2);
    return 1;
}

static int tar_run(lua_State *L, struct tar_job *j, int (*run)(struct agent_job *),
                   int (*push)(lua_State *, struct agent_job *))
{
    j->t->busy = true;
    j->job.run = run;
    j->job.push = push;
    j->job.fini = tar_fini;
    return agent_job_run(L, &j->job);
}

static int l_tar(lua_State *L)
{
    struct tar_job *j;
    struct cc_err err;
    char *path;

    luaL_checkstring(L, 1);
    cc_task_need(L, "files.tar");
    if (!(path = agent_job_path(L, 1, &err)))
        return cc_push_err(L, &err);
    j = cc_xcalloc(1, sizeof(*j));
    j->path = path;
    j->t = cc_xcalloc(1, sizeof(*j->t));
    j->t->refs = 1;
    j->t->file = -1;
    return tar_run(L, j, run_tar, push_tar);
}

static int run_read(struct agent_job *job)
{
    struct tar *t = ((struct tar_job *)job)->t;
    int rc = 0;

    while (rc == 0 && !t->done && t->n < PIECE)
        rc = cc_call_check(&job->job.call, &job->err) ? CC_E_CANCELLED : step(t, &job->err);
    return rc;
}

static int push_piece(lua_State *L, struct agent_job *job)
{
    struct tar *t = ((struct tar_job *)job)->t;

    lua_pushlstring(L, t->n ? t->out : "", t->n);
    t->n = 0;
    return 1;
}

static struct tar *to_tar(lua_State *L)
{
    struct tar *t = *(struct tar **)luaL_checkudata(L, 1, TAR_META);

    if (!t || t->busy)
        luaL_error(L, "files: this tar is closed, or another task reads it");
    return t;
}

static int l_tar_read(lua_State *L)
{
    struct tar *t = to_tar(L);
    struct tar_job *j;

    cc_task_need(L, "t:read");
    j = cc_xcalloc(1, sizeof(*j));
    j->t = t;
    t->refs++;
    return tar_run(L, j, run_read, push_piece);
}

static int l_tar_gc(lua_State *L)
{
    struct tar **t = luaL_checkudata(L, 1, TAR_META);

    if (*t)
        tar_free(*t);
    *t = NULL;
    return 0;
}

static const luaL_Reg tar_methods[] = {
    { "read", l_tar_read }, { "close", l_tar_gc }, { "__gc", l_tar_gc }, { NULL, NULL }
};
static const luaL_Reg lib[] = { { "tar", l_tar }, { "untar", agent_untar }, { NULL, NULL } };

void agent_tar_open(lua_State *L)
{
    luaL_register(L, NULL, lib);
    luaL_newmetatable(L, TAR_META);
    luaL_register(L, NULL, tar_methods);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
}
