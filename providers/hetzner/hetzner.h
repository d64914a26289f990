/* hetzner.h - the parts of the driver for Hetzner Cloud.
 *
 * What a machine is stands at Hetzner, in names and labels: so another host, or
 * one that has lost its directory, finds all of it by list.  A machine that
 * runs is a server cc-SHORT; one that is stopped is its volumes, each with the
 * label cchost-at-SHORT (volume.c).  What must not stand there (environment,
 * keys, the host key that is pinned) is in DIR/machines/SHORT.
 *
 * Thread: any worker; what is shared has its own lock.  JSON of answers is
 * owned by who asked; texts live in the call's arena.
 */
#ifndef CC_HETZNER_H
#define CC_HETZNER_H

#include "providers/provider.h"
#include "providers/rest.h"

#include <jansson.h>
#include <pthread.h>
#include <sys/types.h>

enum { CC_HZ_MOUNTS = 16 }; /* volumes of a server, the machine's own among them */
enum { CC_HZ_PAGE = 50 };

#define CC_HZ_LABEL "cchost"           /* whatever we made */
#define CC_HZ_ID "cchost-id"           /* of a server: the record's id */
#define CC_HZ_OWNER "cchost-owner"     /* a digest */
#define CC_HZ_PINNED "cchost-host-key" /* of a server that is usable: SHA-256 of its host key, base64url */
#define CC_HZ_OWN "cchost-own"         /* of a volume that create made for the machine SHORT */
#define CC_HZ_IMAGE "cchost-image"     /* of an image, and of the server that it is made on: which way */
#define CC_HZ_HASH "cchost-hash"       /* likewise: of what it is made of */
#define CC_HZ_AT "cchost-at-"          /* SHORT: the volume is its, where */
#define CC_HZ_AT_ID "cchost-id-"       /* SHORT: and the record's id */

/* ---- budget.c: requests an hour */
struct cc_hz_budget {
    pthread_mutex_t lock;
    double left;       /* as it was at `at_ms`; it fills by `hour` an hour */
    double hour;       /* how many are allowed */
    uint64_t at_ms;    /* on cc_mono_ms */
    uint64_t until_ms; /* nothing is asked before: 429 was heard */
};
void cc_hz_budget_init(struct cc_hz_budget *b, double hour);
void cc_hz_budget_fini(struct cc_hz_budget *b);
/* Before a request: 0, or "limit" and how long to wait. */
int cc_hz_budget_take(struct cc_hz_budget *b, struct cc_err *err);
void cc_hz_budget_heard(struct cc_hz_budget *b, const struct cc_rest_res *res);
/* For what is not urgent: 0 when `n` requests leave half of the hour's to others; else "limit" and how long to wait. */
int cc_hz_budget_spare(struct cc_hz_budget *b, double n, struct cc_err *err);

/* ---- actions.c: what Hetzner has begun and not ended */
struct cc_hz_waiter;
struct cc_hz_actions {
    pthread_mutex_t lock;
    pthread_cond_t told;
    struct cc_hz_waiter *waiters;
    bool asking; /* one of the waiters does, for all */
};

/* ---- way.c: what opens the ways that the loop asks for */
struct cc_hz_ways {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    char wanted[16][16]; /* short ids */
    size_t n_wanted;
    pthread_t opener;
    struct cc_call call; /* the opener's */
    bool begun, running; /* by cc_hz_ways_init; the opener */
};

/* ---- nixos.c: NixOS put onto a server by nixos-anywhere */
struct cc_hz_nixos {
    char *flake;    /* of what, "DIR#NAME" */
    char *program;  /* nixos-anywhere */
    char *base;     /* the image that it takes the place of */
    char *kexec;    /* another installer, or NULL */
    char *build_on; /* auto, local, remote */
};

struct cc_hz {
    struct cc_rest *rest;
    char *dir, *location, *image, *type, *ssh;
    char *shell;           /* of terminals where a machine does not say; NULL: the agent's choice */
    bool install;          /* setup.sh runs whole on each server, beside its user */
    char *public_key;      /* the host's own, its line */
    struct cc_pairs types; /* names of ours -> theirs */
    struct cc_hz_nixos nixos;
    uint32_t ssh_port, ssh_tries, ssh_every_ms, poll_ms, retry_ms, grace_ms, keep_ms, volume_gib;
    struct cc_hz_budget budget;
    struct cc_hz_actions actions;
    struct cc_hz_ways ways;
    pthread_mutex_t lock; /* of what follows */
    json_t *catalogue;    /* server types */
    uint64_t catalogue_at;
    json_int_t firewall; /* 0: not looked for yet */
    char *key_name;      /* at Hetzner; NULL: not looked for yet */
    double list_cost;    /* requests of the last list */
    struct cc_capabilities caps;
};

/* A volume of a machine, as its labels tell it. */
struct cc_hz_mount {
    json_int_t id, server; /* server: it is attached to, or 0 */
    const char *volume, *path, *location;
    char
        how; /* 'h': made by a create that has not ended; 'k': was there before that; 'm': the machine was usable once */
    bool own;
};

/* A machine while something is done to it. */
struct cc_hz_box {
    const char *short_id, *name; /* name: cc-SHORT */
    struct cc_machine_spec spec; /* image, type and location are Hetzner's words once cc_hz_plan has run */
    json_t *server;              /* or NULL */
    struct cc_hz_mount mounts[CC_HZ_MOUNTS];
    size_t n_mounts;
    const char *id;       /* as the labels have it, or NULL */
    const char *host_key; /* pinned, or NULL */
    const char *host;     /* as it was kept: its address, or NULL */
    json_int_t kept;      /* which server was kept: host_key and phase are of that one */
    const char *phase;    /* of nixos-anywhere, the last that has ended, or NULL */
    const char *boot;     /* what Hetzner makes the server from; image, but for those of our own making */
    bool installs;        /* NixOS takes its place */
    const char *image_name, *image_hash; /* it is there to become that image; else NULL */
};

/* ---- api.c */
/* One request, those that may be tried again tried again. `body` is consumed. `out` NULL: not wanted; else to be decref'd. */
int cc_hz_ask(struct cc_hz *h, struct cc_provider_ctx *x, const char *method, const char *path, json_t *body,
              json_t **out);
/* The same by hand, for what a second request would make a second time: after an answer like 504 nobody knows whether it was
 * done, so the caller looks before each new try. `body` is borrowed. `retry`: it failed, and may be tried again. */
int cc_hz_ask_once(struct cc_hz *h, struct cc_provider_ctx *x, const char *method, const char *path, const json_t *body,
                   json_t **out, bool *retry);
/* Whether there is to be one more try, behind `try` others (from 0), and then it has waited; *r: why not, if that is new. */
bool cc_hz_ask_again(struct cc_hz *h, struct cc_provider_ctx *x, int try, int *r);
/* All pages of a list; `path` ends where "page=N" may follow. `key`: "servers". */
int cc_hz_all(struct cc_hz *h, struct cc_provider_ctx *x, const char *path, const char *key, json_t **out);
/* The first of them that is so named, or NULL in *out. */
int cc_hz_named(struct cc_hz *h, struct cc_provider_ctx *x, const char *list, const char *name, json_t **out);
int cc_hz_code(const char *word, long status); /* of an error or an action's */
json_int_t cc_hz_id(const json_t *o);
const char *cc_hz_text(const json_t *o, const char *key); /* borrowed; NULL */
const char *cc_hz_label(const json_t *o, const char *key);

/* ---- actions.c */
void cc_hz_actions_init(struct cc_hz_actions *a);
void cc_hz_actions_fini(struct cc_hz_actions *a);
/* Waits for action, actions and next_actions of an answer. */
int cc_hz_await(struct cc_hz *h, struct cc_provider_ctx *x, const json_t *answer);
/* A POST that begins one, and its end. */
int cc_hz_act(struct cc_hz *h, struct cc_provider_ctx *x, const char *path, json_t *body);

/* ---- catalogue.c: what Hetzner sells */
/* Type, image and location of the box, in Hetzner's words; "not_found": no such image. */
int cc_hz_plan(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_hz_box *b);
int cc_hz_catalogue(struct cc_hz *h, struct cc_provider_ctx *x, json_t **out);
/* Where that type, in our words or Hetzner's, is sold. */
int cc_hz_places(struct cc_hz *h, struct cc_provider_ctx *x, const char *type, struct cc_strs *out);
const char *cc_hz_zone(struct cc_hz *h, struct cc_provider_ctx *x, const char *location); /* network zone, or NULL */

/* ---- shared.c: what machines share: firewall, key of this host, network of an owner */
int cc_hz_firewall(struct cc_hz *h, struct cc_provider_ctx *x, json_int_t *id);
int cc_hz_key(struct cc_hz *h, struct cc_provider_ctx *x, const char **name);
int cc_hz_network_join(struct cc_hz *h, struct cc_provider_ctx *x, const struct cc_hz_box *b);
int cc_hz_network_leave(struct cc_hz *h, struct cc_provider_ctx *x, const char *owner_digest);
const char *cc_hz_digest(struct cc_arena *a, const char *owner);
json_t *cc_hz_labels(void); /* {cchost: "1"} */

/* ---- volume.c */
int cc_hz_mounts(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_hz_box *b); /* reads them from the labels */
void cc_hz_mounts_of(struct cc_arena *a, const json_t *volumes, struct cc_hz_box *b);
int cc_hz_volume_put(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_hz_box *b, const struct cc_mount_spec *m,
                     char how);
int cc_hz_volume_own(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_hz_box *b, char how);
int cc_hz_volume_free(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_hz_box *b, size_t i);
int cc_hz_volume_settle(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_hz_box *b); /* 'm' to all */
int cc_hz_volume_remove(struct cc_hz *h, struct cc_provider_ctx *x, json_int_t id);
int cc_hz_volume_make(struct cc_hz *h, struct cc_provider_ctx *x, const struct cc_volume_spec *spec,
                      struct cc_volume_info *out);
int cc_hz_volume_drop(struct cc_hz *h, struct cc_provider_ctx *x, const char *name);
int cc_hz_volume_list(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_volume_list *out);

/* ---- server.c */
int cc_hz_server_find(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_hz_box *b);
int cc_hz_server_make(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_hz_box *b);
int cc_hz_server_up(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_hz_box *b);     /* until it runs */
int cc_hz_server_attach(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_hz_box *b); /* its volumes */
int cc_hz_server_off(struct cc_hz *h, struct cc_provider_ctx *x,
                     struct cc_hz_box *b); /* shut down, in the end by force */
int cc_hz_server_end(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_hz_box *b); /* deleted; b->server is NULL */
/* Whether its label is of that host key. */
bool cc_hz_server_shows(struct cc_arena *a, const json_t *server, const char *host_key);
int cc_hz_server_pinned(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_hz_box *b);
const char *cc_hz_server_host(const json_t *server); /* its public address, or NULL */
enum cc_machine_state cc_hz_state(const struct cc_hz_box *b);

/* ---- hetzner.c */
/* Server and volumes, as Hetzner has them now, and what is kept here. */
int cc_hz_look(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_hz_box *b, bool volumes);
/* Whether a server that was begun can be gone on with: its first key is known, or the second. */
bool cc_hz_resumable(struct cc_hz *h, struct cc_provider_ctx *x, const struct cc_hz_box *b);

/* ---- keep.c: DIR/machines/SHORT */
const char *cc_hz_path(const struct cc_hz *h, struct cc_arena *a, const char *short_id, const char *leaf);
int cc_hz_save(const struct cc_hz *h, struct cc_arena *a, const struct cc_hz_box *b, struct cc_err *err);
bool cc_hz_load(const struct cc_hz *h, struct cc_arena *a, struct cc_hz_box *b); /* spec and host_key; false: nothing */
void cc_hz_forget(const struct cc_hz *h, struct cc_arena *a, const char *short_id);
/* The key of the first contact: its private text. Made when `make`; NULL: there is none. */
const char *cc_hz_first_key(const struct cc_hz *h, struct cc_arena *a, const char *short_id, bool make,
                            const char **public_key);
void cc_hz_first_key_gone(const struct cc_hz *h, struct cc_arena *a, const char *short_id);
int cc_hz_identity(struct cc_hz *h, struct cc_err *err); /* the host's own key, made once */

/* ---- settings.c: 0, or what is wrong with which of them. `hour`: requests that Hetzner allows in one */
int cc_hz_settings(struct cc_hz *h, const struct cc_pairs *s, uint32_t *hour, struct cc_err *err);
int cc_hz_make_dirs(const struct cc_hz *h, struct cc_err *err);

/* ---- tell.c */
void cc_hz_tell(const struct cc_hz *h, struct cc_arena *a, const struct cc_hz_box *b, struct cc_machine_info *out);
/* One look at all of them; it waits while it would take what users' own work needs. */
int cc_hz_list(void *self, struct cc_provider_ctx *x, struct cc_machine_list *out);

/* ---- user_data.c: NULL and err: it is too long */
const char *cc_hz_user_data(struct cc_hz *h, struct cc_provider_ctx *x, const struct cc_hz_box *b);
/* The same for the system that takes the first one's place: what was to be run once, and no key. */
const char *cc_hz_user_data_inside(struct cc_provider_ctx *x, const struct cc_hz_box *b);

/* ---- ssh.c */
/* Runs a shell's line as root; "unavailable" when it cannot be logged in. Output in the arena; NULL: not wanted. */
int cc_hz_ssh(struct cc_hz *h, struct cc_provider_ctx *x, const struct cc_hz_box *b, const char *line, const char *in,
              size_t in_len, const char **out);
/* The same, again and again until somebody lets us in. */
int cc_hz_ssh_persist(struct cc_hz *h, struct cc_provider_ctx *x, const struct cc_hz_box *b, const char *line,
                      const char *in, size_t in_len, const char **out);
int cc_hz_pin(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_hz_box *b); /* waits until it shows its own key */
int cc_hz_setup(struct cc_hz *h, struct cc_provider_ctx *x,
                struct cc_hz_box *b); /* what a machine needs; pinned before */

/* ---- nixos.c */
enum { CC_HZ_INSTALLED = 3, CC_HZ_REBOOTED = 4 };
/* Goes on from the phase that it was in to `upto`; the phases that have ended are kept. */
int cc_hz_nixos(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_hz_box *b, size_t upto);
size_t cc_hz_nixos_done(const char *phase); /* how many have ended with this one */
void cc_hz_nixos_check(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_check_list *l);

/* ---- image.c: servers that become images, and those */
int cc_hz_image_build(void *self, struct cc_provider_ctx *x, const struct cc_image_spec *spec,
                      struct cc_image_info *out);
int cc_hz_image_list(void *self, struct cc_provider_ctx *x, struct cc_image_list *out);
int cc_hz_image_delete(void *self, struct cc_provider_ctx *x, const char *id);
/* The number of the newest that is available, or NULL. */
int cc_hz_image_newest(struct cc_hz *h, struct cc_provider_ctx *x, const char *name, const char *arch, const char **id);

/* ---- way.c */
void cc_hz_ways_init(struct cc_hz *h);
void cc_hz_ways_fini(struct cc_hz *h);
const char *cc_hz_socket(const struct cc_hz *h, struct cc_arena *a, const char *short_id); /* the agent's */
/* "denied": what answers is not the machine. `t`: to run something by. */
struct cc_ssh_target;
int cc_hz_way_open(struct cc_hz *h, struct cc_provider_ctx *x, const struct cc_hz_box *b, struct cc_ssh_target *t);
int cc_hz_way_told(struct cc_provider_ctx *x, int r); /* "denied" is ours: to who asked it is "unavailable" */
int cc_hz_way(struct cc_hz *h, struct cc_provider_ctx *x, const char *short_id); /* by what is kept of it */
void cc_hz_way_end(struct cc_hz *h, struct cc_provider_ctx *x, const char *short_id);
void cc_hz_way_ask(struct cc_hz *h, const char *short_id); /* opened by and by [loop] */

/* ---- check.c */
int cc_hz_check(void *self, struct cc_provider_ctx *x, struct cc_check_list *out);

#endif
