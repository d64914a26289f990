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

struct cc_lua_body;
struct cc_lua_req {
    struct cc_req *r; /* NULL: ended */
    uint32_t gen;
    struct cc_task *waiter;   /* in body, write, proxy */
    void *op;                 /* what else is under way for it: a proxy connecting */
    struct cc_lua_body *body; /* NULL: nobody reads it as it comes */
    struct cc_pass *pass;     /* from req:forward on: an answer under way (bind_pass.c) */
    void (*unpass)(struct cc_lua_req *q);
    struct cc_lua_req *next;
};

/* The live request at stack index 1, or NULL when it has ended. [raises] on anything else. */
struct cc_lua_req *cc_lua_req_at(lua_State *L);

/* Collects a header table at `idx` (nil is fine; a value may be a list) into h; returns how many.
 * The strings stay anchored in the table. [raises] http_headers.c */
#define CC_LUA_HEADERS 64
unsigned cc_lua_headers(lua_State *L, int idx, struct cc_hdr *h);

/* bind_http_req.c */
/* `more`: methods that only this program's requests have. */
void cc_lua_req_open(lua_State *L, const luaL_Reg *more);
void cc_lua_req_close(void);
/* Runs the handler (a registry reference) with r in a task of its own. */
void cc_lua_req_run(lua_State *L, int handler, struct cc_req *r);
/* Leaves a new metatable with these methods and no way in on the stack. */
void cc_lua_meta(lua_State *L, const char *name, const luaL_Reg *methods);

/* nil, err with a sentence for the code. */
int cc_lua_fail(lua_State *L, int code, const char *what);

/* The same for a body that cannot be had. */
int cc_lua_fail_body(lua_State *L, int code);

/* bind_http_body.c */
int cc_lua_req_read(lua_State *L);
void cc_lua_body_free(struct cc_lua_req *q);

/* bind_http_access.c */
struct cc_req_end;
void cc_lua_access_told(bool log, struct cc_req *r, const struct cc_req_end *end);
void cc_lua_access_close(void);
int cc_lua_http_route(lua_State *L);
int cc_lua_req_of(lua_State *L);

/* bind_tls.c */
struct cc_cert_files;
struct cc_tls;
/* The list at `idx`, at most CC_CERTS_MAX; the strings stay anchored in it. [raises] */
unsigned cc_lua_cert_files(lua_State *L, int idx, struct cc_cert_files *files);
/* server:tls_reload(list); *tls NULL: the server is closed. [yields] */
int cc_lua_tls_reload(lua_State *L, struct cc_tls **tls);
int cc_lua_tls_check(lua_State *L);

struct cc_backend_at;
/* unix, or host and port; tunnel, secret: of the table at index 2, whose strings stay on the stack. [raises] */
void cc_lua_backend_at(lua_State *L, struct cc_backend_at *at);
/* A string of that table, or NULL; it stays on the stack. [raises] */
const char *cc_lua_opt_string(lua_State *L, const char *name);
/* Seconds of that table as ms; 0 when absent. [raises] */
uint32_t cc_lua_opt_ms(lua_State *L, const char *name);

int cc_lua_req_proxy(lua_State *L); /* bind_proxy.c */
int cc_lua_req_hold(lua_State *L);
void cc_lua_held_open(lua_State *L);
int cc_lua_req_forward(lua_State *L); /* bind_pass.c */
int cc_lua_req_give(lua_State *L);
int cc_lua_req_websocket(lua_State *L);  /* bind_ws.c */
int cc_lua_http_websocket(lua_State *L); /* bind_ws_dial.c */
int cc_lua_http_request(lua_State *L);   /* bind_http_client.c */
void cc_lua_ws_open(lua_State *L);       /* makes the metatable */
int cc_lua_close_streams(lua_State *L);  /* bind_proxy.c */
int cc_lua_close_streams_of(lua_State *L);
int cc_lua_streams(lua_State *L);
int cc_lua_stream_counts(lua_State *L);
int cc_lua_typed(lua_State *L);

#endif
