#include <string.h>

#include "base/macro.h"
#include "gateway/policy/policy.h"

static const struct gw_policy *const policies[] = {&gw_policy_least};

const struct gw_policy *gw_policy_find(const char *name, size_t len)
{
    for (size_t i = 0; i < A_ARRAY_SIZE(policies); i++)
        if (strlen(policies[i]->name) == len && memcmp(policies[i]->name, name, len) == 0)
            return policies[i];
    return NULL;
}
