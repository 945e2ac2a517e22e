/* What this process was given and what this machine has. */
#ifndef A_SYS_ENV_H
#define A_SYS_ENV_H

#include <stdint.h>

#include "base/buf.h"

/* NULL when not set or empty. Not changed while threads run. */
const char *sys_env_get(const char *name);
/* All of it, NULL-terminated "K=V". */
const char *const *sys_env_all(void);
/* The host's name, cut to the buffer. */
void sys_env_hostname(char *out, size_t size);
/* Identifies this boot of the kernel (/proc/sys/kernel/random/boot_id); "" when it cannot be read. */
void sys_env_boot_id(char out[37]);
/* CPUs that this process may use, in thousandths: affinity and the cgroup's quota, whichever is less. */
uint64_t sys_env_cpu_m(void);
/* The same, rounded up to whole CPUs, at least 1. */
unsigned sys_env_cpus(void);
/* Memory that this process may use: the machine's or the cgroup's limit, whichever is less. */
uint64_t sys_env_memory_total(void);
/* MemAvailable of the machine, or what the cgroup leaves, whichever is less. */
uint64_t sys_env_memory_available(void);
/* CPU time of the whole machine since boot: busy and all, in microseconds summed over CPUs; 0 when unknown.
 */
void sys_env_cpu_times(uint64_t *ret_busy_us, uint64_t *ret_total_us);
uint64_t sys_env_page_size(void);
/* Raises the soft limit of open files to the hard one; returns the limit in force. */
uint64_t sys_env_raise_nofile(void);
/* Processes and threads that this user may have: the limit or the cgroup's, whichever is less; UINT64_MAX =
 * no limit. */
uint64_t sys_env_nproc(void);
/* "linux-6.1.0 x86_64" */
void sys_env_platform(char *out, size_t size);
/* What packed environments are made for: "linux-x86_64", and the version of the C library in use ("2.36"). */
const char *sys_env_machine(void);
/* The processor as container images name it: "amd64", "arm64", "unknown". */
const char *sys_env_arch(void);
void sys_env_glibc(char *out, size_t size);

#endif
