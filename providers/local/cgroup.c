/* cgroup.c - where machines' limits are held: v2, or v1 in hybrid hosts.
 *
 * Groups are made below the one that the host itself is in, so a machine
 * never escapes a limit that was put on the host.  In v2 a group with
 * processes of its own may not hand controllers down: the host then moves
 * itself one level deeper ("cchost-host"), once.  Nothing here moves a
 * machine: its launcher enters (launch/main.c).
 */
#include "providers/local/local.h"

#include "host/sys/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { PERIOD_US = 100000, REMOVE_MS = 3000 };

static const char *const controllers[CC_CG_COUNT] = { "memory", "pids", "cpu" };

static int put(const char *dir, const char *leaf, const char *text)
{
    char path[512];
    int fd, r = 0;

    snprintf(path, sizeof(path), "%s/%s", dir, leaf);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return errno;
    if (write(fd, text, strlen(text)) < 0)
        r = errno;
    close(fd);
    return r;
}

/* True when word is one of the comma- or space-separated words of text. */
static bool has_word(const char *text, const char *word)
{
    size_t n = strlen(word);
    const char *at = text;

    while ((at = strstr(at, word))) {
        if ((at == text || at[-1] == ',' || at[-1] == ' ') && (at[n] == 0 || strchr(", \n", at[n])))
            return true;
        at += n;
    }
    return false;
}

/* Our own group in the hierarchy of that controller ("" for v2), as /proc/self/cgroup names it. */
static bool own_group(const char *controller, char *out, size_t size)
{
    FILE *f = fopen("/proc/self/cgroup", "re");
    char line[512];
    bool found = false;

    while (f && !found && fgets(line, sizeof(line), f)) {
        char *names = strchr(line, ':'), *path = names ? strchr(names + 1, ':') : NULL;

        if (!path)
            continue;
        *path++ = 0;
        path[strcspn(path, "\n")] = 0;
        if (*controller ? has_word(names + 1, controller) : names[1] == 0) {
            snprintf(out, size, "%s", strcmp(path, "/") == 0 ? "" : path);
            found = true;
        }
    }
    if (f)
        fclose(f);
    return found;
}

static bool mounted_at(const char *controller, char *out, size_t size)
{
    FILE *f = fopen("/proc/self/mounts", "re");
    char line[1024], at[256], type[32], options[512];
    bool found = false;

    while (f && !found && fgets(line, sizeof(line), f)) {
        if (sscanf(line, "%*s %255s %31s %511s", at, type, options) != 3)
            continue;
        if (*controller ? strcmp(type, "cgroup") == 0 && has_word(options, controller) : strcmp(type, "cgroup2") == 0) {
            snprintf(out, size, "%s", at);
            found = true;
        }
    }
    if (f)
        fclose(f);
    return found;
}

/* mount + own path; the mount alone where the path does not show (a container's view). */
static bool where(const char *controller, char *out, size_t size)
{
    char at[256], own[256], path[512];

    if (!mounted_at(controller, at, sizeof(at)) || !own_group(controller, own, sizeof(own)))
        return false;
    snprintf(path, sizeof(path), "%s%s", at, own);
    snprintf(out, size, "%.300s", path);
    if (access(out, F_OK) != 0)
        snprintf(out, size, "%s", at);
    return true;
}

static void use_v1(struct cc_cgroups *cg, int c)
{
    char at[320];

    cg->base[c][0] = 0;
    if (!where(controllers[c], at, sizeof(at))) {
        snprintf(cg->why[c], sizeof(cg->why[c]), "no %s control group on this host", controllers[c]);
        return;
    }
    snprintf(cg->base[c], sizeof(cg->base[c]), "%s/cchost", at);
    if ((mkdir(cg->base[c], 0755) != 0 && errno != EEXIST) || access(cg->base[c], W_OK) != 0) {
        snprintf(cg->why[c], sizeof(cg->why[c]), "may not make %s control groups: %s", controllers[c], strerror(errno));
        cg->base[c][0] = 0;
    }
}

static bool hands_down(const char *dir)
{
    char path[512], text[256] = "";
    int fd;
    ssize_t n = -1;

    snprintf(path, sizeof(path), "%s/cgroup.subtree_control", dir);
    if ((fd = open(path, O_RDONLY | O_CLOEXEC)) >= 0) {
        n = read(fd, text, sizeof(text) - 1);
        close(fd);
    }
    return n > 0 && has_word(text, "memory") && has_word(text, "pids") && has_word(text, "cpu");
}

static int hand_down(const char *dir)
{
    return hands_down(dir) ? 0 : put(dir, "cgroup.subtree_control", "+memory +pids +cpu");
}

/* True when v2 has our controllers, usable or not: v1 then has none of them. */
static bool use_v2(struct cc_cgroups *cg, const char *wish)
{
    char at[320], leaf[384], path[400], text[256] = "";
    int r = 0, fd, c;
    ssize_t n = 0;

    if (wish)
        snprintf(at, sizeof(at), "%s", wish);
    else if (!where("", at, sizeof(at)))
        return false;
    snprintf(path, sizeof(path), "%s/cgroup.controllers", at);
    if ((fd = open(path, O_RDONLY | O_CLOEXEC)) >= 0) {
        n = read(fd, text, sizeof(text) - 1);
        close(fd);
    }
    if (n <= 0 || !has_word(text, "memory"))
        return false;
    if ((r = hand_down(at)) == EBUSY) {
        snprintf(leaf, sizeof(leaf), "%s/cchost-host", at);
        mkdir(leaf, 0755);
        if ((r = put(leaf, "cgroup.procs", "0")) == 0)
            r = hand_down(at);
    }
    snprintf(path, sizeof(path), "%s/cchost", at);
    if (r == 0 && mkdir(path, 0755) != 0 && errno != EEXIST)
        r = errno;
    if (r == 0)
        r = hand_down(path);
    for (c = 0; c < CC_CG_COUNT; c++) {
        if (r == 0)
            memcpy(cg->base[c], path, sizeof(path));
        else
            snprintf(cg->why[c], sizeof(cg->why[c]), "control group v2 is not delegated to us: %s", strerror(r));
    }
    cg->v2 = true;
    return true;
}

void cc_cgroups_find(struct cc_cgroups *cg, const char *wish)
{
    int c;

    memset(cg, 0, sizeof(*cg));
    for (c = 0; c < CC_CG_COUNT && wish && strcmp(wish, "none") == 0; c++)
        snprintf(cg->why[c], sizeof(cg->why[c]), "control groups are switched off (cgroup = none)");
    if (c || use_v2(cg, wish))
        return;
    for (c = 0; c < CC_CG_COUNT; c++)
        use_v1(cg, c);
}

struct limit {
    const char *leaf;
    char text[64];
    bool optional; /* kernels without swap accounting have none */
};

/* What a controller is told of a machine: up to two files of its group. */
static int limits_of(const struct cc_local *l, const struct cc_machine_spec *s, bool v2, int c, struct limit out[2])
{
    long long bytes = (long long)s->memory_mib * 1024 * 1024, quota = (long long)(s->vcpu * PERIOD_US);

    memset(out, 0, 2 * sizeof(*out));
    if (c == CC_CG_MEMORY && bytes) {
        out[0].leaf = v2 ? "memory.max" : "memory.limit_in_bytes";
        out[1].leaf = v2 ? "memory.swap.max" : "memory.memsw.limit_in_bytes";
        out[1].optional = true;
        snprintf(out[0].text, sizeof(out[0].text), "%lld", bytes);
        snprintf(out[1].text, sizeof(out[1].text), "%lld", v2 ? 0 : bytes);
        return 2;
    }
    if (c == CC_CG_PIDS && l->pids) {
        out[0].leaf = "pids.max";
        snprintf(out[0].text, sizeof(out[0].text), "%u", l->pids);
        return 1;
    }
    if (c == CC_CG_CPU && quota) {
        out[0].leaf = v2 ? "cpu.max" : "cpu.cfs_quota_us";
        snprintf(out[0].text, sizeof(out[0].text), v2 ? "%lld %d" : "%lld", quota, PERIOD_US);
        return 1;
    }
    return 0;
}

static int limit(const char *dir, bool v2, int c, const struct cc_local *l, const struct cc_machine_spec *s)
{
    struct limit limits[2];
    int i, r = 0, one, n = limits_of(l, s, v2, c, limits);

    for (i = 0; i < n && r == 0; i++) {
        one = put(dir, limits[i].leaf, limits[i].text);
        r = limits[i].optional ? 0 : one;
    }
    return r;
}

void cc_cgroups_theirs(struct cc_cgroups *cg, bool given)
{
    int c;

    memset(cg, 0, sizeof(*cg));
    cg->v2 = true;
    for (c = 0; c < CC_CG_COUNT; c++)
        if (given)
            snprintf(cg->base[c], sizeof(cg->base[c]), "(the spawner's)");
        else
            snprintf(cg->why[c], sizeof(cg->why[c]), "no control group v2 is delegated to the spawner");
}

void cc_cgroups_words(const struct cc_local *l, struct cc_arena *a, const struct cc_machine_spec *s, const char **out)
{
    struct limit limits[2];
    int c, i, n, at = 0;

    for (c = 0; c < CC_CG_COUNT; c++)
        for (i = 0, n = limits_of(l, s, true, c, limits); i < n && at < CC_LIMITS; i++)
            out[at++] = cc_arena_printf(a, "%s=%s", limits[i].leaf, limits[i].text);
    out[at] = NULL;
}

int cc_cgroups_make(const struct cc_local *l, struct cc_arena *a, struct cc_machine *m, struct cc_err *err)
{
    const struct cc_cgroups *cg = &l->cg;
    int c, r;

    m->group_v2 = cg->v2;
    for (c = 0; c < CC_CG_COUNT; c++) {
        char *dir;

        m->group[c] = NULL;
        if (!cg->base[c][0] || l->spawner)
            continue;
        dir = cc_arena_printf(a, "%s/cc-%s", cg->base[c], m->short_id);
        if (mkdir(dir, 0755) != 0 && errno != EEXIST)
            return cc_err_sys(err, errno, "making control group %s", dir);
        m->group[c] = dir;
        if ((r = limit(dir, cg->v2, c, l, &m->spec)) != 0)
            return cc_err_sys(err, r, "limits of control group %s", dir);
    }
    return 0;
}

/* A group is busy for a moment after its last process died. */
void cc_cgroups_remove(const struct cc_machine *m)
{
    uint64_t until = cc_mono_ns() + REMOVE_MS * 1000000ull;
    struct timespec nap = { 0, 200000 };
    int c;

    for (c = 0; c < CC_CG_COUNT; c++)
        while (m->group[c] && rmdir(m->group[c]) != 0 && errno == EBUSY && cc_mono_ns() < until)
            nanosleep(&nap, NULL);
}
