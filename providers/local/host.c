/* host.c - settings of `local`, what it puts on disk at open, and what this host can give.
 *
 * The programs that the binary carries are written once, under a name made
 * from their content, so an older host's machines keep theirs.
 */
#include "providers/local/local.h"

#include "host/sys/mem.h"
#include "providers/local/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int split(struct cc_list *out, const char *key, const char *text, struct cc_err *err)
{
    const char *at = text;

    while (*at) {
        size_t n = strcspn(at, ", ");

        if (n > 0) {
            if (out->n == CC_LOCAL_MANY)
                return cc_err_set(err, CC_E_INVALID, "%s: more than %d entries", key, CC_LOCAL_MANY);
            out->v[out->n++] = cc_xstrndup(at, n);
        }
        at += n + (at[n] != 0);
    }
    return 0;
}

static int number(const struct cc_pairs *p, const char *key, unsigned long other, unsigned long most,
                  unsigned long *out, struct cc_err *err)
{
    const char *text = cc_pairs_get(p, key, NULL);
    char *end;

    *out = other;
    if (!text)
        return 0;
    errno = 0;
    *out = strtoul(text, &end, 10);
    if (errno || *end || end == text || *text == '-' || *out > most)
        return cc_err_set(err, CC_E_INVALID, "provider local: %s must be a number up to %lu, not \"%s\"", key, most,
                          text);
    return 0;
}

static bool executable(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

static char *find_pasta(const char *wish)
{
    static const char *const places[] = { "/usr/bin/pasta", "/usr/local/bin/pasta", "/bin/pasta",
                                          "/run/current-system/sw/bin/pasta" };
    size_t i;

    if (wish)
        return cc_xstrdup(wish);
    for (i = 0; i < sizeof(places) / sizeof(*places); i++)
        if (executable(places[i]))
            return cc_xstrdup(places[i]);
    return NULL;
}

static int known(const struct cc_pairs *p, struct cc_err *err)
{
    static const char *const keys[] = { "dir",    "share",      "share_more", "hide",      "block",
                                        "pasta",  "dns",        "uid_base",   "uid_slots", "stop_grace_ms",
                                        "pids",   "memory_mib", "disk_gib",   "vcpu",      "cgroup",
                                        "nested", "shell",      "sshd",       "ssh_ports", "spawner" };
    size_t i, k;

    for (i = 0; i < p->n; i++) {
        for (k = 0; k < sizeof(keys) / sizeof(*keys); k++)
            if (strcmp(p->v[i].key, keys[k]) == 0)
                break;
        if (k == sizeof(keys) / sizeof(*keys))
            return cc_err_set(err, CC_E_INVALID, "provider local: unknown setting \"%s\"", p->v[i].key);
    }
    return 0;
}

/* "FIRST-LAST". Not from those that the kernel gives to outgoing connections, which come and go. */
static int port_range(struct cc_local *l, const char *text, struct cc_err *err)
{
    unsigned first = 0, last = 0;
    int end = 0;

    if (sscanf(text, "%5u-%5u%n", &first, &last, &end) != 2 || text[end] || first < 1024 || last > 65535 ||
        first > last)
        return cc_err_set(err, CC_E_INVALID,
                          "provider local: ssh_ports must be FIRST-LAST within 1024-65535, not \"%s\"", text);
    l->ssh_first = first;
    l->ssh_last = last;
    return 0;
}

int cc_local_settings(struct cc_local *l, const struct cc_pairs *p, struct cc_err *err)
{
    unsigned long grace, pids, memory, disk, vcpu;
    int r = known(p, err);

    if (r == 0)
        r = cc_dir_setting(cc_pairs_get(p, "dir", NULL), 107 - strlen("/machines/0123456789ab/agent.sock"),
                           "sockets of agents are below it, whose paths have at most 107", &l->dir, err);
    if (r == 0)
        r = split(&l->share, "share",
                  cc_pairs_get(p, "share", "/usr /bin /sbin /lib /lib32 /lib64 /libx32 /etc /nix/store"), err);
    if (r == 0)
        r = split(&l->share, "share_more", cc_pairs_get(p, "share_more", ""), err);
    if (r == 0)
        r = split(&l->hide, "hide",
                  cc_pairs_get(p, "hide", "/etc/shadow /etc/shadow- /etc/gshadow /etc/gshadow- /etc/cchost"), err);
    if (r == 0) /* the metadata services of clouds, which give away the host's credentials */
        r = split(&l->block, "block", cc_pairs_get(p, "block", "169.254.169.254/32 fd00:ec2::254/128"), err);
    if (r == 0)
        r = number(p, "uid_base", 0x70000000ul, 0xfff00000ul, &l->uid_base, err);
    if (r == 0)
        r = number(p, "uid_slots", 4000, 30000, &l->slots, err);
    if (r == 0)
        r = number(p, "stop_grace_ms", 5000, 600000, &grace, err);
    if (r == 0)
        r = number(p, "pids", 4096, 4000000, &pids, err);
    if (r == 0)
        r = number(p, "memory_mib", 2048, 64ul * 1024 * 1024, &memory, err);
    if (r == 0)
        r = number(p, "disk_gib", 10, 1000000, &disk, err);
    if (r == 0)
        r = number(p, "vcpu", 1, 1024, &vcpu, err);
    if (r == 0)
        r = port_range(l, cc_pairs_get(p, "ssh_ports", "20000-29999"), err);
    if (r != 0)
        return r;
    if (l->slots == 0 || l->uid_base < 65536 || l->uid_base + l->slots * CC_SLOT_UIDS > 0xffff0000ul)
        return cc_err_set(err, CC_E_INVALID, "provider local: uid_base and uid_slots do not fit");
    l->stop_grace_ms = (uint32_t)grace;
    l->pids = (uint32_t)pids;
    l->memory_mib = (uint32_t)memory;
    l->disk_gib = (uint32_t)disk;
    l->vcpu = (double)vcpu;
    l->root = geteuid() == 0;
    if (cc_pairs_get(p, "shell", NULL))
        l->shell = cc_xstrdup(cc_pairs_get(p, "shell", NULL));
    if (cc_pairs_get(p, "sshd", NULL))
        l->sshd = cc_xstrdup(cc_pairs_get(p, "sshd", NULL));
    l->pasta = find_pasta(cc_pairs_get(p, "pasta", NULL));
    l->dns = cc_xstrdup(cc_pairs_get(p, "dns", "169.254.0.53"));
    if (cc_pairs_get(p, "spawner", NULL))
        l->spawner = cc_xstrdup(cc_pairs_get(p, "spawner", NULL));
    else
        cc_cgroups_find(&l->cg, cc_pairs_get(p, "cgroup", NULL));
    return 0;
}

static int make_filter(struct cc_local *l, bool nested, struct cc_err *err)
{
    char text[200], *tmp;
    const char *argv[] = { l->launch, "filter", NULL, nested ? "nested" : NULL, NULL };
    int r = 0;

    l->filter = cc_xasprintf("%s.%sfilter", l->launch, nested ? "nested-" : "");
    if (access(l->filter, R_OK) == 0)
        return 0;
    argv[2] = tmp = cc_xasprintf("%s.%d", l->filter, getpid());
    if (cc_local_run(NULL, argv, text, sizeof(text)) != 0)
        r = cc_err_set(err, CC_E_IO, "making the seccomp program: %s", text);
    else if (rename(tmp, l->filter) != 0)
        r = cc_err_sys(err, errno, "writing %s", l->filter);
    free(tmp);
    return r;
}

static int make_dirs(const struct cc_local *l, struct cc_err *err)
{
    static const char *const names[] = { "",       "/machines", "/volumes", "/images", "/slots",
                                         "/ports", "/locks",    "/bin",     "/trash" };
    char path[512];
    size_t i;

    for (i = 0; i < sizeof(names) / sizeof(*names); i++) {
        snprintf(path, sizeof(path), "%s%s", l->dir, names[i]);
        if (mkdir(path, 0700) != 0 && errno != EEXIST)
            return cc_err_sys(err, errno, "making %s", path);
    }
    return 0;
}

int cc_local_install(struct cc_local *l, bool nested, struct cc_err *err)
{
    char *bin = cc_xasprintf("%s/bin", l->dir);
    int r = make_dirs(l, err);

    if (r == 0)
        r = cc_carried_install(bin, "cchost-agent", &l->agent, err);
    if (r == 0)
        r = cc_carried_install(bin, "cchost-launch", &l->launch, err);
    free(bin);
    return r == 0 ? make_filter(l, nested, err) : r;
}

static void first_line(char *text) { text[strcspn(text, "\n")] = 0; }

/* What a spawner says of its side. -> errno of /dev/net/tun */
static int ask_spawner(struct cc_local *l)
{
    struct cc_spawn s;
    struct cc_err err = { 0 };
    int r = cc_spawn_open(l->spawner, &s, &err);

    cc_cgroups_theirs(&l->cg, r == 0 && s.group[0]);
    cc_spawn_drop(&s);
    return r == 0 ? s.tun : ECONNREFUSED;
}

static int open_tun(bool root)
{
    struct stat st;

    if (stat("/dev/net/tun", &st) != 0 || (!root && access("/dev/net/tun", R_OK | W_OK) != 0))
        return errno;
    return 0;
}

void cc_local_probe(struct cc_local *l)
{
    const char *argv[] = { l->launch, "probe", NULL };
    int tun = l->spawner ? ask_spawner(l) : open_tun(l->root);

    if (cc_local_run(l->spawner, argv, l->no_machines, sizeof(l->no_machines)) == 0)
        l->no_machines[0] = 0;
    else
        first_line(l->no_machines);
    if (!l->pasta)
        snprintf(l->no_nat, sizeof(l->no_nat), "pasta (package passt) is not installed");
    else if (!executable(l->pasta))
        snprintf(l->no_nat, sizeof(l->no_nat), "%.150s is not a program", l->pasta);
    else if (tun)
        snprintf(l->no_nat, sizeof(l->no_nat), "/dev/net/tun: %s", strerror(tun));
}
