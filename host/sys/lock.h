/* lock.h - a file whose lock says "somebody is at work here".
 *
 * The lock is flock(2)'s: it belongs to the open file, so it ends with the
 * process however that ends, and two takers in one process exclude each
 * other as well.  The file itself stays and says nothing; whoever removes it
 * must hold its lock.  [any thread]
 */
#ifndef CC_LOCK_H
#define CC_LOCK_H

#include <stdbool.h>

struct cc_err;

/* Makes the file (0600, no symbolic link) when it is not there, tries for `patience_ms` (at least 20). 0 and a file to be closed, which
 * gives the lock back; CC_E_EXISTS: somebody else holds it; or what failed. */
int cc_lock_take(const char *path, unsigned patience_ms, int *fd, struct cc_err *err);

/* Whether somebody holds it; a file that is not there is held by nobody. */
int cc_lock_held(const char *path, bool *held, struct cc_err *err);

#endif
