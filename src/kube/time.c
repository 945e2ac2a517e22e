/* Days and dates by H. Hinnant's chrono-compatible date algorithms: eras of 400 years that begin on the first
 * of March. */
#include "kube/time.h"

#include <stdio.h>

#include "base/assert.h"
#include "base/text.h"

#define DAY_S 86400
#define SECOND_US 1000000

static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400, of_era = year - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static bool digits_take(struct a_view *v, size_t n, char after, int64_t *ret)
{
    uint64_t value;
    if (v->len < n + 1 || v->ptr[n] != after || !a_text_u64((struct a_view){v->ptr, n}, &value))
        return false;
    *ret = (int64_t)value;
    v->ptr += n + 1;
    v->len -= n + 1;
    return true;
}

/* "30Z" or "30.123456Z" */
static bool seconds_take(struct a_view v, int64_t *ret_us)
{
    int64_t second, unit = SECOND_US / 10;
    if (digits_take(&v, 2, 'Z', &second)) {
        *ret_us = second * SECOND_US;
        return v.len == 0;
    }
    if (!digits_take(&v, 2, '.', &second) || v.len < 2 || v.ptr[v.len - 1] != 'Z')
        return false;
    *ret_us = second * SECOND_US;
    for (size_t i = 0; i + 1 < v.len; i++, unit /= 10) {
        if (v.ptr[i] < '0' || v.ptr[i] > '9')
            return false;
        *ret_us += (v.ptr[i] - '0') * unit;
    }
    return true;
}

bool kube_time_parse(struct a_view text, int64_t *ret_us)
{
    int64_t year, month, day, hour, minute, us;
    if (!digits_take(&text, 4, '-', &year) || !digits_take(&text, 2, '-', &month) ||
        !digits_take(&text, 2, 'T', &day) || !digits_take(&text, 2, ':', &hour) ||
        !digits_take(&text, 2, ':', &minute) || !seconds_take(text, &us))
        return false;
    if (month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59)
        return false;
    *ret_us = (days_of(year, month, day) * DAY_S + hour * 3600 + minute * 60) * SECOND_US + us;
    return true;
}

void kube_time_print(int64_t us, char *out)
{
    int64_t days = us / (INT64_C(1) * DAY_S * SECOND_US), rest = us % (INT64_C(1) * DAY_S * SECOND_US);
    if (rest < 0) {
        rest += INT64_C(1) * DAY_S * SECOND_US;
        days--;
    }
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097, of_era = days - era * 146097;
    int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year + year / 4 - year / 100), shifted = (5 * of_year + 2) / 153;
    int64_t day = of_year - (153 * shifted + 2) / 5 + 1, month = shifted < 10 ? shifted + 3 : shifted - 9;
    int64_t second = rest / SECOND_US;
    year += era * 400 + (month <= 2);
    int n = snprintf(out, KUBE_TIME_LEN + 1, "%04u-%02u-%02uT%02u:%02u:%02u.%06uZ", (unsigned)year % 10000,
                     (unsigned)month % 100, (unsigned)day % 100, (unsigned)(second / 3600) % 100,
                     (unsigned)(second / 60 % 60), (unsigned)(second % 60), (unsigned)(rest % SECOND_US));
    a_assert(n == KUBE_TIME_LEN);
}
