/* astra events: what happened, in order; -f goes on as it happens. */
#include <inttypes.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "sys/terminal.h"

struct following {
    struct cli *c;
    struct a_arena arena;
    bool json, colour;
};

/* 2024-02-29T12:34:56.789Z as 02-29 12:34:56. */
static const char *short_time(struct a_arena *arena, const char *time)
{
    return strlen(time) >= 19 ? a_arena_printf(arena, "%.5s %.8s", time + 5, time + 11) : time;
}

static void event_print(struct a_arena *arena, const struct wire_value *e, bool colour)
{
    const char *reason = cli_text(e, "reason"), *message = cli_text(e, "message");
    bool bad = strstr(reason, "Failed") != NULL || strstr(reason, "Lost") != NULL ||
               strstr(reason, "Killed") != NULL;
    printf("%s  %-7s %-22s %s%-18s%s ", short_time(arena, cli_text(e, "time")), cli_text(e, "actor"),
           cli_text(e, "object"), colour && bad ? "\033[31m" : "", reason,
           colour && bad ? CLI_COLOUR_OFF : "");
    /* Later lines of a message (Ray's own) stand under it. */
    for (; *message != '\0'; message++) {
        putchar(*message);
        if (*message == '\n' && message[1] != '\0')
            fputs("                  ", stdout);
    }
    putchar('\n');
}

static int on_event(void *ctx, struct a_view id, struct a_view event, struct a_view data)
{
    struct following *f = ctx;
    struct wire_value *e;
    (void)id;
    if (!a_view_is(event, "event") || wire_json_parse(&f->arena, data, NULL, NULL, &e, NULL) != 0)
        return 0;
    if (f->json)
        printf(A_VIEW_FMT "\n", A_VIEW_ARG(data));
    else
        event_print(&f->arena, e, f->colour);
    fflush(stdout);
    a_arena_reset(&f->arena);
    return 0;
}

static int events_follow(struct cli *c, const char *path, const char *revision)
{
    struct following f = {.c = c, .json = c->json, .colour = cli_has_colour(stdout)};
    int rc =
        cli_follow(c, a_arena_printf(&c->arena, "%s?watch&since=%s", path, revision), on_event, NULL, &f);
    a_arena_deinit(&f.arena);
    return rc;
}

static const char *events_path(struct cli *c)
{
    if (c->words.n == 1) {
        const char *app = cli_app_path(c, c->words.at[0]);
        return app != NULL ? a_arena_printf(&c->arena, "%s/events", app) : NULL;
    }
    return c->namespace != NULL ? a_arena_printf(&c->arena, "/v1/namespaces/%s/events", c->namespace)
                                : "/v1/events";
}

int cli_events(int argc, char **argv)
{
    static const struct cli_command command = {.name = "events",
                                               .args = "[APP] [-f]",
                                               .summary =
                                                   "Shows what happened, to one app or to all; oldest first.",
                                               .words_max = 1};
    struct cli c = {0};
    struct wire_value *list;
    bool follow = false;
    uint64_t limit = 100;
    const struct cli_option options[] = {
        {"follow", 'f', CLI_FLAG, NULL, "go on as it happens", &follow},
        {"limit", 0, CLI_NUMBER, "N", "the last N (default 100)", &limit},
    };
    int status = cli_begin(&c, &command, options, A_ARRAY_SIZE(options), argc, argv);
    if (status != CLI_GO)
        return status;
    const char *path = events_path(&c);
    int rc = path == NULL
                 ? -1
                 : cli_call(&c, "GET", a_arena_printf(&c.arena, "%s?limit=%" PRIu64, path, A_MAX(limit, 1)),
                            NULL, &list);
    if (rc == 0 && c.json && !follow) {
        cli_print_json(wire_value_get(list, "items"));
    } else if (rc == 0 && !c.json) {
        wire_value_foreach(e, wire_value_get(list, "items")) event_print(&c.arena, e, cli_has_colour(stdout));
        fflush(stdout);
    }
    if (rc == 0 && follow)
        rc = events_follow(&c, path, wire_value_string(wire_value_get(list, "revision"), ""));
    return cli_end(&c, rc);
}
