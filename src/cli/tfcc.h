/* astra tfcc inspect|run: look at a model, run it, and see how long that takes. */
#ifndef A_CLI_TFCC_H
#define A_CLI_TFCC_H

/* argv[0] is "tfcc". Returns the exit status: 0 ok, 1 failed, 2 usage. */
int cli_tfcc(int argc, char **argv);

#endif
