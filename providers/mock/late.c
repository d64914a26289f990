/* late.c - effects that take place once their caller has given up.
 *
 * A request that a provider has taken may come true long after its caller
 * read "timeout".  Such effects wait in a list, which is in the state file
 * like machines are, and run in the order in which they are due, before the
 * next call after that: the mock has no clock of its own.
 */
#include "providers/mock/mock.h"

#include "host/sys/clock.h"
#include "host/sys/mem.h"

#include <stdlib.h>
#include <string.h>

struct cc_mock_late {
    struct cc_mock_late *next;
    uint64_t number;
    enum cc_provider_op op;
    char short_id[13];
    int64_t due;
    json_t *machine; /* of create, else NULL */
};

static struct cc_mock_late *add(struct cc_mock *m, uint64_t number, enum cc_provider_op op, const char *short_id,
                                int64_t due)
{
    struct cc_mock_late *l = cc_xcalloc(1, sizeof(*l)), **at;

    for (at = &m->late; *at && (*at)->due <= due; at = &(*at)->next)
        ;
    l->next = *at;
    *at = l;
    l->number = number;
    l->op = op;
    memcpy(l->short_id, short_id, 12);
    l->due = due;
    if (m->late_number < number)
        m->late_number = number;
    m->objects++;
    return l;
}

const struct cc_mock_late *cc_mock_late_add(struct cc_mock *m, enum cc_provider_op op, const char *short_id,
                                            json_t *machine, int64_t due)
{
    struct cc_mock_late *l = add(m, m->late_number + 1, op, short_id, due);

    l->machine = machine;
    return l;
}

void cc_mock_late_load(struct cc_mock *m, const json_t *o)
{
    const char *short_id = json_string_value(json_object_get(o, "short"));
    json_int_t op = json_integer_value(json_object_get(o, "op"));
    struct cc_mock_late *l;

    if (!cc_short_ok(short_id) || op < 0 || op >= CC_MOCK_OPS)
        return;
    l = add(m, (uint64_t)json_integer_value(json_object_get(o, "number")), (enum cc_provider_op)op, short_id,
            json_integer_value(json_object_get(o, "due")));
    l->machine = json_incref(json_object_get(o, "machine"));
}

json_t *cc_mock_late_json(const struct cc_mock_late *l)
{
    return json_pack("{s:I, s:i, s:s, s:I, s:O*}", "number", (json_int_t)l->number, "op", (int)l->op, "short",
                     l->short_id, "due", (json_int_t)l->due, "machine", l->machine);
}

const struct cc_mock_late *cc_mock_late_next(const struct cc_mock *m, const struct cc_mock_late *l)
{
    return l ? l->next : m->late;
}

static void drop(struct cc_mock *m, struct cc_mock_late **at)
{
    struct cc_mock_late *l = *at;

    *at = l->next;
    json_decref(l->machine);
    free(l);
    m->objects--;
}

void cc_mock_late_drop(struct cc_mock *m, uint64_t number)
{
    struct cc_mock_late **at;

    for (at = &m->late; *at; at = &(*at)->next)
        if ((*at)->number == number) {
            drop(m, at);
            return;
        }
}

void cc_mock_late_forget(struct cc_mock *m)
{
    while (m->late)
        drop(m, &m->late);
}

/* The machine as it is once it runs, or NULL: it does already, or the world has changed so that it cannot. */
static struct cc_mock_machine *run(struct cc_mock *m, struct cc_mock_machine *v)
{
    if ((v->running && !v->suspended) || cc_mock_all_usable(m, v, NULL) != 0)
        return NULL;
    cc_mock_run(m, v);
    return v;
}

/* One that is there is found, no more; one that cannot run is not made. */
static struct cc_mock_machine *make(struct cc_mock *m, const struct cc_mock_late *l)
{
    struct cc_mock_machine *made = cc_mock_find(m, l->short_id, false) ? NULL : cc_mock_machine_load(m, l->machine);

    if (!made || run(m, made))
        return made;
    cc_mock_destroy(m, made, 0);
    return NULL;
}

static struct cc_mock_machine *stop(struct cc_mock_machine *v)
{
    if (!v->running)
        return NULL;
    v->running = v->suspended = false;
    return v;
}

/* The change in the world, as the journal has it; NULL when there is nothing left to change. */
static json_t *effect(struct cc_mock *m, const struct cc_mock_late *l)
{
    struct cc_mock_machine *v = cc_mock_find(m, l->short_id, false);

    if (v && l->op == CC_OP_DESTROY) {
        cc_mock_destroy(m, v, cc_wall_ms());
        return json_pack("{s:s}", "gone", l->short_id);
    }
    if (l->op == CC_OP_CREATE)
        v = make(m, l);
    else if (v)
        v = l->op == CC_OP_STOP ? stop(v) : run(m, v);
    return v ? json_pack("{s:o}", "machine", cc_mock_machine_json(v)) : NULL;
}

int cc_mock_late_run(struct cc_mock *m, struct cc_err *err)
{
    struct cc_mock_late *l;
    char short_id[13];
    int r = 0;

    while (r == 0 && (l = m->late) && l->due <= cc_wall_ms()) {
        json_t *what = effect(m, l);
        struct cc_mock_effect e = { .op = cc_provider_op_names[l->op],
                                    .short_id = short_id,
                                    .id = "",
                                    .changed = what != NULL,
                                    .mishap = CC_MISHAP_LATE,
                                    .what = what ? what : json_object() };

        memcpy(short_id, l->short_id, sizeof(short_id));
        json_object_set_new(e.what, "ran", json_integer((json_int_t)l->number));
        drop(m, &m->late);
        r = cc_mock_record(m, &e, err);
    }
    return r;
}
