/* span_slot.h - one span as it is in memory and in its file; private to span*.c. */
#ifndef CC_SPAN_SLOT_H
#define CC_SPAN_SLOT_H

#include "host/observe/span.h"

enum { CC_SLOT = 2048, CC_SLOT_DATA = 1664, CC_FIELD_HEAD = 4 };
enum { CC_SLOT_FREE, CC_SLOT_OPEN, CC_SLOT_DONE, CC_SLOT_NOTE }; /* a note: what is noted is its name */

/* data: fields, each a type (below), a key's length, a value's length (two bytes), key, value. */
enum { CC_FIELD_TEXT = 's', CC_FIELD_NUMBER = 'i', CC_FIELD_TRUTH = 'b', CC_FIELD_TRACEBACK = 'e' };

struct cc_span {
    uint32_t state;
    uint8_t kind, failed, whose; /* whose: bits of what was said of user, machine, plan */
    uint8_t cut;                 /* fields that were left out */
    unsigned char trace[16], id[8], parent[8];
    int64_t start_ns;  /* unix time */
    uint64_t began_ns; /* monotonic; 0: took_ns is set */
    uint64_t took_ns;
    uint32_t used; /* of data */
    char name[CC_SPAN_NAME_MAX + 1], message[236];
    unsigned char data[CC_SLOT_DATA];
};
_Static_assert(sizeof(struct cc_span) == CC_SLOT, "a slot is of one size, as another build may read it");

struct cc_span_head {
    char magic[8];   /* CC_SPAN_MAGIC: of this form */
    int64_t last_ns; /* when anything was last written to it */
};
#define CC_SPAN_MAGIC "ccspan1\n"
enum { CC_SPAN_FILE = (CC_SPANS + 1) * CC_SLOT }; /* the head has the place of a slot */

/* span_file.c */
typedef void (*cc_span_adopt_fn)(const struct cc_span *s, int64_t last_ns);
int cc_span_file_make(const char *path, struct cc_span_head **head, struct cc_err *err);
int cc_span_file_read(const char *path, cc_span_adopt_fn adopt, cc_noted_fn noted, void *arg, struct cc_err *err);

/* A growing text. */
struct cc_span_out {
    char *p;
    size_t n, cap;
};
void cc_span_write(struct cc_span_out *o, const struct cc_span *s); /* span_text.c */

/* Whether what stands in a file can be one. */
bool cc_span_sound(const struct cc_span *s);

#endif
