/* spawner.h - what the driver and cchost-spawner (main.c says what is spoken) have in common. */
#ifndef CC_SPAWNER_H
#define CC_SPAWNER_H

enum { CC_SPAWNER_MAX = 4096 }; /* bytes of a request */

#endif
