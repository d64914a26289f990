/* agent.h - the parts of cchost-agent, the program on every machine.
 *
 * cchost-agent --listen-fd N | --listen PATH   [--shell COMMAND] [--busy PATH] [--key SHA256] [--root FOLDER]
 *              [--clone-seconds N] [--ring BYTES] [--sessions N]
 * cchost-agent busy ...   the same as cchost-busy, which is this program by another name (busy.c)
 * cchost-agent init [--listen PATH]   pid 1 of a machine that is a container (init.c; conf.h says what it reads)
 * cchost-agent check FD   whether this build can go on from that state of another (check.c)
 * cchost-agent shell      what a terminal of such a machine runs, on this one, as its user (docker exec -it)
 * cchost-agent run [--timeout MS] [--stdin BYTES] -- COMMAND...   one command in such a machine (run.c)
 * cchost-agent port ..., dial ...   a virtio port, or its own input and output, as a way into the machine (port.c)
 *
 * It serves HTTP/1.1 on a unix socket that only the host reaches (its file
 * permissions are the fence).  With --key, all but GET /healthz also wants
 * "Authorization: Bearer SECRET", where SHA256 is the secret's, in hexadecimal
 * digits: who reads that, in here, can ask nothing with it.  Else 401, and no
 * upgrade.  Without --key nobody has to say anything (providers/README.md):
 *   GET  /healthz    {"status":"ok","version":V,"build":SHA256,"arch":NAME,"uptime_ms":N,"failing":[NAME,...]}; build: of
 *                    the program; arch: as uname has it; failing: services (docs/agent.md)
 *   GET  /activity   {"last_input_ms":N,"clients":N,"foreground":NAME|null,"load":X,"uptime_ms":N,
 *                    "turn":BOOL,"ssh_sessions":N,"leases":[{"id":ID,"reason":TEXT,"until_ms":N,"since_ms":N}]}
 *                    last_input_ms: unix ms of the last byte typed here or at any terminal of the machine, 0: never;
 *                    load: CPUs busy since the last call; turn: a lease "claude-turn", or "claude-turn.SOMETHING", is held;
 *                    ssh_sessions: logins over OpenSSH that have a terminal (activity.c says how both are seen)
 *   POST /exec       {"cmd":[...],"stdin":BASE64,"timeout_ms":N} -> {"exit":N,"stdout":BASE64,"stderr":BASE64,
 *                    "truncated":BOOL}; exit is 128+n after signal n, 124 after the timeout; 404: no such program
 *   GET  /ports      [{"port":N,"process":NAME|null,"loopback":BOOL}]: what listens, by port; tunnel.c
 *   GET  /ports/N    with "Upgrade: tcp": 101, then the bytes of a connection to port N of this machine; 502: refused
 *   PUT  /auth/credentials   {"anthropic_api_key":TEXT|null,"claude_oauth_token":TEXT|null}: all that the owner has
 *                    -> {"auth_method":"oauth"|"api_key"|"none"}; files in the user's home, and the environment of what
 *                    begins then (claude.c)
 *   GET  /ws         WebSocket, subprotocol tty: ttyd's protocol, one shell per connection; ?session=NAME: a terminal
 *                    that outlives it, with --ring bytes of its output (docs/terminal.md)
 *   GET  /sessions, POST /tabs, DELETE /tabs/NAME   those terminals (tabs.c)
 * and what lua/agent/ answers (docs/agent.md): files and projects beneath --root (/claude-data).
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
 * Static, with Lua inside: it runs where none of our libraries are.  Thread: one.
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
    const char *key;   /* SHA-256 of the secret that is to be said; NULL: none is */
    const char *root;  /* folder of the user's files */
    int clone_seconds; /* until a clone is given up */
    int64_t last_input_ms;
    uint64_t started_ms;
    const char *saved; /* what an agent before this one says of its Lua's (update.c), JSON; NULL: it is the first, or it
                          has been read (module "machine") */
    bool leaves;       /* another agent takes its place: nothing new begins */
    char **argv;
    size_t ring;       /* bytes of output that are kept of a session */
    unsigned sessions; /* at most so many are kept */
};

/* secret.c: whether who asks may: anybody GET /healthz. */
bool agent_may(const struct agent *a, struct cc_req *r);

/* main.c: a new server of all that the agent answers; it listens nowhere yet. */
struct cc_server;
struct cc_server *agent_server(struct agent *a);
/* main.c: the descriptor of the host's socket. */
int agent_listens(void);
/* main.c: the body of a reply, or of an error; `o` is consumed. [ends] r */
void agent_reply(struct cc_req *r, int status, json_t *o);

/* viewer.c: answers the upgrade; a new terminal behind it, or one that is kept (session.h). [ends] r */
void agent_terminal(struct agent *a, struct cc_req *r);
/* Connections to terminals, but for those who only look on. */
unsigned agent_terminals(void);

/* shell.c: becomes what a terminal runs: `command`, zellij, tmux or the login shell. */
_Noreturn void agent_exec_shell(const char *command);

/* tabs.c: GET /sessions, POST /tabs, DELETE /tabs/NAME. [ends] r */
void agent_sessions(struct agent *a, struct cc_req *r);
void agent_tab_open(struct agent *a, struct cc_req *r);
void agent_tab_close(struct agent *a, struct cc_req *r);
/* Name of the foreground process of the terminal that was typed on last; false: none. */
bool agent_foreground(char name[64]);

/* exec.c: POST /exec. [ends] r */
void agent_exec(struct agent *a, struct cc_req *r);

unsigned agent_exec_running(void);

/* tunnel.c: GET /ports; GET /ports/N, false: it is another request. [ends] r */
void agent_ports(struct agent *a, struct cc_req *r);
bool agent_tunnel(struct agent *a, struct cc_req *r);
/* claude.c: PUT /auth/credentials. [ends] r */
void agent_credentials(struct agent *a, struct cc_req *r);
/* Puts them into this process's environment: for what is about to become a terminal or a chat. */
void agent_claude_env(void);

/* port.c. Exit codes. */
int agent_port(int argc, char **argv);
int agent_dial(int argc, char **argv);

/* lease.c: opens the socket of busy leases at `wish`, or where it can beside `own` (of --listen, or NULL). */
void agent_lease_listen(struct agent *a, const char *wish, const char *own);
json_t *agent_leases(void);
int agent_lease_listens(void); /* its descriptor, or -1 */
void agent_lease_go_on(struct agent *a, int fd);
bool agent_turn(void);
/* What the agent itself holds. False: too many are held. `id`, `reason` and `ttl` as host/sys/lease.h has them. */
bool agent_lease_hold(const char *id, const char *reason, unsigned ttl);
void agent_lease_release(const char *id);

/* busy.c: the command cchost-busy; its exit code. */
int agent_busy(int argc, char **argv);
/* Asks the agent of this machine. False: in vain, and it has not been said anywhere. */
bool agent_busy_hold(const char *id, const char *reason, unsigned ttl);
bool agent_busy_release(const char *id);

/* hook.c: cchost-busy claude-hook, which Claude Code runs (lua/agent/claude.lua); its exit code. */
int agent_claude_hook(void);

/* service.c: names of services that crash again and again. */
json_t *agent_failing(void);

/* activity.c: load is counted from here on; GET /activity. [ends] r */
void agent_activity_start(void);
void agent_activity(struct agent *a, struct cc_req *r);

#endif
