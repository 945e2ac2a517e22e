/* The commands, as src/main.c calls them: argv[0] is the command's own name; the exit status is returned. */
#ifndef A_CLI_COMMANDS_H
#define A_CLI_COMMANDS_H

/* X(word, function, help): in the order of the overview. */
#define CLI_COMMANDS(X)                                                                                      \
    X("deploy", cli_deploy, "bring an app, or a new version of it, to the units")                            \
    X("delete", cli_delete, "stop an app and forget it")                                                     \
    X("scale", cli_scale, "more or fewer units of an app")                                                   \
    X("rollout", cli_rollout, "status, history and undo of an app's revisions")                              \
    X("validate", cli_validate, "check an app's file, all errors at once")                                   \
    X("render", cli_render, "print an app's long form, with every default")                                  \
    X("diff", cli_diff, "what a deploy would change")                                                        \
    X("status", cli_status, "the whole at a glance")                                                         \
    X("apps", cli_apps, "the apps")                                                                          \
    X("units", cli_units, "the units of all apps, or of one")                                                \
    X("nodes", cli_nodes, "the nodes, or one of them")                                                       \
    X("clusters", cli_clusters, "the clusters and what is free in them")                                     \
    X("events", cli_events, "what happened, to one app or to all")                                           \
    X("logs", cli_logs, "what an app's members wrote")                                                       \
    X("explain", cli_explain, "why an app or a unit is not READY")                                           \
    X("drain", cli_drain, "move everything off a node")                                                      \
    X("cordon", cli_cordon, "place nothing new on a node")                                                   \
    X("uncordon", cli_uncordon, "let a node be used again")                                                  \
    X("orphans", cli_orphans, "what runs and no store knows")                                                \
    X("artifact", cli_artifact, "put, list and get models, code, environments")                              \
    X("env", cli_env, "pack Python environments")                                                            \
    X("token", cli_token, "make and revoke API tokens")                                                      \
    X("version", cli_version, "of this program and of the server")                                           \
    X("doctor", cli_doctor, "look for what would keep Astra from working here")

#define X(word, function, help) int function(int argc, char **argv);
CLI_COMMANDS(X)
#undef X

#endif
