/* random.h - unpredictable bytes from the kernel. Rule 7: the only source of chance. [any thread] */
#ifndef CC_RANDOM_H
#define CC_RANDOM_H

#include <stddef.h>

void cc_random(void *out, size_t n);

/* Version 4 UUID as 36 characters and a NUL. */
void cc_uuid(char out[37]);

#endif
