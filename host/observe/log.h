/* log.h - one line an event.
 *
 * key=value for people in development, JSON for machines in production.  A line says when, how grave, which module, what; for
 * whom, from the thread's context (request_id, trace_id, span_id, user, machine: host/sys/context.h); then its own fields.
 * Values are quoted and escaped, so that what a peer sent can never forge a line; what is too long is cut and says so.
 * Secrets are never passed to it.
 *
 * Until cc_log_start a line is written with one write(2) to stderr.  After it lines go into a bounded buffer that a thread
 * writes out: no caller ever waits for a disk or a reader.  What does not fit is dropped whole, counted, and told in the log
 * as soon as there is room.  [any thread]
 */
#ifndef CC_LOG_H
#define CC_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cc_err;

enum cc_log_level { CC_LOG_DEBUG, CC_LOG_INFO, CC_LOG_WARN, CC_LOG_ERROR, CC_LOG_OFF };

struct cc_log_field {
    const char *key;
    const char *value;
    size_t len;
    bool bare; /* a number or true/false: written unquoted */
};

void cc_log_init(enum cc_log_level least, bool json);
bool cc_log_on(enum cc_log_level level, const char *module);

/* "debug", ..., "error", "off"; -1: none of them. */
int cc_log_level_of(const char *word);
const char *cc_log_level_word(enum cc_log_level level);

/* A level of one module's own, also for one that has not been heard of; a negative one takes it back. CC_E_LIMIT: more
 * modules than there is room for, CC_E_INVALID: no such name. [loop] */
enum { CC_LOG_MODULES = 64, CC_LOG_MODULE_MAX = 31 };
int cc_log_set(const char *module, int level);
void cc_log_set_least(enum cc_log_level least); /* of all that have none */
enum cc_log_level cc_log_least(void);
/* The i-th module with a level of its own; NULL behind the last. [loop] */
const char *cc_log_module(unsigned i, enum cc_log_level *level);

/* `msg` is printf-like and becomes the field "msg". */
void cc_log(enum cc_log_level level, const char *module, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* With fields of its own. One that is named as one of the context's takes its place. */
void cc_log_fields(enum cc_log_level level, const char *module, const char *msg, const struct cc_log_field *fields,
                   size_t n);

/* An error with its traceback. */
void cc_log_raised(const char *module, const char *msg, const char *traceback);

/* From here on by a thread, into `path` (appended to; NULL: stderr), through a buffer of so many bytes. */
int cc_log_start(const char *path, size_t buffer, struct cc_err *err);
void cc_log_reopen(void); /* the file's name may mean another file now; the thread sees to it */
void cc_log_stop(void);   /* writes out what is left, two seconds at most; then as before cc_log_start [loop] */

struct cc_log_stats {
    uint64_t lines, dropped; /* dropped: for want of room, or because they could not be written */
    size_t waiting;          /* bytes in the buffer */
};
void cc_log_stats(struct cc_log_stats *out);

#endif
