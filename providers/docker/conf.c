/* conf.c - what the host keeps of a machine in its own directory: little, and nothing that cannot be written again. */
#include "providers/docker/docker.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char *cc_docker_path(const struct cc_docker *d, struct cc_arena *a, const char *short_id, const char *leaf)
{
    return cc_arena_printf(a, "%s/machines/%s%s%s", d->dir, short_id, *leaf ? "/" : "", leaf);
}

/* Nobody but us comes as far as its parent; what is inside of it is the machine's, whatever uids dockerd gives to that:
 * where its root may, it takes away the rest of 0777 (host/agent/init.c). */
static int folder(const char *path, mode_t mode, struct cc_err *err)
{
    if ((mkdir(path, mode) != 0 && errno != EEXIST) || chmod(path, mode) != 0)
        return cc_err_sys(err, errno, "making %s", path);
    return 0;
}

int cc_docker_dirs(const struct cc_docker *d, struct cc_provider_ctx *x, const char *short_id, bool making)
{
    const char *mark = cc_docker_path(d, x->arena, short_id, "making");
    int r = folder(cc_docker_path(d, x->arena, short_id, ""), 0700, x->err), fd;

    if (r == 0)
        r = folder(cc_docker_path(d, x->arena, short_id, "agent"), d->near ? 0777 : 0700, x->err);
    if (r == 0)
        r = folder(cc_docker_path(d, x->arena, short_id, "conf"), 0755, x->err);
    if (r != 0 || !making)
        return r;
    if ((fd = open(mark, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)) < 0)
        return cc_err_sys(x->err, errno, "%s", mark);
    close(fd);
    return 0;
}

bool cc_docker_making(const struct cc_docker *d, struct cc_arena *a, const char *short_id)
{
    return access(cc_docker_path(d, a, short_id, "making"), F_OK) == 0;
}

void cc_docker_made(const struct cc_docker *d, struct cc_arena *a, const char *short_id)
{
    unlink(cc_docker_path(d, a, short_id, "making"));
}

int cc_docker_forget(const struct cc_docker *d, struct cc_provider_ctx *x, const char *short_id)
{
    int r = cc_remove_tree(cc_docker_path(d, x->arena, short_id, ""));

    return r ? cc_err_sys(x->err, r, "removing the files of cc-%s", short_id) : 0;
}

/* ---------------------------------------------------------------- machine.json */

static const char *conf_path(const struct cc_docker *d, struct cc_arena *a, const char *short_id)
{
    return cc_docker_path(d, a, short_id, "conf/machine.json");
}

static json_t *read_conf(const struct cc_docker *d, struct cc_arena *a, const char *short_id)
{
    size_t n = 0;
    char *text = cc_read_whole(a, conf_path(d, a, short_id), CC_DOCKER_CONF_MAX, &n);

    return text ? json_loadb(text, n, 0, NULL) : NULL;
}

bool cc_docker_has_ssh_keys(const struct cc_docker *d, struct cc_arena *a, const char *short_id)
{
    json_t *doc = read_conf(d, a, short_id);
    bool has = json_is_true(json_object_get(doc, "ssh"));

    json_decref(doc);
    return has;
}

/* "SIGQUIT", "QUIT" or "3"; what is none of those that images use is TERM. */
static int signal_of(const char *s)
{
    static const struct {
        const char *name;
        int n;
    } names[] = { { "TERM", SIGTERM }, { "QUIT", SIGQUIT }, { "INT", SIGINT },   { "HUP", SIGHUP },
                  { "USR1", SIGUSR1 }, { "USR2", SIGUSR2 }, { "KILL", SIGKILL }, { "WINCH", SIGWINCH } };
    size_t i;

    if (strncmp(s, "SIG", 3) == 0)
        s += 3;
    for (i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (strcmp(s, names[i].name) == 0)
            return names[i].n;
    if (strncmp(s, "RTMIN+", 6) == 0)
        return SIGRTMIN + atoi(s + 6);
    return atoi(s) > 0 ? atoi(s) : SIGTERM;
}

/* As docker has it: the image's entry point stays, its command gives way to the record's. */
static json_t *command(const json_t *facts, const struct cc_machine_spec *spec)
{
    json_t *list = json_deep_copy(json_object_get(facts, "entrypoint"));
    const json_t *cmd = json_object_get(facts, "cmd");
    size_t i;

    if (!list)
        list = json_array();
    if (!spec || spec->cmd.n == 0)
        json_array_extend(list, (json_t *)cmd);
    for (i = 0; spec && i < spec->cmd.n; i++)
        json_array_append_new(list, json_string(spec->cmd.v[i]));
    return list;
}

/* Where volumes stand, its own among them: the agent gives those that are still root's to the image's user. */
static json_t *places(const struct cc_machine_spec *spec)
{
    json_t *list = json_pack("[s]", CC_DOCKER_OWN_AT);
    size_t i;

    for (i = 0; spec && i < spec->n_volumes; i++)
        json_array_append_new(list, json_string(spec->volumes[i].path));
    return list;
}

static json_t *conf_of(const struct cc_docker *d, const json_t *facts, const struct cc_machine_spec *spec)
{
    json_t *env = json_object();
    const char *shell = spec && spec->shell ? spec->shell : d->shell;
    size_t i;

    for (i = 0; spec && i < spec->env.n; i++)
        json_object_set_new(env, spec->env.v[i].key, json_string(spec->env.v[i].value));
    return json_pack("{s:o,s:o,s:s?,s:s?,s:I,s:I,s:s,s:i,s:i,s:b,s:o}", "cmd", command(facts, spec), "env", env,
                     "shell", shell, "key", spec ? spec->agent_key : NULL, "ring", (json_int_t)(spec ? spec->ring : 0),
                     "sessions", (json_int_t)(spec ? spec->sessions : 0), "user", cc_docker_text(facts, "user"),
                     "stop_signal", signal_of(cc_docker_text(facts, "stop")), "grace_ms", (int)d->stop_grace_ms, "ssh",
                     spec && spec->ssh_keys.n > 0, "volumes", places(spec));
}

int cc_docker_conf(const struct cc_docker *d, struct cc_provider_ctx *x, const char *short_id, const char *facts,
                   const struct cc_machine_spec *spec)
{
    json_t *doc, *read;
    char *text;
    int r;

    if (!spec && access(conf_path(d, x->arena, short_id), R_OK) == 0)
        return 0;
    read = json_loads(facts, 0, NULL);
    doc = conf_of(d, read, spec);
    text = doc ? json_dumps(doc, JSON_COMPACT) : NULL;
    r = text ? cc_write_whole(conf_path(d, x->arena, short_id), text, strlen(text), x->err)
             : cc_err_set(x->err, CC_E_INVALID, "the command or the environment is not valid UTF-8");
    if (r == 0)
        chmod(conf_path(d, x->arena, short_id), 0644);
    free(text);
    json_decref(doc);
    json_decref(read);
    return r;
}
