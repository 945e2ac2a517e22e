/* What this machine lets us do, by trying. */
#ifndef A_SYS_PROBE_H
#define A_SYS_PROBE_H

#include <stdbool.h>
#include <stdint.h>

/* A child of our own may have PID and mount namespaces (through a user namespace where we are not root). */
bool sys_probe_namespaces(void);
/* The program is in PATH and starts (it is called with --version). */
bool sys_probe_program(const char *name);
/* Nobody listens on 127.0.0.1 there. */
bool sys_probe_port(uint16_t port);

#endif
