/* modules.c - see modules.h. */
#include "host/script/modules.h"

/* One line a module. */
/* clang-format off */
const luaL_Reg cc_modules[] = {
    { "task", luaopen_cc_task },
    { "json", luaopen_cc_json },
    { "time", luaopen_cc_time },
    { "sys", luaopen_cc_sys },
    { "tty", luaopen_cc_tty },
    { "fs", luaopen_cc_fs },
    { "log", luaopen_cc_log },
    { "metrics", luaopen_cc_metrics },
    { "trace", luaopen_cc_trace },
    { "crypto", luaopen_cc_crypto },
    { "jwt", luaopen_cc_jwt },
    { "limiter", luaopen_cc_limiter },
    { "smtp", luaopen_cc_smtp },
    { "store", luaopen_cc_store },
    { "http", luaopen_cc_http },
    { "process", luaopen_cc_process },
    { "service", luaopen_cc_service },
    { "edit", luaopen_cc_edit },
    { "provider", luaopen_cc_provider },
    { "network", luaopen_cc_network },
    { "fence", luaopen_cc_fence },
    { "watch", luaopen_cc_watch },
    { NULL, NULL },
};
/* clang-format on */
