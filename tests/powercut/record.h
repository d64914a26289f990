/* record.h - the order in which a store changed its file, and what was promised meanwhile.
 *
 * The calls by which LMDB changes data.mdb are defined in record.c.  A
 * program's own functions come before those of its libraries, so they are
 * what the store calls: no tracer and no preloaded library is needed, and
 * promises are noted in the same list, in order.  A call is noted before it is
 * made, a promise after it was given: whatever lies between two entries is so
 * taken for the worse.
 */
#ifndef RECORD_H
#define RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum op_kind { OP_WRITE, OP_SYNCED_WRITE, OP_SYNC, OP_LENGTH, OP_ASKED, OP_PROMISED };

struct op {
    enum op_kind kind;
    int writer;     /* asked, promised: whose */
    int64_t number; /* and which update of his */
    off_t at;       /* writes; length: the new one */
    size_t len;
    uint8_t *data;
};

struct record {
    struct op *ops;
    size_t n, size;
};

/* Begins to note calls on files whose name contains data.mdb. */
void record_start(struct record *r);
void record_stop(void);
/* From now on every n-th write of a meta page is made and then said to have failed; 0: none. With `for_good` only
 * one more write is possible, with which the page is taken back in memory, and then none before the next record_deny. */
void record_deny(unsigned n, bool for_good);
void record_note(enum op_kind kind, int writer, int64_t number);
size_t record_count(void);
void record_free(struct record *r);

#endif
