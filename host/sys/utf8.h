/* utf8.h - which bytes are a character.  [any thread] */
#ifndef CC_UTF8_H
#define CC_UTF8_H

#include <stddef.h>

/* The length of the UTF-8 character at s (no overlong form, no surrogate, nothing beyond U+10FFFF), or 0: it is none. */
size_t cc_utf8_length(const unsigned char *s, size_t n);

#endif
