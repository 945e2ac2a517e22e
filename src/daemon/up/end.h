/* Ends everything that one `astra up` made, found by its data folder alone: the same for Ctrl-C, for
 * `astra down`, and after any part of it was killed. Doing it twice does no harm.
 *
 * The gateway goes first (no new requests), the server next (so that it replaces nothing), then the agents,
 * then their members; then members' folders, temporary folders, locks of ports. Apps, artifacts, tokens, the
 * nodes' keys and logs stay. */
#ifndef D_UP_END_H
#define D_UP_END_H

#include <stdbool.h>

#include "base/error.h"
#include "daemon/up/layout.h"
#include "sys/loop.h"

struct d_up_end {
    struct sys_loop *loop; /* turned while waiting */
    const struct d_up_layout *layout;
    const bool *hurry; /* becomes true when somebody is impatient: nothing is waited for any more */
    size_t ended;      /* out: things ended and removed */
};

/* Prints a line for each thing that it ended or removed. -EBUSY when a process does not end, or the error of
 * what could not be removed; all else is done all the same. */
int d_up_end_run(struct d_up_end *e, struct a_error *reterr) A_MUST_CHECK;
/* What runs: children and members. */
size_t d_up_end_count(const struct d_up_layout *l);
/* Waits until the process is gone; false when it is still there after `timeout_ms`, or on `hurry`. */
bool d_up_end_wait(const struct d_up_end *e, const struct sys_proc_id *id, uint64_t timeout_ms);
/* Removes what d_up_end_run() kept. Nothing but what is named in layout.h is touched. */
int d_up_end_purge(const struct d_up_layout *l, struct a_error *reterr) A_MUST_CHECK;

#endif
