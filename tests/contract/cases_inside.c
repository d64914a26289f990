/* cases_inside.c - commands, limits, ssh: what a machine is from inside. */
#include "tests/contract/contract.h"

static void test_exec_and_activity_need_a_running_machine(void **state)
{
    struct fix *f = *state;
    const char *const words[] = { "true" };
    struct cc_exec_spec e = { .cmd = { words, 1 } };
    struct cc_machine_spec s = a_box(7);

    NEEDS("exec", caps(f)->exec);
    create(f, &s);
    OK(f, .op = CC_OP_EXEC, .id = pid_of(&s), .exec = &e);
    assert_int_equal(f->res.exec.exit, 0);
    if (caps(f)->activity) {
        OK(f, .op = CC_OP_ACTIVITY, .id = pid_of(&s));
        assert_int_equal(f->res.activity.clients, 0);
    }
    OK(f, .op = CC_OP_STOP, .id = pid_of(&s));
    assert_int_equal(DO(f, .op = CC_OP_EXEC, .id = pid_of(&s), .exec = &e), CC_E_STATE);
    if (caps(f)->activity)
        assert_int_equal(DO(f, .op = CC_OP_ACTIVITY, .id = pid_of(&s)), CC_E_STATE);
    destroy(f, &s);
}

/* The agent's own doing, so it is asked where the driver asks it: for what is done there. */
static void test_an_agent_answers_who_knows_its_secret(void **state)
{
    static const char first[] = "the-first-secret-of-an-agent", second[] = "the-second-secret-of-an-agent",
                      key[] = "a3a09297fce6a1b1695ca32fc28f0678add50b881558a22d586a7f959d033838",
                      next[] = "3aee6fec655c416b2b5c2fca46811f5b74200765bfe996fb2bdc5cc0b2585184";
    struct fix *f = *state;
    struct cc_machine_spec s = a_box(31);

    NEEDS("activity", caps(f)->activity);
    s.agent_key = "no key";
    assert_int_equal(DO(f, .op = CC_OP_CREATE, .machine = &s), CC_E_INVALID);
    s.agent_key = key;
    OK(f, .op = CC_OP_CREATE, .machine = &s, .secret = first);
    OK(f, .op = CC_OP_ACTIVITY, .id = pid_of(&s), .secret = first);
    assert_int_equal(DO(f, .op = CC_OP_ACTIVITY, .id = pid_of(&s)), CC_E_DENIED);
    assert_int_equal(DO(f, .op = CC_OP_ACTIVITY, .id = pid_of(&s), .secret = second), CC_E_DENIED);
    assert_int_equal(DO(f, .op = CC_OP_ACTIVITY, .id = pid_of(&s), .secret = key), CC_E_DENIED);
    s.agent_key = next; /* one that runs is left as it is */
    OK(f, .op = CC_OP_START, .id = pid_of(&s), .machine = &s, .secret = first);
    OK(f, .op = CC_OP_ACTIVITY, .id = pid_of(&s), .secret = first);
    OK(f, .op = CC_OP_STOP, .id = pid_of(&s));
    OK(f, .op = CC_OP_START, .id = pid_of(&s), .machine = &s, .secret = second);
    OK(f, .op = CC_OP_ACTIVITY, .id = pid_of(&s), .secret = second);
    assert_int_equal(DO(f, .op = CC_OP_ACTIVITY, .id = pid_of(&s), .secret = first), CC_E_DENIED);
    OK(f, .op = CC_OP_STOP, .id = pid_of(&s));
    OK(f, .op = CC_OP_START, .id = pid_of(&s), .secret = second); /* as it was */
    OK(f, .op = CC_OP_ACTIVITY, .id = pid_of(&s), .secret = second);
    assert_int_equal(DO(f, .op = CC_OP_ACTIVITY, .id = pid_of(&s)), CC_E_DENIED);
    OK(f, .op = CC_OP_STOP, .id = pid_of(&s));
    s.agent_key = NULL;
    OK(f, .op = CC_OP_START, .id = pid_of(&s), .machine = &s);
    OK(f, .op = CC_OP_ACTIVITY, .id = pid_of(&s));
    destroy(f, &s);
}

/* Where it is reached, or why it is not: and the same after a stop and a start. */
static void test_who_gives_keys_hears_of_ssh(void **state)
{
    const char *const keys[] = {
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHxbq6JLXbQOyaUAG2QU5fUugEgSMPf6QEiNX8miEDgK a@b"
    };
    const char *const bad[] = { "ssh-ed25519 AAAA\nssh-ed25519 BBBB" };
    struct fix *f = *state;
    struct cc_machine_spec s = a_box(41), none = a_box(42);
    struct cc_ssh is;

    create(f, &none);
    assert_true(!f->res.machine.ssh.host && !f->res.machine.ssh.why);
    destroy(f, &none);
    s.ssh_keys = (struct cc_strs){ bad, 1 };
    assert_int_equal(DO(f, .op = CC_OP_CREATE, .machine = &s), CC_E_INVALID);
    s.ssh_keys = (struct cc_strs){ keys, 1 };
    create(f, &s);
    is = f->res.machine.ssh;
    assert_true(!is.host != !is.why);
    assert_true(is.why || (is.port > 0 && strcmp(is.user, "claude") == 0));
    OK(f, .op = CC_OP_STOP, .id = pid_of(&s));
    OK(f, .op = CC_OP_START, .id = pid_of(&s));
    if (caps(f)->stop_keeps_disk) /* else it is another one, elsewhere */
        assert_string_equal(f->res.machine.ssh.why ? f->res.machine.ssh.why : f->res.machine.ssh.host,
                            is.why ? is.why : is.host);
    assert_int_equal(!f->res.machine.ssh.why, !is.why);
    assert_int_equal(f->res.machine.ssh.port, is.port);
    destroy(f, &s);
}

/* ---------------------------------------------------------------- in a machine that is one */

#define NEEDS_INSIDE(f) NEEDS("exec in real machines", caps(f)->exec &&strcmp(told.driver, "mock") != 0)

static void test_exec_tells_all(void **state)
{
    struct fix *f = *state;
    struct cc_machine_spec s = a_box(43);
    const char *const cat[] = { "cat" }, *const none[] = { "/no/such/program" };
    const char *const slow[] = { "sleep", "600" };
    struct cc_exec_spec e = { .cmd = { cat, 1 }, .in = "one\ntwo", .in_len = 7 };

    NEEDS_INSIDE(f);
    create(f, &s);
    OK(f, .op = CC_OP_EXEC, .id = pid_of(&s), .exec = &e);
    assert_int_equal(f->res.exec.exit, 0);
    assert_int_equal(f->res.exec.out_len, 7);
    assert_memory_equal(f->res.exec.out, "one\ntwo", 7);
    assert_int_equal(sh(f, &s, "echo out; echo err >&2; exit 7"), 7);
    assert_string_equal(f->res.exec.out, "out\n");
    assert_string_equal(f->res.exec.err, "err\n");
    e = (struct cc_exec_spec){ .cmd = { none, 1 } };
    assert_int_equal(DO(f, .op = CC_OP_EXEC, .id = pid_of(&s), .exec = &e), CC_E_NOT_FOUND);
    e = (struct cc_exec_spec){ .cmd = { slow, 2 }, .timeout_ms = 300 };
    OK(f, .op = CC_OP_EXEC, .id = pid_of(&s), .exec = &e);
    assert_int_equal(f->res.exec.exit, 124);
    assert_true(says(
        f, &s, "for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline 2>/dev/null; done | grep -c '[s]leep 600'", "0\n"));
    assert_int_equal(sh(f, &s, "head -c 3000000 /dev/zero"), 0);
    assert_true(f->res.exec.truncated);
    assert_int_equal(f->res.exec.out_len, CC_EXEC_MAX);
    destroy(f, &s);
}

static void test_environment_and_command(void **state)
{
    static const struct cc_pair env[] = { { "WORD", "a b\"c" } };
    const char *const words[] = { "sh", "-c", "echo \"$WORD\" > /claude-data/said; exec sleep 1000" };
    struct fix *f = *state;
    struct cc_machine_spec s = a_box(44);

    NEEDS_INSIDE(f);
    s.env = (struct cc_pairs){ env, 1 };
    s.cmd = (struct cc_strs){ words, 3 };
    create(f, &s);
    UNTIL(sh(f, &s, "test -s /claude-data/said") == 0);
    assert_true(says(f, &s, "cat /claude-data/said", "a b\"c\n"));
    assert_true(says(f, &s, "echo \"$WORD\"", "a b\"c\n"));
    destroy(f, &s);
}

/* A process of it that takes more is ended; the machine is not. */
static void test_memory_is_limited(void **state)
{
    struct fix *f = *state;
    struct cc_machine_spec s = a_box(45);
    char line[80];

    NEEDS_INSIDE(f);
    NEEDS("limit_memory", caps(f)->limit_memory);
    s.memory_mib = told.memory ? (uint32_t)strtoul(told.memory, NULL, 10) : 64;
    snprintf(line, sizeof(line), "exec dd if=/dev/zero of=/dev/null bs=%uM count=1", s.memory_mib * 3);
    create(f, &s);
    assert_int_equal(f->res.machine.memory_mib, s.memory_mib);
    assert_int_not_equal(sh(f, &s, line), 0);
    assert_int_equal(state_of(f, &s), CC_M_RUNNING);
    assert_int_equal(sh(f, &s, "true"), 0);
    destroy(f, &s);
}

static void test_processes_are_limited(void **state)
{
    struct fix *f = *state;
    struct cc_machine_spec s = a_box(46);
    uint32_t most;

    NEEDS_INSIDE(f);
    NEEDS("limit_pids", caps(f)->limit_pids);
    create(f, &s);
    most = f->res.machine.pids;
    assert_true(most > 0 && most <= 65536);
    NEEDS("a limit small enough to try", most <= 8192);
    sh(f, &s, "i=0; while [ $i -lt 9000 ]; do sleep 1000 & i=$((i+1)); done 2>/dev/null; exit 0");
    assert_int_equal(state_of(f, &s), CC_M_RUNNING);
    OK(f, .op = CC_OP_STOP, .id = pid_of(&s));
    OK(f, .op = CC_OP_START, .id = pid_of(&s));
    assert_int_equal(sh(f, &s, "true"), 0);
    destroy(f, &s);
}

static bool unheld(const struct cc_machine_info *m, const char *what)
{
    size_t i;

    for (i = 0; i < m->n_unenforced; i++)
        if (strcmp(m->unenforced[i].what, what) == 0)
            return true;
    return false;
}

/* Two loops in a machine of a quarter of a processor: together they get about that, however fast it is. */
static void test_processors_are_limited(void **state)
{
    static const char line[] =
        "timeout 2 sh -c 'while :; do :; done' & timeout 2 sh -c 'while :; do :; done' & wait; times";
    struct fix *f = *state;
    struct cc_machine_spec s = a_box(47);
    double seconds = 0, sum = 0;
    int minutes;
    const char *at;

    NEEDS_INSIDE(f);
    NEEDS("limit_vcpu", caps(f)->limit_vcpu);
    s.vcpu = 0.25;
    create(f, &s);
    NEEDS("a host that holds it to a part of a processor", !unheld(&f->res.machine, "vcpu"));
    assert_true(f->res.machine.vcpu > 0.2 && f->res.machine.vcpu < 0.3);
    sh(f, &s, line);
    at = strchr(f->res.exec.out, '\n'); /* the second line of `times`: of the children, user and system */
    assert_non_null(at);
    while (sscanf(at, " %dm%lf", &minutes, &seconds) == 2) {
        sum += minutes * 60 + seconds;
        at = strchr(at, 's') ? strchr(at, 's') + 1 : "";
    }
    assert_true(sum > 0.05 && sum < 1.2); /* 0.5 s of 2; without a limit 2 to 4 */
    destroy(f, &s);
}

static void test_disk_is_limited(void **state)
{
    struct fix *f = *state;
    struct cc_machine_spec s = a_box(48);

    NEEDS_INSIDE(f);
    NEEDS("limit_disk", caps(f)->limit_disk);
    s.disk_gib = 1;
    create(f, &s);
    assert_int_not_equal(sh(f, &s, "dd if=/dev/zero of=/big bs=1M count=1500"), 0);
    destroy(f, &s);
}

/* What was asked for and cannot be held is told, each with why. */
static void test_what_is_not_held_is_told(void **state)
{
    struct fix *f = *state;
    struct cc_machine_spec s = a_box(49);
    const struct cc_capabilities *c = caps(f);
    bool memory = false, disk = false;
    size_t i;

    s.memory_mib = 512;
    s.disk_gib = 10;
    create(f, &s);
    for (i = 0; i < f->res.machine.n_unenforced; i++) {
        memory |= strstr(f->res.machine.unenforced[i].what, "memory") != NULL;
        disk |= strstr(f->res.machine.unenforced[i].what, "disk") != NULL;
        assert_true(f->res.machine.unenforced[i].why && *f->res.machine.unenforced[i].why);
    }
    assert_int_equal(memory, !c->limit_memory);
    assert_int_equal(disk, !c->limit_disk);
    destroy(f, &s);
}

const struct CMUnitTest cases_inside[] = {
    CASE(test_exec_and_activity_need_a_running_machine),
    CASE(test_an_agent_answers_who_knows_its_secret),
    CASE(test_who_gives_keys_hears_of_ssh),
    CASE(test_exec_tells_all),
    CASE(test_environment_and_command),
    CASE(test_memory_is_limited),
    CASE(test_processes_are_limited),
    CASE(test_processors_are_limited),
    CASE(test_disk_is_limited),
    CASE(test_what_is_not_held_is_told),
};
const size_t n_cases_inside = sizeof(cases_inside) / sizeof(*cases_inside);
