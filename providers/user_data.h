/* user_data.h - what cloud-init is told by us and by others. */
#ifndef CC_PROVIDERS_USER_DATA_H
#define CC_PROVIDERS_USER_DATA_H

#include "providers/arena.h"

#include "host/sys/err.h"

/* A value of "merge_how" in our part: lists of both are joined, and what only one says holds. */
#define CC_USER_DATA_MERGE "list(append)+dict(no_replace,recurse_list)+str()"

/* Ours, a cloud-config, and theirs, of any kind that cloud-init knows, as two parts of one text in the arena. NULL and
 * err (invalid): by its first line theirs is of no kind. */
const char *cc_user_data_join(struct cc_arena *a, const char *ours, const char *theirs, struct cc_err *err);

#endif
