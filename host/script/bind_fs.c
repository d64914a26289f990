/* bind_fs.c - module "fs": files, read and written on the general pool.
 *
 *   text | nil, err  = fs.read(path [, max_bytes])        [yields] default max 16 MiB
 *   text | nil, err  = fs.head(path, bytes)               [yields] as many as there are of its first bytes
 *   true | nil, err  = fs.write(path, text [, {mode=0600, exclusive=true}])   [yields]
 *                      whole or not at all: a new file, fsync, rename; exclusive: err "exists" if there is one
 *   true | nil, err  = fs.mkdir(path [, mode])            [yields] with its parents; one that exists is fine
 *   names | nil, err = fs.list(path)                      [yields] sorted, without . and ..
 *   info | nil, err  = fs.stat(path [, follow])           [yields] {type=, size=, mtime=ms, ctime=ms, inode=, mode=, owner=name};
 *                      of a link itself unless `follow`
 *   true | nil, err  = fs.remove(path)                    [yields] a file or an empty folder
 *   true | nil, err  = fs.rename(path, to)                [yields] in the place of what is there; on one file system
 *   bytes | nil, err = fs.usage(path)                     [yields] disk use of a tree, in bytes
 *   lock | nil, err  = fs.lock(path)                      [yields] the lock of a file (host/sys/lock.h), made 0600;
 *                      err "exists" while another holds it, in this process or elsewhere.
 *                      It is held until lock:close() or the end of the process, also when `lock` is forgotten
 *   true | false | nil, err = fs.locked(path)             [yields] whether somebody holds it
 */
#include "host/script/task.h"
#include "host/script/vm.h"
#include "host/sys/err.h"
#include "host/sys/lock.h"
#include "host/sys/mem.h"
#include "host/sys/pool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <lauxlib.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int luaopen_cc_fs(lua_State *L);

struct fs_job {
    struct cc_job job;
    struct cc_task *task;
    int (*run)(struct fs_job *j);                 /* [worker] 0 or CC_E* with err set */
    void (*push)(lua_State *L, struct fs_job *j); /* the one result */
    struct cc_err err;
    int rc;
    char *path, *data; /* data: to write, or read */
    size_t len, max;
    bool head; /* no more than `max` is wanted */
    mode_t mode;
    bool exclusive, follow;
    char **names;
    size_t count;
    struct stat st;
    char owner[64]; /* of what was looked at: a name, or the number of one that has none */
    uint64_t bytes;
    int lock; /* a file that is locked, -1: none */
    bool held;
};

static void job_free(struct fs_job *j)
{
    size_t i;

    if (j->lock >= 0)
        close(j->lock); /* its task gave up */
    for (i = 0; i < j->count; i++)
        free(j->names[i]);
    free(j->names);
    free(j->path);
    free(j->data);
    free(j);
}

static void on_work(struct cc_job *job)
{
    struct fs_job *j = (struct fs_job *)job;

    j->rc = j->run(j);
}

static void on_done(struct cc_job *job)
{
    struct fs_job *j = (struct fs_job *)job;

    cc_job_unbegun(job, &j->rc, &j->err);
    if (j->task && j->rc != 0) {
        cc_task_wake(j->task, cc_push_err(cc_task_stack(j->task), &j->err));
    } else if (j->task) {
        j->push(cc_task_stack(j->task), j);
        cc_task_wake(j->task, 1);
    }
    job_free(j);
}

static void on_cancel(void *op)
{
    struct fs_job *j = op;

    j->task = NULL;
    cc_pool_cancel(&j->job);
}

static int submit(lua_State *L, struct fs_job *j, const char *path)
{
    j->path = cc_xstrdup(path);
    j->task = cc_task_self(L);
    j->job.work = on_work;
    j->job.done = on_done;
    j->lock = -1;
    j->rc = cc_err_set(&j->err, CC_E_CANCELLED, "cancelled before it began");
    cc_pool_submit(cc_vm_pool(L), &j->job);
    cc_task_park(j->task, on_cancel, j);
    return lua_yield(L, 0);
}

static void push_true(lua_State *L, struct fs_job *j)
{
    (void)j;
    lua_pushboolean(L, 1);
}
static void push_data(lua_State *L, struct fs_job *j) { lua_pushlstring(L, j->data, j->len); }
static void push_bytes(lua_State *L, struct fs_job *j) { lua_pushnumber(L, (lua_Number)j->bytes); }

/* ---- read */

static int read_all(struct fs_job *j, int fd)
{
    size_t cap = 4096;
    ssize_t n;

    j->data = cc_xmalloc(cap);
    while ((n = read(fd, j->data + j->len, cap - j->len)) != 0) {
        if (n < 0 && errno != EINTR)
            return cc_err_sys(&j->err, errno, "cannot read %s", j->path);
        if (n > 0 && (j->len += (size_t)n) == cap)
            j->data = cc_xrealloc(j->data, cap *= 2);
        if (j->head && j->len >= j->max) {
            j->len = j->max;
            return 0;
        }
        if (j->len > j->max)
            return cc_err_set(&j->err, CC_E_LIMIT, "%s is larger than %zu bytes", j->path, j->max);
    }
    return 0;
}

static int run_read(struct fs_job *j)
{
    int fd = open(j->path, O_RDONLY | O_CLOEXEC), rc;

    if (fd < 0)
        return cc_err_sys(&j->err, errno, "cannot open %s", j->path);
    rc = read_all(j, fd);
    close(fd);
    return rc;
}

static int read_of(lua_State *L, const char *verb, lua_Number max, bool head)
{
    const char *path = luaL_checkstring(L, 1);
    struct fs_job *j;

    luaL_argcheck(L, max >= 0 && max <= 1e9, 2, "0 to 1e9 bytes expected");
    cc_task_need(L, verb);
    j = cc_xcalloc(1, sizeof(*j));
    j->max = (size_t)max;
    j->head = head;
    j->run = run_read;
    j->push = push_data;
    return submit(L, j, path);
}

static int l_read(lua_State *L) { return read_of(L, "fs.read", luaL_optnumber(L, 2, 16 << 20), false); }
static int l_head(lua_State *L) { return read_of(L, "fs.head", luaL_checknumber(L, 2), true); }

/* ---- write */

static int write_fd(struct fs_job *j, int fd, const char *name)
{
    size_t done = 0;
    ssize_t n;

    while (done < j->len) {
        n = write(fd, j->data + done, j->len - done);
        if (n < 0 && errno != EINTR)
            return cc_err_sys(&j->err, errno, "cannot write %s", name);
        if (n > 0)
            done += (size_t)n;
    }
    if (fsync(fd) != 0)
        return cc_err_sys(&j->err, errno, "cannot sync %s", name);
    return 0;
}

static int put_in_place(struct fs_job *j, const char *tmp)
{
    if (!j->exclusive)
        return rename(tmp, j->path) == 0 ? 0 : cc_err_sys(&j->err, errno, "cannot rename to %s", j->path);
    if (link(tmp, j->path) != 0)
        return cc_err_sys(&j->err, errno, "cannot make %s", j->path);
    unlink(tmp);
    return 0;
}

static int run_write(struct fs_job *j)
{
    char *tmp = cc_xasprintf("%s.new-XXXXXX", j->path);
    int fd = mkostemp(tmp, O_CLOEXEC), rc;

    if (fd < 0) {
        rc = cc_err_sys(&j->err, errno, "cannot make a file beside %s", j->path);
        free(tmp);
        return rc;
    }
    fchmod(fd, j->mode);
    rc = write_fd(j, fd, tmp);
    close(fd);
    if (rc == 0)
        rc = put_in_place(j, tmp);
    if (rc != 0)
        unlink(tmp);
    free(tmp);
    return rc;
}

static int l_write(lua_State *L)
{
    size_t len;
    const char *path = luaL_checkstring(L, 1), *text = luaL_checklstring(L, 2, &len);
    lua_Integer mode = 0644;
    bool exclusive = false;
    struct fs_job *j;

    if (lua_istable(L, 3)) {
        lua_getfield(L, 3, "mode");
        mode = luaL_optinteger(L, -1, mode);
        lua_getfield(L, 3, "exclusive");
        exclusive = lua_toboolean(L, -1);
    }
    luaL_argcheck(L, mode >= 0 && mode <= 0777, 3, "mode: 0 to 0777 expected");
    cc_task_need(L, "fs.write");
    j = cc_xcalloc(1, sizeof(*j));
    j->data = cc_xmalloc(len + 1);
    memcpy(j->data, text, len);
    j->len = len;
    j->mode = (mode_t)mode;
    j->exclusive = exclusive;
    j->run = run_write;
    j->push = push_true;
    return submit(L, j, path);
}

/* ---- mkdir, remove, rename, list, stat, usage */

static int run_mkdir(struct fs_job *j)
{
    char *p;

    for (p = j->path + 1; *p; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        if (mkdir(j->path, j->mode) != 0 && errno != EEXIST)
            return cc_err_sys(&j->err, errno, "cannot make the folder %s", j->path);
        *p = '/';
    }
    if (mkdir(j->path, j->mode) == 0)
        return 0;
    if (errno == EEXIST && stat(j->path, &j->st) == 0 && S_ISDIR(j->st.st_mode))
        return 0;
    return cc_err_sys(&j->err, errno, "cannot make the folder %s", j->path);
}

static int l_mkdir(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    lua_Integer mode = luaL_optinteger(L, 2, 0755);
    struct fs_job *j;

    luaL_argcheck(L, *path, 1, "a path expected");
    luaL_argcheck(L, mode >= 0 && mode <= 0777, 2, "mode: 0 to 0777 expected");
    cc_task_need(L, "fs.mkdir");
    j = cc_xcalloc(1, sizeof(*j));
    j->mode = (mode_t)mode;
    j->run = run_mkdir;
    j->push = push_true;
    return submit(L, j, path);
}

static int run_remove(struct fs_job *j)
{
    return remove(j->path) == 0 ? 0 : cc_err_sys(&j->err, errno, "cannot remove %s", j->path);
}

static int run_rename(struct fs_job *j)
{
    return rename(j->path, j->data) == 0 ? 0 : cc_err_sys(&j->err, errno, "cannot rename %s to %s", j->path, j->data);
}

static int l_rename(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1), *to = luaL_checkstring(L, 2);
    struct fs_job *j;

    cc_task_need(L, "fs.rename");
    j = cc_xcalloc(1, sizeof(*j));
    j->data = cc_xstrdup(to);
    j->run = run_rename;
    j->push = push_true;
    return submit(L, j, path);
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static int run_list(struct fs_job *j)
{
    DIR *d = opendir(j->path);
    struct dirent *e;

    if (!d)
        return cc_err_sys(&j->err, errno, "cannot list %s", j->path);
    while ((e = readdir(d))) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        j->names = cc_xrealloc(j->names, (j->count + 1) * sizeof(*j->names));
        j->names[j->count++] = cc_xstrdup(e->d_name);
    }
    closedir(d);
    if (j->count)
        qsort(j->names, j->count, sizeof(*j->names), by_name);
    return 0;
}

static void push_names(lua_State *L, struct fs_job *j)
{
    size_t i;

    lua_createtable(L, (int)j->count, 0);
    for (i = 0; i < j->count; i++) {
        lua_pushstring(L, j->names[i]);
        lua_rawseti(L, -2, (int)i + 1);
    }
}

/* As /etc/passwd names him: getpwuid asks whatever the system is told to, by libraries that a static program (the agent) must
 * not load. */
static void name_owner(struct fs_job *j)
{
    FILE *f = fopen("/etc/passwd", "re");
    struct passwd pw, *found = NULL;
    char text[2048];

    while (f && fgetpwent_r(f, &pw, text, sizeof(text), &found) == 0 && pw.pw_uid != j->st.st_uid)
        found = NULL;
    if (found)
        snprintf(j->owner, sizeof(j->owner), "%s", pw.pw_name);
    else
        snprintf(j->owner, sizeof(j->owner), "%u", (unsigned)j->st.st_uid);
    if (f)
        fclose(f);
}

static int run_stat(struct fs_job *j)
{
    int rc = j->follow ? stat(j->path, &j->st) : lstat(j->path, &j->st);

    if (rc != 0)
        return cc_err_sys(&j->err, errno, "cannot stat %s", j->path);
    name_owner(j);
    return 0;
}

static const char *type_name(mode_t m)
{
    return S_ISREG(m) ? "file" : S_ISDIR(m) ? "directory" : S_ISLNK(m) ? "link" : S_ISSOCK(m) ? "socket" : "other";
}

static lua_Number ms_of(const struct timespec *t)
{
    long long ms = t->tv_sec * 1000LL + t->tv_nsec / 1000000;

    return (lua_Number)ms;
}

static void push_stat(lua_State *L, struct fs_job *j)
{
    lua_createtable(L, 0, 7);
    lua_pushstring(L, type_name(j->st.st_mode));
    lua_setfield(L, -2, "type");
    lua_pushnumber(L, (lua_Number)j->st.st_size);
    lua_setfield(L, -2, "size");
    lua_pushnumber(L, ms_of(&j->st.st_mtim));
    lua_setfield(L, -2, "mtime");
    lua_pushnumber(L, ms_of(&j->st.st_ctim));
    lua_setfield(L, -2, "ctime");
    lua_pushnumber(L, (lua_Number)j->st.st_ino);
    lua_setfield(L, -2, "inode");
    lua_pushinteger(L, (lua_Integer)(j->st.st_mode & 07777));
    lua_setfield(L, -2, "mode");
    lua_pushstring(L, j->owner);
    lua_setfield(L, -2, "owner");
}

static _Thread_local uint64_t usage_sum;

static int on_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)path;
    (void)ftw;
    if (flag != FTW_NS)
        usage_sum += (uint64_t)st->st_blocks * 512;
    return 0;
}

static int run_usage(struct fs_job *j)
{
    usage_sum = 0;
    if (nftw(j->path, on_entry, 16, FTW_PHYS | FTW_MOUNT) != 0)
        return cc_err_sys(&j->err, errno, "cannot walk %s", j->path);
    j->bytes = usage_sum;
    return 0;
}

static int run_lock(struct fs_job *j) { return cc_lock_take(j->path, 0, &j->lock, &j->err); }

static int run_locked(struct fs_job *j) { return cc_lock_held(j->path, &j->held, &j->err); }

static void push_held(lua_State *L, struct fs_job *j) { lua_pushboolean(L, j->held); }

/* A lock is a userdata that holds the file; the registry keeps it until it is closed. */
#define LOCK "cchost.lock"

static void push_lock(lua_State *L, struct fs_job *j)
{
    int *fd = lua_newuserdata(L, sizeof(*fd));

    *fd = j->lock;
    j->lock = -1;
    luaL_getmetatable(L, LOCK);
    lua_setmetatable(L, -2);
    lua_pushvalue(L, -1);
    lua_pushboolean(L, 1);
    lua_rawset(L, LUA_REGISTRYINDEX);
}

/* lock:close(), once or more often; and the end of the VM */
static int l_lock_close(lua_State *L)
{
    int *fd = luaL_checkudata(L, 1, LOCK);

    if (*fd >= 0)
        close(*fd);
    *fd = -1;
    lua_pushvalue(L, 1);
    lua_pushnil(L);
    lua_rawset(L, LUA_REGISTRYINDEX);
    return 0;
}

static int simple(lua_State *L, const char *name, int (*run)(struct fs_job *),
                  void (*push)(lua_State *, struct fs_job *))
{
    const char *path = luaL_checkstring(L, 1);
    struct fs_job *j;

    cc_task_need(L, name);
    j = cc_xcalloc(1, sizeof(*j));
    j->run = run;
    j->push = push;
    j->follow = lua_toboolean(L, 2);
    return submit(L, j, path);
}

static int l_remove(lua_State *L) { return simple(L, "fs.remove", run_remove, push_true); }
static int l_list(lua_State *L) { return simple(L, "fs.list", run_list, push_names); }
static int l_stat(lua_State *L) { return simple(L, "fs.stat", run_stat, push_stat); }
static int l_usage(lua_State *L) { return simple(L, "fs.usage", run_usage, push_bytes); }

static int l_lock(lua_State *L) { return simple(L, "fs.lock", run_lock, push_lock); }
static int l_locked(lua_State *L) { return simple(L, "fs.locked", run_locked, push_held); }

static const luaL_Reg fs_lib[] = { { "read", l_read },     { "head", l_head },     { "write", l_write },
                                   { "mkdir", l_mkdir },   { "remove", l_remove }, { "list", l_list },
                                   { "stat", l_stat },     { "usage", l_usage },   { "lock", l_lock },
                                   { "locked", l_locked }, { "rename", l_rename }, { NULL, NULL } };

static const luaL_Reg lock_methods[] = { { "close", l_lock_close }, { "__gc", l_lock_close }, { NULL, NULL } };

int luaopen_cc_fs(lua_State *L)
{
    luaL_newmetatable(L, LOCK);
    luaL_register(L, NULL, lock_methods);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    lua_newtable(L);
    luaL_register(L, NULL, fs_lib);
    return 1;
}
