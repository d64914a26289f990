/* tool.c - the system's own tools, by argument vectors; see storage.h. */
#include "providers/storage/storage.h"

#include "host/sys/process.h"

#include <jansson.h>
#include <string.h>
#include <unistd.h>

enum { OUTPUT_MAX = 4 * 1024 * 1024 };

static const char *first_line(struct cc_arena *a, const char *text)
{
    return cc_arena_strndup(a, text, strcspn(text, "\n"));
}

int cc_tool(struct cc_provider_ctx *x, struct cc_tool_result *result, const char *const *words)
{
    struct cc_process p = { .argv = (char *const *)words, .output_max = OUTPUT_MAX };
    int r = cc_process_run(&p, x->call, x->err);

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

int cc_image_facts(struct cc_provider_ctx *x, const char *image, const char **format, uint64_t *size)
{
    struct cc_tool_result t;
    json_t *doc;
    int r;

    if (access(image, R_OK) != 0)
        return cc_err_set(x->err, CC_E_NOT_FOUND, "no image %s", image);
    if ((r = CC_TOOL(x, &t, "qemu-img", "info", "--output=json", image)) != 0)
        return r;
    if (t.exit != 0 || !(doc = json_loads(t.out, 0, NULL)))
        return cc_err_set(x->err, CC_E_INVALID, "%s is no image of a disk", image);
    *format = cc_arena_strdup(x->arena, json_string_value(json_object_get(doc, "format")));
    *size = (uint64_t)json_integer_value(json_object_get(doc, "virtual-size"));
    json_decref(doc);
    return *format ? 0 : cc_err_set(x->err, CC_E_INVALID, "%s is no image of a disk", image);
}
