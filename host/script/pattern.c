/* pattern.c - see pattern.h.
 *
 * A backtracking matcher: `match` walks pattern and text together and calls
 * itself only where there is something to come back to. Every step of a
 * loop over text or pattern is counted.
 */
#include "host/script/pattern.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

static const char *match(struct cc_pattern *m, const char *s, const char *p);

static const char *fail(struct cc_pattern *m, const char *why)
{
    if (!m->error)
        m->error = why;
    return NULL;
}

static bool step(struct cc_pattern *m)
{
    if (m->error)
        return false;
    if (m->steps == 0) {
        fail(m, "the pattern takes too many steps on this text");
        return false;
    }
    m->steps--;
    return true;
}

/* Behind the single item at p: a character, %x, or [set]. */
static const char *item_end(struct cc_pattern *m, const char *p)
{
    if (*p == '%') {
        if (p + 1 >= m->pattern_end)
            return fail(m, "malformed pattern: it ends with '%'");
        return p + 2;
    }
    if (*p++ != '[')
        return p;
    if (p < m->pattern_end && *p == '^')
        p++;
    do { /* the first character of a set is not its end */
        if (p >= m->pattern_end)
            return fail(m, "malformed pattern: ']' is missing");
        if (*p++ == '%') {
            if (p >= m->pattern_end)
                return fail(m, "malformed pattern: ']' is missing");
            p++;
        }
    } while (p >= m->pattern_end || *p != ']');
    return p + 1;
}

static bool in_class(unsigned char c, char class)
{
    bool is;

    switch (tolower((unsigned char)class)) {
    case 'a':
        is = isalpha(c);
        break;
    case 'c':
        is = iscntrl(c);
        break;
    case 'd':
        is = isdigit(c);
        break;
    case 'g':
        is = isgraph(c);
        break;
    case 'l':
        is = islower(c);
        break;
    case 'p':
        is = ispunct(c);
        break;
    case 's':
        is = isspace(c);
        break;
    case 'u':
        is = isupper(c);
        break;
    case 'w':
        is = isalnum(c);
        break;
    case 'x':
        is = isxdigit(c);
        break;
    case 'z':
        is = c == 0;
        break;
    default:
        return (unsigned char)class == c;
    }
    return isupper((unsigned char)class) ? !is : is;
}

/* Is c in the set from p ('[') to last (']')? */
static bool in_set(struct cc_pattern *m, unsigned char c, const char *p, const char *last)
{
    bool positive = true;

    if (p[1] == '^') {
        positive = false;
        p++;
    }
    while (++p < last && step(m)) {
        if (*p == '%') {
            if (in_class(c, *++p))
                return positive;
        } else if (p[1] == '-' && p + 2 < last) {
            p += 2;
            if ((unsigned char)p[-2] <= c && c <= (unsigned char)*p)
                return positive;
        } else if ((unsigned char)*p == c) {
            return positive;
        }
    }
    return !positive;
}

/* Does the character at s fit the single item from p to end? */
static bool fits(struct cc_pattern *m, const char *s, const char *p, const char *end)
{
    unsigned char c;

    if (s >= m->text_end || !step(m))
        return false;
    c = (unsigned char)*s;
    if (*p == '.')
        return true;
    if (*p == '%')
        return in_class(c, p[1]);
    if (*p == '[')
        return in_set(m, c, p, end - 1);
    return (unsigned char)*p == c;
}

static const char *balanced(struct cc_pattern *m, const char *s, const char *p)
{
    int open = 1;

    if (p + 1 >= m->pattern_end)
        return fail(m, "malformed pattern: two characters are missing behind %b");
    if (s >= m->text_end || *s != *p)
        return NULL;
    while (++s < m->text_end && step(m)) {
        if (*s == p[1]) {
            if (--open == 0)
                return s + 1;
        } else if (*s == *p) {
            open++;
        }
    }
    return NULL;
}

/* item* and item+: as many as there are, then fewer. */
static const char *most(struct cc_pattern *m, const char *s, const char *p, const char *end)
{
    ptrdiff_t n = 0;

    while (fits(m, s + n, p, end))
        n++;
    for (; n >= 0 && step(m); n--) {
        const char *r = match(m, s + n, end + 1);

        if (r || m->error)
            return r;
    }
    return NULL;
}

/* item-: none, then more. */
static const char *least(struct cc_pattern *m, const char *s, const char *p, const char *end)
{
    for (;;) {
        const char *r = match(m, s, end + 1);

        if (r || m->error)
            return r;
        if (!fits(m, s, p, end))
            return NULL;
        s++;
    }
}

static const char *open_capture(struct cc_pattern *m, const char *s, const char *p, ptrdiff_t kind)
{
    const char *r;

    if (m->captures >= CC_PATTERN_CAPTURES)
        return fail(m, "too many captures");
    m->capture[m->captures++] = (struct cc_capture){ s, kind };
    if (!(r = match(m, s, p)))
        m->captures--;
    return r;
}

static const char *close_capture(struct cc_pattern *m, const char *s, const char *p)
{
    int i = m->captures - 1;
    const char *r;

    while (i >= 0 && m->capture[i].len != CC_CAPTURE_OPEN)
        i--;
    if (i < 0)
        return fail(m, "malformed pattern: ')' without '('");
    m->capture[i].len = s - m->capture[i].start;
    if (!(r = match(m, s, p)))
        m->capture[i].len = CC_CAPTURE_OPEN;
    return r;
}

/* %1 to %9: the same text again. */
static const char *again(struct cc_pattern *m, const char *s, char digit)
{
    int i = digit - '1';
    ptrdiff_t len;

    if (i < 0 || i >= m->captures || m->capture[i].len == CC_CAPTURE_OPEN)
        return fail(m, "invalid capture index");
    len = m->capture[i].len;
    if (len == CC_CAPTURE_POSITION)
        len = 0;
    if (m->text_end - s < len || memcmp(m->capture[i].start, s, (size_t)len) != 0)
        return NULL;
    if (m->steps < (uint64_t)len)
        return fail(m, "the pattern takes too many steps on this text");
    m->steps -= (uint64_t)len;
    return s + len;
}

/* %f[set]: here the set begins to fit. */
static const char *frontier(struct cc_pattern *m, const char *s, const char **p)
{
    const char *set = *p, *end;
    unsigned char before, here;

    if (set >= m->pattern_end || *set != '[')
        return fail(m, "malformed pattern: '[' is missing behind %f");
    if (!(end = item_end(m, set)))
        return NULL;
    before = s == m->text ? 0 : (unsigned char)s[-1];
    here = s < m->text_end ? (unsigned char)*s : 0;
    if (in_set(m, before, set, end - 1) || !in_set(m, here, set, end - 1))
        return NULL;
    *p = end;
    return s;
}

/* A single item with what follows it. Sets *s and *p and returns true to go on in the same match; else *result is it. */
static bool single(struct cc_pattern *m, const char **s, const char **p, const char **result)
{
    const char *end = item_end(m, *p);
    const char *r;
    char quantifier;

    *result = NULL;
    if (!end)
        return false;
    quantifier = end < m->pattern_end ? *end : '\0';
    switch (quantifier) {
    case '?':
        if (fits(m, *s, *p, end) && ((r = match(m, *s + 1, end + 1)) || m->error)) {
            *result = r;
            return false;
        }
        *p = end + 1;
        return !m->error;
    case '*':
        *result = most(m, *s, *p, end);
        return false;
    case '+':
        *result = fits(m, *s, *p, end) ? most(m, *s + 1, *p, end) : NULL;
        return false;
    case '-':
        *result = least(m, *s, *p, end);
        return false;
    default:
        if (!fits(m, *s, *p, end))
            return false;
        ++*s;
        *p = end;
        return true;
    }
}

/* %b, %f and %1: consume and go on. -> true when *p was one of them; *s is NULL when it did not fit */
static bool special(struct cc_pattern *m, const char **s, const char **p)
{
    char c = *p + 1 < m->pattern_end ? (*p)[1] : '\0';

    if (c == 'b') {
        *s = balanced(m, *s, *p + 2);
        *p += 4;
    } else if (c == 'f') {
        *p += 2;
        *s = frontier(m, *s, p);
    } else if (c >= '0' && c <= '9') {
        *s = again(m, *s, c);
        *p += 2;
    } else {
        return false;
    }
    return true;
}

static const char *walk(struct cc_pattern *m, const char *s, const char *p)
{
    const char *result;

    while (s && p < m->pattern_end) {
        if (!step(m))
            return NULL;
        if (*p == '(') {
            bool position = p + 1 < m->pattern_end && p[1] == ')';

            return open_capture(m, s, position ? p + 2 : p + 1, position ? CC_CAPTURE_POSITION : CC_CAPTURE_OPEN);
        }
        if (*p == ')')
            return close_capture(m, s, p + 1);
        if (*p == '$' && p + 1 == m->pattern_end)
            return s == m->text_end ? s : NULL;
        if (*p == '%' && special(m, &s, &p))
            continue;
        if (!single(m, &s, &p, &result))
            return result;
    }
    return s;
}

static const char *match(struct cc_pattern *m, const char *s, const char *p)
{
    const char *r;

    if (m->depth >= CC_PATTERN_DEPTH)
        return fail(m, "pattern too complex");
    m->depth++;
    r = walk(m, s, p);
    m->depth--;
    return r;
}

const char *cc_pattern_match(struct cc_pattern *m, const char *s, const char *p)
{
    const char *end;
    int i;

    m->captures = 0;
    m->depth = 0;
    m->error = NULL;
    end = match(m, s, p);
    for (i = 0; end && i < m->captures; i++)
        if (m->capture[i].len == CC_CAPTURE_OPEN)
            return fail(m, "malformed pattern: ')' is missing");
    return m->error ? NULL : end;
}

/* %b and %f want what is behind them; %1 to %9 a capture. -> behind it, or NULL with m->error */
static const char *special_end(struct cc_pattern *m, const char *p)
{
    ptrdiff_t left = m->pattern_end - p;

    if (p[1] == 'b')
        return left < 4 ? fail(m, "malformed pattern: two characters are missing behind %b") : p + 4;
    if (p[1] == 'f')
        return left < 3 || p[2] != '[' ? fail(m, "malformed pattern: '[' is missing behind %f") : p + 2;
    return p[1] == '0' || p[1] - '0' > m->captures ? fail(m, "invalid capture index") : p + 2;
}

const char *cc_pattern_fault(const char *p, const char *end)
{
    struct cc_pattern m = { .pattern_end = end };
    int open = 0;

    if (p < end && *p == '^')
        p++;
    while (!m.error && p < end) {
        if (*p == '(') {
            if (++m.captures > CC_PATTERN_CAPTURES)
                return "too many captures";
            open++;
            p++;
        } else if (*p == ')') {
            if (--open < 0)
                return "malformed pattern: ')' without '('";
            p++;
        } else if (*p == '%' && p + 1 < end && strchr("bf0123456789", p[1]) && p[1]) {
            p = special_end(&m, p);
        } else {
            p = item_end(&m, p);
        }
    }
    return !m.error && open > 0 ? "malformed pattern: ')' is missing" : m.error;
}
