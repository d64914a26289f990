/* What the provider libvirt makes of a libvirt that breaks while it is asked: our own functions in the place of the library's. */
#include "providers/libvirt/libvirt.h"

#include "providers/drivers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define NS "urn:cchost:machine:1"
#define MACHINE(short_id)                                                                                              \
    "<domain><metadata><m:machine xmlns:m='" NS "' short='" short_id "' id='id-" short_id "' network='nat'>"           \
    "<m:volume id='v-" short_id "' path='/v'/></m:machine></metadata></domain>"

/* A domain as the fake daemon has it; code: what reading it ends with. */
struct fake {
    const char *name, *xml;
    int code;
};
static struct fake *daemon_has;
static int n_has, list_code;
static virError failure;

static virErrorPtr last_error(void) { return &failure; }

static int fails(int code)
{
    failure = (virError){ .code = code, .message = (char *)"the daemon went away" };
    return code;
}

static int list_all(virConnectPtr c, virDomainPtr **out, unsigned flags)
{
    int i;

    (void)c, (void)flags;
    if (list_code)
        return fails(list_code), -1;
    *out = calloc((size_t)n_has + 1, sizeof(**out));
    for (i = 0; i < n_has; i++)
        (*out)[i] = (virDomainPtr)(void *)&daemon_has[i];
    return n_has;
}

static struct fake *of(virDomainPtr d) { return (struct fake *)(void *)d; }
static const char *name_of(virDomainPtr d) { return of(d)->name; }
static char *xml_of(virDomainPtr d, unsigned flags)
{
    (void)flags;
    if (of(d)->code)
        return fails(of(d)->code), NULL;
    return strdup(of(d)->xml);
}
static int runs(virDomainPtr d, int *state, int *why, unsigned flags)
{
    (void)d, (void)flags;
    *state = VIR_DOMAIN_RUNNING;
    *why = 0;
    return 0;
}
static int let_go(virDomainPtr d) { return (void)d, 0; }
static int alive(virConnectPtr c) { return (void)c, 1; }
static int keep(virConnectPtr c) { return (void)c, 0; }

static struct cc_arena arena;
static struct cc_err err;
static struct cc_call call = { .wake_fd = -1 };
static struct cc_provider_ctx x = { .call = &call, .arena = &arena, .err = &err };

static int setup(void **state)
{
    (void)state;
    if (cc_libvirt_load(&err) != 0) {
        print_message("# needs libvirt: %s\n", err.message);
        skip();
    }
    cc_vir.last_error = last_error;
    cc_vir.list_all_domains = list_all;
    cc_vir.domain_name = name_of;
    cc_vir.domain_xml = xml_of;
    cc_vir.domain_state = runs;
    cc_vir.domain_free = let_go;
    cc_vir.connect_is_alive = alive;
    cc_vir.connect_ref = cc_vir.connect_close = keep;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    cc_arena_free(&arena);
    return 0;
}

static int is_free(const char *volume) { return cc_libvirt_volume_free(&x, NULL, volume, "", true); }

/* Whoever asks then deletes it, or writes to it. */
static void test_a_volume_of_which_nobody_can_say_who_has_it_is_not_free(void **state)
{
    struct fake all[] = { { "others", "<domain/>", 0 },
                          { "cc-0123456789ab", MACHINE("0123456789ab"), 0 },
                          { "cc-00112233aabb", NULL, VIR_ERR_NO_DOMAIN } };

    (void)state;
    daemon_has = all;
    n_has = 3;
    list_code = 0;
    assert_int_equal(is_free("v-0123456789ab"), CC_E_CONFLICT);
    assert_non_null(strstr(err.message, "cc-0123456789ab"));
    assert_int_equal(is_free("another"), 0); /* what is gone since, and what others have, keeps nobody from it */
    list_code = VIR_ERR_RPC;
    assert_int_equal(is_free("v-0123456789ab"), CC_E_UNAVAILABLE);
    list_code = 0;
    all[1].code = VIR_ERR_RPC;
    assert_int_equal(is_free("v-0123456789ab"), CC_E_UNAVAILABLE);
    all[0].code = VIR_ERR_ACCESS_DENIED; /* not called like a machine: not ours to see */
    all[1].code = 0;
    assert_int_equal(is_free("another"), 0);
}

/* Half of a list reads like machines that are gone. */
static void test_a_list_that_breaks_off_is_no_list(void **state)
{
    struct fake all[] = { { "cc-0123456789ab", MACHINE("0123456789ab"), 0 },
                          { "others", "<domain/>", 0 },
                          { "cc-00112233aabb", MACHINE("00112233aabb"), 0 } };
    struct cc_libvirt v = { .dir = (char *)"/nowhere", .conn = (virConnectPtr)(void *)&v };
    struct cc_machine_list list;

    (void)state;
    pthread_mutex_init(&v.lock, NULL);
    daemon_has = all;
    n_has = 3;
    list_code = 0;
    assert_int_equal(cc_driver_libvirt.list(&v, &x, &list), 0);
    assert_int_equal(list.n, 2);
    all[2].code = VIR_ERR_NO_DOMAIN; /* ended while it was listed */
    assert_int_equal(cc_driver_libvirt.list(&v, &x, &list), 0);
    assert_int_equal(list.n, 1);
    all[2].code = VIR_ERR_RPC;
    assert_int_equal(cc_driver_libvirt.list(&v, &x, &list), CC_E_UNAVAILABLE);
    all[0].code = VIR_ERR_RPC;
    all[2].code = 0;
    assert_int_equal(cc_driver_libvirt.list(&v, &x, &list), CC_E_UNAVAILABLE);
    pthread_mutex_destroy(&v.lock);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    static const struct CMUnitTest cases[] = {
        CASE(test_a_volume_of_which_nobody_can_say_who_has_it_is_not_free),
        CASE(test_a_list_that_breaks_off_is_no_list),
    };

    return cmocka_run_group_tests_name("libvirt", cases, NULL, NULL);
}
