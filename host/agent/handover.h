/* handover.h - what an agent leaves to the one that takes its place in the same process (update.c).
 *
 * A file in memory: a line of JSON, whose "state" says which form it has, then
 * the bytes of the rings and of what was typed, in the order of its sessions.
 * Descriptors are told by their numbers, and stay open; the children stay its
 * children.  What is told are things (numbers, bytes, the modes of a
 * terminal as it is told them), never how a version keeps them: so another can
 * read it, and HANDOVER changes only with the meaning of what is there.
 */
#ifndef CC_AGENT_HANDOVER_H
#define CC_AGENT_HANDOVER_H

#include "host/agent/session.h"

struct handover {
    json_t *doc;
    const char *bytes; /* behind the line */
    size_t n;
    char *text;
    int listen, busy; /* -1: there is none */
    const char *lua;
};

/* -1 and errno. */
int handover_write(const struct agent *a, const char *lua);

/* Everything that handover_take will want is there, and in the form that is known here. */
bool handover_read(int fd, struct handover *h);
void handover_free(struct handover *h);

/* Its descriptors and that of the file go through exec, or do so no more. */
void handover_keep(const struct handover *h, int fd, bool keep);

/* Sessions, leases and times are this agent's from here on. `h` stays until then; the descriptors listen and busy are the caller's. */
void handover_take(struct agent *a, const struct handover *h);

#endif
