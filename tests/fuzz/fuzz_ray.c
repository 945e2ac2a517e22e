/* Serve's answer about itself: whatever Ray says, what is read lies in the arena and can be told to people.
 */
#include <stdint.h>

#include "base/assert.h"
#include "unit/ray.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    A_ERROR_AUTO struct a_error error = A_ERROR_NONE;
    struct unit_ray_status status;
    int rc = unit_ray_status_parse((struct a_view){(const char *)data, size}, &arena, &status, &error);
    a_assert((rc == 0) == (error.message == NULL));
    if (rc == 0)
        a_assert(status.n_apps == 0 || status.apps != NULL);
    return 0;
}
