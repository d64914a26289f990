/* unix_at.h - a unix socket where somebody else may have put a link.
 *
 * The directory of a machine's socket can be the machine's own (a bind mount):
 * whoever is root inside may put there what leads to another machine's socket,
 * or to one of this host's.  So the file is opened as it is, seen to be a
 * socket, and connected to through that descriptor, which nobody can exchange.
 * What leads to the directory is the host's, and is followed.
 */
#ifndef CC_UNIX_AT_H
#define CC_UNIX_AT_H

#include <sys/un.h>

/* Fills `out` for connect(2), good until the descriptor that is returned is closed; else -errno: -ENOENT, -ELOOP for a link,
 * -ENOTSOCK. Paths may be longer than an address. [any thread] */
int cc_unix_at(const char *path, struct sockaddr_un *out);

#endif
