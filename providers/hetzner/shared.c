/* shared.c - what machines share at Hetzner: one firewall, this host's key, a network for each owner.
 *
 * All are found by name and made when they are not there; who comes second
 * finds what the first has made.
 */
#include "providers/hetzner/hetzner.h"

#include "host/sys/mem.h"
#include "providers/files.h"
#include "providers/host_key.h"

#include <mbedtls/md.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FIREWALL "cchost-ssh-only"

json_t *cc_hz_labels(void) { return json_pack("{s:s}", CC_HZ_LABEL, "1"); }

const char *cc_hz_digest(struct cc_arena *a, const char *owner)
{
    const char *who = owner ? owner : "";
    unsigned char sum[32];
    char text[33];
    int i;

    if (mbedtls_md(mbedtls_md_info_from_type(MBEDTLS_MD_SHA256), (const unsigned char *)who, strlen(who), sum) != 0)
        abort();
    for (i = 0; i < 16; i++)
        sprintf(text + 2 * i, "%02x", sum[i]);
    return cc_arena_strdup(a, text);
}

/* ---------------------------------------------------------------- the firewall */

/* In: ssh. Nothing else, whoever asks; out: everything. */
static json_t *the_rules(void)
{
    return json_pack("[{s:s, s:s, s:s, s:[s, s]}]", "direction", "in", "protocol", "tcp", "port", "22", "source_ips",
                     "0.0.0.0/0", "::/0");
}

static bool only_ssh(const json_t *firewall)
{
    const json_t *rules = json_object_get(firewall, "rules"), *one = json_array_get(rules, 0);
    const char *direction = cc_hz_text(one, "direction"), *protocol = cc_hz_text(one, "protocol"),
               *port = cc_hz_text(one, "port");

    return json_array_size(rules) == 1 && direction && strcmp(direction, "in") == 0 && protocol &&
           strcmp(protocol, "tcp") == 0 && port && strcmp(port, "22") == 0;
}

static int make_firewall(struct cc_hz *h, struct cc_provider_ctx *x, json_t **out)
{
    json_auto_t *answer = NULL;
    int r = cc_hz_ask(h, x, "POST", "/firewalls",
                      json_pack("{s:s, s:o, s:o}", "name", FIREWALL, "labels", cc_hz_labels(), "rules", the_rules()),
                      &answer);

    if (r == 0)
        *out = json_incref(json_object_get(answer, "firewall"));
    return r == CC_E_EXISTS ? cc_hz_named(h, x, "firewalls", FIREWALL, out) : r;
}

/* One that somebody opened wider is closed again: it is ours by its label. */
static int find_firewall(struct cc_hz *h, struct cc_provider_ctx *x, json_int_t *id)
{
    json_auto_t *f = NULL;
    int r = cc_hz_named(h, x, "firewalls", FIREWALL, &f);

    if (r == 0 && !f)
        r = make_firewall(h, x, &f);
    if (r != 0)
        return r;
    if (!f || !cc_hz_label(f, CC_HZ_LABEL))
        return cc_err_set(x->err, CC_E_EXISTS, "the project has a firewall %s that is not ours", FIREWALL);
    *id = cc_hz_id(f);
    if (only_ssh(f))
        return 0;
    return cc_hz_act(h, x, cc_arena_printf(x->arena, "/firewalls/%lld/actions/set_rules", (long long)*id),
                     json_pack("{s:o}", "rules", the_rules()));
}

int cc_hz_firewall(struct cc_hz *h, struct cc_provider_ctx *x, json_int_t *id)
{
    int r = 0;

    pthread_mutex_lock(&h->lock);
    *id = h->firewall;
    pthread_mutex_unlock(&h->lock);
    if (*id || (r = find_firewall(h, x, id)) != 0)
        return r;
    pthread_mutex_lock(&h->lock);
    h->firewall = *id;
    pthread_mutex_unlock(&h->lock);
    return 0;
}

/* ---------------------------------------------------------------- the host's key */

static int find_key(struct cc_hz *h, struct cc_provider_ctx *x, const char **name)
{
    json_auto_t *doc = NULL;
    const char *print = cc_rest_escape(x->arena, cc_host_key_md5(x->arena, h->public_key)), *is;
    int r = cc_hz_ask(h, x, "GET", cc_arena_printf(x->arena, "/ssh_keys?fingerprint=%s", print), NULL, &doc);

    is = cc_hz_text(json_array_get(json_object_get(doc, "ssh_keys"), 0), "name");
    *name = cc_arena_strdup(x->arena, is);
    return r;
}

/* Of several hosts each has its own. */
static int make_key(struct cc_hz *h, struct cc_provider_ctx *x, const char **name)
{
    const char *digest = cc_hz_digest(x->arena, h->public_key);
    int r;

    *name = cc_arena_printf(x->arena, "cchost-%.16s", digest);
    r = cc_hz_ask(h, x, "POST", "/ssh_keys",
                  json_pack("{s:s, s:s, s:o}", "name", *name, "public_key", h->public_key, "labels", cc_hz_labels()),
                  NULL);
    return r == CC_E_EXISTS ? find_key(h, x, name) : r;
}

int cc_hz_key(struct cc_hz *h, struct cc_provider_ctx *x, const char **name)
{
    int r = 0;

    pthread_mutex_lock(&h->lock);
    *name = cc_arena_strdup(x->arena, h->key_name);
    pthread_mutex_unlock(&h->lock);
    if (*name)
        return 0;
    r = find_key(h, x, name);
    if (r == 0 && !*name)
        r = make_key(h, x, name);
    if (r == 0 && !*name)
        r = cc_err_set(x->err, CC_E_EXISTS, "the project has another ssh key of our key's name");
    if (r != 0)
        return r;
    pthread_mutex_lock(&h->lock);
    if (!h->key_name)
        h->key_name = cc_xstrdup(*name);
    pthread_mutex_unlock(&h->lock);
    return 0;
}

/* ---------------------------------------------------------------- an owner's network */

/* A network's addresses are in one zone, and no server of another zone can have one: an owner has a network in each zone, of the
 * same range, in which no two of his machines have the same address. This name locks all of them. */
static const char *network_name(struct cc_arena *a, const char *digest)
{
    return cc_arena_printf(a, "cchost-%s", digest);
}

/* "10.1.2.3/24" -> "10.1.2.0/24" and, in *ip, "10.1.2.3"; NULL when it is neither. */
static const char *range_of(struct cc_arena *a, const char *address, const char **ip)
{
    unsigned p[4], bits, host, mask;
    char rest;

    if (sscanf(address, "%3u.%3u.%3u.%3u/%2u%c", &p[0], &p[1], &p[2], &p[3], &bits, &rest) != 5 || p[0] > 255 ||
        p[1] > 255 || p[2] > 255 || p[3] > 255 || bits < 8 || bits > 29)
        return NULL;
    host = p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3];
    mask = 0xffffffffu << (32 - bits);
    *ip = cc_arena_printf(a, "%u.%u.%u.%u", p[0], p[1], p[2], p[3]);
    host &= mask;
    return cc_arena_printf(a, "%u.%u.%u.%u/%u", host >> 24, host >> 16 & 255, host >> 8 & 255, host & 255, bits);
}

static int make_network(struct cc_hz *h, struct cc_provider_ctx *x, const struct cc_hz_box *b, const char *name,
                        const char *range, const char *zone, json_t **out)
{
    json_auto_t *answer = NULL;
    json_t *labels = cc_hz_labels();
    int r;

    json_object_set_new(labels, CC_HZ_OWNER, json_string(cc_hz_digest(x->arena, b->spec.owner)));
    r = cc_hz_ask(h, x, "POST", "/networks",
                  json_pack("{s:s, s:s, s:o, s:[{s:s, s:s, s:s}]}", "name", name, "ip_range", range, "labels", labels,
                            "subnets", "type", "cloud", "ip_range", range, "network_zone", zone),
                  &answer);
    if (r == 0)
        *out = json_incref(json_object_get(answer, "network"));
    return r == CC_E_EXISTS ? cc_hz_named(h, x, "networks", name, out) : r;
}

static int find_network(struct cc_hz *h, struct cc_provider_ctx *x, const struct cc_hz_box *b, const char *range,
                        json_int_t *id)
{
    json_auto_t *n = NULL;
    const char *zone = cc_hz_zone(h, x, b->spec.location), *name, *has;
    int r;

    if (!zone)
        return cc_err_set(x->err, CC_E_INVALID, "Hetzner has no location %.40s", b->spec.location);
    name = cc_arena_printf(x->arena, "%s-%s", network_name(x->arena, cc_hz_digest(x->arena, b->spec.owner)), zone);
    r = cc_hz_named(h, x, "networks", name, &n);
    if (r == 0 && !n)
        r = make_network(h, x, b, name, range, zone, &n);
    if (r != 0)
        return r;
    has = cc_hz_text(n, "ip_range");
    if (!n || !cc_hz_label(n, CC_HZ_OWNER) || !has || strcmp(has, range) != 0)
        return cc_err_set(x->err, CC_E_CONFLICT, "the owner's network %.60s is not %.30s", name, range);
    *id = cc_hz_id(n);
    return 0;
}

/* Machines of one owner alone are in it: Hetzner's firewalls do not look into private networks. */
int cc_hz_network_join(struct cc_hz *h, struct cc_provider_ctx *x, const struct cc_hz_box *b)
{
    const char *ip, *range = b->spec.address ? range_of(x->arena, b->spec.address, &ip) : NULL, *lock;
    json_int_t id;
    int fd, r;

    if (!b->spec.address || json_array_size(json_object_get(b->server, "private_net")) > 0)
        return 0;
    if (!range)
        return cc_err_set(x->err, CC_E_INVALID, "%.40s is no address of a network, like 10.1.2.3/24", b->spec.address);
    lock = network_name(x->arena, cc_hz_digest(x->arena, b->spec.owner));
    if ((fd = cc_name_lock(h->dir, lock, x->call, x->err)) < 0)
        return fd;
    if ((r = find_network(h, x, b, range, &id)) == 0)
        r = cc_hz_act(
            h, x, cc_arena_printf(x->arena, "/servers/%lld/actions/attach_to_network", (long long)cc_hz_id(b->server)),
            json_pack("{s:I, s:s}", "network", id, "ip", ip));
    close(fd);
    return r;
}

/* The last machine of its owner in a zone takes the network there with it. One that is stopped is in none. */
int cc_hz_network_leave(struct cc_hz *h, struct cc_provider_ctx *x, const char *owner_digest)
{
    json_auto_t *all = NULL;
    const char *lock = network_name(x->arena, owner_digest);
    int fd = cc_name_lock(h->dir, lock, x->call, x->err), r;
    const json_t *n;
    size_t i;

    if (fd < 0)
        return fd;
    r = cc_hz_all(h, x, cc_arena_printf(x->arena, "/networks?label_selector=" CC_HZ_OWNER "%%3D%s", owner_digest),
                  "networks", &all);
    json_array_foreach (all, i, n) {
        if (r == 0 && json_array_size(json_object_get(n, "servers")) == 0)
            r = cc_hz_ask(h, x, "DELETE", cc_arena_printf(x->arena, "/networks/%lld", (long long)cc_hz_id(n)), NULL,
                          NULL);
        r = r == CC_E_NOT_FOUND ? 0 : r;
    }
    cc_name_unlock_gone(h->dir, lock, fd);
    return r;
}
