/* settings.c - settings of `docker`: where dockerd is, as its own client has it, and what machines get. */
#include "providers/docker/docker.h"

#include "host/sys/mem.h"
#include "providers/files.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int known(const struct cc_pairs *p, struct cc_err *err)
{
    static const char *const keys[] = { "dir",      "host",     "tls_verify",    "cert_path",
                                        "image",    "subnets",  "subnet_bits",   "ports_address",
                                        "firewall", "iptables", "pids",          "memory_mib",
                                        "disk_gib", "vcpu",     "stop_grace_ms", "shell" };
    size_t i, k;

    for (i = 0; i < p->n; i++) {
        for (k = 0; k < sizeof(keys) / sizeof(*keys); k++)
            if (strcmp(p->v[i].key, keys[k]) == 0)
                break;
        if (k == sizeof(keys) / sizeof(*keys))
            return cc_err_set(err, CC_E_INVALID, "provider docker: unknown setting \"%s\"", p->v[i].key);
    }
    return 0;
}

static int number(const struct cc_pairs *p, const char *key, unsigned long other, unsigned long most, uint32_t *out,
                  struct cc_err *err)
{
    const char *text = cc_pairs_get(p, key, NULL);
    unsigned long n = other;
    char *end;

    if (text) {
        errno = 0;
        n = strtoul(text, &end, 10);
        if (errno || *end || end == text || *text == '-' || n > most)
            return cc_err_set(err, CC_E_INVALID, "provider docker: %s must be a number up to %lu, not \"%s\"", key,
                              most, text);
    }
    *out = (uint32_t)n;
    return 0;
}

/* "10.201.0.0/16", to be cut into pieces of subnet_bits. */
static int subnets(struct cc_docker *d, const struct cc_pairs *p, struct cc_err *err)
{
    const char *text = cc_pairs_get(p, "subnets", "10.201.0.0/16"), *slash = strchr(text, '/');
    char address[32];
    struct in_addr in;
    char *end = NULL;
    unsigned long bits = slash ? strtoul(slash + 1, &end, 10) : 0;
    int r = number(p, "subnet_bits", 26, 30, &d->net_cut, err);

    if (r != 0)
        return r;
    snprintf(address, sizeof(address), "%.*s", slash ? (int)(slash - text) : 0, text);
    if (!slash || *end || bits < 8 || bits > d->net_cut || inet_pton(AF_INET, address, &in) != 1)
        return cc_err_set(err, CC_E_INVALID,
                          "provider docker: subnets must be a network like 10.201.0.0/16, not \"%s\"", text);
    d->net_bits = (uint32_t)bits;
    d->net = ntohl(in.s_addr) & ~(uint32_t)((1ull << (32 - bits)) - 1);
    return 0;
}

static int with_tls(struct cc_docker *d, const struct cc_pairs *p, const char *where, struct cc_err *err)
{
    const char *certs = cc_pairs_get(p, "cert_path", NULL), *verify = cc_pairs_get(p, "tls_verify", ""), *home;
    bool tls = (certs && *certs) || (*verify && strcmp(verify, "0") != 0);
    char *base = cc_xasprintf("%s://%s", tls ? "https" : "http", where);
    char *folder = certs && *certs           ? cc_xstrdup(certs)
                   : (home = getenv("HOME")) ? cc_xasprintf("%s/.docker", home)
                                             : cc_xstrdup(".docker");
    char *ca = cc_xasprintf("%s/ca.pem", folder), *cert = cc_xasprintf("%s/cert.pem", folder),
         *key = cc_xasprintf("%s/key.pem", folder);
    struct cc_rest_opts o = { .base = base, .agent = "cchost" };

    if (tls)
        o.ca = ca, o.cert = cert, o.key = key; /* the peer is verified always: tls_verify empty is no way around it */
    d->rest = cc_rest_open(&o, err);
    free(base), free(folder), free(ca), free(cert), free(key);
    return d->rest ? 0 : CC_E_INVALID;
}

static int place(struct cc_docker *d, const struct cc_pairs *p, struct cc_err *err)
{
    const char *host = cc_pairs_get(p, "host", "unix:///var/run/docker.sock");
    struct cc_rest_opts o = { .base = "http://localhost", .agent = "cchost" };

    if (strncmp(host, "tcp://", 6) == 0 && host[6])
        return with_tls(d, p, host + 6, err);
    if (strncmp(host, "unix://", 7) != 0 || host[7] != '/')
        return cc_err_set(err, CC_E_INVALID,
                          "provider docker: host must be unix:///path or tcp://host:port, not \"%.80s\"", host);
    o.unix_path = host + 7;
    d->near = true;
    d->hosts_socket = cc_xstrdup(host + 7);
    d->rest = cc_rest_open(&o, err);
    return d->rest ? 0 : err->code;
}

static int firewall(struct cc_docker *d, const struct cc_pairs *p, struct cc_err *err)
{
    const char *word = cc_pairs_get(p, "firewall", "on");

    if (strcmp(word, "on") != 0 && strcmp(word, "off") != 0)
        return cc_err_set(err, CC_E_INVALID, "provider docker: firewall must be on or off, not \"%.20s\"", word);
    d->fence = d->near && strcmp(word, "on") == 0;
    d->iptables = cc_xstrdup(cc_pairs_get(p, "iptables", "iptables"));
    return 0;
}

static int address(struct cc_docker *d, const struct cc_pairs *p, struct cc_err *err)
{
    const char *text = cc_pairs_get(p, "ports_address", "127.0.0.1");
    struct in_addr in;

    if (inet_pton(AF_INET, text, &in) != 1)
        return cc_err_set(err, CC_E_INVALID, "provider docker: ports_address must be an IPv4 address, not \"%.60s\"",
                          text);
    d->ports_address = cc_xstrdup(text);
    return 0;
}

int cc_docker_settings(struct cc_docker *d, const struct cc_pairs *p, struct cc_err *err)
{
    uint32_t vcpu = 1;
    int r = known(p, err);

    if (r == 0)
        r = cc_dir_setting(cc_pairs_get(p, "dir", NULL), 200, "sockets of agents are below it", &d->dir, err);
    if (r == 0)
        r = subnets(d, p, err);
    if (r == 0)
        r = number(p, "pids", 4096, 4000000, &d->pids, err);
    if (r == 0)
        r = number(p, "memory_mib", 2048, 64ul * 1024 * 1024, &d->memory_mib, err);
    if (r == 0)
        r = number(p, "disk_gib", 10, 1000000, &d->disk_gib, err);
    if (r == 0)
        r = number(p, "vcpu", 1, 1024, &vcpu, err);
    if (r == 0)
        r = number(p, "stop_grace_ms", 5000, 600000, &d->stop_grace_ms, err);
    if (r == 0)
        r = address(d, p, err);
    if (r == 0)
        r = place(d, p, err);
    if (r == 0)
        r = firewall(d, p, err);
    d->vcpu = vcpu;
    d->image = cc_xstrdup(cc_pairs_get(p, "image", "claude-instance"));
    if (cc_pairs_get(p, "shell", NULL))
        d->shell = cc_xstrdup(cc_pairs_get(p, "shell", NULL));
    return r;
}
