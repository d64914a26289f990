/* tool.h - runs one of the system's own programs: words up to NULL, never a shell.
 *
 * 0; "unsupported" when there is no such program; "io" with the first line of what it complained when it failed, unless
 * `result` is wanted, which then says how it ended and what it said, in the call's arena.  [worker]
 */
#ifndef CC_TOOL_H
#define CC_TOOL_H

#include "providers/provider.h"

struct cc_tool_result {
    int exit;
    const char *out, *err;
};
int cc_tool(struct cc_provider_ctx *x, struct cc_tool_result *result, const char *const *words);
/* `input`: what it reads, or NULL: nothing. */
int cc_tool_fed(struct cc_provider_ctx *x, struct cc_tool_result *result, const char *input, const char *const *words);
#define CC_TOOL(x, result, ...) cc_tool((x), (result), (const char *const[]){ __VA_ARGS__, NULL })

#endif
