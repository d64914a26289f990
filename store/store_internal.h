/* store_internal.h - what the files of store/ share.
 *
 * Shared because an update passes through all of them: txn.c fills it on the
 * loop, overlay.c shows it to later updates, handover.c carries it to the
 * writer and back, writer.c checks and applies it.  From submit to
 * completion the writer reads an update and writes only the fields marked so.
 */
#ifndef CC_STORE_INTERNAL_H
#define CC_STORE_INTERNAL_H

#include "store/store.h"

#include <lmdb.h>
#include <pthread.h>
#include <stdatomic.h>

enum table { T_META, T_RECORDS, T_INDEX, T_LOG, T_HEADS, T_COUNT };
enum { HASH_BYTES = 32, KEY_BYTES = CC_STORE_NAME_MAX + 1 + CC_STORE_KEY_MAX };

#define SLICE(p, n) ((struct cc_slice){ (const char *)(p), (n) })

/* ---- codec.c: bytes of keys and values; SCHEMA.md is its description */

struct head { /* the end of an object's chain; count 0: no entry yet */
    uint64_t seq, count;
    uint8_t hash[HASH_BYTES];
};

struct stored { /* a record's value, decoded in place */
    uint64_t rev;
    struct head head;
    struct cc_slice owner, text;
};

void cc_put64(void *to, uint64_t v);
uint64_t cc_get64(const void *from);
int cc_key_seq(MDB_val key, uint64_t *out); /* of the log; 0 or CC_E_CORRUPT */
struct cc_slice cc_key(uint8_t buf[KEY_BYTES], const char *name, struct cc_slice rest);
size_t cc_stored_size(const struct stored *r);
void cc_stored_write(uint8_t *to, const struct stored *r);
int cc_stored_read(MDB_val v, struct stored *out); /* 0 or CC_E_CORRUPT */
enum { HEAD_BYTES = 16 + HASH_BYTES };
void cc_head_write(uint8_t to[HEAD_BYTES], const struct head *h);
int cc_head_read(MDB_val v, struct head *out);
size_t cc_entry_size(const struct cc_entry *e);
/* Writes the entry with its hash over `before` (32 bytes) and itself. */
void cc_entry_write(uint8_t *to, const struct cc_entry *e, const uint8_t *before);
/* 0 or CC_E_CORRUPT; `before` is not the value's to tell. */
int cc_entry_read(uint64_t seq, MDB_val v, struct cc_entry *out);
/* The entry with its data replaced by the data's digest: the same hash. Only where can_trim says so. */
enum { TRIMMED_MAX = 1024 };
bool cc_entry_can_trim(MDB_val v);
size_t cc_entry_trim(MDB_val v, uint8_t to[TRIMMED_MAX]);
/* Of a value that cc_entry_read takes. */
void cc_entry_hash(uint64_t seq, MDB_val v, const uint8_t *before, uint8_t out[HASH_BYTES]);

/* ---- file.c: whether LMDB may be let near the file */

int cc_file_check(const char *path, struct cc_err *err);
/* Makes the name durable. 0 or an errno. */
int cc_file_sync_dir_of(const char *path);
/* Makes the folder (0700) and those above it that are absent, durably; one that is there is as good. */
int cc_file_make_dir(const char *path, struct cc_err *err);
/* Keeps every other process from opening it, until *fd is closed. CC_E_EXISTS: one has it open. This process
 * must not: closing any file on lock.mdb takes away the lock that LMDB holds there. */
int cc_file_alone(const char *path, int *fd, struct cc_err *err);
/* While this process has it open: says so to others until *fd is closed (-1: it could not be opened), also when LMDB
 * does not. To be closed after LMDB's environment, for the reason above. */
int cc_file_hold(const char *path, int *fd, struct cc_err *err);

/* ---- lmdb.c and access.c: the environment, its map, and who may touch it when
 * An engine code is LMDB's, an errno, or CC_E_CORRUPT for a value of ours; cc_db_err makes it one of CC_E_*. */

struct cc_db {
    MDB_env *env;
    MDB_dbi dbi[T_COUNT];
    MDB_txn *reader;       /* the loop's, reset between uses */
    int depth;             /* how often the loop has opened it */
    int depth_rc;          /* what opening it gave */
    pthread_rwlock_t lock; /* shared: a transaction is open; exclusive: the map moves */
    atomic_int reads_open;
    atomic_int moving; /* who waits to hold the lock alone, or does */
    atomic_int fail_next;
    char *path; /* of the folder, or (look) of the file */
    size_t map_max;
    int held;              /* a lock that says to others that it is open, also while it is opened again; -1: none */
    bool kept;             /* [loop] a growth could not be followed, as the other process does not end its write */
    int gone;              /* why there is no environment: an engine code */
    uint64_t schema;       /* as found */
    atomic_bool refuses;   /* [writer] LMDB does, until it is opened again */
    atomic_bool unsettled; /* [writer] what the disk has of the meta pages is not known */
};

int cc_db_open(struct cc_db *db, const char *path, size_t map, size_t map_max, struct cc_err *err);
/* Held while the file is looked at, opened or replaced; given back by closing *fd. */
int cc_db_gate(const char *path, int *fd, struct cc_err *err);
/* While cc_file_alone keeps others out, also from LMDB's own locks. An older schema will do. */
int cc_db_open_alone(struct cc_db *db, const char *path, size_t map, size_t map_max, struct cc_err *err);
/* Only for reading, no other process looked for: a file that nobody writes. An older schema will do. */
int cc_db_look(struct cc_db *db, const char *file, struct cc_err *err);
void cc_db_close(struct cc_db *db);
int cc_db_err(struct cc_err *err, int rc, const char *what); /* any code of LMDB or the system -> CC_E_* */

/* The loop's snapshot; nests. 0 or an engine code, end is due either way. */
int cc_db_read_begin(struct cc_db *db);
void cc_db_read_end(struct cc_db *db);
/* A snapshot of one's own. [any thread] */
int cc_db_snapshot(struct cc_db *db, MDB_txn **out);
void cc_db_snapshot_end(struct cc_db *db, MDB_txn *t);
/* LMDB's compact copy of a snapshot into `fd`; the map stands still meanwhile. 0 or an engine code. [any thread] */
int cc_db_copy(struct cc_db *db, int fd);
/* Whether somebody waits for the map, or moves it: long readers should end. [any thread] */
bool cc_db_moving(struct cc_db *db);
/* Waits while that is so; false: told to stop (which is asked in any case). [any thread] */
bool cc_db_let_move(struct cc_db *db, bool (*stop)(void *arg), void *arg);
/* [writer] Between begin and the end the map stands still. finish(keep=false) aborts. */
int cc_db_write_begin(struct cc_db *db, MDB_txn **out);
int cc_db_write_finish(struct cc_db *db, MDB_txn *t, bool keep);
/* [writer] After MDB_MAP_FULL: a larger map, or MDB_MAP_FULL when there is none to be had. */
int cc_db_grow(struct cc_db *db);
/* Another process has grown the file: maps as much. */
int cc_db_follow_growth(struct cc_db *db);
/* [loop] The same, or EBUSY after a second, and then every time at once until it succeeds. */
int cc_db_follow_growth_soon(struct cc_db *db);
/* What readers that are no more had kept can be used again. */
void cc_db_forget_the_dead(struct cc_db *db);
/* [writer] Closes and opens again, waiting for no other process. 0 or an engine code, which reads then get. */
int cc_db_reopen(struct cc_db *db);
/* [writer] Whether something is to be done before the next commit; does it, or says why not. write_begin does it too. */
bool cc_db_is_sick(struct cc_db *db);
int cc_db_recover(struct cc_db *db);
int cc_db_get(struct cc_db *db, MDB_txn *t, enum table table, struct cc_slice key, MDB_val *out);
int cc_db_put(struct cc_db *db, MDB_txn *t, enum table table, struct cc_slice key, struct cc_slice value);
/* Room for `len` bytes under key, to be filled at once; NULL and *rc when it fails. */
void *cc_db_reserve(struct cc_db *db, MDB_txn *t, enum table table, struct cc_slice key, size_t len, unsigned flags,
                    int *rc);
int cc_db_del(struct cc_db *db, MDB_txn *t, enum table table, struct cc_slice key); /* absent is fine */
int cc_db_last_seq(struct cc_db *db, MDB_txn *t, uint64_t *out);
int cc_db_take_revisions(struct cc_db *db, MDB_txn *t, uint64_t *first); /* a block of REV_BLOCK */
enum { REV_BLOCK = 1 << 22 };
#define REV_LAST ((uint64_t)1 << 53) /* exact in JSON and in Lua */

int cc_db_create_tables(struct cc_db *db, MDB_txn *t); /* those that are not there */
int cc_db_put_schema(struct cc_db *db, MDB_txn *t, uint64_t schema);
/* As cc_store_verify. */
int cc_db_verify(struct cc_db *db, struct cc_verified *out, bool (*stop)(void *arg), void *arg, struct cc_err *err);

/* ---- backup.c: what restore.c needs of it */

enum { BACKUP_END_BYTES = 64 }; /* what lies behind the data */
struct cc_watcher {             /* who may want us to stop */
    bool (*stop)(void *arg);
    void *arg;
};
/* Whether a backup is what was written, copying its data into `to` on the way when that is not -1. */
int cc_backup_read(const char *path, int to, const struct cc_watcher *w, struct cc_err *err);
/* Walks a file whose bytes are known to be right. */
int cc_backup_walk(const char *file, bool even_broken, struct cc_backup *out, const struct cc_watcher *w,
                   struct cc_err *err);

/* ---- migrate.c: an older store becomes one of ours */

struct cc_step {
    uint64_t from;                            /* schema before it; after it: one more. 0 ends the table */
    int (*run)(struct cc_db *db, MDB_txn *t); /* NULL: nothing is to be rewritten */
};

/* 0; CC_E_EXISTS: another process has it open; or what failed, and nothing has changed. Not while it is open here. */
int cc_migrate(const char *path, size_t map, size_t map_max, struct cc_err *err);
/* For tests: other steps than ours, NULL: ours again. */
void cc_migrate_use(const struct cc_step *steps);

/* ---- an update */

enum write { W_NONE, W_PUT, W_DEL };

struct cell {                   /* all that an update did with one key */
    struct cell *next;          /* in order of first touch */
    struct cell *chain;         /* in the update's own table */
    struct cell *newer, *older; /* in the overlay's bucket */
    struct cc_txn *txn;
    struct cc_txn *from; /* read from this one's write in flight */
    uint64_t hash;
    struct cc_slice key;
    uint8_t table; /* T_RECORDS or T_INDEX */
    uint8_t write;
    bool seen;   /* read: the two below must still hold at commit */
    bool logged; /* must exist, unless written here */
    bool seen_absent;
    uint64_t seen_rev;           /* records: 0 absent */
    struct cc_slice seen_value;  /* index entries */
    struct cc_slice owner, text; /* to be written */
    bool exists, grown, buried;  /* the writer's: found there; has new log entries; its head lies in `heads` */
    struct head head;            /* the writer's */
};

struct note { /* a log entry to be */
    struct note *next;
    struct cell *cell;
    struct cc_entry entry; /* seq, prev, count: the writer's */
};

struct chunk {
    struct chunk *next;
    size_t used, size;
    uint8_t bytes[];
};

enum { TXN_BUCKETS = 16 };

struct cc_txn {
    struct cc_txn *next;
    struct cc_store *store;
    uint64_t rev; /* 0: none to be had */
    int64_t at;   /* unix ms, of its log entries */
    struct cell *cells, **cells_end;
    struct cell **bucket, *few[TXN_BUCKETS];
    size_t ncells, nbuckets;
    struct note *notes, **notes_end;
    const uint64_t *trims; /* entries whose data is to go */
    size_t ntrims;
    uint64_t *trimmed; /* the writer's: how many it was */
    struct chunk *chunks;
    size_t bytes;
    bool writes; /* has something to apply */
    bool alone;  /* begun with the turn: sees no overlay, goes first */
    bool doomed; /* read from one that failed: nobody reads from it */
    int read_rc; /* a read failed with this engine code */
    cc_commit_fn fn;
    void *arg;
    struct cc_txn **readers; /* updates in flight that read from this one */
    size_t nreaders, readers_size;
    struct cc_txn *doom_next;
    int result;        /* the writer's */
    struct cc_err err; /* the writer's */
};

void cc_txn_free(struct cc_txn *t);
/* Drops the data of these entries, borrowed until the callback, and counts those that had some in *trimmed. */
void cc_txn_trim(struct cc_txn *t, const uint64_t *seqs, size_t n, uint64_t *trimmed);
struct cell *cc_txn_find(struct cc_txn *t, enum table table, struct cc_slice key, uint64_t hash);
uint64_t cc_cell_hash(enum table table, struct cc_slice key);

/* ---- overlay.c: writes in flight, newest first */

struct cc_overlay {
    struct cell **bucket;
    size_t nbuckets, count;
};

void cc_overlay_init(struct cc_overlay *o);
void cc_overlay_fini(struct cc_overlay *o);
void cc_overlay_add(struct cc_overlay *o, struct cc_txn *t);
/* Out again: as it was applied, or (failed) it and all that read from it are doomed. */
void cc_overlay_remove(struct cc_overlay *o, struct cc_txn *t, bool failed);
/* The newest write that may yet succeed, or NULL. */
struct cell *cc_overlay_find(struct cc_overlay *o, enum table table, struct cc_slice key, uint64_t hash);

/* ---- writer.c: the thread that commits */

enum turn { TURN_NONE, TURN_ASKED, TURN_HELD, TURN_GO };

struct cc_writer {
    struct cc_store *store;
    pthread_t thread;
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t wake;
    struct cc_txn *queue, **queue_end;
    struct cc_txn *done, **done_end;
    enum turn turn;
    bool stop;
    bool want_revs;
    uint64_t new_revs; /* first of a block that was taken, 0: none */
    uint64_t commits, updates, conflicts, failures;
    struct cc_series *sync_seconds, *batch;
};

int cc_writer_start(struct cc_writer *w, struct cc_store *s);
void cc_writer_join(struct cc_writer *w);
/* After the last callback: one may begin an update, which asks it for revisions in vain. */
void cc_writer_fini(struct cc_writer *w);

/* ---- watch.c: who waits for the log to grow */

struct cc_watch {
    struct cc_watch *next;
    uint64_t after;
    bool due;
    cc_watch_fn fn;
    void *arg;
};

void cc_watch_look(struct cc_store *s);
void cc_watch_close(struct cc_store *s); /* calls everybody with CC_E_STATE */

/* ---- handover.c: the loop's side */

struct waiter {
    struct waiter *next;
    void (*fn)(void *arg);
    void *arg;
};

struct cc_handover {
    uv_async_t async;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_idle_t idle;             /* active while something is collected, so that the loop does not sleep on it */
    struct cc_txn *list, **end; /* collected in this turn */
    uint64_t pending;           /* submitted, not called back */
    struct waiter *waiters, **waiters_end;
    void *holder; /* whose turn it is */
    bool held;    /* the writer holds the lock for the holder, who is not done */
    int open_handles;
};

int cc_handover_init(struct cc_store *s);
void cc_handover_flush(struct cc_store *s); /* before the writer is joined */
void cc_handover_close(struct cc_store *s); /* after; frees the store when the handles are gone */
void cc_handover_submit(struct cc_store *s, struct cc_txn *t);
void cc_handover_done_alone(struct cc_store *s); /* the update of a turn was aborted */
void cc_handover_want_revs(struct cc_store *s);

struct cc_store {
    struct cc_db db;
    struct cc_writer writer;
    struct cc_handover hand;
    struct cc_overlay overlay;
    struct cc_watch *watches;
    uv_timer_t look;            /* runs while there are watches; opened and closed by handover.c */
    struct cc_store *next_open; /* of this process */
    uv_loop_t *loop;
    struct cc_txn *open;                   /* begun, neither submitted nor aborted */
    uint64_t rev_next, rev_end, rev_spare; /* spare: first of the next block, 0: none */
    uint8_t *scratch;
    size_t scratch_size;
    int serve_fd;
    bool closing;
};

void cc_store_free(struct cc_store *s);

#endif
