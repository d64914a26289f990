/* log_line.h - one line of the log, as text.
 *
 * Whatever it is given comes out as one line that a JSON reader, or an eye, can take apart again: a value is cut between two
 * characters when it is too long, a field that does not fit is left out, and the line then says cut=true.  No state.
 * [any thread]
 */
#ifndef CC_LOG_LINE_H
#define CC_LOG_LINE_H

#include "host/observe/log.h"

enum { CC_LOG_LINE_MAX = 16384, CC_LOG_VALUE_MAX = 6000 };

struct cc_log_line {
    char buf[CC_LOG_LINE_MAX];
    size_t n;
    bool json, cut;
};

/* Of a line on the stack: the compiler is not to clear it first (-ftrivial-auto-var-init), which costs more than writing it. */
#ifdef __clang__
#define CC_LOG_LINE_LEFT_AS_IS __attribute__((uninitialized))
#elif __GNUC__ >= 12
#define CC_LOG_LINE_LEFT_AS_IS __attribute__((uninitialized))
#else
#define CC_LOG_LINE_LEFT_AS_IS
#endif

void cc_log_line_begin(struct cc_log_line *l, bool json);
void cc_log_line_field(struct cc_log_line *l, const struct cc_log_field *f);
void cc_log_line_text(struct cc_log_line *l, const char *key, const char *value);
void cc_log_line_time(struct cc_log_line *l);
void cc_log_line_end(struct cc_log_line *l); /* with its newline */

#endif
