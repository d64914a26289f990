/* rawtty.h - the terminal of this process in raw mode, and back again whatever happens.
 *
 * Once raw, every byte that is typed is ours, Ctrl-C too.  The old modes come
 * back with cc_rawtty_restore, at exit(3), at every signal that would end us
 * (it then has its usual effect), and while we are stopped.  Only SIGKILL
 * cannot be helped.  One terminal a process.  Thread: loop thread only.
 */
#ifndef CC_SYS_RAWTTY_H
#define CC_SYS_RAWTTY_H

/* Puts the terminal behind fd into raw mode. 0, also when it is already; or a negative errno value (-ENOTTY). */
int cc_rawtty_begin(int fd);
void cc_rawtty_restore(void);

#endif
