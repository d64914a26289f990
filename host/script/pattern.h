/* pattern.h - Lua's string patterns, with an end.
 *
 * The same language as string.find of Lua 5.1 and LuaJIT, matched with a
 * count of steps: a pattern that would try for hours is given up. Nothing is
 * allocated; recursion ends at CC_PATTERN_DEPTH.  [any thread]
 */
#ifndef CC_SCRIPT_PATTERN_H
#define CC_SCRIPT_PATTERN_H

#include <stddef.h>
#include <stdint.h>

enum { CC_PATTERN_CAPTURES = 32, CC_PATTERN_DEPTH = 200, CC_CAPTURE_OPEN = -1, CC_CAPTURE_POSITION = -2 };

struct cc_capture {
    const char *start;
    ptrdiff_t len; /* or one of CC_CAPTURE_* */
};

struct cc_pattern {
    /* set by the caller */
    const char *text, *text_end;
    const char *pattern_end;
    uint64_t steps; /* left; shared by all tries of one call */
    /* results of a match */
    int captures;
    struct cc_capture capture[CC_PATTERN_CAPTURES];
    /* why there is none, when it is not that nothing fits: malformed, or out of steps */
    const char *error;
    int depth;
};

/* Tries to match at `s` exactly the pattern that begins at `p` (behind its ^, if it had one). The end of what matched, or
 * NULL: nothing fits, or m->error says why not. Captures that are left open are an error. */
const char *cc_pattern_match(struct cc_pattern *m, const char *s, const char *p);

/* Why the pattern (with its ^, if it has one) cannot be, or NULL. */
const char *cc_pattern_fault(const char *p, const char *end);

#endif
