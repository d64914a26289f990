/* update.h - another build of this program in this one's place, in the same process (update.c). */
#ifndef CC_AGENT_UPDATE_H
#define CC_AGENT_UPDATE_H

const char *agent_build(void); /* SHA-256 of the program that runs, in hexadecimal digits */
const char *agent_arch(void);

/* check.c: cchost-agent check FD [watched], and what it says when all is well. */
int agent_check(int argc, char **argv);
#define AGENT_CHECKED "cchost-agent: the state can be read\n"

/* main.c: what has become of those who came to the host's socket. */
enum agent_heard { AGENT_NOBODY, AGENT_IN_VAIN, AGENT_ANSWERED };
enum agent_heard agent_heard(void);

#endif
