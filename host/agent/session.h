/* session.h - a terminal that the agent keeps: a program in a pty, a ring of what it wrote, and who looks on.
 *
 * Three files: session.c has the program, its input and its end; flow.c what
 * is read of it and when, and who is sent what; viewer.c the connections and
 * what they say.  tabs.c makes, lists and ends sessions by HTTP.
 *
 * A session with a name outlives its connections.  One without is a plain
 * client's: it has one viewer, holds the program up for it without limit, and
 * ends with it, as ttyd does.  docs/terminal.md is the protocol.
 *
 * Ownership: a session lives until its program has been reaped, its pty has
 * closed and its viewers have gone; a viewer until its connection has closed.
 */
#ifndef CC_AGENT_SESSION_H
#define CC_AGENT_SESSION_H

#include "host/agent/agent.h"

#include "host/http/ws.h"
#include "host/sys/clock.h"
#include "host/sys/ring.h"
#include "host/sys/vt.h"

#include <sys/ioctl.h>

enum {
    SESSION_NAME = 65,
    VIEWERS_MAX = 16, /* of a session */
    CLIENTS_MAX = 64, /* whose input is counted, of a session; the one that is away longest goes first */
    OUTPUT_CHUNK = 32 * 1024,
    MESSAGE_MAX = 256 * 1024,
    INPUT_MAX = 1024 * 1024, /* typed and not yet taken by the program */
    HOLD_MS = 10000,         /* how long a program waits for a viewer who takes nothing, or has been lost */
    ENDED_MS = 60000,        /* how long the last output of a program that has ended waits for a viewer who was lost */
    ACK_MS = 50
};

/* What a session is to run: `claude` or else `command` (sh -c) or else the login shell, or what plain terminals have. */
struct agent_program {
    const char *command, *cwd;
    const char *claude; /* NULL: none; "": the last conversation; else a conversation's id, a UUID */
    const char **words; /* NULL: none of the above, but these, found in PATH */
    const char **env;   /* NAME, value, NAME, value, NULL; NULL: nothing more */
    bool login;
};

/* shell.c. -1: it could not be started; else its pid, and the pty's end of ours. */
pid_t agent_program_start(const struct agent_program *p, const struct winsize *size, int *pty);
bool agent_in_path(const char *name);

/* Whose input is counted. */
struct client {
    char id[SESSION_NAME];
    uint64_t typed;
    uint64_t seen_ms;
    bool here;
};

struct viewer;

struct session {
    struct agent *agent;
    char name[SESSION_NAME];  /* "": a plain client's, or it cannot be found any more */
    char owner[SESSION_NAME]; /* client id of who came first */
    bool kept;
    bool service;      /* service.c's: nobody else finds it */
    uint64_t since_ms; /* tells it from others of its name */
    struct cc_ring *ring;
    struct winsize size;
    bool by_owner; /* its size is the owner's alone */
    uv_poll_t poll;
    int pty;   /* -1: closed */
    pid_t pid; /* 0: reaped */
    bool polling;
    bool ended;
    bool busy;              /* its viewers are being walked: it stays */
    int status;             /* as of waitpid, once reaped */
    struct viewer *viewers; /* by age, but an owner who came back is the first */
    unsigned n_viewers;
    char *input;
    size_t input_len;
    struct client *clients; /* CLIENTS_MAX; NULL: none was counted yet */
    int64_t last_input_ms, last_output_ms;
    uint64_t held_at, held_until; /* a viewer who was lost had this much then */
    uint64_t heard;     /* so much was sent to one who types: what was asked of the terminal there is answered */
    uint64_t linger_ms; /* ends so long after the last viewer was lost; 0: never */
    struct cc_timer *hold, *linger, *ack;
    struct session *next;
};

/* What a connection asked for. */
struct wish {
    char session[SESSION_NAME], client[SESSION_NAME];
    uint64_t from, typed, since, keep_ms;
    bool has_from, view, by_owner;
};

struct viewer {
    struct agent *agent;
    struct session *session; /* NULL: before the hello */
    struct cc_ws *ws;
    struct wish wish;
    struct client *client; /* NULL: is not counted */
    unsigned short columns, rows;
    uint64_t at;       /* number of the next byte that it is sent */
    uint64_t moved_ms; /* when it took something last */
    bool full, paused; /* its WebSocket's queue; it asked */
    bool held;         /* it is not read: the program does not take what was typed */
    bool owes_ack, closing;
    struct viewer *next;
};

/* ---- tabs.c */

#define AGENT_NAME "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"
bool agent_name_ok(const char *name); /* of a session */

/* ---- session.c */

extern struct session *sessions;

/* The one that runs under this name, or NULL. */
struct session *session_find(const char *name);
/* One that has ended, of which a viewer who was lost may get the rest. */
struct session *session_find_ended(const char *name, uint64_t since);
unsigned session_count(bool ended); /* of those with a name */
/* Name "": a plain client's. NULL: the program could not be started. */
struct session *session_new(struct agent *a, const char *name, const struct agent_program *p, struct winsize size);
/* A service's (service.c). */
struct session *session_new_service(struct agent *a, const char *name, const struct agent_program *p,
                                    struct winsize size);
/* One of the agent before this one, as it left it (handover.c): it has its ring now, and is of `sessions`. */
void session_go_on(struct agent *a, struct session *s, struct cc_ring *ring);
/* What is left of one that did not go on: a child to be reaped. */
void session_orphan(struct agent *a, pid_t pid);
void session_reap(struct agent *a); /* those that have ended unseen */
/* False: the program has too much to read already. */
bool session_type(struct session *s, const char *data, size_t len);
void session_fit(struct session *s); /* to its viewers' sizes */
void session_join(struct session *s, struct viewer *v);
/* The connection has gone, said goodbye or not; v is no more in the list, and s may be no more. */
void session_leave(struct session *s, struct viewer *v, bool goodbye);
/* The first of those who can type, or NULL. */
struct viewer *session_owner(const struct session *s);
/* A hang-up for the program; nobody finds it any more. */
void session_end(struct session *s);
void session_close_pty(struct session *s);
/* The process group in front. */
bool session_front(const struct session *s, char name[64]);
void session_free_if_over(struct session *s);

/* ---- service.c */

/* Of what the service of that name says, now and before. It stays. */
struct cc_ring *service_ring(const char *name);
void service_ended(const struct session *s, pid_t pid, int status);

/* ---- flow.c */

void flow_poll(struct session *s);  /* waits for what is to be waited for */
void flow_viewer(struct viewer *v); /* sends what it lacks; it may end by that */
void flow_drain(struct session *s); /* the rest of what an ended program wrote */
void flow_go_on(struct viewer *v);  /* it takes more, or asked for it; it may end by that */
void flow_resume(struct viewer *v, bool newcomer);
void flow_stop(struct session *s); /* no timer of it runs on */

/* ---- viewer.c */

void viewer_tell(struct viewer *v, uint64_t lost, const char *redraw); /* message '3' */
int viewer_ack(struct viewer *v);                                      /* message '4'; as cc_ws_send */
void viewer_end(struct viewer *v);                                     /* its session has ended, and it has all of it */
void viewer_drop(struct viewer *v, bool goodbye);                      /* cuts it */

#endif
