/* check.c - what an operator should know before the first machine. */
#include "providers/hetzner/hetzner.h"

#include "host/sys/process.h"

#include <string.h>

static void check_token(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_check_list *l, json_t **firewalls)
{
    int r = cc_hz_all(h, x, "/firewalls", "firewalls", firewalls);

    if (r == 0)
        cc_check_say(l, x->arena, "credentials", CC_CHECK_OK, "Hetzner takes the token.");
    else if (r == CC_E_DENIED)
        cc_check_say(l, x->arena, "credentials", CC_CHECK_BAD,
                     "Hetzner does not take HCLOUD_TOKEN: %s. Make one with read and write in its console.",
                     x->err->message);
    else
        cc_check_say(l, x->arena, "credentials", CC_CHECK_BAD, "Hetzner could not be asked: %s.", x->err->message);
}

/* The only harmless request that changes something: to give our firewall the rules that it has. */
static void check_write(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_check_list *l)
{
    json_int_t id;
    int r = cc_hz_firewall(h, x, &id);

    if (r == 0)
        cc_check_say(l, x->arena, "network", CC_CHECK_OK,
                     "The firewall cchost-ssh-only is there: in comes ssh, nothing else.");
    else
        cc_check_say(l, x->arena, "permissions", CC_CHECK_BAD, "The firewall cannot be made: %s.", x->err->message);
}

static void check_place(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_check_list *l, const char *type)
{
    struct cc_hz_box b = { .spec = { .type = type } };
    int r = cc_hz_plan(h, x, &b);

    if (r == 0)
        cc_check_say(l, x->arena, type, CC_CHECK_OK, "%s with %s can be made in %s.", b.spec.type, b.spec.image,
                     b.spec.location);
    else
        cc_check_say(l, x->arena, type, r == CC_E_UNSUPPORTED ? CC_CHECK_WARN : CC_CHECK_BAD, "%s.", x->err->message);
}

static void check_budget(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_check_list *l)
{
    double left, hour;

    pthread_mutex_lock(&h->budget.lock);
    left = h->budget.left;
    hour = h->budget.hour;
    pthread_mutex_unlock(&h->budget.lock);
    cc_check_say(l, x->arena, "requests", left < hour / 4 ? CC_CHECK_WARN : CC_CHECK_OK,
                 "%.0f of %.0f requests an hour are left.", left, hour);
}

static void check_ssh(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_check_list *l)
{
    char *argv[] = { h->ssh, (char *)"-V", NULL };
    struct cc_process p = { .argv = argv, .output_max = 200 };

    if (cc_process_run(&p, x->call, x->err) != 0) {
        cc_check_say(l, x->arena, "ssh", CC_CHECK_BAD, "OpenSSH's client cannot be run: %s.", x->err->message);
        return;
    }
    cc_check_say(l, x->arena, "ssh", p.exit_code == 0 ? CC_CHECK_OK : CC_CHECK_BAD, "%.*s.",
                 (int)strcspn(p.err, "\r\n"), p.err);
    cc_process_fini(&p);
}

int cc_hz_check(void *self, struct cc_provider_ctx *x, struct cc_check_list *out)
{
    struct cc_hz *h = self;
    json_auto_t *firewalls = NULL;
    size_t i;

    check_token(h, x, out, &firewalls);
    check_ssh(h, x, out);
    if (!firewalls)
        return cc_call_check(x->call, x->err);
    check_write(h, x, out);
    check_place(h, x, out, h->type);
    for (i = 0; i < h->types.n; i++)
        check_place(h, x, out, h->types.v[i].key);
    check_budget(h, x, out);
    cc_hz_nixos_check(h, x, out);
    return cc_call_check(x->call, x->err);
}
