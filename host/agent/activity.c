/* activity.c - signals of use, for whoever decides about idleness.
 *
 * Load is the CPU time of all processes that live between two calls, over
 * the time between them: exact enough to tell a build from an idle editor,
 * and no timer wakes an idle machine for it.
 */
#include "host/agent/agent.h"

#include "host/sys/clock.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* utime + stime of one process, in clock ticks. The name in the second field may hold anything. */
static unsigned long long ticks_of(const char *pid)
{
    unsigned long long user = 0, sys = 0;
    char path[300], text[1024];
    const char *end;
    size_t n;
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%s/stat", pid);
    if (!(f = fopen(path, "re")))
        return 0;
    n = fread(text, 1, sizeof(text) - 1, f);
    fclose(f);
    text[n] = '\0';
    if (!(end = strrchr(text, ')')) ||
        sscanf(end + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user, &sys) != 2)
        return 0;
    return user + sys;
}

static unsigned long long all_ticks(void)
{
    unsigned long long sum = 0;
    DIR *d = opendir("/proc");
    struct dirent *e;

    if (!d)
        return 0;
    while ((e = readdir(d)))
        if (e->d_name[0] >= '1' && e->d_name[0] <= '9')
            sum += ticks_of(e->d_name);
    closedir(d);
    return sum;
}

static unsigned long long last_ticks;
static uint64_t last_ms;

void agent_activity_start(void)
{
    last_ticks = all_ticks();
    last_ms = cc_mono_ms();
}

static double load_since_last(void)
{
    static double load;
    unsigned long long ticks = all_ticks();
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
    char name[64];
    bool has = agent_foreground(name);

    agent_reply(r, 200,
                json_pack("{s:I,s:i,s:s?,s:f,s:I}", "last_input_ms", (json_int_t)a->last_input_ms, "clients",
                          (int)agent_terminals(), "foreground", has ? name : NULL, "load", load_since_last(),
                          "uptime_ms", (json_int_t)(cc_mono_ms() - a->started_ms)));
}
