#include "cli/drain_wait.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/progress.h"
#include "sys/clock.h"
#include "sys/terminal.h"

#define POLL_MS 300

static bool server_is_away(int rc)
{
    return rc == -ECONNREFUSED || rc == -ECONNRESET || rc == -ETIMEDOUT;
}

static const char *or_nothing(const char *left)
{
    return left[0] != '\0' ? left : "nothing";
}

static int drain_poll(struct cli_call *c, const struct cli_drain *drain, struct wire_value **ret,
                      struct a_error *reterr)
{
    uint64_t start = sys_clock_mono_ms();
    const char *left = "", *said = "";
    struct cli_progress progress;
    cli_progress_init(&progress, c->json);
    sys_interrupt_catch();
    do {
        A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
        int rc = cli_get(c, drain->path, ret, &e);
        if (sys_interrupted())
            return -EINTR;
        if (rc == 0 && drain->is_empty(c->arena, *ret, &left))
            return 0;
        if (rc != 0 && !server_is_away(rc)) {
            a_error_move(reterr, &e);
            return rc;
        }
        if (rc == 0 && strcmp(left, said) != 0)
            cli_progress_say(&progress, "%s %s: %s left", cli_clock(c->arena, NULL), drain->name,
                             or_nothing(said = left));
        if (sys_clock_mono_ms() - start >= drain->timeout_ms)
            return a_fail(reterr, -ETIMEDOUT, A_CODE_TIMEOUT,
                          "%s is not empty after %" PRIu64 " s; it goes on; left: %s", drain->name,
                          drain->timeout_ms / 1000, or_nothing(left));
    } while (cli_sleep_ms(POLL_MS));
    return -EINTR;
}

int cli_drain_wait(struct cli_call *c, const struct cli_drain *drain, struct wire_value **ret,
                   struct a_error *reterr)
{
    int rc = drain_poll(c, drain, ret, reterr);
    if (rc != -EINTR)
        return rc;
    fprintf(stderr, "\nastra %s: not waiting any longer; it goes on\n", c->command->name);
    return CLI_EXIT_INTERRUPTED;
}
