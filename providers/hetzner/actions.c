/* actions.c - waiting for what Hetzner has begun.
 *
 * However many wait, one of them asks for all, 25 actions in a request; when
 * it has its answer another one goes on.  The pause between two rounds grows
 * with the age of the youngest that is waited for.
 */
#include "providers/hetzner/hetzner.h"

#include "host/sys/clock.h"
#include "host/sys/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BATCH = 25, SLOWEST = 3, MANY = 64, NAP_MS = 50 };

struct cc_hz_waiter {
    struct cc_hz_waiter *next;
    json_int_t id;
    unsigned rounds; /* it was asked for so often */
    bool ended;
    int code; /* of an action that failed */
    char says[160];
};

void cc_hz_actions_init(struct cc_hz_actions *a)
{
    *a = (struct cc_hz_actions){ .waiters = NULL };
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->told, NULL);
}

void cc_hz_actions_fini(struct cc_hz_actions *a)
{
    pthread_mutex_destroy(&a->lock);
    pthread_cond_destroy(&a->told);
}

/* ---------------------------------------------------------------- a round */

static void note(struct cc_hz_waiter *w, const json_t *action)
{
    const char *status = cc_hz_text(action, "status");
    const json_t *e = json_object_get(action, "error");
    const char *word = cc_hz_text(e, "code"), *says = cc_hz_text(e, "message");

    w->ended = status && strcmp(status, "running") != 0;
    if (!w->ended || strcmp(status, "success") == 0)
        return;
    w->code = cc_hz_code(word, 0);
    snprintf(w->says, sizeof(w->says), "%.110s (%.40s)", says ? says : "no reason given", word ? word : "no code");
}

static void note_all(struct cc_hz_actions *a, const json_t *answer)
{
    struct cc_hz_waiter *w;
    json_t *action;
    size_t i;

    pthread_mutex_lock(&a->lock);
    json_array_foreach (json_object_get(answer, "actions"), i, action) {
        for (w = a->waiters; w; w = w->next)
            if (w->id == cc_hz_id(action))
                note(w, action);
    }
    pthread_cond_broadcast(&a->told);
    pthread_mutex_unlock(&a->lock);
}

/* The next ids that are not known to have ended, beyond the one before; how many. */
static size_t batch(struct cc_hz_actions *a, json_int_t *after, json_int_t ids[BATCH])
{
    size_t n = 0, i;
    struct cc_hz_waiter *w;
    json_int_t least;

    pthread_mutex_lock(&a->lock);
    for (i = 0; i < BATCH; i++, *after = least, ids[n++] = least) {
        least = 0;
        for (w = a->waiters; w; w = w->next)
            if (!w->ended && w->id > *after && (!least || w->id < least))
                least = w->id;
        if (!least)
            break;
        for (w = a->waiters; w; w = w->next)
            w->rounds += w->id == least;
    }
    pthread_mutex_unlock(&a->lock);
    return n;
}

static int ask_all(struct cc_hz *h, struct cc_provider_ctx *x)
{
    json_int_t after = 0, ids[BATCH];
    size_t n, i;
    int r = 0;

    while (r == 0 && (n = batch(&h->actions, &after, ids)) > 0) {
        json_auto_t *answer = NULL;
        char *path = cc_arena_strdup(x->arena, "/actions");

        for (i = 0; i < n; i++)
            path = cc_arena_printf(x->arena, "%s%cid=%lld", path, i ? '&' : '?', (long long)ids[i]);
        if ((r = cc_hz_ask(h, x, "GET", path, NULL, &answer)) == 0)
            note_all(&h->actions, answer);
    }
    return r;
}

static uint64_t pace(struct cc_hz *h)
{
    unsigned youngest = SLOWEST;
    struct cc_hz_waiter *w;

    for (w = h->actions.waiters; w; w = w->next)
        if (!w->ended && w->rounds < youngest)
            youngest = w->rounds;
    return (uint64_t)h->poll_ms << youngest;
}

/* ---------------------------------------------------------------- waiting */

static void nap(struct cc_hz_actions *a)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_nsec += NAP_MS * 1000000L;
    t.tv_sec += t.tv_nsec / 1000000000L;
    t.tv_nsec %= 1000000000L;
    pthread_cond_timedwait(&a->told, &a->lock, &t);
}

static int lead(struct cc_hz *h, struct cc_provider_ctx *x)
{
    struct cc_hz_actions *a = &h->actions;
    uint64_t ms = pace(h);
    int r;

    a->asking = true;
    pthread_mutex_unlock(&a->lock);
    if ((r = cc_rest_pause(x, ms)) == 0)
        r = ask_all(h, x);
    pthread_mutex_lock(&a->lock);
    a->asking = false;
    pthread_cond_broadcast(&a->told);
    return r;
}

static void unlink_waiter(struct cc_hz_actions *a, struct cc_hz_waiter *w)
{
    struct cc_hz_waiter **at = &a->waiters;

    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
}

static int wait_one(struct cc_hz *h, struct cc_provider_ctx *x, json_int_t id)
{
    struct cc_hz_actions *a = &h->actions;
    struct cc_hz_waiter w = { .id = id };
    int r = 0;

    pthread_mutex_lock(&a->lock);
    w.next = a->waiters;
    a->waiters = &w;
    while (r == 0 && !w.ended)
        if ((r = cc_call_check(x->call, x->err)) == 0) {
            if (a->asking)
                nap(a);
            else
                r = lead(h, x);
        }
    unlink_waiter(a, &w);
    pthread_mutex_unlock(&a->lock);
    if (r == 0 && w.code)
        r = cc_err_set(x->err, w.code, "Hetzner could not do it: %s", w.says);
    return r;
}

static int wait_if_runs(struct cc_hz *h, struct cc_provider_ctx *x, const json_t *action)
{
    struct cc_hz_waiter w = { .id = cc_hz_id(action) };

    if (!w.id)
        return 0;
    note(&w, action);
    if (!w.ended)
        return wait_one(h, x, w.id);
    return w.code ? cc_err_set(x->err, w.code, "Hetzner could not do it: %s", w.says) : 0;
}

int cc_hz_await(struct cc_hz *h, struct cc_provider_ctx *x, const json_t *answer)
{
    static const char *const lists[] = { "actions", "next_actions" };
    int r = wait_if_runs(h, x, json_object_get(answer, "action"));
    json_t *action;
    size_t i, k;

    for (k = 0; k < 2; k++)
        json_array_foreach (json_object_get(answer, lists[k]), i, action) {
            if (r == 0)
                r = wait_if_runs(h, x, action);
        }
    return r;
}

int cc_hz_act(struct cc_hz *h, struct cc_provider_ctx *x, const char *path, json_t *body)
{
    json_auto_t *answer = NULL;
    int r = cc_hz_ask(h, x, "POST", path, body, &answer);

    return r == 0 ? cc_hz_await(h, x, answer) : r;
}
