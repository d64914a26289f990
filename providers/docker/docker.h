/* docker.h - the parts of the `docker` driver (docker.c ties them together).
 *
 * What there is, is at dockerd, and said there in labels: a host that lost its
 * directory finds its machines again.  One machine is
 *   container claude-SHORT           from the image that was asked for, our init as its first process
 *   volume    claude-data-SHORT      at /claude-data, when no other was asked for there
 *   network   claude-net-DIGEST      its owner's, shared by his machines and no others
 *   image     claude-disk-SHORT:N    its disk, once a volume was attached or detached (mounts.c)
 * and volumes that were asked for are claude-vol-ID.
 *
 * DIR/machines/SHORT/agent/     mounted into it: where its agent's socket is. Whoever is root inside can write here
 *                    conf/      mounted read-only: machine.json (host/agent/conf.h), written anew before each start
 *                    making     while its first create has not come to its end: then nobody has data on its volume
 * DIR/bin/                      the agent, mounted read-only into all of them
 * DIR/locks/                    one operation at a time on a machine, over all processes
 *
 * Where dockerd does not see our files (`near` is false: TCP) nothing is mounted:
 * the same files are put into the container before each start (inside.c), and the
 * agent's socket in DIR is ours, a way to the one inside (way.c).
 */
#ifndef CC_DOCKER_H
#define CC_DOCKER_H

#include "providers/files.h"
#include "providers/provider.h"
#include "providers/rest.h"

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>

#define CC_DOCKER_OWN_AT "/claude-data"
#define CC_DOCKER_DISK "claude-disk-"
#define CC_DOCKER_SOCKET "/run/cchost/agent/agent.sock" /* as a machine sees it */

enum { CC_DOCKER_API_MIN = 41, CC_DOCKER_API_MAX = 47, CC_DOCKER_CONF_MAX = 4 * 1024 * 1024 };

/* What dockerd said of its host, once. */
struct cc_docker_host {
    bool known, memory, cpu, pids, quota;
    char storage[64]; /* its storage driver and file system */
};

/* ---- way.c: the ways to agents */
struct cc_docker_way;
struct cc_docker_line;
struct cc_docker_ways {
    pthread_mutex_t lock;
    pthread_cond_t ended;        /* a line has */
    struct cc_docker_way *open;  /* sockets that listen */
    struct cc_docker_line *busy; /* connections */
    unsigned lines;
    pthread_t keeper;
    bool running;
    int nudge; /* eventfd: `open` is another one */
    atomic_bool over;
};

struct cc_docker {
    char *dir, *image, *iptables, *ports_address, *shell, *hosts_socket;
    char *bin;                       /* directory of the agent */
    bool near;                       /* dockerd sees our files: a unix socket */
    bool fence;                      /* keep the machines from this host by its firewall */
    uint32_t net, net_bits, net_cut; /* subnets: network, its length, the length of one owner's */
    uint32_t stop_grace_ms, pids, memory_mib, disk_gib;
    double vcpu;
    struct cc_rest *rest;
    pthread_mutex_t lock; /* of what follows */
    int api;              /* 1.N; 0: not agreed yet */
    struct cc_docker_host host;
    bool no_quota; /* it refused a limit of disk */
    struct cc_capabilities caps;
    struct cc_unenforced missing[4];
    struct cc_docker_ways ways;
};

/* ---- settings.c */
int cc_docker_settings(struct cc_docker *d, const struct cc_pairs *settings, struct cc_err *err);

/* ---- api.c: paths without the version, "/containers/json" */
struct cc_docker_req {
    const char *method, *path;
    const json_t *json;
    const char *raw;
    size_t raw_len;
    cc_rest_take take;
    void (*begun)(void *arg);
    void *arg;
    bool whole; /* once sent it is waited for, for a while, whatever becomes of the call: what it did must be known */
};
/* 0: an answer of any status, to be freed (cc_rest_res_free). */
int cc_docker_do(struct cc_docker *d, struct cc_provider_ctx *x, const struct cc_docker_req *q,
                 struct cc_rest_res *out);
/* The same, where only 2xx and 304 are good: else x->err by what dockerd said, with `what` before it. *doc may be NULL. */
int cc_docker_ask(struct cc_docker *d, struct cc_provider_ctx *x, const struct cc_docker_req *q, const char *what,
                  json_t **doc);
int cc_docker_get(struct cc_docker *d, struct cc_provider_ctx *x, const char *path, const char *what, json_t **doc);
int cc_docker_send(struct cc_docker *d, struct cc_provider_ctx *x, const char *method, const char *path, json_t *json,
                   const char *what); /* consumes json */
int cc_docker_fail(struct cc_provider_ctx *x, const struct cc_rest_res *res, const char *what);
/* "/v1.41" before paths of cc_rest_upgrade; agrees on it first. */
int cc_docker_version(struct cc_docker *d, struct cc_provider_ctx *x, const char **prefix);
int cc_docker_host(struct cc_docker *d, struct cc_provider_ctx *x, struct cc_docker_host *out);
/* filters={"label":[...]}, escaped; `more` is another such member, or "". */
const char *cc_docker_filter(struct cc_arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
const char *cc_docker_text(const json_t *o, const char *path); /* "State.Status"; "" when it is no text */
const json_t *cc_docker_at(const json_t *o, const char *path);

/* A context for what must be done although the call is over: some seconds, and its error is nobody's. */
struct cc_docker_after {
    struct cc_call call;
    struct cc_err err;
    struct cc_provider_ctx x;
};
struct cc_provider_ctx *cc_docker_after(struct cc_docker_after *a, const struct cc_provider_ctx *x, unsigned ms);

/* ---- box.c: a machine, as it is to be, or as its container says */
struct cc_box {
    const char *id, *short_id, *name, *owner;
    const char *image; /* as it was asked for */
    const char *from;  /* what the container is made from: that, or its disk's image */
    const char *facts; /* the image's own command and such, JSON (image.c) */
    const char *net;   /* its network's name; NULL: none */
    const char *address;
    double vcpu;
    uint32_t memory_mib, disk_gib, pids;
    bool quota;
    const struct cc_mount_spec *volumes; /* as they were asked for; /claude-data may be among them */
    size_t n_volumes;
    const struct cc_port_spec *ports;
    size_t n_ports;
};
void cc_box_of_spec(const struct cc_docker *d, struct cc_arena *a, const struct cc_machine_spec *s, struct cc_box *out);
void cc_box_of_doc(struct cc_arena *a, const json_t *doc, struct cc_box *out);
bool cc_box_own_volume(const struct cc_box *b);
json_t *cc_box_endpoint(struct cc_arena *a, const struct cc_box *b);    /* how it stands on its network */
json_t *cc_box_body(const struct cc_docker *d, const struct cc_box *b); /* of POST /containers/create */
void cc_box_info(struct cc_docker *d, struct cc_arena *a, const json_t *doc, struct cc_machine_info *out);
void cc_box_listed(struct cc_arena *a, const json_t *row, struct cc_machine_info *out);

/* ---- conf.c: its directory */
const char *cc_docker_path(const struct cc_docker *d, struct cc_arena *a, const char *short_id, const char *leaf);
int cc_docker_dirs(const struct cc_docker *d, struct cc_provider_ctx *x, const char *short_id, bool making);
/* spec NULL: as it was, or the image's alone. */
int cc_docker_conf(const struct cc_docker *d, struct cc_provider_ctx *x, const char *short_id, const char *facts,
                   const struct cc_machine_spec *spec);
bool cc_docker_has_ssh_keys(const struct cc_docker *d, struct cc_arena *a, const char *short_id);
void cc_docker_made(const struct cc_docker *d, struct cc_arena *a, const char *short_id);
bool cc_docker_making(const struct cc_docker *d, struct cc_arena *a, const char *short_id);
int cc_docker_forget(const struct cc_docker *d, struct cc_provider_ctx *x, const char *short_id);

/* ---- image.c */
/* Pulled when it is not there. *facts: {"entrypoint":[],"cmd":[],"user":"","stop":"SIGTERM","env":[]}. */
int cc_docker_image(struct cc_docker *d, struct cc_provider_ctx *x, const char *image, const char **facts);

/* ---- network.c */
const char *cc_docker_net_name(struct cc_arena *a, const char *owner);
/* With the lock of networks, until *fd is closed: the owner's network is there. */
int cc_docker_net_hold(struct cc_docker *d, struct cc_provider_ctx *x, const char *owner, int *fd);
int cc_docker_net_drop(struct cc_docker *d, struct cc_provider_ctx *x, const char *name); /* if nobody is on it */
/* Those of ours that none of the machines of `rows` is on. */
int cc_docker_net_sweep(struct cc_docker *d, struct cc_provider_ctx *x, const json_t *rows);

void cc_docker_net_check(struct cc_docker *d, struct cc_provider_ctx *x, struct cc_check_list *out);

/* ---- fence.c: this host's firewall keeps machines from it */
int cc_docker_fence(struct cc_docker *d, struct cc_provider_ctx *x);
bool cc_docker_fence_stands(struct cc_docker *d, struct cc_provider_ctx *x);

/* ---- volume.c */
const char *cc_docker_own_volume(struct cc_arena *a, const char *short_id);
const char *cc_docker_volume_name(struct cc_arena *a, const char *id); /* "cc-SHORT" is a machine's own */
int cc_docker_volume_make(struct cc_docker *d, struct cc_provider_ctx *x, const struct cc_volume_spec *spec,
                          struct cc_volume_info *out);
int cc_docker_volume_own(struct cc_docker *d, struct cc_provider_ctx *x, const struct cc_box *b);
int cc_docker_volume_drop(struct cc_docker *d, struct cc_provider_ctx *x, const char *id);
int cc_docker_volume_all(struct cc_docker *d, struct cc_provider_ctx *x, struct cc_volume_list *out);
/* With the lock of volumes, until *fd is closed (-1: there are none): all are there, and no other machine that runs has one. */
int cc_docker_volumes_hold(struct cc_docker *d, struct cc_provider_ctx *x, const struct cc_box *b, int *fd);

/* ---- container.c */
/* The container of that machine, in full; what a crash left of an exchange (mounts.c) is brought to its end. */
int cc_docker_find(struct cc_docker *d, struct cc_provider_ctx *x, const char *short_id, json_t **doc);
/* The last step of an exchange: the new container gets the machine's name. Done by another meanwhile (whoever looks for a machine
 * may), it is done: dockerd refuses one of the two. *doc: the container. */
int cc_docker_exchange_end(struct cc_docker *d, struct cc_provider_ctx *x, const char *short_id, json_t **doc);
int cc_docker_container_make(struct cc_docker *d, struct cc_provider_ctx *x, struct cc_box *b, const char *suffix);
int cc_docker_container_start(struct cc_docker *d, struct cc_provider_ctx *x, const struct cc_box *b);
/* One that was started comes up. */
int cc_docker_container_up(struct cc_docker *d, struct cc_provider_ctx *x, const char *short_id);
int cc_docker_container_remove(struct cc_docker *d, struct cc_provider_ctx *x, const char *name);
/* The images of its disk, named or not, but `but` (NULL: all) and those that a container is made from. */
int cc_docker_disks_drop(struct cc_docker *d, struct cc_provider_ctx *x, const char *short_id, const char *but);

/* ---- mounts.c */
int cc_docker_attach(struct cc_docker *d, struct cc_provider_ctx *x, const char *short_id,
                     const struct cc_mount_spec *volume);
int cc_docker_detach(struct cc_docker *d, struct cc_provider_ctx *x, const char *short_id, const char *volume_id);

/* ---- frames.c: what a command says, in pieces. False: all of p..n is taken. */
struct cc_docker_frames {
    unsigned char head[8];
    size_t head_n;
    size_t left; /* of the frame under way */
};
struct cc_docker_piece {
    const char *p;
    size_t n;
    bool err; /* of its second output */
};
bool cc_docker_frames_next(struct cc_docker_frames *f, const char **p, size_t *n, struct cc_docker_piece *out);

/* ---- tar.c: zeroed before its first entry; the caller frees `data` */
struct cc_tar {
    char *data;
    size_t n, room;
};
void cc_tar_folder(struct cc_tar *t, const char *name, unsigned mode);
void cc_tar_file(struct cc_tar *t, const char *name, unsigned mode, const char *data, size_t n);
void cc_tar_link(struct cc_tar *t, const char *name, const char *to);
void cc_tar_end(struct cc_tar *t);

/* ---- inside.c */
int cc_docker_inside(struct cc_docker *d, struct cc_provider_ctx *x, const char *short_id);

/* ---- exec.c */
int cc_docker_exec(struct cc_docker *d, struct cc_provider_ctx *x, const char *short_id,
                   const struct cc_exec_spec *spec, struct cc_exec_result *out);
/* Its agent listens, now or within that time: else "unavailable". */
int cc_docker_exec_listens(struct cc_docker *d, struct cc_provider_ctx *x, const char *short_id, unsigned wait_ms);
/* The two halves of any command, run as the container's root; cmd is consumed. Frames come, bytes go. */
int cc_docker_exec_make(struct cc_docker *d, struct cc_provider_ctx *x, const char *short_id, json_t *cmd, bool has_in,
                        const char **id);
int cc_docker_exec_stream(struct cc_docker *d, struct cc_provider_ctx *x, const char *id, struct cc_rest_stream **s);
json_t *cc_docker_dial_words(unsigned wait_ms); /* of the command that is a way to the agent's socket */
int cc_docker_logs(struct cc_docker *d, struct cc_provider_ctx *x, const char *short_id, size_t most,
                   struct cc_log_text *out);

/* ---- way.c: nothing of it is there where dockerd sees our files */
int cc_docker_ways_init(struct cc_docker *d, struct cc_err *err);
void cc_docker_ways_fini(struct cc_docker *d); /* ends them all */
/* The machine's socket here listens, for a while: 0, or errno. Blocks on nothing. [any thread] */
int cc_docker_way(struct cc_docker *d, const char *short_id);
void cc_docker_way_end(struct cc_docker *d, const char *short_id); /* with the connections in it */

/* ---- watch.c, check.c */
int cc_docker_watch(void *self, struct cc_provider_ctx *x, cc_watch_tell tell, void *arg);
int cc_docker_check(void *self, struct cc_provider_ctx *x, struct cc_check_list *out);

#endif
