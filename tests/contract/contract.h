/* contract.h - the same cases for every driver: what provider.h promises.
 *
 * contract DRIVER [NAME=VALUE ...]   runs them, in TAP. Settings of the driver, and of the test, which begin with "@":
 *   @image=IMAGE     one that has sh, and that the provider has; default: the driver's
 *   @left=COMMAND    says what of our making is still at the provider; nothing: clean. Run after each case
 *   @halt=COMMAND    ends the machine $SHORT behind the back of the driver, whose "dir" is $DIR; @remove=COMMAND takes it away
 *   @memory=MIB      as little as a machine can have and still do something; default 64
 *   @down=NAME=VALUE a setting with which the provider cannot be reached
 *   @only=PATTERN    those cases alone, as "*snapshot*"
 * `contract local`, as root, runs them a second time as an ordinary user.
 * What a driver cannot do (capabilities) is skipped by name, and so is what the test was given no way to do.
 */
#ifndef CC_TEST_CONTRACT_H
#define CC_TEST_CONTRACT_H

#include "tests/lib/provider.h"

#include <poll.h>

#define DO(f, ...) fix_do((f), (struct cc_provider_req){ __VA_ARGS__ })
#define OK(f, ...) fix_ok((f), (struct cc_provider_req){ __VA_ARGS__ })

struct told {
    const char *driver;
    struct cc_pair settings[16];
    size_t n;
    const char *image, *left, *halt, *remove, *down, *memory, *only;
};
extern struct told told;

int contract_setup(void **state);
int contract_teardown(void **state);

static inline const struct cc_capabilities *caps(struct fix *f) { return f->driver->capabilities(f->self); }

/* Ends the case as skipped. */
#define NEEDS(what, condition)                                                                                         \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            print_message("# needs %s\n", what);                                                                       \
            skip();                                                                                                    \
        }                                                                                                              \
    } while (0)

/* A description that this driver can make: the image it was told, or its own. */
static inline struct cc_machine_spec a_box(unsigned n)
{
    struct cc_machine_spec s = a_machine(n);

    s.image = told.image;
    return s;
}

/* Runs what the operator may do behind our back. */
static inline void behind(struct fix *f, const char *command, const struct cc_machine_spec *s)
{
    setenv("SHORT", s->short_id, 1);
    setenv("DIR", f->dir, 1);
    if (system(command) != 0)
        fail_msg("`%s` failed for %s", command, s->short_id);
}

/* Waits until it holds: a condition of the world, which nobody tells of. Fails with it after half a minute. */
#define UNTIL(condition)                                                                                               \
    do {                                                                                                               \
        uint64_t until_ = cc_mono_ms() + 30000;                                                                        \
        while (!(condition)) {                                                                                         \
            if (cc_mono_ms() > until_)                                                                                 \
                fail_msg("waited in vain for: %s", #condition);                                                        \
            poll(NULL, 0, 10);                                                                                         \
        }                                                                                                              \
    } while (0)

#define CASE(f) cmocka_unit_test_setup_teardown(f, contract_setup, contract_teardown)

/* What a driver of storage or networks is called with; it is opened with the settings that the test was told. */
struct driven {
    void *self;
    struct cc_arena arena;
    struct cc_call call;
    struct cc_err err;
    struct cc_provider_ctx x;
};
struct driven *driven_new(int (*open_driver)(const struct cc_pairs *settings, void **self, struct cc_err *err));
void driven_free(struct driven *s, void (*close_driver)(void *self));

/* A call with `struct driven *s` that must not fail. */
#define DOES(call)                                                                                                     \
    do {                                                                                                               \
        if ((call) != 0)                                                                                               \
            fail_msg(#call ": %s", s->err.message);                                                                    \
    } while (0)

int contract_storage(const char *driver); /* storage.c */
int contract_network(const char *driver); /* network.c */

extern const struct CMUnitTest cases_life[], cases_volumes[], cases_snapshots[], cases_inside[], cases_calls[],
    cases_screen[];
extern const size_t n_cases_life, n_cases_volumes, n_cases_snapshots, n_cases_inside, n_cases_calls, n_cases_screen;

#endif
