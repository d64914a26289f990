/* watch.c - who waits for the log to grow.
 *
 * What this process commits is noticed when it is called back.  Other
 * processes tell nobody, so while somebody waits the log's end is looked at
 * four times a second: in real time, whatever the host's clock says.
 */
#include "store/store_internal.h"

#include "host/sys/mem.h"

#include <stdlib.h>

enum { LOOK_MS = 250 };

static void unlink_watch(struct cc_store *s, struct cc_watch *w)
{
    struct cc_watch **at = &s->watches;

    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
    if (!s->watches)
        uv_timer_stop(&s->look);
}

/* What a callback adds is not due: it waits for the next look. */
static void call_due(struct cc_store *s, int code)
{
    struct cc_watch *w;

    for (;;) {
        for (w = s->watches; w && !w->due; w = w->next)
            ;
        if (!w)
            return;
        unlink_watch(s, w);
        w->fn(w->arg, code);
        free(w);
    }
}

/* A log that cannot be read just now is looked at again. */
void cc_watch_look(struct cc_store *s)
{
    struct cc_watch *w;
    uint64_t seq = 0;
    int rc;

    if (!s->watches)
        return;
    rc = cc_db_read_begin(&s->db);
    if (!rc)
        rc = cc_db_last_seq(&s->db, s->db.reader, &seq);
    cc_db_read_end(&s->db);
    for (w = s->watches; w && !rc; w = w->next)
        w->due = seq > w->after;
    call_due(s, CC_OK);
}

static void on_look(uv_timer_t *t) { cc_watch_look(t->data); }

struct cc_watch *cc_store_watch(struct cc_store *s, uint64_t after, cc_watch_fn fn, void *arg)
{
    struct cc_watch *w = cc_xcalloc(1, sizeof(*w));

    w->after = after;
    w->fn = fn;
    w->arg = arg;
    w->next = s->watches;
    s->watches = w;
    uv_timer_start(&s->look, on_look, 0, LOOK_MS);
    return w;
}

void cc_store_watch_cancel(struct cc_store *s, struct cc_watch *w)
{
    unlink_watch(s, w);
    free(w);
}

void cc_watch_close(struct cc_store *s)
{
    struct cc_watch *w;

    for (w = s->watches; w; w = w->next)
        w->due = true;
    call_due(s, CC_E_STATE);
}
