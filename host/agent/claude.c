/* claude.c - the owner's Claude credentials, as the host last told them: PUT /auth/credentials.
 *
 * All files are the user's own, 0600, in his home:
 *   .config/cchost/claude.json   {"anthropic_api_key":TEXT,"claude_oauth_token":TEXT}, those that there are; no file: none.
 *                                Read whenever a terminal or a chat begins: what is in its environment is from here
 *   .claude/.credentials.json    what Claude Code looks for where it finds nothing in the environment (ssh, a session that
 *                                was there before): the OAuth token, unless the file holds a log-in of the user's own
 *   .claude.json                 gets hasCompletedOnboarding, without which Claude Code asks for a log-in all the same
 * The first is written last: what was cut off is done again and knows its own work.
 */
#include "host/agent/agent.h"

#include "host/sys/clock.h"
#include "host/sys/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define API_KEY "anthropic_api_key"
#define OAUTH "claude_oauth_token"

enum { BODY_MAX = 8192, FILE_MAX = 4 << 20, TEXT_MAX = 1024 };

static const int64_t YEAR_MS = 365LL * 86400 * 1000;

static char *at_home(const char *name)
{
    const char *home = getenv("HOME");

    return cc_xasprintf("%s/%s", home && *home ? home : "", name);
}

/* ---------------------------------------------------------------- files */

/* NULL: there is none, or it is no object. *there: there is one. */
static json_t *read_file(const char *name, bool *there)
{
    char *path = at_home(name);
    struct stat st;
    json_t *doc = NULL;

    *there = stat(path, &st) == 0;
    if (*there && S_ISREG(st.st_mode) && st.st_size <= FILE_MAX)
        doc = json_load_file(path, 0, NULL);
    free(path);
    if (doc && !json_is_object(doc)) {
        json_decref(doc);
        doc = NULL;
    }
    return doc;
}

static bool write_all(int fd, const char *text, size_t n)
{
    while (n > 0) {
        ssize_t w = write(fd, text, n);

        if (w < 0 && errno != EINTR)
            return false;
        if (w > 0) {
            text += w;
            n -= (size_t)w;
        }
    }
    return fsync(fd) == 0;
}

static void make_dirs(char *path)
{
    char *slash;
    const char *home = getenv("HOME");

    for (slash = path + (home ? strlen(home) : 0) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = 0;
        mkdir(path, 0700);
        *slash = '/';
    }
}

/* Whole or not at all. */
static bool write_file(const char *name, const json_t *doc)
{
    char *path = at_home(name), *part = cc_xasprintf("%s.cchost-%d", path, getpid()),
         *text = json_dumps(doc, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
    bool ok = false;
    int fd;

    make_dirs(path);
    unlink(part);
    fd = open(part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0) {
        ok = text && write_all(fd, text, strlen(text));
        close(fd);
        ok = ok && rename(part, path) == 0;
        if (!ok)
            unlink(part);
    }
    free(text);
    free(part);
    free(path);
    return ok;
}

static bool drop_file(const char *name)
{
    char *path = at_home(name);
    bool ok = unlink(path) == 0 || errno == ENOENT || errno == ENOTDIR;

    free(path);
    return ok;
}

/* ---------------------------------------------------------------- each of them */

static const char *text_of(const json_t *doc, const char *key) { return json_string_value(json_object_get(doc, key)); }

static bool same(const char *a, const char *b) { return a && b && strcmp(a, b) == 0; }

/* A log-in of the user's own stays as it is. */
static bool set_login(const char *was, const char *is)
{
    static const char name[] = ".claude/.credentials.json";
    bool there, ok = true;
    json_t *doc = read_file(name, &there), *made;
    const char *now = text_of(json_object_get(doc, "claudeAiOauth"), "accessToken");
    const json_int_t until = cc_wall_ms() + YEAR_MS;
    bool ours = same(now, was) || same(now, is);

    if (is && (!there || ours)) {
        made = json_pack("{s:{s:s,s:n,s:I,s:[s,s],s:n}}", "claudeAiOauth", "accessToken", is, "refreshToken",
                         "expiresAt", until, "scopes", "user:inference", "user:profile", "subscriptionType");
        ok = made && write_file(name, made);
        json_decref(made);
    } else if (!is && there && ours) {
        ok = drop_file(name);
    }
    json_decref(doc);
    return ok;
}

static bool set_onboarded(void)
{
    static const char name[] = ".claude.json";
    bool there, ok = true;
    json_t *doc = read_file(name, &there);

    if (!doc && !there)
        doc = json_object();
    if (doc && !json_is_true(json_object_get(doc, "hasCompletedOnboarding"))) {
        json_object_set_new(doc, "hasCompletedOnboarding", json_true());
        ok = write_file(name, doc);
    }
    json_decref(doc);
    return ok;
}

static bool store(const char *api_key, const char *oauth)
{
    static const char name[] = ".config/cchost/claude.json";
    bool there, ok;
    json_t *was = read_file(name, &there), *is = json_pack("{s:s*,s:s*}", API_KEY, api_key, OAUTH, oauth);

    ok = is && set_login(text_of(was, OAUTH), oauth) && ((!api_key && !oauth) || set_onboarded());
    if (ok)
        ok = api_key || oauth ? write_file(name, is) : drop_file(name);
    json_decref(was);
    json_decref(is);
    return ok;
}

void agent_claude_env(void)
{
    bool there;
    json_t *doc = read_file(".config/cchost/claude.json", &there);
    const char *oauth = text_of(doc, OAUTH), *api_key = text_of(doc, API_KEY);

    if (oauth) /* counts more where both are there, as in the account's settings */
        setenv("CLAUDE_CODE_OAUTH_TOKEN", oauth, 0);
    else if (api_key)
        setenv("ANTHROPIC_API_KEY", api_key, 0);
    json_decref(doc);
}

/* ---------------------------------------------------------------- the route */

/* True: absent, null, or a text that may stand in a header and in an environment. */
static bool take(const json_t *doc, const char *key, const char **out)
{
    const json_t *v = json_object_get(doc, key);
    const char *c;

    *out = json_string_value(v);
    if (!v || json_is_null(v))
        return true;
    if (!*out || !**out || json_string_length(v) != strlen(*out) || strlen(*out) > TEXT_MAX)
        return false;
    for (c = *out; *c > ' ' && *c < 127; c++) {
    }
    return !*c;
}

static void on_body(void *arg, struct cc_req *r, int status)
{
    struct cc_text body = cc_req_body_text(r);
    const char *api_key, *oauth;
    json_t *doc;

    (void)arg;
    if (status != 0) {
        cc_req_reply_error(r, 400, "invalid", "the body cannot be read");
        return;
    }
    doc = json_loadb(body.p ? body.p : "", body.n, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(doc) || !take(doc, API_KEY, &api_key) || !take(doc, OAUTH, &oauth))
        cc_req_reply_error(r, 400, "invalid", "an object with " API_KEY " and " OAUTH " is expected");
    else if (!store(api_key, oauth))
        cc_req_reply_error(r, 500, "io", "the files cannot be written");
    else
        agent_reply(r, 200, json_pack("{s:s}", "auth_method", oauth ? "oauth" : api_key ? "api_key" : "none"));
    json_decref(doc);
}

void agent_credentials(struct agent *a, struct cc_req *r)
{
    int rc = cc_req_body(r, BODY_MAX, on_body, a);

    if (rc <= 0)
        on_body(a, r, rc);
}
