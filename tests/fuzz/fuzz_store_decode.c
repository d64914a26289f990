/* fuzz_store_decode.c - values of the store as a broken file could hold them: records, heads, log entries.
 *
 * What is decoded lies inside the value and encodes to the same bytes; an entry has the same hash with its data and
 * without, and nothing but its data goes.
 * links: store/codec.c -lmbedcrypto
 */
#include "store/store_internal.h"

#include <stdlib.h>
#include <string.h>

#define CHECK(x)                                                                                                       \
    do                                                                                                                 \
        if (!(x))                                                                                                      \
            __builtin_trap();                                                                                          \
    while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void inside(MDB_val v, struct cc_slice s)
{
    const char *from = v.mv_data;

    CHECK(s.data >= from && s.len <= v.mv_size && s.data + s.len <= from + v.mv_size);
}

static bool same(struct cc_slice a, struct cc_slice b) { return a.len == b.len && memcmp(a.data, b.data, a.len) == 0; }

static void record(MDB_val v)
{
    static const uint8_t none[6];
    struct stored r;
    uint8_t *again;

    if (cc_stored_read(v, &r))
        return;
    inside(v, r.owner);
    inside(v, r.text);
    CHECK(cc_stored_size(&r) == v.mv_size);
    again = malloc(v.mv_size);
    cc_stored_write(again, &r);
    if (memcmp((uint8_t *)v.mv_data + 2, none, sizeof(none)) == 0)
        CHECK(memcmp(again, v.mv_data, v.mv_size) == 0);
    free(again);
}

static void head(MDB_val v)
{
    uint8_t again[HEAD_BYTES];
    struct head h;

    if (cc_head_read(v, &h))
        return;
    cc_head_write(again, &h);
    CHECK(v.mv_size == HEAD_BYTES && memcmp(again, v.mv_data, HEAD_BYTES) == 0);
}

static void trimmed(MDB_val v, const struct cc_entry *e, const uint8_t hash[HASH_BYTES])
{
    static const uint8_t before[HASH_BYTES];
    uint8_t small[TRIMMED_MAX], again[HASH_BYTES];
    MDB_val t = { cc_entry_trim(v, small), small };
    struct cc_entry left;

    CHECK(cc_entry_read(7, t, &left) == CC_OK && left.trimmed && left.data.len == 0 && !cc_entry_can_trim(t));
    CHECK(same(left.kind, e->kind) && same(left.id, e->id) && same(left.type, e->type) && same(left.by, e->by));
    CHECK(left.prev == e->prev && left.count == e->count && left.at == e->at);
    cc_entry_hash(7, t, before, again);
    CHECK(memcmp(again, hash, HASH_BYTES) == 0);
}

static void entry(MDB_val v)
{
    static const uint8_t before[HASH_BYTES];
    uint8_t hash[HASH_BYTES];
    struct cc_entry e;

    if (cc_entry_read(7, v, &e))
        return;
    inside(v, e.kind);
    inside(v, e.id);
    inside(v, e.type);
    inside(v, e.by);
    inside(v, e.data);
    cc_entry_hash(7, v, before, hash);
    if (cc_entry_can_trim(v))
        trimmed(v, &e, hash);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    uint8_t *copy = malloc(n ? n : 1); /* of just this size, so that a byte too far is seen */
    MDB_val v = { n, copy };

    if (n)
        memcpy(copy, data, n);
    record(v);
    head(v);
    entry(v);
    free(copy);
    return 0;
}
