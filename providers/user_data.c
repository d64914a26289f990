/* user_data.c - what cloud-init is told by us and by others, in one text (multipart MIME, cloud-init's "user data formats"). */
#include "providers/user_data.h"

#include "host/sys/random.h"

#include <string.h>

/* As cloud-init itself tells its kinds apart. */
static const char *kind_of(const char *text)
{
    static const struct {
        const char *begin, *type;
    } kinds[] = { { "#cloud-config", "text/cloud-config" },
                  { "#!", "text/x-shellscript" },
                  { "#include", "text/x-include-url" },
                  { "#cloud-boothook", "text/cloud-boothook" },
                  { "## template: jinja", "text/jinja2" },
                  { "#part-handler", "text/part-handler" },
                  { "#cloud-config-archive", "text/cloud-config-archive" } };
    const char *type = NULL;
    size_t i;

    for (i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
        if (strncmp(text, kinds[i].begin, strlen(kinds[i].begin)) == 0)
            type = kinds[i].type;
    return type;
}

const char *cc_user_data_join(struct cc_arena *a, const char *ours, const char *theirs, struct cc_err *err)
{
    const char *kind = kind_of(theirs);
    unsigned long long chance;

    if (!kind) {
        cc_err_set(err, CC_E_INVALID, "user_data is of no kind that cloud-init knows by its first line");
        return NULL;
    }
    cc_random(&chance, sizeof(chance));
    return cc_arena_printf(a,
                           "Content-Type: multipart/mixed; boundary=\"cchost%016llx\"\nMIME-Version: 1.0\n\n"
                           "--cchost%016llx\nContent-Type: text/cloud-config; charset=\"utf-8\"\n\n%s\n"
                           "--cchost%016llx\nContent-Type: %s; charset=\"utf-8\"\n\n%s\n--cchost%016llx--\n",
                           chance, chance, ours, chance, kind, theirs, chance);
}
