/* handover.c - see handover.h. */
#include "host/agent/handover.h"

#include "host/observe/log.h"
#include "host/sys/lease.h"
#include "host/sys/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

const char agent_handover[] = "cchost-agent state 1";

enum { MOST = 1 << 30 };

/* ---- writing */

static json_t *clients_of(const struct session *s)
{
    json_t *list = json_array();
    int i;

    for (i = 0; s->clients && i < CLIENTS_MAX; i++)
        if (*s->clients[i].id)
            json_array_append_new(list, json_pack("[s,I]", s->clients[i].id, (json_int_t)s->clients[i].typed));
    return list;
}

/* Whether its program is to wait: for who was lost a moment ago, or will be by the update. */
static bool awaits(const struct session *s)
{
    return !s->service && (session_owner(s) || cc_mono_ms() < s->held_until);
}

/* What the first who can type, or else who was lost last, has of it. */
static uint64_t held_at(const struct session *s)
{
    const struct viewer *v = session_owner(s);

    if (!awaits(s))
        return cc_ring_end(s->ring); /* as earlier agents wait in any case, but not for this */
    return v ? v->at : s->held_at;
}

static json_t *told(const struct session *s)
{
    uint64_t begin = cc_ring_begin(s->ring), end = cc_ring_end(s->ring), safe;
    char modes[CC_VT_MODES_TEXT];
    uint32_t bits;
    json_t *o;

    safe = cc_ring_safe(s->ring, &bits);
    cc_vt_modes(bits, modes);
    o = json_pack("{s:s,s:s,s:b,s:I,s:i,s:i,s:b,s:i,s:i,s:i,s:b}", "name", s->name, "owner", s->owner, "service",
                  (int)s->service, "since", (json_int_t)s->since_ms, "pty",
                  s->polling && !uv_is_closing((const uv_handle_t *)&s->poll) ? s->pty : -1, "pid", (int)s->pid,
                  "ended", (int)s->ended, "status", s->status, "columns", (int)s->size.ws_col, "rows",
                  (int)s->size.ws_row, "by_owner", (int)s->by_owner);
    json_object_update_new(o, json_pack("{s:I,s:I,s:I,s:I,s:b,s:I,s:I,s:I,s:s,s:I,s:I,s:o}", "last_input",
                                        (json_int_t)s->last_input_ms, "last_output", (json_int_t)s->last_output_ms,
                                        "linger", (json_int_t)s->linger_ms, "held", (json_int_t)held_at(s), "awaits",
                                        (int)awaits(s), "heard", (json_int_t)s->heard, "begin", (json_int_t)begin,
                                        "safe", (json_int_t)safe, "modes", modes, "bytes", (json_int_t)(end - begin),
                                        "input", (json_int_t)s->input_len, "clients", clients_of(s)));
    return o;
}

/* A plain client's ends with its connection; one that is lost for good is on its way out. */
static bool goes_on(const struct session *s) { return s->kept && *s->name; }

/* Children that are still to be reaped, of those that do not. */
static json_t *orphans(void)
{
    json_t *list = json_array();
    const struct session *s;

    for (s = sessions; s; s = s->next)
        if (s->pid && !goes_on(s))
            json_array_append_new(list, json_integer(s->pid));
    return list;
}

static void write_bytes(FILE *f, const struct session *s)
{
    static char buf[OUTPUT_CHUNK];
    uint64_t at = cc_ring_begin(s->ring);
    size_t n;

    while ((n = cc_ring_copy(s->ring, at, buf, sizeof(buf))) > 0) {
        fwrite(buf, 1, n, f);
        at += n;
    }
    if (s->input_len)
        fwrite(s->input, 1, s->input_len, f);
}

int handover_write(const struct agent *a, const char *lua)
{
    int fd = memfd_create("cchost-state", MFD_CLOEXEC), copy = fd < 0 ? -1 : dup(fd);
    FILE *f = copy < 0 ? NULL : fdopen(copy, "w");
    json_t *list = json_array(), *doc;
    const struct session *s;
    bool ok;

    for (s = sessions; s; s = s->next)
        if (goes_on(s))
            json_array_append_new(list, told(s));
    doc = json_pack("{s:s,s:i,s:i,s:I,s:I,s:s?,s:o,s:o,s:o}", "state", agent_handover, "listen", agent_listens(),
                    "busy", agent_lease_listens(), "started", (json_int_t)a->started_ms, "last_input",
                    (json_int_t)a->last_input_ms, "lua", lua, "leases", agent_leases(), "orphans", orphans(),
                    "sessions", list);
    ok = f && doc && json_dumpf(doc, f, JSON_COMPACT) == 0 && fputc('\n', f) == '\n';
    for (s = sessions; ok && s; s = s->next)
        if (goes_on(s))
            write_bytes(f, s);
    json_decref(doc);
    ok = f && !ferror(f) && fflush(f) == 0 && ok;
    if (f)
        fclose(f);
    if (!ok && fd >= 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

/* ---- reading */

static json_int_t number(const json_t *o, const char *name) { return json_integer_value(json_object_get(o, name)); }
static const char *text(const json_t *o, const char *name) { return json_string_value(json_object_get(o, name)); }

static bool all_integers(const json_t *o, const char *const *names)
{
    for (; *names; names++)
        if (!json_is_integer(json_object_get(o, *names)))
            return false;
    return true;
}

static bool clients_ok(const json_t *list)
{
    const json_t *c;
    size_t i;

    json_array_foreach (list, i, c)
        if (!json_is_string(json_array_get(c, 0)) || !json_is_integer(json_array_get(c, 1)) ||
            json_string_length(json_array_get(c, 0)) >= SESSION_NAME)
            return false;
    return json_is_array(list) && json_array_size(list) <= CLIENTS_MAX;
}

/* How many bytes behind the line are its own; -1: it is not whole. */
static long long session_ok(const json_t *o)
{
    static const char *const names[] = { "since", "pty",        "pid",         "status", "columns",
                                         "rows",  "last_input", "last_output", "linger", "held",
                                         "begin", "safe",       "bytes",       "input",  NULL };
    const char *name = text(o, "name"), *owner = text(o, "owner");
    json_int_t begin = number(o, "begin"), safe = number(o, "safe"), n = number(o, "bytes"), input = number(o, "input");

    if (!all_integers(o, names) || !name || !agent_name_ok(name) || !owner || strlen(owner) >= SESSION_NAME ||
        !text(o, "modes") || !clients_ok(json_object_get(o, "clients")))
        return -1;
    return begin >= 0 && safe >= begin && n >= 0 && safe - begin <= n && input >= 0 && n < MOST && input < MOST
               ? n + input
               : -1;
}

static bool orphans_ok(const json_t *list)
{
    const json_t *o;
    size_t i;

    json_array_foreach (list, i, o)
        if (json_integer_value(o) <= 0)
            return false;
    return true;
}

static bool doc_ok(const struct handover *h)
{
    static const char *const names[] = { "listen", "busy", "started", "last_input", NULL };
    const char *state = text(h->doc, "state");
    long long sum = 0, n;
    const json_t *o;
    size_t i;

    if (!state || strcmp(state, agent_handover) != 0) {
        cc_log(CC_LOG_ERROR, "update", "the state is of another form than is known here");
        return false;
    }
    json_array_foreach (json_object_get(h->doc, "sessions"), i, o) {
        if ((n = session_ok(o)) < 0)
            return false;
        sum += n;
    }
    return all_integers(h->doc, names) && orphans_ok(json_object_get(h->doc, "orphans")) &&
           json_is_array(json_object_get(h->doc, "leases")) && sum == (long long)h->n;
}

static char *read_all(int fd, size_t *n)
{
    struct stat st;
    char *p;
    ssize_t got;
    size_t at = 0;

    if (fstat(fd, &st) != 0 || st.st_size < 2 || st.st_size > MOST)
        return NULL;
    p = cc_xmalloc((size_t)st.st_size + 1);
    while (at < (size_t)st.st_size && (got = pread(fd, p + at, (size_t)st.st_size - at, (off_t)at)) > 0)
        at += (size_t)got;
    p[at] = '\0';
    *n = at;
    return p;
}

bool handover_read(int fd, struct handover *h)
{
    size_t n = 0;
    char *end;

    *h = (struct handover){ .text = read_all(fd, &n) };
    if (!h->text || !(end = memchr(h->text, '\n', n))) {
        handover_free(h);
        return false;
    }
    h->bytes = end + 1;
    h->n = n - (size_t)(end + 1 - h->text);
    h->doc = json_loadb(h->text, (size_t)(end - h->text), JSON_REJECT_DUPLICATES, NULL);
    if (!doc_ok(h)) {
        handover_free(h);
        return false;
    }
    h->listen = (int)number(h->doc, "listen");
    h->busy = (int)number(h->doc, "busy");
    h->lua = text(h->doc, "lua");
    return true;
}

void handover_free(struct handover *h)
{
    json_decref(h->doc);
    free(h->text);
    *h = (struct handover){ .listen = -1, .busy = -1 };
}

static void keep_one(int fd, bool keep)
{
    if (fd >= 0)
        fcntl(fd, F_SETFD, keep ? 0 : FD_CLOEXEC);
}

void handover_keep(const struct handover *h, int fd, bool keep)
{
    const json_t *o;
    size_t i;

    keep_one(fd, keep);
    keep_one(h->listen, keep);
    keep_one(h->busy, keep);
    json_array_foreach (json_object_get(h->doc, "sessions"), i, o)
        keep_one((int)number(o, "pty"), keep);
}

/* ---- taking */

static void take_clients(struct session *s, const json_t *list)
{
    const json_t *c;
    size_t i;

    if (json_array_size(list))
        s->clients = cc_xcalloc(CLIENTS_MAX, sizeof(*s->clients));
    json_array_foreach (list, i, c) {
        snprintf(s->clients[i].id, SESSION_NAME, "%s", json_string_value(json_array_get(c, 0)));
        s->clients[i].typed = (uint64_t)json_integer_value(json_array_get(c, 1));
        s->clients[i].seen_ms = cc_mono_ms();
    }
}

static struct session *session_of(const json_t *o, const char *bytes)
{
    struct session *s = cc_xcalloc(1, sizeof(*s));
    size_t n = (size_t)number(o, "bytes");

    snprintf(s->name, sizeof(s->name), "%s", text(o, "name"));
    snprintf(s->owner, sizeof(s->owner), "%s", text(o, "owner"));
    s->service = json_is_true(json_object_get(o, "service"));
    s->ended = json_is_true(json_object_get(o, "ended"));
    s->by_owner = json_is_true(json_object_get(o, "by_owner"));
    s->since_ms = (uint64_t)number(o, "since");
    s->pty = (int)number(o, "pty");
    s->pid = (pid_t)number(o, "pid");
    s->status = (int)number(o, "status");
    s->size.ws_col = (unsigned short)number(o, "columns");
    s->size.ws_row = (unsigned short)number(o, "rows");
    s->last_input_ms = number(o, "last_input");
    s->last_output_ms = number(o, "last_output");
    s->linger_ms = (uint64_t)number(o, "linger");
    s->held_at = (uint64_t)number(o, "held");
    if (!s->service && !json_is_false(json_object_get(o, "awaits"))) /* earlier agents did not tell */
        s->held_until = cc_mono_ms() + HOLD_MS;
    s->heard = (uint64_t)number(o, "begin") + n; /* all of it, as agents of before did not tell */
    if (json_is_integer(json_object_get(o, "heard")))
        s->heard = (uint64_t)number(o, "heard");
    s->input_len = (size_t)number(o, "input");
    if (s->input_len) {
        s->input = cc_xmalloc(s->input_len);
        memcpy(s->input, bytes + n, s->input_len);
    }
    take_clients(s, json_object_get(o, "clients"));
    return s;
}

static void take_leases(const json_t *list)
{
    const json_t *o;
    size_t i;

    json_array_foreach (list, i, o) {
        json_int_t left = number(o, "until_ms") - cc_wall_ms();

        if (text(o, "id") && text(o, "reason") && left > 0 && left <= 1000LL * CC_LEASE_TTL_MAX)
            agent_lease_hold(text(o, "id"), text(o, "reason"), (unsigned)((left + 999) / 1000));
    }
}

void handover_take(struct agent *a, const struct handover *h)
{
    const char *bytes = h->bytes;
    const json_t *o;
    size_t i;

    a->started_ms = (uint64_t)number(h->doc, "started");
    a->last_input_ms = number(h->doc, "last_input");
    take_leases(json_object_get(h->doc, "leases"));
    json_array_foreach (json_object_get(h->doc, "orphans"), i, o) /* earlier agents told of none */
        session_orphan(a, (pid_t)json_integer_value(o));
    json_array_foreach (json_object_get(h->doc, "sessions"), i, o) {
        struct session *s = session_of(o, bytes);
        struct cc_ring *ring = s->service ? service_ring(s->name) : cc_ring_new(a->ring);

        cc_ring_load(ring, (uint64_t)number(o, "begin"), (uint64_t)number(o, "safe"), text(o, "modes"), bytes,
                     (size_t)number(o, "bytes"));
        bytes += number(o, "bytes") + number(o, "input");
        session_go_on(a, s, ring);
    }
    session_reap(a);
}
