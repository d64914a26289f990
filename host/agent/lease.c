/* lease.c - busy leases, and the socket through which everybody in the machine may hold one.
 *
 * That socket is a server of its own with small limits, beside the host's: what
 * is said there can hold, give back and read leases, and nothing else.  Time
 * is counted on the monotonic clock; what has run out goes when somebody looks,
 * so no timer wakes an idle machine.  Leases end with the agent: who runs
 * something (cchost-busy) renews.
 */
#include "host/agent/agent.h"

#include "host/http/server.h"
#include "host/observe/log.h"
#include "host/sys/clock.h"
#include "host/sys/err.h"
#include "host/sys/lease.h"
#include "host/sys/random.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { BODY_MAX = 4096 };

struct lease {
    char id[CC_LEASE_ID_MAX + 1], reason[CC_LEASE_REASON_MAX + 1];
    int64_t since_ms, until_ms; /* unix time, for people */
    uint64_t end_ms;            /* on cc_mono_ms: when it is over */
};

static struct lease leases[CC_LEASES_MAX];
static size_t n_leases;
static struct cc_server *server;

/* ---- the table */

static void drop(struct lease *l)
{
    n_leases--;
    memmove(l, l + 1, (size_t)(leases + n_leases - l) * sizeof(*l));
}

static void expire(void)
{
    uint64_t now = cc_mono_ms();
    size_t i = 0;

    while (i < n_leases)
        if (leases[i].end_ms <= now)
            drop(&leases[i]);
        else
            i++;
}

static struct lease *find(const char *id, size_t n)
{
    size_t i;

    expire();
    for (i = 0; i < n_leases; i++)
        if (strlen(leases[i].id) == n && memcmp(leases[i].id, id, n) == 0)
            return &leases[i];
    return NULL;
}

static void new_id(char out[17])
{
    unsigned char raw[8];
    size_t i;

    cc_random(raw, sizeof(raw));
    for (i = 0; i < sizeof(raw); i++)
        snprintf(out + 2 * i, 3, "%02x", raw[i]);
}

/* NULL: there are too many. One of that id is held on, for another reason and time. */
static const struct lease *hold(const char *id, const char *reason, json_int_t ttl)
{
    char own[17];
    struct lease *l;

    if (!id) {
        new_id(own);
        id = own;
    }
    if (!(l = find(id, strlen(id)))) {
        if (n_leases == CC_LEASES_MAX)
            return NULL;
        l = &leases[n_leases++];
        snprintf(l->id, sizeof(l->id), "%s", id);
        l->since_ms = cc_wall_ms();
    }
    snprintf(l->reason, sizeof(l->reason), "%s", reason);
    l->until_ms = cc_wall_ms() + ttl * 1000;
    l->end_ms = cc_mono_ms() + (uint64_t)ttl * 1000;
    return l;
}

/* "claude-turn", and of sessions that hold one each "claude-turn.SESSION". */
bool agent_turn(void)
{
    static const char name[] = CC_LEASE_TURN;
    const size_t n = sizeof(name) - 1;
    size_t i;

    expire();
    for (i = 0; i < n_leases; i++)
        if (strncmp(leases[i].id, name, n) == 0 && (leases[i].id[n] == '\0' || leases[i].id[n] == '.'))
            return true;
    return false;
}

bool agent_lease_hold(const char *id, const char *reason, unsigned ttl) { return hold(id, reason, ttl) != NULL; }

void agent_lease_release(const char *id)
{
    struct lease *l = find(id, strlen(id));

    if (l)
        drop(l);
}

json_t *agent_leases(void)
{
    json_t *list = json_array();
    size_t i;

    expire();
    for (i = 0; i < n_leases; i++)
        json_array_append_new(list,
                              json_pack("{s:s,s:s,s:I,s:I}", "id", leases[i].id, "reason", leases[i].reason, "until_ms",
                                        (json_int_t)leases[i].until_ms, "since_ms", (json_int_t)leases[i].since_ms));
    return list;
}

/* ---- the requests */

/* Why these bytes are no wish for a lease, or NULL. */
static const char *read_wish(json_t *o, const char **id, const char **reason, json_int_t *ttl)
{
    const json_t *i = json_object_get(o, "id"), *r = json_object_get(o, "reason"), *t = json_object_get(o, "ttl");

    if (!json_is_object(o) || json_object_size(o) != (size_t)(i != NULL) + (r != NULL) + (t != NULL))
        return "a JSON object of id, reason and ttl expected";
    if (i && (!json_is_string(i) || !cc_lease_id_ok(json_string_value(i), json_string_length(i))))
        return "id: 1 to 64 letters, digits, \"-\", \"_\" and \".\" expected, not first a dot";
    if (!json_is_string(r) || !cc_lease_reason_ok(json_string_value(r), json_string_length(r)))
        return "reason: 1 to 200 bytes of printable text expected";
    if (!json_is_integer(t) || json_integer_value(t) < 1 || json_integer_value(t) > CC_LEASE_TTL_MAX)
        return "ttl: 1 to 86400 seconds expected";
    *id = json_string_value(i);
    *reason = json_string_value(r);
    *ttl = json_integer_value(t);
    return NULL;
}

static void on_wish(void *arg, struct cc_req *r, int status)
{
    const char *id = NULL, *reason = NULL, *why;
    const struct lease *l;
    struct cc_text body;
    json_int_t ttl = 0;
    json_t *o;

    (void)arg;
    if (status != 0) {
        cc_req_reply_error(r, status == CC_E_LIMIT ? 413 : 400, "invalid", "the body could not be read");
        return;
    }
    body = cc_req_body_text(r);
    o = json_loadb(body.p ? body.p : "", body.n, JSON_REJECT_DUPLICATES, NULL);
    if ((why = read_wish(o, &id, &reason, &ttl)))
        cc_req_reply_error(r, 400, "invalid", why);
    else if (!(l = hold(id, reason, ttl)))
        cc_req_reply_error(r, 429, "limit", "64 leases are held already");
    else
        agent_reply(r, 200, json_pack("{s:s,s:I}", "id", l->id, "until_ms", (json_int_t)l->until_ms));
    json_decref(o);
}

static void release(struct cc_req *r, struct cc_text id)
{
    struct lease *l = find(id.p, id.n);

    if (!l) {
        cc_req_reply_error(r, 404, "not_found", "no such lease");
        return;
    }
    drop(l);
    agent_reply(r, 200, json_pack("{s:s%}", "id", id.p, id.n));
}

static bool is(struct cc_req *r, const char *method, struct cc_text path, const char *where)
{
    return strcmp(cc_req_method(r), method) == 0 && path.n == strlen(where) && memcmp(path.p, where, path.n) == 0;
}

static void on_request(void *arg, struct cc_req *r)
{
    static const char one[] = "/lease/";
    struct cc_text path = cc_req_path(r);
    int rc;

    (void)arg;
    if (is(r, "GET", path, "/leases")) {
        agent_reply(r, 200, json_pack("{s:o}", "leases", agent_leases()));
    } else if (is(r, "POST", path, "/lease")) {
        rc = cc_req_body(r, BODY_MAX, on_wish, NULL);
        if (rc != 1)
            on_wish(NULL, r, rc);
    } else if (strcmp(cc_req_method(r), "DELETE") == 0 && path.n > sizeof(one) - 1 &&
               memcmp(path.p, one, sizeof(one) - 1) == 0) {
        release(r, (struct cc_text){ path.p + sizeof(one) - 1, path.n - (sizeof(one) - 1) });
    } else {
        cc_req_reply_error(r, 404, "not_found", "no such route");
    }
}

/* ---- the socket */

static bool listen_at(struct cc_server *s, const char *path, struct cc_err *err)
{
    if (cc_server_listen_unix(s, path, 0666, err) != 0)
        return false;
    setenv(CC_BUSY_ENV, path, 1);
    return true;
}

/* Where all users of the machine reach it; else beside our own socket, where perhaps not all do. */
static bool listen_somewhere(struct cc_server *s, const char *own, struct cc_err *err)
{
    const char *slash = own ? strrchr(own, '/') : NULL, *run = getenv("XDG_RUNTIME_DIR");
    char path[200];

    mkdir(CC_BUSY_DIR, 0755);
    if (listen_at(s, CC_BUSY_SOCKET, err))
        return true;
    if (own)
        snprintf(path, sizeof(path), "%.*sbusy.sock", slash ? (int)(slash - own + 1) : 0, own);
    else
        snprintf(path, sizeof(path), "%s/cchost-busy.sock", run ? run : "");
    return (own || run) && listen_at(s, path, err);
}

static struct cc_server *server_new(struct agent *a)
{
    const struct cc_server_opts o = {
        .limits = { .head_bytes = 4096,
                    .headers = 32,
                    .connections = 64,
                    .body_bytes = BODY_MAX,
                    .body_rate = 1024,
                    .rate_ms = 2000,
                    .head_ms = 2000,
                    .idle_ms = 2000,
                    .linger_ms = 500 },
        .handler = on_request,
    };

    return cc_server_new(a->loop, &o);
}

void agent_lease_listen(struct agent *a, const char *wish, const char *own)
{
    struct cc_err err = { .message = "" };

    server = server_new(a);
    if (wish ? listen_at(server, wish, &err) : listen_somewhere(server, own, &err))
        return;
    cc_log(CC_LOG_WARN, "agent", "no busy leases here: %s", err.message);
    cc_server_close(server);
    server = NULL;
    unsetenv(CC_BUSY_ENV);
}

int agent_lease_listens(void) { return server ? cc_server_fd(server) : -1; }

/* Where it is, is in the environment already. */
void agent_lease_go_on(struct agent *a, int fd)
{
    struct cc_err err = { .message = "" };

    server = server_new(a);
    if (cc_server_listen_fd(server, fd, &err) != 0)
        cc_log(CC_LOG_WARN, "agent", "no busy leases here: %s", err.message);
}
