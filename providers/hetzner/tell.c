/* tell.c - what is told of a machine, and of all of them: what stands at Hetzner, beside what this host keeps. */
#include "providers/hetzner/hetzner.h"

#include "host/sys/clock.h"
#include "providers/files.h"
#include "providers/host_key.h"
#include "providers/ssh.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static int64_t unix_ms(const char *rfc3339)
{
    struct tm t = { 0 };

    if (!rfc3339 || !strptime(rfc3339, "%Y-%m-%dT%H:%M:%S", &t))
        return 0;
    return (int64_t)timegm(&t) * 1000;
}

static void unheld(struct cc_arena *a, struct cc_machine_info *out, const char *what, const char *why)
{
    struct cc_unenforced *v = cc_arena_alloc(a, (out->n_unenforced + 1) * sizeof(*v));

    if (out->n_unenforced)
        memcpy(v, out->unenforced, out->n_unenforced * sizeof(*v));
    v[out->n_unenforced++] = (struct cc_unenforced){ what, why };
    out->unenforced = v;
}

/* What was asked for and is not what the type has. */
static void compare(struct cc_arena *a, const struct cc_hz_box *b, struct cc_machine_info *out)
{
    const char *why = b->server ? cc_arena_printf(a, "Hetzner sells by type: %s has %g processors, %u MiB and %u GiB",
                                                  cc_hz_text(json_object_get(b->server, "server_type"), "name"),
                                                  out->vcpu, out->memory_mib, out->disk_gib)
                                : "it is stopped";

    if (b->spec.memory_mib && b->spec.memory_mib != out->memory_mib)
        unheld(a, out, "memory", why);
    if (b->spec.disk_gib && b->spec.disk_gib != out->disk_gib)
        unheld(a, out, "disk", why);
    if (b->spec.vcpu > 0 && b->spec.vcpu != out->vcpu)
        unheld(a, out, "cpu", why);
    if (b->spec.network != CC_NET_NAT)
        unheld(a, out, cc_arena_printf(a, "network %s", cc_network_word(b->spec.network)),
               "a server is reached over ssh, at its public address");
}

static void tell_ssh(const struct cc_hz *h, struct cc_arena *a, const struct cc_hz_box *b, struct cc_machine_info *out)
{
    if (b->spec.ssh_keys.n == 0)
        return;
    if (!b->server) {
        out->ssh.why = "it is stopped, and has another address each time that it is started";
        return;
    }
    out->ssh = (struct cc_ssh){ .host = out->address, .user = "claude", .port = h->ssh_port, .host_key = b->host_key };
    out->ssh.fingerprint = b->host_key ? cc_host_key_fingerprint(a, b->host_key) : NULL;
}

void cc_hz_tell(const struct cc_hz *h, struct cc_arena *a, const struct cc_hz_box *b, struct cc_machine_info *out)
{
    const json_t *type = json_object_get(b->server, "server_type");
    const char *name = b->name;

    *out = (struct cc_machine_info){ .provider_id = name, .id = b->id, .state = cc_hz_state(b) };
    out->name = b->spec.name ? b->spec.name : name;
    out->image =
        b->spec.image ? b->spec.image : cc_arena_strdup(a, cc_hz_text(json_object_get(b->server, "image"), "name"));
    if (out->state == CC_M_ERROR)
        out->reason = b->server ? "Hetzner does not know how it is" : "it was not made to the end";
    out->address = cc_arena_strdup(a, b->server ? cc_hz_server_host(b->server) : NULL);
    out->vcpu = (double)json_integer_value(json_object_get(type, "cores"));
    out->memory_mib = (uint32_t)(json_number_value(json_object_get(type, "memory")) * 1024);
    out->disk_gib = (uint32_t)json_number_value(json_object_get(type, "disk"));
    if (out->state == CC_M_RUNNING) {
        out->started_at = unix_ms(cc_hz_text(b->server, "created"));
        out->socket = cc_hz_socket(h, a, b->short_id);
    }
    compare(a, b, out);
    tell_ssh(h, a, b, out);
}

/* ---------------------------------------------------------------- all of them */

/* Adds what there is of one machine, once. */
static void list_one(const struct cc_hz *h, struct cc_provider_ctx *x, const char *short_id, json_t *server,
                     const json_t *volumes, json_t *seen, struct cc_machine_list *out)
{
    struct cc_hz_box b = { .short_id = cc_arena_strdup(x->arena, short_id), .server = server };
    const char *id;

    if (!cc_short_ok(short_id) || json_object_get(seen, short_id))
        return;
    json_object_set_new(seen, short_id, json_true());
    b.name = cc_arena_printf(x->arena, "cc-%s", short_id);
    cc_hz_load(h, x->arena, &b);
    if ((id = cc_hz_label(server, CC_HZ_ID)))
        b.id = cc_arena_strdup(x->arena, id);
    if (server && b.host_key && !cc_hz_server_shows(x->arena, server, b.host_key))
        b.host_key = NULL;
    if (!server)
        cc_hz_mounts_of(x->arena, volumes, &b);
    cc_hz_tell(h, x->arena, &b, &out->v[out->n++]);
}

static void list_volume(const struct cc_hz *h, struct cc_provider_ctx *x, json_t *volume, json_t *by, json_t *seen,
                        struct cc_machine_list *out)
{
    json_t *labels = json_object_get(volume, "labels"), *value;
    const char *key;

    json_object_foreach (labels, key, value) {
        if (strncmp(key, CC_HZ_AT, strlen(CC_HZ_AT)) == 0)
            list_one(h, x, key + strlen(CC_HZ_AT), NULL, json_object_get(by, key), seen, out);
    }
}

/* {cchost-at-SHORT = its volumes} of machines that have no server; how many. */
static json_t *by_machine(const json_t *volumes)
{
    json_t *by = json_object(), *volume, *value;
    const char *key;
    size_t i;

    json_array_foreach (volumes, i, volume) {
        json_object_foreach (json_object_get(volume, "labels"), key, value) {
            if (strncmp(key, CC_HZ_AT, strlen(CC_HZ_AT)) != 0)
                continue;
            if (!json_object_get(by, key))
                json_object_set_new(by, key, json_array());
            json_array_append(json_object_get(by, key), volume);
        }
    }
    return by;
}

static void list_all(const struct cc_hz *h, struct cc_provider_ctx *x, json_t *servers, json_t *volumes,
                     struct cc_machine_list *out)
{
    json_auto_t *by = by_machine(volumes), *seen = json_object();
    json_t *one;
    size_t i;

    out->v = cc_arena_alloc(x->arena, (json_array_size(servers) + json_object_size(by) + 1) * sizeof(*out->v));
    out->n = 0;
    json_array_foreach (servers, i, one) {
        const char *name = cc_hz_text(one, "name");

        if (name && cc_provider_id_ok(name))
            list_one(h, x, name + 3, one, NULL, seen, out);
    }
    json_array_foreach (volumes, i, one) {
        list_volume(h, x, one, by, seen, out);
    }
}

static double list_cost(struct cc_hz *h, double now)
{
    double was;

    pthread_mutex_lock(&h->lock);
    was = h->list_cost;
    if (now > 0)
        h->list_cost = now;
    pthread_mutex_unlock(&h->lock);
    return was > 0 ? was : 2;
}

static size_t pages(const json_t *list) { return json_array_size(list) / CC_HZ_PAGE + 1; }

/* One look at all of them; it waits while it would take what users' own work needs. */
int cc_hz_list(void *self, struct cc_provider_ctx *x, struct cc_machine_list *out)
{
    struct cc_hz *h = self;
    json_auto_t *servers = NULL, *volumes = NULL;
    int r = cc_call_check(x->call, x->err);

    if (r == 0)
        r = cc_hz_budget_spare(&h->budget, list_cost(h, 0), x->err);
    if (r == 0)
        r = cc_hz_all(h, x, "/servers?label_selector=" CC_HZ_LABEL, "servers", &servers);
    if (r == 0)
        r = cc_hz_all(h, x, "/volumes?label_selector=" CC_HZ_LABEL, "volumes", &volumes);
    if (r != 0)
        return r;
    list_cost(h, (double)(pages(servers) + pages(volumes)));
    list_all(h, x, servers, volumes, out);
    return 0;
}
