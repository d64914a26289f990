/* drivers.h - every driver by name; one line each. */
#ifndef CC_DRIVERS_H
#define CC_DRIVERS_H

#include "providers/provider.h"

extern const struct cc_driver cc_driver_docker;
extern const struct cc_driver cc_driver_hetzner;
extern const struct cc_driver cc_driver_libvirt;
extern const struct cc_driver cc_driver_local;
extern const struct cc_driver cc_driver_mock;

#endif
