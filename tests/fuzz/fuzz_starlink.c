/* Starlink: any bytes. What decodes must encode, decode again and then be equal in bytes and in print; memory
 * stays within a bound that a frame can justify. */
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "wire/starlink.h"

/* 128 targets, 64 applications and 64 labels, each with its own struct: well below this. */
#define ARENA_MAX 262144

static void frame_check(const struct wire_sl_frame *frame)
{
    A_ARENA_AUTO struct a_arena arena = {.limit = ARENA_MAX};
    A_BUF_AUTO struct a_buf first = {0}, second = {0}, print = {0}, again = {0};
    A_ERROR_AUTO struct a_error err = {0};
    struct wire_sl_message m, back;
    struct wire_sl_frame copy;
    int r = wire_sl_decode(frame, &arena, &m, &err);
    a_assert(r == 0 || r == WIRE_E_UNKNOWN || r == WIRE_E_UNSUPPORTED || r == WIRE_E_MALFORMED ||
             r == WIRE_E_TOO_LARGE);
    a_assert((r == 0 || r == WIRE_E_UNKNOWN) == (err.message == NULL));
    if (r != 0)
        return;
    wire_sl_print(&print, &m);
    /* Only what was sent is sent again, so that it fits. */
    a_assert(wire_sl_encode(&first, &m, NULL) == 0);
    a_assert(wire_sl_frame_parse(a_buf_view(&first), &copy, NULL) == 0 && copy.size == first.len);
    a_assert(wire_sl_decode(&copy, &arena, &back, NULL) == 0);
    a_assert(wire_sl_encode(&second, &back, NULL) == 0);
    a_assert(a_view_equal(a_buf_view(&first), a_buf_view(&second)));
    wire_sl_print(&again, &back);
    a_assert(a_view_equal(a_buf_view(&print), a_buf_view(&again)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct a_view in = {(const char *)data, size};
    struct wire_sl_frame frame;
    while (wire_sl_frame_parse(in, &frame, NULL) == 0) {
        a_assert(frame.size >= WIRE_SL_HEADER && frame.size <= in.len);
        frame_check(&frame);
        in = (struct a_view){in.ptr + frame.size, in.len - frame.size};
    }
    return 0;
}
