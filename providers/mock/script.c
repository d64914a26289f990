/* script.c - what the mock is told to do wrong.
 *
 *   latency_ms            of every operation;  OP.latency_ms of one
 *   OP.fail = N           the next N calls fail with OP.code (default "unavailable"),
 *   OP.retry_after_ms     telling this (a 429 is code "limit" with it),
 *   OP.after = true       but only after the effect took place
 *   OP.lose = N           the next N calls take effect and are never answered
 *   attach_live = true    attach and detach also while the machine runs
 *   boot_ms               a machine is "starting" so long after create and start
 *   list.lag_ms           list shows the world as it was so long ago
 *   state = PATH          the world outlives the process in this file
 *   endpoint = PATH       the unix socket that every machine claims to have
 *   exec.stdout, exec.exit
 * OP: create destroy start stop status activity list exec attach detach volume_create volume_delete volume_list
 */
#include "providers/mock/mock.h"

#include "host/sys/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *const ops[CC_OP_COUNT] = { "create",        "destroy",       "start",      "stop",   "status",
                                              "activity",      "list",          "exec",       "attach", "detach",
                                              "volume_create", "volume_delete", "volume_list" };

static int code_of(const char *word)
{
    int c;

    for (c = CC_E_INVALID; c >= CC_E_STATE; c--)
        if (strcmp(cc_err_word(c), word) == 0)
            return c;
    return 0;
}

static int number(const struct cc_pair *p, uint64_t *out, struct cc_err *err)
{
    char *end;

    errno = 0;
    *out = strtoull(p->value, &end, 10);
    if (errno || *end || end == p->value || *p->value == '-')
        return cc_err_set(err, CC_E_INVALID, "provider mock: %s must be a number, not \"%s\"", p->key, p->value);
    return 0;
}

static int set_whim(struct cc_mock_whim *w, const char *what, const struct cc_pair *p, struct cc_err *err)
{
    uint64_t n = 0;
    int r = 0;

    if (strcmp(what, "code") == 0) {
        if (!(w->code = code_of(p->value)))
            r = cc_err_set(err, CC_E_INVALID, "provider mock: %s: no code \"%s\"", p->key, p->value);
    } else if (strcmp(what, "after") == 0) {
        w->after = strcmp(p->value, "true") == 0;
    } else if (strcmp(what, "latency_ms") == 0) {
        if ((r = number(p, &n, err)) == 0)
            w->latency_ms = n;
    } else if (strcmp(what, "fail") == 0) {
        if ((r = number(p, &n, err)) == 0)
            w->fail = (unsigned)n;
    } else if (strcmp(what, "lose") == 0) {
        if ((r = number(p, &n, err)) == 0)
            w->lose = (unsigned)n;
    } else if (strcmp(what, "retry_after_ms") == 0) {
        if ((r = number(p, &n, err)) == 0)
            w->retry_after_ms = (int64_t)n;
    } else {
        r = cc_err_set(err, CC_E_INVALID, "provider mock: unknown setting \"%s\"", p->key);
    }
    return r;
}

static int set(struct cc_mock *m, const struct cc_pair *p, struct cc_err *err)
{
    uint64_t n = 0;
    size_t i, len;
    int r = 0;

    if (strcmp(p->key, "state") == 0) {
        m->path = cc_xstrdup(p->value);
    } else if (strcmp(p->key, "endpoint") == 0) {
        m->endpoint = cc_xstrdup(p->value);
    } else if (strcmp(p->key, "exec.stdout") == 0) {
        m->exec_out = cc_xstrdup(p->value);
    } else if (strcmp(p->key, "exec.exit") == 0) {
        if ((r = number(p, &n, err)) == 0)
            m->exec_exit = (int)(n & 255);
    } else if (strcmp(p->key, "attach_live") == 0) {
        m->caps.attach_live = strcmp(p->value, "true") == 0;
    } else if (strcmp(p->key, "boot_ms") == 0) {
        r = number(p, &m->boot_ms, err);
    } else if (strcmp(p->key, "list.lag_ms") == 0) {
        r = number(p, &m->list_lag_ms, err);
    } else if (strcmp(p->key, "latency_ms") == 0) {
        if ((r = number(p, &n, err)) == 0)
            for (i = 0; i < CC_OP_COUNT; i++)
                m->whim[i].latency_ms = n;
    } else {
        for (i = 0; i < CC_OP_COUNT; i++) {
            len = strlen(ops[i]);
            if (strncmp(p->key, ops[i], len) == 0 && p->key[len] == '.')
                return set_whim(&m->whim[i], p->key + len + 1, p, err);
        }
        r = cc_err_set(err, CC_E_INVALID, "provider mock: unknown setting \"%s\"", p->key);
    }
    return r;
}

int cc_mock_script(struct cc_mock *m, const struct cc_pairs *settings, struct cc_err *err)
{
    size_t i;
    int r = 0, pass;

    for (i = 0; i < CC_OP_COUNT; i++)
        m->whim[i].code = CC_E_UNAVAILABLE;
    /* The general latency first, whatever the order of a Lua table. */
    for (pass = 0; pass < 2; pass++)
        for (i = 0; i < settings->n && r == 0; i++)
            if ((strcmp(settings->v[i].key, "latency_ms") == 0) == (pass == 0))
                r = set(m, &settings->v[i], err);
    return r;
}
