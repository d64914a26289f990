/* process.h - run a program to its end, from a pool thread.
 *
 * An argument vector, never a shell.  posix_spawn, so the cost does not grow
 * with our memory.  The child gets its own process group, /dev/null or the
 * given bytes as input, and is killed with its group at the call's deadline
 * or cancel.  [worker]
 */
#ifndef CC_PROCESS_H
#define CC_PROCESS_H

#include "host/sys/err.h"
#include "host/sys/pool.h"

#include <stddef.h>

struct cc_process {
    char *const *argv; /* argv[0] is looked up in PATH */
    char *const *env;  /* NULL: ours */
    const char *dir;   /* NULL: ours */
    const char *input;
    size_t input_len;
    size_t output_max; /* bytes kept of each stream; the rest is read and dropped */
    /* out: */
    char *out, *err; /* NUL-terminated, freed by cc_process_fini */
    size_t out_len, err_len;
    int exit_code; /* 128 + signal when it was killed */
};

/* 0 when it ran to its end (whatever its exit code); CC_E_TIMEOUT or CC_E_CANCELLED when it was
 * killed for the call; CC_E_NOT_FOUND when there is no such program. */
int cc_process_run(struct cc_process *p, const struct cc_call *call, struct cc_err *err);
void cc_process_fini(struct cc_process *p);

#endif
