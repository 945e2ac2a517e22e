/* The processor as a device: always there, one a machine. */
#ifndef A_TFCC_DEVICE_CPU_H
#define A_TFCC_DEVICE_CPU_H

#include "astra/device.h"

extern const struct astra_device_driver tfcc_device_cpu;

#endif
