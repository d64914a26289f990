/* talk.h - requests to a machine's agent over its unix socket, from a pool thread. */
#ifndef CC_PROVIDERS_TALK_H
#define CC_PROVIDERS_TALK_H

#include "providers/provider.h"

/* With x->secret, where there is one; "denied": the agent knows another.
 * "state": nobody listens there. The path's last part is followed through no link. [worker] */
int cc_agent_exec(const char *socket, struct cc_provider_ctx *x, const struct cc_exec_spec *spec,
                  struct cc_exec_result *out);
int cc_agent_activity(const char *socket, struct cc_provider_ctx *x, struct cc_activity *out);

#endif
