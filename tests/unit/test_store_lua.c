/* test_store_lua.c - module "store" as Lua sees it. Each test is a script that runs as a task. */
#include "host/script/task.h"
#include "host/script/vm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

struct fix {
    uv_loop_t loop;
    lua_State *L;
    char dir[64];
    int ended;
    char error[4096];
};

static const char prelude[] =
    "local store, task, json = require 'store', require 'task', require 'json'\n"
    "local function eq(a, b) if a ~= b then error(tostring(a) .. ' ~= ' .. tostring(b), 2) end end\n"
    "local function raises(text, f, ...)\n"
    "  local ok, e = pcall(f, ...)\n"
    "  if ok or not tostring(e):find(text, 1, true) then error('raised ' .. tostring(e), 2) end\n"
    "end\n"
    "local function ids(t, f) local r = {} for i, x in ipairs(t) do r[i] = x[f or 'id'] end return table.concat(r, ' "
    "') end\n";

static int setup(void **state)
{
    struct fix *f = calloc(1, sizeof(*f));

    strcpy(f->dir, "/tmp/cc-store-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    setenv("CC_TEST_DIR", f->dir, 1);
    uv_loop_init(&f->loop);
    f->L = cc_vm_new(&f->loop);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fix *f = *state;
    char cmd[128];

    assert_int_equal(cc_vm_close(f->L), 0);
    snprintf(cmd, sizeof(cmd), "rm -rf %s", f->dir);
    assert_int_equal(system(cmd), 0);
    free(f);
    return 0;
}

static void on_end(void *arg, bool ok, lua_State *co, int n, const char *error)
{
    struct fix *f = arg;

    (void)co;
    (void)n;
    if (!ok && !f->error[0])
        snprintf(f->error, sizeof(f->error), "%s", error);
    f->ended++;
}

static void start(struct fix *f, const char *open, const char *script)
{
    char *all = malloc(sizeof(prelude) + strlen(open) + strlen(script));

    sprintf(all, "%s%s%s", prelude, open, script);
    if (luaL_loadstring(f->L, all))
        fail_msg("%s", lua_tostring(f->L, -1));
    free(all);
    cc_task_spawn(f->L, 0, on_end, f);
}

static void finish(struct fix *f, int tasks)
{
    while (f->ended < tasks)
        uv_run(&f->loop, UV_RUN_ONCE);
    if (f->error[0])
        fail_msg("%s", f->error);
    f->ended = 0;
    assert_int_equal(lua_gettop(f->L), 0);
}

static void run(struct fix *f, const char *script)
{
    char open[128];

    snprintf(open, sizeof(open), "assert(store.open { dir = '%s', serve = true, map_mib = 64 })\n", f->dir);
    start(f, open, script);
    finish(f, 1);
}

static void reads_and_writes(void **state)
{
    run(*state,
        "local rev1\n"
        "local a, b = store.update(function(tx)\n"
        "  eq(tx:get('user', 'a'), nil)\n"
        "  rev1 = tx:put('user', 'a', { n = 1, list = json.array {} }, 'me')\n"
        "  eq(tx:get('user', 'a').n, 1)\n"
        "  eq(store.get('user', 'a'), nil)\n"
        "  tx:index('by_n', '1', 'a')\n"
        "  tx:log('user', 'a', 'made', { x = true }, 'me')\n"
        "  return 'one', 2\n"
        "end)\n"
        "eq(a, 'one') eq(b, 2)\n"
        "local text, owner, rev = store.raw('user', 'a')\n"
        "eq(json.decode(text).n, 1) eq(owner, 'me') eq(rev, rev1)\n"
        "local u, rev2 = store.get('user', 'a')\n"
        "eq(u.n, 1) eq(rev2, rev1) eq(json.is_array(u.list), true)\n"
        "eq(store.lookup('by_n', '1'), 'a') eq(store.lookup('by_n', '2'), nil)\n"
        "eq(store.update(function(tx) tx:put('user', 'b', { n = 2 }) end), true)\n"
        "eq(select(2, store.raw('user', 'b')), '')\n"
        "store.update(function(tx) tx:put('user', 'a', { n = 3 }) tx:log('user', 'a', 'changed') end)\n"
        "eq(select(2, store.raw('user', 'a')), 'me')\n"
        "local h = store.history('user', 'a')\n"
        "eq(#h, 2) eq(h[1].type, 'changed') eq(h[1].prev, h[2].seq) eq(h[1].data, '{}') eq(h[2].by, 'me')\n"
        "eq(#h[1].hash, 64) eq(json.decode(h[2].data).x, true) assert(h[1].at > 1e12)\n"
        "eq(#store.log { after = 1 }, 1) eq(store.log { reverse = true, limit = 1 }[1].seq, 2) eq(#store.log(), 2)\n"
        "eq(store.update(function(tx) return tx:del('user', 'b') end), true)\n"
        "eq(store.update(function(tx) return tx:del('user', 'b') end), false)\n"
        "eq(h[1].before, h[2].hash) eq(h[2].before, ('0'):rep(64)) eq(h[1].trimmed, nil)\n"
        "eq(store.log { after = 1 }[1].before, h[2].hash)\n"
        "local v = assert(store.verify()) eq(v.entries, 2) eq(v.objects, 1)\n"
        "local s = store.stats() eq(s.records, 1) eq(s.log_seq, 2) eq(s.pending, 0) eq(s.conflicts, 0)\n");
}

static void walks(void **state)
{
    run(*state, "store.update(function(tx)\n"
                "  for _, k in ipairs { 'b/2', 'a', 'b/1', 'c' } do tx:index('ix', k, 'v' .. k) tx:put('thing', k, { k "
                "= k }, 'o') end\n"
                "end)\n"
                "eq(ids(store.scan('ix'), 'key'), 'a b/1 b/2 c')\n"
                "eq(ids(store.scan('ix', { prefix = 'b/' }), 'value'), 'vb/1 vb/2')\n"
                "eq(ids(store.scan('ix', { prefix = 'b/', reverse = true, limit = 1 }), 'key'), 'b/2')\n"
                "eq(ids(store.list('thing')), 'a b/1 b/2 c')\n"
                "eq(ids(store.list('thing', { after = 'b/1' })), 'b/2 c')\n"
                "local row = store.list('thing', { prefix = 'c' })[1]\n"
                "eq(json.decode(row.json).k, 'c') eq(row.owner, 'o') eq(row.rev, select(3, store.raw('thing', 'c')))\n"
                "eq(#store.list('none'), 0)\n");
}

static void nothing_is_written_when_it_fails(void **state)
{
    run(*state, "local r, e = store.update(function(tx) tx:put('user', 'a', {}) return nil, { code = 'state' } end)\n"
                "eq(r, nil) eq(e.code, 'state')\n"
                "raises('boom', store.update, function(tx) tx:put('user', 'a', {}) error 'boom' end)\n"
                "local mine = setmetatable({}, { __tostring = function() return 'mine' end })\n"
                "local ok, raised = pcall(store.update, function(tx) error(mine) end)\n"
                "eq(raised, mine)\n"
                "eq(store.raw('user', 'a'), nil)\n"
                "eq(store.update(function() return 7 end), 7)\n"
                "eq(store.stats().updates, 0)\n");
}

static void misuse_raises(void **state)
{
    run(*state,
        "raises('the function of store.update must not wait', store.update, function(tx) task.sleep(0.01) end)\n"
        "raises('must not wait', store.update, function(tx) coroutine.yield() end)\n"
        "raises('not inside another update', store.update, function(tx) store.update(function() end) end)\n"
        "raises('function expected', store.update, 1)\n"
        "local kept\n"
        "store.update(function(tx) kept = tx end)\n"
        "raises('outside its update', kept.get, kept, 'user', 'a')\n"
        "local function bad(text, f) raises(text, store.update, f) end\n"
        "bad('#1', function(tx) tx:get('User', 'a') end)\n"
        "bad('#2', function(tx) tx:get('user', '') end)\n"
        "bad('#2', function(tx) tx:get('user', ('x'):rep(401)) end)\n"
        "bad('#3', function(tx) tx:put('user', 'a', 1) end)\n"
        "bad('cannot be JSON', function(tx) tx:put('user', 'a', { f = print }) end)\n"
        "bad('#4', function(tx) tx:put('user', 'a', {}, ('x'):rep(65)) end)\n"
        "bad('#3', function(tx) tx:index('ix', 'a', ('x'):rep(401)) end)\n"
        "bad('which does not exist', function(tx) tx:log('user', 'a', 'made') end)\n"
        "bad('#3', function(tx) tx:put('user', 'a', {}) tx:log('user', 'a', '') end)\n"
        "raises('option limit', store.scan, 'ix', { limit = -1 })\n"
        "raises('option after', store.scan, 'ix', { after = 5 })\n"
        "raises('#1', store.raw, 'no/kind', 'a')\n"
        "raises('it is open', store.open, { dir = 'x' })\n"
        "raises('option dir', function() store.close() return store.open {} end)\n"
        "raises('not open', store.raw, 'user', 'a')\n"
        "eq(select(2, store.stats()).code, 'state')\n");
}

static void refused_store_is_told(void **state)
{
    struct fix *f = *state;

    start(f, "",
          "local ok, err = store.open { dir = '/proc/none/at/all' }\n"
          "eq(ok, nil) eq(err.code, 'not_found') assert(err.message:find('/proc/none', 1, true))\n");
    finish(f, 1);
}

/* 64 tasks, one key: all of them get through. */
static void many_tasks_one_key(void **state)
{
    struct fix *f = *state;
    int i;

    run(f, "store.update(function(tx) tx:put('n', 'hot', { n = 0 }) end)\n");
    for (i = 0; i < 64; i++)
        start(f, "",
              "for _ = 1, 10 do\n"
              "  assert(store.update(function(tx)\n"
              "    local r = tx:get('n', 'hot')\n"
              "    r.n = r.n + 1\n"
              "    tx:put('n', 'hot', r)\n"
              "    tx:log('n', 'hot', 'counted', r, 'test')\n"
              "  end))\n"
              "end\n");
    finish(f, 64);
    start(f, "", "eq(store.get('n', 'hot').n, 640) eq(store.verify().entries, 640) eq(store.stats().conflicts, 0)\n");
    finish(f, 1);
}

#define COUNT(times)                                                                                                   \
    "for _ = 1, " times " do\n"                                                                                        \
    "  assert(store.update(function(tx)\n"                                                                             \
    "    local r = tx:get('n', 'shared') or { n = 0 }\n"                                                               \
    "    r.n = r.n + 1\n"                                                                                              \
    "    tx:put('n', 'shared', r)\n"                                                                                   \
    "  end))\n"                                                                                                        \
    "end\n"

/* A script beside a server, both on one record: conflicts are run again, the turn ends the losing. */
static void script_beside_a_server(void **state)
{
    struct fix *f = *state;
    int status = -1, i;
    pid_t pid;

    assert_int_equal(cc_vm_close(f->L), 0); /* neither loop nor VM may cross a fork */
    pid = fork();
    uv_loop_init(&f->loop);
    f->L = cc_vm_new(&f->loop);
    if (pid == 0) {
        start(f, "", "assert(store.open { dir = os.getenv 'CC_TEST_DIR' })\n" COUNT("150"));
        while (!f->ended)
            uv_run(&f->loop, UV_RUN_ONCE);
        if (f->error[0])
            fprintf(stderr, "%s\n", f->error);
        _exit(f->error[0] || cc_vm_close(f->L) ? 1 : 0);
    }
    run(f, "");
    for (i = 0; i < 4; i++)
        start(f, "", COUNT("100"));
    finish(f, 4);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    start(f, "", "eq(store.get('n', 'shared').n, 550)\n");
    finish(f, 1);
}

#define ADD "store.update(function(tx) tx:put('n', 'x', {}) tx:log('n', 'x', 'made') end)\n"

static void waits_for_the_log(void **state)
{
    run(*state, "eq(store.wait(0, 0), false)\n"
                "eq(store.wait(0, 0.01), false)\n"
                "local h = task.spawn(function() return store.wait(0, 60) end)\n"
                "local later = task.spawn(function() return store.wait(1, 60) end)\n"
                "task.sleep(0)\n" ADD "eq(h:join(), true)\n"
                "eq(store.wait(0, 60), true)\n"
                "eq(store.wait(1, 0.01), false)\n"
                "eq(later:done(), false)\n"
                "later:cancel('enough')\n"
                "local no, err = later:join()\n"
                "eq(no, nil) eq(err.code, 'cancelled')\n"
                "local closed = task.spawn(function() return store.wait(1, 60) end)\n"
                "task.sleep(0)\n"
                "store.close()\n"
                "no, err = closed:join()\n"
                "eq(no, nil) eq(err.code, 'state')\n"
                "raises('not open', store.wait, 1, 1)\n");
}

/* Another process tells nobody that it has written. */
static void waits_for_another_process(void **state)
{
    struct fix *f = *state;
    int status = -1;
    pid_t pid;

    assert_int_equal(cc_vm_close(f->L), 0);
    pid = fork();
    uv_loop_init(&f->loop);
    f->L = cc_vm_new(&f->loop);
    if (pid == 0) {
        start(f, "", "assert(store.open { dir = os.getenv 'CC_TEST_DIR' })\n" ADD ADD);
        while (!f->ended)
            uv_run(&f->loop, UV_RUN_ONCE);
        _exit(f->error[0] || cc_vm_close(f->L) ? 1 : 0);
    }
    run(f, "eq(store.wait(1, 60), true) eq(store.stats().log_seq, 2)\n");
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void trims_the_log(void **state)
{
    run(*state, ADD ADD ADD "eq(store.trim({ 1, 3, 7 }), 2)\n"
                            "eq(store.trim({ 1, 2 }), 1)\n"
                            "eq(store.trim({}), 0)\n"
                            "local h = store.history('n', 'x')\n"
                            "eq(h[1].trimmed, true) eq(h[1].data, '') eq(h[1].before, h[2].hash)\n"
                            "eq(store.verify().entries, 3)\n"
                            "raises('a list of sequences', store.trim, { 'x' })\n"
                            "raises('table expected', store.trim, 1)\n"
                            "local h2 = task.spawn(function() return store.trim({ 1 }) end)\n"
                            "task.sleep(0)\n"
                            "h2:cancel('enough')\n"
                            "local no, err = h2:join()\n"
                            "eq(no, nil) eq(err.code, 'cancelled')\n");
}

/* Changes the byte behind `mark` wherever the file has it. */
static void flip(struct fix *f, const char *mark)
{
    char path[128], *all, *at;
    FILE *file;
    long n;

    snprintf(path, sizeof(path), "%s/store/data.mdb", f->dir);
    file = fopen(path, "r+");
    assert_non_null(file);
    fseek(file, 0, SEEK_END);
    n = ftell(file);
    all = malloc((size_t)n);
    rewind(file);
    assert_int_equal(fread(all, 1, (size_t)n, file), n);
    for (at = all; (at = memmem(at, (size_t)(all + n - at), mark, strlen(mark))); at += strlen(mark))
        at[strlen(mark)] ^= 1;
    rewind(file);
    assert_int_equal(fwrite(all, 1, (size_t)n, file), n);
    fclose(file);
    free(all);
}

static void broken_entry_is_named(void **state)
{
    struct fix *f = *state;

    run(f, ADD "store.update(function(tx) tx:log('n', 'x', 'made', { mark = 'here-1' }) end)\n" ADD);
    assert_int_equal(cc_vm_close(f->L), 0);
    flip(f, "here-");
    uv_loop_init(&f->loop);
    f->L = cc_vm_new(&f->loop);
    run(f, "local no, err = store.verify()\n"
           "eq(no, nil) eq(err.code, 'corrupt') eq(err.seq, 2)\n"
           "eq(err.message, 'log entry 2: does not match its hash')\n");
}

static void backs_up_and_restores(void **state)
{
    run(*state, ADD "local dir = os.getenv 'CC_TEST_DIR'\n"
                    "local made = assert(store.backup(dir .. '/copy'))\n"
                    "eq(made.entries, 1) eq(made.objects, 1) eq(made.log_seq, 1) assert(made.bytes > 4096)\n"
                    "eq(select(2, store.backup(dir .. '/copy')).code, 'exists')\n" ADD
                    "raises('a store is open', store.restore, dir .. '/copy', dir)\n"
                    "store.close()\n"
                    "eq(select(2, store.restore(dir .. '/copy', dir)).code, 'exists')\n"
                    "eq(select(2, store.restore(dir .. '/none', dir)).code, 'not_found')\n"
                    "local h = task.spawn(function() return store.restore(dir .. '/copy', dir, { force = true }) end)\n"
                    "task.sleep(0)\n"
                    "raises('not while one is restored', store.open, { dir = dir })\n"
                    "eq(h:join().entries, 1)\n"
                    "assert(store.open { dir = dir, serve = true })\n"
                    "eq(#store.log(), 1)\n");
}

/* Closing the VM under tasks that wait for a commit or a verification leaves nothing open (teardown proves it). */
static void close_under_waiting_tasks(void **state)
{
    struct fix *f = *state;
    int i;

    run(f, "");
    for (i = 0; i < 8; i++)
        start(f, "", "while store.update(function(tx) tx:put('n', 'x', {}) end) and store.verify() do end\n");
    start(f, "", "store.wait(1e9, 60)\n");
    for (i = 0; i < 20; i++)
        uv_run(&f->loop, UV_RUN_ONCE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
        T(reads_and_writes),
        T(walks),
        T(nothing_is_written_when_it_fails),
        T(misuse_raises),
        T(refused_store_is_told),
        T(many_tasks_one_key),
        T(script_beside_a_server),
        T(waits_for_the_log),
        T(waits_for_another_process),
        T(trims_the_log),
        T(broken_entry_is_named),
        T(backs_up_and_restores),
        T(close_under_waiting_tasks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
