/* log_line.c - see log_line.h. */
#include "host/observe/log_line.h"

#include "host/sys/clock.h"
#include "host/sys/utf8.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { END_ROOM = 24 }; /* for `,"cut":true}` and the newline */

static bool put(struct cc_log_line *l, const char *s, size_t n)
{
    if (n > sizeof(l->buf) - END_ROOM - l->n)
        return false;
    memcpy(l->buf + l->n, s, n);
    l->n += n;
    return true;
}

/* One character, as it is written within quotes; *used: the bytes that it was. */
static bool put_character(struct cc_log_line *l, const unsigned char *s, size_t n, size_t *used)
{
    char esc[8];

    *used = 1;
    if (s[0] == '"' || s[0] == '\\')
        return put(l, (char[]){ '\\', (char)s[0] }, 2);
    if (s[0] == '\n')
        return put(l, "\\n", 2);
    if (s[0] == '\t')
        return put(l, "\\t", 2);
    if (s[0] < 0x20 || s[0] == 0x7f)
        return put(l, esc, (size_t)snprintf(esc, sizeof(esc), "\\u%04x", s[0]));
    *used = cc_utf8_length(s, n);
    if (*used)
        return put(l, (const char *)s, *used);
    *used = 1;
    return put(l, "\xef\xbf\xbd", 3); /* no UTF-8: U+FFFD */
}

/* How many bytes from s on are written as they are. */
static size_t run_of_plain(const unsigned char *s, size_t n)
{
    size_t i = 0;

    while (i < n && s[i] >= 0x20 && s[i] < 0x7f && s[i] != '"' && s[i] != '\\')
        i++;
    return i;
}

/* As much of it as fits, and a mark where it was cut. */
static void put_quoted(struct cc_log_line *l, const char *s, size_t n)
{
    const unsigned char *p = (const unsigned char *)s;
    size_t used, from = l->n, most = n < CC_LOG_VALUE_MAX ? n : CC_LOG_VALUE_MAX;
    size_t at = run_of_plain(p, most);

    if (!put(l, s, at))
        at = 0;
    while (at < n && l->n - from < CC_LOG_VALUE_MAX && put_character(l, p + at, n - at, &used))
        at += used;
    if (at < n) {
        put(l, "\xe2\x80\xa6", 3);
        l->cut = true;
    }
}

static bool plain(const char *s, size_t n)
{
    size_t i;

    for (i = 0; i < n; i++)
        if ((unsigned char)s[i] <= ' ' || s[i] == '"' || s[i] == '=' || s[i] == '\\' || (unsigned char)s[i] >= 0x7f)
            return false;
    return n > 0;
}

static bool put_key(struct cc_log_line *l, const char *key)
{
    size_t used, n = strlen(key);
    size_t at = 0;

    if (!l->json)
        return put(l, " ", l->n > 0) && put(l, key, n) && put(l, "=", 1);
    if (!put(l, ",\"", l->n > 1 ? 2 : 0) || !put(l, "\"", l->n > 1 ? 0 : 1))
        return false;
    at = run_of_plain((const unsigned char *)key, n);
    if (!put(l, key, at))
        return false;
    while (at < n) {
        if (!put_character(l, (const unsigned char *)key + at, n - at, &used))
            return false;
        at += used;
    }
    return put(l, "\":", 2);
}

void cc_log_line_field(struct cc_log_line *l, const struct cc_log_field *f)
{
    size_t from = l->n;
    bool ok = put_key(l, f->key);

    if (ok && (f->bare || (!l->json && f->len <= CC_LOG_VALUE_MAX && plain(f->value, f->len)))) {
        ok = put(l, f->value, f->len);
    } else if (ok && (ok = put(l, "\"", 1))) {
        put_quoted(l, f->value, f->len);
        ok = put(l, "\"", 1);
    }
    if (ok)
        return;
    l->n = from;
    l->cut = true;
}

void cc_log_line_text(struct cc_log_line *l, const char *key, const char *value)
{
    struct cc_log_field f = { key, value, strlen(value), false };

    cc_log_line_field(l, &f);
}

void cc_log_line_time(struct cc_log_line *l)
{
    static _Thread_local time_t told = -1; /* the second that `text` begins with */
    static _Thread_local char text[32];
    int64_t ms = cc_wall_ms();
    time_t sec = (time_t)(ms / 1000);
    struct tm tm;

    if (sec != told) {
        gmtime_r(&sec, &tm);
        strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S.000Z", &tm);
        told = sec;
    }
    text[20] = (char)('0' + ms / 100 % 10);
    text[21] = (char)('0' + ms / 10 % 10);
    text[22] = (char)('0' + ms % 10);
    cc_log_line_text(l, "time", text);
}

void cc_log_line_begin(struct cc_log_line *l, bool json)
{
    l->n = 0;
    l->cut = false;
    l->json = json;
    if (json)
        put(l, "{", 1);
}

/* Into the room that put() keeps free. */
void cc_log_line_end(struct cc_log_line *l)
{
    const char *end = l->json ? (l->cut ? ",\"cut\":true}\n" : "}\n") : l->cut ? " cut=true\n" : "\n";
    size_t n = strlen(end);

    memcpy(l->buf + l->n, end, n);
    l->n += n;
}
