/* nixos.c - NixOS in the place of what a server was made from, by nixos-anywhere, one of its phases at a time.
 *
 * kexec: an installer in memory. disko: the disk is wiped and laid out anew. install: the system is copied. reboot.
 * The phases that have ended are kept (machine.json), and before it goes on the machine itself is asked what it is: so
 * a host that was killed goes on with the phase that it was in, and a disk is wiped again only while nothing is on it.
 * The machine's host key is pinned before, kexec takes it along, and --copy-host-keys puts it into what is installed:
 * through all of it no other is accepted (nixos-ssh.sh).
 */
#include "providers/hetzner/hetzner.h"

#include "host/script/carried.h"
#include "host/sys/mem.h"
#include "host/sys/process.h"
#include "providers/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

extern char **environ;

enum {
    OUTPUT_MAX = 4 * 1024 * 1024,
    ARGS_MAX = 40,
    ENV_MAX = 64,
    LINES = 3,
    BUSY_MS = 2000,
    ALONE_MS = 100,
    NO_PROGRAM = 69,
    SAID_MAX = 190,
    LINE_LEN = 120
};
enum { KEXEC, DISKO, INSTALL, REBOOT };

static const char *const phases[] = { "kexec", "disko", "install", "reboot" };

size_t cc_hz_nixos_done(const char *phase)
{
    size_t i;

    for (i = 0; phase && i < 4; i++)
        if (strcmp(phases[i], phase) == 0)
            return i + 1;
    return 0;
}

/* ---------------------------------------------------------------- what the machine is now */

struct seen {
    bool installer, nixos, mounted, busy, ours;
};

static const char probe[] =
    "if grep -q '^VARIANT_ID=\"\\{0,1\\}installer' /etc/os-release 2>/dev/null; then echo installer; "
    "elif [ -e /etc/NIXOS ]; then echo nixos; fi; "
    "if grep -q ' /mnt/boot ' /proc/mounts; then echo mounted; fi; "
    "if pgrep -f '[d]isko|[n]ixos-install' >/dev/null 2>&1; then echo busy; fi; "
    "sed 's/^/is /' /etc/cloud-instance/id 2>/dev/null || :";

static bool says(const char *text, const char *line)
{
    size_t n = strlen(line);

    for (; *text; text += strcspn(text, "\n") + (text[strcspn(text, "\n")] == '\n'))
        if (strncmp(text, line, n) == 0 && (text[n] == '\n' || text[n] == 0))
            return true;
    return false;
}

static int ask(struct cc_hz *h, struct cc_provider_ctx *x, const struct cc_hz_box *b, struct seen *s)
{
    const char *text;
    int r = cc_hz_ssh_persist(h, x, b, probe, NULL, 0, &text);

    if (r == 0)
        *s = (struct seen){ .installer = says(text, "installer"),
                            .nixos = says(text, "nixos"),
                            .mounted = says(text, "mounted"),
                            .busy = says(text, "busy"),
                            .ours = says(text, cc_arena_printf(x->arena, "is %s", b->short_id)) };
    return r;
}

/* What an earlier host has begun there may still run: it is waited for, not run into. */
static int look(struct cc_hz *h, struct cc_provider_ctx *x, const struct cc_hz_box *b, struct seen *s)
{
    int r;

    while ((r = ask(h, x, b, s)) == 0 && s->busy)
        if ((r = cc_rest_pause(x, BUSY_MS < 20 * h->ssh_every_ms ? BUSY_MS : 20 * h->ssh_every_ms)) != 0)
            break;
    return r;
}

/* How many phases have ended, by what is kept and by what is there. */
static int where(struct cc_provider_ctx *x, const struct cc_hz_box *b, const struct seen *s, size_t *at)
{
    *at = cc_hz_nixos_done(b->phase);
    if (s->nixos && s->ours)
        *at = REBOOT + 1;
    else if (!s->installer && *at > DISKO)
        return cc_err_set(x->err, CC_E_STATE, "%s was to be in the installer and is not: its disk is wiped already",
                          b->name);
    else if (!s->installer)
        *at = KEXEC;
    else if (*at < DISKO)
        *at = DISKO;
    if (s->installer && *at == DISKO && s->mounted)
        *at = INSTALL; /* it had ended, and nobody was there to hear it */
    if (s->installer && *at == INSTALL && !s->mounted)
        *at = DISKO; /* the installer began anew; nothing has been installed */
    return 0;
}

/* ---------------------------------------------------------------- what it is given along */

static int put(const char *path, const char *text, mode_t mode, struct cc_err *err)
{
    int r = cc_write_whole(path, text, strlen(text), err);

    return r == 0 && chmod(path, mode) != 0 ? cc_err_sys(err, errno, "%s", path) : r;
}

/* `below` with all that is above it, beneath `root`. */
static int make_dirs(struct cc_arena *a, const char *root, const char *below, struct cc_err *err)
{
    const char *path = root, *at = below;
    size_t n;

    for (;; at += n + (at[n] == '/')) {
        if (mkdir(path, 0755) != 0 && errno != EEXIST)
            return cc_err_sys(err, errno, "making %s", path);
        n = strcspn(at, "/");
        if (n == 0)
            return 0;
        path = cc_arena_printf(a, "%s/%.*s", path, (int)n, at);
    }
}

static const char *key_lines(struct cc_arena *a, const struct cc_strs *keys)
{
    const char *text = "";
    size_t i;

    for (i = 0; i < keys->n; i++)
        text = cc_arena_printf(a, "%s%s\n", text, keys->v[i]);
    return text;
}

/* Who it is, who gets in, and what was to be run once: files of the new system, and never of the store. */
static int extra_files(struct cc_hz *h, struct cc_provider_ctx *x, const struct cc_hz_box *b, const char **dir)
{
    struct cc_arena *a = x->arena;
    const char *root = cc_hz_path(h, a, b->short_id, "extra"), *data = cc_hz_user_data_inside(x, b);
    const struct {
        const char *path, *text;
        mode_t mode;
    } files[] = {
        { "etc/cloud-instance/id", cc_arena_printf(a, "%s\n", b->short_id), 0644 },
        { "etc/cloud-instance/authorized_keys.d/root", cc_arena_printf(a, "%s\n", h->public_key), 0644 },
        { "etc/cloud-instance/authorized_keys.d/claude", key_lines(a, &b->spec.ssh_keys), 0644 },
        { "var/lib/cloud/seed/nocloud/meta-data",
          cc_arena_printf(a, "{\"instance-id\": \"%s\", \"local-hostname\": \"%s\"}\n", b->name, b->name), 0600 },
        { "var/lib/cloud/seed/nocloud/user-data", data, 0600 },
    };
    size_t i;
    int r = data ? 0 : x->err->code;

    cc_remove_tree(root);
    if (r == 0)
        r = make_dirs(a, root, "etc/cloud-instance/authorized_keys.d", x->err);
    if (r == 0)
        r = make_dirs(a, root, "var/lib/cloud/seed/nocloud", x->err);
    for (i = 0; r == 0 && i < sizeof(files) / sizeof(*files); i++)
        r = put(cc_arena_printf(a, "%s/%s", root, files[i].path), files[i].text, files[i].mode, x->err);
    *dir = root;
    return r;
}

/* ---------------------------------------------------------------- nixos-anywhere */

/* DIR/shim/ssh, which stands first in its PATH. Written anew each time: another version of us may have left another. */
static const char *ssh_of_ours(const struct cc_hz *h, struct cc_provider_ctx *x)
{
    const struct cc_carried *script = cc_carried_find("nixos-ssh.sh");
    const char *dir = cc_arena_printf(x->arena, "%s/shim", h->dir);
    const char *fresh = cc_arena_printf(x->arena, "%s/ssh.%d.%p", dir, (int)getpid(), (void *)x);

    if (!script)
        cc_err_set(x->err, CC_E_INTERNAL, "this binary carries no nixos-ssh.sh");
    else if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        cc_err_sys(x->err, errno, "making %s", dir);
    else if (put(fresh, script->data, 0700, x->err) == 0) {
        if (rename(fresh, cc_arena_printf(x->arena, "%s/ssh", dir)) == 0)
            return dir;
        cc_err_sys(x->err, errno, "writing %s/ssh", dir);
    }
    return NULL;
}

/* Nothing of ours but what it needs: the host's own settings, tokens among them, are in its environment. */
static char **environment(const struct cc_hz *h, struct cc_arena *a, const struct cc_hz_box *b, const char *shim,
                          const char *tmp)
{
    static const char *const kept[] = { "LANG=",        "LC_ALL=",   "USER=",          "NIX_",           "http_proxy=",
                                        "https_proxy=", "no_proxy=", "SSL_CERT_FILE=", "XDG_CACHE_HOME=" };
    const char *path = getenv("PATH") ? getenv("PATH") : "/usr/bin:/bin";
    const char *home = getenv("HOME") ? getenv("HOME") : "/root";
    const char **v = cc_arena_alloc(a, ENV_MAX * sizeof(*v));
    size_t n = 0, i, k;

    v[n++] = cc_arena_printf(a, "PATH=%s:%s", shim, path);
    v[n++] = cc_arena_printf(a, "HOME=%s", home);
    v[n++] = cc_arena_printf(a, "TMPDIR=%s", tmp);
    v[n++] = cc_arena_printf(a, "CCHOST_PATH=%s", path);
    v[n++] = cc_arena_printf(a, "CCHOST_SSH=%s", h->ssh);
    v[n++] = cc_arena_printf(a, "CCHOST_HOST=cc-%s", b->short_id);
    v[n++] = cc_arena_printf(a, "CCHOST_KNOWN_HOSTS=%s", cc_hz_path(h, a, b->short_id, "known_hosts"));
    for (i = 0; environ[i]; i++)
        for (k = 0; k < sizeof(kept) / sizeof(*kept) && n < ENV_MAX - 1; k++)
            if (strncmp(environ[i], kept[k], strlen(kept[k])) == 0)
                v[n++] = environ[i];
    v[n] = NULL;
    return (char **)v;
}

/* Held by it as long as it or anything that it has begun here runs, also when the host that began it was killed. */
static const char *tool_lock(const struct cc_hz *h, struct cc_arena *a, const struct cc_hz_box *b)
{
    return cc_hz_path(h, a, b->short_id, "tool.lock");
}

static char **arguments(const struct cc_hz *h, struct cc_arena *a, const struct cc_hz_box *b, size_t phase,
                        const char *extra)
{
    const char **v = cc_arena_alloc(a, ARGS_MAX * sizeof(*v)), *port = cc_arena_printf(a, "%u", h->ssh_port);
    size_t n = 0;

    v[n++] = "flock", v[n++] = "--no-fork", v[n++] = tool_lock(h, a, b), v[n++] = h->nixos.program;
    v[n++] = "--flake", v[n++] = h->nixos.flake;
    v[n++] = "--target-host", v[n++] = cc_arena_printf(a, "root@%s", cc_hz_server_host(b->server));
    v[n++] = "-p", v[n++] = port;
    v[n++] = "--post-kexec-ssh-port", v[n++] = port;
    v[n++] = "-i", v[n++] = cc_arena_printf(a, "%s/id", h->dir);
    v[n++] = "--build-on", v[n++] = h->nixos.build_on;
    v[n++] = "--phases", v[n++] = phases[phase];
    if (phase == KEXEC && h->nixos.kexec)
        v[n++] = "--kexec", v[n++] = h->nixos.kexec;
    if (phase == INSTALL && extra) {
        v[n++] = "--copy-host-keys";
        v[n++] = "--extra-files", v[n++] = extra;
    }
    v[n] = NULL;
    return (char **)v;
}

/* The last lines that say something, in one: as many as there is room for. */
static const char *last_lines(struct cc_arena *a, const char *text)
{
    const char *end = text + strlen(text), *out = "", *at;
    int n, len;

    for (n = 0; n<LINES; n += len> 0, end = at) {
        while (end > text && strchr("\n\r\t ", end[-1]))
            end--;
        for (at = end; at > text && at[-1] != '\n'; at--) {
        }
        while (at < end && strchr("\t ", *at))
            at++;
        len = end - at > LINE_LEN ? LINE_LEN : (int)(end - at);
        if (len == 0 || strlen(out) + (size_t)len + 2 > SAID_MAX)
            break;
        out = cc_arena_printf(a, "%.*s%s%s", len, at, n ? "; " : "", out);
    }
    return *out ? out : "it said nothing";
}

/* All that it said, for people: DIR/log/NAME, the last phase's. */
static void keep_log(const struct cc_hz *h, struct cc_arena *a, const struct cc_hz_box *b, const struct cc_process *p)
{
    const char *text = cc_arena_printf(a, "%s%s", p->out, p->err), *dir = cc_arena_printf(a, "%s/log", h->dir);
    struct cc_err dropped;

    mkdir(dir, 0700);
    cc_write_whole(cc_arena_printf(a, "%s/%s", dir, b->name), text, strlen(text), &dropped);
}

static int run(struct cc_hz *h, struct cc_provider_ctx *x, const struct cc_hz_box *b, size_t phase, const char *extra)
{
    struct cc_process p = { .output_max = OUTPUT_MAX };
    const char *shim = ssh_of_ours(h, x), *tmp = cc_hz_path(h, x->arena, b->short_id, "tmp");
    int r;

    if (!shim)
        return x->err->code;
    cc_remove_tree(tmp); /* it holds a copy of our key while it runs; one that was killed has left it */
    if (mkdir(tmp, 0700) != 0)
        return cc_err_sys(x->err, errno, "making %s", tmp);
    p.argv = arguments(h, x->arena, b, phase, extra);
    p.env = environment(h, x->arena, b, shim, tmp);
    r = cc_process_run(&p, x->call, x->err);
    cc_remove_tree(tmp);
    if (r == 0 && p.exit_code == NO_PROGRAM && strstr(p.err, h->nixos.program))
        r = cc_err_set(x->err, CC_E_UNSUPPORTED, "%s", last_lines(x->arena, p.err));
    if (r == CC_E_TIMEOUT)
        cc_err_set(x->err, r, "nixos-anywhere's phase %s was not over in time: %s", phases[phase],
                   last_lines(x->arena, *p.err ? p.err : p.out));
    keep_log(h, x->arena, b, &p);
    if (r == 0 && p.exit_code != 0)
        r = cc_err_set(x->err, CC_E_IO, "nixos-anywhere's phase %s ended with %d: %s", phases[phase], p.exit_code,
                       last_lines(x->arena, *p.err ? p.err : p.out));
    x->err->retryable = x->err->retryable && r == CC_E_TIMEOUT;
    cc_process_fini(&p);
    return r;
}

/* One that an earlier host has begun may still run. It is waited for: what it has begun there ends no sooner for being left. */
static int alone(struct cc_hz *h, struct cc_provider_ctx *x, const struct cc_hz_box *b)
{
    const char *path = tool_lock(h, x->arena, b);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600), r = 0;

    if (fd < 0)
        return cc_err_sys(x->err, errno, "%s", path);
    while (flock(fd, LOCK_EX | LOCK_NB) != 0 && (r = cc_rest_pause(x, ALONE_MS)) == 0) {
    }
    close(fd);
    return r;
}

/* ---------------------------------------------------------------- the whole */

static int one(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_hz_box *b, size_t phase)
{
    const char *extra = NULL;
    int r = phase == INSTALL && !b->image_hash ? extra_files(h, x, b, &extra) : 0;

    if (r == 0)
        r = run(h, x, b, phase, extra);
    cc_hz_way_end(h, x, b->short_id); /* what was there before the phase may be no more */
    if (extra)
        cc_remove_tree(extra);
    if (r != 0)
        return r;
    b->phase = phases[phase];
    return cc_hz_save(h, x->arena, b, x->err);
}

/* It is what it was to become; sshd comes late after a reboot. */
static int came_back(struct cc_hz *h, struct cc_provider_ctx *x, const struct cc_hz_box *b)
{
    struct seen s;
    int r = ask(h, x, b, &s);

    if (r == 0 && !(s.nixos && s.ours))
        r = cc_err_set(x->err, CC_E_STATE, "%s did not come back as NixOS", b->name);
    return r;
}

int cc_hz_nixos(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_hz_box *b, size_t upto)
{
    struct seen s;
    size_t at;
    int r = alone(h, x, b);

    if (r == 0)
        r = look(h, x, b, &s);
    if (r == 0)
        r = where(x, b, &s, &at);
    for (; r == 0 && at < upto && at <= REBOOT; at++)
        r = one(h, x, b, at);
    return r == 0 && upto > REBOOT ? came_back(h, x, b) : r;
}

/* ---------------------------------------------------------------- before the first */

static bool runs(struct cc_provider_ctx *x, const char *program, const char *argument, const char **said)
{
    char *argv[] = { (char *)program, (char *)argument, NULL };
    struct cc_process p = { .argv = argv, .output_max = 4000 };
    struct cc_err dropped;
    bool ok = cc_process_run(&p, x->call, &dropped) == 0 && p.exit_code == 0;

    *said = ok ? cc_arena_strndup(x->arena, p.out, strcspn(p.out, "\r\n")) : "";
    cc_process_fini(&p);
    return ok;
}

static void check_flake(const struct cc_hz *h, struct cc_provider_ctx *x, struct cc_check_list *l)
{
    const char *dir = cc_arena_strndup(x->arena, h->nixos.flake, strcspn(h->nixos.flake, "#"));

    if (dir[0] != '/' && dir[0] != '.')
        cc_check_say(l, x->arena, "nixos flake", CC_CHECK_OK, "%s is fetched by Nix.", h->nixos.flake);
    else if (access(cc_arena_printf(x->arena, "%s/flake.nix", dir), R_OK) != 0)
        cc_check_say(l, x->arena, "nixos flake", CC_CHECK_BAD, "There is no flake.nix in %s.", dir);
    else if (access(cc_arena_printf(x->arena, "%s/flake.lock", dir), R_OK) != 0)
        cc_check_say(l, x->arena, "nixos flake", CC_CHECK_WARN, "%s has no flake.lock: each build may be another one.",
                     dir);
    else
        cc_check_say(l, x->arena, "nixos flake", CC_CHECK_OK, "%s is there, its inputs pinned.", h->nixos.flake);
}

static void check_image(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_check_list *l)
{
    const char *id;
    int r = cc_hz_image_newest(h, x, "nixos", NULL, &id);

    if (r != 0)
        cc_check_say(l, x->arena, "nixos image", CC_CHECK_BAD, "Images could not be asked for: %s.", x->err->message);
    else if (!id)
        cc_check_say(l, x->arena, "nixos image", CC_CHECK_WARN,
                     "There is none yet: \"cchost image nixos build\" makes it, and machines of image nixos need it.");
    else
        cc_check_say(l, x->arena, "nixos image", CC_CHECK_OK, "Machines of image nixos are made from snapshot %s.", id);
}

void cc_hz_nixos_check(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_check_list *l)
{
    const char *said;

    if (!h->nixos.flake && strncmp(h->image, "nixos", 5) != 0)
        return;
    if (runs(x, "nix", "--version", &said))
        cc_check_say(l, x->arena, "nix", CC_CHECK_OK, "%s.", said);
    else
        cc_check_say(l, x->arena, "nix", CC_CHECK_WARN,
                     "This host has no nix: NixOS cannot be built or installed here.");
    if (runs(x, h->nixos.program, "--help", &said))
        cc_check_say(l, x->arena, "nixos-anywhere", CC_CHECK_OK, "%s can be run.", h->nixos.program);
    else
        cc_check_say(l, x->arena, "nixos-anywhere", CC_CHECK_WARN,
                     "%s cannot be run: machines from the snapshot can be made, a snapshot cannot.", h->nixos.program);
    if (h->nixos.flake)
        check_flake(h, x, l);
    else
        cc_check_say(l, x->arena, "nixos flake", CC_CHECK_WARN, "None is set (HCLOUD_OPTIONS: nixos.flake).");
    check_image(h, x, l);
}
