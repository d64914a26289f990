/* ssh.c - see ssh.h. */
#include "providers/ssh.h"

#include "host/sys/clock.h"
#include "host/sys/process.h"
#include "providers/files.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { WORDS = 64, OUTPUT_MAX = CC_EXEC_MAX, END_MS = 5000 };

const char *cc_ssh_socket(struct cc_arena *a, const char *dir) { return cc_arena_printf(a, "%s/agent.sock", dir); }

const char *cc_ssh_quote(struct cc_arena *a, const struct cc_strs *words)
{
    size_t i, room = 1;
    const char *s;
    char *out, *to;

    for (i = 0; i < words->n; i++)
        room += strlen(words->v[i]) * 4 + 3;
    out = to = cc_arena_alloc(a, room);
    for (i = 0; i < words->n; i++) {
        if (i)
            *to++ = ' ';
        *to++ = '\'';
        for (s = words->v[i]; *s; s++)
            if (*s == '\'')
                to = stpcpy(to, "'\\''");
            else
                *to++ = *s;
        *to++ = '\'';
    }
    *to = 0;
    return out;
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
    *l = (struct line){ { "ssh", "-F", "none" }, 3 };
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
    return r == CC_E_NOT_FOUND ? cc_err_set(x->err, CC_E_UNSUPPORTED, "this host has no ssh (package openssh-client)")
                               : r;
}

/* ---------------------------------------------------------------- to connect */

static bool connected(const struct cc_ssh_target *t, struct cc_provider_ctx *x)
{
    struct cc_provider_ctx quiet = *x;
    struct cc_err dropped;
    struct cc_process p;
    struct line l;
    bool yes;

    if (access(cc_arena_printf(x->arena, "%s/ctl", t->dir), F_OK) != 0)
        return false;
    quiet.err = &dropped;
    begin(&l, t, x->arena);
    word(&l, "-O");
    word(&l, "check");
    end(&l, t, x->arena);
    yes = run(&l, &quiet, NULL, 0, &p) == 0 && p.exit_code == 0;
    cc_process_fini(&p);
    return yes;
}

/* What ssh complained of last, without its end of line. */
static const char *last_line(struct cc_arena *a, const char *text)
{
    size_t n = strlen(text);
    const char *from;

    while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == '\r'))
        n--;
    for (from = text + n; from > text && from[-1] != '\n'; from--) {
    }
    return cc_arena_strndup(a, from, (size_t)(text + n - from));
}

static int refused(struct cc_provider_ctx *x, const struct cc_ssh_target *t, const char *said)
{
    const char *why = last_line(x->arena, said);

    if (strstr(said, "Host key verification failed") || strstr(said, "HOST IDENTIFICATION HAS CHANGED"))
        return cc_err_set(x->err, CC_E_DENIED, "%s does not prove to be the machine: its host key is another", t->host);
    if (strstr(said, "Permission denied"))
        return cc_err_set(x->err, CC_E_DENIED, "%s refuses this host's key: %.150s", t->host, why);
    return cc_err_set(x->err, CC_E_UNAVAILABLE, "no ssh to %s: %.180s", t->host, *why ? why : "no reason told");
}

static void connecting(struct line *l, const struct cc_ssh_target *t, struct cc_arena *a, uint32_t seconds)
{
    begin(l, t, a);
    option(l, a, "ControlMaster", "yes");
    option(l, a, "ControlPersist", "yes");
    option(l, a, "StrictHostKeyChecking", "yes");
    option(l, a, "HostKeyAlias", "machine");
    option(l, a, "UserKnownHostsFile", cc_arena_printf(a, "\"%s/known_hosts\"", t->dir));
    option(l, a, "GlobalKnownHostsFile", "none");
    option(l, a, "UpdateHostKeys", "no");
    option(l, a, "IdentitiesOnly", "yes");
    option(l, a, "IdentityFile", cc_arena_printf(a, "\"%s\"", t->key));
    option(l, a, "PreferredAuthentications", "publickey");
    option(l, a, "ConnectTimeout", cc_arena_printf(a, "%u", seconds ? seconds : 10));
    option(l, a, "ServerAliveInterval", "15");
    option(l, a, "ServerAliveCountMax", "3");
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

int cc_ssh_open(const struct cc_ssh_target *t, struct cc_provider_ctx *x, uint32_t seconds)
{
    const char *known = cc_arena_printf(x->arena, "machine %s\n", t->host_key);
    struct cc_process p;
    struct line l;
    int r;

    if (connected(t, x))
        return 0;
    unlink(cc_arena_printf(x->arena, "%s/ctl", t->dir));
    r = cc_write_whole(cc_arena_printf(x->arena, "%s/known_hosts", t->dir), known, strlen(known), x->err);
    if (r != 0)
        return r;
    connecting(&l, t, x->arena, seconds);
    if ((r = run(&l, x, NULL, 0, &p)) == 0 && p.exit_code != 0)
        r = refused(x, t, p.err);
    cc_process_fini(&p);
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
            r = cc_err_set(x->err, CC_E_UNAVAILABLE, "ssh to %s broke off: %.150s", t->host,
                           last_line(x->arena, p.err));
    }
    cc_process_fini(&p);
    return r;
}

void cc_ssh_end(const struct cc_ssh_target *t, struct cc_provider_ctx *x)
{
    struct cc_call call = { .wake_fd = -1, .deadline_ms = cc_mono_ms() + END_MS };
    struct cc_provider_ctx quiet = { .call = &call, .arena = x->arena };
    struct cc_err dropped;
    struct cc_process p;
    struct line l;

    if (access(cc_arena_printf(x->arena, "%s/ctl", t->dir), F_OK) == 0) {
        quiet.err = &dropped;
        begin(&l, t, x->arena);
        word(&l, "-O");
        word(&l, "exit");
        end(&l, t, x->arena);
        run(&l, &quiet, NULL, 0, &p);
        cc_process_fini(&p);
    }
    unlink(cc_arena_printf(x->arena, "%s/ctl", t->dir));
    unlink(cc_ssh_socket(x->arena, t->dir));
    unlink(cc_arena_printf(x->arena, "%s/known_hosts", t->dir));
}
