/* image.c - NixOS once, machines from it many times: a server that nixos-anywhere has installed becomes a snapshot.
 *
 * The server never boots what is on its disk: from the installer it is shut down, so there is no host key, no machine
 * id, no log and nobody's name in the image.  It is called cchost-image-HASH, with labels of that hash, as the image has
 * them: who comes again, after whatever has cut it off, finds what there is and goes on.
 */
#include "providers/hetzner/hetzner.h"

#include "providers/files.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BUILDER "cchost-image-"
#define FILLED "filled" /* the phase behind nixos-anywhere's */
#define SELECT_OURS CC_HZ_LABEL "," CC_HZ_IMAGE

enum { SHORT = 12 };

/* ---------------------------------------------------------------- those that there are */

static int images_of(struct cc_hz *h, struct cc_provider_ctx *x, const char *select, json_t **out)
{
    return cc_hz_all(
        h, x, cc_arena_printf(x->arena, "/images?type=snapshot&label_selector=%s", cc_rest_escape(x->arena, select)),
        "images", out);
}

static bool is(const json_t *o, const char *key, const char *word)
{
    const char *text = cc_hz_text(o, key);

    return text && strcmp(text, word) == 0;
}

/* Times of one form compare as text. */
static const json_t *newest(const json_t *images, const char *arch)
{
    const json_t *best = NULL;
    json_t *one;
    size_t i;

    json_array_foreach (images, i, one) {
        const char *at = cc_hz_text(one, "created"), *was = cc_hz_text(best, "created");

        if (is(one, "status", "available") && (!arch || is(one, "architecture", arch)) && at &&
            (!was || strcmp(at, was) > 0))
            best = one;
    }
    return best;
}

int cc_hz_image_newest(struct cc_hz *h, struct cc_provider_ctx *x, const char *name, const char *arch, const char **id)
{
    json_auto_t *images = NULL;
    const json_t *best;
    int r = images_of(h, x, cc_arena_printf(x->arena, CC_HZ_LABEL "," CC_HZ_IMAGE "=%s", name), &images);

    *id = NULL;
    if (r == 0 && (best = newest(images, arch)))
        *id = cc_arena_printf(x->arena, "%lld", (long long)cc_hz_id(best));
    return r;
}

static void tell(struct cc_arena *a, const json_t *image, struct cc_image_info *out)
{
    *out = (struct cc_image_info){ .id = cc_arena_printf(a, "%lld", (long long)cc_hz_id(image)),
                                   .name = cc_arena_strdup(a, cc_hz_label(image, CC_HZ_IMAGE)),
                                   .hash = cc_arena_strdup(a, cc_hz_label(image, CC_HZ_HASH)),
                                   .created = cc_arena_strdup(a, cc_hz_text(image, "created")),
                                   .arch = cc_arena_strdup(a, cc_hz_text(image, "architecture")),
                                   .state = cc_arena_strdup(a, cc_hz_text(image, "status")),
                                   .size_gib = json_number_value(json_object_get(image, "image_size")),
                                   .disk_gib = (uint32_t)json_number_value(json_object_get(image, "disk_size")) };
}

static void tell_builder(struct cc_arena *a, const json_t *server, struct cc_image_info *out)
{
    tell(a, server, out);
    out->id = cc_arena_strdup(a, cc_hz_text(server, "name"));
    out->arch = cc_arena_strdup(a, cc_hz_text(json_object_get(server, "server_type"), "architecture"));
    out->state = "building";
}

int cc_hz_image_list(void *self, struct cc_provider_ctx *x, struct cc_image_list *out)
{
    json_auto_t *images = NULL, *servers = NULL;
    json_t *one;
    size_t i;
    int r = images_of(self, x, SELECT_OURS, &images);

    if (r == 0)
        r = cc_hz_all(self, x,
                      cc_arena_printf(x->arena, "/servers?label_selector=%s", cc_rest_escape(x->arena, SELECT_OURS)),
                      "servers", &servers);
    if (r != 0)
        return r;
    out->v = cc_arena_alloc(x->arena, (json_array_size(images) + json_array_size(servers) + 1) * sizeof(*out->v));
    json_array_foreach (images, i, one) {
        tell(x->arena, one, &out->v[out->n++]);
    }
    json_array_foreach (servers, i, one) {
        tell_builder(x->arena, one, &out->v[out->n++]);
    }
    return 0;
}

/* ---------------------------------------------------------------- the server that becomes one */

static int of_hash(struct cc_hz *h, struct cc_provider_ctx *x, const struct cc_hz_box *b, json_t **image)
{
    json_auto_t *images = NULL;
    int r = images_of(h, x, cc_arena_printf(x->arena, CC_HZ_LABEL "," CC_HZ_HASH "=%s", b->image_hash), &images);

    *image = json_incref(json_array_get(images, 0));
    return r;
}

/* Its disk has it all, nothing is mounted, and it was told to shut down or is about to be: it must not boot any more. */
static bool filled(const struct cc_hz_box *b) { return b->phase && strcmp(b->phase, FILLED) == 0; }

/* One that is off before that would boot what is on its disk. */
static bool of_use(struct cc_hz *h, struct cc_provider_ctx *x, const struct cc_hz_box *b)
{
    return cc_hz_resumable(h, x, b) &&
           !(cc_hz_nixos_done(b->phase) >= CC_HZ_INSTALLED && !is(b->server, "status", "running"));
}

static int begin(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_hz_box *b)
{
    int r = cc_hz_plan(h, x, b);

    if (r == 0)
        r = cc_hz_save(h, x->arena, b, x->err);
    if (r == 0 && b->server && !of_use(h, x, b))
        r = cc_hz_server_end(h, x, b);
    if (r != 0 || b->server)
        return r;
    b->host_key = b->phase = NULL;
    cc_hz_first_key_gone(h, x->arena, b->short_id);
    return cc_hz_server_make(h, x, b);
}

/* From nothing, or from where an earlier one came to, to a disk that has it all. */
static int fill(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_hz_box *b)
{
    int r;

    if (b->server && filled(b))
        return cc_hz_server_off(h, x, b);
    if ((r = begin(h, x, b)) == 0)
        r = cc_hz_server_up(h, x, b);
    if (r == 0)
        r = cc_hz_pin(h, x, b);
    if (r == 0)
        r = cc_hz_nixos(h, x, b, CC_HZ_INSTALLED);
    if (r == 0)
        r = cc_hz_ssh_persist(h, x, b, "sync; ! grep -q ' /mnt ' /proc/mounts || umount -R /mnt", NULL, 0, NULL);
    if (r == 0) {
        b->phase = FILLED;
        r = cc_hz_save(h, x->arena, b, x->err);
    }
    return r == 0 ? cc_hz_server_off(h, x, b) : r;
}

/* An image that will never be whole would be waited for by whoever comes next. Why it failed is what is told. */
static void drop_failed(struct cc_hz *h, struct cc_provider_ctx *x, const json_t *image)
{
    struct cc_err why = *x->err;

    if (cc_hz_id(image))
        cc_hz_ask(h, x, "DELETE", cc_arena_printf(x->arena, "/images/%lld", (long long)cc_hz_id(image)), NULL, NULL);
    *x->err = why;
}

/* Each request that Hetzner takes makes one more image, which is paid for. So before a new try, whatever the last one was told
 * ("locked" too: it may be the one before that locks), it looks for what an earlier one has made. The answer, or the image. */
static int order(struct cc_hz *h, struct cc_provider_ctx *x, const struct cc_hz_box *b, json_t **answer, json_t **image)
{
    const char *path = cc_arena_printf(x->arena, "/servers/%lld/actions/create_image", (long long)cc_hz_id(b->server));
    json_auto_t *body = json_pack("{s:s, s:s, s:{s:s, s:s, s:s}}", "type", "snapshot", "description",
                                  cc_arena_printf(x->arena, "cchost %s %.12s", b->image_name, b->image_hash), "labels",
                                  CC_HZ_LABEL, "1", CC_HZ_IMAGE, b->image_name, CC_HZ_HASH, b->image_hash);
    bool retry;
    int try, r;

    for (try = 0;; try++) {
        r = cc_hz_ask_once(h, x, "POST", path, body, answer, &retry);
        if (r == 0 || !retry || !cc_hz_ask_again(h, x, try, &r))
            return r;
        if ((r = of_hash(h, x, b, image)) != 0 || *image)
            return r;
    }
}

static int take(struct cc_hz *h, struct cc_provider_ctx *x, const struct cc_hz_box *b, json_t **image)
{
    json_auto_t *answer = NULL;
    int r = order(h, x, b, &answer, image);

    if (r != 0 || *image)
        return r;
    if ((r = cc_hz_await(h, x, answer)) != 0 && r != CC_E_TIMEOUT && r != CC_E_CANCELLED && r != CC_E_LIMIT)
        drop_failed(h, x, json_object_get(answer, "image"));
    return r == 0 ? of_hash(h, x, b, image) : r;
}

/* One that an earlier host has asked for may not be whole yet. */
static int whole(struct cc_hz *h, struct cc_provider_ctx *x, json_t **image)
{
    const char *path = cc_arena_printf(x->arena, "/images/%lld", (long long)cc_hz_id(*image));
    uint64_t pause = h->poll_ms;
    int r = 0;

    for (; r == 0 && *image && !is(*image, "status", "available"); pause = pause < 8 * h->poll_ms ? 2 * pause : pause) {
        json_auto_t *doc = NULL;

        if ((r = cc_rest_pause(x, pause)) == 0)
            r = cc_hz_ask(h, x, "GET", path, NULL, &doc);
        json_decref(*image);
        *image = r == 0 ? json_incref(json_object_get(doc, "image")) : NULL;
    }
    if (r == 0 && !*image)
        r = cc_err_set(x->err, CC_E_UNAVAILABLE, "Hetzner has not made the snapshot");
    return r;
}

static int end(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_hz_box *b)
{
    int r = b->server ? cc_hz_server_end(h, x, b) : 0;

    if (r == 0)
        cc_hz_forget(h, x->arena, b->short_id);
    return r;
}

static bool goes_on(int r)
{
    return r == CC_E_TIMEOUT || r == CC_E_CANCELLED || r == CC_E_LIMIT || r == CC_E_UNAVAILABLE;
}

static int build_held(struct cc_hz *h, struct cc_provider_ctx *x, struct cc_hz_box *b, const struct cc_image_spec *spec,
                      struct cc_image_info *out)
{
    json_auto_t *image = NULL;
    int r = cc_hz_look(h, x, b, false);

    b->spec = (struct cc_machine_spec){ .id = b->name,
                                        .short_id = b->short_id,
                                        .image = "nixos-anywhere",
                                        .type = spec->type,
                                        .location = spec->location };
    if (r == 0)
        r = of_hash(h, x, b, &image);
    if (r == 0 && !image && (r = fill(h, x, b)) == 0)
        r = take(h, x, b, &image);
    if (r == 0)
        r = whole(h, x, &image);
    if (r == 0 && (r = end(h, x, b)) == 0)
        tell(x->arena, image, out);
    if (r != 0 && !goes_on(r)) {
        struct cc_err why = *x->err;

        end(h, x, b);
        *x->err = why;
    }
    return r;
}

static void box(struct cc_arena *a, const char *name, const char *hash, struct cc_hz_box *b)
{
    *b = (struct cc_hz_box){ .image_name = name, .image_hash = hash };
    b->short_id = cc_arena_strndup(a, hash, SHORT);
    b->name = cc_arena_printf(a, BUILDER "%s", b->short_id);
}

int cc_hz_image_build(void *self, struct cc_provider_ctx *x, const struct cc_image_spec *spec,
                      struct cc_image_info *out)
{
    struct cc_hz *h = self;
    struct cc_hz_box b;
    int lock, r;

    if (strcmp(spec->name, "nixos") != 0)
        return cc_err_set(x->err, CC_E_INVALID, "there is no way to make an image %.40s: nixos expected", spec->name);
    box(x->arena, spec->name, spec->hash, &b);
    if ((lock = cc_name_lock(h->dir, b.name, x->call, x->err)) < 0)
        return lock;
    r = build_held(h, x, &b, spec, out);
    json_decref(b.server);
    cc_name_unlock_gone(h->dir, b.name, lock);
    return r;
}

/* ---------------------------------------------------------------- away */

static int drop_builder(struct cc_hz *h, struct cc_provider_ctx *x, const char *name)
{
    struct cc_hz_box b;
    int lock, r;

    box(x->arena, "nixos", name + strlen(BUILDER), &b);
    if (!cc_short_ok(b.short_id))
        return cc_err_set(x->err, CC_E_INVALID, "\"%.60s\" is no image of ours", name);
    if ((lock = cc_name_lock(h->dir, b.name, x->call, x->err)) < 0)
        return lock;
    if ((r = cc_hz_server_find(h, x, &b)) == 0)
        r = end(h, x, &b);
    json_decref(b.server);
    cc_name_unlock_gone(h->dir, b.name, lock);
    return r;
}

int cc_hz_image_delete(void *self, struct cc_provider_ctx *x, const char *id)
{
    struct cc_hz *h = self;
    json_auto_t *doc = NULL;
    const char *path = cc_arena_printf(x->arena, "/images/%s", cc_rest_escape(x->arena, id));
    int r;

    if (strncmp(id, BUILDER, strlen(BUILDER)) == 0)
        return drop_builder(h, x, id);
    if (strspn(id, "0123456789") != strlen(id))
        return cc_err_set(x->err, CC_E_INVALID, "\"%.60s\" is no image of ours", id);
    r = cc_hz_ask(h, x, "GET", path, NULL, &doc);
    if (r == 0 && !cc_hz_label(json_object_get(doc, "image"), CC_HZ_IMAGE))
        return cc_err_set(x->err, CC_E_DENIED, "image %s is not of our making", id);
    if (r == 0)
        r = cc_hz_ask(h, x, "DELETE", path, NULL, NULL);
    return r == CC_E_NOT_FOUND ? 0 : r;
}
