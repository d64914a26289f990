/* jwt.c - see jwt.h.
 *
 * HMAC is done from two SHA-256 states that have the padded key hashed already: half the work of a
 * one-shot HMAC for a token of 150 bytes.  The cache is a table of 2-way buckets under a keyed hash
 * (so that nobody can aim tokens at one bucket); a hit needs every byte equal.
 */
#include "host/sys/jwt.h"

#include "host/sys/mem.h"
#include "host/sys/random.h"

#include <jansson.h>
#include <mbedtls/constant_time.h>
#include <mbedtls/platform_util.h>
#include <mbedtls/sha256.h>
#include <mbedtls/version.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if MBEDTLS_VERSION_MAJOR < 3
#define mbedtls_sha256_starts mbedtls_sha256_starts_ret
#define mbedtls_sha256_update mbedtls_sha256_update_ret
#define mbedtls_sha256_finish mbedtls_sha256_finish_ret
#endif

enum { MAC = 32, BLOCK = 64, AHEAD_SECONDS = 60 };

struct key {
    char *kid;
    mbedtls_sha256_context inner, outer;
    struct key *next;
};

struct entry {
    char *token;
    size_t len;
    uint64_t hash;
    struct cc_jwt_claims claims;
};

struct cc_jwt {
    struct key *keys, **keys_end;
    struct entry *cache;
    size_t buckets; /* of two entries each; a power of two, or 0 */
    uint64_t seed[2];
    struct cc_jwt_claims last;
    char head[CC_JWT_CLAIM_MAX + 1]; /* the last head that was found good, encoded: most tokens have the same */
    size_t head_len;
    char kid[CC_JWT_CLAIM_MAX + 1]; /* and the kid that it names */
};

struct parts {
    const char *head, *body, *mac;
    size_t head_len, body_len, mac_len, signed_len;
};

/* ---- base64url */

static int digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

/* -> bytes written, or -1 for what no encoder writes (padding, other letters, bits left over). */
static int decode64(const char *s, size_t n, unsigned char *out, size_t room)
{
    uint32_t acc = 0;
    size_t i, len = 0;
    int bits = 0, d;

    if (n % 4 == 1)
        return -1;
    for (i = 0; i < n; i++) {
        if ((d = digit(s[i])) < 0 || (len == room && bits >= 2))
            return -1;
        acc = acc << 6 | (uint32_t)d;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            out[len++] = (unsigned char)(acc >> bits);
            acc &= (1u << bits) - 1;
        }
    }
    return acc ? -1 : (int)len;
}

static size_t encode64(const unsigned char *in, size_t n, char *out)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint32_t acc = 0;
    size_t i, len = 0;
    int bits = 0;

    for (i = 0; i < n; i++) {
        acc = acc << 8 | in[i];
        for (bits += 8; bits >= 6;) {
            bits -= 6;
            out[len++] = alphabet[acc >> bits & 63];
        }
    }
    if (bits)
        out[len++] = alphabet[acc << (6 - bits) & 63];
    return len;
}

/* ---- keys and HMAC */

struct cc_jwt *cc_jwt_new(size_t cache)
{
    struct cc_jwt *j = cc_xcalloc(1, sizeof(*j));

    j->keys_end = &j->keys;
    cc_random(j->seed, sizeof(j->seed));
    if (cache) {
        for (j->buckets = 1; j->buckets * 2 < cache;)
            j->buckets *= 2;
        j->cache = cc_xcalloc(j->buckets * 2, sizeof(*j->cache));
    }
    return j;
}

void cc_jwt_free(struct cc_jwt *j)
{
    struct key *k;
    size_t i;

    while ((k = j->keys)) {
        j->keys = k->next;
        mbedtls_sha256_free(&k->inner);
        mbedtls_sha256_free(&k->outer);
        free(k->kid);
        free(k);
    }
    for (i = 0; i < j->buckets * 2; i++)
        free(j->cache[i].token);
    free(j->cache);
    free(j);
}

static void start_pad(mbedtls_sha256_context *c, const unsigned char *block, unsigned char with)
{
    unsigned char pad[BLOCK];
    size_t i;

    for (i = 0; i < BLOCK; i++)
        pad[i] = block[i] ^ with;
    mbedtls_sha256_init(c);
    mbedtls_sha256_starts(c, 0);
    mbedtls_sha256_update(c, pad, BLOCK);
    mbedtls_platform_zeroize(pad, sizeof(pad));
}

void cc_jwt_add_key(struct cc_jwt *j, const char *kid, const void *secret, size_t len)
{
    unsigned char block[BLOCK] = { 0 };
    struct key *k = cc_xcalloc(1, sizeof(*k));
    mbedtls_sha256_context c;

    if (len > BLOCK) {
        mbedtls_sha256_init(&c);
        mbedtls_sha256_starts(&c, 0);
        mbedtls_sha256_update(&c, secret, len);
        mbedtls_sha256_finish(&c, block);
        mbedtls_sha256_free(&c);
    } else if (len) {
        memcpy(block, secret, len);
    }
    start_pad(&k->inner, block, 0x36);
    start_pad(&k->outer, block, 0x5c);
    mbedtls_platform_zeroize(block, sizeof(block));
    k->kid = kid ? cc_xstrdup(kid) : NULL;
    *j->keys_end = k;
    j->keys_end = &k->next;
}

static void hmac(const struct key *k, const char *text, size_t n, unsigned char mac[MAC])
{
    mbedtls_sha256_context c;

    mbedtls_sha256_init(&c);
    mbedtls_sha256_clone(&c, &k->inner);
    mbedtls_sha256_update(&c, (const unsigned char *)text, n);
    mbedtls_sha256_finish(&c, mac);
    mbedtls_sha256_clone(&c, &k->outer);
    mbedtls_sha256_update(&c, mac, MAC);
    mbedtls_sha256_finish(&c, mac);
    mbedtls_sha256_free(&c);
}

/* ---- the parts of a token */

static bool split(const char *t, size_t len, struct parts *p)
{
    const char *dot1 = memchr(t, '.', len), *dot2;

    if (!dot1 || !(dot2 = memchr(dot1 + 1, '.', len - (size_t)(dot1 + 1 - t))))
        return false;
    *p = (struct parts){ t,
                         dot1 + 1,
                         dot2 + 1,
                         (size_t)(dot1 - t),
                         (size_t)(dot2 - dot1 - 1),
                         len - (size_t)(dot2 + 1 - t),
                         (size_t)(dot2 - t) };
    return p->head_len && p->body_len && !memchr(p->mac, '.', p->mac_len);
}

static json_t *decode_object(const char *s, size_t n)
{
    unsigned char text[CC_JWT_TOKEN_MAX];
    int len = decode64(s, n, text, sizeof(text));
    json_t *o = len < 0 ? NULL : json_loadb((char *)text, (size_t)len, JSON_REJECT_DUPLICATES, NULL);

    if (o && !json_is_object(o)) {
        json_decref(o);
        o = NULL;
    }
    return o;
}

/* The head names HS256 and nothing that we would have to understand. *kid is copied, "" when absent. */
static bool read_head(const struct parts *p, char kid[CC_JWT_CLAIM_MAX + 1])
{
    json_t *o = decode_object(p->head, p->head_len), *v;
    const char *alg = json_string_value(json_object_get(o, "alg"));
    bool ok = alg && strcmp(alg, "HS256") == 0 && !json_object_get(o, "crit") && !json_object_get(o, "b64");

    kid[0] = '\0';
    if ((v = json_object_get(o, "kid"))) {
        ok = ok && json_is_string(v) && json_string_length(v) <= CC_JWT_CLAIM_MAX;
        if (ok)
            snprintf(kid, CC_JWT_CLAIM_MAX + 1, "%s", json_string_value(v));
    }
    if ((v = json_object_get(o, "typ")))
        ok = ok && json_is_string(v);
    json_decref(o);
    return ok;
}

static bool head_holds(struct cc_jwt *j, const struct parts *p)
{
    if (p->head_len == j->head_len && memcmp(p->head, j->head, j->head_len) == 0)
        return true;
    j->head_len = 0;
    if (!read_head(p, j->kid))
        return false;
    if (p->head_len <= sizeof(j->head)) {
        memcpy(j->head, p->head, p->head_len);
        j->head_len = p->head_len;
    }
    return true;
}

static bool signature_holds(struct cc_jwt *j, const struct parts *p)
{
    unsigned char mac[MAC], want[MAC + 1];
    bool holds = false;
    struct key *k;

    if (decode64(p->mac, p->mac_len, want, sizeof(want)) != MAC)
        return false;
    for (k = j->keys; k && !holds; k = k->next) {
        if (*j->kid && (!k->kid || strcmp(k->kid, j->kid) != 0))
            continue;
        hmac(k, p->head, p->signed_len, mac);
        holds = mbedtls_ct_memcmp(mac, want, MAC) == 0;
    }
    return holds;
}

/* ---- claims */

static bool take_text(json_t *o, const char *name, char *out)
{
    json_t *v = json_object_get(o, name);

    if (json_is_integer(v)) {
        snprintf(out, CC_JWT_CLAIM_MAX + 1, "%lld", (long long)json_integer_value(v));
        return true;
    }
    if (!v)
        return true;
    if (!json_is_string(v) || json_string_length(v) > CC_JWT_CLAIM_MAX ||
        strlen(json_string_value(v)) != json_string_length(v))
        return false;
    snprintf(out, CC_JWT_CLAIM_MAX + 1, "%s", json_string_value(v));
    return true;
}

static bool take_time(json_t *o, const char *name, int64_t *out)
{
    json_t *v = json_object_get(o, name);

    if (!v)
        return true;
    *out = json_integer_value(v);
    return json_is_integer(v) && *out > 0;
}

static bool read_claims(const struct parts *p, struct cc_jwt_claims *c)
{
    json_t *o = decode_object(p->body, p->body_len);
    bool ok = o != NULL;

    memset(c, 0, sizeof(*c));
    ok = ok && take_text(o, "user_id", c->user_id) && take_text(o, "email", c->email) &&
         take_text(o, "purpose", c->purpose) && take_text(o, "jti", c->jti);
    ok = ok && take_time(o, "exp", &c->exp) && take_time(o, "iat", &c->iat) && take_time(o, "nbf", &c->nbf);
    json_decref(o);
    return ok && c->exp != 0;
}

static bool in_time(const struct cc_jwt_claims *c, int64_t now)
{
    return c->exp > now && c->iat <= now + AHEAD_SECONDS && c->nbf <= now + AHEAD_SECONDS;
}

/* ---- the cache */

static uint64_t hash_of(const struct cc_jwt *j, const char *s, size_t n)
{
    uint64_t h = j->seed[0] ^ n, w;

    for (; n >= 8; s += 8, n -= 8) {
        memcpy(&w, s, 8);
        h = (h ^ w) * 0x9e3779b97f4a7c15u;
        h ^= h >> 29;
    }
    w = 0;
    memcpy(&w, s, n);
    h = (h ^ w ^ j->seed[1]) * 0xbf58476d1ce4e5b9u;
    return h ^ h >> 32;
}

static struct entry *bucket(struct cc_jwt *j, uint64_t h) { return &j->cache[(h & (j->buckets - 1)) * 2]; }

static struct entry *recall(struct cc_jwt *j, const char *t, size_t len, uint64_t h)
{
    struct entry *e = bucket(j, h), *end = e + 2;

    for (; e < end; e++)
        if (e->hash == h && e->len == len && e->token && memcmp(e->token, t, len) == 0)
            return e;
    return NULL;
}

/* The newest goes first; the older one of the bucket is forgotten. */
static struct entry *remember(struct cc_jwt *j, const char *t, size_t len, uint64_t h, const struct cc_jwt_claims *c)
{
    struct entry *e = bucket(j, h);

    free(e[1].token);
    e[1] = e[0];
    e[0] = (struct entry){ cc_xstrndup(t, len), len, h, *c };
    return e;
}

/* ---- the verbs */

static int refuse(struct cc_err *err) { return cc_err_set(err, CC_E_DENIED, "invalid token"); }

int cc_jwt_verify(struct cc_jwt *j, const char *token, size_t len, int64_t now, const struct cc_jwt_claims **out,
                  struct cc_err *err)
{
    struct entry *e = NULL;
    struct parts p;
    uint64_t h = 0;

    if (len == 0 || len > CC_JWT_TOKEN_MAX)
        return refuse(err);
    if (j->buckets) {
        h = hash_of(j, token, len);
        e = recall(j, token, len, h);
    }
    if (e) {
        *out = &e->claims;
        return in_time(&e->claims, now) ? 0 : refuse(err);
    }
    if (!split(token, len, &p) || !head_holds(j, &p) || !signature_holds(j, &p) || !read_claims(&p, &j->last))
        return refuse(err);
    if (!in_time(&j->last, now))
        return refuse(err);
    *out = j->buckets ? &remember(j, token, len, h, &j->last)->claims : &j->last;
    return 0;
}

bool cc_jwt_signed(struct cc_jwt *j, const char *token, size_t len)
{
    unsigned char body[CC_JWT_TOKEN_MAX];
    struct parts p;

    return len > 0 && len <= CC_JWT_TOKEN_MAX && split(token, len, &p) && head_holds(j, &p) && signature_holds(j, &p) &&
           decode64(p.body, p.body_len, body, sizeof(body)) >= 0;
}

char *cc_jwt_sign(struct cc_jwt *j, const char *claims, size_t len)
{
    static const char head[] = "{\"alg\":\"HS256\",\"typ\":\"JWT\"";
    char *text = j->keys->kid ? cc_xasprintf("%s,\"kid\":\"%s\"}", head, j->keys->kid) : cc_xasprintf("%s}", head);
    char *out = cc_xmalloc((strlen(text) + len + MAC) * 4 / 3 + 16);
    unsigned char mac[MAC];
    size_t n = encode64((unsigned char *)text, strlen(text), out);

    out[n++] = '.';
    n += encode64((const unsigned char *)claims, len, out + n);
    hmac(j->keys, out, n, mac);
    out[n++] = '.';
    n += encode64(mac, MAC, out + n);
    out[n] = '\0';
    free(text);
    return out;
}
