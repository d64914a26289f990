/* box.c - a machine's description as a domain's XML, and back.
 *
 * Built as a tree by libxml2, so that no name or path is ever text in it.
 * Format: libvirt.org/formatdomain.html; what only we know is in <metadata>,
 * in a namespace of ours.
 */
#include "providers/libvirt/libvirt.h"

#include "providers/network/network.h"

#include <inttypes.h>
#include <mbedtls/sha256.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NAMESPACE "urn:cchost:machine:1"
#define X(s) ((const xmlChar *)(s))

/* ---------------------------------------------------------------- a tree */

/* <name a="b" ...> below `parent`; names and values in turns up to NULL; a NULL value leaves its attribute out. */
static xmlNodePtr add(xmlNodePtr parent, const char *name, ...) __attribute__((sentinel));
static xmlNodePtr add(xmlNodePtr parent, const char *name, ...)
{
    xmlNodePtr n = cc_xml.new_child(parent, NULL, X(name), NULL);
    const char *key, *value;
    va_list ap;

    va_start(ap, name);
    while ((key = va_arg(ap, const char *))) {
        if ((value = va_arg(ap, const char *)))
            cc_xml.new_prop(n, X(key), X(value));
        else
            break;
    }
    va_end(ap);
    return n;
}

static xmlNodePtr text(xmlNodePtr parent, const char *name, const char *content)
{
    return cc_xml.new_text_child(parent, NULL, X(name), X(content));
}

static const char *number(struct cc_arena *a, uint64_t n) { return cc_arena_printf(a, "%" PRIu64, n); }

/* ---------------------------------------------------------------- to XML */

const char *cc_box_serial(struct cc_arena *a, const char *volume)
{
    unsigned char d[32];

    mbedtls_sha256_ret((const unsigned char *)volume, strlen(volume), d, 0);
    return cc_arena_printf(a, "cc%02x%02x%02x%02x%02x%02x%02x%02x", d[0], d[1], d[2], d[3], d[4], d[5], d[6], d[7]);
}

static void metadata(xmlNodePtr domain, struct cc_arena *a, const struct cc_box *b)
{
    xmlNodePtr m = add(add(domain, "metadata", NULL), "machine", "id", b->id, "short", b->short_id, "image", b->image,
                       "network", cc_network_word(b->network), "made", b->made ? "yes" : "no", "own_volume",
                       b->own_volume ? "yes" : "no", "keys", b->keys ? "yes" : "no", "whole", b->whole ? "yes" : "no",
                       "started_at", number(a, (uint64_t)b->started_at), "vcpu", cc_arena_printf(a, "%.3f", b->vcpu),
                       "memory_mib", number(a, b->memory_mib), "disk_gib", number(a, b->disk_gib), NULL);
    size_t i;

    cc_xml.set_ns(m, cc_xml.new_ns(m, X(NAMESPACE), X("cchost")));
    if (b->owner)
        cc_xml.new_prop(m, X("owner"), X(b->owner));
    if (b->name)
        cc_xml.new_prop(m, X("name"), X(b->name));
    if (b->network == CC_NET_VPC)
        add(m, "vpc", "bridge", b->vpc.bridge, "mac", b->vpc.mac, "plain", b->vpc.plain ? "yes" : "no", NULL);
    for (i = 0; i < b->n_volumes; i++)
        add(m, "volume", "id", b->volumes[i].id, "path", b->volumes[i].path, NULL);
}

static void disk(xmlNodePtr devices, const struct cc_disk *d, const char *target, const char *serial)
{
    xmlNodePtr n = add(devices, "disk", "type", d->block ? "block" : "file", "device", "disk", NULL);

    add(n, "driver", "name", "qemu", "type", d->format == CC_DISK_QCOW2 ? "qcow2" : "raw", "discard", "unmap", NULL);
    add(n, "source", d->block ? "dev" : "file", d->path, NULL);
    add(n, "target", "dev", target, "bus", "virtio", NULL);
    text(n, "serial", serial);
}

static void disks(const struct cc_libvirt *v, xmlNodePtr devices, struct cc_arena *a, const struct cc_box *b,
                  const struct cc_disk *root, const struct cc_disk *list)
{
    xmlNodePtr n;
    size_t i;

    disk(devices, root, "vda", "root");
    for (i = 0; i < b->n_volumes; i++)
        disk(devices, &list[i], cc_arena_printf(a, "vd%c", (int)('b' + i)), cc_box_serial(a, b->volumes[i].id));
    n = add(devices, "disk", "type", "file", "device", "disk", NULL); /* a kernel for clouds may know no CD */
    add(n, "driver", "name", "qemu", "type", "raw", NULL);
    add(n, "source", "file", cc_arena_printf(a, "%s/machines/%s/seed.iso", v->dir, b->short_id), NULL);
    add(n, "target", "dev", "vdz", "bus", "virtio", NULL);
    add(n, "readonly", NULL);
}

/* On the bridge of its owner's network, where its id is known. A switch that computes no checksums wants whole ones. */
static void vpc_interface(xmlNodePtr devices, struct cc_arena *a, const struct cc_box *b)
{
    xmlNodePtr n = add(devices, "interface", "type", "bridge", NULL), driver;

    add(n, "mac", "address", b->vpc.mac, NULL);
    add(n, "source", "bridge", b->vpc.bridge, NULL);
    add(n, "target", "dev", cc_arena_printf(a, CC_NET_GUEST_PREFIX "%s", b->short_id), NULL);
    add(add(n, "virtualport", "type", "openvswitch", NULL), "parameters", "interfaceid", b->id, NULL);
    add(n, "model", "type", "virtio", NULL);
    if (!b->vpc.plain)
        return;
    driver = add(n, "driver", "name", "qemu", NULL);
    add(driver, "host", "csum", "off", "gso", "off", "tso4", "off", "tso6", "off", "ecn", "off", "ufo", "off", NULL);
    add(driver, "guest", "csum", "off", "tso4", "off", "tso6", "off", "ecn", "off", "ufo", "off", NULL);
}

/* Guests on libvirt's network do not see each other: each port of its bridge is isolated. */
static void interface(const struct cc_libvirt *v, xmlNodePtr devices, struct cc_arena *a, const struct cc_box *b)
{
    xmlNodePtr n;

    if (b->network == CC_NET_NONE)
        return;
    if (b->network == CC_NET_VPC) {
        vpc_interface(devices, a, b);
        return;
    }
    n = add(devices, "interface", "type", "network", NULL);
    add(n, "source", "network", v->network, NULL);
    add(n, "port", "isolated", "yes", NULL);
    add(n, "model", "type", "virtio", NULL);
}

static void devices(const struct cc_libvirt *v, xmlNodePtr domain, struct cc_arena *a, const struct cc_box *b,
                    const struct cc_disk *root, const struct cc_disk *list)
{
    xmlNodePtr d = add(domain, "devices", NULL), n;

    disks(v, d, a, b, root, list);
    interface(v, d, a, b);
    n = add(d, "channel", "type", "unix", NULL);
    add(n, "source", "mode", "bind", "path", cc_arena_printf(a, "%s/machines/%s/port.sock", v->dir, b->short_id), NULL);
    add(n, "target", "type", "virtio", "name", "cchost.0", NULL);
    n = add(d, "serial", "type", "file", NULL);
    add(n, "source", "path", cc_arena_printf(a, "%s/machines/%s/console.log", v->dir, b->short_id), "append", "off",
        NULL);
    add(n, "target", "port", "0", NULL);
    n = add(d, "graphics", "type", "vnc", "autoport", "yes", "websocket", "-1", "listen", "127.0.0.1", "passwdValidTo",
            "1970-01-01T00:00:01", "passwd", "", NULL);
    add(n, "listen", "type", "address", "address", "127.0.0.1", NULL);
    add(add(d, "video", NULL), "model", "type", "virtio", NULL);
    n = add(d, "rng", "model", "virtio", NULL);
    cc_xml.new_prop(text(n, "backend", "/dev/urandom"), X("model"), X("random"));
    add(d, "memballoon", "model", "virtio", NULL);
}

/* Whole processors are counted up; what is above the wish is taken back by the quota. */
static void processors(xmlNodePtr domain, struct cc_arena *a, const struct cc_box *b)
{
    unsigned count = (unsigned)b->vcpu + (b->vcpu > (unsigned)b->vcpu);
    xmlNodePtr tune;

    text(domain, "vcpu", number(a, count ? count : 1));
    if (b->vcpu == count || b->whole)
        return;
    tune = add(domain, "cputune", NULL);
    text(tune, "global_period", "100000");
    text(tune, "global_quota", number(a, (uint64_t)(b->vcpu * 100000)));
}

static void boot_from(const struct cc_libvirt *v, xmlNodePtr domain, const struct cc_box_boot *boot)
{
    xmlNodePtr os = add(domain, "os", NULL);

    cc_xml.new_prop(text(os, "type", "hvm"), X("arch"), X(v->arch));
    if (v->machine)
        cc_xml.new_prop(os->children, X("machine"), X(v->machine));
    if (boot->kernel) {
        text(os, "kernel", boot->kernel);
        if (boot->initrd)
            text(os, "initrd", boot->initrd);
        text(os, "cmdline", boot->cmdline ? boot->cmdline : "root=/dev/vda console=ttyS0");
    }
    add(os, "boot", "dev", "hd", NULL);
}

const char *cc_box_xml(const struct cc_libvirt *v, struct cc_arena *a, const struct cc_box *b,
                       const struct cc_box_boot *boot, const struct cc_disk *root, const struct cc_disk *list)
{
    xmlDocPtr doc = cc_xml.new_doc(X("1.0"));
    xmlNodePtr d = cc_xml.new_node(NULL, X("domain")), n;
    xmlChar *out;
    const char *s;
    int size;

    cc_xml.set_root(doc, d);
    cc_xml.new_prop(d, X("type"), X(v->virt));
    text(d, "name", cc_arena_printf(a, "cc-%s", b->short_id));
    text(d, "uuid", b->id);
    metadata(d, a, b);
    cc_xml.new_prop(text(d, "memory", number(a, b->memory_mib)), X("unit"), X("MiB"));
    processors(d, a, b);
    boot_from(v, d, boot);
    n = add(d, "features", NULL);
    add(n, "acpi", NULL);
    add(n, "apic", NULL);
    add(d, "cpu", "mode", strcmp(v->virt, "kvm") == 0 ? "host-passthrough" : "maximum", NULL);
    text(d, "on_poweroff", "destroy");
    text(d, "on_reboot", "restart");
    text(d, "on_crash", "destroy");
    devices(v, d, a, b, root, list);
    cc_xml.dump(doc, &out, &size);
    s = cc_arena_strndup(a, (const char *)out, (size_t)size);
    (*cc_xml.free)(out);
    cc_xml.free_doc(doc);
    return s;
}

/* ---------------------------------------------------------------- and back */

static const char *get(struct cc_arena *a, xmlNodePtr n, const char *name)
{
    xmlChar *value = cc_xml.prop(n, X(name));
    const char *s = value ? cc_arena_strdup(a, (const char *)value) : NULL;

    if (value)
        (*cc_xml.free)(value);
    return s;
}

static xmlNodePtr child(xmlNodePtr n, const char *name)
{
    for (n = n ? n->children : NULL; n; n = n->next)
        if (n->type == XML_ELEMENT_NODE && strcmp((const char *)n->name, name) == 0)
            return n;
    return NULL;
}

static bool yes(const char *s) { return s && strcmp(s, "yes") == 0; }
static uint64_t count(const char *s) { return s ? strtoull(s, NULL, 10) : 0; }

static void read_volumes(struct cc_arena *a, xmlNodePtr m, struct cc_box *out)
{
    xmlNodePtr n;

    for (n = m->children; n && out->n_volumes < CC_MOUNTS_MAX + 1; n = n->next)
        if (n->type == XML_ELEMENT_NODE && strcmp((const char *)n->name, "volume") == 0)
            out->volumes[out->n_volumes++] = (struct cc_box_volume){ get(a, n, "id"), get(a, n, "path") };
}

static xmlDocPtr parse(const char *xml)
{
    return cc_xml.read(xml, (int)strlen(xml), "domain.xml", NULL, XML_PARSE_NONET | XML_PARSE_NOERROR);
}

static void read_network(struct cc_arena *a, xmlNodePtr m, struct cc_box *out)
{
    const char *word = get(a, m, "network");
    int network = word ? cc_network_parse(word) : -1;
    xmlNodePtr n = child(m, "vpc");

    out->network = network < 0 ? CC_NET_NAT : (enum cc_network)network;
    if (n)
        out->vpc = (struct cc_vpc_spec){ .bridge = get(a, n, "bridge"),
                                         .mac = get(a, n, "mac"),
                                         .plain = yes(get(a, n, "plain")) };
}

bool cc_box_read(struct cc_arena *a, const char *xml, struct cc_box *out)
{
    xmlDocPtr doc = parse(xml);
    xmlNodePtr m = doc ? child(child(cc_xml.root(doc), "metadata"), "machine") : NULL;

    *out = (struct cc_box){ 0 };
    if (m && m->ns && strcmp((const char *)m->ns->href, NAMESPACE) == 0) {
        *out = (struct cc_box){
            .short_id = get(a, m, "short"),
            .id = get(a, m, "id"),
            .name = get(a, m, "name"),
            .owner = get(a, m, "owner"),
            .image = get(a, m, "image"),
            .vcpu = strtod(get(a, m, "vcpu") ? get(a, m, "vcpu") : "0", NULL),
            .memory_mib = (uint32_t)count(get(a, m, "memory_mib")),
            .disk_gib = (uint32_t)count(get(a, m, "disk_gib")),
            .own_volume = yes(get(a, m, "own_volume")),
            .keys = yes(get(a, m, "keys")),
            .whole = yes(get(a, m, "whole")),
            .made = yes(get(a, m, "made")),
            .started_at = (int64_t)count(get(a, m, "started_at")),
        };
        read_network(a, m, out);
        read_volumes(a, m, out);
    }
    if (doc)
        cc_xml.free_doc(doc);
    return out->id && cc_short_ok(out->short_id);
}

/* ---------------------------------------------------------------- its screen */

static xmlNodePtr graphics_of(xmlDocPtr doc) { return child(child(cc_xml.root(doc), "devices"), "graphics"); }

uint16_t cc_box_console_port(const char *xml)
{
    xmlDocPtr doc = parse(xml);
    xmlNodePtr n = doc ? graphics_of(doc) : NULL;
    xmlChar *port = n ? cc_xml.prop(n, X("websocket")) : NULL;
    long number = port ? strtol((const char *)port, NULL, 10) : 0;

    if (port)
        (*cc_xml.free)(port);
    if (doc)
        cc_xml.free_doc(doc);
    return number > 0 && number < 65536 ? (uint16_t)number : 0;
}

const char *cc_box_graphics(struct cc_arena *a, const char *xml, const char *password, int64_t until)
{
    xmlDocPtr doc = parse(xml);
    xmlNodePtr n = doc ? graphics_of(doc) : NULL;
    const char *s = NULL;
    time_t t = (time_t)until;
    struct tm tm;
    char text[32];
    xmlChar *out;
    int size;

    if (n && gmtime_r(&t, &tm) && strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm) > 0) {
        cc_xml.set_prop(n, X("passwd"), X(password));
        cc_xml.set_prop(n, X("passwdValidTo"), X(text));
        cc_xml.free_node(cc_xml.set_root(doc, n)); /* of the same document: its names are shared with it */
        cc_xml.dump(doc, &out, &size);
        s = cc_arena_strndup(a, (const char *)out, (size_t)size);
        (*cc_xml.free)(out);
    }
    if (doc)
        cc_xml.free_doc(doc);
    return s;
}
