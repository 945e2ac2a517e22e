/* One binary: the first word picks the command. Daemons and the command line are linked here and nowhere
 * else. */
#include <stdio.h>
#include <string.h>

#include "base/macro.h"
#include "cli/commands.h"
#include "cli/tfcc.h"
#include "daemon/agent/agent.h"
#include "daemon/gateway/gateway.h"
#include "daemon/server/main.h"
#include "daemon/shim/init.h"
#include "daemon/shim/shim.h"
#include "daemon/up/up.h"

/* What the executable is, for whoever reads its bytes (src/artifact/agent.h). */
extern const char astra_mark[];
const char astra_mark[] __attribute__((used)) = "@(#)astra " ASTRA_VERSION;

struct command {
    const char *name;
    int (*run)(int argc, char **argv); /* argv[0] is the command's own name */
    const char *help;                  /* NULL: not listed, for Astra's own use */
};

static const struct command commands[] = {
    {"up", d_up_main, "run the whole platform on this machine"},
    {"down", d_down_main, "end what astra up made"},
#define X(name, function, help) {name, cli_##function, help},
    CLI_COMMANDS(X)
#undef X
        {"tfcc", cli_tfcc, "look at a model, run it"},
    {"gateway", d_gateway_main, "the data plane: carry requests to the units"},
    {"agent", d_agent_main, "join this node to a server and run members"},
    {"server", d_server_main, "the control plane: nodes, apps, API"},
    {"init", d_init_main, "PID 1 of a pod: run the agent, again when it ends unasked"},
    {"shim", d_shim_main, NULL},
};

static void usage_print(FILE *out)
{
    fprintf(out, "usage: astra COMMAND ...\n\n");
    for (size_t i = 0; i < A_ARRAY_SIZE(commands); i++)
        if (commands[i].help != NULL)
            fprintf(out, "  %-12s %s\n", commands[i].name, commands[i].help);
    fprintf(out, "\nastra COMMAND --help says more.\n");
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        usage_print(stderr);
        return 2;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
        usage_print(stdout);
        return 0;
    }
    for (size_t i = 0; i < A_ARRAY_SIZE(commands); i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    fprintf(stderr, "astra: no such command: %s; astra --help lists them\n", argv[1]);
    return 2;
}
