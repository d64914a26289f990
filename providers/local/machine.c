/* machine.c - what is on disk about a machine, and whether it lives.
 *
 * Its pid 1 holds a lock on `lock` (an open-file-description lock, which can
 * be asked about without being taken), so a pid that the kernel gave to
 * somebody else is never mistaken for a machine.
 */
#include "providers/local/local.h"

#include "host/sys/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { JSON_MAX = 4 * 1024 * 1024 };

const char *cc_machine_path(const struct cc_local *l, struct cc_arena *a, const char *short_id, const char *leaf)
{
    return cc_arena_printf(a, "%s/machines/%s%s%s", l->dir, short_id, *leaf ? "/" : "", leaf);
}

/* ---------------------------------------------------------------- machine.json */

static json_t *pairs_json(const struct cc_pairs *p)
{
    json_t *list = json_array();
    size_t i;

    for (i = 0; i < p->n; i++)
        json_array_append_new(list, json_pack("[s, s]", p->v[i].key, p->v[i].value));
    return list;
}

static json_t *spec_json(const struct cc_machine_spec *s)
{
    json_t *cmd = json_array(), *volumes = json_array(), *keys = json_array();
    size_t i;

    for (i = 0; i < s->ssh_keys.n; i++)
        json_array_append_new(keys, json_string(s->ssh_keys.v[i]));

    for (i = 0; i < s->cmd.n; i++)
        json_array_append_new(cmd, json_string(s->cmd.v[i]));
    for (i = 0; i < s->n_volumes; i++)
        json_array_append_new(volumes, json_pack("[s, s]", s->volumes[i].id, s->volumes[i].path));
    return json_pack("{s:s, s:s, s:s, s:s, s:f, s:I, s:I, s:s, s:s*, s:o, s:o, s:o, s:o, s:o}", "id", s->id, "short",
                     s->short_id, "name", s->name ? s->name : "", "image", s->image, "vcpu", s->vcpu, "memory_mib",
                     (json_int_t)s->memory_mib, "disk_gib", (json_int_t)s->disk_gib, "network",
                     cc_network_word(s->network), "shell", s->shell, "env", pairs_json(&s->env), "labels",
                     pairs_json(&s->labels), "cmd", cmd, "volumes", volumes, "ssh_keys", keys);
}

int cc_machine_save(const struct cc_local *l, struct cc_arena *a, const struct cc_machine *m, struct cc_err *err)
{
    json_t *doc = json_pack("{s:i, s:o, s:I, s:b, s:b, s:s*, s:s*, s:s*, s:I, s:s*, s:s*, s:s*}", "version", 1, "spec",
                            spec_json(&m->spec), "uid_base", (json_int_t)m->uid_base, "own_volume", m->own_volume,
                            "group_v2", m->group_v2, "memory", m->group[CC_CG_MEMORY], "pids", m->group[CC_CG_PIDS],
                            "cpu", m->group[CC_CG_CPU], "ssh_port", (json_int_t)m->ssh.port, "ssh_host_key",
                            m->ssh.host_key, "ssh_fingerprint", m->ssh.fingerprint, "ssh_why", m->ssh.why);
    char *text = doc ? json_dumps(doc, JSON_COMPACT | JSON_REAL_PRECISION(6)) : NULL;
    int r = text ? cc_write_whole(cc_machine_path(l, a, m->short_id, "machine.json"), text, strlen(text), err)
                 : cc_err_set(err, CC_E_INVALID, "the machine's description is not valid UTF-8");

    json_decref(doc);
    free(text);
    return r;
}

static const char *text_of(struct cc_arena *a, const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));

    return s ? cc_arena_strdup(a, s) : NULL;
}

static uint32_t number_of(const json_t *o, const char *key)
{
    json_int_t n = json_integer_value(json_object_get(o, key));

    return n > 0 && n <= UINT32_MAX ? (uint32_t)n : 0;
}

static const char *item(struct cc_arena *a, const json_t *list, size_t i)
{
    const char *s = json_string_value(json_array_get(list, i));

    return cc_arena_strdup(a, s ? s : "");
}

static struct cc_pairs pairs_of(struct cc_arena *a, const json_t *list)
{
    struct cc_pairs p = { NULL, json_array_size(list) };
    struct cc_pair *v = cc_arena_alloc(a, p.n * sizeof(*v) + 1);
    size_t i;

    for (i = 0; i < p.n; i++)
        v[i] = (struct cc_pair){ item(a, json_array_get(list, i), 0), item(a, json_array_get(list, i), 1) };
    p.v = v;
    return p;
}

static struct cc_strs strs_of(struct cc_arena *a, const json_t *list)
{
    size_t i, n = json_array_size(list);
    const char **v = cc_arena_alloc(a, (n + 1) * sizeof(*v));

    for (i = 0; i < n; i++)
        v[i] = item(a, list, i);
    return (struct cc_strs){ v, n };
}

static void spec_of(struct cc_arena *a, const json_t *o, struct cc_machine_spec *s)
{
    const json_t *cmd = json_object_get(o, "cmd"), *volumes = json_object_get(o, "volumes");
    const char *network = json_string_value(json_object_get(o, "network"));
    struct cc_mount_spec *mounts = cc_arena_alloc(a, (json_array_size(volumes) + 1) * sizeof(*mounts));
    int net = network ? cc_network_parse(network) : -1;
    size_t i;

    s->id = text_of(a, o, "id");
    s->short_id = text_of(a, o, "short");
    s->name = text_of(a, o, "name");
    s->image = text_of(a, o, "image");
    s->shell = text_of(a, o, "shell");
    s->vcpu = json_number_value(json_object_get(o, "vcpu"));
    s->memory_mib = number_of(o, "memory_mib");
    s->disk_gib = number_of(o, "disk_gib");
    s->network = net < 0 ? CC_NET_NONE : (enum cc_network)net;
    s->env = pairs_of(a, json_object_get(o, "env"));
    s->labels = pairs_of(a, json_object_get(o, "labels"));
    s->cmd = strs_of(a, cmd);
    s->ssh_keys = strs_of(a, json_object_get(o, "ssh_keys"));
    for (i = 0; i < json_array_size(volumes); i++)
        mounts[i] =
            (struct cc_mount_spec){ item(a, json_array_get(volumes, i), 0), item(a, json_array_get(volumes, i), 1) };
    s->volumes = mounts;
    s->n_volumes = json_array_size(volumes);
}

int cc_machine_load(const struct cc_local *l, struct cc_arena *a, const char *short_id, struct cc_machine *out,
                    struct cc_err *err)
{
    size_t n;
    char *text = cc_read_whole(a, cc_machine_path(l, a, short_id, "machine.json"), JSON_MAX, &n);
    struct cc_machine m = { 0 };
    json_t *doc;

    if (!text)
        return errno == ENOENT ? cc_err_set(err, CC_E_NOT_FOUND, "no machine cc-%s", short_id)
                               : cc_err_sys(err, errno, "reading the description of cc-%s", short_id);
    if (!(doc = json_loadb(text, n, JSON_REJECT_DUPLICATES, NULL)))
        return cc_err_set(err, CC_E_CORRUPT, "the description of cc-%s is damaged", short_id);
    spec_of(a, json_object_get(doc, "spec"), &m.spec);
    m.uid_base = number_of(doc, "uid_base");
    m.own_volume = json_is_true(json_object_get(doc, "own_volume"));
    m.group_v2 = json_is_true(json_object_get(doc, "group_v2"));
    m.group[CC_CG_MEMORY] = text_of(a, doc, "memory");
    m.group[CC_CG_PIDS] = text_of(a, doc, "pids");
    m.group[CC_CG_CPU] = text_of(a, doc, "cpu");
    m.ssh.port = number_of(doc, "ssh_port");
    m.ssh.host_key = text_of(a, doc, "ssh_host_key");
    m.ssh.fingerprint = text_of(a, doc, "ssh_fingerprint");
    m.ssh.why = text_of(a, doc, "ssh_why");
    m.short_id = m.spec.short_id;
    json_decref(doc);
    if (!cc_short_ok(m.short_id) || strcmp(m.short_id, short_id) != 0 || !m.spec.image || !m.spec.id)
        return cc_err_set(err, CC_E_CORRUPT, "the description of cc-%s is damaged", short_id);
    *out = m;
    return 0;
}

/* ---------------------------------------------------------------- does it live */

void cc_machine_alive(const struct cc_local *l, const char *short_id, struct cc_alive *out)
{
    struct flock held = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    char path[512], text[128];
    long long ticks = 0, started = 0;
    ssize_t n;
    int fd, pid = 0;

    memset(out, 0, sizeof(*out));
    snprintf(path, sizeof(path), "%s/machines/%s/lock", l->dir, short_id);
    if ((fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)) < 0)
        return;
    if (fcntl(fd, F_OFD_GETLK, &held) == 0)
        out->locked = held.l_type != F_UNLCK;
    n = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[n > 0 ? n : 0] = 0;
    if (sscanf(text, "%d %lld %lld", &pid, &ticks, &started) == 3) {
        out->pid = pid;
        out->ticks = ticks;
        out->started_at = started;
        out->made = strstr(text, "\nready\n") != NULL;
        out->ready = out->made && out->locked;
    }
}

static void add_unenforced(struct cc_arena *a, struct cc_machine_info *out, const char *what, const char *why)
{
    struct cc_unenforced *list = (struct cc_unenforced *)out->unenforced;

    if (!list)
        out->unenforced = list = cc_arena_alloc(a, 8 * sizeof(*list));
    list[out->n_unenforced++] = (struct cc_unenforced){ what, cc_arena_strdup(a, why) };
}

static const char *why_not(const struct cc_local *l, int c)
{
    return l->cg.why[c][0] ? l->cg.why[c] : "it was not possible when the machine last started";
}

void cc_machine_info(const struct cc_local *l, struct cc_arena *a, const struct cc_machine *m,
                     const struct cc_alive *alive, struct cc_machine_info *out)
{
    const struct cc_machine_spec *s = &m->spec;

    memset(out, 0, sizeof(*out));
    out->provider_id = cc_arena_printf(a, "cc-%s", m->short_id);
    out->id = s->id;
    out->name = s->name;
    out->image = s->image;
    out->socket = cc_machine_path(l, a, m->short_id, "agent.sock");
    out->state = alive->ready ? CC_M_RUNNING : alive->locked ? CC_M_STARTING : alive->made ? CC_M_STOPPED : CC_M_ERROR;
    if (out->state == CC_M_ERROR)
        out->reason = "it was never completely made";
    out->started_at = alive->locked ? alive->started_at : 0;
    if (s->ssh_keys.n && m->ssh.why) {
        out->ssh.why = m->ssh.why;
        add_unenforced(a, out, "ssh", m->ssh.why);
    } else if (s->ssh_keys.n && m->ssh.host_key) {
        out->ssh = (struct cc_ssh){ .host = "127.0.0.1",
                                    .port = m->ssh.port,
                                    .user = "claude",
                                    .host_key = m->ssh.host_key,
                                    .fingerprint = m->ssh.fingerprint };
    }
    if (m->group[CC_CG_MEMORY])
        out->memory_mib = s->memory_mib;
    else if (s->memory_mib)
        add_unenforced(a, out, "memory_mib", why_not(l, CC_CG_MEMORY));
    if (m->group[CC_CG_CPU])
        out->vcpu = s->vcpu;
    else if (s->vcpu > 0)
        add_unenforced(a, out, "vcpu", why_not(l, CC_CG_CPU));
    if (m->group[CC_CG_PIDS])
        out->pids = l->pids;
    else if (l->pids)
        add_unenforced(a, out, "pids", why_not(l, CC_CG_PIDS));
    if (s->disk_gib)
        add_unenforced(a, out, "disk_gib", "no quota on the data directory's file system: disk use is not limited");
}

/* ---------------------------------------------------------------- uid ranges */

/* Where to look first, so that 100 machines do not all try the same ones. */
static unsigned long first_slot(const struct cc_local *l, const char *short_id)
{
    return strtoul(short_id + 4, NULL, 16) % l->slots;
}

int cc_local_slot(const struct cc_local *l, const char *short_id, unsigned long *uid_base, struct cc_err *err)
{
    unsigned long i, n = first_slot(l, short_id);
    char path[512], who[32];
    ssize_t got;

    for (i = 0; i < l->slots; i++, n = (n + 1) % l->slots) {
        snprintf(path, sizeof(path), "%s/slots/%lu", l->dir, n);
        if (symlink(short_id, path) == 0)
            break;
        if (errno != EEXIST)
            return cc_err_sys(err, errno, "%s", path);
        got = readlink(path, who, sizeof(who) - 1);
        who[got > 0 ? got : 0] = 0;
        if (strcmp(who, short_id) == 0)
            break;
    }
    if (i == l->slots)
        return cc_err_set(err, CC_E_LIMIT, "all %lu ranges of user ids are in use", l->slots);
    *uid_base = l->uid_base + n * CC_SLOT_UIDS;
    return 0;
}

void cc_local_slot_free(const struct cc_local *l, const char *short_id)
{
    unsigned long i, n = first_slot(l, short_id);
    char path[512], who[32];
    ssize_t got;

    for (i = 0; i < l->slots; i++, n = (n + 1) % l->slots) {
        snprintf(path, sizeof(path), "%s/slots/%lu", l->dir, n);
        if ((got = readlink(path, who, sizeof(who) - 1)) < 0)
            return; /* behind a hole: sweep takes it at the next open */
        who[got] = 0;
        if (strcmp(who, short_id) == 0) {
            unlink(path);
            return;
        }
    }
}
