/* fence.c - this host's firewall between machines and this host.
 *
 * dockerd keeps networks from each other, but not from the host: whatever
 * listens here on all addresses could be reached through a network's gateway,
 * and so could a cloud's metadata service.  Our bridges have names of their own
 * (cc-DIGEST), so a rule for "cc-+" closes both: a machine may answer this host,
 * and ask it for nothing.  Names are resolved by dockerd inside the machine's
 * own loopback, which is not touched.
 *
 * The rules are looked at before each machine is put on a network, for a
 * firewall that is loaded anew forgets them; they stay when the last one goes.
 */
#include "providers/docker/docker.h"

#include "host/observe/log.h"
#include "host/sys/process.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BRIDGES "cc-+"
#define IN_CHAIN "CCHOST-IN"
#define OUT_CHAIN "CCHOST-OUT"

enum { WORDS = 24 };

/* iptables -w 5 LINE: its exit code, or -1 and x->err where it cannot be run. */
static int iptables(struct cc_docker *d, struct cc_provider_ctx *x, const char *line)
{
    char *argv[WORDS] = { d->iptables, (char *)"-w", (char *)"5" }, *text = cc_arena_strdup(x->arena, line), *at;
    struct cc_process p = { .argv = argv, .output_max = 4096 };
    int n = 3, r;

    for (at = strtok_r(text, " ", &text); at && n < WORDS - 1; at = strtok_r(NULL, " ", &text))
        argv[n++] = at;
    r = cc_process_run(&p, x->call, x->err);
    if (r == 0 && p.exit_code != 0 && !strstr(line, "-C ") && !strstr(line, "-N "))
        cc_err_set(x->err, CC_E_IO, "iptables %s: %.120s", line, p.err ? p.err : "");
    r = r ? -1 : p.exit_code;
    cc_process_fini(&p);
    return r;
}

/* Where dockerd leaves room for others' rules; another engine has no such chain. */
static const char *forward_chain(struct cc_docker *d, struct cc_provider_ctx *x)
{
    return iptables(d, x, "-n -L DOCKER-USER") == 0 ? "DOCKER-USER" : "FORWARD";
}

#define FROM_INSIDE "-i " BRIDGES " -j "
#define ANSWERS IN_CHAIN " -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN"
#define ASKS IN_CHAIN " -j REJECT"
#define METADATA OUT_CHAIN " -d 169.254.0.0/16 -j REJECT"

static bool has(struct cc_docker *d, struct cc_provider_ctx *x, const char *rule)
{
    return iptables(d, x, cc_arena_printf(x->arena, "-C %s", rule)) == 0;
}

/* One way into a chain, before whatever else the host has there. */
static int lead(struct cc_docker *d, struct cc_provider_ctx *x, const char *from, const char *to)
{
    if (has(d, x, cc_arena_printf(x->arena, "%s " FROM_INSIDE "%s", from, to)))
        return 0;
    return iptables(d, x, cc_arena_printf(x->arena, "-I %s 1 " FROM_INSIDE "%s", from, to));
}

static int make(struct cc_docker *d, struct cc_provider_ctx *x, const char *forward)
{
    static const char *const lines[] = { "-N " IN_CHAIN,  "-F " IN_CHAIN,  "-A " ANSWERS, "-A " ASKS,
                                         "-N " OUT_CHAIN, "-F " OUT_CHAIN, "-A " METADATA };
    size_t i;
    int r = 0;

    for (i = 0; i < sizeof(lines) / sizeof(*lines) && r == 0; i++)
        if ((r = iptables(d, x, lines[i])) != 0 && strncmp(lines[i], "-N", 2) == 0)
            r = 0;
    if (r == 0 && (r = lead(d, x, "INPUT", IN_CHAIN)) == 0)
        r = lead(d, x, forward, OUT_CHAIN);
    return r == 0 ? 0 : x->err->code ? x->err->code : CC_E_IO;
}

/* The chains themselves, too: one that somebody emptied, or that a killed host was about to fill, keeps nobody out. */
static bool stands(struct cc_docker *d, struct cc_provider_ctx *x, const char *forward)
{
    return has(d, x, "INPUT " FROM_INSIDE IN_CHAIN) && has(d, x, ANSWERS) && has(d, x, ASKS) &&
           has(d, x, cc_arena_printf(x->arena, "%s " FROM_INSIDE OUT_CHAIN, forward)) && has(d, x, METADATA);
}

bool cc_docker_fence_stands(struct cc_docker *d, struct cc_provider_ctx *x)
{
    return stands(d, x, forward_chain(d, x));
}

/* With the lock of networks. A fence that cannot be put up is told (capabilities().missing) and keeps nobody from a machine:
 * the setting `firewall` asks for what this host can. */
int cc_docker_fence(struct cc_docker *d, struct cc_provider_ctx *x)
{
    struct cc_docker_after own;
    struct cc_provider_ctx *y;

    if (!d->fence)
        return 0;
    y = cc_docker_after(&own, x, 5000);
    if (cc_docker_fence_stands(d, y))
        return 0;
    if (make(d, y, forward_chain(d, y)) == 0) {
        cc_log(CC_LOG_INFO, "docker",
               "this host's firewall keeps machines from it (chains " IN_CHAIN ", " OUT_CHAIN ")");
        return 0;
    }
    return cc_err_set(
        x->err, CC_E_UNSUPPORTED,
        "machines cannot be kept from this host's own services: %.120s (firewall=off lets them be reached)",
        own.err.message);
}
