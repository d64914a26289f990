/* mounts.c - volumes of a machine that is stopped.
 *
 * dockerd cannot change the mounts of a container, so it is exchanged for
 * another whose disk is the first one's: its disk becomes an image (commit), the
 * new container is made from that under the name claude-SHORT.new, the old one
 * removed, the new one renamed.  Cut off anywhere, either the old one is whole
 * (and what is new, container and image, is thrown away by the next exchange,
 * or with the machine) or the new one is (container.c ends the renaming).  Each
 * exchange adds a layer to the disk; at about 120 dockerd refuses ("limit"), and
 * the machine stays as it was.
 */
#include "providers/docker/docker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* claude-disk-SHORT:N -> the next N; 1 where there is none. */
static unsigned next_disk(const struct cc_box *b)
{
    const char *colon = strncmp(b->from, CC_DOCKER_DISK, strlen(CC_DOCKER_DISK)) == 0 ? strchr(b->from, ':') : NULL;

    return colon ? (unsigned)atoi(colon + 1) + 1 : 1;
}

static int commit(struct cc_docker *d, struct cc_provider_ctx *x, struct cc_box *b)
{
    unsigned n = next_disk(b);
    int r = cc_docker_send(d, x, "POST",
                           cc_arena_printf(x->arena,
                                           "/commit?container=claude-%s&repo=" CC_DOCKER_DISK "%s&tag=%u&pause=false",
                                           b->short_id, b->short_id, n),
                           json_object(), "keeping the machine's disk");

    b->from = cc_arena_printf(x->arena, CC_DOCKER_DISK "%s:%u", b->short_id, n);
    return r;
}

static int exchange(struct cc_docker *d, struct cc_provider_ctx *x, struct cc_box *b)
{
    const char *old = cc_arena_printf(x->arena, "claude-%s", b->short_id);
    int r = cc_docker_container_remove(d, x, cc_arena_printf(x->arena, "%s.new", old)), net = -1;
    json_t *doc;

    if (r == 0)
        r = cc_docker_volume_own(d, x, b);
    if (r == 0) /* of an exchange that was cut off: or its image would lose its name to the next one */
        r = cc_docker_disks_drop(d, x, b->short_id, b->from);
    if (r == 0)
        r = commit(d, x, b);
    if (r == 0 && b->net)
        r = cc_docker_net_hold(d, x, b->owner, &net);
    if (r == 0)
        r = cc_docker_container_make(d, x, b, ".new");
    if (net >= 0)
        close(net);
    if (r != 0)
        return r;
    r = cc_docker_container_remove(d, x, old);
    if (r == 0)
        r = cc_docker_exchange_end(d, x, b->short_id, &doc);
    if (r != 0)
        return r;
    json_decref(doc);
    return cc_docker_disks_drop(d, x, b->short_id, b->from);
}

/* The machine as it is; *running: nothing of it can change now. */
static int open_box(struct cc_docker *d, struct cc_provider_ctx *x, const char *short_id, struct cc_box *b,
                    bool *running)
{
    json_t *doc;
    int r = cc_docker_find(d, x, short_id, &doc);

    if (r != 0)
        return r;
    cc_box_of_doc(x->arena, doc, b);
    *running = json_is_true(cc_docker_at(doc, "State.Running"));
    json_decref(doc);
    return 0;
}

static int off(struct cc_provider_ctx *x, const struct cc_box *b, bool running)
{
    return running ? cc_err_set(x->err, CC_E_STATE, "cc-%s runs: stop it first", b->short_id) : 0;
}

/* The volume in question is there, and no other machine that runs has it. */
static int is_free(struct cc_docker *d, struct cc_provider_ctx *x, const char *short_id,
                   const struct cc_mount_spec *volume)
{
    struct cc_box one = { .short_id = short_id, .volumes = volume, .n_volumes = 1 };
    int fd, r = cc_docker_volumes_hold(d, x, &one, &fd);

    if (fd >= 0)
        close(fd);
    return r;
}

int cc_docker_attach(struct cc_docker *d, struct cc_provider_ctx *x, const char *short_id,
                     const struct cc_mount_spec *volume)
{
    struct cc_mount_spec *list;
    struct cc_box b;
    bool running;
    int r = open_box(d, x, short_id, &b, &running);

    if (r == 0)
        r = cc_mounts_check(b.volumes, b.n_volumes, CC_MOUNTS_MAX, volume, x->err);
    if (r == 1)
        return 0;
    if (r == 0)
        r = off(x, &b, running);
    if (r == 0)
        r = is_free(d, x, short_id, volume);
    if (r != 0)
        return r;
    list = cc_arena_alloc(x->arena, (b.n_volumes + 1) * sizeof(*list));
    memcpy(list, b.volumes, b.n_volumes * sizeof(*list));
    list[b.n_volumes++] = *volume;
    b.volumes = list;
    return exchange(d, x, &b);
}

int cc_docker_detach(struct cc_docker *d, struct cc_provider_ctx *x, const char *short_id, const char *volume_id)
{
    struct cc_mount_spec *list;
    struct cc_box b;
    bool running;
    size_t i, n = 0;
    int r = open_box(d, x, short_id, &b, &running);

    if (r != 0)
        return r;
    list = cc_arena_alloc(x->arena, (b.n_volumes + 1) * sizeof(*list));
    for (i = 0; i < b.n_volumes; i++)
        if (strcmp(b.volumes[i].id, volume_id) != 0)
            list[n++] = b.volumes[i];
    if (n == b.n_volumes)
        return 0;
    if ((r = off(x, &b, running)) != 0)
        return r;
    b.volumes = list;
    b.n_volumes = n;
    return exchange(d, x, &b);
}
