/* way.c - the way into a server: one connection of ssh.h for each, with commands and the agent's socket in it.
 *
 * It is opened by what needs it first and ends by itself when nothing has gone
 * through it for a while, or when its server is about to.  A terminal is led
 * to the socket by the loop, which waits for nothing: a thread opens for it.
 */
#include "providers/hetzner/hetzner.h"

#include "host/observe/log.h"
#include "host/sys/clock.h"
#include "providers/ssh.h"

#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { CONNECT_S = 5, ASKED_MS = 15000 };

#define AGENT "/run/cchost/agent/agent.sock"

static const char *dir_of(const struct cc_hz *h, struct cc_arena *a, const char *short_id)
{
    return cc_hz_path(h, a, short_id, "");
}

const char *cc_hz_socket(const struct cc_hz *h, struct cc_arena *a, const char *short_id)
{
    return cc_ssh_socket(a, dir_of(h, a, short_id));
}

/* ---------------------------------------------------------------- to open, to end */

/* Until its own key has taken the first one's place, either is its. cloud-init lets our key in late. */
static struct cc_ssh_target target(const struct cc_hz *h, struct cc_arena *a, const struct cc_hz_box *b)
{
    struct cc_ssh_target t = {
        .dir = dir_of(h, a, b->short_id),
        .locks = h->dir,
        .ssh = h->ssh,
        .key = cc_arena_printf(a, "%s/id", h->dir),
        .user = "root",
        .host = b->server ? cc_hz_server_host(b->server) : b->host,
        .name = cc_arena_printf(a, "cc-%s", b->short_id),
        .port = h->ssh_port,
        .idle_s = (h->keep_ms + 999) / 1000,
        .key_late = true,
        .host_key = b->host_key,
        .agent = AGENT,
    };

    cc_hz_first_key(h, a, b->short_id, false, &t.other_key);
    return t;
}

int cc_hz_way_open(struct cc_hz *h, struct cc_provider_ctx *x, const struct cc_hz_box *b, struct cc_ssh_target *t)
{
    *t = target(h, x->arena, b);
    if (!t->host || !(t->host_key || t->other_key))
        return cc_err_set(x->err, CC_E_STATE, "this host knows no address and no host key of %s", t->name);
    return cc_ssh_open(t, x, CONNECT_S);
}

int cc_hz_way(struct cc_hz *h, struct cc_provider_ctx *x, const char *short_id)
{
    struct cc_hz_box b = { .short_id = short_id };
    struct cc_ssh_target t;

    if (cc_ssh_stands(dir_of(h, x->arena, short_id)))
        return 0;
    if (!cc_hz_load(h, x->arena, &b))
        return cc_err_set(x->err, CC_E_STATE, "this host knows nothing of cc-%s", short_id);
    return cc_hz_way_told(x, cc_hz_way_open(h, x, &b, &t));
}

int cc_hz_way_told(struct cc_provider_ctx *x, int r)
{
    return r == CC_E_DENIED ? cc_err_set(x->err, CC_E_UNAVAILABLE, "%s", cc_arena_strdup(x->arena, x->err->message))
                            : r;
}

void cc_hz_way_end(struct cc_hz *h, struct cc_provider_ctx *x, const char *short_id)
{
    struct cc_ssh_target t = { .dir = dir_of(h, x->arena, short_id),
                               .ssh = h->ssh,
                               .user = "root",
                               .host = cc_arena_printf(x->arena, "cc-%s", short_id) };

    cc_ssh_end(&t, x);
}

/* ---------------------------------------------------------------- for the loop */

static void open_asked(struct cc_hz *h, const char *short_id)
{
    struct cc_arena arena = { 0 };
    struct cc_err err = { 0 };
    struct cc_provider_ctx x = { .call = &h->ways.call, .arena = &arena, .err = &err };

    h->ways.call.deadline_ms = cc_mono_ms() + ASKED_MS;
    if (cc_hz_way(h, &x, short_id) != 0)
        cc_log(CC_LOG_WARN, "hetzner", "no way to cc-%s: %s", short_id, err.message);
    cc_arena_free(&arena);
}

static void *opener(void *arg)
{
    struct cc_hz *h = arg;
    struct cc_hz_ways *w = &h->ways;
    char id[16];

    pthread_mutex_lock(&w->lock);
    while (!atomic_load(&w->call.cancelled)) {
        if (w->n_wanted == 0) {
            pthread_cond_wait(&w->wake, &w->lock);
            continue;
        }
        memcpy(id, w->wanted[--w->n_wanted], sizeof(id));
        pthread_mutex_unlock(&w->lock);
        open_asked(h, id);
        pthread_mutex_lock(&w->lock);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

void cc_hz_ways_init(struct cc_hz *h)
{
    struct cc_hz_ways *w = &h->ways;

    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->wake, NULL);
    w->call.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    w->begun = true;
    w->running = pthread_create(&w->opener, NULL, opener, h) == 0;
}

void cc_hz_ways_fini(struct cc_hz *h)
{
    struct cc_hz_ways *w = &h->ways;
    uint64_t one = 1;

    if (!w->begun)
        return;
    pthread_mutex_lock(&w->lock);
    atomic_store(&w->call.cancelled, true);
    if (write(w->call.wake_fd, &one, sizeof(one)) < 0)
        cc_log(CC_LOG_WARN, "hetzner", "who opens the ways is not woken");
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
    if (w->running)
        pthread_join(w->opener, NULL);
    close(w->call.wake_fd);
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->wake);
}

void cc_hz_way_ask(struct cc_hz *h, const char *short_id)
{
    struct cc_hz_ways *w = &h->ways;
    struct cc_arena a = { 0 };
    bool there = cc_ssh_stands(dir_of(h, &a, short_id));

    cc_arena_free(&a);
    if (there)
        return;
    pthread_mutex_lock(&w->lock);
    if (w->n_wanted < sizeof(w->wanted) / sizeof(*w->wanted))
        strncpy(w->wanted[w->n_wanted++], short_id, sizeof(w->wanted[0]) - 1);
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
}
