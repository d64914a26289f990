/* provider.h - where machines come from: the contract of a driver.
 *
 * A driver is a struct of functions over plain data.  It is straight-line C
 * that may block: the host runs each call on a bounded pool of that
 * provider's own (call.h), so a provider that hangs delays nobody else.  A
 * driver knows no Lua, no store, no money and no policy.
 *
 * Every call is idempotent, because the workflow that asks may have crashed
 * after the effect and before the answer: create of a machine that is there
 * finds it, destroy of one that is not is a success, start of a running one
 * and stop of a stopped one are successes, and so are attach of what is
 * attached there and detach of what is not attached.  What is neither there
 * nor was is "not_found" from every call but create, destroy and list.
 *
 * Thread: open, close and capabilities on the loop; the calls on any worker,
 * several at once, also for the same machine (the driver serializes those).
 * Ownership: arguments are the caller's until the call returns; every answer
 * lives in the call's arena.  README.md beside this file is the longer story.
 */
#ifndef CC_PROVIDER_H
#define CC_PROVIDER_H

#include "host/sys/err.h"
#include "host/sys/lease.h"
#include "host/sys/pool.h"
#include "providers/arena.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A setting, a label, an environment variable. Lists of them carry their length. */
struct cc_pair {
    const char *key, *value;
};
struct cc_pairs {
    const struct cc_pair *v;
    size_t n;
};
struct cc_strs {
    const char *const *v;
    size_t n;
};

enum cc_network { CC_NET_NAT, CC_NET_NONE, CC_NET_HOST, CC_NET_VPC };

/* Its place in a network of its owner's (providers/network), where the driver has the capability net_vpc: an interface with that
 * MAC on that bridge, known there by the machine's id. The guest is told its address, for nothing there hands out any. */
struct cc_vpc_spec {
    const char *bridge, *mac;
    const char *gateway; /* whom the guest asks for the other parts of `cidr`, the whole network */
    const char *cidr;    /* NULL: its part is the whole */
    bool plain;          /* the switch computes no checksums: the guest does */
};

struct cc_mount_spec {
    const char *id, *path;
}; /* a volume and where it stands in the machine */

struct cc_port_spec {
    uint16_t port; /* of the machine, TCP */
    uint16_t at;   /* of the host, on its loopback unless the driver was set otherwise; 0: any */
};

struct cc_machine_spec {
    const char *id;       /* the record's uuid; kept as a label */
    const char *short_id; /* 12 hex digits: cc-<short> is its name at the provider */
    const char *name;     /* for people; its hostname where that is possible */
    const char *owner;    /* machines of one owner may share a network, those of two never; NULL: the operator's */
    const char *image;    /* NULL: the driver's default */
    const char *type;     /* the record's; for drivers whose provider sells types of its own, which may have that one */
    const char *location; /* NULL: the driver's default */
    const char
        *address; /* its address in the owner's network, "10.1.2.3/24", chosen by the host; NULL: the driver's choice */
    const char *user_data; /* cloud-init's, for drivers that boot a system; holds no lasting secret */
    double vcpu;           /* 0: the driver's default, here and below */
    uint32_t memory_mib, disk_gib;
    enum cc_network network;
    struct cc_vpc_spec vpc; /* with CC_NET_VPC */
    struct cc_pairs env, labels;
    struct cc_strs cmd; /* run once at each start, beside the agent */
    const char *shell;  /* of the terminal, for sh -c; NULL: zellij, tmux or the login shell */
    const char *
        agent_key; /* what its agent compares the secret with: its SHA-256, in lower-case hex; NULL: it asks for none */
    uint32_t ring, sessions; /* of its agent's terminals (--ring, --sessions); 0: the agent's own */
    struct cc_strs ssh_keys; /* public keys, one line each: who may log in over ssh; none: nobody asked for ssh */
    const struct cc_mount_spec *volumes;
    size_t n_volumes;
    const struct cc_port_spec *ports;
    size_t n_ports;
};

/* CC_M_SUSPENDED: its memory is kept, it has no processor until a start. */
enum cc_machine_state { CC_M_STARTING, CC_M_RUNNING, CC_M_STOPPED, CC_M_ERROR, CC_M_GONE, CC_M_SUSPENDED };

/* Asked for, but this host or provider cannot hold anybody to it. Never silent. */
struct cc_unenforced {
    const char *what, *why;
};

/* How a machine that was given ssh_keys is logged in to. All NULL: it was given none. `why` alone: it cannot be. */
struct cc_ssh {
    const char *host, *user;
    uint32_t port;
    const char *host_key;    /* its public key, "ssh-ed25519 AAAA..."; NULL: not known yet */
    const char *fingerprint; /* of that key, "SHA256:..." */
    const char *why;
};

enum { CC_SSH_KEYS_MAX = 64 };

struct cc_machine_info {
    const char *provider_id;
    const char *id, *name, *image;
    enum cc_machine_state state;
    const char *reason;  /* of CC_M_ERROR, else NULL */
    const char *health;  /* "starting", "healthy", "unhealthy", as the image's own check has it; NULL: it has none */
    const char *address; /* IP address, NULL where there is none */
    const char *socket;  /* path of the agent's unix socket, or NULL */
    const struct cc_port_spec *ports; /* those that are published: `at` is the host's, at ports_address */
    size_t n_ports;
    const char *ports_address;
    struct cc_ssh ssh;  /* stays over stop and start where the provider can */
    int64_t started_at; /* unix ms, 0 while stopped */
    double vcpu;        /* limits as applied; 0: none */
    uint32_t memory_mib, disk_gib, pids;
    const struct cc_unenforced *unenforced;
    size_t n_unenforced;
};

struct cc_machine_list {
    struct cc_machine_info *v;
    size_t n;
};

/* "Busy until T because R", said inside of the machine; over when it ends or stops. */
struct cc_lease {
    const char *id, *reason; /* reason: printable, at most CC_LEASE_REASON_MAX bytes */
    int64_t until_at, since; /* unix ms; until_at: not past, at most CC_LEASE_TTL_MAX from now */
};

/* What the machine says of itself: claims, brought into their bounds (activity.h). */
struct cc_activity {
    int64_t
        last_input_at; /* unix ms of the last byte typed at any terminal of it, 0: never since start; by its own clock */
    uint32_t clients;  /* open terminals */
    const char *foreground; /* what runs in the foreground of the busiest terminal, or NULL */
    double load;            /* CPUs busy over the last minute or so */
    bool turn;              /* a turn of Claude is under way: the lease "claude-turn" is held */
    uint32_t ssh_sessions;  /* logins over ssh that have a terminal */
    bool unhealthy;         /* the image's own check fails: nothing else that it says of itself counts as use */
    const struct cc_lease *leases;
    size_t n_leases; /* at most CC_LEASES_MAX */
};

struct cc_exec_spec {
    struct cc_strs cmd;  /* an argument vector, never a shell's line */
    const char *in;      /* standard input, or NULL */
    size_t in_len;       /* at most CC_EXEC_MAX */
    uint32_t timeout_ms; /* 0: 60,000; what runs longer is killed and exit is 124 */
};

enum { CC_MOUNTS_MAX = 16, CC_PORTS_MAX = 64 }; /* volumes and ports of a machine */
enum { CC_USER_DATA_MAX = 32 * 1024 };
enum { CC_EXEC_MAX = 1024 * 1024 }; /* of stdin, stdout and stderr each */

struct cc_exec_result {
    int exit; /* 128 + n when signal n ended it, 124 after the timeout */
    const char *out, *err;
    size_t out_len, err_len;
    bool truncated;
};

struct cc_volume_spec {
    const char *id;
    uint32_t size_gib;
    struct cc_pairs labels;
};
struct cc_volume_info {
    const char *id;
    uint32_t size_gib;
    const char *used_by;
    bool size_enforced;
};
struct cc_volume_list {
    struct cc_volume_info *v;
    size_t n;
};

struct cc_snapshot {
    const char *id, *volume;
    uint64_t size;      /* bytes of the volume when it was taken */
    int64_t created_at; /* unix ms */
};
struct cc_snapshot_list {
    struct cc_snapshot *v;
    size_t n;
};

/* What machines are made from, kept at the provider, where we have made it. */
struct cc_image_spec {
    const char *name;     /* which way: "nixos" */
    const char *hash;     /* of what it is made of: 12 to 63 hex digits; one that is there is not made again */
    const char *type;     /* of the machine that it is made on; NULL: the driver's default */
    const char *location; /* likewise */
};
struct cc_image_info {
    const char *id, *name, *hash, *created, *arch;
    const char *state; /* "available", "creating", "building": the machine that it is made on is there */
    double size_gib;
    uint32_t disk_gib; /* the least that a machine made from it needs */
};
struct cc_image_list {
    struct cc_image_info *v;
    size_t n;
};

/* The newest output of a machine's command, at most what was asked for. */
struct cc_log_text {
    const char *text;
    size_t n;
};

/* The screen of a machine: VNC (RFB) in a WebSocket of the subprotocol "binary", at "/" of that address of this host. Good for
 * whoever knows the password, which runs out. */
struct cc_console {
    const char *host, *password; /* host: an address, not a name */
    uint16_t port;
    int64_t until_at; /* unix ms */
};

/* A picture, as a PNG file. */
struct cc_picture {
    const char *data;
    size_t n;
};

/* What an operator should know before the first machine: one finding of a driver's look at its provider. */
enum cc_check_state { CC_CHECK_OK, CC_CHECK_WARN, CC_CHECK_BAD };
struct cc_check {
    const char *what; /* "subnets" */
    enum cc_check_state state;
    const char *sentence;
};
enum { CC_CHECKS_MAX = 32 };
struct cc_check_list {
    struct cc_check v[CC_CHECKS_MAX];
    size_t n;
};
/* In the arena; one too many is dropped. */
void cc_check_say(struct cc_check_list *l, struct cc_arena *a, const char *what, enum cc_check_state state,
                  const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* A machine changed at its provider, whoever did it: "stopped", "started", "removed", "health"; NULL and "behind": some
 * changes may have been missed. [the watching thread] */
typedef void (*cc_watch_tell)(void *arg, const char *provider_id, const char *what);

struct cc_capabilities {
    const char *driver;
    bool exec, activity, volumes, stop_keeps_disk; /* stop_keeps_disk: else only what is on volumes outlives a stop */
    bool attach_live;                              /* attach and detach also while the machine runs */
    bool machine_snapshots;                        /* the three calls below that speak of them */
    bool grows_disk;                               /* a start with more disk_gib than it has gives it more */
    bool snapshots;                                /* of volumes: the five calls below that speak of them */
    bool user_data;                                /* boots a system that heeds spec->user_data */
    bool addresses;                                /* wants spec->address chosen by the host */
    bool net_nat, net_none, net_host, net_vpc;
    bool limit_vcpu, limit_memory, limit_disk, limit_pids;
    unsigned mounts_max; /* volumes of a machine beside its own; 0: CC_MOUNTS_MAX */
    const char *default_image;
    const char *log_file;                /* where in a machine the output of its `cmd` is, or NULL */
    const struct cc_unenforced *missing; /* what this host cannot give, and why */
    size_t n_missing;
};

struct cc_endpoint {
    char unix_path[256];
};

/* What a call gets besides its arguments. `call` says when to stop; `err` may be filled on failure. */
struct cc_provider_ctx {
    const struct cc_call *call;
    struct cc_arena *arena;
    struct cc_err *err;
    const char *secret; /* of the machine's agent, to be said to it (talk.h); NULL: it has none. Never kept */
    uint64_t delay_ms;  /* set by a CC_DRIVER_INLINE driver: its answer is held so long */
};

enum { CC_DRIVER_INLINE = 1 };      /* never blocks: runs on the loop, its answer waits on the host's clock */
#define CC_DELAY_FOREVER UINT64_MAX /* the answer is lost: the caller meets its deadline */

struct cc_driver {
    const char *name;
    unsigned flags;
    unsigned threads; /* of its pool, 1..256; 0 with CC_DRIVER_INLINE */
    uint32_t default_timeout_ms;

    /* Settings not known are refused by name. The instance keeps no pointer into them. */
    int (*open)(const struct cc_pairs *settings, void **self, struct cc_err *err);
    void (*close)(void *self); /* after the last call returned; machines stay */
    const struct cc_capabilities *(*capabilities)(void *self);

    int (*create)(void *self, struct cc_provider_ctx *x, const struct cc_machine_spec *spec,
                  struct cc_machine_info *out);
    int (*destroy)(void *self, struct cc_provider_ctx *x, const char *provider_id, bool purge);
    /* spec NULL: as it was. Else what it says of name, env, cmd, labels, shell, agent_key, ssh_keys, vcpu and memory holds
     * from now on; image, volumes and network stay, and so does the disk but for `grows_disk`: it never shrinks. A machine that runs is left
     * as it is; one that is suspended goes on as it was. */
    int (*start)(void *self, struct cc_provider_ctx *x, const char *provider_id, const struct cc_machine_spec *spec,
                 struct cc_machine_info *out);
    int (*stop)(void *self, struct cc_provider_ctx *x, const char *provider_id);
    int (*status)(void *self, struct cc_provider_ctx *x, const char *provider_id, struct cc_machine_info *out);
    int (*activity)(void *self, struct cc_provider_ctx *x, const char *provider_id, struct cc_activity *out);
    int (*list)(void *self, struct cc_provider_ctx *x, struct cc_machine_list *out);
    int (*exec)(void *self, struct cc_provider_ctx *x, const char *provider_id, const struct cc_exec_spec *spec,
                struct cc_exec_result *out);
    /* Gives a machine that is stopped (with attach_live: any) a volume, or takes it away. attach: "not_found" for a
     * volume that is not there, "conflict" when it stands elsewhere in the machine, the path is taken, or another
     * machine that runs has it. detach of what is not attached is a success, there or not. Running: "state". */
    int (*attach)(void *self, struct cc_provider_ctx *x, const char *provider_id, const struct cc_mount_spec *volume);
    int (*detach)(void *self, struct cc_provider_ctx *x, const char *provider_id, const char *volume_id);
    int (*volume_create)(void *self, struct cc_provider_ctx *x, const struct cc_volume_spec *spec,
                         struct cc_volume_info *out);
    int (*volume_delete)(void *self, struct cc_provider_ctx *x, const char *id); /* in use: "conflict" */
    int (*volume_list)(void *self, struct cc_provider_ctx *x, struct cc_volume_list *out);

    /* With `snapshots`; NULL without. Of a volume that no machine that runs has: else "conflict". One that is there is found
     * again by its name; volume_delete takes them along. */
    int (*snapshot_create)(void *self, struct cc_provider_ctx *x, const char *volume, const char *snapshot,
                           struct cc_snapshot *out);
    int (*snapshot_delete)(void *self, struct cc_provider_ctx *x, const char *volume, const char *snapshot);
    int (*snapshot_list)(void *self, struct cc_provider_ctx *x, const char *volume, struct cc_snapshot_list *out);
    /* The volume is what it was, the snapshot stays. Cut off, it is done again from the start. */
    int (*volume_restore)(void *self, struct cc_provider_ctx *x, const char *volume, const char *snapshot);
    /* `snapshot` NULL: as the volume is now. The clone is a volume of its own: what it came from may go. */
    int (*volume_clone)(void *self, struct cc_provider_ctx *x, const char *volume, const char *snapshot,
                        const char *clone, struct cc_volume_info *out);

    /* Optional, like the two below. Also of a machine that is stopped, where that is kept. */
    int (*logs)(void *self, struct cc_provider_ctx *x, const char *provider_id, size_t most, struct cc_log_text *out);
    /* Follows the provider until the call is over, and tells what changes; returns why it cannot go on. It is called again,
     * after a pause that grows (call.c). Runs on a thread of its own, beside the calls. */
    int (*watch)(void *self, struct cc_provider_ctx *x, cc_watch_tell tell, void *arg);
    /* Whether credentials, quota, images, network and permissions will do. What it finds are findings; it fails only when the
     * call does. */
    int (*check)(void *self, struct cc_provider_ctx *x, struct cc_check_list *out);
    /* Optional: the places where a machine of that type may be had now, as spec->location names them; none: nowhere, or there
     * is no such type. */
    int (*places)(void *self, struct cc_provider_ctx *x, const char *type, struct cc_strs *out);

    /* Optional: a machine that runs stands still, and keeps its memory; start goes on. Suspended: a success; off: "state". */
    int (*suspend)(void *self, struct cc_provider_ctx *x, const char *provider_id);
    /* With `machine_snapshots`; NULL without: the machine's own disk, and the volume that create made for it, as they are
     * while it is stopped (else "state"). Volumes that it was given are not in it. A snapshot that is there stays as it
     * is, removal of none is a success. destroy takes them along. */
    int (*machine_snapshot)(void *self, struct cc_provider_ctx *x, const char *provider_id, const char *name);
    int (*machine_snapshot_delete)(void *self, struct cc_provider_ctx *x, const char *provider_id, const char *name);
    /* The machine is what it was; the snapshot stays. Cut off, it is done again from the start. */
    int (*machine_restore)(void *self, struct cc_provider_ctx *x, const char *provider_id, const char *name);
    /* Optional: of a machine that runs or is suspended. A second password for a console ends the first. */
    int (*console)(void *self, struct cc_provider_ctx *x, const char *provider_id, uint32_t seconds,
                   struct cc_console *out);
    int (*screenshot)(void *self, struct cc_provider_ctx *x, const char *provider_id, struct cc_picture *out);

    /* Optional, all three: images of our own making. What was cut off is gone on with by the same call; delete of one that is
     * not there is a success. */
    int (*image_build)(void *self, struct cc_provider_ctx *x, const struct cc_image_spec *spec,
                       struct cc_image_info *out);
    int (*image_list)(void *self, struct cc_provider_ctx *x, struct cc_image_list *out);
    int (*image_delete)(void *self, struct cc_provider_ctx *x, const char *id);

    /* Never blocks [loop]: where the agent of that machine listens. It may not listen (yet). */
    int (*endpoint)(void *self, const char *provider_id, struct cc_endpoint *out, struct cc_err *err);
};

/* registry.c: the drivers that this build has, NULL at the end. */
extern const struct cc_driver *const cc_drivers[];
const struct cc_driver *cc_driver_find(const char *name); /* or NULL */

/* A setting by name, or `other`. */
const char *cc_pairs_get(const struct cc_pairs *p, const char *key, const char *other);

/* True for 12 lower-case hex digits, and for "cc-" and such. */
bool cc_short_ok(const char *s);
bool cc_provider_id_ok(const char *s);
bool cc_snapshot_name_ok(const char *s); /* of a machine: 1..40 of letters, digits, "-_" */
bool cc_volume_id_ok(const char *s);     /* 1..64 of letters, digits, "-_.", not first a dot */

/* What every driver checks of a spec before it acts: ids, paths, sizes. */
int cc_machine_spec_check(const struct cc_machine_spec *spec, struct cc_err *err);
int cc_mount_spec_check(const struct cc_mount_spec *volume, struct cc_err *err);

/* May `volume` be attached where `v` stands already? 1: it is, there; 0: it may; "conflict", or "limit" when there are
 * `most` already: CC_MOUNTS_MAX and the one that a driver made itself. */
int cc_mounts_check(const struct cc_mount_spec *v, size_t n, size_t most, const struct cc_mount_spec *volume,
                    struct cc_err *err);

const char *cc_machine_state_word(enum cc_machine_state s); /* "running" ... */
const char *cc_network_word(enum cc_network n);             /* "nat" ... */
int cc_network_parse(const char *s);                        /* -1: none of them */

#endif
