/* Waiting for what a loop brings about. */
#ifndef A_TESTS_UNIT_AWAIT_H
#define A_TESTS_UNIT_AWAIT_H

#include "sys/clock.h"
#include "sys/loop.h"

#define SOON_MS 10000

/* Turns the loop of the fixture `f` until the condition holds; the test fails when it does not come true
 * soon. */
#define await(f, condition)                                                                                  \
    do {                                                                                                     \
        uint64_t end_ = sys_clock_mono_ms() + SOON_MS;                                                       \
        while (!(condition)) {                                                                               \
            if (sys_clock_mono_ms() > end_)                                                                  \
                fail_msg("never: %s", #condition);                                                           \
            sys_loop_turn((f)->loop, false);                                                                 \
        }                                                                                                    \
    } while (0)

#endif
