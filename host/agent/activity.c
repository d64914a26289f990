/* activity.c - signals of use, for whoever decides about idleness.
 *
 * Load is the CPU time of all processes that live between two calls, over
 * the time between them: exact enough to tell a build from an idle editor,
 * and no timer wakes an idle machine for it.  The same walk counts logins.
 */
#include "host/agent/agent.h"

#include "host/sys/clock.h"
#include "host/sys/lease.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct scan {
    unsigned long long ticks; /* utime + stime of all */
    unsigned ssh;
};

/* /proc/PID/LEAF, its beginning. */
static size_t read_proc(const char *pid, const char *leaf, char *text, size_t size)
{
    char path[300];
    size_t n = 0;
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%s/%s", pid, leaf);
    if ((f = fopen(path, "re"))) {
        n = fread(text, 1, size - 1, f);
        fclose(f);
    }
    text[n] = '\0';
    return n;
}

/* OpenSSH writes into its command line whom it serves where: "sshd: ann@pts/0", without a terminal "sshd: ann@notty". */
static bool has_terminal(const char *pid)
{
    char title[256];

    read_proc(pid, "cmdline", title, sizeof(title));
    return (strncmp(title, "sshd: ", 6) == 0 || strncmp(title, "sshd-session: ", 14) == 0) && strstr(title, "@pts/");
}

static void look_at(const char *pid, struct scan *s)
{
    unsigned long long user = 0, sys = 0;
    char text[1024], *name, *end;

    read_proc(pid, "stat", text, sizeof(text));
    name = strchr(text, '(');
    end = strrchr(text, ')'); /* the name may hold anything */
    if (!name || !end || sscanf(end + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user, &sys) != 2)
        return;
    s->ticks += user + sys;
    *end = '\0';
    if (strcmp(name + 1, "sshd") == 0 || strcmp(name + 1, "sshd-session") == 0)
        s->ssh += has_terminal(pid);
}

static struct scan scan(void)
{
    struct scan s = { 0 };
    DIR *d = opendir("/proc");
    struct dirent *e;

    if (!d)
        return s;
    while ((e = readdir(d)))
        if (e->d_name[0] >= '1' && e->d_name[0] <= '9')
            look_at(e->d_name, &s);
    closedir(d);
    return s;
}

/* When something was last read from a terminal of the machine, whoever typed it. The kernel notes it to 8 seconds. A
 * terminal that nobody has typed on yet was read when it was made, if one believes its times: that is no input. */
static int64_t typed_anywhere_ms(void)
{
    DIR *d = opendir("/dev/pts");
    time_t newest = 0;
    struct dirent *e;
    struct stat st;

    if (!d)
        return 0;
    while ((e = readdir(d)))
        if (e->d_name[0] >= '0' && e->d_name[0] <= '9' && fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISCHR(st.st_mode) && st.st_atim.tv_sec > st.st_ctim.tv_sec && st.st_atim.tv_sec > newest)
            newest = st.st_atim.tv_sec;
    closedir(d);
    return (int64_t)newest * 1000;
}

/* Kept, as a terminal takes its times along when it closes. A time ahead of a clock that was set back is told as it is: whoever
 * hears the same again knows that it is no new input, and the next input takes its place. */
static int64_t last_input_ms(struct agent *a)
{
    int64_t typed = typed_anywhere_ms();

    if (typed > a->last_input_ms || a->last_input_ms > cc_wall_ms())
        a->last_input_ms = typed;
    return a->last_input_ms;
}

static unsigned long long last_ticks;
static uint64_t last_ms;

void agent_activity_start(void)
{
    last_ticks = scan().ticks;
    last_ms = cc_mono_ms();
}

static double load_since_last(unsigned long long ticks)
{
    static double load;
    uint64_t now = cc_mono_ms();

    if (now - last_ms < 1000)
        return load; /* too short a time to tell */
    load = 0;
    if (ticks > last_ticks) /* a process that ended took its ticks along */
        load = (double)(ticks - last_ticks) / (double)sysconf(_SC_CLK_TCK) / ((double)(now - last_ms) / 1000);
    last_ticks = ticks;
    last_ms = now;
    return load;
}

void agent_activity(struct agent *a, struct cc_req *r)
{
    char name[64], shown[64];
    bool has = agent_foreground(name);
    struct scan s = scan();

    if (has)
        cc_printable(shown, sizeof(shown) - 1, name, strlen(name)); /* a program may call itself anything */
    agent_reply(r, 200,
                json_pack("{s:I,s:i,s:s?,s:f,s:I,s:b,s:i,s:o}", "last_input_ms", (json_int_t)last_input_ms(a),
                          "clients", (int)agent_terminals(), "foreground", has ? shown : NULL, "load",
                          load_since_last(s.ticks), "uptime_ms", (json_int_t)(cc_mono_ms() - a->started_ms), "turn",
                          (int)agent_turn(), "ssh_sessions", (int)s.ssh, "leases", agent_leases()));
}
