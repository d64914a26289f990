/* files.h - module "files": what is beneath a folder, for the agent's Lua. Everything waits on a thread. [yields]
 *
 * Paths are relative to the agent's --root, "" is the root itself; host/sys/beneath.h says what
 * is followed. Errors have a code and a sentence for people: "invalid path", "not found", ...
 *   list | nil, err  = files.list(path, {after=name, limit=n})    {{name=, type="directory"|"file"|"other", link=bool,
 *                      size=, modified=ms}, ..., more=bool}, by the bytes of their names; `type` is of what a link leads
 *                      to, "other" where that is not beneath. One look at the folder per call, memory for `limit` names
 *   made | nil, err  = files.mkdir(path)            with its parents; false: it was there
 *   true | nil, err  = files.rename(from, to)       err "exists" when there is something
 *   true | nil, err  = files.remove(path, whole)    a link itself; a folder that is not empty only when `whole`
 *   list | nil, err  = files.repositories(path, depth, most)   {path, ..., more=bool}: folders that have a .git
 * file.c:
 *   f | nil, err     = files.open(path)             f.type "directory"|"file"|"other", f.size, f.modified, f.id (all of them
 *                      in one word that changes with them), f.place (a path that leads to it, for this process and
 *                      what it starts, until f:close); bytes | nil, err = f:read(offset, n)  at most 1 MiB; f:close()
 *   d | nil, err     = files.create(path)           a draft, seen by nobody: d:write(bytes); d:commit() puts it in the
 *                      place of what is there, whole; d:drop(). Through a link that stays beneath
 * tar.c:
 *   t | nil, err     = files.tar(path)              bytes | nil, err = t:read()   "" at the end; t:close()
 *   done | nil, err  = files.untar(d, path)         the draft is a tar: its members into the folder `path`, each beneath
 *                      that; {files=, folders=, links=, skipped=}
 */
#ifndef CC_AGENT_FILES_H
#define CC_AGENT_FILES_H

#include "host/agent/job.h"

#include <lauxlib.h>
#include <stdbool.h>

/* The root's own descriptor, for one job, or CC_E_*. [worker] */
int agent_files_root(struct cc_err *err);

/* untar.c */
int agent_untar(lua_State *L);

/* file.c, tar.c: their part of the module, which is on the top of the stack. */
void agent_file_open(lua_State *L);
void agent_tar_open(lua_State *L);

/* The descriptor of a draft that nothing else uses now, for the length of a job: agent_draft_done gives it back.
 * [raises] when there is none at `idx` */
struct agent_draft;
struct agent_draft *agent_draft_use(lua_State *L, int idx, int *fd);
void agent_draft_done(struct agent_draft *d);

int luaopen_agent_files(lua_State *L);

#endif
