/* activity.h - what an agent said of its machine, read as what anybody may have said.
 *
 * The report comes from inside of a machine, which nobody trusts: what is of
 * a wrong type counts as not said, numbers are brought into their bounds, at
 * most CC_LEASES_MAX leases are looked at, text is made printable.  So there
 * is no report that cannot be read, and none that does harm.
 * Answers live in the arena.  [any thread]
 */
#ifndef CC_ACTIVITY_H
#define CC_ACTIVITY_H

#include "providers/provider.h"

#include <jansson.h>

/* `said`: the JSON of GET /activity (host/agent/agent.h), NULL or anything else: nothing was said. `now`: unix ms. */
void cc_activity_read(const json_t *said, int64_t now, struct cc_arena *a, struct cc_activity *out);

#endif
