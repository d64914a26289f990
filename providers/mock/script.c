/* script.c - what the mock is told to do wrong. In Lua the names may nest: {destroy = {fail = 2, code = "limit"}}.
 *
 * What happens to calls. At most one thing happens to a call: what is counted first, in this order, then what chance
 * says. OP. in front: of that operation alone; without it: of every one (a count holds for each of them).
 *   fail = N              the next N calls fail and have no effect
 *   after = N             the next N calls fail although they had their effect (after = true: those of fail do)
 *   lose = N              the next N calls have their effect and are never answered
 *   create.half = N       the next N creates fail and leave a half-made machine: list and status show it as `error`
 *                         or `starting` for ever; create of it, or start, completes it, destroy removes it
 *   late = N              the next N calls have their effect once their caller has given up: late_ms after its
 *                         deadline. create, destroy, start and stop; of others it is the same as lose
 *   chance.fail = P       the same with the probability P (0 to 1), for fail, after, lose, half and late
 *   code                  of the errors; default "unavailable"
 *   retry_after_ms        which the errors tell (a 429 is code "limit" with it)
 *   latency_ms            until the answer; with latency_max_ms: a time between the two
 *   seed = N              where chance comes from: the same seed and the same calls meet the same
 * The world.
 *   boot_ms               a machine is "starting" so long after create and start
 *   list.lag_ms           list shows the world as it was so long ago
 *   orphans = N           there are N machines of ours that nobody asked for, until they are destroyed
 *   attach_live = true    attach and detach also while the machine runs; in the same way user_data, addresses, and
 *                         stop_keeps_disk = false: what its capabilities say, and nothing else
 *   state = PATH          the world is in this file: it outlives the process, and several may share it
 *   ledger = PATH         one JSON line for each call that may change something and was heard: {at, op, short, id,
 *                         changed, n, mishap, address, user_data, purge}. changed = false: it found what was asked for, or failed; n numbers the
 *                         changes; mishap is there when it met one. A late effect has a second line, which says late again, when it comes
 *   endpoint = PATH       the unix socket that every machine claims to have
 *   places = "A B"        where machines may be had, of whatever type. Without it the mock knows of no places
 *   exec.stdout, exec.exit
 *   ssh.why = TEXT        machines that were given ssh keys cannot be reached over ssh, for that reason
 *   activity.NAME         what the agent of every machine says of itself, by the names of GET /activity (host/agent/
 *                         agent.h): last_input_ms, clients, foreground, load, turn, ssh_sessions, and leases as a list in JSON:
 *                         {activity = {load = 0.7, leases = '[{"id": "build", "reason": "make", "until_ms": N}]'}}
 *   The command `mock-activity JSON` (exec, also by another process on the same state) says it of one machine, in place
 *   of what it said before: members that it has win over the settings; it holds until the machine starts again.
 *   snapshots = false     what its capabilities say, and nothing else
 * OP: create destroy start stop status activity list exec attach detach volume_create volume_delete volume_list
 *     snapshot_create snapshot_delete snapshot_list volume_restore volume_clone
 *     suspend machine_snapshot machine_snapshot_delete machine_restore
 */
#include "providers/mock/mock.h"

#include "host/sys/mem.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

const char *const cc_mock_mishaps[CC_MISHAP_COUNT] = { "fail", "after", "lose", "half", "late" };

static int code_of(const char *word)
{
    int c;

    for (c = CC_E_INVALID; c >= CC_E_STATE; c--)
        if (strcmp(cc_err_word(c), word) == 0)
            return c;
    return 0;
}

static int refuse(const struct cc_pair *p, const char *expected, struct cc_err *err)
{
    return cc_err_set(err, CC_E_INVALID, "provider mock: %s must be %s, not \"%s\"", p->key, expected, p->value);
}

static int unknown(const struct cc_pair *p, struct cc_err *err)
{
    return cc_err_set(err, CC_E_INVALID, "provider mock: unknown setting \"%s\"", p->key);
}

static int number(const struct cc_pair *p, uint64_t *out, struct cc_err *err)
{
    unsigned long long n;
    char *end;

    errno = 0;
    n = strtoull(p->value, &end, 10);
    if (errno || *end || *p->value < '0' || *p->value > '9')
        return refuse(p, "a number", err);
    *out = n;
    return 0;
}

/* A count, or milliseconds: added up, they stay far from any bound. */
static int amount(const struct cc_pair *p, uint64_t *out, struct cc_err *err)
{
    uint64_t n = 0;
    int r = number(p, &n, err);

    if (r == 0 && n > 1000000000)
        r = refuse(p, "at most 1000000000", err);
    if (r == 0)
        *out = n;
    return r;
}

static int truth(const struct cc_pair *p, bool *out, struct cc_err *err)
{
    if (strcmp(p->value, "true") != 0 && strcmp(p->value, "false") != 0)
        return refuse(p, "true or false", err);
    *out = p->value[0] == 't';
    return 0;
}

static int probability(const struct cc_pair *p, double *out, struct cc_err *err)
{
    char *end;
    double d = strtod(p->value, &end);

    if (*end || end == p->value || !(d >= 0 && d <= 1))
        return refuse(p, "from 0 to 1", err);
    *out = d;
    return 0;
}

static int mishap_of(const char *word)
{
    int k;

    for (k = 0; k < CC_MISHAP_COUNT && strcmp(cc_mock_mishaps[k], word) != 0; k++)
        ;
    return k;
}

/* One setting of one operation's whims. */
static int set_whim(struct cc_mock_whim *w, const char *what, const struct cc_pair *p, struct cc_err *err)
{
    bool chance = strncmp(what, "chance.", 7) == 0;
    int k = mishap_of(chance ? what + 7 : what), r;
    uint64_t n = 0;

    if (k < CC_MISHAP_COUNT && chance)
        return probability(p, &w->chance[k], err);
    if (k == CC_MISHAP_AFTER && strcmp(p->value, "true") == 0) {
        w->after = true;
        return 0;
    }
    if (strcmp(what, "code") == 0)
        return (w->code = code_of(p->value)) ? 0 : refuse(p, "a code of errors", err);
    if (k == CC_MISHAP_COUNT && strcmp(what, "latency_ms") != 0 && strcmp(what, "latency_max_ms") != 0 &&
        strcmp(what, "retry_after_ms") != 0)
        return unknown(p, err);
    if ((r = amount(p, &n, err)) != 0)
        return r;
    if (k < CC_MISHAP_COUNT)
        w->count[k] = (unsigned)n;
    else if (what[0] == 'r')
        w->retry_after_ms = (int64_t)n;
    else if (strcmp(what, "latency_ms") == 0)
        w->latency_ms = n;
    else
        w->latency_max_ms = n;
    return 0;
}

static int set_text(char **out, const struct cc_pair *p)
{
    free(*out);
    *out = cc_xstrdup(p->value);
    return 0;
}

/* What every agent says. 1: it is none of that, so perhaps one of the operation's whims. */
static int set_report(struct cc_mock *m, const char *what, const struct cc_pair *p, struct cc_err *err)
{
    static const struct {
        const char *name, *expected;
        json_type type;
    } says[] = { { "last_input_ms", "a number", JSON_INTEGER }, { "clients", "a number", JSON_INTEGER },
                 { "ssh_sessions", "a number", JSON_INTEGER },  { "load", "a number", JSON_REAL },
                 { "turn", "true or false", JSON_TRUE },        { "foreground", "a text", JSON_STRING },
                 { "leases", "a list in JSON", JSON_ARRAY } };
    json_t *v;
    size_t i;

    for (i = 0; i < 7 && strcmp(says[i].name, what) != 0; i++)
        ;
    if (i == 7)
        return 1;
    v = says[i].type == JSON_STRING ? json_string(p->value) : json_loads(p->value, JSON_DECODE_ANY, NULL);
    if (!v || !(json_typeof(v) == says[i].type || (says[i].type == JSON_TRUE && json_is_false(v)) ||
                (says[i].type == JSON_REAL && json_is_integer(v)))) {
        json_decref(v);
        return refuse(p, says[i].expected, err);
    }
    if (!m->report)
        m->report = json_object();
    json_object_set_new(m->report, what, v);
    return 0;
}

/* Settings of the world. 1: it is none of them. */
static int set_world(struct cc_mock *m, const struct cc_pair *p, struct cc_err *err)
{
    static const struct {
        const char *key;
        size_t at;
    } numbers[] = { { "boot_ms", offsetof(struct cc_mock, boot_ms) },
                    { "list.lag_ms", offsetof(struct cc_mock, list_lag_ms) },
                    { "late_ms", offsetof(struct cc_mock, late_ms) } },
      texts[] = { { "state", offsetof(struct cc_mock, path) },
                  { "ledger", offsetof(struct cc_mock, ledger_path) },
                  { "endpoint", offsetof(struct cc_mock, endpoint) },
                  { "places", offsetof(struct cc_mock, places) },
                  { "exec.stdout", offsetof(struct cc_mock, exec_out) },
                  { "ssh.why", offsetof(struct cc_mock, ssh_why) } },
      truths[] = { { "attach_live", offsetof(struct cc_capabilities, attach_live) },
                   { "snapshots", offsetof(struct cc_capabilities, snapshots) },
                   { "user_data", offsetof(struct cc_capabilities, user_data) },
                   { "addresses", offsetof(struct cc_capabilities, addresses) },
                   { "vpc", offsetof(struct cc_capabilities, net_vpc) },
                   { "stop_keeps_disk", offsetof(struct cc_capabilities, stop_keeps_disk) } };
    uint64_t n = 0;
    size_t i;
    int r;

    for (i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
        if (strcmp(p->key, numbers[i].key) == 0)
            return amount(p, (uint64_t *)((char *)m + numbers[i].at), err);
    for (i = 0; i < sizeof(texts) / sizeof(*texts); i++)
        if (strcmp(p->key, texts[i].key) == 0)
            return set_text((char **)((char *)m + texts[i].at), p);
    if (strcmp(p->key, "seed") == 0)
        return number(p, &m->seed, err);
    for (i = 0; i < sizeof(truths) / sizeof(*truths); i++)
        if (strcmp(p->key, truths[i].key) == 0)
            return truth(p, (bool *)((char *)&m->caps + truths[i].at), err);
    if (strcmp(p->key, "exec.exit") != 0 && strcmp(p->key, "orphans") != 0)
        return 1;
    if ((r = number(p, &n, err)) == 0 && n > 100000)
        r = refuse(p, "at most 100000", err);
    if (r == 0 && *p->key == 'o')
        m->orphans = (unsigned)n;
    else if (r == 0)
        m->exec_exit = (int)(n & 255);
    return r;
}

/* The operation that a setting names before its dot, or CC_MOCK_OPS; three of the world's look so, too. */
static enum cc_provider_op op_of(const char *key)
{
    size_t i, len;

    if (strcmp(key, "list.lag_ms") == 0 || strcmp(key, "exec.stdout") == 0 || strcmp(key, "exec.exit") == 0)
        return CC_MOCK_OPS;
    for (i = 0; i < CC_MOCK_OPS; i++) {
        len = strlen(cc_provider_op_names[i]);
        if (strncmp(key, cc_provider_op_names[i], len) == 0 && key[len] == '.')
            return (enum cc_provider_op)i;
    }
    return CC_MOCK_OPS;
}

/* Of every operation; half is create's alone. */
static int set_general(struct cc_mock *m, const struct cc_pair *p, struct cc_err *err)
{
    int i, r = 0;

    if (strcmp(p->key, "half") == 0 || strcmp(p->key, "chance.half") == 0)
        return unknown(p, err);
    for (i = 0; i < CC_MOCK_OPS && r == 0; i++)
        r = set_whim(&m->whim[i], p->key, p, err);
    return r;
}

static int set_op(struct cc_mock *m, enum cc_provider_op op, const struct cc_pair *p, struct cc_err *err)
{
    const char *what = p->key + strlen(cc_provider_op_names[op]) + 1;
    int r = op == CC_OP_ACTIVITY ? set_report(m, what, p, err) : 1;

    if (r != 1)
        return r;
    if (op != CC_OP_CREATE && (strcmp(what, "half") == 0 || strcmp(what, "chance.half") == 0))
        return unknown(p, err);
    return set_whim(&m->whim[op], what, p, err);
}

/* What only all settings together tell. */
static int settle(struct cc_mock_whim *w, const char *op, struct cc_err *err)
{
    double sum = 0;
    int k;

    if (w->after) {
        w->count[CC_MISHAP_AFTER] += w->count[CC_MISHAP_FAIL];
        w->count[CC_MISHAP_FAIL] = 0;
    }
    for (k = 0; k < CC_MISHAP_COUNT; k++)
        sum += w->chance[k];
    if (sum > 1 + 1e-9)
        return cc_err_set(err, CC_E_INVALID, "provider mock: the chances of %s are more than 1 together", op);
    if (w->latency_max_ms && w->latency_max_ms < w->latency_ms)
        return cc_err_set(err, CC_E_INVALID, "provider mock: latency_max_ms of %s is below its latency_ms", op);
    return 0;
}

int cc_mock_script(struct cc_mock *m, const struct cc_pairs *settings, struct cc_err *err)
{
    size_t i;
    int r = 0, pass;

    for (i = 0; i < CC_MOCK_OPS; i++)
        m->whim[i].code = CC_E_UNAVAILABLE;
    /* Those of one operation last, whatever the order of a Lua table. */
    for (pass = 0; pass < 2; pass++)
        for (i = 0; i < settings->n && r == 0; i++) {
            const struct cc_pair *p = &settings->v[i];
            enum cc_provider_op op = op_of(p->key);

            if (pass == 0 && op == CC_MOCK_OPS && (r = set_world(m, p, err)) == 1)
                r = set_general(m, p, err);
            else if (pass == 1 && op != CC_MOCK_OPS)
                r = set_op(m, op, p, err);
        }
    for (i = 0; i < CC_MOCK_OPS && r == 0; i++)
        r = settle(&m->whim[i], cc_provider_op_names[i], err);
    return r;
}
