/* activity.c - see activity.h. */
#include "providers/activity.h"

#include <string.h>

#define TIME_MAX ((int64_t)1 << 53) /* a number of Lua is as exact */

enum { FOREGROUND_MAX = 128, CLIENTS_MAX = 1000000, SSH_MAX = 1000, LOAD_MAX = 4096 };

/* From 0 to most; what is no whole number is 0. */
static int64_t whole(const json_t *o, const char *key, int64_t most)
{
    int64_t n = json_integer_value(json_object_get(o, key));

    return n < 0 ? 0 : n > most ? most : n;
}

static const char *text(const json_t *o, const char *key, size_t max, struct cc_arena *a)
{
    const json_t *v = json_object_get(o, key);
    char *out;

    if (json_string_length(v) == 0)
        return NULL;
    out = cc_arena_alloc(a, max + 1);
    cc_printable(out, max, json_string_value(v), json_string_length(v));
    return out;
}

static bool has(const struct cc_lease *v, size_t n, const char *id)
{
    while (n > 0)
        if (strcmp(v[--n].id, id) == 0)
            return true;
    return false;
}

/* Not over yet, ending a day from now at the latest, begun by now. */
static bool read_lease(const json_t *o, int64_t now, struct cc_arena *a, struct cc_lease *out)
{
    const json_t *id = json_object_get(o, "id");

    if (!json_is_string(id) || !cc_lease_id_ok(json_string_value(id), json_string_length(id)))
        return false;
    out->until_at = whole(o, "until_ms", now + (int64_t)CC_LEASE_TTL_MAX * 1000);
    if (out->until_at <= now)
        return false;
    out->id = cc_arena_strdup(a, json_string_value(id));
    out->reason = text(o, "reason", CC_LEASE_REASON_MAX, a);
    out->since = whole(o, "since_ms", now);
    if (!out->reason)
        out->reason = "";
    return true;
}

static void read_leases(const json_t *list, int64_t now, struct cc_arena *a, struct cc_activity *out)
{
    size_t i, n = json_array_size(list);
    struct cc_lease *v;

    if (n > CC_LEASES_MAX)
        n = CC_LEASES_MAX;
    out->leases = v = cc_arena_alloc(a, (n + 1) * sizeof(*v));
    for (i = 0; i < n; i++)
        if (read_lease(json_array_get(list, i), now, a, &v[out->n_leases]) &&
            !has(v, out->n_leases, v[out->n_leases].id))
            out->n_leases++;
}

void cc_activity_read(const json_t *said, int64_t now, struct cc_arena *a, struct cc_activity *out)
{
    double load = json_number_value(json_object_get(said, "load"));

    *out = (struct cc_activity){
        .last_input_at = whole(said, "last_input_ms", TIME_MAX),
        .clients = (uint32_t)whole(said, "clients", CLIENTS_MAX),
        .foreground = text(said, "foreground", FOREGROUND_MAX, a),
        .load = load > 0 ? load < LOAD_MAX ? load : LOAD_MAX : 0,
        .turn = json_is_true(json_object_get(said, "turn")),
        .ssh_sessions = (uint32_t)whole(said, "ssh_sessions", SSH_MAX),
    };
    read_leases(json_object_get(said, "leases"), now, a, out);
}
