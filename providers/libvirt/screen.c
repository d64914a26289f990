/* screen.c - what a machine shows: its console, and a picture of it.
 *
 * qemu's VNC speaks WebSocket itself, on a port of this host's loopback that
 * libvirt chooses at each start.  Until somebody asks nobody can use it: the
 * password that it begins with ran out in 1970.
 */
#include "providers/libvirt/libvirt.h"

#include "host/sys/clock.h"
#include "host/sys/mem.h"
#include "host/sys/random.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PICTURE_MAX = 64 * 1024 * 1024 };

/* Of 8 characters, of which VNC takes no more. */
static const char *password(struct cc_arena *a)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    unsigned char raw[8];
    char text[9] = "";
    size_t i;

    cc_random(raw, sizeof(raw));
    for (i = 0; i < sizeof(raw); i++)
        text[i] = letters[raw[i] % 64];
    return cc_arena_strdup(a, text);
}

static int open_console(struct cc_provider_ctx *x, virDomainPtr d, uint32_t seconds, struct cc_console *out)
{
    char *xml = cc_vir.domain_xml(d, 0);
    const char *graphics;

    if (!xml)
        return cc_libvirt_error(x->err, "reading the machine");
    *out = (struct cc_console){ .host = "127.0.0.1",
                                .password = password(x->arena),
                                .port = cc_box_console_port(xml),
                                .until_at = cc_wall_ms() / 1000 * 1000 + (int64_t)seconds * 1000 };
    graphics = cc_box_graphics(x->arena, xml, out->password, out->until_at / 1000);
    free(xml);
    if (!out->port || !graphics)
        return cc_err_set(x->err, CC_E_STATE, "%s was started without a console: stop and start it",
                          cc_vir.domain_name(d));
    if (cc_vir.domain_update_device(d, graphics, VIR_DOMAIN_AFFECT_LIVE) != 0)
        return cc_libvirt_error(x->err, "giving the console a password");
    return 0;
}

int cc_libvirt_console(void *self, struct cc_provider_ctx *x, const char *provider_id, uint32_t seconds,
                       struct cc_console *out)
{
    virConnectPtr c = cc_libvirt_connect(self, x);
    virDomainPtr d = c ? cc_domain_awake(c, x, provider_id) : NULL;
    int r = d ? open_console(x, d, seconds, out) : x->err->code;

    if (d)
        cc_vir.domain_free(d);
    if (c)
        cc_vir.connect_close(c);
    return r;
}

/* ---------------------------------------------------------------- a picture */

/* "P6 WIDTH HEIGHT 255" and one blank, then three bytes for each point. */
int cc_png_of_ppm(struct cc_provider_ctx *x, const char *ppm, size_t n, struct cc_picture *out)
{
    png_image image = { .version = PNG_IMAGE_VERSION, .format = PNG_FORMAT_RGB };
    unsigned width = 0, height = 0, most = 0;
    char head[64] = "";
    png_alloc_size_t size = 0;
    int used = 0;
    char *png;

    memcpy(head, ppm, n < sizeof(head) - 1 ? n : sizeof(head) - 1);
    if (sscanf(head, "P6 %5u %5u %3u%n", &width, &height, &most, &used) != 3 || most != 255 || width == 0 ||
        height == 0 || (size_t)used + 1 + (size_t)width * height * 3 > n)
        return cc_err_set(x->err, CC_E_CORRUPT, "that is no picture of a screen");
    image.width = width;
    image.height = height;
    if (!cc_png.write(&image, NULL, &size, 0, ppm + used + 1, 0, NULL))
        return cc_err_set(x->err, CC_E_INTERNAL, "libpng: %s", image.message);
    png = cc_arena_alloc(x->arena, size);
    if (!cc_png.write(&image, png, &size, 0, ppm + used + 1, 0, NULL))
        return cc_err_set(x->err, CC_E_INTERNAL, "libpng: %s", image.message);
    *out = (struct cc_picture){ png, size };
    return 0;
}

/* All that the stream has; the caller's to free. */
static int receive(struct cc_provider_ctx *x, virStreamPtr s, char **data, size_t *n)
{
    size_t room = 1024 * 1024;
    int got = 1, r;

    *data = cc_xmalloc(room);
    while (got > 0 && !cc_call_over(x->call)) {
        if (*n == room)
            *data = cc_xrealloc(*data, room *= 2);
        got = *n < PICTURE_MAX ? cc_vir.stream_recv(s, *data + *n, room - *n) : -1;
        *n += got > 0 ? (size_t)got : 0;
    }
    if (got == 0 && cc_vir.stream_finish(s) == 0)
        return 0;
    r = got > 0 ? cc_call_check(x->call, x->err) : cc_libvirt_error(x->err, "taking the picture");
    cc_vir.stream_abort(s);
    return r;
}

static int take_picture(struct cc_provider_ctx *x, virConnectPtr c, virDomainPtr d, struct cc_picture *out)
{
    virStreamPtr s = cc_vir.stream_new(c, 0);
    char *type = s ? cc_vir.domain_screenshot(d, s, 0, 0) : NULL, *data = NULL;
    size_t n = 0;
    int r;

    if (!type) {
        r = cc_libvirt_error(x->err, "taking the picture");
        if (s)
            cc_vir.stream_free(s);
        return r;
    }
    r = receive(x, s, &data, &n);
    if (r == 0 && strcmp(type, "image/png") == 0) /* as later ones may have it */
        *out = (struct cc_picture){ cc_arena_strndup(x->arena, data, n), n };
    else if (r == 0)
        r = cc_png_of_ppm(x, data, n, out);
    cc_vir.stream_free(s);
    free(type);
    free(data);
    return r;
}

int cc_libvirt_screenshot(void *self, struct cc_provider_ctx *x, const char *provider_id, struct cc_picture *out)
{
    virConnectPtr c;
    virDomainPtr d;
    int r;

    if (!cc_png.write)
        return cc_err_set(x->err, CC_E_UNSUPPORTED, "libpng16 is not on this host");
    c = cc_libvirt_connect(self, x);
    d = c ? cc_domain_awake(c, x, provider_id) : NULL;
    r = d ? take_picture(x, c, d, out) : x->err->code;
    if (d)
        cc_vir.domain_free(d);
    if (c)
        cc_vir.connect_close(c);
    return r;
}
