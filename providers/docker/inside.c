/* inside.c - what is ours in a machine where dockerd does not see our files: put into its container before each start.
 *
 * The same files as are mounted where it does, at the same places, owned by root.
 * The folder that they are in is root's and sticky (host/agent/init.c), for they
 * are no mount points that nobody could move, and root runs what is there.
 * The image's user reads neither the conf nor the agent's socket.  What root of
 * the machine does to them holds until its next start.  A link that stands in
 * the place of a folder is taken away, and none leads out of the container.
 */
#include "providers/docker/docker.h"

#include "host/script/carried.h"

#include <errno.h>
#include <stdlib.h>

#define AT "run/cchost/"

int cc_docker_inside(struct cc_docker *d, struct cc_provider_ctx *x, const char *short_id)
{
    const struct cc_carried *agent = cc_carried_find("cchost-agent");
    const char *path = cc_docker_path(d, x->arena, short_id, "conf/machine.json");
    struct cc_docker_req q = { .method = "PUT" };
    struct cc_tar t = { 0 };
    size_t n = 0;
    char *conf = cc_read_whole(x->arena, path, CC_DOCKER_CONF_MAX, &n);
    int r;

    if (!conf)
        return cc_err_sys(x->err, errno, "%s", path);
    cc_tar_folder(&t, AT, 01755);
    cc_tar_folder(&t, AT "bin", 0755);
    cc_tar_file(&t, AT "bin/cchost-agent", 0755, agent->data, agent->len);
    cc_tar_link(&t, AT "bin/cchost-busy", "cchost-agent");
    cc_tar_folder(&t, AT "conf", 0700);
    cc_tar_file(&t, AT "conf/machine.json", 0600, conf, n);
    cc_tar_folder(&t, AT "agent", 0700);
    cc_tar_end(&t);
    q.path = cc_arena_printf(x->arena, "/containers/claude-%s/archive?path=%%2F", short_id);
    q.raw = t.data;
    q.raw_len = t.n;
    r = cc_docker_ask(d, x, &q, "putting the agent into the machine", NULL);
    free(t.data);
    return r;
}
