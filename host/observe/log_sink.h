/* log_sink.h - where the log's lines go: what log.c and log_sink.c share.
 *
 * A ring of bytes under one mutex that is held for a memcpy; one thread writes it out in as large pieces as there are.
 * [any thread]
 */
#ifndef CC_LOG_SINK_H
#define CC_LOG_SINK_H

#include <stddef.h>
#include <stdint.h>

void cc_log_sink_put(const char *line, size_t n); /* a whole line; never waits once the thread runs */

/* log.c: the line that tells of `n` that were dropped; why: errno of what could not be written, 0: there was no room in the
 * buffer. Its length, 0: there is no room. */
size_t cc_log_dropped_line(char *out, size_t room, uint64_t n, int why);

#endif
