/* log.c - see log.h. What is written, and in which words; where to: log_sink.c. */
#include "host/observe/log.h"

#include "host/observe/log_line.h"
#include "host/observe/log_sink.h"
#include "host/sys/context.h"
#include "host/sys/err.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { CONTEXT_FIELDS = 5 };

/* Only the loop adds; a name stands before the count says so. A level below 0: none of its own. */
struct module {
    char name[CC_LOG_MODULE_MAX + 1];
    atomic_int level;
};

static atomic_int least_level = CC_LOG_INFO;
static atomic_bool as_json;
static struct module modules[CC_LOG_MODULES];
static atomic_uint n_modules;

static const char *const level_names[] = { "debug", "info", "warn", "error", "off" };

void cc_log_init(enum cc_log_level least, bool json)
{
    atomic_store(&least_level, (int)least);
    atomic_store(&as_json, json);
}

int cc_log_level_of(const char *word)
{
    int i;

    for (i = CC_LOG_DEBUG; i <= CC_LOG_OFF; i++)
        if (strcmp(word, level_names[i]) == 0)
            return i;
    return -1;
}

const char *cc_log_level_word(enum cc_log_level level) { return level_names[level]; }
void cc_log_set_least(enum cc_log_level least) { atomic_store(&least_level, (int)least); }
enum cc_log_level cc_log_least(void) { return (enum cc_log_level)atomic_load(&least_level); }

static struct module *find(const char *name)
{
    unsigned i, n = atomic_load_explicit(&n_modules, memory_order_acquire);

    for (i = 0; i < n; i++)
        if (strcmp(modules[i].name, name) == 0)
            return &modules[i];
    return NULL;
}

bool cc_log_on(enum cc_log_level level, const char *module)
{
    struct module *m = find(module);
    int own = m ? atomic_load_explicit(&m->level, memory_order_relaxed) : -1;

    return (int)level >= (own >= 0 ? own : atomic_load_explicit(&least_level, memory_order_relaxed));
}

int cc_log_set(const char *name, int level)
{
    struct module *m = find(name);
    size_t len = strlen(name);
    unsigned n = atomic_load(&n_modules);

    if (len == 0 || len > CC_LOG_MODULE_MAX || level > CC_LOG_OFF)
        return CC_E_INVALID;
    if (!m && level < 0)
        return 0;
    if (!m && n == CC_LOG_MODULES)
        return CC_E_LIMIT;
    if (!m) {
        m = &modules[n];
        memcpy(m->name, name, len + 1);
    }
    atomic_store(&m->level, level < 0 ? -1 : level);
    if (m == &modules[n])
        atomic_store_explicit(&n_modules, n + 1, memory_order_release);
    return 0;
}

const char *cc_log_module(unsigned i, enum cc_log_level *level)
{
    unsigned k, n = atomic_load(&n_modules);

    for (k = 0; k < n; k++) {
        int own = atomic_load(&modules[k].level);

        if (own >= 0 && i-- == 0) {
            *level = (enum cc_log_level)own;
            return modules[k].name;
        }
    }
    return NULL;
}

/* ---------------------------------------------------------------- lines */

static bool named(const struct cc_log_field *f, size_t n, const char *key)
{
    size_t i;

    for (i = 0; i < n; i++)
        if (strcmp(f[i].key, key) == 0)
            return true;
    return false;
}

static void put_context(struct cc_log_line *l, const struct cc_log_field *f, size_t n)
{
    const struct cc_context *c = cc_context_now();
    char trace[33], span[17];
    struct cc_log_field own[CONTEXT_FIELDS];
    size_t i;

    if (!c)
        return;
    trace[0] = span[0] = 0;
    if (c->traced) {
        cc_hex(trace, c->trace, sizeof(c->trace));
        cc_hex(span, c->span, sizeof(c->span));
    }
    own[0] = (struct cc_log_field){ "request_id", c->request, strlen(c->request), false };
    own[1] = (struct cc_log_field){ "trace_id", trace, strlen(trace), false };
    own[2] = (struct cc_log_field){ "span_id", span, strlen(span), false };
    own[3] = (struct cc_log_field){ "user", c->user, strlen(c->user), false };
    own[4] = (struct cc_log_field){ "machine", c->machine, strlen(c->machine), false };
    for (i = 0; i < CONTEXT_FIELDS; i++)
        if (own[i].len && !named(f, n, own[i].key))
            cc_log_line_field(l, &own[i]);
}

void cc_log_fields(enum cc_log_level level, const char *module, const char *msg, const struct cc_log_field *fields,
                   size_t n)
{
    struct cc_log_line l CC_LOG_LINE_LEFT_AS_IS;
    size_t i;

    if (!cc_log_on(level, module))
        return;
    cc_log_line_begin(&l, atomic_load_explicit(&as_json, memory_order_relaxed));
    cc_log_line_time(&l);
    cc_log_line_text(&l, "level", level_names[level]);
    cc_log_line_text(&l, "module", module);
    cc_log_line_text(&l, "msg", msg);
    put_context(&l, fields, n);
    for (i = 0; i < n; i++)
        cc_log_line_field(&l, &fields[i]);
    cc_log_line_end(&l);
    cc_log_sink_put(l.buf, l.n);
}

void cc_log(enum cc_log_level level, const char *module, const char *fmt, ...)
{
    char msg[2048];
    va_list ap;

    if (!cc_log_on(level, module))
        return;
    va_start(ap, fmt);
    vsnprintf(msg, sizeof(msg), fmt, ap);
    va_end(ap);
    cc_log_fields(level, module, msg, NULL, 0);
}

void cc_log_raised(const char *module, const char *msg, const char *traceback)
{
    struct cc_log_field f = { "traceback", traceback, strlen(traceback), false };

    cc_log_fields(CC_LOG_ERROR, module, msg, &f, 1);
}

/* What the sink has to say comes from its own thread, past its buffer. */
size_t cc_log_dropped_line(char *out, size_t room, uint64_t n, int why)
{
    struct cc_log_line l;
    char count[24], text[128];
    struct cc_log_field f = { "lines", count, 0, true };

    f.len = (size_t)snprintf(count, sizeof(count), "%llu", (unsigned long long)n);
    cc_log_line_begin(&l, atomic_load(&as_json));
    cc_log_line_time(&l);
    cc_log_line_text(&l, "level", "warn");
    cc_log_line_text(&l, "module", "log");
    cc_log_line_text(&l, "msg",
                     why ? "lines were dropped: the log could not be written"
                         : "lines were dropped: the log is not written as fast as it grows");
    if (why)
        cc_log_line_text(&l, "error", strerror_r(why, text, sizeof(text)));
    cc_log_line_field(&l, &f);
    cc_log_line_end(&l);
    if (l.n > room)
        return 0;
    memcpy(out, l.buf, l.n);
    return l.n;
}
