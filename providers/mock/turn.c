/* turn.c - what is around the effect of every call: the world locked, a mishap drawn, what was done written down. */
#include "providers/mock/mock.h"

#include "host/sys/clock.h"

static int scripted(const struct cc_mock_whim *w, struct cc_provider_ctx *x)
{
    cc_err_set(x->err, w->code, "scripted failure of the mock");
    x->err->retry_after_ms = w->retry_after_ms;
    if (w->retry_after_ms)
        x->err->retryable = true;
    return w->code;
}

static bool may_change_something(enum cc_provider_op op)
{
    return op != CC_OP_STATUS && op != CC_OP_ACTIVITY && op != CC_OP_LIST && op != CC_OP_EXEC &&
           op != CC_OP_VOLUME_LIST && op != CC_OP_SNAPSHOT_LIST;
}

static int record(struct cc_mock *m, struct cc_provider_ctx *x, const struct cc_mock_turn *t)
{
    struct cc_mock_effect e = { t->did, t->key, t->id, t->what != NULL, t->mishap, t->what, t->spec, t->purge };

    return may_change_something(t->op) ? cc_mock_record(m, &e, x->err) : 0;
}

int cc_mock_enter(struct cc_mock *m, struct cc_provider_ctx *x, enum cc_provider_op op, const char *key,
                  struct cc_mock_turn *t)
{
    int r;

    *t = (struct cc_mock_turn){ .op = op, .key = key, .id = "", .did = cc_provider_op_names[op] };
    if ((r = cc_mock_lock(m, x->err)) != 0) /* not heard: what was counted is for the next call */
        return r;
    t->mishap = cc_mock_mishap(m, op, key, &x->delay_ms, &t->half);
    if (t->mishap == CC_MISHAP_FAIL) {
        r = record(m, x, t);
        cc_mock_unlock(m);
        r = r ? r : scripted(&m->whim[op], x);
    }
    return r;
}

int cc_mock_enter_machine(struct cc_mock *m, struct cc_provider_ctx *x, enum cc_provider_op op, const char *provider_id,
                          struct cc_mock_turn *t)
{
    if (!cc_provider_id_ok(provider_id))
        return cc_err_set(x->err, CC_E_INVALID, "\"%.60s\" is no machine of this provider", provider_id);
    return cc_mock_enter(m, x, op, provider_id + 3, t);
}

static bool can_be_late(enum cc_provider_op op)
{
    return op == CC_OP_CREATE || op == CC_OP_DESTROY || op == CC_OP_START || op == CC_OP_STOP;
}

bool cc_mock_now(const struct cc_mock_turn *t) { return t->mishap != CC_MISHAP_LATE || !can_be_late(t->op); }

static int put_off(struct cc_mock *m, struct cc_provider_ctx *x, struct cc_mock_turn *t)
{
    int left = cc_call_left_ms(x->call);
    int64_t due = cc_wall_ms() + (left > 0 ? left : 0) + 1 + (int64_t)m->late_ms;
    const struct cc_mock_late *l = cc_mock_late_add(m, t->op, t->key, t->what, due);
    int r;

    t->what = NULL;
    r = cc_mock_note(m, json_pack("{s:o}", "late", cc_mock_late_json(l)), x->err);
    return r ? r : record(m, x, t);
}

int cc_mock_leave(struct cc_mock *m, struct cc_provider_ctx *x, struct cc_mock_turn *t, int r)
{
    if (r == 0 && !cc_mock_now(t) && (t->op != CC_OP_CREATE || t->what)) /* else it is there already */
        r = put_off(m, x, t);
    else if (r == 0)
        r = record(m, x, t);
    cc_mock_unlock(m);
    if (t->mishap == CC_MISHAP_LOSE || t->mishap == CC_MISHAP_LATE)
        x->delay_ms = CC_DELAY_FOREVER;
    else if (r == 0 && (t->mishap == CC_MISHAP_AFTER || t->mishap == CC_MISHAP_HALF))
        r = scripted(&m->whim[t->op], x);
    return r;
}

void cc_mock_changed(struct cc_mock_turn *t, const struct cc_mock_machine *v)
{
    t->what = json_pack("{s:o}", "machine", cc_mock_machine_json(v));
}

int cc_mock_there(struct cc_mock *m, struct cc_provider_ctx *x, struct cc_mock_turn *t, struct cc_mock_machine **out)
{
    if (!(*out = cc_mock_find(m, t->key, false)))
        return cc_err_set(x->err, CC_E_NOT_FOUND, "no machine cc-%s", t->key);
    t->id = cc_arena_strdup(x->arena, (*out)->id);
    return 0;
}
