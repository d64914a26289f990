/* launch.h - what is said between the host and cchost-launch.
 *
 * The host (providers/local/launch.c) starts `cchost-launch run` with one end
 * of a socketpair as fd 3 and writes: a uint32_t length, then that many bytes
 * of "key NUL value NUL" pairs, keys in any order, some many times.  It reads
 * back one line, "ok PID" or "error ERRNO sentence", and end of file.
 * `cchost-launch filter FILE [userns]` writes the seccomp program that the
 * machines get: made once, as making it costs more than a whole start.
 *
 *   lock      path of the machine's lock file: locked (open file description
 *             lock) by its pid 1 for as long as it lives, holding
 *             "PID START_TICKS STARTED_AT_MS\n", then "ready\n"
 *   vlock     the same of each of its volumes
 *   socket    path where the agent listens; bound here, outside of the machine
 *   log       file that pid 1, the agent and pasta write to; `cmd` writes to ~/.cmd.log
 *   agent     path of the agent program
 *   filter    path of the seccomp program
 *   hostname
 *   uids      "BASE COUNT": as root; absent: the caller's own uid alone
 *   cgroup    path of a v1 `tasks` file to write "0" to
 *   cgroup2   directory of a v2 group
 *   share     a system directory of the host, read-only (also when it is a link)
 *   hide      a path that shows nothing
 *   image     a root file system (instead of share), with `upper`: where the
 *             machine's changes to it are kept
 *   bind      "SOURCE NUL", then key `at` with its place in the machine, read-write
 *   tmpfs     MiB of everything that is not on disk
 *   net       nat, none, host
 *   pasta     path of pasta, for nat
 *   turn      lock file: pastas of one host start one at a time
 *   dns       address in the machine's resolv.conf
 *   ssh       directory of its host key, authorized_keys and sshd_config: read-only at CC_LAUNCH_SSH_DIR
 *   sshd      path of sshd in the machine, kept running with that configuration, as its user
 *   port      for nat: a port of 127.0.0.1 that leads to the same one inside, where sshd listens
 *   block     an address that the machine must not reach ("1.2.3.4/32")
 *   env       NAME=value        shell   sh -c line of the terminal
 *   key       the agent's --key (host/agent/agent.h), as `ring` and `sessions` are its options of these names
 *   cmd       one argument each
 */
#ifndef CC_LAUNCH_H
#define CC_LAUNCH_H

#include "host/sys/lease.h"

#define CC_LAUNCH_SSH_DIR "/run/ssh"

/* The environment of whatever runs in a machine, beside HOME, USER and what its record has. */
#define CC_LAUNCH_ENV                                                                                                  \
    {                                                                                                                  \
        { "PATH",                                                                                                      \
          "/home/claude/.local/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:" CC_BUSY_BIN },       \
            { "LANG", "C.UTF-8" }, { "XDG_RUNTIME_DIR", "/run/user/1000" }, { CC_BUSY_ENV, CC_BUSY_SOCKET },           \
    }

enum {
    CC_LAUNCH_FD = 3,
    CC_LAUNCH_SPEC_MAX = 256 * 1024,
    CC_LAUNCH_UID = 1000 /* claude, inside */
};

#endif
