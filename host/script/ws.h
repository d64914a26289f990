/* ws.h - what the two ends of a WebSocket share as Lua sees them (bind_ws.c, bind_ws_dial.c). Thread: loop thread only. */
#ifndef CC_SCRIPT_WS_H
#define CC_SCRIPT_WS_H

#include "host/http/ws.h"
#include "host/script/http.h"

struct cc_ws_dial;

struct cc_lua_ws {
    struct cc_ws *ws; /* NULL: closed */
    struct cc_task *reader, *writer;
    char *data; /* a message that nobody has taken yet */
    size_t len;
    int kind;
    char *out; /* a message that did not fit yet */
    size_t out_len;
    int out_kind;
    int code; /* once closed */
    char reason[124];
    int holds, self; /* tasks that wait; the registry's anchor meanwhile */
    /* a client's end only: no server would close it when the VM ends */
    struct cc_ws_dial *dial; /* while it is being opened; reader waits for that */
    struct cc_lua_ws *next;  /* of the clients' ends that are open */
    bool listed;
};

extern const struct cc_ws_events cc_lua_ws_events; /* their argument is the cc_lua_ws */

/* A new one, on top of the stack. */
struct cc_lua_ws *cc_lua_ws_new(lua_State *L);
/* A task that waits anchors the userdata, which is at `idx`. */
void cc_lua_ws_hold(lua_State *L, int idx, struct cc_lua_ws *s);
void cc_lua_ws_release(lua_State *L, struct cc_lua_ws *s);
/* A client's end that is open: it is closed when the VM ends. */
void cc_lua_ws_list(struct cc_lua_ws *s);

#endif
