/* job.h - a binding of the agent that blocks: plain C on a thread, while its task waits.
 *
 * Embed it first in a struct of your own, made by cc_xcalloc.  `run` touches
 * neither Lua nor the loop.  The job, and what it points to, lives until it
 * has been freed here, also when its task gave up.
 */
#ifndef CC_AGENT_JOB_H
#define CC_AGENT_JOB_H

#include "host/script/task.h"
#include "host/sys/err.h"
#include "host/sys/pool.h"

#include <lauxlib.h>

struct agent_job {
    struct cc_job job;
    struct cc_task *task;
    int (*run)(struct agent_job *j);                /* [worker] 0, or CC_E_* with err set */
    int (*push)(lua_State *L, struct agent_job *j); /* how many results; NULL: true */
    void (*fini)(struct agent_job *j);              /* what it holds beyond itself; may be NULL */
    struct cc_err err;
    int rc;
};

/* `return agent_job_run(L, &x->job);` The caller has seen to it that it is in a task. [yields] */
int agent_job_run(lua_State *L, struct agent_job *j);

/* At `idx` a path, or a name: a copy, NULL and *err when it holds a NUL. [raises] on what is no string */
char *agent_job_path(lua_State *L, int idx, struct cc_err *err);

#endif
