/* astra version. */
#include <stdio.h>

#include "cli/cli.h"

struct args {
    bool client;
};

static const struct cli_option options[] = {
    {"client", 0, CLI_FLAG, offsetof(struct args, client), NULL, "of this program only: no server is asked",
     false},
    {NULL, 0, CLI_FLAG, 0, NULL, NULL, false},
};

static int client_run(struct cli_call *c)
{
    struct wire_value *v = wire_value_new_object(c->arena);
    wire_value_set_string(c->arena, v, "version", ASTRA_VERSION);
    if (c->json)
        cli_print_json(v);
    else
        printf("astra %s\n", ASTRA_VERSION);
    return 0;
}

static int run(struct cli_call *c, struct a_error *reterr)
{
    if (((const struct args *)c->args)->client)
        return client_run(c);
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    struct wire_value *v = wire_value_new_object(c->arena), *server = NULL;
    int rc = cli_get(c, "/v1/version", &server, &e);
    (void)reterr; /* a server that is not there is not this command's failure */
    wire_value_set_string(c->arena, v, "version", ASTRA_VERSION);
    wire_value_set(c->arena, v, "server", rc == 0 ? server : wire_value_new(c->arena, WIRE_VALUE_NULL));
    if (c->json)
        cli_print_json(v);
    else if (rc == 0)
        printf("astra %s, server %s (%s)\n", ASTRA_VERSION, cli_cell(c->arena, server, "version"), c->server);
    else
        printf("astra %s, no server (%s)\n", ASTRA_VERSION, a_error_text(&e));
    return 0;
}

int cli_version(int argc, char **argv)
{
    static const struct cli_command command = {.name = "version",
                                               .about = "Shows the version of this program and of the server",
                                               .options = options,
                                               .args_size = sizeof(struct args),
                                               .run = run};
    return cli_command_run(&command, argc, argv);
}
