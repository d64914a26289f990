/* job.c - see job.h. */
#include "host/agent/job.h"

#include "host/script/vm.h"
#include "host/sys/mem.h"

#include <stdlib.h>
#include <string.h>

static void on_work(struct cc_job *job)
{
    struct agent_job *j = (struct agent_job *)job;

    j->rc = j->run(j);
}

static void on_done(struct cc_job *job)
{
    struct agent_job *j = (struct agent_job *)job;
    lua_State *co = j->task ? cc_task_stack(j->task) : NULL;
    int n = 1;

    cc_job_unbegun(job, &j->rc, &j->err);
    if (co) {
        if (j->rc != 0)
            n = cc_push_err(co, &j->err);
        else if (j->push)
            n = j->push(co, j);
        else
            lua_pushboolean(co, 1);
        cc_task_wake(j->task, n);
    }
    if (j->fini)
        j->fini(j);
    free(j);
}

static void on_cancel(void *op)
{
    struct agent_job *j = op;

    j->task = NULL;
    cc_pool_cancel(&j->job);
}

int agent_job_run(lua_State *L, struct agent_job *j)
{
    j->task = cc_task_self(L);
    j->job.work = on_work;
    j->job.done = on_done;
    j->rc = cc_err_set(&j->err, CC_E_CANCELLED, "cancelled before it began");
    cc_pool_submit(cc_vm_pool(L), &j->job);
    cc_task_park(j->task, on_cancel, j);
    return lua_yield(L, 0);
}

char *agent_job_path(lua_State *L, int idx, struct cc_err *err)
{
    size_t n;
    const char *s = luaL_checklstring(L, idx, &n);

    if (strlen(s) == n)
        return cc_xstrdup(s);
    cc_err_set(err, CC_E_INVALID, "invalid path");
    return NULL;
}
