/* shell.c - what runs in a terminal. */
#include "host/agent/session.h"

#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

bool agent_in_path(const char *name)
{
    char path[512];
    const char *p = getenv("PATH"), *end;

    for (p = p ? p : "/usr/bin:/bin"; *p; p = *end ? end + 1 : end) {
        end = strchrnul(p, ':');
        snprintf(path, sizeof(path), "%.*s/%s", (int)(end - p), p, name);
        if (access(path, X_OK) == 0)
            return true;
    }
    return false;
}

/* From the file itself: a static program has no name service to ask. */
static const char *shell_of_user(void)
{
    FILE *f = fopen("/etc/passwd", "re");
    struct passwd *pw;

    while (f && (pw = fgetpwent(f)))
        if (pw->pw_uid == getuid())
            return access(pw->pw_shell, X_OK) == 0 ? pw->pw_shell : "/bin/sh";
    return "/bin/sh";
}

static _Noreturn void exec_login_shell(void)
{
    const char *shell = getenv("SHELL"), *base;
    char name[64];

    if (!shell || access(shell, X_OK) != 0)
        shell = shell_of_user();
    base = strrchr(shell, '/');
    snprintf(name, sizeof(name), "-%s", base ? base + 1 : shell);
    execl(shell, name, (char *)NULL);
    _exit(127);
}

_Noreturn void agent_exec_shell(const char *command)
{
    setenv("TERM", "xterm-256color", 1);
    agent_claude_env();
    if (command)
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    else if (agent_in_path("zellij"))
        execlp("zellij", "zellij", "attach", "--create", "claude", (char *)NULL);
    else if (agent_in_path("tmux"))
        execlp("tmux", "tmux", "new-session", "-A", "-s", "claude", (char *)NULL);
    exec_login_shell();
}

static _Noreturn void exec_claude(const char *conversation)
{
    char resume[64];

    snprintf(resume, sizeof(resume), "--resume=%s", conversation);
    setenv("TERM", "xterm-256color", 1);
    agent_claude_env();
    execlp("claude", "claude", *conversation ? resume : "--continue", (char *)NULL);
    _exit(127);
}

/* What it says goes into a log: it comes as it was written, and nothing that it is told comes back. */
static _Noreturn void exec_words(const struct agent_program *p)
{
    struct termios t;
    size_t i;

    if (tcgetattr(STDIN_FILENO, &t) == 0) {
        t.c_oflag &= ~(tcflag_t)OPOST;
        t.c_lflag &= ~(tcflag_t)ECHO;
        tcsetattr(STDIN_FILENO, TCSANOW, &t);
    }
    agent_claude_env();
    for (i = 0; p->env && p->env[i]; i += 2)
        setenv(p->env[i], p->env[i + 1], 1);
    execvp(p->words[0], (char **)p->words);
    fprintf(stderr, "%s: %s\n", p->words[0], strerror(errno));
    _exit(127);
}

static _Noreturn void in_child(const struct agent_program *p)
{
    sigset_t none;
    int num;

    for (num = 1; num < NSIG; num++) /* the agent's own, which would tell the agent; blocked until here */
        signal(num, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (p->cwd && chdir(p->cwd) != 0) {
        fprintf(stderr, "%s: %s\n", p->cwd, strerror(errno));
        _exit(126);
    }
    if (p->words)
        exec_words(p);
    if (p->claude)
        exec_claude(p->claude);
    if (p->login && !p->command) {
        setenv("TERM", "xterm-256color", 1);
        agent_claude_env();
        exec_login_shell();
    }
    agent_exec_shell(p->command);
}

pid_t agent_program_start(const struct agent_program *p, const struct winsize *size, int *pty)
{
    sigset_t all, before;
    pid_t pid;

    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    pid = forkpty(pty, NULL, NULL, size);
    if (pid == 0)
        in_child(p);
    sigprocmask(SIG_SETMASK, &before, NULL);
    if (pid < 0)
        return -1;
    fcntl(*pty, F_SETFL, O_NONBLOCK);
    fcntl(*pty, F_SETFD, FD_CLOEXEC);
    return pid;
}
