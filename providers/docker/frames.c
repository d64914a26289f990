/* frames.c - the two outputs of a command on one connection: a byte that says which, three of nothing, four of length, and so
 * many of it. */
#include "providers/docker/docker.h"

#include <string.h>

static void head(struct cc_docker_frames *f, const char **p, size_t *n)
{
    size_t some = sizeof(f->head) - f->head_n < *n ? sizeof(f->head) - f->head_n : *n;

    memcpy(f->head + f->head_n, *p, some);
    f->head_n += some;
    *p += some;
    *n -= some;
    if (f->head_n < sizeof(f->head))
        return;
    f->left = (size_t)f->head[4] << 24 | (size_t)f->head[5] << 16 | (size_t)f->head[6] << 8 | f->head[7];
    f->head_n = 0;
}

bool cc_docker_frames_next(struct cc_docker_frames *f, const char **p, size_t *n, struct cc_docker_piece *out)
{
    while (*n > 0 && f->left == 0)
        head(f, p, n);
    if (*n == 0)
        return false;
    *out = (struct cc_docker_piece){ *p, f->left < *n ? f->left : *n, f->head[0] == 2 };
    f->left -= out->n;
    *p += out->n;
    *n -= out->n;
    return true;
}
