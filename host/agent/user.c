/* user.c - see user.h. */
#include "host/agent/user.h"

#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { GROUPS = 64 };

static bool number(const char *text, unsigned long *out)
{
    char *end;

    *out = strtoul(text, &end, 10);
    return *text && !*end && *out < 0xffffffffUL;
}

static void take(struct agent_user *u, const struct passwd *pw)
{
    u->uid = pw->pw_uid;
    u->gid = pw->pw_gid;
    snprintf(u->name, sizeof(u->name), "%s", pw->pw_name);
    snprintf(u->home, sizeof(u->home), "%s", pw->pw_dir);
    snprintf(u->shell, sizeof(u->shell), "%s", pw->pw_shell);
}

/* By name, or by number; true: it has a line. */
static bool by_passwd(const char *who, bool is_number, unsigned long uid, struct agent_user *u)
{
    FILE *f = fopen("/etc/passwd", "re");
    struct passwd *pw;
    bool found = false;

    while (f && !found && (pw = fgetpwent(f)))
        if (is_number ? pw->pw_uid == uid : strcmp(pw->pw_name, who) == 0) {
            take(u, pw);
            found = true;
        }
    if (f)
        fclose(f);
    return found;
}

static bool find_group(const char *name, gid_t *gid)
{
    FILE *f = fopen("/etc/group", "re");
    unsigned long n;
    struct group *g;
    bool found = number(name, &n);

    if (found)
        *gid = (gid_t)n;
    while (f && !found && (g = fgetgrent(f)))
        if (strcmp(g->gr_name, name) == 0) {
            *gid = g->gr_gid;
            found = true;
        }
    if (f)
        fclose(f);
    return found;
}

bool agent_user_find(const char *text, struct agent_user *out)
{
    char who[128];
    const char *group = strchr(text, ':');
    unsigned long uid = 0;
    bool is_number;

    *out = (struct agent_user){ .home = "/" };
    snprintf(who, sizeof(who), "%.*s", (int)(group ? group - text : (long)strlen(text)), text);
    is_number = !*who || number(who, &uid);
    if (!by_passwd(who, is_number, uid, out)) {
        if (!is_number)
            return false;
        out->uid = (uid_t)uid;
        if (uid == 0)
            snprintf(out->home, sizeof(out->home), "/root");
    }
    return !group || !group[1] || find_group(group + 1, &out->gid);
}

/* Those that /etc/group gives him. */
static int groups_of(const struct agent_user *u, gid_t list[GROUPS])
{
    FILE *f = fopen("/etc/group", "re");
    struct group *g;
    int n = 0, i;

    list[n++] = u->gid;
    while (f && *u->name && n < GROUPS && (g = fgetgrent(f)))
        for (i = 0; g->gr_mem[i]; i++)
            if (strcmp(g->gr_mem[i], u->name) == 0 && g->gr_gid != u->gid) {
                list[n++] = g->gr_gid;
                break;
            }
    if (f)
        fclose(f);
    return n;
}

bool agent_user_become(const struct agent_user *u)
{
    gid_t list[GROUPS];
    int n = groups_of(u, list);

    if (geteuid() == 0 && (setgroups((size_t)n, list) != 0 || setresgid(u->gid, u->gid, u->gid) != 0 ||
                           setresuid(u->uid, u->uid, u->uid) != 0))
        return false;
    setenv("HOME", u->home, 0);
    if (*u->name) {
        setenv("USER", u->name, 0);
        setenv("LOGNAME", u->name, 0);
    }
    if (*u->shell)
        setenv("SHELL", u->shell, 0);
    return true;
}
