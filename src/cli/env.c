/* astra env pack|resolve: the packer is a Python program; its own options are passed on as they are. */
#include <stdio.h>

#include "cli/python.h"

int cli_env(int argc, char **argv)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    A_ERROR_AUTO struct a_error error = A_ERROR_NONE;
    static const char *const help[] = {"--help", NULL};
    struct cli_call c = {.arena = &arena};
    int status = 0;
    int rc = cli_python_envpack(&c, argc > 1 ? (const char *const *)argv + 1 : help, NULL, &status, &error);
    if (rc == 0)
        return argc > 1 ? status : CLI_EXIT_USAGE;
    fprintf(stderr, "astra env: %s\n", a_error_text(&error));
    return 1;
}
