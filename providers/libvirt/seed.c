/* seed.c - what a guest reads at its boots: a small ISO that cloud-init knows as "NoCloud" (label cidata).
 *
 *   meta-data, user-data                cloud-init's own; it runs boot.sh at every boot, whatever else it is told
 *   boot.sh                             providers/image/boot.sh
 *   image.tar                           setup.sh and its parts, which are the same on every machine
 *   volumes                             "SERIAL PATH" of each disk to be mounted
 *   network, network-config             its address in its owner's network, for boot.sh and for cloud-init; only there
 *   keys                                who may log in as claude
 *   machine.json                        cmd, env, shell: host/agent/conf.h
 *   host_key, host                      of the sshd behind the virtio port, and the key that may use it
 *   cchost-agent                        the agent
 * Written anew at each start, from the description.
 */
#include "providers/libvirt/libvirt.h"

#include "host/script/carried.h"
#include "providers/files.h"
#include "providers/user_data.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct seed {
    struct cc_provider_ctx *x;
    const char *dir;
    int r;
};

static void put(struct seed *s, const char *name, const char *text, size_t n)
{
    if (s->r == 0)
        s->r = cc_write_whole(cc_arena_printf(s->x->arena, "%s/%s", s->dir, name), text, n, s->x->err);
}

/* JSON is YAML. */
static void put_json(struct seed *s, const char *name, const char *head, json_t *doc)
{
    char *text = json_dumps(doc, JSON_COMPACT),
         *whole = text ? cc_arena_printf(s->x->arena, "%s%s\n", head, text) : NULL;

    if (whole)
        put(s, name, whole, strlen(whole));
    else if (s->r == 0)
        s->r = cc_err_set(s->x->err, CC_E_INVALID, "the description is no text in UTF-8");
    free(text);
    json_decref(doc);
}

static void put_volumes(struct seed *s, const struct cc_box *b)
{
    const char *text = "";
    size_t i;

    for (i = 0; i < b->n_volumes; i++)
        text = cc_arena_printf(s->x->arena, "%s%s %s\n", text, cc_box_serial(s->x->arena, b->volumes[i].id),
                               b->volumes[i].path);
    put(s, "volumes", text, strlen(text));
}

static json_t *words(const struct cc_strs *v)
{
    json_t *list = json_array();
    size_t i;

    for (i = 0; i < v->n; i++)
        json_array_append_new(list, json_string(v->v[i]));
    return list;
}

static json_t *names(const struct cc_pairs *p)
{
    json_t *map = json_object();
    size_t i;

    for (i = 0; i < p->n; i++)
        json_object_set_new(map, p->v[i].key, json_string(p->v[i].value));
    return map;
}

static void put_spec(const struct cc_libvirt *v, struct seed *s, const struct cc_machine_spec *spec)
{
    const char *keys = "", *shell = spec->shell ? spec->shell : v->shell;
    size_t i;

    for (i = 0; i < spec->ssh_keys.n; i++)
        keys = cc_arena_printf(s->x->arena, "%s%s\n", keys, spec->ssh_keys.v[i]);
    put(s, "keys", keys, strlen(keys));
    put_json(s, "machine.json", "",
             json_pack("{s:o?,s:o,s:s?,s:s?,s:I,s:I,s:s,s:i,s:i}", "cmd", spec->cmd.n ? words(&spec->cmd) : NULL, "env",
                       names(&spec->env), "shell", shell, "key", spec->agent_key, "ring", (json_int_t)spec->ring,
                       "sessions", (json_int_t)spec->sessions, "user", "claude", "stop_signal", 15, "grace_ms", 10000));
}

/* A file of the host's, as it is. */
static void put_file(struct seed *s, const char *name, const char *path)
{
    size_t n;
    char *text = s->r == 0 ? cc_read_whole(s->x->arena, path, 65536, &n) : NULL;

    if (text)
        put(s, name, text, n);
    else if (s->r == 0)
        s->r = cc_err_sys(s->x->err, errno, "reading %s", path);
}

static void put_cloud_init(struct seed *s, const struct cc_box *b, const struct cc_machine_spec *spec)
{
    static const char ours[] = "#cloud-config\n"
                               "merge_how: " CC_USER_DATA_MERGE "\n"
                               "ssh_pwauth: false\n"
                               "bootcmd:\n"
                               "- mkdir -p -m 755 /run/cchost\n"
                               "- mkdir -p -m 700 /run/cchost/private\n"
                               "- mkdir -p /run/cchost/private/seed\n"
                               "- mount -o ro -L cidata /run/cchost/private/seed\n"
                               "- sh /run/cchost/private/seed/boot.sh\n";
    const char *text = ours;

    if (spec->user_data && *spec->user_data)
        text = cc_user_data_join(s->x->arena, ours, spec->user_data, s->x->err);
    if (!text) {
        s->r = s->x->err->code;
        return;
    }
    put(s, "user-data", text, strlen(text));
    put_json(s, "meta-data", "",
             json_pack("{s:s,s:s}", "instance-id", b->id, "local-hostname", b->name ? b->name : b->short_id));
}

/* Nothing in a network of its owner's hands out addresses: each guest is told its own. */
static void put_network(struct seed *s, const struct cc_machine_spec *spec)
{
    const struct cc_vpc_spec *n = &spec->vpc;
    json_t *routes = json_array();
    const char *text =
        cc_arena_printf(s->x->arena, "%s %s %s %s\n", n->mac, spec->address, n->gateway, n->cidr ? n->cidr : "");

    put(s, "network", text, strlen(text));
    if (n->cidr)
        json_array_append_new(routes, json_pack("{s:s,s:s}", "to", n->cidr, "via", n->gateway));
    put_json(s, "network-config", "",
             json_pack("{s:i,s:{s:{s:{s:s},s:b,s:b,s:[s],s:o}}}", "version", 2, "ethernets", "vpc", "match",
                       "macaddress", n->mac, "dhcp4", 0, "dhcp6", 0, "addresses", spec->address, "routes", routes));
}

static void put_carried(struct seed *s, const char *name)
{
    const struct cc_carried *c = cc_carried_find(name);

    if (c)
        put(s, name, c->data, c->len);
    else if (s->r == 0)
        s->r = cc_err_set(s->x->err, CC_E_INTERNAL, "this program carries no %s", name);
}

int cc_seed_write(const struct cc_libvirt *v, struct cc_provider_ctx *x, const struct cc_box *b,
                  const struct cc_machine_spec *spec)
{
    struct cc_arena *a = x->arena;
    const char *at = cc_arena_printf(a, "%s/machines/%s", v->dir, b->short_id),
               *iso = cc_arena_printf(a, "%s/seed.iso", at), *made = cc_arena_printf(a, "%s.new", iso);
    struct seed s = { .x = x, .dir = cc_arena_printf(a, "%s/seed", at) };

    cc_remove_tree(s.dir);
    if (mkdir(s.dir, 0700) != 0)
        return cc_err_sys(x->err, errno, "making %s", s.dir);
    put_cloud_init(&s, b, spec);
    if (spec->network == CC_NET_VPC)
        put_network(&s, spec);
    put_spec(v, &s, spec);
    if (s.r == 0)
        s.r = cc_way_host_key(v, x, b->short_id);
    put_file(&s, "host_key", cc_arena_printf(a, "%s/host_key", at));
    put_file(&s, "host", cc_arena_printf(a, "%s/key.pub", v->dir));
    put_volumes(&s, b);
    put_carried(&s, "boot.sh");
    put_carried(&s, "image.tar");
    put_carried(&s, "cchost-agent");
    if (s.r == 0)
        s.r = CC_TOOL(x, NULL, "genisoimage", "-quiet", "-r", "-J", "-V", "cidata", "-o", made, s.dir);
    cc_remove_tree(s.dir);
    if (s.r == 0 && rename(made, iso) != 0)
        s.r = cc_err_sys(x->err, errno, "renaming %s", made);
    if (s.r != 0)
        unlink(made);
    return s.r;
}
