/* Waiting for units: the app and its units are asked for, shown, and judged, again and again. A server that
 * restarts meanwhile is waited for, too. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "cli/app_file.h"
#include "sys/clock.h"
#include "sys/terminal.h"

#define POLL_MS 500

struct waiting {
    struct cli *c;
    const char *path; /* of the app */
    int64_t generation, revision;
    struct cli_progress progress;
    bool terminal;
    uint64_t begun_ms;
};

static int64_t number(const struct wire_value *v, const char *path)
{
    return wire_value_int(wire_value_path(v, path), 0);
}

static void unit_line(struct waiting *w, const struct wire_value *u, struct a_buf *b)
{
    const char *message = cli_text(u, "message");
    a_buf_addf(b, "  %-20s %-24s revision %-4" PRId64 " %-10s", cli_text(u, "name"),
               a_arena_printf(&w->c->arena, "%s/%s", cli_text(u, "cluster"), cli_text(u, "nodeName")),
               number(u, "revision"), cli_text(u, "state"));
    if (w->terminal)
        a_buf_addf(b, " %5s", cli_age(w->c, wire_value_string(wire_value_get(u, "since"), NULL)));
    if (strcmp(cli_text(u, "reason"), "-") != 0)
        a_buf_addf(b, "  %s", cli_text(u, "reason"));
    if (strcmp(message, "-") != 0)
        a_buf_addf(b, "  %.*s", (int)strcspn(message, "\n"), message);
    a_buf_add_char(b, '\n');
}

static void show(struct waiting *w, const struct wire_value *app, const struct wire_value *units)
{
    A_BUF_AUTO struct a_buf b = {0};
    a_buf_addf(&b, "%s: revision %" PRId64 ", %" PRId64 " of %" PRId64 " units ready",
               cli_text(wire_value_get(app, "metadata"), "name"), number(app, "status.revision"),
               number(app, "status.units.updated"), number(app, "status.units.wanted"));
    if (w->terminal)
        a_buf_addf(&b, " (%" PRIu64 " s)", (sys_clock_mono_ms() - w->begun_ms) / 1000);
    a_buf_add_char(&b, '\n');
    wire_value_foreach(u, units) unit_line(w, u, &b);
    cli_progress_show(&w->progress, a_buf_view(&b));
}

/* ---- what it means ---- */

static int fail_revision(struct waiting *w, const char *what, const char *why)
{
    a_error_set(&w->c->error, A_CODE_RAY_REJECTED, "revision %" PRId64 " %s%s%s", w->revision, what,
                why[0] != '\0' ? ":\n" : "", why);
    return -EIO;
}

static const char *condition_message(const struct wire_value *app, const char *type, const char *status,
                                     const char *reason)
{
    wire_value_foreach(v, wire_value_path(app, "status.conditions"))
    {
        if (strcmp(cli_text(v, "type"), type) == 0 && strcmp(cli_text(v, "status"), status) == 0 &&
            strcmp(cli_text(v, "reason"), reason) == 0)
            return wire_value_string(wire_value_get(v, "message"), "");
    }
    return NULL;
}

static const struct wire_value *unit_failed(const struct waiting *w, const struct wire_value *units)
{
    wire_value_foreach(u, units)
    {
        if (number(u, "revision") == w->revision && strcmp(cli_text(u, "state"), "FAILED") == 0 &&
            wire_value_bool(wire_value_get(u, "final"), false))
            return u;
    }
    return NULL;
}

/* 0: go on; 1: ready; negative: failed. */
static int judge(struct waiting *w, const struct wire_value *app, const struct wire_value *units)
{
    const struct wire_value *status = wire_value_get(app, "status");
    const char *failure = wire_value_string(wire_value_get(status, "lastFailure"), "");
    if (number(status, "failedRevision") == w->revision)
        return fail_revision(w, "failed and was undone: the revision before it serves on", failure);
    if (number(status, "wantedRevision") > w->revision)
        return fail_revision(w, "was replaced by a newer one before it was ready", "");
    if (number(status, "observedGeneration") >= w->generation && number(status, "revision") == w->revision &&
        number(status, "units.updated") >= number(status, "units.wanted") &&
        !wire_value_bool(wire_value_get(status, "rolling"), true))
        return 1;
    const char *late = condition_message(app, "Progressing", "False", "DeadlineExceeded");
    if (late != NULL)
        return fail_revision(w, late, failure);
    const struct wire_value *u = unit_failed(w, units);
    if (u != NULL)
        return fail_revision(w,
                             a_arena_printf(&w->c->arena, "failed: unit %s is FAILED (%s)",
                                            cli_text(u, "name"), cli_text(u, "reason")),
                             wire_value_string(wire_value_get(u, "message"), failure));
    return 0;
}

/* A server that is away for a moment is no failure of the app's. */
static bool is_passing(int rc)
{
    return rc != 0 && rc != -EREMOTEIO && rc != -EINTR && rc != -EINVAL;
}

static int look(struct waiting *w)
{
    struct wire_value *app, *units;
    int rc = cli_call(w->c, "GET", w->path, NULL, &app);
    if (rc == 0)
        rc = cli_list(w->c, a_arena_printf(&w->c->arena, "%s/units", w->path), &units);
    if (sys_interrupted())
        return -EINTR;
    if (is_passing(rc)) {
        A_BUF_AUTO struct a_buf b = {0};
        a_buf_addf(&b, "waiting for the server: %s\n", a_error_text(&w->c->error));
        cli_progress_show(&w->progress, a_buf_view(&b));
        return 0;
    }
    if (rc != 0)
        return rc;
    show(w, app, units);
    return judge(w, app, units);
}

int cli_wait_ready(struct cli *c, const char *app_path, int64_t generation, int64_t revision,
                   uint64_t timeout_ms)
{
    struct waiting w = {.c = c, .path = app_path, .generation = generation, .revision = revision};
    uint64_t until;
    int rc;
    w.terminal = sys_terminal_is(2);
    w.begun_ms = sys_clock_mono_ms();
    until = w.begun_ms + timeout_ms;
    sys_interrupt_catch();
    while ((rc = look(&w)) == 0) {
        if (sys_clock_mono_ms() >= until) {
            rc = a_fail(&c->error, -ETIMEDOUT, A_CODE_TIMEOUT,
                        "revision %" PRId64 " is not ready after %" PRIu64
                        " s; it goes on: astra explain says why",
                        revision, timeout_ms / 1000);
            break;
        }
        sys_clock_sleep_ms(POLL_MS);
    }
    cli_progress_end(&w.progress);
    if (rc == -EINTR)
        a_error_set(&c->error, A_CODE_INTERNAL, "interrupted; it goes on: astra rollout status shows it");
    return rc > 0 ? 0 : rc;
}

int cli_wait_gone(struct cli *c, const char *path, uint64_t timeout_ms)
{
    uint64_t until = sys_clock_mono_ms() + timeout_ms;
    struct wire_value *v;
    sys_interrupt_catch();
    for (;;) {
        int rc = cli_call(c, "GET", path, NULL, &v);
        if (rc == -EREMOTEIO && c->error.code == A_CODE_NOT_FOUND) {
            a_error_deinit(&c->error);
            return 0;
        }
        if (sys_interrupted())
            return a_fail(&c->error, -EINTR, A_CODE_INTERNAL, "interrupted; it goes on");
        if (rc != 0 && !is_passing(rc))
            return rc;
        if (sys_clock_mono_ms() >= until)
            return a_fail(&c->error, -ETIMEDOUT, A_CODE_TIMEOUT, "not gone after %" PRIu64 " s; it goes on",
                          timeout_ms / 1000);
        sys_clock_sleep_ms(POLL_MS);
    }
}
