/* user_data.c - what cloud-init is told: as little as can be, for it stays readable on the machine and at Hetzner.
 *
 * The key of the first contact, which is taken away once the machine has made
 * one of its own; the user; where the volumes stand.  All else comes over ssh.
 * The cloud-config is written as JSON, which is YAML.
 */
#include "providers/hetzner/hetzner.h"

#include "providers/user_data.h"

#include <stdlib.h>
#include <string.h>

static json_t *the_user(const struct cc_hz *h, const struct cc_hz_box *b)
{
    json_t *keys = json_array();
    size_t i;

    (void)h;
    for (i = 0; i < b->spec.ssh_keys.n; i++)
        json_array_append_new(keys, json_string(b->spec.ssh_keys.v[i]));
    return json_pack("{s:s, s:s, s:s, s:b, s:o}", "name", "claude", "shell", "/bin/bash", "sudo",
                     "ALL=(ALL) NOPASSWD:ALL", "lock_passwd", 1, "ssh_authorized_keys", keys);
}

static const char *device(struct cc_arena *a, const struct cc_hz_mount *m)
{
    return cc_arena_printf(a, "/dev/disk/by-id/scsi-0HC_Volume_%lld", (long long)m->id);
}

static json_t *the_mounts(struct cc_arena *a, const struct cc_hz_box *b)
{
    json_t *list = json_array();
    size_t i;

    for (i = 0; i < b->n_mounts && !b->installs; i++)
        json_array_append_new(list, json_pack("[s, s, s, s, s, s]", device(a, &b->mounts[i]), b->mounts[i].path, "ext4",
                                              "discard,nofail,defaults", "0", "0"));
    return list;
}

/* A name for people may be none for a host. */
static const char *hostname(const struct cc_hz_box *b)
{
    const char *n = b->spec.name;
    size_t len = n ? strlen(n) : 0;

    if (len == 0 || len > 63 || n[0] == '-' || n[len - 1] == '-' ||
        strspn(n, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") != len)
        return b->name;
    return n;
}

static const char *cloud_config(struct cc_hz *h, struct cc_provider_ctx *x, const struct cc_hz_box *b)
{
    const char *pub, *key = cc_hz_first_key(h, x->arena, b->short_id, true, &pub), *out;
    json_auto_t *doc = NULL;
    char *text;

    if (!key) {
        cc_err_set(x->err, CC_E_IO, "cannot keep a host key in %s", cc_hz_path(h, x->arena, b->short_id, ""));
        return NULL;
    }
    doc = json_pack("{s:s, s:s, s:b, s:b, s:b, s:[], s:{s:s, s:s}, s:[o], s:o}", "merge_how", CC_USER_DATA_MERGE,
                    "hostname", hostname(b), "disable_root", 0, "ssh_pwauth", 0, "ssh_deletekeys", 1, "ssh_genkeytypes",
                    "ssh_keys", "ecdsa_private", key, "ecdsa_public", pub, "users", the_user(h, b), "mounts",
                    the_mounts(x->arena, b));
    text = json_dumps(doc, JSON_COMPACT);
    out = cc_arena_printf(x->arena, "#cloud-config\n%s\n", text ? text : "{}");
    free(text);
    return out;
}

const char *cc_hz_user_data(struct cc_hz *h, struct cc_provider_ctx *x, const struct cc_hz_box *b)
{
    const char *text = cloud_config(h, x, b);

    if (text && b->spec.user_data && *b->spec.user_data && !b->installs) /* else it is for the system that comes */
        text = cc_user_data_join(x->arena, text, b->spec.user_data, x->err);
    if (text && strlen(text) > CC_USER_DATA_MAX) {
        cc_err_set(x->err, CC_E_INVALID, "user data of %zu bytes: Hetzner takes %d", strlen(text), CC_USER_DATA_MAX);
        return NULL;
    }
    return text;
}

const char *cc_hz_user_data_inside(struct cc_provider_ctx *x, const struct cc_hz_box *b)
{
    static const char nothing[] = "#cloud-config\n{}\n";

    if (!b->spec.user_data || !*b->spec.user_data)
        return nothing;
    return cc_user_data_join(x->arena, nothing, b->spec.user_data, x->err);
}
