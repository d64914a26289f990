/* files.h - small things with files that more than one driver does.
 *
 * A driver's directory is the host's own (0700): whoever else can write there
 * could do anything, so links are refused only where a machine can make one.
 * [worker]
 */
#ifndef CC_PROVIDERS_FILES_H
#define CC_PROVIDERS_FILES_H

#include "host/sys/err.h"
#include "host/sys/pool.h"
#include "providers/arena.h"

#include <stddef.h>

/* The setting "dir" of a driver, made absolute. Longer than `most` it is refused, because of `why`. The caller frees *out. */
int cc_dir_setting(const char *dir, size_t most, const char *why, char **out, struct cc_err *err);

int cc_write_whole(const char *path, const char *text, size_t n, struct cc_err *err); /* temporary name, rename */
/* CC_E_EXISTS: it is there already, whole, and stays as it is, whoever made it, and when. */
int cc_write_once(const char *path, const char *text, size_t n, struct cc_err *err);
char *cc_read_whole(struct cc_arena *a, const char *path, size_t max, size_t *n); /* NULL and errno */
int cc_remove_tree(const char *path);                                             /* 0 or errno */

/* One operation at a time on what `name` stands for, over all processes: the file DIR/locks/NAME. Returns a descriptor whose
 * close ends it, or CC_E_TIMEOUT, CC_E_CANCELLED. */
int cc_name_lock(const char *dir, const char *name, const struct cc_call *call, struct cc_err *err);
void cc_name_unlock_gone(const char *dir, const char *name, int fd); /* its object is no more */

/* A directory that this process opens, as others may (a server, scripts, `provider list`): a descriptor whose close ends that,
 * or an error. sweep(arg) is called when nobody else has it: then what looks half-made is what a killed one has left. */
int cc_dir_share(const char *dir, void (*sweep)(void *arg), void *arg, struct cc_err *err);

/* A program that this binary carries, written once into `dir` under a name made from its content, so that an older host's
 * machines keep theirs; nobody may write to it, and one that is not what it was is written anew. The caller frees *path. */
int cc_carried_install(const char *dir, const char *name, char **path, struct cc_err *err);

#endif
