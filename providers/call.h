/* call.h - a provider opened, and calls to it from the loop.
 *
 * cc_provider_call copies what it is given, runs the driver on the provider's
 * own pool (or on the loop, for CC_DRIVER_INLINE) and delivers the answer on
 * the loop.  A driver that has not returned a while after its deadline (GRACE)
 * is given up: the waiter gets "timeout", the pool keeps the job until it
 * returns, and its late answer is dropped.
 * Thread: loop, except cc_provider_perform.
 */
#ifndef CC_PROVIDER_CALL_H
#define CC_PROVIDER_CALL_H

#include "providers/provider.h"
#include "providers/watching.h"

#include <uv.h>

enum cc_provider_op {
    CC_OP_CREATE,
    CC_OP_DESTROY,
    CC_OP_START,
    CC_OP_STOP,
    CC_OP_STATUS,
    CC_OP_ACTIVITY,
    CC_OP_LIST,
    CC_OP_EXEC,
    CC_OP_ATTACH,
    CC_OP_DETACH,
    CC_OP_VOLUME_CREATE,
    CC_OP_VOLUME_DELETE,
    CC_OP_VOLUME_LIST,
    CC_OP_SUSPEND, /* "unsupported" where the driver has none, like those below */
    CC_OP_MACHINE_SNAPSHOT,
    CC_OP_MACHINE_SNAPSHOT_DELETE,
    CC_OP_MACHINE_RESTORE,
    CC_OP_SNAPSHOT_CREATE,
    CC_OP_SNAPSHOT_DELETE,
    CC_OP_SNAPSHOT_LIST,
    CC_OP_VOLUME_RESTORE,
    CC_OP_VOLUME_CLONE,
    CC_OP_LOGS,
    CC_OP_CHECK,
    CC_OP_PLACES,
    CC_OP_CONSOLE,
    CC_OP_SCREENSHOT,
    CC_OP_IMAGE_BUILD,
    CC_OP_IMAGE_LIST,
    CC_OP_IMAGE_DELETE,
    CC_OP_COUNT
};

extern const char *const cc_provider_op_names[CC_OP_COUNT]; /* "create", "volume_create", ... */

struct cc_provider_req {
    enum cc_provider_op op;
    const char *id;                        /* provider_id, or the volume's or image's id; places: the type */
    const struct cc_machine_spec *machine; /* create; start: what has changed, or NULL */
    const struct cc_exec_spec *exec;
    const struct cc_volume_spec *volume;
    const struct cc_image_spec *image;
    const struct cc_mount_spec *mount; /* attach; detach: its id alone */
    const char *snapshot;              /* of the machine, or the volume, `id`; clone: or NULL */
    const char *clone;                 /* the new volume's id */
    uint32_t seconds;                  /* console: how long its password is good */
    size_t most;                       /* logs: bytes */
    bool purge;                        /* destroy: the volumes that create made for it, too */
    const char *secret;                /* of the machine's agent, or NULL */
    uint64_t timeout_ms;               /* 0: the driver's default */
};

struct cc_provider_res {
    int code; /* 0, or err.code */
    struct cc_err err;
    struct cc_machine_info machine; /* create, start, status */
    struct cc_machine_list machines;
    struct cc_activity activity;
    struct cc_exec_result exec;
    struct cc_volume_info volume;
    struct cc_volume_list volumes;
    struct cc_snapshot snapshot;
    struct cc_snapshot_list snapshots;
    struct cc_log_text log;
    struct cc_check_list checks;
    struct cc_strs places;
    struct cc_console console;
    struct cc_picture picture;
    struct cc_image_info image;
    struct cc_image_list images;
};

struct cc_provider;
struct cc_provider_wait;
/* `res` is valid until it returns. [loop] */
typedef void (*cc_provider_done)(void *arg, const struct cc_provider_res *res);

/* NULL and err when the name is unknown or the driver refuses its settings. `threads` among them
 * bounds the pool (1..256) and is not the driver's. */
struct cc_provider *cc_provider_open(uv_loop_t *loop, const char *name, const struct cc_pairs *settings,
                                     struct cc_err *err);

/* The same with a driver that is in no list: for tests. */
struct cc_provider *cc_provider_open_driver(uv_loop_t *loop, const struct cc_driver *d, const struct cc_pairs *settings,
                                            struct cc_err *err);

/* Cancels what is under way (those waiters get "cancelled"), and frees all once the last job has returned. */
void cc_provider_close(struct cc_provider *p);

const struct cc_driver *cc_provider_driver(struct cc_provider *p);
const struct cc_capabilities *cc_provider_capabilities(struct cc_provider *p);
int cc_provider_endpoint(struct cc_provider *p, const char *provider_id, struct cc_endpoint *out, struct cc_err *err);

/* `done` runs exactly once, in a later turn of the loop, unless cc_provider_cancel came first. */
struct cc_provider_wait *cc_provider_call(struct cc_provider *p, const struct cc_provider_req *req,
                                          cc_provider_done done, void *arg);

/* The waiter has gone: `done` will not run. The driver sees cancelled, and may or may not stop. */
void cc_provider_cancel(struct cc_provider_wait *w);

/* From now on `news` hears of what changes at the provider (watching.h), until it is closed; once. False: its driver cannot. */
bool cc_provider_watch(struct cc_provider *p, cc_watching_news news, void *arg);

struct cc_provider_stats {
    struct cc_pool_stats pool;
    uint64_t calls, failed, timed_out, cancelled;
    unsigned waiting;   /* waiters now */
    unsigned abandoned; /* jobs given up that have not returned yet */
};
void cc_provider_stats(struct cc_provider *p, struct cc_provider_stats *out);

/* The bare call of a driver, arguments checked, on the caller's thread. Answers live in x->arena. [worker] */
int cc_provider_perform(const struct cc_driver *d, void *self, struct cc_provider_ctx *x,
                        const struct cc_provider_req *req, struct cc_provider_res *res);

#endif
