/* astra logs: what an app's members print, from the nodes that they are on. */
#include <errno.h>
#include <stdio.h>

#include "cli/cli.h"
#include "sys/terminal.h"

#define SILENCE_MS (24ull * 3600 * 1000) /* a member may have nothing to say */

struct args {
    const char *unit, *member, *file, *tail;
    bool previous, follow;
};

static const struct cli_option options[] = {
    {"unit", 'u', CLI_TEXT, offsetof(struct args, unit), "UNIT", "of one unit", false},
    {"member", 'm', CLI_TEXT, offsetof(struct args, member), "MEMBER",
     "of one member: head, or a worker's name", false},
    {"file", 0, CLI_TEXT, offsetof(struct args, file), "FILE", "one of the member's log files", false},
    {"previous", 'p', CLI_FLAG, offsetof(struct args, previous), NULL,
     "of the start before this one; of one that failed also when its node is gone", false},
    {"follow", 'f', CLI_FLAG, offsetof(struct args, follow), NULL, "go on as they come", false},
    {"tail", 0, CLI_TEXT, offsetof(struct args, tail), "BYTES", "only the end of each log: 64Ki", false},
    {NULL, 0, CLI_FLAG, 0, NULL, NULL, false},
};

struct stream {
    struct cli_call *c;
    struct a_buf json; /* with -o json: the whole text */
};

static int on_piece(void *ctx, struct a_view bytes)
{
    struct stream *s = ctx;
    if (s->c->json) {
        a_buf_add_view(&s->json, bytes);
        return 0;
    }
    cli_print(bytes);
    return fflush(stdout) == 0 ? 0 : 1;
}

static int on_progress(void *ctx, uint64_t done, uint64_t total)
{
    (void)ctx, (void)done, (void)total;
    return sys_interrupted() ? -EINTR : 0;
}

static const char *path_make(struct cli_call *c)
{
    const struct args *args = c->args;
    const char *path =
        cli_path(c, "/v1/namespaces/{}/apps/{}/logs?prefix=0", cli_namespace(c), c->words.items[0], NULL);
    const struct {
        const char *name, *value;
    } pairs[] = {{"unit", args->unit}, {"member", args->member}, {"file", args->file}, {"tail", args->tail}};
    for (size_t i = 0; i < A_ARRAY_SIZE(pairs); i++)
        if (pairs[i].value != NULL)
            path = a_arena_printf(c->arena, "%s&%s", path,
                                  cli_path(c, "{}={}", pairs[i].name, pairs[i].value, NULL));
    return a_arena_printf(c->arena, "%s%s%s", path, args->previous ? "&previous=1" : "",
                          args->follow ? "&follow=1" : "");
}

static void json_print(struct stream *s)
{
    struct wire_value *v = wire_value_new_object(s->c->arena);
    wire_value_set_string(s->c->arena, v, "app", s->c->words.items[0]);
    wire_value_set_view(s->c->arena, v, "text", a_buf_view(&s->json));
    cli_print_json(v);
}

static int run(struct cli_call *c, struct a_error *reterr)
{
    const struct args *args = c->args;
    NET_BLOCKING_ANSWER_AUTO struct net_blocking_answer answer = {0};
    struct stream s = {.c = c};
    if (c->json && args->follow)
        return a_fail(reterr, -EINVAL, A_CODE_USAGE, "--follow has no end, so it is no JSON");
    const struct net_blocking_request request = {.path = path_make(c),
                                                 .timeout_ms = SILENCE_MS,
                                                 .piece = on_piece,
                                                 .progress = on_progress,
                                                 .ctx = &s};
    int rc = cli_client_open(c, reterr);
    sys_interrupt_catch();
    if (rc == 0)
        rc = net_blocking_send(c->http, &request, &answer, reterr);
    if (rc == 0 && c->json)
        json_print(&s);
    a_buf_deinit(&s.json);
    return sys_interrupted() ? CLI_EXIT_INTERRUPTED : rc;
}

int cli_logs(int argc, char **argv)
{
    static const struct cli_command command = {
        .name = "logs",
        .words = "APP",
        .about = "Prints what an app's members print; with several members each line says whose it is",
        .min_words = 1,
        .max_words = 1,
        .options = options,
        .args_size = sizeof(struct args),
        .run = run,
    };
    return cli_command_run(&command, argc, argv);
}
