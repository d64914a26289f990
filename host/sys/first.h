/* first.h - what the first process of a container owes to the others in it.
 *
 * The kernel gives process 1 every orphan to reap, sends it no signal that it has no handler for, and kills all others when it
 * ends.  So it does nothing else than that: the program is its child, and what happens to that is its own end.
 */
#ifndef CC_FIRST_H
#define CC_FIRST_H

/* To be called first in main. Where this is not process 1 it does nothing. Otherwise it returns in a child; process 1 itself
 * passes on what signals it is sent, reaps, and ends with the child's code (128 + its signal). */
void cc_first_process(void);

#endif
