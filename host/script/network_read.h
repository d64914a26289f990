/* network_read.h - a network's plan (providers/network/flows.h), out of Lua's tables: plain data, copied into an arena.
 *
 * For bind_network.c alone.  Raises what is wrong, by the field's name.  [raises]
 */
#ifndef CC_SCRIPT_NETWORK_READ_H
#define CC_SCRIPT_NETWORK_READ_H

#include "providers/network/flows.h"

#include <lua.h>

/* {subnets = {{id =, cidr =, gateway =}...}, ports = {{id =, subnet =, mac =, address =, groups = {id...}}...},
 *  groups = {{id =, rules = {{direction = "ingress" | "egress", protocol =, from =, to =, cidr =, group =, priority =, deny =}...}}
 *  ...}} at t, from the bottom of the stack */
void cc_read_plan(lua_State *L, struct cc_arena *a, int t, struct cc_net_plan *out);

#endif
