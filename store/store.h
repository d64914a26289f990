/* store.h - durable state: records, indexes, and the log that explains them.
 *
 * A record is JSON text under (kind, id) with an owner and a revision.  An
 * index entry is a short value under (index, key), kept in key order.  A log
 * entry says what happened to a record; all entries share one ascending
 * sequence and those of one record form a hash chain, which outlives the
 * record.  There is one way to write: an update (cc_txn) reads and buffers
 * writes, is checked against everything it read, and is committed in a group
 * with one sync, all of it or nothing.  When its callback says CC_OK it is on
 * disk.  Nothing here names the engine: lmdb.c is one, etcd.c may be another.
 *
 * Thread: the loop's, but for verify, backup and restore.  Reads take about a
 * microsecond and never wait; writes never block the loop.
 * Ownership: slices given in are copied, slices handed out are borrowed, for
 * as long as each verb says.
 * Caveats: an update sees writes in flight (they may yet fail, then so does
 * it); plain reads see committed data only.  A revision is unique, also over
 * several processes, and below 2^53, but says nothing about order.
 */
#ifndef CC_STORE_H
#define CC_STORE_H

#include "host/sys/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct cc_store;
struct cc_txn;

struct cc_slice {
    const char *data;
    size_t len;
};

enum {
    CC_STORE_SCHEMA = 2,
    CC_STORE_NAME_MAX = 64, /* kinds and index names: [a-z_]+ */
    CC_STORE_KEY_MAX = 400, /* ids, index keys and index values: 1 (value: 0) to this, any bytes */
    CC_STORE_OWNER_MAX = 64,
    CC_STORE_TYPE_MAX = 64, /* of a log entry; 1 at least */
    CC_STORE_BY_MAX = 200,
    CC_STORE_TEXT_MAX = 16 * 1024 * 1024 /* one JSON text */
};

bool cc_store_name_ok(struct cc_slice name);
bool cc_store_key_ok(struct cc_slice key);

/* ---- opening */

struct cc_store_opts {
    uv_loop_t *loop;
    const char *dir; /* DATA_DIR; made with mode 0700, durably, when absent. The store is in its folder "store" */
    bool serve;      /* takes DATA_DIR/serve.lock; a second taker is refused with CC_E_EXISTS */
    int serve_fd;    /* > 0: that lock, inherited from the process that has it, and from here on the store's as well */
    size_t map_mib;  /* first size of the map, 0: 1024. It grows by itself */
    size_t map_max_mib; /* and never beyond this, 0: 1 TiB. Then updates fail with CC_E_FULL */
};

/* Blocks: for a few ms; longer when an older schema is brought up to date (all of it or nothing, and only while no other
 * process has it open) or a short file is read whole; and up to a minute while another process does that. CC_E_UNSUPPORTED: a newer schema; CC_E_CORRUPT: broken, or not ours; CC_E_EXISTS: being
 * served, open in this process already, or older and open in another. */
int cc_store_open(const struct cc_store_opts *opts, struct cc_store **out, struct cc_err *err);

/* The descriptor of serve.lock, to be inherited by a process that serves on; -1: not taken. And this process's pid in it. */
int cc_store_serve_fd(const struct cc_store *s);
void cc_store_serve_note(const struct cc_store *s);

/* Commits what was submitted, runs the callbacks, joins the writer (blocks that long: a disk that does not answer, or
 * another process that holds the write lock, is waited for); the memory goes in a later turn of the loop. No update may be open. */
void cc_store_close(struct cc_store *s);

/* ---- reading what is committed */

struct cc_record {
    struct cc_slice text;  /* JSON */
    struct cc_slice owner; /* may be empty */
    uint64_t rev;
    uint64_t log_seq; /* its newest log entry; 0: none, or a write in flight */
};

struct cc_range {
    struct cc_slice prefix; /* of ids or keys; empty: all */
    struct cc_slice after;  /* only what comes behind this one in the direction of travel; empty: from the start */
    size_t limit;           /* 0: no limit */
    bool reverse;
};

struct cc_entry {
    uint64_t seq, prev; /* prev: the same object's entry before this one, 0: none */
    uint64_t count;     /* which entry of its object, from 1 */
    int64_t at;         /* unix ms */
    struct cc_slice kind, id, type, by, data;
    const uint8_t *hash;   /* 32 bytes */
    const uint8_t *before; /* the hash of entry `prev`; zeros when there is none */
    bool trimmed;          /* its data has been dropped: `data` is empty */
};

/* 0, CC_E_NOT_FOUND, or what failed. `out` is borrowed until the next call on the store. */
int cc_store_get(struct cc_store *s, const char *kind, struct cc_slice id, struct cc_record *out);
int cc_store_lookup(struct cc_store *s, const char *index, struct cc_slice key, struct cc_slice *value);

/* One call a row, all from one snapshot, the row's slices borrowed for that call; false ends the
 * walk. A row function must not raise and not call the store. */
typedef bool (*cc_record_fn)(void *arg, struct cc_slice id, const struct cc_record *rec);
typedef bool (*cc_index_fn)(void *arg, struct cc_slice key, struct cc_slice value);
typedef bool (*cc_entry_fn)(void *arg, const struct cc_entry *e);

int cc_store_list(struct cc_store *s, const char *kind, const struct cc_range *r, cc_record_fn fn, void *arg);
int cc_store_scan(struct cc_store *s, const char *index, const struct cc_range *r, cc_index_fn fn, void *arg);
/* The kinds that have records, or the indexes that have entries, in the order of their names. */
typedef bool (*cc_name_fn)(void *arg, struct cc_slice name);
int cc_store_names(struct cc_store *s, bool indexes, cc_name_fn fn, void *arg);
/* Entries behind sequence `after` (reverse: before it; 0: from the end); limit 0: no limit. */
int cc_store_log(struct cc_store *s, uint64_t after, size_t limit, bool reverse, cc_entry_fn fn, void *arg);
/* One object's entries, newest first, also those of a deleted one. */
int cc_store_history(struct cc_store *s, const char *kind, struct cc_slice id, size_t limit, cc_entry_fn fn, void *arg);

/* Calls fn(arg, CC_OK) once, in a later turn, when the log has an entry behind sequence `after`: at once for those
 * of this process, within half a second for others'. CC_E_STATE: the store is being closed. Keeps the loop alive.
 * fn may begin another watch. Cancel is for one that has not called. */
struct cc_watch;
typedef void (*cc_watch_fn)(void *arg, int code);
struct cc_watch *cc_store_watch(struct cc_store *s, uint64_t after, cc_watch_fn fn, void *arg);
void cc_store_watch_cancel(struct cc_store *s, struct cc_watch *w);

/* ---- updates
 * From begin to submit or abort is one stretch of code that does not wait; one update is open at a
 * time.  What get and lookup hand out is borrowed until then. */

/* turn: NULL, or the `arg` of the cc_store_turn that has called back. */
struct cc_txn *cc_txn_begin(struct cc_store *s, void *turn);
uint64_t cc_txn_rev(const struct cc_txn *t); /* the revision of everything it puts */
int64_t cc_txn_now(const struct cc_txn *t);  /* unix ms, when it began: the time of all its log entries */

/* 0, CC_E_NOT_FOUND, or a failure, which also makes submit fail. Own writes and writes in flight are seen. */
int cc_txn_get(struct cc_txn *t, const char *kind, struct cc_slice id, struct cc_record *out);
int cc_txn_lookup(struct cc_txn *t, const char *index, struct cc_slice key, struct cc_slice *value);

/* owner NULL: stays what it is. */
void cc_txn_put(struct cc_txn *t, const char *kind, struct cc_slice id, struct cc_slice text,
                const struct cc_slice *owner);
bool cc_txn_del(struct cc_txn *t, const char *kind, struct cc_slice id); /* whether it was there */
void cc_txn_index(struct cc_txn *t, const char *index, struct cc_slice key, struct cc_slice value);
bool cc_txn_unindex(struct cc_txn *t, const char *index, struct cc_slice key); /* whether it was there */

/* The object must exist after the update, or be deleted by it: else submit fails with CC_E_INVALID. */
void cc_txn_log(struct cc_txn *t, const char *kind, struct cc_slice id, struct cc_slice type, struct cc_slice by,
                struct cc_slice data);

/* CC_OK: durable.  CC_E_CONFLICT: something that was read has changed, do it again.  CC_E_FULL, CC_E_IO...: the
 * commit failed, nothing of it is there. `err` is borrowed for the call; it may begin updates. */
typedef void (*cc_commit_fn)(void *arg, int code, const struct cc_err *err);

enum { CC_TXN_IDLE = 1 };
/* Ends the update. CC_OK: fn will be called once, in a later turn. CC_TXN_IDLE: there was nothing to write, fn
 * is not called. Negative: refused, fn is not called. */
int cc_txn_submit(struct cc_txn *t, cc_commit_fn fn, void *arg, struct cc_err *err);
void cc_txn_abort(struct cc_txn *t);

/* For an update that keeps losing against another process: waits for the store's write lock and calls fn(arg)
 * with it held.  The update then begun with this `arg` reads no writes in flight and goes first, so it cannot
 * lose; its submit or abort gives the lock back, as do cancel and the passing of a second. */
void cc_store_turn(struct cc_store *s, void (*fn)(void *arg), void *arg);
void cc_store_turn_cancel(struct cc_store *s, void *arg);

/* ---- looking after it */

struct cc_verified {
    uint64_t entries, objects;
    uint64_t broken; /* CC_E_CORRUPT: the first broken sequence, 0 when it is not an entry that is broken */
};

/* Walks the whole log: every entry against its hash and its predecessor, every object's head against
 * its entries. CC_E_CORRUPT: what is broken in `err`, and in `broken`. Slow; the log in snapshots of 4,096 entries or
 * 16 MiB, then all records, heads and the index in one. `stop` (may be NULL) is asked now and then whether to give up
 * (CC_E_CANCELLED). [any thread] */
int cc_store_verify(struct cc_store *s, struct cc_verified *out, bool (*stop)(void *arg), void *arg,
                    struct cc_err *err);

/* Drops the data of these log entries for ever; the log stays provable. What the disk has of it stays readable there
 * until its pages are used again, and so do older backups. Those whose data is gone already, that were
 * written before schema 2, or are not there are left and not counted. fn is called once, in a later turn, with how many
 * it was; after a failure some may have been trimmed. NULL: refused, fn is not called. Cancel: fn is not called, at
 * most one group of 256 is still trimmed. n: 1 or more. */
struct cc_trim;
typedef void (*cc_trim_fn)(void *arg, int code, uint64_t trimmed, const struct cc_err *err);
struct cc_trim *cc_store_trim(struct cc_store *s, const uint64_t *seqs, size_t n, cc_trim_fn fn, void *arg,
                              struct cc_err *err);
void cc_store_trim_cancel(struct cc_trim *t);

struct cc_backup {
    uint64_t bytes; /* of the backup file */
    uint64_t entries, objects, log_seq;
    struct cc_err
        fault;       /* what is broken in it, code CC_OK: nothing; then entries and objects count what precedes it */
    uint64_t broken; /* the sequence of the entry that is, 0: it is not an entry */
};

/* Writes a consistent copy into a new file while the store is in use: first under another name beside it, synced, read
 * back and walked whole, then renamed. CC_E_EXISTS: `path` is there. CC_E_CORRUPT: what the store holds is broken, unless
 * `even_broken`: then the copy is kept and the fault told, and cc_store_restore refuses it. A long reader: pages freed meanwhile are not used
 * again before it ends. `stop` as above. [any thread] */
int cc_store_backup(struct cc_store *s, const char *path, bool even_broken, struct cc_backup *out,
                    bool (*stop)(void *arg), void *arg, struct cc_err *err);

/* Makes the backup the store of `dir`, after it has been verified. CC_E_EXISTS: the store there is open, in whatever
 * process, or there is one and not `force`; with it the old one is kept in dir/store.replaced-<unix ms>. A crash
 * leaves the old store or the new. CC_E_CORRUPT: not a backup, or broken. This process must have no store open.
 * [any thread] */
int cc_store_restore(const char *path, const char *dir, bool force, struct cc_backup *out, bool (*stop)(void *arg),
                     void *arg, struct cc_err *err);

struct cc_store_stats {
    uint64_t records, log_seq, map_bytes, used_bytes;
    uint64_t commits, updates, conflicts, failures; /* since opening; an update counts when durable */
    uint64_t pending;                               /* submitted, not called back */
    uint64_t readers;                               /* slots in use, all processes */
};
void cc_store_stats(struct cc_store *s, struct cc_store_stats *out);

/* For tests: read transactions of this process that are open now. */
int cc_store_reads_open(struct cc_store *s);
/* For tests: the next commit fails with this errno (or engine code) instead of reaching the disk. */
void cc_store_fail_next(struct cc_store *s, int sys);

#endif
