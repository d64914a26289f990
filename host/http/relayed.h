/* relayed.h - how many bytes went through between clients and machines, for the figures. Thread: the loop's. */
#ifndef CC_HTTP_RELAYED_H
#define CC_HTTP_RELAYED_H

#include <stddef.h>

void cc_relayed_from_client(size_t n);
void cc_relayed_from_backend(size_t n);

#endif
