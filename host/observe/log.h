/* log.h - one line an event.
 *
 * key=value for people in development, JSON for machines in production
 * (cc_log_init).  A line is formatted whole and written with one write(2) to
 * stderr.  Values are quoted and escaped, so that what a peer sent can never
 * forge a line.  Secrets are never passed to it.  [any thread]
 */
#ifndef CC_LOG_H
#define CC_LOG_H

#include <stdbool.h>
#include <stddef.h>

enum cc_log_level { CC_LOG_DEBUG, CC_LOG_INFO, CC_LOG_WARN, CC_LOG_ERROR };

struct cc_log_field {
    const char *key;
    const char *value;
    size_t len;
    bool bare; /* a number or true/false: written unquoted */
};

void cc_log_init(enum cc_log_level least, bool json);
bool cc_log_on(enum cc_log_level level);

/* `msg` is printf-like and becomes the field "msg". */
void cc_log(enum cc_log_level level, const char *module, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* With fields of its own. */
void cc_log_fields(enum cc_log_level level, const char *module, const char *msg, const struct cc_log_field *fields,
                   size_t n);

#endif
