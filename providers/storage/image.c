/* image.c - what an image of a disk is; see storage.h. */
#include "providers/storage/storage.h"

#include <jansson.h>
#include <unistd.h>

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
