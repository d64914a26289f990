/* spawn.h - starting the launcher: ourselves, or by cchost-spawner, outside of our sandbox.
 *
 * [worker]; a start is one connection to the spawner, whose unit it then is.
 */
#ifndef CC_SPAWN_H
#define CC_SPAWN_H

#include "host/sys/err.h"

#include <stddef.h>
#include <sys/types.h>

struct cc_spawn {
    int fd;          /* to the spawner, or -1 */
    pid_t pid;       /* else of our own child */
    int tun;         /* errno of /dev/net/tun there */
    char group[320]; /* a v2 group of the spawner's for it, or "" */
};

/* Asks the spawner at `path` (NULL: there is none, and all is done by ourselves). */
int cc_spawn_open(const char *path, struct cc_spawn *s, struct cc_err *err);
/* `fd` becomes the child's fd 3 (-1: none), `err_fd` its stderr (-1: /dev/null). sets: "FILE=VALUE" of the group, NULL-ended. */
int cc_spawn_start(struct cc_spawn *s, const char *program, const char *const *argv, const char *const *sets, int fd,
                   int err_fd, struct cc_err *err);
void cc_spawn_kill(struct cc_spawn *s); /* unless what it made is on its own already */
int cc_spawn_wait(struct cc_spawn *s);  /* exit status, or -1; closes */
void cc_spawn_drop(struct cc_spawn *s); /* nothing was started */

#endif
