/* codec.c - the bytes of keys and values (SCHEMA.md).
 *
 * Integers are big endian, so that keys sort by number and a value reads the
 * same everywhere.  What is read is checked against its length: a broken
 * file gives CC_E_CORRUPT, never a read outside the value.  Values are not
 * aligned in the map, hence the byte-wise integers.
 */
#include "store/store_internal.h"

#include <assert.h>
#include <mbedtls/sha256.h>
#include <string.h>

enum { RECORD_FORMAT = 1, ENTRY_OLD = 1, ENTRY_FORMAT = 2, RECORD_FIXED = 64, ENTRY_FIXED = 64 };

void cc_put64(void *to, uint64_t v)
{
    v = __builtin_bswap64(v);
    memcpy(to, &v, sizeof(v));
}

uint64_t cc_get64(const void *from)
{
    uint64_t v;

    memcpy(&v, from, sizeof(v));
    return __builtin_bswap64(v);
}

bool cc_store_name_ok(struct cc_slice name)
{
    size_t i;

    if (name.len == 0 || name.len > CC_STORE_NAME_MAX)
        return false;
    for (i = 0; i < name.len; i++)
        if ((name.data[i] < 'a' || name.data[i] > 'z') && name.data[i] != '_')
            return false;
    return true;
}

bool cc_store_key_ok(struct cc_slice key) { return key.len > 0 && key.len <= CC_STORE_KEY_MAX; }

int cc_key_seq(MDB_val key, uint64_t *out)
{
    if (key.mv_size != 8)
        return CC_E_CORRUPT;
    *out = cc_get64(key.mv_data);
    return 0;
}

struct cc_slice cc_key(uint8_t buf[KEY_BYTES], const char *name, struct cc_slice rest)
{
    size_t n = strlen(name);

    assert(cc_store_name_ok(SLICE(name, n)) && rest.len <= CC_STORE_KEY_MAX);
    memcpy(buf, name, n + 1);
    if (rest.len)
        memcpy(buf + n + 1, rest.data, rest.len);
    return SLICE(buf, n + 1 + rest.len);
}

/* ---- heads and records */

void cc_head_write(uint8_t to[HEAD_BYTES], const struct head *h)
{
    cc_put64(to, h->seq);
    cc_put64(to + 8, h->count);
    memcpy(to + 16, h->hash, HASH_BYTES);
}

int cc_head_read(MDB_val v, struct head *out)
{
    const uint8_t *p = v.mv_data;

    if (v.mv_size != HEAD_BYTES)
        return CC_E_CORRUPT;
    out->seq = cc_get64(p);
    out->count = cc_get64(p + 8);
    memcpy(out->hash, p + 16, HASH_BYTES);
    return CC_OK;
}

size_t cc_stored_size(const struct stored *r) { return RECORD_FIXED + r->owner.len + r->text.len; }

void cc_stored_write(uint8_t *to, const struct stored *r)
{
    memset(to, 0, 8);
    to[0] = RECORD_FORMAT;
    to[1] = (uint8_t)r->owner.len;
    cc_put64(to + 8, r->rev);
    cc_head_write(to + 16, &r->head);
    if (r->owner.len)
        memcpy(to + RECORD_FIXED, r->owner.data, r->owner.len);
    memcpy(to + RECORD_FIXED + r->owner.len, r->text.data, r->text.len);
}

int cc_stored_read(MDB_val v, struct stored *out)
{
    const uint8_t *p = v.mv_data;

    if (v.mv_size < RECORD_FIXED || p[0] != RECORD_FORMAT || v.mv_size < (size_t)RECORD_FIXED + p[1])
        return CC_E_CORRUPT;
    out->rev = cc_get64(p + 8);
    cc_head_read((MDB_val){ HEAD_BYTES, (void *)(p + 16) }, &out->head);
    out->owner = SLICE(p + RECORD_FIXED, p[1]);
    out->text = SLICE(p + RECORD_FIXED + p[1], v.mv_size - RECORD_FIXED - p[1]);
    return CC_OK;
}

/* ---- log entries: the hash first, then what it covers (with the sequence, which is the key)
 * Of the data it covers the digest, so that the data can be dropped and its digest kept in its place. */

enum { TRIMMED_AT = 38 }; /* whether that has been done; the hash takes it for 0 */

size_t cc_entry_size(const struct cc_entry *e)
{
    return ENTRY_FIXED + e->kind.len + e->id.len + e->type.len + e->by.len + e->data.len;
}

static uint8_t *append(uint8_t *to, struct cc_slice s)
{
    if (s.len)
        memcpy(to, s.data, s.len);
    return to + s.len;
}

void cc_entry_write(uint8_t *to, const struct cc_entry *e, const uint8_t *before)
{
    uint8_t *p = to + HASH_BYTES;

    *p++ = ENTRY_FORMAT;
    *p++ = (uint8_t)e->kind.len;
    *p++ = (uint8_t)(e->id.len >> 8);
    *p++ = (uint8_t)e->id.len;
    *p++ = (uint8_t)e->type.len;
    *p++ = (uint8_t)e->by.len;
    *p++ = 0;
    *p++ = 0;
    cc_put64(p, e->prev);
    cc_put64(p + 8, e->count);
    cc_put64(p + 16, (uint64_t)e->at);
    p = append(append(p + 24, e->kind), e->id);
    append(append(append(p, e->type), e->by), e->data);
    cc_entry_hash(e->seq, (MDB_val){ cc_entry_size(e), to }, before, to);
}

static struct cc_slice take(const char **p, size_t n)
{
    const char *from = *p;

    *p += n;
    return SLICE(from, n);
}

/* Where the data begins. */
static size_t data_at(const uint8_t *b)
{
    const uint8_t *p = b + HASH_BYTES;

    return ENTRY_FIXED + p[1] + ((size_t)p[2] << 8 | p[3]) + p[4] + p[5];
}

static bool entry_ok(MDB_val v)
{
    const uint8_t *b = v.mv_data;

    if (v.mv_size < ENTRY_FIXED || v.mv_size < data_at(b))
        return false;
    if (b[HASH_BYTES] == ENTRY_OLD)
        return true;
    return b[HASH_BYTES] == ENTRY_FORMAT && b[TRIMMED_AT] <= 1 &&
           (!b[TRIMMED_AT] || v.mv_size == data_at(b) + HASH_BYTES);
}

int cc_entry_read(uint64_t seq, MDB_val v, struct cc_entry *out)
{
    const uint8_t *b = v.mv_data, *p = b + HASH_BYTES;
    const char *s = (const char *)b + ENTRY_FIXED;

    if (!entry_ok(v))
        return CC_E_CORRUPT;
    out->seq = seq;
    out->prev = cc_get64(p + 8);
    out->count = cc_get64(p + 16);
    out->at = (int64_t)cc_get64(p + 24);
    out->kind = take(&s, p[1]);
    out->id = take(&s, (size_t)p[2] << 8 | p[3]);
    out->type = take(&s, p[4]);
    out->by = take(&s, p[5]);
    out->trimmed = p[0] == ENTRY_FORMAT && b[TRIMMED_AT];
    out->data = SLICE(s, out->trimmed ? 0 : v.mv_size - data_at(b));
    out->hash = b;
    return CC_OK;
}

bool cc_entry_can_trim(MDB_val v)
{
    const uint8_t *b = v.mv_data;

    return entry_ok(v) && b[HASH_BYTES] == ENTRY_FORMAT && !b[TRIMMED_AT] && data_at(b) + HASH_BYTES <= TRIMMED_MAX;
}

size_t cc_entry_trim(MDB_val v, uint8_t to[TRIMMED_MAX])
{
    const uint8_t *b = v.mv_data;
    size_t at = data_at(b);

    memcpy(to, b, at);
    to[TRIMMED_AT] = 1;
    mbedtls_sha256_ret(b + at, v.mv_size - at, to + at, 0);
    return at + HASH_BYTES;
}

/* What the hash covers of the value itself. */
static void cover(mbedtls_sha256_context *c, MDB_val v)
{
    const uint8_t *b = v.mv_data;
    uint8_t fixed[ENTRY_FIXED], digest[HASH_BYTES];
    size_t at = data_at(b);

    if (b[HASH_BYTES] == ENTRY_OLD) {
        mbedtls_sha256_update_ret(c, b + HASH_BYTES, v.mv_size - HASH_BYTES);
        return;
    }
    memcpy(fixed, b, ENTRY_FIXED);
    fixed[TRIMMED_AT] = 0;
    if (b[TRIMMED_AT])
        memcpy(digest, b + at, HASH_BYTES);
    else
        mbedtls_sha256_ret(b + at, v.mv_size - at, digest, 0);
    mbedtls_sha256_update_ret(c, fixed + HASH_BYTES, ENTRY_FIXED - HASH_BYTES);
    mbedtls_sha256_update_ret(c, b + ENTRY_FIXED, at - ENTRY_FIXED);
    mbedtls_sha256_update_ret(c, digest, HASH_BYTES);
}

void cc_entry_hash(uint64_t seq, MDB_val v, const uint8_t *before, uint8_t out[HASH_BYTES])
{
    mbedtls_sha256_context c;
    uint8_t key[8];

    cc_put64(key, seq);
    mbedtls_sha256_init(&c);
    mbedtls_sha256_starts_ret(&c, 0);
    mbedtls_sha256_update_ret(&c, before, HASH_BYTES);
    mbedtls_sha256_update_ret(&c, key, sizeof(key));
    cover(&c, v);
    mbedtls_sha256_finish_ret(&c, out);
    mbedtls_sha256_free(&c);
}
