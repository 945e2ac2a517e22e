/* The ready file: written once a daemon serves, with the ports that it really got. */
#ifndef A_SYS_READY_H
#define A_SYS_READY_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct sys_ready_port {
    const char *name; /* api, starlink, gateway, admin, agent, tfcc, ... */
    uint16_t port;
};

/* Writes {"pid": P, "NAME": PORT, ...} atomically; mode 0600. */
int sys_ready_write(const char *path, const struct sys_ready_port *ports, size_t n_ports,
                    struct a_error *reterr) A_MUST_CHECK;

#endif
