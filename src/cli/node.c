/* astra drain, cordon, uncordon: one node. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "sys/clock.h"
#include "sys/terminal.h"

#define TIMEOUT_MS (10 * 60 * 1000)
#define POLL_MS 500

static int node_post(struct cli *c, const char *verb, struct wire_value **ret)
{
    return cli_call(c, "POST",
                    a_arena_printf(&c->arena, "/v1/nodes/%s/%s", cli_escape(c, c->words.at[0]), verb), NULL,
                    ret);
}

static void node_say(struct cli *c, const struct wire_value *node, const char *what)
{
    if (c->json)
        cli_print_json(node);
    else
        printf("%s: %s\n", cli_text(node, "name"), what);
}

int cli_cordon(int argc, char **argv)
{
    static const struct cli_command command = {.name = "cordon",
                                               .args = "NODE",
                                               .summary =
                                                   "Places nothing new on a node; what runs there runs on.",
                                               .words_min = 1,
                                               .words_max = 1};
    struct cli c = {0};
    struct wire_value *node;
    int status = cli_begin(&c, &command, NULL, 0, argc, argv);
    if (status != CLI_GO)
        return status;
    int rc = node_post(&c, "cordon", &node);
    if (rc == 0)
        node_say(&c, node, "cordoned");
    return cli_end(&c, rc);
}

int cli_uncordon(int argc, char **argv)
{
    static const struct cli_command command = {.name = "uncordon",
                                               .args = "NODE",
                                               .summary = "Lets a node be used again, also after a drain.",
                                               .words_min = 1,
                                               .words_max = 1};
    struct cli c = {0};
    struct wire_value *node;
    int status = cli_begin(&c, &command, NULL, 0, argc, argv);
    if (status != CLI_GO)
        return status;
    int rc = node_post(&c, "undrain", &node);
    if (rc == 0)
        rc = node_post(&c, "uncordon", &node);
    if (rc == 0)
        node_say(&c, node, "in use again");
    return cli_end(&c, rc);
}

static bool is_empty(const struct wire_value *node)
{
    return wire_value_count(wire_value_get(node, "claims")) == 0 &&
           strcmp(cli_text(node, "state"), "DRAINED") == 0;
}

static void drain_show(struct cli_progress *p, const struct wire_value *node)
{
    A_BUF_AUTO struct a_buf b = {0};
    a_buf_addf(&b, "%s: %s, %zu claims left\n", cli_text(node, "name"), cli_text(node, "state"),
               wire_value_count(wire_value_get(node, "claims")));
    wire_value_foreach(v, wire_value_get(node, "claims")) a_buf_addf(
        &b, "  %s/%s %s\n", cli_text(v, "unit"), cli_text(v, "member"), cli_text(v, "memberState"));
    cli_progress_show(p, a_buf_view(&b));
}

static int drain_wait(struct cli *c, uint64_t timeout_ms, struct wire_value **node)
{
    struct cli_progress progress = {0};
    uint64_t until = sys_clock_mono_ms() + timeout_ms;
    const char *path = a_arena_printf(&c->arena, "/v1/nodes/%s", cli_text(*node, "id"));
    int rc = 0;
    sys_interrupt_catch();
    while (rc == 0 && !is_empty(*node)) {
        drain_show(&progress, *node);
        sys_clock_sleep_ms(POLL_MS);
        if (sys_interrupted())
            rc = a_fail(&c->error, -EINTR, A_CODE_INTERNAL, "interrupted; the drain goes on");
        else if (sys_clock_mono_ms() >= until)
            rc = a_fail(&c->error, -ETIMEDOUT, A_CODE_TIMEOUT,
                        "%s still has %zu claims after %" PRIu64 " s; the drain goes on",
                        cli_text(*node, "name"), wire_value_count(wire_value_get(*node, "claims")),
                        timeout_ms / 1000);
        else
            rc = cli_call(c, "GET", path, NULL, node);
    }
    cli_progress_end(&progress);
    return rc;
}

int cli_drain(int argc, char **argv)
{
    static const struct cli_command command = {
        .name = "drain",
        .args = "NODE [--wait]",
        .summary = "Moves everything off a node: replacements are READY before anything stops.",
        .more = "astra uncordon NODE takes it back.",
        .words_min = 1,
        .words_max = 1};
    struct cli c = {0};
    struct wire_value *node;
    bool wait = false;
    uint64_t timeout_ms = TIMEOUT_MS;
    const struct cli_option options[] = {
        {"wait", 'w', CLI_FLAG, NULL, "until nothing is left there", &wait},
        {"timeout", 0, CLI_DURATION, "TIME", "how long to wait (default 10m)", &timeout_ms},
    };
    int status = cli_begin(&c, &command, options, A_ARRAY_SIZE(options), argc, argv);
    if (status != CLI_GO)
        return status;
    int rc = node_post(&c, "drain", &node);
    if (rc == 0 && wait)
        rc = drain_wait(&c, timeout_ms, &node);
    if (rc == 0)
        node_say(&c, node, is_empty(node) ? "drained" : "draining");
    return cli_end(&c, rc);
}
