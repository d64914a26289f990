/* way.c - the way into a guest: ssh over its virtio port.
 *
 * No network is needed and none can be listened to: qemu's end of the port is
 * a unix socket in the machine's directory, the guest's agent runs an sshd
 * behind it (boot.sh, host/agent/port.c).  Its host key is made here and
 * given by the seed, so it is known beforehand.
 */
#include "providers/libvirt/libvirt.h"

#include "host/sys/clock.h"
#include "providers/files.h"
#include "providers/host_key.h"
#include "providers/rest.h"
#include "providers/ssh.h"
#include "providers/talk.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define AGENT_SOCKET "/run/cchost/agent/agent.sock"

/* A pair of keys at `path` and `path`.pub, unless they are there; the public one is written last. */
static int make_keys(const char *path, struct cc_err *err)
{
    char secret[CC_HOST_KEY_MAX], open[CC_HOST_KEY_MAX], pub[600];
    int r;

    snprintf(pub, sizeof(pub), "%s.pub", path);
    if (access(pub, R_OK) == 0)
        return 0;
    if (cc_host_key_make(secret, open) != 0)
        return cc_err_set(err, CC_E_INTERNAL, "no key of ssh can be made");
    r = cc_write_whole(path, secret, strlen(secret), err);
    return r ? r : cc_write_whole(pub, open, strlen(open), err);
}

int cc_way_keys(const struct cc_libvirt *v, struct cc_err *err)
{
    char path[512];

    snprintf(path, sizeof(path), "%s/key", v->dir);
    return make_keys(path, err);
}

int cc_way_host_key(const struct cc_libvirt *v, struct cc_provider_ctx *x, const char *short_id)
{
    return make_keys(cc_arena_printf(x->arena, "%s/machines/%s/host_key", v->dir, short_id), x->err);
}

static int target(const struct cc_libvirt *v, struct cc_provider_ctx *x, const char *short_id, struct cc_ssh_target *t)
{
    const char *dir = cc_arena_printf(x->arena, "%s/machines/%s", v->dir, short_id);
    size_t n;
    char *key = cc_read_whole(x->arena, cc_arena_printf(x->arena, "%s/host_key.pub", dir), 4096, &n);

    if (!key)
        return cc_err_set(x->err, CC_E_NOT_FOUND, "the host key of cc-%s is not on this host", short_id);
    key[strcspn(key, "\n")] = 0;
    *t = (struct cc_ssh_target){
        .dir = dir,
        .locks = v->dir,
        .key = cc_arena_printf(x->arena, "%s/key", v->dir),
        .user = "root",
        .host = cc_arena_printf(x->arena, "cc-%s", short_id),
        .host_key = key,
        .proxy = cc_arena_printf(x->arena, "'%s' dial '%s/port.sock'", v->agent, dir),
        .agent = AGENT_SOCKET,
    };
    return 0;
}

int cc_way_open(const struct cc_libvirt *v, struct cc_provider_ctx *x, const char *short_id, const char **socket)
{
    struct cc_ssh_target t;
    int r = target(v, x, short_id, &t);

    if (r == 0)
        r = cc_ssh_open(&t, x, 10);
    *socket = r == 0 ? cc_ssh_socket(x->arena, t.dir) : NULL;
    return r;
}

void cc_way_close(const struct cc_libvirt *v, struct cc_provider_ctx *x, const char *short_id)
{
    struct cc_provider_ctx quiet = *x;
    struct cc_ssh_target t;
    struct cc_err dropped;

    quiet.err = &dropped;
    if (target(v, &quiet, short_id, &t) == 0)
        cc_ssh_end(&t, &quiet);
}

/* Until the agent answers: only then is a machine usable. */
int cc_way_await(const struct cc_libvirt *v, struct cc_provider_ctx *x, virDomainPtr d, const char *short_id)
{
    struct cc_activity activity;
    const char *socket, *why;
    int r, late;

    for (;;) {
        r = cc_way_open(v, x, short_id, &socket);
        if (r == 0)
            r = cc_agent_activity(socket, x, &activity);
        if (r == 0 || r == CC_E_DENIED || r == CC_E_UNSUPPORTED || r == CC_E_CANCELLED)
            return r;
        why = cc_arena_strdup(x->arena, x->err->message);
        if (cc_domain_is_off(x, d) == 1) /* an error: the guest needs no libvirtd to answer us */
            return cc_err_set(x->err, CC_E_IO, "the guest went off while it booted; its console.log tells more");
        if ((late = cc_rest_pause(x, 100)) != 0)
            return cc_err_set(x->err, late, "the guest does not answer: %s", why);
    }
}
