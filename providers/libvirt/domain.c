/* domain.c - libvirt's calls, with its errors as ours. */
#include "providers/libvirt/libvirt.h"

#include "host/sys/clock.h"
#include "providers/rest.h"

#include <string.h>

int cc_libvirt_error(struct cc_err *err, const char *what)
{
    virErrorPtr e = cc_vir.last_error();
    const char *why = e && e->message ? e->message : "no reason told";

    switch (e ? e->code : VIR_ERR_OK) {
    case VIR_ERR_NO_DOMAIN:
        return cc_err_set(err, CC_E_NOT_FOUND, "%s: %s", what, why);
    case VIR_ERR_OPERATION_INVALID:
        return cc_err_set(err, CC_E_STATE, "%s: %s", what, why);
    case VIR_ERR_NO_CONNECT:
    case VIR_ERR_SYSTEM_ERROR:
    case VIR_ERR_RPC:
    case VIR_ERR_AUTH_UNAVAILABLE:
        return cc_err_set(err, CC_E_UNAVAILABLE, "%s: %s", what, why);
    case VIR_ERR_AUTH_FAILED:
    case VIR_ERR_ACCESS_DENIED:
    case VIR_ERR_AUTH_CANCELLED:
        return cc_err_set(err, CC_E_DENIED, "%s: %s", what, why);
    case VIR_ERR_OPERATION_TIMEOUT:
        return cc_err_set(err, CC_E_TIMEOUT, "%s: %s", what, why);
    case VIR_ERR_NO_SUPPORT:
    case VIR_ERR_CONFIG_UNSUPPORTED:
    case VIR_ERR_OPERATION_UNSUPPORTED:
        return cc_err_set(err, CC_E_UNSUPPORTED, "%s: %s", what, why);
    case VIR_ERR_NO_MEMORY:
        return cc_err_set(err, CC_E_FULL, "%s: %s", what, why);
    default:
        return cc_err_set(err, CC_E_IO, "%s: %s", what, why);
    }
}

/* The one connection is shared: libvirt serves several threads on it. The caller's own reference is his to close. */
virConnectPtr cc_libvirt_connect(struct cc_libvirt *v, struct cc_provider_ctx *x)
{
    virConnectPtr c;

    if (cc_call_check(x->call, x->err) != 0)
        return NULL;
    pthread_mutex_lock(&v->lock);
    if (v->conn && cc_vir.connect_is_alive(v->conn) != 1) {
        cc_vir.connect_close(v->conn);
        v->conn = NULL;
    }
    if (!v->conn)
        v->conn = cc_vir.connect_open(v->uri);
    if ((c = v->conn))
        cc_vir.connect_ref(c);
    else
        cc_libvirt_error(x->err, "connecting to libvirt");
    pthread_mutex_unlock(&v->lock);
    return c;
}

virDomainPtr cc_domain_find(virConnectPtr c, struct cc_provider_ctx *x, const char *short_id)
{
    virDomainPtr d = cc_vir.domain_by_name(c, cc_arena_printf(x->arena, "cc-%s", short_id));

    if (!d && cc_libvirt_error(x->err, "looking for the machine") == CC_E_NOT_FOUND)
        cc_err_set(x->err, CC_E_NOT_FOUND, "no machine cc-%s", short_id);
    return d;
}

/* Paused by somebody; on its way up or back from there; or by qemu, because of its disk or worse. */
static enum cc_machine_state paused(int why)
{
    switch (why) {
    case VIR_DOMAIN_PAUSED_USER:
        return CC_M_SUSPENDED;
    case VIR_DOMAIN_PAUSED_STARTING_UP:
    case VIR_DOMAIN_PAUSED_SNAPSHOT:
    case VIR_DOMAIN_PAUSED_SAVE:
    case VIR_DOMAIN_PAUSED_DUMP:
        return CC_M_STARTING;
    default:
        return CC_M_ERROR;
    }
}

static enum cc_machine_state state_of(int state, int why)
{
    switch (state) {
    case VIR_DOMAIN_RUNNING:
    case VIR_DOMAIN_BLOCKED:
    case VIR_DOMAIN_SHUTDOWN: /* it is told to, and may not */
        return CC_M_RUNNING;
    case VIR_DOMAIN_PAUSED:
        return paused(why);
    case VIR_DOMAIN_PMSUSPENDED:
    case VIR_DOMAIN_CRASHED:
        return CC_M_ERROR;
    default:
        return CC_M_STOPPED;
    }
}

int cc_domain_read(struct cc_provider_ctx *x, virDomainPtr d, struct cc_box *out, enum cc_machine_state *state)
{
    char *xml = cc_vir.domain_xml(d, VIR_DOMAIN_XML_INACTIVE);
    int now, why;
    bool ours;

    if (!xml)
        return cc_libvirt_error(x->err, "reading the machine");
    ours = cc_box_read(x->arena, xml, out);
    free(xml);
    if (!ours)
        return cc_err_set(x->err, CC_E_EXISTS, "the domain %s is not of our making", cc_vir.domain_name(d));
    if (cc_vir.domain_state(d, &now, &why, 0) != 0)
        return cc_libvirt_error(x->err, "reading the machine's state");
    *state = state_of(now, why);
    return 0;
}

/* A domain that cannot be read is no machine less: only one that is gone meanwhile, or is not called like ours, is passed over. */
int cc_domain_listed(struct cc_provider_ctx *x, virDomainPtr d, struct cc_box *out, enum cc_machine_state *state)
{
    struct cc_provider_ctx quiet = *x;
    struct cc_err why = { 0 };
    const char *name = cc_vir.domain_name(d);
    int r;

    quiet.err = &why;
    r = cc_domain_read(&quiet, d, out, state);
    if (r == 0)
        return 1;
    if (r == CC_E_NOT_FOUND || r == CC_E_EXISTS || !name || !cc_provider_id_ok(name))
        return 0;
    *x->err = why;
    return r;
}

virDomainPtr cc_domain_awake(virConnectPtr c, struct cc_provider_ctx *x, const char *provider_id)
{
    virDomainPtr d = NULL;
    enum cc_machine_state state;
    struct cc_box box;

    if (!cc_provider_id_ok(provider_id)) {
        cc_err_set(x->err, CC_E_INVALID, "\"%.60s\" is no machine of this provider", provider_id);
        return NULL;
    }
    if (!(d = cc_domain_find(c, x, provider_id + 3)))
        return NULL;
    if (cc_domain_read(x, d, &box, &state) == 0) {
        if (state == CC_M_RUNNING || state == CC_M_SUSPENDED)
            return d;
        cc_err_set(x->err, CC_E_STATE, "%s does not run", provider_id);
    }
    cc_vir.domain_free(d);
    return NULL;
}

/* A daemon that does not answer tells nothing: the guest may well run. */
int cc_domain_is_off(struct cc_provider_ctx *x, virDomainPtr d)
{
    struct cc_err because = { 0 };
    int now, why, r;

    if (cc_vir.domain_state(d, &now, &why, 0) == 0)
        return now == VIR_DOMAIN_SHUTOFF;
    if ((r = cc_libvirt_error(&because, "reading the machine's state")) == CC_E_NOT_FOUND)
        return 1;
    *x->err = because;
    return r;
}

/* Asks the guest to go off, waits, and then takes its power. */
int cc_domain_end(struct cc_libvirt *v, struct cc_provider_ctx *x, virDomainPtr d, uint32_t grace_ms)
{
    uint64_t until = cc_mono_ms() + grace_ms;
    struct cc_provider_ctx quiet = *x;
    struct cc_err dropped;
    int r, off = cc_domain_is_off(x, d);

    (void)v;
    if (off == 0 && grace_ms > 0 && cc_vir.domain_shutdown(d, VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN) == 0)
        while ((off = cc_domain_is_off(x, d)) == 0 && cc_mono_ms() < until)
            if ((r = cc_rest_pause(x, 50)) != 0)
                return r;
    if (off != 0)
        return off == 1 ? 0 : off;
    if (cc_vir.domain_destroy(d, 0) == 0)
        return 0;
    r = cc_libvirt_error(x->err, "ending the machine"); /* each call forgets the error of the one before */
    quiet.err = &dropped;
    return cc_domain_is_off(&quiet, d) == 1 ? 0 : r;
}
