/* conf.c - see conf.h. */
#include "host/agent/conf.h"

#include "host/sys/lease.h"
#include "host/sys/mem.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char **words(const json_t *list)
{
    size_t i, n = json_array_size(list);
    char **v = n ? cc_xcalloc(n + 1, sizeof(*v)) : NULL;

    for (i = 0; i < n; i++)
        if (!(v[i] = (char *)json_string_value(json_array_get(list, i))))
            v[i] = (char *)"";
    return v;
}

bool agent_conf_read(struct agent_conf *out)
{
    json_error_t why;
    json_t *doc = json_load_file(AGENT_CONF, 0, &why);
    const char *user = json_string_value(json_object_get(doc, "user"));

    *out = (struct agent_conf){ .doc = doc };
    if (!json_is_object(doc)) {
        fprintf(stderr, "cchost-agent: %s: %s\n", AGENT_CONF, doc ? "no object" : why.text);
        return false;
    }
    if (!agent_user_find(user ? user : "", &out->user)) {
        fprintf(stderr, "cchost-agent: the image's user %s is not in its /etc/passwd\n", user);
        return false;
    }
    out->cmd = words(json_object_get(doc, "cmd"));
    out->shell = json_string_value(json_object_get(doc, "shell"));
    out->key = json_string_value(json_object_get(doc, "key"));
    out->ring = (unsigned)json_integer_value(json_object_get(doc, "ring"));
    out->sessions = (unsigned)json_integer_value(json_object_get(doc, "sessions"));
    out->stop_signal = (int)json_integer_value(json_object_get(doc, "stop_signal"));
    if (out->stop_signal < 1 || out->stop_signal >= NSIG)
        out->stop_signal = SIGTERM;
    out->grace_ms = (unsigned)json_integer_value(json_object_get(doc, "grace_ms"));
    return true;
}

void agent_conf_env(const struct agent_conf *c)
{
    const char *path = getenv("PATH"), *key;
    char *with;
    json_t *v;

    with = cc_xasprintf("%s:" AGENT_BIN, path ? path : "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    setenv("PATH", with, 1);
    free(with);
    setenv(CC_BUSY_ENV, CC_BUSY_SOCKET, 1);
    unsetenv("HOME"); /* root's, by dockerd: user.c puts the user's own */
    json_object_foreach (json_object_get(c->doc, "env"), key, v)
        if (json_is_string(v))
            setenv(key, json_string_value(v), 1);
}
