/* cases_screen.c - what virtual machines have and containers do not: standing still, snapshots of all of it, a screen. */
#include "tests/contract/contract.h"

#include <arpa/inet.h>
#include <sys/socket.h>

static void test_suspend_and_go_on(void **state)
{
    struct fix *f = *state;
    struct cc_machine_spec s = a_box(61);
    const char *const words[] = { "true" };
    struct cc_exec_spec e = { .cmd = { words, 1 } };
    int64_t started;

    NEEDS("suspend", f->driver->suspend);
    assert_int_equal(DO(f, .op = CC_OP_SUSPEND, .id = "cc-00000000dead"), CC_E_NOT_FOUND);
    create(f, &s);
    started = f->res.machine.started_at;
    OK(f, .op = CC_OP_SUSPEND, .id = pid_of(&s));
    OK(f, .op = CC_OP_SUSPEND, .id = pid_of(&s));
    assert_int_equal(state_of(f, &s), CC_M_SUSPENDED);
    assert_int_equal(DO(f, .op = CC_OP_EXEC, .id = pid_of(&s), .exec = &e), CC_E_STATE);
    assert_int_equal(DO(f, .op = CC_OP_ACTIVITY, .id = pid_of(&s)), CC_E_STATE);
    OK(f, .op = CC_OP_LIST);
    assert_int_equal(f->res.machines.v[0].state, CC_M_SUSPENDED);
    OK(f, .op = CC_OP_START, .id = pid_of(&s), .machine = &s);
    assert_int_equal(f->res.machine.state, CC_M_RUNNING);
    assert_int_equal(f->res.machine.started_at, started); /* it is the same run */
    OK(f, .op = CC_OP_EXEC, .id = pid_of(&s), .exec = &e);
    OK(f, .op = CC_OP_SUSPEND, .id = pid_of(&s));
    OK(f, .op = CC_OP_STOP, .id = pid_of(&s));
    assert_int_equal(state_of(f, &s), CC_M_STOPPED);
    assert_int_equal(DO(f, .op = CC_OP_SUSPEND, .id = pid_of(&s)), CC_E_STATE);
    OK(f, .op = CC_OP_START, .id = pid_of(&s));
    OK(f, .op = CC_OP_SUSPEND, .id = pid_of(&s));
    destroy(f, &s);
}

/* What `sh -c line` says, its last newline off. */
static const char *said(struct fix *f, const struct cc_machine_spec *s, const char *line)
{
    const char *const words[] = { "sh", "-c", line };
    struct cc_exec_spec e = { .cmd = { words, 3 } };

    OK(f, .op = CC_OP_EXEC, .id = pid_of(s), .exec = &e);
    ((char *)f->res.exec.out)[strcspn(f->res.exec.out, "\n")] = 0;
    return f->res.exec.out;
}

static void snapshot(struct fix *f, const struct cc_machine_spec *s, enum cc_provider_op op, const char *name)
{
    OK(f, .op = CC_OP_STOP, .id = pid_of(s));
    OK(f, .op = op, .id = pid_of(s), .snapshot = name);
}

static void test_snapshots_of_a_machine(void **state)
{
    struct fix *f = *state;
    struct cc_machine_spec s = a_box(62);

    NEEDS("snapshots of machines", caps(f)->machine_snapshots);
    assert_int_equal(DO(f, .op = CC_OP_MACHINE_SNAPSHOT, .id = "cc-00000000dead", .snapshot = "a"), CC_E_NOT_FOUND);
    create(f, &s);
    assert_int_equal(DO(f, .op = CC_OP_MACHINE_SNAPSHOT, .id = pid_of(&s), .snapshot = "../a"), CC_E_INVALID);
    assert_int_equal(DO(f, .op = CC_OP_MACHINE_SNAPSHOT, .id = pid_of(&s), .snapshot = "a"), CC_E_STATE);
    snapshot(f, &s, CC_OP_MACHINE_SNAPSHOT, "a");
    OK(f, .op = CC_OP_MACHINE_SNAPSHOT, .id = pid_of(&s), .snapshot = "a");
    assert_int_equal(DO(f, .op = CC_OP_MACHINE_RESTORE, .id = pid_of(&s), .snapshot = "b"), CC_E_NOT_FOUND);
    OK(f, .op = CC_OP_MACHINE_RESTORE, .id = pid_of(&s), .snapshot = "a");
    OK(f, .op = CC_OP_MACHINE_RESTORE, .id = pid_of(&s), .snapshot = "a");
    OK(f, .op = CC_OP_MACHINE_SNAPSHOT_DELETE, .id = pid_of(&s), .snapshot = "a");
    OK(f, .op = CC_OP_MACHINE_SNAPSHOT_DELETE, .id = pid_of(&s), .snapshot = "a");
    assert_int_equal(DO(f, .op = CC_OP_MACHINE_RESTORE, .id = pid_of(&s), .snapshot = "a"), CC_E_NOT_FOUND);
    OK(f, .op = CC_OP_MACHINE_SNAPSHOT, .id = pid_of(&s), .snapshot = "left");
    destroy(f, &s); /* which takes it along */
}

/* Its disk and the volume that was made for it, together. */
static void test_a_restored_machine_is_what_it_was(void **state)
{
    struct fix *f = *state;
    struct cc_machine_spec s = a_box(63);

    NEEDS("snapshots of machines", caps(f)->machine_snapshots);
    NEEDS("machines with files", strcmp(told.driver, "mock") != 0);
    create(f, &s);
    said(f, &s, "echo before >/home/claude/f; echo before >/claude-data/f; sync");
    snapshot(f, &s, CC_OP_MACHINE_SNAPSHOT, "good");
    OK(f, .op = CC_OP_START, .id = pid_of(&s));
    said(f, &s, "echo after >/home/claude/f; echo after >/claude-data/f; sync");
    snapshot(f, &s, CC_OP_MACHINE_RESTORE, "good");
    OK(f, .op = CC_OP_START, .id = pid_of(&s));
    assert_string_equal(said(f, &s, "cat /home/claude/f /claude-data/f | tr '\\n' ' '"), "before before ");
    destroy(f, &s);
}

static void test_a_disk_grows_and_never_shrinks(void **state)
{
    struct fix *f = *state;
    struct cc_machine_spec s = a_box(64);

    NEEDS("disks that grow", caps(f)->grows_disk);
    s.disk_gib = 1;
    create(f, &s);
    assert_int_equal(f->res.machine.disk_gib, 1);
    OK(f, .op = CC_OP_STOP, .id = pid_of(&s));
    s.disk_gib = 2;
    OK(f, .op = CC_OP_START, .id = pid_of(&s), .machine = &s);
    assert_int_equal(f->res.machine.disk_gib, 2);
    if (strcmp(told.driver, "mock") != 0)
        assert_string_equal(said(f, &s, "cat /sys/class/block/vda/size"), "4194304");
    OK(f, .op = CC_OP_STOP, .id = pid_of(&s));
    s.disk_gib = 1;
    OK(f, .op = CC_OP_START, .id = pid_of(&s), .machine = &s);
    assert_int_equal(f->res.machine.disk_gib, 2);
    destroy(f, &s);
}

/* What a server of VNC that speaks WebSocket says to somebody who has not shown a password. */
static void test_a_console_is_there_for_who_knows_its_password(void **state)
{
    static const char ask[] = "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                              "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n"
                              "Sec-WebSocket-Protocol: binary\r\n\r\n";
    struct fix *f = *state;
    struct cc_machine_spec s = a_box(65);
    struct sockaddr_in to = { .sin_family = AF_INET };
    char first[16], answer[512] = "";
    size_t n = 0;
    int fd;

    NEEDS("a console", f->driver->console);
    assert_int_equal(DO(f, .op = CC_OP_CONSOLE, .id = "cc-00000000dead"), CC_E_NOT_FOUND);
    create(f, &s);
    OK(f, .op = CC_OP_CONSOLE, .id = pid_of(&s), .seconds = 20);
    snprintf(first, sizeof(first), "%s", f->res.console.password);
    OK(f, .op = CC_OP_CONSOLE, .id = pid_of(&s), .seconds = 20);
    assert_string_not_equal(f->res.console.password, first);
    assert_in_range(strlen(first), 8, 8);
    assert_string_equal(f->res.console.host, "127.0.0.1");
    to.sin_port = htons(f->res.console.port);
    inet_pton(AF_INET, f->res.console.host, &to.sin_addr);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    assert_int_equal(write(fd, ask, strlen(ask)), (ssize_t)strlen(ask));
    while (!memmem(answer, n, "RFB 003", 7)) {
        ssize_t got = poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, 10000) > 0
                          ? read(fd, answer + n, sizeof(answer) - 1 - n)
                          : -1;

        if (got <= 0)
            fail_msg("the console said no more than: %s", answer);
        n += (size_t)got;
    }
    assert_memory_equal(answer, "HTTP/1.1 101", 12);
    close(fd);
    OK(f, .op = CC_OP_STOP, .id = pid_of(&s));
    assert_int_equal(DO(f, .op = CC_OP_CONSOLE, .id = pid_of(&s)), CC_E_STATE);
    destroy(f, &s);
}

static void test_a_picture_of_the_screen(void **state)
{
    struct fix *f = *state;
    struct cc_machine_spec s = a_box(66);

    NEEDS("screenshots", f->driver->screenshot);
    assert_int_equal(DO(f, .op = CC_OP_SCREENSHOT, .id = "cc-00000000dead"), CC_E_NOT_FOUND);
    create(f, &s);
    OK(f, .op = CC_OP_SCREENSHOT, .id = pid_of(&s));
    assert_true(f->res.picture.n > 64);
    assert_memory_equal(f->res.picture.data, "\x89PNG\r\n\x1a\n", 8);
    OK(f, .op = CC_OP_STOP, .id = pid_of(&s));
    assert_int_equal(DO(f, .op = CC_OP_SCREENSHOT, .id = pid_of(&s)), CC_E_STATE);
    destroy(f, &s);
}

const struct CMUnitTest cases_screen[] = {
    CASE(test_suspend_and_go_on),
    CASE(test_snapshots_of_a_machine),
    CASE(test_a_restored_machine_is_what_it_was),
    CASE(test_a_disk_grows_and_never_shrinks),
    CASE(test_a_console_is_there_for_who_knows_its_password),
    CASE(test_a_picture_of_the_screen),
};
const size_t n_cases_screen = sizeof(cases_screen) / sizeof(*cases_screen);
