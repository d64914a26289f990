/* hook.c - cchost-busy claude-hook: a turn of Claude Code in a terminal is work, so it holds a busy lease.
 *
 * Claude Code runs it at the beginning and the end of a turn and around each
 * tool (its hooks), with the event as JSON on its input.  Each session has a
 * lease of its own.  It says nothing and never fails: what a hook prints goes
 * to the model, and a failure would stop the user's work.
 */
#include "host/agent/agent.h"

#include "host/sys/lease.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* How long one is held without a further event: as long as a single tool may take and be seen. */
enum { TTL = 3600, INPUT_MAX = 16 << 20 };

/* What is on the input; the rest of what is too long is read, and not kept. */
static json_t *event(void)
{
    size_t n = 0, cap = 65536;
    char *text = malloc(cap), *more;
    json_t *o;
    ssize_t r;

    while (text && (r = read(0, text + n, cap - n)) > 0) {
        n += (size_t)r;
        if (n < cap)
            continue;
        if (cap >= INPUT_MAX || !(more = realloc(text, cap * 2))) {
            n = 0;
        } else {
            text = more;
            cap *= 2;
        }
    }
    o = text ? json_loadb(text, n, JSON_ALLOW_NUL, NULL) : NULL;
    free(text);
    return o;
}

static bool is_one_of(const char *name, const char *const *list)
{
    for (; name && *list; list++)
        if (strcmp(name, *list) == 0)
            return true;
    return false;
}

int agent_claude_hook(void)
{
    static const char *const at_work[] = { "UserPromptSubmit", "PreToolUse", "PostToolUse", NULL };
    static const char *const done[] = { "Stop", "SessionEnd", NULL };
    json_t *o = event();
    const char *name = json_string_value(json_object_get(o, "hook_event_name")),
               *session = json_string_value(json_object_get(o, "session_id"));
    char id[CC_LEASE_ID_MAX + 1];

    snprintf(id, sizeof(id), CC_LEASE_TURN ".%s", session ? session : "");
    if (!session || !*session || !cc_lease_id_ok(id, strlen(id)))
        snprintf(id, sizeof(id), CC_LEASE_TURN);
    if (is_one_of(name, at_work))
        agent_busy_hold(id, "Claude is working", TTL);
    else if (is_one_of(name, done))
        agent_busy_release(id);
    json_decref(o);
    return 0;
}
