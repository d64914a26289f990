/* ssh.c - see ssh.h. */
#include "providers/ssh.h"

#include "host/sys/clock.h"
#include "host/sys/process.h"
#include "providers/files.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { WORDS = 80, OUTPUT_MAX = CC_EXEC_MAX, END_MS = 5000, GONE_MS = 1000 };

const char *cc_ssh_socket(struct cc_arena *a, const char *dir) { return cc_arena_printf(a, "%s/agent.sock", dir); }

/* Writes it to `to`, which has room for it; where it ends. */
static char *quote(char *to, const char *s)
{
    *to++ = '\'';
    for (; *s; s++)
        if (*s == '\'')
            to = stpcpy(to, "'\\''");
        else
            *to++ = *s;
    *to++ = '\'';
    *to = 0;
    return to;
}

const char *cc_ssh_word(struct cc_arena *a, const char *word)
{
    char *out = cc_arena_alloc(a, strlen(word) * 4 + 3);

    quote(out, word);
    return out;
}

const char *cc_ssh_quote(struct cc_arena *a, const struct cc_strs *words)
{
    size_t i, room = 1;
    char *out, *to;

    for (i = 0; i < words->n; i++)
        room += strlen(words->v[i]) * 4 + 3;
    out = to = cc_arena_alloc(a, room);
    *to = 0;
    for (i = 0; i < words->n; i++) {
        if (i)
            *to++ = ' ';
        to = quote(to, words->v[i]);
    }
    return out;
}

const char *cc_ssh_last_line(struct cc_arena *a, const char *text)
{
    size_t n = strlen(text);
    const char *from;

    while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == '\r'))
        n--;
    for (from = text + n; from > text && from[-1] != '\n'; from--) {
    }
    return cc_arena_strndup(a, from, (size_t)(text + n - from));
}

/* ---------------------------------------------------------------- the command line */

struct line {
    const char *v[WORDS];
    size_t n;
};

static void word(struct line *l, const char *w)
{
    if (l->n < WORDS - 1)
        l->v[l->n++] = w;
}

static void option(struct line *l, struct cc_arena *a, const char *name, const char *value)
{
    word(l, "-o");
    word(l, cc_arena_printf(a, "%s=%s", name, value));
}

static void begin(struct line *l, const struct cc_ssh_target *t, struct cc_arena *a)
{
    *l = (struct line){ { t->ssh ? t->ssh : "ssh", "-F", "none" }, 3 };
    option(l, a, "ControlPath", cc_arena_printf(a, "\"%s/ctl\"", t->dir));
    option(l, a, "BatchMode", "yes");
    if (t->port)
        option(l, a, "Port", cc_arena_printf(a, "%u", t->port));
}

static void end(struct line *l, const struct cc_ssh_target *t, struct cc_arena *a)
{
    word(l, "--");
    word(l, cc_arena_printf(a, "%s@%s", t->user, t->host));
}

static int run(struct line *l, struct cc_provider_ctx *x, const char *input, size_t n, struct cc_process *p)
{
    int r;

    *p = (struct cc_process){ .argv = (char *const *)l->v, .input = input, .input_len = n, .output_max = OUTPUT_MAX };
    r = cc_process_run(p, x->call, x->err);
    return r == CC_E_NOT_FOUND
               ? cc_err_set(x->err, CC_E_UNSUPPORTED, "this host has no %s (package openssh-client)", l->v[0])
               : r;
}

/* ---------------------------------------------------------------- to connect */

/* It listens for who wants to go through it as long as it is there. */
bool cc_ssh_stands(const char *dir)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool yes;

    if (fd < 0)
        return false;
    snprintf(a.sun_path, sizeof(a.sun_path), "%s/ctl", dir);
    yes = connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0 || errno == EAGAIN; /* many come at once: it is there */
    close(fd);
    return yes;
}

static const char *name_of(const struct cc_ssh_target *t) { return t->name ? t->name : t->host; }

static int refused(struct cc_provider_ctx *x, const struct cc_ssh_target *t, const char *said)
{
    const char *why = cc_ssh_last_line(x->arena, said), *who = name_of(t);

    if (t->name)
        who = cc_arena_printf(x->arena, "%s (%s)", t->name, t->host);
    if (strstr(said, "Host key verification failed") || strstr(said, "HOST IDENTIFICATION HAS CHANGED"))
        return cc_err_set(x->err, CC_E_DENIED, "%s does not prove to be the machine: its host key is another", who);
    if (strstr(said, "Permission denied"))
        return cc_err_set(x->err, t->key_late ? CC_E_UNAVAILABLE : CC_E_DENIED, "%s refuses this host's key: %.150s",
                          who, why);
    return cc_err_set(x->err, CC_E_UNAVAILABLE, "no ssh to %s: %.180s", who, *why ? why : "no reason told");
}

static void connecting(struct line *l, const struct cc_ssh_target *t, struct cc_arena *a, uint32_t seconds)
{
    begin(l, t, a);
    option(l, a, "ControlMaster", "yes");
    option(l, a, "ControlPersist", t->idle_s ? cc_arena_printf(a, "%u", t->idle_s) : "yes");
    option(l, a, "StrictHostKeyChecking", "yes");
    option(l, a, "HostKeyAlias", name_of(t));
    option(l, a, "UserKnownHostsFile", cc_arena_printf(a, "\"%s/known_hosts\"", t->dir));
    option(l, a, "GlobalKnownHostsFile", "none");
    option(l, a, "UpdateHostKeys", "no");
    option(l, a, "IdentitiesOnly", "yes");
    option(l, a, "IdentityAgent", "none");
    option(l, a, "IdentityFile", cc_arena_printf(a, "\"%s\"", t->key));
    option(l, a, "PreferredAuthentications", "publickey");
    option(l, a, "ConnectTimeout", cc_arena_printf(a, "%u", seconds ? seconds : 10));
    option(l, a, "ServerAliveInterval", "15");
    option(l, a, "ServerAliveCountMax", "3");
    option(l, a, "ExitOnForwardFailure", "yes");
    option(l, a, "StreamLocalBindUnlink", "yes");
    option(l, a, "StreamLocalBindMask", "0177");
    option(l, a, "LogLevel", "ERROR");
    if (t->proxy)
        option(l, a, "ProxyCommand", t->proxy);
    if (t->agent) {
        word(l, "-L");
        word(l, cc_arena_printf(a, "%s:%s", cc_ssh_socket(a, t->dir), t->agent));
    }
    word(l, "-fN");
    end(l, t, a);
}

static int write_known(const struct cc_ssh_target *t, struct cc_provider_ctx *x)
{
    const char *const keys[] = { t->other_key, t->host_key };
    const char *text = "";
    size_t i;

    for (i = 0; i < 2; i++)
        if (keys[i])
            text = cc_arena_printf(x->arena, "%s%s %s\n", text, name_of(t), keys[i]);
    return cc_write_whole(cc_arena_printf(x->arena, "%s/known_hosts", t->dir), text, strlen(text), x->err);
}

static int open_held(const struct cc_ssh_target *t, struct cc_provider_ctx *x, uint32_t seconds)
{
    struct cc_process p;
    struct line l;
    int r;

    if (cc_ssh_stands(t->dir))
        return 0;
    unlink(cc_arena_printf(x->arena, "%s/ctl", t->dir));
    if ((r = write_known(t, x)) != 0)
        return r;
    connecting(&l, t, x->arena, seconds);
    if ((r = run(&l, x, NULL, 0, &p)) == 0 && p.exit_code != 0)
        r = refused(x, t, p.err);
    cc_process_fini(&p);
    return r;
}

/* Two at once would take each other's sockets away, and one of the connections would stay, known to nobody. */
int cc_ssh_open(const struct cc_ssh_target *t, struct cc_provider_ctx *x, uint32_t seconds)
{
    const char *lock = cc_arena_printf(x->arena, "way-%s", name_of(t));
    int fd, r;

    if (strlen(t->dir) > CC_SSH_DIR_MAX)
        return cc_err_set(x->err, CC_E_INVALID, "%s is too long: ssh keeps sockets in it", t->dir);
    if (cc_ssh_stands(t->dir))
        return 0;
    if ((fd = cc_name_lock(t->locks, lock, x->call, x->err)) < 0)
        return fd;
    r = open_held(t, x, seconds);
    cc_name_unlock_gone(t->locks, lock, fd);
    return r;
}

/* ---------------------------------------------------------------- connected */

int cc_ssh_run(const struct cc_ssh_target *t, struct cc_provider_ctx *x, const char *line, const char *input, size_t n,
               struct cc_exec_result *out)
{
    struct cc_process p;
    struct line l;
    int r;

    begin(&l, t, x->arena);
    option(&l, x->arena, "ProxyCommand", "false"); /* by the connection that stands, or not at all */
    end(&l, t, x->arena);
    word(&l, line);
    if ((r = run(&l, x, input, n, &p)) == 0) {
        *out = (struct cc_exec_result){ .exit = p.exit_code,
                                        .out = cc_arena_strndup(x->arena, p.out, p.out_len),
                                        .err = cc_arena_strndup(x->arena, p.err, p.err_len),
                                        .out_len = p.out_len,
                                        .err_len = p.err_len };
        if (p.exit_code == 255)
            r = cc_err_set(x->err, CC_E_UNAVAILABLE, "ssh to %s broke off: %.150s", name_of(t),
                           cc_ssh_last_line(x->arena, p.err));
    }
    cc_process_fini(&p);
    return r;
}

/* It says that it ends, then takes its socket away: once that is done it takes no other's that comes after it. */
static void await_gone(const char *ctl)
{
    uint64_t until = cc_mono_ms() + GONE_MS;

    while (access(ctl, F_OK) == 0 && cc_mono_ms() < until)
        poll(NULL, 0, 1);
}

void cc_ssh_end(const struct cc_ssh_target *t, struct cc_provider_ctx *x)
{
    struct cc_call call = { .wake_fd = -1, .deadline_ms = cc_mono_ms() + END_MS };
    struct cc_provider_ctx quiet = { .call = &call, .arena = x->arena };
    struct cc_err dropped;
    struct cc_process p;
    struct line l;
    const char *ctl = cc_arena_printf(x->arena, "%s/ctl", t->dir);

    if (access(ctl, F_OK) == 0) {
        quiet.err = &dropped;
        begin(&l, t, x->arena);
        word(&l, "-O");
        word(&l, "exit");
        end(&l, t, x->arena);
        if (run(&l, &quiet, NULL, 0, &p) == 0 && p.exit_code == 0)
            await_gone(ctl);
        cc_process_fini(&p);
    }
    unlink(ctl);
    unlink(cc_ssh_socket(x->arena, t->dir));
}
