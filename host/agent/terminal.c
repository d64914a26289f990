/* terminal.c - a shell in a pty behind a WebSocket, in ttyd's protocol (specs/ttyd).
 *
 * Bounded both ways: when the WebSocket's queue is not empty the pty is not
 * read, when the pty does not take input the WebSocket is not read.  The
 * shell's end closes with 1000 when it exited 0, else the connection is cut
 * (the client sees 1006), as ttyd does.  The socket's end is SIGHUP to the
 * shell's session.
 */
#include "host/agent/agent.h"

#include "host/http/ws.h"
#include "host/observe/log.h"
#include "host/sys/clock.h"
#include "host/sys/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { OUTPUT_CHUNK = 32 * 1024, MESSAGE_MAX = 256 * 1024 };

struct terminal {
    struct agent *agent;
    struct cc_ws *ws;           /* NULL once it has closed */
    uv_poll_t poll;             /* of the pty; `data` is this */
    int pty;                    /* -1 before the hello and after the end */
    pid_t pid;                  /* 0 before the hello and once reaped */
    bool started, full, paused; /* full: the WebSocket's queue; paused: the client asked */
    bool polling;               /* the poll handle is open */
    char *input;                /* typed, not yet taken by the pty */
    size_t input_len;
    int64_t last_input_ms;
    struct terminal *next;
};

static struct terminal *terminals;
static uv_signal_t child_signal;
static bool watching;

static void on_pty(uv_poll_t *h, int status, int events);

/* ---- life and death */

static void terminal_free(struct terminal *t)
{
    struct terminal **at = &terminals;

    while (*at != t)
        at = &(*at)->next;
    *at = t->next;
    free(t->input);
    free(t);
}

static void on_poll_closed(uv_handle_t *h)
{
    struct terminal *t = h->data;

    close(t->pty);
    t->pty = -1;
    t->polling = false;
    if (!t->ws && !t->pid)
        terminal_free(t);
}

static void close_pty(struct terminal *t)
{
    if (t->polling && !uv_is_closing((uv_handle_t *)&t->poll))
        uv_close((uv_handle_t *)&t->poll, on_poll_closed);
}

static void free_if_over(struct terminal *t)
{
    if (!t->ws && !t->pid && !t->polling)
        terminal_free(t);
}

/* ---- the pty */

static void update_poll(struct terminal *t)
{
    int events = (t->full || t->paused ? 0 : UV_READABLE) | (t->input_len ? UV_WRITABLE : 0);

    if (!t->polling || uv_is_closing((uv_handle_t *)&t->poll))
        return;
    if (events)
        uv_poll_start(&t->poll, events, on_pty);
    else
        uv_poll_stop(&t->poll);
}

/* One chunk from the pty to the socket. False when there is no more now. */
static bool move_output(struct terminal *t)
{
    static char buf[OUTPUT_CHUNK];
    ssize_t n = read(t->pty, buf + 1, sizeof(buf) - 1);

    if (n <= 0)
        return false;
    buf[0] = '0';
    if (t->ws && cc_ws_send(t->ws, CC_WS_BINARY, buf, (size_t)n + 1) != 0) {
        t->full = true;
        return false;
    }
    return true;
}

static void write_input(struct terminal *t)
{
    ssize_t n = write(t->pty, t->input, t->input_len);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n < 0)
        n = (ssize_t)t->input_len; /* nobody reads it any more */
    t->input_len -= (size_t)n;
    memmove(t->input, t->input + n, t->input_len);
    if (t->input_len == 0 && t->ws)
        cc_ws_resume(t->ws);
}

static void on_pty(uv_poll_t *h, int status, int events)
{
    struct terminal *t = h->data;

    if (status < 0) {
        close_pty(t);
        return;
    }
    if (events & UV_WRITABLE)
        write_input(t);
    if ((events & UV_READABLE) && !move_output(t) && errno == EIO && !t->full)
        close_pty(t); /* the last process of the session has closed it; its exit ends the connection */
    update_poll(t);
}

/* ---- the shell */

static bool in_path(const char *name)
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
    if (command)
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    else if (in_path("zellij"))
        execlp("zellij", "zellij", "attach", "--create", "claude", (char *)NULL);
    else if (in_path("tmux"))
        execlp("tmux", "tmux", "new-session", "-A", "-s", "claude", (char *)NULL);
    exec_login_shell();
}

static void send_text(struct terminal *t, char kind, const char *text)
{
    char buf[512];
    int n = snprintf(buf, sizeof(buf), "%c%s", kind, text);

    cc_ws_send(t->ws, CC_WS_BINARY, buf, (size_t)n);
}

static void send_greeting(struct terminal *t)
{
    char host[128] = "", title[400];

    gethostname(host, sizeof(host) - 1);
    snprintf(title, sizeof(title), "%s (%s)", t->agent->shell ? t->agent->shell : "claude", host);
    send_text(t, '1', title);
    send_text(t, '2', "{}");
}

static bool start_shell(struct terminal *t, unsigned short columns, unsigned short rows)
{
    struct winsize size = { .ws_col = columns, .ws_row = rows };
    sigset_t none;
    pid_t pid = forkpty(&t->pty, NULL, NULL, &size);

    if (pid == 0) {
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        signal(SIGPIPE, SIG_DFL);
        agent_exec_shell(t->agent->shell);
    }
    if (pid < 0)
        return false;
    t->pid = pid;
    fcntl(t->pty, F_SETFL, O_NONBLOCK);
    fcntl(t->pty, F_SETFD, FD_CLOEXEC);
    uv_poll_init(t->agent->loop, &t->poll, t->pty);
    t->poll.data = t;
    t->polling = true;
    update_poll(t);
    return true;
}

/* What it has written before it ended is sent; what others hold open after it is not waited for. */
static void shell_ended(struct terminal *t, int status)
{
    t->pid = 0;
    while (t->polling && !t->full && move_output(t))
        ;
    close_pty(t);
    if (t->ws && WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        cc_ws_close(t->ws, 1000, "");
    } else if (t->ws) {
        cc_ws_drop(t->ws);
        t->ws = NULL;
    }
    free_if_over(t);
}

static void on_child(uv_signal_t *h, int num)
{
    struct terminal *t, *next;
    int status;

    (void)h;
    (void)num;
    for (t = terminals; t; t = next) {
        next = t->next;
        if (t->pid && waitpid(t->pid, &status, WNOHANG) == t->pid)
            shell_ended(t, status);
    }
}

/* ---- the client's messages */

static bool read_size(const char *data, size_t len, unsigned short *columns, unsigned short *rows)
{
    json_t *o = json_loadb(data, len, 0, NULL);
    json_int_t c = json_integer_value(json_object_get(o, "columns")),
               r = json_integer_value(json_object_get(o, "rows"));

    json_decref(o);
    if (c < 1 || c > 5000 || r < 1 || r > 5000)
        return false;
    *columns = (unsigned short)c;
    *rows = (unsigned short)r;
    return true;
}

static void hello(struct terminal *t, const char *data, size_t len)
{
    unsigned short columns = 80, rows = 24;
    json_t *o;

    if (t->started)
        return; /* ttyd ignores a second one */
    o = len && data[0] == '{' ? json_loadb(data, len, 0, NULL) : NULL;
    if (!o) {
        cc_ws_close(t->ws, 1008, "the first message must be the JSON hello");
        return;
    }
    json_decref(o);
    read_size(data, len, &columns, &rows);
    t->started = true;
    send_greeting(t);
    if (!start_shell(t, columns, rows))
        cc_ws_close(t->ws, 1011, "cannot start a shell");
}

static void type(struct terminal *t, const char *data, size_t len)
{
    t->last_input_ms = t->agent->last_input_ms = cc_wall_ms();
    if (!t->polling || len == 0)
        return;
    t->input = cc_xrealloc(t->input, t->input_len + len); /* at most one message more than was left */
    memcpy(t->input + t->input_len, data, len);
    t->input_len += len;
    write_input(t);
    if (t->input_len)
        cc_ws_pause(t->ws);
    update_poll(t);
}

static void resize(struct terminal *t, const char *data, size_t len)
{
    struct winsize size = { 0 };

    if (t->polling && read_size(data, len, &size.ws_col, &size.ws_row))
        ioctl(t->pty, TIOCSWINSZ, &size);
}

static void on_message(void *arg, int kind, char *data, size_t len)
{
    struct terminal *t = arg;

    (void)kind;
    if (!t->started || (len && data[0] == '{')) {
        hello(t, data, len);
        return;
    }
    switch (len ? data[0] : 0) {
    case '0':
        type(t, data + 1, len - 1);
        break;
    case '1':
        resize(t, data + 1, len - 1);
        break;
    case '2':
        t->paused = true;
        break;
    case '3':
        t->paused = false;
        break;
    default:
        cc_log(CC_LOG_WARN, "terminal", "a message of an unknown kind was ignored");
    }
    update_poll(t);
}

static void on_drain(void *arg)
{
    struct terminal *t = arg;

    t->full = false;
    update_poll(t);
}

static void on_close(void *arg, int code, const char *reason, size_t len)
{
    struct terminal *t = arg;

    (void)code;
    (void)reason;
    (void)len;
    t->ws = NULL;
    if (t->pid)
        kill(-t->pid, SIGHUP);
    close_pty(t);
    free_if_over(t);
}

void agent_terminal(struct agent *a, struct cc_req *r)
{
    static const struct cc_ws_events events = { on_message, on_close, on_drain };
    const struct cc_ws_opts opts = { .protocol = "tty", .max_message = MESSAGE_MAX, .max_queue = 4 * OUTPUT_CHUNK };
    struct terminal *t = cc_xcalloc(1, sizeof(*t));
    int rc;

    if (!watching) {
        uv_signal_init(a->loop, &child_signal);
        uv_signal_start(&child_signal, on_child, SIGCHLD);
        watching = true;
    }
    t->agent = a;
    t->pty = -1;
    if ((rc = cc_ws_open(r, &opts, &events, t, &t->ws)) != 0) {
        free(t);
        cc_ws_refuse(r, rc);
        return;
    }
    t->next = terminals;
    terminals = t;
    cc_ws_resume(t->ws);
}

/* ---- what activity asks */

unsigned agent_terminals(void)
{
    const struct terminal *t;
    unsigned n = 0;

    for (t = terminals; t; t = t->next)
        n += t->ws != NULL;
    return n;
}

bool agent_foreground(char name[64])
{
    const struct terminal *t, *best = NULL;
    char path[64];
    pid_t group;
    FILE *f;

    for (t = terminals; t; t = t->next)
        if (t->polling && (!best || t->last_input_ms > best->last_input_ms))
            best = t;
    if (!best || (group = tcgetpgrp(best->pty)) <= 0)
        return false;
    snprintf(path, sizeof(path), "/proc/%d/comm", group);
    if (!(f = fopen(path, "re")))
        return false;
    if (!fgets(name, 64, f))
        name[0] = '\0';
    fclose(f);
    name[strcspn(name, "\n")] = '\0';
    return name[0] != '\0';
}
