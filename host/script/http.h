/* http.h - what the files of module "http" share: requests as Lua sees them.
 *
 * A request userdata is a {slot, generation} pair.  Slots are C memory, used
 * again and never freed while the VM lives, so a stale userdata is noticed
 * without a finalizer and without an anchor.  Thread: loop thread only.
 */
#ifndef CC_SCRIPT_HTTP_H
#define CC_SCRIPT_HTTP_H

#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

#include "host/http/req.h"
#include "host/script/task.h"
#include "host/sys/err.h"

struct cc_lua_req {
    struct cc_req *r; /* NULL: ended */
    uint32_t gen;
    struct cc_task *waiter; /* in body, write, proxy */
    void *op;               /* what else is under way for it: a proxy connecting */
    struct cc_lua_req *next;
};

/* The live request at stack index 1, or NULL when it has ended. [raises] on anything else. */
struct cc_lua_req *cc_lua_req_at(lua_State *L);

/* Collects a header table at `idx` (nil is fine; a value may be a list) into h; returns how many.
 * The strings stay anchored in the table. [raises] */
#define CC_LUA_HEADERS 64
unsigned cc_lua_headers(lua_State *L, int idx, struct cc_hdr *h);

/* bind_http_req.c */
void cc_lua_req_open(lua_State *L);
void cc_lua_req_close(void);
/* Runs the handler (a registry reference) with r in a task of its own. */
void cc_lua_req_run(lua_State *L, int handler, struct cc_req *r);
/* Leaves a new metatable with these methods and no way in on the stack. */
void cc_lua_meta(lua_State *L, const char *name, const luaL_Reg *methods);

/* nil, err with a sentence for the code. */
int cc_lua_fail(lua_State *L, int code, const char *what);

/* bind_tls.c */
struct cc_cert_files;
struct cc_tls;
/* The list at `idx`, at most CC_CERTS_MAX; the strings stay anchored in it. [raises] */
unsigned cc_lua_cert_files(lua_State *L, int idx, struct cc_cert_files *files);
/* server:tls_reload(list); *tls NULL: the server is closed. [yields] */
int cc_lua_tls_reload(lua_State *L, struct cc_tls **tls);
int cc_lua_tls_check(lua_State *L);

int cc_lua_req_proxy(lua_State *L);     /* bind_proxy.c */
int cc_lua_req_websocket(lua_State *L); /* bind_ws.c */
int cc_lua_http_websocket(lua_State *L);
int cc_lua_http_request(lua_State *L);  /* bind_http_client.c */
void cc_lua_ws_open(lua_State *L);      /* makes the metatable */
int cc_lua_close_streams(lua_State *L); /* bind_proxy.c */
int cc_lua_close_streams_of(lua_State *L);
int cc_lua_streams(lua_State *L);
int cc_lua_stream_counts(lua_State *L);
int cc_lua_typed(lua_State *L);

#endif
