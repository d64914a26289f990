/* span_text.c - a span as OTLP's JSON has it: ids in hex, times as text, what is no UTF-8 replaced. */
#include "host/observe/span_slot.h"

#include "host/http/text.h"
#include "host/sys/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static char *room(struct cc_span_out *o, size_t n)
{
    if (o->cap - o->n < n) {
        o->cap = o->cap * 2 + n + 16384;
        o->p = cc_xrealloc(o->p, o->cap);
    }
    return o->p + o->n;
}

static void raw(struct cc_span_out *o, const char *p, size_t n)
{
    memcpy(room(o, n), p, n);
    o->n += n;
}

static void word(struct cc_span_out *o, const char *p) { raw(o, p, strlen(p)); }

static void quoted(struct cc_span_out *o, const char *p, size_t n)
{
    struct cc_utf8 u = { 0 };
    bool sound = cc_utf8_feed(&u, p, n) && cc_utf8_ended(&u);
    char *to = room(o, 6 * n + 2), *from = to;
    size_t i;

    *to++ = '"';
    for (i = 0; i < n; i++) {
        unsigned char c = (unsigned char)p[i];

        if (c == '"' || c == '\\') {
            *to++ = '\\';
            *to++ = (char)c;
        } else if (c < 0x20 || c == 0x7f) {
            to += snprintf(to, 7, "\\u%04x", c);
        } else {
            *to++ = c >= 0x80 && !sound ? '?' : (char)c;
        }
    }
    *to++ = '"';
    o->n += (size_t)(to - from);
}

static void hex(struct cc_span_out *o, const char *before, const unsigned char *id, size_t n)
{
    char text[33];

    cc_hex(text, id, n);
    word(o, before);
    raw(o, text, 2 * n);
    word(o, "\"");
}

static void number(struct cc_span_out *o, const char *before, int64_t v)
{
    char text[24];

    word(o, before);
    raw(o, text, (size_t)snprintf(text, sizeof(text), "%" PRId64, v));
    word(o, "\"");
}

struct part {
    int type;
    const char *key, *value;
    size_t keys, n;
};

/* The field at *at; false: there is none any more. */
static bool next(const struct cc_span *s, uint32_t *at, struct part *f)
{
    const unsigned char *p = s->data + *at;

    if (*at + CC_FIELD_HEAD > s->used)
        return false;
    f->type = p[0];
    f->keys = p[1];
    f->n = (size_t)p[2] << 8 | p[3];
    f->key = (const char *)p + CC_FIELD_HEAD;
    f->value = f->key + f->keys;
    *at += (uint32_t)(CC_FIELD_HEAD + f->keys + f->n);
    return *at <= s->used;
}

static void attribute(struct cc_span_out *o, const char *key, size_t keys, int type, const char *value, size_t n)
{
    int64_t v = 0;

    word(o, "{\"key\":");
    quoted(o, key, keys);
    if (type == CC_FIELD_NUMBER) {
        memcpy(&v, value, sizeof(v));
        number(o, ",\"value\":{\"intValue\":\"", v);
        word(o, "}}");
    } else if (type == CC_FIELD_TRUTH) {
        word(o, value[0] == 't' ? ",\"value\":{\"boolValue\":true}}" : ",\"value\":{\"boolValue\":false}}");
    } else {
        word(o, ",\"value\":{\"stringValue\":");
        quoted(o, value, n);
        word(o, "}}");
    }
}

static void attributes(struct cc_span_out *o, const struct cc_span *s)
{
    const char *between = "";
    uint32_t at = 0;
    struct part f;

    word(o, ",\"attributes\":[");
    while (next(s, &at, &f)) {
        if (f.type == CC_FIELD_TRACEBACK)
            continue;
        word(o, between);
        attribute(o, f.key, f.keys, f.type, f.value, f.n);
        between = ",";
    }
    word(o, "]");
}

static void events(struct cc_span_out *o, const struct cc_span *s)
{
    uint32_t at = 0;
    struct part f;

    while (next(s, &at, &f)) {
        if (f.type != CC_FIELD_TRACEBACK)
            continue;
        number(o, ",\"events\":[{\"timeUnixNano\":\"", s->start_ns + (int64_t)s->took_ns);
        word(o, ",\"name\":\"exception\",\"attributes\":[");
        attribute(o, "exception.type", 14, CC_FIELD_TEXT, "error", 5);
        word(o, ",");
        attribute(o, "exception.message", 17, CC_FIELD_TEXT, s->message, strlen(s->message));
        word(o, ",");
        attribute(o, f.key, f.keys, CC_FIELD_TEXT, f.value, f.n);
        word(o, "]}]");
        return;
    }
}

/* flags: what W3C says of the trace, and that we know that the parent is remote or not (bits 8 and 9 of OTLP): a server's
 * parent is. */
void cc_span_write(struct cc_span_out *o, const struct cc_span *s)
{
    static const unsigned char none[8];
    char text[96];
    bool remote;

    hex(o, o->n ? ",{\"traceId\":\"" : "{\"traceId\":\"", s->trace, sizeof(s->trace));
    hex(o, ",\"spanId\":\"", s->id, sizeof(s->id));
    remote = s->kind == CC_SPAN_SERVER && memcmp(s->parent, none, sizeof(none)) != 0;
    if (memcmp(s->parent, none, sizeof(none)) != 0)
        hex(o, ",\"parentSpanId\":\"", s->parent, sizeof(s->parent));
    word(o, ",\"name\":");
    quoted(o, s->name, strlen(s->name));
    raw(o, text, (size_t)snprintf(text, sizeof(text), ",\"kind\":%u,\"flags\":%u", s->kind, remote ? 0x301u : 0x101u));
    number(o, ",\"startTimeUnixNano\":\"", s->start_ns);
    number(o, ",\"endTimeUnixNano\":\"", s->start_ns + (int64_t)s->took_ns);
    attributes(o, s);
    events(o, s);
    if (s->cut)
        raw(o, text, (size_t)snprintf(text, sizeof(text), ",\"droppedAttributesCount\":%u", s->cut));
    if (s->failed) {
        word(o, ",\"status\":{\"code\":2,\"message\":");
        quoted(o, s->message, strlen(s->message));
        word(o, "}");
    }
    word(o, "}");
}

bool cc_span_sound(const struct cc_span *s)
{
    uint32_t at = 0;
    struct part f;

    if (s->state < CC_SLOT_OPEN || s->state > CC_SLOT_NOTE || s->kind < CC_SPAN_INTERNAL || s->kind > CC_SPAN_CLIENT ||
        s->used > CC_SLOT_DATA || !memchr(s->name, 0, sizeof(s->name)) || !memchr(s->message, 0, sizeof(s->message)))
        return false;
    while (at < s->used)
        if (!next(s, &at, &f) || (f.type == CC_FIELD_NUMBER && f.n != sizeof(int64_t)))
            return false;
    return true;
}
