/* lib.h - libvirt, libxml2 and libpng, loaded when the provider is opened: they bring 59 libraries along. Their functions
 * under their own names without "vir", "xml" and "png_image". */
#ifndef CC_LIBVIRT_LIB_H
#define CC_LIBVIRT_LIB_H

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <libxml/parser.h>
#include <libxml/tree.h>
#include <png.h>
#include <stdbool.h>

struct cc_err;

struct cc_libvirt_lib {
    __typeof__(virInitialize) *initialize;
    __typeof__(virSetErrorFunc) *set_error_func;
    __typeof__(virGetLastError) *last_error;
    __typeof__(virConnectOpen) *connect_open;
    __typeof__(virConnectClose) *connect_close;
    __typeof__(virConnectRef) *connect_ref;
    __typeof__(virConnectIsAlive) *connect_is_alive;
    __typeof__(virConnectGetType) *connect_type;
    __typeof__(virConnectGetLibVersion) *connect_version;
    __typeof__(virConnectGetDomainCapabilities) *domain_capabilities;
    __typeof__(virConnectListAllDomains) *list_all_domains;
    __typeof__(virDomainLookupByName) *domain_by_name;
    __typeof__(virDomainDefineXMLFlags) *domain_define;
    __typeof__(virDomainUndefineFlags) *domain_undefine;
    __typeof__(virDomainCreateWithFlags) *domain_create;
    __typeof__(virDomainShutdownFlags) *domain_shutdown;
    __typeof__(virDomainDestroyFlags) *domain_destroy;
    __typeof__(virDomainGetState) *domain_state;
    __typeof__(virDomainGetName) *domain_name;
    __typeof__(virDomainGetXMLDesc) *domain_xml;
    __typeof__(virDomainUpdateDeviceFlags) *domain_update_device;
    __typeof__(virDomainSuspend) *domain_suspend;
    __typeof__(virDomainResume) *domain_resume;
    __typeof__(virDomainFree) *domain_free;
    __typeof__(virDomainScreenshot) *domain_screenshot;
    __typeof__(virStreamNew) *stream_new;
    __typeof__(virStreamRecv) *stream_recv;
    __typeof__(virStreamFinish) *stream_finish;
    __typeof__(virStreamAbort) *stream_abort;
    __typeof__(virStreamFree) *stream_free;
    __typeof__(virNetworkLookupByName) *network_by_name;
    __typeof__(virNetworkIsActive) *network_is_active;
    __typeof__(virNetworkFree) *network_free;
};
extern struct cc_libvirt_lib cc_vir;

struct cc_xml_lib {
    __typeof__(xmlInitParser) *init;
    __typeof__(xmlNewDoc) *new_doc;
    __typeof__(xmlNewNode) *new_node;
    __typeof__(xmlNewNs) *new_ns;
    __typeof__(xmlSetNs) *set_ns;
    __typeof__(xmlNewProp) *new_prop;
    __typeof__(xmlSetProp) *set_prop;
    __typeof__(xmlNewTextChild) *new_text_child;
    __typeof__(xmlNewChild) *new_child;
    __typeof__(xmlDocSetRootElement) *set_root;
    __typeof__(xmlDocDumpMemory) *dump;
    __typeof__(xmlReadMemory) *read;
    __typeof__(xmlDocGetRootElement) *root;
    __typeof__(xmlGetNoNsProp) *prop;
    __typeof__(xmlNodeGetContent) *content;
    __typeof__(xmlFreeNode) *free_node;
    __typeof__(xmlFreeDoc) *free_doc;
    xmlFreeFunc *free; /* a variable of libxml2's */
};
extern struct cc_xml_lib cc_xml;

struct cc_png_lib {
    __typeof__(png_image_write_to_memory) *write;
    __typeof__(png_image_free) *free;
};
extern struct cc_png_lib cc_png;

/* 0, also when they are loaded already. [loop] */
int cc_libvirt_load(struct cc_err *err);

/* The same for libpng alone: without it there are no screenshots. [loop] */
int cc_png_load(struct cc_err *err);

#endif
