/* ssh.c - what is done in a server as root, over a host key that is pinned.
 *
 * The first contact knows the host by the key that user data brought.  Over it
 * the machine makes a key of its own, which is pinned before it takes the
 * first one's place: cut off at any moment, one of the two is known.
 */
#include "providers/hetzner/hetzner.h"

#include "host/script/carried.h"
#include "providers/ssh.h"

#include <string.h>

/* "denied": what answers is not the machine. */
static int once(struct cc_hz *h, struct cc_provider_ctx *x, const struct cc_hz_box *b, const char *line, const char *in,
                size_t in_len, const char **out)
{
    struct cc_exec_result said;
    struct cc_ssh_target t;
    int r = cc_hz_way_open(h, x, b, &t);

    if (r == 0)
        r = cc_ssh_run(&t, x, line, in, in_len, &said);
    if (r != 0)
        return r;
    if (said.exit != 0)
        return cc_err_set(x->err, CC_E_IO, "on %s a command ended with %d: %.120s", b->name, said.exit,
                          cc_ssh_last_line(x->arena, said.err));
    if (out)
        *out = said.out;
    return 0;
}

int cc_hz_ssh(struct cc_hz *h, struct cc_provider_ctx *x, const struct cc_hz_box *b, const char *line, const char *in,
              size_t in_len, const char **out)
{
    return cc_hz_way_told(x, once(h, x, b, line, in, in_len, out));
}

/* ---------------------------------------------------------------- the host key */

static const char make_key[] =
    "set -e; cd /etc/ssh; umask 077; [ -e cchost_fresh ] && [ -s ssh_host_ed25519_key ] || { "
    "rm -f ssh_host_ed25519_key ssh_host_ed25519_key.pub; ssh-keygen -q -t ed25519 -N '' -C '' -f "
    "ssh_host_ed25519_key; "
    ": >cchost_fresh; }; cat ssh_host_ed25519_key.pub";

static const char drop_first[] = "set -e; cd /etc/ssh; rm -f ssh_host_ecdsa_key* ssh_host_rsa_key* ssh_host_dsa_key*; "
                                 "if [ -d /run/systemd/system ]; then systemctl reload ssh || systemctl reload sshd || "
                                 "systemctl restart sshd; "
                                 "else kill -HUP \"$(cat /run/sshd.pid)\"; fi";

/* When the time is up, what the tries before were told is the reason, not that the last of them was cut short. */
static int cut_short(struct cc_provider_ctx *x, int r, const char *why)
{
    return r == CC_E_TIMEOUT && why ? cc_err_set(x->err, r, "%.200s; its time was up", why) : r;
}

/* Tries until somebody lets us in and does it; sshd, too, is away for a moment when it takes another key. What cannot change by
 * waiting ends it at once. */
int cc_hz_ssh_persist(struct cc_hz *h, struct cc_provider_ctx *x, const struct cc_hz_box *b, const char *line,
                      const char *in, size_t in_len, const char **out)
{
    const char *why = NULL;
    uint32_t i;
    int r = CC_E_UNAVAILABLE;

    for (i = 0; i < h->ssh_tries; i++) {
        if (i > 0 && (r = cc_rest_pause(x, h->ssh_every_ms)) != 0)
            return cut_short(x, r, why);
        r = once(h, x, b, line, in, in_len, out);
        if (r != CC_E_UNAVAILABLE)
            return cut_short(x, cc_hz_way_told(x, r), why);
        why = cc_arena_strndup(x->arena, x->err->message, strlen(x->err->message));
    }
    return r;
}

static bool is_key(const char *text)
{
    const char *end = strchr(text, '\n');

    return strncmp(text, "ssh-ed25519 ", 12) == 0 && end && end[1] == 0 && strlen(text) < 200;
}

int cc_hz_pin(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_hz_box *b)
{
    const char *first, *key;
    int r;

    cc_hz_first_key(h, x->arena, b->short_id, false, &first);
    if (!first) /* it is over: the pinned key is known */
        return 0;
    if ((r = cc_hz_ssh_persist(h, x, b, make_key, NULL, 0, &key)) != 0)
        return r;
    if (!is_key(key))
        return cc_err_set(x->err, CC_E_UNAVAILABLE, "%s made no ssh host key", b->name);
    b->host_key = cc_arena_strndup(x->arena, key, 12 + strcspn(key + 12, " \n")); /* without its comment */
    r = cc_hz_save(h, x->arena, b, x->err);
    if (r == 0)
        r = cc_hz_ssh(h, x, b, drop_first, NULL, 0, NULL);
    if (r != 0)
        return r;
    cc_hz_first_key_gone(h, x->arena, b->short_id);
    cc_hz_way_end(h, x, b->short_id); /* it was the first key's: the next proves to have the other */
    return 0;
}

/* ---------------------------------------------------------------- what a machine needs */

static int install_agent(struct cc_hz *h, struct cc_provider_ctx *x, const struct cc_hz_box *b)
{
    const struct cc_carried *agent = cc_carried_find("cchost-agent");

    if (!agent)
        return cc_err_set(x->err, CC_E_INTERNAL, "this binary carries no agent");
    return cc_hz_ssh_persist(h, x, b,
                             "set -e; mkdir -p /usr/local/lib/cchost; cd /usr/local/lib/cchost; cat >agent.new; "
                             "chmod 755 agent.new; mv agent.new cchost-agent",
                             agent->data, agent->len, NULL);
}

/* setup.sh and its parts (providers/image), which server-setup.sh finds there. */
static int install_parts(struct cc_hz *h, struct cc_provider_ctx *x, const struct cc_hz_box *b)
{
    const struct cc_carried *parts = cc_carried_find("image.tar");

    if (!parts)
        return cc_err_set(x->err, CC_E_INTERNAL, "this binary carries no image.tar");
    return cc_hz_ssh(h, x, b, "mkdir -p /usr/local/share/cchost && tar -xf - -C /usr/local/share/cchost", parts->data,
                     parts->len, NULL);
}

static const char *exports_of(struct cc_arena *a, const struct cc_pairs *env)
{
    const char *text = "";
    size_t i;

    for (i = 0; i < env->n; i++)
        text = cc_arena_printf(a, "%sexport %s=%s\n", text, env->v[i].key, cc_ssh_word(a, env->v[i].value));
    return text;
}

static const char *lines_of(struct cc_arena *a, const struct cc_strs *list)
{
    const char *text = "";
    size_t i;

    for (i = 0; i < list->n; i++)
        text = cc_arena_printf(a, "%s%s\n", text, list->v[i]);
    return text;
}

/* server-setup.sh, behind what it is to know. */
static const char *script_of(const struct cc_hz *h, struct cc_arena *a, const struct cc_hz_box *b)
{
    const struct cc_carried *script = cc_carried_find("server-setup.sh");
    const char *mounts = "", *shell = b->spec.shell ? b->spec.shell : h->shell;
    size_t i;

    for (i = 0; i < b->n_mounts; i++)
        mounts = cc_arena_printf(a, "%s /dev/disk/by-id/scsi-0HC_Volume_%lld %s", mounts, (long long)b->mounts[i].id,
                                 cc_ssh_word(a, b->mounts[i].path));
    return cc_arena_printf(
        a,
        "set --%s\nENV_TEXT=%s\nCMD_TEXT=%s\nSHELL_TEXT=%s\nAGENT_KEY=%s\nRING=%u\nSESSIONS=%u\nID_TEXT=%s\n"
        "KEYS_TEXT=%s\nINSTALL=%s\n%s",
        mounts, cc_ssh_word(a, exports_of(a, &b->spec.env)), cc_ssh_word(a, cc_ssh_quote(a, &b->spec.cmd)),
        cc_ssh_word(a, shell ? shell : ""), b->spec.agent_key ? b->spec.agent_key : "", b->spec.ring, b->spec.sessions,
        b->short_id, cc_ssh_word(a, lines_of(a, &b->spec.ssh_keys)), h->install ? "y" : "",
        script ? script->data : "exit 1");
}

int cc_hz_setup(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_hz_box *b)
{
    const char *script;
    int r = install_agent(h, x, b);

    if (r == 0)
        r = install_parts(h, x, b);
    if (r != 0)
        return r;
    script = script_of(h, x->arena, b);
    r = cc_hz_ssh(h, x, b, "sh -s", script, strlen(script), NULL);
    return r == 0 ? cc_hz_save(h, x->arena, b, x->err) : r;
}
