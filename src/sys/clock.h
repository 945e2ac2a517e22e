/* Clocks. Logic uses monotonic time; wall-clock time is printed for people and never compared across
 * machines. */
#ifndef A_SYS_CLOCK_H
#define A_SYS_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

/* CLOCK_MONOTONIC: stands still while the machine sleeps. */
uint64_t sys_clock_mono_ms(void);
uint64_t sys_clock_mono_us(void);
uint64_t sys_clock_mono_ns(void);
/* CLOCK_BOOTTIME: goes on while the machine sleeps. */
uint64_t sys_clock_boot_ms(void);
/* Milliseconds since 1970-01-01 UTC, from the wall clock. */
uint64_t sys_clock_wall_ms(void);
/* CPU time of the calling thread and of the whole process. */
uint64_t sys_clock_thread_cpu_us(void);
uint64_t sys_clock_process_cpu_us(void);

#define SYS_RFC3339_LEN 24 /* 2024-02-29T12:34:56.789Z */
/* RFC 3339 in UTC with milliseconds, and a zero. Years 1970 to 9999. */
void sys_clock_print(uint64_t wall_ms, char out[SYS_RFC3339_LEN + 1]);
#define SYS_HTTP_DATE_LEN 29 /* Sun, 06 Nov 1994 08:49:37 GMT */
/* The date of HTTP headers (RFC 9110, 5.6.7), and a zero. */
void sys_clock_print_http(uint64_t wall_ms, char out[SYS_HTTP_DATE_LEN + 1]);
/* Accepts what sys_clock_print() writes, with or without the fraction. False on anything else. */
bool sys_clock_parse(struct a_view v, uint64_t *ret_wall_ms) A_MUST_CHECK;
/* Blocks the calling thread. Not on a loop's thread. */
void sys_clock_sleep_ms(uint64_t ms);

#endif
