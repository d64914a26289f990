/* overlay.c - writes in flight, which later updates read.
 *
 * Without it the first of many updates of one key always wins and the rest
 * start again, for ever.  A bucket holds cells newest first, so the newest
 * write of a key is found first.  When an update fails, those that read from
 * it cannot succeed either: they are doomed at once and their writes are
 * passed over, else a failed update would, run again, read from a doomed
 * one, and the failure would go round in circles.  Thread: loop only.
 */
#include "store/store_internal.h"

#include "host/sys/mem.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_BUCKETS = 256 };

void cc_overlay_init(struct cc_overlay *o)
{
    o->nbuckets = FIRST_BUCKETS;
    o->bucket = cc_xcalloc(o->nbuckets, sizeof(*o->bucket));
    o->count = 0;
}

void cc_overlay_fini(struct cc_overlay *o) { free(o->bucket); }

static void link_cell(struct cc_overlay *o, struct cell *c)
{
    struct cell **at = &o->bucket[c->hash & (o->nbuckets - 1)];

    c->newer = NULL;
    c->older = *at;
    if (*at)
        (*at)->newer = c;
    *at = c;
}

static void grow(struct cc_overlay *o)
{
    struct cc_overlay big = { NULL, o->nbuckets * 4, o->count };
    struct cell *c, *newer;
    size_t i;

    big.bucket = cc_xcalloc(big.nbuckets, sizeof(*big.bucket));
    for (i = 0; i < o->nbuckets; i++) {
        for (c = o->bucket[i]; c && c->older; c = c->older)
            ;
        for (; c; c = newer) { /* oldest first, so that the order stays */
            newer = c->newer;
            link_cell(&big, c);
        }
    }
    free(o->bucket);
    *o = big;
}

static void add_reader(struct cc_txn *from, struct cc_txn *reader)
{
    if (from->nreaders && from->readers[from->nreaders - 1] == reader)
        return;
    if (from->nreaders == from->readers_size) {
        from->readers_size = from->readers_size ? from->readers_size * 2 : 4;
        from->readers = cc_xrealloc(from->readers, from->readers_size * sizeof(struct cc_txn *));
    }
    from->readers[from->nreaders++] = reader;
}

void cc_overlay_add(struct cc_overlay *o, struct cc_txn *t)
{
    struct cell *c;

    for (c = t->cells; c; c = c->next) {
        if (c->from)
            add_reader(c->from, t);
        if (c->write == W_NONE)
            continue;
        if (++o->count > o->nbuckets)
            grow(o);
        link_cell(o, c);
    }
}

static void doom_readers(struct cc_txn *failed)
{
    struct cc_txn *todo = failed, *t;
    size_t i;

    failed->doom_next = NULL;
    while ((t = todo)) {
        todo = t->doom_next;
        for (i = 0; i < t->nreaders; i++) {
            if (t->readers[i]->doomed)
                continue;
            t->readers[i]->doomed = true;
            t->readers[i]->doom_next = todo;
            todo = t->readers[i];
        }
    }
}

void cc_overlay_remove(struct cc_overlay *o, struct cc_txn *t, bool failed)
{
    struct cell *c;

    for (c = t->cells; c; c = c->next) {
        if (c->write == W_NONE)
            continue;
        if (c->older)
            c->older->newer = c->newer;
        if (c->newer)
            c->newer->older = c->older;
        else
            o->bucket[c->hash & (o->nbuckets - 1)] = c->older;
        o->count--;
    }
    if (failed)
        doom_readers(t);
}

struct cell *cc_overlay_find(struct cc_overlay *o, enum table table, struct cc_slice key, uint64_t hash)
{
    struct cell *c;

    for (c = o->bucket[hash & (o->nbuckets - 1)]; c; c = c->older)
        if (c->hash == hash && c->table == table && !c->txn->doomed && c->key.len == key.len &&
            memcmp(c->key.data, key.data, key.len) == 0)
            return c;
    return NULL;
}
