/* The log: what a line is, for whom it was, and that nobody ever waits for it. */
#include "host/observe/log.h"
#include "host/observe/log_line.h"
#include "host/sys/context.h"

#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <cmocka.h>

static json_t *parsed(struct cc_log_line *l)
{
    json_error_t err;
    json_t *o;

    assert_true(l->n > 0 && l->buf[l->n - 1] == '\n');
    assert_ptr_equal(memchr(l->buf, '\n', l->n), l->buf + l->n - 1);
    o = json_loadb(l->buf, l->n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &err);
    if (!o)
        fail_msg("%s: %.*s", err.text, (int)l->n, l->buf);
    return o;
}

static json_t *line_of(const char *key, const char *value, size_t len)
{
    struct cc_log_line l;
    struct cc_log_field f = { key, value, len, false };
    json_t *o;

    cc_log_line_begin(&l, true);
    cc_log_line_text(&l, "msg", "m");
    cc_log_line_field(&l, &f);
    cc_log_line_end(&l);
    o = parsed(&l);
    assert_true(l.n <= sizeof(l.buf));
    return o;
}

static void test_any_bytes_make_one_line_of_json(void **state)
{
    static const char *const hostile[] = { "a\nlevel=error", "\"},{\"x\":\"",    "\x1b[2J", "\xff\xfe", "\xc3",
                                           "\xed\xa0\x80",   "\xf4\x90\x80\x80", "ä€😀",     "\\",       "\x7f" };
    char all[256];
    size_t i;
    json_t *o;

    (void)state;
    for (i = 0; i < sizeof(hostile) / sizeof(*hostile); i++)
        json_decref(line_of("v", hostile[i], strlen(hostile[i])));
    for (i = 0; i < sizeof(all); i++)
        all[i] = (char)i;
    json_decref(line_of("v", all, sizeof(all)));
    o = line_of("a\"b", "ä€😀", strlen("ä€😀"));
    assert_string_equal(json_string_value(json_object_get(o, "a\"b")), "ä€😀");
    json_decref(o);
}

/* Every length at which something may be cut: within an escape, a character, a key. */
static void test_what_is_too_long_is_cut_whole(void **state)
{
    size_t n, k;
    char *text = malloc(3 * CC_LOG_LINE_MAX);
    json_t *o;

    (void)state;
    for (k = 0; k < 3 * CC_LOG_LINE_MAX; k += 3)
        memcpy(text + k, "€", 3);
    o = line_of("v", text, 3 * CC_LOG_LINE_MAX);
    assert_true(json_is_true(json_object_get(o, "cut")));
    json_decref(o);
    for (n = CC_LOG_VALUE_MAX - 20; n < CC_LOG_VALUE_MAX + 20; n++) {
        memset(text, 'x', n);
        text[n - 1] = '\x01';
        json_decref(line_of("v", text, n));
    }
    free(text);
}

static void test_more_fields_than_fit_leave_a_sound_line(void **state)
{
    char value[997];
    struct cc_log_field f = { "field", value, sizeof(value), false };
    struct cc_log_line l;
    char key[16];
    size_t i, extra;
    json_t *o;

    (void)state;
    memset(value, '\n', sizeof(value));
    for (extra = 0; extra < 40; extra++) {
        cc_log_line_begin(&l, true);
        cc_log_line_text(&l, "msg", "m");
        for (i = 0; i < 40; i++) {
            snprintf(key, sizeof(key), "k%zu", i);
            f.key = key;
            f.len = sizeof(value) - extra;
            cc_log_line_field(&l, &f);
        }
        cc_log_line_end(&l);
        o = parsed(&l);
        assert_true(json_is_true(json_object_get(o, "cut")));
        json_decref(o);
    }
}

/* ---------------------------------------------------------------- levels */

static void test_a_module_has_a_level_of_its_own(void **state)
{
    char name[16];
    enum cc_log_level level;
    int i;

    (void)state;
    cc_log_init(CC_LOG_WARN, true);
    assert_false(cc_log_on(CC_LOG_INFO, "a"));
    assert_int_equal(cc_log_set("a", CC_LOG_DEBUG), 0);
    assert_true(cc_log_on(CC_LOG_DEBUG, "a"));
    assert_false(cc_log_on(CC_LOG_DEBUG, "b"));
    assert_int_equal(cc_log_set("b", CC_LOG_OFF), 0);
    assert_false(cc_log_on(CC_LOG_ERROR, "b"));
    assert_string_equal(cc_log_module(1, &level), "b");
    cc_log_set("a", -1);
    assert_false(cc_log_on(CC_LOG_INFO, "a"));
    assert_string_equal(cc_log_module(0, &level), "b");
    assert_null(cc_log_module(1, &level));
    for (i = 0; i < CC_LOG_MODULES - 2; i++) {
        snprintf(name, sizeof(name), "m%d", i);
        assert_int_equal(cc_log_set(name, CC_LOG_INFO), 0);
    }
    assert_true(cc_log_set("one_more", CC_LOG_INFO) < 0);
    for (i = 0; cc_log_module(0, &level) && i < 100; i++)
        cc_log_set(cc_log_module(0, &level), -1);
}

/* ---------------------------------------------------------------- the sink, before a pipe that nobody reads */

struct pipes {
    int was, out;
};

static void pipe_for_stderr(struct pipes *p)
{
    int fds[2];

    assert_int_equal(pipe(fds), 0);
    p->was = dup(STDERR_FILENO);
    p->out = fds[0];
    dup2(fds[1], STDERR_FILENO);
    close(fds[1]);
    fcntl(p->out, F_SETFL, O_NONBLOCK);
}

static void put_back(struct pipes *p)
{
    dup2(p->was, STDERR_FILENO);
    close(p->was);
    close(p->out);
}

enum { TEXT = 1 << 24 };

static void read_more(int fd, char *text)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };
    size_t n = strlen(text);

    assert_int_equal(poll(&p, 1, 20000), 1);
    assert_true(read(fd, text + n, TEXT - 1 - n) > 0);
}

/* Reads until the text holds `end`. */
static char *read_until(int fd, const char *end)
{
    char *text = calloc(1, TEXT);

    while (!strstr(text, end))
        read_more(fd, text);
    return text;
}

/* Whole lines that say what, or what they count. */
static unsigned long long count(const char *text, const char *what, bool sum)
{
    unsigned long long n = 0;

    while ((text = strstr(text, what)) && strchr(text, '\n')) {
        n += sum ? strtoull(text + strlen(what), NULL, 10) : 1;
        text++;
    }
    return n;
}

static void test_a_reader_that_sleeps_costs_lines_and_no_time(void **state)
{
    enum { LINES = 20000 };
    struct cc_log_stats st;
    struct pipes p;
    char *text = calloc(1, TEXT);
    int i;

    (void)state;
    pipe_for_stderr(&p);
    cc_log_init(CC_LOG_INFO, true);
    assert_int_equal(cc_log_start(NULL, 65536, NULL), 0);
    for (i = 0; i < LINES; i++) /* would never end if one of them waited */
        cc_log(CC_LOG_INFO, "test", "line %d of many that nobody reads", i);
    cc_log_stats(&st);
    assert_true(st.dropped > 0);
    assert_int_equal(st.lines + st.dropped, LINES);
    while (count(text, "nobody reads", false) + count(text, "\"lines\":", true) < LINES)
        read_more(p.out, text); /* what is lost is told as soon as there is room */
    assert_int_equal(count(text, "nobody reads", false), st.lines);
    assert_int_equal(count(text, "\"lines\":", true), st.dropped);
    free(text);
    cc_log(CC_LOG_INFO, "test", "afterwards");
    free(read_until(p.out, "afterwards"));
    cc_log_stop();
    put_back(&p);
}

static void test_what_is_left_is_written_at_the_end(void **state)
{
    struct pipes p;
    char *text;
    int i;

    (void)state;
    pipe_for_stderr(&p);
    assert_int_equal(cc_log_start(NULL, 65536, NULL), 0);
    for (i = 0; i < 100; i++)
        cc_log(CC_LOG_INFO, "test", "line %d", i);
    cc_log_stop();
    text = read_until(p.out, "line 99\"");
    assert_non_null(strstr(text, "line 0\""));
    free(text);
    put_back(&p);
}

static bool holds(const char *path, const char *what)
{
    char text[65536] = "";
    FILE *f = fopen(path, "r");
    size_t n = f ? fread(text, 1, sizeof(text) - 1, f) : 0;

    if (f)
        fclose(f);
    text[n] = 0;
    return strstr(text, what) != NULL;
}

static void test_a_file_is_opened_anew(void **state)
{
    char dir[] = "/tmp/cchost-log-XXXXXX", path[64], moved[64], gone[64];
    int i;

    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/log", dir);
    snprintf(moved, sizeof(moved), "%s/log.1", dir);
    snprintf(gone, sizeof(gone), "%s/away", dir);
    assert_int_equal(cc_log_start(path, 65536, NULL), 0);
    cc_log(CC_LOG_INFO, "test", "the first");
    for (i = 0; i < 20000 && !holds(path, "the first"); i++)
        poll(NULL, 0, 1);
    assert_int_equal(rename(path, moved), 0);
    cc_log_reopen();
    for (i = 0; i < 20000 && access(path, F_OK) != 0; i++)
        poll(NULL, 0, 1);
    cc_log(CC_LOG_INFO, "test", "the second");
    cc_log_stop();
    assert_true(holds(moved, "the first") && !holds(moved, "the second"));
    assert_true(holds(path, "the second") && !holds(path, "the first"));
    unlink(path);
    unlink(moved);
    assert_int_equal(rmdir(dir), 0);
    assert_true(cc_log_start(gone, 65536, NULL) < 0); /* no such folder any more */
}

/* Of what is there, line by line: how many are JSON, how many are not; *told: how many lines it says were dropped. */
static void read_log(const char *path, unsigned *sound, unsigned *broken, json_int_t *told)
{
    char line[CC_LOG_LINE_MAX + 1];
    FILE *f = fopen(path, "r");
    json_t *o;

    assert_non_null(f);
    *sound = *broken = 0;
    *told = 0;
    while (fgets(line, sizeof(line), f)) {
        o = json_loads(line, 0, NULL);
        *sound += o != NULL;
        *broken += o == NULL;
        *told += json_integer_value(json_object_get(o, "lines"));
        json_decref(o);
    }
    fclose(f);
}

/* A limit of the file's size stands for the disk's. */
static void test_a_full_disk_spoils_no_line_behind_it_and_what_was_lost_is_told(void **state)
{
    enum { LINES = 200, ROOM = 2000 };
    char dir[] = "/tmp/cchost-log-XXXXXX", path[64];
    struct rlimit was, small;
    struct cc_log_stats st;
    unsigned sound, broken;
    json_int_t told, before, lost;
    int i, k;

    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/log", dir);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
    small = (struct rlimit){ ROOM, was.rlim_max };
    cc_log_init(CC_LOG_INFO, true);
    assert_int_equal(cc_log_start(path, 65536, NULL), 0);
    cc_log_stats(&st);
    before = (json_int_t)st.dropped; /* by tests before this one, and told in theirs */
    setrlimit(RLIMIT_FSIZE, &small);
    for (i = 0; i < LINES; i++)
        cc_log(CC_LOG_INFO, "test", "number %d", i);
    for (k = 0; k < 20000 && (cc_log_stats(&st), st.waiting > 0); k++)
        poll(NULL, 0, 1);
    assert_true((json_int_t)st.dropped > before);
    setrlimit(RLIMIT_FSIZE, &was);
    cc_log(CC_LOG_INFO, "test", "there is room again");
    for (k = 0; k < 20000 && !holds(path, "were dropped"); k++)
        poll(NULL, 0, 1);
    cc_log_stop();
    cc_log_stats(&st);
    lost = (json_int_t)st.dropped - before;
    read_log(path, &sound, &broken, &told);
    assert_int_equal(broken, 0);
    assert_true(holds(path, "could not be written") && holds(path, "File too large"));
    assert_int_equal(told, lost);
    assert_int_equal(sound, LINES + 1 - lost + 1); /* what was not lost, and the line that says what was */
    assert_true(holds(path, "there is room again"));
    unlink(path);
    assert_int_equal(rmdir(dir), 0);
}

/* ---------------------------------------------------------------- for whom */

static void test_a_trace_goes_on_where_the_header_is_valid(void **state)
{
    static const char good[] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    static const char *const bad[] = { "",
                                       "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
                                       "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                                       "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
                                       "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
                                       "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
                                       "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
                                       "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01" };
    struct cc_context c = { 0 };
    char text[CC_TRACEPARENT_LEN + 1];
    size_t i;

    (void)state;
    cc_context_trace(&c, good, strlen(good));
    cc_context_traceparent(&c, text);
    assert_memory_equal(text, good, 36);       /* the trace */
    assert_memory_not_equal(text, good, 52);   /* a span of its own */
    assert_string_equal(text + 52, good + 52); /* the flags */
    cc_context_trace(&c, "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00-more", 60);
    assert_int_equal(c.trace[0], 0x4b);
    for (i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        cc_context_trace(&c, bad[i], strlen(bad[i]));
        cc_context_traceparent(&c, text);
        assert_memory_not_equal(text, good, 35);
        assert_int_equal(c.parent[0] | c.parent[7], 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_bytes_make_one_line_of_json),
        cmocka_unit_test(test_what_is_too_long_is_cut_whole),
        cmocka_unit_test(test_more_fields_than_fit_leave_a_sound_line),
        cmocka_unit_test(test_a_module_has_a_level_of_its_own),
        cmocka_unit_test(test_a_reader_that_sleeps_costs_lines_and_no_time),
        cmocka_unit_test(test_what_is_left_is_written_at_the_end),
        cmocka_unit_test(test_a_file_is_opened_anew),
        cmocka_unit_test(test_a_full_disk_spoils_no_line_behind_it_and_what_was_lost_is_told),
        cmocka_unit_test(test_a_trace_goes_on_where_the_header_is_valid),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
