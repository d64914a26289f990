/* watching.h - a driver's `watch` on a thread of its own, its news on the loop.
 *
 * The driver follows its provider as long as it can; when it cannot go on it is
 * called again, after a pause that doubles up to half a minute and begins anew
 * once it has told something.  News of one machine that wait for the loop are one
 * piece of news; too many at once become "behind": look at everything.
 */
#ifndef CC_PROVIDERS_WATCHING_H
#define CC_PROVIDERS_WATCHING_H

#include "providers/provider.h"

#include <uv.h>

struct cc_watching;

/* `id` NULL and `what` "behind": some may have been missed. [loop] */
typedef void (*cc_watching_news)(void *arg, const char *id, const char *what);

/* The driver has a `watch`. Keeps no loop alive. [loop] */
struct cc_watching *cc_watching_start(uv_loop_t *loop, const struct cc_driver *d, void *self, cc_watching_news news,
                                      void *arg);
/* No news from here on; `stopped` runs in a later turn, when the thread has ended. [loop] */
void cc_watching_stop(struct cc_watching *w, void (*stopped)(void *arg), void *arg);

#endif
