/* files.c - see files.h: folders. */
#include "host/agent/files.h"

#include "host/agent/list.h"
#include "host/agent/lua.h"
#include "host/sys/beneath.h"
#include "host/sys/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LIMIT_MAX = 10000 };

int agent_files_root(struct cc_err *err) { return cc_beneath_root(agent_root(), err); }

/* One job for all: a path or two, a flag. */
struct folder_job {
    struct agent_job job;
    char *path, *to;
    bool whole, made;
    struct agent_list list;
    unsigned depth;
};

static void fini(struct agent_job *job)
{
    struct folder_job *f = (struct folder_job *)job;

    agent_list_fini(&f->list);
    free(f->path);
    free(f->to);
}

static int run(lua_State *L, struct folder_job *f, int (*work)(struct agent_job *), const char *name)
{
    cc_task_need(L, name);
    f->job.run = work;
    f->job.fini = fini;
    return agent_job_run(L, &f->job);
}

/* A new job for the path at 1, or NULL and nil, err pushed. */
static struct folder_job *folder_job(lua_State *L)
{
    struct folder_job *f;
    struct cc_err err;
    char *path = agent_job_path(L, 1, &err);

    if (!path) {
        cc_push_err(L, &err);
        return NULL;
    }
    f = cc_xcalloc(1, sizeof(*f));
    f->path = path;
    return f;
}

/* ---------------------------------------------------------------- list, repositories */

static int run_list(struct agent_job *job)
{
    struct folder_job *f = (struct folder_job *)job;
    int root = agent_files_root(&job->err), rc;

    if (root < 0)
        return root;
    rc = agent_list_read(&f->list, root, f->path, &job->job.call, &job->err);
    close(root);
    return rc;
}

static int push_list(lua_State *L, struct agent_job *job)
{
    const struct agent_list *l = &((struct folder_job *)job)->list;
    size_t i;

    lua_createtable(L, (int)l->n, 1);
    for (i = 0; i < l->n; i++) {
        lua_createtable(L, 0, 5);
        lua_pushstring(L, l->v[i].name);
        lua_setfield(L, -2, "name");
        lua_pushstring(L, l->v[i].type);
        lua_setfield(L, -2, "type");
        lua_pushboolean(L, l->v[i].link);
        lua_setfield(L, -2, "link");
        lua_pushnumber(L, (lua_Number)l->v[i].size);
        lua_setfield(L, -2, "size");
        lua_pushnumber(L, (lua_Number)l->v[i].modified_ms);
        lua_setfield(L, -2, "modified");
        lua_rawseti(L, -2, (int)i + 1);
    }
    lua_pushboolean(L, l->more);
    lua_setfield(L, -2, "more");
    return 1;
}

static int l_list(lua_State *L)
{
    struct folder_job *f;
    lua_Number limit;
    const char *after;

    luaL_checkstring(L, 1);
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_getfield(L, 2, "after");
    after = luaL_optstring(L, -1, "");
    lua_getfield(L, 2, "limit");
    limit = luaL_checknumber(L, -1);
    luaL_argcheck(L, limit >= 1 && limit <= LIMIT_MAX, 2, "limit: 1 to 10000 expected");
    if (!(f = folder_job(L)))
        return 2;
    agent_list_init(&f->list, after, (size_t)limit);
    f->job.push = push_list;
    return run(L, f, run_list, "files.list");
}

static int run_repositories(struct agent_job *job)
{
    struct folder_job *f = (struct folder_job *)job;
    int root = agent_files_root(&job->err), rc;

    if (root < 0)
        return root;
    rc = agent_list_repositories(&f->list, root, f->path, f->depth, &job->job.call, &job->err);
    close(root);
    return rc;
}

static int push_names(lua_State *L, struct agent_job *job)
{
    const struct agent_list *l = &((struct folder_job *)job)->list;
    size_t i;

    lua_createtable(L, (int)l->n, 1);
    for (i = 0; i < l->n; i++) {
        lua_pushstring(L, l->v[i].name);
        lua_rawseti(L, -2, (int)i + 1);
    }
    lua_pushboolean(L, l->more);
    lua_setfield(L, -2, "more");
    return 1;
}

static int l_repositories(lua_State *L)
{
    lua_Integer depth = luaL_checkinteger(L, 2), most = luaL_checkinteger(L, 3);
    struct folder_job *f;

    luaL_argcheck(L, depth >= 1 && depth <= 16, 2, "1 to 16 levels expected");
    luaL_argcheck(L, most >= 1 && most <= LIMIT_MAX, 3, "1 to 10000 expected");
    if (!(f = folder_job(L)))
        return 2;
    agent_list_init(&f->list, "", (size_t)most);
    f->depth = (unsigned)depth;
    f->job.push = push_names;
    return run(L, f, run_repositories, "files.repositories");
}

/* ---------------------------------------------------------------- mkdir, rename */

static int run_mkdir(struct agent_job *job)
{
    struct folder_job *f = (struct folder_job *)job;
    int root = agent_files_root(&job->err), rc;

    if (root < 0)
        return root;
    rc = cc_beneath_mkdir(root, f->path, &f->made, &job->err);
    close(root);
    return rc;
}

static int push_made(lua_State *L, struct agent_job *job)
{
    lua_pushboolean(L, ((struct folder_job *)job)->made);
    return 1;
}

static int l_mkdir(lua_State *L)
{
    struct folder_job *f = folder_job(L);

    if (!f)
        return 2;
    f->job.push = push_made;
    return run(L, f, run_mkdir, "files.mkdir");
}

/* EINVAL of a file system that cannot tell at once: then look first. EXDEV here is no path that leaves. */
static int move(int from, const char *name, int to, const char *new_name, struct cc_err *err)
{
    struct stat st;

    if (renameat2(from, name, to, new_name, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno == EXDEV)
        return cc_err_set(err, CC_E_UNSUPPORTED, "it cannot be moved to another file system");
    if (errno != EINVAL)
        return cc_beneath_fail(errno, err);
    if (fstatat(to, new_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
        return cc_beneath_fail(EEXIST, err);
    return renameat(from, name, to, new_name) == 0 ? 0 : cc_beneath_fail(errno, err);
}

static int run_rename(struct agent_job *job)
{
    struct folder_job *f = (struct folder_job *)job;
    char name[NAME_MAX + 1], new_name[NAME_MAX + 1];
    int root = agent_files_root(&job->err), from, to, rc;

    if (root < 0)
        return root;
    rc = from = cc_beneath_parent(root, f->path, name, &job->err);
    if (from >= 0) {
        rc = to = cc_beneath_parent(root, f->to, new_name, &job->err);
        if (to >= 0) {
            rc = move(from, name, to, new_name, &job->err);
            close(to);
        }
        close(from);
    }
    close(root);
    return rc;
}

static int l_rename(lua_State *L)
{
    struct cc_err err;
    struct folder_job *f;
    char *to;

    luaL_checkstring(L, 1);
    if (!(to = agent_job_path(L, 2, &err)))
        return cc_push_err(L, &err);
    if (!(f = folder_job(L))) {
        free(to);
        return 2;
    }
    f->to = to;
    return run(L, f, run_rename, "files.rename");
}

/* ---------------------------------------------------------------- remove */

static int remove_at(int folder, const char *name, bool whole, struct agent_job *job)
{
    if (unlinkat(folder, name, 0) == 0)
        return 0;
    if (errno == EISDIR && unlinkat(folder, name, AT_REMOVEDIR) == 0)
        return 0;
    if (errno == ENOTEMPTY && whole)
        return agent_remove_tree(folder, name, &job->job.call, &job->err);
    return cc_beneath_fail(errno, &job->err);
}

static int run_remove(struct agent_job *job)
{
    struct folder_job *f = (struct folder_job *)job;
    char name[NAME_MAX + 1];
    int root = agent_files_root(&job->err), folder, rc;

    if (root < 0)
        return root;
    rc = folder = cc_beneath_parent(root, f->path, name, &job->err);
    close(root);
    if (folder < 0)
        return rc;
    rc = remove_at(folder, name, f->whole, job);
    close(folder);
    return rc;
}

static int l_remove(lua_State *L)
{
    struct folder_job *f = folder_job(L);

    if (!f)
        return 2;
    f->whole = lua_toboolean(L, 2);
    return run(L, f, run_remove, "files.remove");
}

static const luaL_Reg files_lib[] = { { "list", l_list },     { "repositories", l_repositories },
                                      { "mkdir", l_mkdir },   { "rename", l_rename },
                                      { "remove", l_remove }, { NULL, NULL } };

int luaopen_agent_files(lua_State *L)
{
    lua_newtable(L);
    luaL_register(L, NULL, files_lib);
    agent_file_open(L);
    agent_tar_open(L);
    return 1;
}
