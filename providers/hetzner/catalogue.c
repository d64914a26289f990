/* catalogue.c - what Hetzner sells: types, where, images.
 *
 * The list of types is asked for once an hour.  A type that is not sold where
 * it was asked for is "unsupported" and one that is sold out "full", so that the
 * policy's next place is tried; one that does not exist is "invalid", with
 * those that do.
 */
#include "providers/hetzner/hetzner.h"

#include "host/sys/clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { GOOD_MS = 3600000 };

int cc_hz_catalogue(struct cc_hz *h, struct cc_provider_ctx *x, json_t **out)
{
    json_t *fresh = NULL;
    int r = 0;

    pthread_mutex_lock(&h->lock);
    if (h->catalogue && cc_mono_ms() - h->catalogue_at < GOOD_MS)
        *out = json_deep_copy(h->catalogue);
    else
        *out = NULL;
    pthread_mutex_unlock(&h->lock);
    if (*out || (r = cc_hz_all(h, x, "/server_types", "server_types", &fresh)) != 0)
        return r;
    *out = json_deep_copy(fresh);
    pthread_mutex_lock(&h->lock);
    json_decref(h->catalogue);
    h->catalogue = fresh;
    h->catalogue_at = cc_mono_ms();
    pthread_mutex_unlock(&h->lock);
    return 0;
}

const char *cc_hz_zone(struct cc_hz *h, struct cc_provider_ctx *x, const char *location)
{
    json_auto_t *at = NULL;

    if (cc_hz_named(h, x, "locations", location, &at) != 0 || !at)
        return NULL;
    return cc_arena_strdup(x->arena, cc_hz_text(at, "network_zone"));
}

static const char *all_names(struct cc_arena *a, const json_t *types)
{
    const char *list = "";
    json_t *t;
    size_t i;

    json_array_foreach (types, i, t) {
        if (cc_hz_text(t, "name"))
            list = cc_arena_printf(a, "%s%s%s", list, *list ? ", " : "", cc_hz_text(t, "name"));
    }
    return list;
}

static const json_t *named(const json_t *list, const char *name)
{
    json_t *t;
    size_t i;

    json_array_foreach (list, i, t) {
        const char *is = cc_hz_text(t, "name");

        if (is && strcmp(is, name) == 0)
            return t;
    }
    return NULL;
}

/* Whether the day of an announced end has come. Times of one form compare as text. */
static bool is_over(const json_t *place)
{
    const char *after = cc_hz_text(json_object_get(place, "deprecation"), "unavailable_after");
    time_t now = (time_t)(cc_wall_ms() / 1000);
    char today[32];
    struct tm t;

    gmtime_r(&now, &t);
    strftime(today, sizeof(today), "%Y-%m-%dT%H:%M:%S", &t);
    return after && strncmp(after, today, 19) < 0;
}

static int check_type(struct cc_provider_ctx *x, const json_t *types, const char *type, const char *location,
                      const char **arch)
{
    const json_t *t = named(types, type), *place;

    if (!t)
        return cc_err_set(x->err, CC_E_INVALID, "Hetzner has no server type %.40s; it has: %.150s", type,
                          all_names(x->arena, types));
    place = named(json_object_get(t, "locations"), location);
    if (!place || is_over(place))
        return cc_err_set(x->err, CC_E_UNSUPPORTED, "Hetzner does not sell %.40s in %.40s", type, location);
    *arch = cc_arena_strdup(x->arena, cc_hz_text(t, "architecture"));
    return 0;
}

/* What the project has of others' servers, and numbers are easily tried out: nobody's machine is made of that, unless the operator
 * has said so. */
static bool is_private(const struct cc_hz *h, const char *asked, const json_t *image)
{
    const char *type = cc_hz_text(image, "type");

    return type && (strcmp(type, "snapshot") == 0 || strcmp(type, "backup") == 0) && !cc_hz_label(image, CC_HZ_IMAGE) &&
           strcmp(asked, h->image) != 0;
}

int cc_hz_places(struct cc_hz *h, struct cc_provider_ctx *x, const char *type, struct cc_strs *out)
{
    json_auto_t *types = NULL;
    int r = cc_hz_catalogue(h, x, &types);
    json_t *places = r == 0 ? json_object_get(named(types, cc_pairs_get(&h->types, type, type)), "locations") : NULL,
           *place;
    const char **v = cc_arena_alloc(x->arena, (json_array_size(places) + 1) * sizeof(*v));
    size_t i, n = 0;

    json_array_foreach (places, i, place) {
        const char *name = cc_hz_text(place, "name");

        if (name && !is_over(place))
            v[n++] = cc_arena_strdup(x->arena, name);
    }
    *out = (struct cc_strs){ v, n };
    return r;
}

/* By its number or its name. A snapshot has a number alone. */
static int check_image(struct cc_hz *h, struct cc_provider_ctx *x, const char *image, const char *arch)
{
    json_auto_t *doc = NULL;
    bool number = strspn(image, "0123456789") == strlen(image);
    const char *name = cc_rest_escape(x->arena, image);
    const char *path = number ? cc_arena_printf(x->arena, "/images/%s", name)
                              : cc_arena_printf(x->arena, "/images?name=%s&architecture=%s", name, arch ? arch : "x86");
    int r = cc_hz_ask(h, x, "GET", path, NULL, &doc);

    if (r == CC_E_NOT_FOUND || (r == 0 && !number && json_array_size(json_object_get(doc, "images")) == 0))
        return cc_err_set(x->err, CC_E_NOT_FOUND, "Hetzner has no image %.80s for %s", image, arch ? arch : "x86");
    if (r == 0 && number && is_private(h, image, json_object_get(doc, "image")))
        return cc_err_set(x->err, CC_E_DENIED,
                          "Hetzner's image %.20s is the project's own: the operator labels it " CC_HZ_IMAGE
                          "=NAME where machines may be made from it",
                          image);
    return r;
}

/* A volume stays where it is, and the machine must be there, too. */
static int choose_location(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_hz_box *b)
{
    const char *asked = b->spec.location, *held = NULL;
    size_t i;

    for (i = 0; i < b->n_mounts; i++) {
        const char *at = b->mounts[i].location;

        if (at && held && strcmp(at, held) != 0)
            return cc_err_set(x->err, CC_E_CONFLICT, "its volumes are in %.30s and in %.30s", held, at);
        held = at ? at : held;
    }
    if (asked && held && strcmp(asked, held) != 0)
        return cc_err_set(x->err, CC_E_CONFLICT, "its volume is in %.30s, not in %.30s", held, asked);
    b->spec.location = held ? held : asked ? asked : h->location;
    return 0;
}

/* What the server is made from: for images of our own making another than what is asked for. */
static int choose_image(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_hz_box *b, const char *arch)
{
    int r;

    if (!b->spec.image)
        b->spec.image = h->image;
    b->boot = b->spec.image;
    b->installs = strcmp(b->spec.image, "nixos-anywhere") == 0;
    if (b->installs && !h->nixos.flake)
        return cc_err_set(x->err, CC_E_UNSUPPORTED, "no flake is set to install (HCLOUD_OPTIONS: nixos.flake)");
    if (b->installs)
        b->boot = h->nixos.base;
    if (strcmp(b->spec.image, "nixos") != 0)
        return check_image(h, x, b->boot, arch);
    r = cc_hz_image_newest(h, x, b->spec.image, arch, &b->boot);
    if (r == 0 && !b->boot)
        r = cc_err_set(x->err, CC_E_NOT_FOUND, "there is no image nixos for %s: \"cchost image nixos build\" makes it",
                       arch ? arch : "x86");
    return r;
}

int cc_hz_plan(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_hz_box *b)
{
    json_auto_t *types = NULL;
    const char *type = b->spec.type ? b->spec.type : h->type, *arch = NULL;
    int r = choose_location(h, x, b);

    b->spec.type = cc_pairs_get(&h->types, type, type);
    if (r == 0)
        r = cc_hz_catalogue(h, x, &types);
    if (r == 0)
        r = check_type(x, types, b->spec.type, b->spec.location, &arch);
    return r == 0 ? choose_image(h, x, b, arch) : r;
}
