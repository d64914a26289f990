/* What the provider libvirt makes of a libvirt that breaks while it is asked: our own functions in the place of the library's. */
#include "providers/libvirt/libvirt.h"

#include "providers/drivers.h"
#include "providers/files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
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
/* Each call of libvirt's forgets the error of the one before, also one that succeeds. */
static int forgets(void)
{
    failure = (virError){ .code = VIR_ERR_OK };
    return 0;
}

static int state_now, state_code, asked; /* state_code: what reading it ends with */
static int state_of(virDomainPtr d, int *state, int *why, unsigned flags)
{
    (void)d, (void)flags;
    asked++;
    if (state_code)
        return fails(state_code), -1;
    *state = state_now;
    *why = 0;
    return forgets();
}
static int let_go(virDomainPtr d) { return (void)d, forgets(); }
static int alive(virConnectPtr c) { return (void)c, 1; }
static int keep(virConnectPtr c) { return (void)c, forgets(); }

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
    cc_vir.domain_state = state_of;
    cc_vir.domain_free = let_go;
    cc_vir.connect_is_alive = alive;
    cc_vir.connect_ref = cc_vir.connect_close = keep;
    state_now = VIR_DOMAIN_RUNNING;
    state_code = list_code = asked = 0;
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

/* The list's own error is told, not what giving back the connection made of it. */
static void test_a_list_that_fails_says_why(void **state)
{
    struct cc_libvirt v = { .dir = (char *)"/nowhere", .conn = (virConnectPtr)(void *)&v };
    struct cc_machine_list list;

    (void)state;
    pthread_mutex_init(&v.lock, NULL);
    list_code = VIR_ERR_RPC;
    assert_int_equal(cc_driver_libvirt.list(&v, &x, &list), CC_E_UNAVAILABLE);
    assert_non_null(strstr(err.message, "the daemon went away"));
    pthread_mutex_destroy(&v.lock);
}

static int pressed(virDomainPtr d, unsigned flags)
{
    (void)d, (void)flags;
    state_code = VIR_ERR_RPC; /* libvirtd is restarted while the guest goes off, or does not */
    return forgets();
}
static int destroy_code, destroyed_to;
static int destroy(virDomainPtr d, unsigned flags)
{
    (void)d, (void)flags;
    state_now = destroyed_to;
    return destroy_code ? (fails(destroy_code), -1) : forgets();
}

/* Whoever believes that it is off starts another with its disks, or takes them away. */
static void test_a_guest_of_which_nobody_can_say_that_it_is_off_is_not(void **state)
{
    struct fake one = { "cc-0123456789ab", MACHINE("0123456789ab"), 0 };
    virDomainPtr d = (virDomainPtr)(void *)&one;

    (void)state;
    cc_vir.domain_shutdown = pressed;
    cc_vir.domain_destroy = destroy;
    destroy_code = VIR_ERR_RPC;
    destroyed_to = VIR_DOMAIN_RUNNING;
    state_code = VIR_ERR_RPC;
    assert_int_equal(cc_domain_end(NULL, &x, d, 0), CC_E_UNAVAILABLE);
    state_code = 0;
    assert_int_equal(cc_domain_end(NULL, &x, d, 60000), CC_E_UNAVAILABLE);
    assert_int_equal(asked, 3);
    state_code = VIR_ERR_NO_DOMAIN; /* a transient one that is gone */
    assert_int_equal(cc_domain_end(NULL, &x, d, 0), 0);
    state_code = 0;
    state_now = VIR_DOMAIN_SHUTOFF;
    assert_int_equal(cc_domain_end(NULL, &x, d, 0), 0);
}

static void test_a_guest_that_cannot_be_ended_says_why(void **state)
{
    struct fake one = { "cc-0123456789ab", MACHINE("0123456789ab"), 0 };
    virDomainPtr d = (virDomainPtr)(void *)&one;

    (void)state;
    cc_vir.domain_destroy = destroy;
    destroy_code = VIR_ERR_ACCESS_DENIED;
    destroyed_to = VIR_DOMAIN_RUNNING;
    assert_int_equal(cc_domain_end(NULL, &x, d, 0), CC_E_DENIED);
    assert_non_null(strstr(err.message, "the daemon went away"));
    destroy_code = VIR_ERR_OPERATION_INVALID; /* it went off by itself meanwhile */
    destroyed_to = VIR_DOMAIN_SHUTOFF;
    assert_int_equal(cc_domain_end(NULL, &x, d, 0), 0);
}

static struct fake screen = { "cc-0123456789ab", MACHINE("0123456789ab"), 0 };
static virDomainPtr by_name(virConnectPtr c, const char *name)
{
    (void)c, (void)name;
    return (virDomainPtr)(void *)&screen;
}
static virStreamPtr a_stream(virConnectPtr c, unsigned flags)
{
    (void)c, (void)flags;
    return (virStreamPtr)(void *)&screen;
}
static char *shown(virDomainPtr d, virStreamPtr s, unsigned n, unsigned flags)
{
    (void)d, (void)s, (void)n, (void)flags;
    return strdup("image/png");
}
static int broken(virStreamPtr s, char *data, size_t n) { return (void)s, (void)data, (void)n, fails(VIR_ERR_RPC), -1; }
static int aborted(virStreamPtr s) { return (void)s, forgets(); }

static void test_a_picture_that_breaks_off_says_why(void **state)
{
    struct cc_libvirt v = { .dir = (char *)"/nowhere", .conn = (virConnectPtr)(void *)&v };
    struct cc_picture picture;

    (void)state;
    if (cc_png_load(&err) != 0)
        skip();
    pthread_mutex_init(&v.lock, NULL);
    cc_vir.domain_by_name = by_name;
    cc_vir.domain_screenshot = shown;
    cc_vir.stream_new = a_stream;
    cc_vir.stream_recv = broken;
    cc_vir.stream_abort = cc_vir.stream_free = aborted;
    assert_int_equal(cc_driver_libvirt.screenshot(&v, &x, "cc-0123456789ab", &picture), CC_E_UNAVAILABLE);
    assert_non_null(strstr(err.message, "the daemon went away"));
    pthread_mutex_destroy(&v.lock);
}

/* ---- disks that take longer than a call: a storage of our own */

static int removed, create_code;
static uint64_t resized_to;
static bool takes_whole;

static int s_create(void *self, struct cc_provider_ctx *y, const char *id, uint64_t size, const char *image,
                    struct cc_disk *out)
{
    (void)self, (void)id, (void)size, (void)image, (void)out;
    return cc_err_set(y->err, create_code, "it is not whole yet");
}
static int s_remove(void *self, struct cc_provider_ctx *y, const char *id)
{
    (void)self, (void)y, (void)id;
    return removed++, 0;
}
static int s_find(void *self, struct cc_provider_ctx *y, const char *id, struct cc_disk *out)
{
    (void)self;
    if (!strstr(id, "..root"))
        return cc_err_set(y->err, CC_E_NOT_FOUND, "no volume %s", id);
    *out = (struct cc_disk){ .id = id, .path = "/dev/null", .size = 1 << 30 };
    return 0;
}
static int s_resize(void *self, struct cc_provider_ctx *y, const char *id, uint64_t size)
{
    (void)self, (void)id;
    resized_to = size;
    return cc_err_set(y->err, CC_E_IO, "it cannot be finished");
}
static int s_snapshot_list(void *self, struct cc_provider_ctx *y, const char *id, struct cc_snapshot_list *out)
{
    (void)self, (void)out;
    return cc_err_set(y->err, CC_E_NOT_FOUND, "no volume %s", id);
}
static int s_room(void *self, struct cc_provider_ctx *y, struct cc_room *out)
{
    (void)self, (void)y;
    *out = (struct cc_room){ .whole = takes_whole };
    return 0;
}
static const struct cc_storage slow = {
    .create = s_create,
    .remove = s_remove,
    .find = s_find,
    .resize = s_resize,
    .snapshot_list = s_snapshot_list,
    .room = s_room,
};

static virDomainPtr by_no_name(virConnectPtr c, const char *name)
{
    (void)c, (void)name;
    fails(VIR_ERR_NO_DOMAIN);
    return NULL;
}

static void open_slow(struct cc_libvirt *v, char *dir)
{
    const char *parts[] = { "machines", "locks", "images" };
    size_t i;

    assert_non_null(mkdtemp(dir));
    for (i = 0; i < 3; i++)
        assert_int_equal(mkdir(cc_arena_printf(&arena, "%s/%s", dir, parts[i]), 0700), 0);
    *v = (struct cc_libvirt){
        .dir = dir,
        .images = cc_arena_printf(&arena, "%s/images", dir),
        .image = (char *)"base",
        .data_gib = 1,
        .disk_gib = 1,
        .storage = &slow,
        .conn = (virConnectPtr)(void *)v,
    };
    assert_int_equal(cc_write_whole(cc_arena_printf(&arena, "%s/base.raw", v->images), "x", 1, &err), 0);
    pthread_mutex_init(&v->lock, NULL);
    removed = 0;
}

static void close_slow(struct cc_libvirt *v)
{
    cc_remove_tree(v->dir);
    pthread_mutex_destroy(&v->lock);
}

/* What was overwritten in the time of one call is not to be overwritten in the next. */
static void test_a_create_that_ran_out_of_time_keeps_the_disk_that_it_was_overwriting(void **state)
{
    const struct cc_machine_spec spec = {
        .short_id = "0123456789ab", .id = "id-0123456789ab", .name = "n", .owner = "o"
    };
    char dir[] = "/tmp/cchost-libvirt-XXXXXX";
    struct cc_machine_info info;
    struct cc_libvirt v;

    (void)state;
    open_slow(&v, dir);
    cc_vir.domain_by_name = by_no_name;
    create_code = CC_E_TIMEOUT;
    takes_whole = true;
    assert_int_equal(cc_driver_libvirt.create(&v, &x, &spec, &info), CC_E_TIMEOUT);
    assert_int_equal(removed, 0);
    create_code = CC_E_FULL; /* that is no question of time */
    assert_int_equal(cc_driver_libvirt.create(&v, &x, &spec, &info), CC_E_FULL);
    assert_int_equal(removed, 2);
    create_code = CC_E_TIMEOUT;
    takes_whole = false;
    assert_int_equal(cc_driver_libvirt.create(&v, &x, &spec, &info), CC_E_TIMEOUT);
    assert_int_equal(removed, 4);
    close_slow(&v);
}

/* A host may have been killed when it had made the disk larger, and had not overwritten what others left there. */
static void test_no_guest_starts_before_its_disk_is_finished(void **state)
{
    char dir[] = "/tmp/cchost-libvirt-XXXXXX";
    struct cc_machine_info info;
    struct cc_libvirt v;

    (void)state;
    open_slow(&v, dir);
    cc_vir.domain_by_name = by_name;
    state_now = VIR_DOMAIN_SHUTOFF;
    resized_to = 0;
    assert_int_equal(cc_driver_libvirt.start(&v, &x, "cc-0123456789ab", NULL, &info), CC_E_IO);
    assert_int_equal(resized_to, 1 << 30);
    close_slow(&v);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    static const struct CMUnitTest cases[] = {
        CASE(test_a_volume_of_which_nobody_can_say_who_has_it_is_not_free),
        CASE(test_a_list_that_breaks_off_is_no_list),
        CASE(test_a_list_that_fails_says_why),
        CASE(test_a_guest_of_which_nobody_can_say_that_it_is_off_is_not),
        CASE(test_a_guest_that_cannot_be_ended_says_why),
        CASE(test_a_picture_that_breaks_off_says_why),
        CASE(test_a_create_that_ran_out_of_time_keeps_the_disk_that_it_was_overwriting),
        CASE(test_no_guest_starts_before_its_disk_is_finished),
    };

    return cmocka_run_group_tests_name("libvirt", cases, NULL, NULL);
}
