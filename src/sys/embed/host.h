/* This process and this machine: clock, randomness, cores, memory. See dl.h on sys/embed. */
#ifndef A_SYS_EMBED_HOST_H
#define A_SYS_EMBED_HOST_H

#include <stdint.h>

/* Nanoseconds on the monotonic clock. */
uint64_t sys_embed_now_ns(void);
/* 64 random bits from the kernel. */
uint64_t sys_embed_random(void);
/* This process's id in its own PID namespace, and its start time (/proc/self/stat field 22; 0 = not known).
 */
void sys_embed_process(uint64_t *ret_pid, uint64_t *ret_start_time);
/* The cores that this process may run on; 1 or more. */
uint32_t sys_embed_cpus(void);
/* The machine's memory, and what is available of it; both bounded by this process's cgroup. 0 = not known. */
void sys_embed_memory(uint64_t *ret_total_bytes, uint64_t *ret_available_bytes);

#endif
