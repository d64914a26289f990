/* busy.c - cchost-busy: "this machine is busy until T because R", said from inside of it.
 *
 * Around a command it holds a lease of a minute and renews it while the command
 * runs, so that a lease outlives neither by much, whatever becomes of them.  A
 * command runs also where no agent is: what it does matters more than the
 * lease.  Signals from processes are passed on; those of the terminal (^C) have
 * reached the command already, which is in the same process group.
 */
#include "host/agent/agent.h"

#include "host/sys/clock.h"
#include "host/sys/lease.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { FAILED = 1, USAGE = 2, ANSWER_MAX = 65536, PATIENCE_S = 2, RUN_TTL = 60, HOLD_TTL = 1800 };

static const char help[] =
    "usage: cchost-busy [-r REASON] [-t TIME] -- COMMAND [ARG...]\n"
    "       cchost-busy hold [-r REASON] [-t TIME] [--id NAME]\n"
    "       cchost-busy release NAME\n"
    "       cchost-busy list | claude-hook\n"
    "\n"
    "Says that this machine is in use, so that it is not stopped as idle.\n"
    "  -- COMMAND   while COMMAND runs; ends with its exit code, 128+n after signal n\n"
    "  hold         for a time (30m unless -t says), and prints the lease's name; held again it is renewed\n"
    "  release      gives it back before its time\n"
    "  list         what is held: name, until when, why\n"
    "  claude-hook  holds one while a turn of Claude Code lasts: for its settings, which give it the event as input\n"
    "  -r REASON    why, at most 200 bytes; people and the machine's host read it. Of a command: its words\n"
    "  -t TIME      30, 30s, 30m, 12h; at most a day. Of a command: how long after cchost-busy was killed (1m)\n"
    "  --id NAME    letters, digits, - _ . (\"claude-turn\": a turn of Claude is under way)\n"
    "\n"
    "The socket is CCHOST_BUSY_SOCKET, else " CC_BUSY_SOCKET ".\n"
    "Exit codes of hold, release and list: 0, 1 failed, 2 wrong usage.\n";

static int wrong(const char *what, const char *word)
{
    fprintf(stderr, "cchost-busy: %s%s%s (--help tells more)\n", what, word ? ": " : "", word ? word : "");
    return USAGE;
}

/* ---- the agent */

static char trouble[512]; /* why the last request failed */

static int dial(const char *path)
{
    const struct timeval patience = { PATIENCE_S, 0 };
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    int fd;

    if (strlen(path) >= sizeof(a.sun_path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(a.sun_path, path, strlen(path) + 1);
    if ((fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    if (connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0)
        return fd;
    close(fd);
    return -1;
}

/* The whole answer as a string; NULL and errno. */
static char *receive(int fd)
{
    char *text = malloc(ANSWER_MAX + 1);
    size_t n = 0;
    ssize_t r = 1;

    while (text && n < ANSWER_MAX && (r = recv(fd, text + n, ANSWER_MAX - n, 0)) != 0) {
        if (r < 0 && errno != EINTR)
            break;
        n += r > 0 ? (size_t)r : 0;
    }
    if (text && r < 0 && n == 0) {
        free(text);
        return NULL;
    }
    if (text)
        text[n] = '\0';
    return text;
}

/* The JSON of a 200, or NULL and `trouble`. */
static json_t *judge(const char *text)
{
    const char *body = strstr(text, "\r\n\r\n"), *why;
    json_t *o = body ? json_loads(body + 4, 0, NULL) : NULL;

    if (strncmp(text, "HTTP/1.1 200 ", 13) == 0 && json_is_object(o))
        return o;
    why = json_string_value(json_object_get(o, "error"));
    snprintf(trouble, sizeof(trouble), "the agent refused: %s", why ? why : "its answer makes no sense");
    json_decref(o);
    return NULL;
}

/* One request; `o` is consumed. */
static json_t *ask(const char *method, const char *where, json_t *o)
{
    const char *env = getenv(CC_BUSY_ENV), *path = env && *env ? env : CC_BUSY_SOCKET;
    char *body = o ? json_dumps(o, JSON_COMPACT) : NULL, *text = NULL, head[512];
    size_t len = body ? strlen(body) : 0;
    json_t *answer = NULL;
    int fd = dial(path);
    int n = snprintf(head, sizeof(head), "%s %s HTTP/1.0\r\nHost: agent\r\nContent-Length: %zu\r\n\r\n", method, where,
                     len);

    json_decref(o);
    if (fd >= 0 && send(fd, head, (size_t)n, MSG_NOSIGNAL) == n &&
        (len == 0 || send(fd, body, len, MSG_NOSIGNAL) == (ssize_t)len))
        text = receive(fd);
    if (text)
        answer = judge(text);
    else
        snprintf(trouble, sizeof(trouble), "no agent here: %.300s: %s", path,
                 errno == EAGAIN ? "it does not answer" : strerror(errno));
    if (fd >= 0)
        close(fd);
    free(text);
    free(body);
    return answer;
}

static json_t *lease(const char *id, const char *reason, unsigned ttl)
{
    return ask("POST", "/lease", json_pack("{s:s*,s:s,s:i}", "id", id, "reason", reason, "ttl", (int)ttl));
}

static bool give_back(const char *id)
{
    char where[CC_LEASE_ID_MAX + 16];
    json_t *o;

    snprintf(where, sizeof(where), "/lease/%s", id);
    o = ask("DELETE", where, NULL);
    json_decref(o);
    return o != NULL;
}

bool agent_busy_hold(const char *id, const char *reason, unsigned ttl)
{
    json_t *o = lease(id, reason, ttl);

    json_decref(o);
    return o != NULL;
}

bool agent_busy_release(const char *id) { return give_back(id); }

static int failed(void)
{
    fprintf(stderr, "cchost-busy: %s\n", trouble);
    return FAILED;
}

/* ---- a command */

struct hold {
    char id[CC_LEASE_ID_MAX + 1]; /* "": never had one */
    char reason[CC_LEASE_REASON_MAX + 1];
    unsigned ttl;
    uint64_t renew_at; /* on cc_mono_ms */
};

static void renew(struct hold *h)
{
    json_t *o = lease(h->id[0] ? h->id : NULL, h->reason, h->ttl);
    const char *id = json_string_value(json_object_get(o, "id"));

    if (id && cc_lease_id_ok(id, strlen(id)))
        snprintf(h->id, sizeof(h->id), "%s", id);
    h->renew_at = cc_mono_ms() + h->ttl * 1000 / 3;
    json_decref(o);
}

static void words(char **argv, char out[CC_LEASE_REASON_MAX + 1])
{
    size_t n = 0;

    for (; *argv && n < CC_LEASE_REASON_MAX; argv++) {
        n += cc_printable(out + n, CC_LEASE_REASON_MAX - n, *argv, strlen(*argv));
        if (argv[1])
            n += cc_printable(out + n, CC_LEASE_REASON_MAX - n, " ", 1);
    }
    if (n == 0)
        snprintf(out, CC_LEASE_REASON_MAX + 1, "a command");
}

/* Its wait status. */
static int attend(pid_t pid, struct hold *h, const sigset_t *set)
{
    int status;

    for (;;) {
        uint64_t now = cc_mono_ms(), left = h->renew_at > now ? h->renew_at - now : 0;
        const struct timespec t = { (time_t)(left / 1000), (long)(left % 1000) * 1000000 };
        siginfo_t info;
        int sig;

        if (waitpid(pid, &status, WNOHANG) == pid)
            return status;
        sig = sigtimedwait(set, &info, &t);
        if (sig > 0 && sig != SIGCHLD && info.si_code <= 0) /* from a process, not from the terminal */
            kill(pid, sig);
        if (cc_mono_ms() >= h->renew_at)
            renew(h);
    }
}

static _Noreturn void become(char **argv, const sigset_t *mask)
{
    int e;

    sigprocmask(SIG_SETMASK, mask, NULL);
    execvp(argv[0], argv);
    e = errno;
    fprintf(stderr, "cchost-busy: %s: %s\n", argv[0], strerror(e));
    _exit(e == ENOENT ? 127 : 126);
}

static int run(char **argv, struct hold *h)
{
    static const int passed[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGCHLD };
    sigset_t set, before;
    size_t i;
    pid_t pid;
    int status;

    renew(h);
    if (!h->id[0])
        fprintf(stderr, "cchost-busy: %s; the command runs without a lease\n", trouble);
    signal(SIGCHLD, SIG_DFL);
    sigemptyset(&set);
    for (i = 0; i < sizeof(passed) / sizeof(*passed); i++)
        sigaddset(&set, passed[i]);
    sigprocmask(SIG_BLOCK, &set, &before);
    if ((pid = fork()) == 0)
        become(argv, &before);
    if (pid < 0) {
        snprintf(trouble, sizeof(trouble), "cannot start a process: %s", strerror(errno));
        status = 0;
    } else {
        status = attend(pid, h, &set);
    }
    if (h->id[0])
        give_back(h->id);
    if (pid < 0)
        return failed();
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* ---- the verbs */

static int hold(const char *id, const char *reason, unsigned ttl)
{
    json_t *o = lease(id, reason, ttl);
    const char *got = json_string_value(json_object_get(o, "id"));

    if (!got)
        return failed();
    printf("%s\n", got);
    json_decref(o);
    return 0;
}

static int release(const char *id)
{
    if (!cc_lease_id_ok(id, strlen(id)))
        return wrong("no name of a lease", id);
    return give_back(id) ? 0 : failed();
}

static int list(void)
{
    json_t *o = ask("GET", "/leases", NULL), *one;
    size_t i;

    if (!o)
        return failed();
    json_array_foreach (json_object_get(o, "leases"), i, one) {
        const char *id = json_string_value(json_object_get(one, "id")),
                   *reason = json_string_value(json_object_get(one, "reason"));
        time_t until = (time_t)(json_integer_value(json_object_get(one, "until_ms")) / 1000);
        char when[32], why[CC_LEASE_REASON_MAX + 1];
        struct tm tm;

        if (!id || !reason || !cc_lease_id_ok(id, strlen(id)) || !gmtime_r(&until, &tm))
            continue;
        cc_printable(why, sizeof(why) - 1, reason, strlen(reason)); /* whoever answers there */
        strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
        printf("%s\t%s\t%s\n", id, when, why);
    }
    json_decref(o);
    return 0;
}

/* ---- what was asked */

/* "30", "30s", "5m", "2h", "1d" in seconds; 0: not from 1 s to a day. */
static unsigned seconds(const char *text)
{
    static const struct {
        char unit;
        unsigned s;
    } units[] = { { '\0', 1 }, { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 } };
    unsigned long n;
    char *end;
    size_t i;

    if (*text < '0' || *text > '9')
        return 0;
    n = strtoul(text, &end, 10);
    for (i = 0; i < sizeof(units) / sizeof(*units); i++)
        if (*end == units[i].unit && (*end == '\0' || end[1] == '\0') && n <= CC_LEASE_TTL_MAX &&
            n * units[i].s <= CC_LEASE_TTL_MAX)
            return (unsigned)n * units[i].s;
    return 0;
}

struct wish {
    const char *reason, *id;
    unsigned ttl; /* 0: not said */
    bool help;
};

/* 0, or USAGE with the fault said. */
static int read_options(int argc, char **argv, struct wish *w)
{
    static const struct option longs[] = { { "reason", required_argument, NULL, 'r' },
                                           { "time", required_argument, NULL, 't' },
                                           { "id", required_argument, NULL, 'i' },
                                           { "help", no_argument, NULL, 'h' },
                                           { NULL, 0, NULL, 0 } };
    int c;

    while ((c = getopt_long(argc, argv, "+r:t:h", longs, NULL)) != -1)
        switch (c) {
        case 'r':
            w->reason = optarg;
            if (!cc_lease_reason_ok(optarg, strlen(optarg)))
                return wrong("a reason is 1 to 200 bytes of printable text", NULL);
            break;
        case 't':
            if (!(w->ttl = seconds(optarg)))
                return wrong("no time from 1s to 1d", optarg);
            break;
        case 'i':
            w->id = optarg;
            if (!cc_lease_id_ok(optarg, strlen(optarg)))
                return wrong("no name of a lease", optarg);
            break;
        case 'h':
            w->help = true;
            return 0;
        default:
            return wrong("wrong usage", NULL);
        }
    return 0;
}

static int command(int argc, char **argv, const struct wish *w)
{
    struct hold h = { .ttl = w->ttl ? w->ttl : RUN_TTL };

    if (optind == argc || strcmp(argv[optind - 1], "--") != 0)
        return wrong(optind == argc ? "what is to run? \"-- COMMAND\" expected"
                                    : "\"--\" expected in front of the command",
                     argv[optind]);
    if (w->id)
        return wrong("--id is for hold", NULL);
    if (w->reason)
        snprintf(h.reason, sizeof(h.reason), "%s", w->reason);
    else
        words(argv + optind, h.reason);
    return run(argv + optind, &h);
}

int agent_busy(int argc, char **argv)
{
    static char name[] = "cchost-busy";
    const char *verb = argc > 1 && argv[1][0] != '-' ? argv[1] : "";
    struct wish w = { 0 };
    int shift = *verb ? 1 : 0, rest, r;

    argv += shift;
    argc -= shift;
    argv[0] = name; /* of whom getopt complains */
    if ((r = read_options(argc, argv, &w)) != 0)
        return r;
    if (w.help) {
        fputs(help, stdout);
        return 0;
    }
    rest = argc - optind;
    if (!*verb)
        return command(argc, argv, &w);
    if (strcmp(verb, "hold") == 0 && rest == 0)
        return hold(w.id, w.reason ? w.reason : "held by hand", w.ttl ? w.ttl : HOLD_TTL);
    if (strcmp(verb, "release") == 0 && rest == 1 && !w.id && !w.reason && !w.ttl)
        return release(argv[optind]);
    if (strcmp(verb, "list") == 0 && rest == 0 && !w.id && !w.reason && !w.ttl)
        return list();
    if (strcmp(verb, "claude-hook") == 0 && argc == 1)
        return agent_claude_hook();
    if (strcmp(verb, "hold") == 0 || strcmp(verb, "release") == 0 || strcmp(verb, "list") == 0)
        return wrong("wrong usage of", verb);
    return wrong("unknown word, or \"--\" missing in front of a command", verb);
}
