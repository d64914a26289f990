/* local.h - the parts of the `local` driver (local.c ties them together).
 *
 * DIR/machines/SHORT/   machine.json  what it is (written whole, before it first starts)
 *                       lock          held by its pid 1 while it lives; see launch/launch.h
 *                       agent.sock    where its agent listens, while it lives
 *                       log           what pid 1, the agent and pasta had to say
 *                       home/         its /home;   changes/: to its image
 *                       ssh/          host_key and host_key.pub (made once), authorized_keys, sshd_config
 * DIR/volumes/ID/       volume.json, lock, data/
 * DIR/images/KEY/       unpacked root file systems
 * DIR/slots/N           link to SHORT: whose uid range that is (as root)
 * DIR/ports/N           link to SHORT: whose port of 127.0.0.1 that is, for ssh
 * DIR/locks/            one operation at a time on a machine or volume, over all processes
 * DIR/bin/              the programs that this binary carries
 * DIR/trash/            what is being deleted
 */
#ifndef CC_LOCAL_H
#define CC_LOCAL_H

#include "providers/files.h"
#include "providers/host_key.h"
#include "providers/provider.h"
#include "providers/spec.h"
#include "providers/talk.h"

#include <jansson.h>
#include <pthread.h>
#include <sys/types.h>

enum { CC_LOCAL_MANY = 32, CC_SLOT_UIDS = 65536 };

struct cc_list {
    char *v[CC_LOCAL_MANY];
    size_t n;
};

/* cgroup.c. v1: a directory per controller; v2: one. Empty strings where there is none. */
enum cc_controller { CC_CG_MEMORY, CC_CG_PIDS, CC_CG_CPU, CC_CG_COUNT };

struct cc_cgroups {
    bool v2;
    char base[CC_CG_COUNT][512]; /* parents of the machines' groups; v2: all the same */
    char why[CC_CG_COUNT][128];  /* why a controller is missing */
};

struct cc_local {
    char *dir;  /* absolute */
    int dir_fd; /* cc_dir_share */
    bool root;  /* machines have uid ranges of their own */
    unsigned long uid_base, slots;
    struct cc_list share, hide, block;
    char *launch, *agent, *filter, *pasta, *dns;
    char *spawner;                /* socket of cchost-spawner; NULL: we start launchers ourselves */
    char *sshd;                   /* NULL: wherever it is */
    uint32_t ssh_first, ssh_last; /* ports for ssh */
    char *shell;                  /* of terminals, where the machine does not say; NULL: the agent's own choice */
    uint32_t stop_grace_ms, pids, memory_mib, disk_gib;
    double vcpu;
    char no_machines[200]; /* why this host can make none, or "" */
    char no_nat[200];
    struct cc_cgroups cg;
    struct cc_capabilities caps;
    struct cc_unenforced missing[8];
};

/* A machine as its directory tells it. Strings live in the arena. */
struct cc_machine {
    const char *short_id;
    struct cc_machine_spec spec;
    unsigned long uid_base; /* 0: the caller's own uid */
    bool own_volume;        /* create made the volume cc-SHORT */
    bool made;              /* was ready at least once before its last start, which its lock tells of */
    struct {
        uint32_t port; /* stays the machine's also while it cannot have ssh */
        const char *sshd, *host_key, *fingerprint;
        const char *why; /* of its last start; NULL: it has ssh, if it was given keys */
    } ssh;
    const char *group[CC_CG_COUNT]; /* control groups of its last start, NULL: none */
    bool group_v2;
};

struct cc_alive {
    bool locked, ready, began; /* began: its last start came to its end */
    pid_t pid;                 /* 0: not known */
    int64_t ticks, started_at;
};

/* ---- host.c: settings, and what this host can give */
int cc_local_settings(struct cc_local *l, const struct cc_pairs *settings, struct cc_err *err);
int cc_local_install(struct cc_local *l, bool nested, struct cc_err *err); /* directories, carried programs, filter */
void cc_local_probe(struct cc_local *l);

/* ---- cgroup.c */
void cc_cgroups_find(struct cc_cgroups *cg, const char *wish);
int cc_cgroups_make(const struct cc_local *l, struct cc_arena *a, struct cc_machine *m, struct cc_err *err);
void cc_cgroups_remove(const struct cc_machine *m);
/* A spawner's: it makes them, by these words ("FILE=VALUE", at most CC_LIMITS). */
enum { CC_LIMITS = 4 };
void cc_cgroups_theirs(struct cc_cgroups *cg, bool given);
void cc_cgroups_words(const struct cc_local *l, struct cc_arena *a, const struct cc_machine_spec *s, const char **out);

/* ---- machine.c */
const char *cc_machine_path(const struct cc_local *l, struct cc_arena *a, const char *short_id, const char *leaf);
int cc_machine_load(const struct cc_local *l, struct cc_arena *a, const char *short_id, struct cc_machine *out,
                    struct cc_err *err);
int cc_machine_save(const struct cc_local *l, struct cc_arena *a, const struct cc_machine *m, struct cc_err *err);
void cc_machine_alive(const struct cc_local *l, const char *short_id, struct cc_alive *out);
bool cc_machine_made(const struct cc_machine *m, const struct cc_alive *alive); /* was ready at least once */
void cc_machine_info(const struct cc_local *l, struct cc_arena *a, const struct cc_machine *m,
                     const struct cc_alive *alive, struct cc_machine_info *out);
int cc_local_slot(const struct cc_local *l, const char *short_id, unsigned long *uid_base, struct cc_err *err);
void cc_local_slot_free(const struct cc_local *l, const char *short_id);

/* ---- check.c */
int cc_local_check(void *self, struct cc_provider_ctx *x, struct cc_check_list *out);

/* ---- ssh.c */
/* Where a machine has its sshd: the host's own, or the image's. NULL: nowhere. */
const char *cc_local_sshd(const struct cc_local *l, struct cc_arena *a, const char *image_root);
/* Before a start: everything that its sshd needs, or why it cannot be. Never a reason not to start. */
void cc_ssh_prepare(const struct cc_local *l, struct cc_arena *a, struct cc_machine *m, const char *image_root);
/* After it: waits until sshd answers. True: it does not, and `why` has changed. */
bool cc_ssh_await(const struct cc_local *l, struct cc_provider_ctx *x, struct cc_machine *m);
void cc_ssh_forget(const struct cc_local *l, const struct cc_machine *m); /* its port is free again */

/* ---- files.c */
int cc_shift_owners(const char *path, unsigned long from, unsigned long to); /* a range of uids */

/* ---- launch.c */
int cc_local_launch(const struct cc_local *l, struct cc_provider_ctx *x, struct cc_machine *m, const char *image_root);
/* Ends it: TERM, at most grace_ms, KILL; returns when no process of it is left. */
int cc_local_end(const struct cc_local *l, struct cc_provider_ctx *x, const char *short_id, uint32_t grace_ms);
/* Runs `launch ARGS` to its end, by the spawner if there is one; output (stderr) into `text`. Exit status or -1. */
int cc_local_run(const char *spawner, const char *const *argv, char *text, size_t size);

/* ---- image.c */
int cc_image_check(const char *image, struct cc_err *err);
int cc_image_root(const struct cc_local *l, struct cc_provider_ctx *x, const char *image, const char **root);

/* ---- volume.c */
struct cc_volume {
    uint32_t size_gib;
    unsigned long uid_base; /* whose its files are */
};
int cc_volume_load(const struct cc_local *l, struct cc_arena *a, const char *id, struct cc_volume *out,
                   struct cc_err *err);
int cc_volume_describe(const char *path, const struct cc_volume *v, struct cc_err *err); /* what load reads */
/* One operation on it at a time: a descriptor whose close ends it, or an error. */
int cc_volume_lock(const struct cc_local *l, struct cc_provider_ctx *x, const char *id);
int cc_volume_make(const struct cc_local *l, struct cc_provider_ctx *x, const struct cc_volume_spec *spec,
                   struct cc_volume_info *out);
int cc_volume_drop(const struct cc_local *l, struct cc_provider_ctx *x, const char *id);
int cc_volume_all(const struct cc_local *l, struct cc_provider_ctx *x, struct cc_volume_list *out);
int cc_volume_free(const struct cc_local *l, struct cc_provider_ctx *x, const char *id); /* there, and in no use */
/* Before a start: gives the data to the machine's uids. */
int cc_volume_attach(const struct cc_local *l, struct cc_provider_ctx *x, const char *id, unsigned long uid_base);
const char *cc_volume_path(const struct cc_local *l, struct cc_arena *a, const char *id, const char *leaf);

/* ---- snapshot.c, as the calls of provider.h */
int cc_snapshot_take(const struct cc_local *l, struct cc_provider_ctx *x, const char *volume, const char *name,
                     struct cc_snapshot *out);
int cc_snapshot_drop(const struct cc_local *l, struct cc_provider_ctx *x, const char *volume, const char *name);
int cc_snapshot_all(const struct cc_local *l, struct cc_provider_ctx *x, const char *volume,
                    struct cc_snapshot_list *out);
int cc_snapshot_restore(const struct cc_local *l, struct cc_provider_ctx *x, const char *volume, const char *name);
int cc_snapshot_clone(const struct cc_local *l, struct cc_provider_ctx *x, const char *volume, const char *name,
                      const char *clone, struct cc_volume_info *out);

#endif
