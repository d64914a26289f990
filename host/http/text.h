/* text.h - the small questions about bytes that HTTP and WebSocket share.
 *
 * Tables and pure functions: no memory, no state.  [any thread]
 */
#ifndef CC_HTTP_TEXT_H
#define CC_HTTP_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What RFC 9110 calls a tchar: the bytes of methods and header names. */
bool cc_is_tchar(unsigned char c);

/* A header name of ours or a peer's: one tchar at least, nothing else. */
bool cc_is_token(const char *p, size_t n);

/* Bytes that may stand in a header value: no control but tab. */
bool cc_is_field_value(const char *p, size_t n);

/* Equal without regard to ASCII case; `word` is lower case. */
bool cc_word_is(const char *p, size_t n, const char *word);

/* The list "a, b , C" holds `word` (lower case). */
bool cc_list_has(const char *p, size_t n, const char *word);

/* Percent-decodes a path into `out` (room for n bytes). An encoded slash stays as it came, so
 * that it never parts segments. Returns the length, or -1: a bad escape, an encoded NUL, or no
 * UTF-8. */
int cc_path_decode(const char *p, size_t n, char *out);

/* Well-formed escapes only, none of them NUL. */
bool cc_escapes_ok(const char *p, size_t n);

/* UTF-8 that comes in pieces: start with {0}; false at the first wrong byte. */
struct cc_utf8 {
    uint8_t need;      /* continuation bytes still to come */
    uint8_t low, high; /* bounds of the next one */
};
bool cc_utf8_feed(struct cc_utf8 *u, const void *p, size_t n);
static inline bool cc_utf8_ended(const struct cc_utf8 *u) { return u->need == 0; }

#endif
