/* bench_store.c - figures of the store, one `name: value unit` a line.
 *
 *   bench_store [FOLDER [RECORDS]]     default: a new folder here, 100,000 records
 *
 * An update is what a route does: two reads, then a record of some 600 bytes,
 * an index entry (which changes in one update of eight) and a log entry.
 * Beside it stands what the disk can do: 4 KiB written and synced, one at a time.
 */
#include "store/store.h"

#include "host/sys/clock.h"
#include "host/sys/mem.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_WRITERS = 64, SECONDS = 3, TEXT = 600, MAX_SAMPLES = 4000000 };

struct bench {
    uv_loop_t loop;
    struct cc_store *store;
    unsigned records;
    uint64_t end_ns, random;
    uint64_t *samples; /* ns from begin to durable, retries included */
    size_t n;
    unsigned tries_worst;
    bool hot, failed;
};

struct writer {
    struct bench *b;
    uint64_t began, done;
    unsigned key, other, tries;
};

static struct cc_slice slice(const char *s) { return (struct cc_slice){ s, strlen(s) }; }

static unsigned random_below(struct bench *b, unsigned n)
{
    b->random ^= b->random << 13;
    b->random ^= b->random >> 7;
    b->random ^= b->random << 17;
    return (unsigned)(b->random % n);
}

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static void report(const char *name, double value, const char *unit) { printf("%s: %.6g %s\n", name, value, unit); }

static void report_samples(struct bench *b, const char *name, double per, const char *unit)
{
    char full[64];

    qsort(b->samples, b->n, sizeof(*b->samples), by_size);
    snprintf(full, sizeof(full), "%s_p50", name);
    report(full, (double)b->samples[b->n / 2] / per, unit);
    snprintf(full, sizeof(full), "%s_p99", name);
    report(full, (double)b->samples[b->n * 99 / 100] / per, unit);
}

/* Ids as the host makes them: 36 characters, no order in them. */
static void id_of(unsigned n, char id[37])
{
    uint64_t h = (n + 1) * 0x9E3779B97F4A7C15u;

    snprintf(id, 37, "%08x-%04x-4%03x-8%03x-%012llx", (unsigned)(h >> 32), (unsigned)(h >> 16) & 0xFFFF,
             (unsigned)(h >> 4) & 0xFFF, n & 0xFFF, (unsigned long long)(h * 31 & 0xFFFFFFFFFFFF));
}

static size_t text_of(char *text, const char *id, uint64_t version)
{
    int n = snprintf(text, TEXT, "{\"id\":\"%s\",\"status\":\"%s\",\"version\":%llu,\"pad\":\"", id,
                     version % 8 ? "RUNNING" : "STOPPED", (unsigned long long)version);

    memset(text + n, 'x', TEXT - (size_t)n - 2);
    memcpy(text + TEXT - 2, "\"}", 2);
    return TEXT;
}

/* ---- the disk alone */

static void bench_disk(const char *dir)
{
    char path[300], page[4096];
    uint64_t start, n = 0;
    int fd;

    snprintf(path, sizeof(path), "%s/raw", dir);
    fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    memset(page, 'x', sizeof(page));
    for (n = 0; n < 1024; n++)
        if (pwrite(fd, page, sizeof(page), (off_t)(n * 4096)) != 4096)
            return;
    fsync(fd);
    start = cc_mono_ns();
    for (n = 0; cc_mono_ns() - start < 1000000000; n++)
        if (pwrite(fd, page, sizeof(page), (off_t)(n % 1024 * 4096)) != 4096 || fdatasync(fd) != 0)
            return;
    report("store.fdatasync", (double)n, "/s");
    close(fd);
    unlink(path);
}

/* ---- filling */

static void on_filled(void *arg, int code, const struct cc_err *err)
{
    struct bench *b = arg;

    (void)err;
    b->failed = b->failed || code != CC_OK;
}

static void fill(struct bench *b)
{
    struct cc_txn *t = NULL;
    char id[37], text[TEXT];
    struct cc_slice owner = slice("owner-1");
    unsigned i;

    for (i = 0; i < b->records; i++) {
        if (!t)
            t = cc_txn_begin(b->store, NULL);
        id_of(i, id);
        cc_txn_put(t, "instance", slice(id), (struct cc_slice){ text, text_of(text, id, 1) }, &owner);
        cc_txn_index(t, "status", slice(id), slice("RUNNING"));
        if (i % 1000 == 999 || i + 1 == b->records) {
            cc_txn_submit(t, on_filled, b, NULL);
            t = NULL;
            uv_run(&b->loop, UV_RUN_DEFAULT);
        }
    }
}

/* ---- updates */

static void on_updated(void *arg, int code, const struct cc_err *err);

static void update(struct writer *w)
{
    struct cc_txn *t = cc_txn_begin(w->b->store, NULL);
    char id[37], other[37], text[TEXT];
    struct cc_record r;

    id_of(w->key, id);
    id_of(w->other, other);
    cc_txn_get(t, "instance", slice(other), &r);
    cc_txn_get(t, "instance", slice(id), &r);
    cc_txn_put(t, "instance", slice(id), (struct cc_slice){ text, text_of(text, id, w->done) }, &r.owner);
    cc_txn_index(t, "status", slice(id), slice(w->done % 8 ? "RUNNING" : "STOPPED"));
    cc_txn_log(t, "instance", slice(id), slice("changed"), slice("bench"),
               slice("{\"from\":\"RUNNING\",\"to\":\"STOPPED\"}"));
    cc_txn_submit(t, on_updated, w, NULL);
}

static void next(struct writer *w)
{
    w->began = cc_mono_ns();
    if (w->began >= w->b->end_ns)
        return;
    w->tries = 0;
    w->key = w->b->hot ? 0 : random_below(w->b, w->b->records);
    w->other = random_below(w->b, w->b->records);
    update(w);
}

static void on_updated(void *arg, int code, const struct cc_err *err)
{
    struct writer *w = arg;
    struct bench *b = w->b;

    (void)err;
    if (code == CC_E_CONFLICT) {
        if (++w->tries > b->tries_worst)
            b->tries_worst = w->tries;
        update(w);
        return;
    }
    b->failed = b->failed || code != CC_OK;
    if (b->n < MAX_SAMPLES)
        b->samples[b->n++] = cc_mono_ns() - w->began;
    w->done++;
    next(w);
}

static double bench_updates(struct bench *b, const char *name, unsigned writers, bool hot)
{
    struct writer w[MAX_WRITERS];
    uint64_t start = cc_mono_ns(), least = UINT64_MAX;
    char full[64];
    double rate;
    unsigned i;

    memset(w, 0, sizeof(w));
    b->n = 0;
    b->tries_worst = 0;
    b->hot = hot;
    b->end_ns = start + SECONDS * 1000000000ull;
    for (i = 0; i < writers; i++) {
        w[i].b = b;
        next(&w[i]);
    }
    uv_run(&b->loop, UV_RUN_DEFAULT);
    rate = (double)b->n * 1e9 / (double)(cc_mono_ns() - start);
    report(name, rate, "updates/s");
    report_samples(b, name, 1e6, "ms");
    for (i = 0; i < writers; i++)
        least = w[i].done < least ? w[i].done : least;
    snprintf(full, sizeof(full), "%s_least_of_a_writer", name);
    report(full, (double)least * writers / (double)b->n * 100, "% of its share");
    snprintf(full, sizeof(full), "%s_retries_worst", name);
    report(full, b->tries_worst, "tries");
    return rate;
}

/* ---- reads, alone and while commits run */

static void read_some(struct bench *b, unsigned n)
{
    struct cc_record r;
    char id[37];
    uint64_t start;
    unsigned i;

    for (i = 0; i < n; i++) {
        id_of(random_below(b, b->records), id);
        start = cc_mono_ns();
        if (cc_store_get(b->store, "instance", slice(id), &r) != CC_OK)
            b->failed = true;
        if (b->n < MAX_SAMPLES)
            b->samples[b->n++] = cc_mono_ns() - start;
    }
}

static void on_ignored(void *arg, int code, const struct cc_err *err)
{
    (void)arg;
    (void)code;
    (void)err;
}

static void bench_reads(struct bench *b)
{
    struct cc_store_stats st;
    uint64_t start;
    unsigned i;

    b->n = 0;
    read_some(b, 200000);
    report_samples(b, "store.read", 1, "ns");
    b->n = 0;
    start = cc_mono_ns();
    while (cc_mono_ns() - start < 1000000000) {
        for (i = 0; i < MAX_WRITERS; i++) {
            struct cc_txn *t = cc_txn_begin(b->store, NULL);
            char id[37], text[TEXT];

            id_of(random_below(b, b->records), id);
            cc_txn_put(t, "instance", slice(id), (struct cc_slice){ text, text_of(text, id, 3) }, NULL);
            cc_txn_submit(t, on_ignored, NULL, NULL);
        }
        do {
            uv_run(&b->loop, UV_RUN_NOWAIT);
            read_some(b, 50);
            cc_store_stats(b->store, &st);
        } while (st.pending);
    }
    report_samples(b, "store.read_while_writing", 1, "ns");
}

static void bench_verify(struct bench *b)
{
    uint64_t start = cc_mono_ns();
    struct cc_verified v;
    struct cc_err err;

    if (cc_store_verify(b->store, &v, NULL, NULL, &err) != CC_OK) {
        fprintf(stderr, "bench_store: %s\n", err.message);
        b->failed = true;
        return;
    }
    report("store.verify", (double)v.entries * 1e9 / (double)(cc_mono_ns() - start), "entries/s");
}

static void open_store(struct bench *b, const char *dir, bool serve)
{
    struct cc_store_opts o = { .loop = &b->loop, .dir = dir, .serve = serve };
    struct cc_err err;

    if (cc_store_open(&o, &b->store, &err) == CC_OK)
        return;
    fprintf(stderr, "bench_store: %s\n", err.message);
    exit(1);
}

static void close_store(struct bench *b)
{
    cc_store_close(b->store);
    uv_run(&b->loop, UV_RUN_DEFAULT);
}

static void run(struct bench *b, const char *dir)
{
    uint64_t start;
    double one, many;

    bench_disk(dir);
    open_store(b, dir, true);
    fill(b);
    one = bench_updates(b, "store.update_1w", 1, false);
    many = bench_updates(b, "store.update_64w", MAX_WRITERS, false);
    report("store.update_64w_over_1w", many / one, "times (goal 10)");
    bench_updates(b, "store.update_64w_hot", MAX_WRITERS, true);
    bench_reads(b);
    bench_verify(b);
    close_store(b);
    start = cc_mono_ns();
    open_store(b, dir, true);
    report("store.open", (double)(cc_mono_ns() - start) / 1e6, "ms");
    close_store(b);
}

int main(int argc, char **argv)
{
    struct bench b = { .random = 88172645463325252u };
    char dir[256], cmd[300];

    b.records = argc > 2 ? (unsigned)atoi(argv[2]) : 100000;
    b.samples = cc_xmalloc(MAX_SAMPLES * sizeof(*b.samples));
    snprintf(dir, sizeof(dir), "%s/bench-store-XXXXXX", argc > 1 ? argv[1] : ".");
    if (!mkdtemp(dir)) {
        perror(dir);
        return 1;
    }
    uv_loop_init(&b.loop);
    run(&b, dir);
    if (uv_loop_close(&b.loop) != 0)
        b.failed = true;
    snprintf(cmd, sizeof(cmd), "rm -rf '%s'", dir);
    if (system(cmd) != 0 || b.failed)
        fprintf(stderr, "bench_store: something failed\n");
    free(b.samples);
    return b.failed;
}
