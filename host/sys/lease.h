/* lease.h - what a busy lease may look like: "busy until T because R".
 *
 * Shared by the agent, which keeps leases, by cchost-busy, which asks for them,
 * and by the providers, which hear of them from a machine that nobody trusts.
 * A reason is shown to people, so it holds no control character and none that
 * changes the direction of text or cannot be seen.
 * Pure functions, no memory.  [any thread]
 */
#ifndef CC_LEASE_H
#define CC_LEASE_H

#include <stdbool.h>
#include <stddef.h>

/* Where leases are asked for inside of a machine, unless the environment says another place. */
#define CC_BUSY_DIR "/run/cchost"
#define CC_BUSY_SOCKET CC_BUSY_DIR "/busy.sock"
#define CC_BUSY_ENV "CCHOST_BUSY_SOCKET"
#define CC_BUSY_BIN CC_BUSY_DIR "/bin" /* of machines that are given cchost-busy */

#define CC_LEASE_TURN "claude-turn" /* held while a turn of Claude is under way; also with ".SESSION" */

enum {
    CC_LEASES_MAX = 64, /* of a machine */
    CC_LEASE_ID_MAX = 64,
    CC_LEASE_REASON_MAX = 200, /* bytes */
    CC_LEASE_TTL_MAX = 86400   /* seconds */
};

bool cc_lease_id_ok(const char *s, size_t n);     /* letters, digits, "-_.", not first a dot */
bool cc_lease_reason_ok(const char *s, size_t n); /* printable UTF-8, not empty */

/* `s` as printable UTF-8 of at most `max` bytes and a NUL in `out` (room for max + 1): "?" for each byte that is none,
 * cut between characters. Returns its length. */
size_t cc_printable(char *out, size_t max, const char *s, size_t n);

#endif
