/* log.c - see log.h. */
#include "host/observe/log.h"

#include "host/sys/clock.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 8192 };

struct line {
    char buf[LINE_MAX_BYTES];
    size_t n;
};

static enum cc_log_level least_level = CC_LOG_INFO;
static bool as_json;
static const char *const level_names[] = { "debug", "info", "warn", "error" };

void cc_log_init(enum cc_log_level least, bool json)
{
    least_level = least;
    as_json = json;
}

bool cc_log_on(enum cc_log_level level) { return level >= least_level; }

/* Room is kept for the end of the line, so that a cut value still closes its quote. */
static void put(struct line *l, const char *s, size_t n)
{
    size_t room = sizeof(l->buf) - 8 - l->n;

    if (n > room)
        n = room;
    memcpy(l->buf + l->n, s, n);
    l->n += n;
}

static void put_str(struct line *l, const char *s) { put(l, s, strlen(s)); }

static void put_escaped(struct line *l, const char *s, size_t n)
{
    char esc[8];
    size_t i;

    for (i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];

        if (c == '"' || c == '\\')
            put(l, (char[]){ '\\', (char)c }, 2);
        else if (c == '\n')
            put(l, "\\n", 2);
        else if (c == '\t')
            put(l, "\\t", 2);
        else if (c < 0x20 || c == 0x7f)
            put(l, esc, (size_t)snprintf(esc, sizeof(esc), "\\u%04x", c));
        else
            put(l, s + i, 1);
    }
}

static bool plain(const char *s, size_t n)
{
    size_t i;

    for (i = 0; i < n; i++)
        if ((unsigned char)s[i] <= ' ' || s[i] == '"' || s[i] == '=' || s[i] == '\\' || s[i] == 0x7f)
            return false;
    return n > 0;
}

static void put_field(struct line *l, const struct cc_log_field *f)
{
    bool bare = f->bare || (!as_json && plain(f->value, f->len));

    put_str(l, as_json ? (l->n > 1 ? ",\"" : "\"") : (l->n ? " " : ""));
    put_str(l, f->key);
    put_str(l, as_json ? "\":" : "=");
    if (!bare)
        put(l, "\"", 1);
    if (bare)
        put(l, f->value, f->len);
    else
        put_escaped(l, f->value, f->len);
    if (!bare)
        l->buf[l->n++] = '"';
}

static void put_text(struct line *l, const char *key, const char *value)
{
    struct cc_log_field f = { key, value, strlen(value), false };

    put_field(l, &f);
}

static void put_time(struct line *l)
{
    int64_t ms = cc_wall_ms();
    time_t sec = (time_t)(ms / 1000);
    struct tm tm;
    char day[32], text[48];

    gmtime_r(&sec, &tm);
    strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text, sizeof(text), "%s.%03dZ", day, (int)(ms % 1000));
    put_text(l, "time", text);
}

void cc_log_fields(enum cc_log_level level, const char *module, const char *msg, const struct cc_log_field *fields,
                   size_t n)
{
    struct line l = { .n = 0 };
    size_t i;
    ssize_t wrote;

    if (!cc_log_on(level))
        return;
    if (as_json)
        put(&l, "{", 1);
    put_time(&l);
    put_text(&l, "level", level_names[level]);
    put_text(&l, "module", module);
    put_text(&l, "msg", msg);
    for (i = 0; i < n; i++)
        put_field(&l, &fields[i]);
    if (as_json)
        l.buf[l.n++] = '}';
    l.buf[l.n++] = '\n';
    wrote = write(STDERR_FILENO, l.buf, l.n);
    (void)wrote; /* a log that cannot be written has nobody to tell */
}

void cc_log(enum cc_log_level level, const char *module, const char *fmt, ...)
{
    char msg[2048];
    va_list ap;

    if (!cc_log_on(level))
        return;
    va_start(ap, fmt);
    vsnprintf(msg, sizeof(msg), fmt, ap);
    va_end(ap);
    cc_log_fields(level, module, msg, NULL, 0);
}
