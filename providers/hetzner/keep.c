/* keep.c - what this host keeps of a machine, because Hetzner must not: DIR/machines/SHORT.
 *
 *   machine.json   its description, with environment and keys, the host key that is pinned, and how far nixos-anywhere came
 *   first.key      the key of the first contact, until it is over
 *   known_hosts, ctl, agent.sock    of the connection (ssh.h)
 * The directory is the host's own (0700).  Lost, it is made again from what start is given.
 */
#include "providers/hetzner/hetzner.h"

#include "host/sys/mem.h"
#include "providers/files.h"
#include "providers/host_key.h"
#include "providers/spec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_MAX = 4 * 1024 * 1024 };

const char *cc_hz_path(const struct cc_hz *h, struct cc_arena *a, const char *short_id, const char *leaf)
{
    return cc_arena_printf(a, "%s/machines/%s%s%s", h->dir, short_id, *leaf ? "/" : "", leaf);
}

static int make_dir(const struct cc_hz *h, struct cc_arena *a, const char *short_id, struct cc_err *err)
{
    const char *path = cc_hz_path(h, a, short_id, "");

    return mkdir(path, 0700) == 0 || errno == EEXIST ? 0 : cc_err_sys(err, errno, "making %s", path);
}

int cc_hz_save(const struct cc_hz *h, struct cc_arena *a, const struct cc_hz_box *b, struct cc_err *err)
{
    json_auto_t *doc = json_pack("{s:i, s:o, s:s*, s:s*, s:s*, s:I}", "version", 1, "spec", cc_spec_json(&b->spec),
                                 "host_key", b->host_key, "host", b->server ? cc_hz_server_host(b->server) : NULL,
                                 "phase", b->phase, "server", b->server ? cc_hz_id(b->server) : (json_int_t)0);
    char *text = doc ? json_dumps(doc, JSON_COMPACT) : NULL;
    int r = text ? make_dir(h, a, b->short_id, err)
                 : cc_err_set(err, CC_E_INVALID, "the machine's description is not valid UTF-8");

    if (r == 0)
        r = cc_write_whole(cc_hz_path(h, a, b->short_id, "machine.json"), text, strlen(text), err);
    free(text);
    return r;
}

bool cc_hz_load(const struct cc_hz *h, struct cc_arena *a, struct cc_hz_box *b)
{
    size_t n;
    char *text = cc_read_whole(a, cc_hz_path(h, a, b->short_id, "machine.json"), FILE_MAX, &n);
    json_auto_t *doc = text ? json_loadb(text, n, 0, NULL) : NULL;

    cc_spec_read(a, json_object_get(doc, "spec"), &b->spec);
    b->host_key = cc_doc_text(a, doc, "host_key");
    b->host = cc_doc_text(a, doc, "host");
    b->phase = cc_doc_text(a, doc, "phase");
    b->kept = json_integer_value(json_object_get(doc, "server"));
    if (!b->spec.id || !b->spec.short_id || strcmp(b->spec.short_id, b->short_id) != 0)
        return false;
    return true;
}

void cc_hz_forget(const struct cc_hz *h, struct cc_arena *a, const char *short_id)
{
    cc_remove_tree(cc_hz_path(h, a, short_id, ""));
}

/* ---------------------------------------------------------------- keys */

static char *read_text(struct cc_arena *a, const char *path)
{
    size_t n;

    return cc_read_whole(a, path, CC_HOST_KEY_MAX, &n);
}

/* Private and public text in one file, so that there is never one without the other. */
static char *read_pair(struct cc_arena *a, const char *path, char **public_key)
{
    char *text = read_text(a, path), *at = text ? strstr(text, "ecdsa-sha2-") : NULL;

    if (!at)
        return NULL;
    *public_key = cc_arena_strndup(a, at, strcspn(at, "\n"));
    return cc_arena_strndup(a, text, (size_t)(at - text));
}

/* Another process that makes one at the same moment may be first: then it is that one's. */
static char *make_pair(struct cc_arena *a, const char *path, char **public_key)
{
    char key[CC_HOST_KEY_MAX], pub[CC_HOST_KEY_MAX], *text;
    struct cc_err err;
    int r;

    if (cc_host_key_make(key, pub) != 0)
        return NULL;
    text = cc_arena_printf(a, "%s%s", key, pub);
    if ((r = cc_write_once(path, text, strlen(text), &err)) == CC_E_EXISTS)
        return read_pair(a, path, public_key);
    if (r != 0)
        return NULL;
    *public_key = cc_arena_strndup(a, pub, strcspn(pub, "\n"));
    return cc_arena_strdup(a, key);
}

const char *cc_hz_first_key(const struct cc_hz *h, struct cc_arena *a, const char *short_id, bool make,
                            const char **public_key)
{
    const char *path = cc_hz_path(h, a, short_id, "first.key");
    char *pub = NULL, *key = read_pair(a, path, &pub);

    if (!key && make)
        key = make_pair(a, path, &pub);
    *public_key = pub;
    return key;
}

void cc_hz_first_key_gone(const struct cc_hz *h, struct cc_arena *a, const char *short_id)
{
    unlink(cc_hz_path(h, a, short_id, "first.key"));
}

/* PEM alone, as OpenSSH reads it; what stands behind the key it does not look at. */
int cc_hz_identity(struct cc_hz *h, struct cc_err *err)
{
    struct cc_arena a = { 0 };
    const char *path = cc_arena_printf(&a, "%s/id", h->dir);
    char *pub = NULL;
    int r = 0;

    if (!read_pair(&a, path, &pub) && !make_pair(&a, path, &pub))
        r = cc_err_set(err, CC_E_IO, "cannot make the host's key in %s", path);
    else
        h->public_key = cc_xasprintf("%s cchost", pub);
    cc_arena_free(&a);
    return r;
}
