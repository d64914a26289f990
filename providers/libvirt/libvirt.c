/* libvirt.c - machines as domains of a libvirt daemon.
 *
 * Nothing of a machine is kept in our memory: its domain and its volumes are
 * the truth, so a host that was killed finds its machines again by looking.
 * A machine whose first start never came to its end ("made" is not in its
 * metadata) is completed by a repeated create and removed by destroy.
 */
#include "providers/libvirt/libvirt.h"

#include "host/observe/log.h"
#include "host/sys/clock.h"
#include "host/sys/mem.h"
#include "providers/drivers.h"
#include "providers/files.h"
#include "providers/ssh.h"
#include "providers/talk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define GIB (1024ull * 1024 * 1024)

/* ---------------------------------------------------------------- opened and closed */

static void v_close(void *self)
{
    struct cc_libvirt *v = self;

    if (v->conn)
        cc_vir.connect_close(v->conn);
    if (v->store)
        v->storage->close(v->store);
    free(v->dir), free(v->uri), free(v->images), free(v->virt), free(v->arch), free(v->machine), free(v->network);
    free(v->image), free(v->agent), free(v->shell);
    pthread_mutex_destroy(&v->lock);
    free(v);
}

static void capabilities(struct cc_libvirt *v)
{
    struct cc_err err;

    v->missing[0] = (struct cc_unenforced){ "process limits", "a guest's processes are its own kernel's" };
    v->missing[1] =
        (struct cc_unenforced){ "a firewall",
                                "what listens on this host's addresses is for this host to keep from guests on nat" };
    if (cc_png_load(&err) != 0)
        v->missing[2] = (struct cc_unenforced){ "screenshots", "libpng16 is not on this host" };
    v->caps = (struct cc_capabilities){
        .driver = "libvirt",
        .exec = true,
        .activity = true,
        .volumes = true,
        .machine_snapshots = true,
        .grows_disk = true,
        .snapshots = true,
        .user_data = true,
        .stop_keeps_disk = true,
        .net_nat = true,
        .net_none = true,
        .net_vpc = true,
        .limit_vcpu = true,
        .limit_memory = true,
        .limit_disk = true,
        .default_image = v->image,
        .missing = v->missing,
        .n_missing = v->missing[2].what ? 3 : 2,
    };
}

static int v_open(const struct cc_pairs *settings, void **self, struct cc_err *err)
{
    struct cc_libvirt *v = cc_xcalloc(1, sizeof(*v));
    int r;

    pthread_mutex_init(&v->lock, NULL);
    if ((r = cc_libvirt_settle(v, settings, err)) != 0 || (r = cc_libvirt_load(err)) != 0 ||
        (r = cc_libvirt_open_storage(v, settings, err)) != 0) {
        v_close(v);
        return r;
    }
    capabilities(v);
    *self = v;
    return 0;
}

static const struct cc_capabilities *v_capabilities(void *self) { return &((struct cc_libvirt *)self)->caps; }

/* ---------------------------------------------------------------- one operation at a time */

void cc_libvirt_let_go(struct cc_hold *h)
{
    if (h->d)
        cc_vir.domain_free(h->d);
    if (h->c)
        cc_vir.connect_close(h->c);
    if (h->fd >= 0)
        close(h->fd);
}

/* 0 with the domain read, CC_E_NOT_FOUND with the lock held and none there; otherwise nothing is held. */
static int take(struct cc_libvirt *v, struct cc_provider_ctx *x, const char *short_id, struct cc_hold *h)
{
    int r;

    *h = (struct cc_hold){ .fd = cc_name_lock(v->dir, short_id, x->call, x->err) };
    if (h->fd < 0)
        return h->fd;
    if (!(h->c = cc_libvirt_connect(v, x)))
        r = x->err->code;
    else if (!(h->d = cc_domain_find(h->c, x, short_id)))
        r = x->err->code;
    else
        r = cc_domain_read(x, h->d, &h->box, &h->state);
    if (r != 0 && r != CC_E_NOT_FOUND)
        cc_libvirt_let_go(h);
    return r;
}

int cc_libvirt_take(struct cc_libvirt *v, struct cc_provider_ctx *x, const char *provider_id, struct cc_hold *h)
{
    int r;

    if (!cc_provider_id_ok(provider_id))
        return cc_err_set(x->err, CC_E_INVALID, "\"%.60s\" is no machine of this provider", provider_id);
    r = take(v, x, provider_id + 3, h);
    if (r == CC_E_NOT_FOUND)
        cc_libvirt_let_go(h);
    return r;
}

/* ---------------------------------------------------------------- what a machine is made of */

const char *cc_libvirt_root(struct cc_arena *a, const char *short_id)
{
    return cc_arena_printf(a, "cc-%s..root", short_id);
}

static const char *image_file(const struct cc_libvirt *v, struct cc_arena *a, const char *image, const char *end)
{
    const char *path = cc_arena_printf(a, "%s/%s%s", v->images, image, end);

    return access(path, R_OK) == 0 ? path : NULL;
}

int cc_libvirt_image(const struct cc_libvirt *v, struct cc_provider_ctx *x, const char *image, const char **disk,
                     struct cc_box_boot *boot)
{
    const char *cmdline;
    size_t n;

    if (!cc_volume_id_ok(image))
        return cc_err_set(x->err, CC_E_INVALID, "image: the name of one in %s expected", v->images);
    *disk = image_file(v, x->arena, image, ".qcow2");
    if (!*disk)
        *disk = image_file(v, x->arena, image, ".raw");
    if (!*disk)
        return cc_err_set(x->err, CC_E_NOT_FOUND, "no image %s: %s has no %s.qcow2 or %s.raw", image, v->images, image,
                          image);
    *boot = (struct cc_box_boot){ .kernel = image_file(v, x->arena, image, ".kernel"),
                                  .initrd = image_file(v, x->arena, image, ".initrd") };
    if ((cmdline = image_file(v, x->arena, image, ".cmdline")) &&
        (cmdline = cc_read_whole(x->arena, cmdline, 2048, &n)))
        boot->cmdline = cc_arena_strndup(x->arena, cmdline, strcspn(cmdline, "\n"));
    return 0;
}

/* All its volumes as disks, each free to be used. */
static int volumes_of(struct cc_libvirt *v, struct cc_provider_ctx *x, virConnectPtr c, const struct cc_box *b,
                      struct cc_disk *disks)
{
    size_t i;
    int r = 0;

    for (i = 0; i < b->n_volumes && r == 0; i++)
        if ((r = v->storage->find(v->store, x, b->volumes[i].id, &disks[i])) == 0)
            r = cc_libvirt_volume_free(x, c, b->volumes[i].id, b->short_id, true);
    return r;
}

static int define(struct cc_libvirt *v, struct cc_provider_ctx *x, struct cc_hold *h)
{
    struct cc_disk root, disks[CC_MOUNTS_MAX + 1];
    struct cc_box_boot boot;
    const char *image;
    virDomainPtr d;
    int r = cc_libvirt_image(v, x, h->box.image, &image, &boot);

    if (r == 0)
        r = v->storage->find(v->store, x, cc_libvirt_root(x->arena, h->box.short_id), &root);
    if (r == 0)
        r = volumes_of(v, x, h->c, &h->box, disks);
    if (r != 0)
        return r;
    d = cc_vir.domain_define(h->c, cc_box_xml(v, x->arena, &h->box, &boot, &root, disks), VIR_DOMAIN_DEFINE_VALIDATE);
    if (!d)
        return cc_libvirt_error(x->err, "describing the machine");
    if (h->d)
        cc_vir.domain_free(h->d);
    h->d = d;
    return 0;
}

static void unheld(const struct cc_libvirt *v, struct cc_arena *a, const struct cc_box *b, struct cc_machine_info *out)
{
    struct cc_unenforced *list = cc_arena_alloc(a, 2 * sizeof(*list));

    list[0] = v->missing[0];
    out->unenforced = list;
    out->n_unenforced = 1;
    if (!b->whole)
        return;
    list[out->n_unenforced++] =
        (struct cc_unenforced){ "vcpu", "libvirt has no cpu control group here: whole processors" };
    out->vcpu = (unsigned)b->vcpu + (b->vcpu > (unsigned)b->vcpu);
}

static void tell(const struct cc_libvirt *v, struct cc_arena *a, const struct cc_box *b, enum cc_machine_state state,
                 struct cc_machine_info *out)
{
    *out = (struct cc_machine_info){
        .provider_id = cc_arena_printf(a, "cc-%s", b->short_id),
        .id = b->id,
        .name = b->name,
        .image = b->image,
        .state = state,
        .reason = state == CC_M_ERROR ? "its guest sleeps, has crashed, or its disk failed" : NULL,
        .started_at = state == CC_M_RUNNING || state == CC_M_SUSPENDED ? b->started_at : 0,
        .vcpu = b->vcpu,
        .memory_mib = b->memory_mib,
        .disk_gib = b->disk_gib,
    };
    unheld(v, a, b, out);
    if (state == CC_M_RUNNING)
        out->socket = cc_ssh_socket(a, cc_arena_printf(a, "%s/machines/%s", v->dir, b->short_id));
    if (b->keys)
        out->ssh.why = "its address is not known to this host; the terminal leads into it";
}

/* A part of a processor needs a control group of libvirt's; without one it gets a whole one, and that is told. */
static int power_on(struct cc_libvirt *v, struct cc_provider_ctx *x, struct cc_hold *h)
{
    int r;

    if (cc_vir.domain_create(h->d, 0) == 0)
        return 0;
    r = cc_libvirt_error(x->err, "starting the machine");
    if (r != CC_E_UNSUPPORTED || h->box.whole || h->box.vcpu == (unsigned)h->box.vcpu)
        return r;
    h->box.whole = true;
    if ((r = define(v, x, h)) != 0)
        return r;
    return cc_vir.domain_create(h->d, 0) == 0 ? 0 : cc_libvirt_error(x->err, "starting the machine");
}

/* From a description to a running machine. */
static int begin(struct cc_libvirt *v, struct cc_provider_ctx *x, struct cc_hold *h, const struct cc_machine_spec *spec,
                 struct cc_machine_info *out)
{
    int r = spec ? cc_seed_write(v, x, &h->box, spec) : 0;

    h->box.started_at = cc_wall_ms();
    h->box.made = true;
    if (r == 0)
        r = define(v, x, h);
    if (r == 0)
        r = power_on(v, x, h);
    if (r == 0)
        r = cc_way_await(v, x, h->d, h->box.short_id);
    if (r == 0)
        tell(v, x->arena, &h->box, CC_M_RUNNING, out);
    return r;
}

/* ---------------------------------------------------------------- making and removing */

static int remove_disk(struct cc_libvirt *v, struct cc_provider_ctx *x, const char *id)
{
    return v->storage->remove(v->store, x, id);
}

/* Everything of it but volumes. */
static int remove_machine(struct cc_libvirt *v, struct cc_provider_ctx *x, struct cc_hold *h, const char *short_id)
{
    int r;

    cc_way_close(v, x, short_id);
    if ((r = h->d ? cc_domain_end(v, x, h->d, 0) : 0) != 0)
        return r;
    if (h->d && cc_vir.domain_undefine(h->d, VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA |
                                                 VIR_DOMAIN_UNDEFINE_NVRAM) != 0)
        return cc_libvirt_error(x->err, "removing the machine");
    if ((r = cc_libvirt_forget_snapshots(v, x, cc_arena_printf(x->arena, "cc-%s", short_id))) != 0 ||
        (r = remove_disk(v, x, cc_libvirt_root(x->arena, short_id))) != 0)
        return r;
    r = cc_remove_tree(cc_arena_printf(x->arena, "%s/machines/%s", v->dir, short_id));
    return r && r != ENOENT ? cc_err_sys(x->err, r, "removing the files of cc-%s", short_id) : 0;
}

/* `*made`: now, so that it holds nothing yet. */
static int own_volume(struct cc_libvirt *v, struct cc_provider_ctx *x, struct cc_box *b, bool *made)
{
    const char *id = cc_arena_printf(x->arena, "cc-%s", b->short_id);
    struct cc_disk disk;
    size_t i;

    for (i = 0; i < b->n_volumes; i++)
        if (strcmp(b->volumes[i].path, CC_OWN_VOLUME_AT) == 0)
            return 0;
    b->volumes[b->n_volumes++] = (struct cc_box_volume){ id, CC_OWN_VOLUME_AT };
    b->own_volume = true;
    *made = v->storage->find(v->store, x, id, &disk) == CC_E_NOT_FOUND;
    return v->storage->create(v->store, x, id, v->data_gib * GIB, NULL, &disk);
}

static void describe(const struct cc_libvirt *v, const struct cc_machine_spec *s, struct cc_box *b)
{
    b->name = s->name;
    b->keys = s->ssh_keys.n > 0;
    b->vcpu = s->vcpu > 0 ? s->vcpu : v->vcpu;
    b->memory_mib = s->memory_mib ? s->memory_mib : v->memory_mib;
}

static int make(struct cc_libvirt *v, struct cc_provider_ctx *x, struct cc_hold *h, const struct cc_machine_spec *s,
                bool *made, struct cc_machine_info *out)
{
    struct cc_box *b = &h->box;
    struct cc_box_boot boot;
    struct cc_disk disk, all[CC_MOUNTS_MAX + 1];
    const char *image;
    size_t i;
    int r;

    *b = (struct cc_box){ .short_id = s->short_id,
                          .id = s->id,
                          .owner = s->owner,
                          .image = s->image && *s->image ? s->image : v->image,
                          .disk_gib = s->disk_gib ? s->disk_gib : v->disk_gib,
                          .network = s->network,
                          .vpc = s->vpc };
    describe(v, s, b);
    for (i = 0; i < s->n_volumes; i++)
        b->volumes[b->n_volumes++] = (struct cc_box_volume){ s->volumes[i].id, s->volumes[i].path };
    if (s->network == CC_NET_HOST)
        return cc_err_set(x->err, CC_E_UNSUPPORTED, "a virtual machine cannot have the host's own network");
    if ((r = cc_libvirt_image(v, x, b->image, &image, &boot)) != 0 || (r = volumes_of(v, x, h->c, b, all)) != 0)
        return r;
    if (mkdir(cc_arena_printf(x->arena, "%s/machines/%s", v->dir, b->short_id), 0711) != 0 && errno != EEXIST)
        return cc_err_sys(x->err, errno, "making the machine's directory");
    r = own_volume(v, x, b, made);
    if (r == 0)
        r = v->storage->create(v->store, x, cc_libvirt_root(x->arena, b->short_id), b->disk_gib * GIB, image, &disk);
    return r ? r : begin(v, x, h, s, out);
}

/* Disks that are overwritten before they are there may take more than one call: the next goes on with them, or destroy takes
 * them away. */
static bool unfinished(struct cc_libvirt *v, struct cc_provider_ctx *x, const struct cc_hold *h, int r)
{
    struct cc_room room = { .whole = false };

    return r == CC_E_TIMEOUT && !h->d && v->storage->room(v->store, x, &room) == 0 && room.whole;
}

static int v_create(void *self, struct cc_provider_ctx *x, const struct cc_machine_spec *spec,
                    struct cc_machine_info *out)
{
    struct cc_libvirt *v = self;
    struct cc_provider_ctx quiet = *x;
    struct cc_err dropped;
    struct cc_call free_call = { .wake_fd = -1, .deadline_ms = cc_mono_ms() + 10000 };
    struct cc_hold h;
    bool made = false; /* an own volume that was there may be all that is left of the machine that is made anew */
    int r = take(v, x, spec->short_id, &h);

    if (r != 0 && r != CC_E_NOT_FOUND)
        return r;
    if (r == 0 && (!h.box.id || strcmp(h.box.id, spec->id) != 0))
        r = cc_err_set(x->err, CC_E_EXISTS, "cc-%s is another machine", spec->short_id);
    else if (r == 0 && h.box.made && (h.state != CC_M_STOPPED || h.box.started_at > 0)) {
        r = h.state == CC_M_RUNNING ? cc_way_await(v, x, h.d, spec->short_id) : 0;
        tell(v, x->arena, &h.box, h.state, out);
    } else {
        x->err->code = 0;
        r = make(v, x, &h, spec, &made, out);
        quiet.err = &dropped;
        quiet.call = &free_call;
        if (r != 0 && !unfinished(v, &quiet, &h, r) && remove_machine(v, &quiet, &h, spec->short_id) == 0 && made)
            remove_disk(v, &quiet, cc_arena_printf(x->arena, "cc-%s", spec->short_id));
    }
    cc_libvirt_let_go(&h);
    return r;
}

static int v_destroy(void *self, struct cc_provider_ctx *x, const char *provider_id, bool purge)
{
    struct cc_libvirt *v = self;
    struct cc_hold h;
    int r;

    if (!cc_provider_id_ok(provider_id))
        return cc_err_set(x->err, CC_E_INVALID, "\"%.60s\" is no machine of this provider", provider_id);
    r = take(v, x, provider_id + 3, &h);
    if (r != 0 && r != CC_E_NOT_FOUND)
        return r;
    x->err->code = 0;
    r = remove_machine(v, x, &h, provider_id + 3);
    if (r == 0 && purge)
        r = remove_disk(v, x, provider_id);
    if (r == 0) {
        cc_name_unlock_gone(v->dir, provider_id + 3, h.fd);
        h.fd = -1;
    }
    cc_libvirt_let_go(&h);
    return r;
}

/* ---------------------------------------------------------------- the other calls */

int cc_libvirt_grow(struct cc_libvirt *v, struct cc_provider_ctx *x, struct cc_box *b, uint32_t disk_gib)
{
    struct cc_disk now;
    uint64_t size = disk_gib * GIB;
    int r = v->storage->find(v->store, x, cc_libvirt_root(x->arena, b->short_id), &now);

    if (r == 0) /* an image may have been larger than what was asked for; the same size: what was cut off is finished */
        r = v->storage->resize(v->store, x, now.id, now.size < size ? size : now.size);
    if (r == 0 && b->disk_gib < disk_gib)
        b->disk_gib = disk_gib;
    return r;
}

static int go_on(struct cc_libvirt *v, struct cc_provider_ctx *x, struct cc_hold *h, struct cc_machine_info *out)
{
    int r = cc_vir.domain_resume(h->d) == 0 ? 0 : cc_libvirt_error(x->err, "waking the machine");

    if (r == 0)
        r = cc_way_await(v, x, h->d, h->box.short_id);
    if (r == 0)
        tell(v, x->arena, &h->box, CC_M_RUNNING, out);
    return r;
}

static int v_start(void *self, struct cc_provider_ctx *x, const char *provider_id, const struct cc_machine_spec *spec,
                   struct cc_machine_info *out)
{
    struct cc_libvirt *v = self;
    struct cc_hold h;
    int r = cc_libvirt_take(v, x, provider_id, &h);

    if (r != 0)
        return r;
    if (h.state == CC_M_RUNNING) {
        tell(v, x->arena, &h.box, h.state, out);
    } else if (h.state == CC_M_SUSPENDED) {
        r = go_on(v, x, &h, out);
    } else {
        if (spec)
            describe(v, spec, &h.box);
        r = h.state == CC_M_ERROR ? cc_domain_end(v, x, h.d, 0) : 0;
        if (r == 0)
            r = cc_libvirt_grow(v, x, &h.box, spec ? spec->disk_gib : 0);
        if (r == 0)
            r = begin(v, x, &h, spec, out);
    }
    cc_libvirt_let_go(&h);
    return r;
}

static int v_stop(void *self, struct cc_provider_ctx *x, const char *provider_id)
{
    struct cc_libvirt *v = self;
    struct cc_hold h;
    int r = cc_libvirt_take(v, x, provider_id, &h);

    if (r != 0)
        return r;
    if (h.state == CC_M_SUSPENDED) /* it hears no power button */
        cc_vir.domain_resume(h.d);
    r = cc_domain_end(v, x, h.d, v->stop_grace_ms);
    cc_way_close(v, x, h.box.short_id);
    cc_libvirt_let_go(&h);
    return r;
}

static int v_suspend(void *self, struct cc_provider_ctx *x, const char *provider_id)
{
    struct cc_hold h;
    int r = cc_libvirt_take(self, x, provider_id, &h);

    if (r != 0)
        return r;
    if (h.state == CC_M_RUNNING && cc_vir.domain_suspend(h.d) != 0)
        r = cc_libvirt_error(x->err, "suspending the machine");
    else if (h.state != CC_M_RUNNING && h.state != CC_M_SUSPENDED)
        r = cc_err_set(x->err, CC_E_STATE, "%s does not run", provider_id);
    cc_libvirt_let_go(&h);
    return r;
}

static int v_status(void *self, struct cc_provider_ctx *x, const char *provider_id, struct cc_machine_info *out)
{
    struct cc_libvirt *v = self;
    struct cc_hold h = { .fd = -1 };
    int r;

    if (!cc_provider_id_ok(provider_id))
        return cc_err_set(x->err, CC_E_INVALID, "\"%.60s\" is no machine of this provider", provider_id);
    if (!(h.c = cc_libvirt_connect(v, x)))
        return x->err->code;
    h.d = cc_domain_find(h.c, x, provider_id + 3);
    r = h.d ? cc_domain_read(x, h.d, &h.box, &h.state) : x->err->code;
    if (r == 0)
        tell(v, x->arena, &h.box, h.state, out);
    cc_libvirt_let_go(&h);
    return r;
}

static int v_list(void *self, struct cc_provider_ctx *x, struct cc_machine_list *out)
{
    struct cc_libvirt *v = self;
    virConnectPtr c = cc_libvirt_connect(v, x);
    virDomainPtr *all;
    int i, n, r = 0;

    if (!c)
        return x->err->code;
    *out = (struct cc_machine_list){ NULL, 0 };
    if ((n = cc_vir.list_all_domains(c, &all, 0)) < 0) {
        r = cc_libvirt_error(x->err, "listing machines");
        cc_vir.connect_close(c);
        return r;
    }
    out->v = cc_arena_alloc(x->arena, ((size_t)n + 1) * sizeof(*out->v));
    for (i = 0; i < n; i++) {
        enum cc_machine_state state;
        struct cc_box b;

        if (r >= 0 && (r = cc_domain_listed(x, all[i], &b, &state)) == 1)
            tell(v, x->arena, &b, state, &out->v[out->n++]);
        cc_vir.domain_free(all[i]);
    }
    free(all);
    cc_vir.connect_close(c);
    return r < 0 ? r : 0;
}

/* The agent's socket of a machine that runs. */
static int reach(struct cc_libvirt *v, struct cc_provider_ctx *x, const char *provider_id, const char **socket)
{
    struct cc_machine_info info = { 0 };
    int r = v_status(v, x, provider_id, &info);

    if (r == 0 && info.state != CC_M_RUNNING)
        r = cc_err_set(x->err, CC_E_STATE, "%s does not run", provider_id);
    return r ? r : cc_way_open(v, x, provider_id + 3, socket);
}

static int v_exec(void *self, struct cc_provider_ctx *x, const char *provider_id, const struct cc_exec_spec *spec,
                  struct cc_exec_result *out)
{
    const char *socket;
    int r = reach(self, x, provider_id, &socket);

    return r ? r : cc_agent_exec(socket, x, spec, out);
}

static int v_activity(void *self, struct cc_provider_ctx *x, const char *provider_id, struct cc_activity *out)
{
    const char *socket;
    int r = reach(self, x, provider_id, &socket);

    return r ? r : cc_agent_activity(socket, x, out);
}

/* The way is opened by a start and kept open by the passes that ask for activity; a terminal takes it as it stands. */
static int v_endpoint(void *self, const char *provider_id, struct cc_endpoint *out, struct cc_err *err)
{
    struct cc_libvirt *v = self;

    if (!cc_provider_id_ok(provider_id))
        return cc_err_set(err, CC_E_INVALID, "\"%.60s\" is no machine of this provider", provider_id);
    snprintf(out->unix_path, sizeof(out->unix_path), "%s/machines/%s/agent.sock", v->dir, provider_id + 3);
    return 0;
}

/* ---------------------------------------------------------------- volumes */

static int v_attach(void *self, struct cc_provider_ctx *x, const char *provider_id, const struct cc_mount_spec *volume)
{
    struct cc_libvirt *v = self;
    struct cc_mount_spec now[CC_MOUNTS_MAX + 1];
    struct cc_disk disk;
    struct cc_hold h;
    size_t i;
    int r = cc_libvirt_take(v, x, provider_id, &h);

    if (r != 0)
        return r;
    for (i = 0; i < h.box.n_volumes; i++)
        now[i] = (struct cc_mount_spec){ h.box.volumes[i].id, h.box.volumes[i].path };
    r = cc_mounts_check(now, h.box.n_volumes, CC_MOUNTS_MAX + (h.box.own_volume ? 1 : 0), volume, x->err);
    if (r == 0)
        r = v->storage->find(v->store, x, volume->id, &disk);
    if (r == 0 && h.state != CC_M_STOPPED)
        r = cc_err_set(x->err, CC_E_STATE, "%s runs: a volume is attached while it is stopped", provider_id);
    if (r == 0)
        r = cc_libvirt_volume_free(x, h.c, volume->id, h.box.short_id, true);
    if (r == 0) {
        h.box.volumes[h.box.n_volumes++] = (struct cc_box_volume){ volume->id, volume->path };
        r = define(v, x, &h);
    }
    cc_libvirt_let_go(&h);
    return r == 1 ? 0 : r;
}

static int v_detach(void *self, struct cc_provider_ctx *x, const char *provider_id, const char *volume_id)
{
    struct cc_libvirt *v = self;
    struct cc_hold h;
    size_t i;
    int r = cc_libvirt_take(v, x, provider_id, &h);

    if (r != 0)
        return r;
    for (i = 0; i < h.box.n_volumes && strcmp(h.box.volumes[i].id, volume_id) != 0; i++) {
    }
    if (i < h.box.n_volumes && h.state != CC_M_STOPPED) {
        r = cc_err_set(x->err, CC_E_STATE, "%s runs: a volume is detached while it is stopped", provider_id);
    } else if (i < h.box.n_volumes) {
        memmove(h.box.volumes + i, h.box.volumes + i + 1, (h.box.n_volumes - i - 1) * sizeof(*h.box.volumes));
        h.box.n_volumes--;
        r = define(v, x, &h);
    }
    cc_libvirt_let_go(&h);
    return r;
}

const struct cc_driver cc_driver_libvirt = {
    .name = "libvirt",
    .threads = 8,
    .default_timeout_ms = 120000,
    .open = v_open,
    .close = v_close,
    .capabilities = v_capabilities,
    .create = v_create,
    .destroy = v_destroy,
    .start = v_start,
    .stop = v_stop,
    .status = v_status,
    .activity = v_activity,
    .list = v_list,
    .exec = v_exec,
    .attach = v_attach,
    .detach = v_detach,
    .volume_create = cc_libvirt_volume_create,
    .volume_delete = cc_libvirt_volume_delete,
    .volume_list = cc_libvirt_volume_list,
    .snapshot_create = cc_libvirt_snapshot_create,
    .snapshot_delete = cc_libvirt_snapshot_delete,
    .snapshot_list = cc_libvirt_snapshot_list,
    .volume_restore = cc_libvirt_volume_restore,
    .volume_clone = cc_libvirt_volume_clone,
    .check = cc_libvirt_check,
    .suspend = v_suspend,
    .machine_snapshot = cc_libvirt_machine_snapshot,
    .machine_snapshot_delete = cc_libvirt_machine_snapshot_delete,
    .machine_restore = cc_libvirt_machine_restore,
    .console = cc_libvirt_console,
    .screenshot = cc_libvirt_screenshot,
    .endpoint = v_endpoint,
};
