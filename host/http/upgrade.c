/* upgrade.c - a connection changes hands: from HTTP to WebSocket or proxy; see conn.h. */
#include "host/http/conn.h"
#include "host/sys/mem.h"

#include <string.h>

struct cc_sock *cc_req_take(struct cc_req *r, struct cc_upgrade *u, char **rest, size_t *rest_len)
{
    struct cc_conn *c = r->conn;
    struct cc_server *s = r->server;
    struct cc_sock *sock;

    *rest = NULL;
    *rest_len = c ? cc_conn_waiting(c) : 0;
    if (!c) {
        cc_req_put(r);
        return NULL;
    }
    if (*rest_len) {
        *rest = cc_xmalloc(*rest_len);
        memcpy(*rest, c->running ? c->p : c->in + c->in_off, *rest_len);
    }
    cc_req_tell(r);
    sock = c->sock;
    cc_sock_read_stop(sock);
    sock->handle.data = NULL;
    cc_conn_leave(c);
    cc_server_ref(s);
    s->n_upgrades++;
    u->server = s;
    cc_link_in(&s->upgrades, &u->link);
    cc_req_put(r);
    return sock;
}

void cc_upgrade_end(struct cc_upgrade *u)
{
    struct cc_server *s = u->server;

    cc_link_out(&u->link);
    s->n_upgrades--;
    cc_server_touch(s);
    cc_server_unref(s);
}
