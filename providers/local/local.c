/* local.c - machines on this very host: process trees in namespaces of their own.
 *
 * What a machine is lies in its directory (local.h), what it does is its pid
 * 1's lock, and nothing is kept in our memory: so a host that was killed finds
 * its machines again by looking.  A machine of which no start ever came to its
 * end (cc_machine_made) is completed by a repeated create and removed by
 * destroy.
 */
#include "providers/drivers.h"
#include "providers/local/local.h"

#include "host/observe/log.h"
#include "host/sys/mem.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OWN_VOLUME_AT "/claude-data"

/* ---------------------------------------------------------------- open and close */

static void free_list(struct cc_list *list)
{
    while (list->n > 0)
        free(list->v[--list->n]);
}

static void l_close(void *self)
{
    struct cc_local *l = self;

    free_list(&l->share);
    free_list(&l->hide);
    free_list(&l->block);
    if (l->dir_fd >= 0)
        close(l->dir_fd);
    free(l->dir);
    free(l->launch);
    free(l->agent);
    free(l->filter);
    free(l->pasta);
    free(l->dns);
    free(l->spawner);
    free(l->sshd);
    free(l->shell);
    free(l);
}

static void miss(struct cc_local *l, const char *what, const char *why)
{
    l->missing[l->caps.n_missing++] = (struct cc_unenforced){ what, why };
    cc_log(CC_LOG_WARN, "local", "this host cannot give %s: %s", what, why);
}

static void capabilities(struct cc_local *l)
{
    const struct cc_cgroups *cg = &l->cg;
    bool machines = l->no_machines[0] == 0;

    l->caps = (struct cc_capabilities){
        .driver = "local",
        .exec = true,
        .activity = true,
        .volumes = true,
        .snapshots = true,
        .stop_keeps_disk = true,
        .net_nat = machines && !l->no_nat[0],
        .net_none = machines,
        .net_host = machines,
        .limit_memory = cg->base[CC_CG_MEMORY][0] != 0,
        .limit_pids = cg->base[CC_CG_PIDS][0] != 0,
        .limit_vcpu = cg->base[CC_CG_CPU][0] != 0,
        .default_image = "host",
        .log_file = "/home/claude/.cmd.log",
        .missing = l->missing,
    };
    if (!machines)
        miss(l, "machines", l->no_machines);
    if (l->no_nat[0])
        miss(l, "network nat", l->no_nat);
    if (!l->caps.limit_memory)
        miss(l, "memory limits", cg->why[CC_CG_MEMORY]);
    if (!l->caps.limit_vcpu)
        miss(l, "cpu limits", cg->why[CC_CG_CPU]);
    if (!l->caps.limit_pids)
        miss(l, "process limits", cg->why[CC_CG_PIDS]);
    miss(l, "disk limits", "no quota on the data directory's file system");
}

/* Links to machines that are no more. */
static void sweep_links(const struct cc_local *l, const char *which)
{
    char path[512], owner[512], who[32];
    struct dirent *e;
    ssize_t n;
    DIR *d;

    snprintf(path, sizeof(path), "%s/%s", l->dir, which);
    for (d = opendir(path); d && (e = readdir(d));) {
        if (e->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "%s/%s/%s", l->dir, which, e->d_name);
        n = readlink(path, who, sizeof(who) - 1);
        who[n > 0 ? n : 0] = 0;
        snprintf(owner, sizeof(owner), "%s/machines/%s", l->dir, who);
        if (n > 0 && access(owner, F_OK) != 0)
            unlink(path);
    }
    if (d)
        closedir(d);
}

/* What a killed host left half-deleted, or half-copied. */
static void sweep(void *arg)
{
    const struct cc_local *l = arg;
    char path[512];
    struct dirent *e;
    DIR *d;
    int r;

    snprintf(path, sizeof(path), "%s/trash", l->dir);
    for (d = opendir(path); d && (e = readdir(d));) {
        if (e->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "%s/trash/%s", l->dir, e->d_name);
        if ((r = cc_remove_tree(path)) != 0)
            cc_log(CC_LOG_WARN, "local", "%s stays: %s", path, strerror(r));
    }
    if (d)
        closedir(d);
    sweep_links(l, "slots");
    sweep_links(l, "ports");
}

static int l_open(const struct cc_pairs *settings, void **self, struct cc_err *err)
{
    struct cc_local *l = cc_xcalloc(1, sizeof(*l));
    bool nested = strcmp(cc_pairs_get(settings, "nested", "off"), "on") == 0;
    int r = cc_local_settings(l, settings, err);

    l->dir_fd = -1;
    if (r == 0)
        r = cc_local_install(l, nested, err);
    if (r == 0 && (l->dir_fd = cc_dir_share(l->dir, sweep, l, err)) < 0)
        r = l->dir_fd;
    if (r != 0) {
        l_close(l);
        return r;
    }
    cc_local_probe(l);
    capabilities(l);
    *self = l;
    return 0;
}

static const struct cc_capabilities *l_capabilities(void *self) { return &((struct cc_local *)self)->caps; }

/* ---------------------------------------------------------------- making and removing */

static int find(const struct cc_local *l, struct cc_provider_ctx *x, const char *provider_id, const char **short_id)
{
    struct stat st;

    if (!cc_provider_id_ok(provider_id))
        return cc_err_set(x->err, CC_E_INVALID, "\"%.60s\" is no machine of this provider", provider_id);
    *short_id = provider_id + 3;
    if (stat(cc_machine_path(l, x->arena, *short_id, ""), &st) != 0)
        return cc_err_set(x->err, CC_E_NOT_FOUND, "no machine %s", provider_id);
    return 0;
}

static bool has_own_place(const struct cc_machine_spec *s)
{
    size_t i;

    for (i = 0; i < s->n_volumes; i++)
        if (strcmp(s->volumes[i].path, OWN_VOLUME_AT) == 0)
            return true;
    return false;
}

/* Every machine has a volume at /claude-data: the one that was asked for, or one made here; `*made`: now, so that it holds
 * nothing yet. */
static int own_volume(const struct cc_local *l, struct cc_provider_ctx *x, struct cc_machine *m, bool *made)
{
    struct cc_machine_spec *s = &m->spec;
    struct cc_mount_spec *list;
    struct cc_volume_spec volume = { 0 };
    struct cc_volume_info info;
    struct cc_volume there;

    *made = false;
    if (has_own_place(s))
        return 0;
    list = cc_arena_alloc(x->arena, (s->n_volumes + 1) * sizeof(*list));
    if (s->n_volumes)
        memcpy(list, s->volumes, s->n_volumes * sizeof(*list));
    volume.id = cc_arena_printf(x->arena, "cc-%s", m->short_id);
    volume.size_gib = s->disk_gib;
    list[s->n_volumes++] = (struct cc_mount_spec){ volume.id, OWN_VOLUME_AT };
    s->volumes = list;
    m->own_volume = true;
    *made = cc_volume_load(l, x->arena, volume.id, &there, NULL) == CC_E_NOT_FOUND;
    return cc_volume_make(l, x, &volume, &info);
}

static int make_home(const struct cc_local *l, struct cc_provider_ctx *x, const struct cc_machine *m)
{
    const char *home = cc_machine_path(l, x->arena, m->short_id, "home");
    const char *claude = cc_machine_path(l, x->arena, m->short_id, "home/claude");
    uid_t user = (uid_t)m->uid_base + 1000, root = (uid_t)m->uid_base;

    if ((mkdir(home, 0755) != 0 && errno != EEXIST) || (mkdir(claude, 0755) != 0 && errno != EEXIST))
        return cc_err_sys(x->err, errno, "making %s", claude);
    if (l->root && (chown(home, root, root) != 0 || chown(claude, user, user) != 0))
        return cc_err_sys(x->err, errno, "giving %s to the machine", claude);
    return 0;
}

/* upper and work of the overlay, below one directory that the launcher hands in. */
static int make_changes(const struct cc_local *l, struct cc_provider_ctx *x, const struct cc_machine *m)
{
    static const char *const leaves[] = { "changes", "changes/upper", "changes/work" };
    size_t i;

    for (i = 0; i < 3; i++) {
        const char *path = cc_machine_path(l, x->arena, m->short_id, leaves[i]);

        if (mkdir(path, 0755) != 0 && errno != EEXIST)
            return cc_err_sys(x->err, errno, "making %s", path);
        if (l->root && chown(path, (uid_t)m->uid_base, (gid_t)m->uid_base) != 0)
            return cc_err_sys(x->err, errno, "giving %s to the machine", path);
    }
    return 0;
}

static int allowed(const struct cc_local *l, const struct cc_machine_spec *s, struct cc_err *err)
{
    if (l->no_machines[0])
        return cc_err_set(err, CC_E_UNSUPPORTED, "this host can make no machines: %s", l->no_machines);
    if (s->network == CC_NET_NAT && !l->caps.net_nat)
        return cc_err_set(err, CC_E_UNSUPPORTED, "network nat is not possible: %s", l->no_nat);
    return cc_image_check(s->image, err);
}

/* From a description on disk to a running machine. On failure no process and no group of it is left. */
static int begin(const struct cc_local *l, struct cc_provider_ctx *x, struct cc_machine *m, struct cc_machine_info *out)
{
    const char *image_root;
    struct cc_alive alive;
    size_t i;
    int tries, r = cc_image_root(l, x, m->spec.image, &image_root);

    for (i = 0; i < m->spec.n_volumes && r == 0; i++)
        r = cc_volume_attach(l, x, m->spec.volumes[i].id, m->uid_base);
    if (r == 0 && image_root)
        r = make_changes(l, x, m);
    if (r != 0)
        return r;
    cc_ssh_prepare(l, x->arena, m, image_root);
    r = cc_cgroups_make(l, x->arena, m, x->err);
    if (r == 0)
        r = cc_machine_save(l, x->arena, m, x->err);
    if (r == 0)
        r = cc_local_launch(l, x, m, image_root);
    /* The launcher of a host that was killed may have had its orders, and takes the lock, or lets it go, only now. A volume
     * that is in use stays so. */
    for (tries = 0; r == CC_E_CONFLICT && tries < 3; tries++)
        if ((r = cc_local_end(l, x, m->short_id, 0)) == 0)
            r = cc_local_launch(l, x, m, image_root);
    if (r == 0) {
        if (cc_ssh_await(l, x, m) && cc_machine_save(l, x->arena, m, NULL) != 0)
            cc_log(CC_LOG_WARN, "local", "cc-%s: what became of its ssh is not written down", m->short_id);
        cc_machine_alive(l, m->short_id, &alive);
        cc_machine_info(l, x->arena, m, &alive, out);
        return 0;
    }
    x->err = NULL; /* the first reason is the one to tell */
    cc_local_end(l, x, m->short_id, 0);
    cc_cgroups_remove(m);
    unlink(cc_machine_path(l, x->arena, m->short_id, "agent.sock"));
    return r;
}

/* Everything but volumes. The directory goes aside in one step; what a crash leaves, sweep takes. */
static int remove_machine(const struct cc_local *l, struct cc_provider_ctx *x, const char *short_id)
{
    const char *trash = cc_arena_printf(x->arena, "%s/trash/%s.%d", l->dir, short_id, (int)getpid());
    struct cc_machine m = { 0 };
    int r = cc_local_end(l, x, short_id, 0);

    if (r != 0)
        return r;
    if (cc_machine_load(l, x->arena, short_id, &m, NULL) == 0) {
        cc_cgroups_remove(&m);
        cc_ssh_forget(l, &m);
    }
    cc_remove_tree(trash);
    if (rename(cc_machine_path(l, x->arena, short_id, ""), trash) != 0 && errno != ENOENT)
        return cc_err_sys(x->err, errno, "removing cc-%s", short_id);
    if (l->root)
        cc_local_slot_free(l, short_id);
    r = cc_remove_tree(trash);
    return r ? cc_err_sys(x->err, r, "removing the files of cc-%s", short_id) : 0;
}

/* The rest of create, with the machine's lock held and nothing complete there. */
static int make(const struct cc_local *l, struct cc_provider_ctx *x, const struct cc_machine_spec *spec,
                struct cc_machine_info *out)
{
    struct cc_machine m = { .short_id = spec->short_id, .spec = *spec };
    struct cc_provider_ctx quiet = *x;
    bool made = false;
    int r;

    if (!m.spec.image || !*m.spec.image)
        m.spec.image = "host";
    if (m.spec.vcpu <= 0)
        m.spec.vcpu = l->vcpu;
    if (!m.spec.memory_mib)
        m.spec.memory_mib = l->memory_mib;
    if (!m.spec.disk_gib)
        m.spec.disk_gib = l->disk_gib;
    if ((r = allowed(l, &m.spec, x->err)) != 0)
        return r;
    if (mkdir(cc_machine_path(l, x->arena, m.short_id, ""), 0700) != 0 && errno != EEXIST)
        return cc_err_sys(x->err, errno, "making the machine's directory");
    if (l->root)
        r = cc_local_slot(l, m.short_id, &m.uid_base, x->err);
    if (r == 0)
        r = own_volume(l, x, &m, &made);
    if (r == 0)
        r = make_home(l, x, &m);
    if (r == 0)
        r = begin(l, x, &m, out);
    if (r == 0)
        return 0;
    quiet.err = NULL;
    cc_ssh_forget(l, &m);
    remove_machine(l, &quiet, m.short_id);
    if (made) /* one that was there may be all that is left of the machine that is made anew */
        cc_volume_drop(l, &quiet, cc_arena_printf(x->arena, "cc-%s", m.short_id));
    return r;
}

/* ---------------------------------------------------------------- the calls */

static int l_create(void *self, struct cc_provider_ctx *x, const struct cc_machine_spec *spec,
                    struct cc_machine_info *out)
{
    struct cc_local *l = self;
    struct cc_machine m;
    struct cc_alive alive;
    int fd = cc_name_lock(l->dir, spec->short_id, x->call, x->err), r;

    if (fd < 0)
        return fd;
    cc_machine_alive(l, spec->short_id, &alive);
    if (cc_machine_load(l, x->arena, spec->short_id, &m, NULL) == 0 && cc_machine_made(&m, &alive)) {
        cc_machine_info(l, x->arena, &m, &alive, out);
        close(fd);
        return strcmp(m.spec.id, spec->id) == 0
                   ? 0
                   : cc_err_set(x->err, CC_E_EXISTS, "cc-%s is another machine", spec->short_id);
    }
    r = cc_local_end(l, x, spec->short_id, 0); /* what a killed host was at */
    if (r == 0)
        r = make(l, x, spec, out);
    if (r == 0)
        close(fd);
    else
        cc_name_unlock_gone(l->dir, spec->short_id, fd);
    return r;
}

static int l_destroy(void *self, struct cc_provider_ctx *x, const char *provider_id, bool purge)
{
    struct cc_local *l = self;
    const char *short_id = provider_id + 3;
    int fd, r;

    if (!cc_provider_id_ok(provider_id))
        return cc_err_set(x->err, CC_E_INVALID, "\"%.60s\" is no machine of this provider", provider_id);
    if ((fd = cc_name_lock(l->dir, short_id, x->call, x->err)) < 0)
        return fd;
    r = remove_machine(l, x, short_id);
    if (r == 0 && purge)
        r = cc_volume_drop(l, x, provider_id);
    cc_name_unlock_gone(l->dir, short_id, fd);
    return r;
}

/* What may change between two starts. */
static void renew(const struct cc_local *l, struct cc_machine *m, const struct cc_machine_spec *spec)
{
    m->spec.name = spec->name;
    m->spec.env = spec->env;
    m->spec.labels = spec->labels;
    m->spec.cmd = spec->cmd;
    m->spec.shell = spec->shell;
    m->spec.agent_key = spec->agent_key;
    m->spec.ring = spec->ring;
    m->spec.sessions = spec->sessions;
    m->spec.ssh_keys = spec->ssh_keys;
    m->spec.vcpu = spec->vcpu > 0 ? spec->vcpu : l->vcpu;
    m->spec.memory_mib = spec->memory_mib ? spec->memory_mib : l->memory_mib;
}

static int l_start(void *self, struct cc_provider_ctx *x, const char *provider_id, const struct cc_machine_spec *spec,
                   struct cc_machine_info *out)
{
    struct cc_local *l = self;
    const char *short_id;
    struct cc_machine m;
    struct cc_alive alive;
    bool made;
    int fd, r = find(l, x, provider_id, &short_id);

    if (r != 0)
        return r;
    if ((fd = cc_name_lock(l->dir, short_id, x->call, x->err)) < 0)
        return fd;
    r = cc_machine_load(l, x->arena, short_id, &m, x->err);
    if (r == 0)
        cc_machine_alive(l, short_id, &alive);
    if (r == 0 && alive.ready) {
        cc_machine_info(l, x->arena, &m, &alive, out);
    } else if (r == 0) {
        if (spec)
            renew(l, &m, spec);
        m.made = cc_machine_made(&m, &alive); /* written down before the launcher empties the lock's file */
        r = cc_local_end(l, x, short_id, 0);
        if (r == 0)
            r = allowed(l, &m.spec, x->err);
        if (r == 0)
            r = own_volume(l, x, &m, &made); /* its place may be empty since a detach */
        if (r == 0)
            r = begin(l, x, &m, out);
    }
    close(fd);
    return r;
}

static int l_stop(void *self, struct cc_provider_ctx *x, const char *provider_id)
{
    struct cc_local *l = self;
    const char *short_id;
    struct cc_machine m;
    int fd, r = find(l, x, provider_id, &short_id);

    if (r != 0)
        return r;
    if ((fd = cc_name_lock(l->dir, short_id, x->call, x->err)) < 0)
        return fd;
    r = cc_local_end(l, x, short_id, l->stop_grace_ms);
    if (r == 0)
        r = cc_machine_load(l, x->arena, short_id, &m, x->err);
    if (r == 0) {
        cc_cgroups_remove(&m);
        unlink(cc_machine_path(l, x->arena, short_id, "agent.sock"));
    }
    close(fd);
    return r;
}

/* ---------------------------------------------------------------- volumes of a machine */

/* A machine's description, its lock held by `*fd`. On failure nothing is held. */
static int open_machine(const struct cc_local *l, struct cc_provider_ctx *x, const char *provider_id,
                        struct cc_machine *m, int *fd)
{
    const char *short_id;
    int r = find(l, x, provider_id, &short_id);

    if (r != 0)
        return r;
    if ((*fd = cc_name_lock(l->dir, short_id, x->call, x->err)) < 0)
        return *fd;
    if ((r = cc_machine_load(l, x->arena, short_id, m, x->err)) != 0)
        close(*fd);
    return r;
}

/* Mounts are made by its pid 1, so they change while there is none. */
static int stopped(const struct cc_local *l, struct cc_provider_ctx *x, const struct cc_machine *m)
{
    struct cc_alive alive;

    cc_machine_alive(l, m->short_id, &alive);
    return alive.locked ? cc_err_set(x->err, CC_E_STATE, "cc-%s runs: stop it first", m->short_id) : 0;
}

static int add_mount(const struct cc_local *l, struct cc_provider_ctx *x, struct cc_machine *m,
                     const struct cc_mount_spec *volume)
{
    size_t most = CC_MOUNTS_MAX + (m->own_volume && has_own_place(&m->spec)); /* nobody asked for that one */
    struct cc_mount_spec *list;
    int r = cc_mounts_check(m->spec.volumes, m->spec.n_volumes, most, volume, x->err);

    if (r != 0)
        return r == 1 ? 0 : r;
    if ((r = stopped(l, x, m)) != 0 || (r = cc_volume_free(l, x, volume->id)) != 0)
        return r;
    list = cc_arena_alloc(x->arena, (m->spec.n_volumes + 1) * sizeof(*list));
    if (m->spec.n_volumes)
        memcpy(list, m->spec.volumes, m->spec.n_volumes * sizeof(*list));
    list[m->spec.n_volumes++] = *volume;
    m->spec.volumes = list;
    return cc_machine_save(l, x->arena, m, x->err);
}

static int drop_mount(const struct cc_local *l, struct cc_provider_ctx *x, struct cc_machine *m, const char *volume_id)
{
    struct cc_mount_spec *list = cc_arena_alloc(x->arena, (m->spec.n_volumes + 1) * sizeof(*list));
    size_t i, n = 0;
    int r;

    for (i = 0; i < m->spec.n_volumes; i++)
        if (strcmp(m->spec.volumes[i].id, volume_id) != 0)
            list[n++] = m->spec.volumes[i];
    if (n == m->spec.n_volumes)
        return 0;
    if ((r = stopped(l, x, m)) != 0)
        return r;
    m->spec.volumes = list;
    m->spec.n_volumes = n;
    return cc_machine_save(l, x->arena, m, x->err);
}

static int l_attach(void *self, struct cc_provider_ctx *x, const char *provider_id, const struct cc_mount_spec *volume)
{
    struct cc_machine m;
    int fd, r = open_machine(self, x, provider_id, &m, &fd);

    if (r != 0)
        return r;
    r = add_mount(self, x, &m, volume);
    close(fd);
    return r;
}

static int l_detach(void *self, struct cc_provider_ctx *x, const char *provider_id, const char *volume_id)
{
    struct cc_machine m;
    int fd, r = open_machine(self, x, provider_id, &m, &fd);

    if (r != 0)
        return r;
    r = drop_mount(self, x, &m, volume_id);
    close(fd);
    return r;
}

/* ---------------------------------------------------------------- telling */

static int tell(const struct cc_local *l, struct cc_provider_ctx *x, const char *short_id, struct cc_machine_info *out)
{
    struct cc_machine m;
    struct cc_alive alive;
    int r = cc_machine_load(l, x->arena, short_id, &m, x->err);

    if (r == 0) {
        cc_machine_alive(l, short_id, &alive);
        cc_machine_info(l, x->arena, &m, &alive, out);
    } else if (r == CC_E_CORRUPT) {
        *out = (struct cc_machine_info){ .provider_id = cc_arena_printf(x->arena, "cc-%s", short_id),
                                         .state = CC_M_ERROR,
                                         .reason = "its description is damaged" };
        r = 0;
    }
    return r;
}

static int l_status(void *self, struct cc_provider_ctx *x, const char *provider_id, struct cc_machine_info *out)
{
    struct cc_local *l = self;
    const char *short_id;
    int r = find(l, x, provider_id, &short_id);

    return r ? r : tell(l, x, short_id, out);
}

static int l_list(void *self, struct cc_provider_ctx *x, struct cc_machine_list *out)
{
    struct cc_local *l = self;
    DIR *d = opendir(cc_arena_printf(x->arena, "%s/machines", l->dir));
    struct dirent *e;
    size_t room = 0;

    if (!d)
        return cc_err_sys(x->err, errno, "listing machines");
    *out = (struct cc_machine_list){ NULL, 0 };
    while ((e = readdir(d)) && !cc_call_over(x->call)) {
        if (!cc_short_ok(e->d_name))
            continue;
        if (out->n == room) {
            struct cc_machine_info *more = cc_arena_alloc(x->arena, (room = room * 2 + 16) * sizeof(*more));

            if (out->n)
                memcpy(more, out->v, out->n * sizeof(*more));
            out->v = more;
        }
        if (tell(l, x, e->d_name, &out->v[out->n]) == 0)
            out->n++;
    }
    closedir(d);
    return cc_call_check(x->call, x->err);
}

/* The path of a running machine's socket. */
static int running(struct cc_local *l, struct cc_provider_ctx *x, const char *provider_id, const char **socket)
{
    const char *short_id;
    struct cc_alive alive;
    int r = find(l, x, provider_id, &short_id);

    if (r != 0)
        return r;
    cc_machine_alive(l, short_id, &alive);
    if (!alive.ready)
        return cc_err_set(x->err, CC_E_STATE, "%s is not running", provider_id);
    *socket = cc_machine_path(l, x->arena, short_id, "agent.sock");
    return 0;
}

static int l_activity(void *self, struct cc_provider_ctx *x, const char *provider_id, struct cc_activity *out)
{
    const char *socket;
    int r = running(self, x, provider_id, &socket);

    return r ? r : cc_agent_activity(socket, x, out);
}

static int l_exec(void *self, struct cc_provider_ctx *x, const char *provider_id, const struct cc_exec_spec *spec,
                  struct cc_exec_result *out)
{
    const char *socket;
    int r = running(self, x, provider_id, &socket);

    return r ? r : cc_agent_exec(socket, x, spec, out);
}

static int l_volume_create(void *self, struct cc_provider_ctx *x, const struct cc_volume_spec *spec,
                           struct cc_volume_info *out)
{
    return cc_volume_make(self, x, spec, out);
}

static int l_volume_delete(void *self, struct cc_provider_ctx *x, const char *id)
{
    return cc_volume_drop(self, x, id);
}

static int l_volume_list(void *self, struct cc_provider_ctx *x, struct cc_volume_list *out)
{
    return cc_volume_all(self, x, out);
}

static int l_snapshot_create(void *self, struct cc_provider_ctx *x, const char *volume, const char *snapshot,
                             struct cc_snapshot *out)
{
    return cc_snapshot_take(self, x, volume, snapshot, out);
}

static int l_snapshot_delete(void *self, struct cc_provider_ctx *x, const char *volume, const char *snapshot)
{
    return cc_snapshot_drop(self, x, volume, snapshot);
}

static int l_snapshot_list(void *self, struct cc_provider_ctx *x, const char *volume, struct cc_snapshot_list *out)
{
    return cc_snapshot_all(self, x, volume, out);
}

static int l_volume_restore(void *self, struct cc_provider_ctx *x, const char *volume, const char *snapshot)
{
    return cc_snapshot_restore(self, x, volume, snapshot);
}

static int l_volume_clone(void *self, struct cc_provider_ctx *x, const char *volume, const char *snapshot,
                          const char *clone, struct cc_volume_info *out)
{
    return cc_snapshot_clone(self, x, volume, snapshot, clone, out);
}

static int l_endpoint(void *self, const char *provider_id, struct cc_endpoint *out, struct cc_err *err)
{
    struct cc_local *l = self;

    if (!cc_provider_id_ok(provider_id))
        return cc_err_set(err, CC_E_INVALID, "\"%.60s\" is no machine of this provider", provider_id);
    snprintf(out->unix_path, sizeof(out->unix_path), "%s/machines/%s/agent.sock", l->dir, provider_id + 3);
    return 0;
}

const struct cc_driver cc_driver_local = {
    .name = "local",
    .threads = 16,
    .default_timeout_ms = 60000,
    .open = l_open,
    .close = l_close,
    .capabilities = l_capabilities,
    .create = l_create,
    .destroy = l_destroy,
    .start = l_start,
    .stop = l_stop,
    .status = l_status,
    .activity = l_activity,
    .list = l_list,
    .exec = l_exec,
    .attach = l_attach,
    .detach = l_detach,
    .volume_create = l_volume_create,
    .volume_delete = l_volume_delete,
    .volume_list = l_volume_list,
    .snapshot_create = l_snapshot_create,
    .snapshot_delete = l_snapshot_delete,
    .snapshot_list = l_snapshot_list,
    .volume_restore = l_volume_restore,
    .volume_clone = l_volume_clone,
    .check = cc_local_check,
    .endpoint = l_endpoint,
};
