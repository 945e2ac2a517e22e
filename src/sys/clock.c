#include "sys/clock.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "base/assert.h"
#include "base/text.h"

static uint64_t clock_ns(clockid_t id)
{
    struct timespec ts;
    int rc = clock_gettime(id, &ts);
    a_assert(rc == 0);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t sys_clock_mono_ms(void)
{
    return clock_ns(CLOCK_MONOTONIC) / 1000000u;
}

uint64_t sys_clock_mono_us(void)
{
    return clock_ns(CLOCK_MONOTONIC) / 1000u;
}

uint64_t sys_clock_mono_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

uint64_t sys_clock_boot_ms(void)
{
    return clock_ns(CLOCK_BOOTTIME) / 1000000u;
}

uint64_t sys_clock_wall_ms(void)
{
    return clock_ns(CLOCK_REALTIME) / 1000000u;
}

uint64_t sys_clock_thread_cpu_us(void)
{
    return clock_ns(CLOCK_THREAD_CPUTIME_ID) / 1000u;
}

uint64_t sys_clock_process_cpu_us(void)
{
    return clock_ns(CLOCK_PROCESS_CPUTIME_ID) / 1000u;
}

void sys_clock_print(uint64_t wall_ms, char out[SYS_RFC3339_LEN + 1])
{
    time_t seconds = (time_t)(wall_ms / 1000u);
    struct tm tm;
    struct tm *ok = gmtime_r(&seconds, &tm);
    a_assert(ok != NULL && tm.tm_year <= 9999 - 1900);
    char text[80];
    snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%03uZ", tm.tm_year + 1900, tm.tm_mon + 1,
             tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (unsigned)(wall_ms % 1000u));
    snprintf(out, SYS_RFC3339_LEN + 1, "%.*s", SYS_RFC3339_LEN, text);
}

void sys_clock_print_http(uint64_t wall_ms, char out[SYS_HTTP_DATE_LEN + 1])
{
    static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t seconds = (time_t)(wall_ms / 1000u);
    struct tm tm;
    struct tm *ok = gmtime_r(&seconds, &tm);
    a_assert(ok != NULL && tm.tm_year <= 9999 - 1900);
    char text[96];
    snprintf(text, sizeof text, "%s, %02d %s %04d %02d:%02d:%02d GMT", days[tm.tm_wday], tm.tm_mday,
             months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
    snprintf(out, SYS_HTTP_DATE_LEN + 1, "%.*s", SYS_HTTP_DATE_LEN, text);
}

/* `n` decimal digits at *pos, then the character `end` (0 = none); advances *pos. */
static bool digits(struct a_view v, size_t *pos, size_t n, char end, int *ret)
{
    uint64_t x;
    size_t want = n + (end != 0 ? 1 : 0);
    if (v.len - *pos < want || !a_text_u64((struct a_view){v.ptr + *pos, n}, &x))
        return false;
    if (end != 0 && v.ptr[*pos + n] != end)
        return false;
    *pos += want;
    *ret = (int)x;
    return true;
}

bool sys_clock_parse(struct a_view v, uint64_t *ret_wall_ms)
{
    struct tm tm = {0};
    size_t pos = 0;
    int year, month, millis = 0;
    if (v.len != SYS_RFC3339_LEN && v.len != SYS_RFC3339_LEN - 4)
        return false;
    bool fraction = v.len == SYS_RFC3339_LEN;
    if (!digits(v, &pos, 4, '-', &year) || !digits(v, &pos, 2, '-', &month) ||
        !digits(v, &pos, 2, 'T', &tm.tm_mday) || !digits(v, &pos, 2, ':', &tm.tm_hour) ||
        !digits(v, &pos, 2, ':', &tm.tm_min) || !digits(v, &pos, 2, fraction ? '.' : 'Z', &tm.tm_sec))
        return false;
    if (fraction && !digits(v, &pos, 3, 'Z', &millis))
        return false;
    if (year < 1970 || month < 1 || month > 12 || tm.tm_mday < 1 || tm.tm_hour > 23 || tm.tm_min > 59 ||
        tm.tm_sec > 60)
        return false;
    tm.tm_year = year - 1900;
    tm.tm_mon = month - 1;
    int day = tm.tm_mday;
    time_t seconds = timegm(&tm);
    if (tm.tm_mday != day && tm.tm_sec != 0) /* 31 February; a leap second at midnight may move the day */
        return false;
    *ret_wall_ms = (uint64_t)seconds * 1000u + (uint64_t)millis;
    return true;
}

void sys_clock_sleep_ms(uint64_t ms)
{
    struct timespec ts = {(time_t)(ms / 1000u), (long)(ms % 1000u) * 1000000L};
    while (clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, &ts) == EINTR)
        continue;
}
