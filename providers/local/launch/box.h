/* box.h - the launcher's own parts: one machine's wishes, and how each file fails.
 *
 * The launcher is one short-lived, single-threaded process (and pid 1 of the
 * machine is its clone), so it exits on the first error with a sentence and
 * frees nothing.
 */
#ifndef CC_BOX_H
#define CC_BOX_H

#include "providers/local/launch/launch.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum { BOX_MANY = 128 };

struct box_list {
    char *v[BOX_MANY + 1];
    int n;
};

struct box {
    char *lock, *socket, *log, *agent, *filter, *hostname, *uids, *cgroup2;
    char *image, *upper, *tmpfs, *net, *pasta, *dns, *shell, *turn, *ssh, *sshd, *port, *key, *ring, *sessions;
    struct box_list vlock, cgroup, share, hide, bind, at, block, env, cmd;
    bool mapped; /* has a range of uids (`uids`) */
    unsigned long uid_base, uid_count;
    volatile pid_t pasta_pid; /* as pid 1 sees it; this struct is in memory that both share */
    int lock_fd, vlock_fd[BOX_MANY], socket_fd, log_fd;
    int agent_fd; /* on a read-only mount of the machine's own */
    int filter_fd, userns_fd, netns_fd, pidns_fd;
    int share_fd[BOX_MANY], bind_fd[BOX_MANY], image_fd, upper_fd, busy_fd, ssh_fd; /* detached mounts, -1: not yet */
};

/* spec.c: reads the pairs from fd 3. */
void box_read(struct box *b);

/* fail.c: reports to whoever waits (the host; from pid 1, the launcher) and exits. */
void box_report_to(int fd);
_Noreturn void box_fail(int sys, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* root.c: the launcher (as root) or pid 1 (as a user) takes hold of what is shared; pid 1 builds and enters the root. */
void box_sources(struct box *b, int userns_fd);
void box_root(struct box *b);

/* net.c */
void box_net(struct box *b);                          /* in the machine: lo, blocked addresses */
void box_pasta(struct box *b, pid_t init, int pidfd); /* in the launcher, after the answer */

/* filter.c */
int box_filter_write(const char *path, bool userns);
void box_filter_load(int fd);

/* init.c: pid 1 from here on. `ready_fd` hears once when the agent runs. */
_Noreturn void box_init(struct box *b, int ready_fd);

#endif
