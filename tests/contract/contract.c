/* contract.c - see contract.h. */
#include "tests/contract/contract.h"

#include <signal.h>

struct told told;

int contract_setup(void **state)
{
    *state = fix_new_set(told.driver, told.settings, told.n);
    return 0;
}

/* The words of a command that says what is left, or NULL when it says nothing. */
static const char *what_is_left(void)
{
    static char text[1000];
    FILE *p = popen(told.left, "re");
    size_t n = p ? fread(text, 1, sizeof(text) - 1, p) : 0;

    text[n] = 0;
    if (!p || pclose(p) != 0)
        return "the command of @left failed";
    return n ? text : NULL;
}

int contract_teardown(void **state)
{
    const char *why;

    fix_end(*state);
    if (told.left && (why = what_is_left()))
        fail_msg("left behind: %s", why);
    return 0;
}

struct driven *driven_new(int (*open_driver)(const struct cc_pairs *settings, void **self, struct cc_err *err))
{
    struct cc_pairs settings = { told.settings, told.n };
    struct driven *s = calloc(1, sizeof(*s));

    s->call = (struct cc_call){ .wake_fd = -1, .deadline_ms = cc_mono_ms() + 120000 };
    s->x = (struct cc_provider_ctx){ .call = &s->call, .arena = &s->arena, .err = &s->err };
    if (open_driver(&settings, &s->self, &s->err) != 0)
        fail_msg("open: %s", s->err.message);
    return s;
}

void driven_free(struct driven *s, void (*close_driver)(void *self))
{
    close_driver(s->self);
    cc_arena_free(&s->arena);
    free(s);
}

static const struct {
    const char *name;
    const char **to;
} facts[] = {
    { "@image", &told.image }, { "@left", &told.left },     { "@halt", &told.halt }, { "@remove", &told.remove },
    { "@down", &told.down },   { "@memory", &told.memory }, { "@only", &told.only },
};

/* NAME=VALUE; false when it is not one. */
static bool take(char *word)
{
    char *value = strchr(word, '=');
    size_t i;

    if (!value)
        return false;
    *value++ = 0;
    for (i = 0; i < sizeof(facts) / sizeof(*facts); i++)
        if (strcmp(word, facts[i].name) == 0) {
            *facts[i].to = value;
            return true;
        }
    if (*word == '@' || told.n == sizeof(told.settings) / sizeof(*told.settings))
        return false;
    told.settings[told.n++] = (struct cc_pair){ word, value };
    return true;
}

#define RUN(cases) failed += _cmocka_run_group_tests(#cases, cases, n_##cases, NULL, NULL)

int main(int argc, char **argv)
{
    bool root = geteuid() == 0;
    int i, failed = 0;

    if (argc == 2 && strcmp(argv[1], "user") == 0)
        argv[1] = (char *)"local";
    if (argc > 2 && (strcmp(argv[1], "storage") == 0 || strcmp(argv[1], "network") == 0)) {
        for (i = 3; i < argc; i++)
            if (!take(argv[i]))
                return fprintf(stderr, "contract: %s: NAME=VALUE expected\n", argv[i]), 2;
        return strcmp(argv[1], "storage") == 0 ? contract_storage(argv[2]) : contract_network(argv[2]);
    }
    if (argc < 2 || !cc_driver_find(argv[1]))
        return fprintf(stderr, "usage: contract DRIVER [NAME=VALUE ...]\n"), 2;
    told.driver = argv[1];
    signal(SIGPIPE, SIG_IGN); /* as the host has it */
    for (i = 2; i < argc; i++)
        if (!take(argv[i]))
            return fprintf(stderr,
                           "contract: %s: NAME=VALUE expected; @image @left @halt @remove @down @only, or a setting\n",
                           argv[i]),
                   2;
    if (told.only)
        cmocka_set_test_filter(told.only);
    RUN(cases_life);
    RUN(cases_volumes);
    RUN(cases_snapshots);
    RUN(cases_inside);
    RUN(cases_calls);
    RUN(cases_screen);
    if (root && strcmp(argv[1], "local") == 0)
        failed += again_as_user(argv[0]);
    return failed;
}
