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

int cc_machine_save(const struct cc_local *l, struct cc_arena *a, const struct cc_machine *m, struct cc_err *err)
{
    json_t *doc =
        json_pack("{s:i, s:o, s:I, s:b, s:b, s:b, s:s*, s:s*, s:s*, s:I, s:s*, s:s*, s:s*}", "version", 1, "spec",
                  cc_spec_json(&m->spec), "uid_base", (json_int_t)m->uid_base, "own_volume", m->own_volume, "made",
                  m->made, "group_v2", m->group_v2, "memory", m->group[CC_CG_MEMORY], "pids", m->group[CC_CG_PIDS],
                  "cpu", m->group[CC_CG_CPU], "ssh_port", (json_int_t)m->ssh.port, "ssh_host_key", m->ssh.host_key,
                  "ssh_fingerprint", m->ssh.fingerprint, "ssh_why", m->ssh.why);
    char *text = doc ? json_dumps(doc, JSON_COMPACT | JSON_REAL_PRECISION(6)) : NULL;
    int r = text ? cc_write_whole(cc_machine_path(l, a, m->short_id, "machine.json"), text, strlen(text), err)
                 : cc_err_set(err, CC_E_INVALID, "the machine's description is not valid UTF-8");

    json_decref(doc);
    free(text);
    return r;
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
    cc_spec_read(a, json_object_get(doc, "spec"), &m.spec);
    m.uid_base = cc_doc_u32(doc, "uid_base");
    m.own_volume = json_is_true(json_object_get(doc, "own_volume"));
    m.made = json_is_true(json_object_get(doc, "made"));
    m.group_v2 = json_is_true(json_object_get(doc, "group_v2"));
    m.group[CC_CG_MEMORY] = cc_doc_text(a, doc, "memory");
    m.group[CC_CG_PIDS] = cc_doc_text(a, doc, "pids");
    m.group[CC_CG_CPU] = cc_doc_text(a, doc, "cpu");
    m.ssh.port = cc_doc_u32(doc, "ssh_port");
    m.ssh.host_key = cc_doc_text(a, doc, "ssh_host_key");
    m.ssh.fingerprint = cc_doc_text(a, doc, "ssh_fingerprint");
    m.ssh.why = cc_doc_text(a, doc, "ssh_why");
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
        out->began = strstr(text, "\nready\n") != NULL;
        out->ready = out->began && out->locked;
    }
}

bool cc_machine_made(const struct cc_machine *m, const struct cc_alive *alive) { return m->made || alive->began; }

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
    out->state = alive->ready                ? CC_M_RUNNING
                 : alive->locked             ? CC_M_STARTING
                 : cc_machine_made(m, alive) ? CC_M_STOPPED
                                             : CC_M_ERROR;
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
