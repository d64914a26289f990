/* cases_volumes.c - volumes, and what outlives a stop. */
#include "tests/contract/contract.h"

static void test_volumes(void **state)
{
    struct fix *f = *state;
    struct cc_volume_spec v = { .id = "data-1", .size_gib = 3 };
    struct cc_mount_spec m = { "data-1", "/data" };
    struct cc_machine_spec s = a_box(6);

    NEEDS("volumes", caps(f)->volumes);
    s.volumes = &m;
    s.n_volumes = 1;
    assert_int_equal(DO(f, .op = CC_OP_CREATE, .machine = &s), CC_E_NOT_FOUND);
    OK(f, .op = CC_OP_VOLUME_CREATE, .volume = &v);
    OK(f, .op = CC_OP_VOLUME_CREATE, .volume = &v);
    assert_true(f->res.volume.size_gib >= 3); /* some sell none so small */
    OK(f, .op = CC_OP_VOLUME_LIST);
    assert_int_equal(f->res.volumes.n, 1);
    create(f, &s);
    destroy(f, &s);
    OK(f, .op = CC_OP_VOLUME_LIST);
    assert_int_equal(f->res.volumes.n, 1);
    OK(f, .op = CC_OP_VOLUME_DELETE, .id = "data-1");
    OK(f, .op = CC_OP_VOLUME_DELETE, .id = "data-1");
    assert_int_equal(DO(f, .op = CC_OP_VOLUME_DELETE, .id = "../x"), CC_E_INVALID);
}

static int attach(struct fix *f, const char *id, const char *volume, const char *path)
{
    struct cc_mount_spec m = { volume, path };

    return DO(f, .op = CC_OP_ATTACH, .id = id, .mount = &m);
}

static int detach(struct fix *f, const char *id, const char *volume)
{
    struct cc_mount_spec m = { .id = volume };

    return DO(f, .op = CC_OP_DETACH, .id = id, .mount = &m);
}

static void test_attach_and_detach(void **state)
{
    struct fix *f = *state;
    struct cc_volume_spec one = { .id = "one" }, two = { .id = "two" };
    struct cc_machine_spec s = a_box(60);
    const char *id = pid_of(&s);

    NEEDS("volumes", caps(f)->volumes);
    OK(f, .op = CC_OP_VOLUME_CREATE, .volume = &one);
    OK(f, .op = CC_OP_VOLUME_CREATE, .volume = &two);
    create(f, &s);
    if (!caps(f)->attach_live)
        assert_int_equal(attach(f, id, "one", "/data"), CC_E_STATE);
    assert_int_equal(detach(f, id, "one"), 0); /* it was never there */
    OK(f, .op = CC_OP_STOP, .id = id);
    assert_int_equal(attach(f, id, "one", "/data"), 0);
    assert_int_equal(attach(f, id, "one", "/data"), 0);
    assert_int_equal(attach(f, id, "one", "/other"), CC_E_CONFLICT);
    assert_int_equal(attach(f, id, "two", "/data"), CC_E_CONFLICT);
    assert_int_equal(attach(f, id, "three", "/three"), CC_E_NOT_FOUND);
    OK(f, .op = CC_OP_START, .id = id);
    assert_int_equal(attach(f, id, "one", "/data"), 0); /* nothing to do: it may run */
    if (!caps(f)->attach_live)
        assert_int_equal(detach(f, id, "one"), CC_E_STATE);
    OK(f, .op = CC_OP_STOP, .id = id);
    assert_int_equal(detach(f, id, "one"), 0);
    assert_int_equal(detach(f, id, "one"), 0);
    assert_int_equal(attach(f, id, "two", "/data"), 0);
    destroy(f, &s);
    OK(f, .op = CC_OP_VOLUME_DELETE, .id = "one");
    OK(f, .op = CC_OP_VOLUME_DELETE, .id = "two");
}

/* The mock took one more: it counted on a volume of its own, which it never makes. */
static void test_a_machine_takes_so_many_volumes_and_no_more(void **state)
{
    struct fix *f = *state;
    struct cc_machine_spec s = a_box(10);
    int i, most = caps(f)->mounts_max ? (int)caps(f)->mounts_max : CC_MOUNTS_MAX;
    char id[16], path[16];

    NEEDS("volumes", caps(f)->volumes);
    create(f, &s);
    OK(f, .op = CC_OP_STOP, .id = pid_of(&s));
    for (i = 0; i <= most; i++) {
        struct cc_volume_spec v = { .id = id };

        snprintf(id, sizeof(id), "many-%d", i);
        snprintf(path, sizeof(path), "/many/%d", i);
        OK(f, .op = CC_OP_VOLUME_CREATE, .volume = &v);
        assert_int_equal(attach(f, pid_of(&s), id, path), i < most ? 0 : CC_E_LIMIT);
    }
    destroy(f, &s);
    for (i = 0; i <= most; i++) {
        snprintf(id, sizeof(id), "many-%d", i);
        OK(f, .op = CC_OP_VOLUME_DELETE, .id = id);
    }
}

static void test_a_volume_in_use_is_not_attached_again(void **state)
{
    struct fix *f = *state;
    struct cc_volume_spec v = { .id = "one" };
    struct cc_mount_spec m = { "one", "/data" };
    struct cc_machine_spec a = a_box(61), b = a_box(62);

    NEEDS("volumes", caps(f)->volumes);
    OK(f, .op = CC_OP_VOLUME_CREATE, .volume = &v);
    a.volumes = &m;
    a.n_volumes = 1;
    create(f, &a);
    create(f, &b);
    OK(f, .op = CC_OP_STOP, .id = pid_of(&b));
    assert_int_equal(attach(f, pid_of(&b), "one", "/data"), CC_E_CONFLICT);
    assert_int_equal(DO(f, .op = CC_OP_VOLUME_DELETE, .id = "one"), CC_E_CONFLICT);
    OK(f, .op = CC_OP_STOP, .id = pid_of(&a));
    assert_int_equal(attach(f, pid_of(&b), "one", "/data"), 0);
    OK(f, .op = CC_OP_START, .id = pid_of(&b));
    assert_int_equal(DO(f, .op = CC_OP_START, .id = pid_of(&a)), CC_E_CONFLICT);
    destroy(f, &a);
    destroy(f, &b);
    OK(f, .op = CC_OP_VOLUME_DELETE, .id = "one");
}

static void test_a_bad_attach_is_refused(void **state)
{
    struct fix *f = *state;
    const char *gone = "cc-00000000dead";

    NEEDS("volumes", caps(f)->volumes);
    assert_int_equal(attach(f, gone, "one", "/data"), CC_E_NOT_FOUND);
    assert_int_equal(detach(f, gone, "one"), CC_E_NOT_FOUND);
    assert_int_equal(attach(f, "../../etc", "one", "/data"), CC_E_INVALID);
    assert_int_equal(attach(f, gone, "../v", "/data"), CC_E_INVALID);
    assert_int_equal(attach(f, gone, "one", "/a/../b"), CC_E_INVALID);
    assert_int_equal(attach(f, gone, "one", NULL), CC_E_INVALID);
    assert_int_equal(detach(f, gone, ""), CC_E_INVALID);
}

/* What is written on a volume is there after a stop, in another life of the host, and on another machine. */
static void test_a_file_survives(void **state)
{
    struct fix *f = *state;
    struct cc_volume_spec v = { .id = "kept", .size_gib = 1 };
    struct cc_mount_spec m = { "kept", "/claude-data" };
    struct cc_machine_spec a = a_box(63), b = a_box(64);

    NEEDS("volumes", caps(f)->volumes);
    NEEDS("exec in real machines", caps(f)->exec && strcmp(told.driver, "mock") != 0);
    a.volumes = b.volumes = &m;
    a.n_volumes = b.n_volumes = 1;
    OK(f, .op = CC_OP_VOLUME_CREATE, .volume = &v);
    create(f, &a);
    assert_int_equal(sh(f, &a, "echo here > /claude-data/file"), 0);
    OK(f, .op = CC_OP_STOP, .id = pid_of(&a));
    fix_again(f);
    OK(f, .op = CC_OP_START, .id = pid_of(&a));
    assert_true(says(f, &a, "cat /claude-data/file", "here\n"));
    destroy(f, &a);
    create(f, &b);
    assert_true(says(f, &b, "cat /claude-data/file", "here\n"));
    destroy(f, &b);
    OK(f, .op = CC_OP_VOLUME_DELETE, .id = "kept");
}

/* ... and where a stop keeps the disk, so is what was written anywhere else. */
static void test_a_stop_keeps_the_disk(void **state)
{
    struct fix *f = *state;
    struct cc_machine_spec s = a_box(65);

    NEEDS("stop_keeps_disk and exec in real machines",
          caps(f)->stop_keeps_disk && caps(f)->exec && strcmp(told.driver, "mock") != 0);
    create(f, &s);
    assert_int_equal(sh(f, &s, "echo here > \"$HOME/file\""), 0);
    OK(f, .op = CC_OP_STOP, .id = pid_of(&s));
    OK(f, .op = CC_OP_START, .id = pid_of(&s));
    assert_true(says(f, &s, "cat \"$HOME/file\"", "here\n"));
    destroy(f, &s);
}

const struct CMUnitTest cases_volumes[] = {
    CASE(test_volumes),
    CASE(test_attach_and_detach),
    CASE(test_a_machine_takes_so_many_volumes_and_no_more),
    CASE(test_a_volume_in_use_is_not_attached_again),
    CASE(test_a_bad_attach_is_refused),
    CASE(test_a_file_survives),
    CASE(test_a_stop_keeps_the_disk),
};
const size_t n_cases_volumes = sizeof(cases_volumes) / sizeof(*cases_volumes);
