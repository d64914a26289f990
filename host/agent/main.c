/* main.c - cchost-agent: a small HTTP server on a unix socket, and cchost-busy. See agent.h. */
#include "host/agent/agent.h"
#include "host/agent/conf.h"

#include "host/http/server.h"
#include "host/observe/log.h"
#include "host/sys/clock.h"
#include "host/sys/err.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AGENT_VERSION "0.1.0"

void agent_reply(struct cc_req *r, int status, json_t *o)
{
    char *text = json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS);

    json_decref(o);
    if (text)
        cc_req_reply(r, status, NULL, 0, text, strlen(text));
    else
        cc_req_reply_error(r, 500, "internal", "the answer is no JSON");
    free(text);
}

static void health(struct agent *a, struct cc_req *r)
{
    agent_reply(r, 200,
                json_pack("{s:s,s:s,s:I}", "status", "ok", "version", AGENT_VERSION, "uptime_ms",
                          (json_int_t)(cc_mono_ms() - a->started_ms)));
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
        { "GET", "/ws", agent_terminal },
    };
    struct cc_text path = cc_req_path(r);
    size_t i;

    for (i = 0; i < sizeof(routes) / sizeof(*routes); i++) {
        if (strlen(routes[i].path) == path.n && memcmp(routes[i].path, path.p, path.n) == 0 &&
            strcmp(routes[i].method, cc_req_method(r)) == 0) {
            routes[i].run(arg, r);
            return;
        }
    }
    cc_req_reply_error(r, 404, "not_found", "no such route");
}

static int usage(void)
{
    fputs("usage: cchost-agent --listen-fd N | --listen PATH  [--shell COMMAND] [--busy PATH]\n", stderr);
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

int main(int argc, char **argv)
{
    uv_loop_t loop;
    struct agent a = { .loop = &loop };
    struct cc_server_opts o = { .limits = CC_HTTP_LIMITS, .handler = on_request, .arg = &a };
    const char *fd = NULL, *path = NULL, *busy = NULL, *slash = argc ? strrchr(argv[0], '/') : NULL;
    int i;

    if (argc && strcmp(slash ? slash + 1 : argv[0], "cchost-busy") == 0)
        return agent_busy(argc, argv);
    if (argc > 1 && strcmp(argv[1], "busy") == 0)
        return agent_busy(argc - 1, argv + 1);
    if (argc > 1 && strcmp(argv[1], "init") == 0)
        return agent_init(argc - 1, argv + 1);
    if (argc > 1 && strcmp(argv[1], "run") == 0)
        return agent_run(argc - 1, argv + 1);
    if (argc == 2 && strcmp(argv[1], "shell") == 0)
        return agent_shell();
    for (i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--listen-fd") == 0)
            fd = argv[i + 1];
        else if (strcmp(argv[i], "--listen") == 0)
            path = argv[i + 1];
        else if (strcmp(argv[i], "--shell") == 0)
            a.shell = argv[i + 1];
        else if (strcmp(argv[i], "--busy") == 0)
            busy = argv[i + 1];
        else
            return usage();
    }
    if (i < argc || !fd == !path)
        return usage();
    signal(SIGPIPE, SIG_IGN);
    if (uv_loop_init(&loop) != 0)
        return 1;
    a.started_ms = cc_mono_ms();
    agent_activity_start();
    o.limits.body_bytes = 2 << 20; /* stdin of exec, in base64 */
    if (listen_on(cc_server_new(&loop, &o), fd, path) != 0)
        return 1;
    agent_lease_listen(&a, busy, path);
    uv_run(&loop, UV_RUN_DEFAULT);
    return 0;
}
