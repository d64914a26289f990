/* conf.h - what the host says of a machine that is a container: one JSON file, read-only inside where it is mounted.
 *
 * {"cmd":[...],"env":{NAME:VALUE},"shell":COMMAND,"key":SHA256,"ring":N,"sessions":N,"user":USER,"stop_signal":N,"grace_ms":N}: written anew before each start,
 * so that what a container cannot have changed once it is made holds from its next start on.
 */
#ifndef CC_AGENT_CONF_H
#define CC_AGENT_CONF_H

#include "host/agent/user.h"

#include <jansson.h>

#define AGENT_CONF "/run/cchost/conf/machine.json"
#define AGENT_BIN "/run/cchost/bin"
#define AGENT_SOCKET "/run/cchost/agent/agent.sock"

struct agent_conf {
    json_t *doc; /* which the strings below are of */
    char **cmd;  /* NULL-terminated; NULL: none */
    const char *shell;
    const char *key;         /* the agent's --key; NULL: none */
    unsigned ring, sessions; /* its options of these names; 0: none */
    struct agent_user user;
    int stop_signal;
    unsigned grace_ms;
};

/* False: there is none, or it makes no sense; it has said so on stderr. */
bool agent_conf_read(struct agent_conf *out);

/* Its variables, and what everything inside has: into this process's environment. */
void agent_conf_env(const struct agent_conf *c);

/* cchost-agent init: pid 1 of a container. cchost-agent run [--timeout MS] [--stdin BYTES] -- COMMAND...: one command in it. */
int agent_init(int argc, char **argv);
int agent_run(int argc, char **argv);
int agent_shell(int argc, char **argv);

/* cchost-agent health [SOCKET]: asks the agent, prints what it says; 0 when it is well, else 1: for an image's HEALTHCHECK. */
int agent_health(int argc, char **argv);

/* What `run` prints on stderr, alone, and ends with 127 when there is no such program. */
#define AGENT_NO_PROGRAM "cchost-agent: there is no program "

#endif
