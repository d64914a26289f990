/* storage.c - the same cases for every storage driver: what storage.h promises.
 *
 * contract storage DRIVER [NAME=VALUE ...]   settings of the driver; @image=FILE: a disk of 1 MiB that begins with "image"
 */
#include "tests/contract/contract.h"

#include "providers/storage/storage.h"

enum { MIB = 1024 * 1024 };

static const struct cc_storage *driver;

static int setup(void **state)
{
    *state = driven_new(driver->open);
    return 0;
}

/* Nothing may be left, and what a failed case left goes. */
static int teardown(void **state)
{
    struct driven *s = *state;
    struct cc_disk_list list;
    size_t i;

    if (driver->list(s->self, &s->x, &list) != 0)
        fail_msg("list: %s", s->err.message);
    for (i = 0; i < list.n; i++)
        driver->remove(s->self, &s->x, list.v[i].id);
    driven_free(s, driver->close);
    if (list.n)
        fail_msg("%zu volumes are left", list.n);
    return 0;
}

static struct cc_disk make(struct driven *s, const char *id, uint64_t size)
{
    struct cc_disk d;

    DOES(driver->create(s->self, &s->x, id, size, NULL, &d));
    return d;
}

static void drop(struct driven *s, const char *id) { DOES(driver->remove(s->self, &s->x, id)); }

/* Fills the first bytes of a volume with `byte`, and reads the first one again: as what opens it would. */
static void put(struct driven *s, const struct cc_disk *d, char byte)
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

static bool holds(struct driven *s, const char *id, char byte)
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
    struct driven *s = *state;
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
    struct driven *s = *state;
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
    struct driven *s = *state;
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
    struct driven *s = *state;
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
    struct driven *s = *state;
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
    struct driven *s = *state;
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

/* qemu counts its snapshots from 1, and takes a name for such a number where it can. */
static void test_a_snapshot_may_be_called_by_a_number(void **state)
{
    struct driven *s = *state;
    struct cc_disk d = make(s, "one", 8 * MIB);

    put(s, &d, 'b');
    DOES(driver->snapshot(s->self, &s->x, "one", "b"));
    put(s, &d, '1');
    DOES(driver->snapshot(s->self, &s->x, "one", "1"));
    put(s, &d, 'x');
    DOES(driver->clone(s->self, &s->x, "one", "1", "of-1"));
    assert_true(holds(s, "of-1", '1'));
    DOES(driver->restore(s->self, &s->x, "one", "1"));
    assert_true(holds(s, "one", '1'));
    assert_int_equal(driver->restore(s->self, &s->x, "one", "2"), CC_E_NOT_FOUND);
    DOES(driver->snapshot_remove(s->self, &s->x, "one", "1"));
    DOES(driver->restore(s->self, &s->x, "one", "b"));
    assert_true(holds(s, "one", 'b'));
    drop(s, "one");
    drop(s, "of-1");
}

static void do_clone(struct driven *s, const char *id, const char *to) { driver->clone(s->self, &s->x, id, NULL, to); }
static void do_create(struct driven *s, const char *id, const char *image)
{
    struct cc_disk d;

    driver->create(s->self, &s->x, id, image ? 32 * MIB : 160 * MIB, image, &d);
}
static void do_resize(struct driven *s, const char *id, const char *none)
{
    (void)none;
    driver->resize(s->self, &s->x, id, 32 * MIB);
}

/* Does that as a host that is killed in the middle: `tool`, once it has done what it is asked with `word`, ends who called it. */
static void die_in(struct driven *s, const char *tool, const char *word,
                   void (*call)(struct driven *s, const char *id, const char *other), const char *id, const char *other)
{
    char dir[] = "/tmp/cchost-storage-XXXXXX";
    const char *program;
    FILE *f;
    int status;
    pid_t pid;

    assert_non_null(mkdtemp(dir));
    program = cc_arena_printf(&s->arena, "%s/%s", dir, tool);
    f = fopen(program, "we");
    assert_non_null(f);
    fprintf(f, "#!/bin/sh\nPATH=${PATH#*:}\ncase \" $* \" in *' %s '*) ;; *) exec %s \"$@\" ;; esac\n", word, tool);
    fprintf(f, "%s \"$@\"\nkill -9 $PPID\n", tool);
    fchmod(fileno(f), 0755);
    assert_int_equal(fclose(f), 0);
    if ((pid = fork()) == 0) {
        setenv("PATH", cc_arena_printf(&s->arena, "%s:%s", dir, getenv("PATH")), 1);
        call(s, id, other);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    unlink(program);
    rmdir(dir);
}

static void clone_and_die(struct driven *s, const char *from, const char *to)
{
    die_in(s, "qemu-img", "convert", do_clone, from, to);
}

/* All that there is under names of ours: one more than before it was begun, or not. */
static int pieces(struct driven *s)
{
    const char *dir = cc_pairs_get(&(struct cc_pairs){ told.settings, told.n }, "dir", NULL),
               *config = cc_pairs_get(&(struct cc_pairs){ told.settings, told.n }, "lvm_config", "");
    struct cc_tool_result t = { 0 };
    const char *c;
    int n = 0;

    if (dir)
        DOES(CC_TOOL(&s->x, &t, "ls", "-A1", dir));
    else
        DOES(CC_TOOL(&s->x, &t, "lvs", "--config", config, "--noheadings", "-o", "lv_name", "-S", "lv_tags=cchost"));
    assert_int_equal(t.exit, 0);
    for (c = t.out; *c; c++)
        n += *c == '\n';
    return n;
}

static void again(struct driven *s)
{
    driver->close(s->self);
    DOES(driver->open(&(struct cc_pairs){ told.settings, told.n }, &s->self, &s->err));
}

/* Whose volumes take all their size at once, out of what others have left. */
static bool is_thick(struct driven *s)
{
    struct cc_room room;

    DOES(driver->room(s->self, &s->x, &room));
    return room.whole;
}

/* A mark, or whether it stands there, anywhere in a volume. */
static bool at(struct driven *s, const char *path, bool block, const char *what, long long mib, unsigned char byte)
{
    struct cc_tool_result t = { 0 };
    unsigned char bytes[4096];
    ssize_t n;
    int fd, i;

    if (!block) {
        DOES(CC_TOOL(&s->x, &t, "qemu-io", "-f", "qcow2", "-c",
                     cc_arena_printf(&s->arena, "%s -q -P %d %lldM 4096", what, byte, mib), path));
        return t.exit == 0 && !strstr(t.out, "verification failed");
    }
    fd = open(path, (strcmp(what, "read") == 0 ? O_RDONLY : O_WRONLY) | O_CLOEXEC);
    assert_true(fd >= 0);
    memset(bytes, byte, sizeof(bytes));
    if (strcmp(what, "read") == 0)
        n = pread(fd, bytes, sizeof(bytes), mib * MIB);
    else
        n = pwrite(fd, bytes, sizeof(bytes), mib * MIB);
    assert_int_equal(n, sizeof(bytes));
    assert_int_equal(fsync(fd), 0);
    close(fd);
    for (i = 0; i < 4096 && bytes[i] == byte;)
        i++;
    return i == 4096;
}
static bool all_zero(struct driven *s, const struct cc_disk *d, long long from)
{
    long long mib, size = (long long)d->size / MIB;

    for (mib = from; mib < size; mib++)
        if (!at(s, d->path, d->block, "read", mib, 0))
            return false;
    return true;
}

/* Somebody has it, fills it, and gives it back. */
static void soil(struct driven *s, int size)
{
    struct cc_disk d = make(s, "theirs", (uint64_t)size * MIB);
    int mib;

    for (mib = 0; mib < size; mib++)
        at(s, d.path, d.block, "write", mib, 0x5a);
    drop(s, "theirs");
}

/* Of one owner nothing may be read by the next. */
static void test_a_volume_shows_nothing_of_one_that_is_gone(void **state)
{
    struct driven *s = *state;
    struct cc_disk d;

    NEEDS("@image", told.image);
    soil(s, 32);
    d = make(s, "one", 32 * MIB);
    assert_true(all_zero(s, &d, 0));
    drop(s, "one");
    soil(s, 32);
    DOES(driver->create(s->self, &s->x, "root", 32 * MIB, told.image, &d));
    assert_true(holds(s, "root", 'i'));
    assert_true(all_zero(s, &d, 1));
    drop(s, "root");
    soil(s, 32);
    d = make(s, "one", 8 * MIB);
    put(s, &d, 'a');
    DOES(driver->resize(s->self, &s->x, "one", 32 * MIB));
    DOES(driver->find(s->self, &s->x, "one", &d));
    assert_int_equal(d.size, 32 * MIB);
    assert_true(holds(s, "one", 'a'));
    assert_true(all_zero(s, &d, 1));
    drop(s, "one");
}

/* ... nor when the host is killed before it is overwritten: then it is no volume, or is finished before it is used. */
static void test_nor_when_the_host_is_killed_before_it_is_overwritten(void **state)
{
    struct driven *s = *state;
    struct cc_disk d;

    NEEDS("whole volumes of LVM", is_thick(s));
    soil(s, 32);
    die_in(s, "lvcreate", "-n", do_create, "root", told.image);
    assert_int_equal(driver->find(s->self, &s->x, "root", &d), CC_E_NOT_FOUND);
    again(s);
    DOES(driver->create(s->self, &s->x, "root", 32 * MIB, told.image, &d));
    assert_true(holds(s, "root", 'i'));
    assert_true(all_zero(s, &d, 1));
    drop(s, "root");
    soil(s, 32);
    d = make(s, "one", 8 * MIB);
    put(s, &d, 'a');
    die_in(s, "lvextend", "-L", do_resize, "one", NULL);
    again(s);
    DOES(driver->find(s->self, &s->x, "one", &d));
    assert_int_equal(d.size, 32 * MIB);
    assert_false(all_zero(s, &d, 1)); /* so this is the window that is meant */
    DOES(driver->resize(s->self, &s->x, "one", d.size));
    assert_true(holds(s, "one", 'a'));
    assert_true(all_zero(s, &d, 1));
    at(s, d.path, d.block, "write", 20, 'g'); /* a guest's own, from now on */
    DOES(driver->resize(s->self, &s->x, "one", d.size));
    assert_true(at(s, d.path, d.block, "read", 20, 'g'));
    drop(s, "one");
    assert_int_equal(pieces(s), 0);
}

/* Overwriting takes its time: who is cut off does not begin anew for ever. */
static void test_overwriting_goes_on_where_it_was_cut_off(void **state)
{
    struct driven *s = *state;
    const char *path;
    struct cc_disk d;

    NEEDS("whole volumes of LVM", is_thick(s));
    die_in(s, "lvchange", "--addtag", do_create, "big", NULL);
    again(s);
    assert_int_equal(driver->find(s->self, &s->x, "big", &d), CC_E_NOT_FOUND);
    path = cc_arena_printf(&s->arena, "/dev/%s/ccv-big",
                           cc_pairs_get(&(struct cc_pairs){ told.settings, told.n }, "vg", NULL));
    at(s, path, true, "write", 0, 'm');
    at(s, path, true, "write", 100, 0x5a);
    d = make(s, "big", 160 * MIB);
    assert_true(at(s, d.path, true, "read", 0, 'm'));
    assert_true(all_zero(s, &d, 1));
    drop(s, "big");
    assert_int_equal(pieces(s), 0);
}

/* Who was killed leaves half a volume, which is none: it goes with the volume's removal, or when it is made again. */
static void test_what_was_half_filled_is_no_volume_and_goes(void **state)
{
    struct driven *s = *state;
    struct cc_disk d = make(s, "one", 8 * MIB);

    put(s, &d, 'a');
    clone_and_die(s, "one", "half");
    assert_int_equal(pieces(s), 2);
    assert_int_equal(driver->find(s->self, &s->x, "half", &d), CC_E_NOT_FOUND);
    again(s);
    drop(s, "half");
    assert_int_equal(pieces(s), 1);
    clone_and_die(s, "one", "half");
    again(s);
    DOES(driver->clone(s->self, &s->x, "one", NULL, "half"));
    assert_true(holds(s, "half", 'a'));
    assert_int_equal(pieces(s), 2);
    drop(s, "half");
    drop(s, "one");
    assert_int_equal(pieces(s), 0);
}

/* A second one who opens it (`provider check`, a script) leaves alone what the first is filling. */
static void test_who_looks_in_takes_nothing_from_who_works(void **state)
{
    struct driven *s = *state;
    void *second;

    make(s, "one", 8 * MIB);
    clone_and_die(s, "one", "half");
    DOES(driver->open(&(struct cc_pairs){ told.settings, told.n }, &second, &s->err));
    assert_int_equal(pieces(s), 2);
    driver->close(second);
    again(s);
    drop(s, "half");
    drop(s, "one");
    assert_int_equal(pieces(s), 0);
}

static void test_a_call_that_is_over_ends(void **state)
{
    struct driven *s = *state;
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
    struct driven *s = *state;
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
        STORE(test_a_snapshot_may_be_called_by_a_number),
        STORE(test_what_was_half_filled_is_no_volume_and_goes),
        STORE(test_who_looks_in_takes_nothing_from_who_works),
        STORE(test_a_volume_shows_nothing_of_one_that_is_gone),
        STORE(test_nor_when_the_host_is_killed_before_it_is_overwritten),
        STORE(test_overwriting_goes_on_where_it_was_cut_off),
        STORE(test_a_call_that_is_over_ends),
        STORE(test_room_is_told),
    };

    if (!(driver = cc_storage_find(name)))
        return fprintf(stderr, "contract: no storage driver %s\n", name), 2;
    return cmocka_run_group_tests_name(name, cases, NULL, NULL);
}
