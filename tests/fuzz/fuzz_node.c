/* The node's file. What is read satisfies the core's invariants, and is written again as text that is read as
 * the same. */
#include <stdint.h>

#include "base/assert.h"
#include "starlink/node/node.h"

static const struct a_capacity room = {64000, UINT64_C(1) << 40, UINT64_C(1) << 40};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    A_ERROR_AUTO struct a_error error = A_ERROR_NONE;
    A_BUF_AUTO struct a_buf text = {0}, twice = {0};
    struct sl_node node, again;
    sl_node_init(&node, &room);
    sl_node_init(&again, &room);
    int rc = sl_node_decode(&node, (struct a_view){(const char *)data, size}, 1000, &error);
    a_assert((rc == 0) == (error.message == NULL));
    if (rc == 0) {
        sl_node_check(&node);
        sl_node_encode(&node, &text);
        rc = sl_node_decode(&again, a_buf_view(&text), 1000, NULL);
        a_assert(rc == 0);
        sl_node_encode(&again, &twice);
        a_assert(text.len == twice.len); /* epochs come in the order of a hash */
    }
    sl_node_deinit(&node);
    sl_node_deinit(&again);
    return 0;
}
