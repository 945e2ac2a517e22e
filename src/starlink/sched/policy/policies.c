#include <string.h>

#include "starlink/sched/policy.h"

const struct sl_policy *const sl_policies[] = {&sl_policy_spread, NULL};

const struct sl_policy *sl_policy_find(const char *name)
{
    for (const struct sl_policy *const *p = sl_policies; *p != NULL; p++)
        if (strcmp((*p)->name, name) == 0)
            return *p;
    return NULL;
}
