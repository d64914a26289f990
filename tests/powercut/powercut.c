/* powercut.c - powercut [IMAGES [SEED]]: a store under load, its file as power cuts could leave it, and each checked.
 *
 * At a cut everything synced is there; of the writes since then any are
 * there, are not, or are torn at 512 bytes or 4 KiB, in any order, and the
 * file's length is anything between.  One assumption: a write inside one
 * sector of 512 bytes is there or not.  LMDB stands on that with its meta
 * page (152 bytes), and disks keep it: a sector has a checksum of its own.
 * Every image must open, prove its log, have every update that was promised
 * before the cut and half of none, and take another one.
 */
#include "store/store_internal.h"
#include "tests/powercut/record.h"
#include "tests/unit/test_store.h"

#include "host/observe/log.h"
#include "host/sys/mem.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WRITERS = 8, UPDATES = 240, TEXT_MAX = 30000, IMAGES = 2000, BATCH = 50, SECTOR = 512, PAGE = 4096 };

/* ---- chance */

static uint64_t chance;

static uint64_t any(uint64_t below)
{
    uint64_t z = (chance += 0x9E3779B97F4A7C15u);

    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return (z ^ z >> 31) % below;
}

/* ---- the load: each writer counts two records up together, keeps an index on the number and a text that comes and
 * goes. They end one after the other, so that there are groups of every size. */

struct writer {
    struct fix *f;
    int me;
    int64_t number, last;
    bool dies, waits; /* it ends with a failure, and goes on when the store has been opened again */
    char left[16], right[16], text[16];
};

static void name_writer(struct writer *w, struct fix *f, int me)
{
    *w = (struct writer){ .f = f, .me = me, .last = UPDATES * (me + 1) / WRITERS };
    snprintf(w->left, sizeof(w->left), "left-%d", me);
    snprintf(w->right, sizeof(w->right), "right-%d", me);
    snprintf(w->text, sizeof(w->text), "text-%d", me);
}

static void change_text(struct cc_txn *t, struct writer *w)
{
    static char text[TEXT_MAX];
    size_t len = 1 + any(TEXT_MAX - 1);

    memset(text, 'a' + w->me, len);
    if (any(3) == 0)
        cc_txn_del(t, "text", S(w->text));
    else
        cc_txn_put(t, "text", S(w->text), (struct cc_slice){ text, len }, NULL);
}

static void on_promise(void *arg, int code, const struct cc_err *err);

static void write_one(struct writer *w)
{
    struct cc_txn *t = cc_txn_begin(w->f->store, NULL);
    char number[32];

    w->number = increment(t, "n", w->left); /* one that was told failed may be there all the same */
    increment(t, "n", w->right);
    snprintf(number, sizeof(number), "%lld", (long long)w->number);
    cc_txn_index(t, "number", S(w->left), S(number));
    change_text(t, w);
    record_note(OP_ASKED, w->me, w->number);
    if (cc_txn_submit(t, on_promise, w, NULL))
        abort();
}

static void on_promise(void *arg, int code, const struct cc_err *err)
{
    struct writer *w = arg;

    (void)err;
    if (code == CC_OK)
        record_note(OP_PROMISED, w->me, w->number);
    else
        w->number--; /* told failed: again */
    w->waits = code && w->dies;
    if (w->number < w->last && !w->waits)
        write_one(w);
}

static void open_in(struct fix *f, const char *dir)
{
    struct cc_store_opts o = { .loop = &f->loop, .dir = dir, .map_mib = 1 };
    struct cc_err err = { .message = "" };

    if (cc_store_open(&o, &f->store, &err) == CC_OK)
        return;
    printf("# it does not open: %s\n", err.message);
    exit(1);
}

static void close_again(struct fix *f)
{
    cc_store_close(f->store);
    uv_run(&f->loop, UV_RUN_DEFAULT);
}

/* What a load meets: each n-th commit is denied (0: none), and then the process ends, or not. */
struct trouble {
    unsigned deny;
    bool dies;
};

/* Until all are done, or wait for the next life of the process; whether some wait. */
static bool one_life(struct writer w[WRITERS], const struct trouble *trouble)
{
    bool left = false;
    int i;

    record_deny(trouble->deny, trouble->dies);
    for (i = 0; i < WRITERS; i++) {
        w[i].dies = trouble->dies;
        if (w[i].number < w[i].last)
            write_one(&w[i]);
    }
    uv_run(&w[0].f->loop, UV_RUN_DEFAULT);
    for (i = 0; i < WRITERS; i++)
        left = left || w[i].number < w[i].last;
    return left;
}

/* The record, and where in it the store was there: it is made whole, under another name, before. */
static size_t run_load(struct record *r, const char *dir, const struct trouble *trouble)
{
    struct fix f = { .store = NULL };
    struct writer w[WRITERS];
    size_t made;
    int i;

    uv_loop_init(&f.loop);
    record_start(r);
    open_in(&f, dir);
    made = record_count();
    for (i = 0; i < WRITERS; i++)
        name_writer(&w[i], &f, i);
    while (one_life(w, trouble)) {
        close_again(&f);
        record_deny(0, false);
        open_in(&f, dir);
    }
    record_stop();
    record_deny(0, false);
    close_again(&f);
    if (uv_loop_close(&f.loop) != 0)
        abort();
    return made;
}

/* ---- the file at a point of the record */

struct disk {
    uint8_t *bytes; /* what is surely there */
    size_t len, size;
    size_t synced; /* ops before this one are in it, or their writes are after all */
    size_t at;     /* the next op */
    int64_t asked[WRITERS], promised[WRITERS];
    bool honest; /* a sync is one */
};

static void put_bytes(struct disk *d, off_t at, const uint8_t *b, size_t n)
{
    size_t end = (size_t)at + n;

    if (end > d->size) {
        d->bytes = cc_xrealloc(d->bytes, end * 2);
        memset(d->bytes + d->size, 0, end * 2 - d->size);
        d->size = end * 2;
    }
    memcpy(d->bytes + at, b, n);
    if (end > d->len)
        d->len = end;
}

static void set_length(struct disk *d, size_t len)
{
    uint8_t zero = 0;

    if (len > d->len)
        put_bytes(d, (off_t)len - 1, &zero, 1);
    memset(d->bytes + len, 0, d->size - len);
    d->len = len;
}

static void apply(struct disk *d, const struct op *op)
{
    if (op->kind == OP_WRITE || op->kind == OP_SYNCED_WRITE)
        put_bytes(d, op->at, op->data, op->len);
    else if (op->kind == OP_LENGTH)
        set_length(d, (size_t)op->at);
}

static void sync_all(struct disk *d, const struct record *r)
{
    for (; d->synced < d->at; d->synced++)
        apply(d, &r->ops[d->synced]);
}

static void advance(struct disk *d, const struct record *r, size_t to)
{
    for (; d->at < to; d->at++) {
        const struct op *op = &r->ops[d->at];

        if (op->kind == OP_SYNC && d->honest)
            sync_all(d, r);
        else if (op->kind == OP_SYNCED_WRITE && d->honest)
            apply(d, op);
        else if (op->kind == OP_ASKED)
            d->asked[op->writer] = op->number;
        else if (op->kind == OP_PROMISED)
            d->promised[op->writer] = op->number;
    }
}

/* Some of a write: all, nothing, or any of its sectors or pages. */
static void apply_some(struct disk *d, const struct op *op)
{
    uint64_t how = any(10);
    size_t unit = any(2) ? SECTOR : PAGE, done = 0, n;

    if (how < 4)
        apply(d, op);
    if (how < 7 || op->kind > OP_SYNCED_WRITE)
        return;
    for (; done < op->len; done += n) {
        n = unit - (size_t)(op->at + (off_t)done) % unit;
        n = n < op->len - done ? n : op->len - done;
        if (any(2))
            put_bytes(d, op->at + (off_t)done, op->data + done, n);
    }
}

static size_t longest(const struct disk *d, const struct record *r, size_t to)
{
    size_t i, len = d->len;

    for (i = d->synced; i < to; i++)
        if (r->ops[i].kind == OP_WRITE && (size_t)r->ops[i].at + r->ops[i].len > len)
            len = (size_t)r->ops[i].at + r->ops[i].len;
    return len;
}

/* A copy of the disk with some of what was under way, the call at the cut included. */
static struct disk cut(const struct disk *d, const struct record *r)
{
    struct disk image = *d;
    size_t i, end = d->at < r->n ? d->at + 1 : d->at, most = longest(d, r, end);

    image.bytes = cc_xmalloc(d->size);
    memcpy(image.bytes, d->bytes, d->size);
    for (i = d->synced; i < end; i++)
        if (r->ops[i].kind == OP_SYNCED_WRITE && i < d->at && d->honest)
            apply(&image, &r->ops[i]);
        else
            apply_some(&image, &r->ops[i]);
    if (most > image.len && any(2))
        set_length(&image, any(2) ? most : image.len + any(most - image.len));
    return image;
}

/* ---- the check of one image, in a process of its own */

static void want(bool ok, const char *what, int writer, int64_t got, int64_t expected)
{
    if (ok)
        return;
    printf("# %s: writer %d, %lld for %lld\n", what, writer, (long long)got, (long long)expected);
    exit(1);
}

static uint64_t check_writer(struct fix *f, const struct disk *d, int me)
{
    struct writer w;
    struct cc_record r;
    struct cc_slice v;
    int64_t n, indexed = 0;
    size_t i;

    name_writer(&w, f, me);
    n = value_of(f, "n", w.left);
    if (cc_store_lookup(f->store, "number", S(w.left), &v) == CC_OK)
        indexed = number(v);
    want(n >= d->promised[me], "a promised update is lost", me, n, d->promised[me]);
    want(n <= d->asked[me], "an update that nobody asked for", me, n, d->asked[me]);
    want(value_of(f, "n", w.right) == n, "half an update", me, value_of(f, "n", w.right), n);
    want(indexed == n, "half an update in the index", me, indexed, n);
    if (cc_store_get(f->store, "text", S(w.text), &r) == CC_OK)
        for (i = 0; i < r.text.len; i++)
            want(r.text.data[i] == 'a' + me, "a broken text", me, r.text.data[i], 'a' + me);
    return 2 * (uint64_t)n;
}

static void check_store(struct fix *f, const struct disk *d)
{
    struct cc_verified v;
    struct cc_err err;
    struct cc_txn *t;
    uint64_t entries = 0;
    int i;

    for (i = 0; i < WRITERS; i++)
        entries += check_writer(f, d, i);
    if (cc_store_verify(f->store, &v, NULL, NULL, &err)) {
        printf("# %s\n", err.message);
        exit(1);
    }
    want(v.entries == entries, "entries of the log", -1, (int64_t)v.entries, (int64_t)entries);
    t = cc_txn_begin(f->store, NULL);
    increment(t, "n", "after");
    want(commit(f, t) == CC_OK, "another update", -1, 0, 0);
}

static void write_image(const struct disk *image, const char *dir)
{
    char path[256];
    int fd;

    snprintf(path, sizeof(path), "%s/store/lock.mdb", dir);
    unlink(path);
    snprintf(path, sizeof(path), "%s/store/data.mdb", dir);
    unlink(path);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    if (fd < 0 || write(fd, image->bytes, image->len) != (ssize_t)image->len)
        abort();
    close(fd);
}

/* ---- many images */

static int by_size(const void *a, const void *b)
{
    size_t x = *(const size_t *)a, y = *(const size_t *)b;

    return (x > y) - (x < y);
}

static size_t *choose_cuts(const struct record *r, size_t from, size_t n)
{
    size_t *cuts = cc_xcalloc(n, sizeof(*cuts)), i;

    for (i = 0; i < n; i++)
        cuts[i] = from + any(r->n - from + 1);
    qsort(cuts, n, sizeof(*cuts), by_size);
    return cuts;
}

static void check_batch(struct disk *d, const struct record *r, const size_t *cuts, size_t n, const char *dir)
{
    struct fix f = { .store = NULL };
    struct disk image;
    size_t i;

    uv_loop_init(&f.loop);
    for (i = 0; i < n; i++) {
        advance(d, r, cuts[i]);
        image = cut(d, r);
        write_image(&image, dir);
        open_in(&f, dir);
        check_store(&f, &image);
        close_again(&f);
        free(image.bytes);
    }
    fflush(stdout);
    _exit(0);
}

/* How many batches had a broken image. */
static size_t check_all(const struct record *r, size_t from, size_t images, bool honest, const char *dir)
{
    struct disk d = { .honest = honest };
    size_t *cuts, i, n, broken = 0;
    int status;
    pid_t pid;

    d.honest = true; /* the store was made long ago */
    advance(&d, r, from);
    d.honest = honest;
    cuts = choose_cuts(r, from, images);
    for (i = 0; i < images; i += n) {
        n = images - i < BATCH ? images - i : BATCH;
        fflush(stdout);
        chance += i;
        if ((pid = fork()) == 0) {
            if (!honest && !freopen("/dev/null", "w", stderr))
                _exit(1);
            check_batch(&d, r, cuts + i, n, dir);
        }
        if (waitpid(pid, &status, 0) != pid)
            abort();
        broken += status != 0;
        advance(&d, r, cuts[i + n - 1]);
    }
    free(cuts);
    free(d.bytes);
    return broken;
}

/* ---- the tests */

static const char *new_folder(void)
{
    static char dir[64];

    strcpy(dir, "/dev/shm/cchost-powercut-XXXXXX");
    if (!mkdtemp(dir))
        abort();
    return dir;
}

static void remove_folder(const char *dir)
{
    char cmd[96];

    snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
    if (system(cmd) != 0)
        abort();
}

static void print_calls(const struct record *r)
{
    size_t counts[OP_PROMISED + 1] = { 0 }, i;

    for (i = 0; i < r->n; i++)
        counts[r->ops[i].kind]++;
    printf("# %zu writes, %zu synced ones, %zu syncs, %zu updates asked for, %zu promised\n", counts[OP_WRITE],
           counts[OP_SYNCED_WRITE], counts[OP_SYNC], counts[OP_ASKED], counts[OP_PROMISED]);
}

/* Batches with a broken image. */
static size_t check_load(size_t images, struct trouble trouble, bool honest)
{
    const char *dir = new_folder();
    struct record r;
    size_t made = run_load(&r, dir, &trouble), broken;

    print_calls(&r);
    broken = check_all(&r, made, images, honest, dir);
    record_free(&r);
    remove_folder(dir);
    return broken;
}

static int report(int n, bool ok, size_t images, const char *what)
{
    printf("%s %d - %zu images: %s\n", ok ? "ok" : "not ok", n, images, what);
    fflush(stdout);
    return !ok;
}

int main(int argc, char **argv)
{
    enum { LIES = 200 };
    const struct trouble none = { 0, false }, denied = { 4, false }, deadly = { 4, true };
    size_t n = argc > 1 ? strtoul(argv[1], NULL, 10) : IMAGES;
    int failed = 0;

    chance = argc > 2 ? strtoull(argv[2], NULL, 10) : (uint64_t)time(NULL);
    printf("# seed %llu\n", (unsigned long long)chance);
    cc_log_init(CC_LOG_ERROR + 1, false);
    failed += report(1, n && !check_load(n, none, true), n, "nothing promised is lost, nothing is half there");
    failed += report(2, n && !check_load(n, denied, true), n, "the same where every fourth commit is denied");
    failed += report(3, n && !check_load(n, deadly, true), n, "the same where the process ends after that");
    failed += report(4, check_load(LIES, none, false) > 0, LIES, "a disk that lies about syncing is found out");
    printf("1..4\n");
    return failed != 0;
}
