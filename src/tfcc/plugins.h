/* The engines and devices that this build has. A new one is its file, a line in plugins.c, one in meson.build
 * and the conformance test, which walks these arrays. */
#ifndef A_TFCC_PLUGINS_H
#define A_TFCC_PLUGINS_H

#include "astra/device.h"
#include "astra/engine.h"

/* Both end with NULL. */
extern const struct astra_engine *const tfcc_engines[];
extern const struct astra_device_driver *const tfcc_device_drivers[];

#endif
