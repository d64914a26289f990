/* mock.h - the parts of the `mock` driver.
 *
 *   mock.c     the driver: machines, and snapshots of them
 *   volume.c   volumes, what they are attached to, and snapshots of them
 *   inside.c   what is asked of a machine that runs
 *   turn.c     what is around every call: a mishap drawn, what was done written down
 *   script.c   the settings; its head is the manual of what can be made to go wrong
 *   mishap.c   which mishap a call meets, and how long its answer takes: counted, or drawn from the seed
 *   world.c    machines and volumes in memory
 *   journal.c  the same in a file that several processes share and that a kill leaves whole; the ledger
 *   late.c     effects that take place after their caller has given up
 *
 * Thread: loop. One struct cc_mock is one process's view of the world.
 */
#ifndef CC_MOCK_H
#define CC_MOCK_H

#include "providers/call.h"

#include <jansson.h>
#include <sys/types.h>

enum { CC_MOCK_BUCKETS = 1024, CC_MOCK_WAIT_MS = 50 };

/* What may go wrong with a call; at most one of them does. */
enum cc_mishap {
    CC_MISHAP_FAIL,  /* an error, and no effect */
    CC_MISHAP_AFTER, /* an error, although the effect took place */
    CC_MISHAP_LOSE,  /* the effect, and never an answer */
    CC_MISHAP_HALF,  /* create: an error, and a machine that is half-made */
    CC_MISHAP_LATE,  /* no answer, and the effect once the caller has given up */
    CC_MISHAP_COUNT,
    CC_MISHAP_NONE = CC_MISHAP_COUNT
};

enum cc_half { CC_HALF_NO, CC_HALF_ERROR, CC_HALF_STARTING }; /* what a half-made machine says it is, for ever */

struct cc_mock_machine {
    struct cc_mock_machine *next;
    char *short_id, *id, *name, *image;
    char *agent_key; /* or NULL */
    json_t *report;  /* what its agent says, over m->report, until its next start; or NULL */
    double vcpu;
    uint32_t memory_mib, disk_gib;
    struct cc_mount_spec mounts[CC_MOUNTS_MAX]; /* owned strings */
    size_t n_mounts;
    json_t *snapshots; /* {name: true}, or NULL */
    enum cc_half half;
    bool ssh;                /* was given keys */
    bool suspended;          /* beside running */
    bool running, destroyed; /* destroyed ones stay in memory while a late list shows them */
    int64_t created_at, started_at, ready_at, destroyed_at;
};

struct cc_mock_volume {
    struct cc_mock_volume *next;
    char *id;
    uint32_t size_gib;
    json_t *snapshots; /* {NAME: {size_gib, created_at}} */
};

#define CC_MOCK_OPS CC_OP_LOGS /* the calls that it knows: all before those that a driver need not have */

/* What an operation does besides its work. */
struct cc_mock_whim {
    uint64_t latency_ms, latency_max_ms;
    unsigned count[CC_MISHAP_COUNT]; /* how many of the next calls */
    double chance[CC_MISHAP_COUNT];  /* of each call after those; together at most 1 */
    int code;                        /* of the errors */
    int64_t retry_after_ms;
    bool after; /* the failures of count[FAIL] come after the effect */
};

struct cc_mock_late;  /* late.c */
struct cc_mock_tries; /* mishap.c */

struct cc_mock {
    struct cc_mock_machine *machines[CC_MOCK_BUCKETS];
    struct cc_mock_volume *volumes;
    struct cc_mock_late *late; /* by when they are due */
    uint64_t late_number;      /* of the newest */
    size_t objects;            /* machines that are not destroyed, volumes, late effects: the lines of a new journal */

    struct cc_mock_whim whim[CC_MOCK_OPS];
    struct cc_mock_tries *tries[CC_MOCK_BUCKETS];
    uint64_t seed, boot_ms, list_lag_ms, late_ms;
    unsigned orphans;
    char *path, *ledger_path; /* or NULL */
    char *endpoint, *exec_out, *ssh_why, *places;
    json_t *report; /* what every agent says, or NULL */
    int exec_exit;
    struct cc_capabilities caps;

    int fd, ledger_fd;     /* of the files; -1 */
    off_t read;            /* how far the state file is known */
    size_t lines;          /* in it */
    uint64_t lives;        /* how many processes have opened it */
    uint64_t life;         /* which of them this one is */
    uint64_t effects;      /* how many there have been */
    unsigned orphans_made; /* of m->orphans, by any process */
    bool doubtful;         /* a write failed: read all anew */
};

/* script.c */
extern const char *const cc_mock_mishaps[CC_MISHAP_COUNT];
int cc_mock_script(struct cc_mock *m, const struct cc_pairs *settings, struct cc_err *err);

/* mishap.c: `key` is the machine's short id or the volume's id, "" for list. */
enum cc_mishap cc_mock_mishap(struct cc_mock *m, enum cc_provider_op op, const char *key, uint64_t *latency_ms,
                              enum cc_half *half);
uint64_t cc_mock_draw(uint64_t seed, uint64_t a, uint64_t b); /* the same for the same three */
void cc_mock_forget_tries(struct cc_mock *m);

/* world.c */
struct cc_mock_machine *cc_mock_find(struct cc_mock *m, const char *short_id, bool destroyed_too);
struct cc_mock_machine *cc_mock_add(struct cc_mock *m, const char *short_id);
void cc_mock_run(struct cc_mock *m, struct cc_mock_machine *v);
/* May free it: only a late list keeps it. At 0 it has never been, for any list. */
void cc_mock_destroy(struct cc_mock *m, struct cc_mock_machine *v, int64_t at);
void cc_mock_bury(struct cc_mock *m); /* frees those that no list shows any more */
void cc_mock_mount(struct cc_mock_machine *v, const struct cc_mount_spec *mount);
void cc_mock_unmount(struct cc_mock_machine *v, const char *volume_id);
/* The machine that runs and has this volume, or NULL. */
struct cc_mock_machine *cc_mock_user(struct cc_mock *m, const char *volume_id);
/* 0 when `v` (NULL: a new machine) may have this volume: it is there, and no other machine that runs has it. */
int cc_mock_usable(struct cc_mock *m, const char *volume_id, const struct cc_mock_machine *v, struct cc_err *err);
int cc_mock_all_usable(struct cc_mock *m, const struct cc_mock_machine *v, struct cc_err *err); /* those of `v` */
struct cc_mock_volume *cc_mock_volume(struct cc_mock *m, const char *id, bool make);
void cc_mock_drop_volume(struct cc_mock *m, const char *id);
json_t *cc_mock_volume_json(const struct cc_mock_volume *v);
void cc_mock_volume_load(struct cc_mock *m, const json_t *o); /* from that text */
json_t *cc_mock_machine_json(const struct cc_mock_machine *v);
/* From that text; the machine of that short id gives way. NULL when it is none. */
struct cc_mock_machine *cc_mock_machine_load(struct cc_mock *m, const json_t *o);
void cc_mock_forget(struct cc_mock *m); /* the world is empty */

/* journal.c: between lock and unlock no other process changes the world, and this one knows it as it is. One that keeps
 * the file longer than CC_MOCK_WAIT_MS makes the lock "unavailable". */
int cc_mock_open(struct cc_mock *m, struct cc_err *err);
void cc_mock_close(struct cc_mock *m);
int cc_mock_lock(struct cc_mock *m, struct cc_err *err);
void cc_mock_unlock(struct cc_mock *m);
/* What a call came to in memory. `what` is what a reader of the file needs to repeat it, consumed; NULL: nothing. */
struct cc_mock_effect {
    const char *op, *short_id, *id;
    bool changed;          /* it found something to do: what the ledger says */
    enum cc_mishap mishap; /* which the ledger tells, too */
    json_t *what;
    const struct cc_machine_spec *spec; /* of create and start; or NULL */
    bool purge;                         /* of destroy */
};
int cc_mock_record(struct cc_mock *m, const struct cc_mock_effect *e, struct cc_err *err);
int cc_mock_note(struct cc_mock *m, json_t *what, struct cc_err *err); /* a line that is no effect; consumed */

/* late.c */
/* `machine` is consumed: for create what it makes, else NULL. */
const struct cc_mock_late *cc_mock_late_add(struct cc_mock *m, enum cc_provider_op op, const char *short_id,
                                            json_t *machine, int64_t due);
void cc_mock_late_drop(struct cc_mock *m, uint64_t number);
void cc_mock_late_load(struct cc_mock *m, const json_t *o);
json_t *cc_mock_late_json(const struct cc_mock_late *l);
const struct cc_mock_late *cc_mock_late_next(const struct cc_mock *m, const struct cc_mock_late *l); /* NULL: first */
int cc_mock_late_run(struct cc_mock *m, struct cc_err *err); /* those that are due */
void cc_mock_late_forget(struct cc_mock *m);

/* turn.c */
/* A call between enter and leave. Enter: 0 and the world locked, or an error; leave: `r` is what the effect came to. */
struct cc_mock_turn {
    enum cc_provider_op op;
    const char *key; /* the short id, the volume's id, or "" */
    const char *id;  /* of the machine, for the ledger */
    enum cc_mishap mishap;
    enum cc_half half;
    const char *did; /* for the ledger: what was done, when that is not the operation's name */
    json_t *what;    /* the change, as the journal has it; NULL: none */
    const struct cc_machine_spec *spec;
    bool purge;
};
int cc_mock_enter(struct cc_mock *m, struct cc_provider_ctx *x, enum cc_provider_op op, const char *key,
                  struct cc_mock_turn *t);
int cc_mock_enter_machine(struct cc_mock *m, struct cc_provider_ctx *x, enum cc_provider_op op, const char *provider_id,
                          struct cc_mock_turn *t);
/* The machine that the call is about. */
int cc_mock_there(struct cc_mock *m, struct cc_provider_ctx *x, struct cc_mock_turn *t, struct cc_mock_machine **out);
/* The effect takes place now: a late one waits until the caller has given up. */
bool cc_mock_now(const struct cc_mock_turn *t);
void cc_mock_changed(struct cc_mock_turn *t, const struct cc_mock_machine *v);
int cc_mock_leave(struct cc_mock *m, struct cc_provider_ctx *x, struct cc_mock_turn *t, int r);

/* volume.c, inside.c: calls of the driver (providers/call.h). */
int cc_mock_attach(void *self, struct cc_provider_ctx *x, const char *provider_id, const struct cc_mount_spec *volume);
int cc_mock_detach(void *self, struct cc_provider_ctx *x, const char *provider_id, const char *volume_id);
int cc_mock_volume_create(void *self, struct cc_provider_ctx *x, const struct cc_volume_spec *spec,
                          struct cc_volume_info *out);
int cc_mock_volume_delete(void *self, struct cc_provider_ctx *x, const char *id);
int cc_mock_volume_list(void *self, struct cc_provider_ctx *x, struct cc_volume_list *out);
int cc_mock_snapshot_create(void *self, struct cc_provider_ctx *x, const char *volume, const char *snapshot,
                            struct cc_snapshot *out);
int cc_mock_snapshot_delete(void *self, struct cc_provider_ctx *x, const char *volume, const char *snapshot);
int cc_mock_snapshot_list(void *self, struct cc_provider_ctx *x, const char *volume, struct cc_snapshot_list *out);
int cc_mock_volume_restore(void *self, struct cc_provider_ctx *x, const char *volume, const char *snapshot);
int cc_mock_volume_clone(void *self, struct cc_provider_ctx *x, const char *volume, const char *snapshot,
                         const char *clone, struct cc_volume_info *out);
int cc_mock_activity(void *self, struct cc_provider_ctx *x, const char *provider_id, struct cc_activity *out);
int cc_mock_exec(void *self, struct cc_provider_ctx *x, const char *provider_id, const struct cc_exec_spec *spec,
                 struct cc_exec_result *out);

#endif
