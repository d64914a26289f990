/* user.h - who a program of a container is to be: the image's USER, resolved as docker does, from the image's own files.
 *
 * "name", "uid", "name:group", "uid:gid"; "" is root.  Static, so there is no
 * name service to ask: /etc/passwd and /etc/group are read.
 */
#ifndef CC_AGENT_USER_H
#define CC_AGENT_USER_H

#include <stdbool.h>
#include <sys/types.h>

struct agent_user {
    uid_t uid;
    gid_t gid;
    char name[64], home[256], shell[256]; /* "": not told */
};

/* False: there is nobody of that name. */
bool agent_user_find(const char *text, struct agent_user *out);

/* Gives up root for good, in this process, and puts HOME, USER, LOGNAME and SHELL into the environment where it has none.
 * False and errno. */
bool agent_user_become(const struct agent_user *u);

#endif
