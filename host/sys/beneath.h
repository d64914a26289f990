/* beneath.h - files beneath one folder, whoever changes what is in it meanwhile.
 *
 * The kernel walks the path (openat2, RESOLVE_BENEATH): a link that stays
 * beneath is followed, one that leaves is refused, and so is "..", also when
 * somebody renames while we look; magic links are never followed.  An absolute
 * link is one that leaves.  What happens to the last name of a path (make,
 * rename, remove) happens in its folder's descriptor, without following.
 * Needs Linux 5.6.  [any thread]
 */
#ifndef CC_BENEATH_H
#define CC_BENEATH_H

#include "host/sys/err.h"

#include <limits.h>

/* A descriptor of the folder itself (O_PATH), or CC_E_*. */
int cc_beneath_root(const char *folder, struct cc_err *err);

/* What is there at `path`, which is "" for the root itself. A descriptor, or CC_E_*: "invalid" for a path that leaves,
 * is too long or makes no sense. Nothing is made: O_CREAT is not for this. */
int cc_beneath_open(int root, const char *path, int flags, struct cc_err *err);

/* A descriptor (O_PATH) of the folder in which the last name of `path` is, or CC_E_*; `last` gets that name, which is
 * none of "", "." and "..". */
int cc_beneath_parent(int root, const char *path, char last[NAME_MAX + 1], struct cc_err *err);

/* The same where the last name is followed as long as it is a link: for a file that is to be written, which no path names that
 * ends in '/'. */
int cc_beneath_target(int root, const char *path, char last[NAME_MAX + 1], struct cc_err *err);

/* The folder at `path` and all above it, made where they are not. 0 or CC_E_*; *made: the last of them was;
 * else something is there, whatever it is. */
int cc_beneath_mkdir(int root, const char *path, bool *made, struct cc_err *err);

/* What is made is given to whom its folder belongs, where we may do so (as root). */
void cc_beneath_own(int folder, const char *name);

/* A sentence and a code for errno `sys` of such a call; returns the code. */
int cc_beneath_fail(int sys, struct cc_err *err);

#endif
