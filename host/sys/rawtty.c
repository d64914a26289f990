/* rawtty.c - see rawtty.h. What the handlers call is async-signal-safe: tcsetattr, sigaction, raise. */
#include "host/sys/rawtty.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>

static const int ending[] = { SIGTERM, SIGHUP, SIGINT, SIGQUIT, SIGPIPE, SIGALRM, SIGSEGV,
                              SIGBUS,  SIGFPE, SIGILL, SIGABRT, SIGXCPU, SIGSYS,  SIGTSTP };
#define N_ENDING (sizeof(ending) / sizeof(*ending))

static struct sigaction before[N_ENDING];
static struct termios usual, raw;
static int tty = -1;
static volatile sig_atomic_t is_raw;

/* At once: nothing here waits for a terminal that does not take its output. */
static void set_modes(const struct termios *modes)
{
    int kept = errno;

    tcsetattr(tty, TCSANOW, modes);
    errno = kept;
}

static size_t index_of(int num)
{
    size_t i = 0;

    while (i + 1 < N_ENDING && ending[i] != num)
        i++;
    return i;
}

/* Stopped from outside: the shell gets its terminal as it was, and we ours when we go on. */
static void on_stop(int num)
{
    (void)num;
    if (is_raw)
        set_modes(&usual);
    raise(SIGSTOP);
    if (is_raw)
        set_modes(&raw);
}

/* It is blocked until we return: then it does what it would have done without us. */
static void on_ending(int num)
{
    if (is_raw)
        set_modes(&usual);
    is_raw = 0;
    sigaction(num, &before[index_of(num)], NULL);
    raise(num);
}

static void take_signals(void)
{
    struct sigaction a;
    size_t i;

    memset(&a, 0, sizeof(a));
    sigemptyset(&a.sa_mask);
    a.sa_flags = SA_RESTART;
    for (i = 0; i < N_ENDING; i++) {
        sigaction(ending[i], NULL, &before[i]);
        if (before[i].sa_handler == SIG_IGN)
            continue;
        a.sa_handler = ending[i] == SIGTSTP ? on_stop : on_ending;
        sigaction(ending[i], &a, NULL);
    }
}

static void give_signals_back(void)
{
    size_t i;

    for (i = 0; i < N_ENDING; i++)
        sigaction(ending[i], &before[i], NULL);
}

int cc_rawtty_begin(int fd)
{
    static bool registered;

    if (is_raw)
        return 0;
    if (tcgetattr(fd, &usual) != 0)
        return -errno;
    raw = usual;
    cfmakeraw(&raw);
    tty = fd;
    if (!registered)
        atexit(cc_rawtty_restore);
    registered = true;
    take_signals();
    is_raw = 1;
    set_modes(&raw);
    return 0;
}

void cc_rawtty_restore(void)
{
    if (!is_raw)
        return;
    set_modes(&usual);
    is_raw = 0;
    give_signals_back();
}
