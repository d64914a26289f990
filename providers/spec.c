/* spec.c - see spec.h. Ports are not kept: they are nothing of the machine's own files. */
#include "providers/spec.h"

static json_t *pairs_json(const struct cc_pairs *p)
{
    json_t *list = json_array();
    size_t i;

    for (i = 0; i < p->n; i++)
        json_array_append_new(list, json_pack("[s, s]", p->v[i].key, p->v[i].value));
    return list;
}

json_t *cc_spec_json(const struct cc_machine_spec *s)
{
    json_t *cmd = json_array(), *volumes = json_array(), *keys = json_array();
    size_t i;

    for (i = 0; i < s->ssh_keys.n; i++)
        json_array_append_new(keys, json_string(s->ssh_keys.v[i]));

    for (i = 0; i < s->cmd.n; i++)
        json_array_append_new(cmd, json_string(s->cmd.v[i]));
    for (i = 0; i < s->n_volumes; i++)
        json_array_append_new(volumes, json_pack("[s, s]", s->volumes[i].id, s->volumes[i].path));
    return json_pack("{s:s, s:s, s:s, s:s*, s:s*, s:s*, s:s*, s:s*, s:s*, s:f, s:I, s:I, s:s, s:s*, s:s*, s:I, s:I, "
                     "s:o, s:o, s:o, s:o, s:o}",
                     "id", s->id, "short", s->short_id, "name", s->name ? s->name : "", "owner", s->owner, "image",
                     s->image, "type", s->type, "location", s->location, "address", s->address, "user_data",
                     s->user_data, "vcpu", s->vcpu, "memory_mib", (json_int_t)s->memory_mib, "disk_gib",
                     (json_int_t)s->disk_gib, "network", cc_network_word(s->network), "shell", s->shell, "agent_key",
                     s->agent_key, "ring", (json_int_t)s->ring, "sessions", (json_int_t)s->sessions, "env",
                     pairs_json(&s->env), "labels", pairs_json(&s->labels), "cmd", cmd, "volumes", volumes, "ssh_keys",
                     keys);
}

/* ---------------------------------------------------------------- and back */

const char *cc_doc_text(struct cc_arena *a, const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));

    return s ? cc_arena_strdup(a, s) : NULL;
}

uint32_t cc_doc_u32(const json_t *o, const char *key)
{
    json_int_t n = json_integer_value(json_object_get(o, key));

    return n > 0 && n <= UINT32_MAX ? (uint32_t)n : 0;
}

static const char *item(struct cc_arena *a, const json_t *list, size_t i)
{
    const char *s = json_string_value(json_array_get(list, i));

    return cc_arena_strdup(a, s ? s : "");
}

static struct cc_pairs pairs_of(struct cc_arena *a, const json_t *list)
{
    struct cc_pairs p = { NULL, json_array_size(list) };
    struct cc_pair *v = cc_arena_alloc(a, p.n * sizeof(*v) + 1);
    size_t i;

    for (i = 0; i < p.n; i++)
        v[i] = (struct cc_pair){ item(a, json_array_get(list, i), 0), item(a, json_array_get(list, i), 1) };
    p.v = v;
    return p;
}

static struct cc_strs strs_of(struct cc_arena *a, const json_t *list)
{
    size_t i, n = json_array_size(list);
    const char **v = cc_arena_alloc(a, (n + 1) * sizeof(*v));

    for (i = 0; i < n; i++)
        v[i] = item(a, list, i);
    return (struct cc_strs){ v, n };
}

void cc_spec_read(struct cc_arena *a, const json_t *o, struct cc_machine_spec *s)
{
    const json_t *cmd = json_object_get(o, "cmd"), *volumes = json_object_get(o, "volumes");
    const char *network = json_string_value(json_object_get(o, "network"));
    struct cc_mount_spec *mounts = cc_arena_alloc(a, (json_array_size(volumes) + 1) * sizeof(*mounts));
    int net = network ? cc_network_parse(network) : -1;
    size_t i;

    s->id = cc_doc_text(a, o, "id");
    s->short_id = cc_doc_text(a, o, "short");
    s->name = cc_doc_text(a, o, "name");
    s->owner = cc_doc_text(a, o, "owner");
    s->image = cc_doc_text(a, o, "image");
    s->type = cc_doc_text(a, o, "type");
    s->location = cc_doc_text(a, o, "location");
    s->address = cc_doc_text(a, o, "address");
    s->user_data = cc_doc_text(a, o, "user_data");
    s->shell = cc_doc_text(a, o, "shell");
    s->agent_key = cc_doc_text(a, o, "agent_key");
    s->ring = cc_doc_u32(o, "ring");
    s->sessions = cc_doc_u32(o, "sessions");
    s->vcpu = json_number_value(json_object_get(o, "vcpu"));
    s->memory_mib = cc_doc_u32(o, "memory_mib");
    s->disk_gib = cc_doc_u32(o, "disk_gib");
    s->network = net < 0 ? CC_NET_NONE : (enum cc_network)net;
    s->env = pairs_of(a, json_object_get(o, "env"));
    s->labels = pairs_of(a, json_object_get(o, "labels"));
    s->cmd = strs_of(a, cmd);
    s->ssh_keys = strs_of(a, json_object_get(o, "ssh_keys"));
    for (i = 0; i < json_array_size(volumes); i++)
        mounts[i] =
            (struct cc_mount_spec){ item(a, json_array_get(volumes, i), 0), item(a, json_array_get(volumes, i), 1) };
    s->volumes = mounts;
    s->n_volumes = json_array_size(volumes);
}
