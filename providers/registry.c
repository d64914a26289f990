/* registry.c - the drivers of this build, and what all of them check alike. */
#include "providers/provider.h"

#include "host/sys/secret.h"
#include "providers/drivers.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const struct cc_driver *const cc_drivers[] = { &cc_driver_docker, &cc_driver_hetzner, &cc_driver_libvirt,
                                               &cc_driver_local,  &cc_driver_mock,    NULL };

const struct cc_driver *cc_driver_find(const char *name)
{
    size_t i;

    for (i = 0; cc_drivers[i]; i++)
        if (strcmp(cc_drivers[i]->name, name) == 0)
            return cc_drivers[i];
    return NULL;
}

const char *cc_pairs_get(const struct cc_pairs *p, const char *key, const char *other)
{
    size_t i;

    for (i = 0; p && i < p->n; i++)
        if (strcmp(p->v[i].key, key) == 0)
            return p->v[i].value;
    return other;
}

bool cc_short_ok(const char *s) { return s && strlen(s) == 12 && strspn(s, "0123456789abcdef") == 12; }

bool cc_provider_id_ok(const char *s) { return s && strncmp(s, "cc-", 3) == 0 && cc_short_ok(s + 3); }

/* An absolute path without "." and "..", that may become a mount point. */
static bool path_ok(const char *s)
{
    const char *at;

    if (!s || s[0] != '/' || s[1] == 0 || strlen(s) > 255 || s[strlen(s) - 1] == '/')
        return false;
    for (at = s; at && *at; at = strchr(at + 1, '/'))
        if (at[1] == '/' || strncmp(at, "/./", 3) == 0 || strncmp(at, "/../", 4) == 0 || strcmp(at, "/..") == 0 ||
            strcmp(at, "/.") == 0)
            return false;
    return true;
}

bool cc_volume_id_ok(const char *s)
{
    return s && *s && strlen(s) <= 64 && s[0] != '.' &&
           strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == strlen(s);
}

bool cc_snapshot_name_ok(const char *s)
{
    return s && *s && strlen(s) <= 40 &&
           strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == strlen(s);
}

static int check_env(const struct cc_pairs *env, struct cc_err *err)
{
    size_t i;

    if (env->n > 100)
        return cc_err_set(err, CC_E_INVALID, "more than 100 environment variables");
    for (i = 0; i < env->n; i++)
        if (!env->v[i].key || !*env->v[i].key || strchr(env->v[i].key, '=') || !env->v[i].value ||
            strlen(env->v[i].key) + strlen(env->v[i].value) > 32000)
            return cc_err_set(err, CC_E_INVALID, "environment variable %zu is not one", i + 1);
    return 0;
}

/* One line each, in a file of such lines: a control character would be another key, or an option. */
static int check_keys(const struct cc_strs *keys, struct cc_err *err)
{
    const unsigned char *c;
    size_t i;

    if (keys->n > CC_SSH_KEYS_MAX)
        return cc_err_set(err, CC_E_INVALID, "more than %d ssh keys", CC_SSH_KEYS_MAX);
    for (i = 0; i < keys->n; i++) {
        for (c = (const unsigned char *)keys->v[i]; *c >= ' ' && *c != 127; c++) {
        }
        if (*c || strncmp(keys->v[i], "ssh-", 4) != 0 || strlen(keys->v[i]) > 16384)
            return cc_err_set(err, CC_E_INVALID, "ssh key %zu is not one", i + 1);
    }
    return 0;
}

int cc_machine_spec_check(const struct cc_machine_spec *s, struct cc_err *err)
{
    size_t i;

    if (!s || !cc_short_ok(s->short_id))
        return cc_err_set(err, CC_E_INVALID, "short must be 12 hex digits");
    if (!s->id || strlen(s->id) > 64)
        return cc_err_set(err, CC_E_INVALID, "id is missing");
    if (s->vcpu < 0 || s->vcpu > 1024 || s->memory_mib > 64u * 1024 * 1024)
        return cc_err_set(err, CC_E_INVALID, "vcpu or memory out of range");
    if (s->agent_key && !cc_secret_key_ok(s->agent_key))
        return cc_err_set(err, CC_E_INVALID, "agent_key must be 64 hex digits");
    if (s->n_volumes > CC_MOUNTS_MAX || s->cmd.n > 100)
        return cc_err_set(err, CC_E_INVALID, "at most %d volumes and 100 words of cmd", CC_MOUNTS_MAX);
    if (s->n_ports > CC_PORTS_MAX || (s->user_data && strlen(s->user_data) > CC_USER_DATA_MAX))
        return cc_err_set(err, CC_E_INVALID, "at most %d ports and %d bytes of user data", CC_PORTS_MAX,
                          CC_USER_DATA_MAX);
    if (s->network == CC_NET_VPC && (!s->address || !s->vpc.bridge || !s->vpc.mac || !s->vpc.gateway))
        return cc_err_set(err, CC_E_INVALID, "its place in its owner's network is missing");
    for (i = 0; i < s->n_ports; i++)
        if (s->ports[i].port == 0)
            return cc_err_set(err, CC_E_INVALID, "port %zu is 0", i + 1);
    for (i = 0; i < s->n_volumes; i++)
        if (cc_mount_spec_check(&s->volumes[i], err) != 0)
            return CC_E_INVALID;
    return check_keys(&s->ssh_keys, err) ? CC_E_INVALID : check_env(&s->env, err);
}

int cc_mount_spec_check(const struct cc_mount_spec *volume, struct cc_err *err)
{
    if (!volume || !cc_volume_id_ok(volume->id))
        return cc_err_set(err, CC_E_INVALID, "that is no id for a volume");
    if (!path_ok(volume->path))
        return cc_err_set(err, CC_E_INVALID, "volume %s: path must be absolute and plain", volume->id);
    return 0;
}

int cc_mounts_check(const struct cc_mount_spec *v, size_t n, size_t most, const struct cc_mount_spec *volume,
                    struct cc_err *err)
{
    size_t i;

    for (i = 0; i < n; i++) {
        bool same_id = strcmp(v[i].id, volume->id) == 0, same_path = strcmp(v[i].path, volume->path) == 0;

        if (same_id && same_path)
            return 1;
        if (same_id)
            return cc_err_set(err, CC_E_CONFLICT, "volume %s is attached at %s already", v[i].id, v[i].path);
        if (same_path)
            return cc_err_set(err, CC_E_CONFLICT, "volume %s stands at %s already", v[i].id, v[i].path);
    }
    return n < most ? 0 : cc_err_set(err, CC_E_LIMIT, "the machine has %zu volumes already", n);
}

const char *cc_machine_state_word(enum cc_machine_state s)
{
    static const char *const words[] = { "starting", "running", "stopped", "error", "gone", "suspended" };

    return (unsigned)s < sizeof(words) / sizeof(*words) ? words[s] : "error";
}

static const char *const networks[] = { "nat", "none", "host", "vpc" };

const char *cc_network_word(enum cc_network n) { return (unsigned)n < 4 ? networks[n] : "none"; }

int cc_network_parse(const char *s)
{
    int i;

    for (i = 0; i < 4; i++)
        if (strcmp(networks[i], s) == 0)
            return i;
    return -1;
}

void cc_check_say(struct cc_check_list *l, struct cc_arena *a, const char *what, enum cc_check_state state,
                  const char *fmt, ...)
{
    char text[600];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (l->n < CC_CHECKS_MAX)
        l->v[l->n++] = (struct cc_check){ cc_arena_strdup(a, what), state, cc_arena_strdup(a, text) };
}
