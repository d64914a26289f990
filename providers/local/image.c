/* image.c - root file systems: the host's own, a directory, or a tar.
 *
 * A tar is unpacked once, by the system's tar with an argument vector, into a
 * directory named after the file's path, size, time and inode, and shared
 * read-only by all machines of it; each keeps its changes in an overlay of its
 * own.  A directory is used as it stands and must not change meanwhile.
 */
#include "providers/local/local.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_host(const char *image) { return strcmp(image, "host") == 0; }

int cc_image_check(const char *image, struct cc_err *err)
{
    struct stat st;

    if (is_host(image))
        return 0;
    if (image[0] != '/')
        return cc_err_set(err, CC_E_NOT_FOUND,
                          "no image \"%.100s\": it is \"host\", or the absolute path of a "
                          "directory or tar",
                          image);
    if (stat(image, &st) != 0)
        return cc_err_set(err, CC_E_NOT_FOUND, "no image \"%.150s\"", image);
    if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
        return cc_err_set(err, CC_E_INVALID, "image \"%.150s\" is neither a directory nor a tar", image);
    return 0;
}

static const char *key_of(struct cc_arena *a, const char *image, const struct stat *st)
{
    unsigned long long h = 0xcbf29ce484222325ull;
    const char *s;

    for (s = image; *s; s++)
        h = (h ^ (unsigned char)*s) * 0x100000001b3ull;
    return cc_arena_printf(a, "%016llx-%llx-%llx-%lld.%ld", h, (unsigned long long)st->st_ino,
                           (unsigned long long)st->st_size, (long long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec);
}

static int unpack(const struct cc_local *l, struct cc_provider_ctx *x, const char *image, const char *to)
{
    const char *tmp = cc_arena_printf(x->arena, "%s.new", to);
    const char *argv[] = { "/usr/bin/env",
                           "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
                           "tar",
                           "--numeric-owner",
                           "-x",
                           "-p",
                           "--no-acls",
                           "--no-selinux",
                           "--exclude=./dev/*",
                           "--exclude=dev/*",
                           "-C",
                           tmp,
                           "-f",
                           image,
                           NULL };
    char text[200];
    int r;

    if ((r = cc_remove_tree(tmp)) != 0 || mkdir(tmp, 0755) != 0)
        return cc_err_sys(x->err, r ? r : errno, "unpacking the image");
    if (cc_local_run(NULL, argv, text, sizeof(text)) != 0) {
        cc_remove_tree(tmp);
        text[strcspn(text, "\n")] = 0;
        return cc_err_set(x->err, CC_E_INVALID, "unpacking image %.80s: %.120s", image, text);
    }
    if (chmod(tmp, 0755) != 0 || rename(tmp, to) != 0)
        return cc_err_sys(x->err, errno, "unpacking the image");
    (void)l;
    return 0;
}

int cc_image_root(const struct cc_local *l, struct cc_provider_ctx *x, const char *image, const char **root)
{
    const char *key, *to;
    struct stat st, there;
    int fd, r;

    *root = NULL;
    if (is_host(image))
        return 0;
    if ((r = cc_image_check(image, x->err)) != 0)
        return r;
    if (stat(image, &st) != 0)
        return cc_err_sys(x->err, errno, "image %s", image);
    if (S_ISDIR(st.st_mode)) {
        *root = cc_arena_strdup(x->arena, image);
        return 0;
    }
    key = key_of(x->arena, image, &st);
    to = cc_arena_printf(x->arena, "%s/images/%s", l->dir, key);
    *root = to;
    if (stat(to, &there) == 0)
        return 0;
    if ((fd = cc_name_lock(l->dir, cc_arena_printf(x->arena, "image-%s", key), x->call, x->err)) < 0)
        return fd;
    r = stat(to, &there) == 0 ? 0 : unpack(l, x, image, to);
    cc_name_unlock_gone(l->dir, cc_arena_printf(x->arena, "image-%s", key), fd);
    return r;
}
