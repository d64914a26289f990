/* budget.c - requests an hour, of one project at Hetzner.
 *
 * Hetzner counts for all who use the project, and says in every answer what is
 * left; in between we count ourselves.  What is left fills again evenly.
 */
#include "providers/hetzner/hetzner.h"

#include "host/sys/clock.h"

enum { HOUR_MS = 3600000, LONGEST_MS = 60000 };

void cc_hz_budget_init(struct cc_hz_budget *b, double hour)
{
    *b = (struct cc_hz_budget){ .left = hour, .hour = hour, .at_ms = cc_mono_ms() };
    pthread_mutex_init(&b->lock, NULL);
}

void cc_hz_budget_fini(struct cc_hz_budget *b) { pthread_mutex_destroy(&b->lock); }

static void fill(struct cc_hz_budget *b)
{
    uint64_t now = cc_mono_ms();

    b->left += b->hour * (double)(now - b->at_ms) / HOUR_MS;
    if (b->left > b->hour)
        b->left = b->hour;
    b->at_ms = now;
}

static int wait_for(struct cc_err *err, double ms, const char *what)
{
    cc_err_set(err, CC_E_LIMIT, "Hetzner's limit of requests: %s", what);
    err->retryable = true;
    err->retry_after_ms = ms < 1000 ? 1000 : (int64_t)ms;
    return CC_E_LIMIT;
}

int cc_hz_budget_take(struct cc_hz_budget *b, struct cc_err *err)
{
    uint64_t now = cc_mono_ms();
    int r = 0;

    pthread_mutex_lock(&b->lock);
    if (now < b->until_ms)
        r = wait_for(err, (double)(b->until_ms - now), "it was reached");
    fill(b);
    if (r == 0)
        b->left -= 1;
    pthread_mutex_unlock(&b->lock);
    return r;
}

/* RateLimit-Reset is when all of the hour's requests are there again; some are long before, so it is not waited for. */
static uint64_t told_to_wait(const struct cc_rest_res *res)
{
    int64_t ms = res->retry_after_ms ? res->retry_after_ms : res->rate_reset * 1000 - cc_wall_ms();

    if (!res->retry_after_ms && ms > LONGEST_MS)
        ms = LONGEST_MS;
    return ms < 1000 ? 1000 : (uint64_t)ms;
}

void cc_hz_budget_heard(struct cc_hz_budget *b, const struct cc_rest_res *res)
{
    pthread_mutex_lock(&b->lock);
    if (res->rate_limit > 0)
        b->hour = (double)res->rate_limit;
    if (res->rate_left >= 0) {
        b->left = (double)res->rate_left;
        b->at_ms = cc_mono_ms();
    }
    if (res->status == 429)
        b->until_ms = cc_mono_ms() + told_to_wait(res);
    pthread_mutex_unlock(&b->lock);
}

int cc_hz_budget_spare(struct cc_hz_budget *b, double n, struct cc_err *err)
{
    double lack;
    int r = 0;

    pthread_mutex_lock(&b->lock);
    fill(b);
    lack = n + b->hour / 2 - b->left;
    if (n > b->hour / 2) /* more than there ever is to spare: once the hour's are all there */
        lack = b->hour - b->left;
    if (lack > 0.5)
        r = wait_for(err, lack * HOUR_MS / b->hour, "a list waits, so that enough is left for what cannot");
    pthread_mutex_unlock(&b->lock);
    return r;
}
