/* main.c - cchost-agent: a small HTTP server on a unix socket, and cchost-busy. See agent.h. */
#include "host/agent/agent.h"
#include "host/agent/conf.h"
#include "host/agent/handover.h"
#include "host/agent/lua.h"
#include "host/agent/update.h"

#include "host/http/server.h"
#include "host/observe/log.h"
#include "host/sys/clock.h"
#include "host/sys/err.h"
#include "host/sys/ring.h"
#include "host/sys/secret.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static const char version[] = "0.1.0";
static struct cc_server *server;
static bool answered; /* somebody who might ask */

enum { RING = 1 << 20, SESSIONS = 100 };

int agent_listens(void) { return cc_server_fd(server); }

enum agent_heard agent_heard(void)
{
    struct cc_server_stats stats;

    cc_server_stats(server, &stats);
    return answered ? AGENT_ANSWERED : stats.accepted ? AGENT_IN_VAIN : AGENT_NOBODY;
}

void agent_reply(struct cc_req *r, int status, json_t *o)
{
    static const struct cc_hdr type = { { "Content-Type", 12 }, { "application/json; charset=utf-8", 31 } };
    char *text = json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS);

    json_decref(o);
    if (text)
        cc_req_reply(r, status, &type, 1, text, strlen(text));
    else
        cc_req_reply_error(r, 500, "internal", "the answer is no JSON");
    free(text);
}

static void health(struct agent *a, struct cc_req *r)
{
    agent_reply(r, 200,
                json_pack("{s:s,s:s,s:s,s:s,s:I,s:o}", "status", "ok", "version", version, "build", agent_build(),
                          "arch", agent_arch(), "uptime_ms", (json_int_t)(cc_mono_ms() - a->started_ms), "failing",
                          agent_failing()));
}

static void on_request(void *arg, struct cc_req *r)
{
    static const struct {
        const char *method, *path;
        void (*run)(struct agent *a, struct cc_req *r);
    } routes[] = {
        { "GET", "/healthz", health },
        { "GET", "/activity", agent_activity },
        { "POST", "/exec", agent_exec },
        { "GET", "/ports", agent_ports },
        { "PUT", "/auth/credentials", agent_credentials },
        { "GET", "/ws", agent_terminal },
        { "GET", "/sessions", agent_sessions },
        { "POST", "/tabs", agent_tab_open },
        { "DELETE", "/tabs/", agent_tab_close }, /* and what follows */
    };
    struct cc_text path = cc_req_path(r);
    const struct agent *a = arg;
    size_t i;

    if (!agent_may(arg, r)) {
        cc_req_reply_error(r, 401, "unauthorized", "unauthorized");
        return;
    }
    if (a->leaves) {
        cc_req_reply_error(r, 503, "unavailable", "the agent is being updated");
        return;
    }
    answered = true;
    for (i = 0; i < sizeof(routes) / sizeof(*routes); i++) {
        size_t n = strlen(routes[i].path);

        if ((n == path.n || (n < path.n && routes[i].path[n - 1] == '/')) && memcmp(routes[i].path, path.p, n) == 0 &&
            strcmp(routes[i].method, cc_req_method(r)) == 0) {
            routes[i].run(arg, r);
            return;
        }
    }
    if (!agent_tunnel(arg, r))
        agent_lua_request(r);
}

struct cc_server *agent_server(struct agent *a)
{
    struct cc_server_opts o = { .limits = CC_HTTP_LIMITS, .handler = on_request, .arg = a };

    o.limits.body_bytes = 2 << 20; /* stdin of exec, in base64 */
    return cc_server_new(a->loop, &o);
}

static int usage(void)
{
    fputs("usage: cchost-agent --listen-fd N | --listen PATH  [--shell COMMAND] [--busy PATH] [--key SHA256]\n"
          "                    [--root FOLDER] [--clone-seconds N] [--ring BYTES] [--sessions N]\n",
          stderr);
    return 2;
}

static int listen_on(struct cc_server *s, const char *fd, const char *path)
{
    struct cc_err err;
    int rc = fd ? cc_server_listen_fd(s, atoi(fd), &err) : cc_server_listen_unix(s, path, 0600, &err);

    if (rc != 0)
        cc_log(CC_LOG_ERROR, "agent", "%s", err.message);
    return rc;
}

static bool number(const char *text, unsigned long min, unsigned long max)
{
    unsigned long n = strtoul(text, NULL, 10);

    return strspn(text, "0123456789") == strlen(text) && n >= min && n <= max;
}

/* What the agent before this one has left. */
static bool go_on(struct agent *a, struct cc_server *s, struct handover *h, int fd)
{
    struct cc_err err;

    if (!handover_read(fd, h)) {
        cc_log(CC_LOG_ERROR, "update", "the state of the agent before this one cannot be read");
        return false;
    }
    handover_keep(h, fd, false);
    close(fd);
    a->saved = h->lua;
    if (cc_server_listen_fd(s, h->listen, &err) != 0) {
        cc_log(CC_LOG_ERROR, "update", "%s", err.message);
        return false;
    }
    handover_take(a, h);
    cc_log(CC_LOG_INFO, "update", "this agent goes on where another was");
    return true;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(int argc, char **argv);
    } others[] = {
        { "busy", agent_busy }, { "check", agent_check }, { "dial", agent_dial }, { "health", agent_health },
        { "init", agent_init }, { "port", agent_port },   { "run", agent_run },   { "shell", agent_shell },
    };
    uv_loop_t loop;
    struct agent a = {
        .loop = &loop, .root = "/claude-data", .clone_seconds = 120, .ring = RING, .sessions = SESSIONS
    };
    struct handover before = { .listen = -1, .busy = -1 };
    const char *resume = NULL, *fd = NULL, *path = NULL, *busy = NULL, *slash = argc ? strrchr(argv[0], '/') : NULL;
    int i;

    if (argc && strcmp(slash ? slash + 1 : argv[0], "cchost-busy") == 0)
        return agent_busy(argc, argv);
    for (i = 0; argc > 1 && i < (int)(sizeof(others) / sizeof(*others)); i++)
        if (strcmp(argv[1], others[i].name) == 0)
            return others[i].run(argc - 1, argv + 1);
    for (i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--listen-fd") == 0)
            fd = argv[i + 1];
        else if (strcmp(argv[i], "--listen") == 0)
            path = argv[i + 1];
        else if (strcmp(argv[i], "--resume") == 0)
            resume = argv[i + 1];
        else if (strcmp(argv[i], "--shell") == 0)
            a.shell = argv[i + 1];
        else if (strcmp(argv[i], "--busy") == 0)
            busy = argv[i + 1];
        else if (strcmp(argv[i], "--ring") == 0 && number(argv[i + 1], CC_RING_MIN, 1 << 30))
            a.ring = strtoul(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--sessions") == 0 && number(argv[i + 1], 1, 10000))
            a.sessions = (unsigned)strtoul(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--key") == 0)
            a.key = argv[i + 1];
        else if (strcmp(argv[i], "--root") == 0)
            a.root = argv[i + 1];
        else if (strcmp(argv[i], "--clone-seconds") == 0)
            a.clone_seconds = atoi(argv[i + 1]);
        else
            return usage();
    }
    if (i < argc || !fd == !path || (a.key && !cc_secret_key_ok(a.key)))
        return usage();
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_NAME, "cchost-agent"); /* one that was exec'ed by its descriptor has that as its name */
    if (uv_loop_init(&loop) != 0)
        return 1;
    a.argv = argv;
    a.started_ms = cc_mono_ms();
    agent_activity_start();
    server = agent_server(&a);
    if (resume ? !go_on(&a, server, &before, atoi(resume)) : listen_on(server, fd, path) != 0)
        return 1;
    if (!agent_lua_open(&a))
        return 1;
    if (!resume)
        agent_lease_listen(&a, busy, path);
    else if (before.busy >= 0)
        agent_lease_go_on(&a, before.busy);
    a.saved = NULL; /* Lua has it by now */
    handover_free(&before);
    uv_run(&loop, UV_RUN_DEFAULT);
    return 0;
}
