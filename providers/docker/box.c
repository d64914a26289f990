/* box.c - what a container of ours is made of, and what a container says of its machine.
 *
 * What cannot be read back from dockerd's own fields stands in labels, so that
 * nothing but dockerd is needed to find a machine again.  User labels are not
 * among them: they change, and labels of containers cannot.
 *
 * Capabilities: all are dropped but those without which an image's own tools do
 * not work as root of the container: owning and changing files of its users
 * (CHOWN, DAC_OVERRIDE, FOWNER, FSETID), becoming them (SETUID, SETGID: our
 * init does), signals to them (KILL), ports below 1024 (NET_BIND_SERVICE).
 * Not NET_RAW: forged packets and ARP replies on the owner's bridge.  Not MKNOD,
 * SETFCAP, SETPCAP, SYS_CHROOT, AUDIT_WRITE: nothing here needs them.
 */
#include "providers/docker/docker.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MIB (1024.0 * 1024.0)

void cc_box_of_spec(const struct cc_docker *d, struct cc_arena *a, const struct cc_machine_spec *s, struct cc_box *out)
{
    *out = (struct cc_box){
        .id = s->id,
        .short_id = s->short_id,
        .name = s->name ? s->name : "",
        .owner = s->owner && *s->owner ? s->owner : "operator",
        .image = s->image && *s->image ? s->image : d->image,
        .address = s->address,
        .vcpu = s->vcpu > 0 ? s->vcpu : d->vcpu,
        .memory_mib = s->memory_mib ? s->memory_mib : d->memory_mib,
        .disk_gib = s->disk_gib ? s->disk_gib : d->disk_gib,
        .pids = d->pids,
        .volumes = s->volumes,
        .n_volumes = s->n_volumes,
        .ports = s->ports,
        .n_ports = s->network == CC_NET_NAT ? s->n_ports : 0,
    };
    out->from = out->image;
    out->net = s->network == CC_NET_NAT ? cc_docker_net_name(a, out->owner) : NULL;
}

bool cc_box_own_volume(const struct cc_box *b)
{
    size_t i;

    for (i = 0; i < b->n_volumes; i++)
        if (strcmp(b->volumes[i].path, CC_DOCKER_OWN_AT) == 0)
            return false;
    return true;
}

/* ---------------------------------------------------------------- to dockerd */

static json_t *volumes_json(const struct cc_box *b)
{
    json_t *list = json_array();
    size_t i;

    for (i = 0; i < b->n_volumes; i++)
        json_array_append_new(list, json_pack("[s,s]", b->volumes[i].id, b->volumes[i].path));
    return list;
}

static json_t *labels(const struct cc_box *b)
{
    json_t *volumes = volumes_json(b), *o;
    char *text = json_dumps(volumes, JSON_COMPACT), disk[16];

    snprintf(disk, sizeof(disk), "%u", b->disk_gib);
    o = json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "cloudcode.managed", "true", "cchost.id", b->id,
                  "cchost.short", b->short_id, "cchost.name", b->name, "cchost.owner", b->owner, "cchost.image",
                  b->image, "cchost.facts", b->facts, "cchost.volumes", text, "cchost.disk", disk);
    json_object_set_new(o, "cchost.net", json_string(b->net ? b->net : ""));
    if (b->address)
        json_object_set_new(o, "cchost.address", json_string(b->address));
    free(text);
    json_decref(volumes);
    return o;
}

static void mount(json_t *list, const char *type, const char *from, const char *to, bool read_only)
{
    json_array_append_new(
        list, json_pack("{s:s,s:s,s:s,s:b}", "Type", type, "Source", from, "Target", to, "ReadOnly", (int)read_only));
}

static json_t *mounts(const struct cc_docker *d, struct cc_arena *a, const struct cc_box *b)
{
    json_t *list = json_array();
    size_t i;

    if (d->near) {
        mount(list, "bind", d->bin, "/run/cchost/bin", true);
        mount(list, "bind", cc_docker_path(d, a, b->short_id, "conf"), "/run/cchost/conf", true);
        mount(list, "bind", cc_docker_path(d, a, b->short_id, "agent"), "/run/cchost/agent", false);
    }
    if (cc_box_own_volume(b))
        mount(list, "volume", cc_docker_own_volume(a, b->short_id), CC_DOCKER_OWN_AT, false);
    for (i = 0; i < b->n_volumes; i++)
        mount(list, "volume", cc_docker_volume_name(a, b->volumes[i].id), b->volumes[i].path, false);
    return list;
}

static void ports(const struct cc_docker *d, const struct cc_box *b, json_t *exposed, json_t *bound)
{
    char key[16], at[8];
    size_t i;

    for (i = 0; i < b->n_ports; i++) {
        snprintf(key, sizeof(key), "%u/tcp", b->ports[i].port);
        snprintf(at, sizeof(at), "%u", b->ports[i].at);
        json_object_set_new(exposed, key, json_object());
        json_object_set_new(bound, key,
                            json_pack("[{s:s,s:s}]", "HostIp", d->ports_address, "HostPort", b->ports[i].at ? at : ""));
    }
}

/* What people call it, as far as it is a host's name. */
static const char *hostname(struct cc_arena *a, const struct cc_box *b)
{
    char *s = cc_arena_strdup(a, b->name);
    size_t n;

    for (n = 0; s[n]; n++)
        s[n] = isalnum((unsigned char)s[n]) ? (char)tolower((unsigned char)s[n]) : '-';
    if (n > 63)
        s[63] = 0;
    while (*s == '-')
        s++;
    for (n = strlen(s); n > 0 && s[n - 1] == '-';)
        s[--n] = 0;
    return *s ? s : cc_arena_printf(a, "claude-%s", b->short_id);
}

static json_t *host_config(const struct cc_docker *d, struct cc_arena *a, const struct cc_box *b, json_t *bound)
{
    json_int_t memory = (json_int_t)b->memory_mib * 1024 * 1024;
    json_t *o = json_pack("{s:I,s:I,s:I,s:I,s:[s],s:[s,s,s,s,s,s,s,s],s:[s],s:s,s:o,s:o,s:{s:s}}", "NanoCpus",
                          (json_int_t)llround(b->vcpu * 1e9), "Memory", memory, "MemorySwap", memory, "PidsLimit",
                          (json_int_t)b->pids, "CapDrop", "ALL", "CapAdd", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID",
                          "KILL", "NET_BIND_SERVICE", "SETGID", "SETUID", "SecurityOpt", "no-new-privileges",
                          "NetworkMode", b->net ? b->net : "none", "PortBindings", bound, "Mounts", mounts(d, a, b),
                          "RestartPolicy", "Name", "no");

    json_object_set_new(
        o, "LogConfig",
        json_pack("{s:s,s:{s:s,s:s}}", "Type", "json-file", "Config", "max-size", "8m", "max-file", "2"));
    if (b->quota)
        json_object_set_new(o, "StorageOpt", json_pack("{s:s}", "size", cc_arena_printf(a, "%uG", b->disk_gib)));
    return o;
}

json_t *cc_box_endpoint(struct cc_arena *a, const struct cc_box *b)
{
    json_t *o = json_pack("{s:[s]}", "Aliases", hostname(a, b));

    if (b->address) {
        char *text = cc_arena_strdup(a, b->address);

        text[strcspn(text, "/")] = 0;
        json_object_set_new(o, "IPAMConfig", json_pack("{s:s}", "IPv4Address", text));
    }
    return o;
}

json_t *cc_box_body(const struct cc_docker *d, const struct cc_box *b)
{
    struct cc_arena a = { 0 };
    json_t *exposed = json_object(), *bound = json_object(), *o;

    ports(d, b, exposed, bound);
    o = json_pack("{s:s,s:s,s:o,s:o,s:o}", "Image", b->from, "Hostname", hostname(&a, b), "Labels", labels(b),
                  "ExposedPorts", exposed, "HostConfig", host_config(d, &a, b, bound));
    json_object_update_new(o,
                           json_pack("{s:s,s:s,s:[s,s,s,s],s:[]}", "User", "0:0", "StopSignal", "SIGTERM", "Entrypoint",
                                     "/run/cchost/bin/cchost-agent", "init", "--listen", CC_DOCKER_SOCKET, "Cmd"));
    if (b->net)
        json_object_set_new(o, "NetworkingConfig",
                            json_pack("{s:{s:o}}", "EndpointsConfig", b->net, cc_box_endpoint(&a, b)));
    cc_arena_free(&a);
    return o;
}

/* ---------------------------------------------------------------- from dockerd */

static const char *kept(struct cc_arena *a, const json_t *labels, const char *key)
{
    const char *s = json_string_value(json_object_get(labels, key));

    return cc_arena_strdup(a, s ? s : "");
}

static void read_volumes(struct cc_arena *a, const char *text, struct cc_box *out)
{
    json_t *list = json_loads(text, 0, NULL);
    struct cc_mount_spec *v = cc_arena_alloc(a, (json_array_size(list) + 1) * sizeof(*v));
    const json_t *row;
    size_t i;

    json_array_foreach (list, i, row) {
        const char *id = json_string_value(json_array_get(row, 0)), *path = json_string_value(json_array_get(row, 1));

        if (id && path)
            v[out->n_volumes++] = (struct cc_mount_spec){ cc_arena_strdup(a, id), cc_arena_strdup(a, path) };
    }
    out->volumes = v;
    json_decref(list);
}

static void read_ports(struct cc_arena *a, const json_t *bound, struct cc_box *out)
{
    struct cc_port_spec *v = cc_arena_alloc(a, (json_object_size(bound) + 1) * sizeof(*v));
    const char *key;
    json_t *list;

    json_object_foreach ((json_t *)bound, key, list)
        v[out->n_ports++] =
            (struct cc_port_spec){ (uint16_t)atoi(key),
                                   (uint16_t)atoi(cc_docker_text(json_array_get(list, 0), "HostPort")) };
    out->ports = v;
}

void cc_box_of_doc(struct cc_arena *a, const json_t *doc, struct cc_box *out)
{
    const json_t *labels = cc_docker_at(doc, "Config.Labels"), *host = json_object_get(doc, "HostConfig");
    const char *net = kept(a, labels, "cchost.net"), *address = kept(a, labels, "cchost.address");

    *out = (struct cc_box){
        .id = kept(a, labels, "cchost.id"),
        .short_id = kept(a, labels, "cchost.short"),
        .name = kept(a, labels, "cchost.name"),
        .owner = kept(a, labels, "cchost.owner"),
        .image = kept(a, labels, "cchost.image"),
        .from = cc_arena_strdup(a, cc_docker_text(doc, "Config.Image")),
        .facts = kept(a, labels, "cchost.facts"),
        .net = *net ? net : NULL,
        .address = *address ? address : NULL,
        .vcpu = (double)json_integer_value(json_object_get(host, "NanoCpus")) / 1e9,
        .memory_mib = (uint32_t)((double)json_integer_value(json_object_get(host, "Memory")) / MIB),
        .disk_gib = (uint32_t)atoi(kept(a, labels, "cchost.disk")),
        .pids = (uint32_t)json_integer_value(json_object_get(host, "PidsLimit")),
        .quota = *cc_docker_text(host, "StorageOpt.size") != 0,
    };
    read_volumes(a, kept(a, labels, "cchost.volumes"), out);
    read_ports(a, json_object_get(host, "PortBindings"), out);
}

/* "2024-05-06T07:08:09.123456789Z" -> unix ms; 0 for what is none. */
static int64_t time_of(const char *s)
{
    struct tm t = { 0 };
    double sec = 0;
    int n = sscanf(s, "%4d-%2d-%2dT%2d:%2d:%lf", &t.tm_year, &t.tm_mon, &t.tm_mday, &t.tm_hour, &t.tm_min, &sec);

    if (n != 6 || t.tm_year < 1971)
        return 0;
    t.tm_year -= 1900;
    t.tm_mon--;
    return (int64_t)timegm(&t) * 1000 + (int64_t)(sec * 1000);
}

/* A container that is frozen does no more than one that is stopped, and "created" is half-made: create completes it. */
static enum cc_machine_state state_of(const char *word)
{
    static const struct {
        const char *word;
        enum cc_machine_state state;
    } words[] = { { "running", CC_M_RUNNING },     { "exited", CC_M_STOPPED },   { "created", CC_M_STOPPED },
                  { "paused", CC_M_STOPPED },      { "stopped", CC_M_STOPPED },  { "configured", CC_M_STOPPED },
                  { "initialized", CC_M_STOPPED }, { "stopping", CC_M_RUNNING }, { "restarting", CC_M_STARTING } };
    size_t i;

    for (i = 0; i < sizeof(words) / sizeof(*words); i++)
        if (strcmp(words[i].word, word) == 0)
            return words[i].state;
    return CC_M_ERROR;
}

static const char *first_address(struct cc_arena *a, const json_t *networks)
{
    const char *key, *s;
    json_t *v;

    json_object_foreach ((json_t *)networks, key, v) {
        (void)key;
        s = cc_docker_text(v, "IPAddress");
        if (*s)
            return cc_arena_strdup(a, s);
    }
    return NULL;
}

/* As dockerd has published them: those that were asked for "anywhere" are somewhere now. */
static void published(struct cc_arena *a, const json_t *ports, struct cc_machine_info *out)
{
    struct cc_port_spec *v = cc_arena_alloc(a, (json_object_size(ports) + 1) * sizeof(*v));
    const char *key;
    json_t *list;

    json_object_foreach ((json_t *)ports, key, list) {
        const json_t *one = json_array_get(list, 0);

        if (!one)
            continue; /* the image exposes it, and nobody asked for it */
        v[out->n_ports++] =
            (struct cc_port_spec){ (uint16_t)atoi(key), (uint16_t)atoi(cc_docker_text(one, "HostPort")) };
        out->ports_address = cc_arena_strdup(a, cc_docker_text(one, "HostIp"));
    }
    out->ports = v;
}

static void miss(struct cc_arena *a, struct cc_machine_info *out, const char *what, const char *why)
{
    struct cc_unenforced *v = (struct cc_unenforced *)out->unenforced;

    if (!v)
        out->unenforced = v = cc_arena_alloc(a, 8 * sizeof(*v));
    v[out->n_unenforced++] = (struct cc_unenforced){ what, why };
}

static const char no_ssh[] = "machines on docker have no way in for ssh: the terminal (cchost attach, /ws) is theirs";

static void unenforced(struct cc_docker *d, struct cc_arena *a, const struct cc_box *b, struct cc_machine_info *out)
{
    struct cc_docker_host host;

    pthread_mutex_lock(&d->lock);
    host = d->host;
    pthread_mutex_unlock(&d->lock);
    if (!b->quota)
        miss(a, out, "disk",
             cc_arena_printf(a, "docker's storage driver %s holds nobody to a size here", host.storage));
    if (host.known && !host.memory)
        miss(a, out, "memory", "dockerd's host has no control group for memory");
    if (host.known && !host.cpu)
        miss(a, out, "vcpu", "dockerd's host has no control group for processors");
    if (host.known && !host.pids)
        miss(a, out, "pids", "dockerd's host has no control group for processes");
    if (cc_docker_has_ssh_keys(d, a, b->short_id)) {
        out->ssh.why = no_ssh;
        miss(a, out, "ssh", no_ssh);
    }
}

void cc_box_info(struct cc_docker *d, struct cc_arena *a, const json_t *doc, struct cc_machine_info *out)
{
    const char *health = cc_docker_text(doc, "State.Health.Status"), *error = cc_docker_text(doc, "State.Error");
    struct cc_box b;

    cc_box_of_doc(a, doc, &b);
    *out = (struct cc_machine_info){
        .provider_id = cc_arena_printf(a, "cc-%s", b.short_id),
        .id = b.id,
        .name = b.name,
        .image = b.image,
        .state = state_of(cc_docker_text(doc, "State.Status")),
        .vcpu = b.vcpu,
        .memory_mib = b.memory_mib,
        .disk_gib = b.quota ? b.disk_gib : 0,
        .pids = b.pids,
        .health = *health && strcmp(health, "none") != 0 ? cc_arena_strdup(a, health) : NULL,
    };
    if (out->state == CC_M_RUNNING) {
        out->started_at = time_of(cc_docker_text(doc, "State.StartedAt"));
        out->address = first_address(a, cc_docker_at(doc, "NetworkSettings.Networks"));
        published(a, cc_docker_at(doc, "NetworkSettings.Ports"), out);
    } else {
        out->health = NULL;
    }
    if (out->state == CC_M_ERROR)
        out->reason = cc_arena_printf(a, "dockerd calls it %s%s%s", cc_docker_text(doc, "State.Status"),
                                      *error ? ": " : "", error);
    out->socket = cc_docker_path(d, a, b.short_id, "agent/agent.sock");
    unenforced(d, a, &b, out);
}

void cc_box_listed(struct cc_arena *a, const json_t *row, struct cc_machine_info *out)
{
    const json_t *labels = json_object_get(row, "Labels");

    *out = (struct cc_machine_info){
        .provider_id = cc_arena_printf(a, "cc-%s", kept(a, labels, "cchost.short")),
        .id = kept(a, labels, "cchost.id"),
        .name = kept(a, labels, "cchost.name"),
        .image = kept(a, labels, "cchost.image"),
        .state = state_of(cc_docker_text(row, "State")),
    };
    if (out->state == CC_M_RUNNING) {
        const char *status = cc_docker_text(row, "Status");

        out->address = first_address(a, cc_docker_at(row, "NetworkSettings.Networks"));
        out->health = strstr(status, "(unhealthy)") ? "unhealthy" : strstr(status, "(healthy)") ? "healthy" : NULL;
    }
    if (out->state == CC_M_ERROR)
        out->reason = cc_arena_printf(a, "dockerd calls it %s", cc_docker_text(row, "State"));
}
