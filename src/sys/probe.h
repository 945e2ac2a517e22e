/* What this machine lets us do, by trying. */
#ifndef A_SYS_PROBE_H
#define A_SYS_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A child of our own may have PID and mount namespaces (through a user namespace where we are not root). */
bool sys_probe_namespaces(void);
/* The program is in PATH and starts (it is called with --version). */
bool sys_probe_program(const char *name);
/* cgroup v2: none, one that we may not write to, or one that is ours. */
enum sys_cgroup { SYS_CGROUP_NONE, SYS_CGROUP_SEEN, SYS_CGROUP_DELEGATED };
enum sys_cgroup sys_probe_cgroup(void);
/* The kernel's clock is kept in step by somebody (adjtimex). */
bool sys_probe_clock_kept(void);
/* What is in this machine, and the version of its driver; "" = none is loaded. */
enum sys_accelerator { SYS_ACCELERATOR_NONE, SYS_ACCELERATOR_NVIDIA, SYS_ACCELERATOR_ASCEND };
enum sys_accelerator sys_probe_accelerator(char *ret_driver, size_t size);
/* Nobody listens on 127.0.0.1 there. */
bool sys_probe_port(uint16_t port);

#endif
