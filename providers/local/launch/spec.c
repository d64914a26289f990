/* spec.c - the wishes, as pairs of strings from fd 3. */
#include "providers/local/launch/box.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void read_all(void *buf, size_t n)
{
    char *at = buf;
    ssize_t r;

    while (n > 0) {
        r = read(CC_LAUNCH_FD, at, n);
        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            box_fail(r < 0 ? errno : 0, "the wishes ended early");
        at += r;
        n -= (size_t)r;
    }
}

static void add(struct box_list *l, const char *key, char *value)
{
    if (l->n == BOX_MANY)
        box_fail(0, "more than %d of %s", BOX_MANY, key);
    l->v[l->n++] = value;
}

static void take(struct box *b, const char *key, char *value)
{
    const struct {
        const char *key;
        char **one;
    } ones[] = {
        { "lock", &b->lock },     { "socket", &b->socket },     { "log", &b->log },     { "agent", &b->agent },
        { "filter", &b->filter }, { "hostname", &b->hostname }, { "uids", &b->uids },   { "cgroup2", &b->cgroup2 },
        { "image", &b->image },   { "upper", &b->upper },       { "tmpfs", &b->tmpfs }, { "net", &b->net },
        { "pasta", &b->pasta },   { "dns", &b->dns },           { "shell", &b->shell }, { "turn", &b->turn },
        { "ssh", &b->ssh },       { "sshd", &b->sshd },         { "port", &b->port },   { "key", &b->key },
        { "ring", &b->ring },     { "sessions", &b->sessions },
    };
    const struct {
        const char *key;
        struct box_list *many;
    } lists[] = {
        { "vlock", &b->vlock }, { "cgroup", &b->cgroup }, { "share", &b->share },
        { "hide", &b->hide },   { "bind", &b->bind },     { "at", &b->at },
        { "block", &b->block }, { "env", &b->env },       { "cmd", &b->cmd },
    };
    size_t i;

    for (i = 0; i < sizeof(ones) / sizeof(*ones); i++)
        if (strcmp(ones[i].key, key) == 0) {
            *ones[i].one = value;
            return;
        }
    for (i = 0; i < sizeof(lists) / sizeof(*lists); i++)
        if (strcmp(lists[i].key, key) == 0) {
            add(lists[i].many, key, value);
            return;
        }
    box_fail(0, "unknown wish \"%s\"", key);
}

void box_read(struct box *b)
{
    uint32_t len;
    char *text, *at, *end, *value;

    memset(b, 0, sizeof(*b));
    read_all(&len, sizeof(len));
    if (len > CC_LAUNCH_SPEC_MAX || !(text = malloc(len + 1)))
        box_fail(0, "%u bytes of wishes", len);
    read_all(text, len);
    text[len] = 0;
    for (at = text, end = text + len; at < end; at = value + strlen(value) + 1) {
        value = at + strlen(at) + 1;
        if (value >= end)
            box_fail(0, "a wish without its value");
        take(b, at, value);
    }
    /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): the wishes point into the text, for as long as the launcher lives */
    if (!b->lock || !b->socket || !b->agent || !b->filter || !b->log || !b->hostname || !b->net ||
        b->bind.n != b->at.n || (b->image && !b->upper) || !b->ssh != !b->sshd)
        box_fail(0, "a wish is missing");
    b->image_fd = b->upper_fd = b->ssh_fd = -1;
    if (b->uids) {
        if (sscanf(b->uids, "%lu %lu", &b->uid_base, &b->uid_count) != 2 || b->uid_count <= CC_LAUNCH_UID + 1)
            box_fail(0, "bad uids \"%s\"", b->uids);
        b->mapped = true;
    }
}
