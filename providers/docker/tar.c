/* tar.c - a few small files as a tape archive (ustar) in memory: what dockerd takes to put files into a container.
 *
 * Names are ours and short; all belongs to root, and is from the beginning of time.
 */
#include "providers/docker/docker.h"

#include "host/sys/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 512 };

/* `n` more bytes, zero, up to the end of a block. */
static char *grow(struct cc_tar *t, size_t n)
{
    size_t whole = (n + BLOCK - 1) / BLOCK * BLOCK;
    char *at;

    if (t->room - t->n < whole)
        t->data = cc_xrealloc(t->data, t->room = (t->n + whole) * 2);
    at = t->data + t->n;
    memset(at, 0, whole);
    t->n += whole;
    return at;
}

/* The fields of a header, by their places. The sum is of all its bytes, its own being spaces meanwhile. */
static void entry(struct cc_tar *t, char type, const char *name, unsigned mode, size_t size, const char *to)
{
    char *h = grow(t, BLOCK);
    unsigned sum = 0, i;

    snprintf(h, 100, "%s", name);
    snprintf(h + 100, 8, "%07o", mode);
    snprintf(h + 108, 8, "%07o", 0);
    snprintf(h + 116, 8, "%07o", 0);
    snprintf(h + 124, 12, "%011zo", size);
    snprintf(h + 136, 12, "%011o", 0);
    memset(h + 148, ' ', 8);
    h[156] = type;
    snprintf(h + 157, 100, "%s", to);
    memcpy(h + 257, "ustar", 6);
    h[263] = h[264] = '0';
    for (i = 0; i < BLOCK; i++)
        sum += (unsigned char)h[i];
    snprintf(h + 148, 7, "%06o", sum);
}

void cc_tar_folder(struct cc_tar *t, const char *name, unsigned mode) { entry(t, '5', name, mode, 0, ""); }

void cc_tar_link(struct cc_tar *t, const char *name, const char *to) { entry(t, '2', name, 0777, 0, to); }

void cc_tar_file(struct cc_tar *t, const char *name, unsigned mode, const char *data, size_t n)
{
    entry(t, '0', name, mode, n, "");
    memcpy(grow(t, n), data, n);
}

void cc_tar_end(struct cc_tar *t) { grow(t, (size_t)2 * BLOCK); }
