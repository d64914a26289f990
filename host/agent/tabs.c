/* tabs.c - the terminals that are kept, by HTTP. A tab is a session (session.h), made before anybody looks.
 *
 *   GET /sessions -> [{"project":NAME,"tab":NAME,"status":"working"|"idle","cwd":PATH,
 *                      "since":TIME,"viewers":N,"columns":N,"rows":N,"foreground":NAME|null,"bytes":N,"idle_ms":N}]
 *        working: something else than its shell is in front, or wrote within QUIET_MS; project: the last part of cwd
 *   POST /tabs {"name":NAME,"cwd":PATH,"resume":BOOL,"conversationId":UUID} -> {"status":"created"|"exists","tab":NAME}
 *        a login shell in that folder, or claude going on with a conversation, or with the last one there; nothing of
 *        it ever passes through a shell. 404: there is no such folder, or no claude; 429: too many are kept
 *   DELETE /tabs/NAME -> {"status":"closed","tab":NAME}; 404 "tab not found"
 */
#include "host/agent/session.h"

#include "host/sys/err.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { QUIET_MS = 2000, BODY_MAX = 8192 };

bool agent_name_ok(const char *name)
{
    size_t n = strlen(name);

    return n > 0 && n < SESSION_NAME && strspn(name, AGENT_NAME) == n && *name != '.' && *name != '-';
}

/* ---- the list */

static bool working_folder(const struct session *s, char path[4096])
{
    char link[64];
    ssize_t n;
    pid_t group = s->pty < 0 ? 0 : tcgetpgrp(s->pty);

    snprintf(link, sizeof(link), "/proc/%d/cwd", group > 0 ? group : s->pid);
    n = readlink(link, path, 4095);
    path[n > 0 ? n : 0] = '\0';
    return n > 0;
}

/* Of bytes that may be no UTF-8. */
static json_t *text_of(const char *bytes)
{
    json_t *v = json_string(bytes);

    return v ? v : json_string("?");
}

static json_t *time_of(uint64_t ms)
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;
    char day[32], text[48];

    gmtime_r(&seconds, &tm);
    strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text, sizeof(text), "%s.%03dZ", day, (int)(ms % 1000));
    return json_string(text);
}

static json_t *told(const struct session *s)
{
    char front[64], cwd[4096];
    bool has = session_front(s, front), works;
    int64_t now = cc_wall_ms(), last = s->last_input_ms > s->last_output_ms ? s->last_input_ms : s->last_output_ms;
    const char *base;

    if (!working_folder(s, cwd))
        cwd[0] = '\0';
    base = strrchr(cwd, '/');
    works = (s->pty >= 0 && tcgetpgrp(s->pty) != s->pid) || now - s->last_output_ms < QUIET_MS;
    return json_pack("{s:o,s:s,s:s,s:o,s:o,s:i,s:i,s:i,s:o,s:I,s:I}", "project", text_of(base ? base + 1 : cwd), "tab",
                     s->name, "status", works ? "working" : "idle", "cwd", text_of(cwd), "since", time_of(s->since_ms),
                     "viewers", (int)s->n_viewers, "columns", (int)s->size.ws_col, "rows", (int)s->size.ws_row,
                     "foreground", has ? text_of(front) : json_null(), "bytes", (json_int_t)cc_ring_end(s->ring),
                     "idle_ms", (json_int_t)(now > last ? now - last : 0));
}

void agent_sessions(struct agent *a, struct cc_req *r)
{
    json_t *list = json_array();
    const struct session *s;

    (void)a;
    for (s = sessions; s; s = s->next)
        if (*s->name && !s->ended && !s->service)
            json_array_insert_new(list, 0, told(s)); /* the oldest first */
    agent_reply(r, 200, list);
}

bool agent_foreground(char name[64])
{
    const struct session *s, *best = NULL;

    for (s = sessions; s; s = s->next)
        if (s->polling && !s->service && (!best || s->last_input_ms > best->last_input_ms))
            best = s;
    return best && session_front(best, name);
}

/* ---- a new one */

struct asked {
    struct agent *agent;
    const char *name;
    struct agent_program program;
};

static bool is_uuid(const char *text)
{
    int i;

    for (i = 0; i < 36; i++)
        if (i == 8 || i == 13 || i == 18 || i == 23 ? text[i] != '-' : !isxdigit((unsigned char)text[i]))
            return false;
    return text[36] == '\0';
}

/* NULL, or what is wrong. */
static const char *read_asked(const json_t *o, const char **name, struct agent_program *p)
{
    const char *key, *conversation;
    json_t *v;

    json_object_foreach ((json_t *)o, key, v) {
        if (strcmp(key, "name") != 0 && strcmp(key, "cwd") != 0 && strcmp(key, "resume") != 0 &&
            strcmp(key, "conversationId") != 0)
            return "name, cwd, resume and conversationId are what is known here";
        if (strcmp(key, "resume") == 0 ? !json_is_boolean(v) : !json_is_string(v))
            return "texts expected, and a boolean as resume";
    }
    *name = json_string_value(json_object_get(o, "name"));
    if (!*name || !agent_name_ok(*name))
        return "name: 1 to 64 letters, digits, '.', '_' or '-' expected, no '.' or '-' first";
    p->cwd = json_string_value(json_object_get(o, "cwd"));
    if (p->cwd && *p->cwd != '/')
        return "cwd: an absolute path expected";
    conversation = json_string_value(json_object_get(o, "conversationId"));
    if (conversation && !is_uuid(conversation))
        return "conversationId: a UUID expected";
    p->login = true;
    p->claude = conversation ? conversation : json_is_true(json_object_get(o, "resume")) ? "" : NULL;
    return NULL;
}

static bool is_folder(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISDIR(st.st_mode) && access(path, X_OK) == 0;
}

static void answer(struct cc_req *r, const char *status, const char *name)
{
    agent_reply(r, 200, json_pack("{s:s,s:s}", "status", status, "tab", name));
}

static void open_tab(struct agent *a, struct cc_req *r, const json_t *o)
{
    const struct winsize size = { .ws_col = 80, .ws_row = 24 };
    struct agent_program p = { .command = a->shell };
    const char *name, *wrong = read_asked(o, &name, &p);

    if (wrong)
        cc_req_reply_error(r, 400, "invalid", wrong);
    else if (session_find(name))
        answer(r, "exists", name);
    else if (p.cwd && !is_folder(p.cwd))
        cc_req_reply_error(r, 404, "not_found", "cwd: there is no such folder");
    else if (p.claude && !agent_in_path("claude"))
        cc_req_reply_error(r, 404, "not_found", "there is no claude on this machine");
    else if (session_count(false) >= a->sessions)
        cc_req_reply_error(r, 429, "limit", "as many sessions are kept as may be: close one");
    else if (!session_new(a, name, &p, size))
        cc_req_reply_error(r, 500, "io", "no shell can be started");
    else
        answer(r, "created", name);
}

static void on_body(void *arg, struct cc_req *r, int status)
{
    struct cc_text body;
    json_t *o;

    if (status != 0) {
        cc_req_reply_error(r, status == CC_E_LIMIT ? 413 : 400, "invalid", "the body could not be read");
        return;
    }
    body = cc_req_body_text(r);
    o = json_loadb(body.p ? body.p : "", body.n, JSON_REJECT_DUPLICATES, NULL);
    if (json_is_object(o))
        open_tab(arg, r, o);
    else
        cc_req_reply_error(r, 400, "invalid", "a JSON object expected");
    json_decref(o);
}

void agent_tab_open(struct agent *a, struct cc_req *r)
{
    int rc = cc_req_body(r, BODY_MAX, on_body, a);

    if (rc != 1)
        on_body(a, r, rc);
}

/* ---- the end of one */

void agent_tab_close(struct agent *a, struct cc_req *r)
{
    struct cc_text path = cc_req_path(r);
    char name[SESSION_NAME] = "";
    struct session *s;
    size_t skip = strlen("/tabs/");

    (void)a;
    if (path.n - skip < sizeof(name)) {
        memcpy(name, path.p + skip, path.n - skip);
        name[path.n - skip] = '\0';
    }
    if (!(s = session_find(name))) {
        cc_req_reply_error(r, 404, "not_found", "tab not found");
        return;
    }
    session_end(s);
    answer(r, "closed", name);
}
