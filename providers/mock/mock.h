/* mock.h - the parts of the `mock` driver: its world (state.c), its whims (script.c), its calls (mock.c). */
#ifndef CC_MOCK_H
#define CC_MOCK_H

#include "providers/call.h"

enum { CC_MOCK_BUCKETS = 1024 };

struct cc_mock_machine {
    struct cc_mock_machine *next;
    char *short_id, *id, *name, *image;
    double vcpu;
    uint32_t memory_mib, disk_gib;
    struct cc_mount_spec mounts[CC_MOUNTS_MAX + 1]; /* owned strings */
    size_t n_mounts;
    bool running, destroyed; /* destroyed ones stay while a late list may show them */
    int64_t created_at, started_at, ready_at, destroyed_at;
};

struct cc_mock_volume {
    struct cc_mock_volume *next;
    char *id;
    uint32_t size_gib;
};

/* What an operation does besides its work. */
struct cc_mock_whim {
    uint64_t latency_ms;
    unsigned fail, lose; /* how many of the next calls */
    int code;            /* of the failures */
    int64_t retry_after_ms;
    bool after; /* they fail after the effect took place */
};

struct cc_mock {
    struct cc_mock_machine *machines[CC_MOCK_BUCKETS];
    struct cc_mock_volume *volumes;
    struct cc_mock_whim whim[CC_OP_COUNT];
    uint64_t boot_ms, list_lag_ms;
    char *path; /* of the state file, or NULL */
    char *endpoint, *exec_out;
    int exec_exit;
    struct cc_capabilities caps;
};

/* script.c */
int cc_mock_script(struct cc_mock *m, const struct cc_pairs *settings, struct cc_err *err);

/* state.c */
void cc_mock_mount(struct cc_mock_machine *v, const struct cc_mount_spec *mount);
void cc_mock_unmount(struct cc_mock_machine *v, const char *volume_id);
/* The machine that runs and has this volume, or NULL. */
struct cc_mock_machine *cc_mock_user(struct cc_mock *m, const char *volume_id);
struct cc_mock_machine *cc_mock_find(struct cc_mock *m, const char *short_id, bool destroyed_too);
struct cc_mock_machine *cc_mock_add(struct cc_mock *m, const char *short_id);
struct cc_mock_volume *cc_mock_volume(struct cc_mock *m, const char *id, bool make);
void cc_mock_drop_volume(struct cc_mock *m, const char *id);
int cc_mock_load(struct cc_mock *m, struct cc_err *err);
int cc_mock_save(const struct cc_mock *m, struct cc_err *err);
void cc_mock_free(struct cc_mock *m);

#endif
