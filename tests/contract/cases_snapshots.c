/* cases_snapshots.c - snapshots of volumes, restore and clone; and what a create that fails must leave alone. */
#include "tests/contract/contract.h"

#define SNAPSHOTS(f) NEEDS("snapshots of volumes", caps(f)->snapshots)
#define REAL(f) NEEDS("exec in real machines", caps(f)->exec &&strcmp(told.driver, "mock") != 0)

static void make_volume(struct fix *f, const char *id)
{
    struct cc_volume_spec v = { .id = id, .size_gib = 1 };

    OK(f, .op = CC_OP_VOLUME_CREATE, .volume = &v);
}

static size_t count(struct fix *f, const char *volume)
{
    OK(f, .op = CC_OP_SNAPSHOT_LIST, .id = volume);
    return f->res.snapshots.n;
}

static void test_snapshots_come_and_go(void **state)
{
    struct fix *f = *state;

    SNAPSHOTS(f);
    make_volume(f, "snap");
    assert_int_equal(count(f, "snap"), 0);
    OK(f, .op = CC_OP_SNAPSHOT_CREATE, .id = "snap", .snapshot = "first");
    assert_string_equal(f->res.snapshot.id, "first");
    assert_string_equal(f->res.snapshot.volume, "snap");
    assert_true(f->res.snapshot.created_at > 1700000000000);
    OK(f, .op = CC_OP_SNAPSHOT_CREATE, .id = "snap", .snapshot = "first");
    OK(f, .op = CC_OP_SNAPSHOT_CREATE, .id = "snap", .snapshot = "second");
    assert_int_equal(count(f, "snap"), 2);
    OK(f, .op = CC_OP_SNAPSHOT_DELETE, .id = "snap", .snapshot = "first");
    OK(f, .op = CC_OP_SNAPSHOT_DELETE, .id = "snap", .snapshot = "first");
    assert_int_equal(count(f, "snap"), 1);
    OK(f, .op = CC_OP_VOLUME_DELETE, .id = "snap"); /* and its snapshots */
    make_volume(f, "snap");
    assert_int_equal(count(f, "snap"), 0);
    OK(f, .op = CC_OP_VOLUME_DELETE, .id = "snap");
}

static void test_what_is_not_there_has_no_snapshots(void **state)
{
    struct fix *f = *state;

    SNAPSHOTS(f);
    make_volume(f, "snap");
    assert_int_equal(DO(f, .op = CC_OP_SNAPSHOT_CREATE, .id = "gone", .snapshot = "s"), CC_E_NOT_FOUND);
    assert_int_equal(DO(f, .op = CC_OP_SNAPSHOT_LIST, .id = "gone"), CC_E_NOT_FOUND);
    assert_int_equal(DO(f, .op = CC_OP_VOLUME_RESTORE, .id = "gone", .snapshot = "s"), CC_E_NOT_FOUND);
    assert_int_equal(DO(f, .op = CC_OP_VOLUME_RESTORE, .id = "snap", .snapshot = "s"), CC_E_NOT_FOUND);
    assert_int_equal(DO(f, .op = CC_OP_VOLUME_CLONE, .id = "gone", .clone = "other"), CC_E_NOT_FOUND);
    assert_int_equal(DO(f, .op = CC_OP_VOLUME_CLONE, .id = "snap", .snapshot = "s", .clone = "other"), CC_E_NOT_FOUND);
    OK(f, .op = CC_OP_SNAPSHOT_DELETE, .id = "gone", .snapshot = "s");
    assert_int_equal(DO(f, .op = CC_OP_SNAPSHOT_CREATE, .id = "snap", .snapshot = "../s"), CC_E_INVALID);
    assert_int_equal(DO(f, .op = CC_OP_SNAPSHOT_CREATE, .id = "snap"), CC_E_INVALID);
    assert_int_equal(DO(f, .op = CC_OP_SNAPSHOT_CREATE, .id = "../snap", .snapshot = "s"), CC_E_INVALID);
    assert_int_equal(DO(f, .op = CC_OP_VOLUME_CLONE, .id = "snap", .clone = "../other"), CC_E_INVALID);
    OK(f, .op = CC_OP_VOLUME_LIST);
    assert_int_equal(f->res.volumes.n, 1);
    OK(f, .op = CC_OP_VOLUME_DELETE, .id = "snap");
}

/* Not silently: who asks is told. */
static void test_a_provider_without_snapshots_says_so(void **state)
{
    struct fix *f = *state;

    NEEDS("no snapshots of volumes", !caps(f)->snapshots);
    assert_int_equal(DO(f, .op = CC_OP_SNAPSHOT_CREATE, .id = "snap", .snapshot = "s"), CC_E_UNSUPPORTED);
    assert_non_null(strstr(f->res.err.message, "has no snapshots of volumes"));
    assert_int_equal(DO(f, .op = CC_OP_VOLUME_RESTORE, .id = "snap", .snapshot = "s"), CC_E_UNSUPPORTED);
    assert_int_equal(DO(f, .op = CC_OP_VOLUME_CLONE, .id = "snap", .clone = "other"), CC_E_UNSUPPORTED);
}

static void test_a_volume_in_use_is_neither_copied_nor_restored(void **state)
{
    struct fix *f = *state;
    struct cc_mount_spec m = { "snap", "/data" };
    struct cc_machine_spec s = a_box(70);

    SNAPSHOTS(f);
    make_volume(f, "snap");
    OK(f, .op = CC_OP_SNAPSHOT_CREATE, .id = "snap", .snapshot = "s");
    s.volumes = &m;
    s.n_volumes = 1;
    create(f, &s);
    assert_int_equal(DO(f, .op = CC_OP_SNAPSHOT_CREATE, .id = "snap", .snapshot = "t"), CC_E_CONFLICT);
    assert_int_equal(DO(f, .op = CC_OP_VOLUME_RESTORE, .id = "snap", .snapshot = "s"), CC_E_CONFLICT);
    assert_int_equal(DO(f, .op = CC_OP_VOLUME_CLONE, .id = "snap", .clone = "other"), CC_E_CONFLICT);
    OK(f, .op = CC_OP_STOP, .id = pid_of(&s));
    OK(f, .op = CC_OP_SNAPSHOT_CREATE, .id = "snap", .snapshot = "t");
    OK(f, .op = CC_OP_VOLUME_RESTORE, .id = "snap", .snapshot = "s");
    assert_int_equal(count(f, "snap"), 2);
    OK(f, .op = CC_OP_START, .id = pid_of(&s));
    destroy(f, &s);
    OK(f, .op = CC_OP_VOLUME_DELETE, .id = "snap");
}

/* The machine with the volume at /data, which runs. */
static struct cc_machine_spec box_with(struct fix *f, unsigned n, const struct cc_mount_spec *m)
{
    struct cc_machine_spec s = a_box(n);

    s.volumes = m;
    s.n_volumes = 1;
    create(f, &s);
    return s;
}

static void test_a_restore_brings_back_what_was(void **state)
{
    struct fix *f = *state;
    struct cc_mount_spec m = { "snap", "/data" };
    struct cc_machine_spec s;
    int i;

    SNAPSHOTS(f);
    REAL(f);
    make_volume(f, "snap");
    s = box_with(f, 71, &m);
    assert_int_equal(sh(f, &s, "echo before > /data/file; mkdir /data/dir; ln -s file /data/link"), 0);
    OK(f, .op = CC_OP_STOP, .id = pid_of(&s));
    OK(f, .op = CC_OP_SNAPSHOT_CREATE, .id = "snap", .snapshot = "s");
    for (i = 0; i < 2; i++) { /* the snapshot stays: twice */
        OK(f, .op = CC_OP_START, .id = pid_of(&s));
        assert_int_equal(sh(f, &s, "echo after > /data/file; echo more > /data/more; rm -r /data/dir"), 0);
        OK(f, .op = CC_OP_STOP, .id = pid_of(&s));
        OK(f, .op = CC_OP_VOLUME_RESTORE, .id = "snap", .snapshot = "s");
        OK(f, .op = CC_OP_START, .id = pid_of(&s));
        assert_true(
            says(f, &s, "cat /data/link; cd /data; ls -d dir more 2>/dev/null; echo >> dir/new", "before\ndir\n"));
        OK(f, .op = CC_OP_STOP, .id = pid_of(&s));
        fix_again(f);
    }
    destroy(f, &s);
    OK(f, .op = CC_OP_VOLUME_DELETE, .id = "snap");
}

static void test_a_clone_is_a_volume_of_its_own(void **state)
{
    struct fix *f = *state;
    struct cc_mount_spec m = { "snap", "/data" }, of_then = { "then", "/data" }, of_now = { "now", "/data" };
    struct cc_machine_spec s;

    SNAPSHOTS(f);
    REAL(f);
    make_volume(f, "snap");
    s = box_with(f, 72, &m);
    assert_int_equal(sh(f, &s, "echo then > /data/file"), 0);
    OK(f, .op = CC_OP_STOP, .id = pid_of(&s));
    OK(f, .op = CC_OP_SNAPSHOT_CREATE, .id = "snap", .snapshot = "s");
    OK(f, .op = CC_OP_START, .id = pid_of(&s));
    assert_int_equal(sh(f, &s, "echo now > /data/file && sync"), 0); /* destroy pulls the plug */
    destroy(f, &s);
    OK(f, .op = CC_OP_VOLUME_CLONE, .id = "snap", .snapshot = "s", .clone = "then");
    assert_int_equal(f->res.volume.size_gib, 1);
    OK(f, .op = CC_OP_VOLUME_CLONE, .id = "snap", .clone = "now");
    OK(f, .op = CC_OP_VOLUME_CLONE, .id = "snap", .clone = "now"); /* finds it */
    OK(f, .op = CC_OP_VOLUME_DELETE, .id = "snap");
    s = box_with(f, 73, &of_then);
    assert_true(says(f, &s, "cat /data/file; echo mine > /data/file", "then\n"));
    destroy(f, &s);
    s = box_with(f, 74, &of_now);
    assert_true(says(f, &s, "cat /data/file", "now\n"));
    destroy(f, &s);
    OK(f, .op = CC_OP_VOLUME_DELETE, .id = "then");
    OK(f, .op = CC_OP_VOLUME_DELETE, .id = "now");
}

/* What a start makes anew, because its machine is gone, was deleted with its data when the making failed. */
static void test_a_failed_create_leaves_data_that_were_there(void **state)
{
    struct fix *f = *state;
    struct cc_mount_spec none = { "not-there", "/data" };
    struct cc_machine_spec s = a_box(75);

    REAL(f);
    create(f, &s);
    assert_int_equal(sh(f, &s, "echo kept > /claude-data/file && sync"), 0);
    OK(f, .op = CC_OP_STOP, .id = pid_of(&s));
    OK(f, .op = CC_OP_DESTROY, .id = pid_of(&s)); /* without purge: its own volume stays */
    s.volumes = &none;
    s.n_volumes = 1;
    assert_int_equal(DO(f, .op = CC_OP_CREATE, .machine = &s), CC_E_NOT_FOUND);
    s.n_volumes = 0;
    create(f, &s);
    assert_true(says(f, &s, "cat /claude-data/file", "kept\n"));
    destroy(f, &s);
}

const struct CMUnitTest cases_snapshots[] = {
    CASE(test_snapshots_come_and_go),
    CASE(test_what_is_not_there_has_no_snapshots),
    CASE(test_a_provider_without_snapshots_says_so),
    CASE(test_a_volume_in_use_is_neither_copied_nor_restored),
    CASE(test_a_restore_brings_back_what_was),
    CASE(test_a_clone_is_a_volume_of_its_own),
    CASE(test_a_failed_create_leaves_data_that_were_there),
};
const size_t n_cases_snapshots = sizeof(cases_snapshots) / sizeof(*cases_snapshots);
