/* bind_watch.c - module "watch": told when something in a folder changes.
 *
 *   w | nil, err = watch.folder(path, fn)   fn runs in a task after each burst of changes to entries of the folder itself
 *       (not of folders in it); what changed is not said: look. Also when the folder is gone. Keeps no program alive.
 *   w:close()                               no call of fn begins after it
 */
#include "host/script/task.h"
#include "host/script/vm.h"
#include "host/sys/err.h"
#include "host/sys/mem.h"

#include "host/script/modules.h"

#include <stdlib.h>

#define WATCH_META "cchost.watch"

struct folder {
    uv_fs_event_t uv;
    lua_State *L; /* the main state */
    int ref;      /* fn */
    struct folder *next, **at;
};

static const char watch_key = 'w';

static void on_folder_closed(uv_handle_t *h) { free(h->data); }

static void folder_close(struct folder *w)
{
    *w->at = w->next;
    if (w->next)
        w->next->at = w->at;
    luaL_unref(w->L, LUA_REGISTRYINDEX, w->ref);
    uv_close((uv_handle_t *)&w->uv, on_folder_closed);
}

static void close_all(void *arg)
{
    struct folder **all = arg;

    while (*all)
        folder_close(*all);
    free(all);
}

static struct folder **all_folders(lua_State *L)
{
    struct folder **all = cc_vm_get(L, &watch_key);

    if (!all) {
        all = cc_xcalloc(1, sizeof(struct folder *));
        cc_vm_set(L, &watch_key, all);
        cc_vm_at_close(L, close_all, all);
    }
    return all;
}

static void on_change(uv_fs_event_t *uv, const char *name, int events, int status)
{
    struct folder *w = uv->data;

    (void)name;
    (void)events;
    (void)status;
    lua_rawgeti(w->L, LUA_REGISTRYINDEX, w->ref);
    cc_task_spawn(w->L, 0, NULL, NULL);
}

/* The userdata points at the entry of the list, and not at what may be freed. */
static int l_folder(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    struct folder **all = all_folders(L), *w, **ud;
    struct cc_err err;
    int r;

    luaL_checktype(L, 2, LUA_TFUNCTION);
    ud = lua_newuserdata(L, sizeof(*ud));
    *ud = NULL;
    luaL_getmetatable(L, WATCH_META);
    lua_setmetatable(L, -2);
    w = cc_xcalloc(1, sizeof(*w));
    uv_fs_event_init(cc_vm_loop(L), &w->uv);
    w->uv.data = w;
    if ((r = uv_fs_event_start(&w->uv, on_change, path, 0)) != 0) {
        uv_close((uv_handle_t *)&w->uv, on_folder_closed);
        cc_err_sys(&err, -r, "cannot watch %s", path);
        return cc_push_err(L, &err);
    }
    uv_unref((uv_handle_t *)&w->uv);
    w->L = cc_vm_main(L);
    lua_pushvalue(L, 2);
    w->ref = luaL_ref(L, LUA_REGISTRYINDEX);
    w->next = *all;
    w->at = all;
    if (*all)
        (*all)->at = &w->next;
    *all = w;
    *ud = w;
    return 1;
}

static int l_close(lua_State *L)
{
    struct folder **ud = luaL_checkudata(L, 1, WATCH_META), **all = cc_vm_get(L, &watch_key), *w;

    for (w = all ? *all : NULL; w; w = w->next)
        if (w == *ud) {
            folder_close(w);
            break;
        }
    *ud = NULL;
    return 0;
}

static const luaL_Reg methods[] = { { "close", l_close }, { NULL, NULL } };
static const luaL_Reg watch_lib[] = { { "folder", l_folder }, { NULL, NULL } };

int luaopen_cc_watch(lua_State *L)
{
    luaL_newmetatable(L, WATCH_META);
    lua_newtable(L);
    luaL_register(L, NULL, methods);
    lua_setfield(L, -2, "__index");
    lua_newtable(L);
    luaL_register(L, NULL, watch_lib);
    return 1;
}
