/* list.h - a page of a folder of any size, the repositories beneath one, and the end of a whole tree. [worker] */
#ifndef CC_AGENT_LIST_H
#define CC_AGENT_LIST_H

#include "host/sys/err.h"
#include "host/sys/pool.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct agent_entry {
    char *name;
    const char *type; /* "directory", "file", "other" */
    bool link;
    uint64_t size;
    int64_t modified_ms;
};

struct agent_list {
    struct agent_entry *v; /* by the bytes of their names */
    size_t n, limit;
    bool more; /* there are others behind these */
    char *after;
};

void agent_list_init(struct agent_list *l, const char *after, size_t limit);
void agent_list_fini(struct agent_list *l);

/* The first `limit` names behind `after` of the folder at `path`. Memory for twice as many. 0 or CC_E_*. */
int agent_list_read(struct agent_list *l, int root, const char *path, const struct cc_call *call, struct cc_err *err);

/* The paths of folders beneath `path`, at most `depth` levels down, that have a .git, sorted; `more`: there are others
 * than the `limit`. Nothing inside of them is looked at, nor what a link leads to. */
int agent_list_repositories(struct agent_list *l, int root, const char *path, unsigned depth,
                            const struct cc_call *call, struct cc_err *err);

/* The folder `name` in `folder`, with all that is in it, however deep; links themselves. */
int agent_remove_tree(int folder, const char *name, const struct cc_call *call, struct cc_err *err);

#endif
