/* settings.c - what the driver is told when it is opened, and its directory. */
#include "providers/hetzner/hetzner.h"

#include "host/sys/mem.h"
#include "providers/files.h"
#include "providers/ssh.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct number {
    const char *name;
    size_t at;
    uint32_t other, least, most;
};
#define N(field) offsetof(struct cc_hz, field)
static const struct number numbers[] = {
    { "ssh_port", N(ssh_port), 22, 1, 65535 },
    { "ssh_tries", N(ssh_tries), 30, 1, 1000 },
    { "ssh_every_ms", N(ssh_every_ms), 5000, 1, 60000 },
    { "poll_ms", N(poll_ms), 500, 1, 60000 },
    { "retry_ms", N(retry_ms), 1000, 1, 60000 },
    { "stop_grace_ms", N(grace_ms), 30000, 0, 600000 },
    { "tunnel_keep_ms", N(keep_ms), 120000, 1, 86400000 },
    { "volume_gib", N(volume_gib), 20, 10, 10240 },
};

static const char *const words[] = {
    "dir",    "token",       "endpoint",      "location",          "image",      "type",        "ssh",
    "shell",  "nixos.flake", "nixos.program", "requests_per_hour", "nixos.base", "nixos.kexec", "nixos.build_on",
    "install"
};

static bool known(const char *key)
{
    size_t i;

    for (i = 0; i < sizeof(words) / sizeof(*words); i++)
        if (strcmp(words[i], key) == 0)
            return true;
    for (i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
        if (strcmp(numbers[i].name, key) == 0)
            return true;
    return strncmp(key, "types.", 6) == 0;
}

static int number_setting(const struct cc_pairs *s, const char *name, uint32_t other, uint32_t least, uint32_t most,
                          uint32_t *out, struct cc_err *err)
{
    const char *text = cc_pairs_get(s, name, NULL);
    char *end;
    unsigned long n = text ? strtoul(text, &end, 10) : other;

    if (text && (*end || !isdigit((unsigned char)*text) || n < least || n > most))
        return cc_err_set(err, CC_E_INVALID, "%s: a number from %u to %u expected", name, least, most);
    *out = (uint32_t)n;
    return 0;
}

static void type_settings(struct cc_hz *h, const struct cc_pairs *s)
{
    struct cc_pair *v = cc_xcalloc(s->n + 1, sizeof(*v));
    size_t i;

    for (i = 0; i < s->n; i++)
        if (strncmp(s->v[i].key, "types.", 6) == 0)
            v[h->types.n++] = (struct cc_pair){ cc_xstrdup(s->v[i].key + 6), cc_xstrdup(s->v[i].value) };
    h->types.v = v;
}

/* In front of what OpenSSH reads of it as more than a path. */
static bool is_plain(const char *dir) { return !strpbrk(dir, " \t\"'%$~:\n"); }

static char *copy_of(const struct cc_pairs *s, const char *key, const char *other)
{
    const char *text = cc_pairs_get(s, key, other);

    return text ? cc_xstrdup(text) : NULL;
}

/* Words of a command line: none may look like an option of it. */
static int nixos_settings(struct cc_hz_nixos *n, const struct cc_pairs *s, struct cc_err *err)
{
    const char *flake = cc_pairs_get(s, "nixos.flake", NULL), *on = cc_pairs_get(s, "nixos.build_on", "auto");

    *n = (struct cc_hz_nixos){ .flake = copy_of(s, "nixos.flake", NULL),
                               .program = copy_of(s, "nixos.program", "nixos-anywhere"),
                               .base = copy_of(s, "nixos.base", "ubuntu-24.04"),
                               .kexec = copy_of(s, "nixos.kexec", NULL),
                               .build_on = copy_of(s, "nixos.build_on", "auto") };
    if (flake && (flake[0] == '-' || !strchr(flake, '#')))
        return cc_err_set(err, CC_E_INVALID, "nixos.flake: a flake and the name of a system in it, DIR#NAME, expected");
    if (strcmp(on, "auto") != 0 && strcmp(on, "local") != 0 && strcmp(on, "remote") != 0)
        return cc_err_set(err, CC_E_INVALID, "nixos.build_on: auto, local or remote expected");
    return 0;
}

static int bool_setting(const struct cc_pairs *s, const char *name, bool *out, struct cc_err *err)
{
    const char *text = cc_pairs_get(s, name, "false");

    *out = strcmp(text, "true") == 0;
    return *out || strcmp(text, "false") == 0 ? 0 : cc_err_set(err, CC_E_INVALID, "%s: true or false expected", name);
}

int cc_hz_settings(struct cc_hz *h, const struct cc_pairs *s, uint32_t *hour, struct cc_err *err)
{
    size_t i;
    int r = number_setting(s, "requests_per_hour", 3600, 60, 1000000, hour, err);

    for (i = 0; i < s->n; i++)
        if (!known(s->v[i].key))
            return cc_err_set(err, CC_E_INVALID, "hetzner has no setting %.60s", s->v[i].key);
    for (i = 0; r == 0 && i < sizeof(numbers) / sizeof(*numbers); i++)
        r = number_setting(s, numbers[i].name, numbers[i].other, numbers[i].least, numbers[i].most,
                           (uint32_t *)(void *)((char *)h + numbers[i].at), err);
    if (r == 0)
        r = bool_setting(s, "install", &h->install, err);
    if (r == 0)
        r = cc_dir_setting(cc_pairs_get(s, "dir", NULL), CC_SSH_DRIVER_DIR_MAX, CC_SSH_DIR_WHY, &h->dir, err);
    if (r == 0 && !is_plain(h->dir))
        r = cc_err_set(err, CC_E_INVALID,
                       "dir: no blanks, quotes, \"%%\", \"$\", \"~\" or \":\" expected, as ssh reads it: %s", h->dir);
    if (r == 0 && !*cc_pairs_get(s, "token", ""))
        r = cc_err_set(err, CC_E_INVALID, "hetzner needs a token of its API (HCLOUD_TOKEN)");
    h->location = cc_xstrdup(cc_pairs_get(s, "location", "fsn1"));
    h->image = cc_xstrdup(cc_pairs_get(s, "image", "ubuntu-24.04"));
    h->type = cc_xstrdup(cc_pairs_get(s, "type", "cpx11"));
    h->ssh = cc_xstrdup(cc_pairs_get(s, "ssh", "ssh"));
    h->shell = copy_of(s, "shell", NULL);
    type_settings(h, s);
    return r == 0 ? nixos_settings(&h->nixos, s, err) : r;
}

int cc_hz_make_dirs(const struct cc_hz *h, struct cc_err *err)
{
    static const char *const leaves[] = { "", "/machines", "/locks" };
    char path[CC_SSH_DRIVER_DIR_MAX + 16];
    size_t i;

    for (i = 0; i < sizeof(leaves) / sizeof(*leaves); i++) {
        snprintf(path, sizeof(path), "%s%s", h->dir, leaves[i]);
        if (mkdir(path, 0700) != 0 && errno != EEXIST)
            return cc_err_sys(err, errno, "making %s", path);
    }
    return 0;
}
