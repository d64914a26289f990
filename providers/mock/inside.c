/* inside.c - what is asked of a machine of the mock that runs: its activity, and commands, which are answered with themselves. */
#include "providers/mock/mock.h"

#include "host/sys/clock.h"
#include "host/sys/secret.h"
#include "providers/activity.h"

#include <string.h>

static int find_running(struct cc_mock *m, struct cc_provider_ctx *x, struct cc_mock_turn *t,
                        struct cc_mock_machine **v)
{
    int r = cc_mock_there(m, x, t, v);

    if (r == 0 && (!(*v)->running || (*v)->suspended))
        r = cc_err_set(x->err, CC_E_STATE, "cc-%s is not running", t->key);
    return r;
}

/* ... and by one whom its agent answers. */
static int find_asked(struct cc_mock *m, struct cc_provider_ctx *x, struct cc_mock_turn *t, struct cc_mock_machine **v)
{
    int r = find_running(m, x, t, v);

    if (r == 0 && (*v)->agent_key && !(x->secret && cc_secret_fits((*v)->agent_key, x->secret, strlen(x->secret))))
        r = cc_err_set(x->err, CC_E_DENIED, "the agent of cc-%s does not know this secret", t->key);
    return r;
}

int cc_mock_activity(void *self, struct cc_provider_ctx *x, const char *provider_id, struct cc_activity *out)
{
    struct cc_mock *m = self;
    struct cc_mock_machine *v;
    struct cc_mock_turn t;
    int r = cc_mock_enter_machine(m, x, CC_OP_ACTIVITY, provider_id, &t);
    json_t *said;

    if (r != 0)
        return r;
    if ((r = find_asked(m, x, &t, &v)) == 0) {
        said = m->report ? json_copy(m->report) : json_object();
        json_object_update(said, v->report);
        cc_activity_read(said, cc_wall_ms(), x->arena, out);
        json_decref(said);
    }
    return cc_mock_leave(m, x, &t, r);
}

/* The command `mock-activity JSON`: what the machine's agent says from now on. */
static int report(struct cc_mock *m, struct cc_provider_ctx *x, struct cc_mock_machine *v, const char *text)
{
    json_t *said = json_loads(text, 0, NULL);

    if (!json_is_object(said)) {
        json_decref(said);
        return cc_err_set(x->err, CC_E_INVALID, "mock-activity: an object of JSON expected");
    }
    json_decref(v->report);
    v->report = said;
    return cc_mock_note(m, json_pack("{s:o}", "machine", cc_mock_machine_json(v)), x->err);
}

int cc_mock_exec(void *self, struct cc_provider_ctx *x, const char *provider_id, const struct cc_exec_spec *spec,
                 struct cc_exec_result *out)
{
    struct cc_mock *m = self;
    const char *text = m->exec_out ? m->exec_out : "";
    struct cc_mock_machine *v;
    struct cc_mock_turn t;
    size_t i;
    int r = cc_mock_enter_machine(m, x, CC_OP_EXEC, provider_id, &t);

    if (r != 0)
        return r;
    if (spec->cmd.n == 2 && strcmp(spec->cmd.v[0], "mock-activity") == 0) { /* no command of the machine's */
        if ((r = find_running(m, x, &t, &v)) == 0)
            r = report(m, x, v, spec->cmd.v[1]);
    } else {
        r = find_asked(m, x, &t, &v);
    }
    if (r == 0) {
        for (i = 0; i < spec->cmd.n && !m->exec_out; i++)
            text = cc_arena_printf(x->arena, "%s%s%s", text, i ? " " : "", spec->cmd.v[i]);
        *out = (struct cc_exec_result){ .exit = m->exec_exit, .out = cc_arena_strdup(x->arena, text), .err = "" };
        out->out_len = strlen(out->out);
    }
    return cc_mock_leave(m, x, &t, r);
}
