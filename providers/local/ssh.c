/* ssh.c - logging in to a machine: what its sshd goes by, its port, and whether it answers.
 *
 * sshd runs inside, as the machine's user, so a login is never more than that
 * user; its files (DIR/machines/SHORT/ssh) are read-only in there.  It listens
 * on a port of the machine's own 127.0.0.1, and pasta leads the same port of
 * the host's 127.0.0.1 to it: no descriptor of the host's network ever comes
 * into a machine.  DIR/ports/N is a link to whose port N is; one that somebody
 * else listens on when the machine starts is given up for another.
 * A machine that cannot have ssh starts all the same, and says why not.
 */
#include "providers/local/local.h"

#include "host/observe/log.h"
#include "host/sys/clock.h"
#include "host/sys/mem.h"
#include "providers/local/launch/launch.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ANSWER_MS = 15000, RETRY_MS = 10 };

/* ---------------------------------------------------------------- programs */

static bool is_program(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 0111);
}

const char *cc_local_sshd(const struct cc_local *l, struct cc_arena *a, const char *image_root)
{
    static const char *const places[] = { "/usr/sbin/sshd", "/usr/bin/sshd", "/usr/local/sbin/sshd" };
    size_t i;

    if (l->sshd)
        return is_program(cc_arena_printf(a, "%s%s", image_root ? image_root : "", l->sshd)) ? l->sshd : NULL;
    for (i = 0; i < sizeof(places) / sizeof(*places); i++)
        if (is_program(cc_arena_printf(a, "%s%s", image_root ? image_root : "", places[i])))
            return places[i];
    return NULL;
}

/* ---------------------------------------------------------------- ports */

static struct sockaddr_in loopback(uint32_t port)
{
    return (struct sockaddr_in){ .sin_family = AF_INET,
                                 .sin_port = htons((uint16_t)port),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

static bool port_is_free(uint32_t port)
{
    struct sockaddr_in at = loopback(port);
    int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    bool is = false;

    if (s < 0)
        return false;
    if (setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0)
        is = bind(s, (struct sockaddr *)&at, sizeof(at)) == 0;
    close(s);
    return is;
}

/* Makes the port ours, or finds that it is. */
static bool claim(const struct cc_local *l, const char *short_id, uint32_t port)
{
    char path[512], who[32];
    ssize_t n;

    snprintf(path, sizeof(path), "%s/ports/%u", l->dir, port);
    if (symlink(short_id, path) == 0)
        return true;
    n = readlink(path, who, sizeof(who) - 1);
    who[n > 0 ? n : 0] = 0;
    return strcmp(who, short_id) == 0;
}

static void give_back(const struct cc_local *l, const char *short_id, uint32_t port)
{
    char path[512];

    snprintf(path, sizeof(path), "%s/ports/%u", l->dir, port);
    if (claim(l, short_id, port))
        unlink(path);
}

/* 0: none is free. Begins somewhere else for each machine, so that many do not all try the same ones. */
static uint32_t new_port(const struct cc_local *l, const char *short_id)
{
    uint32_t many = l->ssh_last - l->ssh_first + 1, i;
    uint32_t first = (uint32_t)(strtoul(short_id + 4, NULL, 16) % many);

    for (i = 0; i < many; i++) {
        uint32_t port = l->ssh_first + (first + i) % many;

        if (!claim(l, short_id, port))
            continue;
        if (port_is_free(port))
            return port;
        give_back(l, short_id, port);
    }
    return 0;
}

static bool take_port(const struct cc_local *l, struct cc_machine *m)
{
    if (m->ssh.port && claim(l, m->short_id, m->ssh.port)) {
        if (port_is_free(m->ssh.port))
            return true;
        cc_log(CC_LOG_WARN, "local", "cc-%s: somebody else listens on its port %u; it gets another for ssh",
               m->short_id, m->ssh.port);
        give_back(l, m->short_id, m->ssh.port);
    }
    return (m->ssh.port = new_port(l, m->short_id)) != 0;
}

void cc_ssh_forget(const struct cc_local *l, const struct cc_machine *m)
{
    if (m->ssh.port)
        give_back(l, m->short_id, m->ssh.port);
}

/* ---------------------------------------------------------------- files */

static int give(const struct cc_local *l, const struct cc_machine *m, const char *path, unsigned uid, mode_t mode)
{
    if (l->root && chown(path, (uid_t)(m->uid_base + uid), (gid_t)(m->uid_base + uid)) != 0)
        return -1;
    return chmod(path, mode);
}

static int no_host_key(char *why, size_t n, const char *what)
{
    snprintf(why, n, "its host key: %s", what);
    return -1;
}

/* The private key is readable for sshd, which is the user: it proves that machine, and nothing else. */
static int write_key(const struct cc_local *l, struct cc_arena *a, const struct cc_machine *m, const char *private_key,
                     const char *public_key, char *why, size_t n)
{
    const char *key = cc_machine_path(l, a, m->short_id, "ssh/host_key"), *pub = cc_arena_printf(a, "%s.pub", key);

    if (cc_write_whole(pub, public_key, strlen(public_key), NULL) != 0 || give(l, m, pub, 0, 0444) != 0 ||
        cc_write_whole(key, private_key, strlen(private_key), NULL) != 0 || give(l, m, key, CC_LAUNCH_UID, 0400) != 0)
        return no_host_key(why, n, strerror(errno));
    return 0;
}

/* Made once: who has logged in before finds the same. */
static int host_key(const struct cc_local *l, struct cc_arena *a, struct cc_machine *m, char *why, size_t n)
{
    const char *key = cc_machine_path(l, a, m->short_id, "ssh/host_key"), *pub = cc_arena_printf(a, "%s.pub", key);
    char private_key[CC_HOST_KEY_MAX], public_key[CC_HOST_KEY_MAX], *text;
    size_t len = 0;

    if (access(key, F_OK) != 0 &&
        (cc_host_key_make(private_key, public_key) != 0 || write_key(l, a, m, private_key, public_key, why, n) != 0))
        return *why ? -1 : no_host_key(why, n, "it cannot be made");
    if (!(text = cc_read_whole(a, pub, CC_HOST_KEY_MAX, &len)))
        return no_host_key(why, n, strerror(errno));
    text[len] = 0;
    text[strcspn(text, "\n")] = 0;
    m->ssh.host_key = text;
    m->ssh.fingerprint = cc_host_key_fingerprint(a, text);
    return m->ssh.fingerprint ? 0 : no_host_key(why, n, "it is damaged");
}

struct text {
    char *s;
    size_t n, room;
};

static void more(struct text *t, const char *s, size_t n)
{
    if (t->n + n + 1 > t->room) {
        t->room = (t->n + n + 1) * 2;
        t->s = cc_xrealloc(t->s, t->room);
    }
    memcpy(t->s + t->n, s, n);
    t->s[t->n += n] = 0;
}

static void say(struct text *t, const char *s) { more(t, s, strlen(s)); }

/* A pair of SetEnv as sshd reads it; one that holds a newline cannot be written in its file. */
static void set_env(struct text *t, const char *key, const char *value)
{
    const char *c;

    for (c = value; *c; c++)
        if ((unsigned char)*c < ' ')
            return;
    say(t, " \"");
    say(t, key);
    say(t, "=");
    for (c = value; *c; c++) {
        if (*c == '"' || *c == '\\')
            say(t, "\\");
        more(t, c, 1);
    }
    say(t, "\"");
}

static void configuration(struct text *t, const struct cc_machine *m)
{
    static const char *const env[][2] = CC_LAUNCH_ENV;
    char port[32];
    size_t i;

    snprintf(port, sizeof(port), "%u", m->ssh.port);
    say(t, "# Made by cchost at each start.\nListenAddress 127.0.0.1:");
    say(t, port);
    say(t, "\nHostKey " CC_LAUNCH_SSH_DIR "/host_key\n"
           "AuthorizedKeysFile " CC_LAUNCH_SSH_DIR "/authorized_keys\n"
           "AllowUsers claude\n"
           "AuthenticationMethods publickey\n"
           "PubkeyAuthentication yes\n"
           "PasswordAuthentication no\n"
           "KbdInteractiveAuthentication no\n"
           "HostbasedAuthentication no\n"
           "PermitRootLogin no\n"
           "PermitUserEnvironment no\n"
           "X11Forwarding no\n"
           "PermitTunnel no\n"
           "PrintMotd no\n"
           "PrintLastLog no\n"
           "UseDNS no\n"
           "PidFile none\n"
           "LogLevel ERROR\n"
           "LoginGraceTime 30\n"
           "ClientAliveInterval 60\n" /* a client that has gone keeps no machine awake */
           "ClientAliveCountMax 3\n"
           "AcceptEnv LANG LC_* TERM_PROGRAM COLORTERM\n"
           "Subsystem sftp internal-sftp\n"
           "SetEnv"); /* one line, for sshd takes the first alone */
    for (i = 0; i < sizeof(env) / sizeof(*env); i++)
        set_env(t, env[i][0], env[i][1]);
    for (i = 0; i < m->spec.env.n; i++)
        set_env(t, m->spec.env.v[i].key, m->spec.env.v[i].value);
    say(t, "\n");
}

static int write_file(const struct cc_local *l, struct cc_arena *a, const struct cc_machine *m, const char *leaf,
                      struct text *t)
{
    const char *path = cc_machine_path(l, a, m->short_id, leaf);
    int r = cc_write_whole(path, t->s ? t->s : "", t->n, NULL);

    free(t->s);
    return r == 0 ? give(l, m, path, 0, 0444) : -1;
}

static int write_files(const struct cc_local *l, struct cc_arena *a, const struct cc_machine *m)
{
    struct text keys = { 0 }, config = { 0 };
    size_t i;

    for (i = 0; i < m->spec.ssh_keys.n; i++) {
        say(&keys, m->spec.ssh_keys.v[i]);
        say(&keys, "\n");
    }
    configuration(&config, m);
    if (write_file(l, a, m, "ssh/authorized_keys", &keys) != 0) {
        free(config.s);
        return -1;
    }
    return write_file(l, a, m, "ssh/sshd_config", &config);
}

/* ---------------------------------------------------------------- before a start, and after */

static void no_ssh(struct cc_arena *a, struct cc_machine *m, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static void no_ssh(struct cc_arena *a, struct cc_machine *m, const char *fmt, ...)
{
    char text[400];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    m->ssh.why = cc_arena_strdup(a, text);
    cc_log(CC_LOG_WARN, "local", "cc-%s is not reached over ssh: %s", m->short_id, text);
}

void cc_ssh_prepare(const struct cc_local *l, struct cc_arena *a, struct cc_machine *m, const char *image_root)
{
    const char *dir = cc_machine_path(l, a, m->short_id, "ssh");
    char why[512] = "";

    m->ssh.why = m->ssh.sshd = NULL;
    if (m->spec.ssh_keys.n == 0)
        return;
    m->ssh.sshd = cc_local_sshd(l, a, image_root);
    if (m->spec.network == CC_NET_NONE)
        no_ssh(a, m, "it has no network");
    else if (!m->ssh.sshd && image_root)
        no_ssh(a, m, "its image has no sshd");
    else if (!m->ssh.sshd)
        no_ssh(a, m, "this host has no sshd (package openssh-server)");
    else if (!take_port(l, m))
        no_ssh(a, m, "all ports from %u to %u are in use", l->ssh_first, l->ssh_last);
    else if ((mkdir(dir, 0755) != 0 && errno != EEXIST) || give(l, m, dir, 0, 0755) != 0)
        no_ssh(a, m, "%s: %s", dir, strerror(errno));
    else if (host_key(l, a, m, why, sizeof(why)) != 0)
        no_ssh(a, m, "%s", why);
    else if (write_files(l, a, m) != 0)
        no_ssh(a, m, "its files: %s", strerror(errno));
}

/* Whether an ssh server says its name there. */
static bool answers(uint32_t port, int wait_ms)
{
    struct sockaddr_in at = loopback(port);
    int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct pollfd p = { .fd = s, .events = POLLOUT };
    char name[4];
    bool is = false;

    if (s < 0)
        return false;
    if (connect(s, (struct sockaddr *)&at, sizeof(at)) == 0 || (errno == EINPROGRESS && poll(&p, 1, wait_ms) == 1)) {
        p.events = POLLIN;
        is = poll(&p, 1, wait_ms) == 1 && recv(s, name, 4, MSG_WAITALL) == 4 && memcmp(name, "SSH-", 4) == 0;
    }
    close(s);
    return is;
}

bool cc_ssh_await(const struct cc_local *l, struct cc_provider_ctx *x, struct cc_machine *m)
{
    int64_t begun = (int64_t)cc_mono_ms(), until = begun + ANSWER_MS, left;
    struct pollfd nap = { .fd = x->call->wake_fd, .events = POLLIN };

    if (m->ssh.why || m->spec.ssh_keys.n == 0)
        return false;
    while ((left = until - (int64_t)cc_mono_ms()) > 0 && !cc_call_over(x->call)) {
        if (answers(m->ssh.port, left < 2000 ? (int)left : 2000))
            return false;
        poll(&nap, 1, RETRY_MS);
    }
    no_ssh(x->arena, m, "sshd did not answer on 127.0.0.1:%u in %.1f s (%s tells more)", m->ssh.port,
           (double)((int64_t)cc_mono_ms() - begun) / 1000, cc_machine_path(l, x->arena, m->short_id, "log"));
    return true;
}
