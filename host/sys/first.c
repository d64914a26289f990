/* first.c - see first.h. All signals are blocked and waited for, so there is no handler, and none comes too early. */
#include "host/sys/first.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

/* Ends this process when the child has ended. */
static void reap(pid_t child)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        if (pid == child)
            _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

void cc_first_process(void)
{
    sigset_t all, before;
    siginfo_t info;
    pid_t child;
    int sig;

    if (getpid() != 1)
        return;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &before);
    child = fork();
    if (child < 0)
        perror("cchost: fork");
    if (child <= 0) {
        sigprocmask(SIG_SETMASK, &before, NULL);
        return;
    }
    for (;;) {
        sig = sigwaitinfo(&all, &info);
        if (sig == SIGCHLD)
            reap(child);
        else if (sig > 0 && info.si_code != SI_KERNEL) /* those of a terminal reach the child by themselves */
            kill(child, sig);
    }
}
