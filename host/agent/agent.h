/* agent.h - the parts of cchost-agent, the program on every machine.
 *
 * cchost-agent --listen-fd N | --listen PATH   [--shell COMMAND] [--busy PATH]
 * cchost-agent busy ...   the same as cchost-busy, which is this program by another name (busy.c)
 * cchost-agent init [--listen PATH]   pid 1 of a machine that is a container (init.c; conf.h says what it reads)
 * cchost-agent shell      what a terminal of such a machine runs, on this one, as its user (docker exec -it)
 * cchost-agent run [--timeout MS] [--stdin BYTES] -- COMMAND...   one command in such a machine (run.c)
 * cchost-agent port ..., dial ...   a virtio port, or its own input and output, as a way into the machine (port.c)
 *
 * It serves HTTP/1.1 on a unix socket that only the host reaches (its file
 * permissions are the fence; there is no credential yet):
 *   GET  /healthz    {"status":"ok","version":V,"uptime_ms":N}
 *   GET  /activity   {"last_input_ms":N,"clients":N,"foreground":NAME|null,"load":X,"uptime_ms":N,
 *                    "turn":BOOL,"ssh_sessions":N,"leases":[{"id":ID,"reason":TEXT,"until_ms":N,"since_ms":N}]}
 *                    last_input_ms: unix ms of the last byte typed here or at any terminal of the machine, 0: never;
 *                    load: CPUs busy since the last call; turn: the lease "claude-turn" is held;
 *                    ssh_sessions: logins over OpenSSH that have a terminal (activity.c says how both are seen)
 *   POST /exec       {"cmd":[...],"stdin":BASE64,"timeout_ms":N} -> {"exit":N,"stdout":BASE64,"stderr":BASE64,
 *                    "truncated":BOOL}; exit is 128+n after signal n, 124 after the timeout; 404: no such program
 *   GET  /ws         WebSocket, subprotocol tty: ttyd's protocol, one shell per connection
 * Errors are {"error":SENTENCE,"code":WORD}.
 *
 * A second unix socket is for everybody in the machine: --busy PATH, else /run/cchost/busy.sock where that can be made,
 * else busy.sock beside --listen's, else cchost-busy.sock in XDG_RUNTIME_DIR. Where it is, is CCHOST_BUSY_SOCKET in the
 * environment of terminals and commands. Leases of "busy until T because R" and nothing else (host/sys/lease.h: bounds):
 *   POST   /lease       {"id":ID,"reason":TEXT,"ttl":SECONDS} -> {"id":ID,"until_ms":N}; without id: a new one; one of
 *                       that id is renewed: reason and time are replaced, since_ms stays. 429: 64 are held
 *   DELETE /lease/ID    -> {"id":ID}, 404
 *   GET    /leases      -> {"leases":[...]} as above
 *
 * Static, without Lua: it runs where none of our libraries are.  Thread: one.
 */
#ifndef CC_AGENT_H
#define CC_AGENT_H

#include "host/http/req.h"

#include <jansson.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

struct agent {
    uv_loop_t *loop;
    const char *shell; /* for sh -c; NULL: zellij, tmux or the login shell */
    int64_t last_input_ms;
    uint64_t started_ms;
};

/* main.c: the body of a reply, or of an error; `o` is consumed. [ends] r */
void agent_reply(struct cc_req *r, int status, json_t *o);

/* terminal.c: answers the upgrade and runs a shell behind it. [ends] r */
void agent_terminal(struct agent *a, struct cc_req *r);
/* Becomes what a terminal runs: `command`, zellij, tmux or the login shell. */
_Noreturn void agent_exec_shell(const char *command);
unsigned agent_terminals(void);
/* Name of the foreground process of the terminal that was typed on last; false: none. */
bool agent_foreground(char name[64]);

/* exec.c: POST /exec. [ends] r */
void agent_exec(struct agent *a, struct cc_req *r);

/* port.c. Exit codes. */
int agent_port(int argc, char **argv);
int agent_dial(int argc, char **argv);

/* lease.c: opens the socket of busy leases at `wish`, or where it can beside `own` (of --listen, or NULL). */
void agent_lease_listen(struct agent *a, const char *wish, const char *own);
json_t *agent_leases(void);
bool agent_turn(void);

/* busy.c: the command cchost-busy; its exit code. */
int agent_busy(int argc, char **argv);

/* activity.c: load is counted from here on; GET /activity. [ends] r */
void agent_activity_start(void);
void agent_activity(struct agent *a, struct cc_req *r);

#endif
