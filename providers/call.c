/* call.c - see call.h.
 *
 * A job owns a copy of the request in its arena and its result; a waiter is
 * what the caller holds.  They part when the caller gives up (cancel), when
 * the watchdog does (the driver overslept its deadline), or at the end.  The
 * provider is freed when it is closed and neither job nor waiter is left.
 */
#include "providers/call.h"

#include "host/observe/log.h"
#include "host/sys/clock.h"
#include "host/sys/mem.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { GRACE_MS = 1000 };

struct cc_provider {
    const struct cc_driver *driver;
    void *self;
    uv_loop_t *loop;
    struct cc_pool *pool;           /* NULL with CC_DRIVER_INLINE */
    struct cc_provider_wait *waits; /* all that have not been answered */
    struct cc_provider_stats stats;
    struct cc_watching *watching; /* or NULL */
    unsigned jobs;                /* not yet returned */
    bool closing;
};

struct job {
    struct cc_job base; /* first: the pool gives it back */
    struct cc_provider *p;
    struct cc_provider_wait *wait; /* NULL: nobody wants the answer any more */
    struct cc_arena arena;
    struct cc_provider_req req;
    struct cc_provider_res res;
};

struct cc_provider_wait {
    struct cc_provider *p;
    struct cc_provider_wait *next, **link;
    struct job *job;        /* NULL: returned (inline, its answer is held) */
    struct job *held;       /* the job of an inline call until its answer is due */
    struct cc_timer *timer; /* the watchdog, or the held answer */
    cc_provider_done done;
    void *arg;
};

/* ---------------------------------------------------------------- the bare call */

static bool of_snapshots(enum cc_provider_op op)
{
    return op == CC_OP_SNAPSHOT_CREATE || op == CC_OP_SNAPSHOT_DELETE || op == CC_OP_SNAPSHOT_LIST ||
           op == CC_OP_VOLUME_RESTORE || op == CC_OP_VOLUME_CLONE;
}

static int check_snapshots(const struct cc_driver *d, const struct cc_provider_req *r, struct cc_err *err)
{
    bool unnamed = r->op == CC_OP_SNAPSHOT_LIST || (r->op == CC_OP_VOLUME_CLONE && !r->snapshot);

    if (!d->snapshot_create)
        return cc_err_set(err, CC_E_UNSUPPORTED, "the provider %s has no snapshots of volumes", d->name);
    if (!cc_volume_id_ok(r->id) || (r->op == CC_OP_VOLUME_CLONE && !cc_volume_id_ok(r->clone)))
        return cc_err_set(err, CC_E_INVALID, "that is no id for a volume");
    if (!unnamed && !cc_volume_id_ok(r->snapshot))
        return cc_err_set(err, CC_E_INVALID, "that is no id for a snapshot");
    return 0;
}

/* Whether the driver has a call that it need not have. */
static bool has(const struct cc_driver *d, enum cc_provider_op op)
{
    switch (op) {
    case CC_OP_SUSPEND:
        return d->suspend != NULL;
    case CC_OP_MACHINE_SNAPSHOT:
    case CC_OP_MACHINE_SNAPSHOT_DELETE:
    case CC_OP_MACHINE_RESTORE:
        return d->machine_snapshot != NULL;
    case CC_OP_LOGS:
        return d->logs != NULL;
    case CC_OP_CHECK:
        return d->check != NULL;
    case CC_OP_PLACES:
        return d->places != NULL;
    case CC_OP_CONSOLE:
        return d->console != NULL;
    case CC_OP_SCREENSHOT:
        return d->screenshot != NULL;
    case CC_OP_IMAGE_BUILD:
    case CC_OP_IMAGE_LIST:
    case CC_OP_IMAGE_DELETE:
        return d->image_build && d->image_list && d->image_delete;
    default:
        return true;
    }
}

static bool of_machine_snapshot(enum cc_provider_op op)
{
    return op == CC_OP_MACHINE_SNAPSHOT || op == CC_OP_MACHINE_SNAPSHOT_DELETE || op == CC_OP_MACHINE_RESTORE;
}

static bool image_ok(const struct cc_image_spec *s)
{
    size_t n = s && s->hash ? strlen(s->hash) : 0;

    return n >= 12 && n <= 63 && strspn(s->hash, "0123456789abcdef") == n && s->name;
}

static int check(const struct cc_driver *d, const struct cc_provider_req *req, struct cc_err *err)
{
    bool needs_machine = req->op != CC_OP_CREATE && req->op != CC_OP_LIST && req->op != CC_OP_VOLUME_LIST &&
                         req->op != CC_OP_VOLUME_CREATE && req->op != CC_OP_CHECK && req->op != CC_OP_IMAGE_BUILD &&
                         req->op != CC_OP_IMAGE_LIST;

    if (req->op == CC_OP_CREATE)
        return cc_machine_spec_check(req->machine, err);
    if (req->op == CC_OP_START && req->machine && cc_machine_spec_check(req->machine, err) != 0)
        return CC_E_INVALID;
    if (needs_machine && (!req->id || !*req->id || strlen(req->id) > 128))
        return cc_err_set(err, CC_E_INVALID, "an id is missing");
    if (req->op == CC_OP_EXEC && (!req->exec || req->exec->cmd.n == 0))
        return cc_err_set(err, CC_E_INVALID, "exec without a command");
    if (req->op == CC_OP_ATTACH)
        return cc_mount_spec_check(req->mount, err);
    if ((req->op == CC_OP_VOLUME_CREATE && !cc_volume_id_ok(req->volume ? req->volume->id : NULL)) ||
        (req->op == CC_OP_VOLUME_DELETE && !cc_volume_id_ok(req->id)) ||
        (req->op == CC_OP_DETACH && !cc_volume_id_ok(req->mount ? req->mount->id : NULL)))
        return cc_err_set(err, CC_E_INVALID, "that is no id for a volume");
    if (of_machine_snapshot(req->op) && !cc_snapshot_name_ok(req->snapshot))
        return cc_err_set(err, CC_E_INVALID, "that is no name for a snapshot");
    if (of_snapshots(req->op))
        return check_snapshots(d, req, err);
    if (req->op == CC_OP_IMAGE_BUILD && !image_ok(req->image))
        return cc_err_set(err, CC_E_INVALID, "an image's name, and a hash of 12 to 63 hex digits expected");
    if (!has(d, req->op))
        return cc_err_set(err, CC_E_UNSUPPORTED, "the provider %s has no such call", d->name);
    return 0;
}

static int perform(const struct cc_driver *d, void *self, struct cc_provider_ctx *x, const struct cc_provider_req *r,
                   struct cc_provider_res *s)
{
    switch (r->op) {
    case CC_OP_CREATE:
        return d->create(self, x, r->machine, &s->machine);
    case CC_OP_DESTROY:
        return d->destroy(self, x, r->id, r->purge);
    case CC_OP_START:
        return d->start(self, x, r->id, r->machine, &s->machine);
    case CC_OP_STOP:
        return d->stop(self, x, r->id);
    case CC_OP_STATUS:
        return d->status(self, x, r->id, &s->machine);
    case CC_OP_ACTIVITY:
        return d->activity(self, x, r->id, &s->activity);
    case CC_OP_LIST:
        return d->list(self, x, &s->machines);
    case CC_OP_EXEC:
        return d->exec(self, x, r->id, r->exec, &s->exec);
    case CC_OP_ATTACH:
        return d->attach(self, x, r->id, r->mount);
    case CC_OP_DETACH:
        return d->detach(self, x, r->id, r->mount->id);
    case CC_OP_VOLUME_CREATE:
        return d->volume_create(self, x, r->volume, &s->volume);
    case CC_OP_VOLUME_DELETE:
        return d->volume_delete(self, x, r->id);
    case CC_OP_VOLUME_LIST:
        return d->volume_list(self, x, &s->volumes);
    case CC_OP_SNAPSHOT_CREATE:
        return d->snapshot_create(self, x, r->id, r->snapshot, &s->snapshot);
    case CC_OP_SNAPSHOT_DELETE:
        return d->snapshot_delete(self, x, r->id, r->snapshot);
    case CC_OP_SNAPSHOT_LIST:
        return d->snapshot_list(self, x, r->id, &s->snapshots);
    case CC_OP_VOLUME_RESTORE:
        return d->volume_restore(self, x, r->id, r->snapshot);
    case CC_OP_VOLUME_CLONE:
        return d->volume_clone(self, x, r->id, r->snapshot, r->clone, &s->volume);
    case CC_OP_LOGS:
        return d->logs(self, x, r->id, r->most, &s->log);
    case CC_OP_CHECK:
        return d->check(self, x, &s->checks);
    case CC_OP_PLACES:
        return d->places(self, x, r->id, &s->places);
    case CC_OP_SUSPEND:
        return d->suspend(self, x, r->id);
    case CC_OP_MACHINE_SNAPSHOT:
        return d->machine_snapshot(self, x, r->id, r->snapshot);
    case CC_OP_MACHINE_SNAPSHOT_DELETE:
        return d->machine_snapshot_delete(self, x, r->id, r->snapshot);
    case CC_OP_MACHINE_RESTORE:
        return d->machine_restore(self, x, r->id, r->snapshot);
    case CC_OP_CONSOLE:
        return d->console(self, x, r->id, r->seconds ? r->seconds : 60, &s->console);
    case CC_OP_SCREENSHOT:
        return d->screenshot(self, x, r->id, &s->picture);
    case CC_OP_IMAGE_BUILD:
        return d->image_build(self, x, r->image, &s->image);
    case CC_OP_IMAGE_LIST:
        return d->image_list(self, x, &s->images);
    case CC_OP_IMAGE_DELETE:
        return d->image_delete(self, x, r->id);
    case CC_OP_COUNT:
        break;
    }
    return cc_err_set(x->err, CC_E_INTERNAL, "no such operation");
}

int cc_provider_perform(const struct cc_driver *d, void *self, struct cc_provider_ctx *x,
                        const struct cc_provider_req *req, struct cc_provider_res *res)
{
    memset(res, 0, sizeof(*res));
    x->err = &res->err;
    x->secret = req->secret;
    res->code = check(d, req, &res->err);
    if (res->code == 0 && req->machine && req->machine->network == CC_NET_VPC && !d->capabilities(self)->net_vpc)
        res->code = cc_err_set(&res->err, CC_E_UNSUPPORTED, "the provider %s knows no networks of users", d->name);
    if (res->code == 0)
        res->code = perform(d, self, x, req, res);
    if (res->code != 0 && res->err.code == 0)
        cc_err_set(&res->err, res->code, "the provider said no more than \"%s\"", cc_err_word(res->code));
    return res->code;
}

/* ---------------------------------------------------------------- copies */

static struct cc_pairs copy_pairs(struct cc_arena *a, const struct cc_pairs *p)
{
    struct cc_pair *v = cc_arena_alloc(a, (p->n + 1) * sizeof(*v));
    size_t i;

    for (i = 0; i < p->n; i++)
        v[i] = (struct cc_pair){ cc_arena_strdup(a, p->v[i].key), cc_arena_strdup(a, p->v[i].value) };
    return (struct cc_pairs){ v, p->n };
}

static struct cc_strs copy_strs(struct cc_arena *a, const struct cc_strs *s)
{
    const char **v = cc_arena_alloc(a, (s->n + 1) * sizeof(*v));
    size_t i;

    for (i = 0; i < s->n; i++)
        v[i] = cc_arena_strdup(a, s->v[i]);
    return (struct cc_strs){ v, s->n };
}

static const struct cc_mount_spec *copy_mounts(struct cc_arena *a, const struct cc_mount_spec *v, size_t n)
{
    struct cc_mount_spec *c = cc_arena_alloc(a, (n + 1) * sizeof(*c));
    size_t i;

    for (i = 0; i < n; i++)
        c[i] = (struct cc_mount_spec){ cc_arena_strdup(a, v[i].id), cc_arena_strdup(a, v[i].path) };
    return c;
}

static const struct cc_port_spec *copy_ports(struct cc_arena *a, const struct cc_port_spec *v, size_t n)
{
    struct cc_port_spec *c = cc_arena_alloc(a, (n + 1) * sizeof(*c));

    if (n > 0)
        memcpy(c, v, n * sizeof(*c));
    return c;
}

static const struct cc_machine_spec *copy_machine(struct cc_arena *a, const struct cc_machine_spec *s)
{
    struct cc_machine_spec *c = cc_arena_alloc(a, sizeof(*c));

    *c = *s;
    c->id = cc_arena_strdup(a, s->id);
    c->short_id = cc_arena_strdup(a, s->short_id);
    c->name = cc_arena_strdup(a, s->name);
    c->owner = cc_arena_strdup(a, s->owner);
    c->image = cc_arena_strdup(a, s->image);
    c->type = cc_arena_strdup(a, s->type);
    c->location = cc_arena_strdup(a, s->location);
    c->address = cc_arena_strdup(a, s->address);
    c->vpc.bridge = cc_arena_strdup(a, s->vpc.bridge);
    c->vpc.mac = cc_arena_strdup(a, s->vpc.mac);
    c->vpc.gateway = cc_arena_strdup(a, s->vpc.gateway);
    c->vpc.cidr = cc_arena_strdup(a, s->vpc.cidr);
    c->user_data = cc_arena_strdup(a, s->user_data);
    c->shell = cc_arena_strdup(a, s->shell);
    c->agent_key = cc_arena_strdup(a, s->agent_key);
    c->env = copy_pairs(a, &s->env);
    c->labels = copy_pairs(a, &s->labels);
    c->cmd = copy_strs(a, &s->cmd);
    c->ssh_keys = copy_strs(a, &s->ssh_keys);
    c->volumes = copy_mounts(a, s->volumes, s->n_volumes);
    c->ports = copy_ports(a, s->ports, s->n_ports);
    return c;
}

static const struct cc_exec_spec *copy_exec(struct cc_arena *a, const struct cc_exec_spec *s)
{
    struct cc_exec_spec *c = cc_arena_alloc(a, sizeof(*c));

    *c = *s;
    c->cmd = copy_strs(a, &s->cmd);
    c->in = s->in_len ? cc_arena_strndup(a, s->in, s->in_len) : NULL;
    return c;
}

static const struct cc_volume_spec *copy_volume(struct cc_arena *a, const struct cc_volume_spec *s)
{
    struct cc_volume_spec *c = cc_arena_alloc(a, sizeof(*c));

    *c = *s;
    c->id = cc_arena_strdup(a, s->id);
    c->labels = copy_pairs(a, &s->labels);
    return c;
}

static const struct cc_image_spec *copy_image(struct cc_arena *a, const struct cc_image_spec *s)
{
    struct cc_image_spec *c = cc_arena_alloc(a, sizeof(*c));

    *c = (struct cc_image_spec){ cc_arena_strdup(a, s->name), cc_arena_strdup(a, s->hash), cc_arena_strdup(a, s->type),
                                 cc_arena_strdup(a, s->location) };
    return c;
}

static void copy_req(struct job *j, const struct cc_provider_req *r)
{
    j->req = *r;
    j->req.id = cc_arena_strdup(&j->arena, r->id);
    j->req.secret = cc_arena_strdup(&j->arena, r->secret);
    if (r->machine)
        j->req.machine = copy_machine(&j->arena, r->machine);
    if (r->exec)
        j->req.exec = copy_exec(&j->arena, r->exec);
    if (r->volume)
        j->req.volume = copy_volume(&j->arena, r->volume);
    j->req.snapshot = cc_arena_strdup(&j->arena, r->snapshot);
    j->req.clone = cc_arena_strdup(&j->arena, r->clone);
    if (r->mount)
        j->req.mount = copy_mounts(&j->arena, r->mount, 1);
    if (r->image)
        j->req.image = copy_image(&j->arena, r->image);
}

/* ---------------------------------------------------------------- waiters and jobs */

static void maybe_free(struct cc_provider *p)
{
    if (!p->closing || p->jobs > 0 || p->waits)
        return;
    p->driver->close(p->self);
    free(p);
}

static void job_free(struct job *j)
{
    struct cc_provider *p = j->p;

    cc_arena_free(&j->arena);
    free(j);
    p->jobs--;
    maybe_free(p);
}

static void wait_unlink(struct cc_provider_wait *w)
{
    *w->link = w->next;
    if (w->next)
        w->next->link = w->link;
    w->p->stats.waiting--;
}

/* Tells the caller, once. `w` is dead afterwards; the provider may be. */
static void answer(struct cc_provider_wait *w, const struct cc_provider_res *res)
{
    struct cc_provider *p = w->p;
    cc_provider_done done = w->done;
    void *arg = w->arg;

    wait_unlink(w);
    cc_timer_stop(w->timer);
    free(w);
    p->stats.failed += res->code != 0;
    p->jobs++; /* holds the provider through `done` */
    done(arg, res);
    p->jobs--;
    maybe_free(p);
}

static void give_up(struct cc_provider_wait *w, int code, const char *why)
{
    struct cc_provider_res res = { .code = code };

    cc_err_set(&res.err, code, "%s", why);
    if (w->job) {
        w->job->wait = NULL;
        w->p->stats.abandoned++;
        w->job = NULL;
    }
    answer(w, &res);
}

static void on_overslept(void *arg)
{
    struct cc_provider_wait *w = arg;

    w->timer = NULL;
    w->p->stats.timed_out++;
    if (w->job)
        cc_pool_cancel(&w->job->base);
    give_up(w, CC_E_TIMEOUT, "the provider did not answer in time; it may have happened");
}

static void work(struct cc_job *base)
{
    struct job *j = (struct job *)base;
    struct cc_provider_ctx x = { .call = &base->call, .arena = &j->arena };

    if (cc_call_over(&base->call)) /* it waited in the queue for too long */
        j->res.code = cc_err_set(&j->res.err, CC_E_TIMEOUT, "the provider was too busy to begin");
    else
        cc_provider_perform(j->p->driver, j->p->self, &x, &j->req, &j->res);
}

static void on_done(struct cc_job *base)
{
    struct job *j = (struct job *)base;
    struct cc_provider_wait *w = j->wait;

    if (!w) {
        j->p->stats.abandoned--;
    } else {
        w->job = NULL;
        cc_job_unbegun(base, &j->res.code, &j->res.err);
        answer(w, &j->res);
    }
    job_free(j);
}

/* ---------------------------------------------------------------- inline drivers */

static void on_due(void *arg)
{
    struct cc_provider_wait *w = arg;
    struct job *j = w->held;

    w->timer = NULL;
    w->held = NULL;
    answer(w, &j->res);
    job_free(j);
}

static void run_inline(struct cc_provider_wait *w, struct job *j, uint64_t timeout)
{
    struct cc_provider_ctx x = { .call = &j->base.call, .arena = &j->arena };

    j->base.call.wake_fd = -1;
    cc_provider_perform(w->p->driver, w->p->self, &x, &j->req, &j->res);
    w->job = NULL;
    w->held = j;
    if (x.delay_ms >= timeout) { /* lost, or too late to be heard */
        memset(&j->res, 0, sizeof(j->res));
        j->res.code =
            cc_err_set(&j->res.err, CC_E_TIMEOUT, "the provider did not answer in time; it may have happened");
        w->p->stats.timed_out++;
        x.delay_ms = timeout;
    }
    w->timer = cc_timer_start(w->p->loop, x.delay_ms, on_due, w);
}

/* ---------------------------------------------------------------- verbs */

/* `threads` is ours; the driver sees the rest. */
static int own_settings(const struct cc_driver *d, const struct cc_pairs *all, struct cc_arena *a,
                        struct cc_pairs *rest, unsigned *threads, struct cc_err *err)
{
    const char *text = cc_pairs_get(all, "threads", NULL);
    struct cc_pair *v = cc_arena_alloc(a, ((all ? all->n : 0) + 1) * sizeof(*v));
    size_t i, n = 0;
    long t = text ? strtol(text, NULL, 10) : (long)d->threads;

    if (text && (t < 1 || t > 256))
        return cc_err_set(err, CC_E_INVALID, "provider %s: threads must be 1 to 256", d->name);
    for (i = 0; all && i < all->n; i++)
        if (strcmp(all->v[i].key, "threads") != 0)
            v[n++] = all->v[i];
    *rest = (struct cc_pairs){ v, n };
    *threads = (unsigned)t;
    return 0;
}

struct cc_provider *cc_provider_open_driver(uv_loop_t *loop, const struct cc_driver *d, const struct cc_pairs *settings,
                                            struct cc_err *err)
{
    struct cc_arena a = { 0 };
    struct cc_pairs rest;
    struct cc_provider *p;
    unsigned threads;
    void *self;
    int r = own_settings(d, settings, &a, &rest, &threads, err);

    if (r == 0)
        r = d->open(&rest, &self, err);
    cc_arena_free(&a);
    if (r != 0)
        return NULL;
    p = cc_xcalloc(1, sizeof(*p));
    p->driver = d;
    p->self = self;
    p->loop = loop;
    if (!(d->flags & CC_DRIVER_INLINE))
        p->pool = cc_pool_new(loop, d->name, threads);
    return p;
}

struct cc_provider *cc_provider_open(uv_loop_t *loop, const char *name, const struct cc_pairs *settings,
                                     struct cc_err *err)
{
    const struct cc_driver *d = cc_driver_find(name);

    if (d)
        return cc_provider_open_driver(loop, d, settings, err);
    cc_err_set(err, CC_E_NOT_FOUND, "no provider \"%.60s\" in this build", name);
    return NULL;
}

static void on_unwatched(void *arg)
{
    struct cc_provider *p = arg;

    p->jobs--;
    maybe_free(p);
}

void cc_provider_close(struct cc_provider *p)
{
    struct cc_provider_wait *w;

    p->closing = true;
    p->jobs++;
    while ((w = p->waits)) {
        struct job *held = w->held; /* NOLINT(clang-analyzer-unix.Malloc): give_up unlinked the one before */

        if (w->job)
            cc_pool_cancel(&w->job->base);
        w->held = NULL;
        give_up(w, CC_E_CANCELLED, "the provider is being closed");
        if (held)
            job_free(held);
    }
    if (p->pool)
        cc_pool_close(p->pool);
    p->pool = NULL;
    if (p->watching) /* which holds the provider as a job does */
        cc_watching_stop(p->watching, on_unwatched, p);
    else
        p->jobs--;
    p->watching = NULL;
    maybe_free(p);
}

bool cc_provider_watch(struct cc_provider *p, cc_watching_news news, void *arg)
{
    if (!p->driver->watch)
        return false;
    assert(!p->watching && !p->closing);
    p->watching = cc_watching_start(p->loop, p->driver, p->self, news, arg);
    return true;
}

const struct cc_driver *cc_provider_driver(struct cc_provider *p) { return p->driver; }

const struct cc_capabilities *cc_provider_capabilities(struct cc_provider *p)
{
    return p->driver->capabilities(p->self);
}

int cc_provider_endpoint(struct cc_provider *p, const char *provider_id, struct cc_endpoint *out, struct cc_err *err)
{
    return p->driver->endpoint(p->self, provider_id, out, err);
}

struct cc_provider_wait *cc_provider_call(struct cc_provider *p, const struct cc_provider_req *req,
                                          cc_provider_done done, void *arg)
{
    struct cc_provider_wait *w = cc_xcalloc(1, sizeof(*w));
    struct job *j = cc_xcalloc(1, sizeof(*j));
    uint64_t timeout = req->timeout_ms ? req->timeout_ms : p->driver->default_timeout_ms;

    assert(!p->closing);
    w->p = p;
    w->done = done;
    w->arg = arg;
    w->job = j;
    w->link = &p->waits;
    if ((w->next = p->waits))
        w->next->link = &w->next;
    p->waits = w;
    p->stats.waiting++;
    p->stats.calls++;
    p->jobs++;
    j->p = p;
    j->wait = w;
    copy_req(j, req);
    j->base.call.deadline_ms = cc_mono_ms() + timeout;
    if (!p->pool) {
        run_inline(w, j, timeout);
        return w;
    }
    j->base.work = work;
    j->base.done = on_done;
    j->res.code = cc_err_set(&j->res.err, CC_E_CANCELLED, "cancelled before it began"); /* work says otherwise */
    w->timer = cc_timer_start(p->loop, timeout + GRACE_MS, on_overslept, w);
    cc_pool_submit(p->pool, &j->base);
    return w;
}

void cc_provider_cancel(struct cc_provider_wait *w)
{
    struct cc_provider *p = w->p;
    struct job *held = w->held;

    if (w->job) {
        w->job->wait = NULL;
        p->stats.abandoned++;
        cc_pool_cancel(&w->job->base);
    }
    p->stats.cancelled++;
    wait_unlink(w);
    cc_timer_stop(w->timer);
    free(w);
    if (held)
        job_free(held);
    maybe_free(p);
}

void cc_provider_stats(struct cc_provider *p, struct cc_provider_stats *out)
{
    *out = p->stats;
    if (p->pool)
        cc_pool_stats(p->pool, &out->pool);
}
