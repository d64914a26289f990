/* secret.c - who may ask: whoever says the secret of which this agent was started with the SHA-256 (--key); everybody
 * GET /healthz. */
#include "host/agent/agent.h"

#include "host/sys/secret.h"

#include <string.h>

bool agent_may(const struct agent *a, struct cc_req *r)
{
    static const char bearer[] = "Bearer ";
    const size_t skip = sizeof(bearer) - 1;
    struct cc_text said = cc_req_header(r, "authorization", strlen("authorization")), path = cc_req_path(r);

    if (!a->key || (path.n == strlen("/healthz") && memcmp(path.p, "/healthz", path.n) == 0 &&
                    strcmp(cc_req_method(r), "GET") == 0))
        return true;
    return said.p && said.n > skip && memcmp(said.p, bearer, skip) == 0 &&
           cc_secret_fits(a->key, said.p + skip, said.n - skip);
}
