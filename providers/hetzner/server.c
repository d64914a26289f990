/* server.c - servers: found by name, made, brought up, shut down, deleted. */
#include "providers/hetzner/hetzner.h"

#include "host/sys/clock.h"
#include "providers/host_key.h"

#include <stdlib.h>
#include <string.h>

const char *cc_hz_server_host(const json_t *server)
{
    return cc_hz_text(json_object_get(json_object_get(server, "public_net"), "ipv4"), "ip");
}

static void take(struct cc_hz_box *b, json_t *server)
{
    json_decref(b->server);
    b->server = json_incref(server);
}

static bool status_is(const json_t *server, const char *word)
{
    const char *is = cc_hz_text(server, "status");

    return is && strcmp(is, word) == 0;
}

/* One that is so named and not ours is nobody's business of ours, except that nothing can be made there. */
int cc_hz_server_find(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_hz_box *b)
{
    json_auto_t *s = NULL;
    const char *id;
    int r = cc_hz_named(h, x, "servers", b->name, &s);

    if (r != 0)
        return r;
    if (s && !cc_hz_label(s, CC_HZ_LABEL))
        return cc_err_set(x->err, CC_E_EXISTS, "the project has a server %s that is not ours", b->name);
    take(b, s);
    if (s && (id = cc_hz_label(s, CC_HZ_ID)))
        b->id = cc_arena_strdup(x->arena, id);
    return 0;
}

static int refresh(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_hz_box *b)
{
    json_auto_t *doc = NULL;
    int r =
        cc_hz_ask(h, x, "GET", cc_arena_printf(x->arena, "/servers/%lld", (long long)cc_hz_id(b->server)), NULL, &doc);

    if (r == 0)
        take(b, json_object_get(doc, "server"));
    return r;
}

enum cc_machine_state cc_hz_state(const struct cc_hz_box *b)
{
    size_t i;

    if (b->server) {
        if (status_is(b->server, "off") || status_is(b->server, "stopping") || status_is(b->server, "deleting"))
            return CC_M_STOPPED;
        if (status_is(b->server, "unknown"))
            return CC_M_ERROR;
        return status_is(b->server, "running") && cc_hz_label(b->server, CC_HZ_PINNED) ? CC_M_RUNNING : CC_M_STARTING;
    }
    for (i = 0; i < b->n_mounts; i++)
        if (b->mounts[i].how == 'm')
            return CC_M_STOPPED;
    return b->n_mounts ? CC_M_ERROR : CC_M_GONE;
}

/* ---------------------------------------------------------------- made */

static json_t *labels_of(struct cc_provider_ctx *x, const struct cc_hz_box *b)
{
    return json_pack("{s:s, s:s, s:s, s:s*, s:s*}", CC_HZ_LABEL, "1", CC_HZ_ID, b->spec.id, CC_HZ_OWNER,
                     cc_hz_digest(x->arena, b->spec.owner), CC_HZ_IMAGE, b->image_name, CC_HZ_HASH, b->image_hash);
}

static json_t *order(struct cc_provider_ctx *x, const struct cc_hz_box *b, json_int_t firewall, const char *key,
                     const char *user_data)
{
    json_t *volumes = json_array();
    size_t i;

    for (i = 0; i < b->n_mounts && !b->installs; i++) /* nothing that formats disks is to see one that it must not */
        json_array_append_new(volumes, json_integer(b->mounts[i].id));
    return json_pack("{s:s, s:s, s:s, s:s, s:[s], s:[{s:I}], s:o, s:b, s:o, s:s, s:{s:b, s:b}}", "name", b->name,
                     "server_type", b->spec.type, "image", b->boot, "location", b->spec.location, "ssh_keys", key,
                     "firewalls", "firewall", firewall, "volumes", volumes, "automount", 0, "labels", labels_of(x, b),
                     "user_data", user_data, "public_net", "enable_ipv4", 1, "enable_ipv6", 1);
}

int cc_hz_server_make(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_hz_box *b)
{
    json_auto_t *answer = NULL;
    json_int_t firewall;
    const char *key, *data;
    int r = cc_hz_firewall(h, x, &firewall);

    if (r == 0)
        r = cc_hz_key(h, x, &key);
    if (r != 0)
        return r;
    if (!(data = cc_hz_user_data(h, x, b)))
        return x->err->code;
    r = cc_hz_ask(h, x, "POST", "/servers", order(x, b, firewall, key, data), &answer);
    if (r == CC_E_EXISTS) /* the answer to an earlier one was lost */
        return cc_hz_server_find(h, x, b);
    if (r != 0) {
        pthread_mutex_lock(&h->lock);
        h->firewall = 0; /* it may have been deleted by hand */
        free(h->key_name);
        h->key_name = NULL;
        pthread_mutex_unlock(&h->lock);
        return r;
    }
    take(b, json_object_get(answer, "server"));
    return cc_hz_await(h, x, answer);
}

/* ---------------------------------------------------------------- up */

static bool has_volume(const json_t *server, json_int_t id)
{
    json_t *v;
    size_t i;

    json_array_foreach (json_object_get(server, "volumes"), i, v) {
        if (json_integer_value(v) == id)
            return true;
    }
    return false;
}

int cc_hz_server_attach(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_hz_box *b)
{
    size_t i;
    int r = 0;

    for (i = 0; r == 0 && i < b->n_mounts; i++)
        if (!has_volume(b->server, b->mounts[i].id))
            r = cc_hz_act(h, x, cc_arena_printf(x->arena, "/volumes/%lld/actions/attach", (long long)b->mounts[i].id),
                          json_pack("{s:I, s:b}", "server", cc_hz_id(b->server), "automount", 0));
    return r;
}

int cc_hz_server_up(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_hz_box *b)
{
    uint64_t pause = h->poll_ms;
    int r = refresh(h, x, b);

    for (; r == 0 && !status_is(b->server, "running"); pause = pause < 8 * h->poll_ms ? pause * 2 : pause) {
        if (status_is(b->server, "off"))
            r = cc_hz_act(
                h, x, cc_arena_printf(x->arena, "/servers/%lld/actions/poweron", (long long)cc_hz_id(b->server)), NULL);
        else
            r = cc_rest_pause(x, pause);
        if (r == 0)
            r = refresh(h, x, b);
    }
    if (r == 0 && !cc_hz_server_host(b->server))
        r = cc_err_set(x->err, CC_E_UNAVAILABLE, "Hetzner gave the server no public address");
    return r;
}

/* SHA-256 of the host key in base64url, between letters, as a label's value must be. NULL: that is no key. */
static const char *print_of(struct cc_arena *a, const char *host_key)
{
    const char *sum = cc_host_key_fingerprint(a, host_key);
    char *text = sum ? cc_arena_printf(a, "SHA256_%se", strchr(sum, ':') + 1) : NULL, *c;

    for (c = text; c && *c; c++)
        *c = (char)(*c == '+' ? '-' : *c == '/' ? '_' : *c);
    return text;
}

bool cc_hz_server_shows(struct cc_arena *a, const json_t *server, const char *host_key)
{
    const char *says = cc_hz_label(server, CC_HZ_PINNED), *is = print_of(a, host_key);

    return says && is && strcmp(says, is) == 0;
}

/* From here on it is usable, and says so. */
int cc_hz_server_pinned(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_hz_box *b)
{
    json_auto_t *doc = NULL;
    const char *print = print_of(x->arena, b->host_key);
    json_t *labels;
    int r;

    if (!print)
        return cc_err_set(x->err, CC_E_UNAVAILABLE, "%s shows no ssh host key", b->name);
    labels = labels_of(x, b);
    json_object_set_new(labels, CC_HZ_PINNED, json_string(print));
    r = cc_hz_ask(h, x, "PUT", cc_arena_printf(x->arena, "/servers/%lld", (long long)cc_hz_id(b->server)),
                  json_pack("{s:o}", "labels", labels), &doc);
    if (r == 0)
        take(b, json_object_get(doc, "server"));
    return r;
}

/* ---------------------------------------------------------------- down */

/* At most half of the call's time: what does not go by itself must be gone before that is over. */
static int wait_off(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_hz_box *b)
{
    int left = cc_call_left_ms(x->call), r = refresh(h, x, b);
    uint64_t grace = left >= 0 && (uint64_t)left / 2 < h->grace_ms ? (uint64_t)left / 2 : h->grace_ms;
    uint64_t until = cc_mono_ms() + grace, pause = h->poll_ms;

    for (; r == 0 && !status_is(b->server, "off") && cc_mono_ms() < until; pause += h->poll_ms)
        if ((r = cc_rest_pause(x, pause)) == 0)
            r = refresh(h, x, b);
    return r;
}

/* What is off or gone already is fine. */
int cc_hz_server_off(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_hz_box *b)
{
    const char *actions = cc_arena_printf(x->arena, "/servers/%lld/actions", (long long)cc_hz_id(b->server));
    int r = 0;

    if (status_is(b->server, "off"))
        return 0;
    if (status_is(b->server, "running"))
        r = cc_hz_act(h, x, cc_arena_printf(x->arena, "%s/shutdown", actions), NULL);
    if (r == 0)
        r = wait_off(h, x, b);
    if (r == 0 && !status_is(b->server, "off"))
        r = cc_hz_act(h, x, cc_arena_printf(x->arena, "%s/poweroff", actions), NULL);
    return r == CC_E_NOT_FOUND ? 0 : r;
}

/* Its volumes are detached by that, and stay. */
int cc_hz_server_end(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_hz_box *b)
{
    json_auto_t *answer = NULL;
    int r;

    cc_hz_way_end(h, x, b->short_id);
    r = cc_hz_ask(h, x, "DELETE", cc_arena_printf(x->arena, "/servers/%lld", (long long)cc_hz_id(b->server)), NULL,
                  &answer);
    if (r == 0)
        r = cc_hz_await(h, x, answer);
    if (r != 0 && r != CC_E_NOT_FOUND)
        return r;
    take(b, NULL);
    return 0;
}
