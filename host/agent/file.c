/* file.c - see files.h: one file, read in pieces, or written as a draft that nobody sees before it is whole.
 *
 * Files are opened without waiting (a FIFO answers at once) and only regular
 * ones are read.  A draft has no name where the file system can do that
 * (O_TMPFILE), so nothing is left of one that is given up.
 */
#include "host/agent/files.h"

#include "host/sys/beneath.h"
#include "host/sys/mem.h"
#include "host/sys/random.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_META "cchost.agent.file"
#define DRAFT_META "cchost.agent.draft"

enum { PIECE_MAX = 1 << 20 };

/* Both are one thing that a job may still use when its userdata has gone. */
struct agent_draft {
    int refs;
    bool busy; /* a job uses it */
    int fd;    /* -1: closed */
    struct stat st;
    /* of a draft: where it goes */
    int folder;
    char name[NAME_MAX + 1], tmp[NAME_MAX + 1]; /* tmp "": it has no name yet */
};

static void close_all(struct agent_draft *d)
{
    if (d->fd >= 0)
        close(d->fd);
    if (d->tmp[0])
        unlinkat(d->folder, d->tmp, 0);
    if (d->folder >= 0)
        close(d->folder);
    d->fd = d->folder = -1;
    d->tmp[0] = '\0';
}

static void unref(struct agent_draft *d)
{
    if (--d->refs > 0)
        return;
    close_all(d);
    free(d);
}

struct io_job {
    struct agent_job job;
    struct agent_draft *d;
    char *path, *data;
    size_t n;
    off_t offset;
};

static void fini(struct agent_job *job)
{
    struct io_job *i = (struct io_job *)job;

    if (i->d)
        agent_draft_done(i->d);
    free(i->path);
    free(i->data);
}

static int run(lua_State *L, struct io_job *i, int (*work)(struct agent_job *),
               int (*push)(lua_State *, struct agent_job *))
{
    i->job.run = work;
    i->job.push = push;
    i->job.fini = fini;
    return agent_job_run(L, &i->job);
}

static struct agent_draft *to_open(lua_State *L, int idx, const char *meta)
{
    return *(struct agent_draft **)luaL_checkudata(L, idx, meta);
}

static struct agent_draft *use(lua_State *L, struct agent_draft *d)
{
    if (d->busy)
        luaL_error(L, "files: another task is at this file");
    if (d->fd < 0)
        luaL_error(L, "files: it is closed");
    d->busy = true;
    d->refs++;
    return d;
}

struct agent_draft *agent_draft_use(lua_State *L, int idx, int *fd)
{
    struct agent_draft *d = use(L, to_open(L, idx, DRAFT_META));

    *fd = d->fd;
    return d;
}

void agent_draft_done(struct agent_draft *d)
{
    d->busy = false;
    unref(d);
}

static void push_handle(lua_State *L, struct io_job *i, const char *meta)
{
    struct agent_draft **ud = lua_newuserdata(L, sizeof(*ud));

    *ud = i->d;
    i->d->refs++;
    luaL_getmetatable(L, meta);
    lua_setmetatable(L, -2);
}

static struct io_job *io_job(lua_State *L, const char *name)
{
    struct io_job *i;
    struct cc_err err;
    char *path = agent_job_path(L, 1, &err);

    if (!path) {
        cc_push_err(L, &err);
        return NULL;
    }
    if (!cc_task_self(L)) {
        free(path);
        luaL_error(L, "%s: not in a task", name);
        return NULL;
    }
    i = cc_xcalloc(1, sizeof(*i));
    i->path = path;
    i->d = cc_xcalloc(1, sizeof(*i->d));
    i->d->refs = 1;
    i->d->busy = true;
    i->d->fd = i->d->folder = -1;
    return i;
}

/* ---------------------------------------------------------------- reading */

static int run_open(struct agent_job *job)
{
    struct io_job *i = (struct io_job *)job;
    int root = agent_files_root(&job->err), fd;

    if (root < 0)
        return root;
    fd = cc_beneath_open(root, i->path, O_RDONLY | O_NONBLOCK | O_NOCTTY, &job->err);
    close(root);
    if (fd < 0)
        return fd;
    i->d->fd = fd;
    return fstat(fd, &i->d->st) == 0 ? 0 : cc_beneath_fail(errno, &job->err);
}

static int push_open(lua_State *L, struct agent_job *job)
{
    push_handle(L, (struct io_job *)job, FILE_META);
    return 1;
}

static int l_open(lua_State *L)
{
    struct io_job *i = io_job(L, "files.open");

    return i ? run(L, i, run_open, push_open) : 2;
}

static int run_read(struct agent_job *job)
{
    struct io_job *i = (struct io_job *)job;
    size_t got = 0;
    ssize_t n;

    if (!S_ISREG(i->d->st.st_mode))
        return cc_err_set(&job->err, CC_E_INVALID, S_ISDIR(i->d->st.st_mode) ? "is a directory" : "is no file");
    i->data = cc_xmalloc(i->n + 1);
    while (got < i->n && (n = pread(i->d->fd, i->data + got, i->n - got, i->offset + (off_t)got)) != 0) {
        if (n < 0 && errno != EINTR)
            return cc_beneath_fail(errno, &job->err);
        if (n > 0)
            got += (size_t)n;
    }
    i->n = got;
    return 0;
}

static int push_bytes(lua_State *L, struct agent_job *job)
{
    struct io_job *i = (struct io_job *)job;

    lua_pushlstring(L, i->data, i->n);
    return 1;
}

static int l_read(lua_State *L)
{
    struct agent_draft *d = to_open(L, 1, FILE_META);
    lua_Number offset = luaL_checknumber(L, 2), n = luaL_checknumber(L, 3);
    struct io_job *i;

    luaL_argcheck(L, offset >= 0 && offset <= 9e15, 2, "an offset expected");
    luaL_argcheck(L, n >= 0 && n <= PIECE_MAX, 3, "0 to 1 MiB expected");
    cc_task_need(L, "f:read");
    use(L, d);
    i = cc_xcalloc(1, sizeof(*i));
    i->d = d;
    i->offset = (off_t)offset;
    i->n = (size_t)n;
    return run(L, i, run_read, push_bytes);
}

static int64_t modified_ms(const struct stat *st)
{
    return (int64_t)st->st_mtim.tv_sec * 1000 + st->st_mtim.tv_nsec / 1000000;
}

/* f.type, f.size, f.modified, f.id, f.place, and the methods. */
static int l_file_index(lua_State *L)
{
    struct agent_draft *d = to_open(L, 1, FILE_META);
    const char *key = luaL_checkstring(L, 2);
    char id[96];

    if (strcmp(key, "size") == 0) {
        lua_pushnumber(L, S_ISREG(d->st.st_mode) ? (lua_Number)d->st.st_size : 0);
    } else if (strcmp(key, "modified") == 0) {
        lua_pushnumber(L, (lua_Number)modified_ms(&d->st));
    } else if (strcmp(key, "type") == 0) {
        lua_pushstring(L, S_ISREG(d->st.st_mode) ? "file" : S_ISDIR(d->st.st_mode) ? "directory" : "other");
    } else if (strcmp(key, "id") == 0) {
        snprintf(id, sizeof(id), "%jx-%jx-%jx.%lx", (uintmax_t)d->st.st_ino, (uintmax_t)d->st.st_size,
                 (uintmax_t)d->st.st_mtim.tv_sec, d->st.st_mtim.tv_nsec);
        lua_pushstring(L, id);
    } else if (strcmp(key, "place") == 0) {
        snprintf(id, sizeof(id), "/proc/self/fd/%d", d->fd);
        lua_pushstring(L, id);
    } else {
        lua_getmetatable(L, 1);
        lua_pushvalue(L, 2);
        lua_rawget(L, -2);
    }
    return 1;
}

/* ---------------------------------------------------------------- drafts */

static void name_make(struct agent_draft *d)
{
    char id[37];

    cc_uuid(id);
    snprintf(d->tmp, sizeof(d->tmp), ".upload-%s", id);
}

/* A file without a name, or with one that says what it is. */
static int draft_open(struct agent_draft *d, struct cc_err *err)
{
    d->fd = openat(d->folder, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0644);
    if (d->fd >= 0)
        return 0;
    if (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT)
        return cc_beneath_fail(errno, err);
    name_make(d);
    d->fd = openat(d->folder, d->tmp, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (d->fd >= 0)
        return 0;
    d->tmp[0] = '\0';
    return cc_beneath_fail(errno, err);
}

/* Rights and owner are those of what it takes the place of, else its folder's owner. */
static int draft_like(struct agent_draft *d, struct cc_err *err)
{
    struct stat st;
    bool there = fstatat(d->folder, d->name, &st, AT_SYMLINK_NOFOLLOW) == 0;

    if (there && !S_ISREG(st.st_mode))
        return cc_err_set(err, CC_E_EXISTS, S_ISDIR(st.st_mode) ? "is a directory" : "is no file");
    if (there)
        fchmod(d->fd, st.st_mode & 0777);
    if (geteuid() == 0 && (there || fstat(d->folder, &st) == 0) && fchown(d->fd, st.st_uid, st.st_gid) != 0)
        return cc_beneath_fail(errno, err);
    return 0;
}

static int run_create(struct agent_job *job)
{
    struct io_job *i = (struct io_job *)job;
    struct agent_draft *d = i->d;
    int root = agent_files_root(&job->err), folder, rc;

    if (root < 0)
        return root;
    folder = cc_beneath_target(root, i->path, d->name, &job->err);
    close(root);
    if (folder < 0)
        return folder;
    d->folder = folder;
    rc = draft_open(d, &job->err);
    return rc == 0 ? draft_like(d, &job->err) : rc;
}

static int push_draft(lua_State *L, struct agent_job *job)
{
    push_handle(L, (struct io_job *)job, DRAFT_META);
    return 1;
}

static int l_create(lua_State *L)
{
    struct io_job *i = io_job(L, "files.create");

    return i ? run(L, i, run_create, push_draft) : 2;
}

static int run_write(struct agent_job *job)
{
    struct io_job *i = (struct io_job *)job;
    size_t done = 0;
    ssize_t n;

    while (done < i->n) {
        n = write(i->d->fd, i->data + done, i->n - done);
        if (n < 0 && errno != EINTR)
            return cc_beneath_fail(errno, &job->err);
        if (n > 0)
            done += (size_t)n;
    }
    return 0;
}

static int l_write(lua_State *L)
{
    struct agent_draft *d = to_open(L, 1, DRAFT_META);
    size_t n;
    const char *data = luaL_checklstring(L, 2, &n);
    struct io_job *i;

    cc_task_need(L, "d:write");
    use(L, d);
    i = cc_xcalloc(1, sizeof(*i));
    i->d = d;
    i->data = cc_xmalloc(n + 1);
    memcpy(i->data, data, n);
    i->n = n;
    return run(L, i, run_write, NULL);
}

/* What has no name gets one that nobody knows, as a link cannot take the place of a file. */
static int name_it(struct agent_draft *d, struct cc_err *err)
{
    char self[64];

    if (d->tmp[0])
        return 0;
    name_make(d);
    snprintf(self, sizeof(self), "/proc/self/fd/%d", d->fd);
    if (linkat(AT_FDCWD, self, d->folder, d->tmp, AT_SYMLINK_FOLLOW) == 0)
        return 0;
    d->tmp[0] = '\0';
    return cc_beneath_fail(errno, err);
}

static int run_commit(struct agent_job *job)
{
    struct agent_draft *d = ((struct io_job *)job)->d;
    int rc;

    if (fsync(d->fd) != 0)
        return cc_beneath_fail(errno, &job->err);
    if ((rc = name_it(d, &job->err)) != 0)
        return rc;
    if (renameat(d->folder, d->tmp, d->folder, d->name) != 0)
        return cc_beneath_fail(errno, &job->err);
    d->tmp[0] = '\0';
    close_all(d);
    return 0;
}

static int l_commit(lua_State *L)
{
    struct agent_draft *d = to_open(L, 1, DRAFT_META);
    struct io_job *i;

    cc_task_need(L, "d:commit");
    use(L, d);
    i = cc_xcalloc(1, sizeof(*i));
    i->d = d;
    return run(L, i, run_commit, NULL);
}

/* ---------------------------------------------------------------- their ends */

static int give_up(lua_State *L, const char *meta)
{
    struct agent_draft *d = to_open(L, 1, meta);

    if (!d->busy) /* else the job that uses it gives back the last reference */
        close_all(d);
    return 0;
}

static int l_close(lua_State *L) { return give_up(L, FILE_META); }
static int l_drop(lua_State *L) { return give_up(L, DRAFT_META); }

static int l_gc(lua_State *L)
{
    struct agent_draft **ud = lua_touserdata(L, 1);

    if (*ud)
        unref(*ud);
    *ud = NULL;
    return 0;
}

static const luaL_Reg file_methods[] = {
    { "read", l_read }, { "close", l_close }, { "__gc", l_gc }, { "__index", l_file_index }, { NULL, NULL }
};
static const luaL_Reg draft_methods[] = {
    { "write", l_write }, { "commit", l_commit }, { "drop", l_drop }, { "__gc", l_gc }, { NULL, NULL }
};
static const luaL_Reg lib[] = { { "open", l_open }, { "create", l_create }, { NULL, NULL } };

void agent_file_open(lua_State *L)
{
    luaL_register(L, NULL, lib);
    luaL_newmetatable(L, FILE_META);
    luaL_register(L, NULL, file_methods);
    luaL_newmetatable(L, DRAFT_META);
    luaL_register(L, NULL, draft_methods);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 2);
}
