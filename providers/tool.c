/* tool.c - the system's own tools, by argument vectors; see tool.h. */
#include "providers/tool.h"

#include "host/sys/process.h"

#include <string.h>

enum { OUTPUT_MAX = 4 * 1024 * 1024 };

static const char *first_line(struct cc_arena *a, const char *text)
{
    return cc_arena_strndup(a, text, strcspn(text, "\n"));
}

int cc_tool_fed(struct cc_provider_ctx *x, struct cc_tool_result *result, const char *input, const char *const *words)
{
    struct cc_process p = { .argv = (char *const *)words, .input = input, .output_max = OUTPUT_MAX };
    int r;

    p.input_len = input ? strlen(input) : 0;
    r = cc_process_run(&p, x->call, x->err);
    if (r == CC_E_NOT_FOUND)
        r = cc_err_set(x->err, CC_E_UNSUPPORTED, "there is no program %s on this host", words[0]);
    if (r == 0 && result)
        *result = (struct cc_tool_result){ p.exit_code, cc_arena_strndup(x->arena, p.out, p.out_len),
                                           cc_arena_strndup(x->arena, p.err, p.err_len) };
    else if (r == 0 && p.exit_code != 0)
        r = cc_err_set(x->err, CC_E_IO, "%s: %s", words[0], first_line(x->arena, p.err));
    cc_process_fini(&p);
    return r;
}

int cc_tool(struct cc_provider_ctx *x, struct cc_tool_result *result, const char *const *words)
{
    return cc_tool_fed(x, result, NULL, words);
}
