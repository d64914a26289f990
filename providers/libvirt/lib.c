/* lib.c - see lib.h. */
#include "providers/libvirt/lib.h"

#include "host/observe/log.h"
#include "host/sys/err.h"
#include "host/sys/library.h"

#include <stdbool.h>
#include <stddef.h>

struct cc_libvirt_lib cc_vir;
struct cc_xml_lib cc_xml;
struct cc_png_lib cc_png;

#define VIR(name, field)                                                                                               \
    {                                                                                                                  \
        name, offsetof(struct cc_libvirt_lib, field)                                                                   \
    }
#define XML(name, field)                                                                                               \
    {                                                                                                                  \
        name, offsetof(struct cc_xml_lib, field)                                                                       \
    }

static const struct cc_symbol vir[] = {
    VIR("virInitialize", initialize),
    VIR("virSetErrorFunc", set_error_func),
    VIR("virGetLastError", last_error),
    VIR("virConnectOpen", connect_open),
    VIR("virConnectClose", connect_close),
    VIR("virConnectRef", connect_ref),
    VIR("virConnectIsAlive", connect_is_alive),
    VIR("virConnectGetType", connect_type),
    VIR("virConnectGetLibVersion", connect_version),
    VIR("virConnectGetDomainCapabilities", domain_capabilities),
    VIR("virConnectListAllDomains", list_all_domains),
    VIR("virDomainLookupByName", domain_by_name),
    VIR("virDomainDefineXMLFlags", domain_define),
    VIR("virDomainUndefineFlags", domain_undefine),
    VIR("virDomainCreateWithFlags", domain_create),
    VIR("virDomainShutdownFlags", domain_shutdown),
    VIR("virDomainDestroyFlags", domain_destroy),
    VIR("virDomainGetState", domain_state),
    VIR("virDomainGetName", domain_name),
    VIR("virDomainGetXMLDesc", domain_xml),
    VIR("virDomainUpdateDeviceFlags", domain_update_device),
    VIR("virDomainSuspend", domain_suspend),
    VIR("virDomainResume", domain_resume),
    VIR("virDomainFree", domain_free),
    VIR("virDomainScreenshot", domain_screenshot),
    VIR("virStreamNew", stream_new),
    VIR("virStreamRecv", stream_recv),
    VIR("virStreamFinish", stream_finish),
    VIR("virStreamAbort", stream_abort),
    VIR("virStreamFree", stream_free),
    VIR("virNetworkLookupByName", network_by_name),
    VIR("virNetworkIsActive", network_is_active),
    VIR("virNetworkFree", network_free),
};

static const struct cc_symbol xml[] = {
    XML("xmlInitParser", init),        XML("xmlNewDoc", new_doc),
    XML("xmlNewNode", new_node),       XML("xmlNewNs", new_ns),
    XML("xmlSetNs", set_ns),           XML("xmlNewProp", new_prop),
    XML("xmlSetProp", set_prop),       XML("xmlNewTextChild", new_text_child),
    XML("xmlNewChild", new_child),     XML("xmlDocSetRootElement", set_root),
    XML("xmlDocDumpMemory", dump),     XML("xmlReadMemory", read),
    XML("xmlDocGetRootElement", root), XML("xmlGetNoNsProp", prop),
    XML("xmlNodeGetContent", content), XML("xmlFreeNode", free_node),
    XML("xmlFreeDoc", free_doc),       XML("xmlFree", free),
};

static const struct cc_symbol png[] = {
    { "png_image_write_to_memory", offsetof(struct cc_png_lib, write) },
    { "png_image_free", offsetof(struct cc_png_lib, free) },
};

int cc_png_load(struct cc_err *err)
{
    return cc_png.write ? 0 : cc_library_load("libpng16.so.16", png, sizeof(png) / sizeof(*png), &cc_png, err);
}

/* Every failure is told by who called; libvirt would print it, too. */
static void quiet(void *arg, virErrorPtr e) { (void)arg, (void)e; }

int cc_libvirt_load(struct cc_err *err)
{
    static bool loaded;
    int r;

    if (loaded)
        return 0;
    if ((r = cc_library_load("libxml2.so.2", xml, sizeof(xml) / sizeof(*xml), &cc_xml, err)) != 0 ||
        (r = cc_library_load("libvirt.so.0", vir, sizeof(vir) / sizeof(*vir), &cc_vir, err)) != 0)
        return r;
    cc_xml.init();
    if (cc_vir.initialize() != 0)
        return cc_err_set(err, CC_E_UNSUPPORTED, "libvirt cannot be initialized");
    cc_vir.set_error_func(NULL, quiet);
    loaded = true;
    return 0;
}
