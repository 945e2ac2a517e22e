#include "cli/follow.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/table.h"
#include "sys/clock.h"
#include "sys/terminal.h"

#define POLL_MS 150
#define MESSAGE_LINE 240 /* characters of a message in a line; failures print it whole */

/* What was last said of a unit. */
struct said {
    struct said *next;
    const char *name;
    const char *line; /* cluster/node, state, reason, message */
    bool there;
};

struct follow {
    struct cli_call *c;
    const struct cli_goal *goal;
    struct cli_progress *progress;
    const char *app_path, *units_path;
    struct said *said;
    char *words; /* the longest message of a failed unit or member: Ray's own */
    bool away;   /* the server does not answer */
    uint64_t start_ms;
};

struct cli_goal cli_goal_of(const struct wire_value *app)
{
    const struct wire_value *metadata = wire_value_get(app, "metadata");
    return (struct cli_goal){
        .namespace = wire_value_string(wire_value_get(metadata, "namespace"), "default"),
        .app = wire_value_string(wire_value_get(metadata, "name"), ""),
        .generation = (uint64_t)wire_value_int(wire_value_get(metadata, "generation"), 0),
        .revision = (uint64_t)wire_value_int(wire_value_path(app, "status.wantedRevision"), 0),
    };
}

/* ---- judging ---- */

static const struct wire_value *condition_get(const struct wire_value *status, const char *type)
{
    wire_value_foreach(c, wire_value_get(status, "conditions"))
    {
        if (strcmp(wire_value_string(wire_value_get(c, "type"), ""), type) == 0)
            return c;
    }
    return NULL;
}

static bool condition_is(const struct wire_value *status, const char *type, const char *reason)
{
    const struct wire_value *c = condition_get(status, type);
    return strcmp(wire_value_string(wire_value_get(c, "status"), ""), "False") == 0 &&
           strcmp(wire_value_string(wire_value_get(c, "reason"), ""), reason) == 0;
}

static uint64_t number(const struct wire_value *object, const char *key)
{
    return (uint64_t)wire_value_int(wire_value_get(object, key), 0);
}

/* A unit of the revision that will not come up by itself. */
static const struct wire_value *unit_final(const struct wire_value *units, uint64_t revision)
{
    wire_value_foreach(u, units)
    {
        if (number(u, "revision") == revision && wire_value_bool(wire_value_get(u, "final"), false))
            return u;
    }
    return NULL;
}

enum cli_outcome cli_goal_judge(const struct cli_goal *goal, const struct wire_value *app,
                                const struct wire_value *units, struct a_arena *arena, const char **ret_why)
{
    const struct wire_value *status = wire_value_get(app, "status"),
                            *counts = wire_value_get(status, "units");
    uint64_t wanted = number(status, "wantedRevision"), proven = number(status, "provenRevision");
    uint64_t revision = goal->revision != 0 ? goal->revision : wanted;
    const struct wire_value *bad = unit_final(units, revision);
    if (number(status, "failedRevision") == revision && revision != 0)
        *ret_why = a_arena_printf(
            arena, "revision %" PRIu64 " failed and was undone; revision %" PRIu64 " serves on", revision,
            number(status, "revision"));
    else if (wanted != revision && wanted != 0)
        *ret_why = a_arena_printf(arena, "revision %" PRIu64 " was superseded by revision %" PRIu64, revision,
                                  wanted);
    else if (condition_is(status, "Placed", "PoisonSuspected"))
        *ret_why = "nodes died under units of this app: nothing more is placed until it is deployed again";
    else if (condition_is(status, "Progressing", "DeadlineExceeded"))
        *ret_why = "no unit became READY within rollout.progressDeadline";
    else if (bad != NULL && (proven == 0 || proven == revision))
        *ret_why = a_arena_printf(arena, "unit %s is FAILED (%s)",
                                  wire_value_string(wire_value_get(bad, "name"), ""),
                                  wire_value_string(wire_value_get(bad, "reason"), ""));
    else if (number(status, "observedGeneration") >= goal->generation &&
             number(status, "revision") == revision &&
             !wire_value_bool(wire_value_get(status, "rolling"), false) &&
             number(counts, "updated") >= number(counts, "wanted"))
        return CLI_DONE;
    else
        return CLI_GOES_ON;
    return CLI_FAILED;
}

/* ---- telling ---- */

/* The first `max` characters of a message on one line. */
static const char *message_line(struct a_arena *arena, const char *message, size_t max)
{
    char *line = a_arena_strndup(arena, message, A_MIN(strlen(message), max));
    for (char *s = line; *s != '\0'; s++)
        if ((unsigned char)*s < ' ')
            *s = ' ';
    return strlen(message) > max ? a_arena_printf(arena, "%s…", line) : line;
}

static const char *reason_of(const struct wire_value *v)
{
    const char *reason = wire_value_string(wire_value_get(v, "reason"), "");
    return strcmp(reason, "None") == 0 ? "" : reason;
}

static const char *unit_place(struct a_arena *arena, const struct wire_value *u)
{
    const char *cluster = wire_value_string(wire_value_get(u, "cluster"), "");
    const char *place = cli_node_name(arena, wire_value_get(u, "cluster"), wire_value_get(u, "nodeName"));
    return place[0] != '\0' ? place : cluster[0] != '\0' ? cluster : "-";
}

static const char *unit_line(struct a_arena *arena, const struct wire_value *u)
{
    const char *reason = reason_of(u);
    const char *message =
        message_line(arena, wire_value_string(wire_value_get(u, "message"), ""), MESSAGE_LINE);
    return a_arena_printf(arena, "%-20s %s%s%s%s%s", unit_place(arena, u),
                          wire_value_string(wire_value_get(u, "state"), ""), reason[0] != '\0' ? " " : "",
                          reason, message[0] != '\0' ? ": " : "", message);
}

static struct said *said_get(struct follow *f, const char *name)
{
    for (struct said *s = f->said; s != NULL; s = s->next)
        if (strcmp(s->name, name) == 0)
            return s;
    struct said *s = a_arena_new(f->c->arena, struct said);
    *s = (struct said){.next = f->said, .name = a_arena_strdup(f->c->arena, name), .line = ""};
    f->said = s;
    return s;
}

static void words_keep(struct follow *f, const char *message)
{
    if (message[0] != '\0' && (f->words == NULL || strlen(message) > strlen(f->words)))
        f->words = a_arena_strdup(f->c->arena, message);
}

/* Failed units are taken away when a revision is undone: what they said is kept. */
static void words_look(struct follow *f, const struct wire_value *u)
{
    if (number(u, "revision") != f->goal->revision && f->goal->revision != 0)
        return;
    if (strcmp(wire_value_string(wire_value_get(u, "state"), ""), "FAILED") == 0)
        words_keep(f, wire_value_string(wire_value_get(u, "message"), ""));
    wire_value_foreach(m, wire_value_get(u, "members"))
    {
        if (strcmp(wire_value_string(wire_value_get(m, "state"), ""), "EXITED") == 0)
            words_keep(f, wire_value_string(wire_value_get(m, "message"), ""));
    }
}

static void unit_tell(struct follow *f, const struct wire_value *u, struct a_arena *arena)
{
    struct said *s = said_get(f, wire_value_string(wire_value_get(u, "name"), ""));
    const char *line = unit_line(arena, u);
    s->there = true;
    words_look(f, u);
    if (strcmp(line, s->line) == 0)
        return;
    s->line = a_arena_strdup(f->c->arena, line);
    if (!f->progress->terminal)
        cli_progress_say(f->progress, "%s %-16s %s", cli_clock(arena, NULL), s->name, line);
}

static void gone_tell(struct follow *f, struct a_arena *arena)
{
    for (struct said *s = f->said; s != NULL; s = s->next) {
        if (!s->there && s->line[0] != '\0') {
            s->line = "";
            cli_progress_say(f->progress, "%s %-16s gone", cli_clock(arena, NULL), s->name);
        }
        s->there = false;
    }
}

static void block_draw(struct follow *f, const struct wire_value *app, const struct wire_value *units,
                       struct a_arena *arena)
{
    A_BUF_AUTO struct a_buf b = {0};
    struct cli_table t = {.arena = arena};
    const struct wire_value *counts = wire_value_path(app, "status.units");
    if (!f->progress->terminal)
        return;
    a_buf_addf(&b, "%s: %" PRIu64 " of %" PRIu64 " units ready, %" PRIu64 " s\n", f->goal->app,
               number(counts, "updated"), number(counts, "wanted"),
               (sys_clock_mono_ms() - f->start_ms) / 1000);
    wire_value_foreach(u, units)
    {
        const char *message = wire_value_string(wire_value_get(u, "message"), "");
        cli_table_row(&t, cli_cell(arena, u, "name"), unit_place(arena, u), cli_cell(arena, u, "state"),
                      reason_of(u), message, NULL);
    }
    cli_table_print(&t, f->progress->columns > 1 ? f->progress->columns - 1 : 0, &b);
    cli_progress_block(f->progress, a_buf_view(&b));
}

/* ---- waiting ---- */

static int failed(struct follow *f, const struct wire_value *app, const char *why, struct a_error *reterr)
{
    words_keep(f, wire_value_string(wire_value_path(app, "status.lastFailure"), ""));
    bool words = f->words != NULL;
    return a_fail(reterr, -ECANCELED, A_CODE_INVALID,
                  "%s: %s%s%s\n`astra explain %s` and `astra logs %s --previous` say more", f->goal->app, why,
                  words ? ":\n" : "", words ? f->words : "", f->goal->app, f->goal->app);
}

/* 0: reached; -EAGAIN: not yet. */
static int look(struct follow *f, struct a_error *reterr)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    struct wire_value *app = NULL, *units = NULL;
    const char *why = "";
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    int rc = cli_request(f->c, "GET", f->app_path, NULL, &arena, &app, &e);
    if (rc == 0)
        rc = cli_list(f->c, f->units_path, &arena, &units, &e);
    if (rc != 0 && f->goal->gone && e.code == A_CODE_NOT_FOUND) {
        gone_tell(f, &arena);
        return 0;
    }
    if (rc != 0) {
        a_error_move(reterr, &e);
        return rc;
    }
    wire_value_foreach(u, units) unit_tell(f, u, &arena);
    gone_tell(f, &arena);
    block_draw(f, app, units, &arena);
    if (f->goal->gone)
        return -EAGAIN;
    switch (cli_goal_judge(f->goal, app, units, &arena, &why)) {
    case CLI_DONE:
        return 0;
    case CLI_FAILED:
        return failed(f, app, why, reterr);
    default:
        return -EAGAIN;
    }
}

/* A server that stops or starts is no reason to give up: what it knows, it keeps. */
static bool server_is_away(struct follow *f, int rc, const struct a_error *e)
{
    bool away = rc == -ECONNREFUSED || rc == -ECONNRESET || rc == -ETIMEDOUT ||
                (rc == -EREMOTEIO && e->code == A_CODE_UNAVAILABLE);
    if (away && !f->away)
        cli_progress_say(f->progress, "the server does not answer; trying on: %s", a_error_text(e));
    f->away = away;
    return away;
}

static int timed_out(struct follow *f, uint64_t timeout_ms, struct a_error *reterr)
{
    A_BUF_AUTO struct a_buf b = {0};
    for (const struct said *s = f->said; s != NULL; s = s->next)
        if (s->line[0] != '\0')
            a_buf_addf(&b, "\n  %s %s", s->name, s->line);
    return a_fail(reterr, -ETIMEDOUT, A_CODE_TIMEOUT, "%s: not there after %" PRIu64 " s; it goes on%s",
                  f->goal->app, timeout_ms / 1000, b.ptr != NULL ? b.ptr : "");
}

int cli_follow(struct cli_call *c, const struct cli_goal *goal, struct cli_progress *progress,
               struct a_error *reterr)
{
    struct follow f = {.c = c, .goal = goal, .progress = progress, .start_ms = sys_clock_mono_ms()};
    uint64_t timeout_ms = goal->timeout_ms != 0 ? goal->timeout_ms : CLI_FOLLOW_TIMEOUT_MS;
    int rc;
    f.app_path = cli_path(c, "/v1/namespaces/{}/apps/{}", goal->namespace, goal->app, NULL);
    f.units_path = cli_path(c, "/v1/namespaces/{}/apps/{}/units", goal->namespace, goal->app, NULL);
    sys_interrupt_catch();
    for (;;) {
        A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
        rc = look(&f, &e);
        if (sys_interrupted())
            rc = -EINTR;
        else if (rc != -EAGAIN && !(rc != 0 && server_is_away(&f, rc, &e))) {
            a_error_move(reterr, &e);
            break;
        } else if (sys_clock_mono_ms() - f.start_ms >= timeout_ms)
            rc = timed_out(&f, timeout_ms, reterr);
        else if (cli_sleep_ms(POLL_MS))
            continue;
        else
            rc = -EINTR;
        break;
    }
    cli_progress_clear(progress);
    return rc;
}

int cli_follow_end(struct cli_call *c, const struct cli_goal *goal, int rc)
{
    if (rc != -EINTR)
        return rc;
    fprintf(stderr, "\nastra %s: not waiting any longer; it goes on: `astra rollout status %s` follows it\n",
            c->command->name, goal->app);
    return CLI_EXIT_INTERRUPTED;
}
