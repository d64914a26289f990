/* registry.c - the network drivers of this build. */
#include "providers/network/network.h"

#include <string.h>

static const struct cc_net_driver *const drivers[] = { &cc_net_ovs, &cc_net_mock };

const struct cc_net_driver *cc_net_driver_find(const char *name)
{
    size_t i;

    for (i = 0; i < sizeof(drivers) / sizeof(*drivers); i++)
        if (strcmp(name, drivers[i]->name) == 0)
            return drivers[i];
    return NULL;
}
