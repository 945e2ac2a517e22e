/* astra version. */
#include <stdio.h>

#include "cli/cli.h"

static int run(struct cli_call *c, struct a_error *reterr)
{
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
    static const struct cli_command command = {
        .name = "version", .about = "Shows the version of this program and of the server", .run = run};
    return cli_command_run(&command, argc, argv);
}
