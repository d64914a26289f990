/* ssh.h - the way into a machine that is elsewhere: OpenSSH's client, as a process.
 *
 * One connection per machine is kept (ControlMaster) and carries all: commands,
 * and the agent's unix socket, which appears on this host as DIR/agent.sock.
 * It outlives this process and is found again.  The machine's host key is what
 * the caller says it is; no other is ever accepted, and no file of the user's
 * (config, known_hosts, keys) is looked at.
 */
#ifndef CC_PROVIDERS_SSH_H
#define CC_PROVIDERS_SSH_H

#include "providers/provider.h"

struct cc_ssh_target {
    const char
        *dir; /* of this machine's connection alone, absolute and at most 80 bytes: known_hosts, ctl, agent.sock */
    const char *key; /* file of the private key */
    const char *user, *host;
    uint32_t port;        /* 0: 22 */
    const char *host_key; /* its public key, "ecdsa-sha2-nistp256 AAAA..." */
    const char *proxy;    /* a command that leads there (ProxyCommand), or NULL */
    const char *agent;    /* path of the agent's socket in the machine, or NULL: no tunnel */
};

/* Connected when it returns 0; a connection that stands is used. "unavailable": nobody answers (yet); "denied": it does not
 * prove to be the machine, or refuses our key. [worker] */
int cc_ssh_open(const struct cc_ssh_target *t, struct cc_provider_ctx *x, uint32_t seconds);
/* Runs `line` by the machine's shell; exit code and output as of an exec. Connected before. [worker] */
int cc_ssh_run(const struct cc_ssh_target *t, struct cc_provider_ctx *x, const char *line, const char *input, size_t n,
               struct cc_exec_result *out);
void cc_ssh_end(const struct cc_ssh_target *t, struct cc_provider_ctx *x); /* whatever its state; 5 s at most */
const char *cc_ssh_socket(struct cc_arena *a, const char *dir);            /* DIR/agent.sock */

/* "'a' 'b'\''c'": an argument vector as a line for sh. */
const char *cc_ssh_quote(struct cc_arena *a, const struct cc_strs *words);

#endif
