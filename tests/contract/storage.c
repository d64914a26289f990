/* storage.c - the same cases for every storage driver: what storage.h promises.
 *
 * contract storage DRIVER [NAME=VALUE ...]   settings of the driver; @image=FILE: a disk of 1 MiB that begins with "image"
 */
#include "tests/contract/contract.h"

#include "providers/storage/storage.h"

enum { MIB = 1024 * 1024 };

static const struct cc_storage *driver;

struct store {
    void *self;
    struct cc_arena arena;
    struct cc_call call;
    struct cc_err err;
    struct cc_provider_ctx x;
};

static int setup(void **state)
{
    struct cc_pairs settings = { told.settings, told.n };
    struct store *s = calloc(1, sizeof(*s));

    s->call = (struct cc_call){ .wake_fd = -1, .deadline_ms = cc_mono_ms() + 120000 };
    s->x = (struct cc_provider_ctx){ .call = &s->call, .arena = &s->arena, .err = &s->err };
    if (driver->open(&settings, &s->self, &s->err) != 0)
        fail_msg("open: %s", s->err.message);
    *state = s;
    return 0;
}

/* Nothing may be left, and what a failed case left goes. */
static int teardown(void **state)
{
    struct store *s = *state;
    struct cc_disk_list list;
    size_t i;

    if (driver->list(s->self, &s->x, &list) != 0)
        fail_msg("list: %s", s->err.message);
    for (i = 0; i < list.n; i++)
        driver->remove(s->self, &s->x, list.v[i].id);
    driver->close(s->self);
    cc_arena_free(&s->arena);
    free(s);
    if (list.n)
        fail_msg("%zu volumes are left", list.n);
    return 0;
}

#define DOES(call)                                                                                                     \
    do {                                                                                                               \
        if ((call) != 0)                                                                                               \
            fail_msg(#call ": %s", s->err.message);                                                                    \
    } while (0)

static struct cc_disk make(struct store *s, const char *id, uint64_t size)
{
    struct cc_disk d;

    DOES(driver->create(s->self, &s->x, id, size, NULL, &d));
    return d;
}

static void drop(struct store *s, const char *id) { DOES(driver->remove(s->self, &s->x, id)); }

/* Fills the first bytes of a volume with `byte`, and reads the first one again: as what opens it would. */
static void put(struct store *s, const struct cc_disk *d, char byte)
{
    char block[4096];
    int fd;

    if (!d->block) {
        DOES(CC_TOOL(&s->x, NULL, "qemu-io", "-f", d->format == CC_DISK_QCOW2 ? "qcow2" : "raw", "-c",
                     cc_arena_printf(&s->arena, "write -q -P %d 0 4096", byte), d->path));
        return;
    }
    memset(block, byte, sizeof(block));
    fd = open(d->path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, block, sizeof(block)), sizeof(block));
    assert_int_equal(fsync(fd), 0);
    close(fd);
}

static bool holds(struct store *s, const char *id, char byte)
{
    struct cc_tool_result t = { 0 };
    struct cc_disk d;
    char first = 0;
    int fd;

    DOES(driver->find(s->self, &s->x, id, &d));
    if (!d.block) {
        DOES(CC_TOOL(&s->x, &t, "qemu-io", "-f", d.format == CC_DISK_QCOW2 ? "qcow2" : "raw", "-c",
                     cc_arena_printf(&s->arena, "read -q -P %d 0 1", byte), d.path));
        return t.exit == 0 && !strstr(t.out, "verification failed");
    }
    fd = open(d.path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(read(fd, &first, 1), 1);
    close(fd);
    return first == byte;
}

static void test_made_found_and_removed(void **state)
{
    struct store *s = *state;
    struct cc_disk_list list;
    struct cc_disk d = make(s, "one", 8 * MIB), again;

    assert_string_equal(d.id, "one");
    assert_int_equal(d.size, 8 * MIB);
    put(s, &d, 'a');
    again = make(s, "one", 16 * MIB); /* it is there: it stays as it is */
    assert_int_equal(again.size, 8 * MIB);
    assert_true(holds(s, "one", 'a'));
    make(s, "owner.two", 4 * MIB);
    DOES(driver->list(s->self, &s->x, &list));
    assert_int_equal(list.n, 2);
    drop(s, "one");
    drop(s, "one");
    assert_int_equal(driver->find(s->self, &s->x, "one", &d), CC_E_NOT_FOUND);
    drop(s, "owner.two");
}

static void test_a_volume_begins_as_its_image(void **state)
{
    struct store *s = *state;
    struct cc_disk d;

    NEEDS("@image", told.image);
    assert_int_equal(driver->create(s->self, &s->x, "root", 8 * MIB, "/no/such/image", &d), CC_E_NOT_FOUND);
    assert_int_equal(driver->find(s->self, &s->x, "root", &d), CC_E_NOT_FOUND);
    DOES(driver->create(s->self, &s->x, "root", 1, told.image, &d));
    assert_true(d.size >= MIB);
    assert_true(holds(s, "root", 'i'));
    drop(s, "root");
    DOES(driver->create(s->self, &s->x, "root", 8 * MIB, told.image, &d));
    assert_int_equal(d.size, 8 * MIB);
    put(s, &d, 'x');
    assert_true(holds(s, "root", 'x'));
    drop(s, "root");
}

static void test_it_only_grows(void **state)
{
    struct store *s = *state;
    struct cc_disk d = make(s, "one", 8 * MIB);

    put(s, &d, 'a');
    DOES(driver->resize(s->self, &s->x, "one", 16 * MIB));
    DOES(driver->resize(s->self, &s->x, "one", 16 * MIB));
    assert_int_equal(driver->resize(s->self, &s->x, "one", 4 * MIB), CC_E_INVALID);
    DOES(driver->find(s->self, &s->x, "one", &d));
    assert_int_equal(d.size, 16 * MIB);
    assert_true(holds(s, "one", 'a'));
    assert_int_equal(driver->resize(s->self, &s->x, "none", 16 * MIB), CC_E_NOT_FOUND);
    drop(s, "one");
}

static void test_a_restore_keeps_the_snapshot(void **state)
{
    struct store *s = *state;
    struct cc_snapshot_list list;
    struct cc_disk d = make(s, "one", 8 * MIB);
    int i;

    put(s, &d, 'a');
    DOES(driver->snapshot(s->self, &s->x, "one", "first"));
    DOES(driver->snapshot(s->self, &s->x, "one", "first"));
    for (i = 0; i < 3; i++) {
        put(s, &d, 'b');
        assert_true(holds(s, "one", 'b'));
        DOES(driver->restore(s->self, &s->x, "one", "first"));
        assert_true(holds(s, "one", 'a'));
    }
    DOES(driver->snapshot_list(s->self, &s->x, "one", &list));
    assert_int_equal(list.n, 1);
    assert_string_equal(list.v[0].id, "first");
    assert_true(list.v[0].created_at > 0);
    assert_int_equal(driver->restore(s->self, &s->x, "one", "second"), CC_E_NOT_FOUND);
    DOES(driver->snapshot_remove(s->self, &s->x, "one", "first"));
    DOES(driver->snapshot_remove(s->self, &s->x, "one", "first"));
    assert_int_equal(driver->restore(s->self, &s->x, "one", "first"), CC_E_NOT_FOUND);
    assert_int_equal(driver->snapshot(s->self, &s->x, "none", "first"), CC_E_NOT_FOUND);
    drop(s, "one");
}

/* All of a volume may be written again after its snapshot: a fixed room for it would overflow. */
static void test_a_snapshot_has_room_for_all(void **state)
{
    struct store *s = *state;
    struct cc_disk d = make(s, "one", 16 * MIB);
    char *block;
    int fd, i;

    put(s, &d, 'a');
    DOES(driver->snapshot(s->self, &s->x, "one", "first"));
    if (!d.block) {
        DOES(CC_TOOL(&s->x, NULL, "qemu-io", "-f", "qcow2", "-c", "write -q -P 98 0 16M", d.path));
    } else {
        block = malloc(MIB);
        memset(block, 'b', MIB);
        fd = open(d.path, O_WRONLY | O_CLOEXEC);
        for (i = 0; i < 16; i++)
            assert_int_equal(write(fd, block, MIB), MIB);
        assert_int_equal(fsync(fd), 0);
        close(fd);
        free(block);
    }
    assert_true(holds(s, "one", 'b'));
    DOES(driver->restore(s->self, &s->x, "one", "first"));
    assert_true(holds(s, "one", 'a'));
    drop(s, "one"); /* and its snapshot */
}

static void test_a_clone_is_its_own(void **state)
{
    struct store *s = *state;
    struct cc_disk d = make(s, "one", 8 * MIB), c;

    put(s, &d, 'a');
    DOES(driver->snapshot(s->self, &s->x, "one", "first"));
    put(s, &d, 'b');
    DOES(driver->clone(s->self, &s->x, "one", NULL, "now"));
    DOES(driver->clone(s->self, &s->x, "one", "first", "then"));
    DOES(driver->clone(s->self, &s->x, "one", "first", "then"));
    assert_int_equal(driver->clone(s->self, &s->x, "one", "none", "never"), CC_E_NOT_FOUND);
    assert_int_equal(driver->find(s->self, &s->x, "never", &c), CC_E_NOT_FOUND);
    drop(s, "one");
    assert_true(holds(s, "now", 'b'));
    assert_true(holds(s, "then", 'a'));
    DOES(driver->find(s->self, &s->x, "then", &c));
    assert_int_equal(c.size, 8 * MIB);
    put(s, &c, 'c');
    assert_true(holds(s, "now", 'b'));
    drop(s, "now");
    drop(s, "then");
}

static void test_a_call_that_is_over_ends(void **state)
{
    struct store *s = *state;
    struct cc_disk d;

    s->call.cancelled = true;
    assert_int_equal(driver->create(s->self, &s->x, "one", 8 * MIB, NULL, &d), CC_E_CANCELLED);
    s->call.cancelled = false;
    s->err.code = 0;
    make(s, "one", 8 * MIB); /* the next call is not the one that was cancelled */
    drop(s, "one");
}

/* What is left is what can be made: one volume less, where they take all their size at once. */
static void test_room_is_told(void **state)
{
    struct store *s = *state;
    struct cc_room before, after;

    DOES(driver->room(s->self, &s->x, &before));
    assert_true(before.left >= 16 * MIB);
    make(s, "v", 16 * MIB);
    DOES(driver->room(s->self, &s->x, &after));
    assert_int_equal(after.whole, before.whole);
    if (before.whole)
        assert_true(before.left - after.left >= 16 * MIB);
    drop(s, "v");
}

#define STORE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int contract_storage(const char *name)
{
    static const struct CMUnitTest cases[] = {
        STORE(test_made_found_and_removed),
        STORE(test_a_volume_begins_as_its_image),
        STORE(test_it_only_grows),
        STORE(test_a_restore_keeps_the_snapshot),
        STORE(test_a_snapshot_has_room_for_all),
        STORE(test_a_clone_is_its_own),
        STORE(test_a_call_that_is_over_ends),
        STORE(test_room_is_told),
    };

    if (!(driver = cc_storage_find(name)))
        return fprintf(stderr, "contract: no storage driver %s\n", name), 2;
    return cmocka_run_group_tests_name(name, cases, NULL, NULL);
}
