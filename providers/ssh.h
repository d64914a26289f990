/* ssh.h - the way into a machine that is elsewhere: OpenSSH's client, as a process.
 *
 * One connection per machine is kept (ControlMaster) and carries all: commands,
 * and the agent's unix socket, which appears on this host as DIR/agent.sock.
 * It outlives this process and is found again; where it is given an idle time
 * it ends by itself, whether this process still is or not.  The machine's host
 * key is what the caller says it is; no other is ever accepted, and no file of
 * the user's (config, known_hosts, keys) and no agent of his is looked at.
 */
#ifndef CC_PROVIDERS_SSH_H
#define CC_PROVIDERS_SSH_H

#include "providers/provider.h"

enum { CC_SSH_DIR_MAX = 80, CC_SSH_DRIVER_DIR_MAX = CC_SSH_DIR_MAX - 22 }; /* a driver's: below it is /machines/SHORT */
#define CC_SSH_DIR_WHY "ssh keeps sockets below it, whose paths have at most 107"

struct cc_ssh_target {
    const char
        *dir; /* of this machine's connection alone, absolute, at most CC_SSH_DIR_MAX: known_hosts, ctl, agent.sock */
    const char *locks; /* a directory with locks/ in it: one opens at a time, over all processes */
    const char *ssh;   /* the program; NULL: "ssh" */
    const char *key;   /* file of the private key */
    const char *user, *host;
    const char *name;     /* that it is known by, whatever its address; NULL: host */
    uint32_t port;        /* 0: 22 */
    uint32_t idle_s;      /* it ends when nothing has gone through it for so long; 0: it stays */
    bool key_late;        /* it may not know our key yet: "unavailable" then, and not "denied" */
    const char *host_key; /* its public key, "ecdsa-sha2-nistp256 AAAA..." */
    const char
        *other_key; /* one more that it may have, while the one takes the other's place; either may be NULL, not both */
    const char *proxy; /* a command that leads there (ProxyCommand), or NULL */
    const char *agent; /* path of the agent's socket in the machine, or NULL: no tunnel */
};

/* Connected when it returns 0; a connection that stands is used. "unavailable": nobody answers (yet); "denied": it does not
 * prove to be the machine, or refuses our key. [worker] */
int cc_ssh_open(const struct cc_ssh_target *t, struct cc_provider_ctx *x, uint32_t seconds);
/* Runs `line` by the machine's shell; exit code and output as of an exec. Connected before. [worker] */
int cc_ssh_run(const struct cc_ssh_target *t, struct cc_provider_ctx *x, const char *line, const char *input, size_t n,
               struct cc_exec_result *out);
void cc_ssh_end(const struct cc_ssh_target *t, struct cc_provider_ctx *x); /* whatever its state; 5 s at most */
/* Whether it is connected, as far as this host can tell. It counts as use. [any thread, blocks for nothing] */
bool cc_ssh_stands(const char *dir);
const char *cc_ssh_socket(struct cc_arena *a, const char *dir); /* DIR/agent.sock */

/* "'a' 'b'\''c'": an argument vector as a line for sh, and one word of it. */
const char *cc_ssh_quote(struct cc_arena *a, const struct cc_strs *words);
const char *cc_ssh_word(struct cc_arena *a, const char *word);
const char *cc_ssh_last_line(struct cc_arena *a,
                             const char *text); /* what was complained of last, without its end of line */

#endif
