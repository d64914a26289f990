/* modules.c - every C module that the agent's Lua finds by require: the linker takes these, and none of the host's others. */
#include "host/script/modules.h"

#include "host/agent/files.h"
#include "host/agent/lua.h"

/* One line a module. */
/* clang-format off */
const luaL_Reg cc_modules[] = {
    { "task", luaopen_cc_task },
    { "json", luaopen_cc_json },
    { "time", luaopen_cc_time },
    { "sys", luaopen_cc_sys },
    { "fs", luaopen_cc_fs },
    { "log", luaopen_cc_log },
    { "process", luaopen_cc_process },
    { "lease", luaopen_agent_lease },
    { "machine", luaopen_agent_machine },
    { "service", luaopen_agent_service },
    { "update", luaopen_agent_update },
    { "files", luaopen_agent_files },
    { NULL, NULL },
};
/* clang-format on */
